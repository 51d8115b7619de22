//! The typed options of each verb.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::{ParsedArgs, Setting};
use super::gates::{GateOptions, gates};
use super::llm::{LlmOptions, llm};
use super::reports::{ReportOptions, reports};
use super::row::Id;
use super::sampling::{SamplingOptions, sampling};
use super::server::{ServerOptions, server};
use super::{UsageError, paths, values};

/// One input of one node that the user sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The node's id, or a title or class that only one node has; not empty.
    pub node: String,
    /// The input's name; not empty.
    pub input: String,
    /// Its value as it was written; may be empty.
    pub value: String,
}

/// What goes into a scene's seeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seed {
    /// What the workflow has.
    #[default]
    Keep,
    /// A number of our own for each scene.
    Random,
    /// This number.
    Fixed(u64),
}

/// The options of a run. Every path is absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct RunOptions {
    /// The project's folder. Default: the parent of `scripts` if the program lies in a folder of
    /// that name, else the current folder.
    pub project_root: PathBuf,
    /// Whether the user named that folder, by option or bare word.
    pub root_given: bool,
    /// Workflows or folders of them, in the order in which they were given. All were there.
    pub workflows: Vec<PathBuf>,
    /// A story, or the folder that holds one. It was there.
    pub story: Option<PathBuf>,
    /// How many scenes the story generator is asked for: 1 to 1000. Default 3.
    pub scenes: u32,
    /// The ids of the scenes to run, in the order in which they were given; empty: all.
    pub scene_filter: Vec<String>,
    /// How many times every scene is run: 1 to 1000. Default 1.
    pub repeat: u32,
    /// The inputs to set, in the order in which they were given.
    pub set: Vec<Assignment>,
    /// What goes into the seeds. Default: what the workflow has.
    pub seed: Seed,
    /// Whether `ComfyUI`'s cache is emptied before each scene.
    pub fresh: bool,
    /// After how many scenes the server's memory is emptied; 0 is never. Default 10.
    pub memory_cleanup_interval: u32,
    /// Whether nothing is run: the graphs are checked and printed.
    pub dry_run: bool,
    /// Whether the shorter waits were asked for; they are in the fields below already.
    pub fast_iteration: bool,
    /// The deadline of one attempt: 1 to 604800 s, whole. Default 600.
    pub max_wait: Duration,
    /// The longest pause between polls: 0.05 to 3600 s. Default 2.
    pub poll_interval: Duration,
    /// How many asks for the history of a prompt that has left the queue may fail. Default 0: no
    /// limit.
    pub history_max_attempts: u32,
    /// How long a transfer may go without a byte: at least 1 s, whole. Default 30.
    pub post_execution_timeout: Duration,
    /// Extra attempts of a failed scene: 0 to 100. Default 1.
    pub scene_retry_budget: u32,
    /// How long an unreachable server is waited for at the start, in whole seconds. Default 0.
    pub wait_for_comfyui: Duration,
    /// How memory is sampled.
    pub sampling: SamplingOptions,
    /// What has to hold of the memory.
    pub gates: GateOptions,
    /// How the server is reached.
    pub server: ServerOptions,
    /// Where the run folders are made; it need not be there. Default: `logs` in the project's
    /// folder.
    pub logs_dir: PathBuf,
    /// Whether the finished run folder is put into an archive. Default: where the project's folder
    /// has `scripts` or `artifacts`.
    pub archive: bool,
    /// The story's language model.
    pub llm: LlmOptions,
    /// Whether nothing is printed on success.
    pub quiet: bool,
    /// Whether one JSON document goes to stdout at the end.
    pub json: bool,
    /// What other programs are to read.
    pub reports: ReportOptions,
    /// Whether a terminal gets no colours either.
    pub no_color: bool,
    /// What to tell the user first, one line each.
    pub warnings: Vec<String>,
}

