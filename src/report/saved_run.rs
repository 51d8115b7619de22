//! A log on disk, with the record of its run where metadata lie beside it, and the logs of the
//! devices beside the run's own.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::legacy::slashes;
use super::metadata;
use super::record::RunRecord;
use crate::fs::{from_here, read_text};
use crate::sanitize::sanitize_line;
use crate::vram::gates::RunVram;
use crate::vram::log::names;
use crate::vram::stats::{LogSummary, SceneFacts, VramStats};
use crate::vram::timeline::Timeline;

const METADATA: &str = "artifact-metadata.json";

/// A log, its statistics, and its run where the metadata tell of one.
pub struct SavedRun {
    /// The log's path.
    pub log: PathBuf,
    /// The log's statistics.
    pub vram: VramStats,
    /// Its memory over time.
    pub timeline: Timeline,
    /// The run's record, and the document that it was read from.
    pub run: Option<(RunRecord, Value)>,
    /// The other devices of a run folder.
    pub others: Vec<OtherDevice>,
    /// Why metadata that are there were not used: another program's, or broken.
    pub note: Option<String>,
}

impl SavedRun {
    /// Loads a log, or the one of a run folder. Metadata that cannot be used cost the verdict, not
    /// the figures.
    ///
    /// # Errors
    /// One line that names the file: it cannot be read, or it holds no line of a log and no run.
    pub fn load(target: &Path) -> Result<Self, String> {
        let is_folder = target.is_dir();
        let log = if is_folder { target.join(names::MAIN) } else { target.to_owned() };
        if is_folder && !log.is_file() {
            let why = match newest(target) {
                Some(run) => format!("a folder of runs: name one of them, as {}", run.display()),
                None => "no run folder: no vram-usage.log in it".to_owned(),
            };
            return Err(format!("{}: {why}", target.display()));
        }
        let LogSummary { stats: mut vram, timeline } =
            LogSummary::read(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let metadata = log.with_file_name(METADATA);
        let name = log.file_name().and_then(|name| name.to_str());
        let (mut run, note) = match read_text(&metadata).map(|text| parse(&text)) {
            Err(_) => (None, None),
            // The metadata are of the run's own device.
            _ if name.and_then(names::device_of).is_some() => (None, None),
            Ok(Err(why)) => (None, Some(format!("{}: {why}: not used", metadata.display()))),
            Ok(Ok(run)) => (Some(run), None),
        };
        if vram.ticks == 0 && run.is_none() {
            return Err(format!("{}: no line of a VRAM log in it", log.display()));
        }
        if let Some((record, _)) = &mut run {
            record.correct(&mut vram);
            // It may have been moved.
            record.folder = slashes(log.parent().unwrap_or(&log));
        }
        let document = run.as_ref().map(|(_, document)| document);
        let others = if is_folder { OtherDevice::all(target, document)? } else { Vec::new() };
        Ok(SavedRun { log, vram, timeline, run, others, note })
    }

    /// The files that it was read from, and that its reports are made of.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        let beside = |name| self.log.with_file_name(name);
        [self.log.clone(), beside(METADATA), beside("run-summary.txt")].into_iter()
    }

    /// Loads baselines, in order. One that is given several times counts once.
    ///
    /// # Errors
    /// Those of [`SavedRun::load`], of the first that fails.
    pub fn load_baselines(targets: &[PathBuf]) -> Result<Vec<Self>, String> {
        let mut runs = SavedRun::load_all(targets)?;
        let mut seen = HashSet::new();
        runs.retain(|run| seen.insert(run.log.canonicalize().ok()));
        Ok(runs)
    }

    /// Loads several, in order.
    ///
    /// # Errors
    /// Those of [`SavedRun::load`], of the first that fails.
    pub fn load_all(targets: &[PathBuf]) -> Result<Vec<Self>, String> {
        targets.iter().map(|target| SavedRun::load(target)).collect()
    }

    /// Whether a run left the log and no metadata: it is still going, or was killed.
    pub fn is_unfinished(&self) -> bool {
        self.log.with_file_name("run-summary.txt").is_file()
            && !self.log.with_file_name(METADATA).exists()
    }

