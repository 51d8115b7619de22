//! What good command lines are parsed as.

use std::path::Path;
use std::time::Duration;

use super::super::flags::FLAGS;
use super::super::{Assignment, CardId, Command, Format, Seed, VramSource};
use super::Fixture;
use crate::vram::gates::Limits;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_language_model_s_side() {
    let mut fixture = Fixture::new();
    let options = fixture.run("").llm;
    assert!(!options.mock && !options.local && !options.skip_health_check && !options.skip_unload);
    assert_eq!(options.lm_studio.base(), "http://127.0.0.1:1234");
    assert_eq!((options.provider, options.variables.len()), (None, 0));
    let line = "-UseLocalLLM -LocalLLMProviderUrl http://u:s3cret@h:1234/v1/chat/completions \
        -LocalLLMSeed 42 -LocalLLMTemperature 0.35 -SkipLLMHealthCheck -SkipLMStudioUnload";
    let options = fixture.run(line).llm;
    assert!(options.local && options.skip_health_check && options.skip_unload);
    let provider = options.provider.clone().expect("a provider");
    assert_eq!(provider.base(), "http://h:1234/v1/chat/completions");
    let variables: Vec<_> =
        options.variables.iter().map(|(name, value)| (*name, value.to_str().unwrap())).collect();
    let url = "http://u:s3cret@h:1234/v1/chat/completions";
    let wanted = [
        ("LOCAL_STORY_PROVIDER_URL", url),
        ("LOCAL_LLM_SEED", "42"),
        ("LOCAL_LLM_TEMPERATURE", "0.35"),
    ];
    assert_eq!(variables, wanted);
    assert!(!format!("{options:?}").contains("s3cret"));

    fixture.env.insert("LOCAL_LLM_SKIP_HEALTHCHECK", "1");
    fixture.env.insert("LOCAL_STORY_PROVIDER_URL", "not a url");
    let options = fixture.run("");
    assert!(options.llm.skip_health_check && options.llm.provider.is_none());
    assert_eq!(options.warnings.len(), 1, "{:?}", options.warnings);
}

#[test]
fn the_archive_is_made_where_a_project_is() {
    let fixture = Fixture::new();
    assert!(!fixture.run("").archive && fixture.run("-Archive").archive);
    std::fs::create_dir(fixture.path("artifacts")).unwrap();
    assert!(fixture.run("").archive && !fixture.run("-NoArchive").archive);
    assert!(!fixture.run("-Archive:$false").archive);
}

#[test]
fn no_argument_is_a_run_of_defaults() {
    let fixture = Fixture::new();
    let options = fixture.run("");
    assert_eq!(
        (options.project_root.as_path(), options.root_given),
        (fixture.dir.as_path(), false)
    );
    assert_eq!(options.logs_dir, fixture.path("logs"));
    assert_eq!((options.workflows.len(), options.story, options.set.len()), (0, None, 0));
    assert_eq!((options.seed, options.scene_filter.len()), (Seed::Keep, 0));
    assert_eq!(options.max_wait, seconds(600));
    assert_eq!(options.poll_interval, seconds(2));
    assert_eq!(options.post_execution_timeout, seconds(30));
    assert_eq!((options.history_max_attempts, options.scene_retry_budget), (0, 1));
    assert_eq!((options.wait_for_comfyui, options.sampling.interval), (seconds(0), seconds(5)));
    assert_eq!((options.sampling.gpu, options.server.url.base()), (0, "http://127.0.0.1:8188"));
    assert_eq!((options.sampling.source, options.sampling.card), (VramSource::Auto, None));
    assert!(!options.fresh && !options.fast_iteration && !options.quiet && !options.json);
    assert!(options.server.headers.is_empty() && options.warnings.is_empty());
}

