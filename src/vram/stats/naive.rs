//! The statistics once more, from a list of lines and as plainly as they are defined.

use super::*;
use crate::vram::log::Line;
use crate::vram::reading::Reading;

type Sample<'a> = (&'a Line, Reading, Source);

fn own(samples: &[Sample]) -> Vec<u64> {
    let own = samples.iter().filter(|(_, _, source)| *source == Source::ComfyUi);
    own.map(|(_, reading, _)| reading.used).collect()
}

fn driver(samples: &[Sample]) -> Vec<u64> {
    samples.iter().filter_map(|(_, reading, _)| reading.driver).collect()
}

fn highest(figures: &[u64]) -> Option<u64> {
    figures.iter().max().copied()
}

fn mean(figures: &[u64]) -> Option<u64> {
    let (sum, count) = (figures.iter().sum::<u64>(), figures.len() as u64);
    let (whole, twice_rest) = (sum.checked_div(count)?, 2 * sum.checked_rem(count)?);
    let odd = whole % 2 == 1;
    Some(whole + u64::from(twice_rest > count || (twice_rest == count && odd)))
}

fn scene(id: &str, samples: &[Sample]) -> SceneStatistics {
    let samples: Vec<Sample> =
        samples.iter().filter(|(line, ..)| line.scene.as_deref() == Some(id)).copied().collect();
    let (own, driver) = (own(&samples), driver(&samples));
    SceneStatistics {
        id: id.to_owned(),
        peak: highest(&own),
        average: mean(&own),
        floor: own.iter().min().copied(),
        samples: own.len() as u64,
        driver_peak: highest(&driver),
        last_used: own.last().copied(),
        last_driver: driver.last().copied(),
    }
}

fn generating(samples: &[Sample], metric: Metric) -> Option<PeakGenerating> {
    let samples: Vec<Sample> =
        samples.iter().filter(|(line, ..)| line.scene.is_some()).copied().collect();
    let (used, driver) = (highest(&own(&samples)), highest(&driver(&samples)));
    let by_driver = driver.is_some() && (metric == Metric::Driver || used.is_none());
    let (line, ..) = samples.iter().find(|(_, reading, source)| {
        if by_driver {
            reading.driver == driver
        } else {
            *source == Source::ComfyUi && Some(reading.used) == used
        }
    })?;
    Some(PeakGenerating { used, driver, at: line.at, scene: line.scene.clone()? })
}

fn naive(lines: &[Line]) -> VramStats {
    let samples: Vec<Sample> = lines
        .iter()
        .filter_map(|line| line.result.ok().map(|(reading, source)| (line, reading, source)))
        .collect();
    let (own, driver) = (own(&samples), driver(&samples));
    let mut sorted: Vec<u64> = samples.iter().map(|(_, reading, _)| reading.used).collect();
    sorted.sort_unstable();
    let n = sorted.len();
    let peak = samples.iter().find(|(_, reading, _)| Some(&reading.used) == sorted.last());
    let mut ids: Vec<&str> = Vec::new();
    for id in lines.iter().filter_map(|line| line.scene.as_deref()) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let mut missed = BTreeMap::new();
    for miss in lines.iter().filter_map(|line| line.result.err()) {
        *missed.entry(miss).or_default() += 1;
    }
    let start_driver = samples.first().and_then(|(_, reading, _)| reading.driver);
    let metric = if start_driver.is_some() { Metric::Driver } else { Metric::Used };
    let took = match start_driver {
        Some(start) => highest(&driver).map(|peak| RunTook { peak, start }),
        None => highest(&own).map(|peak| RunTook { peak, start: own[0] }),
    };
    VramStats {
        samples: n as u64,
        ticks: lines.len() as u64,
        peak: sorted.last().copied(),
        average: mean(&sorted),
        minimum: sorted.first().copied(),
        median: (n > 0).then(|| mean(&[sorted[(n - 1) / 2], sorted[n / 2]])).flatten(),
        p95: (n > 0).then(|| sorted[(n * 95).div_ceil(100) - 1]),
        peak_at: peak.map(|(line, ..)| line.at),
        peak_scene: peak.and_then(|(line, ..)| line.scene.clone()),
        peak_source: peak.map(|(_, _, source)| *source),
        comfyui_peak: highest(&own),
        driver_peak: highest(&driver),
        peak_generating: generating(&samples, metric),
        start_driver,
        start_used: own.first().copied(),
        metric,
        run_took: took,
        total: samples.iter().find_map(|(_, reading, _)| reading.total),
        scenes: ids.iter().map(|id| scene(id, &samples)).collect(),
        asked_interval_ms: lines.iter().find_map(|line| line.interval_ms),
        missed,
        sources: Sources { comfyui: own.len() as u64, nvidia_smi: (n - own.len()) as u64 },
        first_at: lines.first().map(|line| line.at),
        last_at: lines.last().map(|line| line.at),
        ..VramStats::default()
    }
}

impl VramStats {
    /// Fails unless these are the lines' statistics. Times and growth have tests of their own.
    #[track_caller]
    pub(crate) fn assert_of(&self, lines: &[Line]) {
        let wanted = naive(lines);
        let compared = VramStats {
            growth_per_scene: wanted.growth_per_scene,
            achieved_interval_ms: wanted.achieved_interval_ms,
            longest_gap_ms: wanted.longest_gap_ms,
            skipped_lines: wanted.skipped_lines,
            ..self.clone()
        };
        assert_eq!(compared, wanted);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vram::log::any_line;

    proptest! {
        #[test]
        fn a_stream_gives_what_a_list_gives(
            lines in prop::collection::vec((any_line(true), 0..4_usize, 0..30_u64), 0..60)
        ) {
            // Few scenes and near figures, so that they meet.
            let scenes = [None, Some("a"), Some("b"), Some("c")];
            let lines: Vec<Line> = lines
                .into_iter()
                .map(|(mut line, scene, used)| {
                    line.scene = scenes[scene].map(str::to_owned);
                    if let Ok((reading, _)) = &mut line.result {
                        reading.used = used * 97;
                    }
                    line
                })
                .collect();
            let log: String = lines.iter().map(|line| line.format(true) + "\n").collect();
            let streamed = LogSummary::of(log.as_bytes()).unwrap().stats;
            streamed.assert_of(&lines);
        }
    }
}
