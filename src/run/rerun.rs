//! The command that repeats what failed, with what would help.

use std::ffi::OsStr;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::plan::Scene;
use crate::cli::{
    Assignment, RunOptions, START_WAIT, Seed, Style, VramSource, default_value, is_workflow_name,
};
use crate::console;
use crate::fs::inside;
use crate::report::record::{HISTORY_UNREADABLE, Outcome, SceneRecord};

/// The longest deadline that is accepted, in seconds.
const LONGEST: u64 = 604_800;

/// Where the user stands: what a command line has to fit.
#[derive(Debug)]
pub struct Caller {
    /// How the user spells options.
    pub style: Style,
    /// The current folder.
    pub folder: PathBuf,
    /// The program, as [`program`] gives it.
    pub program: String,
}

impl Caller {
    /// The caller of this process.
    pub fn of_process() -> Caller {
        let folder = std::env::current_dir().unwrap_or_default();
        let (file, path) = (std::env::current_exe().ok(), std::env::var_os("PATH"));
        let program = program(file.as_deref(), path.as_deref(), &folder);
        Caller { style: console::style(), folder, program }
    }

    /// A path, relative where it lies in the current folder.
    fn path(&self, path: &Path) -> String {
        let inside = inside(path, &self.folder).filter(|path| path.file_name().is_some());
        inside.unwrap_or(path).display().to_string()
    }
}

/// The word that starts the program `file`: its name if it is on the `path`, else where it lies.
fn program(file: Option<&Path>, path: Option<&OsStr>, folder: &Path) -> String {
    let known = file.and_then(|file| Some((file, file.file_name()?, file.file_stem()?)));
    let Some((file, name, stem)) = known else { return env!("CARGO_PKG_NAME").to_owned() };
    if std::env::split_paths(path.unwrap_or_default()).any(|folder| folder.join(name).is_file()) {
        return stem.to_string_lossy().into_owned();
    }
    let inside = inside(file, folder).map(|inside| Path::new(".").join(inside));
    let word = inside.as_deref().unwrap_or(file).to_string_lossy();
    // PowerShell and cmd take a plain path as it is; PowerShell runs a quoted one behind an ampersand.
    let is_plain = |c: char| c.is_alphanumeric() || r"-_.:\/".contains(c);
    match quoted(&word, cfg!(windows)) {
        _ if cfg!(windows) && word.chars().all(is_plain) => word.into_owned(),
        quoted if cfg!(windows) => format!("& {quoted}"),
        quoted => quoted,
    }
}

