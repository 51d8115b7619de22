//! What readers of the script's files look for in the summary and the metadata: its lines, its
//! fields, and neutral values for what has no metric here.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::record::{
    HISTORY_UNREADABLE, LegacyRun, LegacyScene, Outcome, Output, RunRecord, SceneRecord, Server,
};
use super::text::{and_more, with_size};
use crate::clock::iso;
use crate::fs::{is_image, is_video};
use crate::project::helpers::{HelperFiles, told};
use crate::project::llm::HealthCheck;
use crate::sanitize::{map_texts, without_credentials};
use crate::vram::reading::{MB, Reading};

/// `## Artifact Index` and what stands below it.
pub fn index(run: &RunRecord, files: &HelperFiles) -> Vec<String> {
    let mut lines = vec!["## Artifact Index".to_owned()];
    lines.extend(story_folder(&run.legacy).map(|folder| format!("Story folder: {folder}")));
    let captured = run.scenes.iter().filter(|scene| !scene.outputs.is_empty()).count();
    lines.push(format!("Scenes captured: {captured}"));
    lines.push(format!("Total frames copied: {}", frames(run)));
    let names = ["comfyUI log", "e2e log", "scripts log", "results json"];
    let paths = files.vitest.iter().chain([&files.vitest_results]);
    let vitest = names.iter().zip(paths);
    lines.extend(vitest.map(|(name, path)| format!("Vitest {name}: {}", told(path))));
    lines.extend(run.legacy.archive.iter().map(|path| format!("Archive: {}", path.display())));
    lines
}

/// Keyframes, and downloaded images and videos.
fn frames(run: &RunRecord) -> usize {
    let keyframes = run.scenes.iter().filter(|scene| keyframe(scene).is_some()).count();
    let outputs = run.scenes.iter().flat_map(|scene| &scene.outputs);
    keyframes + outputs.filter(|file| is_image(&file.path) || is_video(&file.path)).count()
}

fn keyframe(scene: &SceneRecord) -> Option<String> {
    scene.legacy.story.as_ref()?.keyframe.as_deref().map(slashes)
}

fn story_folder(run: &LegacyRun) -> Option<String> {
    run.story.as_ref()?.file.parent().map(slashes)
}

/// The script's fields of the metadata document.
pub fn run_fields(run: &LegacyRun, files: &HelperFiles) -> Value {
    let story = run.story.as_ref();
    let file = |path: &PathBuf| slashes(Path::new(&told(path)));
    let [comfyui, e2e, scripts] = files.vitest.each_ref().map(file);
    let helper =
        |(summary, log): &(PathBuf, PathBuf)| json!({"Summary": file(summary), "Log": file(log)});
    json!({
        "Story": {
            "Id": story.map(|story| &story.id),
            "Logline": story.map(|story| &story.logline),
            "DirectorsVision": story.map(|story| &story.directors_vision),
            "Generator": story.map(|story| &story.generator),
            "File": story.map(|story| slashes(&story.file)),
            "StoryDir": story_folder(run),
            // Metadata are shown to others.
            "LLM": story.map(|story| map_texts(story.llm.clone(), &without_credentials)),
            "HealthCheck": HealthCheck::json(run.health_check.as_ref()),
            "Warnings": story.map(|story| story.warnings.as_slice()).unwrap_or_default(),
        },
        "VitestLogs": {
            "ComfyUI": comfyui,
            "E2E": e2e,
            "Scripts": scripts,
            "ResultsJson": file(&files.vitest_results),
        },
        "VitestSummary": files.vitest_summary(),
        "Archive": run.archive.as_deref().map(slashes),
        "HelperSummaries": {
            "MappingPreflight": helper(&files.preflight),
            "ComfyUIStatus": helper(&files.status),
        },
    })
}

/// `=== STEP 3: Validate Results ===`: the files of each scene, and whether every scene has one.
pub fn results(scenes: &[SceneRecord]) -> Vec<String> {
    let (name, count) = count_results(scenes);
    let mut lines = vec![format!("{name} generated: {count}")];
    for scene in scenes {
        let first = if name == "Videos" { video(scene) } else { scene.outputs.first() };
        lines.extend(first.map(|first| {
            format!("   - {}{}", with_size(first.file_name(), first), and_more(&scene.outputs))
        }));
    }
    let (all, what) = (scenes.len(), name.to_lowercase());
    lines.push(format!("Expected scenes: {all}"));
    lines.push(match count {
        0 => "✗ FAILURE: No videos generated".to_owned(),
        _ if count == all => format!("✓ SUCCESS: All scenes produced {what}"),
        _ => format!("⚠ PARTIAL: {count}/{all} {what} generated"),
    });
    lines
}

/// `Videos: 3/3`.
pub fn tally(scenes: &[SceneRecord]) -> String {
    let (name, count) = count_results(scenes);
    format!("{name}: {count}/{}", scenes.len())
}

