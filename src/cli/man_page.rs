//! The manual page, made from the table of the options.

use super::flags::{FLAGS, INERT};
use super::help::{EXAMPLES, SPELLINGS, facts, version};
use super::parser::Style;
use crate::exit_code::Exit;

const NAME: &str = env!("CARGO_PKG_NAME");

/// The page in roff, section 1.
pub fn man_page() -> String {
    let mut page = format!(".TH {} 1 \"\" \"{}\"\n", NAME.to_uppercase(), version());
    page += &format!(
        ".SH NAME\n{} \\- {}\n.SH SYNOPSIS\n",
        text(NAME),
        text(env!("CARGO_PKG_DESCRIPTION"))
    );
    for (verb, rest) in [
        ("", "[OPTIONS] [PROJECT_ROOT | WORKFLOW.json ...]"),
        (" summary", "[OPTIONS] [LOG | RUN_FOLDER ...]"),
        (" monitor", "[OPTIONS] [-- COMMAND ...]"),
    ] {
        page += if verb.is_empty() { "" } else { ".br\n" };
        page += &format!("{} {}\n", bold(&format!("{NAME}{verb}")), text(rest));
    }
    page += &format!(".SH DESCRIPTION\n{}\n.SH OPTIONS\n", text(SPELLINGS.trim_end()));
    for flags in FLAGS.chunk_by(|one, next| one.group == next.group) {
        if flags[0].group == INERT {
            continue;
        }
        page += &format!(".SS {}\n", text(flags[0].group));
        for flag in flags {
            let [gnu, powershell] =
                [Style::Gnu, Style::PowerShell].map(|it| bold(&it.write(flag.name)));
            let value = text(flag.kind.placeholder());
            let value = if value.is_empty() { value } else { format!(" \\fI{value}\\fR") };
            page += &format!(".TP\n{gnu}{value}, {powershell}\n{}\n", text(&facts(flag)));
        }
    }
    page += ".SH ENVIRONMENT\n";
    for flag in FLAGS {
        let option = bold(&Style::Gnu.write(flag.name));
        for variable in flag.env {
            page += &format!(".TP\n{}\n{option}\n", bold(variable));
        }
    }
    page += ".SH EXIT STATUS\n";
    for exit in Exit::all() {
        page += &format!(".TP\n{}\n{}\n", bold(&exit.code().to_string()), text(exit.sentence()));
    }
    page += ".SH EXAMPLES\n";
    for (line, meaning) in EXAMPLES {
        page += &format!(".TP\n{}\n{}\n", bold(line), text(meaning));
    }
    page
}

fn bold(word: &str) -> String {
    format!("\\fB{}\\fR", text(word))
}

/// A text, of which roff takes nothing for a request or an escape.
fn text(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let starts_request = |line: &str| line.starts_with(['.', '\'']);
    let lines = text
        .lines()
        .map(|line| if starts_request(line) { format!("\\&{line}") } else { line.to_owned() });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_page_has_every_option_and_reads_without_a_complaint() {
        let page = man_page();
        for flag in FLAGS.iter().filter(|flag| flag.group != INERT) {
            let [gnu, powershell] =
                [Style::Gnu, Style::PowerShell].map(|it| text(&it.write(flag.name)));
            let head = page.lines().find(|line| line.starts_with(&format!("\\fB{gnu}\\fR")));
            assert!(
                head.is_some_and(|line| line.ends_with(&format!(", \\fB{powershell}\\fR"))),
                "{gnu}"
            );
        }
        assert_eq!(text(".a\n'b\n-c\\d"), "\\&.a\n\\&'b\n\\-c\\ed");
        let file = std::env::temp_dir().join(format!("page-{}.1", std::process::id()));
        std::fs::write(&file, &page).unwrap();
        for (program, words) in [
            ("mandoc", &["-T", "lint", "-W", "warning"][..]),
            ("groff", &["-man", "-ww", "-T", "utf8"]),
        ] {
            let mut command = Command::new(program);
            match command.args(words).arg(&file).stdin(Stdio::null()).output() {
                Err(error) => eprintln!("SKIPPED: {program}: {error}"),
                Ok(ran) => {
                    let complaints =
                        [&ran.stderr[..], if program == "mandoc" { &ran.stdout } else { &[] }]
                            .concat();
                    let complaints = String::from_utf8_lossy(&complaints);
                    // The page has no date: a release has one.
                    let complaints: Vec<_> =
                        complaints.lines().filter(|line| !line.contains("missing date")).collect();
                    assert_eq!(complaints, [""; 0], "{program}");
                }
            }
        }
        std::fs::remove_file(file).unwrap();
    }
}
