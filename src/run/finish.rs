//! How a run closes: the results, the statistics, the gates, the project's own helpers, the
//! metadata, the page, the closing block, and last the archive.

use std::fs;
use std::io::Write;
use std::path::Path;

use super::{Run, rerun};
use crate::archive;
use crate::exit_code::Exit;
use crate::fs::write_atomic;
use crate::interrupt::Interrupted;
use crate::project::helpers::{HelperFiles, Phase};
use crate::report::devices::OtherDevice;
use crate::report::export::Report;
use crate::report::html::Page;
use crate::report::input::ReportInput;
use crate::report::legacy::scene::LegacyFields;
use crate::report::saved_run::SavedRun;
use crate::report::{devices, export, gates, legacy, metadata, sparkline, text};
use crate::sanitize::{json_text, print, print_error};
use crate::terminal::{Stream, Terminal};
use crate::vram::stats::{LogSummary, VramStats};
use crate::vram::timeline::Timeline;

impl Run<'_> {
    /// Says and writes what is left to say, and gives the code.
    pub(super) fn close(mut self, log: &Path, baselines: &[SavedRun]) -> Exit {
        // What counts is whether it was asked for before the end.
        self.events.drain();
        self.record.ended = self.clock.now();
        let generated = self.script.story.as_ref().and_then(|story| story.file.parent());
        let story = self.options.story.as_deref().or(generated);
        let (scenes, records) = (&self.scenes, &self.record.scenes);
        self.record.next = rerun::command(self.options, story, scenes, records, self.waiting_helps);
        if self.options.archive {
            let name = format!("comfyui-e2e-{}.zip", self.record.id);
            self.script.archive = Some(self.options.project_root.join("artifacts").join(name));
        }
        self.look_for_interrupt();
        self.events.console.header("STEP 3: Validate Results");
        self.events.console.log_all(&legacy::results(&self.record.scenes));
        let LogSummary { stats: vram, timeline } = self.statistics(log, baselines);
        let others = self.other_devices();
        let without = self.record.without_figures();
        for device in &others {
            self.events.console.log_all(&device.block(&without));
        }
        let text = self.with_helpers(&vram, &others);
        self.write_page(&timeline, &vram, &others);
        self.write_reports(&vram, baselines);
        self.events.console.header("RUN COMPLETE");
        self.events.console.log(&format!("Run directory: {}", self.folder.display()));
        if let Some(archive) = &self.script.archive {
            self.events.console.log(&format!("Archive: {}", archive.display()));
        }
        self.events.console.log(&legacy::tally(&self.record.scenes));
        let block = text::block(&self.record, &vram);
        self.events.console.log_all(&block);
        let record = Some(&self.record);
        self.events.console.show(|room| sparkline::lines(&timeline, &vram, record, room));
        if self.options.json {
            // It lies in the folder too, and the code is that of the run.
            let _ = print(&text);
        }
        let exit = self.record.exit();
        if self.options.quiet && exit != Exit::Success {
            let terminal = Terminal::of(Stream::Err, self.options.no_color);
            let _ = writeln!(std::io::stderr(), "{}", terminal.paint(&block.join("\n")));
        }
        let exit = self.archive().unwrap_or(exit);
        self.ledger.end();
        exit
    }

    /// The statistics of the log, and the gates.
    fn statistics(&mut self, log: &Path, baselines: &[SavedRun]) -> LogSummary {
        let mut summary = LogSummary::read(log).unwrap_or_else(|error| {
            self.events.console.warn(&format!("{}: {error}", log.display()));
            LogSummary::default()
        });
        let vram = &mut summary.stats;
        vram.grow_by(&self.record.series());
        self.record.gates =
            gates::verdicts_on(&self.options.gates, Some(&self.record), vram, baselines);
        self.events.console.log("");
        self.events.console.log_all(&vram.block(Some(log), &self.record.without_figures()));
        for verdict in &self.record.gates {
            self.events.console.log(&verdict.to_string());
        }
        summary
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
        if is_project || self.script.story.is_some() {
            self.events.console.header("STEP 7: Artifact Metadata + UI Snapshot");
            let files = HelperFiles::of(&self.folder);
            self.events.console.log_all(&self.script.index(&self.record.scenes, &files));
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

    /// After an interrupt no archive comes, and none is told of.
    fn look_for_interrupt(&mut self) {
        self.record.interrupted = self.events.interrupted();
        self.script.archive.take_if(|_| self.record.interrupted);
    }

    fn before_metadata(&mut self) -> Result<(), Interrupted> {
        self.helpers(Phase::Metrics, "STEP 4: Validation Metrics")?;
        self.helpers(Phase::Quality, "STEP 4.5: Video Quality Validation")?;
        self.helpers(Phase::Vitest, "STEP 6: Vitest Suites")
    }

    fn behind_metadata(&mut self) -> Result<(), Interrupted> {
        self.helpers_of(Phase::Metadata)?;
        self.helpers_of(Phase::Validation)
    }

    fn write_metadata(&mut self, vram: &VramStats, others: &[OtherDevice]) -> String {
        let mut document = metadata::document(&self.record, vram);
        devices::add(&mut document, others);
        self.script.add_to(&mut document, &HelperFiles::of(&self.folder));
        let (settings, server) = (&self.record.settings, &self.record.server);
        let both = self.record.scenes.iter().zip(&self.script.scenes);
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

    /// What other programs read of it. A report that cannot be written costs the run nothing.
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
            if let Err(error) = write_atomic(path, text.as_bytes()) {
                lines.push(format!("{option} {}: {error}", path.display()));
            }
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
        let target = self.script.archive.take()?;
        let (events, offset) = (&mut self.events, self.clock.now().offset());
        let id = &self.record.id;
        let written =
            archive::write(&self.folder, id, &target, offset, &mut |time| events.wait(time));
        let lines = match written {
            Ok(Ok(written)) => written.left_out,
            Ok(Err(why)) => vec![format!("no archive: {why}")],
            Err(Interrupted) => {
                self.events.console.log("WARNING: no archive: interrupted");
                return Some(Exit::Interrupted);
            }
        };
        for line in lines {
            self.events.console.warn(&line);
        }
        None
    }
}
