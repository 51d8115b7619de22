//! The cards that nvidia-smi lists, their latest readings, and which of them is `ComfyUI`'s
//! device: the two number the cards differently, and a server may see only some of them.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::process::end_text;
use crate::sanitize::{sanitize_line, shortened};
use crate::vram::reading::{HIGHEST_MB, Reading};

/// How long readings are kept: a tick asks for the moment at which its request was sent.
const KEPT: Duration = Duration::from_secs(10);
/// More readings than come in that time.
const MAX_READINGS: usize = 256;
/// More cards than a machine has.
const MAX_CARDS: usize = 64;
/// nvidia-smi may take seconds to start; after this long without a line it hangs.
const PATIENCE: Duration = Duration::from_secs(15);
/// How far two figures of the same card may lie apart, taken a moment apart, and the sizes of equal
/// cards, in MB.
const NEAR_MB: u64 = 64;
/// At most so many characters of what it says beside its readings are told.
const MOST_WORDS: usize = 200;

/// One line of nvidia-smi: `index, uuid, name, memory.total, memory.used, memory.free` in MiB. An
/// unknown value is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CardLine {
    pub(super) index: u32,
    pub(super) uuid: Option<String>,
    pub(super) name: String,
    pub(super) total: Option<u64>,
    pub(super) used: Option<u64>,
    pub(super) free: Option<u64>,
}

impl CardLine {
    /// Reads a line with or without its line break; `None` for a blank, cut or malformed one. A
    /// name may have commas.
    pub(super) fn parse(text: &str) -> Option<CardLine> {
        let fields: Vec<&str> = text.split(',').map(str::trim).collect();
        let [index, uuid, name @ .., total, used, free] = fields.as_slice() else { return None };
        let line = CardLine {
            index: index.parse().ok()?,
            uuid: known(uuid).map(str::to_owned),
            name: name.join(", "),
            total: figure(total)?,
            used: figure(used)?,
            free: figure(free)?,
        };
        let fits =
            |part: Option<u64>| line.total.zip(part).is_none_or(|(total, part)| part <= total);
        (!line.name.is_empty() && fits(line.used) && fits(line.free)).then_some(line)
    }
}

/// A known value: not `[N/A]`, `[Not Supported]`, `[Unknown Error]` and the like.
fn known(field: &str) -> Option<&str> {
    let unknown = field.is_empty() || field.starts_with('[') || field.eq_ignore_ascii_case("n/a");
    (!unknown).then_some(field)
}

/// A figure or an explicit unknown; `None` for anything else.
#[expect(clippy::option_option, reason = "unknown is not malformed")]
fn figure(field: &str) -> Option<Option<u64>> {
    match known(field) {
        None => (!field.is_empty()).then_some(None),
        Some(mb) => mb.parse().ok().filter(|mb| *mb <= HIGHEST_MB).map(Some),
    }
}

#[derive(Debug)]
struct Card {
    /// Its first line, and the size that was told last.
    listed: CardLine,
    readings: VecDeque<(Instant, Reading)>,
}

impl Card {
    fn add(&mut self, at: Instant, line: &CardLine) {
        self.listed.total = line.total.or(self.listed.total);
        let Some(used) = line.used else { return };
        let reading = Reading {
            used,
            free: line.free,
            total: line.total,
            driver: Some(used),
            ..Reading::default()
        };
        self.readings.push_back((at, reading));
        let old = |first: &(Instant, Reading)| at.saturating_duration_since(first.0) > KEPT;
        while self.readings.len() > MAX_READINGS || self.readings.front().is_some_and(old) {
            self.readings.pop_front();
        }
    }

    /// The reading nearest to that moment, if it is not further from it than `within`.
    fn reading(&self, at: Instant, within: Duration) -> Option<Reading> {
        let distance = |then: Instant| at.max(then).duration_since(at.min(then));
        let nearest = self.readings.iter().min_by_key(|(then, _)| distance(*then))?;
        (distance(nearest.0) <= within).then_some(nearest.1)
    }
}

/// A card as nvidia-smi names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CardId {
    /// By its index.
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

