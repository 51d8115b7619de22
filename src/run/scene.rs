//! One scene's life: its attempts, and what becomes of it.

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::attempt::attempt;
use super::context::RunContext;
use super::course::{AttemptResult, seconds};
use super::events::EventLoop;
use super::plan::Scene;
use crate::fs::{is_video, write_atomic};
use crate::interrupt::Interrupted;
use crate::report::legacy;
use crate::report::record::{Attempt, LegacyScene, Outcome, RunRecord, SceneRecord};
use crate::vram::reading::Reading;

/// Runs a scene to its outcome. `what` is how the live line counts it: `2/3`.
pub fn run(stage: &mut RunContext, scene: &Scene, what: &str) -> SceneRecord {
    let (begun, start) = (Instant::now(), stage.clock.now());
    stage.events.console.log(&format!("[Scene {}] Starting video generation...", scene.id));
    let mut life = SceneRunner {
        record: SceneRecord::skipped(&scene.id, ""),
        script: LegacyScene { story: scene.story.clone(), ..LegacyScene::default() },
        executed: false,
    };
    life.record.seed = scene.seed;
    for warning in &scene.warnings {
        life.warn(stage, warning);
    }
    life.script.before = life.reading(stage, "before");
    if life.attempts(stage, scene, what).is_err() {
        stage.events.recorder.set_running(None);
        life.interrupted(stage, begun);
    } else {
        life.script.after = life.reading(stage, "after");
    }
    stage.events.console.set_live(None);
    let SceneRunner { mut record, mut script, .. } = life;
    record.seconds = seconds(begun.elapsed());
    script.span = Some((start, stage.clock.now()));
    record.legacy = script;
    record
}

/// A scene that is not run.
pub fn skip(scene: &Scene, why: &str) -> SceneRecord {
    let legacy = LegacyScene { story: scene.story.clone(), ..LegacyScene::default() };
    SceneRecord { legacy, ..SceneRecord::skipped(&scene.id, why) }
}

/// How a scene ended, run or not: its verdict, and what the script's readers look for below it.
pub fn tell(events: &mut EventLoop, folder: &Path, run: &RunRecord, scene: &SceneRecord) {
    let lines = legacy::scene_lines(scene, run);
    for line in verdict(scene, folder).into_iter().chain(lines) {
        events.console.log(&format!("[Scene {}] {line}", scene.id));
    }
}

/// The script's two phrases for whether there is a video, and the verdict.
fn verdict(record: &SceneRecord, folder: &Path) -> Vec<String> {
    let time = record.seconds;
    let video = record.outputs.iter().find(|file| is_video(&file.path));
    let found = match video {
        Some(video) => Some(format!("Wan2 video detected: {}", folder.join(&video.path).display())),
        // A scene of images has none to miss.
        None if record.outputs.is_empty() => Some("Wan2 video missing".to_owned()),
        None => None,
    };
    let verdict = match record.outcome {
        Outcome::Succeeded => format!("✓ Video generation completed ({time:.1}s)"),
        Outcome::Cached => {
            format!("✓ Video generation completed ({time:.1}s): all of it from ComfyUI's cache")
        }
        outcome => {
            let why = &record.why;
            format!("✗ Video generation failed: {}: {why} ({time:.1}s)", outcome.name())
        }
    };
    found.into_iter().chain([verdict]).collect()
}

struct SceneRunner {
    record: SceneRecord,
    script: LegacyScene,
    /// Something was executed in one of the attempts: then the scene is not a cached one.
    executed: bool,
}

