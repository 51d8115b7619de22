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
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cards::{CardLine, CardList};

use super::log::read_line;
use super::reading::Reading;
use crate::process;
pub use cards::{CardId, NoReading, Wanted};

/// Bounds of nvidia-smi's interval: it may need the shortest for eight cards; beyond the longest a
/// reading would be of another moment.
const INTERVAL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// At least this long between two starts of the child.
const RESTART_INTERVAL: Duration = Duration::from_secs(60);
/// How long dropping waits for the killed child: one that hangs in the driver may stay.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads one card of nvidia-smi. Dropping it ends the program and waits for that, 1 s at most.
pub struct CardReader {
    list: Arc<Mutex<CardList>>,
    wanted: Wanted,
    /// How far a reading may be from the moment that it is used for: three of its intervals.
    within: Duration,
    _child: Option<ChildSupervisor>,
}

impl CardReader {
    /// Starts nvidia-smi for a sampler of that interval. Returns at once.
    pub fn start(interval: Duration, wanted: Wanted) -> Self {
        let interval = interval.clamp(INTERVAL.0, INTERVAL.1);
        let list = Arc::new(Mutex::new(CardList::new(Instant::now())));
        let (lines, errors) = (Arc::clone(&list), Arc::clone(&list));
        let child = ChildSupervisor::start(
            move || command(interval),
            move |text| {
                if let Some(line) = CardLine::parse(text) {
                    lock(&lines).add(Instant::now(), &line);
                }
            },
            move |error| {
                lock(&errors).trouble = Some(match error.kind() {
                    ErrorKind::NotFound => "nvidia-smi is not on the PATH".to_owned(),
                    _ => format!("nvidia-smi does not start ({error})"),
                });
            },
        );
        if let Err(error) = &child {
            lock(&list).trouble = Some(format!("nvidia-smi has no thread ({error})"));
        }
        CardReader { list, wanted, within: interval * 3, _child: child.ok() }
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
        lock(&self.list).reading(&self.wanted, at, self.within)
    }

    /// Whether it has listed every card, or did not start.
    pub fn has_started(&self) -> bool {
        let list = lock(&self.list);
        list.complete || list.trouble.is_some()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn command(interval: Duration) -> Command {
    let mut command = Command::new("nvidia-smi");
    command
        .arg("--query-gpu=index,uuid,name,memory.total,memory.used,memory.free")
        .arg("--format=csv,noheader,nounits")
        .args(["-lms", &interval.as_millis().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    process::own_group(&mut command);
    command
}

/// Keeps a child running and reads its output, on a thread of its own. Dropping it kills the child
/// and waits for that, 1 s at most.
struct ChildSupervisor {
    stop: Option<Sender<Infallible>>,
    /// Disconnected when the thread has ended. The mutex makes it `Sync`.
    ended: Mutex<Receiver<Infallible>>,
    child: Arc<Mutex<Option<Child>>>,
}

impl ChildSupervisor {
    /// `line` gets each complete line of the output, `failed` why a child did not start. One whose
    /// program is not found is not tried again, any other is replaced once a minute at most.
    ///
    /// # Errors
    /// The thread cannot be started.
    fn start(
        command: impl Fn() -> Command + Send + 'static,
        mut line: impl FnMut(&str) + Send + 'static,
        mut failed: impl FnMut(&io::Error) + Send + 'static,
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
                match command().spawn() {
                    Ok(mut child) => {
                        let output = child.stdout.take();
                        *lock(&shared) = Some(child);
                        let go_on = stopped.try_recv() == Err(TryRecvError::Empty);
                        if let Some(output) = output.filter(|_| go_on) {
                            read_lines(output, &mut line);
                        }
                        end(&shared);
                    }
                    Err(error) => {
                        failed(&error);
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
fn end(child: &Mutex<Option<Child>>) {
    let child = lock(child).take();
    if let Some(mut child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// How long until a child that was started then may be replaced.
fn pause(started: Instant, now: Instant) -> Duration {
    RESTART_INTERVAL.saturating_sub(now.saturating_duration_since(started))
}

/// Hands on every complete line until the output ends; neither a last line without its line break,
/// which was cut, nor one that is too long.
fn read_lines(output: impl Read, line: &mut impl FnMut(&str)) {
    let mut output = BufReader::new(output);
    let mut bytes = Vec::new();
    while read_line(&mut output, &mut bytes).is_ok() && !bytes.is_empty() {
        if bytes.ends_with(b"\n") {
            line(&String::from_utf8_lossy(&bytes));
        }
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
    fn only_whole_lines_are_handed_on() {
        let long = "x".repeat(10_000);
        let text = format!("a\r\n\n{long}\nb\n{long}0, GPU\nc\nd");
        let mut lines = Vec::new();
        read_lines(text.as_bytes(), &mut |line: &str| lines.push(line.trim().to_owned()));
        assert_eq!(lines, ["a", "", "b", "c"]);
    }

    #[test]
    fn a_program_that_is_not_there_is_told_once() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let failed = move |error: &io::Error| {
            let _ = sender.send(error.kind());
        };
        let supervisor =
            ChildSupervisor::start(|| Command::new("no-such-program-anywhere"), |_| {}, failed);
        // The end of the thread drops the sender.
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [ErrorKind::NotFound]);
        drop(supervisor);
    }
}
