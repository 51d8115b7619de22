//! Ctrl-C, Ctrl-Break, SIGTERM and SIGHUP: our prompt is cancelled on the server, the record is whole,
//! exit 130. What they do to `monitor` is in `monitor`, to a wait for LM Studio in `llm`.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::killed::state;
use crate::project::bench::Project;
use crate::signals::{self, ctrl_c};
use crate::stand_in::{Config, Fault, StandIn, State, Version, graphs};
use crate::support::{
    Folder, Ran, Running, SOON, asked, keyframe_story, somebody_posts, wait_until,
};

/// On a terminal of its own.
fn start_on(folder: &Folder, url: &str, words: &[&str]) -> Running {
    folder.start_with(&[&["--comfyui-url", url], words].concat(), signals::alone)
}

/// Sends Ctrl-C: the end of the run, which takes so many seconds at most, each of them a bound of a
/// call or of a watch.
#[track_caller]
fn ends_within(seconds: u64, running: Running) -> Ran {
    let begun = Instant::now();
    ctrl_c(&running);
    let ran = running.wait().exits(130).complains("stopping…");
    assert!(begun.elapsed() < Duration::from_secs(seconds), "{:?}\n{ran}", begun.elapsed());
    ran
}

/// What the run has left for the next one: its prompts.
fn left(server: &StandIn, folder: &Folder) -> usize {
    let Ok(state) = fs::read(state(folder, server)) else { return 0 };
    let state: Value = serde_json::from_slice(&state).unwrap();
    state["Prompts"].as_array().unwrap().len()
}

/// A run of a long scene and another one, seen running on the server.
fn running(server: &StandIn, folder: &Folder) -> Running {
    folder.workflow("long.json", &graphs::video("long", 60.0, 100, 1));
    folder.workflow("next.json", &graphs::video("next", 0.1, 100, 2));
    let running = start_on(folder, &server.url(), &["long.json", "next.json"]);
    assert!(server.wait_until_running(SOON));
    running
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn ctrl_c_leaves_an_empty_queue_and_a_whole_record() {
    for version in [Version::Ancient, Version::Recorded, Version::Newest] {
        let server = StandIn::with(Config { version, ..Config::default() });
        let folder = Folder::new();
        let running = running(&server, &folder);
        ctrl_c(&running);
        let ran = running
            .wait()
            .exits(130)
            .complains("stopping…")
            .concludes("✗ interrupted after ", " s: 0 of 2 scenes succeeded (exit 130)")
            .says("✗ long  interrupted: by a signal (Ctrl-C); cancelled on the server")
            .says("✗ next  skipped: interrupted")
            .says("ComfyUI idle, queue empty")
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
    let running = running(&server, &folder);
    signals::ctrl_break(&running);
    running.wait().exits(130);
    assert!(server.queue_is_empty());
}

#[cfg(unix)] // Windows has no such signals.
#[test]
fn sigterm_and_sighup_are_interrupts_too() {
    for name in ["-TERM", "-HUP"] {
        let (server, folder) = (StandIn::start(), Folder::new());
        let running = running(&server, &folder);
        signals::signal(&running, name);
        running.wait().exits(130);
        assert!(server.queue_is_empty());
    }
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn another_client_s_prompt_survives_our_ctrl_c() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("ours.json", &graphs::video("ours", 60.0, 10, 4));
    let other = somebody_posts(&server, &graphs::video("other", 600.0, 10, 3));
    assert!(server.wait_until_running(SOON));
    let ours = start_on(&folder, &server.url(), &["ours.json"]);
    assert!(server.wait_until(SOON, |state| state.pending.len() == 1));
    ctrl_c(&ours);
    ours.wait().exits(130);
    let is_alone = |state: &State| state.running_id() == Some(&other) && state.pending.is_empty();
    assert!(server.wait_until(Duration::ZERO, is_alone));
}

/// On Windows the second one may find no process any more: what sends it has to be started.
#[test]
#[cfg(unix)]
fn two_signals_of_one_cause_are_one_interrupt() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let running = running(&server, &folder);
    server.fail_next("POST /", 1, Fault::Delay(Duration::from_millis(500)));
    ctrl_c(&running);
    ctrl_c(&running);
    running.wait().exits(130).says("cancelled on the server").says("=== RUN COMPLETE ===");
    assert!(server.queue_is_empty());
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn a_second_ctrl_c_two_seconds_later_cancels_once_more_and_quits() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let running = running(&server, &folder);
    running.until_it_says("Wan2 prompt queued");
    server.fail_next("GET /", usize::MAX, Fault::Hang);
    server.fail_next("POST /", usize::MAX, Fault::Hang);
    ctrl_c(&running);
    running.until_it_says("stopping…");
    std::thread::sleep(Duration::from_millis(2100));
    let (begun, cancels) = (Instant::now(), asked(&server, "POST /"));
    ctrl_c(&running);
    let ran = running.wait().exits(130);
    assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
    assert!(!ran.stdout.contains("RUN COMPLETE"), "{ran}");
    assert!(asked(&server, "POST /") > cancels, "{ran}");
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn ctrl_c_while_waiting_for_the_server() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::video("flow", 0.1, 10, 1));
    let url = server.url();
    drop(server);
    let running = start_on(&folder, &url, &["flow.json", "-WaitForComfyUI", "60"]);
    running.until_it_says("Waiting up to 60 s for ComfyUI");
    ends_within(10, running).says("✗ flow  skipped: interrupted");
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn a_post_whose_answer_is_lost_is_looked_for_and_cancelled() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("long.json", &graphs::video("long", 60.0, 10, 1));
    server.fail_next("POST /prompt", 1, Fault::LoseAnswer);
    server.fail_next("GET /queue", 1, Fault::Status(500, "busy"));
    let running = start_on(&folder, &server.url(), &["long.json"]);
    assert!(server.wait_until_running(SOON));
    ctrl_c(&running);
    running.wait().exits(130).says("cancelled on the server");
    assert!(server.queue_is_empty());
    let attempt = &folder.metadata()["Scenes"][0]["Attempts"][0];
    assert_eq!(attempt["Outcome"], "interrupted");
    assert!(attempt["PromptId"].is_string());
}

