//! One line of the log as a value, and how it is written.

use std::fmt::Write as _;

use time::Time;

use super::parse;
use crate::vram::reading::{MissReason, Reading, Source, Tick};

/// The word for [`Source::NvidiaSmi`]; the other source goes without saying.
pub(super) const NVIDIA_SMI: &str = "nvidia-smi";

/// One line of the log. Its scene is text of its own, or borrowed while a log is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Line<Scene = String> {
    /// The time of day when the request was sent.
    pub at: Time,
    /// The reading and who gave it, or why there is none.
    pub entry: Result<(Reading, Source), MissReason>,
    /// How long the answer took, in milliseconds, where that is worth knowing.
    pub took_ms: Option<u64>,
    /// The scene whose prompt was running: `[A-Za-z0-9._-]`, never empty.
    pub scene: Option<Scene>,
    /// The interval that was asked for, in milliseconds; stands on a run's first line.
    pub interval_ms: Option<u64>,
}

impl Line {
    /// What the log says of a tick.
    pub fn of(tick: &Tick, scene: Option<&str>, interval_ms: Option<u64>) -> Line {
        Line {
            at: tick.at.time(),
            entry: tick.result,
            // Of a missed tick there was no answer that could have taken long.
            took_ms: tick.took_ms.filter(|_| tick.result.is_ok()),
            scene: scene.map(str::to_owned),
            interval_ms,
        }
    }

    /// The line as it stands in the log, without its line break; with `millis` the time carries
    /// milliseconds.
    pub fn format(&self, millis: bool) -> String {
        let mut text = clock(self.at, millis);
        // Writing into a String cannot fail.
        let _ = self.fields(&mut text);
        text
    }

    fn fields(&self, text: &mut String) -> std::fmt::Result {
        match &self.entry {
            Ok((reading, _)) => {
                let figures = [
                    ("Used", Some(reading.used)),
                    ("Free", reading.free),
                    ("Total", reading.total),
                    ("Driver", reading.driver),
                    ("Ram", reading.ram),
                ];
                for (name, mb) in figures {
                    if let Some(mb) = mb {
                        write!(text, ",{name}={mb}MB")?;
                    }
                }
            }
            Err(miss) => write!(text, ",Missed={}", miss.name())?,
        }
        if let Some(ms) = self.interval_ms {
            let seconds = format!("{}.{:03}", ms / 1000, ms % 1000);
            let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
            write!(text, ",Interval={seconds}s")?;
        }
        if let Some(scene) = &self.scene {
            write!(text, ",Scene={scene}")?;
        }
        if let Ok((_, Source::NvidiaSmi)) = self.entry {
            write!(text, ",Source={NVIDIA_SMI}")?;
        }
        if let Some(ms) = self.took_ms {
            write!(text, ",Took={ms}ms")?;
        }
        Ok(())
    }

    /// The line that stands in `text`, with or without its line break: as it is written today, or
    /// in any older form. Fields with unknown names are passed over.
    ///
    /// None for anything else: a value that is cut or malformed, a field given twice, a figure
    /// above 2^24 (16 TiB, 4.6 hours), neither a reading nor a known reason for having none.
    pub fn parse(text: &str) -> Option<Line> {
        parse::line(text.as_bytes().trim_ascii()).map(Line::into_owned)
    }
}

impl Line {
    /// The same line, its scene borrowed.
    pub fn borrowed(&self) -> Line<&str> {
        let Line { at, entry, took_ms, scene, interval_ms } = self;
        Line {
            at: *at,
            entry: *entry,
            took_ms: *took_ms,
            scene: scene.as_deref(),
            interval_ms: *interval_ms,
        }
    }
}

impl Line<&str> {
    /// The same line with a scene of its own.
    pub fn into_owned(self) -> Line {
        let Line { at, entry, took_ms, scene, interval_ms } = self;
        Line { at, entry, took_ms, scene: scene.map(str::to_owned), interval_ms }
    }
}

/// `12:01:05`, or `12:01:05.250` of a time that has milliseconds.
pub fn time_text(at: Time) -> String {
    clock(at, at.millisecond() > 0)
}

fn clock(at: Time, millis: bool) -> String {
    let (h, m, s, ms) = at.as_hms_milli();
    let fraction = if millis { format!(".{ms:03}") } else { String::new() };
    format!("{h:02}:{m:02}:{s:02}{fraction}")
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any line that the log can hold; its time has milliseconds only if `millis`.
    pub(in crate::vram) fn any_line(millis: bool) -> impl Strategy<Value = Line> {
        const SECOND: u64 = 1_000_000_000;
        let mb = 0..=(1_u64 << 24);
        let some_mb = || prop::option::of(mb.clone());
        let reading = (mb.clone(), some_mb(), some_mb(), some_mb(), some_mb()).prop_map(
            |(used, free, total, driver, ram)| Reading { used, free, total, driver, ram },
        );
        let source = prop::sample::select(vec![Source::ComfyUi, Source::NvidiaSmi]);
        let entry = prop_oneof![
            4 => (reading, source).prop_map(Ok),
            1 => prop::sample::select(MissReason::ALL.to_vec()).prop_map(Err),
        ];
        let scene = prop::option::of("[A-Za-z0-9._-]{1,20}");
        (0..86_400_u64, 0..1000_u64, entry, some_mb(), scene, some_mb()).prop_map(
            move |(second, ms, entry, took_ms, scene, interval_ms)| {
                let ms = if millis { ms } else { 0 };
                let since = std::time::Duration::from_nanos(second * SECOND + ms * SECOND / 1000);
                Line { at: Time::MIDNIGHT + since, entry, took_ms, scene, interval_ms }
            },
        )
    }

    proptest! {
        #[test]
        fn every_line_reads_back_as_it_was(
            (millis, line) in any::<bool>().prop_flat_map(|m| (Just(m), any_line(m)))
        ) {
            prop_assert_eq!(Line::parse(&line.format(millis)), Some(line));
        }
    }

    #[test]
    fn fields_stand_in_their_order() {
        let reading = Reading {
            used: 2140,
            free: Some(22436),
            total: Some(24576),
            driver: Some(2240),
            ram: Some(31020),
        };
        let mut line = Line {
            at: Time::MIDNIGHT + std::time::Duration::from_millis(43_265_250),
            entry: Ok((reading, Source::NvidiaSmi)),
            took_ms: Some(1900),
            scene: Some("flow".into()),
            interval_ms: Some(100),
        };
        assert_eq!(
            line.format(true),
            "12:01:05.250,Used=2140MB,Free=22436MB,Total=24576MB,Driver=2240MB,Ram=31020MB,\
             Interval=0.1s,Scene=flow,Source=nvidia-smi,Took=1900ms"
        );
        line = Line {
            entry: Err(MissReason::BadJson),
            took_ms: None,
            interval_ms: Some(20_000),
            ..line
        };
        assert_eq!(line.format(false), "12:01:05,Missed=badJson,Interval=20s,Scene=flow");
        assert_eq!(time_text(line.at), "12:01:05.250");
        assert_eq!(time_text(Time::MIDNIGHT), "00:00:00");
    }
}
