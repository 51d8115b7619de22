//! The verb `monitor`: samples while a command runs, for some time, or until Ctrl-C.
//!
//! The command has our standard input and output to itself; what we say goes to standard error.
//! Sampling never breaks it: without a source it runs all the same.

mod child;
mod ending;
mod source;
#[cfg(unix)]
mod tree;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cli::MonitorOptions;
use crate::clock::Clock;
use crate::console::{Console, LiveRow, Output};
use crate::exit_code::{Code, Exit};
use crate::fs::{check_writable, write_atomic};
use crate::report::gates;
use crate::report::html::Page;
use crate::report::input::ReportInput;
use crate::report::saved_run::SavedRun;
use crate::report::sparkline;
use crate::run::events::EventLoop;
use crate::run::recorder::Recorder;
use crate::sanitize::print_error;
use crate::terminal::{Stream, Terminal};
use crate::vram::gates::Verdict;
use crate::vram::log::Writer;
use crate::vram::sampler::{Sampler, SamplerEvent};
use crate::vram::source::TIMEOUT;
use crate::vram::stats::{LogSummary, VramStats};
use crate::vram::timeline::Timeline;

use ending::{Ending, GRACE, Step};
use source::Readings;

/// Between two looks at whether the command has ended.
const LOOK: Duration = Duration::from_millis(25);
/// One wait of a monitor that ends with Ctrl-C alone.
const LONG: Duration = Duration::from_secs(3600);

/// Samples beside the command or by itself, prints the statistics, and hands on the command's
/// code.
pub fn monitor(options: &MonitorOptions) -> Code {
    let baselines = match SavedRun::load_all(&options.gates.baselines) {
        Ok(baselines) => baselines,
        Err(why) => return refuse(&why, Exit::Usage.into()),
    };
    if let Some(path) = &options.html
        && let Err(error) = check_writable(path)
    {
        return refuse(&format!("--html {}: {error}", path.display()), Exit::Usage.into());
    }
    // Last of what may be refused: it makes a file.
    let log = match open_log(options) {
        Ok(log) => log,
        Err(why) => return refuse(&why, Exit::Usage.into()),
    };
    let clock = Clock::start();
    let output = if options.quiet { Output::Quiet } else { Output::Stderr };
    let console = Console::new(clock, None, output).coloured(options.no_color);
    let recorder = Recorder::summarizing(log, options.sampling.interval);
    let mut events = EventLoop::new(recorder, console);
    if let Err(error) = events.listen_for_interrupt() {
        events.console.warn(&format!("Ctrl-C ends this without the statistics: {error}"));
    }
    if !clock.local {
        events.console.log("WARNING: the system does not tell its time zone: times are UTC");
    }
    Monitor { options, clock, events, baselines }.run()
}

/// A log of our own, before anything is started.
fn open_log(options: &MonitorOptions) -> Result<Option<(PathBuf, Writer)>, String> {
    let Some(path) = &options.log else { return Ok(None) };
    let open = || {
        if !options.append {
            File::create_new(path)?;
        }
        Writer::create(path, options.sampling.interval)
    };
    match open() {
        Ok(writer) => Ok(Some((path.clone(), writer))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(format!("--log {}: it exists; --append continues it", path.display()))
        }
        Err(error) => Err(format!("--log {}: {error}", path.display())),
    }
}

fn refuse(why: &str, code: Code) -> Code {
    print_error(why);
    code
}

struct Monitor<'a> {
    options: &'a MonitorOptions,
    clock: Clock,
    events: EventLoop,
    baselines: Vec<SavedRun>,
}

