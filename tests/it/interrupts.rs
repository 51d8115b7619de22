//! Ctrl-C, Ctrl-Break and SIGTERM: our prompt is cancelled and seen gone, the record is whole, exit 130.

use std::time::Duration;

use crate::signals::{self, ctrl_c};
use crate::stand_in::{Config, Fault, StandIn, Version, graphs};
use crate::support::{Folder, Running};

const LONG: Duration = Duration::from_secs(20);

/// On a terminal of its own.
fn start_on(folder: &Folder, url: &str, words: &[&str]) -> Running {
    folder.start_with(&[&["--comfyui-url", url], words].concat(), signals::alone)
}

/// A run of a long scene and another one, seen running on the server.
fn running(server: &StandIn, folder: &Folder, more: &[&str]) -> Running {
    folder.workflow("long.json", &graphs::video("long", 60.0, 100, 1));
    folder.workflow("next.json", &graphs::video("next", 0.1, 100, 2));
    let arguments = [&["long.json", "next.json"], more].concat();
    let running = start_on(folder, &server.url(), &arguments);
    assert!(server.wait_until_running(LONG));
    running
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn ctrl_c_leaves_an_empty_queue_and_a_whole_record() {
    for version in [Version::Ancient, Version::Recorded, Version::Newest] {
        let server = StandIn::with(Config { version, ..Config::default() });
        let folder = Folder::new();
        let running = running(&server, &folder, &[]);
        ctrl_c(&running);
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

/// Wine sends none.
#[cfg(windows)]
#[test]
#[ignore = "needs CONSOLE_EVENT, and Windows itself"]
fn ctrl_break_is_an_interrupt_too() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let running = running(&server, &folder, &[]);
    signals::ctrl_break(&running);
    running.wait().exits(130);
    assert!(server.queue_is_empty());
}

#[cfg(unix)] // Windows has no such signals.
#[test]
fn sigterm_and_sighup_are_interrupts_too() {
    for name in ["-TERM", "-HUP"] {
        let (server, folder) = (StandIn::start(), Folder::new());
        let running = running(&server, &folder, &[]);
        signals::signal(&running, name);
        running.wait().exits(130);
        assert!(server.queue_is_empty());
    }
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn another_client_s_prompt_survives_our_ctrl_c() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("other.json", &graphs::video("other", 1.5, 10, 3));
    folder.workflow("ours.json", &graphs::video("ours", 60.0, 10, 4));
    // Of another project: within one the second would wait for the first.
    let elsewhere = Folder::new();
    let file = folder.path().join("other.json");
    let other = start_on(&elsewhere, &server.url(), &[file.to_str().unwrap()]);
    assert!(server.wait_until_running(LONG));
    let ours = start_on(&folder, &server.url(), &["ours.json"]);
    assert!(server.wait_until(LONG, |state| state.pending.len() == 1));
    ctrl_c(&ours);
    ours.wait().exits(130);
    other.wait().exits(0);
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn the_second_ctrl_c_quits_at_once() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let running = running(&server, &folder, &[]);
    // The queue hangs from now on: without the second signal this takes 5 s and more.
    server.fail_next("GET /queue", usize::MAX, Fault::Hang);
    server.fail_next("POST /", usize::MAX, Fault::Hang);
    ctrl_c(&running);
    let told = |running: &Running| running.printed()[1].contains("stopping…");
    while !told(&running) {
        std::thread::yield_now();
    }
    ctrl_c(&running);
    let ran = running.wait().exits(130);
    assert!(!ran.stdout.contains("RUN COMPLETE"), "{ran}");
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn ctrl_c_during_a_download_leaves_no_half_file() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::video("flow", 0.1, 10, 1));
    server.fail_next("GET /view", usize::MAX, Fault::Dribble);
    let running = start_on(&folder, &server.url(), &["flow.json"]);
    assert!(server.wait_until_request("GET /view", 1, LONG));
    ctrl_c(&running);
    running.wait().exits(130).says("✗ flow  interrupted");
    let files = std::fs::read_dir(folder.newest().join("video/flow")).map_or(0, Iterator::count);
    assert_eq!(files, 0);
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn ctrl_c_while_waiting_for_the_server() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::video("flow", 0.1, 10, 1));
    let url = server.url();
    drop(server);
    let running = start_on(&folder, &url, &["flow.json", "-WaitForComfyUI", "60"]);
    while !running.printed()[0].contains("Waiting up to 60 s for ComfyUI") {
        std::thread::yield_now();
    }
    ctrl_c(&running);
    running.wait().exits(130).says("✗ flow  skipped: interrupted");
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn a_post_whose_answer_is_lost_is_looked_for_and_cancelled() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("long.json", &graphs::video("long", 60.0, 10, 1));
    server.fail_next("POST /prompt", 1, Fault::LoseAnswer);
    server.fail_next("GET /queue", 1, Fault::Status(500, "busy"));
    let running = start_on(&folder, &server.url(), &["long.json"]);
    assert!(server.wait_until_running(LONG));
    ctrl_c(&running);
    running.wait().exits(130).says("cancelled and seen gone");
    assert!(server.queue_is_empty());
    let attempt = &folder.metadata()["Scenes"][0]["Attempts"][0];
    assert_eq!(attempt["Outcome"], "interrupted");
    assert!(attempt["PromptId"].is_string());
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn ctrl_c_while_waiting_for_another_run() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let first = running(&server, &folder, &[]);
    let second = start_on(&folder, &server.url(), &["next.json"]);
    second.until_it_says("waiting up to 60 s for the run of ");
    ctrl_c(&second);
    second.wait().exits(130).complains("stopping…");
    assert_eq!((folder.runs().len(), server.posted()), (1, 1));
    drop(first);
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn ctrl_c_while_an_upload_stalls() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.write("key.png", [0; 64]);
    let story = r#"{"scenes": [{"id": "a", "prompt": "p", "keyframePath": "key.png"}]}"#;
    folder.write("story.json", story);
    let mut template = graphs::from_image("a", "__KEYFRAME_IMAGE__");
    template["90"] = serde_json::json!({"class_type": "Note", "inputs": {"text": "__PROMPT__"}});
    folder.workflow("template.json", &template);
    server.fail_next("POST /upload/image", usize::MAX, Fault::Delay(Duration::from_millis(1500)));
    let words = ["--story", "story.json", "template.json"];
    let running = start_on(&folder, &server.url(), &words);
    assert!(server.wait_until_request("POST /upload/image", 1, LONG));
    ctrl_c(&running);
    running
        .wait()
        .exits(130)
        .says("✗ a  interrupted: stopped from here; nothing of it was running");
    assert_eq!(server.posted(), 0);
}
