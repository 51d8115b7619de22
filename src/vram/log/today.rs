//! The lines of a log as they are written today, read without a look back: a log of a gigabyte
//! is thirteen million of them. Whatever differs in a single byte is left to [`parse`], which
//! gives the same for these, only slower.

use time::Time;

use super::line::{Line, NVIDIA_SMI};
use super::parse;
use crate::vram::reading::{MissReason, Reading, Source};

/// The line that `text` begins with, and the text behind its line break. `latest` is the scene of
/// the line before: nearly always this one's too.
pub(super) fn line<'a>(text: &'a [u8], latest: &'a str) -> Option<(Line<&'a str>, &'a [u8])> {
    let mut rest = Rest(text);
    let at = rest.time()?;
    let used = rest.number(USED, MB);
    let reading = match used {
        Some(used) => Ok(Reading {
            used,
            free: rest.number(FREE, MB),
            total: rest.number(TOTAL, MB),
            driver: rest.number(DRIVER, MB),
            ram: rest.number(RAM, MB),
        }),
        None => Err(rest.missed()?),
    };
    let scene = rest.scene(latest);
    let source = rest.source();
    let took_ms = rest.number(TOOK, MS);
    let [b'\n', after @ ..] = rest.0 else { return None };
    let entry = reading.map(|reading| (reading, source));
    Some((Line { at, entry, took_ms, scene, interval_ms: None }, after))
}

const USED: Word = Word::new(b",Used=");
const FREE: Word = Word::new(b",Free=");
const TOTAL: Word = Word::new(b",Total=");
const DRIVER: Word = Word::new(b",Driver=");
const RAM: Word = Word::new(b",Ram=");
const MISSED: Word = Word::new(b",Missed=");
const SCENE: Word = Word::new(b",Scene=");
const SOURCE: Word = Word::new(b",Source=");
const TOOK: Word = Word::new(b",Took=");
const MB: Word = Word::new(b"MB");
const MS: Word = Word::new(b"ms");

/// One to eight bytes, compared at once: byte by byte, or by a call, would be most of the work of
/// a line.
#[derive(Clone, Copy)]
struct Word {
    bits: u64,
    mask: u64,
    length: usize,
}

impl Word {
    const fn new(text: &[u8]) -> Self {
        let (mut bytes, mut mask) = ([0; 8], [0; 8]);
        let mut at = 0;
        while at < text.len() {
            (bytes[at], mask[at]) = (text[at], 0xff);
            at += 1;
        }
        Word { bits: u64::from_le_bytes(bytes), mask: u64::from_le_bytes(mask), length: text.len() }
    }

    /// What is behind it in a text that begins with it, and has eight bytes or more.
    #[inline]
    fn behind(self, text: &[u8]) -> Option<&[u8]> {
        let start = u64::from_le_bytes(*text.first_chunk()?);
        if (start ^ self.bits) & self.mask == 0 { text.get(self.length..) } else { None }
    }
}

/// What is still to be read. A field that is not there, or not in its plain form, is left where
/// it is: then the line does not end where it should.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// `12:01:05` or `12:01:05.250`.
    fn time(&mut self) -> Option<Time> {
        let (clock, rest) = self.0.split_first_chunk::<8>()?;
        let (nanos, rest) = match *rest {
            [b'.', a, b, c, ref rest @ ..] => {
                let [a, b, c] = [a, b, c].map(|byte| parse::digit(byte).map(u32::from));
                ((a? * 100 + b? * 10 + c?) * 1_000_000, rest)
            }
            _ => (0, rest),
        };
        self.0 = rest;
        parse::time(clock, nanos)
    }

    /// A name, one to seven digits and a unit.
    fn number(&mut self, name: Word, unit: Word) -> Option<u64> {
        let digits = name.behind(self.0)?;
        let (value, length) = leading_number(*digits.first_chunk()?)?;
        self.0 = unit.behind(digits.get(length..)?)?;
        Some(value)
    }

    fn missed(&mut self) -> Option<MissReason> {
        let reason = MISSED.behind(self.0)?;
        let behind = |miss: MissReason| Some((miss, reason.strip_prefix(miss.name().as_bytes())?));
        let (miss, rest) = MissReason::ALL.into_iter().find_map(behind)?;
        self.0 = rest;
        Some(miss)
    }

    fn scene(&mut self, latest: &'a str) -> Option<&'a str> {
        let text = SCENE.behind(self.0)?;
        if let Some(rest @ [b',' | b'\n', ..]) = text.strip_prefix(latest.as_bytes())
            && !latest.is_empty()
        {
            self.0 = rest;
            return Some(latest);
        }
        let end = text.iter().position(|byte| b",\n".contains(byte))?;
        let (id, rest) = text.split_at_checked(end)?;
        let id = parse::scene(id)?;
        self.0 = rest;
        Some(id)
    }

    fn source(&mut self) -> Source {
        let rest = SOURCE.behind(self.0);
        match rest.and_then(|rest| rest.strip_prefix(NVIDIA_SMI.as_bytes())) {
            Some(rest) => {
                self.0 = rest;
                Source::NvidiaSmi
            }
            None => Source::ComfyUi,
        }
    }
}

