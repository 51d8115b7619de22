//! Ctrl-C, Ctrl-Break, SIGTERM and SIGHUP, heard on a thread of their own.

use std::io::Write;

use crate::exit_code::Exit;

/// Somebody asked for the end of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

/// From now on the first signal is printed and handed to `notify`; the second one ends the
/// process on the spot.
///
/// # Errors
/// The system refuses the handler, or there is one already.
pub fn listen(notify: impl Fn() + Send + 'static) -> Result<(), ctrlc::Error> {
    let mut asked = false;
    ctrlc::set_handler(move || {
        if std::mem::replace(&mut asked, true) {
            std::process::exit(Exit::Interrupted.code().into());
        }
        let _ = writeln!(std::io::stderr(), "\nstopping… (once more to quit at once)");
        notify();
    })
}
