//! The typed options of each verb, and how they are read from the command line.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::ParsedArgs;
use super::flags::{FlagId, Kind};
use super::values::{FlagValue, parse_header, quoted};
use super::{CardId, UsageError};
use crate::comfyui::server_process::StartCommand;
use crate::fs::read_small;
use crate::http::ServerUrl;
use crate::vram::gates::Limits;

/// How long a `ComfyUI` that is being started may print nothing, by default.
pub const START_WAIT: Duration = Duration::from_secs(300);
/// How long a server that goes away in the middle of a run is waited for.
const NIGHT_WAIT: Duration = Duration::from_secs(60);
/// A larger header file is taken for a mistake.
const MAX_HEADER_FILE: u64 = 1 << 20;

/// The options of a run. Every path is absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct RunOptions {
    /// The project's folder. Default: the parent of `scripts` if the program lies in a folder of
    /// that name, else the current folder.
    pub project_root: PathBuf,
    /// Whether the user named that folder, by option or bare word.
    pub root_given: bool,
    /// Workflows or folders of them, in the order given. All of them exist.
    pub workflows: Vec<PathBuf>,
    /// A story, or the folder that holds one. It exists.
    pub story: Option<PathBuf>,
    /// How many scenes the story generator is asked for: 1 to 1000. Default 3.
    pub scenes: u32,
    /// The ids of the scenes to run, in the order given; empty: all.
    pub scene_filter: Vec<String>,
    /// How many times every scene is run: 1 to 1000. Default 1.
    pub repeat: u32,
    /// The inputs to set, in the order given.
    pub set: Vec<Assignment>,
    /// What goes into the seeds. Default: what the workflow has.
    pub seed: Seed,
    /// Whether `ComfyUI`'s cache is emptied before each scene.
    pub fresh: bool,
    /// After how many scenes the server's memory is emptied; 0 is never. Default 10.
    pub memory_cleanup_interval: u32,
    /// Whether the graphs are only checked and printed.
    pub dry_run: bool,
    /// Whether `FastIteration` was given; its shorter waits are in the fields below already.
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
    /// How long an unreachable server is waited for at the start, in whole seconds. Default 0; 300
    /// where it is started.
    pub wait_for_comfyui: Duration,
    /// The same of a server that goes away later. Default 60 s.
    pub wait_at_night: Duration,
    /// How it is started when it does not answer, and again when it has died.
    pub start_comfyui: Option<StartCommand>,
    /// Whether the computer may fall asleep meanwhile.
    pub allow_sleep: bool,
    /// How memory is sampled.
    pub sampling: SamplingOptions,
    /// The VRAM gates.
    pub gates: GateOptions,
    /// How the server is reached.
    pub server: ServerOptions,
    /// Where the run folders are made; it need not exist. Default: `logs` in the project's
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
    /// Reports for other programs.
    pub reports: Vec<(Format, PathBuf)>,
    /// Whether colours are off on a terminal too.
    pub no_color: bool,
    /// Warnings to print first, one line each.
    pub warnings: Vec<String>,
}

/// The options of `summary`. Every path is absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryOptions {
    /// Logs or run folders, in the order given; empty: the newest run. All of them exist.
    pub targets: Vec<PathBuf>,
    /// Where the run folders are; it need not exist. Default: `logs` in the project's folder.
    pub logs_dir: PathBuf,
    /// The VRAM gates.
    pub gates: GateOptions,
    /// Whether the statistics go to stdout as one JSON document.
    pub json: bool,
    /// Reports for other programs; only with one target.
    pub reports: Vec<(Format, PathBuf)>,
    /// Where an HTML page is written; only with one target. Default: nowhere.
    pub html: Option<PathBuf>,
    /// Whether colours are off on a terminal too.
    pub no_color: bool,
    /// Warnings to print first, one line each.
    pub warnings: Vec<String>,
}

/// The options of `monitor`. Every path is absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct MonitorOptions {
    /// The program to run and its arguments, as they were given; never empty. None: sampling goes
    /// on for `duration`, else until Ctrl-C.
    pub command: Option<Vec<OsString>>,
    /// How long to sample; only without a command.
    pub duration: Option<Duration>,
    /// Where the log is written. Default: nowhere.
    pub log: Option<PathBuf>,
    /// Whether a log that exists is continued.
    pub append: bool,
    /// Whether the computer may fall asleep while the command runs.
    pub allow_sleep: bool,
    /// How memory is sampled.
    pub sampling: SamplingOptions,
    /// The VRAM gates.
    pub gates: GateOptions,
    /// How the server is reached.
    pub server: ServerOptions,
    /// Where an HTML page is written; never the file of the log. Default: nowhere.
    pub html: Option<PathBuf>,
    /// Whether nothing is printed on success.
    pub quiet: bool,
    /// Whether colours are off on a terminal too.
    pub no_color: bool,
}

