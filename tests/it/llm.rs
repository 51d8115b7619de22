//! The language models: whether the story's provider answers, and LM Studio's models, which leave
//! the card before the scenes.

mod studio;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use serde_json::json;

use crate::scenes::{agent, files};
use crate::signals;
use crate::stand_in::{Config, Fault, StandIn, graphs};
use crate::support::{Folder, Ran, Running};
use studio::{Answer, Studio};

/// `user:s3cret` as the header has it.
const BASIC: &str = "Basic dXNlcjpzM2NyZXQ=";

/// A project with one scene, its `ComfyUI`, and nothing on the program's PATH but its own programs.
struct Project {
    comfyui: Arc<StandIn>,
    folder: Folder,
}

impl Project {
    fn new() -> Self {
        let (comfyui, folder) = (Arc::new(StandIn::with(Config::cuda())), Folder::new());
        fs::create_dir_all(folder.path().join("scripts")).unwrap();
        fs::create_dir_all(folder.path().join("programs")).unwrap();
        let mut flow = graphs::images("flow", 1, 1);
        flow["9"] = json!({"class_type": "Note", "inputs": {"text": "__PROMPT__"}});
        folder.workflow("flow.json", &flow);
        folder.write("story.json", r#"{"scenes": [{"id": "flow", "prompt": "a fox"}]}"#);
        Project { comfyui, folder }
    }

    fn start(&self, words: &[&str], change: impl FnOnce(&mut Command)) -> Running {
        let url = self.comfyui.url();
        let all =
            [&["--comfyui-url", &url, "--no-archive", "--story", "story.json", "flow.json"], words]
                .concat();
        self.folder.start_with(&all, |command| {
            signals::alone(command);
            change(command.env("PATH", self.folder.path().join("programs")));
        })
    }

    /// Runs it where LM Studio has nothing loaded.
    fn checked(&self, words: &[&str], change: impl FnOnce(&mut Command)) -> Ran {
        self.start(&[words, &["-SkipLMStudioUnload"]].concat(), change).wait()
    }

    /// Runs it with this LM Studio.
    fn unloaded(&self, url: &str) -> Ran {
        // Nobody but the unload asks for the memory meanwhile.
        let words = ["-LMStudioEndpoint", url, "-SampleIntervalSeconds", "3600"];
        self.start(&words, |_| {}).wait()
    }

    /// An lms that prints its arguments and ends with this code.
    fn lms(&self, code: i32) {
        if cfg!(windows) {
            self.folder.write("programs/lms.cmd", format!("@echo %*\r\n@exit /b {code}\r\n"));
        } else {
            let text = format!("#!/bin/sh\necho \"$@\"\nexit {code}\n");
            executable(&self.folder.write("programs/lms", text));
        }
    }

    /// Fails the test if a file holds the credentials, the program's output among them.
    #[track_caller]
    fn keeps_the_secret(&self) {
        for file in files(self.folder.path()) {
            let text = fs::read(&file).unwrap();
            let text = String::from_utf8_lossy(&text);
            let secret = text.contains("s3cret") || text.contains(&BASIC[6..]);
            assert!(!secret, "{}:\n{text}", file.display());
        }
    }
}

#[cfg(unix)]
fn executable(file: &PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(not(unix))]
fn executable(_: &PathBuf) {}

#[test]
fn a_provider_that_answers_lets_the_run_go_on() {
    let (project, studio) = (Project::new(), Studio::with(|_, _| list(&["a", "b"])));
    for host in ["127.0.0.1", "localhost"] {
        let address = format!("{host}:{}", studio.port());
        let provider = format!("http://user:s3cret@{address}/v1/chat/completions");
        let line = format!(
            "] [LLM] Health check: success (url=http://{address}/v1/models, models=2, override=false)\n"
        );
        project.checked(&["-LocalLLMProviderUrl", &provider], |_| {}).exits(0).says(&line);
        assert!(project.folder.read("run-summary.txt").contains(&line));
    }
    let requests = studio.requests();
    assert_eq!(studio.asked(), ["GET /v1/models"; 2]);
    assert!(requests.iter().all(|request| request.header("authorization") == Some(BASIC)));
    project.keeps_the_secret();
}

#[test]
fn a_provider_that_does_not_ends_it_before_anything_is_sent() {
    let project = Project::new();
    let text = |status, text: &'static str| {
        Studio::with(move |_, _| Answer::Text(status, text.to_owned()))
    };
    let cases = [
        (text(500, "out of luck"), "HTTP 500: out of luck"),
        (text(401, ""), "HTTP 401 (it wants other credentials: user:password@ in the URL)"),
        (text(200, "<html>"), "an answer that is not JSON"),
        (text(200, "{\"error\": \"no route\"}"), "an answer without models: no route"),
        (Studio::with(|_, _| Answer::Nothing), "no answer in time"),
    ];
    for (studio, why) in &cases {
        let provider = format!("http://user:s3cret@127.0.0.1:{}", studio.port());
        let why = format!("GET /v1/models at {}: {why}", studio.url());
        let ran = project.checked(&["-LocalLLMProviderUrl", &provider], |_| {}).exits(1);
        let ran = ran.says(&format!("] [LLM] Health check failed: {why}\n")).says(&format!(
            "] ERROR: no language model for the story: {why}: start it, or \
             --local-llm-provider-url URL, or --local-llm-healthcheck-url URL, or \
             --skip-llm-health-check\n"
        ));
        ran.says("✗ flow  skipped: no language model\n");
    }
    project
        .checked(&["-LocalLLMProviderUrl", "http://user:s3cret@127.0.0.1:9/v1"], |_| {})
        .exits(1)
        .says("Health check failed: GET /v1/models at http://127.0.0.1:9: connection refused\n");
    assert_eq!(project.comfyui.posts(), [""; 0]);
    project.keeps_the_secret();
}

