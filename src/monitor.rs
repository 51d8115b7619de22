//! The verb `monitor`: samples while a command runs, for some time, or until Ctrl-C.
//!
//! The command has our standard input and output to itself; our lines go to standard error.
//! Sampling never breaks it: without a source it runs all the same.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cli::{MonitorOptions, VramSource};
use crate::clock::Clock;
use crate::comfyui::{Client, Target};
use crate::console::{Activity, Console, LiveRow, Output, Terminal, print_error};
use crate::exit_code::Exit;
use crate::fs::{check_writable, write_report};
use crate::process::{self, Signal};
use crate::report::html::Page;
use crate::report::saved_run::SavedRun;
use crate::report::text::log_block;
use crate::report::{self, ReportInput, sparkline};
use crate::run::connect;
use crate::run::events::EventLoop;
use crate::run::recorder::Recorder;
use crate::sanitize::sanitize_line;
use crate::screen;
use crate::vram::gates::Verdict;
use crate::vram::log::Writer;
use crate::vram::reading::{MissReason, is_system_ram, memory_name};
use crate::vram::sampler::Sampler;
use crate::vram::source::{ReadingSource, TIMEOUT};
use crate::vram::stats::{LogSummary, VramStats};
use crate::vram::timeline::Timeline;

/// The pause between two looks at whether the command has ended.
const COMMAND_POLL: Duration = Duration::from_millis(25);
/// The longest wait of a monitor without a command: its time is that of the wall.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How long an interrupted command has to end, and again after each signal.
const GRACE: Duration = Duration::from_secs(5);
/// A shell's codes for a command that it does not find, and for one that it cannot start.
const NOT_FOUND: i32 = 127;
const NOT_STARTED: i32 = 126;

/// An end without statistics: the exit code, and one line.
type Failure = (i32, String);

/// Samples beside the command or by itself, prints the statistics, and returns the command's code.
pub fn monitor(options: &MonitorOptions) -> i32 {
    Monitor::new(options).and_then(Monitor::run).unwrap_or_else(|(code, why)| {
        print_error(&why);
        code
    })
}

struct Monitor<'a> {
    options: &'a MonitorOptions,
    clock: Clock,
    events: EventLoop,
    baselines: Vec<SavedRun>,
}

impl<'a> Monitor<'a> {
    /// Checks the files of the options and opens the log, before anything is started.
    fn new(options: &'a MonitorOptions) -> Result<Self, Failure> {
        let usage = |why| (Exit::Usage.code().into(), why);
        let baselines = SavedRun::load_baselines(&options.gates.baselines).map_err(usage)?;
        if let Some(path) = &options.html {
            let inputs = baselines.iter().flat_map(SavedRun::files).chain(options.server.files());
            let inputs: Vec<PathBuf> = inputs.chain(options.log.clone()).collect();
            check_writable("--html", path, &inputs).map_err(usage)?;
        }
        // Last, since it makes a file.
        let log = open_log(options).map_err(usage)?;
        screen::start();
        let clock = Clock::start();
        // Its lines stand among those of the command, so there is no screen.
        let terminal = Terminal::new(Output::of(options.quiet, true), options.no_color);
        let console = Console::new(clock, None, terminal, true);
        let recorder = Recorder::summarizing(log, options.sampling.interval);
        let mut events = EventLoop::new(recorder, console);
        if let Err(error) = events.listen_for_interrupt(|| {}) {
            events.console.warn(&format!("Ctrl-C ends this without the statistics: {error}"));
        }
        if !clock.local {
            events.console.warn("the system does not tell its time zone: times are UTC");
        }
        Ok(Monitor { options, clock, events, baselines })
    }

    fn run(mut self) -> Result<i32, Failure> {
        let is_kept_awake = self.options.command.is_some() && !self.options.allow_sleep;
        let _awake = is_kept_awake.then(|| self.events.keep_awake());
        let readings = Readings::new(self.options, &mut self.events);
        // Before the command is started: what was in use without it.
        let started = readings.source.wait_for_nvidia_smi(&mut |time| self.events.wait(time));
        let sampler = self.start_sampler(&readings);
        let sampled = started.and_then(|()| self.events.wait_for_first_reading(TIMEOUT * 2));
        let missed = self.events.intake().recorder.missed;
        if let Some(line) = missed.and_then(|miss| readings.no_reading(self.options, miss)) {
            self.events.console.log(&line);
        }
        let code = match (&self.options.command, sampled) {
            (None, _) => {
                self.sample();
                0
            }
            (Some(_), Err(_)) => return Ok(Exit::Interrupted.code().into()),
            (Some(words), Ok(())) => self.run_command(words)?,
        };
        drop(sampler);
        self.events.drain();
        self.last_reading(&readings);
        self.events.console.set_live(None);
        let LogSummary { stats: vram, timeline } = self.events.intake().recorder.summary();
        let verdicts = report::verdicts(&self.options.gates, None, &vram, &self.baselines);
        let all_held = verdicts.iter().all(Verdict::held);
        let code = if code == 0 && !all_held { Exit::Gate.code().into() } else { code };
        if !self.options.quiet || code != 0 {
            self.print_statistics(&readings, &vram, &timeline, &verdicts);
        }
        self.write_page(&vram, &timeline, &verdicts);
        Ok(code)
    }

