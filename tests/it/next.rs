//! The `Next:` line: what failed, with what would help, to be pasted into a shell.

use serde_json::{Value, json};

use crate::stand_in::{Fault, StandIn, graphs};
use crate::support::{Folder, graphs as posted, line, run};

/// What the `Next:` line of a failed run has beside what all runs here are given.
#[track_caller]
fn next(server: &StandIn, graph: Value, options: &[&str]) -> String {
    let options = [options, &["-SceneRetryBudget", "0"]].concat();
    let (folder, ran) = run(server, &[("flow", graph)], &options);
    let next = folder.metadata()["Next"].as_str().unwrap().to_owned();
    let told = &line(&ran.stdout, "Next       ")["Next       ".len()..];
    // What the server rejects as it is, it rejects again.
    let is_rejected = folder.outcomes()[0].0 == "rejected";
    let first = format!("correct what the server rejects, then {next}");
    assert_eq!(told, if is_rejected { &first } else { &next }, "{ran}");
    let line = next.as_str();
    let mut rest = line.replace('"', "");
    for part in [
        "run-comfyui-e2e",
        &format!(" -ComfyUIUrl {}", server.url()),
        " flow.json",
        " -SceneRetryBudget 0",
        " -SampleIntervalSeconds 0.5",
        " -PollIntervalSeconds 0.2",
    ] {
        assert!(rest.contains(part), "{part}: {line}");
        rest = rest.replace(part, "");
    }
    rest.trim().to_owned()
}

#[test]
fn next_line_has_the_options_that_would_help() {
    let server = StandIn::start();
    let long = || graphs::video("video/long", 60.0, 10, 1);
    assert_eq!(next(&server, long(), &["-MaxWaitSeconds", "1"]), "-MaxWaitSeconds 2");
    let longest = next(&server, graphs::out_of_memory(), &["-MaxWaitSeconds", "604800"]);
    assert_eq!(longest, "-MaxWaitSeconds 604800 -Fresh");
    assert_eq!(next(&server, graphs::failing("broken"), &[]), "");
    let studio = ["-SkipLMStudioUnload", "-LMStudioEndpoint", "http://me:secret@127.0.0.1:9"];
    let kept = next(&server, graphs::failing("kept"), &studio);
    assert_eq!(kept, "-LMStudioEndpoint http://127.0.0.1:9 -SkipLMStudioUnload");
    let rejected = next(&server, graphs::invalid(), &["-WaitForComfyUI", "7", "-Fast:$true"]);
    assert_eq!(rejected, "-FastIteration -WaitForComfyUI 7");
    server.fail_next("GET /view", usize::MAX, Fault::Status(500, "busy"));
    let download = next(&server, graphs::images("img/a", 1, 1), &["-MemoryCleanupInterval", "0"]);
    assert_eq!(download, "-MemoryCleanupInterval 0");
    server.clear_faults();
    server.fail_next("GET /view", usize::MAX, Fault::Hang);
    let slow = next(&server, graphs::images("img/s", 1, 9), &["-PostExecutionTimeoutSeconds", "1"]);
    assert_eq!(slow, "-PostExecutionTimeoutSeconds 2");
    server.clear_faults();
    server.fail_next("GET /history/", usize::MAX, Fault::Status(500, "busy"));
    let unreadable = next(&server, graphs::images("img/b", 1, 2), &["-HistoryMaxAttempts", "2"]);
    assert_eq!(unreadable, "");
    server.clear_faults();
    let bounded = next(&server, graphs::failing("again"), &["-HistoryMaxAttempts", "2"]);
    assert_eq!(bounded, "-HistoryMaxAttempts 2");
    server.stop_listening();
    assert_eq!(next(&server, graphs::images("img/c", 1, 3), &[]), "-WaitForComfyUI 120");
}

#[test]
fn next_line_is_spelled_as_the_command_line_and_found_from_where_the_user_stands() {
    let server = StandIn::start();
    let url = server.url();
    for (words, next) in [
        ("flow.json", format!("run-comfyui-e2e --comfyui-url {url} flow.json")),
        (
            "--max-wait-seconds 10m -q flow.json --fresh",
            format!("run-comfyui-e2e --comfyui-url {url} flow.json --fresh"),
        ),
        (
            "sub/flow.json --max-wait-seconds 20m",
            format!("run-comfyui-e2e --max-wait-seconds 1200 --comfyui-url {url} sub/flow.json"),
        ),
        (
            "-Workflow flow.json -MaxWait 20m",
            format!("run-comfyui-e2e -MaxWaitSeconds 1200 -ComfyUIUrl {url} flow.json"),
        ),
    ] {
        let folder = Folder::new();
        folder.workflow("flow.json", &graphs::failing("broken"));
        folder.workflow("sub/flow.json", &graphs::failing("broken"));
        folder.run_on(&url, &words.split(' ').collect::<Vec<_>>()).exits(1);
        assert_eq!(
            folder.metadata()["Next"].as_str().unwrap().replace('\\', "/").replace('"', ""),
            next
        );
    }
    // A program that is not on the PATH is named by its place.
    let folder = Folder::new();
    folder.workflow("flow.json", &graphs::failing("broken"));
    let running = folder.start_with(&["--comfyui-url", &url, "flow.json"], |command| {
        command.env("PATH", "");
    });
    running.wait().exits(1);
    let next = folder.metadata()["Next"].as_str().unwrap().to_owned();
    let program = std::path::Path::new(next.split(" --").next().unwrap().trim_matches('"'));
    assert!(program.is_absolute() && program.is_file(), "{next}");
}

