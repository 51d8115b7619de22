//! The human lines: `run-summary.txt`, the screen with its colours, and the live row below it. Pipes
//! and files get plain lines only.

mod live;

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::OnceLock;

use terminal_size::{Width, terminal_size_of};

use crate::cli::Style;
use crate::clock::{Clock, hms};
use crate::exit_code::Exit;
use crate::layout::{width, wrapped, wrapped_command};
use crate::report::text::{CORRECT_FIRST, LABEL_WIDTH, NEXT, REPORT, headline};
use crate::sanitize::{counted, sanitize_line, sanitize_lines, without_credentials};
use crate::screen::{self, Stream};

pub use live::{Activity, Figures, Live, LiveRow, RunningNode, SceneProgress};

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const CYAN: &str = "\x1b[36m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// The widest curve, in columns.
const CURVE_WIDTH: usize = 60;
/// The columns of a terminal that does not tell them.
const USUAL_WIDTH: usize = 80;

/// Prints a text on standard output, and returns `exit`; [`Exit::Failed`] if it could not be
/// written, which is then said on standard error. A reader that went away (`| head`) is no failure.
pub fn print(text: &str, exit: Exit) -> Exit {
    match screen::print_document(text.to_owned()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            print_error(&format!("standard output: {error}: not all of it is there"));
            Exit::Failed
        }
        _ => exit,
    }
}

/// Same as [`print()`], of a document whose reader has the code too: one of a failure stays.
pub fn print_document(text: &str, exit: Exit) -> Exit {
    let printed = print(text, exit);
    if exit == Exit::Success { printed } else { exit }
}

/// How the user spells options; GNU's style until it is set.
static STYLE: OnceLock<Style> = OnceLock::new();

/// Spells the options in all lines to come as the user does.
pub fn spell_as(style: Style) {
    let _ = STYLE.set(style);
}

/// How the user spells options.
pub fn style() -> Style {
    STYLE.get().copied().unwrap_or(Style::Gnu)
}

/// Prints one error line to standard error, for errors raised where there is no run log.
pub fn print_error(why: &str) {
    let why = style().respell(&without_credentials(&sanitize_line(why)));
    let terminal = Terminal::new(Output::Stderr, true);
    terminal.print_lines(&[format!("run-comfyui-e2e: {why}")]);
}

/// Where human lines go besides the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error, where standard output carries the JSON document.
    Stderr,
    /// Nowhere: only a failure's verdict is printed, at the end.
    Quiet,
}

impl Output {
    /// Where human lines go: nowhere with `Quiet`, to standard error where standard output has a
    /// document.
    pub fn of(quiet: bool, json: bool) -> Self {
        match (quiet, json) {
            (true, _) => Output::Quiet,
            (false, true) => Output::Stderr,
            (false, false) => Output::Stdout,
        }
    }

    fn is_terminal(self) -> bool {
        match self {
            Output::Stdout => io::stdout().is_terminal(),
            Output::Stderr => io::stderr().is_terminal(),
            Output::Quiet => false,
        }
    }

    /// The terminal's width now; `None` where it is none or does not tell.
    fn columns(self) -> Option<usize> {
        let size = match self {
            Output::Stdout => terminal_size_of(io::stdout()),
            Output::Stderr => terminal_size_of(io::stderr()),
            Output::Quiet => None,
        };
        size.map(|(Width(columns), _)| columns.into())
    }
}

/// What an output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A pipe, a file, or nothing.
    Pipe,
    /// A terminal that takes lines and no escape sequences.
    Lines,
    /// A terminal that takes escape sequences.
    Escapes,
}

/// An output and what it can show.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    output: Output,
    kind: Kind,
    has_colours: bool,
    has_blocks: bool,
}

impl Terminal {
    /// What the environment says of an output: of a pipe, a file or `Quiet` that it shows plain
    /// lines only.
    pub fn new(output: Output, no_color: bool) -> Self {
        let term = std::env::var_os("TERM");
        let in_windows_terminal = std::env::var_os("WT_SESSION").is_some();
        let (escapes, blocks) = capabilities(term.as_deref(), in_windows_terminal);
        let kind = match (output.is_terminal(), escapes) {
            (false, _) => Kind::Pipe,
            (true, false) => Kind::Lines,
            (true, true) => Kind::Escapes,
        };
        let has_escapes = kind == Kind::Escapes;
        Terminal {
            output,
            kind,
            has_colours: has_escapes && !no_color,
            has_blocks: has_escapes && blocks,
        }
    }

