//! The plain record of a run: filled while it goes on, read by every report.

use time::OffsetDateTime;

pub use super::outcome::{HISTORY_UNREADABLE, Outcome};
use crate::exit_code::Exit;
use crate::vram::gates::{RunFacts, Verdict};
use crate::vram::reading::is_system_ram;

/// One try of a scene.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// How it ended.
    pub outcome: Outcome,
    /// Why, one line; empty for a success.
    pub why: String,
    /// The server's id of the prompt, if there was one.
    pub prompt_id: Option<String>,
    /// Seconds from the submission to the end, its files included.
    pub seconds: f64,
    /// Seconds of it in the queue, as far as polls showed.
    pub queued_seconds: f64,
    /// Seconds of execution by the server's own clock.
    pub server_seconds: Option<f64>,
    /// Polls that it took.
    pub polls: u32,
    /// Nodes that came from the cache.
    pub cached_nodes: Vec<String>,
    /// Memory and cache were emptied since the attempt before it, of whatever scene.
    pub freed: bool,
}

/// A file brought home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its path in the run folder, with forward slashes.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

/// One scene.
#[derive(Clone, Debug, PartialEq)]
pub struct SceneRecord {
    /// Its id, `[A-Za-z0-9._-]`.
    pub id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, one line; empty for a success.
    pub why: String,
    /// Seconds from its start to its end, all attempts.
    pub seconds: f64,
    /// The attempts, in order.
    pub attempts: Vec<Attempt>,
    /// Its files, in the order of their nodes.
    pub outputs: Vec<Output>,
    /// What was noticed and did not end it.
    pub warnings: Vec<String>,
    /// The seed it was given, where one was.
    pub seed: Option<u64>,
}

impl SceneRecord {
    /// A scene that was not started.
    pub fn skipped(id: &str, why: impl Into<String>) -> Self {
        SceneRecord {
            id: id.to_owned(),
            outcome: Outcome::Skipped,
            why: why.into(),
            seconds: 0.0,
            attempts: Vec::new(),
            outputs: Vec::new(),
            warnings: Vec::new(),
            seed: None,
        }
    }
}

/// The server, as far as it said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Its URL without credentials.
    pub url: String,
    /// `ComfyUI`'s version.
    pub comfyui: Option<String>,
    /// Its torch.
    pub pytorch: Option<String>,
    /// Its Python.
    pub python: Option<String>,
    /// The device whose memory is recorded: its name.
    pub device: Option<String>,
    /// And its type: `cuda`, `cpu`, …
    pub device_kind: Option<String>,
    /// The server's own number for it.
    pub device_index: Option<u64>,
}

/// What the run was asked to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Seconds of one attempt.
    pub max_wait_seconds: u64,
    /// The longest pause between polls.
    pub poll_interval_seconds: f64,
    /// Failed asks for the history of a prompt that has left the queue; 0 is unbounded.
    pub history_max_attempts: u32,
    /// Seconds without a byte while bringing outputs home.
    pub post_execution_timeout_seconds: u64,
    /// Extra attempts.
    pub scene_retry_budget: u32,
    /// The sampler's interval.
    pub sample_interval_seconds: f64,
}

/// The GPU after the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostRunState {
    /// Prompts in the server's queue, anybody's.
    pub queue: Option<u64>,
    /// MB in use before the run and after it, both by the driver's figure or both by
    /// `ComfyUI`'s.
    pub used_before_mb: Option<u64>,
    /// See there.
    pub used_after_mb: Option<u64>,
    /// Prompts of other clients that were seen running during the run.
    pub other_prompts: u64,
    /// A scene of ours that still ran when the run ended.
    pub still_running: Option<String>,
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// Its name, `yyyyMMdd-HHmmss`.
    pub id: String,
    /// Its folder, with forward slashes.
    pub folder: String,
    /// When it began.
    pub started: OffsetDateTime,
    /// When it ended.
    pub ended: OffsetDateTime,
    /// What it was asked to do.
    pub settings: Settings,
    /// The server.
    pub server: Server,
    /// Its scenes, in order.
    pub scenes: Vec<SceneRecord>,
    /// Somebody asked for its end.
    pub interrupted: bool,
    /// What kept it from being carried out, and the code for that.
    pub failure: Option<(Exit, String)>,
    /// What became of its gates.
    pub gates: Vec<Verdict>,
    /// The GPU after it.
    pub aftermath: PostRunState,
    /// The command that repeats what failed.
    pub next: Option<String>,
}

impl RunRecord {
    /// A run that begins.
    pub fn begun(
        id: String,
        folder: String,
        started: OffsetDateTime,
        settings: Settings,
        url: &str,
    ) -> Self {
        RunRecord {
            id,
            folder,
            started,
            ended: started,
            settings,
            server: Server { url: url.to_owned(), ..Server::default() },
            scenes: Vec::new(),
            interrupted: false,
            failure: None,
            gates: Vec::new(),
            aftermath: PostRunState::default(),
            next: None,
        }
    }

    /// The exit code: the first that applies of interrupted, unreachable, the scenes' own, a gate
    /// that did not hold.
    pub fn exit(&self) -> Exit {
        if self.interrupted {
            return Exit::Interrupted;
        }
        if let Some((exit, _)) = &self.failure {
            return *exit;
        }
        let mut exits = self.scenes.iter().map(|scene| scene.outcome.exit());
        if exits.clone().any(|exit| exit == Exit::Unreachable) {
            return Exit::Unreachable;
        }
        let scenes = exits
            .try_fold(Exit::Success, |all, exit| match (all, exit) {
                (Exit::Success, one) | (one, Exit::Success) => Ok(one),
                (all, one) if all == one => Ok(one),
                _ => Err(Exit::Failed),
            })
            .unwrap_or_else(|mixed| mixed);
        match scenes {
            Exit::Success if !self.gates.iter().all(Verdict::held) => Exit::Gate,
            scenes => scenes,
        }
    }

    /// The scenes that executed, in series that a `/free` parts: what grew before it is gone.
    pub fn series(&self) -> Vec<Vec<&str>> {
        let mut series: Vec<Vec<&str>> = Vec::new();
        let mut freed = false;
        for scene in &self.scenes {
            freed |= scene.attempts.iter().any(|attempt| attempt.freed);
            if !scene.outcome.may_have_executed() {
                continue;
            }
            let anew = std::mem::take(&mut freed);
            match series.last_mut() {
                Some(last) if !anew => last.push(&scene.id),
                _ => series.push(vec![&scene.id]),
            }
        }
        series
    }

    /// Whether the figures are the machine's own memory, as of `cpu` and `mps` devices.
    pub fn is_system_ram(&self) -> bool {
        self.server.device_kind.as_deref().is_some_and(is_system_ram)
    }

    /// What a gate has to know beside the log.
    pub fn facts(&self) -> RunFacts<'_> {
        let cached = |scene: &SceneRecord| scene.outcome == Outcome::Cached;
        RunFacts {
            device: self.server.device.as_deref(),
            system_ram: self.is_system_ram(),
            scenes: self.scenes.iter().map(|scene| (scene.id.as_str(), cached(scene))).collect(),
        }
    }

    /// Scenes without figures, and what stands in their place.
    pub fn without_figures(&self) -> Vec<(String, String)> {
        let cached = self.scenes.iter().filter(|scene| scene.outcome == Outcome::Cached);
        cached.map(|scene| (scene.id.clone(), "no execution".to_owned())).collect()
    }

    /// Scenes that did what they were asked for.
    pub fn succeeded(&self) -> usize {
        self.scenes.iter().filter(|scene| scene.outcome.is_success()).count()
    }
}
