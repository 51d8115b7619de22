//! The record of a run: filled while it goes on, read by every report.

use std::ops::Add;
use std::path::PathBuf;

use serde_json::Value;
use time::OffsetDateTime;

use crate::exit_code::Exit;
use crate::project::llm::HealthCheck;
use crate::project::story::{Story, StoryScene};
use crate::vram::gates::Verdict;
use crate::vram::reading::{DynamicVram, Reading, is_system_ram, memory_name};
use crate::vram::stats::{NodeFacts, SceneFacts, SceneStatistics, VramStats};

/// How the reason begins of a scene whose history could not be read as often as was allowed.
pub const HISTORY_UNREADABLE: &str = "history not readable";

/// How a scene or an attempt ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Executed, and its files were downloaded.
    Succeeded,
    /// Its files were downloaded and nothing was executed: there are no VRAM figures of it.
    Cached,
    /// The server refused some of its outputs; the others were downloaded.
    Partial,
    /// The server refused the workflow.
    Rejected,
    /// A node raised an error.
    Failed,
    /// A node ran out of memory.
    OutOfMemory,
    /// Not finished in time.
    Deadline,
    /// The server does not know the prompt any more.
    Lost,
    /// Somebody interrupted it.
    Interrupted,
    /// Succeeded without an output file.
    NoOutput,
    /// Succeeded, and a file could not be downloaded.
    DownloadFailed,
    /// The server went away.
    Unreachable,
    /// Not started.
    #[default]
    Skipped,
}

/// Every outcome in the order of the enum: its name, the exit code that it asks for, and whether
/// nodes may have been executed.
const OUTCOMES: [(Outcome, &str, Exit, bool); 13] = [
    (Outcome::Succeeded, "succeeded", Exit::Success, true),
    (Outcome::Cached, "cached", Exit::Success, false),
    (Outcome::Partial, "partial", Exit::Failed, true),
    (Outcome::Rejected, "rejected", Exit::Failed, false),
    (Outcome::Failed, "failed", Exit::Failed, true),
    (Outcome::OutOfMemory, "outOfMemory", Exit::OutOfMemory, true),
    (Outcome::Deadline, "deadline", Exit::Deadline, true),
    (Outcome::Lost, "lost", Exit::Lost, true),
    (Outcome::Interrupted, "interrupted", Exit::Failed, true),
    (Outcome::NoOutput, "noOutput", Exit::Failed, true),
    (Outcome::DownloadFailed, "downloadFailed", Exit::Failed, true),
    (Outcome::Unreachable, "unreachable", Exit::Unreachable, false),
    (Outcome::Skipped, "skipped", Exit::Failed, false),
];

impl Outcome {
    /// Every outcome.
    pub fn all() -> [Outcome; 13] {
        OUTCOMES.map(|(outcome, ..)| outcome)
    }

    /// The name in lines and in the metadata.
    pub fn name(self) -> &'static str {
        OUTCOMES[self as usize].1
    }

    /// The outcome of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Outcome::all().into_iter().find(|outcome| outcome.name() == name)
    }

    /// Whether the scene did what it was asked for.
    pub fn is_success(self) -> bool {
        self.exit() == Exit::Success
    }

    fn exit(self) -> Exit {
        OUTCOMES[self as usize].2
    }

    fn may_have_executed(self) -> bool {
        OUTCOMES[self as usize].3
    }
}

/// One attempt at a scene.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attempt {
    /// How it ended.
    pub outcome: Outcome,
    /// Why, one line; empty for a success.
    pub why: String,
    /// The server's id of the prompt, if there was one.
    pub prompt_id: Option<String>,
    /// Seconds from the submission to the end of the download.
    pub seconds: f64,
    /// Seconds in the server's queue, as far as polls showed.
    pub queued_seconds: f64,
    /// Seconds of execution by the server's own clock.
    pub server_seconds: Option<f64>,
    /// How often queue or history was asked for it.
    pub polls: u32,
    /// Nodes that came from the cache.
    pub cached_nodes: Vec<String>,
    /// The time between two bytes of a download ran out.
    pub timed_out: bool,
    /// Whether a `/free` emptied memory and cache since the attempt before it, of whatever scene.
    pub freed: bool,
    /// How often the run had started the server before it.
    pub server_starts: usize,
}

