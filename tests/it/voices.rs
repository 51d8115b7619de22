//! Who hears what: help, standard output, standard error.

use serde_json::{Value, json};

use crate::stand_in::{StandIn, graphs};
use crate::support::Folder;

#[test]
fn help_and_version_go_to_standard_output() {
    let folder = Folder::new();
    let version = format!("run-comfyui-e2e {}\n", env!("CARGO_PKG_VERSION"));
    for (word, start) in [("-h", "Usage: run-comfyui-e2e"), ("--version", &version)] {
        let ran = folder.run(&[word]).exits(0);
        assert!(ran.stdout.contains(start) && ran.stderr.is_empty(), "{ran}");
    }
}

/// `--quiet` prints nothing for a success and `--json` the document alone, with the lines on standard
/// error.
#[test]
fn quiet_and_json_change_what_is_printed_where() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("good.json", &graphs::images("img/good", 1, 1));
    folder.workflow("bad.json", &graphs::failing("it broke"));
    let run = |words: &[&str], code: i32| {
        let words = [words, &["-SceneRetryBudget", "0"]].concat();
        folder.run_on(&server.url(), &words).exits(code)
    };
    let ran = run(&["--quiet", "good.json"], 0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    assert!(folder.read("run-summary.txt").contains("✓ 1 scene in "));
    for words in
        [&["--json", "good.json"][..], &["--json", "bad.json"], &["--json", "-Quiet", "good.json"]]
    {
        let code = i32::from(words.contains(&"bad.json"));
        let ran = run(words, code);
        assert_eq!(ran.stdout, folder.read("artifact-metadata.json"));
        let document: Value = serde_json::from_str(&ran.stdout).expect("one JSON document");
        assert_eq!(document["ExitCode"], code);
        let quiet = words.contains(&"-Quiet");
        assert_eq!(ran.stderr, if quiet { String::new() } else { folder.read("run-summary.txt") });
    }
    // The verdict and the failures, without times.
    let ran = run(&["-Quiet", "good.json", "bad.json"], 1);
    assert_eq!(ran.stdout, "", "{ran}");
    assert!(ran.stderr.starts_with("✗ 1 of 2 scenes failed in "), "{ran}");
    let ran = ran.complains("✗ bad  failed: ").complains("it broke");
    assert!(!ran.stderr.contains('['), "{ran}");
    for line in ran.stderr.lines() {
        assert!(folder.read("run-summary.txt").contains(line), "{line}");
    }
}

#[test]
fn a_reader_that_goes_away_does_not_break_the_run() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 1));
    for words in [&["flow.json"][..], &["flow.json", "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let url = server.url();
        let words = [&["--comfyui-url", &url], words].concat();
        let running = folder.start_with(&words, |command| {
            command.stdout(writer);
        });
        running.wait().exits(0);
        assert!(folder.read("run-summary.txt").contains("=== RUN COMPLETE ==="));
        assert_eq!(folder.metadata()["ExitCode"], 0);
    }
}

#[test]
fn json_acts_on_no_terminal() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let prompt = "a fox \u{9b}31m \u{202e}xof";
    let story = json!({"storyId": "s", "scenes": [{"id": "a", "prompt": prompt}]});
    folder.write("story.json", story.to_string());
    let mut template = graphs::images("a", 1, 1);
    template["90"] = json!({"class_type": "Note", "inputs": {"text": "__PROMPT__"}});
    folder.workflow("template.json", &template);
    let words = ["--json", "--story", "story.json", "--workflow", "template.json"];
    let run = folder.run_on(&server.url(), &words).exits(0);
    assert_eq!(run.stdout, folder.read("artifact-metadata.json"));
    let history = folder.read("history/a.json");
    assert!(history.contains("\\u009b31m") && !history.contains(['\u{9b}', '\u{202e}']));
    for ran in [run, folder.run(&["summary", "--json"]).exits(0)] {
        let ran = ran.says("\\u009b31m").never_says("\u{9b}").never_says("\u{202e}");
        let document: Value = serde_json::from_str(&ran.stdout).expect("one JSON document");
        assert_eq!(document["Scenes"][0]["Prompt"], prompt);
    }
}

/// Windows has no such names.
#[cfg(unix)]
#[test]
fn a_folder_s_name_acts_on_no_terminal() {
    let folder = Folder::new();
    for name in ["a\u{1b}[2J\nFAILED", "b\u{1b}[2J"] {
        folder.write(&format!("{name}/old.log"), "12:00:00,Used=1MB\n");
    }
    let both = ["summary", "a\u{1b}[2J\nFAILED/old.log", "b\u{1b}[2J/old.log"];
    let log = format!("{}/new.log", both[2]).replace("/old.log", "");
    let monitor =
        ["monitor", "--comfyui-url", "http://127.0.0.1:1", "--log", &log, "--duration", "0.1"];
    for words in [&both[..2], &both, &monitor] {
        folder.run(words).exits(0).never_says("\u{1b}").never_says("\nFAILED");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_does_not_arrive_on_standard_output_is_told() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::images("a", 1, 1));
    folder.write("old.log", "12:00:00,Used=1MB\n");
    let url = server.url();
    let run = ["--json", "--comfyui-url", &url, "flow.json"];
    let dry = [&run[..], &["--dry-run"]].concat();
    for (words, code) in [
        (&["summary", "old.log"][..], 1),
        (&["summary", "--json", "old.log"], 1),
        (&["--help"], 1),
        (&run, 1),
        (&dry, 1),
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let running = folder.start_with(words, |command| {
            command.stdout(full);
        });
        let line = "run-comfyui-e2e: standard output: No space left on device (os error 28): ";
        let ran = running.wait().exits(code);
        assert!(ran.stderr.contains(line), "{ran}");
    }
}