/// One input of one node, set by the user.
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
    /// The workflow's own seeds.
    #[default]
    Keep,
    /// A random number for each scene.
    Random,
    /// This number for every scene.
    Fixed(u64),
}

/// Where the VRAM readings come from.
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
    /// Which of the server's devices is reported, by its position. Default 0.
    pub gpu: usize,
    /// Where the readings come from.
    pub source: VramSource,
    /// Which card of nvidia-smi that device is, if the user named it.
    pub card: Option<CardId>,
}

/// The gates that the user sets; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateOptions {
    /// The gates that are a number.
    pub limits: Limits,
    /// Logs or run folders to compare with, in the order given. All of them exist; absolute paths.
    pub baselines: Vec<PathBuf>,
}

/// Where the server is, and the headers of every request. `Debug` shows neither credentials nor the
/// values of headers.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerOptions {
    /// Its address.
    pub url: ServerUrl,
    /// Name and value of additional headers: those of the file, then those of the command line,
    /// each in order. The values are secrets.
    pub headers: Vec<(String, String)>,
    /// The file that some of them came from.
    pub header_file: Option<PathBuf>,
    /// The key of partner nodes. A secret.
    pub api_key: Option<String>,
    /// The file that it came from.
    pub api_key_file: Option<PathBuf>,
}

/// The format of a report for other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For CI servers.
    JUnit,
    /// For pull requests.
    Markdown,
    /// For `node_exporter`.
    Prometheus,
}

/// The language model that writes the story, and LM Studio, whose models are unloaded first.
/// `Debug` shows no credentials.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct LlmOptions {
    /// The generator makes its story without a model.
    pub mock: bool,
    /// A local model was asked for by name.
    pub local: bool,
    /// The provider of the story, if one is configured.
    pub provider: Option<ServerUrl>,
    /// The URL of the health check, in place of the provider's `/v1/models`.
    pub health_url: Option<ServerUrl>,
    /// Whether the health check is left out.
    pub skip_health_check: bool,
    /// Where LM Studio answers. Default: `http://127.0.0.1:1234`.
    pub lm_studio: ServerUrl,
    /// Whether its models stay loaded.
    pub skip_unload: bool,
    /// Environment variables for the story generator, from the command line; it inherits the
    /// others. The values may hold credentials.
    pub variables: Vec<(&'static str, OsString)>,
}

impl RunOptions {
    pub(super) fn from_args(args: &ParsedArgs) -> Result<RunOptions, UsageError> {
        let (workflows, root_word) = args.workflows_and_root()?;
        let (project_root, root_given) = args.root(root_word)?;
        let server = ServerOptions::from_args(args)?;
        let mut warnings = args.warnings();
        let llm = LlmOptions::from_args(args, &mut warnings)?;
        let wait = args.given(FlagId::WaitForComfyUI).map(FlagValue::seconds).transpose()?;
        let start_comfyui = start_command(args, &project_root, &server)?;
        let scene_filter = args.given(FlagId::SceneFilter).map(FlagValue::scene_ids);
        let set = args.all(FlagId::Set).map(FlagValue::assignment);
        Ok(RunOptions {
            workflows,
            story: args.existing_paths(FlagId::Story)?.pop(),
            scenes: args.value(FlagId::Scenes).integer()?,
            scene_filter: scene_filter.transpose()?.unwrap_or_default(),
            repeat: args.value(FlagId::Repeat).integer()?,
            set: set.collect::<Result<_, _>>()?,
            seed: args.value(FlagId::Seed).seed()?,
            fresh: args.is_on(FlagId::Fresh),
            memory_cleanup_interval: args.value(FlagId::MemoryCleanupInterval).integer()?,
            dry_run: args.is_on(FlagId::DryRun),
            fast_iteration: args.is_on(FlagId::FastIteration),
            max_wait: args.value(FlagId::MaxWaitSeconds).seconds()?,
            poll_interval: args.value(FlagId::PollIntervalSeconds).decimal_seconds()?,
            history_max_attempts: args.value(FlagId::HistoryMaxAttempts).integer()?,
            post_execution_timeout: args.value(FlagId::PostExecutionTimeoutSeconds).seconds()?,
            scene_retry_budget: args.value(FlagId::SceneRetryBudget).integer()?,
            wait_for_comfyui: wait.unwrap_or(match start_comfyui {
                Some(_) if !args.is_on(FlagId::DryRun) => START_WAIT,
                _ => Duration::ZERO,
            }),
            wait_at_night: wait.filter(|wait| !wait.is_zero()).unwrap_or(NIGHT_WAIT),
            start_comfyui,
            allow_sleep: args.is_on(FlagId::AllowSleep),
            sampling: SamplingOptions::from_args(args, &server)?,
            gates: GateOptions::from_args(args)?,
            server,
            logs_dir: args.logs_dir(&project_root)?,
            archive: archive(args, &project_root)?,
            llm,
            quiet: args.is_on(FlagId::Quiet),
            json: args.is_on(FlagId::Json),
            reports: reports(args)?,
            no_color: args.no_color(),
            warnings,
            project_root,
            root_given,
        })
    }
}

