//! Planted curves: what is in the lines, with which label, and when.

use proptest::prelude::*;
use time::macros::datetime;

use super::*;
use crate::vram::reading::Source;
use crate::vram::stats::{Added, LogSummary, VramStats};

const PACE: u64 = 250;
const TICK: Duration = Duration::from_secs(5);

/// A recording that is fed with a curve.
struct Fed {
    recording: Recording,
    start: Instant,
    began: OffsetDateTime,
    lines: Vec<Line>,
}

#[expect(clippy::unnecessary_wraps, reason = "what a measurement holds")]
fn used(mb: u64) -> ReadingResult {
    Ok((Reading { used: mb, ..Reading::default() }, Source::ComfyUi))
}

impl Fed {
    fn new(interval: Duration) -> Self {
        let (start, lines) = (Instant::now(), Vec::new());
        let began = datetime!(2026-11-24 12:00:00.1 UTC);
        Fed { recording: Recording::new(interval), start, began, lines }
    }

    fn moment(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn measurement(&self, ms: u64, result: ReadingResult, took: u64) -> Measurement {
        let (at, moment) = (self.began + Duration::from_millis(ms), self.moment(ms));
        let answered = moment + Duration::from_millis(took);
        let (missed, devices) = (result.err(), Vec::new());
        Measurement { at, moment, due: moment, answered, result, missed, devices }
    }

    fn take(&mut self, ms: u64, result: ReadingResult) {
        let taken = self.measurement(ms, result, 5);
        self.lines.extend(self.recording.take(&taken));
    }

    fn runs(&mut self, since: u64, scene: Option<&str>, node: Option<&str>) {
        let [scene, node] = [scene, node].map(|name| name.map(str::to_owned));
        self.recording.set_running(self.moment(since), Running { scene, node });
    }

    /// A reading every 0.25 s of what the curve has at that moment.
    fn curve(&mut self, from: u64, to: u64, curve: impl Fn(u64) -> u64) {
        for ms in (from..to).step_by(usize::try_from(PACE).unwrap()) {
            self.take(ms, used(curve(ms)));
        }
    }

    fn end(mut self, ms: u64, result: ReadingResult) -> Vec<Line> {
        let last = self.measurement(ms, result, 5);
        self.lines.extend(self.recording.take_last(&last));
        self.lines
    }
}

fn texts(lines: &[Line]) -> Vec<String> {
    lines.iter().map(|line| line.format(false)).collect()
}

fn stats(lines: &[Line]) -> VramStats {
    let log = texts(lines).join("\n") + "\n";
    let stats = LogSummary::of(log.as_bytes()).unwrap().stats;
    let lines: Vec<Line> =
        log.lines().map(|line| Line::parse(line.as_bytes()).expect(line).into_owned()).collect();
    stats.assert_of(&lines);
    stats
}

#[test]
fn a_plateau_of_a_third_second_is_in_the_log_at_every_phase_of_the_tick() {
    for from in (1000..11_000).step_by(50) {
        let mut fed = Fed::new(TICK);
        fed.runs(from, Some("flow"), Some("3"));
        fed.runs(from + 300, None, None);
        fed.curve(0, 12_000, |ms| if (from..from + 300).contains(&ms) { 3110 } else { 1600 });
        let lines = fed.end(12_000, used(1600));
        let stats = stats(&lines);
        assert_eq!(stats.peak, Some(3110), "{from}: {:?}", texts(&lines));
        let scene = &stats.scenes[0];
        assert_eq!((scene.peak, scene.added.map(Added::mb)), (Some(3110), Some(1510)), "{from}");
        assert_eq!((&*scene.nodes[0].id, scene.nodes[0].peak), ("3", Some(3110)), "{from}");
        assert_eq!(stats.ticks, 4, "{from}: {:?}", texts(&lines));
    }
}

#[test]
fn each_scene_and_node_between_two_ticks_has_its_lines() {
    let mut fed = Fed::new(TICK);
    // A scene between two others, a node each half second.
    for (n, scene) in (0_u64..).zip(["a", "b", "c"]) {
        for node in 0..2 {
            let since = 500 + n * 1000 + node * 500;
            fed.runs(since, Some(scene), Some(&node.to_string()));
        }
    }
    fed.runs(3500, None, None);
    fed.curve(0, 5250, |ms| ms);
    let lines = fed.end(5500, used(1));
    let stats = stats(&lines);
    let scenes: Vec<_> = stats.scenes.iter().map(|scene| (&*scene.id, scene.peak)).collect();
    assert_eq!(scenes, [("a", Some(1250)), ("b", Some(2250)), ("c", Some(3250))]);
    let last: Vec<_> = stats.scenes.iter().map(|scene| scene.last_used.unwrap()).collect();
    assert_eq!(last, [1250, 2250, 3250]);
    let nodes: Vec<_> =
        stats.scenes.iter().flat_map(|scene| &scene.nodes).map(|node| node.peak.unwrap()).collect();
    assert_eq!(nodes, [750, 1250, 1750, 2250, 2750, 3250]);
    // Each scene's own memory is counted from the reading before it.
    let added: Vec<_> = stats.scenes.iter().map(|scene| scene.added.unwrap().mb()).collect();
    assert_eq!(added, [1000, 1000, 1000]);
}

#[test]
fn a_window_without_a_higher_reading_has_no_line() {
    let mut fed = Fed::new(TICK);
    fed.curve(0, 10_250, |ms| if ms == 5000 { 900 } else { 800 });
    let lines = fed.end(10_250, used(7));
    let wanted = [
        "12:00:00,Used=800MB,Interval=5s,Reading=0.25s",
        "12:00:05,Used=900MB",
        "12:00:10,Used=800MB",
        "12:00:10,Used=7MB",
    ];
    assert_eq!(texts(&lines), wanted);
}

#[test]
fn torch_and_what_spilled_have_lines_where_they_are_highest() {
    let mut fed = Fed::new(TICK);
    for ms in (0..=5000).step_by(250) {
        let (mut reading, source) = used(100).unwrap();
        reading.driver = Some(if ms == 1000 { 500 } else { 200 });
        reading.torch = Some(if ms == 2000 { 90 } else { 20 });
        reading.spilled = (ms == 3000).then_some(7);
        fed.take(ms, Ok((reading, source)));
    }
    let between: Vec<_> = texts(&fed.lines).into_iter().filter(|l| l.contains("Between")).collect();
    let wanted = [
        "12:00:01.100,Used=100MB,Driver=500MB,Torch=20MB,Between=1",
        "12:00:02.100,Used=100MB,Driver=200MB,Torch=90MB,Between=1",
        "12:00:03.100,Used=100MB,Driver=200MB,Torch=20MB,Spilled=7MB,Between=1",
    ];
    assert_eq!(between, wanted);
}

#[test]
fn gaps_are_told_where_readings_are_further_apart_than_twice_their_pace() {
    let mut fed = Fed::new(TICK);
    fed.curve(0, 1250, |_| 5);
    for ms in (1250..2250).step_by(250) {
        fed.take(ms, Err(MissReason::Late));
    }
    // 1.25 s after the latest one, and answered 5 ms later.
    fed.take(2250, used(9));
    fed.curve(2500, 5250, |_| 5);
    let missed: Vec<_> = (5250..10_250).step_by(250).collect();
    for ms in missed {
        fed.take(ms, Err(if ms == 5250 { MissReason::Timeout } else { MissReason::Late }));
    }
    fed.take(10_250, used(6));
    let lines = fed.end(10_500, Err(MissReason::Reset));
    let wanted = [
        "12:00:00,Used=5MB,Interval=5s,Reading=0.25s",
        "12:00:02.350,Used=9MB,Gap=1.255s,Between=1",
        "12:00:05,Used=5MB",
        // The tick at 10 s takes the next reading.
        "12:00:10,Used=6MB,Gap=5.255s",
        "12:00:10,Missed=reset",
    ];
    assert_eq!(texts(&lines), wanted);
    assert_eq!(stats(&lines).longest_gap_ms, Some(5255));
}

#[test]
fn a_tick_without_any_reading_is_missed_and_says_why() {
    let mut fed = Fed::new(Duration::from_secs(1));
    fed.take(0, used(5));
    for ms in (250..1000).step_by(250) {
        fed.take(ms, used(5));
    }
    fed.take(1000, Err(MissReason::Late));
    fed.take(1250, Err(MissReason::Timeout));
    fed.take(1500, Err(MissReason::Refused));
    fed.take(1750, Err(MissReason::Refused));
    fed.take(2000, Err(MissReason::Refused));
    let lines = fed.recording.finish(fed.moment(2100));
    fed.lines.extend(lines);
    let wanted = [
        "12:00:00,Used=5MB,Interval=1s,Reading=0.25s",
        "12:00:01,Missed=timeout",
        "12:00:02,Missed=refused,Gap=1.35s",
    ];
    assert_eq!(texts(&fed.lines), wanted);
}

#[test]
fn a_sleep_is_a_line_and_no_gap_and_the_ticks_begin_anew() {
    let mut fed = Fed::new(TICK);
    fed.runs(0, Some("flow"), None);
    fed.curve(0, 7500, |ms| if ms == 7000 { 3000 } else { 1600 });
    fed.take(7500, Err(MissReason::Asleep));
    // Four hours by the wall clock; the other one stood still.
    fed.began += Duration::from_secs(4 * 3600);
    fed.curve(7600, 14_000, |_| 1700);
    let lines = fed.end(14_100, used(1600));
    let wanted = [
        "12:00:00,Used=1600MB,Interval=5s,Reading=0.25s,Scene=flow",
        "12:00:05,Used=1600MB,Scene=flow",
        "12:00:07.100,Used=3000MB,Scene=flow,Between=1",
        "12:00:07,Missed=asleep,Scene=flow",
        "16:00:07,Used=1700MB,Scene=flow",
        "16:00:12,Used=1700MB,Scene=flow",
        "16:00:14,Used=1600MB,Scene=flow",
    ];
    assert_eq!(texts(&lines), wanted);
    let stats = stats(&lines);
    assert_eq!((stats.longest_gap_ms, stats.has_gap()), (Some(500), false));
    assert_eq!(stats.achieved_interval_ms, Some(4000));
    assert_eq!(stats.missed[&MissReason::Asleep], 1);
}

#[test]
fn a_gap_before_a_sleep_is_one_and_the_sleep_adds_nothing_to_it() {
    let mut fed = Fed::new(TICK);
    fed.curve(0, 2000, |_| 1600);
    for ms in (2000..8000).step_by(250) {
        fed.take(ms, Err(MissReason::Refused));
    }
    fed.take(8000, Err(MissReason::Asleep));
    fed.began += Duration::from_secs(3600);
    let lines = fed.end(8100, used(1700));
    let wanted = [
        "12:00:00,Used=1600MB,Interval=5s,Reading=0.25s",
        "12:00:05,Missed=refused,Gap=6.25s",
        "12:00:08,Missed=asleep",
        "13:00:08,Used=1700MB",
    ];
    assert_eq!(texts(&lines), wanted);
    assert_eq!(stats(&lines).longest_gap_ms, Some(6250));
}

#[test]
fn what_becomes_known_late_labels_what_is_not_written() {
    let mut fed = Fed::new(TICK);
    fed.curve(0, 5500, |_| 5);
    // Only now it is known that a scene has been running since before the tick at 5 s.
    fed.runs(4800, Some("late"), None);
    fed.take(5500, used(9));
    let lines = fed.end(5750, used(5));
    let wanted = [
        "12:00:00,Used=5MB,Interval=5s,Reading=0.25s",
        "12:00:05,Used=5MB",
        "12:00:05.600,Used=9MB,Scene=late,Between=1",
        "12:00:05,Used=5MB,Scene=late",
    ];
    assert_eq!(texts(&lines), wanted);
}

#[test]
fn midnight_and_a_clock_set_back_change_no_label() {
    let mut fed = Fed::new(TICK);
    fed.began = datetime!(2026-11-24 23:59:58.9 UTC);
    fed.runs(1000, Some("a"), Some("1"));
    fed.curve(0, 2500, |ms| ms);
    fed.began -= Duration::from_secs(3600);
    fed.curve(2500, 5250, |ms| ms);
    let lines = fed.end(5250, used(1));
    let wanted = [
        "23:59:58,Used=0MB,Interval=5s,Reading=0.25s",
        "23:59:59.650,Used=750MB,Between=1",
        "23:00:03.650,Used=4750MB,Scene=a,Node=1,Between=1",
        "23:00:03,Used=5000MB,Scene=a,Node=1",
        "23:00:04,Used=1MB,Scene=a,Node=1",
    ];
    assert_eq!(texts(&lines), wanted);
    assert_eq!(stats(&lines).longest_gap_ms, Some(500));
}

#[test]
fn a_short_interval_has_a_line_for_each_reading() {
    let mut fed = Fed::new(Duration::from_millis(100));
    for ms in (0..400).step_by(100) {
        fed.take(ms, used(ms));
    }
    let lines: Vec<_> = fed.lines.iter().map(|line| line.format(true)).collect();
    let wanted = [
        "12:00:00.100,Used=0MB,Interval=0.1s,Reading=0.1s",
        "12:00:00.200,Used=100MB",
        "12:00:00.300,Used=200MB",
        "12:00:00.400,Used=300MB",
    ];
    assert_eq!(lines, wanted);
}

proptest! {
    #[test]
    fn the_lines_have_the_highest_of_all_readings_and_of_each_label(
        readings in prop::collection::vec((0..1000_u64, 0..1000_u64, 0..8_u8), 1..120),
        labels in prop::collection::vec((0..30_000_u64, 0..3_usize, 0..3_usize), 0..20),
        interval in 1..6_u64,
    ) {
        let names = [None, Some("a"), Some("b")];
        let mut fed = Fed::new(Duration::from_secs(interval));
        let mut labels = labels;
        labels.sort_unstable();
        for (since, scene, node) in &labels {
            fed.runs(*since, names[*scene], names[*scene].and(names[*node]));
        }
        let label = |fed: &Fed, ms: u64| fed.recording.running_at(fed.moment(ms)).clone();
        let mut wanted: Vec<(Running, u64, u64)> = Vec::new();
        let all: Vec<_> = (0..).zip(&readings).map(|(n, (used, torch, kind))| {
            (n * PACE, label(&fed, n * PACE), *used, *torch, *kind > 0)
        }).collect();
        for (ms, running, used, torch, is_read) in &all {
            let reading = Reading { used: *used, torch: Some(*torch), ..Reading::default() };
            let result = if *is_read { Ok((reading, Source::ComfyUi)) } else { Err(MissReason::Late) };
            fed.take(*ms, result);
            if !is_read {
                continue;
            }
            match wanted.iter_mut().find(|(known, ..)| known == running) {
                Some((_, most, most_torch)) => {
                    (*most, *most_torch) = ((*most).max(*used), (*most_torch).max(*torch));
                }
                None => wanted.push((running.clone(), *used, *torch)),
            }
        }
        let end = u64::try_from(readings.len()).unwrap() * PACE;
        let lines = fed.recording.finish(fed.moment(end));
        fed.lines.extend(lines);
        for (running, most, most_torch) in wanted {
            let of = |line: &&Line| line.scene == running.scene && line.node == running.node;
            let readings = || fed.lines.iter().filter(of).filter_map(|line| line.result.ok());
            let found = readings().map(|(reading, _)| reading.used).max();
            prop_assert_eq!(found, Some(most), "{:?}: {:?}", running, texts(&fed.lines));
            let found = readings().filter_map(|(reading, _)| reading.torch).max();
            prop_assert_eq!(found, Some(most_torch));
        }
        let seconds: Vec<_> = fed.lines.iter().map(|line| line.at.replace_millisecond(0).unwrap()).collect();
        prop_assert!(seconds.is_sorted(), "{:?}", texts(&fed.lines));
        stats(&fed.lines);
    }
}
