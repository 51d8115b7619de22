//! A folder of its own for each test, and the program run in it as a user runs it.

use std::fmt::Debug;
use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than any run of a test takes: past it the program hangs, and the test says so.
const HANGS_AFTER: Duration = Duration::from_secs(90);

/// A temporary folder, removed when the test has passed.
pub struct Folder {
    path: PathBuf,
}

/// What a run of the program left.
pub struct Ran {
    /// Its exit code; -1 if a signal ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it printed on standard error.
    pub stderr: String,
    /// The command, for the message of a failing test.
    command: String,
}

/// A program that runs.
pub struct Running {
    child: Option<Child>,
    command: String,
    output: [PathBuf; 2],
}

/// A program of the project's examples, built.
pub fn example(name: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_run-comfyui-e2e")).parent().unwrap();
    let program = built.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let how = "cargo test builds it, or cargo build --examples";
    assert!(program.exists(), "{}: {how}", program.display());
    program
}

impl Folder {
    /// A new and empty one.
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("e2e-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Folder { path },
                // A failed test of an older process with this id left it.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file, its folders made.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Writes a workflow.
    pub fn workflow(&self, name: &str, graph: &Value) -> PathBuf {
        self.write(name, graph.to_string())
    }

    /// Runs the program here, without any variable that it reads, to its end.
    pub fn run<A: AsRef<str> + Debug>(&self, arguments: &[A]) -> Ran {
        self.start(arguments).wait()
    }

    /// The same against a server, by its URL.
    pub fn run_on<A: AsRef<str> + Debug>(&self, url: &str, arguments: &[A]) -> Ran {
        self.start_on(url, arguments).wait()
    }

    /// Starts the program against a server.
    pub fn start_on<A: AsRef<str> + Debug>(&self, url: &str, arguments: &[A]) -> Running {
        let mut all = vec!["--comfyui-url", url];
        all.extend(arguments.iter().map(AsRef::as_ref));
        self.start(&all)
    }

    /// Starts the program.
    pub fn start<A: AsRef<str> + Debug>(&self, arguments: &[A]) -> Running {
        self.start_with(arguments, |_| {})
    }

    /// Runs another program here, to its end.
    #[cfg(target_os = "linux")]
    pub fn run_program(&self, program: &str, arguments: &[&str]) -> Ran {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(&self.path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            command: format!("{program} {arguments:?}"),
        }
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

    /// Starts the program, its command changed before.
    pub fn start_with<A: AsRef<str> + Debug>(
        &self,
        arguments: &[A],
        change: impl FnOnce(&mut Command),
    ) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_run-comfyui-e2e"));
        command.args(arguments.iter().map(AsRef::as_ref));
        self.launch(command, change)
    }

    fn launch(&self, mut command: Command, change: impl FnOnce(&mut Command)) -> Running {
        command.current_dir(&self.path);
        for variable in [
            "COMFYUI_URL",
            "LOCAL_COMFY_URL",
            "SCENE_MAX_WAIT_SECONDS",
            "SCENE_HISTORY_POLL_INTERVAL_SECONDS",
            "SCENE_HISTORY_MAX_ATTEMPTS",
            "SCENE_POST_EXECUTION_TIMEOUT_SECONDS",
            "SCENE_RETRY_BUDGET",
            "LOCAL_STORY_PROVIDER_URL",
            "LOCAL_LLM_HEALTHCHECK_URL",
            "LOCAL_LLM_SKIP_HEALTHCHECK",
        ] {
            command.env_remove(variable);
        }
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

    /// The run folders, oldest first.
    pub fn runs(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path.join("logs")) else { return Vec::new() };
        let mut runs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        runs.sort();
        runs
    }

    /// The newest run folder.
    pub fn newest(&self) -> PathBuf {
        self.runs().pop().expect("a run folder")
    }

    /// A text file of the newest run.
    pub fn read(&self, name: &str) -> String {
        let path = self.newest().join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The newest run's metadata.
    pub fn metadata(&self) -> Value {
        serde_json::from_str(&self.read("artifact-metadata.json")).unwrap()
    }

    /// Outcome and reason of the newest run's scenes.
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
    /// Ends it without warning, as a power switch would.
    pub fn kill(self) {
        drop(self);
    }

    /// Waits until it has printed this, on either of its outputs.
    #[track_caller]
    pub fn until_it_says(&self, text: &str) {
        let until = Instant::now() + HANGS_AFTER;
        while !self.printed().iter().any(|printed| printed.contains(text)) {
            assert!(Instant::now() < until, "never says {text:?}: {:?}", self.printed());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// What it has printed so far, on standard output and on standard error.
    pub fn printed(&self) -> [String; 2] {
        self.output
            .each_ref()
            .map(|path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned())
    }

    /// Waits for its end.
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

    /// Fails the test if either output holds this.
    #[track_caller]
    pub fn never_says(self, text: &str) -> Self {
        let said = self.stdout.contains(text) || self.stderr.contains(text);
        assert!(!said, "says {text:?}\n{self}");
        self
    }

    /// Fails the test unless standard error holds this.
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
