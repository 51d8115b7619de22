//! From the words of the command line to options with unchecked values, in both styles of writing.

use std::ffi::{OsStr, OsString};

use lexopt::Parser;

use super::args::{Arg, ParsedArgs};
use super::flags::{ABOUT, FLAGS, Flag, FlagId, Verb};
use super::values::{FlagValue, quoted, shown};
use super::{Env, UsageError};
use crate::suggest::nearest;

/// What PowerShell takes for a dash; word processors make the long ones.
const DASHES: [char; 4] = ['-', '–', '—', '―'];

/// The two ways to write an option. Messages use the one the user used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `--max-wait-seconds`.
    Gnu,
    /// `-MaxWaitSeconds`.
    PowerShell,
}

impl Style {
    /// The style of a command line: PowerShell's if an option of more than a letter is written so
    /// and none in GNU's.
    pub fn of(words: &[OsString]) -> Style {
        let words = words.iter().take_while(|word| *word != "--");
        let is_long = |word: &&OsString| {
            let text = word.to_string_lossy();
            text.chars().skip(1).take(2).filter(|c| c.is_alphabetic()).count() == 2
        };
        let is_gnu = |word: &&OsString| word.as_encoded_bytes().starts_with(b"--");
        let (gnu, others): (Vec<_>, Vec<_>) = words.partition(is_gnu);
        let is_powershell = |word: &&OsString| after_dash(word).is_some() && is_long(word);
        if gnu.is_empty() && others.iter().any(is_powershell) {
            Style::PowerShell
        } else {
            Style::Gnu
        }
    }

    /// A text of ours, its options in this style. They stand in GNU's there, as do all in the
    /// sources; a command line has its own style already.
    pub fn respell(self, text: &str) -> String {
        let mut respelled = String::new();
        let mut rest = text;
        while self == Style::PowerShell
            && !text.contains("run-comfyui-e2e ")
            && let Some(at) = rest.find("--")
        {
            let (before, option) = rest.split_at(at);
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
            let end = option.find(|c| !is_part(c)).unwrap_or(option.len());
            let (word, after) = option.split_at(end);
            let known = all_names(Style::Gnu).find(|name| name.label() == word);
            respelled += before;
            respelled += &match known {
                Some(name) if !before.ends_with(is_part) && !after.starts_with('=') => {
                    self.write(name.text)
                }
                _ => word.to_owned(),
            };
            rest = after;
        }
        respelled + rest
    }

    /// An option's name with its dashes; `name` is PowerShell's.
    pub fn write(self, name: &str) -> String {
        match self {
            Style::Gnu => format!("--{}", kebab(name)),
            Style::PowerShell => format!("-{name}"),
        }
    }
}

/// One name of an option, and how it was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlagName {
    pub(super) flag: &'static Flag,
    /// As PowerShell writes it.
    pub(super) text: &'static str,
    style: Style,
}

impl FlagName {
    fn label(self) -> String {
        self.style.write(self.text)
    }

    fn is_script_name(&self) -> bool {
        self.flag.script || self.flag.alias == Some(self.text)
    }

    /// # Errors
    /// It is an option of other verbs only.
    fn of_verb(self, verb: Verb) -> Result<FlagName, UsageError> {
        if self.flag.verbs.contains(&verb) {
            return Ok(self);
        }
        let in_sentence = |verb: &Verb| if *verb == Verb::Run { "a run" } else { verb.name() };
        let owners: Vec<&str> = self.flag.verbs.iter().map(in_sentence).collect();
        let (label, owners, verb) = (self.label(), owners.join(" and "), in_sentence(&verb));
        Err(UsageError(format!("{label} is an option of {owners}, not of {verb}")))
    }

    fn with_value(self, value: Option<OsString>) -> Result<FlagValue, UsageError> {
        let value = value.ok_or_else(|| {
            let (label, expected) = (self.label(), self.flag.kind.expected());
            UsageError(format!("{label} has no value: it takes {expected}"))
        })?;
        Ok(FlagValue { flag: self.flag, name: self.text, label: self.label(), value })
    }

    fn switched(self, on: bool) -> Result<FlagValue, UsageError> {
        self.with_value(Some(if on { "$true" } else { "$false" }.into()))
    }
}