/// Each line of the wild, and the same in GNU's spelling: max wait, poll interval, attempts,
/// post-execution timeout, retries.
#[test]
fn the_scripts_command_lines() {
    let fixture = Fixture::new();
    let cases = [
        ("-FastIteration", "--fast-iteration", [360, 1, 0, 15, 1]),
        (
            "-SceneRetryBudget 0 -FastIteration",
            "--scene-retry-budget 0 --fast-iteration",
            [360, 1, 0, 15, 0],
        ),
        (
            "-SceneRetryBudget 1 -SceneMaxWaitSeconds 600 -SceneHistoryPollIntervalSeconds 2",
            "--scene-retry-budget=1 --scene-max-wait-seconds=600 \
             --scene-history-poll-interval-seconds=2",
            [600, 2, 0, 30, 1],
        ),
        (
            "-MaxSceneRetries 2 -SceneMaxWaitSeconds 180 -SceneHistoryMaxAttempts 30",
            "--max-scene-retries 2 --max-wait-seconds 180 --history-max-attempts 30",
            [180, 2, 30, 30, 2],
        ),
        (
            "-SceneMaxWaitSeconds 900 -SceneHistoryMaxAttempts 5 -SceneHistoryPollIntervalSeconds 5 \
             -ScenePostExecutionTimeoutSeconds 60 -SceneRetryBudget 1",
            "--max-wait-seconds 900 --scene-history-max-attempts 5 --poll-interval-seconds 5 \
             --scene-post-execution-timeout-seconds 60 --scene-retry-budget 1",
            [900, 5, 5, 60, 1],
        ),
        (
            "-SceneMaxWaitSeconds 180 -SceneHistoryMaxAttempts 1 -SceneHistoryPollIntervalSeconds 2 \
             -ScenePostExecutionTimeoutSeconds 30",
            "--max-wait-seconds 180 --history-max-attempts 1 --poll-interval-seconds 2 \
             --post-execution-timeout-seconds 30",
            [180, 2, 1, 30, 1],
        ),
        ("-MaxW ␣600␣ -Fast", "--max-wait-seconds 0x258 --fast-iteration", [600, 1, 0, 15, 1]),
        ("-maxwaitseconds:6e2", "--max-wait-seconds=6e2", [600, 2, 0, 30, 1]),
        ("–MaxWaitSeconds 7", "--max-wait-seconds 7", [7, 2, 0, 30, 1]),
        (
            "—FASTITERATION ―MaxWaitSeconds: 7",
            "--fast-iteration --max-wait-seconds 7",
            [7, 1, 0, 15, 1],
        ),
        ("-FastIteration:$false", "", [600, 2, 0, 30, 1]),
        ("-FastIteration: $false", "", [600, 2, 0, 30, 1]),
        ("-FastIteration:True", "--fast-iteration", [360, 1, 0, 15, 1]),
        (
            "-MaxWaitSeconds 100 -SceneMaxWaitSeconds 200",
            "--scene-max-wait-seconds 200 --max-wait-seconds 100",
            [200, 2, 0, 30, 1],
        ),
        (
            "-SceneRetryBudget 3 -MaxSceneRetries 4",
            "--max-scene-retries 4 --scene-retry-budget 3",
            [600, 2, 0, 30, 3],
        ),
    ];
    for (powershell, gnu, numbers) in cases {
        let options = fixture.run(powershell);
        let read = [
            options.max_wait.as_secs(),
            options.poll_interval.as_secs(),
            options.history_max_attempts.into(),
            options.post_execution_timeout.as_secs(),
            options.scene_retry_budget.into(),
        ];
        assert_eq!(read, numbers, "{powershell}");
        assert_eq!(options, fixture.run(gnu), "{powershell}");
    }
}

