//! What a log says: a pure function of its lines, computed in constant memory. A log of a day or
//! of a year takes some hundred KiB; one that was made to take more, with every figure there can
//! be and a new scene in every line, is held to 128 MiB for the figures and 4096 scenes.
//!
//! The figures down to [`VramStats::comfyui_peak`] are over every `Used=`, whoever gave it. Of
//! the others, a used figure takes `ComfyUI`'s lines only and a driver figure every line with
//! `Driver=`; the two are never compared with each other.

mod accumulate;
mod gaps;
mod histogram;
mod json;
#[cfg(any(test, fuzzing))]
mod naive;
mod round;
mod scene;
mod tally;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use time::Time;

use super::log::Reader;
use super::reading::{MissReason, Source};
use accumulate::Accumulator;
pub(crate) use round::quotient;
pub use scene::SceneStatistics;
pub use tally::Tally;
pub use text::seconds_text;

/// The statistics of one log. What the log does not tell is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VramStats {
    /// How many lines hold a reading.
    pub samples: u64,
    /// How many lines could be read: the samples and the missed ticks.
    pub ticks: u64,
    /// How many lines could not be read.
    pub skipped_lines: u64,
    /// The highest reading, in MB.
    pub peak: Option<u64>,
    /// The mean, in MB, rounded half to even.
    pub average: Option<u64>,
    /// The lowest reading, in MB.
    pub minimum: Option<u64>,
    /// The median, in MB; of an even number of readings the mean of the middle two.
    pub median: Option<u64>,
    /// The 95th percentile by nearest rank, in MB.
    pub p95: Option<u64>,
    /// When the peak was first reached.
    pub peak_at: Option<Time>,
    /// The scene that was running then.
    pub peak_scene: Option<String>,
    /// Who gave the peak.
    pub peak_source: Option<Source>,
    /// The highest reading of `ComfyUI`'s own, in MB: what to compare a peak of nvidia-smi with.
    pub comfyui_peak: Option<u64>,
    /// The highest driver figure of all lines, in MB.
    pub driver_peak: Option<u64>,
    /// The highest figures of the lines with a scene.
    pub peak_generating: Option<PeakGenerating>,
    /// The driver figure of the first sample, in MB.
    pub start_driver: Option<u64>,
    /// The first used figure, in MB.
    pub start_used: Option<u64>,
    /// What the run's own figures are made of: driver where the first sample has it.
    pub meaning: Metric,
    /// What the run added to the memory in use.
    pub run_took: Option<RunTook>,
    /// The size of the card in MB, as first told.
    pub total: Option<u64>,
    /// The scenes, in the order in which they first appear. Behind the 4096th all further ones
    /// are one, `(other scenes)`.
    pub scenes: Vec<SceneStatistics>,
    /// MB by which the memory in use at the end of a scene grows from scene to scene: the
    /// least-squares slope from the second scene on, known from four scenes. Rounded half to even.
    /// Of the log alone it is over all scenes; see [`VramStats::grow_by`].
    pub growth_per_scene: Option<i64>,
    /// The interval that the first run in the log asked for, in milliseconds.
    pub asked_interval_ms: Option<u64>,
    /// The mean time between readings, in milliseconds.
    pub achieved_interval_ms: Option<u64>,
    /// The longest time without a reading, in milliseconds: from the moment of one to the answer
    /// of the next; what a run missed before its first and after its last one too. A shorter peak
    /// may have gone unseen.
    pub longest_gap_ms: Option<u64>,
    /// The missed ticks by reason; reasons that did not occur are absent.
    pub missed: BTreeMap<MissReason, u64>,
    /// Who gave how many samples.
    pub sources: Sources,
    /// The time of the first line.
    pub first_at: Option<Time>,
    /// The time of the last line.
    pub last_at: Option<Time>,
}

/// How many samples came from where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Samples from `GET /system_stats`.
    pub comfyui: u64,
    /// Samples from the fallback.
    pub nvidia_smi: u64,
}

/// Which memory a figure counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// What the driver has handed out, torch's idle cache included.
    Driver,
    /// What live tensors hold.
    #[default]
    Used,
}

/// The highest figures while a scene was running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeakGenerating {
    /// The highest used figure, in MB.
    pub used: Option<u64>,
    /// The highest driver figure, in MB.
    pub driver: Option<u64>,
    /// When the figure of the log's meaning was first reached; the other's, if it has none.
    pub at: Time,
    /// The scene that was running then.
    pub scene: String,
}

/// What the run added to the memory in use, in the log's [`Metric`]: `peak` less `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunTook {
    /// The highest figure, in MB.
    pub peak: u64,
    /// The first figure, in MB.
    pub start: u64,
}

impl RunTook {
    /// The difference, in MB.
    pub fn mb(self) -> u64 {
        self.peak.saturating_sub(self.start)
    }
}

impl VramStats {
    /// The statistics of a log in a file.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub fn of_log(path: &Path) -> io::Result<VramStats> {
        VramStats::of_lines(Reader::new(BufReader::with_capacity(1 << 16, File::open(path)?))?)
    }

    /// The statistics of what a reader has left.
    ///
    /// # Errors
    /// Those of its input.
    pub fn of_lines<R: BufRead>(mut reader: Reader<R>) -> io::Result<VramStats> {
        let mut accumulator = Accumulator::default();
        reader.for_each(|line| accumulator.take(&line))?;
        Ok(accumulator.finish(reader.skipped()))
    }

    /// Growth once more, by what a run's record knows: its scenes that executed, in order and in
    /// series that a `/free` parts. In each the first scene loads the models again; of several
    /// slopes the steepest counts.
    pub fn grow_by(&mut self, series: &[Vec<&str>]) {
        let of = |id: &&str| self.scenes.iter().find(|scene| scene.id == **id);
        let slope = |ids: &Vec<&str>| {
            let scenes: Vec<_> = ids.iter().map(of).collect();
            scene::growth(&scenes, self.meaning)
        };
        self.growth_per_scene = series.iter().filter_map(slope).max();
    }

    /// The peak while generating that counts, in MB: of the log's meaning, else the other.
    pub fn peak_generating_mb(&self) -> Option<u64> {
        let peak = self.peak_generating.as_ref()?;
        match self.meaning {
            Metric::Driver => peak.driver.or(peak.used),
            Metric::Used => peak.used.or(peak.driver),
        }
    }
}
