//! A run, from its folder to its closing block.
//!
//! The main thread drives it: it posts and polls with short blocking calls, and every wait in
//! between is the one in `wait`, where the sampler's readings reach the log.

mod attempt;
mod folder;
mod follow;
mod interrupt;
mod journal;
mod next;
mod outputs;
mod plan;
mod recorder;
mod scene;
mod stage;
mod submit;
mod wait;

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::clock::{Clock, span};
use crate::comfyui::{CallError, Client, Fault, Stats, Target};
use crate::exit::Exit;
use crate::files::write_whole;
use crate::options::RunOptions;
use crate::report::record::{Aftermath, RunRecord, SceneRecord, Server, Settings};
use crate::report::{closing, metadata};
use crate::vram::reading::{Miss, Reading, Source, Tick};
use crate::vram::sampler::{Sampled, Sampler};
use crate::vram::statistics::Statistics;

use journal::{Journal, Output};
use plan::Scene;
use recorder::Recorder;
use stage::Stage;
use wait::{Event, Interrupted, Wait};

/// The sampler's own bound on a request.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two knocks at a server that is waited for.
const KNOCK_AGAIN: Duration = Duration::from_secs(1);

/// Runs what the options ask for. Every line goes to `run-summary.txt` and to the terminal; only
/// what keeps a run from having a folder is told on standard error alone.
#[must_use]
pub fn run(options: &RunOptions) -> Exit {
    let scenes = match plan::scenes(options) {
        Ok(scenes) => scenes,
        Err(why) => return refuse(&why, Exit::Usage),
    };
    let clock = Clock::start();
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
    let mut journal = Journal::new(clock, folder.join("run-summary.txt"), output);
    let log = folder.join("vram-usage.log");
    let (recorder, no_log) = Recorder::new(&log, options.sample_interval);
    let (sender, receiver) = mpsc::channel();
    if let Err(error) = interrupt::listen(sender.clone()) {
        journal.say(&format!("WARNING: Ctrl-C ends this run without clearing up: {error}"));
    }
    opening(&mut journal, options, &id, &folder, clock);
    if let Some(problem) = no_log {
        journal.say(&format!("WARNING: {problem}"));
    }
    let mut run = Run {
        options,
        clock,
        folder,
        wait: Wait::new((sender, receiver), recorder, journal),
        record: RunRecord {
            id,
            folder: String::new(),
            started,
            ended: started,
            settings: settings(options),
            server: Server { url: options.server.url.base().to_owned(), ..Server::default() },
            scenes: Vec::new(),
            interrupted: false,
            failure: None,
            aftermath: Aftermath::default(),
            next: None,
        },
    };
    run.record.folder = slashes(&run.folder);
    run.generate(&scenes);
    run.close(&scenes, &log)
}

fn refuse(why: &str, exit: Exit) -> Exit {
    let _ = writeln!(std::io::stderr(), "run-comfyui-e2e: {why}");
    exit
}

fn opening(journal: &mut Journal, options: &RunOptions, id: &str, folder: &Path, clock: Clock) {
    journal.say(&format!("E2E Story-to-Video Run: {id}"));
    journal.say(&format!("Run directory: {}", folder.display()));
    journal.say("");
    for warning in &options.warnings {
        journal.say(&format!("WARNING: {warning}"));
    }
    if !clock.local {
        journal.say("WARNING: the system does not tell its time zone: times are UTC");
    }
    let attempts = match options.history_max_attempts {
        0 => "unbounded".to_owned(),
        most => most.to_string(),
    };
    let (wait, poll) = (options.max_wait.as_secs(), options.poll_interval.as_secs_f64());
    if options.fast_iteration {
        journal.say(&format!("FastIteration mode: MaxWait={wait}s PollInterval={poll}s"));
    }
    journal.say(&format!(
        "Queue policy: sceneRetries={}, historyMaxWait={wait}s, historyPollInterval={poll}s, \
         historyMaxAttempts={attempts}, postExecutionTimeout={}s",
        options.scene_retry_budget,
        options.post_execution_timeout.as_secs()
    ));
    journal.say(&format!("Using ComfyUI URL: {}", options.server.url.base()));
}

