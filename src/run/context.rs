//! What the steps of a run share, and how a run that goes no further is told.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use time::OffsetDateTime;

use super::banner;
use super::cancel::{Cancelled, LOOK_AGAIN};
use super::connect;
use super::events::EventLoop;
use super::health::Death;
use super::lock::Lock;
use super::plan::Scene;
use super::poll::{Outage, is_refused};
use super::recorder::Recorder;
use super::server::{STUCK_AFTER, ServerLife};
use super::state_file::{KnownRun, RunState, StateFile};
use super::submit::LISTENER_TIMEOUT;
use crate::cli::RunOptions;
use crate::clock::{Clock, run_id};
use crate::comfyui::{Client, Listener, ObjectInfo};
use crate::console::{Console, Output, Terminal};
use crate::exit_code::Exit;
use crate::interrupt::Interrupted;
use crate::process::process_start;
use crate::report::legacy::slashes;
use crate::report::record::{Outcome, RunRecord, SceneRecord, Settings};
use crate::sleep;
use crate::vram::freed_memory::{FreedMemoryWait, NOISE_MB};
use crate::vram::log::names;
use crate::vram::reading::{Answer, MissReason, Reading};
use crate::vram::sampler::Sampler;
use crate::vram::source::ReadingSource;

/// Between two cancels of a prompt that goes on running.
const CANCEL_AGAIN: Duration = Duration::from_secs(10);

/// Why a run goes no further.
#[derive(Debug)]
pub enum RunError {
    /// An interrupt has arrived.
    Interrupted,
    /// It cannot be carried out.
    Failed {
        /// The exit code for that.
        exit: Exit,
        /// One line: what was tried, what came back, what to do.
        why: String,
        /// Why its scenes are skipped, in a few words.
        skipped: &'static str,
        /// No server was there, and it may yet come: waiting may help.
        server_may_come: bool,
    },
}

impl RunError {
    /// A run that is refused before it has a folder.
    pub fn refused(exit: Exit, why: String) -> Self {
        RunError::failed(exit, why, "")
    }

    /// A run whose scenes are skipped.
    pub fn failed(exit: Exit, why: String, skipped: &'static str) -> Self {
        RunError::Failed { exit, why, skipped, server_may_come: false }
    }
}

impl From<Interrupted> for RunError {
    fn from(_: Interrupted) -> Self {
        RunError::Interrupted
    }
}

/// Who samples the device's memory, and the thread that does it.
pub struct Sampling {
    /// Who gives the readings.
    pub source: Arc<ReadingSource>,
    /// None where the system gives no thread. Dropping it ends the sampling.
    pub sampler: Option<Sampler>,
}

/// The state of a run, from its folder to its end.
pub struct RunContext<'a> {
    pub options: &'a RunOptions,
    pub clock: Clock,
    /// The run folder, `<LogsDir>/<yyyyMMdd-HHmmss>`.
    pub folder: PathBuf,
    pub events: EventLoop,
    /// The prompts of ours that may still be on the server, on disk too.
    pub state: StateFile,
    /// What an earlier run has left undone on this server.
    pub previous_run: Option<RunState>,
    pub client: Client,
    /// What the server says of its classes, each asked for once.
    pub object_info: ObjectInfo,
    /// What the server tells of the prompt that was posted last.
    pub listener: Option<Listener>,
    /// How long a POST waits for the listener's connection; none once the server has been silent.
    pub listener_timeout: Duration,
    /// The server's life.
    pub server: ServerLife,
    /// None until the server is reached.
    pub sampling: Option<Sampling>,
    pub scenes: Vec<Scene>,
    /// What the reports are made of.
    pub record: RunRecord,
    /// No server was there at the start, and it may yet come: `Next:` waits for it.
    pub server_may_come: bool,
    /// The other devices that are recorded, by position and name.
    pub other_devices: Vec<(usize, String)>,
    /// The server's history has held an entry in this run: an empty one then means a restart.
    pub history_seen: bool,
    /// The server was told to free its memory since the last attempt.
    pub freed: bool,
    /// Prompts of other clients that were seen running.
    pub foreign_prompts: HashSet<String>,
    /// Why no further scene is started.
    pub stop_reason: Option<String>,
    /// The columns of the scenes' names on the screen.
    pub name_width: usize,
    /// When the scene that is run began.
    pub scene_begun: Instant,
}

