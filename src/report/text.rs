//! The block that closes a run: what a person needs in the morning.

use super::record::{Attempt, Outcome, Output, RunRecord, SceneRecord};
use crate::clock::{day_and_time, hms, span};
use crate::exit_code::Exit;
use crate::vram::log::time_text;
use crate::vram::reading::{MB, quotient};
use crate::vram::stats::{Metric, VramStats, seconds_text};

/// Memory sizes of cards that are sold, in GB.
const CARDS_GB: [u64; 13] = [4, 6, 8, 10, 11, 12, 16, 20, 24, 32, 48, 80, 96];
/// Of more scenes than this the failures come first.
pub(super) const MANY_SCENES: usize = 8;

/// The block, verdict first.
pub fn summary_block(run: &RunRecord, vram: &VramStats) -> Vec<String> {
    let mut lines = vec![verdict(run)];
    lines.extend(run.failure.iter().map(|(_, why)| why.clone()));
    lines.extend(ordered_scenes(run).into_iter().map(|scene| scene_line(scene, run, vram)));
    lines.push(post_run_state(run));
    lines.extend(peak(run, vram));
    // Without a sample in a scene it would be the difference of two idle moments.
    lines.extend(vram.peak_generating.as_ref().and_then(|_| run_took(run, vram)));
    lines.push(trust(run, vram));
    lines.extend(crate::vram::gates::closing(&run.gates));
    lines.extend(run.next.as_ref().map(|next| format!("Next: {next}")));
    lines
}

fn verdict(run: &RunRecord) -> String {
    let (all, good, exit) = (run.scenes.len(), run.succeeded(), run.exit());
    let code = format!("exit {} ({})", exit.code(), exit.reason());
    let verdict = match exit {
        Exit::Success if run.is_cached() => {
            let all = if all == 1 { "the scene".to_owned() } else { format!("all {all} scenes") };
            return format!(
                "OK, but nothing was generated: {all} came from ComfyUI's cache (use -Fresh or -Seed random); no VRAM figures"
            );
        }
        // The story could not be generated.
        Exit::Interrupted if all == 0 => format!("INTERRUPTED: no scene was run, {code}"),
        _ if all == 0 => format!("FAILED: no scene was run, {code}"),
        Exit::Success => format!("OK: {good} of {all} scenes, exit 0"),
        Exit::Gate => {
            let failed = run.gates.iter().filter(|gate| !gate.held()).count();
            format!("FAILED: {failed} of {} gates, {code}", run.gates.len())
        }
        Exit::Interrupted => format!("INTERRUPTED: {good} of {all} scenes succeeded, {code}"),
        _ => format!("FAILED: {} of {all} scenes, {code}", all - good),
    };
    format!("{verdict}      {}", times(run))
}

/// `24 Nov 23:00:04 to 23:27:41 (27 min 37 s)`.
pub(super) fn times(run: &RunRecord) -> String {
    let (from, to) = (day_and_time(run.started), hms(run.ended));
    format!("{from} to {to} ({})", span(run.ended - run.started))
}

/// The first line of a block, without the times behind the verdict.
pub(super) fn headline(line: &str) -> &str {
    line.split_once("      ").map_or(line, |(verdict, _)| verdict)
}

/// The scenes in their order; if there are many, those that failed first.
pub(super) fn ordered_scenes(run: &RunRecord) -> Vec<&SceneRecord> {
    let first =
        |scene: &&SceneRecord| run.scenes.len() <= MANY_SCENES || !scene.outcome.is_success();
    let (mut scenes, rest): (Vec<_>, Vec<_>) = run.scenes.iter().partition(first);
    scenes.extend(rest);
    scenes
}

fn scene_line(scene: &SceneRecord, run: &RunRecord, vram: &VramStats) -> String {
    if !scene.outcome.is_success() {
        return format!("✗ {}  {}", scene.id, failure(scene, run));
    }
    let mut line = format!("✓ {}  {} s", scene.id, seconds(scene.seconds));
    let queued = scene.queued_seconds().filter(|queued| *queued >= 5.0);
    line.extend(queued.map(|queued| format!(" ({} s queued)", seconds(queued))));
    let peaks = scene.figures(vram).map(|figures| (figures.driver_peak, figures.peak));
    line.push_str(&match peaks.unwrap_or_default() {
        _ if scene.outcome == Outcome::Cached => "  cached, no execution".to_owned(),
        (Some(driver), _) => format!("  peak {driver} MB driver"),
        (None, Some(used)) => format!("  peak {used} MB used"),
        (None, None) => "  no sample fell into it".to_owned(),
    });
    if let Some(first) = scene.outputs.first() {
        line.push_str(&format!("  {}{}", with_size(&first.path, first), and_more(&scene.outputs)));
    }
    let again = scene.attempts.len() > 1;
    line.extend(again.then(|| format!("  {}", attempts(&scene.attempts))));
    line
}

/// `2nd attempt (1st: lost, server restarted 23:05:12)`.
pub(super) fn attempts(attempts: &[Attempt]) -> String {
    let count = format!("{} attempt", ordinal(attempts.len()));
    let failed: Vec<String> = (1..attempts.len())
        .zip(attempts)
        .filter(|(_, attempt)| !attempt.outcome.is_success())
        .map(|(n, attempt)| format!("{}: {}, {}", ordinal(n), attempt.outcome.name(), attempt.why))
        .collect();
    if failed.is_empty() { count } else { format!("{count} ({})", failed.join("; ")) }
}

