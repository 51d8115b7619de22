//! How a line of the log is read. It works on bytes, since a log may hold any, and a line that
//! was cut or glued to another is refused rather than half believed.

use time::Time;

use super::line::{Line, NVIDIA_SMI};
use crate::vram::reading::{HIGHEST_MB, MissReason, Reading, Source};

/// The highest number in a line: 16 TiB as MB, 4.6 hours as milliseconds.
const HIGHEST: u64 = HIGHEST_MB;

/// The line in `text`, which has no line break.
pub(super) fn line(text: &[u8]) -> Option<Line<&str>> {
    let mut parts = text.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let (clock, fraction) = parts.next()?.split_at_checked(8)?;
    let at = time(clock, nanos(fraction)?)?;
    let mut fields = Fields::default();
    for part in parts {
        fields.take(part)?;
    }
    let entry = match fields.missed {
        // Used cannot be told from what is free alone, and no total is invented.
        None if fields.used.is_none() && fields.total.is_none() && fields.free.is_some() => {
            Err(MissReason::NoDevice)
        }
        Some(_) if fields.used.is_some() => return None,
        Some(miss) => Err(miss),
        None => Ok((fields.reading()?, fields.source.unwrap_or_default())),
    };
    Some(Line {
        at,
        entry,
        took_ms: fields.took_ms,
        scene: fields.scene,
        interval_ms: fields.interval_ms,
    })
}

#[derive(Default)]
struct Fields<'a> {
    used: Option<u64>,
    free: Option<u64>,
    total: Option<u64>,
    driver: Option<u64>,
    ram: Option<u64>,
    missed: Option<MissReason>,
    interval_ms: Option<u64>,
    scene: Option<&'a str>,
    source: Option<Source>,
    took_ms: Option<u64>,
}

impl<'a> Fields<'a> {
    fn take(&mut self, field: &'a [u8]) -> Option<()> {
        let mut halves = field.splitn(2, |&byte| byte == b'=');
        let (name, value) = (halves.next()?, halves.next()?);
        match name {
            b"Used" => set(&mut self.used, number(value, b"MB", 0)),
            b"Free" => set(&mut self.free, number(value, b"MB", 0)),
            b"Total" => set(&mut self.total, number(value, b"MB", 0)),
            b"Driver" => set(&mut self.driver, number(value, b"MB", 0)),
            b"Ram" => set(&mut self.ram, number(value, b"MB", 0)),
            b"Missed" => set(&mut self.missed, MissReason::from_name(str::from_utf8(value).ok()?)),
            b"Interval" => set(&mut self.interval_ms, number(value, b"s", 3)),
            b"Scene" => set(&mut self.scene, scene(value)),
            b"Source" => set(&mut self.source, source(value)),
            b"Took" => set(&mut self.took_ms, number(value, b"ms", 0)),
            _ => Some(()),
        }
    }

    /// Older logs may hold only what is free, and the total.
    fn reading(&self) -> Option<Reading> {
        let used = self.used.or_else(|| self.total?.checked_sub(self.free?))?;
        let &Fields { free, total, driver, ram, .. } = self;
        Some(Reading { used, free, total, driver, ram })
    }
}

/// None if there is no value, or if the field had one: two lines are glued together.
fn set<T>(field: &mut Option<T>, value: Option<T>) -> Option<()> {
    field.replace(value?).is_none().then_some(())
}

/// The id of a scene, if it can be one.
pub(super) fn scene(id: &[u8]) -> Option<&str> {
    let safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    str::from_utf8(id).ok().filter(|_| !id.is_empty() && id.iter().all(safe))
}

fn source(word: &[u8]) -> Option<Source> {
    match word {
        b"comfyui" => Some(Source::ComfyUi),
        word if word == NVIDIA_SMI.as_bytes() => Some(Source::NvidiaSmi),
        _ => None,
    }
}

/// `12:01:05`, and what its decimals say.
pub(super) fn time(clock: &[u8], nanos: u32) -> Option<Time> {
    let &[h, hh, b':', m, mm, b':', s, ss] = clock else { return None };
    let two = |tens, ones| Some(digit(tens)? * 10 + digit(ones)?);
    Time::from_hms_nano(two(h, hh)?, two(m, mm)?, two(s, ss)?, nanos).ok()
}