/// The card that is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The one that the user named.
    Named(CardId),
    /// The one that is this device of `ComfyUI`.
    Device {
        /// `ComfyUI`'s name, which contains nvidia-smi's.
        name: String,
        /// The size in MB, where it is known.
        total: Option<u64>,
    },
    /// The only one of the machine.
    Only,
}

impl Wanted {
    fn fits(&self, card: &CardLine) -> bool {
        match self {
            Wanted::Only => true,
            Wanted::Named(CardId::Index(index)) => card.index == *index,
            Wanted::Named(CardId::Uuid(wanted)) => {
                card.uuid.as_ref().is_some_and(|uuid| uuid.eq_ignore_ascii_case(wanted))
            }
            Wanted::Device { name, .. } => name.contains(&card.name),
        }
    }
}

/// Why there is no reading; as text, the beginning of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoReading {
    /// nvidia-smi did not start, ended, or says something else than readings.
    Failed(String),
    /// Nothing of this moment so far: it may be starting.
    NotYet,
    /// Nothing for so long that it hangs.
    Silent,
    /// It lists no such card.
    NoCard(Wanted),
    /// It lists so many cards that may be the one, and nothing tells them apart.
    Several(usize),
}

impl fmt::Display for NoReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoReading::Failed(why) => f.write_str(why),
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

/// What nvidia-smi has said so far. Every moment is passed in.
#[derive(Debug)]
pub(super) struct CardList {
    /// In the order in which they were first listed.
    cards: Vec<Card>,
    /// A card was listed a second time, so that all of them are known.
    pub(super) complete: bool,
    /// When a line came last; before the first one, when the program was to start. A sleep of the
    /// computer since then is no silence.
    latest: Instant,
    /// How often the computer has slept.
    slept: usize,
    /// Why no line comes: the program did not start, or has ended.
    pub(super) trouble: Option<String>,
    /// What the running program has said since its last card line.
    words: String,
    /// Of several cards that may be the wanted one, the one that agreed with `ComfyUI`.
    agreed: Option<usize>,
}

impl CardList {
    pub(super) fn new(now: Instant) -> Self {
        CardList {
            cards: Vec::new(),
            complete: false,
            latest: now,
            slept: 0,
            trouble: None,
            words: String::new(),
            agreed: None,
        }
    }

    /// Takes how often the computer has slept by that moment.
    pub(super) fn wake(&mut self, at: Instant, slept: usize) {
        if std::mem::replace(&mut self.slept, slept) != slept {
            self.latest = at;
        }
    }

    /// Takes a line of the output that came at that moment. One without its line break was cut;
    /// one that is no card's is kept in case that no reading follows.
    pub(super) fn take_line(&mut self, at: Instant, text: &str) {
        if let Some(line) = CardLine::parse(text).filter(|_| text.ends_with('\n')) {
            return self.add(at, &line);
        }
        let said = sanitize_line(text.trim());
        if !self.words.contains(&said) {
            self.words = shortened(format!("{} {said}", self.words).trim_start(), MOST_WORDS);
        }
    }

    /// The program has ended with that code: its own words are the reason, if it had any.
    pub(super) fn ended(&mut self, code: i32) {
        let wordless = || format!("nvidia-smi ended with {}", end_text(code));
        self.trouble = Some(self.own_words().unwrap_or_else(wordless));
        self.words.clear();
    }

    fn own_words(&self) -> Option<String> {
        let words = self.words.trim_end_matches('.');
        (!words.is_empty()).then(|| format!("nvidia-smi: {words}"))
    }

    /// Takes a line that came at that moment. Cards beyond the 64th are ignored.
    pub(super) fn add(&mut self, at: Instant, line: &CardLine) {
        self.latest = at;
        self.trouble = None;
        self.words.clear();
        let same = |Card { listed, .. }: &&mut Card| {
            listed.index == line.index && listed.uuid == line.uuid
        };
        if let Some(card) = self.cards.iter_mut().find(same) {
            card.add(at, line);
            self.complete = true;
        } else if self.cards.len() < MAX_CARDS {
            let mut card = Card { listed: line.clone(), readings: VecDeque::new() };
            card.add(at, line);
            self.cards.push(card);
        }
    }

