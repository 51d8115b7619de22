//! Exact order statistics in memory that does not grow with the number of samples.

use std::collections::BTreeMap;

use super::accumulate::mean;

/// How often each value occurred. A device has few different ones: it grows with its size.
#[derive(Default)]
pub(super) struct Histogram(BTreeMap<u64, u64>);

impl Histogram {
    pub(super) fn add(&mut self, value: u64) {
        *self.0.entry(value).or_default() += 1;
    }

    fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// The value of that rank, counted from 1.
    fn rank(&self, rank: u64) -> Option<u64> {
        let mut seen = 0;
        self.0.iter().find_map(|(value, count)| {
            seen += count;
            (seen >= rank).then_some(*value)
        })
    }

    pub(super) fn median(&self) -> Option<u64> {
        let count = self.count();
        let low = self.rank(count.div_ceil(2))?;
        let high = self.rank(count / 2 + 1)?;
        mean(u128::from(low) + u128::from(high), 2)
    }

    /// By nearest rank.
    pub(super) fn percentile(&self, percent: u64) -> Option<u64> {
        self.rank((self.count() * percent).div_ceil(100).max(1))
    }
}
