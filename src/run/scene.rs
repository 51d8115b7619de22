//! The scenes of a run: each its attempts, and what becomes of it.

use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

use serde_json::Value;

use super::attempt::{AttemptResult, attempt, seconds};
use super::context::{RunContext, RunError};
use super::health::Death;
use super::plan::Scene;
use crate::fs::{is_video, write_atomic};
use crate::interrupt::Interrupted;
use crate::layout::width;
use crate::report::legacy;
use crate::report::record::{Attempt, LegacyScene, Outcome, SceneRecord};
use crate::report::text::SceneRow;
use crate::sanitize::escape_json;
use crate::vram::reading::Reading;

impl RunContext<'_> {
    /// Runs the scenes, one after the other.
    pub(super) fn generate(&mut self) {
        let scenes = std::mem::take(&mut self.scenes);
        let ids: Vec<_> = scenes.iter().map(|scene| scene.id.as_str()).collect();
        self.events.console.log(&format!("Scenes to process: {}", ids.join(", ")));
        self.events.console.header("STEP 2: Generate Videos (WAN I2V)");
        self.name_width = ids.iter().map(|id| width(id)).max().unwrap_or_default();
        // On a screen the scenes have no lines of their own.
        let warnings: BTreeSet<&String> = scenes.iter().flat_map(|it| &it.warnings).collect();
        let warnings: Vec<_> = warnings.iter().map(|it| format!("Warning: {it}")).collect();
        self.events.console.show(&warnings);
        if ids.len() > 1 {
            self.events.console.show(&[String::new()]);
        }
        let cleanup_interval = self.options.memory_cleanup_interval as usize;
        for (index, scene) in scenes.iter().enumerate() {
            if self.events.intake().interrupted {
                self.stop_reason = Some("interrupted".to_owned());
            }
            let result = match self.stop_reason.clone() {
                Some(why) => skipped(scene, &why),
                None => SceneRunner::run(self, scene, (index + 1, scenes.len())),
            };
            self.log_result(result);
            if let Some(problem) = self.state.problem.take() {
                self.events.console.warn(&problem);
            }
            let is_due = cleanup_interval > 0
                && self.death().is_none()
                && (index + 1) % cleanup_interval == 0;
            if is_due && self.stop_reason.is_none() && self.events.check().is_ok() {
                // An interrupt is seen by the next scene.
                let _ = self.clean_up_memory(&scene.id);
            }
        }
        // A prompt that outlived its cancel, or a server that came back: cancelled once more.
        if !self.state.prompts().is_empty()
            && !self.events.intake().interrupted
            && self.death().is_none()
        {
            self.cancel_all();
        }
        self.scenes = scenes;
        self.record.aftermath.other_prompts = self.foreign_prompts.len() as u64;
        self.record.aftermath.still_running =
            self.state.first_known().map(|prompt| prompt.scene.clone());
        self.state.forget_unseen(self.clock.now());
        let mut prompts = self.state.prompts().iter();
        let unseen = prompts.find(|prompt| prompt.server_id.is_none());
        self.record.aftermath.may_come = unseen.map(|prompt| prompt.scene.clone());
        let succeeded = self.record.succeeded();
        let failed = self.record.scenes.len() - succeeded;
        let console = &mut self.events.console;
        console.log(&format!("WAN I2V generation summary: {succeeded} succeeded, {failed} failed"));
        console.log(match (succeeded, failed) {
            (_, 0) => "✓ WAN I2V generation completed successfully",
            (0, _) => "✗ WAN I2V generation failed completely",
            _ => "⚠ WAN I2V generation partially completed",
        });
    }

    /// Records why the run goes no further, and its scenes as skipped: none has been started.
    pub(super) fn skip_scenes(&mut self, error: RunError) {
        self.events.console.set_live(None);
        let why = match error {
            RunError::Interrupted => "interrupted",
            RunError::Failed { exit, why, skipped, server_may_come } => {
                self.server_may_come = server_may_come;
                self.events.console.log(&format!("ERROR: {why}"));
                self.record.failure = Some((exit, why));
                skipped
            }
        };
        let results: Vec<_> = self.scenes.iter().map(|scene| skipped(scene, why)).collect();
        for result in results {
            self.log_result(result);
        }
    }

    /// Logs how a scene ended, run or not, and keeps its record.
    fn log_result(&mut self, scene: SceneRecord) {
        let lines = legacy::scene_lines(&scene, &self.record);
        for line in self.verdict(&scene).into_iter().chain(lines) {
            self.log(&scene.id, &line);
        }
        self.record.scenes.push(scene);
        self.show_row();
    }

    /// Shows how the last scene ended on the screen, with what is known of its memory so far.
    fn show_row(&self) {
        let is_told = self.record.failure.is_none() || self.record.has_attempts();
        let Some(scene) = self.record.scenes.last().filter(|_| is_told) else { return };
        if self.events.console.has_screen() {
            let mut vram = self.events.intake().recorder.so_far().stats;
            self.record.correct(&mut vram);
            let row = SceneRow::new(scene, &self.record, &vram, true);
            let rows = |columns| row.rows(self.name_width, columns);
            let path = row.file.as_ref().map(|[path, ..]| path.as_str());
            self.events.console.show_rows(path, rows);
        }
    }

    /// The script's two phrases for whether there is a video, and the verdict.
    fn verdict(&self, record: &SceneRecord) -> Vec<String> {
        let (time, why, mut lines) = (record.seconds, &record.why, Vec::new());
        if let Some(video) = record.outputs.iter().find(|file| is_video(&file.path)) {
            let path = self.folder.join(&video.path);
            lines.push(format!("Wan2 video detected: {}", path.display()));
        } else if record.outputs.is_empty() {
            // A scene of images has none to miss.
            lines.push("Wan2 video missing".to_owned());
        }
        lines.push(match record.outcome {
            Outcome::Succeeded => format!("✓ Video generation completed ({time:.1}s)"),
            Outcome::Cached => {
                format!("✓ Video generation completed ({time:.1}s): all of it from ComfyUI's cache")
            }
            outcome => {
                format!("✗ Video generation failed: {}: {why} ({time:.1}s)", outcome.name())
            }
        });
        lines
    }
}

