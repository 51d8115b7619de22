//! A run in Markdown, as GitHub and GitLab read it: for a pull request, or a CI job's summary. It
//! fits a comment, of which GitHub takes 65536 characters.

#[cfg(test)]
mod tests;

use crate::report::record::{Outcome, RunRecord, SceneRecord};
use crate::report::saved_run::SavedRun;
use crate::report::text::{
    REPORT, attempts, failure, headline, mark, metric_name, ordered_scenes, seconds, summary_block,
    times,
};
use crate::report::{ReportInput, subject};
use crate::sanitize::{self, counted, sanitize_line};
use crate::vram::gates::{RunVram, Verdict, compare};
use crate::vram::stats::Metric;

/// So many scenes have a row, as long as the rows have no more bytes than [`MOST_ROW_BYTES`]; of
/// more scenes the failures come first.
const MOST_ROWS: usize = 100;
const MOST_ROW_BYTES: usize = 25_000;
/// So many verdicts on scenes are listed; the table has their figures.
const MOST_VERDICTS: usize = 20;
/// A reason is cut behind so many characters.
const MOST_REASON: usize = 200;
/// A command of more bytes is left out: a part of it would be no help.
const MOST_COMMAND: usize = 4000;

/// How the last row of a block begins.
const NEXT: &str = "Next       ";

/// The Markdown; `baselines` stand beside the figures.
pub fn document(input: &ReportInput, baselines: &[SavedRun]) -> String {
    let block = input.record.map(|run| summary_block(run, input.vram, None)).unwrap_or_default();
    let next = match block.iter().find_map(|line| line.strip_prefix(NEXT)) {
        Some(next) if next.len() > MOST_COMMAND => {
            "\nNext: a long command, at the end of run-summary.txt.\n".to_owned()
        }
        Some(next) if next.starts_with(env!("CARGO_PKG_NAME")) => {
            format!("\nNext: {}\n", code(next))
        }
        Some(next) => format!("\nNext: {}\n", text(next)),
        None => String::new(),
    };
    [
        heading(input, &block),
        Table::of(input, baselines).markdown(input),
        lines(input, &block),
        verdicts(input.gates),
        next,
        format!("\n<sub>{}</sub>\n", environment(input)),
    ]
    .concat()
}

fn heading(input: &ReportInput, block: &[String]) -> String {
    let verdict = block.first().map_or(input.title, |line| headline(line).0);
    let mut heading = "### ".to_owned();
    heading += &format!("{}\n", text(verdict));
    heading.extend(input.record.map(|run| format!("\nRun {}, {}\n", text(&run.id), times(run))));
    heading.extend(input.note.map(|note| format!("\n{}\n", text(note))));
    heading
}

/// The lines of the block that are not in the heading, the table or the list of gates.
fn lines(input: &ReportInput, block: &[String]) -> String {
    // Rows of scenes and of the table of gates begin with a mark or with spaces.
    const ELSEWHERE: [&str; 7] = ["✓", "✗", "  ", "Gates ", REPORT, NEXT, "Scene "];
    let of_log = if block.is_empty() { input.vram.block(None, &[]) } else { Vec::new() };
    let lines = block.iter().skip(1).chain(of_log.iter().skip(1));
    let rest = lines.filter(|line| !ELSEWHERE.iter().any(|start| line.starts_with(start)));
    let items = rest.map(|line| format!("- {}\n", shortened(line)));
    format!("\n{}", items.collect::<String>())
}

fn verdicts(gates: &[Verdict]) -> String {
    if gates.is_empty() {
        return String::new();
    }
    // Of the run, then those of scenes that failed.
    let (mut sorted, of_scenes): (Vec<_>, Vec<_>) =
        gates.iter().partition(|gate| gate.scene.is_none());
    let of_run = sorted.len();
    let (held, failed): (Vec<_>, Vec<_>) = of_scenes.into_iter().partition(|gate| gate.held());
    sorted.extend(failed.into_iter().chain(held));
    let (shown, rest) = sorted.split_at(gates.len().min(of_run + MOST_VERDICTS));
    let item = |gate: &&Verdict| shortened(&gate.to_string());
    let mut list = "\n**Gates**\n\n".to_owned();
    list.extend(shown.iter().map(|gate| format!("- {} {}\n", mark(gate.held()), item(gate))));
    if !rest.is_empty() {
        list += &format!("- and {} more of scenes\n", rest.len());
    }
    list
}

