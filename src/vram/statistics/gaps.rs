//! The times between readings, from stamps that know no date.

use time::{Duration, Time};

use super::round::quotient;

const DAY: Duration = Duration::DAY;
const HALF_A_DAY: Duration = Duration::hours(12);

/// Follows the stamps of a log. A step back of more than 12 hours is midnight; a smaller one is
/// a clock that was set, and what lies around it is no gap.
#[derive(Default)]
pub(super) struct Gaps {
    latest: Option<Time>,
    /// Since the last reading, if the clock ran on since then.
    since_reading: Option<Duration>,
    count: u64,
    span: Duration,
    longest: Option<Duration>,
}

impl Gaps {
    /// The stamp of any line, in the order of the log.
    pub(super) fn tick(&mut self, at: Time) {
        let step = self.latest.replace(at).map_or(Duration::ZERO, |latest| at - latest);
        let step = if step < -HALF_A_DAY { step + DAY } else { step };
        self.since_reading =
            self.since_reading.map(|since| since + step).filter(|_| step >= Duration::ZERO);
    }

    /// That line has a reading, and its answer took so long.
    pub(super) fn reading(&mut self, took_ms: Option<u64>) {
        if let Some(since) = self.since_reading.replace(Duration::ZERO) {
            let took = i64::try_from(took_ms.unwrap_or(0)).unwrap_or(i64::MAX);
            self.count += 1;
            self.span += since;
            // Stamps are cut off to the second: two equal ones are up to a second apart.
            let apart = if since.is_zero() { Duration::SECOND } else { since };
            self.longest =
                self.longest.max(Some(apart.saturating_add(Duration::milliseconds(took))));
        }
    }

    /// The mean time from stamp to stamp in milliseconds, rounded half to even.
    pub(super) fn mean_ms(&self) -> Option<u64> {
        let span = u128::try_from(self.span.whole_milliseconds()).ok()?;
        (self.count > 0).then(|| quotient(span, self.count.into()))
    }

    /// In milliseconds.
    pub(super) fn longest_ms(&self) -> Option<u64> {
        u64::try_from(self.longest?.whole_milliseconds()).ok()
    }
}
