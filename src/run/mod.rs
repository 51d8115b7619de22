//! A run, from its folder to its closing block.
//!
//! The main thread drives it: it posts and polls with short blocking calls, and every wait in
//! between is the one in `wait`, where the sampler's readings reach the log.

mod attempt;
mod course;
mod ending;
mod folder;
mod follow;
pub(crate) mod gauge;
pub(crate) mod interrupt;
pub(crate) mod journal;
mod next;
mod opening;
mod outputs;
mod plan;
pub(crate) mod reach;
pub(crate) mod recorder;
mod scene;
mod stage;
mod submit;
pub(crate) mod wait;

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use crate::clock::Clock;
use crate::comfyui::{Client, Stats};
use crate::exit::Exit;
use crate::files::write_whole;
use crate::options::RunOptions;
use crate::report::devices::OtherDevice;
use crate::report::past::Past;
use crate::report::record::{Aftermath, RunRecord, SceneRecord, Server, Settings};
use crate::report::{closing, devices, gates, metadata};
use crate::text::complain;
use crate::vram::log::names;
use crate::vram::sampler::{self, Sampled};
use crate::vram::statistics::Statistics;

use gauge::Gauge;
use journal::{Journal, Output};
use plan::Scene;
use recorder::Recorder;
use stage::Stage;
use wait::{Interrupted, Wait};

/// Runs what the options ask for. Every line goes to `run-summary.txt` and to the terminal; only
/// what keeps a run from having a folder is told on standard error alone.
#[must_use]
pub fn run(options: &RunOptions) -> Exit {
    let scenes = match plan::scenes(options) {
        Ok(scenes) => scenes,
        Err(why) => return refuse(&why, Exit::Usage),
    };
    let baselines = match Past::load_all(&options.gates.baselines) {
        Ok(baselines) => baselines,
        Err(why) => return refuse(&format!("--baseline: {why}"), Exit::Usage),
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
    let mut journal = Journal::new(clock, Some(folder.join("run-summary.txt")), output);
    let log = folder.join(names::MAIN);
    let (recorder, no_log) = Recorder::new(&log, options.sampling.interval);
    let (sender, receiver) = mpsc::channel();
    if let Err(error) = interrupt::listen(sender.clone()) {
        journal.say(&format!("WARNING: Ctrl-C ends this run without clearing up: {error}"));
    }
    journal.block(&opening::lines(options, &id, &folder, clock.local));
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
            gates: Vec::new(),
            aftermath: Aftermath::default(),
            next: None,
        },
        waiting_helps: false,
        others: Vec::new(),
    };
    run.record.folder = slashes(&run.folder);
    run.generate(&scenes);
    run.close(&scenes, &log, &baselines)
}

fn refuse(why: &str, exit: Exit) -> Exit {
    complain(why);
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
    wait: Wait,
    record: RunRecord,
    /// Nobody listened at the server's address yet.
    waiting_helps: bool,
    /// The other devices that are recorded, by position and name.
    others: Vec<(usize, String)>,
}

