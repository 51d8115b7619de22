//! One scene as the script's readers want it: the Telemetry line and the fields that have to agree
//! with it are made of the same values.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::super::outcome::HISTORY_UNREADABLE;
use super::super::record::{Outcome, SceneRecord, Server, Settings};
use super::slashes;
use crate::clock::iso;
use crate::fs::is_image;
use crate::project::story::StoryScene;
use crate::vram::reading::{MB, Reading};

/// What the script's files tell of a scene beside its record.
#[derive(Clone, Debug, Default)]
pub struct LegacyScene {
    /// The scene of the story that it was made of.
    pub story: Option<StoryScene>,
    /// When it began and ended, if it was started.
    pub span: Option<(OffsetDateTime, OffsetDateTime)>,
    /// The device before its first attempt.
    pub before: Option<Reading>,
    /// And when its outputs were home.
    pub after: Option<Reading>,
    /// When it succeeded, by the server's clock.
    pub success_at: Option<OffsetDateTime>,
    /// Whether the history's entry of its last attempt was read.
    pub history_retrieved: bool,
    /// And whether it lies in the run folder.
    pub history_kept: bool,
    /// What had to be told without; each stands on a line of the scene too.
    pub notes: Vec<String>,
}

/// A scene in both forms.
pub struct LegacyFields<'a> {
    /// Its record.
    pub scene: &'a SceneRecord,
    /// And what is told beside it.
    pub script: &'a LegacyScene,
    /// The rules of the run.
    pub settings: &'a Settings,
    /// Its server.
    pub server: &'a Server,
}

impl LegacyScene {
    /// The keyframe's path.
    pub fn keyframe(&self) -> Option<String> {
        self.story.as_ref()?.keyframe.as_deref().map(slashes)
    }

    /// A further attempt has a history of its own.
    pub fn forget_history(&mut self) {
        (self.history_retrieved, self.history_kept, self.success_at) = (false, false, None);
    }

    /// Free memory in MB: before, after, and what the one has more than the other.
    fn vram_mb(&self) -> [Option<i64>; 3] {
        let free = |reading: Option<Reading>| i64::try_from(reading?.free?).ok();
        let (before, after) = (free(self.before), free(self.after));
        [before, after, after.zip(before).map(|(after, before)| after - before)]
    }
}

