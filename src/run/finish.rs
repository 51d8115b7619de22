//! How a run ends: the results, the statistics, the gates, the project's own helpers, the
//! metadata, the page, the closing block, and last the archive.

use std::fs;

use super::context::RunContext;
use super::rerun::{self, Caller};
use crate::archive::{self, ArchiveError};
use crate::console::{Output, Terminal, print_document, print_error};
use crate::exit_code::Exit;
use crate::fs::{write_atomic, write_report};
use crate::interrupt::Interrupted;
use crate::project::helpers::{HelperFiles, Phase};
use crate::report::export::Report;
use crate::report::html::Page;
use crate::report::saved_run::{OtherDevice, SavedRun};
use crate::report::{self, ReportInput, export, legacy, metadata, text};
use crate::sanitize::json_text;
use crate::vram::log::names;
use crate::vram::stats::{LogSummary, VramStats};

impl RunContext<'_> {
    /// Logs and writes the rest of the run, and returns its exit code.
    pub(super) fn finish(mut self, baselines: &[SavedRun]) -> Exit {
        // An interrupt counts if it arrived before the end.
        self.events.drain();
        self.events.console.set_live(None);
        self.record.ended = self.clock.now();
        self.record.asleep.clone_from(&self.events.asleep);
        let generated = self.record.legacy.story.as_ref().and_then(|story| story.file.parent());
        let story = self.options.story.as_deref().or(generated);
        let (scenes, records) = (&self.scenes, &self.record.scenes);
        self.record.baselines = baselines.iter().map(SavedRun::name).collect();
        // A command that does not start ComfyUI does not do so the next time.
        let is_hopeless = !self.record.has_attempts()
            && self.record.exit() == Exit::Unreachable
            && self.options.start_comfyui.is_some();
        let (may_come, caller) = (self.server_may_come, Caller::of_process());
        let next = rerun::command(self.options, story, scenes, records, may_come, &caller);
        self.record.next = next.filter(|_| !is_hopeless);
        if self.options.archive {
            let name = format!("comfyui-e2e-{}.zip", self.record.id);
            self.record.legacy.archive =
                Some(self.options.project_root.join("artifacts").join(name));
        }
        self.note_interrupt();
        self.events.console.header("STEP 3: Validate Results");
        self.events.console.log_all(&legacy::results(&self.record.scenes));
        let LogSummary { stats: vram, timeline } = self.statistics(baselines);
        let others = self.load_other_devices();
        let facts = self.record.facts();
        for device in &others {
            self.events.console.log_all(&device.block(&facts));
        }
        let document = self.run_helpers_around_metadata(&vram, &others);
        let input = ReportInput::of_run(&self.record, &vram);
        let page = Page { input, timeline: &timeline, others: &others, folder: "" };
        let page = page.html();
        self.write("report.html", &page);
        self.write_reports(&vram, baselines);
        self.events.console.header("RUN COMPLETE");
        self.events.console.log(&format!("Run directory: {}", self.folder.display()));
        if let Some(archive) = &self.record.legacy.archive {
            self.events.console.log(&format!("Archive: {}", archive.display()));
        }
        self.events.console.log(&legacy::tally(&self.record.scenes));
        let block = text::summary_block(&self.record, &vram, None);
        self.events.console.log_all(&block);
        self.events.console.show(&text::screen_block(&self.record, &vram));
        let mut exit = self.record.exit();
        if self.options.json {
            exit = print_document(&document, exit);
        }
        if self.options.quiet && exit != Exit::Success {
            let terminal = Terminal::new(Output::Stderr, self.options.no_color);
            terminal.print_lines(&block);
        }
        let exit = self.archive().unwrap_or(exit);
        self.state.close();
        self.events.console.finish();
        exit
    }

    /// The statistics of the log, and the gates.
    fn statistics(&mut self, baselines: &[SavedRun]) -> LogSummary {
        let log = self.folder.join(names::MAIN);
        let mut summary = LogSummary::read(&log).unwrap_or_else(|error| {
            self.events.console.warn(&format!("{}: {error}", log.display()));
            LogSummary::default()
        });
        let vram = &mut summary.stats;
        self.record.correct(vram);
        self.record.gates =
            report::verdicts(&self.options.gates, Some(&self.record), vram, baselines);
        self.events.console.log("");
        self.events.console.log_all(&vram.block(Some(&log), &self.record.facts()));
        summary
    }

    /// Runs the helpers that come after the scenes and writes the metadata between them, where the
    /// script did: the first ones read the outputs, the last ones the metadata too. Returns the
    /// metadata's document.
    fn run_helpers_around_metadata(&mut self, vram: &VramStats, others: &[OtherDevice]) -> String {
        let is_project = self.has_scripts();
        let helped = is_project && self.record.failure.is_none() && !self.record.interrupted;
        if helped {
            // An interrupt skips the rest of them and is noted below.
            let _ = self.helpers_before_metadata();
        }
        self.note_interrupt();
        let mut document = self.write_metadata(vram, others);
        if is_project || self.record.legacy.story.is_some() {
            self.events.console.header("STEP 7: Artifact Metadata + UI Snapshot");
            let files = HelperFiles::found(&self.folder);
            self.events.console.log_all(&legacy::index(&self.record, &files));
        }
        if helped && !self.record.interrupted {
            let ran = self.helpers(Phase::Metadata).and_then(|()| self.helpers(Phase::Validation));
            self.note_interrupt();
            if ran.is_err() || self.record.interrupted {
                document = self.write_metadata(vram, others);
            }
        }
        self.copy_to_public();
        document
    }

    fn helpers_before_metadata(&mut self) -> Result<(), Interrupted> {
        for (phase, header) in [
            (Phase::Metrics, "STEP 4: Validation Metrics"),
            (Phase::Quality, "STEP 4.5: Video Quality Validation"),
            (Phase::Vitest, "STEP 6: Vitest Suites"),
        ] {
            self.events.console.header(header);
            self.helpers(phase)?;
        }
        Ok(())
    }

    /// After an interrupt no archive is written, and none is mentioned.
    fn note_interrupt(&mut self) {
        self.record.interrupted = self.events.intake().interrupted;
        self.record.legacy.archive.take_if(|_| self.record.interrupted);
    }

    fn write_metadata(&mut self, vram: &VramStats, others: &[OtherDevice]) -> String {
        let files = HelperFiles::found(&self.folder);
        let document = json_text(&metadata::document(&self.record, vram, others, &files));
        self.write("artifact-metadata.json", &document);
        document
    }

    /// The reports for other programs. One that cannot be written is a warning.
    fn write_reports(&mut self, vram: &VramStats, baselines: &[SavedRun]) {
        let input = ReportInput::of_run(&self.record, vram);
        let summary = self.folder.join("run-summary.txt");
        let problems = match export::reports(&self.options.reports, &input, baselines, &summary) {
            Err(why) => vec![why],
            Ok(reports) => reports
                .iter()
                .filter_map(|Report { option, path, text }| write_report(option, path, text).err())
                .collect(),
        };
        for problem in problems {
            self.events.console.warn(&problem);
            if self.options.quiet {
                print_error(&problem);
            }
        }
    }

    fn write(&mut self, name: &str, text: &str) {
        let path = self.folder.join(name);
        if let Err(error) = write_atomic(&path, text.as_bytes()) {
            self.events.console.warn(&format!("{}: {error}", path.display()));
        }
    }

    /// Copies the metadata, as the helpers left it, to where a project's pages look for it.
    fn copy_to_public(&mut self) {
        let public = self.options.project_root.join("public");
        if !public.is_dir() {
            return;
        }
        let from = self.folder.join("artifact-metadata.json");
        let artifacts = public.join("artifacts");
        for to in [artifacts.join("latest-run.json"), public.join("artifact-metadata.json")] {
            let copied = fs::read(&from).and_then(|bytes| {
                fs::create_dir_all(to.parent().unwrap_or(&public))?;
                write_atomic(&to, &bytes)
            });
            if let Err(error) = copied {
                self.events.console.warn(&format!("{}: {error}", to.display()));
            }
        }
    }

    /// Archives the finished folder; not after an interrupt. Returns the exit code of an interrupt
    /// that arrives meanwhile.
    fn archive(&mut self) -> Option<Exit> {
        let target = self.record.legacy.archive.take()?;
        self.events.console.wait_for("writing the archive", "");
        let (events, offset) = (&mut self.events, self.clock.now().offset());
        let mut check = || events.check();
        let written = archive::write(&self.folder, &self.record.id, &target, offset, &mut check);
        let lines = match written {
            Ok(left_out) => left_out,
            Err(ArchiveError::Failed(why)) => vec![format!("no archive: {why}")],
            Err(ArchiveError::Interrupted) => {
                self.events.console.warn("no archive: interrupted");
                return Some(Exit::Interrupted);
            }
        };
        for line in lines {
            self.events.console.warn(&line);
        }
        None
    }
}
