//! The record of a run, in each of the forms in which it is told.

use std::path::Path;

use time::{Duration, OffsetDateTime};

use super::{are_lines, page};
use crate::project::helpers::HelperFiles;
use crate::report::export::junit::Excerpts;
use crate::report::export::{junit, markdown, prometheus};
use crate::report::html::Page;
use crate::report::record::{Attempt, Outcome, RunRecord};
use crate::report::text::summary_block;
use crate::report::{ReportInput, legacy, metadata};
use crate::vram::log::Line;
use crate::vram::stats::LogSummary;

/// When it began.
pub(super) const BEGUN: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

/// A run without scenes.
pub(super) fn empty() -> RunRecord {
    RunRecord {
        ended: BEGUN + Duration::seconds(1657),
        ..RunRecord::new(
            "20261124-230004".into(),
            "logs/20261124-230004".into(),
            BEGUN,
            "http://127.0.0.1:8188",
        )
    }
}

/// One try.
pub(super) fn attempt() -> Attempt {
    Attempt {
        outcome: Outcome::Failed,
        why: String::new(),
        prompt_id: None,
        seconds: 90.25,
        queued_seconds: 7.5,
        server_seconds: None,
        polls: 97,
        cached_nodes: Vec::new(),
        timed_out: false,
        freed: false,
        server_starts: 1,
    }
}

/// Every line of it is one, the log and the metadata read back as they were, the page and the `JUnit`
/// report are well-formed, and every line of the metrics is a comment or one of ours.
pub(super) fn is_harmless(run: &RunRecord, lines: &[Line]) {
    let log: String = lines.iter().map(|line| line.format(false) + "\n").collect();
    assert_eq!(super::read_log(log.as_bytes()).0, lines);
    let LogSummary { stats: vram, timeline } = LogSummary::of(log.as_bytes()).unwrap();

    are_lines(summary_block(run, &vram, None));
    are_lines(vram.block(None, &run.facts()));
    for scene in &run.scenes {
        are_lines(legacy::scene_lines(scene, run));
    }
    let document =
        metadata::document(run, &vram, &[], &HelperFiles::of(Path::new("run"))).to_string();
    let document = serde_json::from_str(&document).unwrap();
    assert_eq!(metadata::record(&document), Ok(run.clone()));
    let input = ReportInput::of_run(run, &vram);
    page::is_well_formed(&Page { input, timeline: &timeline, others: &[], folder: "" }.html());
    let summary = summary_block(run, &vram, None).join("\n");
    page::is_junit(&junit::document(&input, &Excerpts::of_lines(summary.as_bytes())).unwrap());
    are_lines(markdown::document(&input, &[]).split('\n'));
    let metrics = prometheus::metrics(&input, &run.id);
    are_lines(metrics.split('\n'));
    let ours = |line: &str| line.starts_with("# ") || line.starts_with("comfyui_e2e_");
    assert!(metrics.lines().all(ours), "{metrics}");
}
