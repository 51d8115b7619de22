//! The typed options of each verb, and how a command line becomes them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::ParsedArgs;
use super::flags::FlagId;
use super::llm::{LlmOptions, llm};
use super::names::Style;
use super::parser::{Arg, FlagValue};
use super::server::{ServerOptions, server};
use super::values::quoted;
use super::{CardId, UsageError, paths, values};
use crate::vram::gates::Limits;

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
    /// The files for other programs, no two of them the same.
    pub reports: Vec<(Format, PathBuf)>,
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
    /// The files for other programs about the one target, no two of them the same.
    pub reports: Vec<(Format, PathBuf)>,
    /// Where a page of the one target is written; absolute. Default: nowhere.
    pub html: Option<PathBuf>,
    /// Whether a terminal gets no colours either.
    pub no_color: bool,
    /// What to tell the user first, one line each.
    pub warnings: Vec<String>,
}

/// The options of `monitor`. Every path is absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorOptions {
    /// The program to run and its arguments, as they were given; never empty. None: sampling goes
    /// on for `duration`, else until Ctrl-C.
    pub command: Option<Vec<OsString>>,
    /// How long to sample; only without a command.
    pub duration: Option<Duration>,
    /// Where the log is kept; none: it is not.
    pub log: Option<PathBuf>,
    /// Whether a log that exists is continued.
    pub append: bool,
    /// How memory is sampled.
    pub sampling: SamplingOptions,
    /// What has to hold of the memory.
    pub gates: GateOptions,
    /// How the server is reached.
    pub server: ServerOptions,
    /// Where a page of what was sampled is written; never the log. Default: nowhere.
    pub html: Option<PathBuf>,
    /// Whether nothing is printed on success.
    pub quiet: bool,
    /// Whether a terminal gets no colours either.
    pub no_color: bool,
}

/// Who gives the readings of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VramSource {
    /// `ComfyUI`; nvidia-smi where that misses one, if the server is on this machine.
    #[default]
    Auto,
    /// `ComfyUI` alone.
    ComfyUi,
    /// nvidia-smi alone; the server is on this machine.
    NvidiaSmi,
}

/// How memory is sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplingOptions {
    /// The time between two samples: 0.05 to 3600 s. Default 5; in `monitor` and with a gate 1.
    pub interval: Duration,
    /// The position among the server's devices of the one that is recorded. Default 0.
    pub gpu: usize,
    /// Who gives the readings.
    pub source: VramSource,
    /// Which card of nvidia-smi that device is, if the user named it.
    pub card: Option<CardId>,
}

/// The gates that the user sets; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateOptions {
    /// Those that are a number.
    pub limits: Limits,
    /// Logs or run folders to be no worse than, in the order in which they were given. All were
    /// there; absolute.
    pub baselines: Vec<PathBuf>,
}

impl GateOptions {
    /// Whether any gate is set.
    pub fn any(&self) -> bool {
        *self != GateOptions::default()
    }
}

/// The format of a report for other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For a CI server.
    JUnit,
    /// For a pull request.
    Markdown,
    /// For `node_exporter`.
    Prometheus,
}

impl Format {
    const ALL: [Format; 3] = [Format::JUnit, Format::Markdown, Format::Prometheus];

    /// The option that asks for it: `--junit`.
    pub fn option(self) -> String {
        Style::Gnu.write(self.id().flag().name)
    }

    fn id(self) -> FlagId {
        match self {
            Format::JUnit => FlagId::JUnit,
            Format::Markdown => FlagId::Markdown,
            Format::Prometheus => FlagId::PromFile,
        }
    }
}

pub(super) fn run(args: &ParsedArgs) -> Result<RunOptions, UsageError> {
    let (named_root, workflows) = paths::of_run(args)?;
    let root_given = named_root.is_some();
    let project_root = named_root.unwrap_or_else(|| paths::default_root(args.env));
    let server = server(args)?;
    let (llm, of_environment) = llm(args)?;
    let mut warnings = args.warnings();
    warnings.extend(of_environment);
    Ok(RunOptions {
        story: args.optional(FlagId::Story, |given| paths::existing(given, args))?,
        scenes: args.uint(FlagId::Scenes)?,
        scene_filter: args.optional(FlagId::SceneFilter, values::scene_filter)?.unwrap_or_default(),
        repeat: args.uint(FlagId::Repeat)?,
        set: args.all(FlagId::Set).map(values::assignment).collect::<Result<_, _>>()?,
        seed: values::seed(&args.value(FlagId::Seed))?,
        fresh: args.on(FlagId::Fresh),
        memory_cleanup_interval: args.uint(FlagId::MemoryCleanupInterval)?,
        dry_run: args.on(FlagId::DryRun),
        fast_iteration: args.on(FlagId::FastIteration),
        max_wait: args.seconds(FlagId::MaxWaitSeconds)?,
        poll_interval: args.decimal_seconds(FlagId::PollIntervalSeconds)?,
        history_max_attempts: args.uint(FlagId::HistoryMaxAttempts)?,
        post_execution_timeout: args.seconds(FlagId::PostExecutionTimeoutSeconds)?,
        scene_retry_budget: args.uint(FlagId::SceneRetryBudget)?,
        wait_for_comfyui: args.seconds(FlagId::WaitForComfyUI)?,
        sampling: sampling(args, &server)?,
        gates: gates(args)?,
        server,
        logs_dir: paths::logs_dir(args, &project_root)?,
        archive: archive(args, &project_root)?,
        llm,
        quiet: args.on(FlagId::Quiet),
        json: args.on(FlagId::Json),
        reports: reports(args)?,
        no_color: args.no_color(),
        warnings,
        project_root,
        root_given,
        workflows,
    })
}

