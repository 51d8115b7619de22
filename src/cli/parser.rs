//! From the words of the command line to options with raw values, in both spellings.

use std::ffi::{OsStr, OsString};

use lexopt::{Arg, Parser};

use super::UsageError;
use super::names::{self, Name, Spelling};
use super::quote::{quoted, shown};
use super::row::{Id, Kind, Verb};

/// What PowerShell takes for a dash; word processors make the long ones.
const DASHES: [char; 4] = ['-', '–', '—', '―'];

/// One thing on the command line.
#[derive(Debug)]
pub(super) enum Item {
    Option(RawFlag),
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
    pub(super) name: Name,
    pub(super) spelling: Spelling,
    /// Of a switch: whether it is on.
    pub(super) on: bool,
    /// Of another option: its value.
    pub(super) value: OsString,
}

impl RawFlag {
    /// The option in an error line, spelled as it was given.
    pub(super) fn label(&self) -> String {
        self.spelling.write(self.name.text)
    }

    fn switch(name: Name, spelling: Spelling, on: bool) -> RawFlag {
        RawFlag { name, spelling, on, value: OsString::new() }
    }

    fn value(
        name: Name,
        spelling: Spelling,
        value: Option<OsString>,
    ) -> Result<RawFlag, UsageError> {
        match value {
            Some(value) => Ok(RawFlag { name, spelling, on: true, value }),
            None => Err(UsageError(format!(
                "{} has no value: it takes {}",
                spelling.write(name.text),
                name.row.kind.takes()
            ))),
        }
    }
}

/// The things on the command line, in order. `args` are the words behind the verb.
///
/// # Errors
/// An option that is unknown, ambiguous, another verb's or without its value, and a switch with
/// one it does not take.
pub(super) fn lex(verb: Verb, args: Vec<OsString>) -> Result<Vec<Item>, UsageError> {
    let mut parser = Parser::from_args(args);
    let mut items = Vec::new();
    loop {
        // lexopt would take these for clusters of short options, so they never reach it.
        if let Some(word) = take(&mut parser, |word| after_dash(word).is_some() || word == "/?") {
            items.push(powershell(&word, verb, &mut parser)?);
            continue;
        }
        if take(&mut parser, |word| word == "--").is_some() {
            let rest = std::iter::from_fn(|| take(&mut parser, |_| true));
            if verb == Verb::Monitor {
                items.push(Item::Command(rest.collect()));
            } else {
                items.extend(rest.map(Item::Word));
            }
            return Ok(items);
        }
        let arg = parser.next().map_err(|error| UsageError(error.to_string()))?;
        let name = match arg {
            None => return Ok(items),
            Some(Arg::Value(word)) => {
                items.push(Item::Word(word));
                continue;
            }
            Some(Arg::Long(name)) => name.to_owned(),
            Some(Arg::Short(letter)) => letter.to_string(),
        };
        items.push(gnu(&name, verb, &mut parser)?);
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

fn gnu(name: &str, verb: Verb, parser: &mut Parser) -> Result<Item, UsageError> {
    let name = names::gnu(name, verb)?;
    let inline = parser.optional_value();
    if !matches!(name.row.kind, Kind::Switch) {
        let value = inline.or_else(|| take(parser, |_| true));
        return RawFlag::value(name, Spelling::Gnu, value).map(Item::Option);
    }
    if inline.is_some() {
        let label = Spelling::Gnu.write(name.text);
        return Err(UsageError(format!("{label} is a switch: it takes no value")));
    }
    Ok(Item::Option(RawFlag::switch(name, Spelling::Gnu, true)))
}

fn powershell(word: &OsStr, verb: Verb, parser: &mut Parser) -> Result<Item, UsageError> {
    let Some(text) = after_dash(word) else { return Ok(Item::ShortHelp) };
    match text.as_str() {
        "h" | "?" => return Ok(Item::ShortHelp),
        "V" => return powershell(OsStr::new("-Version"), verb, parser),
        _ => {}
    }
    let (name, inline) = match text.split_once(':') {
        Some((name, value)) => (name, Some(value)),
        None => (text.as_str(), None),
    };
    let name = names::powershell(name, verb)?;
    let label = Spelling::PowerShell.write(name.text);
    if inline.is_some() && word.to_str().is_none() {
        return Err(UsageError(format!(
            "{label}:{} is not Unicode: give the value as the next word",
            shown(inline.unwrap_or_default())
        )));
    }
    // A word that ends in its colon takes the next word: a script that hands on `@args` splits so.
    let inline = inline.filter(|value| !value.is_empty()).map(OsString::from);
    let is_switch = matches!(name.row.kind, Kind::Switch);
    if is_switch && !text.contains(':') {
        return Ok(Item::Option(RawFlag::switch(name, Spelling::PowerShell, true)));
    }
    let value = inline.or_else(|| take(parser, |_| true));
    if !is_switch {
        return RawFlag::value(name, Spelling::PowerShell, value).map(Item::Option);
    }
    let value = value.unwrap_or_default();
    match value.to_string_lossy().to_lowercase().as_str() {
        "$true" | "true" => Ok(Item::Option(RawFlag::switch(name, Spelling::PowerShell, true))),
        "$false" | "false" => Ok(Item::Option(RawFlag::switch(name, Spelling::PowerShell, false))),
        _ => Err(UsageError(format!(
            "{label} takes $true or $false after its colon, not {}",
            quoted(&value)
        ))),
    }
}

/// Whether the command line asks for the option of that id (a switch: and it is on).
pub(super) fn asks(items: &[Item], id: Id) -> bool {
    items
        .iter()
        .any(|item| matches!(item, Item::Option(given) if given.name.row.id == id && given.on))
}
