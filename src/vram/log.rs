//! `vram-usage.log`: its writer and its reader.
//!
//! ```text
//! 12:01:00,Used=2140MB,Free=22436MB,Total=24576MB,Driver=2240MB,Ram=31020MB,Interval=5s
//! 12:01:05,Used=18231MB,Free=6345MB,Total=24576MB,Driver=19102MB,Scene=scene-001,Took=1900ms
//! 12:01:10,Missed=timeout,Scene=scene-001
//! ```
//!
//! One line a tick; the first three fields are those of older logs, so that their readers'
//! `Used=(\d+)MB` goes on working.

mod reader;

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use time::Time;

use super::reading::{Miss, Reading, Source, Tick};

pub use reader::Reader;

/// One line of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Local time of day; milliseconds where the interval is below a second.
    pub at: Time,
    /// The reading and who gave it, or why there is none.
    pub entry: Result<(Reading, Source), Miss>,
    /// How long the answer took, where that was more than a twentieth of the interval.
    pub took_ms: Option<u64>,
    /// The scene whose prompt was seen running.
    pub scene: Option<String>,
    /// The interval that was asked for; on the first line of a run.
    pub interval_ms: Option<u64>,
}

impl Line {
    /// The line without its newline; the time with milliseconds if `millis`.
    #[must_use]
    pub fn format(&self, millis: bool) -> String {
        let mut line = if millis { time_text_millis(self.at) } else { time_text(self.at) };
        let mut put = |name: &str, value: &dyn std::fmt::Display, unit: &str| {
            // Writing to a String cannot fail.
            let _ = write!(line, ",{name}={value}{unit}");
        };
        match &self.entry {
            Ok((reading, _)) => {
                put("Used", &reading.used, "MB");
                let known = [
                    ("Free", reading.free),
                    ("Total", reading.total),
                    ("Driver", reading.driver),
                    ("Ram", reading.ram),
                ];
                for (name, value) in known {
                    if let Some(value) = value {
                        put(name, &value, "MB");
                    }
                }
            }
            Err(miss) => put("Missed", &miss.name(), ""),
        }
        if let Some(ms) = self.interval_ms {
            put("Interval", &Decimal(ms), "s");
        }
        if let Some(scene) = &self.scene {
            put("Scene", scene, "");
        }
        if let Ok((_, Source::NvidiaSmi)) = self.entry {
            put("Source", &"nvidia-smi", "");
        }
        if let Some(ms) = self.took_ms {
            put("Took", &ms, "ms");
        }
        line
    }

    /// Reads one line, in today's form or an older one: without Total, with decimals, or with
    /// Total and Free alone. None where there is nothing to be read from it.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (at, fields) = line.split_once(',')?;
        let mut used = None;
        let mut reading = Reading::default();
        let mut source = Source::ComfyUi;
        let mut missed = None;
        let (mut took_ms, mut scene, mut interval_ms) = (None, None, None);
        for field in fields.split(',') {
            let (name, value) = field.trim().split_once('=')?;
            match name {
                "Used" => used = Some(megabytes(value)?),
                "Free" => reading.free = Some(megabytes(value)?),
                "Total" => reading.total = Some(megabytes(value)?),
                "Driver" => reading.driver = Some(megabytes(value)?),
                "Ram" => reading.ram = Some(megabytes(value)?),
                "Missed" => missed = Some(Miss::from_name(value)?),
                "Source" if value == "nvidia-smi" => source = Source::NvidiaSmi,
                "Scene" => scene = Some(value.to_owned()),
                "Took" => took_ms = Some(value.strip_suffix("ms")?.parse().ok()?),
                "Interval" => interval_ms = Some(thousandths(value.strip_suffix('s')?)?),
                _ => {}
            }
        }
        let derived = || Some(reading.total?.saturating_sub(reading.free?));
        let entry = match (missed, used.or_else(derived)) {
            (Some(miss), _) => Err(miss),
            (None, Some(used)) => Ok((Reading { used, ..reading }, source)),
            (None, None) => return None,
        };
        Some(Line { at: time_of(at.trim())?, entry, took_ms, scene, interval_ms })
    }
}

/// Appends to a log, each line with one write, so that no crash tears one.
#[derive(Debug)]
pub struct Writer {
    file: File,
    interval_ms: u64,
    begun: bool,
}

impl Writer {
    /// Opens or creates the log.
    ///
    /// # Errors
    /// What the system said.
    pub fn create(path: &Path, interval: Duration) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        Ok(Writer { file, interval_ms, begun: false })
    }

    /// Appends the tick's line. The first one says the interval; below a second of it, times
    /// carry milliseconds.
    ///
    /// # Errors
    /// What the system said. The next line is tried all the same.
    pub fn append(&mut self, tick: &Tick, scene: Option<&str>) -> io::Result<()> {
        let line = Line {
            at: tick.at.time(),
            entry: tick.result,
            took_ms: tick.took_ms,
            scene: scene.map(str::to_owned),
            interval_ms: (!self.begun).then_some(self.interval_ms),
        };
        let mut text = line.format(self.interval_ms < 1000);
        text.push('\n');
        self.file.write_all(text.as_bytes())?;
        self.begun = true;
        Ok(())
    }
}

/// `12:01:05`.
#[must_use]
pub fn time_text(at: Time) -> String {
    let (h, m, s) = at.as_hms();
    format!("{h:02}:{m:02}:{s:02}")
}

fn time_text_millis(at: Time) -> String {
    format!("{}.{:03}", time_text(at), at.millisecond())
}

fn time_of(text: &str) -> Option<Time> {
    let (hms, millis) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = hms.split(':');
    let mut two = || parts.next().filter(|part| part.len() == 2).and_then(|part| part.parse().ok());
    let (h, m, s) = (two()?, two()?, two()?);
    if parts.next().is_some() || millis.len() > 3 {
        return None;
    }
    let scale = [1, 100, 10, 1][millis.len()];
    Time::from_hms_milli(h, m, s, millis.parse::<u16>().ok()?.checked_mul(scale)?).ok()
}

/// `11476.123MB`, rounded half to even.
fn megabytes(text: &str) -> Option<u64> {
    let number = text.strip_suffix("MB")?;
    let (whole, rest) = number.split_once(['.']).unwrap_or((number, ""));
    if whole.is_empty() || !whole.bytes().chain(rest.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let rest = rest.trim_end_matches('0');
    let up = match rest.as_bytes().first() {
        Some(b'5') if rest.len() == 1 => whole % 2 == 1,
        Some(first) => *first >= b'5',
        None => false,
    };
    whole.checked_add(u64::from(up))
}

/// Milliseconds as seconds with as many decimals as are needed.
struct Decimal(u64);

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1000, self.0 % 1000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

fn thousandths(text: &str) -> Option<u64> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    if rest.len() > 3 || !rest.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    whole.checked_mul(1000)?.checked_add(format!("{rest:0<3}").parse().ok()?)
}

#[cfg(test)]
mod tests;