/// It is not there yet, and comes when the run is over: the next one knows it.
#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn a_post_that_is_carried_out_after_the_end_is_cancelled_by_the_next_run() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("long.json", &graphs::video("long", 60.0, 10, 1));
    folder.workflow("short.json", &graphs::polled("short"));
    server.fail_next("POST /prompt", 1, Fault::ActLate(Duration::from_secs(6)));
    let running = start_on(&folder, &server.url(), &["long.json"]);
    running.until_it_says("looking whether the prompt arrived");
    ends_within(5, running).says("should it yet come").says("not known to stay idle");
    assert_eq!((left(&server, &folder), server.posted()), (1, 0));
    assert!(server.wait_until_running(SOON));
    folder.run_on(&server.url(), &["short.json"]).exits(0).says("long: cancelled on the server");
    assert!(server.queue_is_empty());
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn ctrl_c_while_waiting_for_another_run() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let first = running(&server, &folder);
    let second = start_on(&folder, &server.url(), &["next.json"]);
    second.until_it_says("waiting up to 60 s for the run of ");
    ends_within(10, second).complains("interrupted before a scene was run\n");
    assert_eq!((folder.runs().len(), server.posted()), (1, 1));
    drop(first);
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn ctrl_c_while_a_request_stalls() {
    let nothing = "interrupted: by a signal (Ctrl-C); nothing of it was running";
    for (route, fault, words, end, posted) in [
        ("GET /view", Fault::Hang, &["flow.json"][..], "✗ flow  interrupted", 1),
        ("POST /free", Fault::Hang, &["-Fresh", "flow.json"], &format!("✗ flow  {nothing}"), 0),
        (
            "POST /upload/image",
            Fault::Hang,
            &keyframe_story(&Folder::new()),
            &format!("✗ a  {nothing}"),
            0,
        ),
    ] {
        let (server, folder) = (StandIn::start(), Folder::new());
        folder.workflow("flow.json", &graphs::video("flow", 0.1, 10, 1));
        keyframe_story(&folder);
        server.fail_next(route, usize::MAX, fault);
        let running = start_on(&folder, &server.url(), words);
        assert!(server.wait_until_request(route, 1, SOON));
        ends_within(5, running).says(end);
        assert_eq!(server.posted(), posted);
        let half = fs::read_dir(folder.newest().join("video/flow")).map_or(0, Iterator::count);
        assert_eq!(half, 0);
    }
}

