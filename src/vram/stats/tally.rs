//! The statistics of a log that is not read back: of its lines as they are made.

use std::time::Duration;

use super::VramStats;
use super::accumulate::Accumulator;
use crate::vram::log::{Line, shows_millis};
use crate::vram::reading::Tick;
use crate::vram::timeline::Timeline;

/// Takes ticks and says what a log of them would say, in constant memory.
pub struct Tally {
    accumulator: Accumulator,
    curve: Timeline,
    skipped: u64,
    millis: bool,
    /// Until a line has told it.
    interval_ms: Option<u64>,
}

impl Tally {
    /// Of ticks that are asked for every `interval`.
    pub fn new(interval: Duration) -> Self {
        Tally {
            accumulator: Accumulator::default(),
            curve: Timeline::default(),
            skipped: 0,
            millis: shows_millis(interval),
            interval_ms: u64::try_from(interval.as_millis()).ok(),
        }
    }

    /// The next tick; `scene` is the id of the scene whose prompt was running.
    pub fn take(&mut self, tick: &Tick, scene: Option<&str>) {
        // Through its text, so that nothing counts that a line does not hold.
        let text = Line::of(tick, scene, self.interval_ms.take()).format(self.millis);
        match Line::parse(&text) {
            Some(line) => {
                self.accumulator.take(&line.borrowed());
                self.curve.take(&line.borrowed());
            }
            None => self.skipped += 1,
        }
    }

    /// The statistics, and the curve of what they are of.
    pub fn finish(self) -> (VramStats, Timeline) {
        (self.accumulator.finish(self.skipped), self.curve)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use time::macros::datetime;

    use std::time::Instant;

    use super::*;
    use crate::vram::log::Writer;
    use crate::vram::reading::{MissReason, Reading, Source};

    #[test]
    fn it_says_what_the_log_says() {
        let path = std::env::temp_dir().join(format!("tally-{}.log", std::process::id()));
        for interval in [1000, 900, 1500].map(Duration::from_millis) {
            let _ = fs::remove_file(&path);
            let mut log = Writer::create(&path, interval).unwrap();
            let mut tally = Tally::new(interval);
            for (number, mb) in [(0, 700), (1, 900), (2, 0), (3, 1 << 25), (4, 800)] {
                let reading = Reading { used: mb, driver: Some(mb + 9), ..Reading::default() };
                let result =
                    if mb == 0 { Err(MissReason::Status) } else { Ok((reading, Source::ComfyUi)) };
                let at = datetime!(2026-11-24 23:59:58.7 UTC) + interval * number;
                let tick = Tick {
                    at,
                    moment: Instant::now(),
                    took_ms: Some(60),
                    result,
                    missed: result.err(),
                };
                log.append(&tick, Some("flow")).unwrap();
                tally.take(&tick, Some("flow"));
            }
            let read = VramStats::of_log(&path).unwrap();
            assert_eq!((read.peak, read.ticks, read.skipped_lines), (Some(900), 4, 1));
            assert_eq!(tally.finish().0, read);
        }
        fs::remove_file(&path).unwrap();
    }
}