    /// Each card's index, name and size.
    #[cfg(any(test, fuzzing))]
    pub(super) fn names(&self) -> impl Iterator<Item = (u32, &str, Option<u64>)> {
        let cards = self.cards.iter().map(|card| &card.listed);
        cards.map(|card| (card.index, card.name.as_str(), card.total))
    }

    /// The positions of the cards that may be the wanted one.
    fn candidates(&self, wanted: &Wanted) -> Vec<usize> {
        let fits = |place: &usize| wanted.fits(&self.cards[*place].listed);
        let mut places: Vec<usize> = (0..self.cards.len()).filter(fits).collect();
        if let Wanted::Device { total, .. } = wanted {
            // An RTX 4070 Ti's name contains that of an RTX 4070, whose size is the same.
            let length = |place: &usize| self.cards[*place].listed.name.len();
            let longest = places.iter().map(length).max();
            places.retain(|place| Some(length(place)) == longest);
            // ComfyUI counts less of a card than nvidia-smi does: the closest. An unknown distance is
            // the least: then size does not decide.
            let off = |place: &usize| Some(self.cards[*place].listed.total?.abs_diff((*total)?));
            if let Some(least) = places.iter().map(off).min().flatten() {
                places.retain(|place| off(place) <= Some(least + NEAR_MB));
            }
        }
        places
    }

    /// Remembers which candidate agrees with `ComfyUI`'s driver figure of that moment, in MB.
    /// While none does, or several do, the one that agreed before stays unless it is contradicted:
    /// the two figures may be moments apart.
    pub(super) fn observe(&mut self, wanted: &Wanted, at: Instant, driver: u64, within: Duration) {
        // An incomplete list may show one card of two equal ones.
        if !self.complete {
            return;
        }
        let agrees = |place: &usize| {
            let reading = self.cards[*place].reading(at, within);
            reading.is_some_and(|reading| reading.used.abs_diff(driver) <= NEAR_MB)
        };
        let agreeing: Vec<usize> = self.candidates(wanted).into_iter().filter(agrees).collect();
        match agreeing.as_slice() {
            [] => {}
            [only] => self.agreed = Some(*only),
            several => self.agreed = self.agreed.filter(|before| several.contains(before)),
        }
    }

