//! The typed options of `monitor`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use super::args::ParsedArgs;
use super::gates::{GateOptions, gates};
use super::parser::Item;
use super::quote::quoted;
use super::row::Id;
use super::sampling::{SamplingOptions, sampling};
use super::server::{ServerOptions, server};
use super::{UsageError, paths};

/// The options of `monitor`. Every path is absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorOptions {
    /// The program to run and its arguments, as they were given; never empty. None: sampling goes
    /// on for `duration`, else until Ctrl-C.
    pub command: Option<Vec<OsString>>,
    /// How long to sample; only without a command.
    pub duration: Option<Duration>,
    /// Where the log is kept; none: it is not.
    pub log: Option<PathBuf>,
    /// Whether a log that exists is continued.
    pub append: bool,
    /// How memory is sampled.
    pub sampling: SamplingOptions,
    /// What has to hold of the memory.
    pub gates: GateOptions,
    /// How the server is reached.
    pub server: ServerOptions,
    /// Where a page of what was sampled is written; never the log. Default: nowhere.
    pub html: Option<PathBuf>,
    /// Whether nothing is printed on success.
    pub quiet: bool,
    /// Whether a terminal gets no colours either.
    pub no_color: bool,
}

pub(super) fn monitor(line: &ParsedArgs) -> Result<MonitorOptions, UsageError> {
    let command = command(line)?;
    let duration = line.given(Id::Duration);
    if let (Some(duration), Some(_)) = (duration, &command) {
        let label = duration.label();
        return Err(UsageError(format!(
            "{label} is for monitor without a command: with one it ends when the command does"
        )));
    }
    let log = line.given(Id::Log).map(|given| paths::absolute(given, line)).transpose()?;
    if let (Some(append), None) = (line.given(Id::Append).filter(|given| given.on), &log) {
        let log = append.spelling.write(Id::Log.row().name);
        return Err(UsageError(format!("{} needs {log} FILE", append.label())));
    }
    let html = paths::html(line)?;
    if let (Some(given), true) = (line.given(Id::Html), html == log) {
        return Err(UsageError(format!("{} names the file of the log", given.label())));
    }
    let server = server(line)?;
    Ok(MonitorOptions {
        command,
        duration: duration.map(|_| line.decimal_seconds(Id::Duration)).transpose()?,
        log,
        append: line.on(Id::Append),
        sampling: sampling(line, &server)?,
        gates: gates(line)?,
        server,
        html,
        quiet: line.on(Id::Quiet),
        no_color: line.no_color(),
    })
}

/// The words behind `--`. Before it there is no bare word, so that a forgotten `--` is told
/// instead of sampling until Ctrl-C.
fn command(line: &ParsedArgs) -> Result<Option<Vec<OsString>>, UsageError> {
    let mut command = None;
    for item in &line.items {
        match item {
            Item::Word(word) => return Err(stray(word)),
            Item::Command(words) if words.is_empty() => {
                return Err(UsageError("monitor has no command behind its --".to_owned()));
            }
            Item::Command(words) => command = Some(words.clone()),
            Item::Option(_) | Item::ShortHelp => {}
        }
    }
    Ok(command)
}

fn stray(word: &OsStr) -> UsageError {
    UsageError(format!("{}: the command of monitor goes after --", quoted(word)))
}
