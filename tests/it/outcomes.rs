//! Every way in which a scene ends, as its user reads it. What ends from outside is in
//! `cancelling`, `losing` and `downloads`.

use serde_json::{Value, json};

use crate::scenes::{SOON, ended, home, prompts, run, start, there, warnings};
use crate::stand_in::{Fault, StandIn, graphs};
use crate::support::Folder;

#[test]
fn a_scene_that_succeeds_has_its_video_home() {
    let server = StandIn::start();
    let (folder, ran) = run(&server, &[("a", graphs::video("video/a", 0.2, 64, 1))], &[]);
    ran.exits(0)
        .says("OK: 1 of 1 scenes, exit 0")
        .says("✓ a  ")
        .says("video/a/a.mp4 (")
        .says("GPU free: queue empty");
    ended(&folder, &[("succeeded", "")]);
    let video = home(&folder, "video/a/a.mp4");
    assert_eq!(video, there(&server, "output", "video", "a_00001_.mp4"));
    let output = &folder.metadata()["Scenes"][0]["Outputs"][0];
    assert_eq!(*output, json!({"Path": "video/a/a.mp4", "Bytes": video.len()}));
}

#[test]
fn pictures_go_to_outputs() {
    let server = StandIn::start();
    let (folder, ran) = run(&server, &[("p", graphs::images("img/p", 2, 7))], &[]);
    ran.exits(0).says("outputs/p/p_00001_.png (").says(" and 1 more");
    for name in ["p_00001_.png", "p_00002_.png"] {
        let picture = home(&folder, &format!("outputs/p/{name}"));
        assert_eq!(picture, there(&server, "output", "img", name));
    }
}

#[test]
fn previews_are_outputs_where_nothing_else_is_saved() {
    let server = StandIn::start();
    let (folder, ran) = run(&server, &[("p", graphs::previews(1, 7))], &[]);
    ran.exits(0);
    let picture = home(&folder, "outputs/p/ComfyUI_temp_00001_.png");
    assert_eq!(picture, there(&server, "temp", "", "ComfyUI_temp_00001_.png"));
}

#[test]
fn the_same_again_is_cached_and_has_no_figures() {
    let server = StandIn::start();
    let graph = [("a", graphs::video("video/a", 0.2, 64, 1))];
    run(&server, &graph, &[]).1.exits(0);
    let (folder, ran) = run(&server, &graph, &[]);
    ran.exits(0)
        .says("OK, but nothing was generated: the scene came from ComfyUI's cache (use -Fresh or -Seed random); no VRAM figures")
        .says("a: no execution")
        .says("  cached, no execution  video/a/a.mp4 (");
    ended(&folder, &[("cached", "")]);
    assert_eq!(folder.metadata()["Scenes"][0]["Vram"], Value::Null);
    assert_eq!(home(&folder, "video/a/a.mp4"), there(&server, "output", "video", "a_00001_.mp4"));
    assert_eq!(server.executed(), 1);
}

#[test]
fn a_partly_cached_scene_says_so() {
    let server = StandIn::start();
    run(&server, &[("a", graphs::video("video/a", 0.0, 0, 1))], &[]).1.exits(0);
    let (folder, ran) = run(&server, &[("b", graphs::video("video/b", 0.0, 0, 1))], &[]);
    ran.exits(0).says("partly cached: 3 of its nodes were not executed");
    ended(&folder, &[("succeeded", "")]);
    assert!(warnings(&folder).contains("partly cached: 3 of"));
}

#[test]
fn a_partial_scene_fails_with_the_rest_at_home() {
    let server = StandIn::start();
    let (folder, ran) = run(&server, &[("a", graphs::partial("video/a"))], &[]);
    let why = "node 9 SaveImage '99': Exception when validating node";
    ran.exits(1)
        .says("FAILED: 1 of 1 scenes, exit 1 (failed)")
        .says(&format!("✗ a  partial: {why}"));
    ended(&folder, &[("partial", why)]);
    assert_eq!(home(&folder, "video/a/a.mp4"), there(&server, "output", "video", "a_00001_.mp4"));
    assert_eq!(server.posted(), 1);
}

#[test]
fn what_the_server_refuses_is_rejected_in_its_words() {
    let server = StandIn::start();
    let mut near = graphs::invalid();
    near["4"]["inputs"]["ckpt_name"] = json!("xl.safetensor");
    let scenes = [
        ("node", graphs::unknown_node()),
        ("input", graphs::missing_input()),
        ("list", near),
        ("nothing", graphs::no_outputs()),
    ];
    let (folder, ran) = run(&server, &scenes, &[]);
    ran.exits(1).says("✗ node  rejected: Cannot execute because node NoSuchNode does not exist.");
    ended(
        &folder,
        &[
            ("rejected", "node NoSuchNode does not exist"),
            ("rejected", "node 3 SaveVideo video: Required input is missing"),
            (
                "rejected",
                "node 4 CheckpointLoaderSimple ckpt_name: 'xl.safetensor' is not in the server's list (nearest: 'xl.safetensors')",
            ),
            ("rejected", "Prompt has no outputs"),
        ],
    );
    assert_eq!(prompts(&server).len(), 4);
}

