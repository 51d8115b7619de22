//! Every kind of error, with its exact line.

use super::Fixture;

/// A line of words and the refusal that it gets. `␣` stands for a space inside a word.
type Case = (&'static str, &'static str);

const OPTIONS: &[Case] = &[
    ("--max-wait 5", "unknown option --max-wait: did you mean --max-wait-seconds?"),
    ("-Maxwaitsec0nds 5", "unknown option -Maxwaitsec0nds: did you mean -MaxWaitSeconds?"),
    ("--MaxWaitSeconds 5", "unknown option --MaxWaitSeconds: did you mean --max-wait-seconds?"),
    ("--workflwo x", "unknown option --workflwo: did you mean --workflow?"),
    ("--header- x", "unknown option --header-: did you mean --header-file or --header?"),
    ("-max-wait-seconds 5", "unknown option -max-wait-seconds: did you mean -MaxWaitSeconds?"),
    ("-Quietly-Please", "unknown option -Quietly-Please: -Help lists the options there are"),
    ("--=x", "unknown option --: --help lists the options there are"),
    ("-:x", "unknown option -: -Help lists the options there are"),
    ("--zzz=v", "unknown option --zzz: --help lists the options there are"),
    (
        "-Workflow=flow.json",
        "the value of -Workflow is written -Workflow flow.json or --workflow=flow.json",
    ),
    // As PowerShell's prompt hands it on.
    (
        "-work=flow .json",
        "the value of -Workflow is written -Workflow flow.json or --workflow=flow.json",
    ),
    (
        "-LogsDir=my␣logs ./flow.json",
        "the value of -LogsDir is written -LogsDir 'my logs' or --logs-dir='my logs'",
    ),
    (
        "-Sample=0 .5",
        "the value of -SampleIntervalSeconds is written -SampleIntervalSeconds 0.5 or --sample-interval-seconds=0.5",
    ),
    (
        "-Set=6 .cfg=7.5",
        "the value of -Set is written -Set NODE.INPUT=VALUE or --set=NODE.INPUT=VALUE",
    ),
    (
        "-ComfyUIUrl=http://127 .0.0.1:8188",
        "the value of -ComfyUIUrl is written -ComfyUIUrl URL or --comfyui-url=URL",
    ),
    ("-Gpu=", "the value of -Gpu is written -Gpu N or --gpu=N"),
    ("-Fresh=true", "-Fresh is a switch: it is written -Fresh or -Fresh:$false"),
    ("-Workflwo=flow .json", "unknown option -Workflwo: did you mean -Workflow?"),
    ("--completions ksh", "--completions takes bash, zsh, fish or powershell, not 'ksh'"),
    // A prefix that was the server's option before there were completions still is.
    (
        "-Com http://127.0.0.1:9 -Com http://127.0.0.1:9",
        "-ComfyUIUrl is given twice: it takes one value, a URL such as http://127.0.0.1:8188",
    ),
    ("-5", "unknown option -5: -Help lists the options there are"),
    (
        "-MaxW",
        "-MaxWaitSeconds has no value: it takes seconds from 1 to 604800 (also 90s, 10m, 2h)",
    ),
    ("-H x", "-H is ambiguous: -HistoryMaxAttempts or -HeaderFile or -Header or -Help"),
    (
        "-SkipC -St -S",
        "-S is ambiguous: -SceneMaxWaitSeconds or -SceneHistoryPollIntervalSeconds or -SceneHistoryMaxAttempts or -ScenePostExecutionTimeoutSeconds or -SceneRetryBudget or -SkipLLMHealthCheck or -SkipLMStudioUnload or -StopComfyUI or -SkipComfyUI",
    ),
    ("--fresh=yes", "--fresh is a switch: it takes no value"),
    ("-Fresh:yes", "-Fresh takes $true or $false after its colon, not 'yes'"),
    ("-Fresh:", "-Fresh takes $true or $false after its colon, not ''"),
    ("--fresh -Fresh", "-Fresh is given twice"),
    (
        "--gpu 1 --gpu=1",
        "--gpu is given twice: it takes one value, a device's position from 0 to 2147483647",
    ),
    (
        "-MaxWaitSeconds 1 -SceneMaxW 2 -SceneMaxW 2",
        "-SceneMaxWaitSeconds is given twice: it takes one value, seconds from 1 to 604800 (also 90s, 10m, 2h)",
    ),
    (
        "--max-wait-seconds abc",
        "--max-wait-seconds takes seconds from 1 to 604800 (also 90s, 10m, 2h), not 'abc'",
    ),
    (
        "-scenemaxw:0",
        "-SceneMaxWaitSeconds takes seconds from 1 to 604800 (also 90s, 10m, 2h), not '0'",
    ),
    (
        "--max-wait-seconds=604801",
        "--max-wait-seconds takes seconds from 1 to 604800 (also 90s, 10m, 2h), not '604801'",
    ),
    (
        "--max-wait-seconds=1.5",
        "--max-wait-seconds takes seconds from 1 to 604800 (also 90s, 10m, 2h), not '1.5'",
    ),
    (
        "-Poll 0",
        "-PollIntervalSeconds takes seconds from 0.05 to 3600 (also 90s, 10m, 2h), not '0'",
    ),
    (
        "-Sample NaN",
        "-SampleIntervalSeconds takes seconds from 0.05 to 3600 (also 90s, 10m, 2h), not 'NaN'",
    ),
    ("-SceneR 101", "-SceneRetryBudget takes a number from 0 to 100, not '101'"),
    (
        "--max-wait-seconds 200h",
        "--max-wait-seconds takes seconds from 1 to 604800 (also 90s, 10m, 2h), not '200h'",
    ),
    (
        "-MaxW 1.5s",
        "-MaxWaitSeconds takes seconds from 1 to 604800 (also 90s, 10m, 2h), not '1.5s'",
    ),
    ("-MaxW 5GB", "-MaxWaitSeconds takes seconds from 1 to 604800 (also 90s, 10m, 2h), not '5GB'"),
    (
        "--max-peak-mb 10m",
        "--max-peak-mb takes MB from 1 to 2147483647 (also 23000MB, 23GB), not '10m'",
    ),
    (
        "--max-peak-mb --comfyui-url http://h:1",
        "--max-peak-mb takes MB from 1 to 2147483647 (also 23000MB, 23GB), not '--comfyui-url'",
    ),
    (
        "-MaxPeakMB -ComfyUIUrl http://h:1",
        "-MaxPeakMB takes MB from 1 to 2147483647 (also 23000MB, 23GB), not '-ComfyUIUrl'",
    ),
    ("--repeat 2h", "--repeat takes times from 1 to 1000, not '2h'"),
    // What other programs call it.
    ("--timeout 600", "unknown option --timeout: did you mean --max-wait-seconds?"),
    ("-Timeout 600", "unknown option -Timeout: did you mean -MaxWaitSeconds?"),
    (
        "--interval 1",
        "unknown option --interval: did you mean --poll-interval-seconds or --sample-interval-seconds?",
    ),
    ("--url http://x", "unknown option --url: did you mean --comfyui-url?"),
    ("--host x", "unknown option --host: did you mean --comfyui-url?"),
    ("--retries 3", "unknown option --retries: did you mean --scene-retry-budget?"),
    ("--output x", "unknown option --output: did you mean --logs-dir?"),
    ("--token x", "unknown option --token: did you mean --header-file or --api-key-file?"),
    ("-Token:x", "unknown option -Token: did you mean -HeaderFile or -ApiKeyFile?"),
    ("-Gpu -1", "-Gpu takes a device's position from 0 to 2147483647, not '-1'"),
    (
        "--seed dice",
        "--seed takes a whole number from 0 to 18446744073709551615, random or keep, not 'dice'",
    ),
    ("-SceneFilter ,", "-SceneFilter takes scene ids with commas between them, not ','"),
    ("-Set seed=1", "-Set takes NODE.INPUT=VALUE, not 'seed'"),
    ("-VramSource smi", "-VramSource takes auto, comfyui or nvidia-smi, not 'smi'"),
    (
        "--vram-source nvidia-smi --comfyui-url http://u:s3cret@gpu-2:8188",
        "--vram-source nvidia-smi is a card of this machine, and http://gpu-2:8188 is another one: leave it out",
    ),
    (
        "-NvidiaSmiGpu GPU_5",
        "-NvidiaSmiGpu takes a card's index in nvidia-smi, or its UUID, GPU-..., not 'GPU_5'",
    ),
    ("summary -Fresh", "-Fresh is an option of a run, not of summary"),
    ("--archive -NoArchive", "--archive and --no-archive: which of them?"),
];

