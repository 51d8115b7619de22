//! What is read before a run begins: the command line, the environment, and the files that they
//! name. Each option and each of its refusals is a unit test of the options; here stands what needs
//! files, a server or a shell.

use serde_json::json;

use crate::stand_in::{StandIn, graphs};
use crate::support::{Folder, SOON, line};

/// Workflows, a story with its template, and files that are neither.
fn desk() -> Folder {
    let folder = Folder::new();
    folder.workflow("flow.json", &graphs::video("video/flow", 0.0, 0, 1));
    folder.workflow("flows/a.json", &graphs::images("img/a", 1, 1));
    folder.workflow("flows/b.json", &graphs::images("img/b", 1, 2));
    folder.workflow("other/flow.json", &graphs::images("img/c", 1, 3));
    folder.write("broken.json", "{\n  \"1\": {\"class_type\": \"X\",}\n}");
    folder.write("empty/readme.txt", "");
    let mut titled = graphs::images("img/flow", 1, 1);
    titled["1"]["_meta"] = json!({"title": "The picture"});
    folder.workflow("titled.json", &titled);
    titled["90"] = json!({"class_type": "Note", "inputs": {"text": "__PROMPT__"}});
    folder.workflow("template.json", &titled);
    let scene = |id: &str| json!({"id": id, "prompt": "p"});
    let scenes = json!({"scenes": [scene("scene-001"), scene("scene-002"), scene("ending")]});
    folder.write("story.json", scenes.to_string());
    folder
}

#[test]
fn a_mistake_is_one_line_and_exit_2_before_anything_is_made() {
    let folder = desk();
    let nothing = "nothing to run: ";
    for (words, part) in [
        ("-FastIteraton flow.json", "-FastIteraton: did you mean -FastIteration?"),
        ("--workflow empty", "empty: no workflow, picture or video in this folder"),
        ("broken.json", " at line 2 column 27"),
        ("flow.json other/flow.json", "two scenes have the name flow"),
        ("--workflow flows --scene-filter a,c", "--scene-filter: no scene 'c'; there are a, b"),
        ("-Workflow flows -SceneFilter B", "no scene 'B' (did you mean 'b'?)"),
        (
            "--story story.json template.json --scene-filter scene-01",
            "no scene 'scene-01' (did you mean 'scene-001'?); there are scene-001, scene-002, ending",
        ),
        ("flow.json --set HoldMemry.mb=5", "no node 'HoldMemry': did you mean 'HoldMemory'?"),
        (
            "flow.json --set HoldMemory.second=5",
            "node 2 HoldMemory has no input 'second': did you mean 'seconds'?",
        ),
        (
            "flow.json --set 2.mb=much",
            "--set 2.mb: input mb of node 2 HoldMemory takes a number, not 'much'",
        ),
        ("flow.json --set 2.image=x", "input image of node 2 HoldMemory is a link"),
        ("titled.json --set The␣pictrue.width=8", "did you mean 'The picture'?"),
        (
            "titled.json --set 7.width=8",
            "no node '7': there are 1 EmptyImage 'The picture', 2 SaveImage",
        ),
        (
            "titled.json --set 2.quality=8",
            "node 2 SaveImage has no input 'quality': it has images, filename_prefix",
        ),
        ("", nothing),
        ("empty", nothing),
        ("empty", "flow.json, or a picture or video that holds one"),
        ("empty", "--story story.json --workflow flow.json"),
    ] {
        let words = words.split_whitespace().map(|word| word.replace('␣', " "));
        folder.run(&words.collect::<Vec<_>>()).exits(2).refuses(part);
        assert!(folder.runs().is_empty(), "a run folder was made: {part}");
    }
}

/// The texts beyond the command line too.
#[test]
fn a_hint_is_spelled_as_the_user_spelled() {
    let folder = desk();
    for (words, part) in [
        (
            "--comfyui-url http://127.0.0.1:1 flow.json",
            "or --comfyui-url URL, or --wait-for-comfyui 120",
        ),
        ("-ComfyUIUrl http://127.0.0.1:1 flow.json", "or -ComfyUIUrl URL, or -WaitForComfyUI 120"),
        ("flow.json -ComfyUIUrl:http://127.0.0.1:1", "or -ComfyUIUrl URL, or -WaitForComfyUI 120"),
    ] {
        let ran = folder.run(&words.split(' ').collect::<Vec<_>>()).exits(3).says(part);
        assert!(folder.read("run-summary.txt").contains(part), "{ran}");
    }
    for (words, line) in [
        ("--max-peak-mb 5", "--workflow flow.json"),
        ("-MaxPeakMB 5", "-Workflow flow.json"),
        ("-Workflow flow.json -SceneFilter x", "-SceneFilter: no scene 'x'"),
        ("-Quiet flow.json -Archive -NoArchive", "-Archive and -NoArchive: which of them?"),
        ("flow.json -Set 1.nope=5 -Quiet", "-Set 1.nope: "),
        ("summary -LogsDir nothing", "name a log or a run folder, or -LogsDir FOLDER"),
        ("summary", "name a log or a run folder, or --logs-dir FOLDER"),
    ] {
        desk().run(&words.split(' ').collect::<Vec<_>>()).complains(line);
    }
}

#[test]
fn the_environment_gives_what_the_command_line_does_not() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 5));
    let words =
        ["-StopComfyUI", "-ErrorAction", "Stop", "-MaxWait", "50", "-Seed", "7", "flow.json"];
    let running = folder.start_with(&words, |command| {
        command.env("LOCAL_COMFY_URL", server.url()).envs([
            ("SCENE_MAX_WAIT_SECONDS", "70"),
            ("SCENE_HISTORY_POLL_INTERVAL_SECONDS", "3"),
            ("SCENE_HISTORY_MAX_ATTEMPTS", "9"),
            ("SCENE_POST_EXECUTION_TIMEOUT_SECONDS", "8"),
            ("SCENE_RETRY_BUDGET", "2"),
        ]);
    });
    let ran = running.wait().exits(0);
    let policy = "Queue policy: sceneRetries=2, historyMaxWait=50s, historyPollInterval=3s, \
                  historyMaxAttempts=9, postExecutionTimeout=8s";
    assert_eq!(line(&ran.stdout, "Queue policy: "), policy);
    assert_eq!(server.posted(), 1);
    ran.says("WARNING: -StopComfyUI, -ErrorAction are accepted, but do nothing")
        .says("WARNING: the seed finds no place");
}

#[test]
fn a_long_scene_passes_although_one_history_attempt_is_allowed() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("long.json", &graphs::video("video/long", 600.0, 0, 2));
    let words = ["-SceneHistoryMaxAttempts", "1", "-SceneHistoryPollIntervalSeconds", "0.1"];
    let running = folder.start_on(&server.url(), &[&words[..], &["long.json"]].concat());
    assert!(server.wait_until_request("GET /history/", 7, SOON));
    server.finish_running();
    running.wait().exits(0).says("✓ 1 scene in ");
    let polls = folder.metadata()["Scenes"][0]["Attempts"][0]["Polls"].as_u64().unwrap();
    assert!(polls > 5, "{polls} polls");
}
