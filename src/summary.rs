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

/// A log, and what is known of its run beside it.
struct Summed {
    log: PathBuf,
    vram: Statistics,
    run: Option<(RunRecord, Value)>,
}

impl Summed {
    fn load(target: &Path) -> Result<Self, String> {
        let log = if target.is_dir() { target.join(LOG) } else { target.to_owned() };
        let vram =
            Statistics::of_log(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        if vram.ticks == 0 {
            return Err(format!("{}: no line of a VRAM log in it", log.display()));
        }
        let metadata = log.with_file_name("artifact-metadata.json");
        let run = match fs::read_to_string(&metadata) {
            Err(_) => None,
            Ok(text) => {
                let document: Value = serde_json::from_str(&text)
                    .map_err(|error| format!("{}: not JSON: {error}", metadata.display()))?;
                let record = metadata::record(&document)
                    .map_err(|error| format!("{}: {error}", metadata.display()))?;
                Some((record, document))
            }
        };
        Ok(Summed { log, vram, run })
    }

    fn text(&self) -> String {
        let mut lines = Vec::new();
        let mut without = Vec::new();
        if let Some((record, _)) = &self.run {
            lines = closing::block(record, &self.vram);
            lines.push(String::new());
            without = no_figures(record);
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
