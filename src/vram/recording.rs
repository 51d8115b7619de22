//! What a log records of a device's readings: a pure function of them and of what ran when.
//!
//! A tick is every interval; its line is written at once. Readings come faster. A window is the
//! stretch between two ticks in which scene and node stayed the same; when the next tick comes, a
//! line is written for each window whose highest reading is not its tick's. The last reading before
//! the scene changes has a line too: what a scene added, and what it left, are counted from there.

use std::time::{Duration, Instant};

use time::{OffsetDateTime, Time};

use super::log::{Line, has_millis};
use super::reading::{DynamicVram, Measurement, MissReason, Reading, ReadingResult, pace};

#[cfg(test)]
mod tests;

/// What ran at some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// The scene whose prompt was running.
    pub scene: Option<String>,
    /// Its node, where the server told it.
    pub node: Option<String>,
}

/// The recording of one device.
#[derive(Debug)]
pub struct Recording {
    interval: Duration,
    pace: Duration,
    dynamic_vram: Option<DynamicVram>,
    /// No line has told the interval so far.
    is_first: bool,
    /// When the next tick is due; none before the first reading was asked for.
    next_tick: Option<Instant>,
    /// The latest tick's time, and why it has no reading so far.
    missed: Option<(OffsetDateTime, Instant, MissReason)>,
    /// The readings since the latest tick; the first one is the tick's, with what ran then.
    open: Vec<Taken>,
    /// What has run since when, in order.
    running: Vec<(Instant, Running)>,
    /// The latest reading's moment; before the first one, when it was asked for.
    latest: Option<Instant>,
    /// The longest gap before the readings that no line has told so far.
    gap: Option<Duration>,
}

#[derive(Debug)]
struct Taken {
    at: OffsetDateTime,
    moment: Instant,
    result: ReadingResult,
    reading: Reading,
    gap: Option<Duration>,
    /// What its line says, once that is written.
    written: Option<Running>,
}

impl Recording {
    /// A recording with a tick every `interval`.
    pub fn new(interval: Duration) -> Self {
        Recording {
            interval,
            pace: pace(interval),
            dynamic_vram: None,
            is_first: true,
            next_tick: None,
            missed: None,
            open: Vec::new(),
            running: Vec::new(),
            latest: None,
            gap: None,
        }
    }

    /// What the first line is to say of the device.
    pub fn set_dynamic_vram(&mut self, dynamic_vram: DynamicVram) {
        self.dynamic_vram = Some(dynamic_vram);
    }

    /// What has been running since that moment. Readings stamped since then carry it, unless their
    /// line is written already.
    pub fn set_running(&mut self, since: Instant, running: Running) {
        self.running.retain(|(earlier, _)| *earlier < since);
        self.running.push((since, running));
    }

    /// Takes the next measurement, in the order of their moments. Returns the lines to be written.
    pub fn take(&mut self, taken: &Measurement) -> Vec<Line> {
        if taken.result == Err(MissReason::Asleep) {
            return self.asleep(taken);
        }
        let mut lines = Vec::new();
        let mut next_tick = *self.next_tick.get_or_insert(taken.due);
        if taken.due >= next_tick {
            lines = self.close(taken.moment);
            while next_tick <= taken.due {
                next_tick += self.interval;
            }
            self.next_tick = Some(next_tick);
            self.missed = Some((taken.at, taken.moment, MissReason::Late));
        }
        let latest = *self.latest.get_or_insert(taken.due);
        let reading = match (taken.result, &mut self.missed) {
            (Ok((reading, _)), _) => reading,
            (Err(why), Some((.., reason))) if *reason == MissReason::Late => {
                *reason = why;
                return lines;
            }
            (Err(_), _) => return lines,
        };
        self.latest = Some(taken.moment);
        let apart = taken.answered.saturating_duration_since(latest);
        let &Measurement { at, moment, result, .. } = taken;
        let gap = Some(apart).filter(|apart| *apart > self.pace * 2);
        let mut taken = Taken { at, moment, result, reading, gap, written: None };
        if self.missed.take().is_some() {
            self.gap = self.gap.max(gap);
            lines.push(self.line(at, moment, result, false));
            taken.written = Some(self.running_at(moment).clone());
        }
        self.open.push(taken);
        lines
    }