    /// Whether a person reads it.
    pub fn is_terminal(self) -> bool {
        self.kind != Kind::Pipe
    }

    fn stream(self) -> Stream {
        if self.output == Output::Stderr { Stream::Stderr } else { Stream::Stdout }
    }

    /// The columns that a row may have now: one less than there are, since many a terminal begins a
    /// new row behind the last.
    pub fn columns(self) -> usize {
        let columns = self.output.columns().filter(|columns| *columns > 0);
        columns.unwrap_or(USUAL_WIDTH).saturating_sub(1).max(1)
    }

    /// The text without what a terminal would act on; its marks coloured and its paths dimmed where
    /// the output has colours.
    pub fn paint(self, text: &str) -> String {
        self.paint_with(text, None)
    }

    /// The same, with a path in it dimmed.
    fn paint_with(self, text: &str, path: Option<&str>) -> String {
        let mut text = sanitize_lines(text);
        if !self.has_colours {
            return text;
        }
        if let Some(path) = path.filter(|path| !path.is_empty())
            && let Some(at) = text.rfind(path)
        {
            text.replace_range(at..at + path.len(), &format!("{DIM}{path}{RESET}"));
        }
        let text = [('✓', GREEN), ('✗', RED)].iter().fold(text, |text, (mark, colour)| {
            text.replace(*mark, &format!("{colour}{mark}{RESET}"))
        });
        text.split_inclusive('\n').map(dim_path).collect()
    }

    /// Prints the text, coloured.
    fn print(self, text: &str) {
        self.write(self.paint(text));
    }

    /// Prints lines, coloured, in rows of the width of a terminal.
    pub fn print_lines(self, lines: &[String]) {
        let lines: Vec<String> = lines.iter().map(|line| style().respell(line)).collect();
        self.print(&(self.laid_out(&lines).join("\n") + "\n"));
    }

    fn write(self, text: String) {
        if self.output != Output::Quiet {
            screen::print(self.stream(), text);
        }
    }

    /// How many columns a curve may have now, at most 60; `None` where its blocks cannot be shown.
    pub fn curve_width(self) -> Option<usize> {
        let columns = || self.output.columns().unwrap_or(CURVE_WIDTH).min(CURVE_WIDTH);
        self.has_blocks.then(columns)
    }

    /// Lines as they are printed here: on a terminal in rows of its width, each continued below the
    /// end of its label, else as they are.
    pub fn laid_out(self, lines: &[String]) -> Vec<String> {
        if !self.is_terminal() {
            return lines.to_vec();
        }
        lines.iter().flat_map(|line| block_rows(line, self.columns())).collect()
    }
}

/// A row whose label says that a path follows, with that dimmed.
fn dim_path(row: &str) -> String {
    let labels = [format!("{REPORT:<LABEL_WIDTH$}"), "VRAM log: ".to_owned()];
    let Some(label) = labels.iter().find(|label| row.starts_with(*label)) else {
        return row.to_owned();
    };
    let path = row[label.len()..].trim_end();
    row.replacen(path, &format!("{DIM}{path}{RESET}"), usize::from(!path.is_empty()))
}

/// A line of a summary block in rows of at most so many columns.
fn block_rows(line: &str, columns: usize) -> Vec<String> {
    if width(line) <= columns {
        return vec![line.to_owned()];
    }
    if let (verdict, Some(times)) = headline(line) {
        let closer = format!("{verdict}  {times}");
        let both = [verdict.to_owned(), format!("  {times}")];
        let rows = if width(&closer) <= columns { &[closer][..] } else { &both };
        return rows.iter().flat_map(|row| block_rows(row, columns)).collect();
    }
    let label = line.get(..LABEL_WIDTH).filter(|label| label.ends_with("  "));
    let is_label = label.is_some_and(|label| label.starts_with(|c: char| c.is_ascii_uppercase()));
    let head = if is_label { LABEL_WIDTH } else { 2 };
    let head = if line.is_char_boundary(head.min(line.len())) { head } else { 0 };
    if line.starts_with(&format!("{NEXT:<LABEL_WIDTH$}")) {
        let Some((_, command)) = line.split_once(CORRECT_FIRST) else {
            return wrapped_command(line, head, columns);
        };
        // The command has rows of its own, so that it can be copied.
        let first = line[..line.len() - command.len()].trim_end();
        let command = " ".repeat(head) + command;
        return [wrapped(first, head, columns), wrapped_command(&command, head, columns)].concat();
    }
    // Behind a mark stands a name, then what there is to tell.
    let name = line.starts_with(['✓', '✗']).then(|| line.find("  ").map(|at| at + 2));
    let mark = name.map(|end| end.unwrap_or('✓'.len_utf8() + 1));
    wrapped(line, mark.unwrap_or(head), columns)
}

