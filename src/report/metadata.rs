//! `artifact-metadata.json`: the machine's record of a run, and the record read back from it.

use serde_json::{Value, json};

use super::fields::Fields;
use super::gates;
use super::record::{
    Attempt, Outcome, Output, PostRunState, RunRecord, SceneRecord, Server, Settings,
};
use crate::clock::iso;
use crate::exit_code::Exit;
use crate::vram::stats::VramStats;

/// Counts up whenever a key changes its meaning or goes.
const SCHEMA: u64 = 1;

/// The document. An unknown is null; times are ISO 8601 with their offset, paths have forward
/// slashes, keys are in alphabetical order.
pub fn document(run: &RunRecord, vram: &VramStats) -> Value {
    let exit = run.exit();
    json!({
        "SchemaVersion": SCHEMA,
        "Tool": {"Name": env!("CARGO_PKG_NAME"), "Version": env!("CARGO_PKG_VERSION")},
        "RunId": run.id,
        "RunDir": run.folder,
        "Timestamp": iso(run.started),
        "Ended": iso(run.ended),
        "Server": {
            "Url": run.server.url,
            "ComfyUIVersion": run.server.comfyui,
            "PyTorchVersion": run.server.pytorch,
            "PythonVersion": run.server.python,
            "Device": run.server.device,
            "DeviceType": run.server.device_kind,
            "DeviceIndex": run.server.device_index,
        },
        "QueueConfig": {
            "SceneRetryBudget": run.settings.scene_retry_budget,
            "HistoryMaxWaitSeconds": run.settings.max_wait_seconds,
            "HistoryPollIntervalSeconds": run.settings.poll_interval_seconds,
            "HistoryMaxAttempts": run.settings.history_max_attempts,
            "PostExecutionTimeoutSeconds": run.settings.post_execution_timeout_seconds,
        },
        "SampleIntervalSeconds": run.settings.sample_interval_seconds,
        "Scenes": run.scenes.iter().map(|scene| of_scene(scene, vram)).collect::<Vec<_>>(),
        "Vram": vram.json(),
        "Gates": gates::json(&run.gates),
        "Aftermath": {
            "QueueLength": run.aftermath.queue,
            "UsedBeforeMB": run.aftermath.used_before_mb,
            "UsedAfterMB": run.aftermath.used_after_mb,
            "OtherPrompts": run.aftermath.other_prompts,
            "StillRunning": run.aftermath.still_running,
        },
        "Interrupted": run.interrupted,
        "Failure": run.failure.as_ref().map(|(exit, why)| json!({"Code": exit.code(), "Why": why})),
        "ExitCode": exit.code(),
        "ExitReason": exit.reason(),
        "Next": run.next,
    })
}

fn of_scene(scene: &SceneRecord, vram: &VramStats) -> Value {
    let last = scene.attempts.last();
    let figures = vram
        .scenes
        .iter()
        .find(|figures| figures.id == scene.id && scene.outcome != Outcome::Cached)
        .map(crate::vram::stats::SceneStatistics::json);
    json!({
        "SceneId": scene.id,
        "Success": scene.outcome.is_success(),
        "Outcome": scene.outcome.name(),
        "Why": none_if_empty(&scene.why),
        "DurationSeconds": scene.seconds,
        "PromptId": last.and_then(|attempt| attempt.prompt_id.clone()),
        "CachedNodes": last.map(|attempt| attempt.cached_nodes.clone()).unwrap_or_default(),
        "QueuedSeconds": last.map(|attempt| attempt.queued_seconds),
        "ServerSeconds": last.and_then(|attempt| attempt.server_seconds),
        "AttemptsRun": scene.attempts.len(),
        "Attempts": scene.attempts.iter().map(of_attempt).collect::<Vec<_>>(),
        "Outputs": scene.outputs.iter().map(|output| {
            json!({"Path": output.path, "Bytes": output.bytes})
        }).collect::<Vec<_>>(),
        "Warnings": scene.warnings,
        "Seed": scene.seed,
        "Vram": figures,
    })
}

