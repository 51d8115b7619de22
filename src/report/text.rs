//! The block that closes a run: what a person needs in the morning.

use super::record::{Attempt, Outcome, Output, RunRecord, SceneRecord};
use crate::clock::{day_and_time, span};
use crate::exit_code::Exit;
use crate::vram::reading::MB;
use crate::vram::stats::{Metric, VramStats, quotient, seconds_text};

/// Sizes in GB of cards that are sold.
const CARDS: [u64; 13] = [4, 6, 8, 10, 11, 12, 16, 20, 24, 32, 48, 80, 96];
/// Above this many scenes the failures come first.
const MANY: usize = 8;

/// The block, verdict first.
pub fn block(run: &RunRecord, vram: &VramStats) -> Vec<String> {
    let mut lines = vec![verdict(run)];
    if let Some((_, why)) = &run.failure {
        lines.push(why.clone());
    }
    lines.extend(scenes(run).into_iter().map(|scene| scene_line(scene, run, vram)));
    lines.push(aftermath(run));
    lines.extend(peak(run, vram));
    // Without a sample in a scene it would be the difference of two idle moments.
    lines.extend(vram.peak_generating.as_ref().and_then(|_| took(run, vram)));
    lines.push(trust(run, vram));
    lines.extend(crate::vram::gates::closing(&run.gates));
    lines.extend(run.next.as_ref().map(|next| format!("Next: {next}")));
    lines
}

fn verdict(run: &RunRecord) -> String {
    let (all, good) = (run.scenes.len(), run.succeeded());
    let exit = run.exit();
    let what = match exit {
        Exit::Success if all > 0 && run.scenes.iter().all(|s| s.outcome == Outcome::Cached) => {
            return format!(
                "OK, but nothing was generated: {} came from ComfyUI's cache (use -Fresh or -Seed random); no VRAM figures",
                if all == 1 { "the scene".to_owned() } else { format!("all {all} scenes") }
            );
        }
        // The story that they were to come from could not be had.
        exit if all == 0 => {
            let word = if exit == Exit::Interrupted { "INTERRUPTED" } else { "FAILED" };
            format!("{word}: no scene was run, exit {} ({})", exit.code(), exit.reason())
        }
        Exit::Success => format!("OK: {good} of {all} scenes, exit 0"),
        Exit::Gate => {
            let bad = run.gates.iter().filter(|gate| !gate.held()).count();
            format!("FAILED: {bad} of {} gates, exit 7 (gate)", run.gates.len())
        }
        Exit::Interrupted => {
            format!("INTERRUPTED: {good} of {all} scenes succeeded, exit 130 (interrupted)")
        }
        exit => {
            format!(
                "FAILED: {} of {all} scenes, exit {} ({})",
                all - good,
                exit.code(),
                exit.reason()
            )
        }
    };
    format!(
        "{what}      {} to {} ({})",
        day_and_time(run.started),
        crate::clock::hms(run.ended),
        span(run.ended - run.started)
    )
}

/// The first line of a block, without the times behind the verdict.
pub(super) fn headline(line: &str) -> &str {
    line.split_once("      ").map_or(line, |(verdict, _)| verdict)
}

/// In their order; of many those that failed first.
pub(super) fn scenes(run: &RunRecord) -> Vec<&SceneRecord> {
    let first = |scene: &&SceneRecord| run.scenes.len() <= MANY || !scene.outcome.is_success();
    let (mut scenes, rest): (Vec<_>, Vec<_>) = run.scenes.iter().partition(first);
    scenes.extend(rest);
    scenes
}

fn scene_line(scene: &SceneRecord, run: &RunRecord, vram: &VramStats) -> String {
    if !scene.outcome.is_success() {
        return format!("✗ {}  {}", scene.id, failure(scene, run));
    }
    let mut line = format!("✓ {}  {} s", scene.id, whole(scene.seconds));
    let queued: f64 = scene.attempts.iter().map(|attempt| attempt.queued_seconds).sum();
    if queued >= 5.0 {
        line.push_str(&format!(" ({} s queued)", whole(queued)));
    }
    let figures = vram.scenes.iter().find(|figures| figures.id == scene.id);
    let peaks = figures.map(|figures| (figures.driver_peak, figures.peak));
    line.push_str(&match peaks.unwrap_or_default() {
        _ if scene.outcome == Outcome::Cached => "  cached, no execution".to_owned(),
        (Some(driver), _) => format!("  peak {driver} MB driver"),
        (None, Some(used)) => format!("  peak {used} MB used"),
        (None, None) => "  no sample fell into it".to_owned(),
    });
    if let Some(first) = scene.outputs.first() {
        line.push_str(&format!("  {}", sized(first)));
        match scene.outputs.len() - 1 {
            0 => {}
            more => line.push_str(&format!(" and {more} more")),
        }
    }
    if scene.attempts.len() > 1 {
        line.push_str(&format!("  {}", attempts(&scene.attempts)));
    }
    line
}

/// `2nd attempt (1st: lost, server restarted 23:05:12)`.
pub(super) fn attempts(attempts: &[Attempt]) -> String {
    let earlier: Vec<String> = attempts[..attempts.len() - 1]
        .iter()
        .enumerate()
        .filter(|(_, attempt)| !attempt.outcome.is_success())
        .map(|(index, attempt)| {
            format!("{}: {}, {}", ordinal(index + 1), attempt.outcome.name(), attempt.why)
        })
        .collect();
    let earlier =
        if earlier.is_empty() { String::new() } else { format!(" ({})", earlier.join("; ")) };
    format!("{} attempt{earlier}", ordinal(attempts.len()))
}

