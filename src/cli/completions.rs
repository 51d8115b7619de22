//! Completions for the shells, made from the table of the options. What a shell does with them is
//! written in its own language, in the file beside this one.

use super::UsageError;
use super::flags::{FLAGS, Flag, INERT, Verb};
use super::help::{first_sentence, version};
use super::parser::Style;
use super::values::FlagValue;

const BASH: &str = include_str!("completions/bash.sh");
const ZSH: &str = include_str!("completions/zsh.sh");
const FISH: &str = include_str!("completions/fish.fish");
const POWERSHELL: &str = include_str!("completions/powershell.ps1");

/// The script for the shell of that name.
pub(super) fn script(shell: &FlagValue) -> Result<String, UsageError> {
    let script = match shell.value.to_string_lossy().to_lowercase().as_str() {
        "bash" => bash(),
        "zsh" => zsh(),
        "fish" => fish(),
        "powershell" => powershell(),
        _ => return Err(shell.invalid()),
    };
    Ok(script.replace("__VERSION__", &version()).trim_end().to_owned())
}

/// The options that are offered: all but the inert ones.
fn offered() -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().filter(|flag| flag.group != INERT)
}

/// The GNU names of the offered options that `wanted` holds for.
fn gnu_names(separator: &str, wanted: impl Fn(&Flag) -> bool) -> String {
    let flags = offered().filter(|flag| wanted(flag));
    let names = flags.flat_map(Flag::names).map(|name| Style::Gnu.write(name));
    names.collect::<Vec<_>>().join(separator)
}

fn takes_file(flag: &Flag) -> bool {
    ["FILE", "LOG", "PATH"].contains(&flag.kind.placeholder())
}

fn takes_folder(flag: &Flag) -> bool {
    flag.kind.placeholder() == "FOLDER"
}

fn bash() -> String {
    let takes_other = |flag: &Flag| {
        let takes_path = takes_file(flag) || takes_folder(flag);
        !flag.kind.is_switch() && !takes_path && flag.words.is_empty()
    };
    let words = |flag: &Flag| {
        let name = gnu_names("|", |other| other.id == flag.id);
        format!("        {name}) words='{}' ;;\n", flag.words.join(" "))
    };
    let words: String = offered().filter(|flag| !flag.words.is_empty()).map(words).collect();
    let options = |verb: Verb| {
        let names = gnu_names(" ", |flag| flag.verbs.contains(&verb));
        format!("            {}) options='{names}' ;;\n", verb.name())
    };
    BASH.replace("__FILES__", &gnu_names("|", takes_file))
        .replace("__FOLDERS__", &gnu_names("|", takes_folder))
        .replace("__OTHERS__", &gnu_names("|", takes_other))
        .replace("__WORDS__\n", &words)
        .replace("__OPTIONS__\n", &Verb::ALL.map(options).concat())
        .replace("__VERBS__", &Verb::WORDS.join("|"))
        .replace("__VERB_WORDS__", &Verb::WORDS.join(" "))
}

/// The options of a verb, each with its names.
fn named(verb: Verb) -> impl Iterator<Item = (String, &'static Flag)> {
    let flags = offered().filter(move |flag| flag.verbs.contains(&verb));
    flags.flat_map(|flag| flag.names().map(move |name| (Style::Gnu.write(name), flag)))
}

fn zsh() -> String {
    let spec = |(name, flag): (String, &Flag)| {
        let repeatable = if flag.repeatable { "*" } else { "" };
        let help = first_sentence(flag).replace('[', "\\[").replace(']', "\\]");
        let value = match flag.kind.placeholder() {
            "" => String::new(),
            value if takes_file(flag) => format!("=:{value}:_files"),
            value if takes_folder(flag) => format!("=:{value}:_files -/"),
            value => format!("=:{}:({})", value.replace(':', "\\:"), flag.words.join(" ")),
        };
        let (equals, action) = value.split_at(value.find(':').unwrap_or(0));
        let spec = format!("{repeatable}{name}{equals}[{help}]{action}");
        format!("            '{}'\n", spec.replace('\'', r"'\''"))
    };
    let options = |verb: Verb| {
        let specs: String = named(verb).map(spec).collect();
        format!("        {}) options=(\n{specs}        ) ;;\n", verb.name())
    };
    ZSH.replace("__OPTIONS__\n", &Verb::ALL.map(options).concat())
        .replace("__VERBS__", &Verb::WORDS.join("|"))
        .replace("__VERB_WORDS__", &Verb::WORDS.join(" "))
}