impl Monitor<'_> {
    fn run(mut self) -> Code {
        let readings = Readings::new(self.options, &self.events);
        // Before the command is started: what was in use without it.
        let started = readings.source.wait_for_nvidia_smi(&mut |time| self.events.wait(time));
        let sampler = self.sampler(&readings);
        let before = started.and_then(|()| self.events.wait_for_first_tick(TIMEOUT * 2));
        let missed = self.events.recorder.missed();
        if let Some(line) = missed.and_then(|miss| readings.nothing(self.options, miss)) {
            self.events.console.log(&line);
        }
        let code = match (&self.options.command, before) {
            (None, _) => {
                self.sample();
                Exit::Success.into()
            }
            (Some(_), Err(_)) => return Exit::Interrupted.into(),
            (Some(words), Ok(())) => match self.beside(words) {
                Ok(status) => child::code(status),
                Err((code, why)) => return refuse(&why, code),
            },
        };
        drop(sampler);
        self.events.drain();
        self.last_reading(&readings);
        self.events.console.set_live(None);
        let log = self.options.log.as_deref();
        let LogSummary { stats: vram, timeline } = self.events.recorder.summary();
        let verdicts = gates::verdicts_on(&self.options.gates, None, &vram, &self.baselines);
        let code = if code == Exit::Success.into() && !verdicts.iter().all(Verdict::held) {
            Exit::Gate.into()
        } else {
            code
        };
        if !(self.options.quiet && code == Exit::Success.into()) {
            let mut block = vram.block(log, &[]);
            block.extend(verdicts.iter().map(Verdict::to_string));
            let terminal = Terminal::of(Stream::Err, self.options.no_color);
            let line = |room| sparkline::lines(&timeline, &vram, None, room);
            block.extend(terminal.room().map(line).unwrap_or_default());
            let _ = writeln!(io::stderr(), "{}", terminal.paint(&block.join("\n")));
        }
        self.write_page(&vram, &timeline, &verdicts);
        code
    }

    /// A page that cannot be written costs the command nothing.
    fn write_page(&mut self, vram: &VramStats, timeline: &Timeline, gates: &[Verdict]) {
        let Some(path) = &self.options.html else { return };
        let title = "VRAM recorded by monitor";
        let told = ReportInput { record: None, title, note: None, vram, gates };
        let page = Page { told, curve: timeline, others: &[], folder: "" };
        if let Err(error) = write_atomic(path, page.html().as_bytes()) {
            print_error(&format!("--html {}: {error}", path.display()));
        }
    }

    fn sampler(&mut self, readings: &Readings) -> Option<Sampler> {
        let sampler = readings.source.sampler(self.clock, Arc::clone(&readings.clients));
        sampler
            .inspect_err(|error| {
                self.events.console.warn(&format!("nothing is sampled: no thread: {error}"));
            })
            .ok()
    }

    /// For the time that was asked for, else until Ctrl-C. The live line is drawn only here: a
    /// command has the terminal to itself.
    fn sample(&mut self) {
        let (since, of) = (Instant::now(), self.options.duration);
        self.events.console.set_live(Some(LiveRow {
            what: "monitor".to_owned(),
            scene: String::new(),
            since,
            of,
        }));
        loop {
            let left = of.map_or(LONG, |of| of.saturating_sub(since.elapsed()));
            if left.is_zero() || self.events.wait(left).is_err() {
                return;
            }
        }
    }

    /// While the command runs.
    fn beside(&mut self, words: &[OsString]) -> Result<ExitStatus, (Code, String)> {
        let mut command = child::start(words)?;
        let mut ending = Ending::new(GRACE);
        loop {
            match command.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(error) => return Err((Exit::Failed.into(), format!("the command: {error}"))),
            }
            match ending.observe(Instant::now(), self.events.interrupted()) {
                Some(Step::Ask) => child::ask(&mut command),
                Some(Step::End) => child::end(&mut command),
                None => {}
            }
            self.events.wait_ignoring_interrupt(LOOK);
        }
    }

    /// One more, so that the time since the last tick is a gap that is told. Where nobody ever
    /// answered there is nothing to bound.
    fn last_reading(&mut self, readings: &Readings) {
        if self.events.recorder.first().is_none() {
            return;
        }
        let tick = readings.source.tick(self.clock, &readings.clients);
        self.events.recorder.record(SamplerEvent::Tick(tick));
    }
}