/// A poll, the two calls of a cancel, the last reading and the last look at the queue: a moment each
/// where the server is silent. The prompt is left to the next run.
#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn ctrl_c_while_the_server_is_silent_or_away() {
    for is_away in [false, true] {
        let (server, folder) = (StandIn::start(), Folder::new());
        let running = running(&server, &folder);
        running.until_it_says("Wan2 prompt queued");
        if is_away {
            server.stop_listening();
            running.until_it_says("polling on");
        } else {
            server.fail_next("GET /", usize::MAX, Fault::Hang);
            server.fail_next("POST /", usize::MAX, Fault::Hang);
        }
        ends_within(10, running)
            .says("✗ long  interrupted: by a signal (Ctrl-C); ")
            .says("✗ next  skipped: interrupted")
            .says("not known, the server does not answer: long may still run there");
        assert_eq!(left(&server, &folder), 1);
    }
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn ctrl_c_while_a_prompt_ignores_its_end() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("deaf.json", &graphs::deaf("video/deaf", 600.0, 600.0));
    let running = start_on(&folder, &server.url(), &["deaf.json"]);
    assert!(server.wait_until_running(SOON));
    running.until_it_says("Wan2 prompt queued");
    ends_within(10, running)
        .says("✗ deaf  interrupted: by a signal (Ctrl-C); cancelled, but still running");
    assert_eq!(left(&server, &folder), 1);
}

/// A file of 8 GB in the run's folder: its archive is not written in the moment that a signal takes.
#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn ctrl_c_while_the_archive_is_written() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let artifacts = folder.path().join("artifacts");
    fs::create_dir(&artifacts).unwrap();
    folder.workflow("flow.json", &graphs::video("flow", 600.0, 10, 1));
    let running = start_on(&folder, &server.url(), &["flow.json"]);
    running.until_it_says("Wan2 prompt queued");
    fs::File::create(folder.newest().join("large")).unwrap().set_len(8 << 30).unwrap();
    assert!(server.wait_until_running(SOON));
    server.finish_running();
    let begun = || fs::read_dir(&artifacts).unwrap().next().is_some();
    wait_until("an archive", begun);
    let ran = ends_within(30, running).says("WARNING: no archive: interrupted");
    assert!(!begun(), "a part of the archive stays\n{ran}");
    assert!(server.queue_is_empty());
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn ctrl_c_while_a_helper_runs() {
    for (script, posted) in
        [("preflight-mappings.ts", 0), ("generate-story-scenes.ts", 0), ("run-vitests.ps1", 1)]
    {
        let project = Project::new();
        let running = project.start(&format!("{script}:started"), &["-Scenes", "1"]);
        project.wait_for_what_it_started();
        let ran = ends_within(20, running);
        project.nothing_is_left();
        assert_eq!(project.server.posted(), posted, "{ran}");
        assert!(!project.root().join("artifacts").exists(), "{ran}");
        assert_eq!(project.folder.metadata()["ExitCode"], 130, "{ran}");
        assert!(project.notes().iter().all(|note| !note.contains("validate-run-summary")), "{ran}");
        let no_scene = ran.stdout.contains("✗ interrupted before a scene was run (exit 130)");
        assert_eq!(no_scene, posted == 0, "{ran}");
    }
}
