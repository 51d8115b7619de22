//! The project's story generator.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::helpers::{script_command, scripts};
use crate::cli::LlmOptions;
use crate::process::Ended;

/// How long a story may take.
pub const LIMIT: Duration = Duration::from_secs(1800);

const ALTERNATIVE: &str = "--story PATH takes one that is there";

/// The generator's script in a project; it may not be there.
pub fn script(root: &Path) -> PathBuf {
    scripts(root).join("generate-story-scenes.ts")
}

/// The command that writes a story of so many scenes into the folder `output`; `idea` is
/// `CUSTOM_STORY_IDEA`.
///
/// # Errors
/// The program that runs the script is not on the PATH: one line.
pub fn command(
    root: &Path,
    output: &Path,
    scenes: u32,
    llm: &LlmOptions,
    idea: Option<&OsStr>,
) -> Result<Command, String> {
    let mut command = script_command(root, &script(root))
        .map_err(|why| format!("no story can be generated: {why}; {ALTERNATIVE}"))?;
    command.arg("--output").arg(output).args(["--scenes", &scenes.to_string()]);
    command.args(llm.mock.then_some("--useMockLLM"));
    if let Some(idea) = idea {
        command.arg("--customStoryIdea").arg(idea);
    }
    command.envs(llm.variables.iter().map(|(name, value)| (name, value)));
    Ok(command)
}

/// The line for an end that left no story; `None` where there is one.
pub fn problem(ended: &Ended, output: &Path, log: &Path) -> Option<String> {
    let what = match ended.problem() {
        None if output.join("story.json").is_file() => return None,
        None => format!("it wrote no story.json into {}", output.display()),
        Some(problem) => problem,
    };
    let log = log.display();
    Some(format!("the story generator failed: {what}; what it said is in {log}; {ALTERNATIVE}"))
}
