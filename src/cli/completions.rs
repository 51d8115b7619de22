//! Completions for the shells, made from the table of the options. What a shell does with them is
//! written in its own language, in the file beside this one.

use super::UsageError;
use super::flags::{FLAGS, Flag, INERT, Verb};
use super::help::{first_sentence, version};
use super::names::Style;
use super::parser::FlagValue;

const BASH: &str = include_str!("completions/bash.sh");
const POWERSHELL: &str = include_str!("completions/powershell.ps1");

/// The script for a shell.
pub(super) fn script(shell: &FlagValue) -> Result<String, UsageError> {
    let script = match shell.value.to_string_lossy().to_lowercase().as_str() {
        "bash" => bash(),
        "powershell" => powershell(),
        _ => return Err(shell.refused()),
    };
    Ok(script.replace("__VERSION__", &version()).trim_end().to_owned())
}

/// What is offered: not what is there for the script's sake alone.
fn flags() -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().filter(|flag| flag.group != INERT)
}

fn verbs() -> Vec<&'static str> {
    Verb::ALL.iter().filter_map(|verb| verb.word()).collect()
}

/// A run's verb has no word on the command line, but needs one in a script.
fn called(verb: Verb) -> &'static str {
    verb.word().unwrap_or("run")
}

fn bash() -> String {
    let names = |wanted: &dyn Fn(&Flag) -> bool, separator: &str| {
        let names = flags().filter(|flag| wanted(flag)).flat_map(Flag::names);
        names.map(|name| Style::Gnu.write(name)).collect::<Vec<_>>().join(separator)
    };
    let of_path = |folder| names(&|flag| flag.kind.is_folder() == Some(folder), "|");
    let is_other = |flag: &Flag| {
        !flag.kind.is_switch() && flag.kind.is_folder().is_none() && flag.words.is_empty()
    };
    let words = flags().filter(|flag| !flag.words.is_empty()).map(|flag| {
        let name = names(&|other| other.id == flag.id, "|");
        format!("        {name}) words='{}' ;;\n", flag.words.join(" "))
    });
    let options = Verb::ALL.map(|verb| {
        let names = names(&|flag| flag.verbs.contains(&verb), " ");
        format!("            {}) options='{names}' ;;\n", called(verb))
    });
    BASH.replace("__FILES__", &of_path(false))
        .replace("__FOLDERS__", &of_path(true))
        .replace("__OTHERS__", &names(&is_other, "|"))
        .replace("__WORDS__\n", &words.collect::<String>())
        .replace("__OPTIONS__\n", &options.concat())
        .replace("__VERBS__", &verbs().join("|"))
        .replace("__VERB_WORDS__", &verbs().join(" "))
}

fn powershell() -> String {
    let flag = |(name, flag): (&str, &Flag)| {
        let verbs: Vec<&str> = flag.verbs.iter().map(|verb| called(*verb)).collect();
        let is_switch = flag.kind.is_switch();
        format!(
            "        @{{ Name = {}; Gnu = {}; Verbs = {}; Switch = ${is_switch}; Words = {}; Help = {} }}\n",
            quoted(&Style::PowerShell.write(name)),
            quoted(&Style::Gnu.write(name)),
            list(&verbs),
            list(flag.words),
            quoted(first_sentence(flag)),
        )
    };
    let named = flags().flat_map(|flag| flag.names().map(move |name| (name, flag)));
    let flags: String = named.map(flag).collect();
    POWERSHELL.replace("__ROWS__\n", &flags).replace("__VERBS__", &list(&verbs()))
}

fn list(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("@({})", words.join(", "))
}

/// A text in PowerShell's single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_are_plain_text_with_every_option_and_no_mark_left() {
        let (bash, powershell) = (bash(), powershell());
        for script in [&bash, &powershell] {
            // PowerShell reads a pipe by an old code page, and takes curly quotes for quotes.
            assert!(script.is_ascii());
            let left = script.replace("__VERSION__", "");
            assert!(!left.contains("__"), "{left}");
        }
        for flag in flags() {
            assert!(!flag.help.is_empty(), "a tooltip is never empty: {}", flag.name);
            for name in flag.names() {
                let gnu = Style::Gnu.write(name);
                let listed = [" ", "'"].iter().any(|end| bash.contains(&format!(" {gnu}{end}")));
                assert!(listed || bash.contains(&format!("='{gnu} ")), "{gnu}");
                let both = format!("@{{ Name = '-{name}'; Gnu = '{gnu}'; ");
                assert_eq!(powershell.matches(&both).count(), 1, "{both}");
            }
            for word in flag.words {
                assert!(flag.kind.expected().contains(word), "{} {word}", flag.name);
            }
        }
        for inert in FLAGS.iter().filter(|flag| flag.group == INERT) {
            let name = Style::Gnu.write(inert.name);
            assert!(!bash.contains(&name) && !powershell.contains(&name), "{name}");
        }
    }

    /// There is no PowerShell here to run it: quotes and brackets at least are closed.
    #[test]
    fn the_script_of_powershell_closes_what_it_opens() {
        let script = powershell();
        for (number, line) in script.lines().enumerate() {
            let code = line.split_once('#').map_or(line, |(code, _)| code);
            assert_eq!(code.matches('\'').count() % 2, 0, "line {}: {line}", number + 1);
        }
        let mut open = Vec::new();
        let mut in_quotes = false;
        for c in
            script.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(str::chars)
        {
            match c {
                '\'' => in_quotes = !in_quotes,
                _ if in_quotes => {}
                '(' | '{' | '[' => open.push(c),
                ')' => assert_eq!(open.pop(), Some('(')),
                '}' => assert_eq!(open.pop(), Some('{')),
                ']' => assert_eq!(open.pop(), Some('[')),
                _ => {}
            }
        }
        assert_eq!((open, in_quotes), (Vec::new(), false));
    }
}