impl LegacyFields<'_> {
    /// What stands below the scene's verdict in the summary, without the scene's name.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.telemetry_line()];
        if !self.scene.outcome.is_success() {
            lines.push(format!("ERROR: {}: {}", self.scene.outcome.name(), self.scene.why));
        }
        if !self.script.history_retrieved {
            let reason = self.exit_reason();
            lines.push(format!("HISTORY WARNING: no history was retrieved ({reason})"));
        }
        if let (Some(count), Some(floor), Some(false)) =
            (self.frame_count(), self.floor(), self.meets_floor())
        {
            lines.push(format!("WARNING: Frame count below floor ({count}/{floor})"));
        }
        lines
    }

    fn telemetry_line(&self) -> String {
        let LegacyFields { scene, script, settings, server } = self;
        let mut parts = vec![
            format!("DurationSeconds={:.1}s", scene.seconds),
            format!("MaxWaitSeconds={}s", settings.max_wait_seconds),
            format!("PollIntervalSeconds={}s", settings.poll_interval_seconds),
            format!("HistoryAttempts={}", self.polls()),
            format!("pollLimit={}", unbounded(settings.history_max_attempts)),
            format!("SceneRetryBudget={}", unbounded(settings.scene_retry_budget)),
            format!("PostExecutionTimeoutSeconds={}s", settings.post_execution_timeout_seconds),
            format!("ExecutionSuccessDetected={}", script.success_at.is_some()),
        ];
        parts.extend(script.success_at.map(|at| format!("ExecutionSuccessAt={}", iso(at))));
        parts.push(format!("HistoryExitReason={}", self.exit_reason()));
        let names = ["VRAMBeforeMB", "VRAMAfterMB", "VRAMDeltaMB"];
        let known = names.into_iter().zip(script.vram_mb());
        parts.extend(known.filter_map(|(name, mb)| Some(format!("{name}={}MB", mb?))));
        parts.push(format!("gpu={}", gpu(server)));
        parts.push("DoneMarkerWaitSeconds=0s | DoneMarkerDetected=false".to_owned());
        parts.push("ForcedCopyTriggered=false".to_owned());
        format!("Telemetry: {}", parts.join(" | "))
    }

    /// Adds the script's fields to the scene's object.
    pub fn add_to(&self, document: &mut Value) {
        let LegacyFields { scene, script, settings, .. } = self;
        let story = script.story.clone().unwrap_or_default();
        let told = script.story.as_ref();
        let limit = settings.history_max_attempts;
        let fields = json!({
            "SceneTitle": story.title,
            "SceneSummary": story.summary,
            "Prompt": told.map(|story| &story.prompt),
            "NegativePrompt": told.map(|story| &story.negative),
            "FrameFloor": self.floor(),
            "FrameCount": self.frame_count(),
            "FramePrefix": format!("video/{}", scene.id),
            "HistoryPath": script.history_kept.then(|| format!("history/{}.json", scene.id)),
            "MeetsFrameFloor": self.meets_floor(),
            "HistoryRetrieved": script.history_retrieved,
            "HistoryAttempts": self.polls(),
            "Errors": self.errors(),
            "Requeued": scene.attempts.len() > 1,
            "KeyframeSource": script.keyframe(),
            "StoryTitle": story.title,
            "StorySummary": story.summary,
            "StoryMood": story.mood,
            "StoryExpectedFrames": story.expected_frames,
            "StoryCameraMovement": story.camera_movement,
            "HistoryAttemptLimit": limit,
            "SceneRetryBudget": settings.scene_retry_budget,
            "HistoryConfig": {
                "MaxWaitSeconds": settings.max_wait_seconds,
                "PollIntervalSeconds": settings.poll_interval_seconds,
                "MaxAttempts": limit,
                "PostExecutionTimeoutSeconds": settings.post_execution_timeout_seconds,
            },
            "Telemetry": self.telemetry(),
            "Video": self.video(),
        });
        if let (Value::Object(to), Value::Object(fields)) = (document, fields) {
            to.extend(fields);
        }
    }

    fn telemetry(&self) -> Value {
        let LegacyFields { scene, script, settings, server } = self;
        let mb = script.vram_mb();
        let bytes = mb.map(|mb| mb?.checked_mul(MB.cast_signed()));
        let total = script.before.or(script.after).and_then(|reading| reading.total);
        json!({
            "QueueStart": script.span.map(|(start, _)| iso(start)),
            "QueueEnd": script.span.map(|(_, end)| iso(end)),
            "DurationSeconds": scene.seconds,
            "MaxWaitSeconds": settings.max_wait_seconds,
            "PollIntervalSeconds": settings.poll_interval_seconds,
            "HistoryAttempts": self.polls(),
            "HistoryAttemptLimit": settings.history_max_attempts,
            "HistoryExitReason": self.exit_reason(),
            "HistoryPostExecutionTimeoutReached": scene.outcome == Outcome::DownloadFailed,
            "PostExecutionTimeoutSeconds": settings.post_execution_timeout_seconds,
            "ExecutionSuccessDetected": script.success_at.is_some(),
            "ExecutionSuccessAt": script.success_at.map(iso),
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
            "System": {"FallbackNotes": script.notes},
        })
    }

    fn video(&self) -> Value {
        let video = super::video(self.scene);
        json!({
            "Path": video.map(|video| &video.path),
            "DurationSeconds": video.map(|_| self.scene.seconds),
            "Status": if video.is_some() { "complete" } else { "missing" },
            "UpdatedAt": self.script.span.map(|(_, end)| iso(end)),
            "Error": self.errors().first(),
        })
    }

    fn errors(&self) -> Vec<String> {
        if self.scene.outcome.is_success() {
            return Vec::new();
        }
        vec![format!("{}: {}", self.scene.outcome.name(), self.scene.why)]
    }

    /// Of all its attempts.
    fn polls(&self) -> u32 {
        self.scene.attempts.iter().map(|attempt| attempt.polls).sum()
    }

    /// Its images; unknown where it made a video alone.
    fn frame_count(&self) -> Option<u64> {
        let images = self.scene.outputs.iter().filter(|file| is_image(&file.path)).count();
        let in_video = images == 0 && super::video(self.scene).is_some();
        (!in_video).then_some(images as u64)
    }

    fn floor(&self) -> Option<u64> {
        self.script.story.as_ref()?.expected_frames
    }

    fn meets_floor(&self) -> Option<bool> {
        Some(self.frame_count()? >= self.floor()?)
    }

    /// What ended the looks at the history.
    fn exit_reason(&self) -> &'static str {
        match self.scene.outcome {
            Outcome::DownloadFailed => "postExecution",
            _ if self.script.history_retrieved => "success",
            Outcome::Deadline => "maxWait",
            Outcome::Lost if self.scene.why.starts_with(HISTORY_UNREADABLE) => "attemptLimit",
            _ => "unknown",
        }
    }
}

fn gpu(server: &Server) -> &str {
    server.device.as_deref().filter(|name| !name.trim().is_empty()).unwrap_or("unknown")
}

fn unbounded(limit: u32) -> String {
    if limit == 0 { "unbounded".to_owned() } else { limit.to_string() }
}

#[cfg(test)]
mod tests;
