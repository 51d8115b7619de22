//! What every report is of: one run, or what a bare log knows.

use super::record::RunRecord;
use crate::vram::gates::Verdict;
use crate::vram::stats::VramStats;

/// What is told, by the page and by the reports for other programs.
#[derive(Clone, Copy, Debug)]
pub struct ReportInput<'a> {
    /// The run. Without it nothing is said that a bare log does not know.
    pub record: Option<&'a RunRecord>,
    /// The heading where there is no run to give a verdict on.
    pub title: &'a str,
    /// What there is to say in place of a verdict, of a run that is still going or was killed.
    pub note: Option<&'a str>,
    /// The figures of the log.
    pub vram: &'a VramStats,
    /// What became of the gates.
    pub gates: &'a [Verdict],
}

impl<'a> ReportInput<'a> {
    /// Of a run that has ended.
    pub fn of_run(run: &'a RunRecord, vram: &'a VramStats) -> Self {
        ReportInput { record: Some(run), title: "", note: None, vram, gates: &run.gates }
    }
}