fn ordinal(n: usize) -> String {
    let end = match (n % 10, n % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{n}{end}")
}

/// `deadline, 2 × 360 s: running all the time, never finished`.
pub(super) fn failure(scene: &SceneRecord, run: &RunRecord) -> String {
    let tries = scene.attempts.len();
    let name = scene.outcome.name();
    match scene.outcome {
        Outcome::Deadline => {
            let times = if tries > 1 { format!("{tries} × ") } else { String::new() };
            format!("{name}, {times}{} s: {}", run.settings.max_wait_seconds, scene.why)
        }
        _ if tries > 1 => format!("{name}, {tries} attempts: {}", scene.why),
        _ => format!("{name}: {}", scene.why),
    }
}

fn aftermath(run: &RunRecord) -> String {
    let after = &run.aftermath;
    let memory = after.used_after_mb.map(|used| {
        let before = after.used_before_mb.map(|before| format!(" ({before} before the run)"));
        format!(", {used} MB in use{}", before.unwrap_or_default())
    });
    let memory = memory.unwrap_or_default();
    match (&after.still_running, after.queue) {
        (Some(scene), Some(_)) => {
            format!("GPU not free: {scene} was asked to end and still runs{memory}")
        }
        (Some(scene), None) => {
            format!("GPU: unknown, the server does not answer: {scene} may still run there")
        }
        (None, Some(0)) => format!("GPU free: queue empty{memory}"),
        (None, Some(1)) => format!("GPU: 1 prompt of somebody else in the queue{memory}"),
        (None, Some(n)) => format!("GPU: {n} prompts of somebody else in the queue{memory}"),
        (None, None) if run.scenes.iter().all(|scene| scene.attempts.is_empty()) => {
            "GPU: nothing was posted".to_owned()
        }
        (None, None) => "GPU: unknown, the server does not answer".to_owned(),
    }
}

fn peak(run: &RunRecord, vram: &VramStats) -> Option<String> {
    let peak = vram.peak_generating.as_ref()?;
    let figure = vram.peak_generating_mb()?;
    let meaning = match vram.metric {
        Metric::Driver => "driver",
        Metric::Used if run.is_system_ram() => "system RAM",
        Metric::Used => "used",
    };
    let card = vram.total.filter(|total| *total > 0).map(|total| {
        let percent = quotient(u128::from(figure) * 100, total.into());
        format!(" of {total} ({percent} %), {} MB to spare", total.saturating_sub(figure))
    });
    Some(format!(
        "Peak while generating: {meaning} {figure} MB{}, {} in {}",
        card.unwrap_or_default(),
        crate::vram::log::time_text(peak.at),
        peak.scene
    ))
}

fn took(run: &RunRecord, vram: &VramStats) -> Option<String> {
    let mb = vram.run_took.as_ref()?.mb();
    if run.is_system_ram() {
        return Some(format!("The run itself took {mb} MB of system RAM"));
    }
    let gb = |gb: u64| gb * 1024;
    let smaller = CARDS.into_iter().rev().find(|card| gb(*card) < mb);
    let larger = CARDS.into_iter().find(|card| gb(*card) > mb);
    let a = |gb: u64| format!("{} {gb} GB", if matches!(gb, 8 | 11 | 80) { "an" } else { "a" });
    let between = match (smaller.map(a), larger.map(a)) {
        (Some(smaller), Some(larger)) => {
            format!(": more than {smaller} card has, less than {larger} one")
        }
        (None, Some(larger)) => format!(": less than {larger} card has"),
        (Some(smaller), None) => format!(": more than {smaller} card has"),
        (None, None) => String::new(),
    };
    Some(format!("The run itself took {mb} MB{between}"))
}

fn trust(run: &RunRecord, vram: &VramStats) -> String {
    if vram.samples == 0 {
        return vram.no_sample();
    }
    let mut parts = Vec::new();
    parts.extend(vram.asked_interval_ms.map(|ms| format!("every {}", seconds_text(ms))));
    parts.extend(vram.longest_gap_ms.map(|ms| format!("longest gap {}", seconds_text(ms))));
    let missed: u64 = vram.missed.values().sum();
    parts.push(format!("{missed} of {} ticks missed", vram.ticks));
    let bound = vram
        .longest_gap_ms
        .map(|ms| format!(": a peak shorter than {} may be higher", seconds_text(ms)))
        .unwrap_or_default();
    let others = match run.aftermath.other_prompts {
        0 => String::new(),
        n => format!("; {n} of other clients ran meanwhile, their memory is in the figures"),
    };
    format!("Trust: {}{bound}{others}", parts.join(", "))
}

/// Seconds as they are told: to the tenth below ten.
pub(super) fn whole(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.1}") } else { format!("{seconds:.0}") }
}

/// `video/a/a.mp4 (1.53 MB)`; of a small file its bytes.
pub fn sized(output: &Output) -> String {
    if output.bytes < MB / 100 {
        return format!("{} ({} bytes)", output.path, output.bytes);
    }
    #[allow(clippy::cast_precision_loss)] // two decimals are shown
    let mb = output.bytes as f64 / MB as f64;
    format!("{} ({mb:.2} MB)", output.path)
}
