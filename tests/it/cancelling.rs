//! Deadlines: our prompt ends with its scene, and nobody else's does.

use std::time::Duration;

use serde_json::Value;

use crate::scenes::{SOON, ended, run, somebody_posts, start};
use crate::stand_in::{Config, Fault, StandIn, State, Version, graphs};
use crate::support::Folder;

const VERSIONS: [Version; 3] = [Version::Ancient, Version::Recorded, Version::Newest];
const ONE_SECOND: [&str; 4] = ["-MaxWaitSeconds", "1", "-SceneRetryBudget", "0"];

fn servers() -> [StandIn; 3] {
    VERSIONS.map(|version| StandIn::with(Config { version, ..Config::default() }))
}

/// A scene that does not end.
fn endless() -> [(&'static str, Value); 1] {
    [("a", graphs::video("video/a", 600.0, 64, 1))]
}

fn succeeded(server: &StandIn, id: &str) -> bool {
    server.wait_until(SOON, |state| {
        state
            .history
            .iter()
            .any(|(known, entry)| known == id && entry["status"]["status_str"] == "success")
    })
}

#[test]
fn a_running_scene_is_cancelled_at_its_deadline_and_a_waiting_one_of_somebody_else_is_not() {
    let servers = servers();
    let runs = servers.each_ref().map(|server| {
        let folder = Folder::new();
        let running = start(&folder, &server.url(), &endless(), &ONE_SECOND);
        assert!(server.wait_until_running(SOON));
        let other = somebody_posts(server, &graphs::video("video/other", 0.5, 0, 2));
        (folder, running, other)
    });
    for (server, (folder, running, other)) in servers.iter().zip(runs) {
        let why = "running all the time, never finished; cancelled and seen gone";
        running
            .wait()
            .exits(4)
            .says("FAILED: 1 of 1 scenes, exit 4 (deadline)")
            .says(&format!("✗ a  deadline, 1 s: {why}"));
        ended(&folder, &[("deadline", why)]);
        assert!(succeeded(server, &other), "the other client's prompt did not survive");
        assert_eq!(server.posted(), 2);
    }
}

#[test]
fn a_queued_scene_is_taken_out_at_its_deadline_and_what_runs_before_it_goes_on() {
    let servers = servers();
    let runs = servers.each_ref().map(|server| {
        let other = somebody_posts(server, &graphs::video("video/other", 600.0, 0, 2));
        assert!(server.wait_until_running(SOON));
        let folder = Folder::new();
        let running = start(&folder, &server.url(), &endless(), &ONE_SECOND);
        (folder, running, other)
    });
    for (server, (folder, running, other)) in servers.iter().zip(runs) {
        running
            .wait()
            .exits(4)
            .says("Another client's prompt is running: its memory is in the figures")
            .says("✗ a  deadline, 1 s: queued all the time; cancelled and seen gone")
            .says("GPU: 1 prompt of somebody else in the queue");
        ended(&folder, &[("deadline", "queued all the time")]);
        let only_it =
            |state: &State| state.running_id() == Some(&other) && state.pending.is_empty();
        assert!(server.wait_until(Duration::ZERO, only_it));
        assert!(!server.requests().iter().any(|request| request.is("POST /interrupt")));
    }
}

#[test]
fn a_deadline_is_tried_again_once_the_prompt_is_gone() {
    let server = StandIn::start();
    let (folder, ran) = run(&server, &endless(), &["-MaxWaitSeconds", "1"]);
    ran.exits(4).says("✗ a  deadline, 2 × 1 s: running all the time");
    ended(&folder, &[("deadline", "cancelled and seen gone")]);
    assert_eq!(server.posted(), 2);
    assert!(server.queue_is_empty());
}

#[test]
fn the_history_is_asked_a_last_time_at_the_deadline() {
    let server = StandIn::start();
    let as_it_is = || Fault::Delay(Duration::ZERO);
    server.fail_next("GET /queue", 1, as_it_is()); // the opening line's
    // A poll that ends after the deadline, and sees nothing.
    server.fail_next("GET /history/", 1, as_it_is());
    server.fail_next("GET /queue", 1, Fault::Delay(Duration::from_millis(1200)));
    server.fail_next("GET /history/", 1, Fault::Status(500, "in trouble"));
    let graph = [("a", graphs::video("video/a", 0.5, 0, 1))];
    let (folder, ran) = run(&server, &graph, &ONE_SECOND);
    ran.exits(0).says("HISTORY WARNING");
    ended(&folder, &[("succeeded", "")]);
}

#[test]
fn nothing_is_posted_while_a_deaf_prompt_runs_and_the_rest_is_skipped() {
    let server = StandIn::start();
    let scenes = [
        ("a", graphs::deaf("video/a", 600.0, 600.0)),
        ("b", graphs::images("img/b", 1, 1)),
        ("c", graphs::images("img/c", 1, 2)),
    ];
    let (folder, ran) = run(&server, &scenes, &["-MaxWaitSeconds", "1"]);
    ran.exits(1)
        .says(
            "✗ a  deadline, 1 s: running all the time, never finished; cancel asked, still running",
        )
        .says("✗ b  skipped: GPU still busy with a")
        .says("GPU not free: a was asked to end and still runs");
    ended(
        &folder,
        &[
            ("deadline", "cancel asked, still running"),
            ("skipped", "GPU still busy with a"),
            ("skipped", "GPU still busy with a"),
        ],
    );
    assert_eq!(server.posted(), 1);
}

#[test]
fn the_next_scene_waits_for_a_deaf_prompt() {
    let server = StandIn::start();
    let scenes = [("a", graphs::deaf("video/a", 600.0, 6.0)), ("b", graphs::images("img/b", 1, 1))];
    let folder = Folder::new();
    let options = ["-MaxWaitSeconds", "1", "-SceneRetryBudget", "0"];
    let running = start(&folder, &server.url(), &scenes, &options);
    running.until_it_says("cancel asked, still running");
    assert_eq!(server.posted(), 1);
    running.wait().exits(4).says("✓ b  ").says("GPU free: queue empty");
    ended(&folder, &[("deadline", "cancel asked, still running"), ("succeeded", "")]);
}
