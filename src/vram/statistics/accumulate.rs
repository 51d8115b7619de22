//! Line by line into sums, the sums into statistics.

use std::collections::BTreeMap;

use time::Time;

use super::growth::slope;
use super::histogram::Histogram;
use super::{PeakGenerating, RunTook, SceneStatistics, Statistics, Used};
use crate::vram::log::Line;
use crate::vram::reading::{Miss, Reading, Source};

const DAY_MS: i64 = 86_400_000;

#[derive(Default)]
pub(super) struct Sums {
    ticks: u64,
    samples: u64,
    sum: u128,
    minimum: Option<u64>,
    peak: Option<Peak>,
    histogram: Histogram,
    comfyui_peak: Option<u64>,
    driver_peak: Option<u64>,
    generating_used: Option<Peak>,
    generating_driver: Option<Peak>,
    first: Option<(Reading, Source)>,
    total: Option<u64>,
    scenes: Vec<Scene>,
    asked_interval_ms: Option<u64>,
    previous: Option<Time>,
    span_ms: u64,
    longest_gap_ms: Option<u64>,
    missed: BTreeMap<Miss, u64>,
    from_nvidia_smi: u64,
}

/// A highest figure, and where it was first read.
struct Peak {
    value: u64,
    at: Time,
    scene: Option<String>,
    source: Source,
}

struct Scene {
    id: String,
    samples: u64,
    used_samples: u64,
    sum: u128,
    peak: Option<u64>,
    floor: Option<u64>,
    driver_peak: Option<u64>,
    last: Reading,
    last_source: Source,
}

impl Sums {
    pub(super) fn take(&mut self, line: &Line) {
        self.ticks += 1;
        self.asked_interval_ms = self.asked_interval_ms.or(line.interval_ms);
        let (reading, source) = match line.entry {
            Ok(entry) => entry,
            Err(miss) => return *self.missed.entry(miss).or_default() += 1,
        };
        self.samples += 1;
        self.sum += u128::from(reading.used);
        self.minimum = Some(self.minimum.map_or(reading.used, |least| least.min(reading.used)));
        self.histogram.add(reading.used);
        self.first.get_or_insert((reading, source));
        self.total = reading.total.or(self.total);
        raise(&mut self.peak, reading.used, line, source);
        self.driver_peak = self.driver_peak.max(reading.driver);
        if source == Source::ComfyUi {
            self.comfyui_peak = self.comfyui_peak.max(Some(reading.used));
        } else {
            self.from_nvidia_smi += 1;
        }
        self.gap(line);
        if let Some(id) = &line.scene {
            if source == Source::ComfyUi {
                raise(&mut self.generating_used, reading.used, line, source);
            }
            if let Some(driver) = reading.driver {
                raise(&mut self.generating_driver, driver, line, source);
            }
            self.scene(id).take(reading, source);
        }
    }

    fn gap(&mut self, line: &Line) {
        if let Some(previous) = self.previous {
            let between = since_midnight(line.at) - since_midnight(previous);
            // A step back of more than 12 h is midnight; a smaller one a clock that was set.
            let between = if between < -DAY_MS / 2 { between + DAY_MS } else { between };
            if let Ok(between) = u64::try_from(between) {
                self.span_ms += between;
                // Two stamps of one whole second are up to a second apart.
                let apart = if between == 0 && line.at.millisecond() == 0 { 1000 } else { between };
                let gap = apart.saturating_add(line.took_ms.unwrap_or(0));
                self.longest_gap_ms = self.longest_gap_ms.max(Some(gap));
            }
        }
        self.previous = Some(line.at);
    }

    fn scene(&mut self, id: &str) -> &mut Scene {
        // Lines of one scene follow each other: the last one is nearly always the one.
        let index = self.scenes.iter().rposition(|scene| scene.id == id).unwrap_or_else(|| {
            self.scenes.push(Scene {
                id: id.to_owned(),
                samples: 0,
                used_samples: 0,
                sum: 0,
                peak: None,
                floor: None,
                driver_peak: None,
                last: Reading::default(),
                last_source: Source::ComfyUi,
            });
            self.scenes.len() - 1
        });
        &mut self.scenes[index]
    }

