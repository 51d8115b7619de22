//! What a terminal is shown beside the plain lines: colours, and a curve of the memory. Pipes and
//! files get neither.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

/// The widest curve that is drawn, in columns.
const WIDEST: usize = 60;

/// One of the two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Stream {
    /// Whether a person reads it.
    pub fn is_terminal(self) -> bool {
        match self {
            Stream::Out => io::stdout().is_terminal(),
            Stream::Err => io::stderr().is_terminal(),
        }
    }
}

/// What an output can show.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    stream: Stream,
    escapes: bool,
    colours: bool,
    blocks: bool,
}

impl Terminal {
    /// Of an output, by what the environment says of it. `no_color`: nobody wants any.
    pub fn of(stream: Stream, no_color: bool) -> Self {
        let term = std::env::var_os("TERM");
        let modern = std::env::var_os("WT_SESSION").is_some();
        let known = known(term.as_deref(), modern).filter(|_| stream.is_terminal());
        Terminal {
            stream,
            escapes: known.is_some(),
            colours: known.is_some() && !no_color,
            blocks: known == Some(Blocks::All),
        }
    }

    /// What shows plain lines alone.
    pub fn plain() -> Self {
        Terminal { stream: Stream::Out, escapes: false, colours: false, blocks: false }
    }

    /// Whether it takes commands for the cursor.
    pub fn has_escapes(self) -> bool {
        self.escapes
    }

    /// The lines of a text in their colours, where there are colours.
    pub fn paint(self, text: &str) -> String {
        if self.colours {
            text.split_inclusive('\n').map(painted).collect()
        } else {
            text.to_owned()
        }
    }

    /// How wide a curve may be, at most 60 columns; none where its blocks cannot be shown.
    pub fn room(self) -> Option<usize> {
        self.blocks.then(|| columns(self.stream).unwrap_or(WIDEST).min(WIDEST))
    }
}

/// How many of the eight block elements there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blocks {
    All,
    Few,
}

/// What a terminal of this `TERM` shows; none if it takes no escapes.
///
/// On Windows a console takes them if it is asked to by a call that safe Rust does not have, or by
/// itself in Windows Terminal (which sets `WT_SESSION`) and in those that set `TERM`, as Git's does.
/// Any other is left in peace. Linux' own console has escapes, but a font without most of the blocks.
fn known(term: Option<&OsStr>, modern: bool) -> Option<Blocks> {
    match term.and_then(OsStr::to_str).unwrap_or_default() {
        "dumb" => None,
        "" => modern.then_some(Blocks::All),
        "linux" => Some(Blocks::Few),
        _ => Some(Blocks::All),
    }
}

/// The width of the terminal. Safe Rust cannot ask for it, but `stty` can, of its standard input.
#[cfg(unix)]
fn columns(stream: Stream) -> Option<usize> {
    use std::process::{Command, Stdio};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;
    let terminal = match stream {
        Stream::Out => Stdio::from(io::stdout()),
        Stream::Err => Stdio::from(io::stderr()),
    };
    let mut stty = Command::new("stty");
    stty.arg("size").stdin(terminal).stderr(Stdio::null());
    // It takes some milliseconds. Should it hang, nobody waits for it.
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(stty.output()));
    let asked = receiver.recv_timeout(Duration::from_millis(500)).ok()?.ok()?;
    let said = String::from_utf8(asked.stdout).ok()?;
    said.split_whitespace().nth(1)?.parse().ok().filter(|columns| *columns > 0)
}

/// No console of Windows is narrower than what is drawn at most, unless somebody made it so.
#[cfg(not(unix))]
fn columns(_: Stream) -> Option<usize> {
    None
}

/// How much of a line has the colour.
enum Extent {
    Mark,
    /// Up to its times.
    Verdict,
    Line,
}

