//! The figures of one scene, and what a row of scenes says about growth.

use super::Metric;
use super::round::quotient;
use crate::vram::reading::{Reading, Source};

/// The figures of the lines with one scene: of all its attempts, while they were running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SceneStatistics {
    /// The id.
    pub id: String,
    /// The highest used figure, in MB.
    pub peak: Option<u64>,
    /// The mean used figure, in MB, rounded half to even.
    pub average: Option<u64>,
    /// The lowest used figure, in MB.
    pub floor: Option<u64>,
    /// How many samples the used figures are made of.
    pub samples: u64,
    /// The highest driver figure, in MB.
    pub driver_peak: Option<u64>,
    /// The last used figure, in MB.
    pub last_used: Option<u64>,
    /// The last driver figure, in MB.
    pub last_driver: Option<u64>,
}

/// A scene whose lines are still coming.
#[derive(Default)]
pub(super) struct Scene {
    pub(super) figures: SceneStatistics,
    sum: u128,
}

impl Scene {
    pub(super) fn new(id: String) -> Self {
        Scene { figures: SceneStatistics { id, ..SceneStatistics::default() }, sum: 0 }
    }

    pub(super) fn take(&mut self, reading: &Reading, source: Source) {
        let figures = &mut self.figures;
        if source == Source::ComfyUi {
            figures.samples += 1;
            figures.peak = figures.peak.max(Some(reading.used));
            figures.floor = Some(figures.floor.map_or(reading.used, |low| low.min(reading.used)));
            figures.last_used = Some(reading.used);
            self.sum += u128::from(reading.used);
        }
        figures.driver_peak = figures.driver_peak.max(reading.driver);
        figures.last_driver = reading.driver.or(figures.last_driver);
    }

    pub(super) fn finish(mut self) -> SceneStatistics {
        let samples = self.figures.samples;
        self.figures.average = (samples > 0).then(|| quotient(self.sum, samples.into()));
        self.figures
    }
}

/// The least-squares slope of the scenes' last figures in MB per scene, rounded half to even.
/// The first scene is left out, since it loads the models; at least three others must be known.
pub(super) fn growth(scenes: &[Option<&SceneStatistics>], meaning: Metric) -> Option<i64> {
    let points: Vec<(i128, i128)> = (0..)
        .zip(scenes)
        .skip(1)
        .filter_map(|(place, scene)| {
            let last = match meaning {
                Metric::Driver => scene.as_ref()?.last_driver,
                Metric::Used => scene.as_ref()?.last_used,
            };
            Some((place, i128::from(last?)))
        })
        .collect();
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
