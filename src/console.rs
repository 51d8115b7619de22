//! The human lines: `run-summary.txt`, the terminal with its colours, and the live row below them.
//! Pipes and files get plain lines only.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use terminal_size::{Width, terminal_size_of};

use crate::cli::Style;
use crate::clock::{Clock, hms};
use crate::exit_code::Exit;
use crate::sanitize::{sanitize_line, sanitize_lines, without_credentials};
use crate::screen::{self, Stream};

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";

/// Turns line wrapping off and on again: a live row that wraps cannot be drawn over. Older Windows
/// consoles would print the sequences.
const NO_WRAP: &str = if cfg!(windows) { "" } else { "\x1b[?7l" };
const WRAP: &str = if cfg!(windows) { "" } else { "\x1b[?7h" };

/// The widest live row, in columns.
const LIVE_WIDTH: usize = 79;
/// The widest curve, in columns.
const CURVE_WIDTH: usize = 60;

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
    screen::print(Stream::Stderr, format!("run-comfyui-e2e: {why}\n"));
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

/// An output and what it can show.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    output: Output,
    has_escapes: bool,
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
        let has_escapes = escapes && output.is_terminal();
        Terminal {
            output,
            has_escapes,
            has_colours: has_escapes && !no_color,
            has_blocks: has_escapes && blocks,
        }
    }

    /// The text without what a terminal would act on, its lines coloured where the output has colours.
    pub fn paint(self, text: &str) -> String {
        let text = sanitize_lines(text);
        if self.has_colours { text.split_inclusive('\n').map(paint_line).collect() } else { text }
    }

    /// Prints the text, coloured.
    pub fn print(self, text: &str) {
        let text = self.paint(text);
        match self.output {
            Output::Stdout => screen::print(Stream::Stdout, text),
            Output::Stderr => screen::print(Stream::Stderr, text),
            Output::Quiet => {}
        }
    }

    /// How many columns a curve may have now, at most 60; `None` where its blocks cannot be shown.
    pub fn curve_width(self) -> Option<usize> {
        let columns = || self.output.columns().unwrap_or(CURVE_WIDTH).min(CURVE_WIDTH);
        self.has_blocks.then(columns)
    }
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

/// The row that is drawn over and over below the lines.
#[derive(Clone, Debug)]
pub struct LiveRow {
    /// What is going on: `2/3 running`.
    pub what: String,
    /// The scene or the script; last on the row, since a long name is what may be cut.
    pub name: String,
    /// When it began.
    pub since: Instant,
    /// The time it may take, if that is known.
    pub limit: Option<Duration>,
}

impl LiveRow {
    /// The row of something that begins now.
    pub fn new(what: &str, name: &str, limit: Option<Duration>) -> Self {
        LiveRow { what: what.to_owned(), name: name.to_owned(), since: Instant::now(), limit }
    }

    /// The text at a moment, in at most so many columns; `memory` is latest and peak, in MB.
    fn text(&self, now: Instant, memory: Option<(u64, u64)>, columns: usize) -> String {
        let mut text = format!("{}  {}", self.what, minutes(now - self.since));
        text.extend(self.limit.map(|limit| format!(" of {}", minutes(limit))));
        text.extend(memory.map(|(latest, peak)| format!("  {latest} MB, peak {peak}")));
        text.push_str(&format!("  {}", self.name));
        text.trim_end().chars().take(columns).collect()
    }
}

