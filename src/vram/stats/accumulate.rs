//! One pass over the lines of a log, in constant memory: its statistics and its timeline.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use time::Time;

use super::{Added, Metric, NodeStatistics, PeakGenerating, Place, SceneStatistics, VramStats};
use crate::fs::open_file;
use crate::vram::log::{Line, read_lines};
use crate::vram::reading::{MissReason, Reading, Source, quotient};
use crate::vram::timeline::{self, Timeline};

/// Scenes with figures of their own; a log with a new id in every line takes no more memory.
const MAX_SCENES: usize = 4096;
/// Nodes with figures of their own, of all scenes together.
const MAX_NODES: usize = 4096;
/// The id that all further scenes share; no scene can have it.
const OTHER_SCENES: &str = "(other scenes)";
const SECOND_MS: u64 = 1000;
const DAY_MS: u64 = 24 * 3600 * SECOND_MS;

/// What a log says.
#[derive(Clone, Debug, Default)]
pub struct LogSummary {
    /// Its figures.
    pub stats: VramStats,
    /// Its memory over time.
    pub timeline: Timeline,
}

impl LogSummary {
    /// Reads a log once.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub fn read(path: &Path) -> io::Result<LogSummary> {
        LogSummary::of(BufReader::with_capacity(1 << 16, open_file(path)?))
    }

    /// Same as [`LogSummary::read`], from any input.
    ///
    /// # Errors
    /// Those of the input.
    pub fn of(input: impl BufRead) -> io::Result<LogSummary> {
        let mut accumulator = Accumulator::default();
        let skipped = read_lines(input, |line| accumulator.take(line))?;
        Ok(accumulator.finish(skipped))
    }
}

/// Takes the lines of a log one after the other, and gives what they say.
#[derive(Default)]
pub struct Accumulator {
    stats: VramStats,
    timeline: Timeline,
    used: Distribution,
    gaps: Gaps,
    peaks: Peaks,
    scenes: Vec<SceneFigures>,
    positions: HashMap<String, usize>,
    latest_scene: usize,
    /// How many nodes have figures of their own.
    nodes: usize,
    latest_ms: Option<u64>,
    /// The reading of the line before, in this run.
    latest: Option<(Reading, Source)>,
    /// The scene of the line before.
    label: Option<usize>,
    spilled: Spilling,
}

impl Accumulator {
    /// The next line.
    pub fn take(&mut self, line: &Line<&str>) {
        let stats = &mut self.stats;
        stats.ticks += u64::from(!line.between);
        stats.first_at = stats.first_at.or(Some(line.at));
        stats.last_at = Some(line.at);
        stats.asked_interval_ms = stats.asked_interval_ms.or(line.interval_ms);
        stats.pace_ms = stats.pace_ms.or(line.pace_ms);
        stats.dynamic_vram = stats.dynamic_vram.or(line.dynamic_vram);
        if line.interval_ms.is_some() {
            self.latest = None;
        }
        let step = self.step(line.at);
        self.gaps.line(step, line);
        self.timeline.line(step, line);
        let scene = line.scene.map(|id| self.scene(id));
        let node = scene.zip(line.node).and_then(|(scene, node)| self.node(scene, node));
        let before = std::mem::replace(&mut self.label, scene);
        for place in [before, scene].into_iter().flatten() {
            self.scenes[place].figures.gap_ms = self.scenes[place].figures.gap_ms.max(line.gap_ms);
        }
        let spilled = line.result.as_ref().ok().and_then(|(reading, _)| reading.spilled);
        let spilled_ms = self.spilled.line(step, line.between, spilled.is_some());
        match &line.result {
            Err(miss) => *self.stats.missed.entry(*miss).or_default() += 1,
            Ok((reading, source)) => {
                self.gaps.reading(line);
                self.reading(reading, line, (scene, node), *source);
                self.latest = Some((*reading, *source));
            }
        }
        self.stats.spilled_ms += spilled_ms;
        if let Some(scene) = scene {
            self.scenes[scene].figures.spilled_ms += spilled_ms;
        }
    }

