//! How a run ends: the results, the statistics, the gates, the project's own helpers, the
//! metadata, the page, the closing block, and last the archive.

use std::fs;
use std::path::Path;

use super::context::RunContext;
use super::rerun;
use crate::archive::{self, ArchiveError};
use crate::console::{Output, Terminal, print, print_error};
use crate::exit_code::Exit;
use crate::fs::{write_atomic, write_report};
use crate::interrupt::Interrupted;
use crate::project::helpers::{HelperFiles, Phase};
use crate::report::devices::OtherDevice;
use crate::report::export::Report;
use crate::report::html::Page;
use crate::report::input::ReportInput;
use crate::report::legacy::scene::LegacyFields;
use crate::report::saved_run::SavedRun;
use crate::report::{devices, export, gates, legacy, metadata, sparkline, text};
use crate::sanitize::json_text;
use crate::vram::stats::VramStats;
use crate::vram::timeline::Timeline;

impl RunContext<'_> {
    /// Logs and writes the rest of the run, and returns its exit code.
    pub(super) fn finish(mut self, baselines: &[SavedRun]) -> Exit {
        let log = &self.vram_log();
        // An interrupt counts if it arrived before the end.
        self.events.drain();
        self.record.ended = self.clock.now();
        let generated = self.legacy.story.as_ref().and_then(|story| story.file.parent());
        let story = self.options.story.as_deref().or(generated);
        let (scenes, records) = (&self.scenes, &self.record.scenes);
        self.record.next =
            rerun::command(self.options, story, scenes, records, self.server_may_come);
        if self.options.archive {
            let name = format!("comfyui-e2e-{}.zip", self.record.id);
            self.legacy.archive = Some(self.options.project_root.join("artifacts").join(name));
        }
        self.look_for_interrupt();
        self.events.console.header("STEP 3: Validate Results");
        self.events.console.log_all(&legacy::results(&self.record.scenes));
        let vram = self.statistics(log, baselines);
        let others = self.load_other_devices();
        let without = self.record.without_figures();
        for device in &others {
            self.events.console.log_all(&device.block(&without));
        }
        let text = self.with_helpers(&vram, &others);
        // Why the log cannot be read was logged with the statistics.
        let curve = Timeline::of_log(log).unwrap_or_default();
        self.write_page(&curve, &vram, &others);
        self.write_reports(&vram, baselines);
        self.events.console.header("RUN COMPLETE");
        self.events.console.log(&format!("Run directory: {}", self.folder.display()));
        if let Some(archive) = &self.legacy.archive {
            self.events.console.log(&format!("Archive: {}", archive.display()));
        }
        self.events.console.log(&legacy::tally(&self.record.scenes));
        let block = text::block(&self.record, &vram);
        self.events.console.log_all(&block);
        let record = Some(&self.record);
        self.events.console.show(|room| sparkline::lines(&curve, &vram, record, room));
        if self.options.json {
            // It lies in the folder too, and the code is that of the run.
            let _ = print(&text);
        }
        let exit = self.record.exit();
        if self.options.quiet && exit != Exit::Success {
            let terminal = Terminal::new(Output::Stderr, self.options.no_color);
            terminal.print(&(block.join("\n") + "\n"));
        }
        let exit = self.archive().unwrap_or(exit);
        self.state.close();
        exit
    }

    /// The statistics of the log, and the gates.
    fn statistics(&mut self, log: &Path, baselines: &[SavedRun]) -> VramStats {
        let mut vram = VramStats::of_log(log).unwrap_or_else(|error| {
            self.events.console.warn(&format!("{}: {error}", log.display()));
            VramStats::default()
        });
        vram.grow_by(&self.record.series());
        self.record.gates =
            gates::verdicts_on(&self.options.gates, Some(&self.record), &vram, baselines);
        self.events.console.log("");
        self.events.console.log_all(&vram.block(Some(log), &self.record.without_figures()));
        for verdict in &self.record.gates {
            self.events.console.log(&verdict.to_string());
        }
        vram
    }

    /// The helpers that come after the scenes, and the metadata where the script wrote them: those
    /// before them find the outputs, those behind them the metadata too. Returns the document.
    fn with_helpers(&mut self, vram: &VramStats, others: &[OtherDevice]) -> String {
        let is_project = self.has_scripts();
        let helped = is_project && self.record.failure.is_none() && !self.record.interrupted;
        if helped {
            // An interrupt skips the rest of them and is seen below.
            let _ = self.before_metadata();
        }
        self.look_for_interrupt();
        let mut text = self.write_metadata(vram, others);
        if is_project || self.legacy.story.is_some() {
            self.events.console.header("STEP 7: Artifact Metadata + UI Snapshot");
            let files = HelperFiles::of(&self.folder);
            self.events.console.log_all(&self.legacy.index(&self.record.scenes, &files));
        }
        if helped && !self.record.interrupted {
            let _ = self.behind_metadata();
            self.look_for_interrupt();
            if self.record.interrupted {
                text = self.write_metadata(vram, others);
            }
        }
        self.copy_to_public();
        text
    }

    /// After an interrupt no archive is written, and none is mentioned.
    fn look_for_interrupt(&mut self) {
        self.record.interrupted = self.events.interrupted();
        self.legacy.archive.take_if(|_| self.record.interrupted);
    }

    fn before_metadata(&mut self) -> Result<(), Interrupted> {
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

    fn behind_metadata(&mut self) -> Result<(), Interrupted> {
        self.helpers(Phase::Metadata)?;
        self.helpers(Phase::Validation)
    }

    fn write_metadata(&mut self, vram: &VramStats, others: &[OtherDevice]) -> String {
        let mut document = metadata::document(&self.record, vram);
        devices::add(&mut document, others);
        self.legacy.add_to(&mut document, &HelperFiles::of(&self.folder));
        let (settings, server) = (&self.record.settings, &self.record.server);
        let both = self.record.scenes.iter().zip(&self.legacy.scenes);
        let scenes = document["Scenes"].as_array_mut().map(Vec::as_mut_slice).unwrap_or_default();
        for (object, (scene, script)) in scenes.iter_mut().zip(both) {
            LegacyFields { scene, script, settings, server }.add_to(object);
        }
        let text = json_text(&document);
        self.write("artifact-metadata.json", &text);
        text
    }

    fn write_page(&mut self, curve: &Timeline, vram: &VramStats, others: &[OtherDevice]) {
        let told = ReportInput::of_run(&self.record, vram);
        let page = Page { told, curve, others, folder: "" }.html();
        self.write("report.html", &page);
    }

    /// The reports for other programs. One that cannot be written is a warning.
    fn write_reports(&mut self, vram: &VramStats, baselines: &[SavedRun]) {
        let told = ReportInput::of_run(&self.record, vram);
        let summary = self.folder.join("run-summary.txt");
        let reports = export::reports(&self.options.reports, &told, baselines, &summary);
        let mut lines = Vec::new();
        let reports = reports.unwrap_or_else(|why| {
            lines.push(why);
            Vec::new()
        });
        for Report { option, path, text } in reports {
            lines.extend(write_report(&option, path, &text).err());
        }
        for line in lines {
            self.events.console.warn(&line);
            if self.options.quiet {
                print_error(&line);
            }
        }
    }

    fn write(&mut self, name: &str, text: &str) {
        let path = self.folder.join(name);
        if let Err(error) = write_atomic(&path, text.as_bytes()) {
            self.events.console.warn(&format!("{}: {error}", path.display()));
        }
    }

    /// The metadata where a project's pages look for it, as the helpers left it.
    fn copy_to_public(&mut self) {
        let public = self.options.project_root.join("public");
        if !public.is_dir() {
            return;
        }
        let from = self.folder.join("artifact-metadata.json");
        for to in [
            public.join("artifacts").join("latest-run.json"),
            public.join("artifact-metadata.json"),
        ] {
            let written = fs::read(&from).and_then(|bytes| {
                fs::create_dir_all(to.parent().unwrap_or(&public))?;
                write_atomic(&to, &bytes)
            });
            if let Err(error) = written {
                self.events.console.warn(&format!("{}: {error}", to.display()));
            }
        }
    }

    /// The archive of the finished folder; none after an interrupt. The code where one came
    /// meanwhile.
    fn archive(&mut self) -> Option<Exit> {
        let target = self.legacy.archive.take()?;
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
