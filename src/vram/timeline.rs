//! Memory over time as a page or a terminal can show it: in a bounded number of columns, whatever
//! the log's length, in constant memory and one pass, without losing a peak or a gap.

#[cfg(test)]
mod tests;

use time::Time;

use super::log::Line;
use super::reading::{Reading, Source};
use super::stats::Metric;

/// More columns than these are merged in pairs; an even number.
const MAX_COLUMNS: usize = 1200;
/// Scenes beyond these have no band.
pub const MAX_BANDS: usize = 400;

/// The samples of a log in columns of equal length, and the scenes behind them.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// The time of the first tick; none of an empty log.
    pub first_at: Option<Time>,
    /// From the first tick's to the latest one's.
    pub columns: Vec<Column>,
    /// Of each column, in milliseconds.
    width_ms: u64,
    /// The scenes one after the other. One that comes again after another has several.
    pub bands: Vec<Band>,
    /// Whether there were more scenes than bands are kept.
    pub unbanded: bool,
    /// Whether the clock was set back, so that later moments stand too far right.
    pub set_back: bool,
    pub(super) driver_peak: Option<Peak>,
    pub(super) used_peak: Option<Peak>,
    /// From the first line to the latest.
    pub(super) elapsed_ms: u64,
    interval_ms: Option<u64>,
    /// Since the latest reading; once a tick was missed, more than any interval.
    unseen_ms: u64,
    /// The next line with a scene begins a band, whatever its scene: another run began.
    new_run: bool,
}

/// A scene in the log, from its first line to its last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    /// The scene's id.
    pub scene: String,
    /// Milliseconds since the first tick.
    pub from_ms: u64,
    /// Milliseconds since the first tick.
    pub to_ms: u64,
}

/// The highest reading of a metric, the first of equal ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peak {
    /// In MB.
    pub mb: u64,
    /// Milliseconds since the first tick.
    pub at_ms: u64,
}

impl Timeline {
    /// Takes the next line of the log, so many milliseconds after the one before. Where the clock
    /// was set back, which has no `step`, the time axis goes on from where it was.
    pub(super) fn line(&mut self, step: Option<u64>, line: &Line<&str>) {
        self.first_at = self.first_at.or(Some(line.at));
        self.set_back |= step.is_none();
        self.advance(step.unwrap_or_default());
        if line.interval_ms.is_some() {
            self.interval_ms = line.interval_ms;
            self.new_run = true;
        }
        if let Some(scene) = line.scene {
            self.band(scene);
        }
        let tick = match &line.result {
            Err(_) => {
                self.unseen_ms = u64::MAX;
                Column { missed: 1, ..Column::default() }
            }
            Ok((reading, source)) => self.reading(reading, *source),
        };
        if let Some(column) = self.columns.last_mut() {
            column.join(&tick);
        }
    }

    fn advance(&mut self, step: u64) {
        self.elapsed_ms += step;
        self.unseen_ms = self.unseen_ms.saturating_add(step);
        // Of a log that does not tell its interval, the first step is taken for it.
        self.interval_ms = self.interval_ms.or(Some(step).filter(|step| *step > 0));
        self.width_ms = self.width_ms.max(1);
        while self.elapsed_ms / self.width_ms >= MAX_COLUMNS as u64 {
            let pairs = self.columns.chunks(2);
            let joined = |pair: &[Column]| {
                let mut joined = pair[0];
                pair[1..].iter().for_each(|later| joined.join(later));
                joined
            };
            self.columns = pairs.map(joined).collect();
            self.width_ms *= 2;
        }
        let columns = self.position(self.elapsed_ms) + 1;
        if columns > self.columns.len() {
            self.columns.resize(columns, Column::default());
        }
    }

    /// The column of that moment.
    fn position(&self, ms: u64) -> usize {
        usize::try_from(ms / self.width_ms.max(1)).unwrap_or(MAX_COLUMNS).min(MAX_COLUMNS - 1)
    }

    fn band(&mut self, scene: &str) {
        let (now, new_run) = (self.elapsed_ms, std::mem::take(&mut self.new_run));
        let is_full = self.bands.len() == MAX_BANDS;
        match self.bands.last_mut() {
            Some(band) if band.scene == scene && !new_run => band.to_ms = now,
            _ if is_full => self.unbanded = true,
            _ => self.bands.push(Band { scene: scene.to_owned(), from_ms: now, to_ms: now }),
        }
    }