    /// Milliseconds since the line before, 0 for the first one; none where the clock was set back.
    /// Stamps know no date: a step back of more than 12 hours is midnight. A tick's time may be cut
    /// off to the second, that of a reading before it is not: within a second nothing steps back.
    fn step(&mut self, at: Time) -> Option<u64> {
        let (h, m, s, ms) = at.as_hms_milli();
        let now = ((u64::from(h) * 60 + u64::from(m)) * 60 + u64::from(s)) * 1000 + u64::from(ms);
        let latest = self.latest_ms.unwrap_or(now);
        let now = if now / SECOND_MS == latest / SECOND_MS { now.max(latest) } else { now };
        self.latest_ms = Some(now);
        let midnight = || (now + DAY_MS).checked_sub(latest).filter(|step| *step < DAY_MS / 2);
        now.checked_sub(latest).or_else(midnight)
    }

    /// The position of a scene; it is nearly always the latest.
    fn scene(&mut self, id: &str) -> usize {
        if self.scenes.get(self.latest_scene).is_none_or(|scene| scene.figures.id != id) {
            let next = self.scenes.len();
            let has_room = next < MAX_SCENES || self.positions.contains_key(id);
            let id = if has_room { id } else { OTHER_SCENES }.to_owned();
            self.latest_scene = *self.positions.entry(id.clone()).or_insert(next);
            if self.latest_scene == next {
                let figures = SceneStatistics { id, ..SceneStatistics::default() };
                let before = self.latest;
                self.scenes.push(SceneFigures { figures, before, ..SceneFigures::default() });
            }
        }
        self.latest_scene
    }

    /// The position of a node among those of its scene; none where there are too many.
    fn node(&mut self, scene: usize, id: &str) -> Option<usize> {
        let nodes = &mut self.scenes.get_mut(scene)?.figures.nodes;
        let known = nodes.iter().rposition(|node| node.id == id);
        known.or_else(|| {
            self.nodes += 1;
            (self.nodes <= MAX_NODES).then(|| {
                nodes.push(NodeStatistics { id: id.to_owned(), ..NodeStatistics::default() });
                nodes.len() - 1
            })
        })
    }

    fn reading(
        &mut self,
        reading: &Reading,
        line: &Line<&str>,
        (scene, node): (Option<usize>, Option<usize>),
        source: Source,
    ) {
        let stats = &mut self.stats;
        let own = (source == Source::ComfyUi).then_some(reading.used);
        if stats.samples == 0 {
            (stats.start_driver, stats.start_torch) = (reading.driver, reading.torch);
            stats.system_ram = reading.is_system_ram();
        }
        stats.samples += 1;
        stats.total = stats.total.or(reading.total);
        stats.start_used = stats.start_used.or(own);
        match source {
            Source::ComfyUi => stats.sources.comfyui += 1,
            Source::NvidiaSmi => stats.sources.nvidia_smi += 1,
        }
        if !line.between {
            self.used.add(reading.used);
        }
        let (at, at_ms) = (line.at, self.timeline.elapsed_ms);
        let peak = Peak { mb: reading.used, at, at_ms, scene, node, source };
        self.peaks.take(peak, own, reading);
        if let Some(scene) = scene.and_then(|position| self.scenes.get_mut(position)) {
            scene.take(own, reading, node, line.between);
        }
    }