fn skipped(scene: &Scene, why: &str) -> SceneRecord {
    let legacy = LegacyScene { story: scene.story.clone(), ..LegacyScene::default() };
    SceneRecord { legacy, ..SceneRecord::skipped(&scene.id, why) }
}

/// A scene under which the server has died so often is not tried again.
const MOST_DEATHS: u32 = 2;

/// A scene while it is run.
struct SceneRunner<'r, 'a> {
    run: &'r mut RunContext<'a>,
    scene: &'r Scene,
    /// Which of how many it is.
    number: (usize, usize),
    record: SceneRecord,
    /// Something was executed in one of the attempts: then the scene is not a cached one.
    executed: bool,
    /// How often the server died under it.
    deaths: u32,
}

impl<'r, 'a> SceneRunner<'r, 'a> {
    /// Runs the scene to its outcome.
    fn run(run: &'r mut RunContext<'a>, scene: &'r Scene, number: (usize, usize)) -> SceneRecord {
        let (begun, start) = (Instant::now(), run.clock.now());
        run.scene_begun = begun;
        run.show_scene(scene, number, "starting", None);
        run.log(&scene.id, "Starting video generation...");
        let node_count = scene.workflow.node_count();
        let record = SceneRecord { seed: scene.seed, node_count, ..skipped(scene, "") };
        let mut this = SceneRunner { run, scene, number, record, executed: false, deaths: 0 };
        this.run.server.scene.clone_from(&scene.id);
        for warning in &scene.warnings {
            this.warn(warning);
        }
        (this.record.legacy.before, this.record.legacy.stats_before) = this.reading("before");
        if this.attempts().is_ok() {
            (this.record.legacy.after, this.record.legacy.stats_after) = this.reading("after");
        } else {
            this.end_interrupted(begun);
        }
        this.run.count_death(this.deaths > 0);
        this.run.events.console.set_live(None);
        this.record.seconds = seconds(begun.elapsed());
        this.record.legacy.span = Some((start, this.run.clock.now()));
        this.record
    }

