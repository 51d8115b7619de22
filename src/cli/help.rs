//! The help, made from the table of the options, and the version.

use super::flags::{ABOUT, FLAGS, Flag, INERT, Kind, Verb};
use super::parser::Style;
use crate::exit_code::Exit;

const PROGRAM: &str = env!("CARGO_PKG_NAME");
/// Where an option's description begins in the short help, in columns.
const MARGIN: usize = 32;
/// The width of the full help's paragraphs, in columns.
const WIDTH: usize = 79;

/// What stands under an option or an example.
const INDENT: &str = "      ";

const USAGE: &str = "\
Usage: run-comfyui-e2e [OPTIONS] [PROJECT_ROOT | WORKFLOW.json ...]  a run
       run-comfyui-e2e summary [OPTIONS] [LOG | RUN_FOLDER ...]      old logs
       run-comfyui-e2e monitor [OPTIONS] [-- COMMAND ...]            VRAM alone
";

pub(super) const SPELLINGS: &str = "\
Every option has one name, written two ways: --max-wait-seconds 600 (or
--max-wait-seconds=600, exact) and PowerShell's -MaxWaitSeconds 600 (or
-MaxWaitSeconds:600, in any letter case, any unambiguous prefix). A switch
takes $true or $false after a colon: -FastIteration:$false.
A time takes a unit, 90s, 10m or 2h, and so does memory, 23000MB or 23GB
(1 GB = 1024 MB).
-- ends the options. A value comes from the command line, else from
FastIteration, else from the environment, else it is the default.
";

const SHORT_END: &str =
    "PowerShell's -MaxWaitSeconds works too. --help: everything; -V: the version";

pub(super) const EXAMPLES: [(&str, &str); 7] = [
    ("run-comfyui-e2e flow.json", "one workflow, one scene"),
    ("run-comfyui-e2e --workflow nightly --fresh --quiet", "each file of a folder, from cron"),
    ("run-comfyui-e2e -FastIteration -SceneRetryBudget 0", "as the script was called"),
    ("run-comfyui-e2e flow.json --set 4.steps=8 --seed random", "with other inputs"),
    ("run-comfyui-e2e --comfyui-url http://gpu-2:8188 flow.json", "on another machine"),
    ("run-comfyui-e2e summary", "the newest run's verdict and VRAM"),
    ("run-comfyui-e2e monitor -- python batch.py", "the VRAM while a command runs"),
];

/// The program's name and version.
pub(super) fn version() -> String {
    format!("{PROGRAM} {}", env!("CARGO_PKG_VERSION"))
}

/// The most used options, in five groups and at most 25 lines.
pub(super) fn short() -> String {
    let mut lines = vec![format!("{}: ComfyUI end to end, and the VRAM it uses", version())];
    lines.push(USAGE.trim_end().to_owned());
    let mut group = "";
    for flag in FLAGS.iter().filter(|flag| flag.short) {
        if flag.group != group {
            lines.push(format!("{}:", flag.group));
            group = flag.group;
        }
        let head = format!("  {}", signature(flag));
        let sentence = first_sentence(flag);
        // A default in words is for the full help.
        let default = match flag.default {
            default if default.is_empty() || default.contains(' ') => String::new(),
            default => match flag.kind {
                Kind::Number("seconds", ..) => format!(" [{default} s]"),
                _ => format!(" [{default}]"),
            },
        };
        lines.push(format!("{head:<MARGIN$}{sentence}{default}"));
    }
    lines.push(SHORT_END.to_owned());
    lines.join("\n")
}

/// The first sentence of an option's help, without its full stop.
pub(super) fn first_sentence(flag: &Flag) -> &'static str {
    flag.help.split_once(". ").map_or(flag.help, |(first, _)| first).trim_end_matches('.')
}

