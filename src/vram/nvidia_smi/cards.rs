//! What nvidia-smi has said of each card lately. Every moment is passed in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::line::Line;
use crate::vram::reading::Reading;

/// How far back a moment may lie that is asked for: a tick is told when its request has ended.
const KEPT: Duration = Duration::from_secs(10);
/// More readings than come in that time.
const MOST: usize = 256;

/// More cards than a machine has.
const MOST_CARDS: usize = 64;

/// One card.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) index: u32,
    pub(super) uuid: Option<String>,
    pub(super) name: String,
    pub(super) total: Option<u64>,
    readings: VecDeque<(Instant, Reading)>,
}

impl Card {
    fn new(line: &Line) -> Self {
        Card {
            index: line.index,
            uuid: line.uuid.clone(),
            name: line.name.clone(),
            total: line.total,
            readings: VecDeque::new(),
        }
    }

    fn take(&mut self, at: Instant, line: &Line) {
        self.total = line.total.or(self.total);
        let Some(used) = line.used else { return };
        let reading =
            Reading { used, free: line.free, total: line.total, driver: Some(used), ram: None };
        self.readings.push_back((at, reading));
        let old = |first: &(Instant, Reading)| at.saturating_duration_since(first.0) > KEPT;
        while self.readings.len() > MOST || self.readings.front().is_some_and(old) {
            self.readings.pop_front();
        }
    }

    /// The reading nearest to that moment, if it is not further from it than `within`.
    pub(super) fn reading(&self, at: Instant, within: Duration) -> Option<Reading> {
        let distance = |then: Instant| at.max(then).duration_since(at.min(then));
        let nearest = self.readings.iter().min_by_key(|(then, _)| distance(*then))?;
        (distance(nearest.0) <= within).then_some(nearest.1)
    }
}

/// Every card that it has named, in the order in which it did first.
#[derive(Debug, Default)]
pub(super) struct Cards(Vec<Card>);

impl Cards {
    /// Takes a line that came at that moment. Whether the card was known already. A card too many
    /// is passed over.
    pub(super) fn take(&mut self, at: Instant, line: &Line) -> bool {
        let same = |card: &&mut Card| card.index == line.index && card.uuid == line.uuid;
        if let Some(card) = self.0.iter_mut().find(same) {
            card.take(at, line);
            return true;
        }
        if self.0.len() < MOST_CARDS {
            let mut card = Card::new(line);
            card.take(at, line);
            self.0.push(card);
        }
        false
    }

    pub(super) fn all(&self) -> &[Card] {
        &self.0
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::vram::nvidia_smi) fn line(index: u32, name: &str, used: u64) -> Line {
        let uuid = Some(format!("GPU-{index}"));
        let (total, free) = (Some(24_564), Some(24_564 - used));
        Line { index, uuid, name: name.into(), total, used: Some(used), free }
    }

    #[test]
    fn the_reading_of_a_moment_is_the_nearest_and_none_that_is_stale() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut cards = Cards::default();
        for (n, used) in (0..4).zip([100, 200, 300, 400]) {
            cards.take(start + second * n, &line(0, "X", used));
        }
        let used = |at| cards.all()[0].reading(at, second * 3).map(|reading| reading.used);
        assert_eq!(used(start + second), Some(200));
        assert_eq!(used(start + second.mul_f64(1.4)), Some(200));
        assert_eq!(used(start + second.mul_f64(1.6)), Some(300));
        assert_eq!(used(start + second * 6), Some(400));
        assert_eq!(used(start + second.mul_f64(6.1)), None);
        let whole = cards.all()[0].reading(start, second).unwrap();
        assert_eq!((whole.driver, whole.ram), (Some(100), None));
        assert_eq!((whole.free, whole.total), (Some(24_464), Some(24_564)));
    }

    #[test]
    fn only_the_last_seconds_are_kept() {
        let start = Instant::now();
        let mut cards = Cards::default();
        for n in 0..10_000 {
            cards.take(start + Duration::from_millis(n), &line(0, "X", n));
        }
        assert_eq!(cards.all()[0].readings.len(), MOST);
        cards.take(start + KEPT * 3, &line(0, "X", 1));
        assert_eq!(cards.all()[0].readings.len(), 1);
    }

    #[test]
    fn what_lists_cards_without_end_is_not_kept() {
        let now = Instant::now();
        let mut cards = Cards::default();
        for n in 0..10_000 {
            assert!(!cards.take(now, &line(n, "X", 1)));
        }
        assert_eq!(cards.all().len(), MOST_CARDS);
        assert!(cards.take(now, &line(0, "X", 1)));
    }

    #[test]
    fn a_figure_it_does_not_know_is_no_reading_and_cards_are_told_apart() {
        let now = Instant::now();
        let mut cards = Cards::default();
        cards.take(now, &Line { used: None, ..line(0, "X", 5) });
        cards.take(now, &line(1, "X", 6));
        assert_eq!(cards.all().len(), 2);
        assert_eq!(cards.all()[0].reading(now, KEPT), None);
        assert_eq!(cards.all()[1].reading(now, KEPT).map(|reading| reading.used), Some(6));
    }
}
