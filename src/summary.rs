//! The `summary` verb: the same blocks again, from a log, a run folder or the newest run.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::{ReportOptions, SummaryOptions};
use crate::exit_code::Exit;
use crate::fs::write_atomic;
use crate::report::export;
use crate::report::html::{Page, link};
use crate::report::input::ReportInput;
use crate::report::saved_run::{SavedRun, newest};
use crate::report::{devices, gates, sparkline, text};
use crate::sanitize::{json_text, print, print_error};
use crate::terminal::{Stream, Terminal};
use crate::vram::gates::Verdict;

/// What stands in place of a verdict.
const UNFINISHED: &str = "No verdict: this run is still going, or was killed";

/// Prints the statistics of each log or run folder, a run's verdict first; without one, of the
/// newest run. Several are each headed by their name; as JSON they are one array, in their order.
/// Gates that are set judge each of them in place of the run's own.
pub fn summary(options: &SummaryOptions) -> Exit {
    let terminal = Terminal::of(Stream::Out, options.no_color);
    let room = if options.json { None } else { terminal.room() };
    match blocks(options, room) {
        Ok((text, exit)) => {
            if print(&terminal.paint(&text)) {
                exit
            } else {
                Exit::Failed
            }
        }
        Err(why) => {
            print_error(&why);
            Exit::Usage
        }
    }
}

fn blocks(options: &SummaryOptions, room: Option<usize>) -> Result<(String, Exit), String> {
    let targets = match options.targets.as_slice() {
        [] => vec![newest(&options.logs_dir).ok_or_else(|| no_run(&options.logs_dir))?],
        given => given.to_vec(),
    };
    let baselines = SavedRun::load_all(&options.gates.baselines)?;
    let judged: Vec<(SavedRun, Vec<Verdict>)> = SavedRun::load_all(&targets)?
        .into_iter()
        .map(|past| judged(past, options, &baselines))
        .collect();
    for note in judged.iter().filter_map(|(past, _)| past.note.as_ref()) {
        print_error(note);
    }
    // With a page or a report there is one of them.
    if let [(past, verdicts)] = judged.as_slice() {
        let name = past.log.file_name().unwrap_or_default().to_string_lossy();
        let told = ReportInput {
            record: past.record(),
            title: &format!("VRAM of {name}"),
            note: past.is_unfinished().then_some(UNFINISHED),
            vram: &past.vram,
            gates: verdicts,
        };
        if let Some(path) = &options.html {
            write_page(path, past, told)?;
        }
        write_reports(&options.reports, past, &told, &baselines)?;
    }
    let all_held = judged.iter().flat_map(|(_, verdicts)| verdicts).all(Verdict::held);
    let exit = if all_held || !options.gates.any() { Exit::Success } else { Exit::Gate };
    if options.json {
        let documents: Vec<Value> =
            judged.iter().map(|(past, verdicts)| json(past, verdicts)).collect();
        let text = match documents.as_slice() {
            [one] => json_text(one),
            many => json_text(&json!(many)),
        };
        return Ok((text, exit));
    }
    if let [(past, verdicts)] = judged.as_slice() {
        return Ok((text(past, verdicts, room), exit));
    }
    let headed = targets.iter().zip(&judged).map(|(target, (past, verdicts))| {
        format!("==> {} <==\n{}", target.display(), text(past, verdicts, room))
    });
    Ok((headed.collect::<Vec<_>>().join("\n"), exit))
}

/// The verdicts by the gates that are set, else those that the run has recorded.
fn judged(
    mut past: SavedRun,
    options: &SummaryOptions,
    baselines: &[SavedRun],
) -> (SavedRun, Vec<Verdict>) {
    if !options.gates.any() {
        let recorded = past.record().map(|record| record.gates.clone());
        return (past, recorded.unwrap_or_default());
    }
    let verdicts = gates::verdicts_on(&options.gates, past.record(), &past.vram, baselines);
    if let Some((record, _)) = &mut past.run {
        record.gates.clone_from(&verdicts);
    }
    (past, verdicts)
}

fn no_run(logs: &Path) -> String {
    format!("no run in {}: name a log or a run folder, or --logs-dir FOLDER", logs.display())
}

/// The block of one log, a run's verdict first; on a terminal with so much room its curve is drawn.
fn text(past: &SavedRun, gates: &[Verdict], room: Option<usize>) -> String {
    let mut lines = Vec::new();
    let mut without = Vec::new();
    if let Some(record) = past.record() {
        lines = text::block(record, &past.vram);
        without = record.without_figures();
    } else if past.is_unfinished() {
        lines.push(UNFINISHED.to_owned());
    }
    if let Some(room) = room {
        lines.extend(sparkline::lines(&past.timeline, &past.vram, past.record(), room));
    }
    if past.record().is_some() {
        lines.push(String::new());
    }
    lines.extend(past.vram.block(Some(&past.log), &without));
    lines.extend(gates.iter().map(Verdict::to_string));
    lines.extend(past.others.iter().flat_map(|device| device.block(&without)));
    lines.join("\n") + "\n"
}

/// The page of one log, or of its run.
fn write_page(path: &Path, past: &SavedRun, told: ReportInput) -> Result<(), String> {
    let log = &past.log;
    let parent = |path: &Path| path.parent().unwrap_or(path).to_owned();
    let folder = &link::to_folder(&parent(path), &parent(log));
    let page = Page { told, curve: &past.timeline, others: &past.others, folder };
    write("--html", path, &page.html(), past)
}

/// What other programs are to read of it.
fn write_reports(
    options: &ReportOptions,
    past: &SavedRun,
    told: &ReportInput,
    baselines: &[SavedRun],
) -> Result<(), String> {
    let summary = past.log.with_file_name("run-summary.txt");
    let reports = export::reports(options, told, baselines, &summary)?;
    reports.iter().try_for_each(|report| write(&report.option, report.path, &report.text, past))
}

/// Writes a file whole, or not at all; never over the log.
fn write(option: &str, path: &Path, text: &str, past: &SavedRun) -> Result<(), String> {
    let log = past.log.canonicalize();
    if path.canonicalize().is_ok_and(|path| log.is_ok_and(|log| log == path)) {
        return Err(format!("{option} {}: that is the log itself", path.display()));
    }
    // Nothing else is going on that could be kept waiting.
    write_atomic(path, text.as_bytes())
        .map_err(|error| format!("{option} {}: {error}", path.display()))
}

fn json(past: &SavedRun, verdicts: &[Verdict]) -> Value {
    if let Some((record, document)) = &past.run {
        let mut document = document.clone();
        document["Gates"] = gates::json(verdicts);
        document["ExitCode"] = record.exit().code().into();
        document["ExitReason"] = record.exit().reason().into();
        return document;
    }
    let mut document = json!({
        "SchemaVersion": 1,
        "Log": past.log.display().to_string(),
        "Vram": past.vram.json(),
        "Scenes": past.vram.scenes.iter().map(|scene| {
            json!({"SceneId": scene.id, "Vram": scene.json()})
        }).collect::<Vec<_>>(),
        "Gates": gates::json(verdicts),
    });
    devices::add(&mut document, &past.others);
    document
}
