//! Memory over time as a page or a terminal can show it: in a bounded number of columns, whatever
//! the log's length, in constant memory and one pass, without losing a peak or a gap.

mod column;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use time::Time;

use super::log::{Line, Reader};
use super::reading::{Reading, Source};
use super::stats::Metric;
pub use column::{Column, Extremes};

/// More columns than these are merged in pairs; an even number.
const MOST: usize = 1200;
/// More bands than these tell nobody anything.
const MOST_BANDS: usize = 400;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// The samples of a log in columns of equal length, and what lies behind them.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// None before the first tick.
    first_at: Option<Time>,
    columns: Vec<Column>,
    /// Of each column, in milliseconds.
    width_ms: u64,
    bands: Vec<Band>,
    unbanded: bool,
    set_back_ms: u64,
    peaks: Peaks,
    latest: Option<i64>,
    elapsed_ms: u64,
    usual_ms: Option<u64>,
    latest_reading_ms: Option<u64>,
    /// Since the latest reading a tick was missed.
    missed: bool,
    /// The next line with a scene begins a band, whatever its scene: another run began.
    apart: bool,
}

/// A scene in the log, from its first line to its last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    /// The scene's id.
    pub scene: String,
    /// Milliseconds since the first tick.
    pub from_ms: u64,
    /// See there.
    pub to_ms: u64,
}

/// The highest reading of a kind, the earlier of two equal ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peak {
    /// In MB.
    pub mb: u64,
    /// Milliseconds since the first tick.
    pub at_ms: u64,
    /// Which memory it counts.
    pub meaning: Metric,
}

#[derive(Clone, Copy, Debug, Default)]
struct Peaks {
    driver: Option<Peak>,
    used: Option<Peak>,
    generating_driver: Option<Peak>,
    generating_used: Option<Peak>,
}

impl Peaks {
    fn take(&mut self, peak: Peak, generating: bool) {
        let (all, in_scene) = match peak.meaning {
            Metric::Driver => (&mut self.driver, &mut self.generating_driver),
            Metric::Used => (&mut self.used, &mut self.generating_used),
        };
        for highest in [Some(all), generating.then_some(in_scene)].into_iter().flatten() {
            if highest.is_none_or(|highest| peak.mb > highest.mb) {
                *highest = Some(peak);
            }
        }
    }
}