impl<'a> RunContext<'a> {
    /// Makes the run folder and opens what is written there. What cannot be opened is a warning.
    ///
    /// # Errors
    /// No run folder can be made.
    pub fn start(
        options: &'a RunOptions,
        clock: Clock,
        mut events: EventLoop,
        lock: &Lock,
        warning: Option<String>,
    ) -> Result<Self, RunError> {
        let started = clock.now();
        let (id, folder) = create_folder(&options.logs_dir, started)
            .map_err(|why| RunError::refused(Exit::Failed, why))?;
        let output = Output::of(options.quiet, options.json);
        let summary = folder.join("run-summary.txt");
        let terminal = Terminal::new(output, options.no_color);
        events.console = Console::new(clock, Some(summary), terminal, options.verbose);
        let (recorder, no_log) =
            Recorder::new(&folder.join(names::MAIN), options.sampling.interval);
        events.intake().recorder = recorder;
        events.console.log_all(&banner::lines(&id, &folder));
        for warning in banner::warnings(options, clock.local) {
            events.console.warn(&warning);
        }
        // Without the lock the state may be that of a run at work.
        let file = lock.file.is_ok().then(|| lock.state_path());
        let (previous_run, unread) = match file.as_deref().map_or(Ok(None), RunState::read) {
            Ok(state) => (state, None),
            Err(why) => (None, file.as_deref().map(|file| set_aside(file, &id, &why))),
        };
        let pid = std::process::id();
        let run = KnownRun { pid, process: process_start(pid), started, folder: folder.clone() };
        let url = options.server.url.base().to_owned();
        // Until they have their ends: this one may be killed too.
        let killed = previous_run.iter().flat_map(RunState::unfinished).cloned().collect();
        let prompts = previous_run.iter().flat_map(|run| run.prompts.clone()).collect();
        let server = previous_run.as_ref().and_then(|run| run.server.clone());
        let state = RunState { run, url, ended: false, killed, prompts, server };
        let mut state = StateFile::create(file, state);
        let problems =
            [lock.file.as_ref().err().cloned(), no_log, warning, unread, state.problem.take()];
        for problem in problems.into_iter().flatten() {
            events.console.warn(&problem);
        }
        let url = options.server.url.base();
        let record = RunRecord::new(id, slashes(&folder), started, url);
        let record = RunRecord { settings: settings(options), ..record };
        let (target, on_wait) = (connect::target(&options.server), events.on_wait());
        Ok(RunContext {
            options,
            clock,
            folder,
            events,
            state,
            previous_run,
            client: Client::new(target, options.post_execution_timeout, on_wait),
            object_info: ObjectInfo::default(),
            listener: None,
            listener_timeout: LISTENER_TIMEOUT,
            server: ServerLife::default(),
            sampling: None,
            scenes: Vec::new(),
            record,
            server_may_come: false,
            other_devices: Vec::new(),
            history_seen: false,
            freed: false,
            foreign_prompts: HashSet::new(),
            stop_reason: None,
            name_width: 0,
            scene_begun: Instant::now(),
        })
    }

