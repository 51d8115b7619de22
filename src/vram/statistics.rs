//! The statistics of a log: a pure function of its lines, computed as they stream by.
//!
//! Peak, average, minimum, median and percentile are over every `Used=` of the log, as its older
//! readers have it. Below them a used figure takes `ComfyUI`'s lines only and a driver figure
//! every line with `Driver=`: the two are never compared with each other.

mod accumulate;
mod growth;
mod histogram;
mod text;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde_json::{Value, json};
use time::Time;

use super::log::{Reader, time_text};
use super::reading::{Miss, Source};

pub use text::seconds as seconds_text;

/// What a log says. Memory in MB, times of day local; what is not known is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Readings.
    pub samples: u64,
    /// Lines: readings and missed ticks.
    pub ticks: u64,
    /// Lines that could not be read.
    pub skipped_lines: u64,
    /// Highest, average, lowest, median and 95th percentile of every `Used=`; none without a
    /// sample.
    pub used: Option<Used>,
    /// The highest `Used=` of `ComfyUI`'s own lines.
    pub comfyui_peak: Option<u64>,
    /// The highest figures while a scene ran.
    pub peak_generating: Option<PeakGenerating>,
    /// What the run itself took.
    pub run_took: Option<RunTook>,
    /// The highest `Driver=`.
    pub driver_peak: Option<u64>,
    /// The card's size, as last read.
    pub total: Option<u64>,
    /// The scenes that were seen running, in the order of their first sample.
    pub scenes: Vec<SceneStatistics>,
    /// MB a scene by which the memory left after each grows: the least-squares slope of each
    /// scene's last reading, from the second scene on; of at least 3.
    pub growth_per_scene: Option<i64>,
    /// What the first line asks for.
    pub asked_interval_ms: Option<u64>,
    /// From the first reading to the last, divided by the readings between.
    pub achieved_interval_ms: Option<u64>,
    /// From a reading's stamp to the next one's stamp plus the time its answer took: no plateau
    /// that was missed is longer.
    pub longest_gap_ms: Option<u64>,
    /// Missed ticks by reason.
    pub missed: BTreeMap<Miss, u64>,
    /// Readings of `ComfyUI`.
    pub from_comfyui: u64,
    /// Readings of nvidia-smi.
    pub from_nvidia_smi: u64,
}

/// Figures over every `Used=`.
#[derive(Clone, Debug, PartialEq)]
pub struct Used {
    /// The highest.
    pub peak: u64,
    /// When it was first read.
    pub peak_at: Time,
    /// In which scene.
    pub peak_scene: Option<String>,
    /// Who gave it.
    pub peak_source: Source,
    /// Rounded half to even.
    pub average: u64,
    /// The lowest.
    pub minimum: u64,
    /// Of an even number the mean of the middle two, rounded half to even.
    pub median: u64,
    /// By nearest rank.
    pub p95: u64,
}

/// The highest figures while a scene ran; when and where is the driver's where it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct PeakGenerating {
    /// `ComfyUI`'s figure.
    pub used: Option<u64>,
    /// The driver's.
    pub driver: Option<u64>,
    /// When it was first read.
    pub at: Time,
    /// The scene.
    pub scene: String,
}

/// The peak of the whole run and what was in use at its start, both of one meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct RunTook {
    /// Whether both are the driver's figures, else `ComfyUI`'s.
    pub driver: bool,
    /// The highest.
    pub peak: u64,
    /// The first.
    pub start: u64,
}

/// The figures of one scene, all attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct SceneStatistics {
    /// Its id.
    pub id: String,
    /// Samples taken while its prompt was seen running.
    pub samples: u64,
    /// The highest of `ComfyUI`'s figures.
    pub peak: Option<u64>,
    /// Their average, rounded half to even.
    pub average: Option<u64>,
    /// The lowest.
    pub floor: Option<u64>,
    /// The highest of the driver's.
    pub driver_peak: Option<u64>,
}

impl Statistics {
    /// The statistics of a file.
    ///
    /// # Errors
    /// What the system said.
    pub fn of_log(path: &Path) -> io::Result<Self> {
        Self::of_lines(Reader::new(BufReader::with_capacity(64 << 10, File::open(path)?)))
    }

    /// The statistics of a stream of lines.
    ///
    /// # Errors
    /// What the system said.
    pub fn of_lines<R: BufRead>(mut lines: Reader<R>) -> io::Result<Self> {
        let mut sums = accumulate::Sums::default();
        while let Some(line) = lines.next_line()? {
            sums.take(&line);
        }
        Ok(sums.finish(lines.skipped()))
    }

    /// The run's `Vram` in the metadata: unknown is null.
    #[must_use]
    pub fn json(&self) -> Value {
        let used = self.used.as_ref();
        let peak = self.peak_generating.as_ref();
        let missed: serde_json::Map<_, _> =
            self.missed.iter().map(|(miss, n)| (miss.name().to_owned(), json!(n))).collect();
        json!({
            "PeakMB": used.map(|used| used.peak),
            "AverageMB": used.map(|used| used.average),
            "MinimumMB": used.map(|used| used.minimum),
            "MedianMB": used.map(|used| used.median),
            "P95MB": used.map(|used| used.p95),
            "PeakAt": used.map(|used| time_text(used.peak_at)),
            "PeakScene": used.and_then(|used| used.peak_scene.clone()),
            "PeakDriverMB": self.driver_peak,
            "PeakGeneratingMB": peak.and_then(|peak| peak.driver.or(peak.used)),
            "RunTookMB": self.run_took.as_ref().map(RunTook::mb),
            "TotalMB": self.total,
            "Samples": self.samples,
            "Ticks": self.ticks,
            "Missed": missed,
            "AskedIntervalSeconds": self.asked_interval_ms.map(in_seconds),
            "AchievedIntervalSeconds": self.achieved_interval_ms.map(in_seconds),
            "LongestGapSeconds": self.longest_gap_ms.map(in_seconds),
            "Sources": {"comfyui": self.from_comfyui, "nvidiaSmi": self.from_nvidia_smi},
            "GrowthMBPerScene": self.growth_per_scene,
        })
    }
}

impl RunTook {
    /// The difference.
    #[must_use]
    pub fn mb(&self) -> u64 {
        self.peak.saturating_sub(self.start)
    }
}

impl SceneStatistics {
    /// The scene's `Vram` in the metadata.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "PeakMB": self.peak,
            "AverageMB": self.average,
            "FloorMB": self.floor,
            "PeakDriverMB": self.driver_peak,
            "Samples": self.samples,
        })
    }
}

#[allow(clippy::cast_precision_loss)] // intervals and gaps, in milliseconds
fn in_seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests;