/// What was typed at PowerShell's prompt as a native program gets it, then where it differs as the
/// wrapper hands it on from a prompt and from `-File`; and the same in GNU's spelling.
#[test]
fn the_words_that_powershell_hands_on() {
    let fixture = Fixture::new();
    for (words, gnu) in [
        (&["-MaxWaitSeconds:600"][..], &["--max-wait-seconds", "600"][..]),
        (&["-MaxWaitSeconds", "600"], &["--max-wait-seconds", "600"]),
        (&["-FastIteration:False"], &[]),
        (&["-FastIteration:True"], &["--fast-iteration"]),
        (&["-SceneFilter", "a,b"], &["--scene-filter", "a,b"]),
        (&["-SceneFilter", "001,002"], &["--scene-filter", "001,002"]),
        (&["-SceneFilter", "1,2"], &["--scene-filter", "1,2"]),
        (&["-Seed", "042"], &["--seed", "42"]),
        (&["-MaxWaitSeconds", "0x258"], &["--max-wait-seconds", "600"]),
        (&["-LocalLLMSeed", "-5"], &["--local-llm-seed", "-5"]),
        (&["-LocalLLMTemperature", "0.35"], &["--local-llm-temperature", "0.35"]),
        (&["-LocalLLMModel", ""], &["--local-llm-model="]),
        (&["-Set", "6.text=say \"hi\""], &["--set=6.text=say \"hi\""]),
        (&["monitor", "--", "-a"], &["monitor", "--", "-a"]),
        (&["--workflow=flow.json"], &["--workflow", "flow.json"]),
        (&["--set", "6.cfg=7.5"], &["--set=6.cfg=7.5"]),
        (&["-Set", "1.image=@cat.png"], &["--set", "1.image=@cat.png"]),
    ] {
        let read = fixture.words(words);
        assert!(read.is_ok() && read == fixture.words(gnu), "{words:?}: {read:?}");
    }
    let hint = "the value of -Workflow is written -Workflow flow.json or --workflow=flow.json";
    assert_eq!(fixture.refusal("-Workflow=flow .json"), hint);
}

#[test]
fn what_does_nothing_says_so_once() {
    let fixture = Fixture::new();
    let warning = |line: &str| fixture.run(line).warnings;
    assert_eq!(warning("-StopComfyUI"), ["-StopComfyUI is accepted, but does nothing"]);
    assert_eq!(
        warning("-FastIteration -ErrorAction SilentlyContinue -Debug --skip-comfyui"),
        ["-ErrorAction, -Debug, --skip-comfyui are accepted, but do nothing"]
    );
    let verbose = |line: &str| (fixture.run(line).verbose, fixture.run(line).warnings.len());
    assert_eq!([verbose("-Verb"), verbose("")], [(true, 0), (false, 0)]);
}

#[test]
fn folders_and_files() {
    let fixture = Fixture::new();
    let root = fixture.run("my␣project flow.json two.JSON");
    assert_eq!((root.project_root, root.root_given), (fixture.path("my project"), true));
    assert_eq!(root.workflows, [fixture.path("flow.json"), fixture.path("two.JSON")]);
    assert_eq!(root.logs_dir, fixture.path("my project/logs"));
    let mixed =
        fixture.run("two.JSON -Workflow flows --workflow=./flow.json -LogsDir x -Story flows");
    assert_eq!(mixed.workflows, ["two.JSON", "flows", "flow.json"].map(|file| fixture.path(file)));
    assert_eq!((mixed.logs_dir, mixed.story), (fixture.path("x"), Some(fixture.path("flows"))));
    // A folder of workflows is no project.
    fixture.write("flows/a.json", b"{}");
    let folder = fixture.run("flows");
    assert_eq!((folder.workflows, folder.root_given), (vec![fixture.path("flows")], false));
    let dashed = fixture.run("--quiet -- flow.json");
    assert_eq!((dashed.workflows, dashed.quiet), (vec![fixture.path("flow.json")], true));

    let beside = Fixture::new().program("/p/my project/scripts/run-comfyui-e2e");
    let options = beside.run("");
    assert_eq!(
        (options.project_root.as_path(), options.root_given),
        (Path::new("/p/my project"), false)
    );
    let elsewhere = Fixture::new().program("/usr/bin/run-comfyui-e2e");
    assert_eq!(elsewhere.run("").project_root, elsewhere.dir);
}

