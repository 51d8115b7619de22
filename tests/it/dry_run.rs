//! A dry run: what it shows, what it finds lacking, and that it leaves nothing anywhere.

use std::time::Duration;

use serde_json::{Value, json};

use crate::signals;
use crate::stand_in::{Fault, StandIn, graphs};
use crate::support::{Folder, Ran, SOON, files, graphs as posted, keyframe_story};

/// Runs it, and fails the test unless the project's folder has nothing new and the server was only
/// asked.
#[track_caller]
fn dry(server: &StandIn, folder: &Folder, words: &[&str]) -> Ran {
    let before = kept(folder);
    let words = [words, &["--dry-run"]].concat();
    let ran = folder.run_on(&server.url(), &words);
    assert_eq!(kept(folder), before, "{ran}");
    assert_eq!(server.posts(), [""; 0], "{ran}");
    ran
}

/// What a folder holds besides the output of the program.
fn kept(folder: &Folder) -> Vec<String> {
    let mut kept = files(folder.path());
    kept.retain(|file| !file.starts_with("stdout.") && !file.starts_with("stderr."));
    kept
}

#[test]
fn a_graph_is_shown_as_it_would_be_posted_and_nothing_is_left() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 1));
    let words =
        ["flow.json", "--set", "1.width=96", "-Repeat", "2", "--junit", "junit.xml", "--verbose"];
    let ran = dry(&server, &folder, &words).exits(0);
    let ran = ran
        .says("WARNING: --junit: a dry run has nothing to report, it is not written\n")
        .says("Nothing was uploaded or posted, and no folder was made\n")
        .says("2 scenes, at most 10 min each and 1 retry: at worst 40 min; VRAM every 5 s\n")
        .says("ComfyUI 0.3.64")
        .says("✓ 2 scenes ready to run\n✓ flow-r1\n✓ flow-r2\n");
    assert_eq!(ran.stderr, "", "{ran}");
    let shown = ran.stdout.split("\n\n").find(|part| part.starts_with("flow-r2: ")).unwrap();
    let graph: Value = serde_json::from_str(shown.split_once('\n').unwrap().1).unwrap();
    assert_eq!(graph["1"]["inputs"]["width"], 96);
    // What is shown is what a run posts.
    folder.run_on(&server.url(), &["flow.json", "--set", "1.width=96"]).exits(0);
    assert_eq!(posted(&server), [graph]);
}

#[test]
fn what_the_server_would_refuse_is_named() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let mut unknown = graphs::images("img/x", 1, 1);
    unknown["1"]["class_type"] = json!("EmptyImge");
    for (name, graph) in [
        ("flow", graphs::invalid()),
        ("good", graphs::images("img/good", 1, 1)),
        ("missing", graphs::missing_input()),
        ("partial", graphs::partial("video/partial")),
        ("nothing", graphs::no_outputs()),
        ("unknown", unknown),
    ] {
        folder.workflow(&format!("flows/{name}.json"), &graph);
    }
    let ran = dry(&server, &folder, &["--workflow", "flows"]).exits(1);
    let ran = ran
        .says("✗ 5 of 6 scenes would be rejected (exit 1)\n")
        .says("✗ flow  node 4 CheckpointLoaderSimple ckpt_name: 'x.safetensors' is not in the server's list (nearest: 'xl.safetensors')\n")
        .says("✓ good\n")
        .says("✗ missing  node 3 SaveVideo video: Required input is missing\n")
        .says("✗ partial  node 9 SaveImage images: it is linked to node \"99\", which is not in the graph\n")
        .says("✗ nothing  no output: it has no node that saves or shows something\n")
        .says("✗ unknown  node 1 EmptyImge: the server has no node of this class (nearest: 'EmptyImage'): is a custom node not installed?\n");
    // Each class is asked for once, and the names of all only for the one that is missing.
    let asked: Vec<String> = server.requests().iter().map(|r| r.path.clone()).collect();
    let of = |path: &str| asked.iter().filter(|asked| *asked == path).count();
    assert_eq!((of("/object_info/SaveImage"), of("/object_info")), (1, 1), "{asked:?}\n{ran}");
}

#[test]
fn a_class_that_cannot_be_checked_fails_the_dry_run() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 1));
    let trouble = Fault::Status(500, "got itself in trouble");
    server.fail_next("GET /object_info/EmptyImage", 1, trouble);
    let line = format!(
        "✗ flow  node 1 EmptyImage: not checked: GET /object_info/EmptyImage at {}: HTTP 500",
        server.url()
    );
    dry(&server, &folder, &["flow.json"])
        .exits(1)
        .says("✗ 1 scene would be rejected or could not be checked (exit 1)\n")
        .says(&line);
}

