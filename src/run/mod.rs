//! A run, from its folder to its closing block.
//!
//! The main thread drives it: it posts and polls with short blocking calls, and every wait in
//! between is the one in `wait`, where the sampler's readings reach the log.

mod attempt;
mod banner;
mod cancel;
pub(crate) mod connect;
mod context;
mod course;
mod download;
mod dry_run;
mod ending;
pub(crate) mod events;
mod finish;
mod folder;
mod generation;
mod lock;
mod measuring;
mod plan;
mod poll;
mod project_steps;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
pub(crate) mod recorder;
mod recovery;
mod rerun;
mod scene;
mod state_file;
mod stop;
mod submit;

use std::path::PathBuf;

use crate::cli::RunOptions;
use crate::clock::Clock;
use crate::comfyui::Client;
use crate::exit_code::Exit;
use crate::fs::check_writable;
use crate::report::legacy::slashes;
use crate::report::record::{RunRecord, Settings};
use crate::report::saved_run::SavedRun;
use crate::sanitize::print_error;
use crate::vram::log::names;

use crate::console::{Console, Output};
use events::EventLoop;

use crate::interrupt::Interrupted;
use lock::Locked;
use measuring::Measured;
use plan::{Plan, Scene};
use recorder::Recorder;
use state_file::{RunState, StateFile};
use stop::Stop;

/// Runs what the options ask for. Every line goes to `run-summary.txt` and to the terminal; only
/// what keeps a run from having a folder is told on standard error alone.
pub fn run(options: &RunOptions) -> Exit {
    let plan = match Plan::make(options) {
        Ok(plan) => plan,
        Err(why) => return refuse(&why, Exit::Usage),
    };
    let baselines = match SavedRun::load_all(&options.gates.baselines) {
        Ok(baselines) => baselines,
        Err(why) => return refuse(&format!("--baseline: {why}"), Exit::Usage),
    };
    for (format, path) in options.reports.files() {
        if let Err(error) = check_writable(path) {
            return refuse(
                &format!("{} {}: {error}", format.option(), path.display()),
                Exit::Usage,
            );
        }
    }
    if options.dry_run {
        return dry_run::run(options, plan);
    }
    let clock = Clock::start();
    let before = if options.quiet { Output::Quiet } else { Output::Stderr };
    let before = Console::new(clock, None, before).coloured(options.no_color);
    let mut events = EventLoop::new(Recorder::default(), before);
    let heard = events.listen_for_interrupt();
    let files = lock::Files::of(&options.project_root, &options.server.url);
    let (lock, no_lock) = match lock::take(&files, lock::PATIENCE, &mut events) {
        Ok(Locked::Ours(lock)) => (Some(lock), None),
        Ok(Locked::Without(why)) => (None, Some(why)),
        Ok(Locked::Taken(why)) => return refuse(&why, Exit::Locked),
        Err(Interrupted) => return Exit::Interrupted,
    };
    let started = clock.now();
    let (id, folder) = match folder::create(&options.logs_dir, started) {
        Ok(made) => made,
        Err(why) => return refuse(&why, Exit::Failed),
    };
    let output = match (options.quiet, options.json) {
        (true, _) => Output::Quiet,
        (false, true) => Output::Stderr,
        (false, false) => Output::Stdout,
    };
    let summary = folder.join("run-summary.txt");
    events.console = Console::new(clock, Some(summary), output).coloured(options.no_color);
    let log = folder.join(names::MAIN);
    let (recorder, no_log) = Recorder::new(&log, options.sampling.interval);
    events.recorder = recorder;
    events.console.log_all(&banner::lines(options, &id, &folder, clock.local));
    let deaf =
        heard.err().map(|error| format!("Ctrl-C ends this run without clearing up: {error}"));
    // Without the lock the state may be another run's that is at work.
    let state = lock.as_ref().map(|_| files.state);
    let previous = state.as_deref().and_then(RunState::read);
    let mut ledger = StateFile::begin(
        state,
        RunState {
            pid: std::process::id(),
            started,
            url: options.server.url.base().to_owned(),
            folder: folder.clone(),
            ended: false,
            prompts: previous.iter().flat_map(|left| left.prompts.clone()).collect(),
        },
    );
    for problem in [no_lock, no_log, deaf, ledger.problem()].into_iter().flatten() {
        events.console.warn(&problem);
    }
    let mut run = Run {
        options,
        clock,
        events,
        ledger,
        scenes: Vec::new(),
        record: RunRecord::new(
            id,
            slashes(&folder),
            started,
            settings(options),
            options.server.url.base(),
        ),
        folder,
        waiting_helps: false,
        others: Vec::new(),
    };
    run.carry_out(plan, previous.as_ref());
    let exit = run.close(&log, &baselines);
    drop(lock);
    exit
}

fn refuse(why: &str, exit: Exit) -> Exit {
    print_error(why);
    exit
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

struct Run<'a> {
    options: &'a RunOptions,
    clock: Clock,
    folder: PathBuf,
    events: EventLoop,
    ledger: StateFile,
    scenes: Vec<Scene>,
    record: RunRecord,
    /// Nobody listened at the server's address yet.
    waiting_helps: bool,
    /// The other devices that are recorded, by position and name.
    others: Vec<(usize, String)>,
}

impl Run<'_> {
    /// Reaches the server, and goes through the steps while its memory is sampled.
    fn carry_out(&mut self, plan: Plan, previous: Option<&RunState>) {
        let count = plan.count(self.options);
        if let Plan::Scenes(scenes, story) = &plan {
            // Should nothing come of them, they are told as skipped.
            self.scenes.clone_from(scenes);
            self.record.legacy.story.clone_from(story);
        }
        let measured = match self.reach(count, previous) {
            Ok(measured) => measured,
            Err(stop) => return self.stopped(stop),
        };
        if let Err(stop) = self.work(plan, &measured) {
            self.stopped(stop);
        }
        self.last_reading(measured);
    }

    fn reach(&mut self, scenes: usize, previous: Option<&RunState>) -> Result<Measured, Stop> {
        let reached = connect::connect(self.options, &mut self.events);
        if let Some(previous) = previous {
            let target = reached.as_ref().ok().and_then(|reached| reached.as_ref().ok());
            let transfer = self.options.post_execution_timeout;
            let client = target.map(|(target, _)| Client::new(target.clone(), transfer));
            self.recover(previous, client.as_ref());
        }
        let reached = reached?;
        let measured = match reached {
            Ok((target, stats)) => self.measure(target, &stats, scenes),
            Err(none) => {
                self.waiting_helps = none.waiting_helps;
                let exit = Exit::Unreachable;
                Err(Stop::Failed { exit, why: none.why, skipped: "no ComfyUI" })
            }
        };
        self.events.console.log_all(&banner::rules(self.options));
        measured
    }

    fn work(&mut self, plan: Plan, measured: &Measured) -> Result<(), Stop> {
        self.preflight()?;
        self.story(plan)?;
        self.unload(&measured.client)?;
        self.generate(measured);
        Ok(())
    }

    fn stopped(&mut self, stop: Stop) {
        let skipped = match stop {
            Stop::Interrupted => "interrupted",
            Stop::Failed { exit, why, skipped } => {
                self.events.console.log(&format!("ERROR: {why}"));
                self.record.failure = Some((exit, why));
                skipped
            }
        };
        for scene in self.scenes.iter().skip(self.record.scenes.len()) {
            let record = scene::skip(scene, skipped);
            scene::tell(&mut self.events, &self.folder, &self.record, &record);
            self.record.scenes.push(record);
        }
    }
}
