//! The one table of the options, from which the parser, the help and the completions are made.
//!
//! A new option is one row here. The name of its row is both its [`FlagId`] and its name as
//! PowerShell writes it.

use Kind::{Number, Switch, Text};
use Verb::{Monitor, Run, Summary};

/// What the program is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Run,
    Summary,
    Monitor,
}

impl Verb {
    pub(super) const ALL: [Verb; 3] = [Run, Summary, Monitor];

    /// The word on the command line; a run has none.
    pub(super) fn word(self) -> Option<&'static str> {
        match self {
            Run => None,
            Summary => Some("summary"),
            Monitor => Some("monitor"),
        }
    }

    /// The verb in a sentence.
    pub(super) fn described(self) -> &'static str {
        self.word().unwrap_or("a run")
    }
}

/// What an option takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// No value.
    Switch,
    /// A text: its placeholder in the help, and what it is in a sentence.
    Text(&'static str, &'static str),
    /// A number: its unit, the smallest and the largest.
    Number(&'static str, f64, f64),
}

impl Kind {
    /// What the option takes, in a sentence.
    pub(super) fn expected(self) -> String {
        match self {
            Switch => "no value".to_owned(),
            Text(_, expected) => expected.to_owned(),
            Number(unit, min, max) => format!("{unit} from {min} to {max}"),
        }
    }

    /// What stands for the value in the help; empty for a switch.
    pub(super) fn placeholder(self) -> &'static str {
        match self {
            Switch => "",
            Text(placeholder, _) => placeholder,
            Number(..) => "N",
        }
    }

    /// Whether the value is a path, by its placeholder, and then whether it is a folder.
    pub(super) fn is_folder(self) -> Option<bool> {
        match self.placeholder() {
            "FILE" | "LOG" | "PATH" => Some(false),
            "FOLDER" => Some(true),
            _ => None,
        }
    }

    pub(super) fn is_switch(self) -> bool {
        matches!(self, Switch)
    }

    /// Whether the option takes a number and this one is in its range.
    pub(super) fn in_range(self, number: f64) -> bool {
        matches!(self, Number(_, min, max) if (min..=max).contains(&number))
    }
}

/// One option: a row of [`FLAGS`].
#[derive(Debug)]
pub(super) struct Flag {
    pub(super) id: FlagId,
    /// Its name as PowerShell writes it.
    pub(super) name: &'static str,
    /// The heading in the help under which it stands.
    pub(super) group: &'static str,
    pub(super) kind: Kind,
    /// What it means. The first sentence stands in the short help too. Only inert options have none.
    pub(super) help: &'static str,
    /// The fixed words among its values.
    pub(super) words: &'static [&'static str],
    /// A second name, always one of the script's own.
    pub(super) alias: Option<&'static str>,
    /// Whether the script has an option named `name`: it wins over ours where a prefix fits both.
    pub(super) script: bool,
    pub(super) verbs: &'static [Verb],
    pub(super) repeatable: bool,
    /// Whether it stands in the short help.
    pub(super) short: bool,
    /// The value where nothing else gives one; of some options a description of it.
    pub(super) default: &'static str,
    /// The value under `FastIteration`, if that changes it.
    pub(super) fast: Option<&'static str>,
    /// The default where a gate is set, if that changes it.
    pub(super) gated: Option<&'static str>,
    /// The default of `monitor`, if it has one of its own.
    pub(super) monitor: Option<&'static str>,
    /// The environment variables that give a value; the first one set counts.
    pub(super) env: &'static [&'static str],
}

impl Flag {
    const DEFAULT: Flag = Flag {
        id: FlagId::Help,
        name: "",
        group: "",
        kind: Switch,
        help: "",
        words: &[],
        alias: None,
        script: false,
        verbs: &[Run],
        repeatable: false,
        short: false,
        default: "",
        fast: None,
        gated: None,
        monitor: None,
        env: &[],
    };

    /// Its names, as PowerShell writes them.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        [self.name].into_iter().chain(self.alias)
    }
}

impl FlagId {
    pub(super) fn flag(self) -> &'static Flag {
        &FLAGS[self as usize]
    }
}

/// Makes [`FlagId`] and [`FLAGS`] from the rows, group by group. What a row leaves out is as in
/// [`Flag::DEFAULT`].
macro_rules! flags {
    ($([$group:ident] $($name:ident { $($field:ident: $value:expr),+ $(,)? })+)+) => {
        /// An option's place in [`FLAGS`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum FlagId { $($($name,)+)+ }

        /// Every option there is, in the order of the full help.
        pub(super) static FLAGS: &[Flag] = &[$($(Flag {
            id: FlagId::$name,
            name: stringify!($name),
            group: $group,
            $($field: $value,)+
            ..Flag::DEFAULT
        },)+)+];
    };
}

