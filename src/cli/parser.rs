//! From the words of the command line to options with raw values, in both spellings.

use std::ffi::{OsStr, OsString};

use lexopt::Parser;

use super::UsageError;
use super::flags::{FlagId, Verb};
use super::names::{self, FlagName, Style};
use super::values::{quoted, shown};

/// What PowerShell takes for a dash; word processors make the long ones.
const DASHES: [char; 4] = ['-', '–', '—', '―'];

/// One argument of the command line.
#[derive(Debug)]
pub(super) enum Arg {
    Flag(FlagValue),
    /// A bare word.
    Word(OsString),
    /// What follows the `--` of a verb that runs a command.
    Command(Vec<OsString>),
    /// `-h` and the like.
    ShortHelp,
}

/// An option and its value: from the command line, or from where [`ParsedArgs::value`] finds one.
///
/// [`ParsedArgs::value`]: super::args::ParsedArgs::value
#[derive(Clone, Debug)]
pub(super) struct FlagValue {
    pub(super) name: FlagName,
    pub(super) style: Style,
    /// The option as it was spelled, or the variable that gave the value; for errors.
    pub(super) label: String,
    /// Of a switch: whether it is on.
    pub(super) on: bool,
    /// Of another option: its value.
    pub(super) value: OsString,
}

impl FlagValue {
    /// The option as it was given. A switch may have a value too: `$true` or `$false`.
    pub(super) fn new(
        name: FlagName,
        style: Style,
        value: Option<OsString>,
    ) -> Result<FlagValue, UsageError> {
        let label = style.write(name.text);
        let kind = name.flag.kind;
        let on = match &value {
            None if !kind.is_switch() => {
                let takes = kind.expected();
                return Err(UsageError(format!("{label} has no value: it takes {takes}")));
            }
            Some(value) if kind.is_switch() => {
                match value.to_string_lossy().to_lowercase().as_str() {
                    "$true" | "true" => true,
                    "$false" | "false" => false,
                    _ => {
                        let value = quoted(value);
                        return Err(UsageError(format!(
                            "{label} takes $true or $false after its colon, not {value}"
                        )));
                    }
                }
            }
            _ => true,
        };
        Ok(FlagValue { name, style, label, on, value: value.unwrap_or_default() })
    }

    /// The error line: what the option takes, and what it was given.
    pub(super) fn refused(&self) -> UsageError {
        let (takes, value) = (self.name.flag.kind.expected(), quoted(&self.value));
        UsageError(format!("{} takes {takes}, not {value}", self.label))
    }

    /// The value as `parse` reads it.
    ///
    /// # Errors
    /// What the option takes, and why this is none; never a part of the value.
    pub(super) fn parse<T>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Result<T, UsageError> {
        let parsed = self.value.to_str().ok_or("it is not Unicode").and_then(parse);
        let takes = self.name.flag.kind.expected();
        parsed.map_err(|why| UsageError(format!("{} takes {takes}, but {why}", self.label)))
    }
}

/// The things on the command line, in order. `words` are those behind the verb.
///
/// # Errors
/// An option that is unknown, ambiguous, another verb's or without its value, and a switch with
/// one it does not take.
pub(super) fn lex(verb: Verb, words: Vec<OsString>) -> Result<Vec<Arg>, UsageError> {
    let mut parser = Parser::from_args(words);
    let mut args = Vec::new();
    loop {
        // lexopt would take these for clusters of short options, so they never reach it.
        if let Some(word) = take(&mut parser, |word| after_dash(word).is_some() || word == "/?") {
            args.push(powershell(&word, verb, &mut parser)?);
        } else if take(&mut parser, |word| word == "--").is_some() {
            let rest = std::iter::from_fn(|| take(&mut parser, |_| true));
            if verb == Verb::Monitor {
                args.push(Arg::Command(rest.collect()));
            } else {
                args.extend(rest.map(Arg::Word));
            }
            return Ok(args);
        } else {
            let arg = parser.next().map_err(|error| UsageError(error.to_string()))?;
            args.push(match arg {
                None => return Ok(args),
                Some(lexopt::Arg::Value(word)) => Arg::Word(word),
                Some(lexopt::Arg::Long(name)) => gnu(names::gnu(name, verb)?, &mut parser)?,
                Some(lexopt::Arg::Short(letter)) => {
                    gnu(names::gnu(&letter.to_string(), verb)?, &mut parser)?
                }
            });
        }
    }
}

fn take(parser: &mut Parser, wanted: impl FnOnce(&OsStr) -> bool) -> Option<OsString> {
    parser.try_raw_args()?.next_if(wanted)
}

/// What follows the dash of a PowerShell option. `-` alone is a bare word, `--…` is GNU's.
fn after_dash(word: &OsStr) -> Option<String> {
    let text = word.to_string_lossy();
    let name = text.strip_prefix(DASHES)?;
    (!name.is_empty() && !text.starts_with("--")).then(|| name.to_owned())
}

fn gnu(name: FlagName, parser: &mut Parser) -> Result<Arg, UsageError> {
    let mut value = parser.optional_value();
    if !name.flag.kind.is_switch() {
        value = value.or_else(|| take(parser, |_| true));
    } else if value.is_some() {
        let label = Style::Gnu.write(name.text);
        return Err(UsageError(format!("{label} is a switch: it takes no value")));
    }
    FlagValue::new(name, Style::Gnu, value).map(Arg::Flag)
}

fn powershell(word: &OsStr, verb: Verb, parser: &mut Parser) -> Result<Arg, UsageError> {
    let Some(text) = after_dash(word) else { return Ok(Arg::ShortHelp) };
    let text = match text.as_str() {
        "h" | "?" => return Ok(Arg::ShortHelp),
        "V" => "Version",
        text => text,
    };
    let (name, inline) = text.split_once(':').unwrap_or((text, ""));
    let name = names::powershell(name, verb)?;
    if text.contains(':') && word.to_str().is_none() {
        return Err(UsageError(format!(
            "{}:{} is not Unicode: give the value as the next word",
            Style::PowerShell.write(name.text),
            shown(inline)
        )));
    }
    // A word that ends in its colon takes the next word: a script that hands on `@args` splits so.
    let value = match (inline, name.flag.kind.is_switch()) {
        ("", true) if !text.contains(':') => None,
        ("", is_switch) => take(parser, |_| true).or(is_switch.then(OsString::new)),
        (inline, _) => Some(inline.into()),
    };
    FlagValue::new(name, Style::PowerShell, value).map(Arg::Flag)
}

/// Whether the command line asks for the option of that id (a switch: and it is on).
pub(super) fn is_on(args: &[Arg], id: FlagId) -> bool {
    args.iter().any(|arg| matches!(arg, Arg::Flag(flag) if flag.name.flag.id == id && flag.on))
}