    pub(super) fn finish(self, skipped_lines: u64) -> Statistics {
        let driver_first = self.first.and_then(|(reading, _)| reading.driver);
        let used = self.peak.as_ref().and_then(|peak| {
            Some(Used {
                peak: peak.value,
                peak_at: peak.at,
                peak_scene: peak.scene.clone(),
                peak_source: peak.source,
                average: mean(self.sum, self.samples)?,
                minimum: self.minimum?,
                median: self.histogram.median()?,
                p95: self.histogram.percentile(95)?,
            })
        });
        let run_took = match (driver_first, self.first) {
            (Some(start), _) => self.driver_peak.map(|peak| RunTook { driver: true, peak, start }),
            (None, Some((first, Source::ComfyUi))) => {
                self.comfyui_peak.map(|peak| RunTook { driver: false, peak, start: first.used })
            }
            _ => None,
        };
        let left = |scene: &Scene| match driver_first {
            Some(_) => scene.last.driver,
            None => Some(scene.last.used).filter(|_| scene.last_source == Source::ComfyUi),
        };
        let left: Vec<u64> = self.scenes.iter().skip(1).filter_map(left).collect();
        Statistics {
            samples: self.samples,
            ticks: self.ticks,
            skipped_lines,
            used,
            comfyui_peak: self.comfyui_peak,
            peak_generating: generating(self.generating_used, self.generating_driver),
            run_took,
            driver_peak: self.driver_peak,
            total: self.total,
            growth_per_scene: slope(&left),
            asked_interval_ms: self.asked_interval_ms,
            achieved_interval_ms: mean(self.span_ms.into(), self.samples.saturating_sub(1)),
            longest_gap_ms: self.longest_gap_ms,
            missed: self.missed,
            from_comfyui: self.samples - self.from_nvidia_smi,
            from_nvidia_smi: self.from_nvidia_smi,
            scenes: self.scenes.into_iter().map(Scene::finish).collect(),
        }
    }
}

fn generating(used: Option<Peak>, driver: Option<Peak>) -> Option<PeakGenerating> {
    let value = |peak: &Option<Peak>| peak.as_ref().map(|peak| peak.value);
    let (used_value, driver_value) = (value(&used), value(&driver));
    let shown = driver.or(used)?;
    Some(PeakGenerating {
        used: used_value,
        driver: driver_value,
        at: shown.at,
        scene: shown.scene.unwrap_or_default(),
    })
}

fn raise(peak: &mut Option<Peak>, value: u64, line: &Line, source: Source) {
    if peak.as_ref().is_none_or(|peak| value > peak.value) {
        *peak = Some(Peak { value, at: line.at, scene: line.scene.clone(), source });
    }
}

impl Scene {
    fn take(&mut self, reading: Reading, source: Source) {
        self.samples += 1;
        self.driver_peak = self.driver_peak.max(reading.driver);
        if source == Source::ComfyUi {
            self.used_samples += 1;
            self.sum += u128::from(reading.used);
            self.peak = self.peak.max(Some(reading.used));
            self.floor = Some(self.floor.map_or(reading.used, |floor| floor.min(reading.used)));
        }
        self.last = reading;
        self.last_source = source;
    }

    fn finish(self) -> SceneStatistics {
        SceneStatistics {
            samples: self.samples,
            peak: self.peak,
            average: mean(self.sum, self.used_samples),
            floor: self.floor,
            driver_peak: self.driver_peak,
            id: self.id,
        }
    }
}

fn since_midnight(at: Time) -> i64 {
    let (h, m, s, ms) = at.as_hms_milli();
    ((i64::from(h) * 60 + i64::from(m)) * 60 + i64::from(s)) * 1000 + i64::from(ms)
}

/// Rounded half to even; none of none.
pub(super) fn mean(sum: u128, count: u64) -> Option<u64> {
    let count = u128::from(count);
    let (whole, rest) = (sum.checked_div(count)?, sum % count);
    let up = 2 * rest > count || (2 * rest == count && whole % 2 == 1);
    u64::try_from(whole + u128::from(up)).ok()
}
