//! Runs in which something is not known, or not there: the validator is satisfied all the same.

use serde_json::json;

use super::bench::{Project, template};
use super::{satisfies, validator};
use crate::stand_in::{Fault, graphs};
use crate::support::SOON;

#[test]
fn a_server_that_goes_away_and_what_was_skipped_satisfy_it_too() {
    let project = Project::new();
    project.template(&template(60.0));
    let running = project.start("", &["-Scenes", "2", "-MaxWaitSeconds", "3"]);
    running.until_it_says("[Scene scene-001] Wan2 prompt queued");
    project.server.stop_listening();
    let skipped = "[Scene scene-002] ✗ Video generation failed: skipped: server gone (0.0s)\n";
    let ran = running.wait().exits(3).says("[Scene scene-002] ERROR: skipped: server gone\n");
    ran.says("[Scene scene-002] Wan2 video missing\n").says(skipped);
    satisfies(&project);
    let metadata = project.folder.metadata();
    let [gone, skipped] = [0, 1].map(|n| &metadata["Scenes"][n]["Telemetry"]);
    // The one before was known, the one after never came.
    let gpu = [&gone["GPU"]["VramBeforeMB"], &gone["GPU"]["VramAfterMB"]];
    assert_eq!(gpu, [&json!(22_436), &json!(null)]);
    let [note] = gone["System"]["FallbackNotes"].as_array().unwrap().as_slice() else { panic!() };
    assert!(project.folder.read("run-summary.txt").contains(note.as_str().unwrap()), "{note}");
    assert_eq!((&skipped["QueueStart"], &skipped["HistoryAttempts"]), (&json!(null), &json!(0)));
    assert!(skipped["GPU"]["VramBeforeMB"].is_null());
}

#[test]
fn a_device_that_tells_no_free_memory_satisfies_it_too() {
    let project = Project::new();
    let device = r#"{"name": "old", "type": "cuda", "index": 0, "vram_used": 104857600}"#;
    let body = format!(r#"{{"system": {{}}, "devices": [{device}]}}"#);
    project.server.fail_next("GET /system_stats", usize::MAX, Fault::Body(body));
    project
        .run("", &["-Scenes", "1"])
        .exits(0)
        .says("WARNING: the free memory after the scene is not known (no figure of it)\n");
    satisfies(&project);
    let telemetry = &project.folder.metadata()["Scenes"][0]["Telemetry"];
    assert_eq!(telemetry["System"]["FallbackNotes"].as_array().unwrap().len(), 2);
    assert!(telemetry["GPU"]["VramFreeBefore"].is_null());
}

#[test]
fn a_history_that_cannot_be_read_satisfies_it_too() {
    let project = Project::new();
    project.server.fail_next("GET /history/", usize::MAX, Fault::Status(500, "out of order"));
    let words = ["-Scenes", "1", "-SceneHistoryMaxAttempts", "1"];
    project
        .run("", &words)
        .exits(6)
        .says("no history was retrieved (attemptLimit)\n")
        .says("✗ scene-001  lost: history not readable (GET /history/");
    satisfies(&project);
    let scene = &project.folder.metadata()["Scenes"][0];
    assert_eq!([&scene["HistoryRetrieved"], &scene["HistoryPath"]], [&json!(false), &json!(null)]);
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn an_interrupted_attempt_has_nothing_of_the_one_before_it() {
    let project = Project::new();
    let mut graph = template(60.0);
    graph["23"] = json!({"class_type": "FailOnce", "inputs": {"image": ["1", 0], "message": "x"}});
    graph["2"]["inputs"]["image"] = json!(["23", 0]);
    project.template(&graph);
    let running = project.start("", &["-Scenes", "1"]);
    running.until_it_says("trying again (1 of 1)");
    assert!(project.server.wait_until(SOON, |state| state.executed == 2));
    crate::signals::ctrl_c(&running);
    let ran = running.wait().exits(130);
    let metadata = project.folder.metadata();
    let scene = &metadata["Scenes"][0];
    assert_eq!((&scene["HistoryRetrieved"], &scene["AttemptsRun"]), (&json!(false), &json!(2)));
    assert_eq!(scene["Telemetry"]["HistoryExitReason"], "unknown");
    // No archive comes, and none is told of.
    assert!(metadata["Archive"].is_null() && !ran.stdout.contains("Archive: "), "{ran}");
    // The helpers were not run; the other rules hold.
    let broken = validator::broken(&project.folder.read("run-summary.txt"), &metadata);
    assert!(broken.iter().all(|rule| rule.starts_with("Vitest ")), "{broken:?}");
}

#[test]
fn images_are_held_against_the_floor() {
    for (count, is_enough) in [(5, false), (49, true)] {
        let project = Project::new();
        let mut graph = graphs::images("x", count, 1);
        graph["20"] = json!({"class_type": "Note", "inputs": {"text": "__PROMPT__"}});
        project.template(&graph);
        let ran = project.run("", &["-Scenes", "1"]).exits(0).says("Files generated: 1\n");
        let ran = ran.says(&format!("Total frames copied: {}\n", count + 1));
        let warning = "[Scene scene-001] WARNING: Frame count below floor (5/49)\n";
        assert_eq!(ran.stdout.contains(warning), !is_enough, "{ran}");
        satisfies(&project);
        let scene = &project.folder.metadata()["Scenes"][0];
        let frames = [&scene["FrameFloor"], &scene["FrameCount"], &scene["MeetsFrameFloor"]];
        assert_eq!(frames, [&json!(49), &json!(count), &json!(is_enough)]);
    }
}
