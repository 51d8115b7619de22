//! The command that repeats what failed, with what would help.

use std::path::Path;
use std::time::Duration;

use super::plan::Scene;
use crate::options::{RunOptions, Seed, VramSource};
use crate::report::record::{Outcome, SceneRecord};

/// One command line, or none where all is well. `story`: the folder or file of the story, its own
/// where the run generated it. `waiting_helps`: no server was there at the start. Credentials are
/// never in it.
pub fn command(
    options: &RunOptions,
    story: Option<&Path>,
    scenes: &[Scene],
    records: &[SceneRecord],
    waiting_helps: bool,
) -> Option<String> {
    let failed: Vec<&SceneRecord> =
        records.iter().filter(|record| !record.outcome.is_success()).collect();
    if failed.is_empty() {
        return None;
    }
    let any = |outcome| failed.iter().any(|record| record.outcome == outcome);
    let mut words = vec!["run-comfyui-e2e".to_owned()];
    let mut add = |name: &str, value: String| words.extend([name.to_owned(), quoted(&value)]);
    let max_wait = options.max_wait.as_secs() * if any(Outcome::Deadline) { 2 } else { 1 };
    let default = if options.fast_iteration { 360 } else { 600 };
    if max_wait != default {
        add("-MaxWaitSeconds", max_wait.to_string());
    }
    if any(Outcome::Unreachable) || waiting_helps {
        add("-WaitForComfyUI", "120".into());
    }
    if options.server.url.base() != "http://127.0.0.1:8188" {
        add("-ComfyUIUrl", options.server.url.base().to_owned());
    }
    if let Some(path) = &options.server.header_file {
        add("-HeaderFile", path.display().to_string());
    }
    if options.root_given {
        add("-ProjectRoot", options.project_root.display().to_string());
    }
    if options.logs_dir != options.project_root.join("logs") {
        add("-LogsDir", options.logs_dir.display().to_string());
    }
    if options.sampling.gpu != 0 {
        add("-Gpu", options.sampling.gpu.to_string());
    }
    match options.sampling.source {
        VramSource::Auto => {}
        VramSource::ComfyUi => add("-VramSource", "comfyui".into()),
        VramSource::NvidiaSmi => add("-VramSource", "nvidia-smi".into()),
    }
    if let Some(card) = &options.sampling.card {
        add("-NvidiaSmiGpu", card.to_string());
    }
    let interval = Duration::from_secs(if options.gates.any() { 1 } else { 5 });
    if options.sampling.interval != interval {
        add("-SampleIntervalSeconds", options.sampling.interval.as_secs_f64().to_string());
    }
    if options.scene_retry_budget != 1 {
        add("-SceneRetryBudget", options.scene_retry_budget.to_string());
    }
    match options.seed {
        Seed::Keep => {}
        Seed::Random => add("-Seed", "random".into()),
        Seed::Fixed(seed) => add("-Seed", seed.to_string()),
    }
    let limits = options.gates.limits;
    for (name, limit) in [("-MaxPeakMB", limits.peak_mb), ("-MaxGrowthMB", limits.growth_mb)] {
        if let Some(limit) = limit {
            add(name, limit.to_string());
        }
    }
    for path in &options.gates.baselines {
        add("-Baseline", path.display().to_string());
    }
    // Repetitions are there to be compared: all of them once more.
    if options.repeat != 1 {
        add("-Repeat", options.repeat.to_string());
    }
    for set in &options.set {
        add("-Set", format!("{}.{}={}", set.node, set.input, set.value));
    }
    let has_failed = |scene: &&Scene| failed.iter().any(|record| record.id == scene.id);
    let mut repeated: Vec<&Scene> = scenes.iter().filter(has_failed).collect();
    repeated.dedup_by(|one, other| one.base == other.base);
    if let Some(story) = story {
        add("-Story", story.display().to_string());
        // The project's own template is found again.
        if let Some(template) = options.workflows.first() {
            add("-Workflow", template.display().to_string());
        }
        let ids: Vec<_> = repeated.iter().map(|scene| scene.base.as_str()).collect();
        add("-SceneFilter", ids.join(","));
    } else {
        for scene in repeated {
            add("-Workflow", scene.source.display().to_string());
        }
    }
    if options.fast_iteration {
        words.insert(1, "-FastIteration".into());
    }
    if options.fresh {
        words.push("-Fresh".into());
    }
    Some(words.join(" "))
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./\\:,=%+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("\"{word}\"")
    }
}
