//! Runs that were killed, and runs that meet.

use std::fs;

use serde_json::{Value, json};

use crate::cancelling::succeeded;
use crate::stand_in::{Config, Fault, StandIn, Version, graphs};
use crate::support::{Folder, SOON, somebody_posts};

pub fn state(folder: &Folder, server: &StandIn) -> std::path::PathBuf {
    folder.path().join(format!(".run-comfyui-e2e.127.0.0.1-{}.json", server.port()))
}

pub fn long_and_short() -> Folder {
    let folder = Folder::new();
    folder.workflow("long.json", &graphs::video("video/long", 600.0, 0, 1));
    folder.workflow("short.json", &graphs::images("img/short", 1, 2));
    folder
}

#[test]
fn a_killed_run_is_finished_by_the_next() {
    for version in [Version::Ancient, Version::Recorded, Version::Newest] {
        let ignore_prompt_id = matches!(version, Version::Ancient);
        let server = StandIn::with(Config { version, ignore_prompt_id, ..Config::cuda() });
        let folder = long_and_short();
        let running = folder.start_on(&server.url(), &["-Sample", "0.1", "long.json"]);
        assert!(server.wait_until_running(SOON));
        running.until_it_says("prompt queued");
        drop(running);
        assert!(!server.queue_is_empty());
        let killed = folder.runs().remove(0);
        let left = fs::read(state(&folder, &server)).unwrap();
        let left: Value = serde_json::from_slice(&left).unwrap();
        assert_eq!((&left["Ended"], &left["Prompts"][0]["Scene"]), (&json!(false), &json!("long")));
        assert!(left["Url"].as_str().unwrap().starts_with("http://127.0.0.1:"));

        let ran = folder.run_on(&server.url(), &["short.json"]).exits(0);
        ran.says("was killed (process").says("long: cancelled on the server\n");
        assert!(server.queue_is_empty());
        let text = fs::read_to_string(killed.join("run-summary.txt")).unwrap();
        let end = text.split("=== RUN INTERRUPTED ===").nth(1).expect("an end");
        for line in ["long: cancelled on the server", "Peak VRAM: ", "VRAM log: "] {
            assert!(end.contains(line), "{line}: {text}");
        }
        assert_eq!(server.posted(), 2, "nothing is generated twice");
        assert!(!state(&folder, &server).exists());
        assert!(state(&folder, &server).with_extension("lock").is_file());
        folder.run_on(&server.url(), &["short.json"]).exits(0).never_says("was killed");
        let again = fs::read_to_string(killed.join("run-summary.txt")).unwrap();
        assert_eq!(again, text, "an end is added once");
    }
}

#[test]
fn an_unreachable_server_leaves_the_prompt_to_a_later_run() {
    let (server, folder) = (StandIn::start(), long_and_short());
    // Its state file lies among the workflows and is none of them.
    let words = |id| ["--workflow", ".", "--scene-filter", id];
    let running = folder.start_on(&server.url(), &words("long"));
    assert!(server.wait_until_running(SOON));
    drop(running);
    server.stop_listening();
    folder
        .run_on(&server.url(), &words("short"))
        .exits(3)
        .says("long may still run on the server\n");
    server.listen_again();
    folder
        .run_on(&server.url(), &words("short"))
        .exits(0)
        .says("Left by the run of ")
        .says("long: cancelled on the server\n");
    assert!(server.queue_is_empty());
}

#[test]
fn only_the_killed_run_s_own_prompt_is_cancelled() {
    let (server, folder) = (StandIn::start(), long_and_short());
    let running = folder.start_on(&server.url(), &["long.json"]);
    assert!(server.wait_until_running(SOON));
    let theirs = somebody_posts(&server, &graphs::video("video/theirs", 600.0, 0, 3));
    drop(running);
    // Theirs runs once ours is gone, and until then nothing of the next run does.
    let next = folder.start_on(&server.url(), &["short.json"]);
    assert!(server.wait_until(SOON, |state| state.running_id() == Some(&theirs)));
    server.finish_running();
    next.wait().exits(0).says("long: cancelled on the server");
    assert!(succeeded(&server, &theirs));
}

#[test]
fn a_prompt_whose_answer_nobody_read_is_found_by_its_ids() {
    let config = Config { version: Version::Ancient, ignore_prompt_id: true, ..Config::default() };
    let (server, folder) = (StandIn::with(config), long_and_short());
    server.fail_next("POST /prompt", 1, Fault::LoseAnswer);
    let running = folder.start_on(&server.url(), &["long.json"]);
    assert!(server.wait_until_running(SOON));
    drop(running);
    folder.run_on(&server.url(), &["short.json"]).exits(0).says("long: cancelled on the server");
    assert!(server.queue_is_empty());
}

#[test]
fn the_second_run_waits_for_the_first_and_says_for_whom() {
    let (server, folder) = (StandIn::start(), long_and_short());
    let first = folder.start_on(&server.url(), &["long.json"]);
    assert!(server.wait_until_running(SOON));
    let second = folder.start_on(&server.url(), &["short.json"]);
    second.until_it_says("run-comfyui-e2e: waiting up to 60 s for the run of ");
    assert_eq!(folder.runs().len(), 1, "no run folder while it waits");
    server.finish_running();
    first.wait().exits(0);
    second.wait().exits(0).complains("(process ");
    assert_eq!(folder.runs().len(), 2);
}