/// One command line, or none where all is well; it can be pasted into PowerShell and into bash.
/// `story`: the folder or file of the story, its own where the run generated it. `server_may_come`: no
/// server was there at the start. Credentials are never in it.
///
/// Changed are: twice the time where time ran out, `Fresh` where memory did, a wait for a server
/// that is not there, no limit on the asks for a history that could not be read.
pub fn command(
    options: &RunOptions,
    story: Option<&Path>,
    scenes: &[Scene],
    records: &[SceneRecord],
    server_may_come: bool,
    caller: &Caller,
) -> Option<String> {
    let failed: Vec<&SceneRecord> =
        records.iter().filter(|record| !record.outcome.is_success()).collect();
    if failed.is_empty() {
        return None;
    }
    let any = |outcome| failed.iter().any(|record| record.outcome == outcome);
    let more = |time: Duration, helps: bool| time.as_secs() * if helps { 2 } else { 1 };
    let mut words = Words { line: vec![caller.program.clone()], options, caller };
    words.switch("FastIteration", options.fast_iteration);
    let max_wait = more(options.max_wait, any(Outcome::Deadline)).min(LONGEST);
    words.unless_default("MaxWaitSeconds", &max_wait);
    words.unless_default("PollIntervalSeconds", &options.poll_interval.as_secs_f64());
    if !failed.iter().any(|record| record.why.starts_with(HISTORY_UNREADABLE)) {
        words.unless_default("HistoryMaxAttempts", &options.history_max_attempts);
    }
    let is_slow = |record: &&SceneRecord| record.attempts.last().is_some_and(|last| last.timed_out);
    let transfer = more(options.post_execution_timeout, failed.iter().any(is_slow));
    words.unless_default("PostExecutionTimeoutSeconds", &transfer);
    let absent = any(Outcome::Unreachable) || server_may_come;
    words.given("StartComfyUI", options.start_comfyui.as_ref().map(|command| &command.text));
    // One that is started is waited for in any case.
    let wait = options.wait_for_comfyui.as_secs();
    let wait = match &options.start_comfyui {
        Some(_) if wait == START_WAIT.as_secs() => 0,
        None if absent => wait.max(120),
        _ => wait,
    };
    words.unless_default("WaitForComfyUI", &wait);
    words.unless_default("ComfyUIUrl", &options.server.url.base());
    words.given("HeaderFile", options.server.header_file.as_deref().map(|path| caller.path(path)));
    words.given("ApiKeyFile", options.server.api_key_file.as_deref().map(|path| caller.path(path)));
    // These decide how much of the card is free.
    words.unless_default("LMStudioEndpoint", &options.llm.lm_studio.base());
    words.switch("SkipLMStudioUnload", options.llm.skip_unload);
    words.given("ProjectRoot", options.root_given.then(|| caller.path(&options.project_root)));
    let elsewhere = options.logs_dir != options.project_root.join("logs");
    words.given("LogsDir", elsewhere.then(|| caller.path(&options.logs_dir)));
    words.unless_default("Gpu", &options.sampling.gpu);
    match options.sampling.source {
        VramSource::Auto => {}
        VramSource::ComfyUi => words.add("VramSource", &"comfyui"),
        VramSource::NvidiaSmi => words.add("VramSource", &"nvidia-smi"),
    }
    words.given("NvidiaSmiGpu", options.sampling.card.as_ref());
    words.unless_default("SampleIntervalSeconds", &options.sampling.interval.as_secs_f64());
    words.switch("AllowSleep", options.allow_sleep);
    words.unless_default("SceneRetryBudget", &options.scene_retry_budget);
    words.unless_default("MemoryCleanupInterval", &options.memory_cleanup_interval);
    match options.seed {
        Seed::Keep => {}
        Seed::Random => words.add("Seed", &"random"),
        Seed::Fixed(seed) => words.add("Seed", &seed),
    }
    words.given("MaxPeakMB", options.gates.limits.peak_mb);
    words.given("MaxGrowthMB", options.gates.limits.growth_mb);
    for path in &options.gates.baselines {
        words.add("Baseline", &caller.path(path));
    }
    // Repetitions are there to be compared: all of them once more.
    words.unless_default("Repeat", &options.repeat);
    for set in &options.set {
        words.add("Set", &without_secret(set));
    }
    let has_failed = |scene: &&Scene| failed.iter().any(|record| record.id == scene.id);
    let mut repeated: Vec<&Scene> = scenes.iter().filter(has_failed).collect();
    repeated.dedup_by(|one, other| one.base == other.base);
    if let Some(story) = story {
        words.add("Story", &caller.path(story));
        // The project's own template is found again.
        words.given("Workflow", options.workflows.first().map(|path| caller.path(path)));
        let ids: Vec<_> = repeated.iter().map(|scene| scene.base.as_str()).collect();
        words.add("SceneFilter", &ids.join(","));
    } else {
        for scene in repeated {
            let path = caller.path(&scene.source);
            if is_workflow_name(&scene.source) && !path.starts_with('-') {
                words.line.push(quoted(&path, cfg!(windows)));
            } else {
                words.add("Workflow", &path);
            }
        }
    }
    words.switch("Fresh", options.fresh || any(Outcome::OutOfMemory));
    Some(words.line.join(" "))
}

struct Words<'a> {
    line: Vec<String>,
    /// On these the default values depend.
    options: &'a RunOptions,
    caller: &'a Caller,
}

impl Words<'_> {
    fn add(&mut self, name: &str, value: &dyn Display) {
        self.line
            .extend([self.caller.style.write(name), quoted(&value.to_string(), cfg!(windows))]);
    }

    fn switch(&mut self, name: &str, on: bool) {
        self.line.extend(on.then(|| self.caller.style.write(name)));
    }

    fn given(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.add(name, &value);
        }
    }

    /// Adds the option, unless this is its default value.
    fn unless_default(&mut self, name: &str, value: &dyn Display) {
        if value.to_string() != default_value(name, self.options.fast_iteration) {
            self.add(name, value);
        }
    }
}