/// None, or a point and up to nine decimals.
fn nanos(fraction: &[u8]) -> Option<u32> {
    match fraction {
        [] => Some(0),
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => {
            let places = digits.iter().chain([&b'0'; 9]).take(9);
            places.copied().try_fold(0, |nanos, byte| Some(nanos * 10 + u32::from(digit(byte)?)))
        }
        _ => None,
    }
}

/// A decimal number before its unit, times ten to the power of `places`, rounded half to even.
fn number(text: &[u8], unit: &[u8], places: usize) -> Option<u64> {
    let mut parts = text.strip_suffix(unit)?.splitn(2, |&byte| byte == b'.');
    let whole = parts.next().filter(|digits| !digits.is_empty())?;
    let fraction = match parts.next() {
        Some([]) => return None,
        fraction => fraction.unwrap_or_default(),
    };
    let (kept, rest) = fraction.split_at(places.min(fraction.len()));
    let zeros = std::iter::repeat_n(&b'0', places - kept.len());
    let mut value = 0;
    for &byte in whole.iter().chain(kept).chain(zeros) {
        value = value * 10 + u64::from(digit(byte)?);
        if value > HIGHEST {
            return None;
        }
    }
    let up = match rest {
        [] => false,
        [b'5', zeros @ ..] if zeros.iter().all(|&byte| byte == b'0') => value % 2 == 1,
        [first, ..] => rest.iter().all(u8::is_ascii_digit).then_some(*first >= b'5')?,
    };
    Some(value + u64::from(up)).filter(|value| *value <= HIGHEST)
}

pub(super) fn digit(byte: u8) -> Option<u8> {
    byte.is_ascii_digit().then(|| byte - b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(text: &str) -> Option<u64> {
        Line::parse(text)?.entry.ok().map(|(reading, _)| reading.used)
    }

    #[test]
    fn older_forms_are_read() {
        for (text, wanted) in [
            ("12:01:00,Used=2140MB,Free=22436MB", 2140),
            ("12:01:00,Used=11476.123MB,Free=13099.877MB\r\n", 11476),
            ("12:01:00,Used=0.5MB", 0),
            ("12:01:00,Used=1.5MB", 2),
            ("12:01:00,Used=2.500MB", 2),
            ("12:01:00,Used=2.501MB", 3),
            ("12:01:00,Free=22436MB,Total=24576MB", 2140),
            ("12:01:00, Used=7MB, New=thing, Other=é", 7),
            ("12:01:00.25,Used=7MB", 7),
        ] {
            assert_eq!(used(text), Some(wanted), "{text}");
        }
        let line = Line::parse("12:01:00.25,Missed=late,Interval=0.05s").unwrap();
        assert_eq!((line.at.millisecond(), line.interval_ms), (250, Some(50)));
        assert_eq!(line.entry, Err(MissReason::Late));
        assert_eq!(Line::parse("12:01:00,Free=22436MB").unwrap().entry, Err(MissReason::NoDevice));
    }

    #[test]
    fn what_is_cut_glued_or_strange_is_not_read() {
        for text in [
            "",
            "12:01:00",
            "12:01:00,",
            "12:01:00,Used=2140",
            "12:01:00,Used=2140M",
            "12:01:00,Used=MB",
            "12:01:00,Used=.5MB",
            "12:01:00,Used=5.MB",
            "12:01:00,Used=5.5xMB",
            "12:01:00,Used=-5MB",
            "12:01:00,Used=16777217MB",
            "12:01:00,Used=16777216.6MB",
            "12:01:00,Used=99999999999999999999MB",
            "12:01:00,Free=9MB,Total=8MB",
            "24:00:00,Used=1MB",
            "1:01:00,Used=1MB",
            "12:01:00.,Used=1MB",
            "Used=1MB",
            "12:01:00,Used=1MB,Used=1MB",
            "12:01:00,Used=1MB,12:01:05,Free=2MB",
            "12:01:00,Used=1MB,Missed=late",
            "12:01:00,Missed=holiday",
            "12:01:00,Used=1MB,Source=guess",
            "12:01:00,Used=1MB,Scene=",
            "12:01:00,Used=1MB,Scene=a\x1b[31m",
        ] {
            assert_eq!(Line::parse(text), None, "{text}");
        }
    }
}
