//! Command lines that have to work, and where a value comes from.

use std::time::{Duration, Instant};

use crate::seen;
use crate::stand_in::{StandIn, graphs};
use crate::support::{Folder, Ran};

const POLICY: &str = "Queue policy: ";

/// Runs `flow.json` with the words of a line; `␣` is a space inside a word.
fn flow(server: &StandIn, line: &str) -> (Folder, Ran) {
    let folder = Folder::new();
    folder.workflow("flow.json", &graphs::video("video/flow", 0.0, 0, 1));
    let words = line.split_whitespace().map(|word| word.replace('␣', " "));
    let words: Vec<String> = words.chain(["flow.json".to_owned()]).collect();
    let ran = folder.run_on(&server.url(), &words);
    (folder, ran)
}

#[track_caller]
fn each_line_means(cases: &[(&str, &str)]) {
    let server = StandIn::start();
    std::thread::scope(|scope| {
        for (line, policy) in cases {
            let server = &server;
            scope.spawn(move || {
                let (_folder, ran) = flow(server, line);
                let ran = ran.exits(0);
                assert_eq!(seen::line(&ran.stdout, POLICY), format!("{POLICY}{policy}"), "{line}");
            });
        }
    });
}

#[test]
fn the_script_s_command_lines_work() {
    let usual = "sceneRetries=1, historyMaxWait=600s, historyPollInterval=2s, historyMaxAttempts=unbounded, postExecutionTimeout=30s";
    let fast = "sceneRetries=1, historyMaxWait=360s, historyPollInterval=1s, historyMaxAttempts=unbounded, postExecutionTimeout=15s";
    each_line_means(&[
        ("", usual),
        ("-FastIteration", fast),
        ("-SceneRetryBudget 0 -FastIteration", &fast.replace("sceneRetries=1", "sceneRetries=0")),
        ("-SceneRetryBudget 1 -SceneMaxWaitSeconds 600 -SceneHistoryPollIntervalSeconds 2", usual),
        (
            "-MaxSceneRetries 2 -SceneMaxWaitSeconds 180 -SceneHistoryMaxAttempts 30",
            "sceneRetries=2, historyMaxWait=180s, historyPollInterval=2s, historyMaxAttempts=30, postExecutionTimeout=30s",
        ),
        (
            "-SceneMaxWaitSeconds 900 -SceneHistoryMaxAttempts 5 -SceneHistoryPollIntervalSeconds 5 \
             -ScenePostExecutionTimeoutSeconds 60 -SceneRetryBudget 1",
            "sceneRetries=1, historyMaxWait=900s, historyPollInterval=5s, historyMaxAttempts=5, postExecutionTimeout=60s",
        ),
        ("-FastIteration -ErrorAction SilentlyContinue", fast),
        ("-StopComfyUI", usual),
        ("-Debug -Verbose", usual),
    ]);
}

#[test]
fn both_spellings_and_all_their_liberties_work() {
    let policy = "sceneRetries=3, historyMaxWait=600s, historyPollInterval=0.5s, historyMaxAttempts=7, postExecutionTimeout=20s";
    each_line_means(&[
        ("-sceneretrybudget 3 -MAXW 0x258 -Poll .5 -HistoryM 7 -Post 20", policy),
        ("-SceneR:3 -MaxWaitSeconds:␣600␣ -PollI:0.5 –HistoryMaxAttempts 7 —Post 2e1", policy),
        (
            "--scene-retry-budget 3 --max-wait-seconds=6e2 --poll-interval-seconds=0.5 \
             --history-max-attempts 7 --post-execution-timeout-seconds 20",
            policy,
        ),
        ("-Fast:$false -SceneR 3 -Poll 0.5 -HistoryM 7 -Post 20", policy),
        ("-Fast: false -SceneR 3 -Poll 0.5 -HistoryM 7 -Post 20", policy),
        ("-Fast:$true -MaxW 600 -SceneR 3 -Poll 0.5 -HistoryM 7 -Post 20", policy),
    ]);
}

#[test]
fn a_long_scene_passes_although_one_history_attempt_is_allowed() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("long.json", &graphs::video("video/long", 1.5, 0, 2));
    let line = "-SceneMaxWaitSeconds 180 -SceneHistoryMaxAttempts 1 -SceneHistoryPollIntervalSeconds 0.1 -ScenePostExecutionTimeoutSeconds 30 long.json";
    let words: Vec<&str> = line.split(' ').collect();
    folder.run_on(&server.url(), &words).exits(0).says("OK: 1 of 1 scenes, exit 0");
    let polls = folder.metadata()["Scenes"][0]["Attempts"][0]["Polls"].as_u64().unwrap();
    assert!(polls > 5, "{polls} polls");
}