fn fish() -> String {
    let line = |(name, flag): (&str, &Flag)| {
        let verbs: Vec<&str> = flag.verbs.iter().map(|verb| verb.name()).collect();
        let value = match flag.words {
            _ if flag.kind.is_switch() => String::new(),
            _ if takes_file(flag) => " -rF".to_owned(),
            _ if takes_folder(flag) => " -xa '(__fish_complete_directories)'".to_owned(),
            [] => " -x".to_owned(),
            words => format!(" -xa '{}'", words.join(" ")),
        };
        let name = Style::Gnu.write(name);
        let help = first_sentence(flag).replace('\'', r"\'");
        format!(
            "complete -c run-comfyui-e2e -n '__run_comfyui_e2e_verb {}' -l {}{value} -d '{help}'\n",
            verbs.join(" "),
            name.trim_start_matches('-'),
        )
    };
    let named = offered().flat_map(|flag| flag.names().map(move |name| (name, flag)));
    let lines: String = named.map(line).collect();
    FISH.replace("__OPTIONS__\n", &lines).replace("__VERB_WORDS__", &Verb::WORDS.join(" "))
}

fn powershell() -> String {
    let row = |(name, flag): (&str, &Flag)| {
        let verbs: Vec<&str> = flag.verbs.iter().map(|verb| verb.name()).collect();
        format!(
            "        @{{ Name = {}; Gnu = {}; Verbs = {}; Switch = ${}; Words = {}; Help = {} }}\n",
            quoted(&Style::PowerShell.write(name)),
            quoted(&Style::Gnu.write(name)),
            list(&verbs),
            flag.kind.is_switch(),
            list(flag.words),
            quoted(first_sentence(flag)),
        )
    };
    let named = offered().flat_map(|flag| flag.names().map(move |name| (name, flag)));
    let rows: String = named.map(row).collect();
    POWERSHELL.replace("__ROWS__\n", &rows).replace("__VERBS__", &list(&Verb::WORDS))
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
        let (bash, zsh, fish, powershell) = (bash(), zsh(), fish(), powershell());
        for script in [&bash, &zsh, &fish, &powershell] {
            // PowerShell reads a pipe by an old code page, and takes curly quotes for quotes.
            assert!(script.is_ascii());
            for mark in ["__OPTIONS__", "__VERBS__", "__VERB_WORDS__", "__ROWS__", "__FILES__"] {
                assert!(!script.contains(mark), "{mark} in {script}");
            }
        }
        for flag in offered() {
            assert!(!flag.help.is_empty(), "a tooltip is never empty: {}", flag.name);
            for name in flag.names() {
                let gnu = Style::Gnu.write(name);
                let listed = [" ", "'"].iter().any(|end| bash.contains(&format!(" {gnu}{end}")));
                assert!(listed || bash.contains(&format!("='{gnu} ")), "{gnu}");
                assert!(
                    zsh.contains(&format!("{gnu}=[")) || zsh.contains(&format!("{gnu}[")),
                    "{gnu}"
                );
                assert!(fish.contains(&format!(" -l {} ", &gnu[2..])), "{gnu}");
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

#[cfg(all(test, target_os = "linux"))]
mod in_bash {
    use std::path::Path;
    use std::process::Command;

    /// What bash offers for the last of these words, sorted.
    fn offers(folder: &Path, words: &[&str]) -> Vec<String> {
        std::fs::write(folder.join("completions.sh"), super::bash()).unwrap();
        let ask = "source ./completions.sh && complete -p run-comfyui-e2e >/dev/null || exit 9
            COMP_WORDS=(run-comfyui-e2e \"$@\"); COMP_CWORD=$#
            _run_comfyui_e2e; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", ask, "bash"]).args(words).current_dir(folder);
        let ran = bash.output().unwrap();
        assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
        let offered = String::from_utf8(ran.stdout).unwrap();
        let mut offers: Vec<String> =
            offered.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        offers.sort();
        offers
    }

    #[test]
    fn options_values_verbs_and_folders() {
        let folder = std::env::temp_dir().join(format!("completions-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("my flows")).unwrap();
        std::fs::write(folder.join("summaries.json"), "{}").unwrap();
        for (words, wanted) in [
            (&["--max-w"][..], &["--max-wait-seconds"][..]),
            (&["--vram-source", ""], &["auto", "comfyui", "nvidia-smi"]),
            (&["--vram-source", "n"], &["nvidia-smi"]),
            (&["--vram-source", "="], &["auto", "comfyui", "nvidia-smi"]),
            (&["--vram-source", "=", "c"], &["comfyui"]),
            (&["--quiet", "--seed", ""], &["keep", "random"]),
            (&["--completions", "p"], &["powershell"]),
            (&["sum"], &["summaries.json", "summary"]),
            // A verb is the first word, and has options of its own.
            (&["--quiet", "sum"], &[]),
            (&["monitor", "--app"], &["--append"]),
            (&["--app"], &[]),
            (&["summary", "--fr"], &[]),
            (&["--logs-dir", "my"], &["my flows"]),
            // A file's name is left to bash, which knows how to quote it; a number is none.
            (&["--workflow", "my"], &[]),
            (&["--max-wait-seconds", "1"], &[]),
            // Behind -- is a command, then what that takes.
            (&["monitor", "--", "run-comfyui-e2"], &[]),
            (&["monitor", "--", "echo", "--"], &[]),
            (&["--", "--max"], &[]),
        ] {
            assert_eq!(offers(&folder, words), wanted, "{words:?}");
        }
        let commands = offers(&folder, &["monitor", "--", "ech"]);
        assert!(commands.contains(&"echo".to_owned()), "{commands:?}");
        let all = offers(&folder, &["--"]);
        assert!(all.len() > 30 && all.contains(&"--dry-run".to_owned()), "{all:?}");
        for one in &all {
            assert!(!one.starts_with("--stop-comfyui") && !one.contains("duration"), "{one}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[cfg(all(test, target_os = "linux"))]
mod in_other_shells {
    use std::path::Path;
    use std::process::Command;

    /// What the user types behind the program's name, and what is offered for the last word of it.
    const CASES: [(&str, &[&str]); 12] = [
        ("--max-w", &["--max-wait-seconds"]),
        ("--vram-source ", &["auto", "comfyui", "nvidia-smi"]),
        ("--vram-source=n", &["nvidia-smi"]),
        ("--quiet --seed ", &["keep", "random"]),
        ("--completions p", &["powershell"]),
        ("sum", &["summaries.json", "summary"]),
        ("monitor --app", &["--append"]),
        ("--app", &[]),
        ("summary --fr", &[]),
        ("--logs-dir my", &["my-flows"]),
        ("--workflow summ", &["summaries.json"]),
        ("--max-wait-seconds 1", &[]),
    ];

    /// Prints what zsh offers for each argument, a line each, as it would at its prompt. What is typed
    /// before there is a prompt is the terminal's, which takes Ctrl-U for the whole line.
    const ASK_ZSH: &str = r#"
        zmodload zsh/zpty
        for line in "$@"; do
            : >hits
            zpty shell zsh -f -i
            zpty -w shell 'autoload -U compinit && compinit -D -u; . ./completions
                compadd() {
                    local -a hits
                    builtin compadd -O hits "$@"
                    (($#hits)) && print -rl -- $hits >>hits
                    builtin compadd "$@"
                }; PS1=REA""DY'
            zpty -r shell output '*READY*'
            zpty -n -w shell "run-comfyui-e2e $line"$'\t\x15print DO""NE\n'
            zpty -r shell output '*DONE*'
            zpty -d shell
            print -r -- ${(ou)${(f)"$(<hits)"}}
        done"#;
    const ASK_FISH: &str = "source ./completions
        for line in $argv; echo (complete -C \"run-comfyui-e2e $line\" | string replace -ra '/?\t.*|^--[a-z-]+=' '' | sort); end";

    fn offers(shell: &str, arguments: &[&str], script: &str) {
        let folder = std::env::temp_dir().join(format!("{shell}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("my-flows")).unwrap();
        for (name, text) in [("summaries.json", "{}"), ("completions", script)] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let mut command = Command::new(shell);
        command.args(arguments).args(CASES.map(|(line, _)| line)).current_dir(&folder);
        match command.env("HOME", &folder).output() {
            Err(error) => eprintln!("SKIPPED: {shell}: {error}"),
            Ok(ran) => {
                let offered = String::from_utf8_lossy(&ran.stdout);
                let offered: Vec<&str> = offered.lines().map(str::trim).collect();
                let wanted = CASES.map(|(_, wanted)| wanted.join(" "));
                assert_eq!(offered, wanted.each_ref(), "{ran:?}");
            }
        }
        std::fs::remove_dir_all(Path::new(&folder)).unwrap();
    }

    #[test]
    fn zsh_offers_options_values_verbs_and_folders() {
        offers("zsh", &["-f", "-c", ASK_ZSH, "zsh"], &super::zsh());
    }

    #[test]
    fn fish_offers_options_values_verbs_and_folders() {
        offers("fish", &["--no-config", "-c", ASK_FISH, "--"], &super::fish());
    }
}