impl Timeline {
    /// The curve of a log in a file.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub fn of_log(path: &Path) -> io::Result<Timeline> {
        let mut reader = Reader::new(BufReader::with_capacity(1 << 16, File::open(path)?))?;
        let mut curve = Timeline::default();
        reader.for_each(|line| curve.take(&line))?;
        Ok(curve)
    }

    /// The next line of the log.
    pub fn take(&mut self, line: &Line<&str>) {
        self.first_at = self.first_at.or(Some(line.at));
        self.step(line.at);
        if line.interval_ms.is_some() {
            self.usual_ms = line.interval_ms;
            self.apart = true;
        }
        if let Some(scene) = line.scene {
            self.band(scene);
        }
        match line.entry {
            Err(_) => {
                self.missed = true;
                self.column().missed += 1;
            }
            Ok((reading, source)) => self.reading(&reading, source, line.scene.is_some()),
        }
    }

    /// Goes on to the time of a line. As in the statistics, a step back of more than 12 hours is
    /// midnight; after a smaller one, a clock that was set, the axis goes on from where it was.
    fn step(&mut self, at: Time) {
        let (h, m, s, ms) = at.as_hms_milli();
        let at = ((i64::from(h) * 60 + i64::from(m)) * 60 + i64::from(s)) * 1000 + i64::from(ms);
        let step = self.latest.replace(at).map_or(0, |latest| at - latest);
        let step = if step < -DAY_MS / 2 { step + DAY_MS } else { step };
        let forward = u64::try_from(step).unwrap_or_default();
        self.set_back_ms += u64::try_from(-step).unwrap_or_default();
        self.elapsed_ms += forward;
        self.usual_ms = self.usual_ms.or(Some(forward).filter(|step| *step > 0));
        self.width_ms = self.width_ms.max(1);
        while self.elapsed_ms / self.width_ms >= MOST as u64 {
            self.columns = self.columns.chunks(2).map(Column::merged).collect();
            self.width_ms *= 2;
        }
        let needed = self.place(self.elapsed_ms) + 1;
        self.columns.resize(self.columns.len().max(needed), Column::default());
    }

    /// The column of that moment.
    fn place(&self, ms: u64) -> usize {
        usize::try_from(ms / self.width_ms.max(1)).unwrap_or(MOST).min(MOST - 1)
    }

    fn column(&mut self) -> &mut Column {
        let place = self.place(self.elapsed_ms);
        &mut self.columns[place]
    }

    fn band(&mut self, scene: &str) {
        let (now, apart) = (self.elapsed_ms, std::mem::take(&mut self.apart));
        if let Some(band) = self.bands.last_mut()
            && band.scene == scene
            && !apart
        {
            band.to_ms = now;
        } else if self.bands.len() < MOST_BANDS {
            self.bands.push(Band { scene: scene.to_owned(), from_ms: now, to_ms: now });
        } else {
            self.unbanded = true;
        }
    }

    fn reading(&mut self, reading: &Reading, source: Source, generating: bool) {
        let at_ms = self.elapsed_ms;
        // Half an interval more than one missed tick: stamps are cut off to the second.
        let usual = self.usual_ms.unwrap_or(u64::MAX);
        let since = self.latest_reading_ms.replace(at_ms).map(|latest| at_ms - latest);
        let missed = std::mem::take(&mut self.missed);
        let gap = missed || since.is_some_and(|since| since > usual.saturating_mul(5) / 2);
        // What nvidia-smi calls used is what the driver has handed out.
        let (used, driver) = match source {
            Source::ComfyUi => (Some(reading.used), reading.driver),
            Source::NvidiaSmi => (None, reading.driver.or(Some(reading.used))),
        };
        let fallback = driver.filter(|_| source == Source::NvidiaSmi);
        self.column().take([used, driver], fallback, gap);
        for (mb, meaning) in [(used, Metric::Used), (driver, Metric::Driver)] {
            if let Some(mb) = mb {
                self.peaks.take(Peak { mb, at_ms, meaning }, generating);
            }
        }
    }

    /// The time of the first tick; none of an empty log.
    pub fn first_at(&self) -> Option<Time> {
        self.first_at
    }

    /// The columns, from the first tick's to the last one's.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// From the first column's start to the last one's end, in milliseconds; 0 of an empty log.
    pub fn span_ms(&self) -> u64 {
        self.columns.len() as u64 * self.width_ms
    }

    /// The scenes one after the other. One that comes again after another has several.
    pub fn bands(&self) -> &[Band] {
        &self.bands
    }

    /// Whether there were more scenes than bands are kept.
    pub fn unbanded(&self) -> bool {
        self.unbanded
    }

    /// Whether the clock was set back, so that later moments stand too far right.
    pub fn set_back(&self) -> bool {
        self.set_back_ms > 0
    }

    /// The peak that counts: while generating and of this meaning, as far as there is one.
    pub fn peak(&self, meaning: Metric) -> Option<Peak> {
        let Peaks { driver, used, generating_driver, generating_used } = self.peaks;
        match meaning {
            Metric::Driver => generating_driver.or(generating_used).or(driver).or(used),
            Metric::Used => generating_used.or(generating_driver).or(used).or(driver),
        }
    }

    /// The highest of all figures, in MB.
    pub fn highest(&self) -> u64 {
        let peaks = [self.peaks.driver, self.peaks.used];
        peaks.into_iter().flatten().map(|peak| peak.mb).max().unwrap_or(0)
    }

    /// Where there is no reading: the first and the last column of each gap, in order and apart
    /// from each other. A gap's ends are the columns of the readings around it.
    pub fn gaps(&self) -> Vec<(usize, usize)> {
        let mut gaps: Vec<(usize, usize)> = Vec::new();
        let mut add = |from, to| match gaps.last_mut() {
            Some(last) if last.1 >= from => last.1 = to,
            _ => gaps.push((from, to)),
        };
        let mut latest = None;
        let mut missed = false;
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
