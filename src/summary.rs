//! The `summary` verb: the same blocks again, from a log, a run folder or the newest run.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::SummaryOptions;
use crate::console::{Output, Terminal, print, print_error};
use crate::exit_code::Exit;
use crate::fs::{check_writable, write_report};
use crate::report::export;
use crate::report::html::{Page, link};
use crate::report::saved_run::{SavedRun, newest};
use crate::report::text::{log_block, summary_block};
use crate::report::{self, ReportInput, metadata, saved_run, sparkline};
use crate::sanitize::{json_text, sanitize_line};
use crate::vram::gates::{self, Verdict};
use crate::vram::reading::memory_name;

/// What stands in place of the verdict of a run without metadata.
const UNFINISHED: &str = "No verdict: this run is still going, or was killed";

/// Prints the statistics of each log or run folder, a run's verdict first; without one, of the
/// newest run. Several are each headed by their name; as JSON they are one array, in their order.
/// Gates that are set judge each of them in place of the run's own.
pub fn summary(options: &SummaryOptions) -> Exit {
    let terminal = Terminal::new(Output::Stdout, options.no_color);
    match summarize(options, terminal) {
        Ok((text, exit)) => print(&terminal.paint(&text), exit),
        Err(why) => {
            print_error(&why);
            Exit::Usage
        }
    }
}

/// The text to print, and the exit code of the gates.
fn summarize(options: &SummaryOptions, terminal: Terminal) -> Result<(String, Exit), String> {
    let targets = match options.targets.as_slice() {
        [] => vec![newest(&options.logs_dir).ok_or_else(|| no_run(&options.logs_dir))?],
        given => given.to_vec(),
    };
    let baselines = SavedRun::load_baselines(&options.gates.baselines)?;
    let mut runs = SavedRun::load_all(&targets)?;
    let verdicts: Vec<Vec<Verdict>> =
        runs.iter_mut().map(|run| judge(run, options, &baselines)).collect();
    runs.iter().filter_map(|run| run.note.as_ref()).for_each(|note| print_error(note));
    // The options allow reports of one run only.
    if let ([run], [verdicts]) = (runs.as_slice(), verdicts.as_slice()) {
        write_reports(options, run, verdicts, &baselines)?;
    }
    let mut exits = runs.iter().zip(&verdicts).map(|(run, verdicts)| match run.record() {
        Some(record) => record.exit(),
        None if verdicts.iter().all(Verdict::held) => Exit::Success,
        None => Exit::Gate,
    });
    let failed = exits.find(|exit| options.gates.any() && *exit != Exit::Success);
    let exit = failed.unwrap_or(Exit::Success);
    let both = runs.iter().zip(&verdicts);
    if options.json {
        let mut documents: Vec<Value> = both.map(|(run, verdicts)| json(run, verdicts)).collect();
        let document = if documents.len() == 1 { documents.remove(0) } else { documents.into() };
        return Ok((json_text(&document), exit));
    }
    let texts = both.zip(&targets).map(|((run, verdicts), target)| {
        let names: Vec<String> = baselines.iter().map(SavedRun::name).collect();
        let lines = lines(run, verdicts, &names, terminal);
        let text = terminal.laid_out(&lines).join("\n") + "\n";
        let name = sanitize_line(&target.to_string_lossy());
        if targets.len() == 1 { text } else { format!("==> {name} <==\n{text}") }
    });
    let mut texts: Vec<String> = texts.collect();
    if let ([before, now], false) = (runs.as_slice(), options.gates.any()) {
        texts.insert(0, terminal.laid_out(&comparison(before, now)).join("\n") + "\n");
    }
    Ok((texts.join("\n"), exit))
}

