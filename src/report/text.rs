//! The block that closes a run: what a person needs in the morning.

use std::path::Path;
use std::time::Duration;

use super::record::{
    Attempt, NO_ANSWER, Outcome, Output, RunRecord, SceneRecord, Server, ServerEnd, ServerStart,
};
use crate::clock::{day_and_time, hms, span};
use crate::exit_code::Exit;
use crate::fs::from_here;
use crate::layout::{ellipsized, padded, width, wrapped};
use crate::sanitize::{counted, first_of};
use crate::vram::freed_memory::NOISE_MB;
use crate::vram::gates::{self, Gate, State, Verdict};
use crate::vram::log::time_text;
use crate::vram::reading::{DynamicVram, MB, memory_name, quotient};
use crate::vram::stats::{Added, Metric, PeakGenerating, SceneStatistics, VramStats, seconds_text};

/// Memory sizes of cards that are sold, in GB.
const CARDS_GB: [u64; 13] = [4, 6, 8, 10, 11, 12, 16, 20, 24, 32, 48, 80, 96];
/// From so much on a card counts as full.
const FULL_PERCENT: u64 = 85;
const FILLED: &str = "dynamic VRAM filled the card on purpose";
const SPILLED_HELP: &str =
    "everything is slow there; fewer frames or pixels, or a smaller model, help";
/// A gap that is shorter has no row on the screen.
const SHORT_GAP_MS: u64 = 1000;
/// Of more starts of the server the rest is counted.
const MOST_STARTS: usize = 3;
/// The columns of a row's label.
pub const LABEL_WIDTH: usize = 11;
/// What stands before the command of `Next` where it alone cannot help.
pub const CORRECT_FIRST: &str = "correct what the server rejects, then ";
/// The label of the row that says what to do next.
pub const NEXT: &str = "Next";
/// The label of the row that holds the page's path.
pub const REPORT: &str = "Report";
/// Of more scenes than this the failures come first.
pub(super) const MANY_SCENES: usize = 8;

/// The columns of a verdict that its run's times stand behind, and what parts the two.
const VERDICT_WIDTH: usize = 66;
const GAP: &str = "      ";
/// The columns of a scene's time on a screen.
pub const TIME_WIDTH: usize = 7;
/// The least room for what stands behind it, with all in columns.
const LEAST_CELLS: usize = 30;

/// The block, verdict first. Below the verdict of a gate stands its table, and no scene has a ✓. For a
/// terminal of so many columns each row is as it was on the screen of the run.
pub fn summary_block(run: &RunRecord, vram: &VramStats, columns: Option<usize>) -> Vec<String> {
    let (verdict, on_screen) = (verdict(run), columns.is_some());
    let is_gate = run.exit() == Exit::Gate;
    let (first, last) = if is_gate { (table(run), vec![]) } else { (vec![], table(run)) };
    let mut lines = vec![format!("{verdict:<VERDICT_WIDTH$}{GAP}{}", times(run))];
    lines.extend(run.failure.iter().map(|(_, why)| why.trim_start().to_owned()));
    lines.extend(first);
    let names = run.scenes.iter().map(|scene| width(&scene.id)).max().unwrap_or_default();
    lines.extend(ordered_scenes(run).into_iter().flat_map(|scene| {
        let mut row = SceneRow::new(scene, run, vram, on_screen);
        row.mark = if is_gate && row.mark == '✓' { ' ' } else { row.mark };
        columns.map_or_else(|| vec![row.line()], |columns| row.rows(names, columns))
    }));
    lines.extend(rows(run, vram, on_screen));
    lines.extend(last);
    lines.extend(next(run).map(|next| labelled(NEXT, &next)));
    lines
}

/// What stands of the block below the rows of a run's screen, where its scenes have theirs.
pub fn screen_block(run: &RunRecord, vram: &VramStats) -> Vec<String> {
    if let Some((exit, why)) = run.failure.as_ref().filter(|_| !run.has_attempts()) {
        return vec![format!("✗ {why} (exit {})", exit.code())];
    }
    let mut lines = vec![verdict(run)];
    lines.extend(run.failure.iter().map(|(_, why)| why.clone()));
    lines.extend(table(run));
    lines.extend(rows(run, vram, true));
    lines.extend(next(run).map(|next| labelled(NEXT, &next)));
    lines
}