#[test]
fn scenes_and_inputs() {
    let fixture = Fixture::new();
    let options =
        fixture.run("-SceneFilter a,␣b,,c --set 4.seed=5 -Set:KSampler.cfg=a=b -Seed 0xff -Fresh");
    assert_eq!(options.scene_filter, ["a", "b", "c"]);
    let set = [("4", "seed", "5"), ("KSampler", "cfg", "a=b")];
    let set = set.map(|(node, input, value)| Assignment {
        node: node.into(),
        input: input.into(),
        value: value.into(),
    });
    assert_eq!((options.set, options.seed, options.fresh), (set.to_vec(), Seed::Fixed(255), true));
    let seed =
        fixture.run("--seed RANDOM --sample-interval-seconds .25 --poll-interval-seconds 0x2");
    assert_eq!(seed.seed, Seed::Random);
    assert_eq!(seed.sampling.interval, Duration::from_millis(250));
    assert_eq!(seed.poll_interval, seconds(2));
}

#[test]
fn sources_and_cards() {
    let fixture = Fixture::new();
    for (word, source) in [
        ("auto", VramSource::Auto),
        ("ComfyUI", VramSource::ComfyUi),
        ("NVIDIA-SMI", VramSource::NvidiaSmi),
    ] {
        assert_eq!(fixture.run(&format!("-VramSource {word}")).sampling.source, source);
        assert_eq!(fixture.run(&format!("--vram-source={word}")).sampling.source, source);
    }
    let card = |word: &str| fixture.run(&format!("--nvidia-smi-gpu {word}")).sampling.card;
    assert_eq!(card("0"), Some(CardId::Index(0)));
    let uuid = "GPU-5ab0c1d2-0000-4e1f-9d5f-000000000001";
    assert_eq!(card(uuid), Some(CardId::Uuid(uuid.into())));
    assert_eq!(
        fixture.run("-NvidiaSmiGpu:gpu-5").sampling.card,
        Some(CardId::Uuid("gpu-5".into()))
    );
    let local = fixture.run("-VramSource nvidia-smi -ComfyUIUrl http://localhost:1");
    assert_eq!(local.sampling.source, VramSource::NvidiaSmi);
}

#[test]
fn numbers_take_a_unit() {
    let fixture = Fixture::new();
    for (value, wanted) in [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("10min", 600),
        ("2h", 7200),
        ("1.5H", 5400),
        ("10␣m", 600),
        ("␣600␣", 600),
        ("0x258", 600),
        ("6e2", 600),
        ("6e2s", 600),
        ("2000ms", 2),
    ] {
        for line in [format!("--max-wait-seconds {value}"), format!("-MaxWaitSeconds:{value}")] {
            assert_eq!(fixture.run(&line).max_wait, seconds(wanted), "{line}");
        }
    }
    for (value, wanted) in
        [("23000", 23_000), ("23000MB", 23_000), ("23GB", 23_552), ("23G", 23_552), ("1.5gb", 1536)]
    {
        let limits =
            fixture.run(&format!("--max-peak-mb {value} -MaxGrowthMB {value}")).gates.limits;
        assert_eq!(limits, Limits { peak_mb: Some(wanted), growth_mb: Some(wanted) }, "{value}");
    }
    let options = fixture.monitor("monitor --duration 1.5m --sample-interval-seconds 250ms");
    assert_eq!(options.duration, Some(seconds(90)));
    assert_eq!(options.sampling.interval, Duration::from_millis(250));
    // The generator reads plain milliseconds.
    for (value, wanted) in
        [("90000", "90000"), ("90000ms", "90000"), ("90s", "90000"), ("2m", "120000")]
    {
        let variables = fixture.run(&format!("-LocalLLMTimeoutMs {value}")).llm.variables;
        assert_eq!(variables, [("LOCAL_LLM_TIMEOUT_MS", wanted.into())], "{value}");
    }
    let variable = Fixture::new().env("SCENE_MAX_WAIT_SECONDS", "10m");
    assert_eq!(variable.run("").max_wait, seconds(600));
}

