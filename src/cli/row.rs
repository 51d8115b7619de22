//! What one option is: the columns of the table.

use super::table::TABLE;

/// Which option a row is. The order is the table's, which the compiler checks there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Id {
    ProjectRoot,
    Workflow,
    Story,
    Scenes,
    SceneFilter,
    Repeat,
    Set,
    Seed,
    Fresh,
    MemoryCleanupInterval,
    DryRun,
    FastIteration,
    MaxWaitSeconds,
    PollIntervalSeconds,
    HistoryMaxAttempts,
    PostExecutionTimeoutSeconds,
    SceneRetryBudget,
    WaitForComfyUI,
    ComfyUIUrl,
    HeaderFile,
    Header,
    SampleIntervalSeconds,
    VramSource,
    Gpu,
    NvidiaSmiGpu,
    MaxPeakMB,
    Baseline,
    MaxGrowthMB,
    LogsDir,
    Archive,
    NoArchive,
    Quiet,
    Json,
    JUnit,
    Markdown,
    PromFile,
    NoColor,
    Html,
    Duration,
    Log,
    Append,
    SkipLLMHealthCheck,
    UseLocalLLM,
    UseMockLLM,
    LMStudioEndpoint,
    SkipLMStudioUnload,
    LocalLLMProviderUrl,
    LocalLLMModel,
    LocalLLMSeed,
    LocalLLMTemperature,
    LocalLLMTimeoutMs,
    LocalLLMRequestFormat,
    LocalLLMHealthcheckUrl,
    StopComfyUI,
    SkipComfyUI,
    Debug,
    Verbose,
    ErrorAction,
    Completions,
    Help,
    Version,
}

impl Id {
    /// This option's row.
    pub(super) fn row(self) -> &'static Flag {
        &TABLE[self as usize]
    }
}

/// What the program is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Run,
    Summary,
    Monitor,
}

impl Verb {
    /// Every verb.
    pub(super) const ALL: &'static [Verb] = &[Verb::Run, Verb::Summary, Verb::Monitor];

    /// The word on the command line; a run has none.
    pub(super) fn word(self) -> Option<&'static str> {
        match self {
            Verb::Run => None,
            Verb::Summary => Some("summary"),
            Verb::Monitor => Some("monitor"),
        }
    }

    /// The verb in a sentence.
    pub(super) fn said(self) -> &'static str {
        self.word().unwrap_or("a run")
    }
}

/// The heading in the help under which a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    What,
    How,
    Server,
    Vram,
    Output,
    Monitor,
    Llm,
    Inert,
    About,
}

impl Group {
    /// The heading.
    pub(super) fn title(self) -> &'static str {
        match self {
            Group::What => "What is run",
            Group::How => "How it is run",
            Group::Server => "The server",
            Group::Vram => "VRAM, and gates: what has to hold of it, else exit 7",
            Group::Output => "Output",
            Group::Monitor => "Of monitor alone",
            Group::Llm => "The story's language model",
            Group::Inert => "Accepted for the script's sake, without any effect",
            Group::About => "About",
        }
    }
}

/// What an option takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Nothing.
    Switch,
    /// A text: its placeholder in the help, and what it is in a sentence.
    Text(&'static str, &'static str),
    /// A number of this unit, from the one to the other.
    Number(&'static str, f64, f64),
}

impl Kind {
    /// What the option takes, in a sentence.
    pub(super) fn takes(self) -> String {
        match self {
            Kind::Switch => "no value".to_owned(),
            Kind::Text(_, takes) => takes.to_owned(),
            Kind::Number(unit, min, max) => format!("{unit} from {min} to {max}"),
        }
    }

    /// What stands for the value in the help.
    pub(super) fn placeholder(self) -> &'static str {
        match self {
            Kind::Switch => "",
            Kind::Text(placeholder, _) => placeholder,
            Kind::Number(..) => "N",
        }
    }

    /// Whether the value is a path, and then whether of a folder alone. What stands for it in the
    /// help says so.
    pub(super) fn path(self) -> Option<Path> {
        match self.placeholder() {
            "FILE" | "LOG" | "PATH" => Some(Path::Any),
            "FOLDER" => Some(Path::Folder),
            _ => None,
        }
    }

    /// Whether the number is in range.
    pub(super) fn holds(self, number: f64) -> bool {
        matches!(self, Kind::Number(_, min, max) if (min..=max).contains(&number))
    }
}

/// What path a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    Any,
    Folder,
}

/// One option.
#[derive(Debug)]
pub(super) struct Flag {
    pub(super) id: Id,
    /// Its name as PowerShell writes it.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) group: Group,
    /// What it means. The first sentence stands in the short help too.
    pub(super) help: &'static str,
    /// The words that its value may be, for those that have some.
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
    /// The value where a gate is set, if that changes it.
    pub(super) gated: Option<&'static str>,
    /// The default of `monitor`, if it has one of its own.
    pub(super) monitor: Option<&'static str>,
    /// The environment variables that give a value, the stronger first.
    pub(super) env: &'static [&'static str],
}

impl Flag {
    /// An option of a run, ours, given once at most.
    pub(super) const fn new(id: Id, name: &'static str, group: Group, kind: Kind) -> Flag {
        Flag {
            id,
            name,
            kind,
            group,
            help: "",
            words: &[],
            alias: None,
            script: false,
            verbs: &[Verb::Run],
            repeatable: false,
            short: false,
            default: "",
            fast: None,
            gated: None,
            monitor: None,
            env: &[],
        }
    }

    pub(super) const fn help(self, help: &'static str) -> Flag {
        Flag { help, ..self }
    }

    pub(super) const fn words(self, words: &'static [&'static str]) -> Flag {
        Flag { words, ..self }
    }

    pub(super) const fn alias(self, alias: &'static str) -> Flag {
        Flag { alias: Some(alias), ..self }
    }

    pub(super) const fn script(self) -> Flag {
        Flag { script: true, ..self }
    }

    pub(super) const fn verbs(self, verbs: &'static [Verb]) -> Flag {
        Flag { verbs, ..self }
    }

    pub(super) const fn repeatable(self) -> Flag {
        Flag { repeatable: true, ..self }
    }

    pub(super) const fn short(self) -> Flag {
        Flag { short: true, ..self }
    }

    pub(super) const fn default(self, default: &'static str) -> Flag {
        Flag { default, ..self }
    }

    pub(super) const fn fast(self, fast: &'static str) -> Flag {
        Flag { fast: Some(fast), ..self }
    }

    pub(super) const fn gated(self, gated: &'static str) -> Flag {
        Flag { gated: Some(gated), ..self }
    }

    pub(super) const fn in_monitor(self, default: &'static str) -> Flag {
        Flag { monitor: Some(default), ..self }
    }

    pub(super) const fn env(self, env: &'static [&'static str]) -> Flag {
        Flag { env, ..self }
    }

    /// Its names, as PowerShell writes them, each with whether it is the script's.
    pub(super) fn names(&self) -> impl Iterator<Item = (&'static str, bool)> {
        [(self.name, self.script)].into_iter().chain(self.alias.map(|alias| (alias, true)))
    }
}