    fn attempts(&mut self) -> Result<(), Interrupted> {
        let (fresh, retries) = (self.run.options.fresh, self.run.options.scene_retry_budget);
        let mut retried = 0;
        let mut made_anew = false;
        let mut freed_twice = false;
        let mut free_first = fresh;
        loop {
            if !self.run.is_server_ready()? {
                if self.record.attempts.is_empty() {
                    let why = self.run.stop_reason.clone().unwrap_or_default();
                    self.end(Outcome::Skipped, &why);
                }
                return Ok(());
            }
            if free_first {
                self.run.free_memory()?;
            }
            let freed = std::mem::take(&mut self.run.freed);
            let mut result = attempt(self.run, self.scene, self.number)?;
            result.record.freed = freed;
            let (outcome, why) = (result.record.outcome, result.record.why.clone());
            let (retry, files_gone) = (result.retry, result.files_gone);
            let has_died = self.run.death().is_some_and(|death| death != Death::Restart);
            self.deaths += u32::from(has_died);
            if result.is_unsent && self.run.is_revived() && self.deaths < MOST_DEATHS {
                continue;
            }
            let not_fresh = fresh && !result.record.cached_nodes.is_empty();
            self.keep(result);
            self.end(outcome, &why);
            if has_died && !self.run.is_revived() {
                self.run.stop_for_death();
                return Ok(());
            }
            if has_died && self.deaths >= MOST_DEATHS && !outcome.is_success() {
                self.warn("ComfyUI died twice under it: not tried again");
                return Ok(());
            }
            if files_gone && !made_anew {
                made_anew = true;
                free_first = true;
                self.warn(&format!(
                    "cached, but a file is gone from the server ({why}): made anew after /free"
                ));
                continue;
            }
            if not_fresh && outcome.is_success() {
                if !freed_twice {
                    freed_twice = true;
                    self.warn("--fresh: nodes came from the cache all the same: once more");
                    continue;
                }
                self.warn("--fresh: nodes came from the cache again");
            }
            if retry && retried < retries {
                retried += 1;
                free_first = fresh || outcome == Outcome::OutOfMemory;
                let name = outcome.name();
                let line = format!("ERROR: {name}: {why}: trying again ({retried} of {retries})");
                self.run.log(&self.scene.id, &line);
                continue;
            }
            if outcome == Outcome::Cached && self.executed {
                self.record.outcome = Outcome::Succeeded;
            }
            if outcome == Outcome::Unreachable {
                self.run.stop_reason = Some("server gone".into());
            }
            return Ok(());
        }
    }

    /// Cancels what was posted. The attempt that was under way is kept with what is known of it.
    fn end_interrupted(&mut self, begun: Instant) {
        self.run.client.hurry();
        let posted = self.run.state.prompts().last().cloned();
        let cancelled = match self.run.cancel_all() {
            Some(cancelled) => cancelled.to_string(),
            None => "nothing of it was running".into(),
        };
        let why = format!("by a signal (Ctrl-C); {cancelled}");
        if let Some(prompt) = posted {
            // What was kept of the attempt before it is not its own.
            self.record.legacy.forget_history();
            let before: f64 = self.record.attempts.iter().map(|attempt| attempt.seconds).sum();
            self.record.attempts.push(Attempt {
                outcome: Outcome::Interrupted,
                why: why.clone(),
                prompt_id: Some(prompt.server_id.unwrap_or(prompt.ids.prompt)),
                seconds: (seconds(begun.elapsed()) - before).max(0.0),
                freed: std::mem::take(&mut self.run.freed),
                ..Attempt::default()
            });
        }
        self.end(Outcome::Interrupted, &why);
    }

    /// The device's memory at this moment, and the server's answer; where its free memory is not
    /// known, that is a warning.
    fn reading(&mut self, when: &str) -> (Option<Reading>, Value) {
        let (reading, answer) = self.run.reading();
        let why = match &reading {
            Ok(Reading { free: Some(_), .. }) => return (reading.ok(), answer),
            Ok(_) => "no figure of it",
            Err(reason) => reason.name(),
        };
        let note = format!("the free memory {when} the scene is not known ({why})");
        self.run.warn(&self.scene.id, &note);
        self.record.legacy.notes.push(note);
        (reading.ok(), answer)
    }

    fn end(&mut self, outcome: Outcome, why: &str) {
        self.record.outcome = outcome;
        why.clone_into(&mut self.record.why);
    }

    fn warn(&mut self, text: &str) {
        self.run.warn(&self.scene.id, text);
        self.record.warnings.push(text.to_owned());
    }

    fn keep(&mut self, result: AttemptResult) {
        let attempt = result.record;
        let all_cached = result.entry.as_ref().is_some_and(|entry| entry.all_cached);
        self.executed |= attempt.server_seconds.is_some() && !all_cached;
        let cached = attempt.cached_nodes.len();
        if !all_cached && attempt.outcome.is_success() && cached > 0 {
            self.warn(&format!("partly cached: {cached} of its nodes were not executed"));
        }
        self.record.outputs = result.outputs;
        for node in result.nodes {
            match self.record.nodes.iter_mut().find(|known| known.id == node.id) {
                Some(known) => known.seconds += node.seconds,
                None => self.record.nodes.push(node),
            }
        }
        self.record.attempts.push(attempt);
        self.record.legacy.forget_history();
        let Some(entry) = result.entry else { return };
        self.record.legacy.history_retrieved = true;
        self.record.legacy.success_at =
            entry.success_ms.and_then(|ms| self.run.clock.at_unix_ms(ms));
        let folder = self.run.folder.join("history");
        let path = folder.join(format!("{}.json", self.scene.id));
        let text = escape_json(&entry.raw);
        let written =
            fs::create_dir_all(&folder).and_then(|()| write_atomic(&path, text.as_bytes()));
        match written {
            Ok(()) => self.record.legacy.history_kept = true,
            Err(error) => self.warn(&format!("{}: {error}", path.display())),
        }
    }
}