impl Run<'_> {
    /// Reaches the server, samples, and runs the scenes; the sampling ends with it.
    fn generate(&mut self, scenes: &[Scene]) {
        let reached = reach::reach(self.options, &mut self.wait);
        let (target, stats) = match reached {
            Ok(Ok(reached)) => reached,
            Ok(Err(none)) => {
                self.wait.journal.say(&format!("ERROR: {}", none.why));
                self.record.failure = Some((Exit::Unreachable, none.why));
                self.waiting_helps = none.waiting_helps;
                return self.skip(scenes, "no ComfyUI");
            }
            Err(Interrupted) => return self.skip(scenes, "interrupted"),
        };
        let client = Client::new(target.clone(), self.options.post_execution_timeout);
        self.meet(&client, &stats, scenes.len());
        let local = self.options.server.url.is_loopback();
        let gauge = Gauge::new(&self.options.sampling, local, Some(&stats), self.wait.sender());
        let gauge = Arc::new(gauge);
        let sampler = gauge.sampler(self.options.sampling.interval, self.clock, target);
        if let Err(error) = &sampler {
            self.wait.journal.say(&format!("WARNING: no VRAM is recorded: no thread: {error}"));
        }
        if self.wait.first_tick(gauge::TIMEOUT * 2).is_err() {
            return self.skip(scenes, "interrupted");
        }
        if let Some(first) = self.wait.recorder.first() {
            self.wait.journal.say(&opening::initial(&first));
        }
        self.scenes(&client, scenes);
        drop(sampler);
        self.wait.drain();
        self.last_reading(&client, &gauge);
    }

    fn skip(&mut self, scenes: &[Scene], why: &str) {
        let from = self.record.scenes.len();
        let skipped = scenes.iter().skip(from).map(|scene| SceneRecord::skipped(&scene.id, why));
        self.record.scenes.extend(skipped);
    }

    /// Notes who the server is and says what will be done.
    fn meet(&mut self, client: &Client, stats: &Stats, scenes: usize) {
        let device = stats.devices.get(self.options.sampling.gpu);
        let server = &mut self.record.server;
        server.comfyui.clone_from(&stats.comfyui);
        server.pytorch.clone_from(&stats.pytorch);
        server.python.clone_from(&stats.python);
        server.device = device.map(|device| device.name.clone());
        server.device_kind = device.map(|device| device.kind.clone());
        let queue = client.queue().ok().map(|queue| queue.len());
        let line = opening::plan(self.options, stats, queue, scenes);
        self.wait.journal.say(&line);
        // Where the device that was asked for is not there, nothing is recorded.
        if device.is_some() {
            self.record_others(stats);
        }
    }

    fn record_others(&mut self, stats: &Stats) {
        let known = stats.devices.iter().enumerate().filter(|(_, device)| device.memory.is_some());
        for (gpu, device) in known.filter(|(gpu, _)| *gpu != self.options.sampling.gpu) {
            let path = self.folder.join(names::of_device(gpu));
            match self.wait.recorder.also(gpu, &path, self.options.sampling.interval) {
                Ok(()) => self.others.push((gpu, device.name.clone())),
                Err(why) => self.wait.journal.say(&format!("WARNING: {why}")),
            }
        }
    }

    fn other_devices(&mut self) -> Vec<OtherDevice> {
        let Run { folder, others, wait, .. } = self;
        let mut told = |why: &String| wait.journal.say(&format!("WARNING: {why}"));
        let load = |(gpu, name): &(usize, String)| {
            OtherDevice::load(folder, *gpu, name).inspect_err(&mut told).ok()
        };
        others.iter().filter_map(load).collect()
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
            freed: false,
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
                let what = format!("{}/{}", index + 1, scenes.len());
                scene::run(&mut stage, scene, &what)
            });
            let (done, every) = (index + 1, self.options.memory_cleanup_interval as usize);
            let is_due = every > 0 && done % every == 0;
            if is_due && stage.over.is_none() && stage.wait.check().is_ok() {
                // An interrupt is seen by the next scene.
                let _ = stage.clean_up(&scene.id);
            }
        }
        // A prompt that outlived its cancel, or a server that came back: asked once more.
        if !stage.unfinished.is_empty() && !stage.wait.interrupted() {
            stage.cancel_all();
        }
        self.record.aftermath.still_running =
            stage.unfinished.first().map(|prompt| prompt.scene.clone());
        self.record.aftermath.other_prompts = stage.others.len() as u64;
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
    fn last_reading(&mut self, client: &Client, gauge: &Gauge) {
        let (at, sent) = (self.clock.now(), Instant::now());
        let answer = gauge.read(client);
        // What it said of the other devices comes by the channel.
        self.wait.drain();
        let took_ms = sampler::took_ms(sent.elapsed(), self.options.sampling.interval);
        let tick = sampler::tick_of(at, took_ms, answer, || gauge.instead(sent));
        let after = tick.result.ok().map(|(reading, _)| reading);
        if let Some(problem) = self.wait.recorder.record(&Sampled::Tick(tick)) {
            self.wait.journal.say(&format!("WARNING: {problem}"));
        }
        let before = self.wait.recorder.first();
        let both = before.zip(after).and_then(|both| match (both.0.driver, both.1.driver) {
            (Some(before), Some(after)) => Some((before, after)),
            (None, None) => Some((both.0.used, both.1.used)),
            // The one's driver figure and the other's used would be compared.
            _ => None,
        });
        self.record.aftermath.used_before_mb = both.map(|(before, _)| before);
        self.record.aftermath.used_after_mb = both.map(|(_, after)| after);
        self.record.aftermath.queue = client.queue().ok().map(|queue| queue.len() as u64);
    }

    /// The statistics, the gates, the closing block, the metadata.
    fn close(mut self, scenes: &[Scene], log: &Path, baselines: &[Past]) -> Exit {
        // What counts is whether it was asked for before the end.
        self.wait.drain();
        self.record.interrupted = self.wait.interrupted();
        self.record.ended = self.clock.now();
        self.record.next =
            next::command(self.options, scenes, &self.record.scenes, self.waiting_helps);
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

/// A path as the files of a run write it.
fn slashes(path: &Path) -> String {
    path.display().to_string().replace('\\', "/")
}
