//! One line of the log: how it is written and read.

use std::fmt;
use std::time::Duration;

use time::Time;

use crate::vram::reading::{DynamicVram, HIGHEST_MB, MissReason, Reading, ReadingResult, Source};

/// The word for [`Source::NvidiaSmi`]; a line without a source is `ComfyUI`'s.
const NVIDIA_SMI: &str = "nvidia-smi";
/// The highest number in a line: 16 TiB as MB, 4.6 hours as milliseconds.
const HIGHEST: u64 = HIGHEST_MB;

/// One line of the log. Its names are owned, or borrowed while a log is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Line<Name = String> {
    /// The time of day when the request was sent.
    pub at: Time,
    /// The reading and who gave it, or why there is none.
    pub result: ReadingResult,
    /// The scene whose prompt was running: letters, digits and `._-`, never empty.
    pub scene: Option<Name>,
    /// The node that was running, where the server told it.
    pub node: Option<Name>,
    /// The reading is none of a tick but one between two ticks.
    pub between: bool,
    /// Before it, readings were further apart than twice their pace: the longest, in milliseconds.
    pub gap_ms: Option<u64>,
    /// The interval of the ticks in milliseconds; stands on a run's first line.
    pub interval_ms: Option<u64>,
    /// The pace of the readings in milliseconds; beside the interval, but for older logs.
    pub pace_ms: Option<u64>,
    /// Beside the interval, where the server told its device.
    pub dynamic_vram: Option<DynamicVram>,
    /// How long the answer took, in milliseconds, where it was slow. In older logs only.
    pub took_ms: Option<u64>,
}

impl<Name> Line<Name> {
    /// A line with a time and a result alone.
    pub fn new(at: Time, result: ReadingResult) -> Self {
        Line {
            at,
            result,
            scene: None,
            node: None,
            between: false,
            gap_ms: None,
            interval_ms: None,
            pace_ms: None,
            dynamic_vram: None,
            took_ms: None,
        }
    }
}

/// Whether the times of a log carry milliseconds.
pub fn has_millis(interval: Duration) -> bool {
    interval < Duration::from_secs(1)
}

impl Line {
    /// The same line with borrowed names.
    pub fn borrowed(&self) -> Line<&str> {
        let &Line {
            at, result, between, gap_ms, interval_ms, pace_ms, dynamic_vram, took_ms, ..
        } = self;
        let [scene, node] = [self.scene.as_deref(), self.node.as_deref()];
        let line = Line { scene, node, between, gap_ms, interval_ms, ..Line::new(at, result) };
        Line { pace_ms, dynamic_vram, took_ms, ..line }
    }
}

impl<Name: fmt::Display> Line<Name> {
    /// The text without its line break. With `millis`, and between ticks, the time carries
    /// milliseconds.
    pub fn format(&self, millis: bool) -> String {
        let (reading, source) = self.result.ok().unzip();
        let mb = |figure: fn(Reading) -> Option<u64>| Some(format!("{}MB", figure(reading?)?));
        let name = |name: &Option<Name>| name.as_ref().map(Name::to_string);
        let seconds = |ms| {
            let seconds = format!("{}.{:03}", ms / 1000, ms % 1000);
            format!("{}s", seconds.trim_end_matches('0').trim_end_matches('.'))
        };
        let fields = [
            ("Used", mb(|reading| Some(reading.used))),
            ("Free", mb(|reading| reading.free)),
            ("Total", mb(|reading| reading.total)),
            ("Driver", mb(|reading| reading.driver)),
            ("Torch", mb(|reading| reading.torch)),
            ("Spilled", mb(|reading| reading.spilled)),
            ("Ram", mb(|reading| reading.ram)),
            ("Missed", self.result.err().map(|miss| miss.name().to_owned())),
            ("Interval", self.interval_ms.map(seconds)),
            ("Reading", self.pace_ms.map(seconds)),
            ("DynamicVram", self.dynamic_vram.map(|dynamic| dynamic.name().to_owned())),
            ("Scene", name(&self.scene)),
            ("Node", name(&self.node)),
            ("Source", (source == Some(Source::NvidiaSmi)).then(|| NVIDIA_SMI.to_owned())),
            ("Gap", self.gap_ms.map(seconds)),
            ("Between", self.between.then(|| "1".to_owned())),
            ("Took", self.took_ms.map(|ms| format!("{ms}ms"))),
        ];
        let field = |(name, value)| Some(format!(",{name}={}", value?));
        let millis = millis || self.between;
        clock(self.at, millis) + &fields.into_iter().filter_map(field).collect::<String>()
    }
}

