//! What the tests share: a folder for each test, the program run in it as a user runs it, and ways to
//! look at what a run left and what the stand-in server received.

use std::ffi::OsString;
use std::fmt::Debug;
use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::stand_in::{self, StandIn};

/// Time limit for a run of the program; a test that exceeds it fails as hung.
const HANGS_AFTER: Duration = Duration::from_secs(90);

/// Time limit for an event that a test waits for.
pub const SOON: Duration = Duration::from_secs(30);

/// A temporary folder, removed when the test has passed.
pub struct Folder {
    path: PathBuf,
    /// Where its runs are.
    pub logs: PathBuf,
}

pub struct Ran {
    /// Its exit code; -1 if a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    command: String,
}

pub struct Running {
    child: Option<Child>,
    command: String,
    output: [PathBuf; 2],
}

pub fn example(name: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_run-comfyui-e2e")).parent().unwrap();
    let program = built.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let how = "cargo test builds it, or cargo build --examples";
    assert!(program.exists(), "{}: {how}", program.display());
    program
}

/// The folder of a program that holds off sleep for a test, in place of the system's. Of Windows'
/// there is none on the PATH: of so many starts Wine loses one now and then.
fn awake_stand_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/awake")
}

/// The PATH with a folder before all others, and behind it that of the program, as installed: a
/// command that is advised names the program alone.
pub fn first_on_path(folder: &Path) -> OsString {
    let built = Path::new(env!("CARGO_BIN_EXE_run-comfyui-e2e")).parent().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = [folder, built].map(Path::to_owned).into_iter();
    let is_other =
        |folder: &PathBuf| !folder.to_string_lossy().to_ascii_lowercase().contains("powershell");
    let others = std::env::split_paths(&path).filter(is_other);
    std::env::join_paths(first.chain(others)).unwrap()
}

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("e2e-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Folder { logs: path.join("logs"), path },
                // A failed test of an older process with this id left it.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub fn workflow(&self, name: &str, graph: &Value) -> PathBuf {
        self.write(name, graph.to_string())
    }

    /// Runs the program here, without any variable that it reads, to its end.
    pub fn run<A: AsRef<str> + Debug>(&self, arguments: &[A]) -> Ran {
        self.start(arguments).wait()
    }

    pub fn run_on<A: AsRef<str> + Debug>(&self, url: &str, arguments: &[A]) -> Ran {
        self.start_on(url, arguments).wait()
    }

    pub fn start_on<A: AsRef<str> + Debug>(&self, url: &str, arguments: &[A]) -> Running {
        // In the spelling of the others, which the hints follow.
        let spelled = |dash: &str| arguments.iter().any(|word| word.as_ref().starts_with(dash));
        let gnu = spelled("--") || !spelled("-");
        let mut all = vec![if gnu { "--comfyui-url" } else { "-ComfyUIUrl" }, url];
        all.extend(arguments.iter().map(AsRef::as_ref));
        self.start(&all)
    }

    pub fn start<A: AsRef<str> + Debug>(&self, arguments: &[A]) -> Running {
        self.start_with(arguments, |_| {})
    }

    #[cfg(target_os = "linux")]
    pub fn run_program(&self, program: &str, arguments: &[&str]) -> Ran {
        let mut command = Command::new(program);
        command.args(arguments);
        self.launch(command, |_| {}).wait()
    }

    /// Starts a copy of the program from a shell that has done something before, as whom `prefix` says.
    #[cfg(target_os = "linux")]
    pub fn start_shell(&self, prefix: &str, before: &str, arguments: &[&str]) -> Running {
        // Not by us: what another thread starts meanwhile would hold the copy open for writing.
        let copy = format!("cp '{}' program", env!("CARGO_BIN_EXE_run-comfyui-e2e"));
        let script = format!("{copy} && {before}; exec {prefix} ./program \"$@\"");
        let mut command = Command::new("bash");
        command.args(["-c", &script, "bash"]).args(arguments);
        self.launch(command, |_| {})
    }

    pub fn start_with<A: AsRef<str> + Debug>(
        &self,
        arguments: &[A],
        change: impl FnOnce(&mut Command),
    ) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_run-comfyui-e2e"));
        command.args(arguments.iter().map(AsRef::as_ref));
        self.launch(command, change)
    }

    pub fn launch(&self, mut command: Command, change: impl FnOnce(&mut Command)) -> Running {
        command.current_dir(&self.path);
        let read = "COMFYUI_URL LOCAL_COMFY_URL SCENE_MAX_WAIT_SECONDS SCENE_HISTORY_MAX_ATTEMPTS \
            SCENE_HISTORY_POLL_INTERVAL_SECONDS SCENE_POST_EXECUTION_TIMEOUT_SECONDS \
            SCENE_RETRY_BUDGET LOCAL_STORY_PROVIDER_URL LOCAL_LLM_HEALTHCHECK_URL \
            LOCAL_LLM_SKIP_HEALTHCHECK";
        for variable in read.split_whitespace() {
            command.env_remove(variable);
        }
        command.env("PATH", first_on_path(&awake_stand_in()));
        // Files, not pipes: a test may look at the output while the program runs.
        let output = ["stdout", "stderr"].map(|name| {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            self.path.join(format!("{name}.{}.txt", NEXT.fetch_add(1, Ordering::Relaxed)))
        });
        let [stdout, stderr] = output.each_ref().map(|path| fs::File::create(path).unwrap());
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        change(&mut command);
        // ERROR_INTERNAL_ERROR: of very many starts Wine loses one.
        let lost = |error: &Error| cfg!(windows) && error.raw_os_error() == Some(1359);
        let child = match command.spawn() {
            Err(error) if lost(&error) => command.spawn(),
            started => started,
        };
        let child = child.unwrap();
        Running { child: Some(child), command: format!("{command:?}"), output }
    }

    pub fn runs(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.logs) else { return Vec::new() };
        let mut runs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        runs.sort();
        runs
    }

    pub fn newest(&self) -> PathBuf {
        self.runs().pop().expect("a run folder")
    }

    pub fn read(&self, name: &str) -> String {
        String::from_utf8(self.output(name)).unwrap()
    }

    pub fn metadata(&self) -> Value {
        serde_json::from_str(&self.read("artifact-metadata.json")).unwrap()
    }

    /// Waits until the newest run's log has that many lines with this text, and gives the log.
    #[track_caller]
    pub fn wait_for_lines(&self, text: &str, count: usize) -> String {
        let log = || fs::read_to_string(self.runs().pop()?.join("vram-usage.log")).ok();
        let mut last = String::new();
        wait_until(&format!("{count} lines with {text}"), || {
            last = log().unwrap_or_default();
            last.matches(text).count() >= count
        });
        last
    }

    /// A file of the newest run, as bytes.
    pub fn output(&self, path: &str) -> Vec<u8> {
        let path = self.newest().join(path);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The warnings of the newest run's only scene, one a line.
    pub fn warnings(&self) -> String {
        let metadata = self.metadata();
        let warnings = metadata["Scenes"][0]["Warnings"].as_array().unwrap();
        warnings.iter().map(|warning| warning.as_str().unwrap().to_owned() + "\n").collect()
    }

    /// Fails the test if a file below the folder contains one of the secrets. What the program
    /// printed is in files there too. `given` names the file with which the test passed them in.
    #[track_caller]
    pub fn holds_none_of(&self, secrets: &[&str], given: &str) {
        for file in files(&self.path).iter().filter(|file| *file != given) {
            let bytes = fs::read(self.path.join(file)).unwrap();
            for secret in secrets {
                let holds = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
                assert!(!holds, "{file} holds {secret}");
            }
        }
    }

    /// Fails the test unless the newest run's scenes ended so, each for a reason that contains the
    /// text.
    #[track_caller]
    pub fn ended(&self, expected: &[(&str, &str)]) {
        let outcomes = self.outcomes();
        let fits = outcomes.len() == expected.len()
            && outcomes.iter().zip(expected).all(|((outcome, why), (wanted, part))| {
                outcome == wanted && why.contains(part) && part.is_empty() == why.is_empty()
            });
        assert!(fits, "{outcomes:#?}\ninstead of {expected:#?}");
    }

    pub fn outcomes(&self) -> Vec<(String, String)> {
        let metadata = self.metadata();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let scenes = metadata["Scenes"].as_array().unwrap();
        scenes.iter().map(|scene| (text(&scene["Outcome"]), text(&scene["Why"]))).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the test's folder stays: {}", self.path.display());
        } else {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

impl Running {
    /// Waits until it has printed this, on either of its outputs.
    #[track_caller]
    pub fn until_it_says(&self, text: &str) {
        let until = Instant::now() + HANGS_AFTER;
        while !self.printed().iter().any(|printed| printed.contains(text)) {
            assert!(Instant::now() < until, "never says {text:?}: {:?}", self.printed());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// What it has printed so far, on standard output and on standard error.
    pub fn printed(&self) -> [String; 2] {
        self.output
            .each_ref()
            .map(|path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned())
    }

    pub fn wait(mut self) -> Ran {
        let mut child = self.child.take().unwrap();
        let until = Instant::now() + HANGS_AFTER;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > until {
                let _ = child.kill();
                let [stdout, stderr] = self.printed();
                panic!("hangs: {}\n{stdout}\n{stderr}", self.command);
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let [stdout, stderr] = self.printed();
        Ran { code: status.code().unwrap_or(-1), stdout, stderr, command: self.command.clone() }
    }
}

/// Ends it without warning, as a power switch would.
impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Ran {
    /// Fails the test with all that was printed, unless the code is this one.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert!(self.code == code, "exit {} instead of {code}\n{self}", self.code);
        self
    }

    /// Fails the test unless standard output holds this.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "does not say {text:?}\n{self}");
        self
    }

    /// Fails the test unless a line of these words was printed, as a row of a table is.
    #[track_caller]
    pub fn tells(self, row: &str) -> Self {
        let is_it = |line: &str| {
            let words = line.rsplit("] ").next().into_iter().flat_map(str::split_whitespace);
            words.eq(row.split(' '))
        };
        let told = self.stdout.lines().chain(self.stderr.lines()).any(is_it);
        assert!(told, "no line {row:?}\n{self}");
        self
    }

    /// Fails the test unless a line of standard output begins with this, behind its time, and has that
    /// in what follows.
    #[track_caller]
    pub fn concludes(self, start: &str, end: &str) -> Self {
        let found = self.stdout.lines().find_map(|line| line.split_once(start));
        assert!(
            found.is_some_and(|(_, rest)| rest.contains(end)),
            "no {start:?} … {end:?}\n{self}"
        );
        self
    }

    /// Fails the test unless all that was printed is one line on standard error that contains this.
    #[track_caller]
    pub fn refuses(self, text: &str) -> Self {
        let ran = self.complains(text);
        assert_eq!((ran.stderr.lines().count(), ran.stdout.as_str()), (1, ""), "{ran}");
        assert!(ran.stderr.starts_with("run-comfyui-e2e: ") && ran.stderr.ends_with('\n'), "{ran}");
        ran
    }

    /// The words of the `Next:` line, to be given to the program again.
    #[track_caller]
    pub fn next_words(&self) -> Vec<String> {
        let next = line(&self.stdout, "Next       run-comfyui-e2e ").split_whitespace().skip(2);
        next.map(|word| word.trim_matches('"').to_owned()).collect()
    }

    #[track_caller]
    pub fn never_says(self, text: &str) -> Self {
        let said = self.stdout.contains(text) || self.stderr.contains(text);
        assert!(!said, "says {text:?}\n{self}");
        self
    }

    #[track_caller]
    pub fn complains(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "does not complain {text:?}\n{self}");
        self
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ran { command, code, stdout, stderr } = self;
        write!(f, "{command}\nexit {code}\n--- stdout\n{stdout}--- stderr\n{stderr}---")
    }
}

#[cfg(unix)]
pub fn is_alive(id: &str) -> bool {
    let kill = format!("kill -0 {id} 2>&1");
    Command::new("sh").args(["-c", &kill]).output().unwrap().status.success()
}

pub fn executable(file: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    #[cfg(not(unix))]
    let _ = file;
}

/// Waits until a condition holds that no server can tell of, such as a file that a child writes.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < until, "{what}: not within {SOON:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Writes a workflow for each graph, named like its scene, and starts a run of them.
pub fn start(folder: &Folder, url: &str, graphs: &[(&str, Value)], options: &[&str]) -> Running {
    let files: Vec<String> = graphs.iter().map(|(name, _)| format!("{name}.json")).collect();
    for (file, (_, graph)) in files.iter().zip(graphs) {
        folder.workflow(file, graph);
    }
    let mut arguments: Vec<&str> = files.iter().map(String::as_str).collect();
    arguments.extend(["-PollIntervalSeconds", "0.2", "-SampleIntervalSeconds", "0.5"]);
    arguments.extend(options);
    folder.start_on(url, &arguments)
}

/// Runs scenes that last until the log has three readings of each, taken while it ran. So it does not
/// depend on the speed of the machine whether a peak is seen.
#[track_caller]
pub fn run_sampled(server: &StandIn, folder: &Folder, words: &[&str], scenes: &[&str]) -> Ran {
    let before = folder.runs();
    let running = folder.start_on(&server.url(), words);
    finish_sampled(server, folder, &before, scenes);
    running.wait()
}

/// Ends each of the scenes of a run that is under way once the log has three readings of it. `before`
/// are the older runs.
#[track_caller]
pub fn finish_sampled(server: &StandIn, folder: &Folder, before: &[PathBuf], scenes: &[&str]) {
    for scene in scenes {
        let of_scene = format!(",Scene={scene},");
        let is_reading =
            |line: &str| line.contains(",Used=") && format!("{line},").contains(&of_scene);
        wait_until(&format!("three readings of {scene}"), || {
            let run = folder.runs().pop().filter(|run| !before.contains(run));
            let log = run.map(|run| fs::read_to_string(run.join("vram-usage.log")));
            let log = log.and_then(Result::ok).unwrap_or_default();
            log.lines().filter(|line| is_reading(line)).count() >= 3
        });
        server.finish_running();
    }
}

/// Like [`start`], to the end of the run and in a new folder.
pub fn run(server: &StandIn, graphs: &[(&str, Value)], options: &[&str]) -> (Folder, Ran) {
    let folder = Folder::new();
    let ran = start(&folder, &server.url(), graphs, options).wait();
    (folder, ran)
}

/// Writes a story of one scene `a` with a keyframe, and a template with places for both: the words of
/// the run.
pub fn keyframe_story(folder: &Folder) -> [&'static str; 3] {
    folder.write("key.png", b"\x89PNG\r\n\x1a\n");
    let scene = json!({"id": "a", "prompt": "a fox", "negativePrompt": "no cat", "keyframePath": "key.png"});
    folder.write("story.json", json!({"scenes": [scene]}).to_string());
    let mut template = stand_in::graphs::from_image("a", "of-the-template.png");
    template["90"] = json!({"class_type": "Note", "inputs": {"text": "__PROMPT__"}});
    template["91"] = json!({"class_type": "Note", "inputs": {"text": "__NEGATIVE_PROMPT__"}});
    folder.workflow("template.json", &template);
    ["--story", "story.json", "template.json"]
}

/// Another client posts a graph: its prompt id.
pub fn somebody_posts(server: &StandIn, graph: &Value) -> String {
    let body = json!({"prompt": graph, "client_id": "somebody"}).to_string();
    let answer = agent().post(format!("{}/prompt", server.url())).send(body).unwrap();
    let answer = answer.into_body().read_to_vec().unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    answer["prompt_id"].as_str().unwrap().to_owned()
}

pub fn view(server: &StandIn, kind: &str, subfolder: &str, name: &str) -> Vec<u8> {
    get(server, &format!("/view?filename={name}&subfolder={subfolder}&type={kind}"))
}

pub fn get(server: &StandIn, path: &str) -> Vec<u8> {
    let url = server.url() + path;
    agent().get(url).call().unwrap().into_body().read_to_vec().unwrap()
}

/// Asks a stand-in directly, whatever proxy the environment names.
pub fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().proxy(None).build().new_agent()
}

pub fn asked(server: &StandIn, route: &str) -> usize {
    server.requests().iter().filter(|request| request.is(route)).count()
}

/// The bodies of all `POST /prompt`, as they arrived.
pub fn prompts(server: &StandIn) -> Vec<Value> {
    let requests = server.requests();
    let posts = requests.iter().filter(|request| request.is("POST /prompt"));
    posts.map(|request| serde_json::from_str(&request.body).unwrap_or_default()).collect()
}

pub fn graphs(server: &StandIn) -> Vec<Value> {
    prompts(server).into_iter().map(|mut body| body["prompt"].take()).collect()
}

/// Every file below a folder, sorted, with forward slashes.
pub fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.push(name.replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

/// The first line that begins so, behind its `[HH:mm:ss] ` where it has one.
#[track_caller]
pub fn line<'a>(text: &'a str, start: &str) -> &'a str {
    let begins = |line: &&str| line.starts_with(start);
    let bare = |line: &'a str| line.split_once("] ").map_or(line, |(_, rest)| rest);
    let found =
        text.lines().find_map(|line| [line, bare(line)].into_iter().find(|line| begins(line)));
    found.unwrap_or_else(|| panic!("no line begins with {start:?}:\n{text}"))
}

