//! The one table of the options: a new option is one row here and its [`Id`].

use super::row::{Flag, Group, Id, Kind, Verb};

/// A week. What waits longer is a mistake of the hand.
const WEEK: f64 = 604_800.0;
/// The largest integer that the script could take.
const MOST: f64 = 2_147_483_647.0;

/// The verbs that know a project.
const ALL: &[Verb] = &[Verb::Run, Verb::Summary, Verb::Monitor];
const OF_PROJECTS: &[Verb] = &[Verb::Run, Verb::Summary];
/// The verbs that ask a server.
const OF_SERVERS: &[Verb] = &[Verb::Run, Verb::Monitor];

const LLM_URL: Kind = Kind::Text("URL", "a URL such as http://127.0.0.1:1234");
const LLM_FORMAT: Kind = Kind::Text("FORMAT", "a request format such as openai-chat");

const ROOT_DEFAULT: &str =
    "the parent of scripts if the program lies in a folder of that name, else the current folder";

/// Every option there is, in the order of [`Id`] and of the full help.
pub(super) static TABLE: [Flag; Id::Version as usize + 1] = [
    Flag::new(Id::ProjectRoot, "ProjectRoot", Group::What, Kind::Text("FOLDER", "a folder"))
        .script()
        .verbs(OF_PROJECTS)
        .default(ROOT_DEFAULT)
        .help("The project's folder. Also a bare word that is a folder."),
    Flag::new(Id::Workflow, "Workflow", Group::What, Kind::Text("FILE", "a file or a folder"))
        .repeatable()
        .short()
        .help(
            "An API-format workflow, or a folder of them. Also bare words that are .json files. \
             Without a story each file is one scene, named after it.",
        ),
    Flag::new(Id::Story, "Story", Group::What, Kind::Text("PATH", "a story.json or its folder"))
        .short()
        .help(
            "A story.json, or the folder that holds one. One workflow is then the template of all \
             its scenes.",
        ),
    Flag::new(Id::Scenes, "Scenes", Group::What, Kind::Number("scenes", 1.0, 1000.0))
        .default("3")
        .help("How many scenes the project's story generator is asked for."),
    Flag::new(
        Id::SceneFilter,
        "SceneFilter",
        Group::What,
        Kind::Text("ID[,ID...]", "scene ids with commas between them"),
    )
    .default("all")
    .help("Only these scenes."),
    Flag::new(Id::Repeat, "Repeat", Group::What, Kind::Number("times", 1.0, 1000.0))
        .default("1")
        .help(
            "Every scene so many times: flow-r1, flow-r2 and so on. For a baseline, or growth over \
             a batch; with -Seed random, since ComfyUI's cache knows the second of two equal ones.",
        ),
    Flag::new(Id::Set, "Set", Group::What, Kind::Text("NODE.INPUT=VALUE", "NODE.INPUT=VALUE"))
        .repeatable()
        .short()
        .help(
            "Sets one input of one node. NODE is an id, or a title or class_type that only one \
             node has; VALUE keeps the type the input has.",
        ),
    Flag::new(
        Id::Seed,
        "Seed",
        Group::What,
        Kind::Text("N", "a whole number from 0 to 18446744073709551615, random or keep"),
    )
    .words(&["random", "keep"])
    .default("keep")
    .short()
    .help(
        "A number, random or keep. It goes into every seed and noise_seed that is not a link; \
         one seed a scene, kept over its retries.",
    ),
    Flag::new(Id::Fresh, "Fresh", Group::How, Kind::Switch)
        .short()
        .help("Empties ComfyUI's cache before each scene."),
    Flag::new(
        Id::MemoryCleanupInterval,
        "MemoryCleanupInterval",
        Group::How,
        Kind::Number("scenes", 0.0, MOST),
    )
    .default("10")
    .help("Empties ComfyUI's memory after every so many scenes, and says what it freed; 0: never."),
    Flag::new(Id::DryRun, "DryRun", Group::How, Kind::Switch).short().help(
        "Runs nothing: prints the graphs, and what the server lacks. No folder is made, nothing is \
         uploaded or posted. A story generator is not run either: the template alone is checked.",
    ),
    Flag::new(Id::FastIteration, "FastIteration", Group::How, Kind::Switch).script().short().help(
        "Shorter waits, for trying things out. A value given on the command line wins over it.",
    ),
    Flag::new(Id::MaxWaitSeconds, "MaxWaitSeconds", Group::How, Kind::Number("seconds", 1.0, WEEK))
        .alias("SceneMaxWaitSeconds")
        .default("600")
        .fast("360")
        .env(&["SCENE_MAX_WAIT_SECONDS"])
        .short()
        .help("The deadline of one attempt at a scene. From submission to completion."),
    Flag::new(
        Id::PollIntervalSeconds,
        "PollIntervalSeconds",
        Group::How,
        Kind::Number("seconds", 0.05, 3600.0),
    )
    .alias("SceneHistoryPollIntervalSeconds")
    .default("2")
    .fast("1")
    .env(&["SCENE_HISTORY_POLL_INTERVAL_SECONDS"])
    .help(
        "The longest pause between polls; decimals allowed. Polling starts at 0.1 s and backs off \
         to it.",
    ),
    Flag::new(
        Id::HistoryMaxAttempts,
        "HistoryMaxAttempts",
        Group::How,
        Kind::Number("a number", 0.0, MOST),
    )
    .alias("SceneHistoryMaxAttempts")
    .default("0")
    .env(&["SCENE_HISTORY_MAX_ATTEMPTS"])
    .help(
        "How many asks for the history of a prompt that has left the queue may fail. 0: asked \
         until the deadline. Polls of a queued or running prompt never count.",
    ),
    Flag::new(
        Id::PostExecutionTimeoutSeconds,
        "PostExecutionTimeoutSeconds",
        Group::How,
        Kind::Number("seconds", 1.0, MOST),
    )
    .alias("ScenePostExecutionTimeoutSeconds")
    .default("30")
    .fast("15")
    .env(&["SCENE_POST_EXECUTION_TIMEOUT_SECONDS"])
    .help("How long bringing outputs home may go without a byte."),
    Flag::new(
        Id::SceneRetryBudget,
        "SceneRetryBudget",
        Group::How,
        Kind::Number("a number", 0.0, 100.0),
    )
    .script()
    .alias("MaxSceneRetries")
    .default("1")
    .env(&["SCENE_RETRY_BUDGET"])
    .short()
    .help("Extra attempts of a failed scene."),
    Flag::new(
        Id::WaitForComfyUI,
        "WaitForComfyUI",
        Group::Server,
        Kind::Number("seconds", 0.0, MOST),
    )
    .default("0")
    .short()
    .help("Seconds to wait for a server that is not up."),
    Flag::new(
        Id::ComfyUIUrl,
        "ComfyUIUrl",
        Group::Server,
        Kind::Text("URL", "a URL such as http://127.0.0.1:8188"),
    )
    .default("http://127.0.0.1:8188")
    .verbs(OF_SERVERS)
    .env(&["COMFYUI_URL", "LOCAL_COMFY_URL"])
    .short()
    .help("Where ComfyUI answers. A path prefix is kept; user:password@ gives Basic auth."),
    Flag::new(Id::HeaderFile, "HeaderFile", Group::Server, Kind::Text("FILE", "a file")).verbs(OF_SERVERS).help(
        "A file of HTTP headers, one Name: value a line. Empty lines and # comments are skipped. \
         It keeps a token out of process lists.",
    ),
    Flag::new(Id::Header, "Header", Group::Server, Kind::Text("'NAME: VALUE'", "'Name: value'"))
        .repeatable()
        .verbs(OF_SERVERS)
        .help("An HTTP header of every request."),
    Flag::new(
        Id::SampleIntervalSeconds,
        "SampleIntervalSeconds",
        Group::Vram,
        Kind::Number("seconds", 0.05, 3600.0),
    )
    .default("5")
    .gated("1")
    .in_monitor("1")
    .verbs(OF_SERVERS)
    .short()
    .help("Time between two VRAM samples; decimals allowed."),
    Flag::new(
        Id::VramSource,
        "VramSource",
        Group::Vram,
        Kind::Text("SOURCE", "auto, comfyui or nvidia-smi"),
    )
    .verbs(OF_SERVERS)
    .words(&["auto", "comfyui", "nvidia-smi"])
    .default("auto")
    .help(
        "Who gives the readings: auto, comfyui or nvidia-smi. auto: ComfyUI, and nvidia-smi for a \
         sample that ComfyUI misses, if the server is on this machine.",
    ),
    Flag::new(Id::Gpu, "Gpu", Group::Vram, Kind::Number("a device's position", 0.0, MOST))
        .default("0")
        .verbs(OF_SERVERS)
        .help("Which of the server's devices vram-usage.log tells of."),
    Flag::new(
        Id::NvidiaSmiGpu,
        "NvidiaSmiGpu",
        Group::Vram,
        Kind::Text("CARD", "a card's index in nvidia-smi, or its UUID, GPU-..."),
    )
    .verbs(OF_SERVERS)
    .default("matched by name, size and use")
    .help("Which card of nvidia-smi is that device: its index or its UUID."),
    Flag::new(Id::MaxPeakMB, "MaxPeakMB", Group::Vram, Kind::Number("MB", 1.0, MOST))
        .verbs(ALL)
        .short()
        .help("The peak while generating may be so high. The driver's figure where it is known."),
    Flag::new(
        Id::Baseline,
        "Baseline",
        Group::Vram,
        Kind::Text("LOG", "a VRAM log or a run folder"),
    )
    .verbs(ALL)
    .repeatable()
    .help(
        "A log or run folder to be no worse than, in all and scene by scene. One baseline gives 5 % \
         of room, several their spread, at least 1 %; 64 MB in any case.",
    ),
    Flag::new(Id::MaxGrowthMB, "MaxGrowthMB", Group::Vram, Kind::Number("MB", 0.0, MOST))
        .verbs(OF_PROJECTS)
        .help(
            "The memory in use may grow by so much from scene to scene. Known from four scenes \
             that executed without a /free between them.",
        ),
    Flag::new(Id::LogsDir, "LogsDir", Group::Output, Kind::Text("FOLDER", "a folder"))
        .verbs(OF_PROJECTS)
        .default("logs in the project's folder")
        .help("Where the run folders are."),
    Flag::new(Id::Archive, "Archive", Group::Output, Kind::Switch)
        .default("where the project has a folder scripts or artifacts")
        .help("Puts the finished run folder into artifacts/comfyui-e2e-DATE-TIME.zip."),
    Flag::new(Id::NoArchive, "NoArchive", Group::Output, Kind::Switch).help("Makes no archive."),
    Flag::new(Id::Quiet, "Quiet", Group::Output, Kind::Switch)
        .verbs(OF_SERVERS)
        .short()
        .help("Nothing on success. Verdict and failures go to stderr."),
    Flag::new(Id::Json, "Json", Group::Output, Kind::Switch)
        .verbs(OF_PROJECTS)
        .short()
        .help("One JSON document on stdout at the end. The human lines go to stderr."),
    Flag::new(Id::JUnit, "JUnit", Group::Output, Kind::Text("FILE", "a file"))
        .verbs(OF_PROJECTS)
        .help("A JUnit report: a test case for each scene, with its lines, and for each gate."),
    Flag::new(Id::Markdown, "Markdown", Group::Output, Kind::Text("FILE", "a file"))
        .verbs(OF_PROJECTS)
        .help(
            "The verdict, the scenes and their memory in Markdown, baselines beside it: for a pull \
             request or a CI job's summary.",
        ),
    Flag::new(Id::PromFile, "PromFile", Group::Output, Kind::Text("FILE", "a file"))
        .verbs(OF_PROJECTS)
        .help(
            "Metrics for node_exporter's textfile collector, which reads the .prom files of a \
             folder.",
        ),
    Flag::new(Id::NoColor, "NoColor", Group::Output, Kind::Switch)
        .verbs(ALL)
        .env(&["NO_COLOR"])
        .help("No colours on the terminal. Pipes and files never get any."),
    Flag::new(Id::Html, "Html", Group::Output, Kind::Text("FILE", "a file"))
        .verbs(&[Verb::Summary, Verb::Monitor])
        .help(
            "Of summary and monitor: a page for a browser, the curve and all. A run leaves one by \
             itself, report.html.",
        ),
    Flag::new(Id::Duration, "Duration", Group::Monitor, Kind::Number("seconds", 0.05, WEEK))
        .verbs(&[Verb::Monitor])
        .help(
            "How long monitor samples without a command; decimals allowed. Without both it does \
             so until Ctrl-C.",
        ),
    Flag::new(Id::Log, "Log", Group::Monitor, Kind::Text("FILE", "a file"))
        .verbs(&[Verb::Monitor])
        .help("Keeps the samples in a log, for summary to read. One that exists is refused."),
    Flag::new(Id::Append, "Append", Group::Monitor, Kind::Switch)
        .verbs(&[Verb::Monitor])
        .help("Continues a log that exists."),
    of_llm(Id::SkipLLMHealthCheck, "SkipLLMHealthCheck", Kind::Switch)
        .help("Does not ask the provider before the story. Also LOCAL_LLM_SKIP_HEALTHCHECK=1."),
    of_llm(Id::UseLocalLLM, "UseLocalLLM", Kind::Switch)
        .help("The story by the local provider, which is configured by the options below."),
    of_llm(Id::UseMockLLM, "UseMockLLM", Kind::Switch)
        .help("The story without any model: --useMockLLM for the generator."),
    of_llm(Id::LMStudioEndpoint, "LMStudioEndpoint", LLM_URL)
        .default("http://127.0.0.1:1234")
        .help("Where LM Studio answers, whose models leave the card before the scenes."),
    of_llm(Id::SkipLMStudioUnload, "SkipLMStudioUnload", Kind::Switch)
        .help("LM Studio keeps its models loaded."),
    of_llm(Id::LocalLLMProviderUrl, "LocalLLMProviderUrl", LLM_URL)
        .env(&["LOCAL_STORY_PROVIDER_URL"])
        .help("The provider of the story."),
    of_llm(Id::LocalLLMModel, "LocalLLMModel", Kind::Text("NAME", "a model's name"))
        .env(&["LOCAL_LLM_MODEL"])
        .help("The model that the provider is asked for."),
    of_llm(Id::LocalLLMSeed, "LocalLLMSeed", Kind::Text("N", "a number"))
        .env(&["LOCAL_LLM_SEED"])
        .help("The seed of the story."),
    of_llm(
        Id::LocalLLMTemperature,
        "LocalLLMTemperature",
        Kind::Number("a temperature", 0.0, 10.0),
    )
    .env(&["LOCAL_LLM_TEMPERATURE"])
    .help("The temperature of the story; decimals allowed."),
    of_llm(Id::LocalLLMTimeoutMs, "LocalLLMTimeoutMs", Kind::Number("milliseconds", 1.0, MOST))
        .env(&["LOCAL_LLM_TIMEOUT_MS"])
        .help("How long the generator waits for the provider."),
    of_llm(Id::LocalLLMRequestFormat, "LocalLLMRequestFormat", LLM_FORMAT)
        .env(&["LOCAL_LLM_REQUEST_FORMAT"])
        .help("How the provider is spoken to."),
    of_llm(Id::LocalLLMHealthcheckUrl, "LocalLLMHealthcheckUrl", LLM_URL)
        .env(&["LOCAL_LLM_HEALTHCHECK_URL"])
        .help("What is asked before the story, in place of the provider's /v1/models."),
    inert(Id::StopComfyUI, "StopComfyUI", Kind::Switch),
    inert(Id::SkipComfyUI, "SkipComfyUI", Kind::Switch),
    inert(Id::Debug, "Debug", Kind::Switch),
    inert(Id::Verbose, "Verbose", Kind::Switch),
    inert(Id::ErrorAction, "ErrorAction", Kind::Text("X", "PowerShell's word for it")),
    Flag::new(Id::Completions, "Completions", Group::About, Kind::Text("SHELL", "bash or powershell"))
        .verbs(Verb::ALL)
        .words(&["bash", "powershell"])
        .help("A script on stdout for bash or powershell, which completes options there."),
    Flag::new(Id::Help, "Help", Group::About, Kind::Switch)
        .verbs(Verb::ALL)
        .help("This text. The short one: -h, -?, /?"),
    Flag::new(Id::Version, "Version", Group::About, Kind::Switch)
        .verbs(Verb::ALL)
        .help("The version. Also -V."),
];

/// An option of the script's story and its language model.
const fn of_llm(id: Id, name: &'static str, kind: Kind) -> Flag {
    Flag::new(id, name, Group::Llm, kind).script()
}

/// An option that the script once documented.
const fn inert(id: Id, name: &'static str, kind: Kind) -> Flag {
    Flag::new(id, name, Group::Inert, kind).script()
}

/// A row at another place than its id's would be taken for another option.
const _: () = {
    let mut place = 0;
    while place < TABLE.len() {
        assert!(TABLE[place].id as usize == place);
        place += 1;
    }
};