    /// The wanted card's reading of that moment, at most `within` away from it.
    pub(super) fn reading(
        &self,
        wanted: &Wanted,
        at: Instant,
        within: Duration,
    ) -> Result<Reading, NoReading> {
        let long_ago = at.saturating_duration_since(self.latest) > PATIENCE;
        let words = || self.own_words().filter(|_| long_ago);
        let silence = if long_ago { NoReading::Silent } else { NoReading::NotYet };
        let nothing = || self.trouble.clone().or_else(words).map_or(silence, NoReading::Failed);
        let is_named = matches!(wanted, Wanted::Named(_));
        let place = match self.candidates(wanted).as_slice() {
            // An incomplete list may show one card of eight equal ones.
            found if !self.complete && (found.is_empty() || !is_named) => return Err(nothing()),
            [] => return Err(NoReading::NoCard(wanted.clone())),
            [only] => *only,
            several => self
                .agreed
                .filter(|place| several.contains(place))
                .ok_or(NoReading::Several(several.len()))?,
        };
        self.cards.get(place).and_then(|card| card.reading(at, within)).ok_or_else(nothing)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn parsed(name: &str, figures: [Option<u64>; 3]) -> CardLine {
        let [total, used, free] = figures;
        CardLine { index: 0, uuid: Some("GPU-5a".into()), name: name.into(), total, used, free }
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let known = [Some(24564), Some(2240), Some(22324)];
        let cases = [
            (
                "0, GPU-5a, NVIDIA GeForce RTX 4090, 24564, 2240, 22324",
                parsed("NVIDIA GeForce RTX 4090", known),
            ),
            ("0,GPU-5a,NVIDIA X,24564,2240,22324\r\n", parsed("NVIDIA X", known)),
            ("0, GPU-5a, Quadro A, B, C, 24564, 2240, 22324\n", parsed("Quadro A, B, C", known)),
            ("0, GPU-5a, NVIDIA GB10, [N/A], [N/A], [N/A]", parsed("NVIDIA GB10", [None; 3])),
            ("0, GPU-5a, X, 4096, [Not Supported], N/A", parsed("X", [Some(4096), None, None])),
            ("0, GPU-5a, X, [Unknown Error], 0, 7", parsed("X", [None, Some(0), Some(7)])),
            (
                "0, GPU-5a, X, [Insufficient Permissions], [GPU is lost], [GPU requires reset]",
                parsed("X", [None; 3]),
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(CardLine::parse(text), Some(wanted), "{text}");
        }
        let nameless = CardLine::parse("7, [N/A], X, 10, 1, 9").unwrap();
        assert_eq!((nameless.index, nameless.uuid), (7, None));
    }

    #[test]
    fn torn_and_strange_lines_are_passed_over() {
        for text in [
            "",
            "\r\n",
            "0, GPU-5a, NVIDIA X",
            "0, GPU-5a, NVIDIA X, 24564, 2240",
            "0, GPU-5a, NVIDIA X, 24564, 2240, ",
            "0, GPU-5a, A, B, 24564, 2240",
            "GPU-5a, NVIDIA X, 24564, 2240, 22324",
            "4564, 2240, 22324",
            "0, GPU-5a, NVIDIA X, 24564, 2240, 223240, GPU-5b, NVIDIA X, 24564, 9",
            "0, GPU-5a, NVIDIA X, 24564, 30000, 0",
            "0, GPU-5a, NVIDIA X, 16777217, 0, 0",
            "0, GPU-5a, NVIDIA X, 24564, -1, 0",
            "0, GPU-5a, , 24564, 2240, 22324",
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
            "No devices were found",
        ] {
            assert_eq!(CardLine::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_it_says_breaks_the_reader(text in "[0-9GPU\\[\\]A-z, \\r-]{0,60}|\\PC{0,40}") {
            let _ = CardLine::parse(&text);
        }
    }

    fn line(index: u32, name: &str, used: u64) -> CardLine {
        let uuid = Some(format!("GPU-{index}"));
        let (total, free) = (Some(24_564), Some(24_564 - used));
        CardLine { index, uuid, name: name.into(), total, used: Some(used), free }
    }

    #[test]
    fn the_reading_of_a_moment_is_the_nearest_and_none_that_is_stale() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut list = CardList::new(Instant::now());
        for (n, used) in (0..4).zip([100, 200, 300, 400]) {
            list.add(start + second * n, &line(0, "X", used));
        }
        let used = |at| list.cards[0].reading(at, second * 3).map(|reading| reading.used);
        assert_eq!(used(start + second), Some(200));
        assert_eq!(used(start + second.mul_f64(1.4)), Some(200));
        assert_eq!(used(start + second.mul_f64(1.6)), Some(300));
        assert_eq!(used(start + second * 6), Some(400));
        assert_eq!(used(start + second.mul_f64(6.1)), None);
        let reading = list.cards[0].reading(start, second).unwrap();
        assert_eq!((reading.driver, reading.ram), (Some(100), None));
        assert_eq!((reading.free, reading.total), (Some(24_464), Some(24_564)));
    }

    #[test]
    fn only_the_last_seconds_are_kept() {
        let start = Instant::now();
        let mut list = CardList::new(Instant::now());
        for n in 0..10_000 {
            list.add(start + Duration::from_millis(n), &line(0, "X", n));
        }
        assert_eq!(list.cards[0].readings.len(), MAX_READINGS);
        list.add(start + KEPT * 3, &line(0, "X", 1));
        assert_eq!(list.cards[0].readings.len(), 1);
    }

    #[test]
    fn what_lists_cards_without_end_is_not_kept() {
        let now = Instant::now();
        let mut list = CardList::new(Instant::now());
        for n in 0..10_000 {
            list.add(now, &line(n, "X", 1));
            assert!(!list.complete);
        }
        assert_eq!(list.cards.len(), MAX_CARDS);
        list.add(now, &line(0, "X", 1));
        assert!(list.complete);
    }

    #[test]
    fn a_figure_it_does_not_know_is_no_reading_and_cards_are_told_apart() {
        let now = Instant::now();
        let mut list = CardList::new(Instant::now());
        list.add(now, &CardLine { used: None, ..line(0, "X", 5) });
        list.add(now, &line(1, "X", 6));
        assert_eq!(list.cards.len(), 2);
        assert_eq!(list.cards[0].reading(now, KEPT), None);
        assert_eq!(list.cards[1].reading(now, KEPT).map(|reading| reading.used), Some(6));
    }

    const COMFYUI: &str = "cuda:0 NVIDIA GeForce RTX 4070 Ti : cudaMallocAsync";

    /// A complete list of these lines.
    fn listed(now: Instant, lines: &[CardLine]) -> CardList {
        let mut list = CardList::new(now);
        for line in [lines, &lines[..1]].concat() {
            list.add(now, &line);
        }
        list
    }

    fn agreed(
        list: &mut CardList,
        at: Instant,
        driver: u64,
        before: Option<usize>,
    ) -> Option<usize> {
        list.agreed = before;
        list.observe(&Wanted::Only, at, driver, SECOND);
        list.agreed
    }

    fn device(name: &str, total: u64) -> Wanted {
        Wanted::Device { name: name.into(), total: Some(total) }
    }

    #[test]
    fn a_card_is_known_by_its_name_whatever_its_size() {
        let names = ["NVIDIA GeForce RTX 4070", "NVIDIA GeForce RTX 4070 Ti", "Tesla T4"];
        let lines: Vec<CardLine> = (0..).zip(names).map(|(n, name)| line(n, name, 0)).collect();
        let list = listed(Instant::now(), &lines);
        let of = |wanted: &Wanted| list.candidates(wanted);
        assert_eq!(of(&device(COMFYUI, 24_564)), [1]);
        assert_eq!(of(&device("cuda:0 NVIDIA GeForce RTX 4070 : native", 24_100)), [0]);
        assert_eq!(of(&device(COMFYUI, 12_000)), [1]);
        assert_eq!(of(&device("cuda:0 AMD Radeon RX 7900", 24_564)), [0_usize; 0]);
        assert_eq!(of(&Wanted::Device { name: COMFYUI.into(), total: None }), [1]);
        assert_eq!(of(&Wanted::Only), [0, 1, 2]);
        assert_eq!(of(&Wanted::Named(CardId::Index(2))), [2]);
        assert_eq!(of(&Wanted::Named(CardId::Uuid("gpu-1".into()))), [1]);
        assert_eq!(of(&Wanted::Named(CardId::Uuid("GPU-9".into()))), [0_usize; 0]);
    }

    #[test]
    fn of_cards_of_one_name_it_is_the_one_of_the_closest_size() {
        let of = |ours: Option<u64>, totals: &[Option<u64>]| {
            let sized =
                |(n, total): (u32, &Option<u64>)| CardLine { total: *total, ..line(n, "X", 0) };
            let list = listed(Instant::now(), &(0..).zip(totals).map(sized).collect::<Vec<_>>());
            list.candidates(&Wanted::Device { name: "cuda:0 X : native".into(), total: ours })
        };
        let [small, large, larger] = [8188, 16_376, 16_380].map(Some);
        // Of a small card more than 3 % is missing.
        assert_eq!(of(Some(7800), &[large, small]), [1]);
        assert_eq!(of(Some(15_900), &[small, large]), [1]);
        assert_eq!(of(Some(15_900), &[small, larger, large]), [1, 2]);
        assert_eq!(of(None, &[small, large]), [0, 1]);
        assert_eq!(of(Some(15_900), &[small, None, large]), [0, 1, 2]);
    }

    #[test]
    fn what_agreed_counts_among_the_candidates_alone() {
        let now = Instant::now();
        let sized = |n, total| CardLine { total, ..line(n, "X", u64::from(n)) };
        let mut list =
            listed(now, &[sized(0, Some(24_564)), sized(1, Some(24_564)), sized(2, None)]);
        list.agreed = Some(2);
        assert_eq!(used(&list, &native("X"), now), Ok(2));
        list.add(now, &sized(2, Some(8188)));
        assert_eq!(used(&list, &native("X"), now), Err(NoReading::Several(2)));
    }

    #[test]
    fn of_equal_cards_it_is_the_one_with_the_driver_s_figure() {
        let now = Instant::now();
        let lines: Vec<CardLine> = (0..8).map(|n| line(n, "X", 1000 * u64::from(n))).collect();
        let mut list = listed(now, &lines);
        let mut of = |driver, before| agreed(&mut list, now, driver, before);
        assert_eq!(of(3064, None), Some(3));
        assert_eq!(of(2936, None), Some(3));
        assert_eq!(of(3065, None), None);
        // None agrees: what was known stays. Another one does: it was a mistake.
        assert_eq!(of(3500, Some(3)), Some(3));
        assert_eq!(of(5000, Some(3)), Some(5));
        // A reading of another time agrees with nothing.
        assert_eq!(agreed(&mut list, now + SECOND * 2, 3000, None), None);
    }

    #[test]
    fn equal_cards_in_equal_use_are_not_guessed_at() {
        let now = Instant::now();
        let mut list = listed(now, &[line(0, "X", 500), line(1, "X", 530), line(2, "X", 9000)]);
        let mut of = |driver, before| agreed(&mut list, now, driver, before);
        assert_eq!(of(510, None), None);
        assert_eq!(of(510, Some(1)), Some(1));
        assert_eq!(of(510, Some(2)), None);
    }

    fn used(list: &CardList, wanted: &Wanted, at: Instant) -> Result<u64, NoReading> {
        list.reading(wanted, at, SECOND * 3).map(|reading| reading.used)
    }

    fn native(name: &str) -> Wanted {
        device(&format!("cuda:0 {name} : native"), 24_100)
    }

    #[test]
    fn a_list_counts_once_it_is_complete() {
        let now = Instant::now();
        let mut list = CardList::new(now);
        assert_eq!(used(&list, &native("X"), now), Err(NoReading::NotYet));
        list.add(now, &line(0, "X", 5));
        assert_eq!(used(&list, &native("X"), now), Err(NoReading::NotYet));
        assert_eq!(used(&list, &Wanted::Named(CardId::Index(0)), now), Ok(5));
        let other = Wanted::Named(CardId::Index(1));
        assert_eq!(used(&list, &other, now), Err(NoReading::NotYet));
        list.add(now, &line(1, "X", 6));
        // Of an incomplete list nothing is concluded.
        list.observe(&native("X"), now, 6, SECOND);
        let next = now + SECOND;
        list.add(next, &line(0, "X", 7));
        assert_eq!(used(&list, &native("X"), next), Err(NoReading::Several(2)));
        list.agreed = Some(1);
        assert_eq!(used(&list, &native("X"), next), Ok(6));
        assert_eq!(used(&list, &other, next), Ok(6));
        assert_eq!(used(&list, &native("Y"), next), Err(NoReading::NoCard(native("Y"))));
    }

    #[test]
    fn a_hanging_program_gives_nothing_and_is_called_silent_in_the_end() {
        let now = Instant::now();
        let mut list = CardList::new(now);
        assert_eq!(used(&list, &native("X"), now + PATIENCE), Err(NoReading::NotYet));
        assert_eq!(used(&list, &native("X"), now + PATIENCE + SECOND), Err(NoReading::Silent));
        list.wake(now + PATIENCE, 1);
        list.wake(now + PATIENCE + SECOND, 1);
        assert_eq!(used(&list, &native("X"), now + PATIENCE * 2), Err(NoReading::NotYet));
        assert_eq!(used(&list, &native("X"), now + PATIENCE * 2 + SECOND), Err(NoReading::Silent));
        for _ in 0..2 {
            list.add(now + SECOND, &line(0, "X", 5));
        }
        assert_eq!(used(&list, &native("X"), now + SECOND * 4), Ok(5));
        assert_eq!(used(&list, &native("X"), now + SECOND * 5), Err(NoReading::NotYet));
        assert_eq!(used(&list, &native("X"), now + PATIENCE + SECOND * 2), Err(NoReading::Silent));
        // A reading from before that moment is still that of its own.
        assert_eq!(used(&list, &native("X"), now), Ok(5));
    }

    const CARD: &str = "0, GPU-5a, X, 24564, 5, 24559";

    /// Why there is no reading after these lines.
    fn why(lines: &[&str], code: i32) -> String {
        let now = Instant::now();
        let mut list = CardList::new(now);
        for line in lines {
            list.take_line(now, line);
        }
        list.ended(code);
        used(&list, &Wanted::Only, now).unwrap_err().to_string()
    }

    #[test]
    fn a_program_that_ends_without_a_reading_has_said_why() {
        let no_driver = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA \
                         driver. Make sure that the latest NVIDIA driver is installed and running.";
        let cases = [
            (&["No devices were found\r\n"][..], "nvidia-smi: No devices were found"),
            (&["No devices were found"], "nvidia-smi: No devices were found"),
            (
                &[
                    "Failed to initialize NVML: Driver/library version mismatch\n",
                    "\n",
                    "NVML: 5\n",
                ],
                "nvidia-smi: Failed to initialize NVML: Driver/library version mismatch NVML: 5",
            ),
            (&["\x1b[31mred\n"], "nvidia-smi: [31mred"),
            (&["twice\n", "twice\n"], "nvidia-smi: twice"),
            (&[], "nvidia-smi ended with exit code 9"),
            (&["\n"], "nvidia-smi ended with exit code 9"),
        ];
        for (lines, wanted) in cases {
            assert_eq!(why(lines, 9), wanted, "{lines:?}");
        }
        let told = format!("nvidia-smi: {}", no_driver.trim_end_matches('.'));
        assert_eq!(why(&[&format!("{no_driver}\n"), "\n"], 9), told);
        let long = why(&[&"é".repeat(4000), &"x".repeat(4000)], 9);
        assert_eq!(long, format!("nvidia-smi: {}…", "é".repeat(MOST_WORDS)));
    }

    #[test]
    fn a_reading_outlives_the_program_and_clears_what_was_said() {
        let now = Instant::now();
        let mut list = CardList::new(now);
        list.ended(9);
        let lines = [CARD, "WARNING: infoROM is corrupted", CARD].map(|line| format!("{line}\n"));
        for line in &lines {
            list.take_line(now, line);
        }
        let later = now + SECOND * 5;
        assert_eq!(used(&list, &Wanted::Only, later), Err(NoReading::NotYet));
        list.ended(7);
        assert_eq!(used(&list, &Wanted::Only, now), Ok(5));
        let ended = NoReading::Failed("nvidia-smi ended with exit code 7".into());
        assert_eq!(used(&list, &Wanted::Only, later), Err(ended));
        // Cut off it is no reading.
        list.take_line(later, CARD);
        assert!(used(&list, &Wanted::Only, later).is_err());
        list.take_line(later, &lines[0]);
        assert_eq!(used(&list, &Wanted::Only, later), Ok(5));
    }

    #[test]
    fn what_a_running_program_says_is_the_reason_once_it_is_silent_for_long() {
        let now = Instant::now();
        let mut list = CardList::new(now);
        list.take_line(now, "Unable to determine the device handle for GPU0\n");
        assert_eq!(used(&list, &Wanted::Only, now + PATIENCE), Err(NoReading::NotYet));
        let why = "nvidia-smi: Unable to determine the device handle for GPU0";
        let failed = NoReading::Failed(why.into());
        assert_eq!(used(&list, &Wanted::Only, now + PATIENCE + SECOND), Err(failed));
    }

    #[test]
    fn a_program_that_did_not_start_says_why() {
        let now = Instant::now();
        let mut list = CardList::new(now);
        list.trouble = Some("nvidia-smi is not on the PATH".into());
        let why = used(&list, &Wanted::Only, now).unwrap_err();
        assert_eq!(why.to_string(), "nvidia-smi is not on the PATH");
        let named = NoReading::NoCard(Wanted::Named(CardId::Uuid("GPU-5".into())));
        assert_eq!(named.to_string(), "nvidia-smi lists no card GPU-5");
    }
}
