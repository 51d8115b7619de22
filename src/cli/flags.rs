//! The one table of the options, from which the parser, the help and the completions are made.
//!
//! A new option is one row here: its doc comment is the help, and its name both its [`FlagId`] and
//! its name as PowerShell writes it.

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
    /// The verbs that are the first word of a command line. A run has no such word.
    pub(super) const WORDS: [&str; 2] = ["summary", "monitor"];

    pub(super) fn name(self) -> &'static str {
        match self {
            Run => "run",
            Summary => "summary",
            Monitor => "monitor",
        }
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
            Number(unit, min, max) => {
                let units = match unit {
                    "seconds" | "milliseconds" => " (also 90s, 10m, 2h)",
                    "MB" => " (also 23000MB, 23GB)",
                    _ => "",
                };
                format!("{unit} from {min} to {max}{units}")
            }
        }
    }

    /// The units that its number may be given in, with the factor to its own.
    pub(super) fn units(self) -> &'static [(&'static str, f64)] {
        match self {
            Number("seconds", ..) => {
                &[("ms", 0.001), ("s", 1.0), ("m", 60.0), ("min", 60.0), ("h", 3600.0)]
            }
            Number("milliseconds", ..) => {
                &[("ms", 1.0), ("s", 1e3), ("m", 6e4), ("min", 6e4), ("h", 36e5)]
            }
            Number("MB", ..) => &[("MB", 1.0), ("GB", 1024.0), ("G", 1024.0)],
            _ => &[],
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
    /// What it means; empty for inert options. The first sentence is the one in the short help.
    pub(super) help: &'static str,
    /// The fixed words among its values.
    pub(super) words: &'static [&'static str],
    /// A second name, always one of the script's own.
    pub(super) alias: Option<&'static str>,
    /// What other programs call it: no name here, but a hint.
    pub(super) hints: &'static [&'static str],
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
    /// The default of `monitor`, if it has one of its own.
    pub(super) monitor: Option<&'static str>,
    /// The environment variables that give a value; the first one set counts.
    pub(super) env: &'static [&'static str],
}

impl Flag {
    /// A switch of a run that the script does not have.
    const DEFAULT: Flag = Flag {
        id: FlagId::Help,
        name: "",
        group: "",
        kind: Switch,
        help: "",
        words: &[],
        alias: None,
        hints: &[],
        script: false,
        verbs: &[Run],
        repeatable: false,
        short: false,
        default: "",
        fast: None,
        monitor: None,
        env: &[],
    };

    /// Its value for `verb` where neither command line nor environment gives one. `fast`: under
    /// `FastIteration`.
    pub(super) fn default_for(&self, verb: Verb, fast: bool) -> &'static str {
        let fast = self.fast.filter(|_| fast);
        fast.or(self.monitor.filter(|_| verb == Monitor)).unwrap_or(self.default)
    }

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