/// The table of the verdicts: of all where a gate failed, else of those that are told nowhere else; below
/// it why figures that are the whole machine's are low.
fn table(run: &RunRecord) -> Vec<String> {
    let is_told = |verdict: &&Verdict| run.exit() == Exit::Gate || verdict.gate == Gate::Baseline;
    let verdicts: Vec<Verdict> = run.gates.iter().filter(is_told).cloned().collect();
    let mut lines = gates::table(&verdicts);
    let is_open = verdicts
        .iter()
        .any(|verdict| verdict.gate == Gate::Baseline && verdict.state != State::Failed);
    if run.is_system_ram() && is_open {
        let moved = "  RAM of the whole machine: less is added on a warm start, which ✓ allows for";
        lines.push(moved.to_owned());
    }
    lines
}

fn labelled(label: &str, text: &str) -> String {
    format!("{label:<LABEL_WIDTH$}{text}")
}

/// The rows with a label below the scenes.
fn rows(run: &RunRecord, vram: &VramStats, on_screen: bool) -> Vec<String> {
    let peak_label = format!("{} peak", run.memory());
    let generating = vram.peak_generating.as_ref();
    let spilled = vram.spilled_line(&run.facts());
    let ended = run.server.end.map(|end| match end {
        ServerEnd::Ended => "; ComfyUI ended",
        ServerEnd::Left => "; ComfyUI left running for somebody else's prompt",
    });
    let rows = [
        (peak_label.as_str(), generating.and_then(|at| peak(run, vram, at, on_screen))),
        // What did not end may have needed more.
        ("Needs", generating.filter(|_| run.succeeded() > 0).and_then(|at| needs(run, vram, at))),
        (
            "Spilled",
            spilled.map(|line| format!("{}: {SPILLED_HELP}", line.trim_start_matches("Spilled "))),
        ),
        ("After", Some(post_run_state(run) + ended.unwrap_or_default())),
        ("Server", server(&run.server)),
        ("Sampling", sampling(run, vram, on_screen)),
        ("Asleep", asleep(run)),
        ("Gates", gates::closing(&run.gates).filter(|_| run.exit() != Exit::Gate)),
        (REPORT, Some(from_here(Path::new(&format!("{}/report.html", run.folder))))),
    ];
    let known = rows.into_iter().filter_map(|(label, text)| Some(labelled(label, &text?)));
    known.collect()
}

/// The command that repeats what failed; where that cannot help, what to do first.
fn next(run: &RunRecord) -> Option<String> {
    let mut failed = run.scenes.iter().filter(|scene| !scene.outcome.is_success()).peekable();
    if failed.peek().is_some() && failed.all(|scene| scene.outcome == Outcome::Rejected) {
        let again = run.next.as_deref().unwrap_or("run it again");
        return Some(format!("{CORRECT_FIRST}{again}"));
    }
    run.next.clone()
}

fn verdict(run: &RunRecord) -> String {
    let (all, good, exit) = (run.scenes.len(), run.succeeded(), run.exit());
    let bad = all - good;
    let took = span(run.ended - run.started);
    let reason = match exit {
        Exit::Failed | Exit::Gate | Exit::Interrupted => String::new(),
        exit => format!(", {}", exit.reason()),
    };
    let code = format!("(exit {}{reason})", exit.code());
    match exit {
        Exit::Success if run.is_cached() => {
            let all = if all == 1 { "the scene".to_owned() } else { format!("all {all} scenes") };
            format!("✓ nothing was generated: {all} came from ComfyUI's cache (use --fresh)")
        }
        Exit::Success if all == 1 => format!("✓ 1 scene in {took}"),
        Exit::Success => format!("✓ {good} of {all} scenes in {took}"),
        Exit::Interrupted if !run.has_attempts() => {
            format!("✗ interrupted before a scene was run {code}")
        }
        Exit::Interrupted if all == 1 => format!("✗ interrupted after {took} {code}"),
        Exit::Interrupted => {
            format!("✗ interrupted after {took}: {good} of {all} scenes succeeded {code}")
        }
        // A story could not be generated, or there was no server.
        _ if !run.has_attempts() => format!("✗ no scene was run {code}"),
        Exit::Gate => {
            format!("✗ {} {code}", gates::failure(&run.gates, run.memory(), &run.baselines))
        }
        _ if all == 1 => format!("✗ 1 scene failed in {took} {code}"),
        _ => format!("✗ {bad} of {all} scenes failed in {took} {code}"),
    }
}