/// Parses `words`, those after the verb, up to options with unchecked values.
///
/// # Errors
/// An option that is unknown, ambiguous, another verb's or without its value, and a switch with
/// one it does not take.
pub(super) fn parse_words<'a>(
    verb: Verb,
    words: Vec<OsString>,
    env: &'a Env<'a>,
) -> Result<ParsedArgs<'a>, UsageError> {
    let mut parser = Parser::from_args(words);
    let mut parsed = ParsedArgs { verb, args: Vec::new(), command: None, short_help: false, env };
    loop {
        // lexopt would take these for clusters of short options, so they never reach it.
        if let Some(word) = next_if(&mut parser, is_powershell) {
            match powershell_arg(&word, verb, &mut parser)? {
                Some(given) => parsed.args.push(Arg::Flag(given)),
                None => parsed.short_help = true,
            }
            continue;
        }
        if next_if(&mut parser, |word| word == "--").is_some() {
            let rest = std::iter::from_fn(|| next_if(&mut parser, |_| true));
            if verb == Verb::Monitor {
                parsed.command = Some(rest.collect());
            } else {
                parsed.args.extend(rest.map(Arg::Word));
            }
            return Ok(parsed);
        }
        let name = match parser.next().map_err(|error| UsageError(error.to_string()))? {
            None => return Ok(parsed),
            Some(lexopt::Arg::Value(word)) => {
                parsed.args.push(Arg::Word(word));
                continue;
            }
            Some(lexopt::Arg::Long(name)) => name.to_owned(),
            Some(lexopt::Arg::Short(letter)) => letter.to_string(),
        };
        parsed.args.push(Arg::Flag(gnu_flag(&name, verb, &mut parser)?));
    }
}

fn next_if(parser: &mut Parser, wanted: impl FnOnce(&OsStr) -> bool) -> Option<OsString> {
    parser.try_raw_args()?.next_if(wanted)
}

fn is_powershell(word: &OsStr) -> bool {
    after_dash(word).is_some() || word == "/?"
}

/// What follows the dash of a PowerShell option. `-` alone is a bare word, `--…` is GNU's.
fn after_dash(word: &OsStr) -> Option<String> {
    let text = word.to_string_lossy();
    let name = text.strip_prefix(DASHES)?;
    (!name.is_empty() && !text.starts_with("--")).then(|| name.to_owned())
}

fn gnu_flag(name: &str, verb: Verb, parser: &mut Parser) -> Result<FlagValue, UsageError> {
    let name = find_gnu(name, verb)?;
    match parser.optional_value() {
        inline if !name.flag.kind.is_switch() => {
            name.with_value(inline.or_else(|| next_if(parser, |_| true)))
        }
        None => name.switched(true),
        Some(_) => {
            let label = name.label();
            Err(UsageError(format!("{label} is a switch: it takes no value")))
        }
    }
}

/// `None` for `-h`, `-?` and `/?`, the short help.
fn powershell_arg(
    word: &OsStr,
    verb: Verb,
    parser: &mut Parser,
) -> Result<Option<FlagValue>, UsageError> {
    let text = match after_dash(word).as_deref() {
        None | Some("h" | "?") => return Ok(None),
        Some("V") => "Version".to_owned(),
        Some(text) => text.to_owned(),
    };
    powershell_flag(&text, word.to_str().is_some(), verb, parser).map(Some)
}

/// `text` is what follows the dash: `Name`, `Name:` or `Name:value`; `Name=value` is an error.
fn powershell_flag(
    text: &str,
    is_unicode: bool,
    verb: Verb,
    parser: &mut Parser,
) -> Result<FlagValue, UsageError> {
    if let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.contains(':')) {
        return Err(with_equals(find_powershell(name, verb)?, value, parser));
    }
    let (name, inline) = match text.split_once(':') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let name = find_powershell(name, verb)?;
    let is_switch = name.flag.kind.is_switch();
    let value = match inline {
        Some(value) if !is_unicode => {
            let (label, value) = (name.label(), shown(value));
            let why = "is not Unicode: give the value as the next word";
            return Err(UsageError(format!("{label}:{value} {why}")));
        }
        None if is_switch => return name.switched(true),
        // A script that hands on `@args` puts the value of `-Name:` into the next word.
        None | Some("") => next_if(parser, |_| true),
        Some(value) => Some(value.into()),
    };
    if !is_switch {
        return name.with_value(value);
    }
    let value = value.unwrap_or_default();
    match value.to_string_lossy().to_lowercase().as_str() {
        "$true" | "true" => name.switched(true),
        "$false" | "false" => name.switched(false),
        _ => {
            let (label, value) = (name.label(), quoted(&value));
            Err(UsageError(format!("{label} takes $true or $false after its colon, not {value}")))
        }
    }
}

