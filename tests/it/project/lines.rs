//! Every command line of the script's callers, in a project, with scenes of some polls.

use serde_json::json;

use super::bench::{Project, template};

/// A line, and the begin of its `Queue policy:`.
const LINES: [(&str, &str); 16] = [
    (
        "",
        "sceneRetries=1, historyMaxWait=600s, historyPollInterval=2s, historyMaxAttempts=unbounded, postExecutionTimeout=30s",
    ),
    ("-FastIteration", FAST),
    ("-FastIteration -SkipLLMHealthCheck", FAST),
    ("-SkipLLMHealthCheck", "sceneRetries=1, historyMaxWait=600s"),
    ("-FastIteration -UseMockLLM", FAST),
    ("-FastIteration -LMStudioEndpoint http://127.0.0.1:9", FAST),
    ("-SceneRetryBudget 0 -FastIteration", "sceneRetries=0, historyMaxWait=360s"),
    (
        "-SceneRetryBudget 1 -SceneMaxWaitSeconds 600 -SceneHistoryPollIntervalSeconds 2",
        "sceneRetries=1, historyMaxWait=600s, historyPollInterval=2s",
    ),
    (
        "-MaxSceneRetries 2 -UseLocalLLM -SceneMaxWaitSeconds 180 -SceneHistoryMaxAttempts 30",
        "sceneRetries=2, historyMaxWait=180s, historyPollInterval=2s, historyMaxAttempts=30,",
    ),
    (
        "-SceneMaxWaitSeconds 900 -SceneHistoryMaxAttempts 5 -SceneHistoryPollIntervalSeconds 5 \
         -ScenePostExecutionTimeoutSeconds 60 -SceneRetryBudget 1 -UseLocalLLM \
         -LocalLLMProviderUrl PROVIDER -LocalLLMModel M -LocalLLMSeed 42 \
         -LocalLLMTemperature 0.35 -LocalLLMTimeoutMs 120000 -LocalLLMRequestFormat openai-chat",
        "sceneRetries=1, historyMaxWait=900s, historyPollInterval=5s, historyMaxAttempts=5, postExecutionTimeout=60s",
    ),
    (
        "-SceneMaxWaitSeconds 180 -SceneHistoryMaxAttempts 1 -SceneHistoryPollIntervalSeconds 2 \
         -ScenePostExecutionTimeoutSeconds 30",
        "sceneRetries=1, historyMaxWait=180s, historyPollInterval=2s, historyMaxAttempts=1,",
    ),
    ("-FastIteration -ErrorAction SilentlyContinue", FAST),
    ("-StopComfyUI", "sceneRetries=1"),
    ("-Debug", "sceneRetries=1"),
    (
        "-Fast -MaxW: 0x258 –SceneR 6e0",
        "sceneRetries=6, historyMaxWait=600s, historyPollInterval=1s",
    ),
    ("ROOT", "sceneRetries=1, historyMaxWait=600s"),
];
const FAST: &str = "sceneRetries=1, historyMaxWait=360s, historyPollInterval=1s, historyMaxAttempts=unbounded, postExecutionTimeout=15s";

#[track_caller]
fn work(lines: &[(&str, &str)]) {
    for (line, policy) in lines {
        let project = Project::new();
        let mut graph = template(0.1);
        graph["23"] = json!({"class_type": "Polled", "inputs": {"image": ["1", 0]}});
        graph["2"]["inputs"]["image"] = json!(["23", 0]);
        project.template(&graph);
        // The provider answers as ComfyUI would not; the health check has a URL that does.
        let (root, url) = (project.root(), project.server.url());
        let words: Vec<String> = line
            .split_whitespace()
            .map(|word| match word {
                "ROOT" => root.to_str().unwrap().to_owned(),
                "PROVIDER" => format!("{url}/v1/chat/completions"),
                word => word.to_owned(),
            })
            .collect();
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        let health = format!("{url}/system_stats");
        if line.contains("PROVIDER") {
            words.extend(["-LocalLLMHealthcheckUrl", &health]);
        }
        let ran = project.run("", &words).exits(0).says("OK: 3 of 3 scenes, exit 0");
        assert!(ran.stdout.contains(&format!("Queue policy: {policy}")), "{line}: {ran}");
        let broken =
            super::validator::broken(&project.read("run-summary.txt"), &project.metadata());
        assert!(broken.is_empty(), "{line}: {broken:?}");
        for scene in project.metadata()["Scenes"].as_array().unwrap() {
            let polls = scene["HistoryAttempts"].as_u64().unwrap();
            assert!(polls >= 3, "{line}: {polls} polls");
        }
    }
}

#[test]
fn the_first_lines_work() {
    work(&LINES[..4]);
}

#[test]
fn the_lines_behind_them_work() {
    work(&LINES[4..8]);
}

#[test]
fn the_long_lines_work() {
    work(&LINES[8..12]);
}

#[test]
fn the_last_lines_work() {
    work(&LINES[12..]);
}