    fn reading(&mut self, reading: &Reading, source: Source) -> Column {
        // Half an interval more than one missed tick: stamps are cut off to the second.
        let longest = self.interval_ms.unwrap_or(u64::MAX).saturating_mul(5) / 2;
        let after_gap = std::mem::take(&mut self.unseen_ms) > longest;
        // nvidia-smi's used figure is the driver's.
        let (used, driver, fallback) = match source {
            Source::ComfyUi => (Some(reading.used), reading.driver, None),
            Source::NvidiaSmi => {
                let driver = reading.driver.or(Some(reading.used));
                (None, driver, driver)
            }
        };
        let [used, driver] = [used, driver].map(|mb| mb.map(Extremes::of));
        Column { used, driver, fallback, after_gap, ..Column::default() }
    }

    /// From the first column's start to the last one's end, in milliseconds; 0 of an empty log.
    pub fn span_ms(&self) -> u64 {
        self.columns.len() as u64 * self.width_ms
    }

    /// The highest reading while generating, of this metric where there is one; without scenes of
    /// all readings.
    pub fn peak(&self, metric: Metric) -> Option<Peak> {
        metric.of(self.used_peak, self.driver_peak)
    }

    /// The highest of all figures, in MB.
    pub fn highest(&self) -> u64 {
        let kept = self.columns.iter().flat_map(|column| [column.used, column.driver]);
        kept.flatten().map(|kept| kept.high).max().unwrap_or(0)
    }

    /// Where there is no reading: the first and the last column of each gap, in order and apart
    /// from each other. A gap's ends are the columns of the readings around it.
    pub fn gaps(&self) -> Vec<(usize, usize)> {
        let mut gaps: Vec<(usize, usize)> = Vec::new();
        let mut add = |from, to| match gaps.last_mut() {
            Some(last) if last.1 >= from => last.1 = to,
            _ => gaps.push((from, to)),
        };
        let (mut latest, mut missed) = (None, false);
        for (place, column) in self.columns.iter().enumerate() {
            if column.is_empty() {
                missed |= column.missed > 0;
                continue;
            }
            missed = false;
            if column.after_gap {
                add(latest.unwrap_or(0), place);
            }
            if column.gaps > 0 || column.missed > 0 {
                add(place, place);
            }
            latest = Some(place);
        }
        if missed {
            add(latest.unwrap_or(0), self.columns.len() - 1);
        }
        gaps
    }
}

/// The readings of a metric in one column, in MB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extremes {
    /// The first.
    pub first: u64,
    /// The lowest.
    pub low: u64,
    /// The highest.
    pub high: u64,
    /// The last.
    pub last: u64,
}

impl Extremes {
    /// Of a single reading.
    fn of(mb: u64) -> Extremes {
        Extremes { first: mb, low: mb, high: mb, last: mb }
    }

    /// Adds what comes later.
    fn join(earlier: &mut Option<Extremes>, later: Option<Extremes>) {
        let (Some(a), Some(b)) = (earlier.as_mut(), later) else {
            *earlier = earlier.or(later);
            return;
        };
        a.low = a.low.min(b.low);
        a.high = a.high.max(b.high);
        a.last = b.last;
    }
}

/// The samples of one stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Column {
    used: Option<Extremes>,
    driver: Option<Extremes>,
    /// The highest reading of nvidia-smi in `ComfyUI`'s place, in MB.
    pub fallback: Option<u64>,
    /// Ticks without a reading.
    pub missed: u32,
    /// Gaps between two of its readings.
    pub gaps: u32,
    /// There is a gap before its first reading.
    pub after_gap: bool,
}

impl Column {
    /// `ComfyUI`'s used figures, or the driver's.
    pub fn readings(&self, metric: Metric) -> Option<Extremes> {
        metric.of(self.used, self.driver)
    }

    /// Whether it has no reading at all.
    pub fn is_empty(&self) -> bool {
        self.used.is_none() && self.driver.is_none()
    }

    /// Adds the column after it.
    fn join(&mut self, later: &Column) {
        if self.is_empty() {
            self.after_gap = later.after_gap;
        } else {
            self.gaps = self.gaps.saturating_add(later.after_gap.into());
        }
        Extremes::join(&mut self.used, later.used);
        Extremes::join(&mut self.driver, later.driver);
        self.fallback = self.fallback.max(later.fallback);
        self.missed = self.missed.saturating_add(later.missed);
        self.gaps = self.gaps.saturating_add(later.gaps);
    }
}
