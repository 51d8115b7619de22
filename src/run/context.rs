//! What the scenes of a run share: the server, the one events, and the prompts that may still run.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use super::cancel::Canceller;
use super::events::EventLoop;
use super::state_file::StateFile;
use crate::cli::RunOptions;
use crate::clock::Clock;
use crate::comfyui::Client;
use crate::interrupt::Interrupted;
use crate::vram::freed_memory::{FreedMemoryWait, NOISE_MB};
use crate::vram::reading::{MissReason, Reading};
use crate::vram::source::ReadingSource;

/// How often a prompt that ignores its end is cancelled again.
const CANCEL_AGAIN: Duration = Duration::from_secs(10);

/// Shared by all scenes.
pub struct RunContext<'a> {
    /// What was asked for.
    pub options: &'a RunOptions,
    /// The clock of the run.
    pub clock: Clock,
    /// The server.
    pub client: &'a Client,
    /// Who gives the readings of its memory.
    pub gauge: &'a ReadingSource,
    /// The one wait.
    pub events: &'a mut EventLoop,
    /// The run folder.
    pub folder: &'a Path,
    /// Every prompt of ours not yet seen gone.
    pub ledger: &'a mut StateFile,
    /// Whether the server's history has held an entry in this run: an empty one then means that
    /// the server has restarted.
    pub history_seen: bool,
    /// Whether the server was told to free its memory since the last attempt.
    pub freed: bool,
    /// Prompts of other clients that were seen running.
    pub others: HashSet<String>,
    /// Why no further scene can be run.
    pub over: Option<String>,
}

impl RunContext<'_> {
    /// Who ends what of ours still runs.
    pub fn canceller(&mut self) -> Canceller<'_> {
        Canceller { client: self.client, events: self.events, ledger: self.ledger }
    }

    /// The scene's warning, in the console.
    pub fn warn(&mut self, scene: &str, text: &str) {
        self.events.console.log(&format!("[Scene {scene}] WARNING: {text}"));
    }

    /// Before anything is posted: while a prompt of ours still runs, it is cancelled again every
    /// 10 s for up to `MaxWaitSeconds`. Returns whether nothing of ours is left.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn clear(&mut self) -> Result<bool, Interrupted> {
        let until = Instant::now() + self.options.max_wait;
        let mut told = false;
        while let Some(prompt) = self.ledger.prompts().first() {
            let scene = prompt.scene.clone();
            self.canceller().all();
            if self.ledger.prompts().is_empty() {
                break;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.over = Some(format!("GPU still busy with {scene}"));
                return Ok(false);
            }
            if !std::mem::replace(&mut told, true) {
                self.events.console.log(&format!(
                    "[Scene {scene}] still running after its cancel: asking again every 10 s, nothing is posted before it is gone"
                ));
            }
            self.events.wait(CANCEL_AGAIN.min(left))?;
        }
        Ok(true)
    }

    /// Empties the server's cache and memory, and waits until that has happened: at least 1 s,
    /// then until free memory has stopped rising, 10 s at most. Returns the MB in use before and
    /// after, where the server told both.
    ///
    /// # Errors
    /// [`Interrupted`]; that it was refused is told and nothing more.
    pub fn free(&mut self) -> Result<Option<(u64, u64)>, Interrupted> {
        self.events.check()?;
        let before = self.memory();
        if let Err(error) = self.client.free() {
            self.events.console.warn(&format!("nothing was freed: {error}"));
            return Ok(None);
        }
        self.freed = true;
        let (begun, mut wait) = (Instant::now(), FreedMemoryWait::default());
        let mut last = None;
        loop {
            let now = self.memory();
            last = now.or(last);
            match wait.next_check(begun.elapsed(), now.and_then(|memory| memory.free)) {
                Some(time) => self.events.wait(time)?,
                None => break,
            }
        }
        Ok(before.zip(last).map(|(before, after)| (before.used, after.used)))
    }

    /// Empties the server's memory after every so many scenes, and says what that gave.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn clean_up(&mut self, scene: &str) -> Result<(), Interrupted> {
        if let Some((before, after)) = self.free()? {
            let freed = match before.saturating_sub(after) {
                freed if freed <= NOISE_MB => "freed nothing".to_owned(),
                freed => format!("freed {freed} MB (used {before} to {after} MB)"),
            };
            self.events.console.log(&format!("Memory cleanup after {scene}: {freed}"));
        }
        Ok(())
    }

    /// The memory of the run's device at this moment, by the source of its samples.
    ///
    /// # Errors
    /// Why there is none.
    pub fn reading(&self) -> Result<Reading, MissReason> {
        self.gauge.read(std::slice::from_ref(self.client)).result.map(|(reading, _)| reading)
    }

    fn memory(&self) -> Option<Reading> {
        self.client.system_stats().ok()?.devices.get(self.options.sampling.gpu)?.memory
    }
}