#[test]
fn another_url_is_asked_in_its_place() {
    let project = Project::new();
    let studio = Studio::with(|_, _| Answer::Text(200, "ok".to_owned()));
    let (port, provider) = (studio.port(), "http://127.0.0.1:9/v1");
    let health = format!("http://user:s3cret@127.0.0.1:{port}/deep/health");
    let line = format!(
        "Health check: success (url=http://127.0.0.1:{port}/deep/health, models=unknown, override=true)\n"
    );
    let words = ["-LocalLLMProviderUrl", provider, "-LocalLLMHealthcheckUrl", &health];
    project.checked(&words, |_| {}).exits(0).says(&line);
    let environment = |command: &mut Command| {
        command.env("LOCAL_STORY_PROVIDER_URL", provider).env("LOCAL_LLM_HEALTHCHECK_URL", &health);
    };
    project.checked(&[], environment).exits(0).says(&line);
    assert_eq!(studio.asked(), ["GET /deep/health"; 2]);
    project.keeps_the_secret();
}

#[test]
fn a_check_that_is_not_wanted_asks_nobody() {
    let (project, studio) = (Project::new(), Studio::with(|_, _| Answer::Nothing));
    let (url, line) = (studio.url(), "] [LLM] Health check: skipped by operator request\n");
    let words = ["-LocalLLMProviderUrl", &url, "-SkipLLMHealthCheck"];
    project.checked(&words, |_| {}).exits(0).says(line);
    let by_environment = |command: &mut Command| {
        command.env("LOCAL_LLM_SKIP_HEALTHCHECK", "1");
    };
    project.checked(&words[..2], by_environment).exits(0).says(line);
    let none = "] [LLM] Health check: skipped (no local provider configured)\n";
    project.checked(&["-LocalLLMHealthcheckUrl", &url], |_| {}).exits(0).says(none);
    assert_eq!(studio.asked(), [""; 0]);
}

#[test]
fn models_are_seen_to_go_and_their_memory_to_come_free() {
    let project = Project::new();
    project.comfyui.set_used_mb(9140);
    project.lms(0);
    let comfyui = Arc::clone(&project.comfyui);
    let full = agent().get(format!("{}/system_stats", comfyui.url())).call().unwrap();
    let full = full.into_body().read_to_string().unwrap();
    let studio = Studio::with(move |path, count| {
        assert_eq!(path, "/api/v0/models");
        // The first look, before lms; then two that still see it.
        if count < 4 {
            return states(&["loaded", "not-loaded"]);
        }
        // The memory is free only after it was looked at twice.
        comfyui.fail_next("GET /system_stats", 2, Fault::Body(full.clone()));
        comfyui.set_used_mb(2140);
        states(&["not-loaded", "not-loaded"])
    });
    let url = format!("http://user:s3cret@127.0.0.1:{}", studio.port());
    project
        .unloaded(&url)
        .exits(0)
        .says("] ✓ LM Studio model unloaded - VRAM available for ComfyUI\n")
        .says("] LM Studio unload: freed 7000 MB (free 15436 to 22436 MB)\n");
    assert_eq!(project.folder.read("steps/lms-unload.log").trim_end(), "unload --all");
    assert_eq!(studio.asked().len(), 4);
    let requests = studio.requests();
    assert!(requests.iter().all(|request| request.header("authorization") == Some(BASIC)));
    project.keeps_the_secret();
}

