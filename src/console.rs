//! The human lines: `run-summary.txt` and the terminal, and the live line below them.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::clock::{Clock, hms};
use crate::sanitize::sanitize_line;
use crate::terminal::{Stream, Terminal};

/// A line that wraps cannot be drawn over: the terminal is asked to cut what is wider than it, and
/// then to wrap again. Older Windows consoles would print the request.
const CUT: &str = if cfg!(windows) { "" } else { "\x1b[?7l" };
const WRAP: &str = if cfg!(windows) { "" } else { "\x1b[?7h" };

/// Where the human lines go besides the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error, where standard output carries the JSON document.
    Stderr,
    /// Nowhere: only a failure's verdict is printed, at the end.
    Quiet,
}

/// What the live line tells beside the memory.
#[derive(Clone, Debug)]
pub struct LiveRow {
    /// `2/3 running`.
    pub what: String,
    /// The scene; last on the line, since a long name is what may be cut.
    pub scene: String,
    /// Since when.
    pub since: Instant,
    /// The time it may take, if that is known.
    pub of: Option<Duration>,
}

/// Writes each line as it comes: the file is opened for every line, since helper scripts append
/// to it too and people follow it.
pub struct Console {
    clock: Clock,
    file: Option<PathBuf>,
    output: Output,
    terminal: Terminal,
    has_live: bool,
    live: Option<LiveRow>,
    drawn: usize,
    file_failed: bool,
}

impl Console {
    /// A console over this file. Without one its lines may stand among those of a command: each says
    /// whose it is.
    pub fn new(clock: Clock, file: Option<PathBuf>, output: Output) -> Self {
        // The live line is for a person before a terminal; in a pipe there are whole lines only.
        let err = Terminal::of(Stream::Err, true);
        let drawn = if cfg!(windows) { Stream::Err.is_terminal() } else { err.has_escapes() };
        let has_live = match output {
            Output::Stdout => drawn && Stream::Out.is_terminal(),
            Output::Stderr => drawn,
            Output::Quiet => false,
        };
        let terminal = Terminal::plain();
        Console {
            clock,
            file,
            output,
            terminal,
            has_live,
            live: None,
            drawn: 0,
            file_failed: false,
        }
    }

    /// The same with colours where its lines go to a terminal that has them, unless nobody wants any.
    pub fn coloured(self, no_color: bool) -> Self {
        let terminal = match self.output {
            Output::Stdout => Terminal::of(Stream::Out, no_color),
            Output::Stderr => Terminal::of(Stream::Err, no_color),
            Output::Quiet => Terminal::plain(),
        };
        Console { terminal, ..self }
    }

    /// Lines for a terminal alone, which has room for so many columns: they reach no file.
    pub fn show(&mut self, lines: impl FnOnce(usize) -> Vec<String>) {
        if let Some(room) = self.terminal.room() {
            let lines: String = lines(room).iter().map(|line| sanitize_line(line) + "\n").collect();
            self.print(&lines);
        }
    }

    /// One line, `[HH:mm:ss] text`.
    pub fn log(&mut self, text: &str) {
        let Some(file) = self.file.clone() else {
            return self.print(&format!("run-comfyui-e2e: {}\n", sanitize_line(text)));
        };
        // The last gate before terminal and file, whatever the text is made of.
        let line = format!("[{}] {}\n", hms(self.clock.now()), sanitize_line(text));
        self.print(&line);
        let written = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&file)
            .and_then(|mut file| file.write_all(line.as_bytes()));
        if let Err(error) = written
            && !std::mem::replace(&mut self.file_failed, true)
        {
            self.print(&format!("WARNING: {}: {error}: lines are missing there\n", file.display()));
        }
    }

    /// A warning.
    pub fn warn(&mut self, text: &str) {
        self.log(&format!("WARNING: {text}"));
    }

    /// A title between blank lines.
    pub fn header(&mut self, title: &str) {
        self.log("");
        self.log(&format!("=== {title} ==="));
        self.log("");
    }

    /// Several lines.
    pub fn log_all(&mut self, lines: &[String]) {
        for line in lines {
            self.log(line);
        }
    }

    /// What the live line says from now on; none takes it away.
    pub fn set_live(&mut self, live: Option<LiveRow>) {
        self.live = live;
        if self.live.is_none() {
            self.erase();
        }
    }

    /// Whether there is a line to draw from time to time.
    pub fn is_live(&self) -> bool {
        self.has_live && self.live.is_some()
    }

    /// Draws the live line.
    pub fn draw(&mut self, memory: Option<(u64, u64)>) {
        let Some(live) = self.live.as_ref().filter(|_| self.has_live) else { return };
        let line = live_line(live, Instant::now(), memory);
        let width = line.chars().count();
        let rest = " ".repeat(self.drawn.saturating_sub(width));
        let mut err = io::stderr().lock();
        let _ = write!(err, "{CUT}\r{line}{rest}\r{line}{WRAP}").and_then(|()| err.flush());
        self.drawn = width;
    }

    fn erase(&mut self) {
        if self.drawn > 0 {
            let mut err = io::stderr().lock();
            let blank = " ".repeat(self.drawn);
            let _ = write!(err, "{CUT}\r{blank}\r{WRAP}").and_then(|()| err.flush());
            self.drawn = 0;
        }
    }

    /// A reader that went away (`| head`) is no reason to end a run.
    fn print(&mut self, line: &str) {
        self.erase();
        let line = self.terminal.paint(line);
        let _ = match self.output {
            Output::Stdout => io::stdout().lock().write_all(line.as_bytes()),
            Output::Stderr => io::stderr().lock().write_all(line.as_bytes()),
            Output::Quiet => Ok(()),
        };
    }
}

/// At most 79 columns.
fn live_line(live: &LiveRow, now: Instant, memory: Option<(u64, u64)>) -> String {
    let mut line = format!("{}  {}", live.what, minutes(now.saturating_duration_since(live.since)));
    line.extend(live.of.map(|of| format!(" of {}", minutes(of))));
    if let Some((latest, peak)) = memory {
        line.push_str(&format!("  {latest} MB, peak {peak}"));
    }
    line.push_str(&format!("  {}", live.scene));
    line.trim_end().chars().take(79).collect()
}

fn minutes(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_line_has_a_limit_only_where_there_is_one() {
        let since = Instant::now();
        let line = |of| {
            let live = LiveRow { what: "monitor".into(), scene: String::new(), since, of };
            live_line(&live, since + Duration::from_secs(65), None)
        };
        assert_eq!(line(None), "monitor  1:05");
        assert_eq!(line(Some(Duration::from_secs(600))), "monitor  1:05 of 10:00");
    }
}