#[test]
fn next_line_hides_credentials() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let mut graph = graphs::failing("it broke");
    graph["90"] = json!({"class_type": "Note", "inputs": {"api_key": "x", "text": "x"}});
    folder.workflow("flow.json", &graph);
    let words = ["-Set", "90.api_key=k3y-of-mine", "-Set", "90.text=a, b", "flow.json"];
    let ran = folder.run_on(&server.url(), &words).exits(1).never_says("k3y-of-mine");
    ran.says(" -Set \"90.api_key=***\" -Set \"90.text=a, b\" ");
    for name in ["run-summary.txt", "report.html", "artifact-metadata.json"] {
        assert!(!folder.read(name).contains("k3y-of-mine"), "{name}");
    }
}

/// What failed is repeated with its options: some files of a folder, some scenes of a story, or the
/// whole batch of a scene that is repeated.
#[test]
fn next_line_repeats_what_failed_and_is_accepted() {
    let flows = ["-Fast", "-Set", "1.color=7", "-Workflow", "flows"];
    let story = ["-Story", "story.json", "-Workflow", "template.json"];
    for (words, part, scenes) in [
        (&flows[..], "bad.json", "Scenes to process: bad\n"),
        (&story, " -SceneFilter b_c", "Scenes to process: b_c\n"),
        (
            &["-Repeat", "2", "flows/good.json", "flows/bad.json"],
            " -Repeat 2 ",
            "Scenes to process: bad-r1, bad-r2\n",
        ),
    ] {
        let (server, folder) = (StandIn::start(), Folder::new());
        folder.workflow("flows/good.json", &graphs::images("img/good", 1, 1));
        folder.workflow("flows/bad.json", &graphs::fail_once("video/bad", "only once"));
        let mut template = graphs::fail_once("x", "__SCENE_ID__");
        template["6"] = json!({"class_type": "Note", "inputs": {"text": "__PROMPT__"}});
        folder.workflow("template.json", &template);
        let scene = |id: &str| json!({"id": id, "prompt": "p"});
        let scenes_of_story = json!({"scenes": [scene("a"), scene("b c")]});
        folder.write("story.json", scenes_of_story.to_string());
        if words == story {
            // This one succeeds in the run that follows.
            folder.run_on(&server.url(), &[words, &["-SceneFilter", "a"]].concat()).exits(0);
        }
        let words = [words, &["-SceneRetryBudget", "0"]].concat();
        let ran = folder.run_on(&server.url(), &words).exits(1);
        let next = line(&ran.stdout, "Next       run-comfyui-e2e ");
        assert_eq!(folder.metadata()["Next"], next["Next       ".len()..]);
        assert!(next.contains(part) && !next.contains("good.json"), "{next}");
        let ran = folder.run(&ran.next_words()).exits(0).says(scenes);
        assert!(folder.metadata()["Next"].is_null(), "all is well\n{ran}");
        if words.starts_with(&flows) {
            ran.says("FastIteration mode: MaxWait=360s");
            assert_eq!(posted(&server)[2]["1"]["inputs"]["color"], 7, "-Set is repeated");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn next_line_can_be_pasted_into_a_shell() {
    let text = "it's $PATH, \"so\" `pwd`!";
    let names = ["two words.json", "it's $HOME.json", "a \"quote\" `x`!.json", "a,b;c.json"];
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_run-comfyui-e2e")).parent().unwrap();
    for shell in ["sh", "bash"] {
        let (server, folder) = (StandIn::start(), Folder::new());
        for (number, name) in names.iter().enumerate() {
            let mut graph = graphs::fail_once("video/x", &format!("only once, {number}"));
            graph["90"] = json!({"class_type": "Note", "inputs": {"text": "x"}});
            folder.workflow(name, &graph);
        }
        let set = format!("90.text={text}");
        let words = [&["-SceneRetryBudget", "0", "-Set", &set][..], &names].concat();
        let ran = folder.run_on(&server.url(), &words).exits(1);
        let line = &line(&ran.stdout, "Next       ")["Next       ".len()..];
        let pasted = format!("PATH={}:$PATH; {line}", bin.display());
        folder.run_program(shell, &["-c", &pasted]).exits(0).says("✓ 4 of 4 scenes in ");
        let graphs = posted(&server);
        assert_eq!(graphs.len(), 8);
        assert!(graphs.iter().all(|graph| graph["90"]["inputs"]["text"] == text), "{line}");
    }
}