    /// The run's record.
    pub fn record(&self) -> Option<&RunRecord> {
        self.run.as_ref().map(|(record, _)| record)
    }

    /// Whether the figures are the machine's own memory: as the record tells, else as the log does.
    pub fn is_system_ram(&self) -> bool {
        super::is_system_ram(self.record(), &self.vram)
    }

    /// Its run folder, or its log.
    pub fn name(&self) -> String {
        let is_of_run = self.log.file_name().is_some_and(|name| name == names::MAIN);
        let folder = self.log.parent().filter(|_| is_of_run);
        sanitize_line(&from_here(folder.unwrap_or(&self.log)))
    }

    /// What gates hold a run against, with its name.
    pub fn baseline(&self) -> (String, RunVram<'_>) {
        (self.name(), super::subject(self.record(), &self.vram))
    }
}

/// The newest run folder in a folder: the one whose name sorts last.
pub fn newest(logs: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(logs).ok()?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join(names::MAIN).is_file())
        .max()
}

fn parse(text: &str) -> Result<(RunRecord, Value), String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document: Value =
        serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let record = metadata::record(&document)?;
    Ok((record, document))
}

/// The metadata's array of the other devices; absent where a server has one device only.
const OTHER_DEVICES: &str = "OtherDevices";

/// One device, and the statistics of its log.
pub struct OtherDevice {
    /// The position in the server's list of devices.
    position: usize,
    /// The server's name for it; empty if unknown.
    name: String,
    log: PathBuf,
    vram: VramStats,
}

impl OtherDevice {
    /// Loads the log of the device at that position from a run folder.
    ///
    /// # Errors
    /// The log cannot be read; one line that names it.
    pub fn load(folder: &Path, position: usize, name: &str) -> Result<Self, String> {
        let log = folder.join(names::of_device(position));
        let LogSummary { stats: vram, .. } =
            LogSummary::read(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        Ok(OtherDevice { position, name: name.to_owned(), log, vram })
    }

    /// Loads all that have a log in a run folder, named as its metadata name them.
    ///
    /// # Errors
    /// A log cannot be read; one line that names it.
    pub fn all(folder: &Path, metadata: Option<&Value>) -> Result<Vec<Self>, String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let device = |entry: fs::DirEntry| names::device_of(entry.file_name().to_str()?);
        let mut positions: Vec<usize> = entries.filter_map(device).collect();
        positions.sort_unstable();
        let known = metadata.and_then(|document| document[OTHER_DEVICES].as_array());
        let name = |position: usize| {
            let device = known?.iter().find(|device| device["Gpu"] == json!(position))?;
            device["Device"].as_str().map(sanitize_line)
        };
        let load = |n| OtherDevice::load(folder, n, &name(n).unwrap_or_default());
        positions.into_iter().map(load).collect()
    }

    /// `device 1 cuda:1 NVIDIA GeForce RTX 3090`.
    pub(super) fn title(&self) -> String {
        let name = self.name.split(" : ").next().unwrap_or_default();
        format!("device {} {name}", self.position).trim_end().to_owned()
    }

    /// An empty line, and the block of its statistics with a header of its own.
    pub fn block(&self, facts: &[SceneFacts]) -> Vec<String> {
        let header = format!("=== VRAM Usage Statistics: {} ===", self.title());
        let lines = self.vram.block(Some(&self.log), facts).into_iter().skip(1);
        [String::new(), header].into_iter().chain(lines).collect()
    }

    fn json(&self) -> Value {
        json!({
            "Gpu": self.position,
            "Device": Some(&self.name).filter(|name| !name.is_empty()),
            "VramLog": names::of_device(self.position),
            "Vram": self.vram.json(),
            "Scenes": scenes_json(&self.vram),
        })
    }
}

/// The `Scenes` array of a log alone.
pub fn scenes_json(vram: &VramStats) -> Value {
    vram.scenes.iter().map(|scene| json!({"SceneId": scene.id, "Vram": scene.json(&[])})).collect()
}

/// Adds the devices to a document, if there are any.
pub fn add_devices(document: &mut Value, others: &[OtherDevice]) {
    if !others.is_empty() {
        document[OTHER_DEVICES] = others.iter().map(OtherDevice::json).collect();
    }
}