/// A text for a snapshot: what differs from run to run is replaced. Paths in the folder of the test,
/// the server's address, ids of runs and prompts, times of day, and seconds with a fraction.
pub fn normalized(text: &str, folder: &Folder) -> String {
    let mut text = text.replace(&folder.path().display().to_string(), "FOLDER").replace('\\', "/");
    for (shape, name) in [
        ("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "PROMPT-ID"),
        ("127.0.0.1:9", "SERVER"),
        ("00000000-000000", "RUN-ID"),
        ("0000-00-00T00:00:00", "TIMESTAMP"),
        ("TIMESTAMP.9", "TIMESTAMP"),
        ("TIMESTAMP+00:00", "TIMESTAMP"),
        ("TIMESTAMP-00:00", "TIMESTAMP"),
        ("TIMESTAMPZ", "TIMESTAMP"),
        ("00:00:00.000", "TIME"),
        ("00:00:00", "TIME"),
        ("HistoryAttempts=9", "HistoryAttempts=N"),
        ("9.9 s", "N s"),
        ("9.9s", "Ns"),
        (" in 9 s", " in N s"),
        (" 0:00 ", " M:SS "),
    ] {
        text = replaced(&text, shape, name);
    }
    // `3 Nov TIME to TIME`: the date stands behind six spaces.
    if let Some(to) = text.find(" TIME to TIME")
        && let Some(from) = text[..to].rfind("      ")
    {
        text.replace_range(from + 6..to, "DATE");
    }
    text
}

/// Replaces each place that fits a shape, in which `0` is a digit, `9` one or more, and `x` a
/// hexadecimal one.
pub fn replaced(text: &str, shape: &str, name: &str) -> String {
    let length = |text: &str| {
        shape.bytes().try_fold(0, |at, wanted| {
            let rest = &text.as_bytes()[at..];
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let fits = match wanted {
                b'9' => digits,
                b'0' => digits.min(1),
                b'x' => rest.first().is_some_and(u8::is_ascii_hexdigit).into(),
                wanted => (rest.first() == Some(&wanted)).into(),
            };
            (fits > 0).then_some(at + fits)
        })
    };
    let (mut done, mut rest) = (String::new(), text);
    while let Some(c) = rest.chars().next() {
        let fits = length(rest);
        let end = fits.unwrap_or(c.len_utf8());
        done += fits.map_or(&rest[..end], |_| name);
        rest = &rest[end..];
    }
    done
}
