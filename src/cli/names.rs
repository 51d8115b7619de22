//! From a name on the command line to its option, and from an option to its name.

use super::UsageError;
use super::flags::{ABOUT, FLAGS, Flag, Verb};
use super::values::shown;
use crate::suggest::nearest;

/// The two ways of writing an option; errors are written in the one that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Gnu,
    PowerShell,
}

impl Style {
    /// An option's name with its dashes; `name` is PowerShell's.
    pub(super) fn write(self, name: &str) -> String {
        match self {
            Style::Gnu => format!("--{}", kebab(name)),
            Style::PowerShell => format!("-{name}"),
        }
    }
}

/// One name of one option.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlagName {
    pub(super) flag: &'static Flag,
    /// As PowerShell writes it.
    pub(super) text: &'static str,
}

impl FlagName {
    /// Whether it is one of the script's names.
    fn is_script(self) -> bool {
        self.flag.script || self.text != self.flag.name
    }
}

/// Every name that there is.
fn all() -> impl Iterator<Item = FlagName> {
    FLAGS.iter().flat_map(|flag| flag.names().map(move |text| FlagName { flag, text }))
}

fn taken_by(verb: Verb) -> impl Iterator<Item = FlagName> {
    all().filter(move |name| name.flag.verbs.contains(&verb))
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
pub(super) fn gnu(word: &str, verb: Verb) -> Result<FlagName, UsageError> {
    match all().find(|name| kebab(name.text) == word) {
        Some(name) => of_verb(name, Style::Gnu, verb),
        None => Err(unknown(Style::Gnu, word, verb)),
    }
}

/// The option of that PowerShell name (without its dash): any letter case, any unambiguous prefix.
pub(super) fn powershell(word: &str, verb: Verb) -> Result<FlagName, UsageError> {
    match (fitting(word, taken_by(verb)).as_slice(), fitting(word, all()).as_slice()) {
        ([name], _) | ([], [name]) => of_verb(*name, Style::PowerShell, verb),
        ([], _) => Err(unknown(Style::PowerShell, word, verb)),
        (several, _) => {
            let names = list(several.iter().map(|name| name.text), Style::PowerShell);
            Err(UsageError(format!("-{} is ambiguous: {names}", shown(word))))
        }
    }
}

/// The names that `word` may stand for: the exact one, else those that begin with it, and the
/// script's among them before ours, so that its command lines go on working.
fn fitting(word: &str, names: impl Iterator<Item = FlagName>) -> Vec<FlagName> {
    let word = word.to_lowercase();
    let mut fitting: Vec<FlagName> = names
        .filter(|name| !word.is_empty() && name.text.to_lowercase().starts_with(&word))
        .collect();
    if let Some(exact) = fitting.iter().find(|name| name.text.len() == word.len()) {
        return vec![*exact];
    }
    if fitting.iter().any(|name| name.is_script()) {
        fitting.retain(|name| name.is_script());
    }
    // -Com has always been -ComfyUIUrl: what is about the program gives way to a run's one option.
    let of_a_run = |name: &FlagName| name.flag.group != ABOUT;
    if fitting.iter().filter(|name| of_a_run(name)).count() == 1 {
        fitting.retain(of_a_run);
    }
    fitting
}

fn of_verb(name: FlagName, style: Style, verb: Verb) -> Result<FlagName, UsageError> {
    if name.flag.verbs.contains(&verb) {
        return Ok(name);
    }
    let owners: Vec<&str> = name.flag.verbs.iter().map(|verb| verb.described()).collect();
    Err(UsageError(format!(
        "{} is an option of {}, not of {}",
        style.write(name.text),
        owners.join(" and "),
        verb.described()
    )))
}

fn unknown(style: Style, word: &str, verb: Verb) -> UsageError {
    let dashes = if style == Style::Gnu { "--" } else { "-" };
    let hint = match meant(word, verb, style) {
        Some(names) => format!("did you mean {names}?"),
        None => format!("{} lists the options there are", style.write("Help")),
    };
    UsageError(format!("unknown option {dashes}{}: {hint}", shown(word)))
}

/// The options that a word was probably meant to be, in words.
pub(super) fn meant(word: &str, verb: Verb, style: Style) -> Option<String> {
    let letters = word.replace(|c: char| !c.is_alphanumeric(), "").to_lowercase();
    let names = || taken_by(verb).map(|name| name.text);
    let is_longer = |name: &&str| letters.len() >= 3 && name.to_lowercase().starts_with(&letters);
    let longer: Vec<&str> = names().filter(is_longer).collect();
    match longer.len() {
        1..=3 => Some(list(longer.into_iter(), style)),
        _ => nearest(&letters, names()).map(|name| style.write(name)),
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>, style: Style) -> String {
    names.map(|name| style.write(name)).collect::<Vec<_>>().join(" or ")
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
        assert!(all().all(|name| seen.insert(kebab(name.text))), "two options of one name");
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
            let found = powershell(word, Verb::Run).map(|name| name.text);
            assert_eq!(found, Ok(expected), "{word}");
        }
    }

    #[test]
    fn what_is_no_option() {
        let cases = [
            (powershell("S", Verb::Run), "-S is ambiguous: -SceneMaxWaitSeconds or "),
            (powershell("He", Verb::Run), "-He is ambiguous: -HeaderFile or -Header or -Help"),
            (powershell("Fre", Verb::Summary), "-Fresh is an option of a run, not of summary"),
            (gnu("fresh", Verb::Summary), "--fresh is an option of a run, not of summary"),
            (
                gnu("max-wait", Verb::Run),
                "unknown option --max-wait: did you mean --max-wait-seconds?",
            ),
            (
                gnu("MaxWaitSeconds", Verb::Run),
                "unknown option --MaxWaitSeconds: did you mean --max-wait-seconds?",
            ),
            (gnu("workflwo", Verb::Run), "unknown option --workflwo: did you mean --workflow?"),
            (
                gnu("header-", Verb::Run),
                "unknown option --header-: did you mean --header-file or --header?",
            ),
            (
                powershell("Workflwo", Verb::Run),
                "unknown option -Workflwo: did you mean -Workflow?",
            ),
            (
                powershell("max-wait-seconds", Verb::Run),
                "unknown option -max-wait-seconds: did you mean -MaxWaitSeconds?",
            ),
            (
                powershell("Quietly-Please", Verb::Run),
                "unknown option -Quietly-Please: -Help lists the options there are",
            ),
            (gnu("", Verb::Run), "unknown option --: --help lists the options there are"),
            (powershell("", Verb::Run), "unknown option -: -Help lists the options there are"),
        ];
        for (found, line) in cases {
            let error = found.map(|name| name.text).expect_err(line).to_string();
            assert!(error.starts_with(line), "{error}");
        }
    }
}