#[test]
fn a_keyframe_is_not_uploaded_and_its_place_is_shown() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let words = [&keyframe_story(&folder)[..], &["--verbose"]].concat();
    let ran = dry(&server, &folder, &words).exits(0);
    ran.says("\"text\": \"a fox\"")
        .says("\"image\": \"__KEYFRAME_IMAGE__\"")
        .says("key.png: its name on the server stands for __KEYFRAME_IMAGE__\n")
        .says("✓ a\n");
    assert_eq!(server.uploads(), []);
}

#[test]
fn a_story_yet_to_be_generated_has_only_its_template_checked() {
    let (server, folder) = (StandIn::start(), Folder::new());
    // It would leave a file, had it been run.
    folder.write("scripts/generate-story-scenes.ts", "require('fs').writeFileSync('ran', '')");
    let mut template = graphs::invalid();
    template["90"] = json!({"class_type": "Note", "inputs": {"text": "__PROMPT__ at dusk"}});
    folder.workflow("workflows/video_wan2_2_5B_ti2v.json", &template);
    let ran = dry(&server, &folder, &["-Seed", "7", "-Verbose"]).exits(1);
    ran.says("A dry run generates no story: its template alone is checked\n")
        .says("3 scenes, at most 10 min")
        .says("__PROMPT__ at dusk")
        .says("\"seed\": 7")
        .says("✗ 1 template would be rejected (exit 1)\n")
        .says("✗ template  node 4 CheckpointLoaderSimple ckpt_name: 'x.safetensors'");
}

#[test]
fn without_a_server_it_shows_what_it_has_and_ends_with_3() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 1));
    server.stop_listening();
    let line = format!("no ComfyUI at {} (connection refused): start it, or", server.url());
    let ran = dry(&server, &folder, &["flow.json", "--verbose"]).exits(3);
    ran.says("\"class_type\": \"SaveImage\"")
        .says(&format!("✗ 1 scene not checked: {line}"))
        .says(" (exit 3)\n");
    server.listen_again();
    // One that goes away meanwhile.
    server.fail_next("GET /object_info", usize::MAX, Fault::Reset);
    dry(&server, &folder, &["flow.json"]).exits(3).says("✗ 1 scene not checked: GET /object_info/");
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn ctrl_c_ends_it_within_a_call() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 1));
    let slow = Fault::Delay(Duration::from_millis(1500));
    server.fail_next("GET /object_info", usize::MAX, slow);
    let words = ["--comfyui-url", &server.url(), "--dry-run", "flow.json"];
    let running = folder.start_with(&words, signals::alone);
    assert!(server.wait_until_request("GET /object_info", 1, SOON));
    signals::ctrl_c(&running);
    running
        .wait()
        .exits(130)
        .complains("stopping…")
        .says("✗ interrupted, 1 scene not checked (exit 130)\n");
    assert_eq!((server.posts().len(), folder.runs().len()), (0, 0));
    // While it waits for a server, too.
    server.stop_listening();
    let words = [&words[..], &["--wait-for-comfyui", "60"]].concat();
    let running = folder.start_with(&words, signals::alone);
    running.until_it_says("Waiting up to 60 s for ComfyUI at ");
    signals::ctrl_c(&running);
    running.wait().exits(130).says("✗ interrupted, 1 scene not checked (exit 130)\n");
}

#[test]
fn quiet_and_json_work_for_a_dry_run() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("good.json", &graphs::images("img/good", 1, 1));
    folder.workflow("bad.json", &graphs::invalid());
    let ran = dry(&server, &folder, &["--quiet", "good.json"]).exits(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    let ran = dry(&server, &folder, &["--quiet", "good.json", "bad.json"]).exits(1);
    assert!(ran.stderr.starts_with("✗ 1 of 2 scenes would be rejected"), "{ran}");
    assert_eq!(ran.stdout, "");

    let ran = dry(&server, &folder, &["--json", "good.json", "bad.json"]).exits(1);
    let document: Value = serde_json::from_str(&ran.stdout).expect("one JSON document");
    assert_eq!((&document["DryRun"], &document["ExitCode"]), (&json!(true), &json!(1)));
    assert_eq!(document["Scenes"][0]["Graph"], graphs::images("img/good", 1, 1));
    let lacking = [0, 1].map(|scene| document["Scenes"][scene]["Lacks"].as_array().unwrap().len());
    assert_eq!(lacking, [0, 1]);
    ran.complains("✗ 1 of 2 scenes would be rejected (exit 1)\n");

    server.stop_listening();
    let ran = dry(&server, &folder, &["--json", "--quiet", "good.json"]).exits(3);
    let document: Value = serde_json::from_str(&ran.stdout).expect("one JSON document");
    assert_eq!(document["Scenes"][0]["Lacks"], Value::Null);
    let why = document["Failure"]["Why"].as_str().unwrap();
    assert!(why.starts_with("no ComfyUI at "), "{why}");
}