/// Makes [`FlagId`] and [`FLAGS`] from the rows, group by group. The doc comment of a row is its
/// help; what a row leaves out is as in [`Flag::DEFAULT`].
macro_rules! flags {
    ($([$group:expr] $($(#[doc = $help:literal])* $name:ident {
        $($field:ident: $value:expr),* $(,)?
    })+)+) => {
        /// An option's place in [`FLAGS`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum FlagId { $($($name,)+)+ }

        /// Every option there is, in the order of the full help.
        pub(super) static FLAGS: &[Flag] = &[$($(Flag {
            id: FlagId::$name,
            name: stringify!($name),
            group: $group,
            help: concat!($($help),*).trim_ascii_start(),
            $($field: $value,)*
            ..Flag::DEFAULT
        },)+)+];
    };
}

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
["What is run"]
    /// The project's folder. Also a bare word that is a folder, unless it holds workflows and nothing of
    /// a project.
    ProjectRoot {
        kind: Text("FOLDER", "a folder"), script: true, verbs: &[Run, Summary],
        default: "the parent of scripts if the program lies in a folder of that name, else the \
            current folder",
    }
    /// A file with a workflow, or a folder of them. Taken is what ComfyUI's menu saves or exports, and
    /// the pictures, videos and sounds that it makes. Also bare words. Without a story each file is one
    /// scene, named after it.
    Workflow { kind: Text("FILE", "a file or a folder"), repeatable: true, short: true }
    /// A story.json, or the folder that holds one. One workflow is then the template of all its
    /// scenes.
    Story { kind: Text("PATH", "a story.json or its folder"), short: true }
    /// How many scenes the project's story generator is asked for.
    Scenes { kind: Number("scenes", 1.0, 1000.0), default: "3" }
    /// Only these scenes.
    SceneFilter { kind: Text("ID[,ID...]", "scene ids with commas between them"), default: "all" }
    /// Runs every scene N times: flow-r1, flow-r2 and so on. For a baseline, or growth over a
    /// batch; with --fresh, since ComfyUI's cache answers the second of two equal ones.
    Repeat { kind: Number("times", 1.0, 1000.0), default: "1" }
    /// Sets one input of one node. NODE is an id, or a title or class_type that only one node has;
    /// VALUE keeps the type the input has.
    Set { kind: Text("NODE.INPUT=VALUE", "NODE.INPUT=VALUE"), repeatable: true, short: true }
    /// A number, random or keep. It goes into every seed and noise_seed that is not a link; one
    /// seed a scene, kept over its retries.
    Seed {
        kind: Text("N", "a whole number from 0 to 18446744073709551615, random or keep"),
        words: &["random", "keep"], default: "keep", short: true,
    }

["How it is run"]
    /// Empties ComfyUI's cache before each scene.
    Fresh { short: true }
    /// Empties ComfyUI's memory after every N scenes, and says what it freed; 0: never.
    MemoryCleanupInterval { kind: Number("scenes", 0.0, I32_MAX), default: "10" }
    /// Runs nothing: says what the server lacks. No folder is made, nothing is uploaded or posted.
    /// The graphs come with -Verbose or -Json. A story generator is not run either: the template alone is checked.
    DryRun { short: true }
    /// Shorter waits, for trying things out. A value given on the command line wins over it.
    FastIteration { script: true, short: true }
    /// The deadline of one attempt at a scene. From submission to completion.
    MaxWaitSeconds {
        hints: &["timeout"],
        kind: Number("seconds", 1.0, WEEK), default: "600", fast: Some("360"), short: true,
        alias: Some("SceneMaxWaitSeconds"), env: &["SCENE_MAX_WAIT_SECONDS"],
    }
    /// The longest pause between polls; decimals allowed. Polling starts at 0.1 s and backs off to
    /// it.
    PollIntervalSeconds {
        hints: &["interval"],
        kind: Number("seconds", 0.05, 3600.0), default: "2", fast: Some("1"),
        alias: Some("SceneHistoryPollIntervalSeconds"),
        env: &["SCENE_HISTORY_POLL_INTERVAL_SECONDS"],
    }
    /// How many asks for the history of a prompt that has left the queue may fail. 0: asked until
    /// the deadline. Polls of a queued or running prompt never count.
    HistoryMaxAttempts {
        kind: Number("a number", 0.0, I32_MAX), default: "0",
        alias: Some("SceneHistoryMaxAttempts"), env: &["SCENE_HISTORY_MAX_ATTEMPTS"],
    }
    /// Download timeout without data.
    PostExecutionTimeoutSeconds {
        kind: Number("seconds", 1.0, I32_MAX), default: "30", fast: Some("15"),
        alias: Some("ScenePostExecutionTimeoutSeconds"),
        env: &["SCENE_POST_EXECUTION_TIMEOUT_SECONDS"],
    }
    /// Extra attempts of a failed scene.
    SceneRetryBudget {
        hints: &["retries"],
        kind: Number("a number", 0.0, 100.0), default: "1", script: true, short: true,
        alias: Some("MaxSceneRetries"), env: &["SCENE_RETRY_BUDGET"],
    }
    /// Does not keep the computer awake. Else it does not fall asleep by itself while a run, or
    /// monitor's command, is under way; its display may.
    AllowSleep { verbs: &[Run, Monitor] }

