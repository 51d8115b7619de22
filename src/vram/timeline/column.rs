//! One column of a curve: what its samples have in common with the single one that it may be.

use crate::vram::stats::Metric;

/// The readings of a kind in one column, in MB.
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
    fn of(mb: u64) -> Extremes {
        Extremes { first: mb, low: mb, high: mb, last: mb }
    }

    /// Of two stretches, one after the other.
    fn joined(earlier: Option<Extremes>, later: Option<Extremes>) -> Option<Extremes> {
        let (Some(a), Some(b)) = (earlier, later) else { return earlier.or(later) };
        Some(Extremes {
            first: a.first,
            low: a.low.min(b.low),
            high: a.high.max(b.high),
            last: b.last,
        })
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
    /// Its readings of `ComfyUI`'s used figure, or of the driver's.
    pub fn readings(&self, meaning: Metric) -> Option<Extremes> {
        match meaning {
            Metric::Driver => self.driver,
            Metric::Used => self.used,
        }
    }

    /// Whether it has no reading at all.
    pub fn is_empty(&self) -> bool {
        self.used.is_none() && self.driver.is_none()
    }

    /// The next reading, used and driver.
    pub(super) fn take(&mut self, mb: [Option<u64>; 2], fallback: Option<u64>, gap: bool) {
        let [used, driver] = mb.map(|mb| mb.map(Extremes::of));
        let next = Column { used, driver, fallback, after_gap: gap, ..Column::default() };
        *self = Column::merged(&[*self, next]);
    }

    /// One column of two, or of the last one alone.
    pub(super) fn merged(pair: &[Column]) -> Column {
        let [a, b] = pair else { return pair.first().copied().unwrap_or_default() };
        let between = b.after_gap && !a.is_empty();
        Column {
            used: Extremes::joined(a.used, b.used),
            driver: Extremes::joined(a.driver, b.driver),
            fallback: a.fallback.max(b.fallback),
            missed: a.missed.saturating_add(b.missed),
            gaps: a.gaps.saturating_add(b.gaps).saturating_add(between.into()),
            after_gap: if a.is_empty() { b.after_gap } else { a.after_gap },
        }
    }
}