fn ordinal(n: usize) -> String {
    let suffix = match (n % 10, n % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{n}{suffix}")
}

/// `deadline, 2 × 360 s: running all the time, never finished`.
pub(super) fn failure(scene: &SceneRecord, run: &RunRecord) -> String {
    let (name, why) = (scene.outcome.name(), &scene.why);
    let limit = run.settings.max_wait_seconds;
    match (scene.outcome, scene.attempts.len()) {
        (Outcome::Deadline, 0 | 1) => format!("{name}, {limit} s: {why}"),
        (Outcome::Deadline, n) => format!("{name}, {n} × {limit} s: {why}"),
        (_, 0 | 1) => format!("{name}: {why}"),
        (_, n) => format!("{name}, {n} attempts: {why}"),
    }
}

fn post_run_state(run: &RunRecord) -> String {
    let after = &run.aftermath;
    let before = after.used_before_mb.map(|before| format!(" ({before} before the run)"));
    let before = before.unwrap_or_default();
    let memory = after.used_after_mb.map(|used| format!(", {used} MB in use{before}"));
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

/// How a figure is called; of a run on `cpu` or `mps` the used figure is the machine's own memory.
pub(super) fn metric_name(metric: Metric, system_ram: bool) -> &'static str {
    match metric {
        Metric::Driver => "driver",
        Metric::Used if system_ram => "system RAM",
        Metric::Used => "used",
    }
}

fn peak(run: &RunRecord, vram: &VramStats) -> Option<String> {
    let peak = vram.peak_generating.as_ref()?;
    let mb = vram.peak_generating_mb()?;
    let name = metric_name(vram.metric, run.is_system_ram());
    let card = vram.total.filter(|total| *total > 0).map(|total| {
        let percent = quotient(u128::from(mb) * 100, total.into());
        format!(" of {total} ({percent} %), {} MB to spare", total.saturating_sub(mb))
    });
    let (card, at) = (card.unwrap_or_default(), time_text(peak.at));
    Some(format!("Peak while generating: {name} {mb} MB{card}, {at} in {}", peak.scene))
}

fn run_took(run: &RunRecord, vram: &VramStats) -> Option<String> {
    let mb = vram.run_took.as_ref()?.mb();
    if run.is_system_ram() {
        return Some(format!("The run itself took {mb} MB of system RAM"));
    }
    let a = |gb: u64| format!("{} {gb} GB", if matches!(gb, 8 | 11 | 80) { "an" } else { "a" });
    let smaller = CARDS_GB.into_iter().rev().find(|gb| gb * 1024 < mb).map(a);
    let larger = CARDS_GB.into_iter().find(|gb| gb * 1024 > mb).map(a);
    let cards = match (smaller, larger) {
        (Some(smaller), Some(larger)) => {
            format!(": more than {smaller} card has, less than {larger} one")
        }
        (None, Some(larger)) => format!(": less than {larger} card has"),
        (Some(smaller), None) => format!(": more than {smaller} card has"),
        (None, None) => String::new(),
    };
    Some(format!("The run itself took {mb} MB{cards}"))
}

/// How far the figures can be trusted.
fn trust(run: &RunRecord, vram: &VramStats) -> String {
    if vram.samples == 0 {
        return vram.no_sample();
    }
    let missed: u64 = vram.missed.values().sum();
    let gap = vram.longest_gap_ms.map(seconds_text);
    let mut text = "Trust: ".to_owned();
    text.extend(vram.asked_interval_ms.map(|ms| format!("every {}, ", seconds_text(ms))));
    text.extend(gap.iter().map(|gap| format!("longest gap {gap}, ")));
    text += &format!("{missed} of {} ticks missed", vram.ticks);
    text.extend(gap.map(|gap| format!(": a peak shorter than {gap} may be higher")));
    if run.aftermath.other_prompts > 0 {
        let n = run.aftermath.other_prompts;
        text += &format!("; {n} of other clients ran meanwhile, their memory is in the figures");
    }
    text
}

/// `✓` or `✗`.
pub(super) fn mark(good: bool) -> char {
    if good { '✓' } else { '✗' }
}

/// Seconds as a person reads them: to the tenth below ten.
pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.1}") } else { format!("{seconds:.0}") }
}

/// `video/a/a.mp4 (1.53 MB)`: a path or name of an output with its size, in bytes if it is small.
pub(super) fn with_size(name: &str, output: &Output) -> String {
    if output.bytes < MB / 100 {
        return format!("{name} ({} bytes)", output.bytes);
    }
    #[allow(clippy::cast_precision_loss)] // two decimals are shown
    let mb = output.bytes as f64 / MB as f64;
    format!("{name} ({mb:.2} MB)")
}

/// ` and 2 more` behind the first of several outputs.
pub(super) fn and_more(outputs: &[Output]) -> String {
    match outputs.len() {
        0 | 1 => String::new(),
        n => format!(" and {} more", n - 1),
    }
}