["The server"]
    /// How long to wait for a server that is not up. Also for one that goes away later, then 60 where
    /// this is not given. With -StartComfyUI how long it may print nothing while it starts, and 300.
    WaitForComfyUI { kind: Number("seconds", 0.0, I32_MAX), default: "0" }
    /// How ComfyUI is started when it does not answer. And again when it dies. A file such as
    /// run_nvidia_gpu.bat, run in its own folder; else a command line, without a shell. It is ended
    /// with the run; one that answered at the start is never ended.
    StartComfyUI {
        kind: Text("COMMAND", "a file that starts ComfyUI, or a command line"), short: true,
    }
    /// Where ComfyUI answers. A path prefix is kept; user:password@ gives Basic auth.
    ComfyUIUrl {
        hints: &["url", "host", "server"],
        kind: Text("URL", "a URL such as http://127.0.0.1:8188"), verbs: &[Run, Monitor],
        default: "http://127.0.0.1:8188", env: &["COMFYUI_URL", "LOCAL_COMFY_URL"], short: true,
    }
    /// A file of HTTP headers, one Name: value a line. Empty lines and # comments are skipped. It
    /// keeps a token out of process lists.
    HeaderFile { hints: &["token"], kind: FILE, verbs: &[Run, Monitor] }
    /// A file with the key of ComfyUI's partner nodes, which is posted with each prompt and stands in
    /// no line and no file of a run.
    ApiKeyFile { hints: &["token"], kind: FILE }
    /// An HTTP header of every request.
    Header {
        kind: Text("'NAME: VALUE'", "'Name: value'"), verbs: &[Run, Monitor], repeatable: true,
    }

["VRAM, and gates: what has to hold of it, else exit 7"]
    /// Time between two lines of the log. Decimals are allowed. VRAM is read every 0.25 s whatever
    /// it is, or at this pace where that is shorter; a higher reading between two lines has a line
    /// of its own.
    SampleIntervalSeconds {
        hints: &["interval"],
        kind: Number("seconds", 0.05, 3600.0), verbs: &[Run, Monitor], short: true, default: "5",
        monitor: Some("1"),
    }
    /// Who gives the readings: auto, comfyui or nvidia-smi. auto: ComfyUI, and nvidia-smi for a
    /// sample that ComfyUI misses, if the server is on this machine.
    VramSource {
        kind: Text("SOURCE", "auto, comfyui or nvidia-smi"), verbs: &[Run, Monitor],
        words: &["auto", "comfyui", "nvidia-smi"], default: "auto",
    }
    /// Which of the server's devices vram-usage.log records.
    Gpu { kind: Number("a device's position", 0.0, I32_MAX), verbs: &[Run, Monitor], default: "0" }
    /// Which card of nvidia-smi is that device: its index or its UUID.
    NvidiaSmiGpu {
        kind: Text("CARD", "a card's index in nvidia-smi, or its UUID, GPU-..."),
        verbs: &[Run, Monitor], default: "matched by name, size and use",
    }
    /// Fail if peak VRAM while generating exceeds N MB. All that is on the card counts, by the
    /// driver's figure where it is known, and what has spilled into system RAM.
    MaxPeakMB { kind: Number("MB", 1.0, I32_MAX), verbs: &Verb::ALL, short: true }
    /// A log or run folder to be no worse than, in all and scene by scene: by what torch held, else
    /// by what the scene added. One baseline gives 5 % of room, several their spread, at least 1 %;
    /// 64 MB in any case.
    Baseline {
        kind: Text("LOG", "a VRAM log or a run folder"), verbs: &Verb::ALL, repeatable: true,
    }
    /// Fail if the memory in use grows by more than N MB from scene to scene. Known from four
    /// scenes that executed without a /free between them.
    MaxGrowthMB { kind: Number("MB", 0.0, I32_MAX), verbs: &[Run, Summary] }