fn archive(args: &ParsedArgs, root: &Path) -> Result<bool, UsageError> {
    match (args.on(FlagId::Archive), args.on(FlagId::NoArchive)) {
        (true, true) => Err(UsageError("--archive and --no-archive: which of them?".into())),
        (false, false) if args.given(FlagId::Archive).is_none() => {
            Ok(["scripts", "artifacts"].iter().any(|name| root.join(name).is_dir()))
        }
        (wanted, _) => Ok(wanted),
    }
}

pub(super) fn summary(args: &ParsedArgs) -> Result<SummaryOptions, UsageError> {
    let targets = paths::of_summary(args)?;
    let html = paths::optional(args, FlagId::Html)?;
    let files = [FlagId::Html, FlagId::JUnit, FlagId::Markdown, FlagId::PromFile];
    let file = files.into_iter().find_map(|id| args.given(id));
    if let (Some(FlagValue { label, .. }), 2..) = (file, targets.len()) {
        return Err(UsageError(format!("{label} takes one log or run folder at a time")));
    }
    let root = paths::given_root(args)?.unwrap_or_else(|| paths::default_root(args.env));
    Ok(SummaryOptions {
        targets,
        logs_dir: paths::logs_dir(args, &root)?,
        gates: gates(args)?,
        json: args.on(FlagId::Json),
        reports: reports(args)?,
        no_color: args.no_color(),
        html,
        warnings: args.warnings(),
    })
}

pub(super) fn monitor(args: &ParsedArgs) -> Result<MonitorOptions, UsageError> {
    let command = command(args)?;
    if let (Some(FlagValue { label, .. }), Some(_)) = (args.given(FlagId::Duration), &command) {
        return Err(UsageError(format!(
            "{label} is for monitor without a command: with one it ends when the command does"
        )));
    }
    let log = paths::optional(args, FlagId::Log)?;
    if let (Some(append), None) = (args.given(FlagId::Append).filter(|given| given.on), &log) {
        let log = append.style.write("Log");
        return Err(UsageError(format!("{} needs {log} FILE", append.label)));
    }
    let html = paths::optional(args, FlagId::Html)?;
    if let (Some(FlagValue { label, .. }), true) = (args.given(FlagId::Html), html == log) {
        return Err(UsageError(format!("{label} names the file of the log")));
    }
    let server = server(args)?;
    Ok(MonitorOptions {
        command,
        duration: args.optional(FlagId::Duration, |_| args.decimal_seconds(FlagId::Duration))?,
        log,
        append: args.on(FlagId::Append),
        sampling: sampling(args, &server)?,
        gates: gates(args)?,
        server,
        html,
        quiet: args.on(FlagId::Quiet),
        no_color: args.no_color(),
    })
}

/// The words behind `--`. Before it there is no bare word, so that a forgotten `--` is an error
/// instead of sampling until Ctrl-C.
fn command(args: &ParsedArgs) -> Result<Option<Vec<OsString>>, UsageError> {
    if let Some(word) = args.words().next() {
        let word = quoted(word);
        return Err(UsageError(format!("{word}: the command of monitor goes after --")));
    }
    // What follows `--` is always the last argument.
    match args.args.last() {
        Some(Arg::Command(words)) if words.is_empty() => {
            Err(UsageError("monitor has no command behind its --".to_owned()))
        }
        Some(Arg::Command(words)) => Ok(Some(words.clone())),
        _ => Ok(None),
    }
}

fn sampling(args: &ParsedArgs, server: &ServerOptions) -> Result<SamplingOptions, UsageError> {
    Ok(SamplingOptions {
        interval: args.decimal_seconds(FlagId::SampleIntervalSeconds)?,
        gpu: usize::try_from(args.uint(FlagId::Gpu)?).unwrap_or(usize::MAX),
        source: source(args, server)?,
        card: args.optional(FlagId::NvidiaSmiGpu, values::card)?,
    })
}

/// nvidia-smi lists this machine's cards only.
fn source(args: &ParsedArgs, server: &ServerOptions) -> Result<VramSource, UsageError> {
    let setting = args.value(FlagId::VramSource);
    let source = values::vram_source(&setting)?;
    if source == VramSource::NvidiaSmi && !server.url.is_loopback() {
        return Err(UsageError(format!(
            "{} nvidia-smi is a card of this machine, and {} is another one: leave it out",
            setting.label, server.url
        )));
    }
    Ok(source)
}

fn gates(args: &ParsedArgs) -> Result<GateOptions, UsageError> {
    let limit = |id| args.optional(id, |_| args.uint(id).map(u64::from));
    let baselines = args.all(FlagId::Baseline).map(|given| paths::existing(given, args));
    Ok(GateOptions {
        limits: Limits {
            peak_mb: limit(FlagId::MaxPeakMB)?,
            growth_mb: limit(FlagId::MaxGrowthMB)?,
        },
        baselines: baselines.collect::<Result<_, _>>()?,
    })
}

fn reports(args: &ParsedArgs) -> Result<Vec<(Format, PathBuf)>, UsageError> {
    let file = |format: Format| Ok(paths::optional(args, format.id())?.map(|path| (format, path)));
    let reports = Format::ALL.into_iter().filter_map(|format| file(format).transpose());
    let reports = reports.collect::<Result<Vec<_>, _>>()?;
    let mut options: HashMap<&Path, String> = HashMap::new();
    let page = paths::optional(args, FlagId::Html)?;
    let page = page.iter().map(|path| (Style::Gnu.write("Html"), path));
    let files = reports.iter().map(|(format, path)| (format.option(), path));
    for (option, path) in files.chain(page) {
        if let Some(other) = options.insert(path, option.clone()) {
            return Err(UsageError(format!("{other} and {option} name the same file")));
        }
    }
    Ok(reports)
}