    /// Cancels prompts of ours that still run, again every 10 s for up to `MaxWaitSeconds`: nothing
    /// is posted before they are gone. Returns whether nothing of ours is known to be left; else the
    /// server has died, or there is a reason to stop. A server that is ours has a minute.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn wait_until_clear(&mut self) -> Result<bool, Interrupted> {
        let is_ours = self.is_server_ours();
        let until = sleep::now() + if is_ours { STUCK_AFTER } else { self.options.max_wait };
        let mut outage = Outage::new(self.gone_after());
        let mut logged = false;
        loop {
            let mut problem = self.find_unseen().err();
            if self.state.first_known().is_some()
                && let Some(Cancelled::Unknown(error)) = self.cancel_all()
            {
                problem = Some(error);
            }
            let left_over = self.state.first_known().map(|prompt| prompt.scene.clone());
            // Where it is not started again, an answer is looked for at the next poll.
            if left_over.is_none() && (problem.is_none() || !self.restarts_server()) {
                self.events.console.set_live(None);
                return Ok(true);
            }
            let scene = left_over.unwrap_or_else(|| self.server.scene.clone());
            self.events.console.wait_for(&format!("waiting until {scene} is gone"), "");
            let is_away = problem.as_ref().is_some_and(is_refused);
            if let Some(error) = &problem
                && outage.lasts(sleep::now(), error)
                && self.restarts_server()
            {
                self.set_death(Death::Gone);
            }
            self.look_at_server();
            let left = sleep::left(until);
            if left.is_zero() && is_ours {
                self.set_death(Death::Stuck);
            }
            if self.death().is_some() {
                return Ok(false);
            }
            if left.is_zero() {
                let why = Death::Stuck;
                self.log(&scene, &format!(
                    "ERROR: {why}: ComfyUI has to be started anew (or its console is halted by a \
                     click: press Enter there); --start-comfyui COMMAND does it"
                ));
                self.stop_reason = Some(format!("GPU still busy with {scene}"));
                return Ok(false);
            }
            if !std::mem::replace(&mut logged, true) {
                self.log(&scene, "still running after its cancel: asking again every 10 s, nothing is posted before it is gone");
            }
            let pause = if is_away { LOOK_AGAIN } else { CANCEL_AGAIN };
            self.events.wait(pause.min(left))?;
        }
    }

    /// Empties the server's cache and memory (`/free`), and waits until that has happened: at least
    /// 1 s, then until free memory has stopped rising, 10 s at most. Returns the MB in use before
    /// and after, where the server gave both. A refusal is a warning.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn free_memory(&mut self) -> Result<Option<(u64, u64)>, Interrupted> {
        self.events.check()?;
        let before = self.server_memory();
        if let Err(error) = self.client.free() {
            self.events.console.warn(&format!("nothing was freed: {error}"));
            return Ok(None);
        }
        self.freed = true;
        self.events.console.wait_for("emptying ComfyUI's memory", "");
        self.server.health.take_free();
        let (begun, mut wait) = (sleep::now(), FreedMemoryWait::default());
        let mut last = None;
        loop {
            let now = self.server_memory();
            last = now.or(last);
            match wait.next_check(sleep::now() - begun, now.and_then(|memory| memory.free)) {
                Some(time) => self.events.wait(time)?,
                None => break,
            }
        }
        self.events.console.set_live(None);
        Ok(before.zip(last).map(|(before, after)| (before.used, after.used)))
    }

    /// The cleanup after every `MemoryCleanupInterval` scenes, and what it freed.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn clean_up_memory(&mut self, scene: &str) -> Result<(), Interrupted> {
        if let Some((before, after)) = self.free_memory()? {
            let freed = match before.saturating_sub(after) {
                freed if freed <= NOISE_MB => "freed nothing".to_owned(),
                freed => format!("freed {freed} MB (used {before} to {after} MB)"),
            };
            self.events.console.log(&format!("Memory cleanup after {scene}: {freed}"));
        }
        Ok(())
    }

    /// The memory of the run's device at this moment, by the source of its samples, or why there is
    /// none; and the server's whole answer for the metadata, null where it gave none or nvidia-smi is
    /// the only source.
    pub fn reading(&self) -> (Result<Reading, MissReason>, Value) {
        let Some(Sampling { source, .. }) = &self.sampling else {
            return (Err(MissReason::NoDevice), Value::Null);
        };
        let reading = |answer: Answer| answer.result.map(|(reading, _)| reading);
        if !source.asks_server() {
            return (reading(source.read(&[])), Value::Null);
        }
        let now = Instant::now();
        match self.client.system_stats_and_answer() {
            Ok((stats, answer)) => (reading(source.reading_of(now, Ok(&stats))), answer),
            Err(error) => (reading(source.reading_of(now, Err(&error.kind))), Value::Null),
        }
    }

    /// How long scenes of so many nodes took to execute, where this run has had one.
    pub fn expected_time(&self, node_count: usize) -> Option<Duration> {
        let alike =
            self.record.scenes.iter().filter(|scene| {
                scene.node_count == node_count && scene.outcome == Outcome::Succeeded
            });
        let times: Vec<f64> = alike.filter_map(SceneRecord::server_seconds).collect();
        let mean = times.iter().sum::<f64>() / f64::from(u32::try_from(times.len()).ok()?);
        Duration::try_from_secs_f64(mean).ok()
    }

    /// The memory of the run's device at this moment, as the server says.
    pub fn server_memory(&self) -> Option<Reading> {
        self.client.system_stats().ok()?.devices.get(self.options.sampling.gpu)?.memory
    }
}

/// Keeps a state file that cannot be read under another name, and says so.
fn set_aside(file: &Path, id: &str, why: &str) -> String {
    let mut aside = file.as_os_str().to_owned();
    aside.push(format!(".{id}"));
    let kept = match fs::rename(file, &aside) {
        Ok(()) => format!("kept as {}", aside.display()),
        Err(error) => format!("not kept: {error}"),
    };
    let file = file.display();
    format!("{file}: {why}: {kept}; a prompt of an earlier run may still be on the server")
}

/// Makes a folder named after the moment; where another run has the name, after the next second.
fn create_folder(logs: &Path, now: OffsetDateTime) -> Result<(String, PathBuf), String> {
    let named = |path: &Path, error: std::io::Error| {
        format!("{}: {error}: no run folder could be made; --logs-dir FOLDER", path.display())
    };
    fs::create_dir_all(logs).map_err(|error| named(logs, error))?;
    let mut at = now;
    loop {
        let id = run_id(at);
        let folder = logs.join(&id);
        match fs::create_dir(&folder) {
            Ok(()) => return Ok((id, folder)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => at += Duration::from_secs(1),
            Err(error) => return Err(named(&folder, error)),
        }
    }
}

fn settings(options: &RunOptions) -> Settings {
    Settings {
        max_wait_seconds: options.max_wait.as_secs(),
        poll_interval_seconds: options.poll_interval.as_secs_f64(),
        history_max_attempts: options.history_max_attempts,
        post_execution_timeout_seconds: options.post_execution_timeout.as_secs(),
        scene_retry_budget: options.scene_retry_budget,
        sample_interval_seconds: options.sampling.interval.as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_taken_name_means_the_next_second() {
        let logs = std::env::temp_dir().join(format!("folders-{}", std::process::id()));
        let now = datetime!(2026-11-24 23:59:59 UTC);
        assert_eq!(create_folder(&logs, now).unwrap().0, "20261124-235959");
        assert_eq!(create_folder(&logs, now).unwrap().0, "20261125-000000");
        fs::remove_dir_all(&logs).unwrap();
    }
}
