//! Credentials in URLs, headers and a header file: in no line, no file and no error.

use std::fs;

use serde_json::json;

use crate::machines::REPORTS;
use crate::scenes::{SOON, files};
use crate::stand_in::{Config, Fault, StandIn, graphs};
use crate::support::{Folder, Ran};

/// What was given, and what it becomes on the wire.
const SECRETS: [&str; 8] = [
    "s3cret-url",
    "dXNlcjpzM2NyZXQtdXJs",
    "s3cret-header",
    "s3cret-file",
    "s3cret-llm",
    "bGxtOnMzY3JldC1sbG",
    "s3cret-studio",
    "c3R1ZGlvOnMzY3JldC1zdHVkaW",
];
const BASIC: &str = "Basic dXNlcjpzM2NyZXQtdXJs";
/// The only files that may hold them: what the user wrote.
const GIVEN: &str = "headers.txt";

/// A project with a story of two scenes, one of which fails; its server, and that of its story.
struct Project {
    server: StandIn,
    llm: StandIn,
    folder: Folder,
}

impl Project {
    fn new() -> Self {
        let authorization = Some(BASIC.to_owned());
        let server = StandIn::with(Config { authorization, ..Config::cuda() });
        let (llm, folder) = (StandIn::start(), Folder::new());
        fs::create_dir_all(folder.path().join("scripts")).unwrap();
        folder.write(GIVEN, "X-Token: s3cret-file\n");
        let mut graph = graphs::video("video/x", 0.1, 0, 1);
        graph["2"] = json!({"class_type": "FailOn", "inputs": {
            "image": ["1", 0], "text": "__SCENE_ID__", "fail": "bad",
        }});
        graph["9"] = json!({"class_type": "Note", "inputs": {"text": "__PROMPT__"}});
        folder.workflow("flow.json", &graph);
        folder.workflow("long.json", &graphs::video("video/long", 600.0, 0, 2));
        let scenes = ["good", "bad"].map(|id| json!({"id": id, "prompt": "a fox"}));
        folder.write("story.json", json!({"scenes": scenes}).to_string());
        Project { server, llm, folder }
    }

    fn words(&self) -> Vec<String> {
        let with = |url: String, who: &str| url.replace("http://", &format!("http://{who}@"));
        let provider = format!("{}/v1/chat/completions", self.llm.url());
        [
            "--comfyui-url",
            &with(self.server.url(), "user:s3cret-url"),
            "--header",
            "X-Api-Key: s3cret-header",
            "--header-file",
            GIVEN,
            "-LocalLLMProviderUrl",
            &with(provider, "llm:s3cret-llm"),
            "-LMStudioEndpoint",
            &with(self.llm.url(), "studio:s3cret-studio"),
            "-Sample",
            "0.2",
            "-Poll",
            "0.2",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn with(&self, words: &[&str]) -> Vec<String> {
        self.words().into_iter().chain(words.iter().map(|word| (*word).to_owned())).collect()
    }

    /// The run of the story, with every report there is.
    fn run(&self) -> Ran {
        let words = [&["--story", "story.json", "flow.json"][..], &REPORTS].concat();
        self.folder.run(&self.with(&words))
    }

    /// Looks through all that was printed and written, archives among it: they are not compressed.
    #[track_caller]
    fn are_nowhere(&self) -> usize {
        let all = files(self.folder.path());
        for file in all.iter().filter(|file| !file.ends_with(GIVEN)) {
            let bytes = fs::read(file).unwrap();
            for secret in SECRETS {
                let holds = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
                assert!(!holds, "{} holds {secret}", file.display());
            }
        }
        all.len()
    }
}

#[test]
fn they_are_in_no_line_no_file_and_no_error() {
    let project = Project::new();
    let Project { server, llm, folder } = &project;
    let models = r#"{"data": [{"id": "one"}]}"#.to_owned();

    // The provider does not answer, and then it does.
    project.run().exits(1).says("no language model for the story: GET /v1/models at http://127.");
    llm.fail_next("GET /v1/models", usize::MAX, Fault::Body(models));
    server.fail_next("GET /view", 1, Fault::Status(500, "in trouble"));
    let ran = project.run().exits(1).says("✓ good").says("✗ bad  failed");
    assert!(ran.stdout.contains("Next: run-comfyui-e2e "), "{ran}");
    let sent = |name: &str, value: &str| {
        server.requests().iter().all(|request| request.header(name) == Some(value))
    };
    assert!(sent("x-token", "s3cret-file") && sent("x-api-key", "s3cret-header"));
    let archives = fs::read_dir(folder.path().join("artifacts")).unwrap().count();
    assert_eq!(archives, 2, "they are looked through too");

    // Somebody lets us in no more, and says what we said.
    for route in ["GET /system_stats", "POST /prompt", "GET /history/", "GET /view"] {
        for status in [401, 500] {
            server.fail_next(
                route,
                2,
                Fault::Status(status, "bad token s3cret-file, s3cret-header"),
            );
            server.fail_next(route, 1, Fault::Status(status, BASIC));
            assert_ne!(project.run().code, 0);
            server.clear_faults();
        }
    }
    server.fail_next("GET /system_stats", 1, Fault::Redirect("http://127.0.0.1:9/x".into()));
    project.run().exits(3);
    server.stop_listening();
    project.run().exits(3).says("connection refused");
    server.listen_again();

    // A killed one, its state file, and the run that finishes it.
    let running = folder.start(&project.with(&["long.json"]));
    assert!(server.wait_until_running(SOON));
    running.until_it_says("Wan2 prompt queued");
    running.kill();
    let states = files(folder.path());
    let is_state = |file: &&std::path::PathBuf| {
        file.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".json"))
            && file.to_string_lossy().contains(".run-comfyui-e2e.")
    };
    assert_eq!(states.iter().filter(is_state).count(), 1);
    project.are_nowhere();
    project.run().exits(1).says("was killed");
    assert!(server.queue_is_empty());

    // The other verbs, and what is refused.
    let monitor = &project.words()[..6];
    let words =
        [&["monitor"], &monitor.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat();
    let words = [&words[..], &["--log", "vram.log", "--html", "vram.html"]].concat();
    folder.run(&[&words[..], &["--duration", "0.3"]].concat()).exits(0);
    server.stop_listening();
    folder.run(&[&words[..], &["--append", "--duration", "0.3"]].concat()).exits(0);
    folder.run(&["summary"]);
    for words in [
        ["--comfyui-url", "http://user:s3cret-url@127.0.0.1:99999"],
        ["--comfyui-url", "ftp://user:s3cret-url@127.0.0.1"],
        ["--comfyui-url", "http://user:s3cret-url@"],
        ["--comfyui-url", "https://user:s3cret-url@127.0.0.1"],
        ["--header", "s3cret-header"],
        ["--header", "X Y: s3cret-header"],
        ["--header", "X-Y: s3cret-header\nX-Z: 1"],
        ["--local-llm-provider-url", "ftp://llm:s3cret-llm@127.0.0.1"],
        ["--lm-studio-endpoint", "http://studio:s3cret-studio@127.0.0.1:x"],
    ] {
        folder.run(&[&words[..], &["flow.json"]].concat()).exits(2);
    }
    for name in ["COMFYUI_URL", "LOCAL_STORY_PROVIDER_URL"] {
        let running = folder.start_with(&["flow.json"], |command| {
            command.env(name, "http://user:s3cret-url@127.0.0.1:x");
        });
        running.wait().exits(2);
    }
    assert!(project.are_nowhere() > 100);
}
