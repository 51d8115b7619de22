//! The times between readings, from stamps that know no date.

use time::Time;

use super::round::quotient;

/// Nanoseconds, as plain numbers: a calendar's arithmetic costs more than reading the line.
const SECOND: i128 = 1_000_000_000;
const MILLISECOND: i128 = 1_000_000;
const DAY: i128 = 24 * 3600 * SECOND;

/// Follows the stamps of a log. A step back of more than 12 hours is midnight; a smaller one is
/// a clock that was set, and what lies around it is no gap. Neither is what lies between two runs.
#[derive(Default)]
pub(super) struct Gaps {
    latest: Option<i128>,
    /// Since the last reading, before the first one since the run began; if the clock ran on.
    unseen: Option<i128>,
    /// There was a reading in this run.
    seen: bool,
    interval: Option<i128>,
    count: u64,
    span: i128,
    longest: Option<i128>,
}

impl Gaps {
    /// The stamp of any line, in the order of the log; a run's first one has its interval.
    pub(super) fn tick(&mut self, at: Time, interval_ms: Option<u64>) {
        let at = nanos(at);
        let latest = self.latest.replace(at);
        if latest.is_none() || interval_ms.is_some() {
            self.interval = interval_ms.map(|ms| i128::from(ms) * MILLISECOND);
            (self.unseen, self.seen) = (Some(0), false);
            return;
        }
        let step = latest.map_or(0, |latest| at - latest);
        let step = if step < -DAY / 2 { step + DAY } else { step };
        self.unseen = self.unseen.map(|unseen| unseen + step).filter(|_| step >= 0);
        // Should no reading follow, this is how long none was there.
        self.longest = self.longest.max(self.unseen.filter(|unseen| *unseen > 0));
    }

    /// That line has a reading, and its answer took so long.
    pub(super) fn reading(&mut self, took_ms: Option<u64>) {
        let seen = std::mem::replace(&mut self.seen, true);
        let Some(unseen) = self.unseen.replace(0).filter(|unseen| seen || *unseen > 0) else {
            return;
        };
        if seen {
            self.count += 1;
            self.span += unseen;
        }
        let took = i128::from(took_ms.unwrap_or(0)) * MILLISECOND;
        self.longest = self.longest.max(Some(unseen + self.cut_off(unseen) + took));
    }

    /// How much longer the time between two stamps may have been, that are cut off to the second:
    /// nothing if they lie on a grid of whole seconds, as all but a run's last one do, or have
    /// milliseconds.
    fn cut_off(&self, apart: i128) -> i128 {
        match self.interval.filter(|interval| *interval > 0) {
            Some(interval) if interval >= SECOND => {
                let on_grid = apart > 0 && apart % interval == 0 && interval % SECOND == 0;
                if on_grid { 0 } else { SECOND }
            }
            _ => 0,
        }
    }

    /// The mean time from stamp to stamp in milliseconds, rounded half to even.
    pub(super) fn mean_ms(&self) -> Option<u64> {
        let span = u128::try_from(self.span / MILLISECOND).ok()?;
        (self.count > 0).then(|| quotient(span, self.count.into()))
    }

    /// In milliseconds.
    pub(super) fn longest_ms(&self) -> Option<u64> {
        u64::try_from(self.longest? / MILLISECOND).ok()
    }
}

/// Since midnight.
fn nanos(at: Time) -> i128 {
    let (h, m, s, nanos) = at.as_hms_nano();
    let seconds = (u32::from(h) * 60 + u32::from(m)) * 60 + u32::from(s);
    i128::from(seconds) * SECOND + i128::from(nanos)
}
