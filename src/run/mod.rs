//! A run, from its folder to its closing block.
//!
//! The main thread drives it: it posts and polls with short blocking calls, and every wait in
//! between is the one in [`events`], where the sampler's readings reach the log.

mod attempt;
mod banner;
mod cancel;
pub(crate) mod connect;
mod context;
mod download;
mod dry_run;
pub(crate) mod events;
mod finish;
mod following;
mod health;
mod lock;
mod plan;
mod poll;
mod project_steps;
#[cfg(any(test, fuzzing))]
#[path = "../../fuzz/oracles/run.rs"]
pub(crate) mod properties;
pub(crate) mod recorder;
mod recovery;
mod rerun;
mod sampling;
mod scene;
mod server;
mod state_file;
mod submit;

use std::path::Path;
use std::time::Duration;

use crate::cli::RunOptions;
use crate::clock::Clock;
use crate::comfyui::{Client, ObjectInfo, Target};
use crate::console::{Console, Output, Terminal, print_error};
use crate::exit_code::Exit;
use crate::fs::check_writable;
use crate::process::{kill_group, process_start};
use crate::report::saved_run::SavedRun;
use crate::screen;

use context::{RunContext, RunError};
use events::EventLoop;
use lock::Lock;
use plan::Plan;
use recorder::Recorder;
use state_file::{KnownServer, RunState};

/// Each call of the cancels of a second interrupt, which have a second in all.
const LAST_CALL: Duration = Duration::from_millis(300);

/// Runs what the options ask for, and returns the exit code. Every line goes to `run-summary.txt`
/// and to the terminal; what keeps a run from having a folder goes to standard error alone.
pub fn run(options: &RunOptions) -> Exit {
    match try_run(options) {
        Ok(exit) => exit,
        Err(RunError::Interrupted) => {
            print_error("interrupted before a scene was run");
            Exit::Interrupted
        }
        Err(RunError::Failed { exit, why, .. }) => {
            print_error(&why);
            exit
        }
    }
}

/// The run in the order in which it happens. An error here has left no run folder.
fn try_run(options: &RunOptions) -> Result<Exit, RunError> {
    let refused = |why| RunError::refused(Exit::Usage, why);
    let (clock, mut object_info) = (Clock::start(), ObjectInfo::default());
    let terminal = Terminal::new(Output::of(options.quiet, true), options.no_color);
    let console = Console::new(clock, None, terminal, options.verbose);
    let mut events = EventLoop::new(Recorder::default(), console);
    let mut plan = Plan::make(options).map_err(refused)?;
    if plan::are_open(&plan.scenes) {
        // A mistake is told before anything is made, if the server is there.
        let target = connect::target(&options.server);
        events.console.wait_for("asking ComfyUI about the nodes of the workflow", "");
        let client = Client::new(target, options.post_execution_timeout, events.drawing());
        let mut classes = plan::open_classes(&plan.scenes).into_iter();
        let asked = classes.try_for_each(|class| object_info.fetch(&client, class));
        drop(classes);
        events.console.set_live(None);
        if asked.is_ok() {
            let (scenes, now) = (&mut plan.scenes, clock.now());
            let left_out = plan::complete(scenes, options, &object_info, now).map_err(refused)?;
            plan.left_out.extend(left_out);
        } else if options.wait_for_comfyui.is_zero()
            && let Some(wrong) = plan::wrong_by_the_file(&plan.scenes)
        {
            return Err(refused(wrong));
        }
    }
    let baselines = SavedRun::load_baselines(&options.gates.baselines)
        .map_err(|why| refused(format!("--baseline: {why}")))?;
    // Before hours are spent on what they tell.
    let mut inputs = plan.files();
    inputs.extend(options.server.files());
    inputs.extend(baselines.iter().flat_map(SavedRun::files));
    for (format, path) in &options.reports {
        check_writable(format.option(), path, &inputs).map_err(refused)?;
    }
    if options.dry_run {
        return Ok(dry_run::run(options, plan, clock, events, object_info));
    }
    screen::start();
    let path = lock::path(&options.project_root, &options.server.url);
    let (state, target) = (path.with_extension("json"), connect::target(&options.server));
    let deaf = events.listen_for_interrupt(move || cancel_once(&state, &target)).err();
    let deaf = deaf.map(|error| format!("Ctrl-C ends this run without clearing up: {error}"));
    let lock = Lock::take(path, lock::PATIENCE, &mut events)?;
    let mut run = RunContext::start(options, clock, events, &lock, deaf)?;
    let _awake = (!options.allow_sleep).then(|| run.events.keep_awake());
    run.object_info = object_info;
    if let Err(error) = run.work(plan) {
        run.skip_scenes(error);
    }
    run.end_sampling();
    run.end_server();
    Ok(run.finish(&baselines))
}

