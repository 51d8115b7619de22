//! A run in Markdown, as GitHub and GitLab read it: for a pull request, or a CI job's summary. It
//! fits a comment, of which GitHub takes 65536 characters.

mod escape;
#[cfg(test)]
mod tests;

use crate::clock::{day_and_time, hms, span};
use crate::exit_code::Exit;
use crate::report::input::ReportInput;
use crate::report::record::{Outcome, RunRecord, SceneRecord};
use crate::report::saved_run::SavedRun;
use crate::report::{gates, text as closing};
use crate::vram::gates::{RunVram, Verdict, comparable};
use crate::vram::stats::Metric;
use escape::{code, text};

/// So many scenes have a row, as long as the table has no more bytes than that; of more scenes the
/// failures come first.
const ROWS: usize = 100;
const TABLE: usize = 25_000;
/// So many verdicts on scenes are told; the table has their figures.
const VERDICTS: usize = 20;
/// So much of a reason is told, in characters.
const REASON: usize = 200;
/// A longer command is not told: a part of it would be no help.
const COMMAND: usize = 4000;

/// The Markdown; `baselines` stand beside the figures.
pub fn document(told: &ReportInput, baselines: &[SavedRun]) -> String {
    let block = told.record.map(|run| closing::block(run, told.vram)).unwrap_or_default();
    let mut out = String::new();
    heading(&mut out, told, &block);
    Table::of(told, baselines).write(&mut out, told);
    lines(&mut out, told, &block);
    verdicts(&mut out, told.gates);
    let next = block.iter().find_map(|line| line.strip_prefix("Next: "));
    match next {
        Some(next) if next.len() <= COMMAND => {
            out.push_str(&format!("\nNext: {}\n", code(next)));
        }
        Some(_) => out.push_str("\nNext: a long command, at the end of run-summary.txt.\n"),
        None => {}
    }
    out.push_str(&format!("\n<sub>{}</sub>\n", environment(told)));
    out
}

fn heading(out: &mut String, told: &ReportInput, block: &[String]) {
    let verdict = block.first().map_or(told.title, |line| closing::headline(line));
    let mark = match told.record.map(RunRecord::exit) {
        None => "",
        Some(Exit::Success) => "✓ ",
        Some(_) => "✗ ",
    };
    out.push_str(&format!("### {mark}{}\n", text(verdict)));
    if let Some(run) = told.record {
        let (from, to) = (day_and_time(run.started), hms(run.ended));
        let took = span(run.ended - run.started);
        out.push_str(&format!("\nRun {}, {from} to {to} ({took})\n", text(&run.id)));
    }
    if let Some(note) = told.note {
        out.push_str(&format!("\n{}\n", text(note)));
    }
}

/// The closing lines that neither the heading nor the table nor the list of gates tells.
fn lines(out: &mut String, told: &ReportInput, block: &[String]) {
    let of_log;
    let lines = if told.record.is_some() {
        block.get(1..).unwrap_or_default()
    } else {
        of_log = told.vram.block(None, &[]);
        &of_log[1..]
    };
    let told_elsewhere = ["✓", "✗", "Gates: ", "Next: ", "Scene "];
    let rest = lines.iter().filter(|line| !told_elsewhere.iter().any(|e| line.starts_with(e)));
    out.push('\n');
    for line in rest {
        out.push_str(&format!("- {}\n", shortened(line)));
    }
}

fn verdicts(out: &mut String, gates: &[Verdict]) {
    if gates.is_empty() {
        return;
    }
    out.push_str("\n**Gates**\n\n");
    let (of_run, of_scenes): (Vec<&Verdict>, Vec<&Verdict>) =
        gates.iter().partition(|gate| gate.scene.is_none());
    let (held, bad): (Vec<&Verdict>, Vec<&Verdict>) =
        of_scenes.into_iter().partition(|gate| gate.held());
    let all = of_run.len() + bad.len() + held.len();
    let most = of_run.len() + VERDICTS;
    for gate in of_run.into_iter().chain(bad).chain(held).take(most) {
        let mark = if gate.held() { '✓' } else { '✗' };
        out.push_str(&format!("- {mark} {}\n", shortened(&gate.to_string())));
    }
    if all > most {
        out.push_str(&format!("- and {} more of scenes\n", all - most));
    }
}

fn environment(told: &ReportInput) -> String {
    let mut parts = Vec::new();
    if let Some(server) = told.record.map(|run| &run.server) {
        let of = |name: &str, version: &Option<String>| {
            version.as_ref().map(|version| format!("{name} {}", shortened(version)))
        };
        parts.extend(of("ComfyUI", &server.comfyui));
        parts.extend(of("PyTorch", &server.pytorch));
        parts.extend(server.device.as_deref().map(shortened));
    }
    parts.push(concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned());
    parts.join(", ")
}