    /// What the lines say; `skipped` lines could not be read.
    pub fn finish(self, skipped: u64) -> LogSummary {
        let Accumulator { stats, mut timeline, used, gaps, peaks, scenes, .. } = self;
        let mb = |peak: Option<Peak>| peak.map(|peak| peak.mb);
        let (comfyui_peak, driver_peak) = (mb(peaks.used), mb(peaks.driver));
        let metric = if stats.start_driver.is_some() { Metric::Driver } else { Metric::Used };
        let highest = metric.of(comfyui_peak, driver_peak);
        let start = metric.of(stats.start_used, stats.start_driver);
        let ticks = used.count();
        let middle = [ticks.div_ceil(2), ticks / 2 + 1].map(|n| used.ranked(n));
        let scenes: Vec<_> = scenes.into_iter().map(SceneFigures::finish).collect();
        let place_of = |peak: Peak| {
            let scene: &SceneStatistics = scenes.get(peak.scene?)?;
            let node = peak.node.and_then(|node| scene.nodes.get(node));
            Some(Place { scene: scene.id.clone(), node: node.map(|node| node.id.clone()) })
        };
        timeline.driver_peak = peaks.shown(Metric::Driver);
        timeline.used_peak = peaks.shown(Metric::Used);
        let stats = VramStats {
            skipped_lines: skipped,
            peak: mb(peaks.any),
            average: mean(used.sum(), ticks),
            minimum: used.ranked(1),
            median: middle[0].zip(middle[1]).and_then(|(lower, upper)| mean(lower + upper, 2)),
            p95: used.ranked((ticks * 95).div_ceil(100)),
            peak_at: peaks.any.map(|peak| peak.at),
            peak_place: peaks.any.and_then(place_of),
            peak_source: peaks.any.map(|peak| peak.source),
            comfyui_peak,
            driver_peak,
            torch_peak: mb(peaks.torch),
            peak_generating: peaks.generating(metric).and_then(|peak| {
                let [used, driver, torch] =
                    [peaks.generating_used, peaks.generating_driver, peaks.generating_torch]
                        .map(mb);
                Some(PeakGenerating { used, driver, torch, at: peak.at, place: place_of(peak)? })
            }),
            spilled: peaks.spilled.map(|peak| (peak.mb, place_of(peak))),
            metric,
            added: highest.zip(start).map(|(peak, start)| Added { peak, start }),
            growth_per_scene: growth(scenes.iter().map(Some), metric),
            scenes,
            // Stamps of whole seconds may all be the same one: that is no rhythm.
            achieved_interval_ms: mean(gaps.span, gaps.count).filter(|ms| *ms > 0),
            // Where there never was a reading, there is nothing to bound.
            longest_gap_ms: gaps.longest.filter(|_| stats.samples > 0),
            ..stats
        };
        LogSummary { stats, timeline }
    }
}

/// How long the lines of ticks have carried what spilled into system RAM.
#[derive(Default)]
struct Spilling {
    /// The latest tick carried it.
    before: bool,
    /// Since that tick, in milliseconds; unknown after the clock was set back.
    since: Option<u64>,
}

impl Spilling {
    /// Takes the next line; returns the milliseconds that it ends between two ticks that both carry
    /// it.
    fn line(&mut self, step: Option<u64>, between: bool, spilled: bool) -> u64 {
        self.since = self.since.zip(step).map(|(since, step)| since + step);
        if between {
            return 0;
        }
        let both = std::mem::replace(&mut self.before, spilled) && spilled;
        self.since.replace(0).filter(|_| both).unwrap_or_default()
    }
}

/// A highest figure, and where it was read.
#[derive(Clone, Copy)]
struct Peak {
    mb: u64,
    at: Time,
    /// Since the first line.
    at_ms: u64,
    /// The position of the scene that was running.
    scene: Option<usize>,
    /// The position of its node in it.
    node: Option<usize>,
    source: Source,
}

/// The highest figures of all lines; of equal ones the first.
#[derive(Default)]
struct Peaks {
    /// Of `Used=`, whoever gave it.
    any: Option<Peak>,
    /// Of `ComfyUI`'s `Used=`.
    used: Option<Peak>,
    driver: Option<Peak>,
    torch: Option<Peak>,
    spilled: Option<Peak>,
    /// Of the lines with a scene.
    generating_used: Option<Peak>,
    generating_driver: Option<Peak>,
    generating_torch: Option<Peak>,
}

impl Peaks {
    fn take(&mut self, peak: Peak, own: Option<u64>, reading: &Reading) {
        let raise = |highest: &mut Option<Peak>, mb: Option<u64>| {
            if let Some(mb) = mb
                && highest.is_none_or(|highest| mb > highest.mb)
            {
                *highest = Some(Peak { mb, ..peak });
            }
        };
        raise(&mut self.any, Some(peak.mb));
        raise(&mut self.used, own);
        raise(&mut self.driver, reading.driver);
        raise(&mut self.torch, reading.torch);
        raise(&mut self.spilled, reading.spilled);
        if peak.scene.is_some() {
            raise(&mut self.generating_used, own);
            raise(&mut self.generating_driver, reading.driver);
            raise(&mut self.generating_torch, reading.torch);
        }
    }

