//! Credentials in URLs, headers and a header file: in no line, no file and no error.

use std::fs;

use base64::prelude::{BASE64_STANDARD, Engine};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::reports::REPORTS;
use crate::stand_in::{Config, Fault, StandIn, graphs};
use crate::support::{Folder, Ran, SOON, files};

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
        let prefix = "/comfy".to_owned();
        // Its answers go into the metadata.
        let system = json!({"argv": ["main.py", "--api-key", "s3cret-llm", "s3cret-file", BASIC]});
        let server = StandIn::with(Config { system, prefix, authorization, ..Config::cuda() });
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
        let words = format!(
            "--comfyui-url {} --header X-Api-Key:␣s3cret-header --header-file {GIVEN} \
             -LocalLLMProviderUrl {} -LMStudioEndpoint {} -Sample 0.2 -Poll 0.2",
            with(self.server.url(), "user:s3cret-url"),
            with(provider, "llm:s3cret-llm"),
            with(self.llm.url(), "studio:s3cret-studio"),
        );
        words.split(' ').map(|word| word.replace('␣', " ")).collect()
    }

    fn with(&self, words: &[&str]) -> Vec<String> {
        self.words().into_iter().chain(words.iter().map(|word| (*word).to_owned())).collect()
    }

    /// The run of the story, with every report there is.
    fn run(&self) -> Ran {
        let words = [&["--story", "story.json", "flow.json"][..], &REPORTS].concat();
        self.folder.run(&self.with(&words))
    }
}