/// Whether a terminal with this `TERM` takes escape sequences, and whether it has all eight block
/// elements.
///
/// On Windows a console takes escapes after a system call that safe Rust does not have, or by
/// itself in Windows Terminal (which sets `WT_SESSION`) and in those that set `TERM`, as Git's does;
/// any other gets none. The font of Linux' own console lacks most of the blocks.
fn capabilities(term: Option<&OsStr>, in_windows_terminal: bool) -> (bool, bool) {
    match term.and_then(OsStr::to_str).unwrap_or_default() {
        "dumb" => (false, false),
        "" => (in_windows_terminal, in_windows_terminal),
        "linux" => (true, false),
        _ => (true, true),
    }
}

/// Writes each line as it comes, to the file and to the output; a person at a terminal gets the
/// screen in their place: what will run, a row a scene, the verdict. The file is opened for every
/// line, since helper scripts append to it too and people follow it.
pub struct Console {
    /// The time before each line.
    pub clock: Clock,
    file: Option<PathBuf>,
    terminal: Terminal,
    /// Whether the output is a terminal that gets the screen in place of the lines.
    has_screen: bool,
    /// The row below the lines.
    pub live: Live,
    file_failed: bool,
}

impl Console {
    /// A console that also appends to this file. Without a file its lines may stand among those of
    /// a command, so each begins with the program's name instead of the time. With `all_lines` a
    /// terminal gets them too.
    pub fn new(clock: Clock, file: Option<PathBuf>, terminal: Terminal, all_lines: bool) -> Self {
        let has_screen = terminal.is_terminal() && !all_lines;
        let live = Live::new(terminal);
        Console { clock, file, terminal, has_screen, live, file_failed: false }
    }

    /// Writes one line, `[HH:mm:ss] text`.
    pub fn log(&mut self, text: &str) {
        let text = style().respell(&sanitize_line(text));
        let Some(file) = self.file.clone() else {
            if !self.has_screen {
                self.terminal.print_lines(&[format!("run-comfyui-e2e: {text}")]);
            }
            return;
        };
        let line = format!("[{}] {text}\n", hms(self.clock.now()));
        let opened = OpenOptions::new().append(true).create(true).open(&file);
        let written = opened.and_then(|mut file| file.write_all(line.as_bytes()));
        self.print_line(&line);
        if let Err(error) = written
            && !std::mem::replace(&mut self.file_failed, true)
        {
            let warning = format!("{}: {error}: lines are missing there", file.display());
            self.print_line(&format!("WARNING: {warning}\n"));
            self.show(&[format!("Warning: {warning}")]);
        }
    }

    /// Writes several lines.
    pub fn log_all(&mut self, lines: &[String]) {
        for line in lines {
            self.log(line);
        }
    }

    /// Writes a line that is for the screen too.
    pub fn note(&mut self, text: &str) {
        self.log(text);
        self.show(&[sanitize_line(text)]);
    }

    /// Writes a warning, which is for the screen too.
    pub fn warn(&mut self, text: &str) {
        self.log(&format!("WARNING: {text}"));
        self.show(&[format!("Warning: {}", sanitize_line(text))]);
    }

    /// Writes a title between blank lines.
    pub fn header(&mut self, title: &str) {
        self.log("");
        self.log(&format!("=== {title} ==="));
        self.log("");
    }

    /// Prints lines on the screen alone, in rows of its width.
    pub fn show(&self, lines: &[String]) {
        if self.has_screen {
            let columns = self.terminal.columns();
            let rows = lines.iter().flat_map(|line| block_rows(&style().respell(line), columns));
            self.print_rows(&rows.collect::<Vec<_>>(), None);
        }
    }

    /// Prints lines on the screen alone, which depend on its columns.
    pub fn show_lines(&self, lines: impl FnOnce(usize) -> Vec<String>) {
        self.show(&lines(self.terminal.columns()));
    }

    /// Prints rows of at most so many columns on the screen alone, the path in them dimmed.
    pub fn show_rows(&self, path: Option<&str>, rows: impl FnOnce(usize) -> Vec<String>) {
        if self.has_screen {
            self.print_rows(&rows(self.terminal.columns()), path);
        }
    }

