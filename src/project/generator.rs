//! The project's story generator.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::helpers::scripts;
use super::tool::Runner;
use crate::cli::LlmOptions;
use crate::process::Ended;

/// How long a story may take.
pub const LIMIT: Duration = Duration::from_secs(1800);

const INSTEAD: &str = "--story PATH takes one that is there";

/// What a story is made of.
#[derive(Debug)]
pub struct Generator<'a> {
    /// The project's folder.
    pub root: &'a Path,
    /// How many scenes it is asked for.
    pub scenes: u32,
    /// The language model's side.
    pub llm: &'a LlmOptions,
    /// `CUSTOM_STORY_IDEA`.
    pub idea: Option<OsString>,
}

/// The generator's script in a project; it may not be there.
pub fn script(root: &Path) -> PathBuf {
    scripts(root).join("generate-story-scenes.ts")
}

impl Generator<'_> {
    /// The command that writes a story into the folder.
    ///
    /// # Errors
    /// Its runner is not there: one line.
    pub fn command(&self, output: &Path) -> Result<Command, String> {
        let mut command = Runner::Tsx
            .command(self.root, &script(self.root))
            .map_err(|why| format!("no story can be generated: {why}; {INSTEAD}"))?;
        command.arg("--output").arg(output).args(["--scenes", &self.scenes.to_string()]);
        if self.llm.mock {
            command.arg("--useMockLLM");
        }
        if let Some(idea) = &self.idea {
            command.arg("--customStoryIdea").arg(idea);
        }
        command.envs(self.llm.variables.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// The line for an end without a story, if it is one.
    pub fn trouble(ended: &Ended, output: &Path, log: &Path) -> Option<String> {
        let what = match ended {
            Ended::Code(0) if output.join("story.json").is_file() => return None,
            Ended::Code(0) => format!("it wrote no story.json into {}", output.display()),
            Ended::Code(code) => format!("exit code {code}"),
            Ended::TimedOut => format!("not done after {} min", LIMIT.as_secs() / 60),
            Ended::NotStarted(error) => format!("it does not start: {error}"),
        };
        let log = log.display();
        Some(format!("the story generator failed: {what}; what it said is in {log}; {INSTEAD}"))
    }
}