#[test]
fn an_older_lm_studio_lists_what_is_loaded() {
    let answers: [fn() -> Answer; 2] = [
        || Answer::Text(404, String::new()),
        || Answer::Text(200, "{\"error\": \"Unexpected endpoint\"}".to_owned()),
    ];
    for answer in answers {
        let project = Project::new();
        project.lms(0);
        let studio = Studio::with(move |path, count| match path {
            "/v1/models" => list(if count < 2 { &["a"] } else { &[] }),
            _ => answer(),
        });
        project.unloaded(&studio.url()).exits(0).says("✓ LM Studio model unloaded");
        assert_eq!(studio.asked(), ["GET /api/v0/models", "GET /v1/models", "GET /v1/models"]);
    }
}

#[test]
fn where_nothing_is_to_be_unloaded_lms_is_not_started() {
    let project = Project::new();
    project.lms(0);
    let skipped = |url: &str, why: &str| {
        let line = format!("] LM Studio unload skipped: {why}\n");
        project.unloaded(url).exits(0).says(&line);
    };
    let idle = Studio::with(|_, _| states(&["not-loaded"]));
    skipped(&idle.url(), "no model is loaded");
    skipped(
        "http://user:s3cret@127.0.0.1:9",
        "no LM Studio at http://127.0.0.1:9 (connection refused)",
    );
    let broken = Studio::with(|_, _| Answer::Text(500, "broken".to_owned()));
    let url = broken.url();
    skipped(&url, &format!("GET /v1/models at {url}: HTTP 500: broken"));
    let silent = Studio::with(|_, _| Answer::Nothing);
    let url = silent.url();
    skipped(&url, &format!("no LM Studio at {url} (no answer in time)"));
    assert_eq!(silent.asked().len(), 1, "a server that does not answer is asked once");

    let loaded = Studio::with(|_, _| states(&["loaded"]));
    let words = ["-LMStudioEndpoint", &loaded.url(), "-SkipLMStudioUnload"];
    let line = "] Skipping LM Studio unload (--SkipLMStudioUnload flag)\n";
    project.start(&words, |_| {}).wait().exits(0).says(line);
    assert_eq!(loaded.asked(), [""; 0]);
    assert!(project.folder.runs().iter().all(|run| !run.join("steps").exists()));
    project.keeps_the_secret();
}

#[test]
fn an_lms_that_is_missing_or_fails_costs_a_warning() {
    let (project, studio) = (Project::new(), Studio::with(|_, _| states(&["loaded", "loaded"])));
    let missing = "] ⚠ LM Studio unload failed: 2 models are loaded, but lms is not on the PATH: \
                   it comes with LM Studio\n";
    project.unloaded(&studio.url()).exits(0).says(missing);
    project.lms(3);
    let ran = project.unloaded(&studio.url()).exits(0);
    let log = project.folder.newest().join("steps").join("lms-unload.log");
    ran.says(&format!(
        "] ⚠ LM Studio unload failed: lms unload --all ended with exit code 3: see {}\n",
        log.display()
    ));
    assert_eq!(fs::read_to_string(log).unwrap().trim_end(), "unload --all");
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn waiting_for_models_that_stay_ends_with_an_interrupt() {
    let (project, studio) = (Project::new(), Studio::with(|_, _| states(&["loaded"])));
    project.lms(0);
    let running = project.start(&["-LMStudioEndpoint", &studio.url()], |_| {});
    studio.wait_until_asked(3);
    signals::ctrl_c(&running);
    running.wait().exits(130).says("✗ flow  skipped: interrupted");
    assert!(studio.asked().len() < 60, "30 s were waited out");
}

/// A list of models by their ids.
fn list(ids: &[&str]) -> Answer {
    let models: Vec<_> = ids.iter().map(|id| serde_json::json!({"id": id})).collect();
    Answer::Text(200, serde_json::json!({"object": "list", "data": models}).to_string())
}

/// LM Studio's own list, by their states.
fn states(states: &[&str]) -> Answer {
    let models: Vec<_> = states.iter().map(|state| serde_json::json!({"state": state})).collect();
    Answer::Text(200, serde_json::json!({"object": "list", "data": models}).to_string())
}
