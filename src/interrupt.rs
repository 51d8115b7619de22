//! Ctrl-C, Ctrl-Break, SIGTERM and SIGHUP, heard on a thread of their own.

use std::io::Write;
use std::sync::mpsc::Sender;

use crate::exit_code::Exit;
use crate::run::events::Event;

/// From now on the first signal is told at once and sent into the channel; the second one ends
/// the process on the spot.
///
/// # Errors
/// The system refuses the handler, or there is one already.
pub fn listen(events: Sender<Event>) -> Result<(), ctrlc::Error> {
    let mut asked = false;
    ctrlc::set_handler(move || {
        if std::mem::replace(&mut asked, true) {
            std::process::exit(Exit::Interrupted.code().into());
        }
        let _ = writeln!(std::io::stderr(), "\nstopping… (once more to quit at once)");
        let _ = events.send(Event::Interrupt);
    })
}
