//! What a finished run looks like: functions of its record and of the statistics of its log.

mod escape;
pub mod export;
pub mod html;
pub mod legacy;
pub mod metadata;
pub mod record;
pub mod saved_run;
pub mod sparkline;
pub mod text;

#[cfg(test)]
mod tests;

use crate::cli::GateOptions;
use crate::vram::gates::{RunFacts, RunVram, SceneRun, Verdict, judge};
use crate::vram::stats::VramStats;
use record::{Outcome, RunRecord, SceneRecord};
use saved_run::SavedRun;

/// What the page and the reports for other programs are made of: a run, or a log alone.
#[derive(Clone, Copy, Debug)]
pub struct ReportInput<'a> {
    /// The run; `None` for a log alone.
    pub record: Option<&'a RunRecord>,
    /// The heading where there is no run with a verdict.
    pub title: &'a str,
    /// What stands in place of a verdict, of a run that is still going or was killed.
    pub note: Option<&'a str>,
    /// The statistics of the log.
    pub vram: &'a VramStats,
    /// The verdicts of the gates.
    pub gates: &'a [Verdict],
}

impl<'a> ReportInput<'a> {
    /// The input for a run that has ended.
    pub fn of_run(run: &'a RunRecord, vram: &'a VramStats) -> Self {
        ReportInput { record: Some(run), title: "", note: None, vram, gates: &run.gates }
    }

    /// Whether the figures are the machine's own memory: as the record tells, else as the log does.
    fn is_system_ram(&self) -> bool {
        is_system_ram(self.record, self.vram)
    }
}

/// Whether the figures are the machine's own memory: as the record tells, else as the log does.
fn is_system_ram(record: Option<&RunRecord>, vram: &VramStats) -> bool {
    record.map_or(vram.system_ram, RunRecord::is_system_ram)
}

/// A run as gates see it; without its record, its log.
fn subject<'a>(record: Option<&'a RunRecord>, vram: &'a VramStats) -> RunVram<'a> {
    let facts = record.map(|run| RunFacts {
        device: run.server.device.as_deref(),
        scenes: run.scenes.iter().map(scene_run).collect(),
    });
    RunVram { vram, facts }
}

fn scene_run(scene: &SceneRecord) -> SceneRun<'_> {
    SceneRun {
        id: &scene.id,
        cached: scene.outcome == Outcome::Cached,
        cached_nodes: scene.cached_nodes(),
        node_count: scene.node_count,
        seconds: scene.server_seconds().unwrap_or(scene.seconds),
    }
}

/// The verdicts of gates on a run; without its record, on its log.
pub fn verdicts(
    options: &GateOptions,
    record: Option<&RunRecord>,
    vram: &VramStats,
    baselines: &[SavedRun],
) -> Vec<Verdict> {
    let baselines: Vec<_> = baselines.iter().map(SavedRun::baseline).collect();
    judge(options.limits, &subject(record, vram), &baselines)
}