#[test]
fn the_first_bare_word_is_the_project_root_whatever_its_name() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let root = "mein größtes project 映画";
    let flow = format!("{root}/flow one.json");
    folder.workflow(&flow, &graphs::images("img/one", 1, 3));
    folder.run_on(&server.url(), &[root, &flow]).exits(0);
    let runs = std::fs::read_dir(folder.path().join(root).join("logs")).unwrap();
    let run = runs.last().unwrap().unwrap().path();
    assert!(run.join("outputs/flow_one/one_00001_.png").is_file(), "{:?}", seen::files(&run));
    assert!(folder.runs().is_empty(), "a folder of logs beside the project");
}

#[test]
fn options_that_do_nothing_are_told_once() {
    let (_folder, ran) = flow(&StandIn::start(), "-StopComfyUI -ErrorAction Stop");
    ran.says("WARNING: -StopComfyUI, -ErrorAction are accepted, but do nothing");
}

#[test]
fn a_server_that_comes_up_later_is_waited_for() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 4));
    server.stop_listening();
    let running = folder.start_on(&server.url(), &["--wait-for-comfyui", "60", "flow.json"]);
    let until = Instant::now() + Duration::from_secs(30);
    while !running.printed()[0].contains("Waiting up to 60 s for ComfyUI at ") {
        assert!(Instant::now() < until, "it does not wait: {:?}", running.printed());
        std::thread::sleep(Duration::from_millis(2));
    }
    server.listen_again();
    let ran = running.wait().exits(0);
    assert_eq!(ran.stdout.matches("Waiting up to").count(), 1, "{ran}");
}

/// Runs with these variables, and says what became of the server's URL and the policy.
fn with_env(server: &StandIn, variables: &[(&str, &str)], words: &[&str]) -> (u64, String, usize) {
    let folder = Folder::new();
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 5));
    let words: Vec<&str> = words.iter().copied().chain(["flow.json"]).collect();
    let running = folder.start_with(&words, |command| {
        command.envs(variables.iter().copied());
    });
    let ran = running.wait().exits(0);
    let queue = folder.metadata()["QueueConfig"].clone();
    let wait = queue["HistoryMaxWaitSeconds"].as_u64().unwrap();
    (wait, seen::line(&ran.stdout, POLICY).to_owned(), server.posted())
}

#[test]
fn the_environment_gives_what_the_command_line_does_not() {
    let server = StandIn::start();
    let url = server.url();
    let variables = [
        ("LOCAL_COMFY_URL", url.as_str()),
        ("SCENE_MAX_WAIT_SECONDS", "70"),
        ("SCENE_HISTORY_POLL_INTERVAL_SECONDS", "3"),
        ("SCENE_HISTORY_MAX_ATTEMPTS", "9"),
        ("SCENE_POST_EXECUTION_TIMEOUT_SECONDS", "8"),
        ("SCENE_RETRY_BUDGET", "2"),
    ];
    let (_, policy, posted) = with_env(&server, &variables, &[]);
    assert_eq!(
        policy,
        "Queue policy: sceneRetries=2, historyMaxWait=70s, historyPollInterval=3s, historyMaxAttempts=9, postExecutionTimeout=8s"
    );
    assert_eq!(posted, 1);
}

#[test]
fn the_command_line_wins_over_fast_iteration_and_that_over_the_environment() {
    let server = StandIn::start();
    let url = server.url();
    let wait = ("SCENE_MAX_WAIT_SECONDS", "70");
    // Nobody listens at port 1: only the stronger variable can be meant.
    let comfyui = ("COMFYUI_URL", url.as_str());
    let variables = [wait, comfyui, ("LOCAL_COMFY_URL", "http://127.0.0.1:1")];
    assert_eq!(with_env(&server, &variables, &[]).0, 70);
    assert_eq!(with_env(&server, &variables, &["-FastIteration"]).0, 360);
    assert_eq!(with_env(&server, &variables, &["-FastIteration", "-MaxWait", "50"]).0, 50);
    let words = ["-MaxWaitSeconds", "50", "-SceneMaxWaitSeconds", "40", "-ComfyUIUrl", &url];
    let (wait, _, posted) = with_env(&server, &[("COMFYUI_URL", "http://127.0.0.1:1")], &words);
    assert_eq!((wait, posted), (40, 4));
    let empty = [("SCENE_MAX_WAIT_SECONDS", " "), comfyui];
    assert_eq!(with_env(&server, &empty, &[]).0, 600, "an empty variable is no value");
}

#[test]
fn the_path_prefix_and_the_credentials_of_the_url_reach_the_server() {
    let server = StandIn::with(crate::stand_in::Config {
        prefix: "/comfy".into(),
        authorization: Some("Basic dXNlcjpzM2NyZXQ=".into()),
        ..crate::stand_in::Config::default()
    });
    let folder = Folder::new();
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 6));
    let url = server.url().replace("http://", "http://user:s3cret@") + "/";
    let ran = folder.run_on(&url, &["flow.json"]).exits(0);
    let said = format!("{}{}{}", ran.stdout, ran.stderr, folder.read("artifact-metadata.json"));
    assert!(!said.contains("s3cret") && said.contains("/comfy"), "{said}");
}