fn environment(input: &ReportInput) -> String {
    let mut parts = Vec::new();
    if let Some(server) = input.record.map(|run| &run.server) {
        let version = |name: &str, version: &str| format!("{name} {}", shortened(version));
        parts.extend(server.comfyui.as_deref().map(|comfyui| version("ComfyUI", comfyui)));
        parts.extend(server.pytorch.as_deref().map(|pytorch| version("PyTorch", pytorch)));
        parts.extend(server.device.as_deref().map(shortened));
    }
    parts.push(concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned());
    parts.join(", ")
}

/// The scenes, and the run as a whole, with their peaks, or held against baselines.
struct Table<'a> {
    run: RunVram<'a>,
    /// The figures that have columns.
    metrics: Vec<Metric>,
    /// The comparison with the baselines; empty without them.
    compared: Vec<Verdict>,
}

impl<'a> Table<'a> {
    fn of(input: &ReportInput<'a>, baselines: &'a [SavedRun]) -> Self {
        let run = subject(input.record, input.vram);
        let is_known = |metric: &Metric| {
            let scenes = input.vram.scenes.iter().map(|scene| Some(scene.id.as_str()));
            scenes.chain([None]).any(|scene| run.peak(scene, *metric).is_some())
        };
        let mut metrics: Vec<_> =
            [Metric::Driver, Metric::Used].into_iter().filter(is_known).collect();
        let baselines: Vec<_> = baselines.iter().map(SavedRun::baseline).collect();
        let mut compared = compare(&run, &baselines);
        // If they are of another device, the gate says so.
        if baselines.is_empty() || compared.iter().all(|verdict| verdict.measured.is_none()) {
            compared.clear();
        } else {
            metrics.truncate(1);
        }
        Table { run, metrics, compared }
    }

    fn markdown(&self, input: &ReportInput) -> String {
        let row = |id: &str, outcome: &str| self.row(&text(id), outcome, Some(id));
        let rows: Vec<String> = if let Some(run) = input.record {
            let scenes = ordered_scenes(run).into_iter();
            scenes.map(|scene| row(&scene.id, &outcome(scene, run))).collect()
        } else {
            input.vram.scenes.iter().map(|scene| row(&scene.id, "")).collect()
        };
        if rows.is_empty() {
            return String::new();
        }
        let mut bytes = 0;
        let fits = |row: &&String| {
            bytes += row.len();
            bytes <= MOST_ROW_BYTES
        };
        let shown = rows.iter().take(MOST_ROWS).take_while(fits).count();
        let took = input.record.map(|run| (run.ended - run.started).as_seconds_f64());
        let took = took.map(|took| format!(" | {} |", seconds(took))).unwrap_or_default();
        let all = self.row("**All**", &took, None);
        let mut table = self.head(input) + &rows[..shown].concat() + &all;
        if rows.len() > shown {
            let more = counted(rows.len() - shown, "more scene");
            table += &format!("\n{more} without a row here.\n");
        }
        table
    }

    fn head(&self, input: &ReportInput) -> String {
        let (outcome, line) = match input.record {
            Some(_) => (" Outcome | Seconds |", "---|--:|"),
            None => ("", ""),
        };
        let names = self.metrics.iter().map(|metric| {
            let name = metric_name(*metric, input.is_system_ram());
            format!(" Peak, {name} (MB) |")
        });
        let mut names: String = names.collect();
        let mut columns = "--:|".repeat(self.metrics.len());
        if !self.compared.is_empty() {
            names += " Figure | Now (MB) | Baseline (MB) | Difference (MB) |";
            columns += "---|--:|--:|--:|";
        }
        format!("\n| Scene |{outcome}{names}\n|---|{line}{columns}\n")
    }

