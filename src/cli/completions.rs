//! Completions for the shells, made from the table of the options. What a shell does with them is
//! written in its own language, in the file beside this one.

use super::UsageError;
use super::args::Setting;
use super::help::{first_sentence, version};
use super::names::Spelling;
use super::row::{Flag, Group, Id, Kind, Path, Verb};
use super::table::TABLE;

const BASH: &str = include_str!("completions/bash.sh");
const POWERSHELL: &str = include_str!("completions/powershell.ps1");

/// The script for a shell.
pub(super) fn of(shell: &Setting) -> Result<String, UsageError> {
    let script = match shell.value.to_string_lossy().to_lowercase().as_str() {
        "bash" => bash(),
        "powershell" => powershell(),
        _ => return Err(shell.refused(Id::Completions.row())),
    };
    Ok(script.replace("__VERSION__", &version()).trim_end().to_owned())
}

/// What is offered: not what is there for the script's sake alone.
fn rows() -> impl Iterator<Item = &'static Flag> {
    TABLE.iter().filter(|row| row.group != Group::Inert)
}

fn verbs() -> Vec<&'static str> {
    Verb::ALL.iter().filter_map(|verb| verb.word()).collect()
}

/// A run's verb has no word on the command line, but needs one in a script.
fn called(verb: Verb) -> &'static str {
    verb.word().unwrap_or("run")
}

fn bash() -> String {
    let gnu = |row: &'static Flag| row.names().map(|(name, _)| Spelling::Gnu.write(name));
    let pattern = |rows: &mut dyn Iterator<Item = &'static Flag>| {
        rows.flat_map(gnu).collect::<Vec<String>>().join("|")
    };
    let with_value = || rows().filter(|row| !matches!(row.kind, Kind::Switch));
    let of_path = |path| pattern(&mut with_value().filter(|row| row.kind.path() == Some(path)));
    let plain = || with_value().filter(|row| row.kind.path().is_none());
    let others = pattern(&mut plain().filter(|row| row.words.is_empty()));
    let arm = |row: &'static Flag| {
        let name = pattern(&mut [row].into_iter());
        format!("        {name}) words='{}' ;;\n", row.words.join(" "))
    };
    let words: String = plain().filter(|row| !row.words.is_empty()).map(arm).collect();
    let options = |verb: &Verb| {
        let names = pattern(&mut rows().filter(|row| row.verbs.contains(verb)));
        format!("            {}) options='{}' ;;\n", called(*verb), names.replace('|', " "))
    };
    let options: String = Verb::ALL.iter().map(options).collect();
    BASH.replace("__FILES__", &of_path(Path::Any))
        .replace("__FOLDERS__", &of_path(Path::Folder))
        .replace("__OTHERS__", &others)
        .replace("__WORDS__\n", &words)
        .replace("__OPTIONS__\n", &options)
        .replace("__VERBS__", &verbs().join("|"))
        .replace("__VERB_WORDS__", &verbs().join(" "))
}

fn powershell() -> String {
    let row = |(name, row): (&str, &Flag)| {
        let verbs: Vec<&str> = row.verbs.iter().map(|verb| called(*verb)).collect();
        let is_switch = matches!(row.kind, Kind::Switch);
        format!(
            "        @{{ Name = {}; Gnu = {}; Verbs = {}; Switch = ${is_switch}; Words = {}; Help = {} }}\n",
            quoted(&Spelling::PowerShell.write(name)),
            quoted(&Spelling::Gnu.write(name)),
            list(&verbs),
            list(row.words),
            quoted(first_sentence(row)),
        )
    };
    let named = rows().flat_map(|row| row.names().map(move |(name, _)| (name, row)));
    let rows: String = named.map(row).collect();
    POWERSHELL.replace("__ROWS__\n", &rows).replace("__VERBS__", &list(&verbs()))
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
        for row in rows() {
            assert!(!row.help.is_empty(), "a tooltip is never empty: {}", row.name);
            for (name, _) in row.names() {
                let gnu = Spelling::Gnu.write(name);
                let listed = [" ", "'"].iter().any(|end| bash.contains(&format!(" {gnu}{end}")));
                assert!(listed || bash.contains(&format!("='{gnu} ")), "{gnu}");
                let both = format!("@{{ Name = '-{name}'; Gnu = '{gnu}'; ");
                assert_eq!(powershell.matches(&both).count(), 1, "{both}");
            }
            for word in row.words {
                assert!(row.kind.takes().contains(word), "{} {word}", row.name);
            }
        }
        for inert in TABLE.iter().filter(|row| row.group == Group::Inert) {
            let name = Spelling::Gnu.write(inert.name);
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
