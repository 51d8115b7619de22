//! What a run leaves in its folder.

use std::fs;

use expect_test::expect;
use serde_json::{Value, json};

use crate::stand_in::{Config, StandIn, graphs};
use crate::support::{Folder, files, normalized};

#[test]
fn the_summary_is_what_was_printed_line_for_line() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.workflow("good.json", &graphs::images("img/good", 1, 1));
    folder.workflow("bad.json", &graphs::failing("it broke"));
    let words = ["-FastIteration", "-SceneRetryBudget", "0", "-Sample", "3600"];
    let words = [&words[..], &["good.json", "bad.json"]].concat();
    let ran = folder.run_on(&server.url(), &words).exits(1);
    let summary = folder.read("run-summary.txt");
    assert_eq!(ran.stdout, summary);
    let shown = normalized(&summary, &folder);
    // Nothing there holds off sleep for a test.
    let asleep = |line: &&str| !line.contains("the computer may fall asleep meanwhile");
    let shown: String = shown.split_inclusive('\n').filter(asleep).collect();
    // Windows' separators are quoted.
    let shown = shown.replace("\"FOLDER/bad.json\"", "FOLDER/bad.json");
    expect![[r#"
        [TIME] E2E Story-to-Video Run: RUN-ID
        [TIME] Run directory: FOLDER/logs/RUN-ID
        [TIME] 
        [TIME] 2 scenes, at most 6 min each and no retry: at worst 12 min; VRAM every 3600 s; ComfyUI 0.3.64, PyTorch 2.15.0+cu132, cuda:0 NVIDIA GeForce RTX 4090, 24576 MB, 2240 in use, queue empty
        [TIME] Initial VRAM: Used=2140MB Free=22436MB Total=24576MB
        [TIME] FastIteration mode: MaxWait=360s PollInterval=1s
        [TIME] Queue policy: sceneRetries=0, historyMaxWait=360s, historyPollInterval=1s, historyMaxAttempts=unbounded, postExecutionTimeout=15s
        [TIME] Using ComfyUI URL: http://SERVER
        [TIME] Scenes to process: good, bad
        [TIME] 
        [TIME] === STEP 2: Generate Videos (WAN I2V) ===
        [TIME] 
        [TIME] [Scene good] Starting video generation...
        [TIME] [Scene good] Wan2 prompt queued: prompt_id=PROMPT-ID duration=Ns
        [TIME] [Scene good] Wan2 execution completed (Ns)
        [TIME] [Scene good] ✓ Video generation completed (Ns)
        [TIME] [Scene good] Telemetry: DurationSeconds=Ns | MaxWaitSeconds=360s | PollIntervalSeconds=1s | HistoryAttempts=N | pollLimit=unbounded | SceneRetryBudget=unbounded | PostExecutionTimeoutSeconds=15s | ExecutionSuccessDetected=true | ExecutionSuccessAt=TIMESTAMP | HistoryExitReason=success | VRAMBeforeMB=22436MB | VRAMAfterMB=22436MB | VRAMDeltaMB=0MB | gpu=cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync | DoneMarkerWaitSeconds=0s | DoneMarkerDetected=false | ForcedCopyTriggered=false
        [TIME] [Scene bad] Starting video generation...
        [TIME] [Scene bad] Wan2 prompt queued: prompt_id=PROMPT-ID duration=Ns
        [TIME] [Scene bad] Wan2 video missing
        [TIME] [Scene bad] ✗ Video generation failed: failed: node 2 FailAlways: RuntimeError: it broke (Ns)
        [TIME] [Scene bad] Telemetry: DurationSeconds=Ns | MaxWaitSeconds=360s | PollIntervalSeconds=1s | HistoryAttempts=N | pollLimit=unbounded | SceneRetryBudget=unbounded | PostExecutionTimeoutSeconds=15s | ExecutionSuccessDetected=false | HistoryExitReason=success | VRAMBeforeMB=22436MB | VRAMAfterMB=22436MB | VRAMDeltaMB=0MB | gpu=cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync | DoneMarkerWaitSeconds=0s | DoneMarkerDetected=false | ForcedCopyTriggered=false
        [TIME] [Scene bad] ERROR: failed: node 2 FailAlways: RuntimeError: it broke
        [TIME] WAN I2V generation summary: 1 succeeded, 1 failed
        [TIME] ⚠ WAN I2V generation partially completed
        [TIME] 
        [TIME] === STEP 3: Validate Results ===
        [TIME] 
        [TIME] Files generated: 1
        [TIME]    - good_00001_.png (72 bytes)
        [TIME] Expected scenes: 2
        [TIME] ⚠ PARTIAL: 1/2 files generated
        [TIME] 
        [TIME] === VRAM Usage Statistics ===
        [TIME] Peak VRAM: 2140 MB (from 2 samples)
        [TIME] Average VRAM: 2140 MB
        [TIME] Minimum VRAM: 2140 MB
        [TIME] Median VRAM: 2140 MB, 95th percentile: 2140 MB
        [TIME] Peak at: TIME
        [TIME] Added by the run: 0 MB (driver 2240 less 2240 at the start)
        [TIME] Sampling: read every N s, longest gap at most N s, 0 of 2 lines missed; spikes shorter than N s may be missed
        [TIME] VRAM log: FOLDER/logs/RUN-ID/vram-usage.log
        [TIME] 
        [TIME] === RUN COMPLETE ===
        [TIME] 
        [TIME] Run directory: FOLDER/logs/RUN-ID
        [TIME] Files: 1/2
        [TIME] ✗ 1 of 2 scenes failed in N s (exit 1)                                  DATE TIME to TIME
        [TIME] ✓ good  M:SS  no reading  outputs/good/good_00001_.png  72 bytes
        [TIME] ✗ bad  failed: node 2 FailAlways: RuntimeError: it broke
        [TIME] After      GPU idle, queue empty, 2240 MB in use as before
        [TIME] Report     logs/RUN-ID/report.html
        [TIME] Next       run-comfyui-e2e -FastIteration -ComfyUIUrl http://SERVER -SampleIntervalSeconds 3600 -SceneRetryBudget 0 bad.json
    "#]].assert_eq(&shown);
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
fn a_run_leaves_its_files_and_no_others_and_its_metadata_name_them() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("movie.json", &graphs::video("video/x", 0.0, 0, 1));
    folder.workflow("stills.json", &graphs::images("img/still", 2, 1));
    folder.workflow("bad.json", &graphs::failing("it broke"));
    let words = ["movie.json", "stills.json", "bad.json"];
    folder.run_on(&server.url(), &words).exits(1);
    let run = folder.newest();
    let wanted = "artifact-metadata.json history/bad.json history/movie.json history/stills.json \
        outputs/stills/still_00001_.png outputs/stills/still_00002_.png report.html \
        run-summary.txt video/movie/movie.mp4 vram-usage.log";
    assert_eq!(files(&run).join(" "), wanted);
    let document = folder.metadata();
    let id = run.file_name().unwrap().to_str().unwrap();
    assert_eq!((&document["SchemaVersion"], &document["RunId"]), (&json!(2), &json!(id)));
    let tool = json!({"Name": "run-comfyui-e2e", "Version": env!("CARGO_PKG_VERSION")});
    assert_eq!((&document["Tool"], &document["Server"]["Url"]), (&tool, &json!(server.url())));
    assert!(document["RunDir"].as_str().unwrap().ends_with(&format!("/logs/{id}")));
    assert_eq!((&document["ExitCode"], &document["ExitReason"]), (&json!(1), &json!("failed")));
    let [movie, stills, bad] = [0, 1, 2].map(|scene| &document["Scenes"][scene]);
    assert_eq!((&movie["SceneId"], &movie["Outcome"]), (&json!("movie"), &json!("succeeded")));
    assert_eq!((&movie["Success"], &movie["Why"]), (&json!(true), &Value::Null));
    let bytes = fs::metadata(run.join("video/movie/movie.mp4")).unwrap().len();
    assert_eq!(movie["Outputs"], json!([{"Path": "video/movie/movie.mp4", "Bytes": bytes}]));
    assert_eq!((&bad["Outcome"], &bad["AttemptsRun"]), (&json!("failed"), &json!(2)));
    assert!(bad["Why"].as_str().unwrap().contains("it broke"));
    let attempts = bad["Attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2);
    assert_ne!(attempts[0]["PromptId"], attempts[1]["PromptId"]);
    assert_eq!(bad["PromptId"], attempts[1]["PromptId"]);
    // A history is the server's entry.
    let history: Value = serde_json::from_str(&folder.read("history/stills.json")).unwrap();
    let entry = history.get(stills["PromptId"].as_str().unwrap()).unwrap_or(&history);
    assert_eq!(entry["status"]["status_str"], "success");
    assert_eq!(entry["outputs"]["2"]["images"][1]["filename"], "still_00002_.png");
}
