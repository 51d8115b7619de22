//! The language models: whether the story's provider answers, and LM Studio's models, which leave
//! the card before the scenes.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::signals;
use crate::stand_in::{Config, Fault, StandIn, graphs};
use crate::support::{Folder, Ran, Running, SOON, executable, get};

/// `user:s3cret` as the header has it.
const BASIC: &str = "Basic dXNlcjpzM2NyZXQ=";
const SECRETS: [&str; 2] = ["s3cret", "dXNlcjpzM2NyZXQ="];
/// LM Studio's own list, and the one that others have too.
const STATES: &str = "GET /api/v0/models";
const MODELS: &str = "GET /v1/models";
const ALWAYS: usize = usize::MAX;

/// A project with one scene, its `ComfyUI`, and nothing on the program's PATH but its own programs.
struct Project {
    comfyui: StandIn,
    folder: Folder,
}

impl Project {
    fn new() -> Self {
        let (comfyui, folder) = (StandIn::with(Config::cuda()), Folder::new());
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

    fn checked(&self, words: &[&str], change: impl FnOnce(&mut Command)) -> Ran {
        self.start(&[words, &["-SkipLMStudioUnload"]].concat(), change).wait()
    }

    fn unloaded(&self, url: &str) -> Ran {
        self.start(&["-LMStudioEndpoint", url], |_| {}).wait()
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
}

/// A server of language models whose requests of a route meet this.
fn models(route: &str, fault: Fault) -> StandIn {
    let server = StandIn::start();
    server.fail_next(route, ALWAYS, fault);
    server
}

fn asked(server: &StandIn) -> Vec<String> {
    let requests = server.requests();
    requests.iter().map(|request| format!("{} {}", request.method, request.path)).collect()
}

fn with_credentials(server: &StandIn) -> String {
    server.url().replace("http://", "http://user:s3cret@")
}

#[test]
fn a_provider_that_answers_lets_the_run_go_on() {
    let (project, studio) = (Project::new(), models(MODELS, list(&["a", "b"])));
    for host in ["127.0.0.1", "localhost"] {
        let address = format!("{host}:{}", studio.port());
        let provider = format!("http://user:s3cret@{address}/v1/chat/completions");
        let line = format!(
            "] [LLM] Health check: success (url=http://{address}/v1/models, models=2, override=false)\n"
        );
        project.checked(&["-LocalLLMProviderUrl", &provider], |_| {}).exits(0).says(&line);
        assert!(project.folder.read("run-summary.txt").contains(&line));
    }
    assert_eq!(asked(&studio), [MODELS; 2]);
    let requests = studio.requests();
    assert!(requests.iter().all(|request| request.header("authorization") == Some(BASIC)));
    project.folder.holds_none_of(&SECRETS, "");
}

#[test]
fn a_provider_that_does_not_answer_ends_the_run_before_anything_is_sent() {
    let project = Project::new();
    for (fault, why) in [
        (Fault::Status(500, "out of luck"), "HTTP 500: out of luck"),
        (
            Fault::Status(401, ""),
            "HTTP 401 (it wants other credentials: user:password@ in the URL)",
        ),
        (Fault::Body("<html>".into()), "an answer that is not JSON"),
        (Fault::Body("{\"error\": \"no route\"}".into()), "an answer without models: no route"),
    ] {
        let studio = models(MODELS, fault);
        let why = format!("GET /v1/models at {}: {why}", studio.url());
        let words = ["-LocalLLMProviderUrl", &with_credentials(&studio)];
        let ran = project.checked(&words, |_| {}).exits(1);
        ran.says(&format!("] [LLM] Health check failed: {why}\n"))
            .says(&format!(
                "] ERROR: no language model for the story: {why}: start it, or \
                 --local-llm-provider-url URL, or --local-llm-healthcheck-url URL, or \
                 --skip-llm-health-check\n"
            ))
            .says("✗ flow  skipped: no language model\n");
    }
    assert_eq!(project.comfyui.posts(), [""; 0]);
    project.folder.holds_none_of(&SECRETS, "");
}

#[test]
fn another_url_is_asked_in_its_place() {
    let project = Project::new();
    let studio = models("GET /deep/health", Fault::Body("ok".into()));
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
    assert_eq!(asked(&studio), ["GET /deep/health"; 2]);
    project.folder.holds_none_of(&SECRETS, "");
}

#[test]
fn a_check_that_is_not_wanted_asks_nobody() {
    let (project, studio) = (Project::new(), StandIn::start());
    let (url, line) = (studio.url(), "] [LLM] Health check: skipped by operator request\n");
    let words = ["-LocalLLMProviderUrl", &url, "-SkipLLMHealthCheck"];
    project.checked(&words, |_| {}).exits(0).says(line);
    let by_environment = |command: &mut Command| {
        command.env("LOCAL_LLM_SKIP_HEALTHCHECK", "1");
    };
    project.checked(&words[..2], by_environment).exits(0).says(line);
    let none = "] [LLM] Health check: skipped (no local provider configured)\n";
    project.checked(&["-LocalLLMHealthcheckUrl", &url], |_| {}).exits(0).says(none);
    assert_eq!(asked(&studio), [""; 0]);
}

#[test]
fn models_are_seen_to_go_and_their_memory_to_come_free() {
    let project = Project::new();
    project.lms(0);
    // One server is both, so that its answers have an order: the models are loaded at the look before
    // lms and at two looks after it; their memory is in use until after they are gone, the sampler's
    // looks among those.
    let server = &project.comfyui;
    server.set_used_mb(9140);
    let full = String::from_utf8(get(server, "/system_stats")).unwrap();
    server.set_used_mb(2140);
    server.fail_after(STATES, "GET /system_stats", 9, Fault::Body(full));
    server.fail_next(STATES, 3, states(&["loaded", "not-loaded"]));
    server.fail_next(STATES, ALWAYS, states(&["not-loaded", "not-loaded"]));
    project
        .unloaded(&with_credentials(server))
        .exits(0)
        .says("] ✓ LM Studio model unloaded - VRAM available for ComfyUI\n")
        .says("] LM Studio unload: freed 7000 MB (free 15436 to 22436 MB)\n");
    assert_eq!(project.folder.read("steps/lms-unload.log").trim_end(), "unload --all");
    let requests = server.requests();
    let looks: Vec<_> = requests.iter().filter(|request| request.is(STATES)).collect();
    assert_eq!(looks.len(), 4);
    assert!(looks.iter().all(|request| request.header("authorization") == Some(BASIC)));
    project.folder.holds_none_of(&SECRETS, "");
}

#[test]
fn an_older_lm_studio_lists_what_is_loaded() {
    for unknown in
        [Fault::Status(404, ""), Fault::Body("{\"error\": \"Unexpected endpoint\"}".to_owned())]
    {
        let (project, studio) = (Project::new(), models(STATES, unknown));
        project.lms(0);
        studio.fail_next(MODELS, 1, list(&["a"]));
        studio.fail_next(MODELS, ALWAYS, list(&[]));
        project.unloaded(&studio.url()).exits(0).says("✓ LM Studio model unloaded");
        assert_eq!(asked(&studio), [STATES, MODELS, MODELS]);
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
    let idle = models(STATES, states(&["not-loaded"]));
    skipped(&idle.url(), "no model is loaded");
    let broken = models("GET /", Fault::Status(500, "broken"));
    let url = broken.url();
    skipped(&url, &format!("GET /v1/models at {url}: HTTP 500: broken"));
    let silent = models("GET /", Fault::Hang);
    let url = silent.url();
    skipped(&url, &format!("no LM Studio at {url} (no answer in time)"));
    assert_eq!(silent.requests().len(), 1, "a server that does not answer is asked once");

    let loaded = models(STATES, states(&["loaded"]));
    let words = ["-LMStudioEndpoint", &loaded.url(), "-SkipLMStudioUnload"];
    let line = "] Skipping LM Studio unload (--SkipLMStudioUnload flag)\n";
    project.start(&words, |_| {}).wait().exits(0).says(line);
    assert_eq!(asked(&loaded), [""; 0]);
    assert!(project.folder.runs().iter().all(|run| !run.join("steps").exists()));
    project.folder.holds_none_of(&SECRETS, "");
}

#[test]
fn an_lms_that_is_missing_or_fails_costs_a_warning() {
    let (project, studio) = (Project::new(), models(STATES, states(&["loaded", "loaded"])));
    let missing = "] ⚠ LM Studio unload failed: 2 models are loaded, but lms is not on the PATH: \
                   it comes with LM Studio\n";
    project.unloaded(&studio.url()).exits(0).says(missing);
    project.lms(3);
    let ran = project.unloaded(&studio.url()).exits(0);
    let log = project.folder.newest().join("steps").join("lms-unload.log");
    ran.says(&format!(
        "] ⚠ LM Studio unload failed: lms unload --all: exit code 3: see {}\n",
        log.display()
    ));
    assert_eq!(fs::read_to_string(log).unwrap().trim_end(), "unload --all");
}

/// The whole of its 30 seconds.
#[cfg(unix)]
#[test]
fn an_lms_that_does_not_end_is_ended_with_what_it_started() {
    let (project, studio) = (Project::new(), models(STATES, states(&["loaded"])));
    let script = "#!/bin/sh\n/bin/sh -c 'echo $$; exec /bin/sleep 300' &\nwait\n";
    executable(&project.folder.write("programs/lms", script));
    let failed = "] ⚠ LM Studio unload failed: lms unload --all: not done after 30 s, ended with all it started: see ";
    project.unloaded(&studio.url()).exits(0).says(failed);
    let started = project.folder.read("steps/lms-unload.log");
    crate::support::wait_until("its end", || !crate::support::is_alive(started.trim()));
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn waiting_for_models_that_stay_ends_with_an_interrupt() {
    let (project, studio) = (Project::new(), models(STATES, states(&["loaded"])));
    project.lms(0);
    let running = project.start(&["-LMStudioEndpoint", &studio.url()], |_| {});
    assert!(studio.wait_until_request(STATES, 3, SOON));
    signals::ctrl_c(&running);
    running.wait().exits(130).says("✗ flow  skipped: interrupted");
    assert!(studio.requests().len() < 60, "30 s were waited out");
}

fn list(ids: &[&str]) -> Fault {
    listed("id", ids)
}

fn states(states: &[&str]) -> Fault {
    listed("state", states)
}

fn listed(name: &str, values: &[&str]) -> Fault {
    let models: Vec<_> = values.iter().map(|value| json!({name: value})).collect();
    Fault::Body(json!({"object": "list", "data": models}).to_string())
}