/// `24 Nov 23:00:04 to 23:27:41`.
pub(super) fn times(run: &RunRecord) -> String {
    format!("{} to {}", day_and_time(run.started), hms(run.ended))
}

/// The first line of a block: the verdict, and the times behind it.
pub fn headline(line: &str) -> (&str, Option<&str>) {
    match line.rsplit_once(GAP) {
        Some((verdict, times)) if times.contains(" to ") && times.len() < 32 => {
            (verdict.trim_end(), Some(times))
        }
        _ => (line, None),
    }
}

/// The scenes in their order; if there are many, those that failed first.
pub(super) fn ordered_scenes(run: &RunRecord) -> Vec<&SceneRecord> {
    let first =
        |scene: &&SceneRecord| run.scenes.len() <= MANY_SCENES || !scene.outcome.is_success();
    let (mut scenes, rest): (Vec<_>, Vec<_>) = run.scenes.iter().partition(first);
    scenes.extend(rest);
    scenes
}

/// The row of a scene, cell by cell.
#[derive(Clone, Debug, Default)]
pub struct SceneRow {
    pub mark: char,
    /// The scene's id.
    pub name: String,
    /// `3:08`; empty where it was not started, and in a file of a scene that failed.
    pub time: String,
    /// Figures and notes, in order; of one that failed, why.
    cells: Vec<String>,
    /// Its first output, how large it is, and how many more there are.
    pub file: Option<[String; 3]>,
    /// Which attempt succeeded, where it was not the first.
    again: Option<String>,
}

impl SceneRow {
    /// The row on a screen, or in a file, where paths are told in full.
    pub fn new(scene: &SceneRecord, run: &RunRecord, vram: &VramStats, on_screen: bool) -> Self {
        let time = minutes(scene.seconds);
        let name = scene.id.clone();
        if !scene.outcome.is_success() {
            let (time, why) = match on_screen {
                false => (String::new(), failure(scene, run)),
                true if scene.outcome == Outcome::Failed && scene.attempts.len() > 1 => {
                    (time, format!("{} ({} attempts)", scene.why, scene.attempts.len()))
                }
                true if scene.outcome == Outcome::Failed => (time, scene.why.clone()),
                true => (time, failure(scene, run)),
            };
            let (file, again) = (None, None);
            return SceneRow { mark: '✗', name, time, cells: vec![why], file, again };
        }
        let queued = scene.queued_seconds().filter(|queued| *queued >= 5.0);
        let mut cells: Vec<String> =
            queued.map(|queued| format!("{} of it queued", minutes(queued))).into_iter().collect();
        match scene.figures(vram) {
            _ if scene.outcome == Outcome::Cached => {
                cells.push("from the cache, no figures (use --fresh)".to_owned());
            }
            Some(figures) => cells.extend(figure_cells(scene, figures, vram, on_screen)),
            None => cells.push("no reading".to_owned()),
        }
        let again = (scene.attempts.len() > 1).then(|| attempts(&scene.attempts));
        let file = scene.outputs.first().filter(|_| !on_screen || scene.outcome != Outcome::Cached);
        let file = file.map(|file| {
            let path = if on_screen { file.file_name() } else { &file.path };
            let size = size(file, if on_screen { 1 } else { 2 });
            [path.to_owned(), size, and_more(&scene.outputs)]
        });
        SceneRow { mark: '✓', name, time, cells, file, again }
    }

