//! Which card is meant: `ComfyUI` and nvidia-smi number the cards differently, and a server may
//! see only some of them.

use std::fmt;
use std::time::{Duration, Instant};

use super::cards::Card;

/// How far two figures of the same card may lie apart, taken a moment apart, in MB.
const NEAR: u64 = 64;

/// A card as nvidia-smi names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CardId {
    /// By its position.
    Index(u32),
    /// By its UUID, `GPU-…`.
    Uuid(String),
}

impl fmt::Display for CardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CardId::Index(index) => index.fmt(f),
            CardId::Uuid(uuid) => uuid.fmt(f),
        }
    }
}

/// What is known of the card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The user named it.
    Named(CardId),
    /// It is the one that `ComfyUI` calls so, of that size in MB.
    Device {
        /// `ComfyUI`'s name, which contains nvidia-smi's.
        name: String,
        /// The size where it is known.
        total: Option<u64>,
    },
    /// It is the only one of the machine.
    Only,
}

/// The cards that may be the one: their places.
pub(super) fn candidates(wanted: &Wanted, cards: &[Card]) -> Vec<usize> {
    let fitting = |fits: &dyn Fn(&Card) -> bool| -> Vec<usize> {
        (0..cards.len()).filter(|place| fits(&cards[*place])).collect()
    };
    match wanted {
        Wanted::Only => fitting(&|_| true),
        Wanted::Named(CardId::Index(index)) => fitting(&|card| card.index == *index),
        Wanted::Named(CardId::Uuid(wanted)) => fitting(&|card| {
            card.uuid.as_ref().is_some_and(|uuid| uuid.eq_ignore_ascii_case(wanted))
        }),
        Wanted::Device { name, total } => {
            let mut places = fitting(&|card| {
                name.contains(&card.name) && card.total.zip(*total).is_some_and(same_size)
            });
            // An RTX 4070 Ti's name contains that of an RTX 4070, whose size is the same.
            let length = |place: &usize| cards[*place].name.len();
            let longest = places.iter().map(length).max();
            places.retain(|place| Some(length(place)) == longest);
            places
        }
    }
}

/// The sizes differ by what one of the two does not count, 3 % at most.
fn same_size((a, b): (u64, u64)) -> bool {
    a.abs_diff(b) * 100 <= b * 3
}

/// Which of the candidates agrees with the driver's figure of that moment; `before` is the one
/// that did until now. While none agrees it stays: the two figures may be moments apart.
pub(super) fn decide(
    cards: &[Card],
    candidates: &[usize],
    (at, driver): (Instant, u64),
    within: Duration,
    before: Option<usize>,
) -> Option<usize> {
    let agrees = |place: &usize| {
        let reading = cards[*place].reading(at, within);
        reading.is_some_and(|reading| reading.used.abs_diff(driver) <= NEAR)
    };
    let agreeing: Vec<usize> = candidates.iter().copied().filter(agrees).collect();
    match agreeing.as_slice() {
        [] => before,
        [only] => Some(*only),
        several => before.filter(|before| several.contains(before)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::cards::{Cards, tests::line};
    use super::super::line::Line;
    use super::*;

    const COMFYUI: &str = "cuda:0 NVIDIA GeForce RTX 4070 Ti : cudaMallocAsync";
    const SECOND: Duration = Duration::from_secs(1);

    fn cards(now: Instant, lines: &[Line]) -> Cards {
        let mut cards = Cards::default();
        for line in lines {
            cards.take(now, line);
        }
        cards
    }

    fn device(name: &str, total: u64) -> Wanted {
        Wanted::Device { name: name.into(), total: Some(total) }
    }

    #[test]
    fn a_card_is_known_by_name_and_size() {
        let names = ["NVIDIA GeForce RTX 4070", "NVIDIA GeForce RTX 4070 Ti", "Tesla T4"];
        let lines: Vec<Line> = (0..).zip(names).map(|(n, name)| line(n, name, 0)).collect();
        let cards = cards(Instant::now(), &lines);
        let of = |wanted: &Wanted| candidates(wanted, cards.all());
        assert_eq!(of(&device(COMFYUI, 24_564)), [1]);
        assert_eq!(of(&device("cuda:0 NVIDIA GeForce RTX 4070 : native", 24_100)), [0]);
        // 3 % of 25 000 are 750.
        assert_eq!(of(&device(COMFYUI, 25_000)), [1]);
        assert_eq!(of(&device(COMFYUI, 25_400)), [0_usize; 0]);
        assert_eq!(of(&device("cuda:0 AMD Radeon RX 7900", 24_564)), [0_usize; 0]);
        assert_eq!(of(&Wanted::Device { name: COMFYUI.into(), total: None }), [0_usize; 0]);
        assert_eq!(of(&Wanted::Only), [0, 1, 2]);
        assert_eq!(of(&Wanted::Named(CardId::Index(2))), [2]);
        assert_eq!(of(&Wanted::Named(CardId::Uuid("gpu-1".into()))), [1]);
        assert_eq!(of(&Wanted::Named(CardId::Uuid("GPU-9".into()))), [0_usize; 0]);
    }

    #[test]
    fn of_equal_cards_it_is_the_one_with_the_driver_s_figure() {
        let now = Instant::now();
        let lines: Vec<Line> = (0..8).map(|n| line(n, "X", 1000 * u64::from(n))).collect();
        let cards = cards(now, &lines);
        let all: Vec<usize> = (0..8).collect();
        let of = |driver, before| decide(cards.all(), &all, (now, driver), SECOND, before);
        assert_eq!(of(3064, None), Some(3));
        assert_eq!(of(2936, None), Some(3));
        assert_eq!(of(3065, None), None);
        // None agrees: what was known stays. Another one does: it was a mistake.
        assert_eq!(of(3500, Some(3)), Some(3));
        assert_eq!(of(5000, Some(3)), Some(5));
        // A reading of another time agrees with nothing.
        let late = (now + SECOND * 2, 3000);
        assert_eq!(decide(cards.all(), &all, late, SECOND, None), None);
    }

    #[test]
    fn equal_cards_in_equal_use_are_not_guessed_at() {
        let now = Instant::now();
        let cards = cards(now, &[line(0, "X", 500), line(1, "X", 530), line(2, "X", 9000)]);
        let of = |driver, before| decide(cards.all(), &[0, 1, 2], (now, driver), SECOND, before);
        assert_eq!(of(510, None), None);
        assert_eq!(of(510, Some(1)), Some(1));
        assert_eq!(of(510, Some(2)), None);
    }
}
