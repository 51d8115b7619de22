//! The scenes of a run, one after the other.

use std::collections::HashSet;

use super::Run;
use super::context::RunContext;
use super::measuring::Measured;
use super::scene;

impl Run<'_> {
    /// The scenes, one after the other.
    pub(super) fn generate(&mut self, measured: &Measured) {
        let scenes = std::mem::take(&mut self.scenes);
        let ids: Vec<_> = scenes.iter().map(|scene| scene.id.as_str()).collect();
        self.events.console.log(&format!("Scenes to process: {}", ids.join(", ")));
        self.events.console.header("STEP 2: Generate Videos (WAN I2V)");
        // What the scenes tell of the run does not change any more.
        let run = self.record.clone();
        let every = self.options.memory_cleanup_interval as usize;
        let mut stage = RunContext {
            options: self.options,
            clock: self.clock,
            client: &measured.client,
            gauge: &measured.gauge,
            events: &mut self.events,
            folder: &self.folder,
            ledger: &mut self.ledger,
            history_seen: false,
            freed: false,
            others: HashSet::new(),
            over: None,
        };
        let mut told = Vec::new();
        for (index, scene) in scenes.iter().enumerate() {
            let why = if stage.events.interrupted() {
                Some("interrupted".into())
            } else {
                stage.over.clone()
            };
            let scene_told = match why {
                Some(why) => scene::skip(scene, &why),
                None => scene::run(&mut stage, scene, &format!("{}/{}", index + 1, scenes.len())),
            };
            scene::tell(stage.events, stage.folder, &run, &scene_told);
            told.push(scene_told);
            if let Some(problem) = stage.ledger.problem() {
                stage.events.console.warn(&problem);
            }
            let is_due = every > 0 && (index + 1) % every == 0;
            if is_due && stage.over.is_none() && stage.events.check().is_ok() {
                // An interrupt is seen by the next scene.
                let _ = stage.clean_up(&scene.id);
            }
        }
        // A prompt that outlived its cancel, or a server that came back: asked once more.
        if !stage.ledger.prompts().is_empty() && !stage.events.interrupted() {
            stage.canceller().all();
        }
        self.record.aftermath.other_prompts = stage.others.len() as u64;
        self.record.aftermath.still_running =
            self.ledger.prompts().first().map(|prompt| prompt.scene.clone());
        self.scenes = scenes;
        self.record.scenes = told;
        let good = self.record.succeeded();
        let bad = self.record.scenes.len() - good;
        let console = &mut self.events.console;
        console.log(&format!("WAN I2V generation summary: {good} succeeded, {bad} failed"));
        console.log(match (good, bad) {
            (_, 0) => "✓ WAN I2V generation completed successfully",
            (0, _) => "✗ WAN I2V generation failed completely",
            _ => "⚠ WAN I2V generation partially completed",
        });
    }
}