    /// The highest figure while generating, of the metric or else of the other one.
    fn generating(&self, metric: Metric) -> Option<Peak> {
        metric.first_of(self.generating_used, self.generating_driver)
    }

    /// Same as [`Peaks::generating`]; without one, of all lines.
    fn shown(&self, metric: Metric) -> Option<timeline::Peak> {
        let peak = self.generating(metric).or(metric.first_of(self.used, self.driver))?;
        Some(timeline::Peak { mb: peak.mb, at_ms: peak.at_ms })
    }
}

/// A scene whose lines are still coming.
#[derive(Default)]
struct SceneFigures {
    figures: SceneStatistics,
    /// The last reading before its first one.
    before: Option<(Reading, Source)>,
    /// The used figures of its ticks.
    sum: u64,
    ticks: u64,
}

impl SceneFigures {
    fn take(&mut self, own: Option<u64>, reading: &Reading, node: Option<usize>, between: bool) {
        let figures = &mut self.figures;
        let &Reading { driver, torch, spilled, .. } = reading;
        if let Some(used) = own {
            figures.samples += 1;
            figures.last_used = Some(used);
            if !between {
                figures.floor = Some(figures.floor.map_or(used, |low| low.min(used)));
                self.sum += used;
                self.ticks += 1;
            }
        }
        figures.peak = figures.peak.max(own);
        figures.driver_peak = figures.driver_peak.max(driver);
        figures.torch_peak = figures.torch_peak.max(torch);
        figures.spilled_peak = figures.spilled_peak.max(spilled);
        figures.device_peak =
            figures.device_peak.max(spilled.map(|spilled| reading.device() + spilled));
        figures.last_driver = driver.or(figures.last_driver);
        if let Some(node) = node.and_then(|position| figures.nodes.get_mut(position)) {
            node.peak = node.peak.max(own);
            node.driver_peak = node.driver_peak.max(driver);
            node.torch_peak = node.torch_peak.max(torch);
        }
    }

    fn finish(self) -> SceneStatistics {
        let SceneFigures { figures, before, sum, ticks } = self;
        // Different figures are never compared with each other.
        let added = before.and_then(|(before, source)| {
            let (peak, start) = match before.driver.zip(figures.driver_peak) {
                Some((start, peak)) => (peak, start),
                None if source == Source::ComfyUi => (figures.peak?, before.used),
                None => return None,
            };
            (peak >= start).then_some(Added { peak, start })
        });
        let torch_before = before.and_then(|(before, _)| before.torch);
        SceneStatistics { average: mean(sum, ticks), added, torch_before, ..figures }
    }
}

/// The least-squares slope of the scenes' last figures in MB per scene, rounded half to even.
/// The first scene is left out, since it loads the models; at least three others must be known.
pub(super) fn growth<'s>(
    scenes: impl Iterator<Item = Option<&'s SceneStatistics>>,
    metric: Metric,
) -> Option<i64> {
    let last = |scene: &SceneStatistics| metric.of(scene.last_used, scene.last_driver);
    let points = (0..).zip(scenes).skip(1);
    let points: Vec<(i128, i128)> =
        points.filter_map(|(place, scene)| Some((place, last(scene?)?.into()))).collect();
    if points.len() < 3 {
        return None;
    }
    let sum = |term: fn(&(i128, i128)) -> i128| points.iter().map(term).sum::<i128>();
    let (count, xs, ys) = (sum(|_| 1), sum(|(x, _)| *x), sum(|(_, y)| *y));
    let rise = count * sum(|(x, y)| x * y) - xs * ys;
    let run = count * sum(|(x, _)| x * x) - xs * xs;
    let slope = i64::try_from(quotient(rise.unsigned_abs(), run.unsigned_abs())).ok()?;
    Some(if rise < 0 { -slope } else { slope })
}