#[test]
fn credentials_refused_in_the_middle_of_a_run_are_told_of() {
    let server = StandIn::start();
    server.fail_next("POST /prompt", 1, Fault::Status(401, "401: Unauthorized"));
    let (folder, ran) = run(&server, &[("a", graphs::images("a", 1, 1))], &[]);
    ran.exits(1);
    let why =
        "HTTP 401 (it wants other credentials: --header-file FILE or user:password@ in the URL)";
    ended(&folder, &[("rejected", why)]);
}

#[test]
fn a_failed_scene_is_tried_once_more() {
    let server = StandIn::start();
    let (folder, ran) = run(&server, &[("a", graphs::failing("no such thing"))], &[]);
    let why = "node 2 FailAlways: RuntimeError: no such thing";
    ran.exits(1)
        .says(&format!("ERROR: failed: {why}: trying again (1 of 1)"))
        .says(&format!("✗ a  failed, 2 attempts: {why}"));
    ended(&folder, &[("failed", why)]);
    assert_eq!(server.posted(), 2);
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
fn a_retry_budget_of_0_means_one_attempt() {
    let server = StandIn::start();
    let options = ["-SceneRetryBudget", "0"];
    let (folder, ran) = run(&server, &[("a", graphs::failing_late("img/a", "late"))], &options);
    ran.exits(1).says("✗ a  failed: node 4 FailAlways: RuntimeError: late");
    assert_eq!(server.posted(), 1);
    // It had saved a picture before it failed.
    assert_eq!(folder.metadata()["Scenes"][0]["Outputs"], json!([]));
    assert!(!server.requests().iter().any(|request| request.is("GET /view")));
}

#[test]
fn a_second_attempt_that_succeeds_is_told_of_in_the_scenes_line() {
    let server = StandIn::start();
    let (folder, ran) = run(&server, &[("a", graphs::fail_once("video/a", "a hiccup"))], &[]);
    ran.exits(0)
        .says("OK: 1 of 1 scenes, exit 0")
        .says("  2nd attempt (1st: failed, node 2 FailOnce: RuntimeError: a hiccup)");
    ended(&folder, &[("succeeded", "")]);
    assert_eq!(folder.metadata()["Scenes"][0]["AttemptsRun"], 2);
}

#[test]
fn out_of_memory_frees_before_it_tries_again_and_has_its_code() {
    let server = StandIn::start();
    let (folder, ran) = run(&server, &[("a", graphs::out_of_memory())], &[]);
    ran.exits(5)
        .says("FAILED: 1 of 1 scenes, exit 5 (out of memory)")
        .says("✗ a  outOfMemory, 2 attempts: node 2 OutOfMemory: torch.OutOfMemoryError: Allocation on device");
    ended(&folder, &[("outOfMemory", "torch.OutOfMemoryError")]);
    assert_eq!(server.posts(), ["/prompt", "/free", "/prompt"]);
}

#[test]
fn a_prompt_that_saves_nothing_has_no_output() {
    let server = StandIn::start();
    let (folder, ran) = run(&server, &[("a", graphs::images("img/a", 0, 1))], &[]);
    let why = "it succeeded and lists no file: has it a node that saves?";
    ran.exits(1).says(&format!("✗ a  noOutput: {why}"));
    ended(&folder, &[("noOutput", why)]);
    assert_eq!(server.posted(), 1);
}

#[test]
fn somebody_elses_interrupt_is_not_answered_with_a_second_attempt() {
    let server = StandIn::start();
    let folder = Folder::new();
    let graph = [("a", graphs::video("video/a", 60.0, 0, 1))];
    let running = start(&folder, &server.url(), &graph, &[]);
    assert!(server.wait_until_running(SOON));
    server.interrupt_running();
    let why = "somebody interrupted it on the server";
    running.wait().exits(1).says(&format!("✗ a  interrupted: {why}"));
    ended(&folder, &[("interrupted", why)]);
    assert_eq!(server.posted(), 1);
}

#[test]
fn one_reason_has_its_code_and_several_have_1() {
    let server = StandIn::start();
    let good = ("good", graphs::images("img/good", 1, 1));
    let large = ("large", graphs::out_of_memory());
    let bad = ("bad", graphs::failing("x"));
    let budget = ["-SceneRetryBudget", "0"];
    run(&server, &[good.clone(), large.clone()], &budget)
        .1
        .exits(5)
        .says("FAILED: 1 of 2 scenes, exit 5 (out of memory)");
    run(&server, &[large, bad, good], &budget)
        .1
        .exits(1)
        .says("FAILED: 2 of 3 scenes, exit 1 (failed)");
}