    /// The row on a screen of so many columns, its name in a column of `names`; of the file what there
    /// is room for.
    pub fn rows(&self, names: usize, columns: usize) -> Vec<String> {
        let names = names.min(columns / 3).max(width(&self.name).min(8));
        let name = padded(&self.name, names);
        let head = format!("{} {name}  {:>TIME_WIDTH$}  ", self.mark, self.time);
        let whole = [3, 2, 1].map(|of_file| head.clone() + &self.cells(of_file).join("  "));
        if let Some(row) = whole.iter().find(|row| width(row.trim_end()) <= columns) {
            return vec![row.trim_end().to_owned()];
        }
        if columns >= width(&head) + LEAST_CELLS {
            if let Some(again) = &self.again {
                let mut rows = SceneRow { again: None, ..self.clone() }.rows(names, columns);
                let indent = " ".repeat(width(&head));
                rows.extend(wrapped(&(indent.clone() + again), indent.len(), columns));
                return rows;
            }
            return wrapped(&(head.clone() + &self.cells(0).join("  ")), head.len(), columns);
        }
        let most = columns.saturating_sub(width(&self.time) + 3).max(1);
        let head = format!("{} {} {} ", self.mark, ellipsized(&self.name, most), self.time);
        let cells = self.cells(0);
        let cells: Vec<&str> = cells.iter().map(|cell| cell.trim()).collect();
        wrapped(&(head + &cells.join(" ")), self.mark.len_utf8() + 1, columns)
    }

    /// What stands behind name and time: without the file, with its path, with how many more there
    /// are, with its size too.
    fn cells(&self, of_file: usize) -> Vec<String> {
        let file = self.file.as_ref().and_then(|[path, size, more]| match of_file {
            0 => None,
            1 => Some(path.clone()),
            2 => Some(format!("{path}{more}")),
            _ => Some(format!("{path}  {size}{more}")),
        });
        self.cells.iter().cloned().chain(file).chain(self.again.clone()).collect()
    }

    /// The row in one line of any length.
    pub fn line(&self) -> String {
        let time = Some(&self.time).filter(|time| !time.is_empty());
        let cells: Vec<String> = time.cloned().into_iter().chain(self.cells(3)).collect();
        format!("{} {}  {}", self.mark, self.name, cells.join("  "))
    }
}

/// `19310 MB`, `+17070`: what the device held at most, and what the scene added to it.
fn figure_cells(
    scene: &SceneRecord,
    figures: &SceneStatistics,
    vram: &VramStats,
    aligned: bool,
) -> Vec<String> {
    let mut cells = Vec::new();
    match (scene.cached_nodes().len(), scene.node_count) {
        (0, _) => {}
        (1, 0) => cells.push("partly cached (1 node)".to_owned()),
        (n, 0) => cells.push(format!("partly cached ({n} nodes)")),
        (n, count) => cells.push(format!("partly cached ({n} of {count} nodes)")),
    }
    let seconds = scene.server_seconds().unwrap_or(scene.seconds);
    let [peak_width, added_width] = if aligned { [5, 6] } else { [0, 0] };
    match figures.driver_peak.or(figures.peak) {
        None => cells.push("no reading".to_owned()),
        Some(mb) if vram.is_lower_bound(figures, seconds) => {
            cells.push(format!("at least {mb} MB: 1 reading"));
        }
        Some(mb) => {
            cells.push(format!("{mb:>peak_width$} MB"));
            let added = figures.added.map(|added| format!("+{}", added.mb()));
            cells.extend(added.map(|added| format!("{added:<added_width$}")));
        }
    }
    cells.extend(figures.spilled_peak.map(|mb| format!("{mb} MB spilled into system RAM")));
    cells
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
    let device = if run.is_system_ram() { "ComfyUI" } else { "GPU" };
    let ram = if run.is_system_ram() { " of RAM" } else { "" };
    let memory = after.used_after_mb.zip(after.used_before_mb).map(|(used, before)| {
        if used.abs_diff(before) <= NOISE_MB {
            format!(", {used} MB{ram} in use as before")
        } else {
            format!(", {used} MB{ram} in use ({before} before)")
        }
    });
    let memory = memory.unwrap_or_default();
    if let (None, Some(scene)) = (&after.still_running, &after.may_come) {
        return format!(
            "{device} not known to stay idle: {scene} was posted without a proper answer and may \
             yet come; the next run looks for it{memory}"
        );
    }
    match (&after.still_running, after.queue) {
        (Some(scene), Some(_)) => {
            format!("{device} not idle: {scene} was asked to end and still runs{memory}")
        }
        (Some(scene), None) => {
            format!("not known, the server does not answer: {scene} may still run there")
        }
        (None, Some(0)) => format!("{device} idle, queue empty{memory}"),
        (None, Some(1)) => format!("1 prompt of somebody else in the queue{memory}"),
        (None, Some(n)) => format!("{n} prompts of somebody else in the queue{memory}"),
        (None, None) if !run.has_attempts() => "nothing was posted".to_owned(),
        (None, None) => "not known, the server does not answer".to_owned(),
    }
}