/// How often each value occurred, up to the highest that a line can have: 192 KiB for 24 GB,
/// 128 MiB at most.
#[derive(Default)]
struct Distribution {
    counts: Vec<u64>,
}

impl Distribution {
    fn add(&mut self, value: u64) {
        let Ok(place) = usize::try_from(value) else { return };
        if place >= self.counts.len() {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += 1;
    }

    fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn sum(&self) -> u64 {
        (0..).zip(&self.counts).map(|(value, count)| value * count).sum()
    }

    /// The value at that place, from 1, of all values in ascending order.
    fn ranked(&self, rank: u64) -> Option<u64> {
        let mut passed = 0;
        (0..).zip(&self.counts).find_map(|(value, count)| {
            passed += count;
            (passed >= rank.max(1)).then_some(value)
        })
    }
}

/// The times between readings, in milliseconds. What lies around a clock that was set back is no
/// gap, nor is what lies between two runs, or a sleep of the computer. A log with its readings' pace tells the gaps between
/// them itself, if they are longer than twice that pace.
#[derive(Default)]
struct Gaps {
    /// Since the latest tick with a reading, or since the run began; unknown after the clock was set
    /// back. None before the first line.
    unseen: Option<u64>,
    begun: bool,
    /// There was a tick with a reading in this run.
    seen: bool,
    /// The computer slept after the line before.
    slept: bool,
    interval: Option<u64>,
    pace: Option<u64>,
    count: u64,
    span: u64,
    longest: Option<u64>,
}

impl Gaps {
    /// The step to the next line; a run's first line has its interval.
    fn line(&mut self, step: Option<u64>, line: &Line<&str>) {
        self.longest = self.longest.max(line.gap_ms);
        let is_asleep = line.result == Err(MissReason::Asleep);
        let slept = std::mem::replace(&mut self.slept, is_asleep);
        if !std::mem::replace(&mut self.begun, true) || line.interval_ms.is_some() {
            (self.interval, self.pace) = (line.interval_ms, line.pace_ms);
            (self.unseen, self.seen) = (Some(0), false);
            self.longest = self.longest.max(line.pace_ms.map(|pace| pace * 2));
            return;
        }
        if is_asleep {
            (self.unseen, self.seen) = (Some(0), false);
            return;
        }
        let step = if slept { Some(0) } else { step };
        self.unseen = self.unseen.zip(step).map(|(unseen, step)| unseen + step);
        // Should no reading follow, this is how long none was there.
        if self.pace.is_none() || line.result.is_err() {
            self.longest = self.longest.max(self.unseen.filter(|unseen| *unseen > 0));
        }
    }

    /// That line has a reading.
    fn reading(&mut self, line: &Line<&str>) {
        if line.between {
            return;
        }
        let seen = std::mem::replace(&mut self.seen, true);
        let Some(unseen) = self.unseen.replace(0).filter(|unseen| seen || *unseen > 0) else {
            return;
        };
        if seen {
            self.count += 1;
            self.span += unseen;
        }
        if self.pace.is_none() {
            let longest = unseen + self.cut_off(unseen) + line.took_ms.unwrap_or(0);
            self.longest = self.longest.max(Some(longest));
        }
    }

    /// How much longer the time between two stamps may have been that are cut off to the second:
    /// nothing if they have milliseconds, or lie on a grid of whole seconds, as all but a run's
    /// last one do.
    fn cut_off(&self, apart: u64) -> u64 {
        let in_seconds = self.interval.filter(|interval| *interval >= SECOND_MS);
        let is_off_grid = |interval: u64| {
            apart == 0 || !apart.is_multiple_of(interval) || !interval.is_multiple_of(SECOND_MS)
        };
        if in_seconds.is_some_and(is_off_grid) { SECOND_MS } else { 0 }
    }
}

/// The mean of so many values, rounded half to even; none of none.
fn mean(sum: u64, count: u64) -> Option<u64> {
    (count > 0).then(|| quotient(sum.into(), count.into()))
}