#[test]
fn credentials_are_in_no_output_file_or_error() {
    let project = Project::new();
    let Project { server, llm, folder } = &project;
    let models = r#"{"data": [{"id": "one"}]}"#.to_owned();

    // The provider does not answer, and then it does.
    project.run().exits(1).says("no language model for the story: GET /v1/models at http://127.");
    llm.fail_next("GET /v1/models", usize::MAX, Fault::Body(models));
    server.fail_next("GET /view", 1, Fault::Status(500, "in trouble"));
    let ran = project.run().exits(1).says("✓ good").says("✗ bad  failed");
    assert!(ran.stdout.contains("Next       run-comfyui-e2e "), "{ran}");
    let sent = |name: &str, value: &str| {
        server.requests().iter().all(|request| request.header(name) == Some(value))
    };
    assert!(sent("x-token", "s3cret-file") && sent("x-api-key", "s3cret-header"));
    assert!(server.requests().iter().all(|request| request.path.starts_with("/comfy/")));
    let argv = json!(["main.py", "--api-key", "***", "***", "Basic ***"]);
    let told = &folder.metadata()["Scenes"][0]["Telemetry"]["System"]["After"]["system"]["argv"];
    assert_eq!(*told, argv);
    ran.says(&format!("Using ComfyUI URL: {}", server.url()));
    let archives = fs::read_dir(folder.path().join("artifacts")).unwrap().count();
    assert_eq!(archives, 2, "they are looked through too");

    // Somebody lets us in no more, and says what we said.
    for route in ["GET /system_stats", "POST /prompt", "GET /history/", "GET /view"] {
        for status in [401, 500] {
            let said = Fault::Status(status, "bad token s3cret-file, s3cret-header");
            server.fail_next(route, 2, said);
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
    drop(running);
    let state = format!(".run-comfyui-e2e.127.0.0.1-{}", server.port());
    let states = files(folder.path()).into_iter().filter(|file| file.starts_with(&state));
    assert_eq!(states.count(), 2, "the lock and the state");
    folder.holds_none_of(&SECRETS, GIVEN);
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
    // Archives among them, which are not compressed.
    folder.holds_none_of(&SECRETS, GIVEN);
    assert!(files(folder.path()).len() > 100);
}

#[test]
fn a_server_repeats_them_in_other_forms() {
    // The words of the password, of a header and of a file, and what others make of them.
    let secrets = [
        "pass w/rd",
        "pass%20w%2Frd",
        "pass+w%2frd",
        "pass w\\/rd",
        "pass\\u0020w/rd",
        "cGFzcyB3L3Jk",
        "us3r:pass",
        "q7",
        "s3",
        "c0rrect horse",
        "c0rrect%20horse",
        "YzBycmVjdCBob3JzZQ",
    ];
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.write(GIVEN, "X-Phrase: c0rrect horse\n");
    folder.workflow("flow.json", &graphs::images("img/x", 1, 1));
    let url = server.url().replace("http://", "http://us3r:pass%20w%2Frd@");
    let words = ["--header", "X-Pin: q7", "--header", "X-Other: Bearer s3", "--header-file", GIVEN];
    let words = [&["--comfyui-url", &url], &words[..], &["flow.json"], &REPORTS].concat();
    let said = secrets.map(|secret| format!("{secret}.")).join(" ");
    let spaces = " ".repeat(1990);
    let plain: &'static str = format!("{spaces} {said}").leak();
    let error = json!({"error": {"message": "x".repeat(990) + " pass w/rd", "details": said}});
    let error: &'static str = error.to_string().leak();
    let errors = json!([{"message": said, "details": "pass w/rd"}]);
    let nodes = json!({"error": "no", "node_errors": {"pass w/rd": {"class_type": said, "errors": errors}}});
    let nodes: &'static str = nodes.to_string().leak();
    for (route, fault) in [
        ("GET /system_stats", Fault::Status(401, plain)),
        (
            "GET /system_stats",
            Fault::Body(json!({"devices": [{"name": said, "type": "cuda"}]}).to_string()),
        ),
        ("POST /prompt", Fault::Status(400, error)),
        ("POST /prompt", Fault::Status(400, nodes)),
        ("POST /prompt", Fault::Status(500, plain)),
        ("GET /history/", Fault::Status(403, plain)),
        ("GET /view", Fault::Status(401, plain)),
    ] {
        server.fail_next(route, 4, fault);
        folder.run(&words);
        server.clear_faults();
    }
    for words in [
        &["monitor", "--duration", "1", "--", "http://us3r:pass@h"][..],
        &["flow.json", "--junit", "http://us3r:pass@h/x"],
    ] {
        assert_ne!(folder.run(words).code, 0);
    }
    let holds = |file: &str, secret: &str| {
        let text = fs::read(folder.path().join(file)).unwrap();
        let text = String::from_utf8_lossy(&text);
        let is_free = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
        let mut places = text.match_indices(secret);
        places.any(|(at, _)| {
            let (before, after) = (&text[..at], &text[at + secret.len()..]);
            secret.len() > 2 || (is_free(before.chars().last()) && is_free(after.chars().next()))
        })
    };
    for file in files(folder.path()).iter().filter(|file| *file != GIVEN) {
        let held: Vec<_> = secrets.iter().filter(|secret| holds(file, secret)).collect();
        assert!(held.is_empty(), "{file} holds {held:?}");
    }
}

/// Every way in which eight characters of it and more can come back, each in every place.
#[test]
fn a_server_takes_them_to_pieces() {
    const TOKEN: &str = "Xk9qPz77wLmV2s-crEtQ8b/tYh";
    let each = |form: &dyn Fn(char) -> String| TOKEN.chars().map(form).collect::<String>();
    let basic = BASE64_STANDARD.encode(format!("joe:{TOKEN}"));
    let (left, right) = TOKEN.split_at(13);
    let spread = |between: &str| format!("{left}{between}{right}");
    let forms = [
        TOKEN[5..20].to_owned(),
        format!("in the middle {} of a text", &TOKEN[6..15]),
        format!("x{}y", &TOKEN[4..12]),
        format!("{} begins, and ends: {}", &TOKEN[20..], &TOKEN[..5]),
        format!("…{}… {}…", &TOKEN[19..], &TOKEN[..6]),
        basic[3..17].to_owned(),
        format!("{} {}", &basic[..14], &basic[14..]),
        format!("{}\n{}", &basic[..11], &basic[11..]),
        basic.split("").collect::<Vec<_>>().join(" "),
        each(&|c| format!("{c}\u{200b}")),
        spread("\x1b[31m"),
        each(&|c| format!("\u{202e}{c}\u{7f}")),
        each(&|c| format!("%u{:04X}", u32::from(c))),
        each(&|c| format!("\\x{:02x}", u32::from(c))),
        each(&|c| format!("%5Cu{:04x}", u32::from(c))),
        each(&|c| format!("&amp;#{:05};", u32::from(c))),
        each(&|c| format!("\\{c}")),
        TOKEN.to_uppercase(),
    ];
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.write(GIVEN, format!("X-Token: {TOKEN}\n"));
    folder.workflow("flow.json", &graphs::images("img/x", 1, 1));
    let url = server.url().replace(
        "http://",
        &format!("http://joe:{}@", utf8_percent_encode(TOKEN, NON_ALPHANUMERIC)),
    );
    let words = ["--header-file", GIVEN, "-SceneRetryBudget", "0", "flow.json"];
    let words = [&["--comfyui-url", &url], &words[..], &REPORTS].concat();
    for form in &forms {
        let said: &'static str = form.clone().leak();
        let error = json!({"error": {"message": said, "details": said}}).to_string();
        let entry = json!({"status": {"status_str": "error", "completed": false, "messages": [
            ["execution_error", {"exception_message": said, "traceback": [said]}],
        ]}, "outputs": {}, "meta": {said: [said]}});
        for (route, fault) in [
            ("GET /system_stats", Fault::Status(401, said)),
            (
                "GET /system_stats",
                Fault::Body(json!({"devices": [{"name": said, "type": "cuda"}]}).to_string()),
            ),
            ("POST /prompt", Fault::Status(400, error.leak())),
            ("GET /history/", Fault::Change("/*".into(), entry)),
        ] {
            server.fail_next(route, 4, fault);
            folder.run(&words);
            server.clear_faults();
        }
    }
    let letters = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric(), "");
    for file in files(folder.path()).iter().filter(|file| *file != GIVEN) {
        let text = fs::read(folder.path().join(file)).unwrap();
        let text = String::from_utf8_lossy(&text).replace(r"\\", r"\");
        let held: Vec<_> = forms.iter().filter(|form| text.contains(&form[..])).collect();
        assert!(held.is_empty(), "{file} holds {held:?}");
        for piece in [&TOKEN[20..], &TOKEN[..5]] {
            assert!(!text.contains(piece), "{file} holds {piece}");
        }
        // Whatever stands between its characters.
        let escapes = ["u200b", "u202e", "u007f", "u001b[31m"];
        let text = escapes.iter().fold(text, |text, escape| text.replace(escape, ""));
        for secret in [TOKEN, &TOKEN.to_uppercase(), &basic].map(letters) {
            for piece in secret.as_bytes().windows(8).map(|it| str::from_utf8(it).unwrap()) {
                assert!(!letters(&text).contains(piece), "{file} holds {piece}");
            }
        }
    }
}
