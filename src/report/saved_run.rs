//! A log that is there, and what is known of its run beside it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::devices::OtherDevice;
use super::metadata;
use super::record::RunRecord;
use crate::vram::log::names;
use crate::vram::stats::{LogSummary, VramStats};
use crate::vram::timeline::Timeline;

/// What is known of the run beside it.
const METADATA: &str = "artifact-metadata.json";

/// A log, its figures, and its run where the metadata tell of one.
pub struct SavedRun {
    /// The log's path.
    pub log: PathBuf,
    /// Its figures.
    pub vram: VramStats,
    /// Its memory over time.
    pub timeline: Timeline,
    /// The run's record, and the document that it was read from.
    pub run: Option<(RunRecord, Value)>,
    /// The other devices of a run folder.
    pub others: Vec<OtherDevice>,
    /// Why the metadata that are there tell of none: another program's, or broken.
    pub note: Option<String>,
}

impl SavedRun {
    /// A log, or the one of a run folder. Metadata that cannot be used cost the verdict, not the
    /// figures.
    ///
    /// # Errors
    /// One line that names the file: it cannot be read, or it holds no line of a log and no run.
    pub fn load(target: &Path) -> Result<Self, String> {
        let log = if target.is_dir() { target.join(names::MAIN) } else { target.to_owned() };
        if target.is_dir() && !log.is_file() {
            let why = if newest(target).is_some() {
                "a folder of runs: name one of them, or --logs-dir"
            } else {
                "no run folder: no vram-usage.log in it"
            };
            return Err(format!("{}: {why}", target.display()));
        }
        let LogSummary { stats: mut vram, timeline } =
            LogSummary::read(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let metadata = log.with_file_name(METADATA);
        let name = log.file_name().and_then(|name| name.to_str());
        let (run, note) = match fs::read_to_string(&metadata).map(|text| run_of(&text)) {
            Err(_) => (None, None),
            // Of another device than the run's own.
            _ if name.and_then(names::device_of).is_some() => (None, None),
            Ok(Err(why)) => (None, Some(format!("{}: {why}: not used", metadata.display()))),
            Ok(Ok(run)) => (Some(run), None),
        };
        if vram.ticks == 0 && run.is_none() {
            return Err(format!("{}: no line of a VRAM log in it", log.display()));
        }
        if let Some((record, _)) = &run {
            vram.grow_by(&record.series());
        }
        let others = if target.is_dir() {
            OtherDevice::all(target, run.as_ref().map(|(_, document)| document))?
        } else {
            Vec::new()
        };
        Ok(SavedRun { log, vram, timeline, run, others, note })
    }

    /// Whether a run left the log and no metadata: it is still going, or was killed.
    pub fn is_unfinished(&self) -> bool {
        self.log.with_file_name("run-summary.txt").is_file()
            && !self.log.with_file_name(METADATA).exists()
    }

    /// Those of several, in order.
    ///
    /// # Errors
    /// The first one's that cannot be read.
    pub fn load_all(targets: &[PathBuf]) -> Result<Vec<Self>, String> {
        targets.iter().map(|target| SavedRun::load(target)).collect()
    }

    /// The run's record.
    pub fn record(&self) -> Option<&RunRecord> {
        self.run.as_ref().map(|(record, _)| record)
    }
}

/// The newest run folder among a folder's: its name sorts last.
pub fn newest(logs: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(logs).ok()?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join(names::MAIN).is_file())
        .max()
}

fn run_of(text: &str) -> Result<(RunRecord, Value), String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document: Value =
        serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let record = metadata::record(&document)?;
    Ok((record, document))
}
