//! A scene's line and fields, to the letter.

use time::OffsetDateTime;
use time::macros::datetime;

use super::*;
use crate::project::story::StoryScene;
use crate::report::record::{Attempt, Settings};

fn attempt(polls: u32) -> Attempt {
    Attempt {
        outcome: Outcome::Succeeded,
        why: String::new(),
        prompt_id: None,
        seconds: 1.0,
        queued_seconds: 0.0,
        server_seconds: None,
        polls,
        cached_nodes: vec![],
        timed_out: false,
        freed: false,
        server_starts: 0,
    }
}

fn ended(outcome: Outcome, why: &str, files: &[&str]) -> SceneRecord {
    let output = |path: &&str| Output { path: (*path).to_owned(), bytes: 5 };
    SceneRecord {
        outcome,
        seconds: 188.44,
        attempts: vec![attempt(90), attempt(7)],
        outputs: files.iter().map(output).collect(),
        ..SceneRecord::skipped("scene-001", why)
    }
}

fn free(mb: u64) -> Reading {
    Reading { free: Some(mb), total: Some(24_576), ..Reading::default() }
}

fn good() -> LegacyScene {
    let (start, end) =
        (datetime!(2025-11-18 08:38:21 -5), datetime!(2025-11-18 08:41:29.826558200 -5));
    LegacyScene {
        story: Some(StoryScene { expected_frames: Some(49), ..StoryScene::default() }),
        span: Some((start, end)),
        before: Some(free(18_946)),
        after: Some(free(19_080)),
        success_at: Some(end),
        history_retrieved: true,
        history_kept: true,
        notes: vec![],
        stats_before: json!({"devices": [1]}),
        stats_after: Value::Null,
    }
}

fn rules() -> Settings {
    Settings {
        max_wait_seconds: 360,
        poll_interval_seconds: 1.0,
        history_max_attempts: 0,
        post_execution_timeout_seconds: 15,
        scene_retry_budget: 1,
        sample_interval_seconds: 5.0,
    }
}

fn card() -> Server {
    let name = "cuda:0 NVIDIA GeForce RTX 3090 : cudaMallocAsync";
    Server { device: Some(name.to_owned()), ..Server::default() }
}

/// The lines of a scene, and its object in the metadata.
fn told(scene: &SceneRecord, legacy: &LegacyScene, settings: &Settings) -> (Vec<String>, Value) {
    on(&card(), scene, legacy, settings)
}

fn on(
    server: &Server,
    scene: &SceneRecord,
    legacy: &LegacyScene,
    settings: &Settings,
) -> (Vec<String>, Value) {
    let (settings, server) = (settings.clone(), server.clone());
    let started = OffsetDateTime::UNIX_EPOCH;
    let run =
        RunRecord { settings, server, ..RunRecord::new(String::new(), String::new(), started, "") };
    let scene = SceneRecord { legacy: legacy.clone(), ..scene.clone() };
    (scene_lines(&scene, &run), scene_fields(&scene, &run))
}

#[test]
fn the_telemetry_line_is_the_script_s() {
    let scene = ended(Outcome::Succeeded, "", &["video/scene-001/scene-001.mp4"]);
    let (lines, object) = told(&scene, &good(), &rules());
    assert_eq!(
        lines,
        ["Telemetry: DurationSeconds=188.4s | MaxWaitSeconds=360s | PollIntervalSeconds=1s | \
             HistoryAttempts=97 | pollLimit=unbounded | SceneRetryBudget=1 | \
             PostExecutionTimeoutSeconds=15s | ExecutionSuccessDetected=true | \
             ExecutionSuccessAt=2025-11-18T08:41:29.8265582-05:00 | HistoryExitReason=success | \
             VRAMBeforeMB=18946MB | VRAMAfterMB=19080MB | VRAMDeltaMB=134MB | \
             gpu=cuda:0 NVIDIA GeForce RTX 3090 : cudaMallocAsync | DoneMarkerWaitSeconds=0s | \
             DoneMarkerDetected=false | ForcedCopyTriggered=false"]
    );
    let system = json!({"Before": {"devices": [1]}, "After": null, "FallbackNotes": []});
    assert_eq!(object["Telemetry"]["System"], system);
    let gpu = &object["Telemetry"]["GPU"];
    assert_eq!(gpu["VramFreeBefore"], 18_946_u64 << 20);
    assert_eq!((&gpu["VramDelta"], &gpu["VramDeltaMB"]), (&json!(134 << 20), &json!(134)));
    assert_eq!(gpu["VramTotal"], 24_576_u64 << 20);
    assert_eq!(object["HistoryPath"], "history/scene-001.json");
    let video = json!({
        "Path": "video/scene-001/scene-001.mp4", "DurationSeconds": 188.44, "Status": "complete",
        "UpdatedAt": "2025-11-18T08:41:29.8265582-05:00", "Error": null,
    });
    assert_eq!((&object["Video"], &object["Requeued"]), (&video, &json!(true)));
}

