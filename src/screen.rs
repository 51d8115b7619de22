//! Standard output and standard error. While a run or `monitor` is under way a thread of its own
//! writes them, since a stopped terminal (Ctrl-S, a selection in a Windows console) or a full pipe
//! holds its writer up for as long as it likes.

use std::io::{self, ErrorKind, Write};
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

/// So many bytes may wait to be written; what comes beyond that is dropped.
const MOST_WAITING: usize = 4 << 20;
/// Written in one go: small, so that a slow reader can be told from one that does not read.
const CHUNK: usize = 4096;
/// How long an output may take nothing before it is not waited for any more: for lines, which stand in
/// `run-summary.txt` too, and for a document, which is what its reader wants.
const PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_FOR_DOCUMENT: Duration = Duration::from_secs(10);

/// The way to the thread, where there is one.
static QUEUE: OnceLock<Sender<Piece>> = OnceLock::new();
/// Bytes in the queue.
static WAITING: AtomicUsize = AtomicUsize::new(0);
/// Lines that were handed in and are not written: they wait, or were dropped.
static UNWRITTEN: AtomicUsize = AtomicUsize::new(0);
/// Where the live row is on the screen; none without one.
static LIVE: Mutex<Option<Stream>> = Mutex::new(None);
/// No live row is drawn any more.
static IS_ENDING: AtomicBool = AtomicBool::new(false);
/// Whether the end of the program has waited for the thread.
static FINISHED: AtomicBool = AtomicBool::new(false);

/// Where a text is printed.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

struct Piece {
    to: Stream,
    text: String,
    done: Option<Sender<io::Result<()>>>,
}

impl Stream {
    fn write(self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes).and_then(|()| out.flush())
            }
            Stream::Stderr => io::stderr().write_all(bytes),
        }
    }
}

impl Piece {
    fn write(self) {
        let mut result = Ok(());
        for chunk in self.text.as_bytes().chunks(CHUNK) {
            result = result.and_then(|()| self.to.write(chunk));
            WAITING.fetch_sub(chunk.len(), Ordering::Relaxed);
        }
        UNWRITTEN.fetch_sub(lines(&self.text), Ordering::Relaxed);
        // Nobody receives who has given up.
        self.done.map(|done| done.send(result));
    }
}

fn lines(text: &str) -> usize {
    text.matches('\n').count()
}

/// From now on nobody but a thread of its own writes. Where the system gives none everybody goes on
/// writing. What is said of a panic comes in place of the live row.
pub fn start() {
    if let Some(queue) = writer() {
        let _ = QUEUE.set(queue);
    }
    let say = panic::take_hook();
    panic::set_hook(Box::new(move |about| {
        let live = LIVE.try_lock().ok().and_then(|mut live| live.take());
        // Nobody is left to be told of an error.
        live.map(|to| to.write(ERASE.as_bytes()));
        say(about);
    }));
}

/// The way to a new thread that writes.
fn writer() -> Option<Sender<Piece>> {
    let (queue, pieces) = mpsc::channel::<Piece>();
    let write = move || pieces.into_iter().for_each(Piece::write);
    thread::Builder::new().name("screen".into()).spawn(write).ok().map(|_| queue)
}

/// Prints a text. A reader that went away (`| head`) is no reason to end a run; nor is one that does
/// not read.
pub fn print(to: Stream, text: String) {
    erase_live();
    UNWRITTEN.fetch_add(lines(&text), Ordering::Relaxed);
    let waiting = WAITING.load(Ordering::Relaxed);
    if waiting == 0 || waiting + text.len() <= MOST_WAITING {
        hand_in(QUEUE.get(), Piece { to, text, done: None });
    }
}

/// Prints a text of any length on standard output, and waits until it is written: behind the lines so
/// far, but not behind those that standard error does not take.
///
/// # Errors
/// It could not be written, or its reader takes nothing any more.
pub fn print_document(text: String) -> io::Result<()> {
    erase_live();
    flush();
    let own = QUEUE.get().and_then(|_| writer());
    print_and_wait(own.as_ref().or(QUEUE.get()), text, PATIENCE_FOR_DOCUMENT)
}