/// Every option, environment variable and exit code, and examples.
pub(super) fn full() -> String {
    let mut lines = vec![version(), String::new(), USAGE.to_owned(), SPELLINGS.to_owned()];
    for flags in FLAGS.chunk_by(|one, next| one.group == next.group) {
        lines.push(format!("{}:", flags[0].group));
        for flag in flags {
            lines.extend(entry(flag));
            lines.extend((flag.group != INERT).then(String::new));
        }
        lines.extend((flags[0].group == INERT).then(String::new));
    }
    lines.push("Environment:".to_owned());
    for flag in FLAGS {
        let option = Style::Gnu.write(flag.name);
        lines.extend(flag.env.iter().map(|variable| format!("  {variable:<38}{option}")));
    }
    // No option has it, as in the script.
    lines.push(format!("  {:<38}what a generated story is about", "CUSTOM_STORY_IDEA"));
    lines.push("\nExit codes:".to_owned());
    lines.extend(Exit::all().map(|exit| format!("  {:<4}{}", exit.code(), exit.sentence())));
    lines.push("\nExamples:".to_owned());
    lines.extend(EXAMPLES.map(|(line, meaning)| format!("  {line}\n{INDENT}{meaning}")));
    lines.join("\n")
}

/// An option as GNU writes it, and the placeholder of its value.
fn signature(flag: &Flag) -> String {
    let name = Style::Gnu.write(flag.name);
    format!("{name} {}", flag.kind.placeholder()).trim_end().to_owned()
}

/// What an option means, takes, and is without being given.
pub(super) fn facts(flag: &Flag) -> String {
    let mut facts = vec![flag.help.to_owned()];
    facts.extend(flag.alias.map(|alias| format!("Also {}.", Style::PowerShell.write(alias))));
    facts.extend(flag.repeatable.then(|| "Repeatable.".to_owned()));
    if let Kind::Number(..) = flag.kind {
        let range = flag.kind.expected();
        facts.push(format!("{}{}.", range[..1].to_uppercase(), &range[1..]));
    }
    let defaults = [
        ("Default", Some(flag.default).filter(|default| !default.is_empty())),
        ("With FastIteration", flag.fast),
        ("In monitor", flag.monitor),
    ];
    let defaults = defaults.into_iter().filter_map(|(when, default)| Some((when, default?)));
    facts.extend(defaults.map(|(when, default)| format!("{when}: {default}.")));
    if flag.group != ABOUT && flag.verbs.contains(&Verb::Run) {
        let others = flag.verbs.iter().filter(|verb| **verb != Verb::Run);
        facts.extend(others.map(|verb| format!("Of {} too.", verb.name())));
    }
    facts.join(" ").trim_end().to_owned()
}

fn entry(flag: &Flag) -> Vec<String> {
    let name = Style::PowerShell.write(flag.name);
    let mut lines = vec![format!("  {}, {name}", signature(flag))];
    lines.extend(paragraph(&facts(flag)));
    lines
}

/// The words in lines, indented under their option.
fn paragraph(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{INDENT}{word}")),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_help_fits_a_terminal() {
        let text = short();
        assert!(text.lines().count() <= 25, "{text}");
        let headings = text.lines().filter(|line| line.ends_with(':')).collect::<Vec<_>>();
        assert_eq!(headings.len(), 5, "{headings:?}");
        for line in text.lines().chain(full().lines()) {
            assert!(line.chars().count() < 80, "{line}");
        }
        for flag in FLAGS.iter().filter(|flag| flag.short) {
            assert!(text.contains(&format!("  {} ", signature(flag))), "{}", flag.name);
        }
    }

    #[test]
    fn the_full_help_has_every_option() {
        let text = full();
        for flag in FLAGS {
            let spellings = flag.names().map(|name| Style::PowerShell.write(name));
            let parts = spellings.chain([signature(flag), flag.group.into()]);
            let parts = parts.chain(flag.env.iter().map(|variable| (*variable).to_owned()));
            for part in parts {
                assert!(text.contains(&part), "{part}");
            }
            let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words(&text).contains(&words(flag.help)), "{}", flag.name);
            assert_eq!(flag.help.is_empty(), flag.group == INERT, "{}", flag.name);
        }
        for part in ["Seconds from 1 to 604800 (also 90s, 10m, 2h).", "(1 GB = 1024 MB)"] {
            assert!(text.contains(part), "{part}");
        }
        for exit in Exit::all() {
            let line = format!("  {:<4}{}\n", exit.code(), exit.sentence());
            assert!(text.contains(&line), "{line}");
        }
    }
}