const BARE_WORDS_AND_PATHS: &[Case] = &[
    ("flwo.json", "'flwo.json': no such file or folder (nearest: 'flow.json')"),
    ("flosw/a.json", "'flosw/a.json': no such file or folder (nearest: 'flows')"),
    ("sumary", "'sumary': no such file or folder: did you mean the verb summary?"),
    (
        "-Json summary",
        "'summary': no such file or folder: the verb summary is the first word, in small letters",
    ),
    (
        "Summary",
        "'Summary': no such file or folder: the verb summary is the first word, in small letters",
    ),
    ("run flow.json", "'run': no such file or folder: a run needs no verb"),
    ("help", "'help': no such file or folder: did you mean --help?"),
    (
        "-FastIteration $false",
        "'$false': no such file or folder: a switch takes it after a colon, -Fresh:$false",
    ),
    ("nowhere/x.json", "'nowhere/x.json': no such file or folder"),
    ("C:\\gone␣away", "'C:\\gone away': no such file or folder"),
    ("a\nb.c", "'a\\nb.c': no such file or folder"),
    ("-", "'-': no such file or folder"),
    ("-- -Fresh --json", "'-Fresh': no such file or folder: did you mean --fresh?"),
    ("-- flow.json -Fresh", "'-Fresh': no such file or folder: did you mean --fresh?"),
    ("http://host:8188", "'http://host:8188': a URL goes after --comfyui-url"),
    ("notes.txt", "'notes.txt' is neither a folder nor a workflow, picture or video"),
    (
        "flows my␣project",
        "'my project' is a second folder: a run has one project root, and a folder of workflows goes after --workflow",
    ),
    (
        "-ProjectRoot flows my␣project",
        "-ProjectRoot is given twice: as an option and as 'my project'",
    ),
    ("--project-root nowhere", "--project-root nowhere: no such file or folder"),
    ("--project-root flow.json", "--project-root flow.json: not a folder"),
    ("--project-root=", "--project-root takes a folder, not ''"),
    ("--workflow flow.jsn", "--workflow flow.jsn: no such file or folder (nearest: 'flow.json')"),
    ("summary flows flows --html x", "--html takes one log or run folder at a time"),
    ("summary flows flows -JUnit x", "-JUnit takes one log or run folder at a time"),
    ("--junit x --markdown ./x", "--junit and --markdown name the same file"),
    ("summary flows -Prom x --html x", "--prom-file and --html name the same file"),
    ("summary flow", "'flow': no such file or folder (nearest: 'flows')"),
];

