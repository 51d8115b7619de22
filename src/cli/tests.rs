//! Whole command lines.

mod accepted;
mod pages;
mod refused;
mod styles;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use super::{Command, Env, MonitorOptions, RunOptions, SummaryOptions, UsageError, parse};

/// A temporary folder with a few files, and an environment, to parse command lines in.
pub(super) struct Fixture {
    pub(super) dir: PathBuf,
    env: HashMap<&'static str, &'static str>,
    program: Option<PathBuf>,
}

impl Fixture {
    pub(super) fn new() -> Fixture {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = env::temp_dir().join(format!("options-{}-{number}", process::id()));
        fs::create_dir_all(dir.join("my project/scripts")).expect("a folder");
        fs::create_dir_all(dir.join("flows")).expect("a folder");
        for file in ["flow.json", "two.JSON", "notes.txt", "my project/a.json"] {
            fs::write(dir.join(file), "{}").expect("a file");
        }
        Fixture { dir, env: HashMap::new(), program: None }
    }

    pub(super) fn env(mut self, name: &'static str, value: &'static str) -> Fixture {
        self.env.insert(name, value);
        self
    }

    pub(super) fn program(mut self, program: &str) -> Fixture {
        self.program = Some(program.into());
        self
    }

    pub(super) fn write(&self, file: &str, text: &[u8]) {
        fs::write(self.dir.join(file), text).expect("a file");
    }

    pub(super) fn words<S: Into<OsString>>(
        &self,
        words: impl IntoIterator<Item = S>,
    ) -> Result<Command, UsageError> {
        let env = |name: &str| self.env.get(name).map(OsString::from);
        let (current_dir, program) = (self.dir.clone(), self.program.clone());
        parse(words.into_iter().map(Into::into), &Env { var: &env, current_dir, program })
    }

    /// A line whose words have no spaces (`␣` stands for one).
    pub(super) fn line(&self, line: &str) -> Result<Command, UsageError> {
        self.words(
            line.split(' ').filter(|word| !word.is_empty()).map(|word| word.replace('␣', " ")),
        )
    }

    pub(super) fn run(&self, line: &str) -> RunOptions {
        match self.line(line) {
            Ok(Command::Run(options)) => *options,
            other => panic!("{line}: {other:?}"),
        }
    }

    pub(super) fn summary(&self, line: &str) -> SummaryOptions {
        match self.line(line) {
            Ok(Command::Summary(options)) => *options,
            other => panic!("{line}: {other:?}"),
        }
    }

    pub(super) fn monitor(&self, line: &str) -> MonitorOptions {
        match self.line(line) {
            Ok(Command::Monitor(options)) => *options,
            other => panic!("{line}: {other:?}"),
        }
    }

    pub(super) fn refusal(&self, line: &str) -> String {
        self.line(line).expect_err(line).to_string()
    }

    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.join(path)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}