/// How a figure is called; of a run on `cpu` or `mps` the used figure is the machine's own memory.
pub(super) fn metric_name(metric: Metric, system_ram: bool) -> &'static str {
    match metric {
        Metric::Driver => "driver",
        Metric::Used if system_ram => memory_name(true),
        Metric::Used => "used",
    }
}

fn peak(
    run: &RunRecord,
    vram: &VramStats,
    peak: &PeakGenerating,
    on_screen: bool,
) -> Option<String> {
    let mb = of_card(vram.peak_generating_mb()?, vram.total);
    let place = peak.place.text(&run.facts());
    if !on_screen {
        return Some(format!("{mb}, {} in {place}", time_text(peak.at)));
    }
    // Where there is one scene alone, its node says more.
    let scene = format!("{}, ", peak.place.scene);
    let node = place.strip_prefix(&scene).filter(|_| run.scenes.len() == 1);
    Some(format!("{mb}, in {}", node.unwrap_or(&place)))
}

/// `19310 of 24576 MB (79 %), 5266 to spare`; `19310 MB` where the card's size is not known.
fn of_card(mb: u64, total: Option<u64>) -> String {
    match total.filter(|total| *total > 0) {
        Some(total) => {
            let percent = quotient(u128::from(mb) * 100, total.into());
            let spare = total.saturating_sub(mb);
            format!("{mb} of {total} MB ({percent} %), {spare} to spare")
        }
        None => format!("{mb} MB"),
    }
}

/// What stands above the statistics of a log without a run: the gates where there are some, the
/// peak, and how far that is above its start.
pub fn log_block(
    vram: &VramStats,
    memory: &str,
    gates: &[Verdict],
    baselines: &[String],
) -> Vec<String> {
    let mut lines = Vec::new();
    if !gates.is_empty() {
        lines.push(if gates.iter().all(Verdict::held) {
            format!("✓ {}", gates::closing(gates).unwrap_or_default())
        } else {
            let why = gates::failure(gates, memory, baselines);
            format!("✗ {why} (exit {})", Exit::Gate.code())
        });
        lines.extend(gates::table(gates));
    }
    lines.extend(vram.metric.first_of(vram.peak, vram.driver_peak).map(|mb| {
        let added = vram.added.map(Added::mb).filter(|mb| *mb > 0);
        let added = added.map(|mb| format!(", {mb} more than at the start"));
        labelled(&format!("{memory} peak"), &(of_card(mb, vram.total) + &added.unwrap_or_default()))
    }));
    lines
}

/// How often and why the run has started the server. The first start, of one that did not answer, is
/// no news where there was another.
fn server(server: &Server) -> Option<String> {
    let again: Vec<_> = server.starts.iter().filter(|start| start.why != NO_ANSWER).collect();
    let ready = |start: &ServerStart| {
        let took = time::Duration::saturating_seconds_f64(start.ready_after_seconds);
        format!("ready after {}", span(took))
    };
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
    Some(text)
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
            return Some(format!("{mb} held by its tensors: {FILLED}"));
        }
        (DynamicVram::On, None) => return Some(format!("not known: {FILLED}")),
        (DynamicVram::Unknown, torch) if is_full && vram.dynamic_vram.is_some() => {
            let held = torch.map(|mb| format!("; its tensors held {mb} at most"));
            return Some(format!(
                "not known: the card was full, maybe with weights that dynamic VRAM \
                 gives back{}",
                held.unwrap_or_default()
            ));
        }
        _ => {}
    }
    let added = vram.added?;
    let spilled = vram.scenes.iter().filter_map(|scene| scene.device_peak).max();
    let of_run = spilled.max(Some(added.peak))?.saturating_sub(added.start);
    // More where a scene began when memory had been freed since the start.
    let of_scene = vram.scenes.iter().filter_map(|scene| scene.added).map(Added::mb).max();
    let mb = of_scene.max(Some(of_run)).filter(|mb| *mb > 0)?;
    if run.is_system_ram() {
        // What was kept in it from before is not known.
        return Some(format!("at least {mb} MB of RAM of its own"));
    }
    // What was loaded before it began is in no figure of what was added.
    if let Some(held) = vram.start_torch.filter(|mb| *mb > NOISE_MB)
        && vram.scenes.iter().any(|scene| scene.torch_before > Some(NOISE_MB))
    {
        return Some(format!("at least {mb} MB: ComfyUI held {held} MB already (use --fresh)"));
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
    Some(format!("{mb} MB of its own{cards}"))
}

