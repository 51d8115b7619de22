//! Prompts that vanish, and servers that do.

use serde_json::Value;

use crate::scenes::{SOON, ended, run, start};
use crate::stand_in::{Fault, StandIn, graphs};
use crate::support::Folder;

fn lasting(seconds: f64) -> (&'static str, Value) {
    ("a", graphs::video("video/a", seconds, 64, 1))
}

#[test]
fn a_prompt_that_somebody_removed_is_lost_at_once() {
    let server = StandIn::start();
    let folder = Folder::new();
    let running = start(&folder, &server.url(), &[lasting(60.0)], &[]);
    assert!(server.wait_until_running(SOON));
    server.drop_prompts();
    let why = "gone from the queue without a history entry: somebody removed it";
    running
        .wait()
        .exits(6)
        .says("FAILED: 1 of 1 scenes, exit 6 (lost)")
        .says(&format!("✗ a  lost: {why}"));
    ended(&folder, &[("lost", why)]);
    assert_eq!(server.posted(), 1);
}

#[test]
fn a_restart_that_a_poll_met_is_tried_again() {
    let server = StandIn::start();
    let folder = Folder::new();
    let running = start(&folder, &server.url(), &[lasting(1.0)], &[]);
    running.until_it_says("[Scene a] Wan2 prompt queued");
    server.stop_listening();
    running.until_it_says("connection refused: polling on");
    server.restart();
    running.wait().exits(0).says("  2nd attempt (1st: lost, server restarted ");
    ended(&folder, &[("succeeded", "")]);
    assert_eq!(server.posted(), 2);
}

#[test]
fn a_restart_that_only_the_history_shows_is_tried_again() {
    let server = StandIn::start();
    let folder = Folder::new();
    let first = ("first", graphs::images("img/first", 1, 1));
    let running = start(&folder, &server.url(), &[first, lasting(1.0)], &[]);
    running.until_it_says("[Scene a] Wan2 prompt queued");
    server.restart();
    running.wait().exits(0).says("  2nd attempt (1st: lost, server restarted ");
    ended(&folder, &[("succeeded", ""), ("succeeded", "")]);
}

#[test]
fn a_history_that_stays_unreadable_is_given_up_where_that_was_asked_for() {
    let server = StandIn::start();
    server.fail_next("GET /history/", usize::MAX, Fault::Status(500, "out of order"));
    let graph = [("a", graphs::images("img/a", 1, 1))];
    let (folder, ran) = run(&server, &graph, &["-HistoryMaxAttempts", "2"]);
    ran.exits(6).says("HISTORY WARNING: GET /history/").says("HTTP 500: out of order: polling on");
    ended(&folder, &[("lost", "history not readable (GET /history/")]);
    assert_eq!(server.posted(), 1);
}

#[test]
fn no_server_at_the_start_is_exit_3_with_a_run_folder() {
    let server = StandIn::start();
    server.stop_listening();
    let scenes = [lasting(0.0), ("b", graphs::images("img/b", 1, 1))];
    let (folder, ran) = run(&server, &scenes, &[]);
    let url = server.url();
    let line = format!(
        "no ComfyUI at {url} (connection refused): start it, or --comfyui-url URL, or --wait-for-comfyui 120"
    );
    ran.exits(3).says(&line).says("FAILED: 2 of 2 scenes, exit 3 (unreachable)");
    ended(&folder, &[("skipped", "no ComfyUI"), ("skipped", "no ComfyUI")]);
    assert!(folder.read("run-summary.txt").contains(&line));
    assert_eq!(folder.metadata()["ExitCode"], 3);
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
    running.wait().exits(0);
}

#[test]
fn a_server_that_is_gone_at_the_deadline_is_unreachable_and_the_rest_is_skipped() {
    let server = StandIn::start();
    let folder = Folder::new();
    let scenes = [lasting(60.0), ("b", graphs::images("img/b", 1, 1))];
    let running = start(&folder, &server.url(), &scenes, &["-MaxWaitSeconds", "2"]);
    running.until_it_says("[Scene a] Wan2 prompt queued");
    server.stop_listening();
    running
        .wait()
        .exits(3)
        .says("FAILED: 2 of 2 scenes, exit 3 (unreachable)")
        .says("✗ a  unreachable: at the deadline: GET /history/")
        .says("✗ b  skipped: server gone")
        .says("GPU: unknown, the server does not answer: a may still run there");
    ended(&folder, &[("unreachable", "connection refused"), ("skipped", "server gone")]);
}
