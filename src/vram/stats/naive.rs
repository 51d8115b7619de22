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

fn torch(samples: &[Sample]) -> Vec<u64> {
    samples.iter().filter_map(|(_, reading, _)| reading.torch).collect()
}

fn ticks<'a>(samples: &[Sample<'a>]) -> Vec<Sample<'a>> {
    samples.iter().filter(|(line, ..)| !line.between).copied().collect()
}

fn place(line: &Line) -> Option<Place> {
    Some(Place { scene: line.scene.clone()?, node: line.node.clone() })
}

/// The last reading before a scene, in the same run of the program.
fn before<'a>(id: &str, lines: &'a [Line]) -> Option<(&'a Reading, Source)> {
    let first = lines.iter().position(|line| line.scene.as_deref() == Some(id))?;
    if lines[first].interval_ms.is_some() {
        return None;
    }
    for line in lines[..first].iter().rev() {
        if let Ok((reading, source)) = &line.result {
            return Some((reading, *source));
        }
        if line.interval_ms.is_some() {
            return None;
        }
    }
    None
}

fn scene(id: &str, samples: &[Sample], lines: &[Line]) -> SceneStatistics {
    let samples: Vec<Sample> =
        samples.iter().filter(|(line, ..)| line.scene.as_deref() == Some(id)).copied().collect();
    let (all, driver, ticked) = (own(&samples), driver(&samples), own(&ticks(&samples)));
    let spilled = || samples.iter().filter_map(|(_, reading, _)| Some((reading.spilled?, reading)));
    let mut nodes: Vec<NodeStatistics> = Vec::new();
    for id in lines.iter().filter(|line| line.scene.as_deref() == Some(id)) {
        let Some(node) = &id.node else { continue };
        if nodes.iter().any(|known| known.id == *node) {
            continue;
        }
        let of: Vec<Sample> = samples
            .iter()
            .filter(|(line, ..)| line.node.as_deref() == Some(node))
            .copied()
            .collect();
        nodes.push(NodeStatistics {
            id: node.clone(),
            peak: highest(&own(&of)),
            driver_peak: highest(&self::driver(&of)),
            torch_peak: highest(&torch(&of)),
        });
    }
    let added = before(id, lines).and_then(|(before, source)| {
        let (start, peak) = match (before.driver, highest(&driver), source) {
            (Some(start), Some(peak), _) => (start, peak),
            (_, _, Source::ComfyUi) => (before.used, highest(&all)?),
            _ => return None,
        };
        (start <= peak).then_some(Added { peak, start })
    });
    let in_scene = |line: &Line| line.scene.as_deref() == Some(id);
    let gaps = lines.iter().enumerate().filter_map(|(n, line)| {
        let touches = in_scene(line) || n > 0 && in_scene(&lines[n - 1]);
        line.gap_ms.filter(|_| touches)
    });
    SceneStatistics {
        id: id.to_owned(),
        peak: highest(&all),
        average: mean(&ticked),
        floor: ticked.iter().min().copied(),
        samples: all.len() as u64,
        torch_peak: highest(&torch(&samples)),
        spilled_peak: spilled().map(|(mb, _)| mb).max(),
        device_peak: spilled().map(|(mb, reading)| reading.device() + mb).max(),
        added,
        torch_before: before(id, lines).and_then(|(before, _)| before.torch),
        gap_ms: gaps.max(),
        nodes,
        driver_peak: highest(&driver),
        last_used: all.last().copied(),
        last_driver: driver.last().copied(),
        // Times have tests of their own.
        spilled_ms: 0,
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
    let torch = highest(&torch(&samples));
    Some(PeakGenerating { used, driver, torch, at: line.at, place: place(line)? })
}

fn naive(lines: &[Line]) -> VramStats {
    let samples: Vec<Sample> = lines
        .iter()
        .filter_map(|line| line.result.ok().map(|(reading, source)| (line, reading, source)))
        .collect();
    let (own, driver) = (own(&samples), driver(&samples));
    let used = |samples: &[Sample]| -> Vec<u64> {
        samples.iter().map(|(_, reading, _)| reading.used).collect()
    };
    let mut sorted = used(&ticks(&samples));
    sorted.sort_unstable();
    let n = sorted.len();
    let highest_used = highest(&used(&samples));
    let peak = samples.iter().find(|(_, reading, _)| Some(reading.used) == highest_used);
    let most_spilled = samples.iter().filter_map(|(_, reading, _)| reading.spilled).max();
    let spilled = samples.iter().find(|(_, reading, _)| reading.spilled == most_spilled);
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
        Some(start) => highest(&driver).map(|peak| Added { peak, start }),
        None => highest(&own).map(|peak| Added { peak, start: own[0] }),
    };
    VramStats {
        samples: samples.len() as u64,
        ticks: lines.iter().filter(|line| !line.between).count() as u64,
        peak: highest_used,
        average: mean(&sorted),
        minimum: sorted.first().copied(),
        median: (n > 0).then(|| mean(&[sorted[(n - 1) / 2], sorted[n / 2]])).flatten(),
        p95: (n > 0).then(|| sorted[(n * 95).div_ceil(100) - 1]),
        peak_at: peak.map(|(line, ..)| line.at),
        peak_place: peak.and_then(|(line, ..)| place(line)),
        torch_peak: highest(&torch(&samples)),
        spilled: most_spilled.zip(spilled).map(|(mb, (line, ..))| (mb, place(line))),
        pace_ms: lines.iter().find_map(|line| line.pace_ms),
        dynamic_vram: lines.iter().find_map(|line| line.dynamic_vram),
        peak_source: peak.map(|(_, _, source)| *source),
        comfyui_peak: highest(&own),
        driver_peak: highest(&driver),
        peak_generating: generating(&samples, metric),
        start_driver,
        start_used: own.first().copied(),
        system_ram: samples.first().is_some_and(|(_, reading, _)| reading.is_system_ram()),
        start_torch: samples.first().and_then(|(_, reading, _)| reading.torch),
        metric,
        added: took,
        total: samples.iter().find_map(|(_, reading, _)| reading.total),
        scenes: ids.iter().map(|id| scene(id, &samples, lines)).collect(),
        asked_interval_ms: lines.iter().find_map(|line| line.interval_ms),
        missed,
        sources: Sources {
            comfyui: own.len() as u64,
            nvidia_smi: (samples.len() - own.len()) as u64,
        },
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
        let mut scenes = self.scenes.clone();
        for scene in &mut scenes {
            scene.spilled_ms = 0;
        }
        let compared = VramStats {
            scenes,
            spilled_ms: 0,
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
            let nodes = [None, Some("1"), Some("2")];
            let lines: Vec<Line> = lines
                .into_iter()
                .map(|(mut line, scene, used)| {
                    line.scene = scenes[scene].map(str::to_owned);
                    line.node = nodes[usize::try_from(used % 3).unwrap_or(0)].map(str::to_owned);
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