/// How far the figures can be trusted, where there is something to say.
fn sampling(run: &RunRecord, vram: &VramStats, on_screen: bool) -> Option<String> {
    if vram.samples == 0 {
        return Some(vram.no_sample());
    }
    let missed: u64 = vram.missed.values().sum();
    let least = if on_screen { SHORT_GAP_MS } else { 0 };
    let gap = vram.longest_gap_ms.filter(|ms| vram.has_gap() && *ms >= least).map(seconds_text);
    let others = run.aftermath.other_prompts;
    let parts = [
        vram.pace_ms
            .or(vram.asked_interval_ms)
            .map(|ms| format!("read every {}", seconds_text(ms))),
        (missed > 0).then(|| format!("{missed} of {} lines missed", vram.samples + missed)),
        gap.as_ref().map(|gap| {
            let shorter = if on_screen { "shorter spikes" } else { "spikes shorter than that" };
            format!("longest gap {gap}: {shorter} may be missed")
        }),
        match others {
            0 => None,
            1 => Some("1 prompt of another client ran meanwhile, its memory is in them".to_owned()),
            n => {
                Some(format!("{n} prompts of other clients ran meanwhile, their memory is in them"))
            }
        },
    ];
    if missed == 0 && gap.is_none() && others == 0 {
        return None;
    }
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    Some(parts.join(", "))
}

/// `03:10:22 to 07:45:01`: what the times of the run hold beside its work.
fn asleep(run: &RunRecord) -> Option<String> {
    let sleeps = run.asleep.iter().map(|(from, to)| format!("{} to {}", hms(*from), hms(*to)));
    let sleeps: Vec<String> = sleeps.collect();
    (!sleeps.is_empty()).then(|| sleeps.join(", "))
}

/// `✓` or `✗`.
pub(super) fn mark(good: bool) -> char {
    if good { '✓' } else { '✗' }
}

/// Seconds as a person reads them: to the tenth below ten.
pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.1}") } else { format!("{seconds:.0}") }
}

/// `3:08`, `1:02:15`.
pub fn minutes(seconds: f64) -> String {
    let seconds = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, m, s) => format!("{m}:{s:02}"),
        (h, m, s) => format!("{h}:{m:02}:{s:02}"),
    }
}

/// `video/a/a.mp4 (1.53 MB)`: a path or name of an output with its size.
pub(super) fn with_size(name: &str, output: &Output) -> String {
    format!("{name} ({})", size(output, 2))
}

/// `1.53 MB`, `310 kB`, `72 bytes`.
fn size(output: &Output, places: usize) -> String {
    #[allow(clippy::cast_precision_loss)] // two decimals are shown
    let mb = output.bytes as f64 / MB as f64;
    match output.bytes {
        bytes if bytes < MB / 100 => counted(bytes.try_into().unwrap_or(usize::MAX), "byte"),
        bytes if bytes < MB => format!("{:.0} kB", mb * 1024.0),
        _ => format!("{mb:.places$} MB"),
    }
}

/// ` and 2 more files` behind the first of several outputs.
pub(super) fn and_more(outputs: &[Output]) -> String {
    match outputs.len() {
        0 | 1 => String::new(),
        n => format!(" and {}", counted(n - 1, "more file")),
    }
}
