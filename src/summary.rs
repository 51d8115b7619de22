//! The `summary` verb: the same blocks again, from a log, a run folder or the newest run.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::exit::Exit;
use crate::options::SummaryOptions;
use crate::report::record::RunRecord;
use crate::report::{closing, metadata};
use crate::run::no_figures;
use crate::vram::statistics::Statistics;

/// The log of a run folder.
const LOG: &str = "vram-usage.log";
/// What is known of the run beside it.
const METADATA: &str = "artifact-metadata.json";

/// Prints the statistics of each log or run folder, a run's verdict first; without one, of the
/// newest run.
#[must_use]
pub fn summary(options: &SummaryOptions) -> Exit {
    match blocks(options) {
        Ok(text) => {
            let _ = std::io::stdout().lock().write_all(text.as_bytes());
            Exit::Success
        }
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "run-comfyui-e2e: {why}");
            Exit::Usage
        }
    }
}

fn blocks(options: &SummaryOptions) -> Result<String, String> {
    let targets = match options.targets.as_slice() {
        [] => vec![newest(&options.logs_dir)?],
        given => given.to_vec(),
    };
    let runs = targets.iter().map(|target| Summed::load(target)).collect::<Result<Vec<_>, _>>()?;
    if options.json {
        let documents: Vec<Value> = runs.iter().map(Summed::json).collect();
        let document = match documents.as_slice() {
            [one] => one.clone(),
            many => json!(many),
        };
        return Ok(format!("{document:#}\n"));
    }
    let blocks: Vec<String> = runs.iter().map(Summed::text).collect();
    Ok(blocks.join("\n"))
}

/// The newest run of a logs folder: its name sorts last.
fn newest(logs: &Path) -> Result<PathBuf, String> {
    let none = || {
        format!("no run in {}: name a log or a run folder, or --logs-dir FOLDER", logs.display())
    };
    let entries = fs::read_dir(logs).map_err(|_| none())?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join(LOG).is_file())
        .max()
        .ok_or_else(none)
}

fn run_of(text: &str) -> Result<(RunRecord, Value), String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document: Value =
        serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let record = metadata::record(&document)?;
    Ok((record, document))
}

/// A log, and what is known of its run beside it.
struct Summed {
    log: PathBuf,
    vram: Statistics,
    run: Option<(RunRecord, Value)>,
}

impl Summed {
    fn load(target: &Path) -> Result<Self, String> {
        let log = if target.is_dir() { target.join(LOG) } else { target.to_owned() };
        if target.is_dir() && !log.is_file() {
            let why = if newest(target).is_ok() {
                "a folder of runs: name one of them, or --logs-dir"
            } else {
                "no run folder: no vram-usage.log in it"
            };
            return Err(format!("{}: {why}", target.display()));
        }
        let vram =
            Statistics::of_log(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let metadata = log.with_file_name(METADATA);
        // Another program's, or a broken one: the log speaks for itself.
        let run = fs::read_to_string(&metadata).ok().and_then(|text| match run_of(&text) {
            Ok(run) => Some(run),
            Err(why) => {
                let name = metadata.display();
                let _ = writeln!(std::io::stderr(), "run-comfyui-e2e: {name}: {why}: not used");
                None
            }
        });
        if vram.ticks == 0 && run.is_none() {
            return Err(format!("{}: no line of a VRAM log in it", log.display()));
        }
        Ok(Summed { log, vram, run })
    }

    fn text(&self) -> String {
        let mut lines = Vec::new();
        let mut without = Vec::new();
        if let Some((record, _)) = &self.run {
            lines = closing::block(record, &self.vram);
            lines.push(String::new());
            without = no_figures(record);
        } else if self.log.with_file_name("run-summary.txt").is_file()
            && !self.log.with_file_name(METADATA).exists()
        {
            lines.push("No verdict: this run is still going, or was killed".to_owned());
        }
        lines.extend(self.vram.block(&self.log, &without));
        lines.join("\n") + "\n"
    }

    fn json(&self) -> Value {
        match &self.run {
            Some((_, document)) => document.clone(),
            None => json!({
                "SchemaVersion": 1,
                "Log": self.log.display().to_string(),
                "Vram": self.vram.json(),
                "Scenes": self.vram.scenes.iter().map(|scene| {
                    json!({"SceneId": scene.id, "Vram": scene.json()})
                }).collect::<Vec<_>>(),
            }),
        }
    }
}