/// The scenes, and the run as a whole, with their peaks.
struct Table<'a> {
    run: RunVram<'a>,
    /// The figures that there are columns for.
    figures: Vec<(&'static str, Metric)>,
    /// What stands beside the figure, if there is one to be held against.
    baselines: Vec<(String, RunVram<'a>)>,
}

impl<'a> Table<'a> {
    fn of(told: &'a ReportInput, baselines: &'a [SavedRun]) -> Self {
        let run = gates::subject(told.vram, told.record);
        let mut baselines = gates::named(baselines);
        let ram = run.facts.as_ref().is_some_and(|facts| facts.system_ram);
        let used = if ram { "system RAM" } else { "used" };
        let mut figures = vec![("driver", Metric::Driver), (used, Metric::Used)];
        match comparable(&run, &baselines) {
            Ok(meaning) if !baselines.is_empty() => {
                figures.retain(|(_, figure)| *figure == meaning);
            }
            Ok(_) => {}
            // Of another device: the gate says so.
            Err(_) => baselines.clear(),
        }
        let known = |meaning| {
            let scenes = told.vram.scenes.iter().map(|scene| Some(scene.id.as_str()));
            scenes.chain([None]).any(|scene| run.peak(scene, meaning).is_some())
        };
        if baselines.is_empty() {
            figures.retain(|(_, meaning)| known(*meaning));
        }
        Table { run, figures, baselines }
    }

    fn write(&self, out: &mut String, told: &ReportInput) {
        let row =
            |id: &str, outcome: &str| format!("| {} |{outcome}{}", text(id), self.memory(Some(id)));
        let rows: Vec<String> = match told.record {
            Some(run) => {
                let scenes = closing::scenes(run).into_iter();
                scenes.map(|scene| row(&scene.id, &outcome_of(scene, run))).collect()
            }
            None => told.vram.scenes.iter().map(|scene| row(&scene.id, "")).collect(),
        };
        if rows.is_empty() {
            return;
        }
        let outcome = told.record.map_or("", |_| " Outcome | Seconds |");
        out.push_str(&format!("\n| Scene |{outcome}"));
        for (name, _) in &self.figures {
            out.push_str(&format!(" Peak, {name} (MB) |"));
            if !self.baselines.is_empty() {
                out.push_str(" Baseline (MB) | Difference (MB) |");
            }
        }
        let columns = self.figures.len() * if self.baselines.is_empty() { 1 } else { 3 };
        let outcome = told.record.map_or("", |_| "---|--:|");
        out.push_str(&format!("\n|---|{outcome}{}\n", "--:|".repeat(columns)));
        let full = out.len() + TABLE;
        let mut shown = 0;
        for row in rows.iter().take(ROWS) {
            if out.len() + row.len() > full {
                break;
            }
            out.push_str(row);
            shown += 1;
        }
        let took = told.record.map(|run| run.ended - run.started);
        let took = took.map(|took| format!(" | {} |", closing::whole(took.as_seconds_f64())));
        out.push_str(&format!("| **All** |{}{}", took.unwrap_or_default(), self.memory(None)));
        if rows.len() > shown {
            out.push_str(&format!("\n{} more scenes have no row here.\n", rows.len() - shown));
        }
    }

    /// The rest of a row.
    fn memory(&self, scene: Option<&str>) -> String {
        let mut out = String::new();
        for (_, meaning) in &self.figures {
            let now = self.run.peak(scene, *meaning);
            let mut cells = vec![now.map(|mb| mb.to_string())];
            if !self.baselines.is_empty() {
                let peaks =
                    self.baselines.iter().filter_map(|(_, past)| past.peak(scene, *meaning));
                let before = peaks.max();
                cells.push(before.map(|mb| mb.to_string()));
                cells.push(now.zip(before).map(|(now, before)| difference(now, before)));
            }
            for cell in cells {
                out.push_str(&format!(" {} |", cell.as_deref().unwrap_or("–")));
            }
        }
        out.push('\n');
        out
    }
}

/// `+162 (+5.0 %)`.
fn difference(now: u64, before: u64) -> String {
    let mb = i128::from(now) - i128::from(before);
    if before == 0 {
        return format!("{mb:+}");
    }
    #[allow(clippy::cast_precision_loss)] // one decimal is shown
    let percent = mb as f64 * 100.0 / before as f64;
    format!("{mb:+} ({percent:+.1} %)")
}

/// The cells of the outcome, with its reason, and of the time.
fn outcome_of(scene: &SceneRecord, run: &RunRecord) -> String {
    let good = scene.outcome.is_success();
    let mut parts = vec![format!("{} {}", if good { '✓' } else { '✗' }, scene.outcome.name())];
    if !good {
        let failure = closing::failure(scene, run);
        // The outcome stands before it.
        let why = failure.strip_prefix(scene.outcome.name()).unwrap_or(&failure);
        parts.push(shortened(why.trim_start_matches([',', ':', ' '])));
    }
    if scene.attempts.len() > 1 {
        parts.push(shortened(&closing::attempts(&scene.attempts)));
    }
    if scene.outcome == Outcome::Cached {
        parts.push("no execution".to_owned());
    }
    let seconds = match scene.outcome {
        Outcome::Skipped => "–".to_owned(),
        _ => closing::whole(scene.seconds),
    };
    format!(" {} | {seconds} |", parts.join("<br>"))
}

fn shortened(why: &str) -> String {
    text(&crate::sanitize::shortened(why, REASON))
}