fn print_and_wait(
    queue: Option<&Sender<Piece>>,
    text: String,
    patience: Duration,
) -> io::Result<()> {
    let (to, (done, written)) = (Stream::Stdout, mpsc::channel());
    UNWRITTEN.fetch_add(lines(&text), Ordering::Relaxed);
    hand_in(queue, Piece { to, text, done: Some(done) });
    loop {
        let waiting = WAITING.load(Ordering::Relaxed);
        if let Ok(result) = written.recv_timeout(patience) {
            return result;
        }
        if WAITING.load(Ordering::Relaxed) == waiting {
            return Err(io::Error::new(ErrorKind::TimedOut, "nobody reads it"));
        }
    }
}

fn hand_in(queue: Option<&Sender<Piece>>, piece: Piece) {
    WAITING.fetch_add(piece.text.len(), Ordering::Relaxed);
    match queue {
        // The thread ends with the program.
        Some(queue) => drop(queue.send(piece)),
        None => piece.write(),
    }
}

/// What takes the live row off the screen. The cursor stands at its beginning, so that what a
/// narrower window has made of it is below.
const ERASE: &str = "\r\x1b[J";
/// Turns line wrapping off and on again: a row that a window has become too narrow for meanwhile.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";

/// Draws a row below the lines, in place of the one before. Whatever is printed takes its place.
pub fn draw_live(to: Stream, text: &str) {
    let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    if !IS_ENDING.load(Ordering::Relaxed) {
        *live = Some(to);
        let text = format!("{ERASE}{NO_WRAP}{text}\r{WRAP}");
        hand_in(QUEUE.get(), Piece { to, text, done: None });
    }
}

/// Whether a live row is on the screen.
pub fn is_live() -> bool {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

/// Takes the live row off the screen. Returns whether there was one.
pub fn erase_live() -> bool {
    let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(to) = live {
        hand_in(QUEUE.get(), Piece { to, text: ERASE.to_owned(), done: None });
    }
    live.is_some()
}

/// The process is about to end: takes the live row off the screen for good, and waits a moment for
/// that.
pub fn end_live() {
    IS_ENDING.store(true, Ordering::Relaxed);
    if erase_live() {
        let _ = print_and_wait(QUEUE.get(), String::new(), PATIENCE / 10);
    }
}

/// Whether all is written so far: what is drawn over and over must not wait.
pub fn is_idle() -> bool {
    WAITING.load(Ordering::Relaxed) == 0
}

/// Waits for what is not written yet, as long as it goes on.
pub fn flush() {
    // Who does not read is not waited for.
    let _ = print_and_wait(QUEUE.get(), String::new(), PATIENCE);
}

/// Same as [`flush`], once, at the end of the program. Returns the number of lines that were not
/// printed.
pub fn finish() -> usize {
    erase_live();
    if !FINISHED.swap(true, Ordering::Relaxed) {
        flush();
    }
    UNWRITTEN.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Set in the process that draws a row and panics.
    const PANICS: &str = "SCREEN_TEST_PANICS";

    #[test]
    fn a_panic_is_told_in_place_of_the_live_row() {
        if std::env::var_os(PANICS).is_some() {
            start();
            draw_live(Stream::Stderr, "⠋ flow");
            flush();
            panic!("as it should");
        }
        let mut itself = Command::new(std::env::current_exe().unwrap());
        itself.args(["a_panic_is_told_in_place_of_the_live_row", "--nocapture"]);
        let output = itself.env(PANICS, "1").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        let row = format!("{ERASE}{NO_WRAP}⠋ flow\r{WRAP}{ERASE}");
        let (before, after) = told.split_once(&row).unwrap_or_else(|| panic!("{told:?}"));
        assert!(!before.contains("panicked") && after.contains("as it should"), "{told:?}");
    }
}
