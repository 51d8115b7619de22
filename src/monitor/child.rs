//! The command: started in our own process group, so that the terminal's Ctrl-C reaches it by
//! itself, with our own standard input, output and error.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::{Child, Command, ExitStatus};

use crate::exit_code::Code;
use crate::sanitize::sanitize_line;

/// What a shell says of a command that it does not find.
const NOT_FOUND: i32 = 127;
/// And of one that it cannot start.
const NOT_STARTED: i32 = 126;

/// Starts it. The error is the code that a shell has for it, and one line.
pub fn start(words: &[OsString]) -> Result<Child, (Code, String)> {
    let (program, arguments) = words.split_first().map_or((OsStr::new(""), words), |(p, a)| (p, a));
    Command::new(program).args(arguments).spawn().map_err(|error| {
        let code = match error.kind() {
            io::ErrorKind::NotFound => NOT_FOUND,
            _ => NOT_STARTED,
        };
        (Code::of_command(code), format!("{}: {error}", sanitize_line(&program.to_string_lossy())))
    })
}

/// The command's own code; 128 and its number if a signal ended it.
pub fn code(status: ExitStatus) -> Code {
    Code::of_command(status.code().unwrap_or_else(|| signal(status)))
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.signal().map_or(1, |signal| 128 + signal)
}

#[cfg(not(unix))]
fn signal(_: ExitStatus) -> i32 {
    1
}

#[cfg(unix)]
pub use unix::{ask, end};

#[cfg(unix)]
mod unix {
    use std::process::Child;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::super::tree;

    /// Asks the command and what it started to end.
    pub fn ask(child: &mut Child) {
        send(child, Signal::SIGTERM);
    }

    /// Ends the command and what it started.
    pub fn end(child: &mut Child) {
        send(child, Signal::SIGKILL);
    }

    /// One by one: its group is ours, and perhaps that of the rest of a pipeline. The parent comes
    /// first, so that a shell does not go on to its next command.
    fn send(child: &Child, signal: Signal) {
        for id in tree::of(child.id()) {
            if let Ok(id) = i32::try_from(id) {
                // It may have ended meanwhile.
                let _ = kill(Pid::from_raw(id), signal);
            }
        }
    }
}

#[cfg(not(unix))]
pub use windows::{ask, end};

#[cfg(not(unix))]
mod windows {
    use std::process::{Child, Command, Stdio};

    /// Asks the command and what it started to end: only what has a window hears it.
    pub fn ask(child: &mut Child) {
        let _ = taskkill(child, &["/T"]);
    }

    /// Ends the command and what it started.
    pub fn end(child: &mut Child) {
        if taskkill(child, &["/T", "/F"]).is_err() {
            let _ = child.kill();
        }
    }

    /// It is not waited for: that the command ends is.
    fn taskkill(child: &Child, how: &[&str]) -> std::io::Result<Child> {
        Command::new("taskkill")
            .args(how)
            .args(["/PID", &child.id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    }
}