/// The verdicts by the gates that are set, which replace the run's own; else those.
fn judge(run: &mut SavedRun, options: &SummaryOptions, baselines: &[SavedRun]) -> Vec<Verdict> {
    if !options.gates.any() {
        return run.record().map(|record| record.gates.clone()).unwrap_or_default();
    }
    let verdicts = report::verdicts(&options.gates, run.record(), &run.vram, baselines);
    if let Some((record, _)) = &mut run.run {
        record.gates.clone_from(&verdicts);
        record.baselines = baselines.iter().map(SavedRun::name).collect();
    }
    verdicts
}

fn no_run(logs: &Path) -> String {
    format!("no run in {}: name a log or a run folder, or --logs-dir FOLDER", logs.display())
}

/// The lines of one log, a run's verdict first; with a curve where the terminal can show one.
fn lines(
    run: &SavedRun,
    gates: &[Verdict],
    baselines: &[String],
    terminal: Terminal,
) -> Vec<String> {
    let (mut lines, facts) = if let Some(record) = run.record() {
        let columns = terminal.is_terminal().then(|| terminal.columns());
        (summary_block(record, &run.vram, columns), record.facts())
    } else {
        let unfinished = run.is_unfinished().then(|| UNFINISHED.to_owned());
        let block = log_block(&run.vram, memory_name(run.is_system_ram()), gates, baselines);
        (unfinished.into_iter().chain(block).collect(), Vec::new())
    };
    if let Some(width) = terminal.curve_width() {
        lines.extend(sparkline::lines(&run.timeline, &run.vram, run.is_system_ram(), width));
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines.extend(run.vram.block(Some(&run.log), &facts));
    lines.extend(run.others.iter().flat_map(|device| device.block(&facts)));
    lines
}

/// The second of two runs beside the first.
fn comparison(before: &SavedRun, now: &SavedRun) -> Vec<String> {
    let rows = gates::compare(&now.baseline().1, &[before.baseline()]);
    let mut lines = vec![format!("{} compared with {}", now.name(), before.name())];
    lines.extend(gates::comparison(&rows));
    lines
}

/// Writes the page and the reports for other programs, as far as they are asked for.
fn write_reports(
    options: &SummaryOptions,
    run: &SavedRun,
    gates: &[Verdict],
    baselines: &[SavedRun],
) -> Result<(), String> {
    let log = &run.log;
    let inputs: Vec<PathBuf> = baselines.iter().chain([run]).flat_map(SavedRun::files).collect();
    let write = |option, path: &Path, text: &str| {
        check_writable(option, path, &inputs)?;
        write_report(option, path, text)
    };
    let title = format!("VRAM of {}", log.file_name().unwrap_or_default().display());
    let note = run.is_unfinished().then_some(UNFINISHED);
    let input = ReportInput { record: run.record(), title: &title, note, vram: &run.vram, gates };
    if let Some(path) = &options.html {
        let parent = |path: &Path| path.parent().unwrap_or(path).to_owned();
        let folder = &link::to_folder(&parent(path), &parent(log));
        let (timeline, others) = (&run.timeline, run.others.as_slice());
        let page = Page { input, timeline, others, folder };
        write("--html", path, &page.html())?;
    }
    let summary = log.with_file_name("run-summary.txt");
    let reports = export::reports(&options.reports, &input, baselines, &summary)?;
    reports.iter().try_for_each(|report| write(report.option, report.path, &report.text))
}

fn json(run: &SavedRun, verdicts: &[Verdict]) -> Value {
    if let Some((record, document)) = &run.run {
        let mut document = document.clone();
        document["Gates"] = metadata::gates_json(verdicts);
        document["ExitCode"] = record.exit().code().into();
        document["ExitReason"] = record.exit().reason().into();
        return document;
    }
    let vram = &run.vram;
    let mut document = json!({
        "SchemaVersion": metadata::SCHEMA,
        "Log": run.log.display().to_string(),
        "Vram": vram.json(),
        "Scenes": saved_run::scenes_json(vram),
        "Gates": metadata::gates_json(verdicts),
    });
    saved_run::add_devices(&mut document, &run.others);
    document
}