/// How a line begins, and what of it is coloured.
const LINES: [(&str, &str, Extent); 11] = [
    ("OK: ", GREEN, Extent::Verdict),
    ("OK, but ", YELLOW, Extent::Verdict),
    ("FAILED: ", RED, Extent::Verdict),
    ("INTERRUPTED: ", RED, Extent::Verdict),
    ("✓", GREEN, Extent::Mark),
    ("✗", RED, Extent::Mark),
    ("⚠", YELLOW, Extent::Mark),
    ("WARNING: ", YELLOW, Extent::Line),
    ("HISTORY WARNING: ", YELLOW, Extent::Line),
    ("run-comfyui-e2e: WARNING: ", YELLOW, Extent::Line),
    ("ERROR: ", RED, Extent::Line),
];

/// The words of a gate's verdict.
const GATES: [(&str, &str); 3] = [(" held", GREEN), (" FAILED", RED), (" not judged", YELLOW)];

/// One line in its colours. What it says is known by how it begins, behind its time and its scene.
fn painted(line: &str) -> String {
    let mut start = 0;
    while line[start..].starts_with('[')
        && let Some(end) = line[start..].find("] ")
    {
        start += end + 2;
    }
    let (head, rest) = line.split_at(start);
    let text = rest.trim_end_matches('\n');
    let of_gates = ["Gates: ", "MaxPeakMB ", "Baseline ", "MaxGrowthMB "];
    if of_gates.iter().any(|begin| text.starts_with(begin)) {
        return GATES.iter().fold(line.to_owned(), |line, (word, colour)| {
            line.replace(word, &format!("{colour}{word}{PLAIN}"))
        });
    }
    let Some((begin, colour, extent)) = LINES.iter().find(|(begin, ..)| text.starts_with(begin))
    else {
        return line.to_owned();
    };
    let end = match extent {
        Extent::Mark => begin.len(),
        Extent::Verdict => text.find("      ").unwrap_or(text.len()),
        Extent::Line => text.len(),
    };
    format!("{head}{colour}{}{PLAIN}{}", &rest[..end], &rest[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_colour_of_what_it_says() {
        for (line, wanted) in [
            ("✓ a  1 s\n", "<g>✓</> a  1 s\n"),
            ("[23:00:01] ✗ a  failed: OK: no\n", "[23:00:01] <r>✗</> a  failed: OK: no\n"),
            ("[23:00:01] [Scene a] WARNING: x\n", "[23:00:01] [Scene a] <y>WARNING: x</>\n"),
            ("OK: 1 of 1 scenes      24 Nov\n", "<g>OK: 1 of 1 scenes</>      24 Nov\n"),
            ("OK, but nothing", "<y>OK, but nothing</>"),
            ("FAILED: 1 of 2 gates, exit 7\n", "<r>FAILED: 1 of 2 gates, exit 7</>\n"),
            ("MaxPeakMB 5: held, driver 4 MB\n", "MaxPeakMB 5:<g> held</>, driver 4 MB\n"),
            (
                "Gates: MaxPeakMB 5 FAILED (driver 6); MaxGrowthMB 5 not judged (few)\n",
                "Gates: MaxPeakMB 5<r> FAILED</> (driver 6); MaxGrowthMB 5<y> not judged</> (few)\n",
            ),
            ("[23:00:01] \n", "[23:00:01] \n"),
            ("Peak VRAM: 5 MB\n", "Peak VRAM: 5 MB\n"),
            ("[", "["),
        ] {
            let signs = [(GREEN, "<g>"), (RED, "<r>"), (YELLOW, "<y>"), (PLAIN, "</>")];
            let shown = painted(line);
            let shown = signs.iter().fold(shown, |text, (escape, sign)| text.replace(escape, sign));
            assert_eq!(shown, wanted);
        }
    }

    #[test]
    fn who_takes_escapes_and_has_blocks() {
        let term = |name: &str| known(Some(OsStr::new(name)), false);
        assert_eq!(term("xterm-256color"), Some(Blocks::All));
        assert_eq!(term("linux"), Some(Blocks::Few));
        assert_eq!(known(Some(OsStr::new("dumb")), true), None);
        assert_eq!([term(""), known(None, false)], [None, None]);
        assert_eq!(known(None, true), Some(Blocks::All));
    }
}
