//! One child process that is kept alive and read line by line, by a thread of its own.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::process::{Child, ChildStdout, Command};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// At least this long between the starts of a child and of the one that replaces it.
const AGAIN: Duration = Duration::from_secs(60);
/// How long the end waits for a child that was killed: one that hangs in the driver may stay.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// More bytes than a line has.
const LONGEST: u64 = 4096;

/// Keeps the child. Dropping it kills the child and waits for that, a second at most.
pub(super) struct ChildSupervisor(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    child: Option<Child>,
    /// No further child is to be started.
    stopped: bool,
    /// The thread has ended, its child before it.
    ended: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for that, so long at most: the state then.
    fn wait(&self, at_most: Duration, until: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_timeout_while(self.state(), at_most, |state| !until(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl ChildSupervisor {
    /// Starts the child from another thread, and one anew when it has ended. `line` gets each whole
    /// line, `failed` why a child did not start; where the program is not found, no other is tried.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(
        command: impl Fn() -> Command + Send + 'static,
        mut line: impl FnMut(&str) + Send + 'static,
        mut failed: impl FnMut(&io::Error) + Send + 'static,
    ) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { state: Mutex::new(State::default()), changed: Condvar::new() });
        let ending = Ending(Arc::clone(&shared));
        thread::Builder::new().name("nvidia-smi".into()).spawn(move || {
            let shared = &ending.0;
            loop {
                let started = Instant::now();
                match spawn(shared, &mut command()) {
                    Ok(None) => return,
                    Ok(Some(output)) => {
                        read_lines(output, &mut line);
                        reap(shared);
                    }
                    Err(error) => {
                        failed(&error);
                        if error.kind() == ErrorKind::NotFound {
                            return;
                        }
                    }
                }
                if shared.wait(pause(started, Instant::now()), |state| state.stopped).stopped {
                    return;
                }
            }
        })?;
        Ok(ChildSupervisor(shared))
    }
}

impl Drop for ChildSupervisor {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.stopped = true;
        if let Some(child) = &mut state.child {
            let _ = child.kill();
        }
        drop(state);
        self.0.changed.notify_all();
        let mut state = self.0.wait(LAST_WAIT, |state| state.ended);
        // Somebody else holds its output open: it is dead all the same.
        if let Some(child) = &mut state.child {
            let _ = child.try_wait();
        }
    }
}

/// Says that the thread has ended, however it did.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.state().ended = true;
        self.0.changed.notify_all();
    }
}

/// A new child's output; `None` where the end came first.
fn spawn(shared: &Shared, command: &mut Command) -> io::Result<Option<ChildStdout>> {
    if shared.state().stopped {
        return Ok(None);
    }
    // Starting may take its time: nobody waits for the state meanwhile.
    let mut child = command.spawn()?;
    let output = child.stdout.take();
    let mut state = shared.state();
    state.child = Some(child);
    let stopped = state.stopped;
    drop(state);
    if stopped || output.is_none() {
        reap(shared);
        return Ok(None);
    }
    Ok(output)
}

/// Ends the child, of which nothing more is to come, and waits for it.
fn reap(shared: &Shared) {
    let child = shared.state().child.take();
    if let Some(mut child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// How long until a child may be replaced that was started then.
fn pause(started: Instant, now: Instant) -> Duration {
    AGAIN.saturating_sub(now.saturating_duration_since(started))
}

/// Hands on every whole line until the output ends. A last line without its end was cut, and one
/// that is too long is none.
pub(super) fn read_lines(output: impl Read, line: &mut impl FnMut(&str)) {
    let mut output = BufReader::new(output);
    let mut bytes = Vec::new();
    let mut broken = false;
    loop {
        bytes.clear();
        match output.by_ref().take(LONGEST).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let whole = bytes.ends_with(b"\n");
        if !std::mem::replace(&mut broken, !whole) && whole {
            line(&String::from_utf8_lossy(&bytes));
        }
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
        let keeper =
            ChildSupervisor::start(|| Command::new("no-such-program-anywhere"), |_| {}, failed);
        // The end of the thread drops the sender.
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [ErrorKind::NotFound]);
        drop(keeper);
    }
}
