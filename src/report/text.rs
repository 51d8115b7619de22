//! The block that closes a run: what a person needs in the morning.

use super::record::{
    Attempt, Outcome, Output, RunRecord, SceneRecord, Server, ServerEnd, ServerStart,
};
use crate::clock::{day_and_time, hms, span};
use crate::exit_code::Exit;
use crate::sanitize::first_of;
use crate::vram::log::time_text;
use crate::vram::reading::{DynamicVram, MB, quotient};
use crate::vram::stats::{Metric, PeakGenerating, SceneStatistics, VramStats, seconds_text};

/// Memory sizes of cards that are sold, in GB.
const CARDS_GB: [u64; 13] = [4, 6, 8, 10, 11, 12, 16, 20, 24, 32, 48, 80, 96];
/// From so much on a card counts as full.
const FULL_PERCENT: u64 = 85;
const FILLED: &str = "ComfyUI filled the card on purpose (dynamic VRAM) and gives the rest back";
const SPILLED_HELP: &str =
    "everything is slow there; fewer frames or pixels, or a smaller model, help";
/// Of more starts of the server the rest is counted.
const MOST_STARTS: usize = 3;
/// Of more scenes than this the failures come first.
pub(super) const MANY_SCENES: usize = 8;

/// The block, verdict first.
pub fn summary_block(run: &RunRecord, vram: &VramStats) -> Vec<String> {
    let mut lines = vec![verdict(run)];
    lines.extend(run.failure.iter().map(|(_, why)| why.clone()));
    lines.extend(ordered_scenes(run).into_iter().map(|scene| scene_line(scene, run, vram)));
    let ended = run.server.end.map(|end| match end {
        ServerEnd::Ended => "; ComfyUI ended",
        ServerEnd::Left => "; ComfyUI left running for somebody else's prompt",
    });
    lines.push(post_run_state(run) + ended.unwrap_or_default());
    lines.extend(peak(run, vram));
    // Without a sample in a scene it would be the difference of two idle moments.
    lines.extend(vram.peak_generating.as_ref().and_then(|peak| needs(run, vram, peak)));
    let spilled = vram.spilled_line(&run.facts());
    lines.extend(spilled.map(|line| format!("{line}: {SPILLED_HELP}")));
    lines.extend(server(&run.server));
    lines.extend(sampling(run, vram));
    lines.extend(asleep(run));
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
    line.push_str(&match scene.figures(vram) {
        _ if scene.outcome == Outcome::Cached => "  cached, no execution".to_owned(),
        Some(figures) => scene_figures(scene, figures, vram),
        None => "  no sample fell into it".to_owned(),
    });
    if let Some(first) = scene.outputs.first() {
        line.push_str(&format!("  {}{}", with_size(&first.path, first), and_more(&scene.outputs)));
    }
    let again = scene.attempts.len() > 1;
    line.extend(again.then(|| format!("  {}", attempts(&scene.attempts))));
    line
}

/// `  19310 MB  +17070`: what the device held at most, and what the scene added to it.
fn scene_figures(scene: &SceneRecord, figures: &SceneStatistics, vram: &VramStats) -> String {
    let mut text = match (scene.cached_nodes().len(), scene.node_count) {
        (0, _) => String::new(),
        (1, 0) => "  partly cached (1 node)".to_owned(),
        (n, 0) => format!("  partly cached ({n} nodes)"),
        (n, count) => format!("  partly cached ({n} of {count} nodes)"),
    };
    let seconds = scene.server_seconds().unwrap_or(scene.seconds);
    let peak = figures.driver_peak.or(figures.peak);
    text += &match peak {
        None => "  no sample fell into it".to_owned(),
        Some(mb) if vram.is_lower_bound(figures, seconds) => {
            format!("  at least {mb} MB: 1 reading")
        }
        Some(mb) => {
            let added = figures.added.map(|added| format!("  +{added}"));
            format!("  {mb} MB{}", added.unwrap_or_default())
        }
    };
    let spilled = figures.spilled_peak.map(|mb| format!("  {mb} MB spilled into system RAM"));
    text + &spilled.unwrap_or_default()
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
    if let (None, Some(scene)) = (&after.still_running, &after.may_come) {
        return format!(
            "GPU not known to stay free: {scene} was posted without a proper answer and may yet come; the \
             next run looks for it{memory}"
        );
    }
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
    let card = vram.total.filter(|total| *total > 0).map(|total| {
        let percent = quotient(u128::from(mb) * 100, total.into());
        format!(" of {total} MB ({percent} %), {} to spare", total.saturating_sub(mb))
    });
    let card = card.unwrap_or_else(|| " MB".to_owned());
    let memory = if run.is_system_ram() { "RAM peak " } else { "VRAM peak" };
    let (at, place) = (time_text(peak.at), peak.place.text(&run.facts()));
    Some(format!("{memory}  {mb}{card}, {at} in {place}"))
}