#[test]
fn gates_leave_the_interval_as_it_is() {
    let fixture = Fixture::new();
    let options = fixture.run("-MaxPeakMB 20000 -Baseline notes.txt --baseline flows -Repeat 5");
    let limits = Limits { peak_mb: Some(20_000), growth_mb: None };
    assert_eq!((options.gates.limits, options.repeat), (limits, 5));
    assert_eq!(options.gates.baselines, ["notes.txt", "flows"].map(|file| fixture.path(file)));
    assert!(options.gates.any() && !fixture.run("").gates.any());
    assert_eq!(fixture.run("").repeat, 1);
    for (line, interval) in [
        ("-MaxPeakMB 1", 5),
        ("-Baseline flows", 5),
        ("--max-growth-mb 0", 5),
        ("-MaxPeakMB 1 -Sample 2", 2),
    ] {
        assert_eq!(fixture.run(line).sampling.interval, seconds(interval), "{line}");
    }
    let summary = fixture.summary("summary --max-growth-mb=0 -baseline:flows");
    assert_eq!(summary.gates.limits, Limits { peak_mb: None, growth_mb: Some(0) });
    assert_eq!(summary.gates.baselines, [fixture.path("flows")]);
}

#[test]
fn a_value_may_look_like_an_option() {
    let fixture = Fixture::new();
    assert_eq!(fixture.run("-SceneFilter -Fresh").scene_filter, ["-Fresh"]);
    assert_eq!(fixture.run("--logs-dir --json").logs_dir, fixture.path("--json"));
    assert_eq!(fixture.run("-LogsD: --").logs_dir, fixture.path("--"));
}

#[test]
fn headers_of_the_file_come_first() {
    let fixture = Fixture::new();
    fixture
        .write("h.txt", b"\xef\xbb\xbf# a token\r\nAuthorization: Bearer a\r\n\r\n  X-A: 1  \r\n");
    let options = fixture.run("-Header X-B:␣2 --header-file h.txt --header=X-C:3");
    let headers: Vec<_> =
        options.server.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(headers, [("Authorization", "Bearer a"), ("X-A", "1"), ("X-B", "2"), ("X-C", "3")]);
}

#[test]
fn precedence() {
    let fixture =
        || Fixture::new().env("SCENE_MAX_WAIT_SECONDS", "100").env("SCENE_RETRY_BUDGET", " 3 ");
    assert_eq!(fixture().run("").max_wait, seconds(100));
    assert_eq!(fixture().run("").scene_retry_budget, 3);
    assert_eq!(fixture().run("-FastIteration").max_wait, seconds(360));
    assert_eq!(fixture().run("-FastIteration -MaxWaitSeconds 50").max_wait, seconds(50));
    assert_eq!(fixture().run("-MaxWaitSeconds 50").max_wait, seconds(50));
    let unset = Fixture::new().env("SCENE_MAX_WAIT_SECONDS", " ").env("COMFYUI_URL", "");
    assert_eq!(unset.run("").max_wait, seconds(600));
    let overruled = Fixture::new().env("SCENE_MAX_WAIT_SECONDS", "soon");
    assert_eq!(overruled.run("-Fast").max_wait, seconds(360));
    let others = Fixture::new()
        .env("SCENE_HISTORY_POLL_INTERVAL_SECONDS", "0.5")
        .env("SCENE_HISTORY_MAX_ATTEMPTS", "9")
        .env("SCENE_POST_EXECUTION_TIMEOUT_SECONDS", "8");
    let options = others.run("");
    assert_eq!(options.poll_interval, Duration::from_millis(500));
    assert_eq!((options.history_max_attempts, options.post_execution_timeout), (9, seconds(8)));

    let local = Fixture::new().env("LOCAL_COMFY_URL", "http://local:1");
    assert_eq!(local.run("").server.url.base(), "http://local:1");
    let both = local.env("COMFYUI_URL", "http://user:pw@comfy:2/");
    let url = both.run("").server.url;
    assert_eq!((url.base(), url.authorization()), ("http://comfy:2", Some("Basic dXNlcjpwdw==")));
    assert_eq!(both.run("-ComfyUIUrl 127.0.0.1:3").server.url.base(), "http://127.0.0.1:3");
}

#[test]
fn every_default_of_the_table_is_read() {
    // Those of the rows that describe their default in words are read by nobody.
    let fixture = Fixture::new();
    let spelled = FLAGS.iter().filter(|flag| {
        flag.default.parse::<f64>().is_ok() || ["keep", "auto"].contains(&flag.default)
    });
    let words = spelled.flat_map(|flag| [format!("-{}", flag.name), flag.default.to_owned()]);
    let Ok(Command::Run(options)) = fixture.words(words) else { panic!("a default is refused") };
    assert_eq!(*options, fixture.run(""));
}