    /// The computer slept: a line says so, and the ticks begin anew. The time is no gap.
    fn asleep(&mut self, taken: &Measurement) -> Vec<Line> {
        let mut lines = self.finish(taken.moment);
        lines.push(self.line(taken.at, taken.moment, taken.result, false));
        (self.next_tick, self.latest) = (None, None);
        lines
    }

    /// Same as [`Recording::take`] for the last measurement, which has a line of its own.
    pub fn take_last(&mut self, taken: &Measurement) -> Vec<Line> {
        self.next_tick = Some(taken.due);
        let mut lines = self.take(taken);
        lines.extend(self.finish(taken.moment));
        lines
    }

    /// The lines of what is still open.
    pub fn finish(&mut self, now: Instant) -> Vec<Line> {
        if let (Some(_), Some(latest)) = (&self.missed, self.latest) {
            let unseen = now.saturating_duration_since(latest);
            self.gap = self.gap.max(Some(unseen).filter(|unseen| *unseen > self.pace * 2));
        }
        self.close(now)
    }

    /// Ends the windows since the latest tick; the next one is at that moment.
    fn close(&mut self, next: Instant) -> Vec<Line> {
        if let Some((at, moment, why)) = self.missed.take() {
            return vec![self.line(at, moment, Err(why), false)];
        }
        let open = std::mem::take(&mut self.open);
        let what = |taken: &'_ Taken| -> Running {
            taken.written.clone().unwrap_or_else(|| self.running_at(taken.moment).clone())
        };
        let what: Vec<Running> = open.iter().map(what).collect();
        let mut chosen = Vec::new();
        let mut start = 0;
        for end in 1..=open.len() {
            let now = &what[end - 1];
            let then = what.get(end).unwrap_or_else(|| self.running_at(next));
            if end < open.len() && now == then {
                continue;
            }
            chosen.extend(highest(&open[start..end]).into_iter().map(|place| start + place));
            if now.scene != then.scene {
                chosen.push(end - 1);
            }
            start = end;
        }
        let mut lines = Vec::new();
        for (place, taken) in open.iter().enumerate().filter(|(_, taken)| taken.written.is_none()) {
            self.gap = self.gap.max(taken.gap);
            if chosen.contains(&place) {
                lines.push(self.line(taken.at, taken.moment, taken.result, true));
            }
        }
        let kept = self.running.iter().rposition(|(since, _)| *since <= next).unwrap_or(0);
        self.running.drain(..kept);
        lines
    }

    fn running_at(&self, moment: Instant) -> &Running {
        static NOTHING: Running = Running { scene: None, node: None };
        let latest = self.running.iter().rfind(|(since, _)| *since <= moment);
        latest.map_or(&NOTHING, |(_, running)| running)
    }

    fn line(
        &mut self,
        at: OffsetDateTime,
        moment: Instant,
        result: ReadingResult,
        between: bool,
    ) -> Line {
        let (h, m, s, ms) = at.time().as_hms_milli();
        let ms = if between || has_millis(self.interval) { ms } else { 0 };
        let at = Time::from_hms_milli(h, m, s, ms).unwrap_or(Time::MIDNIGHT);
        let Running { scene, node } = self.running_at(moment).clone();
        let first = std::mem::take(&mut self.is_first);
        Line {
            scene,
            node,
            between,
            gap_ms: self.gap.take().map(millis),
            interval_ms: first.then(|| millis(self.interval)),
            pace_ms: first.then(|| millis(self.pace)),
            dynamic_vram: self.dynamic_vram.filter(|_| first),
            ..Line::new(at, result)
        }
    }
}

/// The places of a window's highest reading, by what the device holds, by torch where another is
/// the highest there, and by what has spilled. The first of equal ones; a tick comes first.
fn highest(window: &[Taken]) -> Vec<usize> {
    let figures: [fn(&Reading) -> Option<u64>; 3] =
        [|reading| Some(reading.device()), |reading| reading.torch, |reading| reading.spilled];
    let mut places: Vec<usize> = Vec::new();
    for figure in figures {
        let of = |place: usize| window.get(place).and_then(|taken| figure(&taken.reading));
        let top = (0..window.len()).filter_map(of).max();
        if top.is_some() && !places.iter().any(|place| of(*place) == top) {
            places.extend((0..window.len()).find(|place| of(*place) == top));
        }
    }
    places
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
