//! Ctrl-C and SIGTERM: our prompt is cancelled and seen gone, the record is whole, exit 130.
#![cfg(unix)] // Windows has no signal that one process sends another; see the console tests.

use std::process::Command;
use std::time::Duration;

use crate::stand_in::{Config, Fault, StandIn, Version, graphs};
use crate::support::{Folder, Running};

const LONG: Duration = Duration::from_secs(20);

fn signal(running: &Running, name: &str) {
    // The shell's own kill: not every machine has one as a program.
    let kill = format!("kill {name} {}", running.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// A run of a long scene and another one, seen running on the server.
fn running(server: &StandIn, folder: &Folder, more: &[&str]) -> Running {
    folder.workflow("long.json", &graphs::video("long", 60.0, 100, 1));
    folder.workflow("next.json", &graphs::video("next", 0.1, 100, 2));
    let arguments = [&["long.json", "next.json"], more].concat();
    let running = folder.start_on(&server.url(), &arguments);
    assert!(server.wait_until_running(LONG));
    running
}

#[test]
fn ctrl_c_leaves_an_empty_queue_and_a_whole_record() {
    for version in [Version::Ancient, Version::Recorded, Version::Newest] {
        let server = StandIn::with(Config { version, ..Config::default() });
        let folder = Folder::new();
        let running = running(&server, &folder, &[]);
        signal(&running, "-INT");
        let ran = running
            .wait()
            .exits(130)
            .complains("stopping…")
            .says("INTERRUPTED: 0 of 2 scenes succeeded, exit 130 (interrupted)")
            .says("✗ long  interrupted: stopped from here; cancelled and seen gone")
            .says("✗ next  skipped: interrupted")
            .says("GPU free: queue empty")
            .says("=== VRAM Usage Statistics ===");
        assert!(server.queue_is_empty(), "{version:?}\n{ran}");
        assert_eq!(server.posted(), 1);
        let metadata = folder.metadata();
        assert_eq!(metadata["ExitCode"], 130);
        assert_eq!(metadata["Scenes"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn sigterm_and_sighup_are_interrupts_too() {
    for name in ["-TERM", "-HUP"] {
        let (server, folder) = (StandIn::start(), Folder::new());
        let running = running(&server, &folder, &[]);
        signal(&running, name);
        running.wait().exits(130);
        assert!(server.queue_is_empty());
    }
}

#[test]
fn another_client_s_prompt_survives_our_ctrl_c() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("other.json", &graphs::video("other", 1.5, 10, 3));
    folder.workflow("ours.json", &graphs::video("ours", 60.0, 10, 4));
    let other = folder.start_on(&server.url(), &["other.json"]);
    assert!(server.wait_until_running(LONG));
    let ours = folder.start_on(&server.url(), &["ours.json"]);
    assert!(server.wait_until(LONG, |state| state.pending.len() == 1));
    signal(&ours, "-INT");
    ours.wait().exits(130);
    other.wait().exits(0);
}

#[test]
fn the_second_ctrl_c_quits_at_once() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let running = running(&server, &folder, &[]);
    // The queue hangs from now on: without the second signal this takes 5 s and more.
    server.fail_next("GET /queue", usize::MAX, Fault::Hang);
    server.fail_next("POST /", usize::MAX, Fault::Hang);
    signal(&running, "-INT");
    let told = |running: &Running| running.printed()[1].contains("stopping…");
    while !told(&running) {
        std::thread::yield_now();
    }
    signal(&running, "-INT");
    let ran = running.wait().exits(130);
    assert!(!ran.stdout.contains("RUN COMPLETE"), "{ran}");
}

#[test]
fn ctrl_c_during_a_download_leaves_no_half_file() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::video("flow", 0.1, 10, 1));
    server.fail_next("GET /view", usize::MAX, Fault::Dribble);
    let running = folder.start_on(&server.url(), &["flow.json"]);
    assert!(server.wait_until_request("GET /view", 1, LONG));
    signal(&running, "-INT");
    running.wait().exits(130).says("✗ flow  interrupted");
    let files = std::fs::read_dir(folder.newest().join("video/flow")).map_or(0, Iterator::count);
    assert_eq!(files, 0);
}

#[test]
fn ctrl_c_while_waiting_for_the_server() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::video("flow", 0.1, 10, 1));
    let url = server.url();
    drop(server);
    let running = folder.start_on(&url, &["flow.json", "-WaitForComfyUI", "60"]);
    while !running.printed()[0].contains("Waiting up to 60 s for ComfyUI") {
        std::thread::yield_now();
    }
    signal(&running, "-INT");
    running.wait().exits(130).says("✗ flow  skipped: interrupted");
}

#[test]
fn a_post_whose_answer_is_lost_is_looked_for_and_cancelled() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("long.json", &graphs::video("long", 60.0, 10, 1));
    server.fail_next("POST /prompt", 1, Fault::LoseAnswer);
    server.fail_next("GET /queue", 1, Fault::Status(500, "busy"));
    let running = folder.start_on(&server.url(), &["long.json"]);
    assert!(server.wait_until_running(LONG));
    signal(&running, "-INT");
    running.wait().exits(130).says("cancelled and seen gone");
    assert!(server.queue_is_empty());
    let attempt = &folder.metadata()["Scenes"][0]["Attempts"][0];
    assert_eq!(attempt["Outcome"], "interrupted");
    assert!(attempt["PromptId"].is_string());
}