impl SceneRunner {
    fn attempts(
        &mut self,
        stage: &mut RunContext,
        scene: &Scene,
        what: &str,
    ) -> Result<(), Interrupted> {
        let mut budget = stage.options.scene_retry_budget;
        let mut made_anew = false;
        let mut freed_twice = false;
        let mut free_first = stage.options.fresh;
        loop {
            if !stage.clear()? {
                let over = stage.over.clone().unwrap_or_default();
                if self.record.attempts.is_empty() {
                    self.end(Outcome::Skipped, &over);
                }
                return Ok(());
            }
            if free_first {
                stage.free()?;
            }
            let freed = std::mem::take(&mut stage.freed);
            let mut tried = attempt(stage, scene, what)?;
            tried.record.freed = freed;
            let (outcome, why) = (tried.record.outcome, tried.record.why.clone());
            let (again, files_gone) = (tried.again, tried.files_gone);
            let not_fresh = stage.options.fresh && !tried.record.cached_nodes.is_empty();
            self.keep(stage, tried);
            self.end(outcome, &why);
            if files_gone && !made_anew {
                made_anew = true;
                free_first = true;
                self.warn(
                    stage,
                    &format!(
                        "cached, but a file is gone from the server ({why}): made anew after /free"
                    ),
                );
                continue;
            }
            if not_fresh && outcome.is_success() {
                if !freed_twice {
                    freed_twice = true;
                    self.warn(stage, "-Fresh: nodes came from the cache all the same: once more");
                    continue;
                }
                self.warn(stage, "-Fresh: nodes came from the cache again");
            }
            if again && budget > 0 {
                budget -= 1;
                free_first = stage.options.fresh || outcome == Outcome::OutOfMemory;
                stage.events.console.log(&format!(
                    "[Scene {}] ERROR: {}: {why}: trying again ({} of {})",
                    scene.id,
                    outcome.name(),
                    stage.options.scene_retry_budget - budget,
                    stage.options.scene_retry_budget
                ));
                continue;
            }
            if outcome == Outcome::Cached && self.executed {
                self.record.outcome = Outcome::Succeeded;
            }
            if outcome == Outcome::Unreachable {
                stage.over = Some("server gone".into());
            }
            return Ok(());
        }
    }

    /// The attempt that was under way is kept with what is known of it.
    fn interrupted(&mut self, stage: &mut RunContext, begun: Instant) {
        let posted = stage.ledger.prompts().last().cloned();
        let cancelled = stage.canceller().all();
        let words = match (&cancelled, &posted) {
            (Some(cancelled), _) => cancelled.words(),
            (None, Some(_)) => {
                "its POST was not answered, and the server knows nothing of it".into()
            }
            (None, None) => "nothing of it was running".into(),
        };
        let why = format!("stopped from here; {words}");
        if let Some(prompt) = posted {
            // What was told of the attempt before it is not its own.
            self.script.forget_history();
            let before: f64 = self.record.attempts.iter().map(|attempt| attempt.seconds).sum();
            self.record.attempts.push(Attempt {
                outcome: Outcome::Interrupted,
                why: why.clone(),
                prompt_id: Some(prompt.accepted.unwrap_or(prompt.ids.prompt)),
                seconds: (seconds(begun.elapsed()) - before).max(0.0),
                queued_seconds: 0.0,
                server_seconds: None,
                polls: 0,
                cached_nodes: Vec::new(),
                freed: std::mem::take(&mut stage.freed),
            });
        }
        self.end(Outcome::Interrupted, &why);
    }

    /// The device's memory at this moment; that it is not known is noted.
    fn reading(&mut self, stage: &mut RunContext, when: &str) -> Option<Reading> {
        let reading = stage.reading();
        let why = match &reading {
            Ok(Reading { free: Some(_), .. }) => return reading.ok(),
            Ok(_) => "no figure of it",
            Err(miss) => miss.name(),
        };
        let note = format!("the free memory {when} the scene is not known ({why})");
        stage.warn(&self.record.id, &note);
        self.script.notes.push(note);
        reading.ok()
    }

    fn end(&mut self, outcome: Outcome, why: &str) {
        self.record.outcome = outcome;
        why.clone_into(&mut self.record.why);
    }

    fn warn(&mut self, stage: &mut RunContext, text: &str) {
        stage.warn(&self.record.id, text);
        self.record.warnings.push(text.to_owned());
    }

    fn keep(&mut self, stage: &mut RunContext, tried: AttemptResult) {
        let attempt = tried.record;
        self.executed |= attempt.server_seconds.is_some() && !tried.all_cached;
        if !tried.all_cached && attempt.outcome.is_success() && !attempt.cached_nodes.is_empty() {
            self.warn(
                stage,
                &format!(
                    "partly cached: {} of its nodes were not executed",
                    attempt.cached_nodes.len()
                ),
            );
        }
        self.record.outputs = tried.outputs;
        self.record.attempts.push(attempt);
        self.script.forget_history();
        self.script.history_retrieved = tried.history.is_some();
        self.script.success_at = tried.success_ms.and_then(|ms| stage.clock.at_unix_ms(ms));
        let Some(history) = tried.history else { return };
        let path = stage.folder.join("history").join(format!("{}.json", self.record.id));
        let written = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| write_atomic(&path, history.as_bytes()));
        match written {
            Ok(()) => self.script.history_kept = true,
            Err(error) => self.warn(stage, &format!("{}: {error}", path.display())),
        }
    }
}
