//! The driver's own figures, from one long-lived `nvidia-smi` on this machine.
//!
//! A thread of its own starts it, reads it line by line and replaces it when it has died. Asking
//! for a reading never waits: a program that is slow to start, hangs or dies gives none.

mod cards;
#[cfg(any(test, fuzzing))]
#[path = "../../../fuzz/oracles/nvidia_smi.rs"]
pub(crate) mod properties;

use std::convert::Infallible;
use std::io::{self, BufReader, ErrorKind, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cards::CardList;

use super::log::read_line;
use super::reading::Reading;
use crate::process;
use crate::sleep;
pub use cards::{CardId, NoReading, Wanted};

/// Bounds of nvidia-smi's pace: it may need the shortest for eight cards; beyond the longest a
/// reading would be of another moment.
const PACE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// At least this long between two starts of the child.
const RESTART_INTERVAL: Duration = Duration::from_secs(60);
/// How long dropping waits for the killed child: one that hangs in the driver may stay.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads one card of nvidia-smi. Dropping it ends the program and waits for that, 1 s at most.
pub struct CardReader {
    list: Arc<Mutex<CardList>>,
    wanted: Wanted,
    /// How far a reading may be from the moment that it is used for: three times its pace.
    within: Duration,
    _child: Option<ChildSupervisor>,
}

impl CardReader {
    /// Starts nvidia-smi, with a round of readings at that pace. Returns at once.
    pub fn start(pace: Duration, wanted: Wanted) -> Self {
        let pace = pace.clamp(PACE.0, PACE.1);
        let list = Arc::new(Mutex::new(CardList::new(Instant::now())));
        let told = Arc::clone(&list);
        let tell = move |event: Event| {
            let mut list = lock(&told);
            match event {
                Event::Line(text) => list.take_line(Instant::now(), text),
                Event::Ended(status) => list.ended(process::exit_code(status)),
                Event::NotStarted(error) => list.trouble = Some(why_not_started(error)),
            }
        };
        let child = ChildSupervisor::start(move || command(pace), tell);
        if let Err(error) = &child {
            lock(&list).trouble = Some(format!("nvidia-smi has no thread ({error})"));
        }
        CardReader { list, wanted, within: pace * 3, _child: child.ok() }
    }

    /// Takes `ComfyUI`'s driver figure of that moment, in MB: it tells equal cards apart.
    pub fn observe(&self, at: Instant, driver: u64) {
        lock(&self.list).observe(&self.wanted, at, driver, self.within);
    }

    /// The card's reading of that moment.
    ///
    /// # Errors
    /// Why there is none.
    pub fn reading(&self, at: Instant) -> Result<Reading, NoReading> {
        let mut list = lock(&self.list);
        list.wake(at, sleep::since(0).len());
        list.reading(&self.wanted, at, self.within)
    }

    /// Whether it has listed every card, or will not do so.
    pub fn has_started(&self) -> bool {
        let list = lock(&self.list);
        list.complete || list.trouble.is_some()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn why_not_started(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "nvidia-smi is not on the PATH".to_owned(),
        _ => format!("nvidia-smi does not start ({error})"),
    }
}

fn command(pace: Duration) -> Command {
    let mut command = Command::new("nvidia-smi");
    command
        .arg("--query-gpu=index,uuid,name,memory.total,memory.used,memory.free")
        .arg("--format=csv,noheader,nounits")
        .args(["-lms", &pace.as_millis().to_string()])
        .stdin(Stdio::null());
    process::own_group(&mut command);
    command
}

/// What a [`ChildSupervisor`] tells of its child.
enum Event<'a> {
    /// A line of its output or its errors, with its line break unless it was cut.
    Line(&'a str),
    Ended(ExitStatus),
    NotStarted(&'a io::Error),
}

/// Keeps a child running and reads what it says, on a thread of its own. Dropping it kills the child
/// and waits for that, 1 s at most.
struct ChildSupervisor {
    stop: Option<Sender<Infallible>>,
    /// Disconnected when the thread has ended. The mutex makes it `Sync`.
    ended: Mutex<Receiver<Infallible>>,
    child: Arc<Mutex<Option<Child>>>,
}

impl ChildSupervisor {
    /// `tell` gets what becomes of each child. One whose program is not found is not tried again,
    /// any other is replaced once a minute at most.
    ///
    /// # Errors
    /// The thread cannot be started.
    fn start(
        command: impl Fn() -> Command + Send + 'static,
        mut tell: impl FnMut(Event) + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let (running, ended) = mpsc::channel();
        let child = Arc::new(Mutex::new(None));
        let shared = Arc::clone(&child);
        thread::Builder::new().name("nvidia-smi".into()).spawn(move || {
            let _running = running;
            loop {
                let started = Instant::now();
                // Starting may take its time: the lock is not held meanwhile.
                match process::spawn_to_pipe(command()) {
                    Ok((child, output)) => {
                        let _watcher = process::end_group_with_us(&child);
                        *lock(&shared) = Some(child);
                        if stopped.try_recv() == Err(TryRecvError::Empty) {
                            read_lines(output, &mut |text: &str| tell(Event::Line(text)));
                        }
                        if let Some(status) = end(&shared) {
                            tell(Event::Ended(status));
                        }
                    }
                    Err(error) => {
                        tell(Event::NotStarted(&error));
                        if error.kind() == ErrorKind::NotFound {
                            return;
                        }
                    }
                }
                match stopped.recv_timeout(pause(started, Instant::now())) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(ChildSupervisor { stop: Some(stop), ended: Mutex::new(ended), child })
    }
}

impl Drop for ChildSupervisor {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(child) = &mut *lock(&self.child) {
            let _ = child.kill();
        }
        let _ = lock(&self.ended).recv_timeout(END_TIMEOUT);
        // Another process may hold its output open: it is dead all the same.
        if let Some(child) = &mut *lock(&self.child) {
            let _ = child.try_wait();
        }
    }
}

/// Kills the child, whose output has ended, and waits for it.
fn end(child: &Mutex<Option<Child>>) -> Option<ExitStatus> {
    let mut child = lock(child).take()?;
    let _ = child.kill();
    child.wait().ok()
}

/// How long until a child that was started then may be replaced.
fn pause(started: Instant, now: Instant) -> Duration {
    RESTART_INTERVAL.saturating_sub(now.saturating_duration_since(started))
}

/// Hands on every line until the output ends; one that was cut, or is too long, without its line
/// break.
fn read_lines(output: impl Read, line: &mut impl FnMut(&str)) {
    let mut output = BufReader::new(output);
    let mut bytes = Vec::new();
    while read_line(&mut output, &mut bytes).is_ok() && !bytes.is_empty() {
        line(&String::from_utf8_lossy(&bytes));
        bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_replaced_once_a_minute_at_most() {
        let start = Instant::now();
        let after = |seconds| pause(start, start + Duration::from_secs(seconds)).as_secs();
        assert_eq!([after(0), after(1), after(59), after(60), after(900)], [60, 59, 1, 0, 0]);
    }

    #[test]
    fn only_whole_lines_have_their_line_break() {
        let long = "x".repeat(10_000);
        let text = format!("a\r\n\n{long}\nb\n{long}0, GPU\nc\nd");
        let mut lines = Vec::new();
        read_lines(text.as_bytes(), &mut |line: &str| lines.push(line.replace(&long[..4000], "")));
        let cut = "x".repeat(96);
        assert_eq!(lines, ["a\r\n", "\n", &cut, "b\n", &cut, "c\n", "d"]);
    }

    /// What is told of a command until its first child has ended, or there will be none.
    fn told(command: impl Fn() -> Command + Send + 'static) -> Vec<String> {
        let (sender, receiver) = mpsc::channel();
        let tell = move |event: Event| {
            let text = match event {
                Event::Line(text) => text.trim().to_owned(),
                Event::Ended(status) => format!("exit code {}", process::exit_code(status)),
                Event::NotStarted(error) => error.kind().to_string(),
            };
            let _ = sender.send((matches!(event, Event::Ended(_)), text));
        };
        let _supervisor = ChildSupervisor::start(command, tell);
        let mut told = Vec::new();
        // The end of the thread drops the sender.
        for (has_ended, text) in receiver {
            told.push(text);
            if has_ended {
                break;
            }
        }
        told
    }

    #[test]
    fn a_program_that_is_not_there_is_told_once() {
        let told = told(|| Command::new("no-such-program-anywhere"));
        assert_eq!(told, [ErrorKind::NotFound.to_string()]);
    }

    #[test]
    fn a_child_is_heard_on_both_streams_and_its_end_is_told_at_once() {
        // This very program, which refuses one and lists no test for the other.
        let told = |arguments: &'static [&str]| {
            told(move || {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.args(arguments);
                command
            })
        };
        let errors = told(&["--no-such-option"]);
        assert!(errors.iter().any(|line| line.contains("no-such-option")), "{errors:?}");
        assert_ne!(errors.last().unwrap(), "exit code 0", "{errors:?}");
        let output = told(&["--list", "no such test"]);
        assert!(output.iter().any(|line| line.starts_with("0 tests")), "{output:?}");
        assert_eq!(output.last().unwrap(), "exit code 0", "{output:?}");
    }
}
