//! What is refused before anything is made: exit 2, one line on standard error, no run folder.

use crate::stand_in::graphs;
use crate::support::Folder;

const EDITOR: &str = r#"{"last_node_id": 9, "nodes": [{"id": 9}], "links": [], "version": 0.4}"#;

fn desk() -> Folder {
    let folder = Folder::new();
    folder.workflow("flow.json", &graphs::video("video/flow", 0.0, 0, 1));
    folder.workflow("flows/a.json", &graphs::images("img/a", 1, 1));
    folder.workflow("flows/b.json", &graphs::images("img/b", 1, 2));
    folder.workflow("other/flow.json", &graphs::images("img/c", 1, 3));
    folder.write("editor.json", EDITOR);
    folder.write("broken.json", "{\n  \"1\": {\"class_type\": \"X\",}\n}");
    folder.write("list.json", "[]");
    folder.write("empty/readme.txt", "");
    folder
}

/// Each line of words is refused with a line that has these parts.
#[track_caller]
fn refused(cases: &[(&str, &[&str])]) {
    let folder = desk();
    for (line, parts) in cases {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ran = folder.run(&words).exits(2);
        assert_eq!(ran.stdout, "", "{ran}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
        assert!(ran.stderr.starts_with("run-comfyui-e2e: "), "{ran}");
        assert!(ran.stderr.ends_with('\n'), "{ran}");
        for part in *parts {
            assert!(ran.stderr.contains(part), "{part:?} is missing\n{ran}");
        }
        assert!(!folder.path().join("logs").exists(), "a folder was made: {line}");
    }
}

#[test]
fn a_bad_option_is_named_with_what_was_meant() {
    refused(&[
        ("-FastIteraton flow.json", &["-FastIteraton", "did you mean -FastIteration?"]),
        ("--max-wait 5 flow.json", &["--max-wait:", "did you mean --max-wait-seconds?"]),
        ("-S 5 flow.json", &["-S is ambiguous", "-SceneMaxWaitSeconds or "]),
        ("-MaxW 5 --max-wait-seconds=6 flow.json", &["--max-wait-seconds is given twice"]),
        ("flow.json -MaxWaitSeconds", &["-MaxWaitSeconds has no value", "seconds from 1"]),
        ("-MaxWaitSeconds abc flow.json", &["-MaxWaitSeconds takes seconds from 1", "'abc'"]),
        ("--max-wait-seconds 0 flow.json", &["--max-wait-seconds takes seconds from 1", "'0'"]),
        ("-Sample 0.01 flow.json", &["-SampleIntervalSeconds takes seconds from 0.05", "'0.01'"]),
        ("--seed dice flow.json", &["--seed takes", "random or keep, not 'dice'"]),
        ("--fresh=yes flow.json", &["--fresh is a switch"]),
        ("--comfyui-url ftp://x flow.json", &["--comfyui-url takes a URL such as http://"]),
        ("summary -Fresh", &["-Fresh is an option of a run, not of summary"]),
    ]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    refused(&[
        ("flwo.json", &["'flwo.json': no such file or folder (nearest: 'flow.json')"]),
        (
            "--workflow flow.jsn",
            &["--workflow flow.jsn: no such file or folder (nearest: 'flow.json')"],
        ),
        ("--workflow empty", &["empty: no .json file in this folder"]),
        ("--story gone --workflow flow.json", &["--story gone: no such file or folder"]),
        ("--header-file gone flow.json", &["--header-file gone: "]),
    ]);
}

#[test]
fn a_file_that_is_no_workflow_is_named_with_what_to_do() {
    refused(&[
        (
            "editor.json",
            &["editor.json is the editor's format: in ComfyUI, menu Workflow, Export (API)"],
        ),
        ("broken.json", &["broken.json: not JSON: ", " at line 2 column 27"]),
        ("list.json", &["list.json: no workflow: "]),
        ("flow.json other/flow.json", &["two scenes have the name flow"]),
    ]);
}

#[test]
fn a_scene_that_is_not_there_is_named_with_those_that_are() {
    refused(&[
        (
            "--workflow flows --scene-filter a,c",
            &["--scene-filter: no scene 'c'", "there are a, b"],
        ),
        ("-Workflow flows -SceneFilter B", &["no scene 'B' (did you mean 'b'?)"]),
    ]);
}

#[test]
fn an_input_that_is_not_there_is_named_with_the_nearest() {
    refused(&[
        ("flow.json --set HoldMemry.mb=5", &["no node 'HoldMemry': did you mean 'HoldMemory'?"]),
        (
            "flow.json --set HoldMemory.second=5",
            &["node 2 HoldMemory has no input 'second': did you mean 'seconds'?"],
        ),
        (
            "flow.json --set 2.mb=much",
            &["--set 2.mb: input mb of node 2 HoldMemory takes a whole number, not 'much'"],
        ),
        ("flow.json --set 2.image=x", &["input image of node 2 HoldMemory is a link"]),
        ("flow.json --set mb=5", &["--set takes NODE.INPUT=VALUE"]),
    ]);
}

#[test]
fn nothing_to_run_names_the_ways_to_give_something() {
    let ways = [
        "nothing to run: ",
        "flow.json, exported with menu Workflow, Export (API)",
        "--workflow FOLDER",
        "--story story.json --workflow flow.json",
    ];
    refused(&[("", &ways), ("-FastIteration", &ways), ("flows", &ways)]);
}

#[test]
fn a_bad_variable_is_named() {
    let folder = desk();
    let running = folder.start_with(&["flow.json"], |command| {
        command.env("SCENE_MAX_WAIT_SECONDS", "soon");
    });
    let ran = running.wait().exits(2).complains("SCENE_MAX_WAIT_SECONDS takes seconds from 1");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
}