/// `12:01:05`, or `12:01:05.250` for a time with milliseconds.
pub fn time_text(at: Time) -> String {
    clock(at, at.millisecond() > 0)
}

fn clock(at: Time, millis: bool) -> String {
    let (h, m, s, ms) = at.as_hms_milli();
    let fraction = if millis { format!(".{ms:03}") } else { String::new() };
    format!("{h:02}:{m:02}:{s:02}{fraction}")
}

impl<'a> Line<&'a str> {
    /// Reads a line without its line break: the present form and every older one. Unknown fields
    /// are ignored.
    ///
    /// None for anything else: a value that is cut or malformed, a field given twice, a figure
    /// above 2^24, neither a reading nor a known reason for having none. It works on bytes, since
    /// a log may hold any.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::default();
        let mut rest = Some(text);
        while let Some(text) = rest {
            let end = text.iter().position(|&byte| byte == b',').unwrap_or(text.len());
            rest = text.get(end + 1..);
            let field = match &text[..end] {
                spaced @ ([..=b' ', ..] | [.., ..=b' ']) => spaced.trim_ascii(),
                field => field,
            };
            match fields.at {
                None => fields.at = Some(time(field)?),
                Some(_) => fields.take(field)?,
            }
        }
        let result = match fields.missed {
            // Used cannot be told from what is free alone, and no total is invented.
            None if fields.used.is_none() && fields.total.is_none() && fields.free.is_some() => {
                Err(MissReason::NoDevice)
            }
            Some(_) if fields.used.is_some() => return None,
            Some(miss) => Err(miss),
            None => Ok((fields.reading()?, fields.source.unwrap_or_default())),
        };
        Some(Line {
            scene: fields.scene,
            node: fields.node,
            between: fields.between.is_some(),
            gap_ms: fields.gap_ms,
            interval_ms: fields.interval_ms,
            pace_ms: fields.pace_ms,
            dynamic_vram: fields.dynamic_vram,
            took_ms: fields.took_ms,
            ..Line::new(fields.at?, result)
        })
    }

    /// The same line with names of its own.
    #[cfg(any(test, fuzzing))]
    pub fn into_owned(self) -> Line {
        let Line {
            at, result, between, gap_ms, interval_ms, pace_ms, dynamic_vram, took_ms, ..
        } = self;
        let [scene, node] = [self.scene, self.node].map(|name| name.map(str::to_owned));
        let line = Line { scene, node, between, gap_ms, interval_ms, ..Line::new(at, result) };
        Line { pace_ms, dynamic_vram, took_ms, ..line }
    }
}

#[derive(Default)]
struct Fields<'a> {
    at: Option<Time>,
    used: Option<u64>,
    free: Option<u64>,
    total: Option<u64>,
    driver: Option<u64>,
    torch: Option<u64>,
    spilled: Option<u64>,
    ram: Option<u64>,
    missed: Option<MissReason>,
    interval_ms: Option<u64>,
    pace_ms: Option<u64>,
    dynamic_vram: Option<DynamicVram>,
    scene: Option<&'a str>,
    node: Option<&'a str>,
    source: Option<Source>,
    gap_ms: Option<u64>,
    between: Option<()>,
    took_ms: Option<u64>,
}

impl<'a> Fields<'a> {
    fn take(&mut self, field: &'a [u8]) -> Option<()> {
        // Patterns of bytes, since each comparison with a slice would be a call.
        match field {
            [b'U', b's', b'e', b'd', b'=', value @ ..] => set(&mut self.used, mb(value)),
            [b'F', b'r', b'e', b'e', b'=', value @ ..] => set(&mut self.free, mb(value)),
            [b'T', b'o', b't', b'a', b'l', b'=', value @ ..] => set(&mut self.total, mb(value)),
            [b'D', b'r', b'i', b'v', b'e', b'r', b'=', value @ ..] => {
                set(&mut self.driver, mb(value))
            }
            [b'T', b'o', b'r', b'c', b'h', b'=', value @ ..] => set(&mut self.torch, mb(value)),
            [b'S', b'p', b'i', b'l', b'l', b'e', b'd', b'=', value @ ..] => {
                set(&mut self.spilled, mb(value))
            }
            [b'R', b'a', b'm', b'=', value @ ..] => set(&mut self.ram, mb(value)),
            [b'M', b'i', b's', b's', b'e', b'd', b'=', value @ ..] => {
                set(&mut self.missed, MissReason::from_name(str::from_utf8(value).ok()?))
            }
            [b'I', b'n', b't', b'e', b'r', b'v', b'a', b'l', b'=', value @ ..] => {
                set(&mut self.interval_ms, number(value, b"s", 3))
            }
            [b'R', b'e', b'a', b'd', b'i', b'n', b'g', b'=', value @ ..] => {
                set(&mut self.pace_ms, number(value, b"s", 3))
            }
            [
                b'D',
                b'y',
                b'n',
                b'a',
                b'm',
                b'i',
                b'c',
                b'V',
                b'r',
                b'a',
                b'm',
                b'=',
                value @ ..,
            ] => set(&mut self.dynamic_vram, DynamicVram::from_name(str::from_utf8(value).ok()?)),
            [b'S', b'c', b'e', b'n', b'e', b'=', value @ ..] => set(&mut self.scene, name(value)),
            [b'N', b'o', b'd', b'e', b'=', value @ ..] => set(&mut self.node, name(value)),
            [b'G', b'a', b'p', b'=', value @ ..] => set(&mut self.gap_ms, number(value, b"s", 3)),
            b"Between=1" => set(&mut self.between, Some(())),
            [b'S', b'o', b'u', b'r', b'c', b'e', b'=', value @ ..] => {
                set(&mut self.source, source(value))
            }
            [b'T', b'o', b'o', b'k', b'=', value @ ..] => {
                set(&mut self.took_ms, number(value, b"ms", 0))
            }
            _ => field.contains(&b'=').then_some(()),
        }
    }

