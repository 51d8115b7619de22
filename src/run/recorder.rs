//! Writes the logs, and keeps the figures of the live line.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::vram::log::{Line, Writer};
use crate::vram::reading::{DynamicVram, Measurement, MissReason, Reading, Source};
use crate::vram::recording::{Recording, Running};
use crate::vram::stats::{Accumulator, LogSummary};

/// Takes the measurements in the order of their stamps.
#[derive(Default)]
pub struct Recorder {
    path: PathBuf,
    /// The run's own device; none for a recorder that is never fed.
    device: Option<DeviceLog>,
    /// The other devices, by their position among the server's.
    others: Vec<(usize, DeviceLog)>,
    /// What the lines say, where no log is read for it.
    summary: Option<Accumulator>,
    running: Running,
    /// Whether anything was measured so far, with or without a reading.
    pub has_measured: bool,
    /// The first reading of the run.
    pub first: Option<Reading>,
    /// Why the latest measurement that was not late has no reading, if it has none.
    pub missed: Option<MissReason>,
    latest: Option<Reading>,
    peak: Option<u64>,
    refused: Option<(Instant, OffsetDateTime)>,
    warned: bool,
}

/// The recording of a device, and where its lines go.
struct DeviceLog {
    recording: Recording,
    log: Option<Writer>,
}

impl DeviceLog {
    fn new(log: Option<Writer>, interval: Duration) -> Self {
        DeviceLog { recording: Recording::new(interval), log }
    }

    /// Returns the first line that the log did not take, with the error.
    fn write(&mut self, lines: &[Line]) -> Option<std::io::Error> {
        let log = self.log.as_mut()?;
        lines.iter().map(|line| log.append(line)).fold(None, |error, done| error.or(done.err()))
    }
}

impl Recorder {
    /// Opens the log. Without one the run goes on; the second value says why there is none.
    pub fn new(path: &Path, interval: Duration) -> (Self, Option<String>) {
        let (log, problem) = match Writer::create(path, interval) {
            Ok(log) => (Some(log), None),
            Err(error) => (None, Some(format!("{}: {error}: no VRAM is recorded", path.display()))),
        };
        let (path, warned) = (path.to_owned(), log.is_none());
        let device = Some(DeviceLog::new(log, interval));
        (Recorder { path, device, warned, ..Recorder::default() }, problem)
    }

    /// Keeps a log of another device too, by its position among the server's.
    ///
    /// # Errors
    /// The log cannot be opened: one line.
    pub fn also(
        &mut self,
        gpu: usize,
        path: &Path,
        interval: Duration,
        dynamic_vram: DynamicVram,
    ) -> Result<(), String> {
        let log = Writer::create(path, interval).map_err(|error| {
            format!("{}: {error}: device {gpu} is not recorded", path.display())
        })?;
        let mut device = DeviceLog::new(Some(log), interval);
        device.recording.set_dynamic_vram(dynamic_vram);
        self.others.push((gpu, device));
        Ok(())
    }

    /// Summarizes the lines as they come, with or without a log.
    pub fn summarizing(log: Option<(PathBuf, Writer)>, interval: Duration) -> Self {
        let (path, log) = log.unzip();
        let (path, warned) = (path.unwrap_or_default(), log.is_none());
        let device = Some(DeviceLog::new(log, interval));
        let summary = Some(Accumulator::default());
        Recorder { path, device, summary, warned, ..Recorder::default() }
    }

    /// What the server tells of the run's device, before the first measurement.
    pub fn set_dynamic_vram(&mut self, dynamic_vram: DynamicVram) {
        if let Some(device) = &mut self.device {
            device.recording.set_dynamic_vram(dynamic_vram);
        }
    }

    /// The summary of the lines so far; there is none of later ones.
    pub fn summary(&mut self) -> LogSummary {
        self.summary.take().map(|lines| lines.finish(0)).unwrap_or_default()
    }