/// Before a second interrupt quits: ends a server of ours by force, else cancels each prompt once that
/// may still be on the server. The
/// main thread may be in the middle of anything, so they are read from the state file; while another
/// run has the lock, it is that run's.
fn cancel_once(state: &Path, target: &Target) {
    let Ok(Some(state)) = RunState::read(state) else { return };
    if state.run.pid != std::process::id() {
        return;
    }
    if let Some(KnownServer { id: Some(id), process, .. }) = state.server
        && (process.is_none() || process_start(id) == process)
    {
        kill_group(id);
        return;
    }
    let client = Client::with_timeout(target.clone(), LAST_CALL);
    // Nobody is left to be told of an error.
    for prompt in &state.prompts {
        let _ = client.cancel(prompt.server_id.as_ref().unwrap_or(&prompt.ids.prompt));
    }
    // An old server has given it an id of its own, which its answer may not have told yet.
    let sent: Vec<_> = state.prompts.into_iter().map(|prompt| prompt.ids).collect();
    if let Ok(queue) = client.queue()
        && let Some((_, id)) = queue.find_sent(&sent)
    {
        let _ = client.cancel(&id);
    }
}

impl RunContext<'_> {
    /// Reaches the server, and goes through the steps while its memory is sampled.
    fn work(&mut self, plan: Plan) -> Result<(), RunError> {
        let count = plan.count(self.options);
        let Plan { scenes, story, template, left_out } = plan;
        if template.is_none() {
            // Known by now: should the run go no further, they are logged as skipped.
            self.scenes = scenes;
        }
        self.log_left_out(&left_out);
        self.record.legacy.story = story;
        let stats = self.connect_and_recover();
        let sampling = stats.and_then(|stats| self.start_sampling(&stats, count));
        self.events.console.log_all(&banner::rules(self.options));
        sampling?;
        self.preflight()?;
        self.story(template)?;
        self.complete_scenes()?;
        self.unload_lm_studio()?;
        self.generate();
        Ok(())
    }

    /// Does for the scenes what waits for the server: of a story that was written just now, or of a
    /// server that was not there before.
    fn complete_scenes(&mut self) -> Result<(), RunError> {
        let failed = |why| RunError::failed(Exit::Failed, why, "a workflow is wrong");
        self.events.console.wait_for("asking ComfyUI about the nodes of the workflow", "");
        for class in plan::open_classes(&self.scenes) {
            self.events.check()?;
            let asked = self.object_info.fetch(&self.client, class);
            asked.map_err(|error| failed(error.to_string()))?;
        }
        let (info, now) = (&self.object_info, self.clock.now());
        let left_out = plan::complete(&mut self.scenes, self.options, info, now).map_err(failed)?;
        self.log_left_out(&left_out);
        self.events.console.set_live(None);
        Ok(())
    }

    fn log_left_out(&mut self, files: &[String]) {
        for why in files {
            self.events.console.warn(&format!("left out: {why}"));
        }
    }
}
