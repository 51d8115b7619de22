//! Every way in which a scene ends, as its user reads it, and the files that come of it. What ends
//! at a deadline or with its server is in `cancelling`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::stand_in::{Config, Fault, StandIn, graphs};
use crate::support::{Folder, asked, prompts, run, view};

pub fn video() -> [(&'static str, Value); 1] {
    [("a", graphs::video("video/a", 0.1, 64, 1))]
}

/// Fails the test unless the run's video is the server's.
#[track_caller]
pub fn has_the_video(folder: &Folder, server: &StandIn) -> usize {
    let video = folder.output("video/a/a.mp4");
    assert_eq!(video, view(server, "output", "video", "a_00001_.mp4"));
    video.len()
}

#[test]
fn a_scene_that_succeeds_has_its_files() {
    let server = StandIn::start();
    let scenes = [
        video()[0].clone(),
        ("p", graphs::images("img/p", 2, 7)),
        // Previews are outputs where nothing else is saved.
        ("q", graphs::previews(1, 7)),
    ];
    let (folder, ran) = run(&server, &scenes, &[]);
    ran.exits(0)
        .says("✓ 3 of 3 scenes in ")
        .says("✓ a  ")
        .says("video/a/a.mp4  ")
        .says("outputs/p/p_00001_.png  ")
        .says(" and 1 more")
        .says("ComfyUI idle, queue empty");
    folder.ended(&[("succeeded", ""); 3]);
    let bytes = has_the_video(&folder, &server);
    let outputs = &folder.metadata()["Scenes"][0]["Outputs"];
    assert_eq!(*outputs, json!([{"Path": "video/a/a.mp4", "Bytes": bytes}]));
    for (path, kind, subfolder, name) in [
        ("outputs/p/p_00001_.png", "output", "img", "p_00001_.png"),
        ("outputs/p/p_00002_.png", "output", "img", "p_00002_.png"),
        ("outputs/q/ComfyUI_temp_00001_.png", "temp", "", "ComfyUI_temp_00001_.png"),
    ] {
        assert_eq!(folder.output(path), view(&server, kind, subfolder, name), "{path}");
    }
}

#[test]
fn a_cached_scene_has_its_files_and_no_figures() {
    let server = StandIn::start();
    run(&server, &video(), &[]).1.exits(0);
    let (folder, ran) = run(&server, &video(), &[]);
    ran.exits(0)
        .says("✓ nothing was generated: the scene came from ComfyUI's cache (use -Fresh)")
        .says("a: no execution")
        .says("  from the cache, no figures (use -Fresh)  video/a/a.mp4  ");
    folder.ended(&[("cached", "")]);
    let scene = &folder.metadata()["Scenes"][0];
    assert_eq!(scene["Vram"], Value::Null);
    let cached = scene["CachedNodes"].as_array().unwrap();
    assert!(["1", "2", "3", "4"].iter().all(|id| cached.contains(&json!(id))), "{cached:?}");
    has_the_video(&folder, &server);
    assert_eq!(server.executed(), 1);
    // Saved under another name, only that node is executed.
    let (folder, ran) = run(&server, &[("b", graphs::video("video/b", 0.1, 64, 1))], &[]);
    ran.exits(0).says("partly cached: 3 of its nodes were not executed");
    folder.ended(&[("succeeded", "")]);
    assert!(folder.warnings().contains("partly cached: 3 of"));
}

/// Runs a scene that ends without success, and fails the test unless its line says so and why, with
/// that exit code and that many prompts posted.
#[track_caller]
fn ends(graph: Value, options: &[&str], (exit, posted): (i32, usize), told: &str) -> StandIn {
    let server = StandIn::start();
    let (folder, ran) = run(&server, &[("a", graph)], options);
    let reason = if exit == 5 { ", out of memory" } else { "" };
    ran.exits(exit)
        .concludes("✗ 1 scene failed in ", &format!("(exit {exit}{reason})"))
        .says(&format!("✗ a  {told}"));
    let (outcome, why) = told.split_once(": ").unwrap();
    let outcome = outcome.split(',').next().unwrap();
    folder.ended(&[(outcome, why)]);
    assert_eq!(server.posted(), posted, "{outcome}");
    // What is good is brought home.
    let is_partial = outcome == "partial";
    assert_eq!(asked(&server, "GET /view") > 0, is_partial, "{outcome}");
    assert!(!is_partial || has_the_video(&folder, &server) > 0);
    server
}

#[test]
fn a_scene_that_does_not_succeed_says_why() {
    let part = "partial: node 9 SaveImage '99': Exception when validating node";
    ends(graphs::partial("video/a"), &[], (1, 1), part);
    let unknown = "rejected: Cannot execute because node NoSuchNode does not exist.";
    ends(graphs::unknown_node(), &[], (1, 0), unknown);
    let failing = "failed, 2 attempts: node 2 FailAlways: RuntimeError: no such thing";
    ends(graphs::failing("no such thing"), &[], (1, 2), failing);
    // It saves a picture before it fails.
    let late = "failed: node 4 FailAlways: RuntimeError: late";
    ends(graphs::failing_late("img/a", "late"), &["-SceneRetryBudget", "0"], (1, 1), late);
    let memory =
        "outOfMemory, 2 attempts: node 2 OutOfMemory: torch.OutOfMemoryError: Allocation on device";
    let server = ends(graphs::out_of_memory(), &[], (5, 2), memory);
    assert_eq!(server.posts(), ["/prompt", "/free", "/prompt"]);
    let nothing = "noOutput: succeeded without output files: does the workflow have a Save node?";
    ends(graphs::images("img/a", 0, 1), &[], (1, 1), nothing);
}

#[test]
fn what_the_server_refuses_is_rejected_in_its_words() {
    let server = StandIn::start();
    let mut near = graphs::invalid();
    near["4"]["inputs"]["ckpt_name"] = json!("xl.safetensor");
    let scenes = [
        ("input", graphs::missing_input()),
        ("list", near),
        ("nothing", graphs::no_outputs()),
        ("credentials", graphs::images("a", 1, 1)),
    ];
    server.fail_next("POST /prompt", 3, Fault::Delay(Duration::ZERO));
    server.fail_next("POST /prompt", 1, Fault::Status(401, "401: Unauthorized"));
    let (folder, ran) = run(&server, &scenes, &[]);
    ran.exits(1);
    let told = [
        "node 3 SaveVideo video: Required input is missing",
        "node 4 CheckpointLoaderSimple ckpt_name: 'xl.safetensor' is not in the server's list (nearest: 'xl.safetensors')",
        "Prompt has no outputs",
        "HTTP 401 (it wants other credentials: --header-file FILE or user:password@ in the URL)",
    ];
    folder.ended(&told.map(|why| ("rejected", why)));
    assert_eq!(prompts(&server).len(), 4, "no second attempt");
}

#[test]
fn a_second_attempt_that_succeeds_is_told_in_the_scenes_line() {
    let server = StandIn::start();
    let (folder, ran) = run(&server, &[("a", graphs::fail_once("video/a", "a hiccup"))], &[]);
    ran.exits(0)
        .says("ERROR: failed: node 2 FailOnce: RuntimeError: a hiccup: trying again (1 of 1)")
        .says("✓ 1 scene in ")
        .says("  2nd attempt (1st: failed, node 2 FailOnce: RuntimeError: a hiccup)");
    folder.ended(&[("succeeded", "")]);
    assert_eq!(folder.metadata()["Scenes"][0]["AttemptsRun"], 2);
}

#[test]
fn a_reason_of_any_length_is_told_in_a_line_and_kept_in_the_history() {
    let server = StandIn::start();
    let reason = format!("Error(s) in loading state_dict: {}end", "size mismatch, ".repeat(10_000));
    let (folder, ran) = run(&server, &[("f", graphs::failing(&reason))], &[]);
    let ran = ran.exits(1).says("Error(s) in loading state_dict: size mismatch, size");
    for text in [&ran.stdout, &folder.read("run-summary.txt"), &folder.read("report.html")] {
        assert!(text.lines().all(|line| line.len() < 4000), "{ran}");
    }
    assert!(folder.read("history/f.json").contains(&reason));
}

#[test]
fn fresh_executes_every_time() {
    // This server takes its time over /free, and a prompt that comes meanwhile is first.
    let free_delay = Duration::from_millis(700);
    let server = StandIn::with(Config { free_delay, ..Config::default() });
    run(&server, &video(), &[]).1.exits(0);
    let [(_, graph)] = video();
    let same = ["a", "b", "c", "d", "e"].map(|name| (name, graph.clone()));
    let (folder, ran) = run(&server, &same, &["-Fresh"]);
    ran.exits(0);
    folder.ended(&[("succeeded", ""); 5]);
    assert_eq!((server.executed(), server.posted()), (6, 6));
}

#[test]
fn fresh_repeats_what_came_from_the_cache_all_the_same() {
    // This server acts on /free only after the next prompt.
    let free_delay = Duration::from_secs(60);
    let server = StandIn::with(Config { free_delay, ..Config::default() });
    run(&server, &video(), &[]).1.exits(0);
    let (folder, ran) = run(&server, &video(), &["-Fresh"]);
    ran.exits(0).says("-Fresh: nodes came from the cache all the same: once more");
    folder.ended(&[("succeeded", "")]);
    assert_eq!(server.executed(), 2);
    // Another one does not free at all.
    let server = StandIn::start();
    run(&server, &video(), &[]).1.exits(0);
    server.fail_next("POST /free", usize::MAX, Fault::Status(500, "no"));
    let (folder, ran) = run(&server, &video(), &["-Fresh"]);
    ran.exits(0)
        .says("nothing was freed: POST /free")
        .says("-Fresh: nodes came from the cache again")
        .says("from the cache, no figures (use -Fresh)");
    folder.ended(&[("cached", "")]);
}