    fn print_rows(&self, rows: &[String], path: Option<&str>) {
        let rows: String = rows.iter().map(|row| sanitize_line(row) + "\n").collect();
        self.terminal.write(self.terminal.paint_with(&rows, path));
    }

    /// Whether a person at a terminal has the screen.
    pub fn has_screen(&self) -> bool {
        self.has_screen
    }

    /// Shows on a live row what is waited for, with the time since the first call that names it and
    /// a detail that may change: `⠹ starting ComfyUI 0:14  Import times for custom nodes:`.
    pub fn wait_for(&self, what: &str, detail: &str) {
        self.live.wait_for(what, detail);
    }

    /// Sets the live row; `None` takes it off the screen.
    pub fn set_live(&self, row: Option<LiveRow>) {
        self.live.set(row);
    }

    /// Waits for the terminal, but not for one that takes nothing; what it has not got is told in the
    /// file.
    pub fn finish(&mut self) {
        self.set_live(None);
        let missing = screen::finish();
        if missing > 0 {
            let lines = counted(missing, "line");
            self.log(&format!("WARNING: the terminal or its pipe did not take {lines}"));
        }
    }

    fn print_line(&self, text: &str) {
        if !self.has_screen {
            self.terminal.print(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_coloured_and_a_path_is_dimmed() {
        let (output, kind) = (Output::Stdout, Kind::Escapes);
        let terminal = Terminal { output, kind, has_colours: true, has_blocks: true };
        let shown = terminal.paint_with("✓ a  a.mp4  a.mp4\n✗ b\u{1b}[2J", Some("a.mp4"));
        let signs = [(GREEN, "<g>"), (RED, "<r>"), (DIM, "<d>"), (RESET, "</>")];
        let shown = signs.iter().fold(shown, |text, (escape, sign)| text.replace(escape, sign));
        assert_eq!(shown, "<g>✓</> a  a.mp4  <d>a.mp4</>\n<r>✗</> b[2J");
        let plain = Terminal { has_colours: false, ..terminal };
        assert_eq!(plain.paint_with("✓ a", Some("a")), "✓ a");
    }

    #[test]
    fn a_block_is_laid_out_in_the_width_of_a_terminal() {
        let verdict = format!("{:<66}      24 Nov 23:00:04 to 23:27:41", "✓ 3 of 3 scenes in 9 s");
        assert_eq!(block_rows(&verdict, 100), [verdict.as_str()]);
        let closer = "✓ 3 of 3 scenes in 9 s  24 Nov 23:00:04 to 23:27:41";
        assert_eq!(block_rows(&verdict, 79), [closer]);
        let both = ["✓ 3 of 3 scenes in 9 s", "  24 Nov 23:00:04 to 23:27:41"];
        assert_eq!(block_rows(&verdict, 39), both);
        let needs = "Needs      17070 MB of its own: a 20 GB card, not a 16 GB one";
        assert_eq!(
            block_rows(needs, 39),
            ["Needs      17070 MB of its own: a 20 GB", "           card, not a 16 GB one"]
        );
        assert_eq!(block_rows("✗ doomed  it broke", 12), ["✗ doomed  it", "  broke"]);
        // A command can be copied, whatever stands before it.
        let sign = if cfg!(windows) { '`' } else { '\\' };
        let next =
            "Next       correct what the server rejects, then ./run-comfyui-e2e --fresh a.json";
        assert_eq!(
            block_rows(next, 50),
            [
                "Next       correct what the server rejects, then",
                "           ./run-comfyui-e2e --fresh a.json"
            ]
        );
        let next = "Next       ./run-comfyui-e2e --fresh nightly/a.json";
        let first = format!("Next       ./run-comfyui-e2e --fresh {sign}");
        assert_eq!(block_rows(next, 42), [&first, "           nightly/a.json"]);
    }

    #[test]
    fn the_environment_tells_what_a_terminal_shows() {
        let of = |term: &str, wt| capabilities(Some(OsStr::new(term)), wt);
        assert_eq!(of("xterm-256color", false), (true, true));
        assert_eq!(of("linux", false), (true, false));
        assert_eq!(of("dumb", true), (false, false));
        assert_eq!([of("", false), capabilities(None, false)], [(false, false); 2]);
        assert_eq!(capabilities(None, true), (true, true));
    }
}