fn start_command(
    args: &ParsedArgs,
    root: &Path,
    server: &ServerOptions,
) -> Result<Option<StartCommand>, UsageError> {
    let Some(given) = args.given(FlagId::StartComfyUI) else { return Ok(None) };
    let (label, url) = (&given.label, &server.url);
    if !url.is_loopback() {
        return Err(UsageError(format!(
            "{label} starts ComfyUI on this machine, and {url} is another one: leave it out"
        )));
    }
    let command = StartCommand::parse(given.unicode()?, root);
    command.map(Some).map_err(|why| UsageError(format!("{label}: {why}")))
}

fn archive(args: &ParsedArgs, root: &Path) -> Result<bool, UsageError> {
    match (args.is_on(FlagId::Archive), args.is_on(FlagId::NoArchive)) {
        (true, true) => Err(UsageError("--archive and --no-archive: which of them?".into())),
        (false, false) if args.given(FlagId::Archive).is_none() => {
            Ok(["scripts", "artifacts"].iter().any(|name| root.join(name).is_dir()))
        }
        (archive, _) => Ok(archive),
    }
}

impl SummaryOptions {
    pub(super) fn from_args(args: &ParsedArgs) -> Result<SummaryOptions, UsageError> {
        let targets = args.summary_targets()?;
        let files = [FlagId::Html, FlagId::JUnit, FlagId::Markdown, FlagId::PromFile];
        let file = files.into_iter().find_map(|id| args.given(id));
        if let (Some(FlagValue { label, .. }), 2..) = (file, targets.len()) {
            return Err(UsageError(format!("{label} takes one log or run folder at a time")));
        }
        let (root, _) = args.root(None)?;
        Ok(SummaryOptions {
            targets,
            logs_dir: args.logs_dir(&root)?,
            gates: GateOptions::from_args(args)?,
            json: args.is_on(FlagId::Json),
            reports: reports(args)?,
            html: args.optional_path(FlagId::Html)?,
            no_color: args.no_color(),
            warnings: args.warnings(),
        })
    }
}

impl MonitorOptions {
    pub(super) fn from_args(args: &ParsedArgs) -> Result<MonitorOptions, UsageError> {
        // Refused, so that a forgotten `--` does not mean sampling until Ctrl-C.
        if let Some(word) = args.words().next() {
            let word = quoted(word);
            return Err(UsageError(format!("{word}: the command of monitor goes after --")));
        }
        let command = args.command.clone();
        if command.as_ref().is_some_and(Vec::is_empty) {
            return Err(UsageError("monitor has no command behind its --".to_owned()));
        }
        let duration = args.given(FlagId::Duration);
        if let (Some(FlagValue { label, .. }), Some(_)) = (duration, &command) {
            return Err(UsageError(format!(
                "{label} is for monitor without a command: with one it ends when the command does"
            )));
        }
        let log = args.optional_path(FlagId::Log)?;
        if let (Some(append), None) = (args.given(FlagId::Append).filter(|v| v.is_on()), &log) {
            let label = &append.label;
            let log = if label.starts_with("--") { "--log" } else { "-Log" };
            return Err(UsageError(format!("{label} needs {log} FILE")));
        }
        let html = args.optional_path(FlagId::Html)?;
        if let (Some(FlagValue { label, .. }), true) = (args.given(FlagId::Html), html == log) {
            return Err(UsageError(format!("{label} names the file of the log")));
        }
        let server = ServerOptions::from_args(args)?;
        Ok(MonitorOptions {
            command,
            duration: duration.map(FlagValue::decimal_seconds).transpose()?,
            log,
            append: args.is_on(FlagId::Append),
            allow_sleep: args.is_on(FlagId::AllowSleep),
            sampling: SamplingOptions::from_args(args, &server)?,
            gates: GateOptions::from_args(args)?,
            server,
            html,
            quiet: args.is_on(FlagId::Quiet),
            no_color: args.no_color(),
        })
    }
}