/// A downloaded output file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The path in the run folder, with forward slashes.
    pub path: String,
    /// The size in bytes.
    pub bytes: u64,
}

impl Output {
    /// The last part of the path.
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// What became of one scene.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SceneRecord {
    /// `[A-Za-z0-9._-]`.
    pub id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, one line; empty for a success.
    pub why: String,
    /// Seconds from its start to its end, of all attempts.
    pub seconds: f64,
    /// In order.
    pub attempts: Vec<Attempt>,
    /// In the order of their nodes.
    pub outputs: Vec<Output>,
    /// One line each; they do not change the outcome.
    pub warnings: Vec<String>,
    /// The seed it was given, where one was.
    pub seed: Option<u64>,
    /// How many nodes its workflow has; 0 if that is not known.
    pub node_count: usize,
    /// Its nodes that were executed, as far as the server told, in order.
    pub nodes: Vec<NodeFacts>,
    /// What only the script's lines and fields tell. Of it the metadata give back `span` alone.
    pub legacy: LegacyScene,
}

/// What the lines and fields of the script tell of a scene, beside its record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LegacyScene {
    /// The scene of the story that it was made of.
    pub story: Option<StoryScene>,
    /// When it began and ended; `None` if it was not started.
    pub span: Option<(OffsetDateTime, OffsetDateTime)>,
    /// The device's memory before the first attempt.
    pub before: Option<Reading>,
    /// The device's memory after the download of the outputs.
    pub after: Option<Reading>,
    /// When it succeeded, by the server's clock.
    pub success_at: Option<OffsetDateTime>,
    /// Whether the history entry of the last attempt was read.
    pub history_retrieved: bool,
    /// Whether that entry was written to the run folder.
    pub history_kept: bool,
    /// The `FallbackNotes`; each is a line of the scene too.
    pub notes: Vec<String>,
    /// The server's answer with which `before` was read, as the metadata have it; null without one.
    pub stats_before: Value,
    /// The same of `after`.
    pub stats_after: Value,
}

impl LegacyScene {
    /// Clears what is known of the history: a further attempt has an entry of its own.
    pub fn forget_history(&mut self) {
        (self.history_retrieved, self.history_kept, self.success_at) = (false, false, None);
    }
}

impl SceneRecord {
    /// A scene that was not started.
    pub fn skipped(id: &str, why: impl Into<String>) -> Self {
        SceneRecord { id: id.to_owned(), why: why.into(), ..SceneRecord::default() }
    }

    /// Seconds in the queue, of all attempts; `None` without an attempt.
    pub fn queued_seconds(&self) -> Option<f64> {
        self.attempts.iter().map(|attempt| attempt.queued_seconds).reduce(Add::add)
    }

    /// Seconds of execution, of all attempts whose time is known; `None` if none is known.
    pub fn server_seconds(&self) -> Option<f64> {
        self.attempts.iter().filter_map(|attempt| attempt.server_seconds).reduce(Add::add)
    }

    /// The nodes of its last attempt that came from the cache.
    pub fn cached_nodes(&self) -> &[String] {
        self.attempts.last().map(|attempt| attempt.cached_nodes.as_slice()).unwrap_or_default()
    }

    /// The figures of a scene that executed and is in the log.
    pub fn figures<'a>(&self, vram: &'a VramStats) -> Option<&'a SceneStatistics> {
        let executed = self.outcome != Outcome::Cached;
        vram.scenes.iter().find(|figures| executed && figures.id == self.id)
    }
}