["Output"]
    /// Where the run folders are.
    LogsDir {
        hints: &["output"],
        kind: Text("FOLDER", "a folder"), verbs: &[Run, Summary],
        default: "logs in the project's folder",
    }
    /// Puts the finished run folder into artifacts/comfyui-e2e-DATE-TIME.zip.
    Archive { default: "where the project has a folder scripts or artifacts" }
    /// Makes no archive.
    NoArchive {}
    /// Nothing on success. Verdict and failures go to stderr.
    Quiet { verbs: &[Run, Monitor], short: true }
    /// One JSON document on stdout at the end. The human lines go to stderr.
    Json { verbs: &[Run, Summary], short: true }
    /// A JUnit report: a test case for each scene, with its lines, and for each gate.
    JUnit { kind: FILE, verbs: &[Run, Summary] }
    /// The verdict, the scenes and their memory in Markdown, baselines beside it: for a pull
    /// request or a CI job's summary.
    Markdown { kind: FILE, verbs: &[Run, Summary] }
    /// Metrics for node_exporter's textfile collector, which reads the .prom files of a folder.
    PromFile { kind: FILE, verbs: &[Run, Summary] }
    /// Every line of run-summary.txt on a terminal too. A pipe has them always.
    Verbose { script: true }
    /// No colours on the terminal. Pipes and files never get any.
    NoColor { verbs: &Verb::ALL, env: &["NO_COLOR"] }
    /// For summary and monitor: an HTML page with the memory curve. A run always writes one,
    /// report.html.
    Html { kind: FILE, verbs: &[Summary, Monitor] }

["Of monitor alone"]
    /// How long monitor samples without a command; decimals allowed. Without both it does so until
    /// Ctrl-C.
    Duration { hints: &["timeout"], kind: Number("seconds", 0.05, WEEK), verbs: &[Monitor] }
    /// Keeps the samples in a log, for summary to read. One that exists is refused.
    Log { hints: &["output"], kind: FILE, verbs: &[Monitor] }
    /// Continues a log that exists.
    Append { verbs: &[Monitor] }

["The story's language model"]
    /// Does not ask the provider before the story. Also LOCAL_LLM_SKIP_HEALTHCHECK=1.
    SkipLLMHealthCheck { script: true }
    /// The local provider, configured by the options below, writes the story.
    UseLocalLLM { script: true }
    /// The story is made without a model: --useMockLLM for the generator.
    UseMockLLM { script: true }
    /// Where LM Studio answers, whose models leave the card before the scenes.
    LMStudioEndpoint { kind: LLM_URL, script: true, default: "http://127.0.0.1:1234" }
    /// LM Studio keeps its models loaded.
    SkipLMStudioUnload { script: true }
    /// The provider of the story.
    LocalLLMProviderUrl { kind: LLM_URL, script: true, env: &["LOCAL_STORY_PROVIDER_URL"] }
    /// The model that the provider is asked for.
    LocalLLMModel { kind: Text("NAME", "a model's name"), script: true, env: &["LOCAL_LLM_MODEL"] }
    /// The seed of the story.
    LocalLLMSeed { kind: Text("N", "a number"), script: true, env: &["LOCAL_LLM_SEED"] }
    /// The temperature of the story; decimals allowed.
    LocalLLMTemperature {
        kind: Number("a temperature", 0.0, 10.0), script: true, env: &["LOCAL_LLM_TEMPERATURE"],
    }
    /// How long the generator waits for the provider.
    LocalLLMTimeoutMs {
        kind: Number("milliseconds", 1.0, I32_MAX), script: true, env: &["LOCAL_LLM_TIMEOUT_MS"],
    }
    /// The request format that the provider understands.
    LocalLLMRequestFormat {
        kind: Text("FORMAT", "a request format such as openai-chat"), script: true,
        env: &["LOCAL_LLM_REQUEST_FORMAT"],
    }
    /// What is asked before the story, in place of the provider's /v1/models.
    LocalLLMHealthcheckUrl { kind: LLM_URL, script: true, env: &["LOCAL_LLM_HEALTHCHECK_URL"] }

[INERT]
    StopComfyUI { script: true }
    SkipComfyUI { script: true }
    Debug { script: true }
    ErrorAction { kind: Text("X", "PowerShell's word for it"), script: true }

[ABOUT]
    /// A script on stdout for bash, zsh, fish or powershell, which completes options there.
    Completions {
        kind: Text("SHELL", "bash, zsh, fish or powershell"),
        words: &["bash", "zsh", "fish", "powershell"],
        verbs: &Verb::ALL,
    }
    /// This text. The short one: -h, -?, /?
    Help { verbs: &Verb::ALL }
    /// The version. Also -V.
    Version { verbs: &Verb::ALL }
}