impl SamplingOptions {
    fn from_args(args: &ParsedArgs, server: &ServerOptions) -> Result<Self, UsageError> {
        let interval = args.value(FlagId::SampleIntervalSeconds).decimal_seconds()?;
        let gpu = args.value(FlagId::Gpu).integer()?;
        let source_value = args.value(FlagId::VramSource);
        let source = source_value.vram_source()?;
        if source == VramSource::NvidiaSmi && !server.url.is_loopback() {
            let (label, url) = (&source_value.label, &server.url);
            return Err(UsageError(format!(
                "{label} nvidia-smi is a card of this machine, and {url} is another one: leave it out"
            )));
        }
        Ok(SamplingOptions {
            interval,
            gpu: usize::try_from(gpu).unwrap_or(usize::MAX),
            source,
            card: args.given(FlagId::NvidiaSmiGpu).map(FlagValue::card).transpose()?,
        })
    }
}

impl GateOptions {
    /// Whether any gate is set.
    pub fn any(&self) -> bool {
        *self != GateOptions::default()
    }

    fn from_args(args: &ParsedArgs) -> Result<GateOptions, UsageError> {
        let limit = |id| args.given(id).map(|given| given.integer().map(u64::from)).transpose();
        let (peak_mb, growth_mb) = (limit(FlagId::MaxPeakMB)?, limit(FlagId::MaxGrowthMB)?);
        let baselines = args.existing_paths(FlagId::Baseline)?;
        Ok(GateOptions { limits: Limits { peak_mb, growth_mb }, baselines })
    }
}

impl ServerOptions {
    /// The files that it was read from.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        [&self.header_file, &self.api_key_file].into_iter().flatten().cloned()
    }

    fn from_args(args: &ParsedArgs) -> Result<ServerOptions, UsageError> {
        let url = args.value(FlagId::ComfyUIUrl).url()?;
        let header_file = args.optional_path(FlagId::HeaderFile)?;
        let mut headers = match (args.given(FlagId::HeaderFile), &header_file) {
            (Some(given), Some(path)) => read_header_file(path, &given.as_written())?,
            _ => Vec::new(),
        };
        for given in args.all(FlagId::Header) {
            headers.push(given.header()?);
        }
        let api_key_file = args.optional_path(FlagId::ApiKeyFile)?;
        let api_key = match (args.given(FlagId::ApiKeyFile), &api_key_file) {
            (Some(given), Some(path)) => Some(read_key(path, &given.as_written())?),
            _ => None,
        };
        Ok(ServerOptions { url, headers, header_file, api_key, api_key_file })
    }
}

/// The first line of a file. `subject` begins the error messages.
fn read_key(path: &Path, subject: &str) -> Result<String, UsageError> {
    let text = read_secret_file(path, subject)?;
    match text.lines().next().map(str::trim).filter(|key| !key.is_empty()) {
        Some(key) => Ok(key.to_owned()),
        None => Err(UsageError(format!("{subject}: its first line is empty: it takes a key"))),
    }
}

fn read_secret_file(path: &Path, subject: &str) -> Result<String, UsageError> {
    let failed = |why: &dyn fmt::Display| UsageError(format!("{subject}: {why}"));
    let bytes = read_small(path, MAX_HEADER_FILE).map_err(|error| failed(&error))?;
    let text = String::from_utf8(bytes).map_err(|_| failed(&"no UTF-8 text"))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// `subject` begins the error messages.
fn read_header_file(path: &Path, subject: &str) -> Result<Vec<(String, String)>, UsageError> {
    let text = read_secret_file(path, subject)?;
    let lines = text.lines().map(str::trim).zip(1..);
    lines
        .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
        .map(|(line, number)| {
            parse_header(line).map_err(|why| {
                UsageError(format!("{subject}, line {number}: takes 'Name: value', but {why}"))
            })
        })
        .collect()
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        let mut shown = f.debug_struct("ServerOptions");
        shown.field("url", &self.url).field("headers", &names).finish_non_exhaustive()
    }
}