fn settings(options: &RunOptions) -> Settings {
    Settings {
        max_wait_seconds: options.max_wait.as_secs(),
        poll_interval_seconds: options.poll_interval.as_secs_f64(),
        history_max_attempts: options.history_max_attempts,
        post_execution_timeout_seconds: options.post_execution_timeout.as_secs(),
        scene_retry_budget: options.scene_retry_budget,
        sample_interval_seconds: options.sample_interval.as_secs_f64(),
    }
}

struct Run<'a> {
    options: &'a RunOptions,
    clock: Clock,
    folder: PathBuf,
    wait: Wait,
    record: RunRecord,
}

impl Run<'_> {
    /// Reaches the server, samples, and runs the scenes; the sampling ends with it.
    fn generate(&mut self, scenes: &[Scene]) {
        let reached = self.reach();
        let (target, stats) = match reached {
            Ok(Ok(reached)) => reached,
            Ok(Err(why)) => {
                self.record.failure = Some((Exit::Unreachable, why.clone()));
                self.skip(scenes, "no ComfyUI");
                self.wait.journal.say(&format!("ERROR: {why}"));
                return;
            }
            Err(Interrupted) => return self.skip(scenes, "interrupted"),
        };
        let client = Client::new(target.clone(), self.options.post_execution_timeout);
        self.describe(&client, &stats, scenes.len());
        let sampler = self.sampler(target);
        if self.wait.first_tick(SAMPLE_TIMEOUT * 2).is_err() {
            return self.skip(scenes, "interrupted");
        }
        if let Some(first) = self.wait.recorder.first() {
            self.wait.journal.say(&initial(&first));
        }
        self.scenes(&client, scenes);
        drop(sampler);
        self.wait.drain();
        self.last_reading(&client);
    }

    fn skip(&mut self, scenes: &[Scene], why: &str) {
        let from = self.record.scenes.len();
        let skipped = scenes.iter().skip(from).map(|scene| SceneRecord::skipped(&scene.id, why));
        self.record.scenes.extend(skipped);
    }

    /// The server's first answer, waited for as long as was asked.
    fn reach(&mut self) -> Result<Result<(Target, Stats), String>, Interrupted> {
        let server = &self.options.server;
        let mut headers = server.headers.clone();
        headers
            .extend(server.url.authorization().map(|basic| ("Authorization".into(), basic.into())));
        let mut target = Target {
            base: server.url.base().to_owned(),
            headers,
            loopback: server.url.is_loopback(),
            ipv4_only: server.url.host().eq_ignore_ascii_case("localhost"),
        };
        let until = Instant::now() + self.options.wait_for_comfyui;
        let mut told = false;
        loop {
            let knock = |target: &Target| {
                Client::new(target.clone(), self.options.post_execution_timeout).system_stats()
            };
            let mut answer = knock(&target);
            if target.ipv4_only && matches!(&answer, Err(error) if error.fault == Fault::Refused) {
                let any = Target { ipv4_only: false, ..target.clone() };
                if let Ok(stats) = knock(&any) {
                    target = any;
                    answer = Ok(stats);
                }
            }
            let error = match answer {
                Ok(stats) => return Ok(Ok((target, stats))),
                Err(error) => error,
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || matches!(error.fault, Fault::Status(401 | 403)) {
                return Ok(Err(self.no_server(&error)));
            }
            if !std::mem::replace(&mut told, true) {
                self.wait.journal.say(&format!(
                    "Waiting up to {} s for ComfyUI at {} ({})",
                    self.options.wait_for_comfyui.as_secs(),
                    target.base,
                    error.detail()
                ));
            }
            self.wait.pause(KNOCK_AGAIN.min(left))?;
        }
    }

    fn no_server(&self, error: &CallError) -> String {
        let (base, detail) = (self.options.server.url.base(), error.detail());
        match error.fault {
            Fault::Refused | Fault::Timeout | Fault::Reset => format!(
                "no ComfyUI at {base} ({detail}): start it, or --comfyui-url URL, or --wait-for-comfyui 120"
            ),
            Fault::Status(401 | 403) => format!("ComfyUI at {base} does not let us in: {detail}"),
            Fault::Status(_) | Fault::BadJson => {
                format!("no ComfyUI at {base} ({detail}): is it the right --comfyui-url?")
            }
        }
    }

    /// The opening line: what will be done, with what.
    fn describe(&mut self, client: &Client, stats: &Stats, scenes: usize) {
        let device = stats.devices.get(self.options.gpu);
        let record = &mut self.record.server;
        record.comfyui.clone_from(&stats.comfyui);
        record.pytorch.clone_from(&stats.pytorch);
        record.python.clone_from(&stats.python);
        record.device = device.map(|device| device.name.clone());
        record.device_kind = device.map(|device| device.kind.clone());
        let options = self.options;
        let wait = options.max_wait.as_secs();
        let retries = options.scene_retry_budget;
        let attempts = u64::from(retries) + 1;
        let worst = wait.saturating_mul(attempts).saturating_mul(scenes as u64);
        let worst = span(time::Duration::seconds(i64::try_from(worst).unwrap_or(i64::MAX)));
        let mut parts = Vec::new();
        parts.push(stats.comfyui.as_ref().map(|version| format!("ComfyUI {version}")));
        parts.push(stats.pytorch.as_ref().map(|version| format!("PyTorch {version}")));
        match device {
            Some(device) => {
                parts.push(Some(device.name.split(" : ").next().unwrap_or_default().to_owned()));
                let kind = if device.kind == "cuda" { "" } else { " of system RAM" };
                let memory = device.memory;
                parts.push(memory.and_then(|m| m.total).map(|total| format!("{total} MB{kind}")));
                parts.push(memory.map(|m| format!("{} in use", recorder::figure(&m))));
            }
            None => parts.push(Some(format!(
                "no device {} (it lists {}): no VRAM is recorded",
                options.gpu,
                stats.devices.len()
            ))),
        }
        parts.push(client.queue().ok().map(|queue| match queue.len() {
            0 => "queue empty".to_owned(),
            n => format!("{n} in the queue"),
        }));
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let line = format!(
            "{}, at most {wait} s each and {}: at worst {worst}; VRAM every {} s; {}",
            counted(scenes as u64, "scene", "scenes"),
            counted(retries.into(), "retry", "retries"),
            options.sample_interval.as_secs_f64(),
            parts.join(", ")
        );
        self.wait.journal.say(&line);
    }

    fn sampler(&mut self, target: Target) -> Option<Sampler> {
        let client = Client::with_timeout(target, SAMPLE_TIMEOUT);
        let gpu = self.options.gpu;
        let sender = self.wait.sender();
        let tell = move |sampled| drop(sender.send(Event::Sampled(sampled)));
        let read = move || reading(&client, gpu);
        Sampler::start(self.options.sample_interval, self.clock, read, tell)
            .inspect_err(|error| {
                self.wait.journal.say(&format!("WARNING: no VRAM is recorded: no thread: {error}"));
            })
            .ok()
    }

    fn scenes(&mut self, client: &Client, scenes: &[Scene]) {
        let ids: Vec<_> = scenes.iter().map(|scene| scene.id.as_str()).collect();
        self.wait.journal.say(&format!("Scenes to process: {}", ids.join(", ")));
        self.wait.journal.header("STEP 2: Generate Videos (WAN I2V)");
        let mut stage = Stage {
            options: self.options,
            clock: self.clock,
            client,
            wait: &mut self.wait,
            folder: &self.folder,
            unfinished: Vec::new(),
            history_seen: false,
            others: HashSet::new(),
            over: None,
        };
        let mut records = Vec::new();
        for (index, scene) in scenes.iter().enumerate() {
            let why = if stage.wait.interrupted() {
                Some("interrupted".into())
            } else {
                stage.over.clone()
            };
            records.push(if let Some(why) = why {
                SceneRecord::skipped(&scene.id, why)
            } else {
                let what = format!("{}/{} {}", index + 1, scenes.len(), scene.id);
                scene::run(&mut stage, scene, &what)
            });
        }
        self.record.aftermath.still_running =
            stage.unfinished.first().map(|prompt| prompt.scene.clone());
        let good = records.iter().filter(|record| record.outcome.is_success()).count();
        let bad = records.len() - good;
        self.wait
            .journal
            .say(&format!("WAN I2V generation summary: {good} succeeded, {bad} failed"));
        self.wait.journal.say(match (good, bad) {
            (_, 0) => "✓ WAN I2V generation completed successfully",
            (0, _) => "✗ WAN I2V generation failed completely",
            _ => "⚠ WAN I2V generation partially completed",
        });
        self.record.scenes = records;
    }

    /// The sample after the last scene's outputs are home.
    fn last_reading(&mut self, client: &Client) {
        let at = self.clock.now();
        let result = reading(client, self.options.gpu).map(|reading| (reading, Source::ComfyUi));
        let after = result.ok().map(|(reading, _)| reading);
        self.wait.recorder.record(&Sampled::Tick(Tick { at, took_ms: None, result }));
        let before = self.wait.recorder.first();
        let both = before.zip(after).map(|(before, after)| match (before.driver, after.driver) {
            (Some(before), Some(after)) => (before, after),
            _ => (before.used, after.used),
        });
        self.record.aftermath.used_before_mb = both.map(|(before, _)| before);
        self.record.aftermath.used_after_mb = both.map(|(_, after)| after);
        self.record.aftermath.queue = client.queue().ok().map(|queue| queue.len() as u64);
    }

    /// The statistics, the closing block, the metadata.
    fn close(mut self, scenes: &[Scene], log: &Path) -> Exit {
        // What counts is whether it was asked for before the end.
        self.wait.drain();
        self.record.interrupted = self.wait.interrupted();
        self.record.ended = self.clock.now();
        self.record.next = next::command(self.options, scenes, &self.record.scenes);
        let vram = Statistics::of_log(log).unwrap_or_else(|error| {
            self.wait.journal.say(&format!("WARNING: {}: {error}", log.display()));
            Statistics::default()
        });
        self.wait.journal.say("");
        let without: Vec<_> = no_figures(&self.record);
        for line in vram.block(log, &without) {
            self.wait.journal.say(&line);
        }
        self.wait.journal.header("RUN COMPLETE");
        self.wait.journal.say(&format!("Run directory: {}", self.folder.display()));
        let block = closing::block(&self.record, &vram);
        self.wait.journal.block(&block);
        let exit = self.record.exit();
        let document = metadata::document(&self.record, &vram);
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

/// Scenes without figures, and what stands in their place.
#[must_use]
pub fn no_figures(record: &RunRecord) -> Vec<(String, String)> {
    use crate::report::record::Outcome;
    record
        .scenes
        .iter()
        .filter(|scene| scene.outcome == Outcome::Cached)
        .map(|scene| (scene.id.clone(), "no execution".to_owned()))
        .collect()
}

fn reading(client: &Client, gpu: usize) -> Result<Reading, Miss> {
    let stats = client.system_stats().map_err(|error| error.fault.miss())?;
    stats.devices.get(gpu).and_then(|device| device.memory).ok_or(Miss::NoDevice)
}

fn initial(reading: &Reading) -> String {
    let field = |name: &str, value: Option<u64>| {
        value.map(|value| format!(" {name}={value}MB")).unwrap_or_default()
    };
    format!(
        "Initial VRAM: Used={}MB{}{}",
        reading.used,
        field("Free", reading.free),
        field("Total", reading.total)
    )
}

fn counted(n: u64, one: &str, many: &str) -> String {
    match n {
        0 => format!("no {one}"),
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    }
}

/// A path as the files of a run write it.
fn slashes(path: &Path) -> String {
    path.display().to_string().replace('\\', "/")
}
