//! How a run closes: the statistics, the gates, the closing block, the metadata.

use std::io::Write;
use std::path::Path;

use super::{Run, next};
use crate::exit::Exit;
use crate::files::write_whole;
use crate::report::past::Past;
use crate::report::{closing, devices, gates, metadata};
use crate::vram::statistics::Statistics;

impl Run<'_> {
    /// Says and writes what is left to say, and gives the code.
    pub(super) fn close(mut self, log: &Path, baselines: &[Past]) -> Exit {
        // What counts is whether it was asked for before the end.
        self.wait.drain();
        self.record.interrupted = self.wait.interrupted();
        self.record.ended = self.clock.now();
        self.record.next =
            next::command(self.options, &self.scenes, &self.record.scenes, self.waiting_helps);
        let mut vram = Statistics::of_log(log).unwrap_or_else(|error| {
            self.wait.journal.say(&format!("WARNING: {}: {error}", log.display()));
            Statistics::default()
        });
        vram.grow_by(&self.record.series());
        self.record.gates =
            gates::verdicts_on(&self.options.gates, Some(&self.record), &vram, baselines);
        self.wait.journal.say("");
        self.wait.journal.block(&vram.block(Some(log), &self.record.without_figures()));
        for verdict in &self.record.gates {
            self.wait.journal.say(&verdict.to_string());
        }
        let others = self.other_devices();
        let without = self.record.without_figures();
        for device in &others {
            self.wait.journal.block(&device.block(&without));
        }
        self.wait.journal.header("RUN COMPLETE");
        self.wait.journal.say(&format!("Run directory: {}", self.folder.display()));
        let block = closing::block(&self.record, &vram);
        self.wait.journal.block(&block);
        let exit = self.record.exit();
        let mut document = metadata::document(&self.record, &vram);
        devices::add(&mut document, &others);
        let text = format!("{document:#}\n");
        let path = self.folder.join("artifact-metadata.json");
        if let Err(error) = write_whole(&path, text.as_bytes(), |time| self.wait.linger(time)) {
            self.wait.journal.say(&format!("WARNING: {}: {error}", path.display()));
        }
        if self.options.json {
            let _ = std::io::stdout().lock().write_all(text.as_bytes());
        }
        if self.options.quiet && exit != Exit::Success {
            let _ = writeln!(std::io::stderr(), "{}", block.join("\n"));
        }
        exit
    }
}
