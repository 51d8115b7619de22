//! Ctrl-C, Ctrl-Break, SIGTERM and SIGHUP, heard on a thread of their own.

use std::convert::Infallible;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::exit_code::Exit;
use crate::screen::{self, Stream};

/// Signals that come within this time are one interrupt: GNU `timeout` signals its child and then
/// the child's group, wrappers hand on what has reached us already.
const SAME_CAUSE: Duration = Duration::from_secs(2);
/// How long a second interrupt may take to end the process.
const QUITTING: Duration = Duration::from_secs(1);

/// Somebody asked for the end of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

/// From now on the first signal is printed and handed to `notify`; one that comes 2 s later or more
/// ends the process, after `last` has been called or a second has passed.
///
/// # Errors
/// The system refuses the handler or its thread, or there is a handler already.
pub fn listen(
    notify: impl Fn() + Send + 'static,
    last: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    // Where there is no thread for it, ctrlc would hear the signals and tell nobody.
    thread::Builder::new().spawn(|| {})?;
    let mut first = None;
    let mut last = Some(last);
    let hear = move || match first {
        None => {
            first = Some(Instant::now());
            // Told before the program may end by it. Where there was a live row, what the terminal
            // echoed of Ctrl-C is gone with it.
            let start = if screen::erase_live() { "" } else { "\n" };
            let notice = format!("{start}stopping… (again in 2 s or later to quit at once)\n");
            screen::print(Stream::Stderr, notice);
            notify();
        }
        Some(first) if first.elapsed() < SAME_CAUSE => {}
        Some(_) => quit(last.take()),
    };
    ctrlc::set_handler(hear).map_err(io::Error::other)
}

fn quit(last: Option<impl FnOnce() + Send + 'static>) {
    screen::end_live();
    let (running, ended) = mpsc::channel::<Infallible>();
    let last = move || {
        let _running = running;
        if let Some(last) = last {
            last();
        }
    };
    // Without a thread it is dropped, and nothing is waited for.
    if thread::Builder::new().name("last cancel".into()).spawn(last).is_ok() {
        let _ = ended.recv_timeout(QUITTING);
    }
    std::process::exit(Exit::Interrupted.code().into());
}