/// An assignment, its value hidden if the input's name says that it is a credential: the command
/// stands in files that are handed on.
fn without_secret(set: &Assignment) -> String {
    const SECRET: [&str; 7] =
        ["key", "token", "secret", "password", "passwd", "credentials", "authorization"];
    let Assignment { node, input, value } = set;
    let name = input.to_lowercase();
    let secret = SECRET.iter().any(|end| name.ends_with(end));
    format!("{node}.{input}={}", if secret { "***" } else { value })
}

/// A word that means the same to PowerShell and to bash. Where none would (an apostrophe beside a
/// dollar sign), it is written for the shell of the system.
fn quoted(word: &str, windows: bool) -> String {
    // A comma makes a list of it in PowerShell, a backslash escapes in bash.
    let plain = |c: char| c.is_alphanumeric() || "-_./:=+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let expands = ['$', '`', '!', '"', '“', '”', '„'];
    if !word.contains(expands) && !word.contains(r"\\") && !word.ends_with('\\') {
        return format!("\"{word}\"");
    }
    // PowerShell takes the curly ones for straight ones.
    let ends = |c: char| matches!(c, '\'' | '‘' | '’' | '‚' | '‛');
    match windows {
        _ if !word.contains(ends) => format!("'{word}'"),
        true => {
            let doubled = |c: char| std::iter::repeat_n(c, if ends(c) { 2 } else { 1 });
            format!("'{}'", word.chars().flat_map(doubled).collect::<String>())
        }
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_for_both_shells() {
        for (word, both) in [
            ("scene-001", "scene-001"),
            ("http://127.0.0.1:8188/x", "http://127.0.0.1:8188/x"),
            ("4.seed=5", "4.seed=5"),
            ("größe/映画.json", "größe/映画.json"),
            ("", "\"\""),
            ("scene-001,scene-003", "\"scene-001,scene-003\""),
            ("two words.json", "\"two words.json\""),
            (r"C:\Dev\flow.json", "\"C:\\Dev\\flow.json\""),
            (r"\\server\share\a b", r"'\\server\share\a b'"),
            (r"C:\Dev\", r"'C:\Dev\'"),
            ("it's", "\"it's\""),
            ("@home", "\"@home\""),
            ("~/a;b|c&d", "\"~/a;b|c&d\""),
            ("$HOME `x` \"y\" (z)!", "'$HOME `x` \"y\" (z)!'"),
        ] {
            assert_eq!([quoted(word, false), quoted(word, true)], [both, both]);
        }
        assert_eq!(quoted("it's $5", false), r"'it'\''s $5'");
        assert_eq!(quoted("it's $5 ’", true), "'it''s $5 ’’'");
    }

    #[test]
    #[cfg(unix)]
    fn the_program_is_named_so_that_the_shell_finds_it() {
        let folder = std::env::temp_dir().join(format!("program-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("a b")).unwrap();
        std::fs::write(folder.join("a b/run-x"), "").unwrap();
        let file = folder.join("a b/run-x");
        let word = |path: &str, current: &str| {
            program(Some(&file), Some(OsStr::new(path)), &folder.join(current))
        };
        let bin = folder.join("a b");
        assert_eq!(word(&format!("/nowhere:{}", bin.display()), ""), "run-x");
        assert_eq!(word("/nowhere", "a b"), "./run-x");
        assert_eq!(word("/nowhere", ""), "\"./a b/run-x\"");
        assert_eq!(word("", "elsewhere"), format!("\"{}\"", file.display()));
        // A scheduler's folder is not where the command is repeated.
        assert_eq!(word("", "/"), format!("\"{}\"", file.display()));
        assert_eq!(program(None, None, &folder), "run-comfyui-e2e");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_credential_is_not_repeated() {
        let set = |input: &str| {
            without_secret(&Assignment { node: "4".into(), input: input.into(), value: "v".into() })
        };
        for input in [
            "api_key",
            "apiKey",
            "auth_token",
            "client_secret",
            "Password",
            "passwd",
            "Authorization",
            "credentials",
        ] {
            assert_eq!(set(input), format!("4.{input}=***"));
        }
        for input in ["text", "max_tokens", "keyframe"] {
            assert_eq!(set(input), format!("4.{input}=v"));
        }
    }
}
