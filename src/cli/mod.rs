//! The command line: from its words and the environment to typed options, or to one line that
//! says what is wrong with it.
//!
//! Every option has one name, written two ways: GNU's (`--max-wait-seconds 600`) and PowerShell's
//! (`-MaxWaitSeconds 600`). All of them stand in one table, from which the help is made too.

mod args;
mod completions;
mod flags;
mod help;
mod man_page;
mod options;
mod parser;
#[cfg(any(test, fuzzing))]
#[path = "../../fuzz/oracles/cli.rs"]
pub(crate) mod properties;
mod values;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use flags::{FLAGS, FlagId, Verb};
use values::FlagValue;

pub use crate::vram::nvidia_smi::CardId;
pub use args::is_workflow_name;
pub use man_page::man_page;
pub use options::{
    Assignment, Format, GateOptions, LlmOptions, MonitorOptions, RunOptions, START_WAIT,
    SamplingOptions, Seed, ServerOptions, SummaryOptions, VramSource,
};
pub use parser::Style;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Print this text (help, version or completions, without a final newline) and end with
    /// success.
    Print(String),
    /// A run.
    Run(Box<RunOptions>),
    /// The statistics of existing logs.
    Summary(Box<SummaryOptions>),
    /// Sampling VRAM only, beside a command or by itself.
    Monitor(Box<MonitorOptions>),
}

/// What a command line is parsed with, beside its words.
pub struct Env<'a> {
    /// The value of a variable of the environment; `None` if it is not set.
    pub var: &'a dyn Fn(&str) -> Option<OsString>,
    /// The current folder, absolute: relative paths count from it.
    pub current_dir: PathBuf,
    /// The program's own file, if it is known.
    pub program: Option<PathBuf>,
}

/// Why a command line is refused: one line, without credentials, that names the option, what it
/// takes, and what was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// The value of a run's option where nothing gives one; empty if there is no such option. `name` is
/// `MaxWaitSeconds`. `fast`: under `FastIteration`.
pub fn default_value(name: &str, fast: bool) -> &'static str {
    let flag = FLAGS.iter().find(|flag| name == flag.name);
    flag.map_or("", |flag| flag.default_for(Verb::Run, fast))
}

/// Reads a command line; `words` are its words without the program's own.
///
/// Looks up in the file system what bare words and paths are, and reads the file of `HeaderFile`;
/// writes nothing. A value comes from the command line, else from `FastIteration`, else from the
/// environment, else it is the option's default.
///
/// # Errors
/// An option that is unknown, ambiguous, another verb's, given twice or without its value; a value
/// that is not a number, out of range or malformed, on the command line or in a variable that
/// counts; a path that does not exist; a header file that cannot be read.
pub fn parse(words: impl IntoIterator<Item = OsString>, env: &Env) -> Result<Command, UsageError> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    let is_first = |name: &str| words.first().is_some_and(|first| first == name);
    let verb = [Verb::Summary, Verb::Monitor].into_iter().find(|verb| is_first(verb.name()));
    if verb.is_some() {
        words.remove(0);
    }
    let verb = verb.unwrap_or(Verb::Run);
    let args = parser::parse_words(verb, words, env)?;
    if args.short_help {
        return Ok(Command::Print(help::short()));
    }
    if args.all(FlagId::Help).any(FlagValue::is_on) {
        return Ok(Command::Print(help::full()));
    }
    if args.all(FlagId::Version).any(FlagValue::is_on) {
        return Ok(Command::Print(help::version()));
    }
    args.check_repetitions()?;
    if let Some(shell) = args.given(FlagId::Completions) {
        return completions::script(shell).map(Command::Print);
    }
    args.check_numbers()?;
    match verb {
        Verb::Run => RunOptions::from_args(&args).map(Box::new).map(Command::Run),
        Verb::Summary => SummaryOptions::from_args(&args).map(Box::new).map(Command::Summary),
        Verb::Monitor => MonitorOptions::from_args(&args).map(Box::new).map(Command::Monitor),
    }
}