const MONITOR: &[Case] = &[
    ("monitor python x.py", "'python': the command of monitor goes after --"),
    ("monitor --", "monitor has no command behind its --"),
    (
        "monitor --duration 5 -- tool",
        "--duration is for monitor without a command: with one it ends when the command does",
    ),
    ("monitor -Append", "-Append needs -Log FILE"),
    ("monitor --append -- tool", "--append needs --log FILE"),
    ("monitor --log x --html x -- tool", "--html names the file of the log"),
    ("monitor --junit x", "--junit is an option of a run and summary, not of monitor"),
    ("--html x", "--html is an option of summary and monitor, not of a run"),
    ("--duration 5", "--duration is an option of monitor, not of a run"),
    ("summary --log x", "--log is an option of monitor, not of summary"),
    ("monitor --timeout 60", "unknown option --timeout: did you mean --duration?"),
    ("monitor --interval 1", "unknown option --interval: did you mean --sample-interval-seconds?"),
    ("monitor --output x", "unknown option --output: did you mean --log?"),
    ("monitor --token x", "unknown option --token: did you mean --header-file?"),
    ("summary --output x", "unknown option --output: did you mean --logs-dir?"),
    ("monitr", "'monitr': no such file or folder: did you mean the verb monitor?"),
];

#[test]
fn each_mistake_has_its_line() {
    let fixture = Fixture::new();
    for (line, refusal) in [OPTIONS, BARE_WORDS_AND_PATHS, MONITOR].concat() {
        assert_eq!(fixture.refusal(line), refusal, "{line}");
    }
    let empty = fixture.words([""]).expect_err("an empty word");
    assert_eq!(empty.to_string(), "'': no such file or folder");
}

#[test]
fn lines_of_variables() {
    let cases = [
        (
            "SCENE_MAX_WAIT_SECONDS",
            "SCENE_MAX_WAIT_SECONDS takes seconds from 1 to 604800 (also 90s, 10m, 2h), not 'x'",
        ),
        ("SCENE_RETRY_BUDGET", "SCENE_RETRY_BUDGET takes a number from 0 to 100, not 'x'"),
        (
            "SCENE_HISTORY_POLL_INTERVAL_SECONDS",
            "SCENE_HISTORY_POLL_INTERVAL_SECONDS takes seconds from 0.05 to 3600 (also 90s, 10m, 2h), not 'x'",
        ),
    ];
    for (variable, refusal) in cases {
        assert_eq!(Fixture::new().env(variable, "x").refusal(""), refusal);
    }
    let url = Fixture::new().env("LOCAL_COMFY_URL", "ftp://u:s3cret@host");
    let takes = "takes a URL such as http://127.0.0.1:8188, but";
    assert_eq!(url.refusal(""), format!("LOCAL_COMFY_URL {takes} its scheme is not http"));
}

