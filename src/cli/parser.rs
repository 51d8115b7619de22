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
    Flag(RawFlag),
    /// A bare word.
    Word(OsString),
    /// What follows the `--` of a verb that runs a command.
    Command(Vec<OsString>),
    /// `-h` and the like.
    ShortHelp,
}

/// An option as it was given.
#[derive(Debug)]
pub(super) struct RawFlag {
    pub(super) name: FlagName,
    pub(super) style: Style,
    /// Of a switch: whether it is on.
    pub(super) on: bool,
    /// Of another option: its value.
    pub(super) value: OsString,
}

impl RawFlag {
    /// The option in an error line, spelled as it was given.
    pub(super) fn label(&self) -> String {
        self.style.write(self.name.text)
    }

    fn switch(name: FlagName, style: Style, on: bool) -> RawFlag {
        RawFlag { name, style, on, value: OsString::new() }
    }

    fn value(name: FlagName, style: Style, value: Option<OsString>) -> Result<RawFlag, UsageError> {
        match value {
            Some(value) => Ok(RawFlag { name, style, on: true, value }),
            None => Err(UsageError(format!(
                "{} has no value: it takes {}",
                style.write(name.text),
                name.flag.kind.expected()
            ))),
        }
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
            continue;
        }
        if take(&mut parser, |word| word == "--").is_some() {
            let rest = std::iter::from_fn(|| take(&mut parser, |_| true));
            if verb == Verb::Monitor {
                args.push(Arg::Command(rest.collect()));
            } else {
                args.extend(rest.map(Arg::Word));
            }
            return Ok(args);
        }
        let arg = parser.next().map_err(|error| UsageError(error.to_string()))?;
        let name = match arg {
            None => return Ok(args),
            Some(lexopt::Arg::Value(word)) => {
                args.push(Arg::Word(word));
                continue;
            }
            Some(lexopt::Arg::Long(name)) => name.to_owned(),
            Some(lexopt::Arg::Short(letter)) => letter.to_string(),
        };
        args.push(gnu(&name, verb, &mut parser)?);
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

fn gnu(name: &str, verb: Verb, parser: &mut Parser) -> Result<Arg, UsageError> {
    let name = names::gnu(name, verb)?;
    let inline = parser.optional_value();
    if !name.flag.kind.is_switch() {
        let value = inline.or_else(|| take(parser, |_| true));
        return RawFlag::value(name, Style::Gnu, value).map(Arg::Flag);
    }
    if inline.is_some() {
        let label = Style::Gnu.write(name.text);
        return Err(UsageError(format!("{label} is a switch: it takes no value")));
    }
    Ok(Arg::Flag(RawFlag::switch(name, Style::Gnu, true)))
}

fn powershell(word: &OsStr, verb: Verb, parser: &mut Parser) -> Result<Arg, UsageError> {
    let Some(text) = after_dash(word) else { return Ok(Arg::ShortHelp) };
    match text.as_str() {
        "h" | "?" => return Ok(Arg::ShortHelp),
        "V" => return powershell(OsStr::new("-Version"), verb, parser),
        _ => {}
    }
    let (name, inline) = match text.split_once(':') {
        Some((name, value)) => (name, Some(value)),
        None => (text.as_str(), None),
    };
    let name = names::powershell(name, verb)?;
    let label = Style::PowerShell.write(name.text);
    if inline.is_some() && word.to_str().is_none() {
        return Err(UsageError(format!(
            "{label}:{} is not Unicode: give the value as the next word",
            shown(inline.unwrap_or_default())
        )));
    }
    // A word that ends in its colon takes the next word: a script that hands on `@args` splits so.
    let inline = inline.filter(|value| !value.is_empty()).map(OsString::from);
    let is_switch = name.flag.kind.is_switch();
    if is_switch && !text.contains(':') {
        return Ok(Arg::Flag(RawFlag::switch(name, Style::PowerShell, true)));
    }
    let value = inline.or_else(|| take(parser, |_| true));
    if !is_switch {
        return RawFlag::value(name, Style::PowerShell, value).map(Arg::Flag);
    }
    let value = value.unwrap_or_default();
    match value.to_string_lossy().to_lowercase().as_str() {
        "$true" | "true" => Ok(Arg::Flag(RawFlag::switch(name, Style::PowerShell, true))),
        "$false" | "false" => Ok(Arg::Flag(RawFlag::switch(name, Style::PowerShell, false))),
        _ => Err(UsageError(format!(
            "{label} takes $true or $false after its colon, not {}",
            quoted(&value)
        ))),
    }
}

/// Whether the command line asks for the option of that id (a switch: and it is on).
pub(super) fn is_on(args: &[Arg], id: FlagId) -> bool {
    args.iter().any(|arg| matches!(arg, Arg::Flag(raw) if raw.name.flag.id == id && raw.on))
}