    /// Older logs may hold `Free=` and `Total=` alone.
    fn reading(&self) -> Option<Reading> {
        let used = self.used.or_else(|| self.total?.checked_sub(self.free?))?;
        let &Fields { free, total, driver, torch, spilled, ram, .. } = self;
        Some(Reading { used, free, total, driver, torch, spilled, ram })
    }
}

/// None for a malformed value, and for a field given twice: two lines run into one.
fn set<T>(field: &mut Option<T>, value: Option<T>) -> Option<()> {
    field.replace(value?).is_none().then_some(())
}

/// The id of a scene or a node, if it can be one: letters and digits of any script, `.`, `_`, `-`, `:`.
fn name(id: &[u8]) -> Option<&str> {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
    let other = |c: char| !c.is_ascii() && c.is_alphanumeric();
    let id = str::from_utf8(id).ok()?;
    (!id.is_empty() && id.chars().all(|c| safe(c) || other(c))).then_some(id)
}

fn source(word: &[u8]) -> Option<Source> {
    match word {
        b"comfyui" => Some(Source::ComfyUi),
        word if word == NVIDIA_SMI.as_bytes() => Some(Source::NvidiaSmi),
        _ => None,
    }
}

/// `12:01:05`, or the same with a fraction.
fn time(text: &[u8]) -> Option<Time> {
    let &[h, hh, b':', m, mm, b':', s, ss, ref fraction @ ..] = text else { return None };
    let two = |tens, ones| Some(digit(tens)? * 10 + digit(ones)?);
    Time::from_hms_nano(two(h, hh)?, two(m, mm)?, two(s, ss)?, nanos(fraction)?).ok()
}

/// None, or a point and up to nine decimals.
fn nanos(fraction: &[u8]) -> Option<u32> {
    match fraction {
        [] => Some(0),
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) => {
            let mut nanos = 0;
            for place in 0..9 {
                let digit = digits.get(place).map_or(Some(0), |byte| digit(*byte))?;
                nanos = nanos * 10 + u32::from(digit);
            }
            Some(nanos)
        }
        _ => None,
    }
}

/// A figure in MB. Whole ones are read in a loop of their own, since nearly all are.
fn mb(text: &[u8]) -> Option<u64> {
    let [digits @ .., b'M', b'B'] = text else { return None };
    if digits.is_empty() || digits.len() > 8 {
        return number(text, b"MB", 0);
    }
    let mut value = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return number(text, b"MB", 0);
        }
        value = value * 10 + u32::from(digit);
    }
    Some(u64::from(value)).filter(|value| *value <= HIGHEST)
}

/// A decimal number before its unit, times ten to the power of `places`, rounded half to even.
fn number(text: &[u8], unit: &[u8], places: usize) -> Option<u64> {
    let (mut value, mut length) = (0, 0);
    while let Some(digit) = text.get(length).copied().and_then(digit) {
        value = value * 10 + u64::from(digit);
        length += 1;
        if value > HIGHEST {
            return None;
        }
    }
    let mut rest = text.get(length..).filter(|_| length > 0)?;
    let mut decimals = &b""[..];
    if let [b'.', behind @ ..] = rest {
        let length = behind.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (decimals, rest) = behind.split_at_checked(length).filter(|_| length > 0)?;
    }
    if !rest.iter().eq(unit) {
        return None;
    }
    for place in 0..places {
        value = value * 10 + decimals.get(place).map_or(0, |digit| u64::from(digit - b'0'));
    }
    let up = match decimals.get(places..).unwrap_or_default() {
        [b'5', zeros @ ..] if zeros.iter().all(|&byte| byte == b'0') => value % 2 == 1,
        [first, ..] => *first >= b'5',
        [] => false,
    };
    Some(value + u64::from(up)).filter(|value| *value <= HIGHEST)
}