#[test]
fn https_names_the_build_that_has_it() {
    if cfg!(feature = "tls") {
        assert_eq!(Fixture::new().run("--comfyui-url https://x").server.url.base(), "https://x");
        return;
    }
    let refusal = Fixture::new().refusal("--comfyui-url https://u:s3cret@x");
    assert_eq!(
        refusal,
        "--comfyui-url takes a URL such as http://127.0.0.1:8188, but https:// needs a build that \
         speaks TLS: a released program, or in the sources cargo install --locked --path . \
         --features tls"
    );
}

#[test]
fn lines_of_header_files() {
    let fixture = Fixture::new();
    fixture.write("h.txt", b"# two\n\nX-Key s3cret\n");
    fixture.write("binary", b"\xff\xfe\x00");
    fixture.write("large", &vec![b'#'; (1 << 20) + 1]);
    let cases = [
        ("h.txt", "--header-file h.txt, line 3: takes 'Name: value', but it has no colon"),
        ("large", "--header-file large: larger than 1 MiB"),
    ];
    for (file, refusal) in cases {
        assert_eq!(fixture.refusal(&format!("--header-file {file}")), refusal);
    }
    for file in ["gone", "binary", "flows"] {
        let refusal = fixture.refusal(&format!("--header-file {file}"));
        assert!(refusal.starts_with(&format!("--header-file {file}: ")), "{refusal}");
    }
}

#[test]
fn no_line_shows_a_credential() {
    let fixture = Fixture::new();
    fixture.write("h.txt", b"s3cret\n");
    let lines = [
        "--comfyui-url http://u:s3cret@host:x",
        "--comfyui-url http://u:s3%cret@host",
        "--comfyui-url u:s3cret@ho␣st",
        "--comfyui-ulr=http://u:s3cret@host",
        "-ComfyUlr:http://u:s3cret@host",
        "http://u:s3cret@host:8188",
        "u:s3cret@host:8188",
        "summary http://u:s3cret@host:8188",
        "--http://u:s3cret@host",
        "-Workflow http://u:s3cret@host",
        "-ComfyUIUrl=http://u:s3cret@host",
        "-Workflow=u:s3cret .more@host",
        "-Header=X:s3cret",
        "-Set=4 .key=s3cret",
        "-MaxWaitSeconds http://u:s3cret@host",
        "-Header s3cret",
        "-Header:X␣Y:s3cret",
        "--header=X:s3crét",
        "-HeaderFile h.txt",
        "-Header Authorization: Bearer s3cret",
        "--set key=s3cret",
        "-Fresh:http://u:s3cret@host",
    ];
    for line in lines {
        let refusal = fixture.refusal(line);
        assert!(!refusal.contains("s3c") && !refusal.contains('\n'), "{line}: {refusal}");
    }
    let shown = format!("{:?}", fixture.run("-ComfyUIUrl http://u:s3cret@host -Header X:s3cret"));
    assert!(!shown.contains("s3cret") && !shown.contains("Basic"), "{shown}");
}

#[cfg(unix)]
#[test]
fn words_that_are_not_unicode() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    let fixture = Fixture::new();
    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let refusal = |words: Vec<OsString>| fixture.words(words).expect_err("no Unicode").to_string();
    assert_eq!(refusal(vec![bytes(b"\xff.json")]), "'\u{fffd}.json': no such file or folder");
    assert_eq!(
        refusal(vec![bytes(b"-Workflow:\xff.json")]),
        "-Workflow:\u{fffd}.json is not Unicode: give the value as the next word"
    );
    assert_eq!(
        refusal(vec!["--seed".into(), bytes(b"\xff")]),
        "--seed takes a whole number from 0 to 18446744073709551615, random or keep, not '\u{fffd}'"
    );
    let file = bytes(b"\xfe.json");
    std::fs::write(fixture.path(&file), "{}").expect("a file");
    for words in [vec![file.clone()], vec!["-Workflow".into(), file.clone()]] {
        assert!(fixture.words(words).is_ok());
    }
    let mut inline = OsString::from("--workflow=");
    inline.push(&file);
    assert!(fixture.words([inline]).is_ok());
}