#[test]
fn memory_that_was_taken_has_a_minus_and_what_is_not_known_is_left_out() {
    let scene = ended(Outcome::Succeeded, "", &[]);
    let taken = LegacyScene { before: Some(free(19_080)), after: Some(free(18_946)), ..good() };
    assert!(told(&scene, &taken, &rules()).0[0].contains(" | VRAMDeltaMB=-134MB | "));
    for (before, after, part, known) in [
        (Some(free(5)), None, " | VRAMBeforeMB=5MB | gpu=", json!([5, null, null])),
        (None, Some(free(5)), "=success | VRAMAfterMB=5MB | gpu=", json!([null, 5, null])),
        (None, Some(Reading::default()), "=success | gpu=", json!([null, null, null])),
    ] {
        let script = LegacyScene { before, after, ..good() };
        let (lines, object) = told(&scene, &script, &rules());
        assert!(lines[0].contains(part), "{lines:?}");
        let gpu = &object["Telemetry"]["GPU"];
        assert_eq!(json!([gpu["VramBeforeMB"], gpu["VramAfterMB"], gpu["VramDeltaMB"]]), known);
    }
}

#[test]
fn no_retries_and_no_limit_are_unbounded_on_the_line_and_0_in_the_metadata() {
    let scene = ended(Outcome::Succeeded, "", &[]);
    let none = Settings { scene_retry_budget: 0, ..rules() };
    let (lines, object) = told(&scene, &good(), &none);
    assert!(lines[0].contains(" | pollLimit=unbounded | SceneRetryBudget=unbounded | "));
    assert_eq!(
        json!([object["SceneRetryBudget"], object["HistoryAttemptLimit"]]),
        json!([0, 0]),
        "{object:#}"
    );
    let some = Settings { scene_retry_budget: 3, history_max_attempts: 7, ..rules() };
    assert!(told(&scene, &good(), &some).0[0].contains(" | pollLimit=7 | SceneRetryBudget=3 | "));
}

#[test]
fn a_device_without_a_name_has_one_all_the_same() {
    let (scene, script, settings) = (ended(Outcome::Succeeded, "", &[]), good(), rules());
    for name in [None, Some(" ".to_owned())] {
        let server = Server { device: name, ..card() };
        let (lines, object) = on(&server, &scene, &script, &settings);
        assert_eq!(object["Telemetry"]["GPU"]["Name"], "unknown");
        assert!(lines[0].contains(" | gpu=unknown | "));
    }
}

#[test]
fn a_history_that_could_not_be_written_has_no_path() {
    let scene = ended(Outcome::Succeeded, "", &[]);
    let script = LegacyScene { history_kept: false, ..good() };
    let object = told(&scene, &script, &rules()).1;
    assert_eq!([&object["HistoryRetrieved"], &object["HistoryPath"]], [&json!(true), &json!(null)]);
}

#[test]
fn every_end_has_its_reason_and_its_lines() {
    let unreadable = format!("{HISTORY_UNREADABLE} (HTTP 500)");
    for (outcome, why, read, reason) in [
        (Outcome::Succeeded, "", true, "success"),
        (Outcome::Cached, "", true, "success"),
        (Outcome::Partial, "node 9", true, "success"),
        (Outcome::Failed, "node 2", true, "success"),
        (Outcome::OutOfMemory, "node 2", true, "success"),
        (Outcome::NoOutput, "no file", true, "success"),
        (Outcome::Interrupted, "somebody", true, "success"),
        (Outcome::Interrupted, "by a signal (Ctrl-C)", false, "unknown"),
        (Outcome::DownloadFailed, "a.mp4", true, "postExecution"),
        (Outcome::Deadline, "queued", false, "maxWait"),
        (Outcome::Lost, unreadable.as_str(), false, "attemptLimit"),
        (Outcome::Lost, "removed", false, "unknown"),
        (Outcome::Rejected, "node 4", false, "unknown"),
        (Outcome::Unreachable, "refused", false, "unknown"),
        (Outcome::Skipped, "server gone", false, "unknown"),
    ] {
        let scene = ended(outcome, why, &["outputs/a.mp4"]);
        let script = LegacyScene { history_retrieved: read, ..good() };
        let (lines, object) = told(&scene, &script, &rules());
        assert_eq!(object["Telemetry"]["HistoryExitReason"], reason, "{outcome:?}");
        assert!(lines[0].contains(&format!(" | HistoryExitReason={reason} | ")), "{lines:?}");
        let error = format!("ERROR: {}: {why}", outcome.name());
        assert_eq!(lines.contains(&error), !outcome.is_success(), "{lines:?}");
        let warning = format!("HISTORY WARNING: no history was retrieved ({reason})");
        assert_eq!(lines.contains(&warning), !read, "{lines:?}");
    }
}

