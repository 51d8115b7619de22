//! The command line: from its words and the environment to typed options, or to one line that
//! says what is wrong with it.
//!
//! Every option has one name, written two ways: GNU's (`--max-wait-seconds 600`) and PowerShell's
//! (`-MaxWaitSeconds 600`). All of them stand in one table, from which the help is made too.

mod args;
mod completions;
mod flags;
mod help;
mod llm;
mod names;
mod options;
mod parser;
mod paths;
#[cfg(any(test, fuzzing))]
#[path = "../../fuzz/oracles/cli.rs"]
pub(crate) mod properties;
mod server;
mod values;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use args::ParsedArgs;
use flags::{FLAGS, FlagId, Verb};
use parser::Arg;

pub use crate::vram::nvidia_smi::CardId;
pub use llm::LlmOptions;
pub use options::{
    Assignment, Format, GateOptions, MonitorOptions, RunOptions, SamplingOptions, Seed,
    SummaryOptions, VramSource,
};
pub use server::ServerOptions;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// To print this text (help, version or completions, without its last line's end) and to end with success.
    Print(String),
    /// A run.
    Run(Box<RunOptions>),
    /// The statistics of logs that are there.
    Summary(Box<SummaryOptions>),
    /// Sampling alone, beside a command or by itself.
    Monitor(Box<MonitorOptions>),
}

/// What else decides, beside the command line.
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

/// The value that an option of a run has where nothing gives one, `name` being as PowerShell writes
/// it, `-MaxWaitSeconds`. `fast`: under `FastIteration`; `gated`: where a gate is set.
pub fn default_value(name: &str, fast: bool, gated: bool) -> &'static str {
    let Some(flag) = FLAGS.iter().find(|flag| name.strip_prefix('-') == Some(flag.name)) else {
        return "";
    };
    let fast = flag.fast.filter(|_| fast);
    fast.or(flag.gated.filter(|_| gated)).unwrap_or(flag.default)
}

/// Reads a command line; `args` are its words without the program's own.
///
/// The file system is asked what bare words and paths are, and the file of `HeaderFile` is read;
/// nothing is written. A value comes from the command line, else from `FastIteration`, else from
/// the environment, else it is the option's default.
///
/// # Errors
/// An option that is unknown, ambiguous, another verb's, given twice or without its value; a value
/// that is no such number, out of range or malformed, on the command line or in a variable that
/// counts; a path where there is nothing; a header file that cannot be read.
pub fn parse(args: impl IntoIterator<Item = OsString>, env: &Env) -> Result<Command, UsageError> {
    let mut words: Vec<OsString> = args.into_iter().collect();
    let first = words.first().and_then(|word| word.to_str());
    let verb = Verb::ALL.into_iter().find(|verb| verb.word().is_some() && verb.word() == first);
    if verb.is_some() {
        words.remove(0);
    }
    let verb = verb.unwrap_or(Verb::Run);
    let args = parser::lex(verb, words)?;
    if args.iter().any(|arg| matches!(arg, Arg::ShortHelp)) {
        return Ok(Command::Print(help::short()));
    }
    if parser::is_on(&args, FlagId::Help) {
        return Ok(Command::Print(help::full()));
    }
    if parser::is_on(&args, FlagId::Version) {
        return Ok(Command::Print(help::version()));
    }
    let args = ParsedArgs::new(verb, args, env)?;
    if args.given(FlagId::Completions).is_some() {
        return completions::script(&args.value(FlagId::Completions)).map(Command::Print);
    }
    Ok(match verb {
        Verb::Run => Command::Run(Box::new(options::run(&args)?)),
        Verb::Summary => Command::Summary(Box::new(options::summary(&args)?)),
        Verb::Monitor => Command::Monitor(Box::new(options::monitor(&args)?)),
    })
}