/// The number of one to seven digits that the text begins with, and how many they are: all eight
/// bytes at once too.
fn leading_number(text: [u8; 8]) -> Option<(u64, usize)> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    // A digit becomes its value; anything else gets its top bit, here or by the addition, which
    // carries into later bytes only.
    let values = u64::from_le_bytes(text) ^ (ONES * 0x30);
    let others = (values | values.wrapping_add(ONES * 0x76)) & (ONES * 0x80);
    let bits = others.trailing_zeros() & !7;
    if bits == 0 || bits == 64 {
        return None;
    }
    // The first digit is the lowest byte; what comes before it now is zeros.
    let digits = values << (64 - bits);
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    let value = (fours * 10_000 + (fours >> 32)) & 0xffff_ffff;
    Some((value, usize::try_from(bits / 8).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::line::tests::any_line;
    use super::*;

    /// What [`line`] takes, [`parse`] takes too and gives the same.
    fn agrees(text: &[u8], latest: &str) -> Result<bool, TestCaseError> {
        let Some((read, after)) = line(text, latest) else { return Ok(false) };
        let taken = &text[..text.len() - after.len()];
        prop_assert_eq!(taken.iter().position(|byte| *byte == b'\n'), Some(taken.len() - 1));
        prop_assert_eq!(Some(read), parse::line(taken.trim_ascii()));
        Ok(true)
    }

    proptest! {
        #[test]
        fn a_line_of_today_is_taken_and_reads_as_ever(
            (millis, mut written) in any::<bool>().prop_flat_map(|m| (Just(m), any_line(m))),
            latest in prop::sample::select(vec!["", "a", "scene-001"]),
            same in any::<bool>(),
        ) {
            written.interval_ms = None;
            if same {
                written.scene = Some(latest.to_owned()).filter(|scene| !scene.is_empty());
            }
            let longest = match written.entry {
                Ok((reading, _)) => [Some(reading.used), reading.free, reading.total,
                    reading.driver, reading.ram, written.took_ms].into_iter().flatten().max(),
                Err(_) => written.took_ms,
            };
            let text = written.format(millis) + "\n12:00:00";
            let taken = agrees(text.as_bytes(), latest)?;
            prop_assert_eq!(taken, longest.is_none_or(|figure| figure < 10_000_000), "{}", text);
        }

        #[test]
        fn bytes_gone_wrong_read_as_ever(
            written in any_line(true),
            changes in prop::collection::vec(
                (any::<prop::sample::Index>(), 0..3_u8, any::<u8>(), any::<prop::sample::Index>()),
                1..4,
            ),
            latest in prop::sample::select(vec!["", "a", "scene-001"]),
        ) {
            const LIKELY: &[u8] = b",=.:-\r\n 059MBms\xff";
            let mut text = (written.format(true) + "\n").into_bytes();
            for (at, how, byte, likely) in changes {
                let byte = if byte % 4 == 0 { byte } else { LIKELY[likely.index(LIKELY.len())] };
                let at = at.index(text.len());
                match how {
                    0 => text[at] = byte,
                    1 => text.insert(at, byte),
                    _ if text.len() > 1 => drop(text.remove(at)),
                    _ => {}
                }
            }
            agrees(&text, latest)?;
        }

        #[test]
        fn numbers_are_those_of_a_loop(text in prop_oneof![any::<[u8; 8]>(), digits()]) {
            let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let value = str::from_utf8(&text[..length]).unwrap().parse().ok();
            let wanted = value.filter(|_| length < 8).map(|value| (value, length));
            prop_assert_eq!(leading_number(text), wanted);
        }
    }

    /// Digits, and something else behind them.
    fn digits() -> impl Strategy<Value = [u8; 8]> {
        ("[0-9]{8}", 0..=8_usize, any::<[u8; 8]>()).prop_map(|(digits, length, mut text)| {
            text[..length].copy_from_slice(&digits.as_bytes()[..length]);
            text
        })
    }
}
