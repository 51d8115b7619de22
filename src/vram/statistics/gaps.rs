//! The times between readings, from stamps that know no date.

use time::Time;

use super::round::quotient;

/// Nanoseconds, as plain numbers: a calendar's arithmetic costs more than reading the line.
const SECOND: i128 = 1_000_000_000;
const MILLISECOND: i128 = 1_000_000;
const DAY: i128 = 24 * 3600 * SECOND;

/// Follows the stamps of a log. A step back of more than 12 hours is midnight; a smaller one is
/// a clock that was set, and what lies around it is no gap.
#[derive(Default)]
pub(super) struct Gaps {
    latest: Option<i128>,
    /// Since the last reading, if the clock ran on since then.
    since_reading: Option<i128>,
    count: u64,
    span: i128,
    longest: Option<i128>,
}

impl Gaps {
    /// The stamp of any line, in the order of the log.
    pub(super) fn tick(&mut self, at: Time) {
        let at = nanos(at);
        let step = self.latest.replace(at).map_or(0, |latest| at - latest);
        let step = if step < -DAY / 2 { step + DAY } else { step };
        self.since_reading = self.since_reading.map(|since| since + step).filter(|_| step >= 0);
    }

    /// That line has a reading, and its answer took so long.
    pub(super) fn reading(&mut self, took_ms: Option<u64>) {
        if let Some(since) = self.since_reading.replace(0) {
            self.count += 1;
            self.span += since;
            // Stamps are cut off to the second: two equal ones are up to a second apart.
            let apart = if since == 0 { SECOND } else { since };
            let took = i128::from(took_ms.unwrap_or(0)) * MILLISECOND;
            self.longest = self.longest.max(Some(apart + took));
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
