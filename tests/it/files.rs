//! What a run leaves in its folder.

use std::fs;

use serde_json::Value;

use crate::seen;
use crate::stand_in::{Config, Fault, StandIn, graphs};
use crate::support::Folder;

#[test]
fn the_summary_is_what_was_printed_line_for_line() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("good.json", &graphs::video("video/good", 0.0, 0, 1));
    folder.workflow("bad.json", &graphs::failing("it broke"));
    let ran = folder.run_on(&server.url(), &["good.json", "bad.json"]).exits(1);
    let summary = folder.read("run-summary.txt");
    assert_eq!(ran.stdout, summary);
    for line in summary.lines() {
        let shape: String =
            line.chars().take(11).map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "[00:00:00] ", "{line:?}");
    }
    let run = folder.newest();
    let id = run.file_name().unwrap().to_string_lossy();
    assert_eq!(&summary.lines().next().unwrap()[11..], format!("E2E Story-to-Video Run: {id}"));
    let directory = seen::line(&summary, "Run directory: ");
    assert!(directory.ends_with(&*id) && directory.contains("logs"), "{directory}");
    for line in [
        "[Scene good] Starting video generation...",
        "[Scene good] Wan2 prompt queued: prompt_id=",
        "[Scene good] ✓ Video generation completed (",
        "[Scene bad] ✗ Video generation failed: failed: ",
        "WAN I2V generation summary: 1 succeeded, 1 failed",
        "=== VRAM Usage Statistics ===",
        "=== RUN COMPLETE ===",
    ] {
        seen::line(&summary, line);
    }
}

#[test]
fn the_run_opens_with_what_it_will_do() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.workflow("a.json", &graphs::images("img/a", 1, 1));
    folder.workflow("b.json", &graphs::images("img/b", 1, 2));
    folder.run_on(&server.url(), &["-FastIteration", "a.json", "b.json"]).exits(0).says(
        "] 2 scenes, at most 360 s each and 1 retry: at worst 24 min; VRAM every 5 s; \
         ComfyUI 0.3.64, PyTorch 2.15.0+cu132, cuda:0 NVIDIA GeForce RTX 4090, 24576 MB, \
         2240 in use, queue empty\n",
    );
    let summary = folder.read("run-summary.txt");
    seen::line(&summary, "FastIteration mode: MaxWait=360s PollInterval=1s");
    seen::line(&summary, "Scenes to process: a, b");
}

#[test]
fn runs_of_the_same_second_have_folders_of_their_own() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 1));
    let running: Vec<_> = (0..4).map(|_| folder.start_on(&server.url(), &["flow.json"])).collect();
    for running in running {
        running.wait().exits(0);
    }
    let runs = folder.runs();
    assert_eq!(runs.len(), 4);
    for run in runs {
        let summary = fs::read_to_string(run.join("run-summary.txt")).unwrap();
        assert_eq!(summary.matches("E2E Story-to-Video Run").count(), 1, "{summary}");
    }
}

#[test]
fn the_history_of_a_scene_is_the_server_s_entry() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::images("img/flow", 2, 1));
    folder.run_on(&server.url(), &["flow.json"]).exits(0);
    let history: Value = serde_json::from_str(&folder.read("history/flow.json")).unwrap();
    let entry = history.get(folder.metadata()["Scenes"][0]["PromptId"].as_str().unwrap());
    let entry = entry.unwrap_or(&history);
    assert_eq!(entry["status"]["status_str"], "success");
    assert_eq!(entry["outputs"]["2"]["images"][1]["filename"], "flow_00002_.png");
}

#[test]
fn a_run_leaves_its_files_and_no_others() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("movie.json", &graphs::video("video/x", 0.0, 0, 1));
    folder.workflow("stills.json", &graphs::images("img/still", 2, 1));
    folder.workflow("bad.json", &graphs::failing("it broke"));
    let words = ["movie.json", "stills.json", "bad.json"];
    folder.run_on(&server.url(), &words).exits(1);
    assert_eq!(
        seen::files(&folder.newest()),
        [
            "artifact-metadata.json",
            "history/bad.json",
            "history/movie.json",
            "history/stills.json",
            "outputs/stills/still_00001_.png",
            "outputs/stills/still_00002_.png",
            "report.html",
            "run-summary.txt",
            "video/movie/movie.mp4",
            "vram-usage.log",
        ]
    );
}

#[test]
fn a_transfer_that_breaks_leaves_no_half_file() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("movie.json", &graphs::video("video/x", 0.0, 0, 1));
    server.fail_next("GET /view", usize::MAX, Fault::CutBody);
    let words = ["-SceneRetryBudget", "0", "movie.json"];
    folder.run_on(&server.url(), &words).exits(1);
    assert_eq!(folder.outcomes()[0].0, "downloadFailed");
    let files = seen::files(&folder.newest());
    assert!(
        files.iter().all(|file| !file.starts_with("video/") && !file.contains("part")),
        "{files:?}"
    );
}

#[test]
fn names_from_the_server_stay_in_the_run_folder() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let flow = folder.workflow("flow.json", &graphs::video("video/x", 0.5, 0, 1));
    let running = folder.start_on(&server.url(), &["flow.json"]);
    let mut id = None;
    assert!(server.wait_until(std::time::Duration::from_secs(20), |state| {
        id = state.running_id().map(str::to_owned);
        id.is_some()
    }));
    let hostile = [
        "../../../escaped.png",
        "..\\..\\escaped.png",
        "/escaped.png",
        "C:\\escaped.png",
        "..",
        "CON.png",
        "a\u{0}b\u{1b}[2J.png",
    ];
    let files: Vec<Value> = hostile
        .iter()
        .map(|name| serde_json::json!({"filename": name, "subfolder": "../..", "type": "output"}))
        .collect();
    let entry = serde_json::json!({id.unwrap(): {
        "prompt": [0, "", {}, {}, ["4"]],
        "outputs": {"4": {"images": files}},
        "status": {"status_str": "success", "completed": true, "messages": []},
    }});
    server.fail_next("GET /history", usize::MAX, Fault::Body(entry.to_string()));
    server.fail_next("GET /view", usize::MAX, Fault::Body("{}".into()));
    let ran = running.wait().exits(0);
    assert!(!ran.stdout.contains(['\u{1b}', '\u{0}']), "{ran}");
    let run = folder.newest();
    let outputs = run.join("outputs").join("flow");
    let names: Vec<String> = seen::files(&outputs);
    assert_eq!(names.len(), hostile.len(), "{names:?}");
    assert!(
        names.iter().all(|name| !name.contains(['/', '\\', ':']) && !name.starts_with("CON")),
        "{names:?}"
    );
    let outside: Vec<String> = seen::files(flow.parent().unwrap());
    let outside = outside.iter().filter(|file| !file.starts_with("logs/"));
    assert!(outside.clone().all(|file| !file.contains("escaped")), "{outside:?}");
}