    /// What the log says so far, with the lines that the next tick would bring.
    pub fn so_far(&self) -> LogSummary {
        let open =
            self.device.as_ref().map(|device| device.recording.clone().finish(Instant::now()));
        let open = open.unwrap_or_default();
        let open: String = open.iter().map(|line| line.format(true) + "\n").collect();
        let log = std::fs::read(&self.path).unwrap_or_default();
        LogSummary::of(Read::chain(&log[..], open.as_bytes())).unwrap_or_default()
    }

    /// What has been running since that moment, if it is something else than before. Readings
    /// asked for since then carry it, whatever the clock says meanwhile.
    pub fn set_running(&mut self, since: Instant, scene: Option<&str>, node: Option<&str>) {
        let running = Running { scene: scene.map(str::to_owned), node: node.map(str::to_owned) };
        if running == self.running {
            return;
        }
        for device in self.device.iter_mut().chain(self.others.iter_mut().map(|(_, log)| log)) {
            device.recording.set_running(since, running.clone());
        }
        self.running = running;
    }

    /// The last reading and the highest so far, in MB: the driver's figure where it is known.
    pub fn latest_and_peak(&self) -> Option<(u64, u64)> {
        self.latest.as_ref().map(Reading::device).zip(self.peak)
    }

    /// The last time that the sampler found nobody listening, if that was at or after a moment.
    pub fn refused_since(&self, moment: Instant) -> Option<OffsetDateTime> {
        self.refused.filter(|(at, _)| *at >= moment).map(|(_, at)| at)
    }

    /// Takes a measurement of the sampler. Returns a warning for the user about the log, at most one.
    pub fn record(&mut self, taken: &Measurement) -> Option<String> {
        self.take(taken, Recording::take)
    }

    /// Takes the last measurement of all. Returns a warning as [`Recorder::record`] does.
    pub fn record_last(&mut self, taken: &Measurement) -> Option<String> {
        self.take(taken, Recording::take_last)
    }

    /// Writes what is still open, where there is no last measurement.
    pub fn finish(&mut self) {
        if let Some(device) = &mut self.device {
            let lines = device.recording.finish(Instant::now());
            summarize(&mut self.summary, &lines);
            device.write(&lines);
        }
    }

    fn take(
        &mut self,
        taken: &Measurement,
        lines_of: fn(&mut Recording, &Measurement) -> Vec<Line>,
    ) -> Option<String> {
        self.has_measured = true;
        if let Ok((reading, _)) = taken.result {
            self.first = self.first.or(Some(reading));
            self.latest = Some(reading);
            self.peak = self.peak.max(Some(reading.device()));
        }
        if taken.missed == Some(MissReason::Refused) {
            self.refused = Some((taken.moment, taken.at));
        }
        // A late one says nothing of its own: the request before it was still out.
        if !matches!(taken.result, Err(MissReason::Late | MissReason::Asleep)) {
            self.missed = taken.result.err();
        }
        let device = self.device.as_mut()?;
        let lines = lines_of(&mut device.recording, taken);
        summarize(&mut self.summary, &lines);
        let mut error = device.write(&lines);
        for (gpu, other) in &mut self.others {
            let reading = taken.devices.get(*gpu).copied().flatten();
            let missed = taken.missed.unwrap_or(MissReason::NoDevice);
            let result = reading.map(|reading| (reading, Source::ComfyUi)).ok_or(missed);
            let devices = Vec::new();
            let taken = Measurement { result, missed: result.err(), devices, ..*taken };
            let lines = lines_of(&mut other.recording, &taken);
            error = error.or(other.write(&lines));
        }
        let error = error?;
        if std::mem::replace(&mut self.warned, true) {
            return None;
        }
        Some(format!("{}: {error}: the VRAM log has holes", self.path.display()))
    }
}