fn of_attempt(attempt: &Attempt) -> Value {
    json!({
        "Outcome": attempt.outcome.name(),
        "Why": none_if_empty(&attempt.why),
        "PromptId": attempt.prompt_id,
        "DurationSeconds": attempt.seconds,
        "QueuedSeconds": attempt.queued_seconds,
        "ServerSeconds": attempt.server_seconds,
        "Polls": attempt.polls,
        "CachedNodes": attempt.cached_nodes,
        "FreedBefore": attempt.freed,
    })
}

fn none_if_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// The record in a document.
///
/// # Errors
/// The key that is missing or holds something else, one line.
pub fn record(document: &Value) -> Result<RunRecord, String> {
    let doc = Fields::of(document);
    let (server, queue, after) = (doc.at("Server"), doc.at("QueueConfig"), doc.at("Aftermath"));
    let failure = doc.at("Failure");
    let failure = if failure.value.is_null() {
        None
    } else {
        let code = failure.number("Code")?;
        let exit = Exit::all().into_iter().find(|exit| u64::from(exit.code()) == code);
        Some((exit.ok_or_else(|| failure.wrong("Code"))?, failure.text("Why")?))
    };
    Ok(RunRecord {
        id: doc.text("RunId")?,
        folder: doc.text("RunDir")?,
        started: doc.time("Timestamp")?,
        ended: doc.time("Ended")?,
        settings: Settings {
            max_wait_seconds: queue.number("HistoryMaxWaitSeconds")?,
            poll_interval_seconds: queue.decimal("HistoryPollIntervalSeconds")?,
            history_max_attempts: queue.small("HistoryMaxAttempts")?,
            post_execution_timeout_seconds: queue.number("PostExecutionTimeoutSeconds")?,
            scene_retry_budget: queue.small("SceneRetryBudget")?,
            sample_interval_seconds: doc.decimal("SampleIntervalSeconds")?,
        },
        server: Server {
            url: server.text("Url")?,
            comfyui: server.maybe_text("ComfyUIVersion"),
            pytorch: server.maybe_text("PyTorchVersion"),
            python: server.maybe_text("PythonVersion"),
            device: server.maybe_text("Device"),
            device_kind: server.maybe_text("DeviceType"),
            device_index: server.value["DeviceIndex"].as_u64(),
        },
        scenes: doc.each("Scenes", |scene| {
            Ok(SceneRecord {
                id: scene.text("SceneId")?,
                outcome: scene.outcome()?,
                why: scene.maybe_text("Why").unwrap_or_default(),
                seconds: scene.decimal("DurationSeconds")?,
                attempts: scene.each("Attempts", |attempt| {
                    Ok(Attempt {
                        outcome: attempt.outcome()?,
                        why: attempt.maybe_text("Why").unwrap_or_default(),
                        prompt_id: attempt.maybe_text("PromptId"),
                        seconds: attempt.decimal("DurationSeconds")?,
                        queued_seconds: attempt.decimal("QueuedSeconds")?,
                        server_seconds: attempt.value["ServerSeconds"].as_f64(),
                        polls: attempt.small("Polls")?,
                        cached_nodes: attempt.texts("CachedNodes")?,
                        // Runs of an older version did not note it.
                        freed: attempt.value["FreedBefore"].as_bool().unwrap_or_default(),
                    })
                })?,
                outputs: scene.each("Outputs", |output| {
                    Ok(Output { path: output.text("Path")?, bytes: output.number("Bytes")? })
                })?,
                warnings: scene.texts("Warnings")?,
                seed: scene.value["Seed"].as_u64(),
            })
        })?,
        interrupted: doc.value["Interrupted"].as_bool().ok_or_else(|| doc.wrong("Interrupted"))?,
        failure,
        gates: gates::verdicts(&doc)?,
        aftermath: PostRunState {
            queue: after.value["QueueLength"].as_u64(),
            used_before_mb: after.value["UsedBeforeMB"].as_u64(),
            used_after_mb: after.value["UsedAfterMB"].as_u64(),
            other_prompts: after.number("OtherPrompts")?,
            still_running: after.maybe_text("StillRunning"),
        },
        next: doc.maybe_text("Next"),
    })
}
