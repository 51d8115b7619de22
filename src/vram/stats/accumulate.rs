//! One pass over the lines of a log.

use std::collections::HashMap;

use time::Time;

use super::gaps::Gaps;
use super::histogram::Histogram;
use super::scene::{Scene, growth};
use super::{Metric, PeakGenerating, RunTook, VramStats};
use crate::vram::log::Line;
use crate::vram::reading::{Reading, Source};

/// Scenes with figures of their own: whoever writes a new id into every line gets no more memory
/// than this.
const MOST_SCENES: usize = 4096;

/// What further scenes are told together as; no scene can have this id.
const OTHER_SCENES: &str = "(other scenes)";

#[derive(Clone, Copy)]
struct Peak {
    mb: u64,
    at: Time,
    scene: Option<usize>,
    source: Source,
}

impl Peak {
    /// The earlier of two equal ones stays.
    fn raise(highest: &mut Option<Peak>, peak: Peak) {
        if highest.is_none_or(|highest| peak.mb > highest.mb) {
            *highest = Some(peak);
        }
    }
}

#[derive(Default)]
pub(super) struct Accumulator {
    figures: VramStats,
    all: Histogram,
    gaps: Gaps,
    scenes: Vec<Scene>,
    places: HashMap<String, usize>,
    /// The place of the latest scene.
    latest: usize,
    peak: Option<Peak>,
    generating_used: Option<Peak>,
    generating_driver: Option<Peak>,
}

impl Accumulator {
    pub(super) fn take(&mut self, line: &Line<&str>) {
        let figures = &mut self.figures;
        figures.ticks += 1;
        figures.first_at = figures.first_at.or(Some(line.at));
        figures.last_at = Some(line.at);
        figures.asked_interval_ms = figures.asked_interval_ms.or(line.interval_ms);
        self.gaps.tick(line.at, line.interval_ms);
        let scene = line.scene.map(|id| self.scene(id));
        match line.entry {
            Err(miss) => *self.figures.missed.entry(miss).or_default() += 1,
            Ok((reading, source)) => {
                self.gaps.reading(line.took_ms);
                self.reading(&reading, Peak { mb: reading.used, at: line.at, scene, source });
            }
        }
    }

    /// The place of a scene; it is nearly always the latest.
    fn scene(&mut self, id: &str) -> usize {
        if self.scenes.get(self.latest).is_none_or(|scene| scene.figures.id != id) {
            self.latest = self.places.get(id).copied().unwrap_or_else(|| self.add_scene(id));
        }
        self.latest
    }

    fn add_scene(&mut self, id: &str) -> usize {
        let place = self.scenes.len().min(MOST_SCENES);
        if place < MOST_SCENES {
            self.scenes.push(Scene::new(id.to_owned()));
            self.places.insert(id.to_owned(), place);
        } else if self.places.len() == place {
            self.scenes.push(Scene::new(OTHER_SCENES.to_owned()));
            self.places.insert(OTHER_SCENES.to_owned(), place);
        }
        place
    }

    fn reading(&mut self, reading: &Reading, used: Peak) {
        let own = used.source == Source::ComfyUi;
        let driver = reading.driver.map(|mb| Peak { mb, ..used });
        let figures = &mut self.figures;
        if figures.samples == 0 {
            figures.start_driver = reading.driver;
        }
        figures.samples += 1;
        figures.total = figures.total.or(reading.total);
        figures.driver_peak = figures.driver_peak.max(reading.driver);
        if own {
            figures.sources.comfyui += 1;
            figures.comfyui_peak = figures.comfyui_peak.max(Some(reading.used));
            figures.start_used = figures.start_used.or(Some(reading.used));
        } else {
            figures.sources.nvidia_smi += 1;
        }
        self.all.add(reading.used);
        Peak::raise(&mut self.peak, used);
        if let Some(scene) = used.scene.and_then(|place| self.scenes.get_mut(place)) {
            scene.take(reading, used.source);
            if own {
                Peak::raise(&mut self.generating_used, used);
            }
            if let Some(driver) = driver {
                Peak::raise(&mut self.generating_driver, driver);
            }
        }
    }

    pub(super) fn finish(self, skipped_lines: u64) -> VramStats {
        let known = &self.figures;
        let meaning = if known.start_driver.is_some() { Metric::Driver } else { Metric::Used };
        let (highest, start) = match meaning {
            Metric::Driver => (known.driver_peak, known.start_driver),
            Metric::Used => (known.comfyui_peak, known.start_used),
        };
        let scenes: Vec<_> = self.scenes.into_iter().map(Scene::finish).collect();
        let scene_of = |peak: Peak| Some(scenes.get(peak.scene?)?.id.clone());
        let (used, driver) = (self.generating_used, self.generating_driver);
        let generating = match meaning {
            Metric::Driver => driver.or(used),
            Metric::Used => used.or(driver),
        };
        VramStats {
            skipped_lines,
            peak: self.peak.map(|peak| peak.mb),
            average: self.all.mean(),
            minimum: self.all.minimum(),
            median: self.all.median(),
            p95: self.all.percentile(95),
            peak_at: self.peak.map(|peak| peak.at),
            peak_scene: self.peak.and_then(scene_of),
            peak_source: self.peak.map(|peak| peak.source),
            peak_generating: generating.and_then(|peak| {
                let (used, driver) = (used.map(|peak| peak.mb), driver.map(|peak| peak.mb));
                Some(PeakGenerating { used, driver, at: peak.at, scene: scene_of(peak)? })
            }),
            meaning,
            run_took: highest.zip(start).map(|(peak, start)| RunTook { peak, start }),
            growth_per_scene: growth(&scenes.iter().map(Some).collect::<Vec<_>>(), meaning),
            scenes,
            // Stamps of whole seconds may all be the same one: that is no rhythm.
            achieved_interval_ms: self.gaps.mean_ms().filter(|ms| *ms > 0),
            // Where there never was a reading, there is nothing to bound.
            longest_gap_ms: self.gaps.longest_ms().filter(|_| known.samples > 0),
            ..self.figures
        }
    }
}