/// How many scenes have outputs, and their name: `Videos`, or `Files` if one of them has no video.
fn count_results(scenes: &[SceneRecord]) -> (&'static str, usize) {
    let with_outputs = scenes.iter().filter(|scene| !scene.outputs.is_empty());
    let videos = with_outputs.clone().all(|scene| video(scene).is_some());
    (if videos { "Videos" } else { "Files" }, with_outputs.count())
}

fn video(scene: &SceneRecord) -> Option<&Output> {
    scene.outputs.iter().find(|file| is_video(&file.path))
}

/// A path as the files of a run write it, with forward slashes.
pub fn slashes(path: &Path) -> String {
    path.display().to_string().replace('\\', "/")
}

/// The lines below the scene's verdict in the summary, without the scene's name.
pub fn scene_lines(scene: &SceneRecord, run: &RunRecord) -> Vec<String> {
    let mut lines = vec![telemetry_line(scene, run)];
    lines.extend(error(scene).map(|error| format!("ERROR: {error}")));
    if !scene.legacy.history_retrieved {
        let reason = history_exit_reason(scene);
        lines.push(format!("HISTORY WARNING: no history was retrieved ({reason})"));
    }
    let frames = frame_count(scene).zip(frame_floor(scene));
    if let Some((count, floor)) = frames.filter(|(count, floor)| count < floor) {
        lines.push(format!("WARNING: Frame count below floor ({count}/{floor})"));
    }
    lines
}

fn telemetry_line(scene: &SceneRecord, run: &RunRecord) -> String {
    let (legacy, settings) = (&scene.legacy, &run.settings);
    let mut parts = vec![
        format!("DurationSeconds={:.1}s", scene.seconds),
        format!("MaxWaitSeconds={}s", settings.max_wait_seconds),
        format!("PollIntervalSeconds={}s", settings.poll_interval_seconds),
        format!("HistoryAttempts={}", polls(scene)),
        format!("pollLimit={}", limit(settings.history_max_attempts)),
        format!("SceneRetryBudget={}", limit(settings.scene_retry_budget)),
        format!("PostExecutionTimeoutSeconds={}s", settings.post_execution_timeout_seconds),
        format!("ExecutionSuccessDetected={}", legacy.success_at.is_some()),
    ];
    parts.extend(legacy.success_at.map(|at| format!("ExecutionSuccessAt={}", iso(at))));
    parts.push(format!("HistoryExitReason={}", history_exit_reason(scene)));
    let names = ["VRAMBeforeMB", "VRAMAfterMB", "VRAMDeltaMB"];
    let known = names.into_iter().zip(free_mb(legacy));
    parts.extend(known.filter_map(|(name, mb)| Some(format!("{name}={}MB", mb?))));
    parts.push(format!("gpu={}", gpu(&run.server)));
    parts.push("DoneMarkerWaitSeconds=0s | DoneMarkerDetected=false".to_owned());
    parts.push("ForcedCopyTriggered=false".to_owned());
    format!("Telemetry: {}", parts.join(" | "))
}

/// A number of attempts; 0 is `unbounded`.
pub(super) fn limit(attempts: u32) -> String {
    if attempts == 0 { "unbounded".to_owned() } else { attempts.to_string() }
}

/// The script's fields of a scene's object in the metadata.
pub fn scene_fields(scene: &SceneRecord, run: &RunRecord) -> Value {
    let (legacy, settings) = (&scene.legacy, &run.settings);
    let story = legacy.story.as_ref();
    let (title, summary) = (story.map(|story| &story.title), story.map(|story| &story.summary));
    let (count, floor) = (frame_count(scene), frame_floor(scene));
    json!({
        "SceneTitle": title,
        "SceneSummary": summary,
        "Prompt": story.map(|story| &story.prompt),
        "NegativePrompt": story.map(|story| &story.negative),
        "FrameFloor": floor,
        "FrameCount": count,
        "FramePrefix": format!("video/{}", scene.id),
        "HistoryPath": legacy.history_kept.then(|| format!("history/{}.json", scene.id)),
        "MeetsFrameFloor": count.zip(floor).map(|(count, floor)| count >= floor),
        "HistoryRetrieved": legacy.history_retrieved,
        "HistoryAttempts": polls(scene),
        "Errors": error(scene).as_slice(),
        "Requeued": scene.attempts.len() > 1,
        "KeyframeSource": keyframe(scene),
        "StoryTitle": title,
        "StorySummary": summary,
        "StoryMood": story.map(|story| &story.mood),
        "StoryExpectedFrames": floor,
        "StoryCameraMovement": story.map(|story| &story.camera_movement),
        "HistoryAttemptLimit": settings.history_max_attempts,
        "SceneRetryBudget": settings.scene_retry_budget,
        "HistoryConfig": {
            "MaxWaitSeconds": settings.max_wait_seconds,
            "PollIntervalSeconds": settings.poll_interval_seconds,
            "MaxAttempts": settings.history_max_attempts,
            "PostExecutionTimeoutSeconds": settings.post_execution_timeout_seconds,
        },
        "Telemetry": telemetry(scene, run),
        "Video": video_json(scene),
    })
}