/// The server, as far as its `/system_stats` tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Server {
    /// Without credentials.
    pub url: String,
    /// `ComfyUI`'s version.
    pub comfyui: Option<String>,
    /// The version of `PyTorch`.
    pub pytorch: Option<String>,
    /// The version of Python.
    pub python: Option<String>,
    /// The name of the device whose memory is recorded.
    pub device: Option<String>,
    /// The type of that device: `cuda`, `cpu`, …
    pub device_kind: Option<String>,
    /// The server's own index of that device.
    pub device_index: Option<u64>,
    /// Whether weights that can be given back are expected to fill it.
    pub dynamic_vram: DynamicVram,
    /// The starts of it by this run, in order.
    pub starts: Vec<ServerStart>,
    /// What became of it at the end, where it was ours.
    pub end: Option<ServerEnd>,
}

/// Why a server is started at the beginning of a run.
pub const NO_ANSWER: &str = "it did not answer";

/// A start of the server by the run.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerStart {
    pub at: OffsetDateTime,
    /// Seconds until it answered, to the tenth.
    pub ready_after_seconds: f64,
    /// Why it was started: `in scene-002 its worker died (…)`.
    pub why: String,
    /// The last line that it had printed by then.
    pub last_line: String,
}

/// What becomes of a server of ours at the end of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerEnd {
    Ended,
    /// Somebody else's prompt is there.
    Left,
}

/// What the run was asked to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// The deadline of one attempt, in seconds.
    pub max_wait_seconds: u64,
    /// The longest pause between polls, in seconds.
    pub poll_interval_seconds: f64,
    /// Failed asks for the history of a prompt that has left the queue; 0 is unbounded.
    pub history_max_attempts: u32,
    /// Download timeout without data, in seconds.
    pub post_execution_timeout_seconds: u64,
    /// Extra attempts of a failed scene.
    pub scene_retry_budget: u32,
    /// The sampler's interval, in seconds.
    pub sample_interval_seconds: f64,
}

/// The GPU after the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostRunState {
    /// Prompts in the server's queue, anybody's.
    pub queue: Option<u64>,
    /// MB in use before the run; by the same figure as after it, the driver's or `ComfyUI`'s.
    pub used_before_mb: Option<u64>,
    /// MB in use after the run.
    pub used_after_mb: Option<u64>,
    /// Prompts of other clients that were seen running during the run.
    pub other_prompts: u64,
    /// The scene of this run that still ran on the server when the run ended.
    pub still_running: Option<String>,
    /// A scene of this run whose POST was not answered, and that may yet come to the server.
    pub may_come: Option<String>,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// `yyyyMMdd-HHmmss`, the name of the run folder.
    pub id: String,
    /// The run folder's path, with forward slashes.
    pub folder: String,
    /// The time of the start.
    pub started: OffsetDateTime,
    /// The time of the end.
    pub ended: OffsetDateTime,
    /// What it was asked to do.
    pub settings: Settings,
    /// The server that it ran on.
    pub server: Server,
    /// In order.
    pub scenes: Vec<SceneRecord>,
    /// Whether Ctrl-C or a signal ended it.
    pub interrupted: bool,
    /// Why it could not be carried out, and the exit code of that.
    pub failure: Option<(Exit, String)>,
    /// From when to when the computer slept meanwhile.
    pub asleep: Vec<(OffsetDateTime, OffsetDateTime)>,
    /// The verdicts of its gates.
    pub gates: Vec<Verdict>,
    /// The names of the runs that it was held against.
    pub baselines: Vec<String>,
    /// The GPU after the run.
    pub aftermath: PostRunState,
    /// The command that repeats what failed.
    pub next: Option<String>,
    /// What only the script's lines and fields tell. Not read back from the metadata.
    pub legacy: LegacyRun,
}

/// What the lines and fields of the script tell of a run, beside its record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LegacyRun {
    /// The story of its scenes.
    pub story: Option<Story>,
    /// Whether the story's language model answered.
    pub health_check: Option<HealthCheck>,
    /// The archive to be written.
    pub archive: Option<PathBuf>,
}