#[test]
fn two_servers_under_one_root_do_not_wait_for_each_other() {
    let (one, two, folder) = (StandIn::start(), StandIn::start(), long_and_short());
    let first = folder.start_on(&one.url(), &["long.json"]);
    assert!(one.wait_until_running(SOON));
    folder.run_on(&two.url(), &["short.json"]).exits(0).never_says("waiting");
    drop(first);
}

#[test]
fn two_path_prefixes_of_a_host_are_two_servers() {
    let (server, folder) = (StandIn::start(), long_and_short());
    let gpu = |n: u8| format!("{}/gpu{n}", server.url());
    // Its prefix is answered 404: it ends at once, whoever else is at work.
    let first = folder.start_on(&gpu(0), &["--wait-for-comfyui", "60", "long.json"]);
    first.until_it_says("Waiting up to 60 s");
    folder
        .run_on(&gpu(1), &["short.json"])
        .exits(3)
        .never_says("waiting up to")
        .never_says("killed");
    drop(first);
    folder.run_on(&gpu(1), &["short.json"]).exits(3).never_says("was killed");
    folder.run_on(&gpu(0), &["short.json"]).exits(3).says("was killed");
}

#[test]
#[cfg(unix)]
fn a_root_that_cannot_be_written_is_told_and_the_run_goes_on() {
    let (server, folder) = (StandIn::start(), long_and_short());
    // Whoever may write everywhere cannot open a folder for writing either.
    let lock = state(&folder, &server).with_extension("lock");
    fs::create_dir(&lock).unwrap();
    folder
        .run_on(&server.url(), &["short.json"])
        .exits(0)
        .says("another run on this server would not be noticed\n");
    assert!(!state(&folder, &server).exists());
}

#[test]
#[ignore = "it waits a minute"]
fn a_run_that_waited_in_vain_ends_with_its_code() {
    let (server, folder) = (StandIn::start(), long_and_short());
    folder.workflow("long.json", &graphs::video("video/long", 80.0, 0, 1));
    let first = folder.start_on(&server.url(), &["long.json"]);
    assert!(server.wait_until_running(SOON));
    folder
        .run_on(&server.url(), &["short.json"])
        .exits(8)
        .complains("is still at work on this server after 60 s: nothing was run");
    assert_eq!(folder.runs().len(), 1);
    drop(first);
}

/// Kills runs at moments spread over a run's length, whatever they are at then: what had been written
/// is whole, and the next run clears up.
#[track_caller]
fn kill_at(moments: u32) {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    for (color, name) in (1..).zip(["a", "b"]) {
        let graph = graphs::video(&format!("video/{name}"), 0.15, 0, color);
        folder.workflow(&format!("{name}.json"), &graph);
    }
    let start = |moment: u32| {
        // Another colour each time, lest all of it come from the cache.
        let color = format!("1.color={}", 10 + moment);
        let words = ["-Sample", "0.05", "-Set", &color, "-Poll", "0.05", "a.json", "b.json"];
        folder.start_on(&server.url(), &words)
    };
    let length = {
        let begun = std::time::Instant::now();
        start(moments).wait().exits(0);
        begun.elapsed()
    };
    for moment in 0..moments {
        let before = folder.runs();
        let running = start(moment);
        std::thread::sleep(length * moment / moments);
        drop(running);
        let killed: Vec<_> =
            folder.runs().into_iter().filter(|run| !before.contains(run)).collect();
        for run in &killed {
            for name in ["vram-usage.log", "run-summary.txt"] {
                let text = fs::read_to_string(run.join(name)).unwrap_or_default();
                assert!(text.is_empty() || text.ends_with('\n'), "{moment}: {name}: {text:?}");
            }
            let log = fs::read_to_string(run.join("vram-usage.log")).unwrap_or_default();
            for line in log.lines() {
                assert!(line.contains(",Used=") || line.contains(",Missed="), "{moment}: {line}");
            }
        }
        let left = fs::read(state(&folder, &server)).ok();
        let left = left.map(|text| serde_json::from_slice::<Value>(&text).expect("a whole state"));
        let ended = left.is_none_or(|left| left["Ended"] == json!(true));
        folder.run_on(&server.url(), &["a.json"]).exits(0);
        assert!(server.queue_is_empty(), "{moment}: something was left");
        for run in &killed {
            let text = fs::read_to_string(run.join("run-summary.txt")).unwrap_or_default();
            let end = ["=== RUN INTERRUPTED ===", "=== RUN COMPLETE ==="];
            assert!(ended || end.iter().any(|end| text.contains(end)), "{moment}: {text}");
        }
    }
}

#[test]
fn killed_at_any_moment_a_run_leaves_whole_files_and_the_next_clears_up() {
    kill_at(8);
}

#[test]
#[ignore = "it takes minutes"]
fn killed_at_three_hundred_moments() {
    kill_at(300);
}