/// How often and why the run has started the server. The first start, of one that did not answer, is
/// no news where there was another.
fn server(server: &Server) -> Option<String> {
    let again: Vec<_> = server.starts.iter().filter(|start| start.why.starts_with("in ")).collect();
    let ready =
        |start: &ServerStart| format!("ready after {} s", seconds(start.ready_after_seconds));
    let text = match again.len() {
        0 => format!("ComfyUI started by this run, {}", ready(server.starts.last()?)),
        n => {
            let times = match n {
                1 => "once".to_owned(),
                2 => "twice".to_owned(),
                n => format!("{n} times"),
            };
            let each = again.iter().map(|start| format!("{}; {}", start.why, ready(start)));
            let each = first_of(each.collect(), MOST_STARTS, |more| format!("and {more} more"));
            format!("ComfyUI started again {times}: {each}")
        }
    };
    Some(format!("Server     {text}"))
}

/// What of it the run needs. Where `ComfyUI` fills the card with weights that it gives back, that is
/// what its tensors held; where it may, a full card says nothing.
fn needs(run: &RunRecord, vram: &VramStats, peak: &PeakGenerating) -> Option<String> {
    let dynamic = vram.dynamic_vram.unwrap_or(run.server.dynamic_vram);
    let full = vram.total.zip(vram.peak_generating_mb());
    let is_full = full.is_some_and(|(total, mb)| mb * 100 >= total * FULL_PERCENT);
    let torch = peak.torch.map(|mb| format!("{mb} MB"));
    match (dynamic, torch) {
        (DynamicVram::On, Some(mb)) => {
            return Some(format!("Needs      {mb}, the most that its tensors held: {FILLED}"));
        }
        (DynamicVram::On, None) => return Some(format!("Needs      not known: {FILLED}")),
        (DynamicVram::Unknown, torch) if is_full && vram.dynamic_vram.is_some() => {
            let held = torch.map(|mb| format!("; its tensors held {mb} at most"));
            return Some(format!(
                "Needs      not known: the card was full, maybe with weights that dynamic VRAM \
                 gives back{}",
                held.unwrap_or_default()
            ));
        }
        _ => {}
    }
    let added = vram.added?;
    let spilled = vram.scenes.iter().filter_map(|scene| scene.device_peak).max();
    let mb = spilled.max(Some(added.peak))?.saturating_sub(added.start);
    if run.is_system_ram() {
        return Some(format!("Needs      {mb} MB of system RAM of its own"));
    }
    let a = |gb: u64| format!("{} {gb} GB", if matches!(gb, 8 | 11 | 80) { "an" } else { "a" });
    let smaller = CARDS_GB.into_iter().rev().find(|gb| gb * 1024 < mb).map(a);
    let larger = CARDS_GB.into_iter().find(|gb| gb * 1024 > mb).map(a);
    let cards = match (smaller, larger) {
        (Some(smaller), Some(larger)) => format!(": {larger} card, not {smaller} one"),
        (None, Some(larger)) => format!(": {larger} card"),
        (Some(smaller), None) => format!(": more than {smaller} card has"),
        (None, None) => String::new(),
    };
    Some(format!("Needs      {mb} MB of its own{cards}"))
}

/// How far the figures can be trusted, where there is something to say.
fn sampling(run: &RunRecord, vram: &VramStats) -> Option<String> {
    if vram.samples == 0 {
        return Some(vram.no_sample());
    }
    let missed: u64 = vram.missed.values().sum();
    let gap = vram.longest_gap_ms.filter(|_| vram.has_gap()).map(seconds_text);
    let others = run.aftermath.other_prompts;
    let parts = [
        vram.pace_ms
            .or(vram.asked_interval_ms)
            .map(|ms| format!("read every {}", seconds_text(ms))),
        (missed > 0).then(|| format!("{missed} of {} lines missed", vram.samples + missed)),
        gap.as_ref()
            .map(|gap| format!("longest gap {gap}: spikes shorter than that may be missed")),
        (others > 0).then(|| {
            format!("{others} of other clients ran meanwhile, their memory is in the figures")
        }),
    ];
    if missed == 0 && gap.is_none() && others == 0 {
        return None;
    }
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    Some(format!("Sampling   {}", parts.join(", ")))
}

/// `Asleep     03:10:22 to 07:45:01`: what the times of the run hold beside its work.
fn asleep(run: &RunRecord) -> Option<String> {
    let sleeps = run.asleep.iter().map(|(from, to)| format!("{} to {}", hms(*from), hms(*to)));
    let sleeps: Vec<String> = sleeps.collect();
    (!sleeps.is_empty()).then(|| format!("Asleep     {}", sleeps.join(", ")))
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