const WHAT: &str = "What is run";
const HOW: &str = "How it is run";
const SERVER: &str = "The server";
const VRAM: &str = "VRAM, and gates: what has to hold of it, else exit 7";
const OUTPUT: &str = "Output";
const MONITOR: &str = "Of monitor alone";
const LLM: &str = "The story's language model";
/// Options that are accepted and do nothing.
pub(super) const INERT: &str = "Accepted for the script's sake, without any effect";
/// Options that print something about the program and end it.
pub(super) const ABOUT: &str = "About";

/// A week in seconds. Longer waits are taken for typing errors.
const WEEK: f64 = 604_800.0;
/// The largest integer that the script could take.
const I32_MAX: f64 = 2_147_483_647.0;

const FILE: Kind = Text("FILE", "a file");
const LLM_URL: Kind = Text("URL", "a URL such as http://127.0.0.1:1234");

flags! {
[WHAT]
    ProjectRoot {
        kind: Text("FOLDER", "a folder"), script: true, verbs: &[Run, Summary],
        default: "the parent of scripts if the program lies in a folder of that name, else the \
            current folder",
        help: "The project's folder. Also a bare word that is a folder.",
    }
    Workflow {
        kind: Text("FILE", "a file or a folder"), repeatable: true, short: true,
        help: "An API-format workflow, or a folder of them. Also bare words that are .json files. \
            Without a story each file is one scene, named after it.",
    }
    Story {
        kind: Text("PATH", "a story.json or its folder"), short: true,
        help: "A story.json, or the folder that holds one. One workflow is then the template of \
            all its scenes.",
    }
    Scenes {
        kind: Number("scenes", 1.0, 1000.0), default: "3",
        help: "How many scenes the project's story generator is asked for.",
    }
    SceneFilter {
        kind: Text("ID[,ID...]", "scene ids with commas between them"), default: "all",
        help: "Only these scenes.",
    }
    Repeat {
        kind: Number("times", 1.0, 1000.0), default: "1",
        help: "Every scene so many times: flow-r1, flow-r2 and so on. For a baseline, or growth \
            over a batch; with -Seed random, since ComfyUI's cache knows the second of two equal \
            ones.",
    }
    Set {
        kind: Text("NODE.INPUT=VALUE", "NODE.INPUT=VALUE"), repeatable: true, short: true,
        help: "Sets one input of one node. NODE is an id, or a title or class_type that only one \
            node has; VALUE keeps the type the input has.",
    }
    Seed {
        kind: Text("N", "a whole number from 0 to 18446744073709551615, random or keep"),
        words: &["random", "keep"], default: "keep", short: true,
        help: "A number, random or keep. It goes into every seed and noise_seed that is not a \
            link; one seed a scene, kept over its retries.",
    }
[HOW]
    Fresh { kind: Switch, short: true, help: "Empties ComfyUI's cache before each scene." }
    MemoryCleanupInterval {
        kind: Number("scenes", 0.0, I32_MAX), default: "10",
        help: "Empties ComfyUI's memory after every so many scenes, and says what it freed; 0: \
            never.",
    }
    DryRun {
        kind: Switch, short: true,
        help: "Runs nothing: prints the graphs, and what the server lacks. No folder is made, \
            nothing is uploaded or posted. A story generator is not run either: the template \
            alone is checked.",
    }
    FastIteration {
        kind: Switch, script: true, short: true,
        help: "Shorter waits, for trying things out. A value given on the command line wins over \
            it.",
    }
    MaxWaitSeconds {
        kind: Number("seconds", 1.0, WEEK), default: "600", fast: Some("360"), short: true,
        alias: Some("SceneMaxWaitSeconds"), env: &["SCENE_MAX_WAIT_SECONDS"],
        help: "The deadline of one attempt at a scene. From submission to completion.",
    }
    PollIntervalSeconds {
        kind: Number("seconds", 0.05, 3600.0), default: "2", fast: Some("1"),
        alias: Some("SceneHistoryPollIntervalSeconds"),
        env: &["SCENE_HISTORY_POLL_INTERVAL_SECONDS"],
        help: "The longest pause between polls; decimals allowed. Polling starts at 0.1 s and \
            backs off to it.",
    }
    HistoryMaxAttempts {
        kind: Number("a number", 0.0, I32_MAX), default: "0",
        alias: Some("SceneHistoryMaxAttempts"), env: &["SCENE_HISTORY_MAX_ATTEMPTS"],
        help: "How many asks for the history of a prompt that has left the queue may fail. 0: \
            asked until the deadline. Polls of a queued or running prompt never count.",
    }
    PostExecutionTimeoutSeconds {
        kind: Number("seconds", 1.0, I32_MAX), default: "30", fast: Some("15"),
        alias: Some("ScenePostExecutionTimeoutSeconds"),
        env: &["SCENE_POST_EXECUTION_TIMEOUT_SECONDS"],
        help: "Download timeout without data.",
    }
    SceneRetryBudget {
        kind: Number("a number", 0.0, 100.0), default: "1", script: true, short: true,
        alias: Some("MaxSceneRetries"), env: &["SCENE_RETRY_BUDGET"],
        help: "Extra attempts of a failed scene.",
    }
[SERVER]
    WaitForComfyUI {
        kind: Number("seconds", 0.0, I32_MAX), default: "0", short: true,
        help: "Seconds to wait for a server that is not up.",
    }
    ComfyUIUrl {
        kind: Text("URL", "a URL such as http://127.0.0.1:8188"), verbs: &[Run, Monitor],
        default: "http://127.0.0.1:8188", env: &["COMFYUI_URL", "LOCAL_COMFY_URL"], short: true,
        help: "Where ComfyUI answers. A path prefix is kept; user:password@ gives Basic auth.",
    }
    HeaderFile {
        kind: FILE, verbs: &[Run, Monitor],
        help: "A file of HTTP headers, one Name: value a line. Empty lines and # comments are \
            skipped. It keeps a token out of process lists.",
    }
    Header {
        kind: Text("'NAME: VALUE'", "'Name: value'"), verbs: &[Run, Monitor], repeatable: true,
        help: "An HTTP header of every request.",
    }
[VRAM]
    SampleIntervalSeconds {
        kind: Number("seconds", 0.05, 3600.0), verbs: &[Run, Monitor], short: true,
        default: "5", gated: Some("1"), monitor: Some("1"),
        help: "Time between two VRAM samples; decimals allowed.",
    }
    VramSource {
        kind: Text("SOURCE", "auto, comfyui or nvidia-smi"), verbs: &[Run, Monitor],
        words: &["auto", "comfyui", "nvidia-smi"], default: "auto",
        help: "Who gives the readings: auto, comfyui or nvidia-smi. auto: ComfyUI, and nvidia-smi \
            for a sample that ComfyUI misses, if the server is on this machine.",
    }
    Gpu {
        kind: Number("a device's position", 0.0, I32_MAX), verbs: &[Run, Monitor], default: "0",
        help: "Which of the server's devices vram-usage.log tells of.",
    }
    NvidiaSmiGpu {
        kind: Text("CARD", "a card's index in nvidia-smi, or its UUID, GPU-..."),
        verbs: &[Run, Monitor], default: "matched by name, size and use",
        help: "Which card of nvidia-smi is that device: its index or its UUID.",
    }
    MaxPeakMB {
        kind: Number("MB", 1.0, I32_MAX), verbs: &Verb::ALL, short: true,
        help: "Fail if peak VRAM while generating exceeds N MB. The driver's figure where it is \
            known.",
    }
    Baseline {
        kind: Text("LOG", "a VRAM log or a run folder"), verbs: &Verb::ALL, repeatable: true,
        help: "A log or run folder to be no worse than, in all and scene by scene. One baseline \
            gives 5 % of room, several their spread, at least 1 %; 64 MB in any case.",
    }
    MaxGrowthMB {
        kind: Number("MB", 0.0, I32_MAX), verbs: &[Run, Summary],
        help: "Fail if the memory in use grows by more than N MB from scene to scene. Known from \
            four scenes that executed without a /free between them.",
    }
[OUTPUT]
    LogsDir {
        kind: Text("FOLDER", "a folder"), verbs: &[Run, Summary],
        default: "logs in the project's folder",
        help: "Where the run folders are.",
    }
    Archive {
        kind: Switch, default: "where the project has a folder scripts or artifacts",
        help: "Puts the finished run folder into artifacts/comfyui-e2e-DATE-TIME.zip.",
    }
    NoArchive { kind: Switch, help: "Makes no archive." }
    Quiet {
        kind: Switch, verbs: &[Run, Monitor], short: true,
        help: "Nothing on success. Verdict and failures go to stderr.",
    }
    Json {
        kind: Switch, verbs: &[Run, Summary], short: true,
        help: "One JSON document on stdout at the end. The human lines go to stderr.",
    }
    JUnit {
        kind: FILE, verbs: &[Run, Summary],
        help: "A JUnit report: a test case for each scene, with its lines, and for each gate.",
    }
    Markdown {
        kind: FILE, verbs: &[Run, Summary],
        help: "The verdict, the scenes and their memory in Markdown, baselines beside it: for a \
            pull request or a CI job's summary.",
    }
    PromFile {
        kind: FILE, verbs: &[Run, Summary],
        help: "Metrics for node_exporter's textfile collector, which reads the .prom files of a \
            folder.",
    }
    NoColor {
        kind: Switch, verbs: &Verb::ALL, env: &["NO_COLOR"],
        help: "No colours on the terminal. Pipes and files never get any.",
    }
    Html {
        kind: FILE, verbs: &[Summary, Monitor],
        help: "Of summary and monitor: a page for a browser, the curve and all. A run leaves one \
            by itself, report.html.",
    }
[MONITOR]
    Duration {
        kind: Number("seconds", 0.05, WEEK), verbs: &[Monitor],
        help: "How long monitor samples without a command; decimals allowed. Without both it does \
            so until Ctrl-C.",
    }
    Log {
        kind: FILE, verbs: &[Monitor],
        help: "Keeps the samples in a log, for summary to read. One that exists is refused.",
    }
    Append { kind: Switch, verbs: &[Monitor], help: "Continues a log that exists." }
[LLM]
    SkipLLMHealthCheck {
        kind: Switch, script: true,
        help: "Does not ask the provider before the story. Also LOCAL_LLM_SKIP_HEALTHCHECK=1.",
    }
    UseLocalLLM {
        kind: Switch, script: true,
        help: "The story by the local provider, which is configured by the options below.",
    }
    UseMockLLM {
        kind: Switch, script: true,
        help: "The story without any model: --useMockLLM for the generator.",
    }
    LMStudioEndpoint {
        kind: LLM_URL, script: true, default: "http://127.0.0.1:1234",
        help: "Where LM Studio answers, whose models leave the card before the scenes.",
    }
    SkipLMStudioUnload { kind: Switch, script: true, help: "LM Studio keeps its models loaded." }
    LocalLLMProviderUrl {
        kind: LLM_URL, script: true, env: &["LOCAL_STORY_PROVIDER_URL"],
        help: "The provider of the story.",
    }
    LocalLLMModel {
        kind: Text("NAME", "a model's name"), script: true, env: &["LOCAL_LLM_MODEL"],
        help: "The model that the provider is asked for.",
    }
    LocalLLMSeed {
        kind: Text("N", "a number"), script: true, env: &["LOCAL_LLM_SEED"],
        help: "The seed of the story.",
    }
    LocalLLMTemperature {
        kind: Number("a temperature", 0.0, 10.0), script: true, env: &["LOCAL_LLM_TEMPERATURE"],
        help: "The temperature of the story; decimals allowed.",
    }
    LocalLLMTimeoutMs {
        kind: Number("milliseconds", 1.0, I32_MAX), script: true, env: &["LOCAL_LLM_TIMEOUT_MS"],
        help: "How long the generator waits for the provider.",
    }
    LocalLLMRequestFormat {
        kind: Text("FORMAT", "a request format such as openai-chat"), script: true,
        env: &["LOCAL_LLM_REQUEST_FORMAT"],
        help: "How the provider is spoken to.",
    }
    LocalLLMHealthcheckUrl {
        kind: LLM_URL, script: true, env: &["LOCAL_LLM_HEALTHCHECK_URL"],
        help: "What is asked before the story, in place of the provider's /v1/models.",
    }
[INERT]
    StopComfyUI { kind: Switch, script: true }
    SkipComfyUI { kind: Switch, script: true }
    Debug { kind: Switch, script: true }
    Verbose { kind: Switch, script: true }
    ErrorAction { kind: Text("X", "PowerShell's word for it"), script: true }
[ABOUT]
    Completions {
        kind: Text("SHELL", "bash or powershell"), verbs: &Verb::ALL, words: &["bash", "powershell"],
        help: "A script on stdout for bash or powershell, which completes options there.",
    }
    Help { kind: Switch, verbs: &Verb::ALL, help: "This text. The short one: -h, -?, /?" }
    Version { kind: Switch, verbs: &Verb::ALL, help: "The version. Also -V." }
}
