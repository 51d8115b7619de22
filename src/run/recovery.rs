//! Finishing a run that was killed: its prompts are cancelled, its summary gets an end.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::cancel::Cancelled;
use super::context::RunContext;
use crate::clock::{Clock, day_and_time};
use crate::console::{Console, Output};
use crate::vram::log::names;
use crate::vram::stats::LogSummary;

/// How many bytes at a summary's end are searched for its last header.
const TAIL: u64 = 64 << 10;

impl RunContext<'_> {
    /// Cancels what an earlier run left on this server, adds the missing end to its summary, and
    /// logs that. Without a server its prompts stay for the next run.
    pub(super) fn recover(&mut self, connected: bool) {
        let Some(previous) = self.previous_run.take() else { return };
        let prompt = self.state.prompts().first().map(|prompt| prompt.scene.clone());
        let fate = match prompt {
            None => "nothing of it was left on the server".to_owned(),
            Some(scene) if !connected => format!("{scene} may still run on the server"),
            Some(scene) => {
                let cancelled = self.cancel_all();
                self.state.forget_unseen(self.clock.now());
                let left = cancelled.filter(|it| {
                    !matches!(it, Cancelled::Unseen) || !self.state.prompts().is_empty()
                });
                let left = left.map_or("no longer on the server".into(), |it| it.to_string());
                format!("{scene}: {left}")
            }
        };
        let when = day_and_time(previous.started);
        let folder = previous.folder.display();
        if previous.ended {
            let line = format!("Left by the run of {when} ({folder}): {fate}");
            return self.events.console.log(&line);
        }
        let pid = previous.pid;
        self.events
            .console
            .log(&format!("The run of {when} was killed (process {pid}, {folder}): {fate}"));
        let line = format!("the process {pid} was killed; {fate} (told by run {})", self.record.id);
        if let Err(why) = finish(&previous.folder, self.clock, &line) {
            self.events.console.warn(&why);
        }
    }
}

/// Adds the end to the summary of a run, unless it has one or is gone.
fn finish(folder: &Path, clock: Clock, said: &str) -> Result<(), String> {
    let path = folder.join("run-summary.txt");
    let named = |error: std::io::Error| format!("{}: {error}", path.display());
    if !path.is_file() {
        return Ok(());
    }
    let tail = tail(&path).map_err(named)?;
    let text = String::from_utf8_lossy(&tail);
    if ["=== RUN COMPLETE ===", "=== RUN INTERRUPTED ==="].iter().any(|end| text.contains(end)) {
        return Ok(());
    }
    if !tail.is_empty() && !tail.ends_with(b"\n") {
        let opened = OpenOptions::new().append(true).open(&path);
        opened.and_then(|mut file| file.write_all(b"\n")).map_err(named)?;
    }
    let mut console = Console::new(clock, Some(path.clone()), Output::Quiet, true);
    console.header("RUN INTERRUPTED");
    console.log(said);
    console.log("");
    let log = folder.join(names::MAIN);
    match LogSummary::read(&log) {
        Ok(summary) => console.log_all(&summary.stats.block(Some(&log), &[])),
        Err(error) => console.log(&format!("{}: {error}", log.display())),
    }
    Ok(())
}

fn tail(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = fs::metadata(path)?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    Ok(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_gets_one_end() {
        let folder = std::env::temp_dir().join(format!("finish-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("run-summary.txt");
        let finish = || finish(&folder, Clock::start(), "killed").unwrap();
        finish();
        assert!(!path.exists(), "no summary is made where there was none");
        fs::write(&path, "[12:00:00] [Scene a] Starting vid").unwrap();
        fs::write(folder.join(names::MAIN), "12:00:00,Used=5MB,Interval=5s\n").unwrap();
        finish();
        finish();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("=== RUN INTERRUPTED ===").count(), 1, "{text}");
        assert!(text.contains("Starting vid\n[") && text.contains("] killed\n"), "{text}");
        assert!(text.contains("] Peak VRAM: 5 MB (from 1 samples)\n"), "{text}");
        fs::write(&path, "[12:00:00] === RUN COMPLETE ===\n").unwrap();
        finish();
        assert_eq!(fs::read_to_string(&path).unwrap(), "[12:00:00] === RUN COMPLETE ===\n");
        fs::remove_dir_all(&folder).unwrap();
    }
}