    /// A row of a scene, or of the run as a whole.
    fn row(&self, name: &str, outcome: &str, scene: Option<&str>) -> String {
        let peaks = self.metrics.iter().map(|metric| self.run.peak(scene, *metric));
        let mut cells: Vec<_> = peaks.map(|mb| mb.map(|mb| mb.to_string())).collect();
        if !self.compared.is_empty() {
            let of_scene = |verdict: &&Verdict| verdict.scene.as_deref() == scene;
            let verdict = self.compared.iter().find(of_scene);
            let now = verdict.and_then(|verdict| verdict.measured);
            let before = verdict.and_then(|verdict| verdict.before);
            cells.push(now.map(|now| now.name().to_owned()));
            cells.push(now.map(|now| now.mb().to_string()));
            cells.push(before.map(|mb| mb.to_string()));
            cells.push(now.zip(before).map(|(now, before)| difference(now.mb(), before)));
        }
        let cells = cells.iter().map(|cell| format!(" {} |", cell.as_deref().unwrap_or("–")));
        format!("| {name} |{outcome}{}\n", cells.collect::<String>())
    }
}

/// `+162 (+5.0 %)`.
fn difference(now: i64, before: u64) -> String {
    let mb = i128::from(now) - i128::from(before);
    if before == 0 {
        return format!("{mb:+}");
    }
    #[allow(clippy::cast_precision_loss)] // one decimal is shown
    let percent = mb as f64 * 100.0 / before as f64;
    format!("{mb:+} ({percent:+.1} %)")
}

/// The cells of the outcome, with its reason, and of the time.
fn outcome(scene: &SceneRecord, run: &RunRecord) -> String {
    let name = scene.outcome.name();
    let success = scene.outcome.is_success();
    let mut parts = vec![format!("{} {name}", mark(success))];
    if !success {
        let failure = failure(scene, run);
        // The name stands before it.
        let why = failure.strip_prefix(name).unwrap_or(&failure);
        parts.push(shortened(why.trim_start_matches([',', ':', ' '])));
    }
    let (again, cached) = (scene.attempts.len() > 1, scene.outcome == Outcome::Cached);
    parts.extend(again.then(|| shortened(&attempts(&scene.attempts))));
    parts.extend(cached.then(|| "no execution".to_owned()));
    let is_skipped = scene.outcome == Outcome::Skipped;
    let seconds = if is_skipped { "–".to_owned() } else { seconds(scene.seconds) };
    format!(" {} | {seconds} |", parts.join("<br>"))
}

fn shortened(why: &str) -> String {
    text(&sanitize::shortened(why, MOST_REASON))
}

/// One line of text, in a paragraph, a heading, an item or a cell, which the reader shows as it is:
/// no markup, no link, no mention and no reference comes of it.
fn text(text: &str) -> String {
    let text = sanitize_line(text);
    let text = text.trim_start();
    let number = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let after = &text[at + c.len_utf8()..];
        let next = after.chars().next();
        let before_number = next.is_some_and(|c| c.is_ascii_digit());
        // What becomes a picture is a name between colons; a time is none.
        let before_emoji = next.is_some_and(|c| c.is_ascii_lowercase() || "+-".contains(c));
        let is_behind = |word: &str| {
            let start = at.checked_sub(word.len()).and_then(|start| text.get(start..at));
            start.is_some_and(|start| start.eq_ignore_ascii_case(word))
        };
        let is_escaped = match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' | '#' => true,
            ':' => after.starts_with("//"),
            '-' | '+' | '=' if at == 0 => true,
            // Behind a number it would begin a list.
            '.' | ')' if at > 0 && at == number && matches!(next, None | Some(' ')) => true,
            '.' => is_behind("www"),
            _ => false,
        };
        // A word that such a character joins to the next is a mention, an issue, a merge request
        // or a picture; these are looked for in what is left when the escapes are gone.
        let is_parted = match c {
            '@' | '#' => true,
            '!' => before_number,
            '-' => before_number && is_behind("gh"),
            ':' => before_emoji,
            _ => false,
        };
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if is_escaped => out.extend(['\\', c]),
            c => out.push(c),
        }
        if is_parted {
            out.push('\u{200b}');
        }
    }
    out
}

/// One line as code, to be copied. Not for a cell: there it would end at a `|`.
fn code(text: &str) -> String {
    let text = sanitize_line(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    // A space on each side is taken off again; without one a fence would grow by the text's own.
    let space = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}