impl Format {
    /// The option that asks for it: `--junit`.
    pub fn option(self) -> &'static str {
        match self {
            Format::JUnit => "--junit",
            Format::Markdown => "--markdown",
            Format::Prometheus => "--prom-file",
        }
    }
}

/// The reports that are asked for, each with its absolute path. No two go to the same file, nor to
/// that of `Html`.
fn reports(args: &ParsedArgs) -> Result<Vec<(Format, PathBuf)>, UsageError> {
    let mut reports = Vec::new();
    for (format, id) in [
        (Format::JUnit, FlagId::JUnit),
        (Format::Markdown, FlagId::Markdown),
        (Format::Prometheus, FlagId::PromFile),
    ] {
        reports.extend(args.optional_path(id)?.map(|path| (format, path)));
    }
    let html = args.optional_path(FlagId::Html)?;
    let files = reports.iter().map(|(format, path)| (format.option(), path));
    let files: Vec<_> = files.chain(html.iter().map(|path| ("--html", path))).collect();
    for (i, (name, path)) in files.iter().enumerate() {
        if let Some((other, _)) = files[..i].iter().find(|(_, other)| other == path) {
            return Err(UsageError(format!("{other} and {name} name the same file")));
        }
    }
    Ok(reports)
}

impl LlmOptions {
    /// The options that the generator reads from its environment.
    const GENERATOR_VARIABLES: [FlagId; 6] = [
        FlagId::LocalLLMProviderUrl,
        FlagId::LocalLLMModel,
        FlagId::LocalLLMSeed,
        FlagId::LocalLLMTemperature,
        FlagId::LocalLLMTimeoutMs,
        FlagId::LocalLLMRequestFormat,
    ];

    fn from_args(args: &ParsedArgs, warnings: &mut Vec<String>) -> Result<LlmOptions, UsageError> {
        let mut variables = Vec::new();
        for id in LlmOptions::GENERATOR_VARIABLES {
            let Some(given) = args.given(id) else { continue };
            let is_number = matches!(given.flag.kind, Kind::Number(..));
            let number = is_number.then(|| given.decimal()).transpose()?;
            let value = match (number, given.value.to_str().map(str::trim)) {
                // The generator knows no units.
                (Some(number), Some(text)) if text.ends_with(char::is_alphabetic) => {
                    number.to_string().into()
                }
                (_, Some(text)) => text.into(),
                (_, None) => given.value.clone(),
            };
            variables.extend(given.flag.env.iter().map(|name| (*name, value.clone())));
        }
        let skip_variable = (args.env.var)("LOCAL_LLM_SKIP_HEALTHCHECK");
        Ok(LlmOptions {
            mock: args.is_on(FlagId::UseMockLLM),
            local: args.is_on(FlagId::UseLocalLLM),
            provider: optional_url(args, FlagId::LocalLLMProviderUrl, warnings)?,
            health_url: optional_url(args, FlagId::LocalLLMHealthcheckUrl, warnings)?,
            skip_health_check: args.is_on(FlagId::SkipLLMHealthCheck)
                || skip_variable.is_some_and(|value| value == "1"),
            lm_studio: args.value(FlagId::LMStudioEndpoint).url()?,
            skip_unload: args.is_on(FlagId::SkipLMStudioUnload),
            variables,
        })
    }
}

/// The option's URL. One in the environment that this program cannot use may be there for other
/// programs: it is a warning.
fn optional_url(
    args: &ParsedArgs,
    id: FlagId,
    warnings: &mut Vec<String>,
) -> Result<Option<ServerUrl>, UsageError> {
    let value = args.value(id);
    if value.value.is_empty() {
        return Ok(None);
    }
    match value.url() {
        Err(error) if args.given(id).is_none() => {
            warnings.push(format!("{error}: not used"));
            Ok(None)
        }
        url => url.map(Some),
    }
}

impl fmt::Debug for LlmOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("LlmOptions");
        shown.field("provider", &self.provider).field("lm_studio", &self.lm_studio);
        shown.finish_non_exhaustive()
    }
}