    fn start_sampler(&mut self, readings: &Readings) -> Option<Sampler> {
        readings
            .source
            .sampler(self.clock, Arc::clone(&readings.clients))
            .inspect_err(|error| {
                self.events.console.warn(&format!("nothing is sampled: no thread: {error}"));
            })
            .ok()
    }

    /// Samples for the given duration, else until Ctrl-C. The live row is drawn only here: a command
    /// has the terminal to itself.
    fn sample(&mut self) {
        let (since, limit) = (Instant::now(), self.options.duration);
        self.events.console.set_live(Some(LiveRow { since, what: Activity::Sampling(limit) }));
        loop {
            let left = limit.map_or(LONGEST_WAIT, |limit| limit.saturating_sub(since.elapsed()));
            if left.is_zero() || self.events.wait(left.min(LONGEST_WAIT)).is_err() {
                return;
            }
        }
    }

    /// Runs the command to its end, whose code is returned.
    fn run_command(&mut self, words: &[OsString]) -> Result<i32, Failure> {
        let mut command = spawn(words)?;
        let mut ending = Ending::default();
        loop {
            match command.try_wait() {
                Ok(Some(status)) => return Ok(process::exit_code(status)),
                Ok(None) => {}
                Err(error) => {
                    self.events.console.warn(&process::no_code(&error));
                    return Ok(Exit::Failed.code().into());
                }
            }
            if self.events.intake().interrupted
                && let Some(signal) = ending.signal_due(Instant::now())
            {
                process::signal_tree(&mut command, signal);
            }
            self.events.wait_ignoring_interrupt(COMMAND_POLL);
        }
    }

    /// Takes one more reading, so that the time since the last tick counts as a gap. Without
    /// any reading before it there is nothing to bound.
    fn last_reading(&mut self, readings: &Readings) {
        let first = self.events.intake().recorder.first;
        if first.is_none() {
            return self.events.intake().recorder.finish();
        }
        let taken = readings.source.measure(self.clock, &readings.clients);
        // A log that is not written has been told of.
        let _ = self.events.intake().recorder.record_last(&taken);
    }

    fn print_statistics(
        &self,
        readings: &Readings,
        vram: &VramStats,
        timeline: &Timeline,
        verdicts: &[Verdict],
    ) {
        let terminal = Terminal::new(Output::Stderr, self.options.no_color);
        let baselines: Vec<String> = self.baselines.iter().map(SavedRun::name).collect();
        let mut lines = log_block(vram, memory_name(readings.system_ram), verdicts, &baselines);
        if let Some(width) = terminal.curve_width() {
            lines.extend(sparkline::lines(timeline, vram, readings.system_ram, width));
        }
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(vram.block(self.options.log.as_deref(), &[]));
        terminal.print_lines(&lines);
    }

    /// A page that cannot be written costs the command nothing.
    fn write_page(&self, vram: &VramStats, timeline: &Timeline, gates: &[Verdict]) {
        let Some(path) = &self.options.html else { return };
        let title = format!("{} recorded by monitor", memory_name(vram.system_ram));
        let input = ReportInput { record: None, title: &title, note: None, vram, gates };
        let page = Page { input, timeline, others: &[], folder: "" };
        if let Err(why) = write_report("--html", path, &page.html()) {
            print_error(&why);
        }
    }
}

/// Opens the log. One that exists is continued with `--append` only.
fn open_log(options: &MonitorOptions) -> Result<Option<(PathBuf, Writer)>, String> {
    let Some(path) = &options.log else { return Ok(None) };
    let created = if options.append { Ok(()) } else { File::create_new(path).map(drop) };
    match created.and_then(|()| Writer::create(path, options.sampling.interval)) {
        Ok(writer) => Ok(Some((path.clone(), writer))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(format!("--log {}: it exists; --append continues it", path.display()))
        }
        Err(error) => Err(format!("--log {}: {error}", path.display())),
    }
}

