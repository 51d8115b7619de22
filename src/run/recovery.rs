//! Finishing a run that was killed: its prompts are cancelled, its summary gets an end.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use super::cancel::Cancelled;
use super::context::RunContext;
use super::state_file::KnownRun;
use crate::clock::{Clock, day_and_time, is_run_id};
use crate::console::{Console, Output, Terminal};
use crate::fs::read_part;
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
                self.events.console.wait_for(&format!("cancelling {scene} of an earlier run"), "");
                let cancelled = self.cancel_all();
                self.events.console.set_live(None);
                self.state.forget_unseen(self.clock.now());
                let left = cancelled.filter(|it| {
                    !matches!(it, Cancelled::Unseen) || !self.state.prompts().is_empty()
                });
                let left = left.map_or("no longer on the server".into(), |it| it.to_string());
                format!("{scene}: {left}")
            }
        };
        if previous.ended {
            let KnownRun { started, folder, .. } = &previous.run;
            let (when, folder) = (day_and_time(*started), folder.display());
            self.events.console.note(&format!("Left by the run of {when} ({folder}): {fate}"));
        }
        for KnownRun { pid, started, folder, .. } in previous.unfinished() {
            let (when, shown) = (day_and_time(*started), folder.display());
            let line = format!("The run of {when} was killed (process {pid}, {shown}): {fate}");
            self.events.console.note(&line);
            let id = &self.record.id;
            let line = format!("the process {pid} was killed; {fate} (told by run {id})");
            // A name that is no text is not the same when it is read: where this run's folder is.
            let here = self.options.logs_dir.join(folder.file_name().unwrap_or_default());
            let folder = [folder, &here].into_iter().find(|folder| is_run_folder(folder));
            let finished = folder.map(|folder| finish(folder, self.clock, &line));
            if let Some(Err(why)) = finished {
                self.events.console.warn(&why);
            }
        }
        self.state.forget_killed();
    }
}

/// Whether a folder is one that a run made: the state file may say anything, and a summary is
/// continued nowhere else. It has a run's id as its name, and a run's two first files.
fn is_run_folder(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let is_file = |name| folder.join(name).symlink_metadata().is_ok_and(|about| about.is_file());
    is_run_id(&name)
        && folder.symlink_metadata().is_ok_and(|about| about.is_dir())
        && ["run-summary.txt", names::MAIN].iter().all(is_file)
}

/// Adds the end to the summary of a run, unless it has one.
fn finish(folder: &Path, clock: Clock, said: &str) -> Result<(), String> {
    let path = folder.join("run-summary.txt");
    let named = |error: std::io::Error| format!("{}: {error}", path.display());
    let length = fs::metadata(&path).map_err(named)?.len();
    let tail = read_part(&path, length.saturating_sub(TAIL), TAIL).map_err(named)?;
    let text = String::from_utf8_lossy(&tail);
    if ["=== RUN COMPLETE ===", "=== RUN INTERRUPTED ==="].iter().any(|end| text.contains(end)) {
        return Ok(());
    }
    if !tail.is_empty() && !tail.ends_with(b"\n") {
        let opened = OpenOptions::new().append(true).open(&path);
        opened.and_then(|mut file| file.write_all(b"\n")).map_err(named)?;
    }
    let terminal = Terminal::new(Output::Quiet, true);
    let mut console = Console::new(clock, Some(path.clone()), terminal, true);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_gets_one_end() {
        let folder = std::env::temp_dir().join(format!("finish-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("run-summary.txt");
        let finish = || finish(&folder, Clock::start(), "killed").unwrap();
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
