//! One card of nvidia-smi, watched for one device of `ComfyUI`.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::matching::{Wanted, candidates, decide};
use super::{Known, NvidiaSmi, SELDOM};
use crate::vram::reading::Reading;

/// It may take seconds to start; what takes longer than this hangs.
const PATIENCE: Duration = SELDOM.saturating_mul(15);

/// Finds the card and gives its readings. It never waits.
pub struct CardReader {
    smi: Arc<NvidiaSmi>,
    wanted: Wanted,
    /// Of several cards that it may be, the place of the one that agreed with `ComfyUI`.
    agreed: Mutex<Option<usize>>,
}

/// Why there is no reading; as text, the beginning of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoReading {
    /// It did not start, and why.
    NotStarted(String),
    /// Nothing of this moment, so far: it may be starting.
    NotYet,
    /// Nothing for so long that it hangs, or it died.
    Silent,
    /// It lists no such card.
    NoCard(Wanted),
    /// It lists so many cards that may be the one, and nothing tells them apart.
    Several(usize),
}

impl fmt::Display for NoReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoReading::NotStarted(why) => f.write_str(why),
            NoReading::NotYet | NoReading::Silent => f.write_str("nvidia-smi gives no reading"),
            NoReading::NoCard(Wanted::Named(id)) => write!(f, "nvidia-smi lists no card {id}"),
            NoReading::NoCard(Wanted::Device { name, .. }) => {
                write!(f, "nvidia-smi lists no card that is ComfyUI's {name}")
            }
            NoReading::NoCard(Wanted::Only) => f.write_str("nvidia-smi lists no card"),
            NoReading::Several(n) => write!(
                f,
                "nvidia-smi lists {n} cards that may be ComfyUI's (--nvidia-smi-gpu INDEX names it)"
            ),
        }
    }
}

impl CardReader {
    /// Watches that card.
    pub fn new(smi: Arc<NvidiaSmi>, wanted: Wanted) -> Self {
        CardReader { smi, wanted, agreed: Mutex::new(None) }
    }

    /// Notes what `ComfyUI` said of the driver's figure at that moment, in MB: it tells equal
    /// cards apart.
    pub fn observe(&self, at: Instant, driver: u64) {
        let known = self.smi.shared.known();
        // Half a list may show one card of two equal ones.
        if !known.complete {
            return;
        }
        let cards = known.cards.all();
        let candidates = candidates(&self.wanted, cards);
        let mut agreed = self.agreed.lock().unwrap_or_else(PoisonError::into_inner);
        *agreed = decide(cards, &candidates, (at, driver), self.smi.within, *agreed);
    }

    /// The card's reading of that moment.
    ///
    /// # Errors
    /// There is none, and why.
    pub fn reading(&self, at: Instant) -> Result<Reading, NoReading> {
        let agreed = *self.agreed.lock().unwrap_or_else(PoisonError::into_inner);
        self.smi.shared.known().reading(&self.wanted, agreed, at, self.smi.within)
    }

    /// Whether it has listed every card, or did not start.
    pub fn is_settled(&self) -> bool {
        let known = self.smi.shared.known();
        known.complete || known.trouble.is_some()
    }
}

impl Known {
    pub(super) fn reading(
        &self,
        wanted: &Wanted,
        agreed: Option<usize>,
        at: Instant,
        within: Duration,
    ) -> Result<Reading, NoReading> {
        if let Some(why) = &self.trouble {
            return Err(NoReading::NotStarted(why.clone()));
        }
        let long_ago = at.saturating_duration_since(self.heard) > PATIENCE;
        let nothing = || if long_ago { NoReading::Silent } else { NoReading::NotYet };
        // Half a list may show one card of eight equal ones.
        if !self.complete && !matches!(wanted, Wanted::Named(_)) {
            return Err(nothing());
        }
        let cards = self.cards.all();
        let place = match candidates(wanted, cards).as_slice() {
            [] if !self.complete => return Err(nothing()),
            [] => return Err(NoReading::NoCard(wanted.clone())),
            [only] => *only,
            several => agreed.ok_or(NoReading::Several(several.len()))?,
        };
        cards.get(place).and_then(|card| card.reading(at, within)).ok_or_else(nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::super::cards::tests::line;
    use super::super::{CardId, Shared};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn used(
        shared: &Shared,
        wanted: &Wanted,
        agreed: Option<usize>,
        at: Instant,
    ) -> Result<u64, NoReading> {
        shared.known().reading(wanted, agreed, at, SECOND * 3).map(|reading| reading.used)
    }

    fn device(name: &str) -> Wanted {
        Wanted::Device { name: format!("cuda:0 {name} : native"), total: Some(24_100) }
    }

    #[test]
    fn a_list_counts_once_it_is_whole() {
        let now = Instant::now();
        let shared = Shared::new(now);
        assert_eq!(used(&shared, &device("X"), None, now), Err(NoReading::NotYet));
        shared.take(now, &line(0, "X", 5));
        assert_eq!(used(&shared, &device("X"), None, now), Err(NoReading::NotYet));
        assert_eq!(used(&shared, &Wanted::Named(CardId::Index(0)), None, now), Ok(5));
        let other = Wanted::Named(CardId::Index(1));
        assert_eq!(used(&shared, &other, None, now), Err(NoReading::NotYet));
        shared.take(now, &line(1, "X", 6));
        shared.take(now + SECOND, &line(0, "X", 7));
        let next = now + SECOND;
        assert_eq!(used(&shared, &device("X"), None, next), Err(NoReading::Several(2)));
        assert_eq!(used(&shared, &device("X"), Some(1), next), Ok(6));
        assert_eq!(used(&shared, &other, None, next), Ok(6));
        assert_eq!(used(&shared, &device("Y"), None, next), Err(NoReading::NoCard(device("Y"))));
    }

    #[test]
    fn what_hangs_gives_nothing_and_is_called_silent_in_the_end() {
        let now = Instant::now();
        let shared = Shared::new(now);
        let silent = |at| used(&shared, &device("X"), None, at);
        assert_eq!(silent(now + PATIENCE), Err(NoReading::NotYet));
        assert_eq!(silent(now + PATIENCE + SECOND), Err(NoReading::Silent));
        for _ in 0..2 {
            shared.take(now + SECOND, &line(0, "X", 5));
        }
        assert_eq!(silent(now + SECOND * 4), Ok(5));
        assert_eq!(silent(now + SECOND * 5), Err(NoReading::NotYet));
        assert_eq!(silent(now + PATIENCE + SECOND * 2), Err(NoReading::Silent));
        // A reading from before that moment is still that of its own.
        assert_eq!(silent(now), Ok(5));
    }

    #[test]
    fn what_did_not_start_says_why() {
        let now = Instant::now();
        let shared = Shared::new(now);
        shared.trouble("nvidia-smi is not on the PATH".into());
        let absent = used(&shared, &Wanted::Only, None, now).unwrap_err();
        assert_eq!(absent.to_string(), "nvidia-smi is not on the PATH");
        let named = NoReading::NoCard(Wanted::Named(CardId::Uuid("GPU-5".into())));
        assert_eq!(named.to_string(), "nvidia-smi lists no card GPU-5");
    }
}