/// The error of `-Name=value`, which is neither style: how it is written. At PowerShell's prompt such
/// a word is split at its first dot. A value that may be a secret is not repeated.
fn with_equals(name: FlagName, value: &str, parser: &mut Parser) -> UsageError {
    let (label, gnu) = (name.label(), Style::Gnu.write(name.text));
    if name.flag.kind.is_switch() {
        return UsageError(format!("{label} is a switch: it is written {label} or {label}:$false"));
    }
    let is_rest = |word: &OsStr| {
        let word = word.to_string_lossy();
        word.starts_with('.') && !["./", ".\\", ".."].iter().any(|path| word.starts_with(path))
    };
    let rest = if value.contains('.') { None } else { next_if(parser, is_rest) };
    let value = value.to_owned() + &rest.unwrap_or_default().to_string_lossy();
    let is_secret = [FlagId::Set, FlagId::Header].contains(&name.flag.id)
        || value.contains("://")
        || value.contains('@');
    let value = match value.as_str() {
        value if is_secret || value.is_empty() => name.flag.kind.placeholder().to_owned(),
        value if value.contains(char::is_whitespace) => quoted(value),
        value => shown(value),
    };
    UsageError(format!("the value of {label} is written {label} {value} or {gnu}={value}"))
}

fn all_names(style: Style) -> impl Iterator<Item = FlagName> {
    FLAGS.iter().flat_map(move |flag| flag.names().map(move |text| FlagName { flag, text, style }))
}

fn names_of(verb: Verb, style: Style) -> impl Iterator<Item = FlagName> {
    all_names(style).filter(move |name| name.flag.verbs.contains(&verb))
}

/// `MaxWaitSeconds` as `max-wait-seconds`. A product's name stays one word.
fn kebab(name: &str) -> String {
    let name = name.replace("ComfyUI", "Comfyui").replace("JUnit", "Junit");
    let letters: Vec<char> = name.chars().collect();
    let mut kebab = String::new();
    for (i, letter) in letters.iter().enumerate() {
        let after_small = i > 0 && letters[i - 1].is_lowercase();
        let before_small = i > 0 && letters.get(i + 1).is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && (after_small || before_small) {
            kebab.push('-');
        }
        kebab.push(letter.to_ascii_lowercase());
    }
    kebab
}

/// The option of that GNU name (without dashes), which has to be exact.
pub(super) fn find_gnu(word: &str, verb: Verb) -> Result<FlagName, UsageError> {
    let found = all_names(Style::Gnu).find(|name| kebab(name.text) == word);
    found.ok_or_else(|| unknown(word, verb, Style::Gnu))?.of_verb(verb)
}

/// The option of that PowerShell name (without its dash): any letter case, any unambiguous prefix.
pub(super) fn find_powershell(word: &str, verb: Verb) -> Result<FlagName, UsageError> {
    let mut found = matching(word, names_of(verb, Style::PowerShell));
    if found.is_empty() {
        found = matching(word, all_names(Style::PowerShell));
    }
    match found.as_slice() {
        [name] => name.of_verb(verb),
        [name, ..] if name.flag.verbs.contains(&verb) => {
            let names = any_of(&found);
            Err(UsageError(format!("-{} is ambiguous: {names}", shown(word))))
        }
        _ => Err(unknown(word, verb, Style::PowerShell)),
    }
}

/// The names that `word` may stand for: the exact one, else those that begin with it, and the
/// script's among them before ours, so that its command lines go on working.
fn matching(word: &str, names: impl Iterator<Item = FlagName>) -> Vec<FlagName> {
    let word = word.to_lowercase();
    let mut matching: Vec<FlagName> = names
        .filter(|name| !word.is_empty() && name.text.to_lowercase().starts_with(&word))
        .collect();
    if let Some(exact) = matching.iter().find(|name| name.text.len() == word.len()) {
        return vec![*exact];
    }
    if matching.iter().any(FlagName::is_script_name) {
        matching.retain(FlagName::is_script_name);
    }
    // -Com has always been -ComfyUIUrl: one other option wins over those about the program.
    let not_about = |name: &FlagName| name.flag.group != ABOUT;
    if matching.iter().filter(|name| not_about(name)).count() == 1 {
        matching.retain(not_about);
    }
    matching
}