fn telemetry(scene: &SceneRecord, run: &RunRecord) -> Value {
    let (legacy, settings, server) = (&scene.legacy, &run.settings, &run.server);
    let mb = free_mb(legacy);
    let bytes = mb.map(|mb| mb?.checked_mul(MB.cast_signed()));
    let total = legacy.before.or(legacy.after).and_then(|reading| reading.total);
    json!({
        "QueueStart": legacy.span.map(|(start, _)| iso(start)),
        "QueueEnd": legacy.span.map(|(_, end)| iso(end)),
        "DurationSeconds": scene.seconds,
        "MaxWaitSeconds": settings.max_wait_seconds,
        "PollIntervalSeconds": settings.poll_interval_seconds,
        "HistoryAttempts": polls(scene),
        "HistoryAttemptLimit": settings.history_max_attempts,
        "HistoryExitReason": history_exit_reason(scene),
        "HistoryPostExecutionTimeoutReached": scene.outcome == Outcome::DownloadFailed,
        "PostExecutionTimeoutSeconds": settings.post_execution_timeout_seconds,
        "ExecutionSuccessDetected": legacy.success_at.is_some(),
        "ExecutionSuccessAt": legacy.success_at.map(iso),
        "SceneRetryBudget": settings.scene_retry_budget,
        "DoneMarkerDetected": false,
        "DoneMarkerWaitSeconds": 0,
        "DoneMarkerPath": null,
        "ForcedCopyTriggered": false,
        "ForcedCopyDebugPath": null,
        "GPU": {
            "Name": gpu(server),
            "Type": server.device_kind,
            "Index": server.device_index,
            "VramFreeBefore": bytes[0],
            "VramFreeAfter": bytes[1],
            "VramTotal": total.and_then(|mb| mb.checked_mul(MB)),
            "VramDelta": bytes[2],
            "VramBeforeMB": mb[0],
            "VramAfterMB": mb[1],
            "VramDeltaMB": mb[2],
        },
        "System": {
            "Before": legacy.stats_before,
            "After": legacy.stats_after,
            "FallbackNotes": legacy.notes,
        },
    })
}

fn video_json(scene: &SceneRecord) -> Value {
    let video = video(scene);
    json!({
        "Path": video.map(|video| &video.path),
        "DurationSeconds": video.map(|_| scene.seconds),
        "Status": if video.is_some() { "complete" } else { "missing" },
        "UpdatedAt": scene.legacy.span.map(|(_, end)| iso(end)),
        "Error": error(scene),
    })
}

fn error(scene: &SceneRecord) -> Option<String> {
    let failed = !scene.outcome.is_success();
    failed.then(|| format!("{}: {}", scene.outcome.name(), scene.why))
}

/// Of all attempts.
fn polls(scene: &SceneRecord) -> u32 {
    scene.attempts.iter().map(|attempt| attempt.polls).sum()
}

/// The images among the outputs; unknown if there is only a video.
fn frame_count(scene: &SceneRecord) -> Option<u64> {
    let images = scene.outputs.iter().filter(|file| is_image(&file.path)).count();
    let in_video = images == 0 && video(scene).is_some();
    (!in_video).then_some(images as u64)
}

/// The images that the story expects at least.
fn frame_floor(scene: &SceneRecord) -> Option<u64> {
    scene.legacy.story.as_ref()?.expected_frames
}

/// Free memory in MB: before the scene, after it, and the difference.
fn free_mb(legacy: &LegacyScene) -> [Option<i64>; 3] {
    let free = |reading: Option<Reading>| i64::try_from(reading?.free?).ok();
    let (before, after) = (free(legacy.before), free(legacy.after));
    [before, after, after.zip(before).map(|(after, before)| after - before)]
}

/// Why the script's loop over the history would have ended.
fn history_exit_reason(scene: &SceneRecord) -> &'static str {
    match scene.outcome {
        Outcome::DownloadFailed => "postExecution",
        _ if scene.legacy.history_retrieved => "success",
        Outcome::Deadline => "maxWait",
        Outcome::Lost if scene.why.starts_with(HISTORY_UNREADABLE) => "attemptLimit",
        _ => "unknown",
    }
}

fn gpu(server: &Server) -> &str {
    server.device.as_deref().filter(|name| !name.trim().is_empty()).unwrap_or("unknown")
}

#[cfg(test)]
mod tests;
