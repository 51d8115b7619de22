//! Bodies of the server, and what the files of a run tell of them.

use super::record;
use crate::comfyui::{PromptOutcome, properties};
use crate::report::record::{Attempt, Outcome, Output, SceneRecord, Server};
use crate::run::properties::places;
use crate::sanitize::scene_id;
use crate::vram::log::Line;
use crate::vram::reading::Source;

/// What is read in a body is harmless wherever it is told, its files stay in the run folder, and
/// the record that is written of it reads back as it was.
///
/// # Panics
/// Otherwise.
pub fn answers(data: &[u8]) {
    let Some(answers) = properties::answers(data) else { return };
    let mut run = record::empty();
    let device = answers.stats.devices.first();
    run.server = Server {
        comfyui: answers.stats.comfyui.clone(),
        pytorch: answers.stats.pytorch.clone(),
        python: answers.stats.python.clone(),
        device: device.map(|device| device.name.clone()),
        device_kind: device.map(|device| device.kind.clone()),
        device_index: device.and_then(|device| device.index),
        ..run.server
    };
    for (id, entry) in &answers.entries {
        let id = scene_id(id);
        let (outcome, why) = match &entry.outcome {
            PromptOutcome::Success if entry.all_cached => (Outcome::Cached, String::new()),
            PromptOutcome::Success => (Outcome::Succeeded, String::new()),
            PromptOutcome::Failed { why, out_of_memory: true, .. } => {
                (Outcome::OutOfMemory, why.clone())
            }
            PromptOutcome::Failed { why, .. } => (Outcome::Failed, why.clone()),
            PromptOutcome::Interrupted => (Outcome::Interrupted, "by somebody else".into()),
        };
        let attempt = Attempt {
            outcome,
            why: why.clone(),
            cached_nodes: entry.cached.clone(),
            server_seconds: entry
                .server_ms
                .map(|ms| std::time::Duration::from_millis(ms).as_secs_f64()),
            ..record::attempt()
        };
        let output = |path| Output { path, bytes: 1 };
        run.scenes.push(SceneRecord {
            outcome,
            why,
            attempts: vec![attempt; 2],
            outputs: places(&id, entry).into_iter().map(output).collect(),
            warnings: answers.refused.clone(),
            ..SceneRecord::skipped(&id, "")
        });
    }
    for why in &answers.refused {
        let scene =
            SceneRecord { outcome: Outcome::Rejected, ..SceneRecord::skipped("refused", why) };
        run.scenes.push(scene);
    }
    let scene = run.scenes.first().map(|scene| scene.id.clone());
    let readings = answers.stats.devices.iter().filter_map(|device| device.memory);
    let lines = readings.map(|reading| Line {
        scene: scene.clone(),
        ..Line::new(record::BEGUN.time(), Ok((reading, Source::ComfyUi)))
    });
    let lines: Vec<Line> = lines.collect();
    record::is_harmless(&run, &lines);
}