#[test]
fn reports_are_files_of_the_current_folder() {
    let fixture = Fixture::new();
    assert_eq!(fixture.run("").reports, []);
    let reports = [
        (Format::JUnit, fixture.path("a b/run.xml")),
        (Format::Markdown, fixture.path("-")),
        (Format::Prometheus, fixture.path("nightly.prom")),
    ];
    let line = "--junit a␣b/run.xml -Markdown - -ProjectRoot flows -Prom ./nightly.prom";
    assert_eq!(fixture.run(line).reports, reports);
    let line =
        "summary notes.txt -JUnit:a␣b/run.xml --markdown=- --prom-file nightly.prom --html x";
    assert_eq!(fixture.summary(line).reports, reports);
    let options = reports.map(|(format, _)| format.option());
    assert_eq!(options, ["--junit", "--markdown", "--prom-file"]);
}

#[test]
fn summary_takes_logs_and_run_folders() {
    let fixture = Fixture::new();
    let options = fixture.summary("summary");
    assert_eq!((options.targets.len(), options.json), (0, false));
    assert_eq!(options.logs_dir, fixture.path("logs"));
    let options = fixture.summary("summary notes.txt -Json flows -ProjectRoot my␣project");
    assert_eq!(
        (options.targets, options.json),
        (vec![fixture.path("notes.txt"), fixture.path("flows")], true)
    );
    assert_eq!(options.logs_dir, fixture.path("my project/logs"));
    assert_eq!(fixture.summary("summary --logs-dir elsewhere").logs_dir, fixture.path("elsewhere"));
}

#[test]
fn help_and_version() {
    let fixture = Fixture::new();
    let text = |line: &str| match fixture.line(line) {
        Ok(Command::Print(text)) => text,
        other => panic!("{line}: {other:?}"),
    };
    let short = text("-h");
    for line in
        ["-?", "/?", "–?", "flow.json -h", "summary -?", "-MaxWaitSeconds abc -h", "--help -h"]
    {
        assert_eq!(text(line), short, "{line}");
    }
    for line in ["-Help", "-help", "summary --help", "--version --help"] {
        assert_eq!(text(line), text("--help"), "{line}");
    }
    let register =
        "Register-ArgumentCompleter -Native -CommandName 'run-comfyui-e2e' -ScriptBlock {";
    assert!(text("-Completions:PowerShell").contains(register));
    let version = concat!("run-comfyui-e2e ", env!("CARGO_PKG_VERSION"));
    assert_eq!([text("-V"), text("--version"), text("summary -Version")], [version; 3]);
}

#[test]
fn monitor_without_arguments_samples_once_a_second() {
    let fixture = Fixture::new().env("COMFYUI_URL", "http://gpu-2:1");
    let options = fixture.monitor("monitor");
    assert_eq!((options.command, options.duration, options.log), (None, None, None));
    assert_eq!((options.sampling.interval, options.sampling.gpu), (seconds(1), 0));
    assert_eq!(options.server.url.base(), "http://gpu-2:1");
    assert!(!options.append && !options.quiet);
}

#[test]
fn what_follows_the_dashes_is_the_command_s_own() {
    let fixture = Fixture::new();
    let options = fixture.monitor("monitor -Log l.log -Append -Sample .2 -- tool -h --log x -- -V");
    let command = options.command.expect("a command");
    assert_eq!(command, ["tool", "-h", "--log", "x", "--", "-V"]);
    assert_eq!((options.log, options.append), (Some(fixture.path("l.log")), true));
    assert_eq!(options.sampling.interval, Duration::from_millis(200));
    let timed =
        fixture.monitor("monitor --duration 1.5 --gpu 1 --header X:1 -Quiet -Append:$false");
    assert_eq!((timed.duration, timed.command), (Some(Duration::from_millis(1500)), None));
    assert_eq!((timed.sampling.gpu, timed.quiet, timed.server.headers.len()), (1, true, 1));
}