fn digit(byte: u8) -> Option<u8> {
    byte.is_ascii_digit().then(|| byte - b'0')
}

#[cfg(test)]
pub(in crate::vram) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Option<Line> {
        Line::parse(text.as_bytes().trim_ascii()).map(Line::into_owned)
    }

    /// Any line that the log can hold; its time has milliseconds only if `millis`.
    pub(in crate::vram) fn any_line(millis: bool) -> impl Strategy<Value = Line> {
        const SECOND: u64 = 1_000_000_000;
        let mb = 0..=(1_u64 << 24);
        let some_mb = || prop::option::of(mb.clone());
        let reading = (mb.clone(), prop::array::uniform6(some_mb())).prop_map(
            |(used, [free, total, driver, torch, spilled, ram])| Reading {
                used,
                free,
                total,
                driver,
                torch,
                spilled,
                ram,
            },
        );
        let source = prop::sample::select(vec![Source::ComfyUi, Source::NvidiaSmi]);
        let result = prop_oneof![
            4 => (reading, source).prop_map(Ok),
            1 => prop::sample::select(MissReason::ALL.to_vec()).prop_map(Err),
        ];
        let name = |pattern| prop::option::of(pattern);
        let names = (name("[A-Za-z0-9._-]{1,20}"), name("[0-9:.]{1,9}"));
        let dynamic = [DynamicVram::On, DynamicVram::Off, DynamicVram::Unknown].to_vec();
        let dynamic = prop::option::of(prop::sample::select(dynamic));
        let times = prop::array::uniform4(some_mb());
        let at = (0..86_400_u64, 0..1000_u64);
        (at, result, names, any::<bool>(), dynamic, times).prop_map(
            move |((second, ms), result, (scene, node), between, dynamic_vram, times)| {
                let ms = if millis || between { ms } else { 0 };
                let since = std::time::Duration::from_nanos(second * SECOND + ms * SECOND / 1000);
                let [gap_ms, interval_ms, pace_ms, took_ms] = times;
                let line = Line::new(Time::MIDNIGHT + since, result);
                let line = Line { scene, node, between, dynamic_vram, ..line };
                Line { gap_ms, interval_ms, pace_ms, took_ms, ..line }
            },
        )
    }

    proptest! {
        #[test]
        fn every_line_reads_back_as_it_was(
            (millis, line) in any::<bool>().prop_flat_map(|m| (Just(m), any_line(m)))
        ) {
            prop_assert_eq!(parse(&line.format(millis)), Some(line));
        }
    }

    #[test]
    fn fields_stand_in_their_order() {
        let text = "12:01:05.250,Used=2140MB,Free=22436MB,Total=24576MB,Driver=2240MB,Torch=70MB,\
             Spilled=9MB,Ram=31020MB,Interval=5s,Reading=0.25s,DynamicVram=off,Scene=flow,Node=12:3,\
             Source=nvidia-smi,Gap=1.2s,Between=1,Took=1900ms";
        let line = parse(text).unwrap();
        assert_eq!((line.format(false), line.format(true)), (text.to_owned(), text.to_owned()));
        assert_eq!((line.gap_ms, line.pace_ms, line.between), (Some(1200), Some(250), true));
        let missed = Line { scene: Some("flow"), ..Line::new(line.at, Err(MissReason::BadJson)) };
        assert_eq!(missed.format(false), "12:01:05,Missed=badJson,Scene=flow");
        assert_eq!(time_text(line.at), "12:01:05.250");
        assert_eq!(time_text(Time::MIDNIGHT), "00:00:00");
    }

    fn used(text: &str) -> Option<u64> {
        parse(text)?.result.ok().map(|(reading, _)| reading.used)
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
        let line = parse("12:01:00.25,Missed=late,Interval=0.05s").unwrap();
        assert_eq!((line.at.millisecond(), line.interval_ms), (250, Some(50)));
        assert_eq!(line.result, Err(MissReason::Late));
        assert_eq!(parse("12:01:00,Free=22436MB").unwrap().result, Err(MissReason::NoDevice));
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
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
