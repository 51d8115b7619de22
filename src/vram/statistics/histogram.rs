//! Exact ranks in constant memory: a count for each whole MB.

use std::collections::BTreeMap;

use super::round::quotient;

/// Values in one page.
const PAGE: u64 = SLOTS as u64;
const SLOTS: usize = 1024;

/// How often each value occurred. Only the pages that hold values take memory, 8 KiB each.
#[derive(Default)]
pub(super) struct Histogram {
    pages: BTreeMap<u64, Box<[u64; SLOTS]>>,
    count: u64,
    sum: u128,
}

impl Histogram {
    pub(super) fn add(&mut self, value: u64) {
        let page = self.pages.entry(value / PAGE).or_insert_with(|| Box::new([0; SLOTS]));
        if let Some(count) = usize::try_from(value % PAGE).ok().and_then(|at| page.get_mut(at)) {
            *count += 1;
        }
        self.count += 1;
        self.sum += u128::from(value);
    }

    /// The mean, rounded half to even.
    pub(super) fn mean(&self) -> Option<u64> {
        (self.count > 0).then(|| quotient(self.sum, self.count.into()))
    }

    pub(super) fn minimum(&self) -> Option<u64> {
        self.ranked(1)
    }

    /// The middle value; the mean of the middle two, rounded half to even.
    pub(super) fn median(&self) -> Option<u64> {
        let lower = self.ranked(self.count.div_ceil(2))?;
        let upper = self.ranked(self.count / 2 + 1)?;
        Some(quotient(u128::from(lower) + u128::from(upper), 2))
    }

    /// The lowest value that at least `percent` of all values do not exceed.
    pub(super) fn percentile(&self, percent: u64) -> Option<u64> {
        self.ranked((self.count * percent).div_ceil(100))
    }

    /// The value at that place of all values in ascending order, from 1.
    fn ranked(&self, rank: u64) -> Option<u64> {
        let mut passed = 0;
        let values =
            self.pages.iter().flat_map(|(page, counts)| (page * PAGE..).zip(counts.iter()));
        for (value, count) in values {
            passed += count;
            if passed >= rank.max(1) {
                return Some(value);
            }
        }
        None
    }
}