fn summarize(summary: &mut Option<Accumulator>, lines: &[Line]) {
    if let Some(summary) = summary {
        for line in lines {
            summary.take(&line.borrowed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vram::reading::ReadingResult;
    use crate::vram::stats::Added;
    use time::macros::datetime;

    fn measured(moment: Instant, result: ReadingResult, missed: Option<MissReason>) -> Measurement {
        let at = datetime!(2026-11-24 12:00:05 UTC);
        let (due, answered, devices) = (moment, moment, Vec::new());
        Measurement { at, moment, due, answered, result, missed, devices }
    }

    #[expect(clippy::unnecessary_wraps, reason = "what a measurement holds")]
    fn reading(used: u64) -> ReadingResult {
        Ok((Reading { used, ..Reading::default() }, Source::ComfyUi))
    }

    #[test]
    fn a_summary_of_the_lines_is_that_of_their_log() {
        let path = std::env::temp_dir().join(format!("recorder-sum-{}", std::process::id()));
        for interval in [1000, 900, 1500, 100].map(Duration::from_millis) {
            let _ = std::fs::remove_file(&path);
            let log = Writer::create(&path, interval).unwrap();
            let mut recorder = Recorder::summarizing(Some((path.clone(), log)), interval);
            let start = Instant::now();
            recorder.set_running(start, Some("flow"), None);
            let mut events: Vec<_> =
                (0..40_u32).zip([700, 900, 0, 800].into_iter().cycle()).collect();
            let last = events.pop().unwrap();
            let of = |(number, mb): (u32, u64)| {
                let result = if mb == 0 { Err(MissReason::Status) } else { reading(mb) };
                let moment = start + Duration::from_millis(250) * number;
                // Its milliseconds do not reach a log of whole seconds.
                let at = datetime!(2026-11-24 23:59:58.7 UTC) + (moment - start);
                let (due, answered, devices) = (moment, moment, Vec::new());
                Measurement { at, moment, due, answered, result, missed: result.err(), devices }
            };
            for event in events {
                assert_eq!(recorder.record(&of(event)), None);
            }
            assert_eq!(recorder.record_last(&of(last)), None);
            let (read, told) = (LogSummary::read(&path).unwrap(), recorder.summary());
            assert_eq!(read.stats.peak, Some(900));
            assert_eq!(told.stats, read.stats);
            assert_eq!(told.timeline.columns, read.timeline.columns);
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_a_scene_took_is_known_before_the_next_tick() {
        let path = std::env::temp_dir().join(format!("recorder-so-far-{}", std::process::id()));
        let (mut recorder, _) = Recorder::new(&path, Duration::from_secs(5));
        let start = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        let at = |ms| start + Duration::from_millis(ms);
        for (ms, mb) in [(0, 100), (250, 900), (500, 200)] {
            assert_eq!(recorder.record(&measured(at(ms), reading(mb), None)), None);
            recorder.set_running(at(ms + 1), (ms == 0).then_some("flow"), None);
        }
        let written = || LogSummary::read(&path).unwrap().stats;
        assert_eq!((written().peak, written().scenes.len()), (Some(100), 0));
        let so_far = recorder.so_far().stats;
        assert_eq!((so_far.peak, so_far.scenes[0].added.map(Added::mb)), (Some(900), Some(800)));
        // The log goes on as if nobody had looked.
        recorder.finish();
        assert_eq!(written().scenes, so_far.scenes);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_late_measurement_says_nothing_of_its_own() {
        let mut recorder = Recorder::default();
        let mut told = |result: ReadingResult| {
            recorder.record(&measured(Instant::now(), result, result.err()));
            recorder.missed
        };
        let ticks =
            [Err(MissReason::Status), Err(MissReason::Late), reading(5), Err(MissReason::Late)];
        assert_eq!(
            ticks.map(&mut told),
            [Some(MissReason::Status), Some(MissReason::Status), None, None]
        );
    }

    #[test]
    fn a_server_that_refused_is_known_though_another_gave_the_reading() {
        let path = std::env::temp_dir().join(format!("recorder-refused-{}", std::process::id()));
        let (mut recorder, _) = Recorder::new(&path, Duration::from_secs(5));
        let moment = Instant::now();
        let result = Ok((Reading { used: 5, ..Reading::default() }, Source::NvidiaSmi));
        assert_eq!(recorder.record(&measured(moment, result, Some(MissReason::Refused))), None);
        let at = datetime!(2026-11-24 12:00:05 UTC);
        assert_eq!((recorder.refused_since(moment), recorder.latest.is_some()), (Some(at), true));
        assert_eq!(recorder.refused_since(moment + Duration::from_secs(1)), None);
        std::fs::remove_file(&path).unwrap();
    }
}
