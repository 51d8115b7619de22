//! Bringing files home, and making them anew.

use std::time::Duration;

use serde_json::Value;

use crate::scenes::{ended, files, home, run, there, warnings};
use crate::stand_in::{Config, Fault, StandIn, graphs};
use crate::support::Folder;

fn video() -> [(&'static str, Value); 1] {
    [("a", graphs::video("video/a", 0.1, 0, 1))]
}

/// No file of the run is a part of one.
fn no_part_is_left(folder: &Folder) {
    let left = files(&folder.newest());
    assert!(!left.iter().any(|path| path.to_string_lossy().contains(".part")), "{left:?}");
    assert!(!left.iter().any(|path| path.ends_with("a.mp4")), "{left:?}");
}

#[test]
fn a_download_that_breaks_off_fails_without_a_second_execution() {
    let server = StandIn::start();
    server.fail_next("GET /view", usize::MAX, Fault::CutBody);
    let (folder, ran) = run(&server, &video(), &[]);
    ran.exits(1)
        .says("FAILED: 1 of 1 scenes, exit 1 (failed)")
        .says("✗ a  downloadFailed: video/a/a.mp4: ");
    ended(&folder, &[("downloadFailed", "video/a/a.mp4: ")]);
    no_part_is_left(&folder);
    assert_eq!((server.posted(), server.executed()), (1, 1));
}

#[test]
fn a_file_that_is_not_there_is_asked_for_once() {
    let server = StandIn::start();
    server.fail_next("GET /view", usize::MAX, Fault::Status(404, ""));
    let (folder, ran) = run(&server, &video(), &[]);
    ran.exits(1);
    ended(&folder, &[("downloadFailed", "HTTP 404")]);
    no_part_is_left(&folder);
    let asked = server.requests().iter().filter(|request| request.is("GET /view")).count();
    assert_eq!((asked, server.posted()), (1, 1));
}

#[test]
fn a_repeated_download_is_whole_and_costs_no_execution() {
    let server = StandIn::start();
    server.fail_next("GET /view", 1, Fault::CutBody);
    let (folder, ran) = run(&server, &video(), &[]);
    ran.exits(0).says(": downloading again");
    ended(&folder, &[("succeeded", "")]);
    assert_eq!(home(&folder, "video/a/a.mp4"), there(&server, "output", "video", "a_00001_.mp4"));
    assert_eq!((server.posted(), server.executed()), (1, 1));
}

#[test]
fn a_cached_scene_whose_file_is_gone_is_made_anew() {
    let server = StandIn::start();
    run(&server, &video(), &[]).1.exits(0);
    server.forget_outputs();
    let (folder, ran) = run(&server, &video(), &["-SceneRetryBudget", "0"]);
    ran.exits(0).says("OK: 1 of 1 scenes, exit 0");
    ended(&folder, &[("succeeded", "")]);
    let said = warnings(&folder);
    assert!(
        said.contains("a file is gone from the server") && said.contains("made anew"),
        "{said}"
    );
    assert_eq!(home(&folder, "video/a/a.mp4"), there(&server, "output", "video", "a_00001_.mp4"));
    assert_eq!(server.executed(), 2);
}

#[test]
fn fresh_executes_every_time() {
    // It takes its time over /free, and a prompt that comes meanwhile is first.
    let free_delay = Duration::from_millis(700);
    let server = StandIn::with(Config { free_delay, ..Config::default() });
    run(&server, &video(), &[]).1.exits(0);
    let [(_, graph)] = video();
    let same = ["a", "b", "c", "d", "e"].map(|name| (name, graph.clone()));
    let (folder, ran) = run(&server, &same, &["-Fresh"]);
    ran.exits(0);
    ended(&folder, &[("succeeded", ""); 5]);
    assert_eq!((server.executed(), server.posted()), (6, 6));
}

#[test]
fn fresh_runs_once_more_what_came_from_the_cache_all_the_same() {
    // It acts on /free only after the next prompt.
    let free_delay = Duration::from_secs(60);
    let server = StandIn::with(Config { free_delay, ..Config::default() });
    run(&server, &video(), &[]).1.exits(0);
    let (folder, ran) = run(&server, &video(), &["-Fresh"]);
    ran.exits(0).says("-Fresh: nodes came from the cache all the same: once more");
    ended(&folder, &[("succeeded", "")]);
    assert_eq!(server.executed(), 2);
}

#[test]
fn fresh_that_cannot_free_says_that_the_scene_is_cached() {
    let server = StandIn::start();
    run(&server, &video(), &[]).1.exits(0);
    server.fail_next("POST /free", usize::MAX, Fault::Status(500, "no"));
    let (folder, ran) = run(&server, &video(), &["-Fresh"]);
    ran.exits(0)
        .says("nothing was freed: POST /free")
        .says("-Fresh: nodes came from the cache again")
        .says("cached, no execution");
    ended(&folder, &[("cached", "")]);
}