fn unknown(word: &str, verb: Verb, style: Style) -> UsageError {
    let dashes = if style == Style::Gnu { "--" } else { "-" };
    let hint = match suggestion(word, verb, style) {
        Some(names) => format!("did you mean {names}?"),
        None => format!("{} lists the options there are", style.write("Help")),
    };
    UsageError(format!("unknown option {dashes}{}: {hint}", shown(word)))
}

/// The options that were probably meant by `word`, joined by "or".
pub(super) fn suggestion(word: &str, verb: Verb, style: Style) -> Option<String> {
    let letters: String = word.chars().filter(|c| c.is_alphanumeric()).collect();
    let letters = letters.to_lowercase();
    let hinted = |name: &FlagName| {
        name.flag.name == name.text && name.flag.hints.contains(&letters.as_str())
    };
    let hinted: Vec<FlagName> = names_of(verb, style).filter(hinted).collect();
    if !hinted.is_empty() {
        return Some(any_of(&hinted));
    }
    let longer: Vec<FlagName> = names_of(verb, style)
        .filter(|name| letters.len() >= 3 && name.text.to_lowercase().starts_with(&letters))
        .collect();
    if (1..=3).contains(&longer.len()) {
        return Some(any_of(&longer));
    }
    nearest(&letters, names_of(verb, style).map(|name| name.text)).map(|name| style.write(name))
}

fn any_of(names: &[FlagName]) -> String {
    names.iter().map(|name| name.label()).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn kebab_names() {
        let cases = [
            ("ComfyUIUrl", "comfyui-url"),
            ("WaitForComfyUI", "wait-for-comfyui"),
            ("StopComfyUI", "stop-comfyui"),
            ("MaxWaitSeconds", "max-wait-seconds"),
            ("SkipLLMHealthCheck", "skip-llm-health-check"),
            ("MaxPeakMB", "max-peak-mb"),
            ("JUnit", "junit"),
            ("Gpu", "gpu"),
        ];
        for (name, expected) in cases {
            assert_eq!(kebab(name), expected);
        }
        let mut seen = HashSet::new();
        assert!(
            all_names(Style::Gnu).all(|name| seen.insert(kebab(name.text))),
            "two options of one name"
        );
    }

    #[test]
    fn texts_are_spelled_as_the_command_line() {
        let style =
            |words: &str| Style::of(&words.split(' ').map(OsString::from).collect::<Vec<_>>());
        for words in ["-MaxW 5", "-q -Fresh", "x.json —Set:a.b=1"] {
            assert_eq!(style(words), Style::PowerShell, "{words}");
        }
        for words in
            ["", "--fresh x.json", "--json -Fresh", "-q -5 - -V", "monitor --json -- python -Xdev"]
        {
            assert_eq!(style(words), Style::Gnu, "{words}");
        }
        for (text, respelled) in [
            ("use --fresh or --seed random", "use -Fresh or -Seed random"),
            ("(--comfyui-url URL), --max-wait-seconds", "(-ComfyUIUrl URL), -MaxWaitSeconds"),
            ("written -Gpu N or --gpu=N", "written -Gpu N or --gpu=N"),
            (
                "ComfyUI's --gpu-only, a--fresh -- \u{2500}--",
                "ComfyUI's --gpu-only, a--fresh -- \u{2500}--",
            ),
            ("Next: run-comfyui-e2e --fresh", "Next: run-comfyui-e2e --fresh"),
        ] {
            assert_eq!(Style::PowerShell.respell(text), respelled);
            assert_eq!(Style::Gnu.respell(text), text);
        }
    }

    #[test]
    fn prefixes() {
        let cases = [
            ("Fast", "FastIteration"),
            ("MaxW", "MaxWaitSeconds"),
            ("max", "MaxSceneRetries"),
            ("f", "FastIteration"),
            ("p", "ProjectRoot"),
            ("scenem", "SceneMaxWaitSeconds"),
            ("SceneF", "SceneFilter"),
            ("HEADER", "Header"),
            ("headerf", "HeaderFile"),
            ("ver", "Verbose"),
            ("q", "Quiet"),
            ("vers", "Version"),
            ("com", "ComfyUIUrl"),
            ("Comp", "Completions"),
        ];
        for (word, expected) in cases {
            let found = find_powershell(word, Verb::Run).map(|name| name.text);
            assert_eq!(found, Ok(expected), "{word}");
        }
    }
}
