//! No worse than before: the peaks of a run held against those of earlier ones.

use super::{Gate, Subject, Verdict};
use crate::vram::stats::Metric;

/// What every limit leaves of room, in MB: about what a desktop takes and gives back.
const ROOM: u64 = 64;

/// The highest peak that is no worse than these: the highest of them, and on top the largest of
/// their spread, 1 % and 64 MB; with one alone, whose spread nobody knows, of 5 % and 64 MB.
pub(super) fn limit(peaks: &[u64]) -> Option<u64> {
    let (lowest, highest) = (*peaks.iter().min()?, *peaks.iter().max()?);
    let percent = |percent: u64| highest.saturating_mul(percent).div_ceil(100);
    let room = if peaks.len() == 1 { percent(5) } else { percent(1).max(highest - lowest) };
    Some(highest.saturating_add(room.max(ROOM)))
}

/// The run, and each scene that it shares with a baseline.
pub(super) fn judge(run: &Subject, baselines: &[(String, Subject)]) -> Vec<Verdict> {
    if baselines.is_empty() {
        return Vec::new();
    }
    let meaning = match comparable(run, baselines) {
        Ok(meaning) => meaning,
        Err(why) => return vec![Verdict::not_judged(Gate::Baseline, None, None, why)],
    };
    let mut verdicts = vec![in_all(run, baselines, meaning)];
    for id in run.scenes() {
        let peaks = baselines.iter().filter_map(|(_, other)| other.of_scene(id).by(meaning));
        let Some(limit) = limit(&peaks.collect::<Vec<_>>()) else { continue };
        verdicts.push(held_against(run, Some(id), limit, meaning));
    }
    verdicts
}

/// The figure in which a run is held against baselines: the driver's where all of them have it.
///
/// # Errors
/// One of them is of another device.
pub fn comparable(run: &Subject, baselines: &[(String, Subject)]) -> Result<Metric, String> {
    if let Some(why) = baselines.iter().find_map(|(name, other)| elsewhere(run, name, other)) {
        return Err(why);
    }
    let all = || baselines.iter().map(|(_, baseline)| baseline).chain([run]);
    let driver = all().all(|subject| subject.vram.meaning == Metric::Driver);
    Ok(if driver { Metric::Driver } else { Metric::Used })
}

fn in_all(run: &Subject, baselines: &[(String, Subject)], meaning: Metric) -> Verdict {
    let peak = |(name, other): &(String, Subject)| {
        other.peaks().by(meaning).ok_or_else(|| format!("{name}: {}", other.without(None)))
    };
    let peaks = baselines.iter().map(peak).collect::<Result<Vec<_>, _>>();
    match peaks.map(|peaks| limit(&peaks)) {
        Ok(Some(limit)) => held_against(run, None, limit, meaning),
        Ok(None) => Verdict::not_judged(Gate::Baseline, None, None, run.without(None)),
        Err(why) => Verdict::not_judged(Gate::Baseline, None, None, why),
    }
}

fn held_against(run: &Subject, scene: Option<&str>, limit: u64, meaning: Metric) -> Verdict {
    let peaks = scene.map_or_else(|| run.peaks(), |id| run.of_scene(id));
    // By the other meaning there is nothing to say.
    let measured = peaks.by(meaning).and_then(|_| run.measured(peaks, meaning));
    match measured {
        Some(measured) => Verdict::of(Gate::Baseline, scene, limit, measured),
        None => Verdict::not_judged(Gate::Baseline, scene, Some(limit), run.without(scene)),
    }
}

/// Why a baseline says nothing about this run: it is of another card.
fn elsewhere(run: &Subject, name: &str, other: &Subject) -> Option<String> {
    if let (Some(ours), Some(theirs)) = (run.vram.total, other.vram.total)
        && ours != theirs
    {
        return Some(format!("{name} is of a device of {theirs} MB, this one has {ours}"));
    }
    let device = |subject: &Subject| subject.known.as_ref()?.device.map(card).map(str::to_owned);
    let (ours, theirs) = (device(run)?, device(other)?);
    (ours != theirs).then(|| format!("{name} is of {theirs}, this is {ours}"))
}

/// `NVIDIA GeForce RTX 3090` of `cuda:0 NVIDIA GeForce RTX 3090 : cudaMallocAsync`: the same card
/// in another slot is no other device.
fn card(device: &str) -> &str {
    let name = device.split(" : ").next().unwrap_or(device);
    match name.split_once(' ') {
        Some((slot, card)) if slot.contains(':') => card,
        _ => name,
    }
}
