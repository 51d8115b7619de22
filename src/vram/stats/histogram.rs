//! Exact ranks in constant memory: a count for each whole MB.

use super::round::quotient;

/// Values in one page.
const PAGE: u64 = SLOTS as u64;
const SLOTS: usize = 1024;

/// How often each value occurred. Only the pages that hold values take memory, 8 KiB each: 128 MiB
/// for every figure up to the highest that a line can have.
#[derive(Default)]
pub(super) struct Histogram {
    pages: Vec<Option<Box<[u64; SLOTS]>>>,
    count: u64,
    sum: u128,
}

impl Histogram {
    pub(super) fn add(&mut self, value: u64) {
        let Ok(place) = usize::try_from(value / PAGE) else { return };
        if place >= self.pages.len() {
            self.pages.resize_with(place + 1, || None);
        }
        let page = self.pages.get_mut(place).map(|page| page.get_or_insert_with(empty_page));
        let slot = usize::try_from(value % PAGE).ok();
        if let Some(count) = page.zip(slot).and_then(|(page, slot)| page.get_mut(slot)) {
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
        let pages = (0..).step_by(SLOTS).zip(&self.pages);
        let pages = pages.filter_map(|(first, page)| Some((first, page.as_ref()?)));
        let values = pages.flat_map(|(first, counts)| (first..).zip(counts.iter()));
        for (value, count) in values {
            passed += count;
            if passed >= rank.max(1) {
                return Some(value);
            }
        }
        None
    }
}

fn empty_page() -> Box<[u64; SLOTS]> {
    Box::new([0; SLOTS])
}