#[test]
fn frames_are_images_and_unknown_in_a_video_alone() {
    let frames = |files: &[&str], floor: Option<u64>| {
        let story = StoryScene { expected_frames: floor, ..StoryScene::default() };
        let script = LegacyScene { story: Some(story), ..good() };
        let (lines, object) = told(&ended(Outcome::Succeeded, "", files), &script, &rules());
        let line = lines.into_iter().find(|line| line.starts_with("WARNING"));
        (json!([object["FrameCount"], object["MeetsFrameFloor"]]), line)
    };
    let below = |n| Some(format!("WARNING: Frame count below floor ({n}/2)"));
    for (files, floor, told, line) in [
        (&["a.mp4"][..], Some(2), json!([null, null]), None),
        (&["a.mp4", "a.png"], Some(2), json!([1, false]), below(1)),
        (&["a.png", "b.jpg"], Some(2), json!([2, true]), None),
        (&["a.png"], Some(2), json!([1, false]), below(1)),
        (&[], Some(2), json!([0, false]), below(0)),
        (&[], None, json!([0, null]), None),
    ] {
        assert_eq!(frames(files, floor), (told, line), "{files:?}");
    }
}

fn with_files(id: &str, files: &[(&str, u64)]) -> SceneRecord {
    let output = |(path, bytes): &(&str, u64)| Output { path: (*path).into(), bytes: *bytes };
    let outputs = files.iter().map(output).collect();
    SceneRecord { outcome: Outcome::Succeeded, outputs, ..SceneRecord::skipped(id, "") }
}

#[test]
fn a_story_s_llm_is_told_without_credentials() {
    let with = json!({
        "providerUrl": "http://user:p@ss@host:1/v1", "seed": 42, "status": null,
        "error": "GET https://user:pass@host failed, so did http://me@host/x",
        "tried": ["me@home", "http://host"],
    });
    let without = json!({
        "providerUrl": "http://***@host:1/v1", "seed": 42, "status": null,
        "error": "GET https://***@host failed, so did http://***@host/x",
        "tried": ["me@home", "http://host"],
    });
    assert_eq!(map_texts(with, &without_credentials), without);
}

#[test]
fn results_are_told_as_what_they_are() {
    let mb = 1_604_321;
    let a = with_files("a", &[("video/a/a.mp4", mb), ("outputs/a/a.png", 5)]);
    let (b, none) = (with_files("b", &[("video/b/b.mp4", mb)]), with_files("c", &[]));
    let images = with_files("d", &[("outputs/d/d_00001_.png", 700), ("outputs/d/e.png", 5)]);
    let told = |scenes: &[&SceneRecord]| {
        let scenes: Vec<SceneRecord> = scenes.iter().map(|scene| (*scene).clone()).collect();
        (results(&scenes), tally(&scenes))
    };
    let all = [
        "Videos generated: 2",
        "   - a.mp4 (1.53 MB) and 1 more file",
        "   - b.mp4 (1.53 MB)",
        "Expected scenes: 2",
        "✓ SUCCESS: All scenes produced videos",
    ];
    assert_eq!(told(&[&a, &b]), (all.map(str::to_owned).to_vec(), "Videos: 2/2".to_owned()));
    let (some, tally) = told(&[&a, &b, &none]);
    assert_eq!(some.last().unwrap(), "⚠ PARTIAL: 2/3 videos generated");
    assert_eq!(tally, "Videos: 2/3");
    assert_eq!(told(&[&none]).0.last().unwrap(), "✗ FAILURE: No videos generated");
    let (files, tally) = told(&[&images, &a]);
    assert_eq!(files[1], "   - d_00001_.png (700 bytes) and 1 more file");
    assert_eq!(files.last().unwrap(), "✓ SUCCESS: All scenes produced files");
    assert_eq!(tally, "Files: 2/2");
}
