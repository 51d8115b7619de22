//! Deadlines, at which our prompt is cancelled and nobody else's; prompts that vanish, and servers
//! that do.

use std::time::Duration;

use serde_json::Value;

use crate::stand_in::{Config, Fault, StandIn, State, Version, graphs};
use crate::support::{Folder, SOON, run, somebody_posts, start};

const VERSIONS: [Version; 3] = [Version::Ancient, Version::Recorded, Version::Newest];
const ONE_SECOND: [&str; 4] = ["-MaxWaitSeconds", "1", "-SceneRetryBudget", "0"];

fn servers() -> [StandIn; 3] {
    VERSIONS.map(|version| StandIn::with(Config { version, ..Config::default() }))
}

fn lasting(seconds: f64) -> (&'static str, Value) {
    ("a", graphs::video("video/a", seconds, 64, 1))
}

pub fn succeeded(server: &StandIn, id: &str) -> bool {
    let is_it = |(known, entry): &(String, Value)| {
        known == id && entry["status"]["status_str"] == "success"
    };
    server.wait_until(SOON, |state| state.history.iter().any(is_it))
}

#[test]
fn a_running_scene_is_cancelled_at_its_deadline_and_a_waiting_one_of_somebody_else_is_not() {
    let servers = servers();
    let runs = servers.each_ref().map(|server| {
        let folder = Folder::new();
        let running = start(&folder, &server.url(), &[lasting(600.0)], &ONE_SECOND);
        assert!(server.wait_until_running(SOON));
        let other = somebody_posts(server, &graphs::video("video/other", 0.5, 0, 2));
        (folder, running, other)
    });
    for (server, (folder, running, other)) in servers.iter().zip(runs) {
        let why = "running all the time in node 2 HoldMemory; cancelled on the server";
        running
            .wait()
            .exits(4)
            .concludes("✗ 1 scene failed in ", "(exit 4, deadline)")
            .says(&format!("✗ a  deadline, 1 s: {why}"));
        folder.ended(&[("deadline", why)]);
        assert!(succeeded(server, &other), "the other client's prompt did not survive");
        assert_eq!(server.posted(), 2);
    }
}

#[test]
fn a_cancel_route_that_is_out_of_order_is_none() {
    for server in servers() {
        server.fail_next("POST /api/jobs", usize::MAX, Fault::Reset);
        let (_, ran) = run(&server, &[lasting(600.0)], &ONE_SECOND);
        ran.exits(4).says("in node 2 HoldMemory; cancelled on the server");
        assert!(server.queue_is_empty());
    }
}

#[test]
fn the_time_that_a_silent_cancel_route_took_is_not_that_of_the_next_way() {
    let server = StandIn::with(Config { version: Version::Newest, ..Config::default() });
    server.fail_next("POST /api/jobs", 1, Fault::Hang);
    // It is silent for 5 s, and the node notices the interrupt behind it 2 s late.
    let (_, ran) = run(&server, &[("a", graphs::deaf("video/a", 600.0, 2.0))], &ONE_SECOND);
    ran.exits(4).says("in node 2 HoldMemory; cancelled on the server");
    assert!(server.queue_is_empty());
}

#[test]
fn a_queued_scene_is_taken_out_at_its_deadline_and_what_runs_before_it_goes_on() {
    let servers = servers();
    let runs = servers.each_ref().map(|server| {
        let other = somebody_posts(server, &graphs::video("video/other", 600.0, 0, 2));
        assert!(server.wait_until_running(SOON));
        let folder = Folder::new();
        let running = start(&folder, &server.url(), &[lasting(600.0)], &ONE_SECOND);
        (folder, running, other)
    });
    for (server, (folder, running, other)) in servers.iter().zip(runs) {
        running
            .wait()
            .exits(4)
            .says("Another client's prompt is running: its memory is in the figures")
            .says("✗ a  deadline, 1 s: queued all the time; cancelled on the server")
            .says("After      1 prompt of somebody else in the queue");
        folder.ended(&[("deadline", "queued all the time")]);
        let only_it =
            |state: &State| state.running_id() == Some(&other) && state.pending.is_empty();
        assert!(server.wait_until(Duration::ZERO, only_it));
        assert!(!server.requests().iter().any(|request| request.is("POST /interrupt")));
    }
}

#[test]
fn a_deadline_is_tried_again_once_the_prompt_is_gone() {
    let server = StandIn::start();
    let (folder, ran) = run(&server, &[lasting(600.0)], &["-MaxWaitSeconds", "1"]);
    ran.exits(4).says("✗ a  deadline, 2 × 1 s: running all the time");
    folder.ended(&[("deadline", "cancelled on the server")]);
    assert_eq!(server.posted(), 2);
    assert!(server.queue_is_empty());
}

#[test]
fn the_history_is_asked_a_last_time_at_the_deadline() {
    let server = StandIn::start();
    server.fail_next("GET /queue", 1, Fault::Delay(Duration::ZERO)); // the opening line's
    // The first poll sees nothing and ends after the deadline, with a history that cannot be read.
    server.fail_next("GET /history/", 1, Fault::Body("{}".into()));
    server.fail_next("GET /queue", 1, Fault::Delay(Duration::from_millis(1200)));
    server.fail_next("GET /history/", 1, Fault::Status(500, "in trouble"));
    let (folder, ran) = run(&server, &[("a", graphs::images("img/a", 1, 1))], &ONE_SECOND);
    ran.exits(0).says("HISTORY WARNING");
    folder.ended(&[("succeeded", "")]);
}

#[test]
fn a_server_that_comes_late_is_waited_for() {
    let server = StandIn::start();
    server.stop_listening();
    let folder = Folder::new();
    let graph = [("a", graphs::images("img/a", 1, 1))];
    let running = start(&folder, &server.url(), &graph, &["-WaitForComfyUI", "60"]);
    running.until_it_says("Waiting up to 60 s for ComfyUI at ");
    server.listen_again();
    let ran = running.wait().exits(0);
    assert_eq!(ran.stdout.matches("Waiting up to").count(), 1, "{ran}");
}