fn minutes(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

/// Writes each line as it comes, to the file and to the output. The file is opened for every line,
/// since helper scripts append to it too and people follow it.
pub struct Console {
    /// The time before each line.
    pub clock: Clock,
    file: Option<PathBuf>,
    terminal: Terminal,
    has_live: bool,
    live: Option<LiveRow>,
    /// Columns of the live row that is on the screen.
    drawn: usize,
    file_failed: bool,
}

impl Console {
    /// A console that also appends to this file. Without a file its lines may stand among those of
    /// a command, so each begins with the program's name instead of the time.
    pub fn new(clock: Clock, file: Option<PathBuf>, output: Output, no_color: bool) -> Self {
        let can_draw = cfg!(windows) || Terminal::new(Output::Stderr, true).has_escapes;
        let is_shown = output.is_terminal() && Output::Stderr.is_terminal();
        Console {
            clock,
            file,
            terminal: Terminal::new(output, no_color),
            has_live: is_shown && can_draw,
            live: None,
            drawn: 0,
            file_failed: false,
        }
    }

    /// Prints lines on the terminal alone, which has room for a curve of so many columns.
    pub fn show(&mut self, lines: impl FnOnce(usize) -> Vec<String>) {
        if let Some(width) = self.terminal.curve_width() {
            let lines = lines(width);
            self.print(&lines.iter().map(|line| sanitize_line(line) + "\n").collect::<String>());
        }
    }

    /// Writes one line, `[HH:mm:ss] text`.
    pub fn log(&mut self, text: &str) {
        let text = style().respell(&sanitize_line(text));
        let Some(file) = self.file.clone() else {
            return self.print(&format!("run-comfyui-e2e: {text}\n"));
        };
        let line = format!("[{}] {text}\n", hms(self.clock.now()));
        let opened = OpenOptions::new().append(true).create(true).open(&file);
        let written = opened.and_then(|mut file| file.write_all(line.as_bytes()));
        self.print(&line);
        if let Err(error) = written
            && !std::mem::replace(&mut self.file_failed, true)
        {
            let file = file.display();
            self.print(&format!("WARNING: {file}: {error}: lines are missing there\n"));
        }
    }

    /// Writes several lines.
    pub fn log_all(&mut self, lines: &[String]) {
        for line in lines {
            self.log(line);
        }
    }

    /// Writes a warning.
    pub fn warn(&mut self, text: &str) {
        self.log(&format!("WARNING: {text}"));
    }

    /// Writes a title between blank lines.
    pub fn header(&mut self, title: &str) {
        self.log("");
        self.log(&format!("=== {title} ==="));
        self.log("");
    }

    /// Sets the live row that the next [`Console::draw`] shows; `None` takes it off the screen.
    pub fn set_live(&mut self, live: Option<LiveRow>) {
        self.live = live;
        if self.live.is_none() {
            self.draw_over("");
        }
    }

    /// Draws the live row, in 79 columns or one less than the terminal has; not while the terminal
    /// is behind.
    pub fn draw(&mut self, memory: Option<(u64, u64)>) {
        let can_draw = self.has_live && screen::is_idle();
        let Some(live) = self.live.as_ref().filter(|_| can_draw) else { return };
        let columns =
            Output::Stderr.columns().map_or(LIVE_WIDTH, |columns| columns.saturating_sub(1));
        self.draw_over(&live.text(Instant::now(), memory, columns.min(LIVE_WIDTH)));
    }

    /// Replaces what is drawn by this text.
    fn draw_over(&mut self, text: &str) {
        let width = text.chars().count();
        if self.drawn == 0 && width == 0 {
            return;
        }
        let rest = " ".repeat(self.drawn.saturating_sub(width));
        screen::print(Stream::Stderr, format!("{NO_WRAP}\r{text}{rest}\r{text}{WRAP}"));
        self.drawn = width;
    }

    /// Waits for the terminal, but not for one that takes nothing; what it has not got is told in the
    /// file.
    pub fn finish(&mut self) {
        self.set_live(None);
        let missing = screen::finish();
        if missing > 0 {
            self.log(&format!("WARNING: the terminal or its pipe did not take {missing} lines"));
        }
    }

    fn print(&mut self, text: &str) {
        self.draw_over("");
        self.terminal.print(text);
    }
}

/// How a coloured line begins, and its colour. Of a mark the mark alone has it, of a verdict what
/// stands before the run's times, else the whole line.
const LINE_STARTS: [(&str, &str); 11] = [
    ("OK: ", GREEN),
    ("OK, but ", YELLOW),
    ("FAILED: ", RED),
    ("INTERRUPTED: ", RED),
    ("✓", GREEN),
    ("✗", RED),
    ("⚠", YELLOW),
    ("WARNING: ", YELLOW),
    ("HISTORY WARNING: ", YELLOW),
    ("run-comfyui-e2e: WARNING: ", YELLOW),
    ("ERROR: ", RED),
];

/// The words of a gate's verdict.
const VERDICTS: [(&str, &str); 3] = [(" held", GREEN), (" FAILED", RED), (" not judged", YELLOW)];

/// One line in its colours, by how its text begins behind `[time] [scene] `.
fn paint_line(line: &str) -> String {
    let mut prefix = 0;
    while line[prefix..].starts_with('[')
        && let Some(end) = line[prefix..].find("] ")
    {
        prefix += end + 2;
    }
    let (head, rest) = line.split_at(prefix);
    let text = rest.trim_end_matches('\n');
    let gates = ["Gates: ", "MaxPeakMB ", "Baseline ", "MaxGrowthMB "];
    if gates.iter().any(|gate| text.starts_with(gate)) {
        return VERDICTS.iter().fold(line.to_owned(), |line, (word, colour)| {
            line.replace(word, &format!("{colour}{word}{RESET}"))
        });
    }
    let Some((start, colour)) = LINE_STARTS.iter().find(|(start, _)| text.starts_with(start))
    else {
        return line.to_owned();
    };
    let is_mark = !start.is_ascii();
    let end = if is_mark { start.len() } else { text.find("      ").unwrap_or(text.len()) };
    format!("{head}{colour}{}{RESET}{}", &rest[..end], &rest[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_line_has_a_limit_only_where_there_is_one() {
        let since = Instant::now();
        let line = |limit| {
            let live = LiveRow { since, ..LiveRow::new("monitor", "", limit) };
            live.text(since + Duration::from_secs(65), None, LIVE_WIDTH)
        };
        assert_eq!(line(None), "monitor  1:05");
        assert_eq!(line(Some(Duration::from_secs(600))), "monitor  1:05 of 10:00");
    }

    #[test]
    fn the_live_line_is_cut_at_its_columns() {
        let live = LiveRow::new("2/3 running", &"x".repeat(100), None);
        let text = |columns| live.text(live.since, Some((2140, 19_310)), columns);
        assert_eq!(text(30), "2/3 running  0:00  2140 MB, pe");
        assert_eq!(text(LIVE_WIDTH).chars().count(), 79);
    }

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
            let signs = [(GREEN, "<g>"), (RED, "<r>"), (YELLOW, "<y>"), (RESET, "</>")];
            let shown = paint_line(line);
            let shown = signs.iter().fold(shown, |text, (escape, sign)| text.replace(escape, sign));
            assert_eq!(shown, wanted);
        }
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