/// The options of `summary`. Every path is absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryOptions {
    /// Logs or run folders, in the order in which they were given; empty: the newest run. All were
    /// there.
    pub targets: Vec<PathBuf>,
    /// Where the run folders are; it need not be there. Default: `logs` in the project's folder.
    pub logs_dir: PathBuf,
    /// What has to hold of the memory.
    pub gates: GateOptions,
    /// Whether the statistics go to stdout as one JSON document.
    pub json: bool,
    /// What other programs are to read of the one target.
    pub reports: ReportOptions,
    /// Where a page of the one target is written; absolute. Default: nowhere.
    pub html: Option<PathBuf>,
    /// Whether a terminal gets no colours either.
    pub no_color: bool,
    /// What to tell the user first, one line each.
    pub warnings: Vec<String>,
}

pub(super) fn run(line: &ParsedArgs) -> Result<RunOptions, UsageError> {
    let places = paths::of_run(line)?;
    let filter = line.given(Id::SceneFilter).map(Setting::from);
    let story = line.given(Id::Story).map(|given| paths::existing(given, line));
    let server = server(line)?;
    let (llm, of_environment) = llm(line)?;
    let mut warnings = line.warnings();
    warnings.extend(of_environment);
    Ok(RunOptions {
        story: story.transpose()?,
        scenes: line.whole(Id::Scenes)?,
        scene_filter: filter.as_ref().map_or_else(|| Ok(Vec::new()), values::scene_filter)?,
        repeat: line.whole(Id::Repeat)?,
        set: line
            .all(Id::Set)
            .map(|given| values::assignment(&given.into()))
            .collect::<Result<_, _>>()?,
        seed: values::seed(&line.setting(Id::Seed))?,
        fresh: line.on(Id::Fresh),
        memory_cleanup_interval: line.whole(Id::MemoryCleanupInterval)?,
        dry_run: line.on(Id::DryRun),
        fast_iteration: line.on(Id::FastIteration),
        max_wait: line.seconds(Id::MaxWaitSeconds)?,
        poll_interval: line.decimal_seconds(Id::PollIntervalSeconds)?,
        history_max_attempts: line.whole(Id::HistoryMaxAttempts)?,
        post_execution_timeout: line.seconds(Id::PostExecutionTimeoutSeconds)?,
        scene_retry_budget: line.whole(Id::SceneRetryBudget)?,
        wait_for_comfyui: line.seconds(Id::WaitForComfyUI)?,
        sampling: sampling(line, &server)?,
        gates: gates(line)?,
        server,
        logs_dir: paths::logs_dir(line, &places.root)?,
        archive: archive(line, &places.root)?,
        llm,
        quiet: line.on(Id::Quiet),
        json: line.on(Id::Json),
        reports: reports(line)?,
        no_color: line.no_color(),
        warnings,
        project_root: places.root,
        root_given: places.root_given,
        workflows: places.workflows,
    })
}

fn archive(line: &ParsedArgs, root: &Path) -> Result<bool, UsageError> {
    match (line.on(Id::Archive), line.on(Id::NoArchive)) {
        (true, true) => Err(UsageError("--archive and --no-archive: which of them?".into())),
        (false, false) if line.given(Id::Archive).is_none() => {
            Ok(["scripts", "artifacts"].iter().any(|name| root.join(name).is_dir()))
        }
        (wanted, _) => Ok(wanted),
    }
}

pub(super) fn summary(line: &ParsedArgs) -> Result<SummaryOptions, UsageError> {
    let targets = paths::of_summary(line)?;
    let html = paths::html(line)?;
    let files = [Id::Html, Id::JUnit, Id::Markdown, Id::PromFile];
    let file = files.into_iter().find_map(|id| line.given(id));
    if let (Some(given), 2..) = (file, targets.len()) {
        return Err(UsageError(format!("{} takes one log or run folder at a time", given.label())));
    }
    let root = paths::root(line)?;
    Ok(SummaryOptions {
        targets,
        logs_dir: paths::logs_dir(line, &root)?,
        gates: gates(line)?,
        json: line.on(Id::Json),
        reports: reports(line)?,
        no_color: line.no_color(),
        html,
        warnings: line.warnings(),
    })
}