/// Starts the command, in our own process group: the terminal's Ctrl-C reaches it by itself.
fn spawn(words: &[OsString]) -> Result<Child, Failure> {
    let (program, arguments) = words.split_first().map_or((OsStr::new(""), words), |(p, a)| (p, a));
    // Our lines so far come before the command's.
    screen::flush();
    process::spawn_as_found(program, arguments).map_err(|error| {
        let not_found = error.kind() == io::ErrorKind::NotFound;
        let code = if not_found { NOT_FOUND } else { NOT_STARTED };
        (code, format!("{}: {error}", sanitize_line(&program.to_string_lossy())))
    })
}

/// What becomes of a command after an interrupt: the terminal's Ctrl-C has reached it by itself, so
/// first it is only waited for, then asked to end, then killed.
#[derive(Debug, Default)]
struct Ending {
    /// When the interrupt came, then when the last signal was sent.
    since: Option<Instant>,
    sent: usize,
}

impl Ending {
    /// The signal to send now. Each is due once, [`GRACE`] after what came before it.
    fn signal_due(&mut self, now: Instant) -> Option<Signal> {
        if now - *self.since.get_or_insert(now) < GRACE {
            return None;
        }
        let signal = [Signal::Terminate, Signal::Kill].get(self.sent).copied();
        self.since = Some(now);
        self.sent += 1;
        signal
    }
}

/// Where readings come from: `ComfyUI`, and nvidia-smi in its place.
struct Readings {
    source: Arc<ReadingSource>,
    /// Of `localhost` one for IPv4 and one for any address.
    clients: Arc<[Client]>,
    /// Whether the device's memory is the machine's own.
    system_ram: bool,
}

impl Readings {
    /// Asks the server once who it is. One that is not there yet is asked again at every tick:
    /// the command may be what starts it.
    fn new(options: &MonitorOptions, events: &mut EventLoop) -> Self {
        let target = connect::target(&options.server);
        let any = target.ipv4_only.then(|| Target { ipv4_only: false, ..target.clone() });
        let targets = [Some(target), any].into_iter().flatten();
        let clients: Arc<[Client]> =
            targets.map(|target| Client::with_timeout(target, TIMEOUT)).collect();
        let stats = clients.iter().find_map(|client| client.system_stats().ok());
        let local = options.server.url.is_loopback();
        let source =
            ReadingSource::new(&options.sampling, local, stats.as_ref(), events.sampler_events());
        let device = stats.as_ref().and_then(|stats| stats.devices.get(options.sampling.gpu));
        if let Some(device) = device {
            events.intake().recorder.set_dynamic_vram(device.dynamic_vram);
        }
        let system_ram = device.is_some_and(|device| is_system_ram(&device.kind));
        Readings { source: Arc::new(source), clients, system_ram }
    }

    /// The line for a first tick without a reading; `None` where the reason was printed already.
    fn no_reading(&self, options: &MonitorOptions, miss: MissReason) -> Option<String> {
        let (base, gpu) = (options.server.url.base(), options.sampling.gpu);
        let awaited = self.source.awaits_nvidia_smi();
        if options.sampling.source == VramSource::NvidiaSmi {
            let line = "nvidia-smi gives no reading yet: nothing is sampled unless it does later";
            return awaited.then(|| line.into());
        }
        if miss == MissReason::NoDevice {
            return Some(format!(
                "ComfyUI at {base} tells no memory of a device {gpu}: nothing is sampled"
            ));
        }
        let (why, other) = (miss.name(), if awaited { " or nvidia-smi" } else { "" });
        Some(format!(
            "no ComfyUI at {base} ({why}): nothing is sampled unless it{other} answers later; another \
             one is --comfyui-url URL"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signals that are due at these seconds after an interrupt at 0.
    fn signals<const N: usize>(seconds: [u64; N]) -> [Option<Signal>; N] {
        let (begun, mut ending) = (Instant::now(), Ending::default());
        seconds.map(|second| ending.signal_due(begun + Duration::from_secs(second)))
    }

    #[test]
    fn a_command_is_waited_for_then_asked_then_ended_each_once() {
        let (ask, kill) = (Some(Signal::Terminate), Some(Signal::Kill));
        let signals = signals([0, 4, 5, 6, 9, 10, 11, 999]);
        assert_eq!(signals, [None, None, ask, None, None, kill, None, None]);
    }

    #[test]
    fn each_grace_counts_from_the_step_before_although_nobody_looked() {
        let (ask, kill) = (Some(Signal::Terminate), Some(Signal::Kill));
        assert_eq!(signals([0, 60, 64, 65]), [None, ask, None, kill]);
    }
}