impl RunRecord {
    /// The record of a run that begins.
    pub fn new(id: String, folder: String, started: OffsetDateTime, url: &str) -> Self {
        RunRecord {
            id,
            folder,
            started,
            ended: started,
            settings: Settings::default(),
            server: Server { url: url.to_owned(), ..Server::default() },
            scenes: Vec::new(),
            interrupted: false,
            failure: None,
            asleep: Vec::new(),
            gates: Vec::new(),
            baselines: Vec::new(),
            aftermath: PostRunState::default(),
            next: None,
            legacy: LegacyRun::default(),
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
        let exits = self.scenes.iter().map(|scene| scene.outcome.exit());
        let mut failures = exits.filter(|exit| *exit != Exit::Success);
        if failures.clone().any(|exit| exit == Exit::Unreachable) {
            return Exit::Unreachable;
        }
        match failures.next() {
            Some(first) if failures.all(|exit| exit == first) => first,
            Some(_) => Exit::Failed,
            None if self.gates.iter().all(Verdict::held) => Exit::Success,
            None => Exit::Gate,
        }
    }

    /// The scenes that executed, split where a `/free` emptied the memory between two of them, or the
    /// server was started anew: growth is counted within each part.
    pub fn series(&self) -> Vec<Vec<&str>> {
        let mut series: Vec<Vec<&str>> = Vec::new();
        let (mut freed, mut starts) = (false, None);
        for scene in &self.scenes {
            for attempt in &scene.attempts {
                let before = starts.replace(attempt.server_starts);
                freed |= attempt.freed || before.is_some_and(|it| it != attempt.server_starts);
            }
            if !scene.outcome.may_have_executed() {
                continue;
            }
            match series.last_mut() {
                Some(last) if !freed => last.push(&scene.id),
                _ => series.push(vec![&scene.id]),
            }
            freed = false;
        }
        series
    }

    /// The scenes that ran on another start of the server than the reading before them: what they
    /// added is not known.
    pub fn restarted(&self) -> Vec<&str> {
        let mut starts = None;
        let mut is_other = |attempt: &Attempt| {
            starts.replace(attempt.server_starts).is_some_and(|it| it != attempt.server_starts)
        };
        // All attempts are to be seen.
        let mut restarted = |scene: &&SceneRecord| {
            scene.attempts.iter().filter(|attempt| is_other(attempt)).count() > 0
        };
        self.scenes.iter().filter(|scene| restarted(scene)).map(|scene| &*scene.id).collect()
    }

    /// Corrects the statistics of its log by what that cannot know.
    pub fn correct(&self, vram: &mut VramStats) {
        vram.grow_by(&self.series());
        vram.forget_added(&self.restarted());
    }

    /// Whether the figures are the machine's own memory, as of `cpu` and `mps` devices.
    pub fn is_system_ram(&self) -> bool {
        self.server.device_kind.as_deref().is_some_and(is_system_ram)
    }

    /// How its memory is called.
    pub fn memory(&self) -> &'static str {
        memory_name(self.is_system_ram())
    }

    /// Whether nothing was executed: every scene came from `ComfyUI`'s cache.
    pub fn is_cached(&self) -> bool {
        let cached = |scene: &SceneRecord| scene.outcome == Outcome::Cached;
        !self.scenes.is_empty() && self.scenes.iter().all(cached)
    }

    /// What the statistics of its log cannot know.
    pub fn facts(&self) -> Vec<SceneFacts> {
        let facts = |scene: &SceneRecord| SceneFacts {
            id: scene.id.clone(),
            no_figures: (scene.outcome == Outcome::Cached).then_some("no execution"),
            nodes: scene.nodes.clone(),
        };
        self.scenes.iter().map(facts).collect()
    }

    /// Whether any scene was tried.
    pub fn has_attempts(&self) -> bool {
        self.scenes.iter().any(|scene| !scene.attempts.is_empty())
    }

    /// How many scenes succeeded.
    pub fn succeeded(&self) -> usize {
        self.scenes.iter().filter(|scene| scene.outcome.is_success()).count()
    }
}
