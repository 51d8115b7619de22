//! A program of the project's, run to its end with its output in a file.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::sanitize::sanitize_line;

/// How long what was asked to end has for it, and once more after it was killed.
const GRACE: Duration = Duration::from_secs(2);
/// The longest pause between two looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(250);
/// The pause while it is being ended.
const SHORT: Duration = Duration::from_millis(20);

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this code: its own, or 128 and the number of the signal that ended it.
    Code(i32),
    /// It took too long; it and what it started were ended.
    TimedOut,
    /// It was not started: what the system said.
    NotStarted(String),
}

/// Runs a command, its output and errors in `log`: not in a pipe, which a process that it leaves
/// behind would hold open. Past `limit` its whole tree is ended: asked first, killed 2 s later.
/// `pause` is how the caller waits: it waits the whole time, and its error says that somebody wants
/// an end meanwhile.
///
/// # Errors
/// What `pause` said, once the tree is ended.
pub fn run<E>(
    mut command: Command,
    log: &Path,
    limit: Duration,
    pause: &mut impl FnMut(Duration) -> Result<(), E>,
) -> Result<Ended, E> {
    let mut child = match start(&mut command, log) {
        Ok(child) => child,
        Err(why) => return Ok(Ended::NotStarted(why)),
    };
    let until = Instant::now() + limit;
    let mut look = Duration::from_millis(5);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(Ended::Code(code(status))),
            Ok(None) => {}
            Err(error) => return Ok(Ended::NotStarted(error.to_string())),
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            end(&mut child, pause)?;
            return Ok(Ended::TimedOut);
        }
        if let Err(stop) = pause(look.min(left)) {
            // It is gone in any case, and the first reason counts.
            let _ = end(&mut child, pause);
            return Err(stop);
        }
        look = (look * 2).min(LOOK);
    }
}

fn start(command: &mut Command, log: &Path) -> Result<Child, String> {
    let created = log.parent().map_or(Ok(()), fs::create_dir_all);
    let files =
        created.and_then(|()| File::create(log)).and_then(|log| Ok((log.try_clone()?, log)));
    let (output, errors) = files.map_err(|error| format!("{}: {error}", log.display()))?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    own_group(command);
    command.spawn().map_err(|error| refusal(command, &error))
}

/// Why it was not started. A `.cmd` cannot be given every argument: the one that it cannot is named.
fn refusal(command: &Command, error: &io::Error) -> String {
    let odd = |word: &&OsStr| word.to_string_lossy().contains(char::is_control);
    match command.get_args().find(odd) {
        Some(word) if error.kind() == io::ErrorKind::InvalidInput => {
            let program = Path::new(command.get_program()).file_name().unwrap_or_default();
            let (program, word) = (program.to_string_lossy(), word.to_string_lossy());
            format!("{program} cannot be given the argument '{}': {error}", sanitize_line(&word))
        }
        _ => error.to_string(),
    }
}

/// Ends the tree, at most some seconds long. What a pause said meanwhile is handed on, the first.
fn end<E>(child: &mut Child, pause: &mut impl FnMut(Duration) -> Result<(), E>) -> Result<(), E> {
    let mut said = Ok(());
    end_tree(child, &mut |is_over| {
        let until = Instant::now() + GRACE;
        while !is_over() {
            if Instant::now() >= until {
                return false;
            }
            let paused = pause(SHORT);
            if said.is_ok() {
                said = paused;
            }
        }
        true
    });
    said
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| signal(status))
}

#[cfg(unix)]
use unix::{end_tree, own_group, signal};

#[cfg(unix)]
mod unix {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command, ExitStatus};

    use nix::errno::Errno;
    use nix::sys::signal::{Signal, killpg};
    use nix::unistd::Pid;

    /// The terminal's Ctrl-C does not reach it: it is ended by us, with what it started.
    pub fn own_group(command: &mut Command) {
        command.process_group(0);
    }

    /// `within` waits until it is so, for the time that there is: whether it is.
    pub fn end_tree(child: &mut Child, within: &mut impl FnMut(&mut dyn FnMut() -> bool) -> bool) {
        let Ok(id) = i32::try_from(child.id()) else { return };
        let group = Pid::from_raw(id);
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            let _ = killpg(group, signal);
            // Of the child nothing is left once it is waited for; what it started may go on.
            let mut is_gone = || {
                !matches!(child.try_wait(), Ok(None)) && killpg(group, None) == Err(Errno::ESRCH)
            };
            if within(&mut is_gone) {
                return;
            }
        }
    }

    pub fn signal(status: ExitStatus) -> i32 {
        status.signal().map_or(1, |signal| 128 + signal)
    }
}

#[cfg(not(unix))]
use windows::{end_tree, own_group, signal};

#[cfg(not(unix))]
mod windows {
    use std::os::windows::process::CommandExt;
    use std::process::{Child, Command, ExitStatus, Stdio};

    const CREATE_NO_WINDOW: u32 = 0x0800_0000;

    /// Neither a console window nor the console's Ctrl-C.
    pub fn own_group(command: &mut Command) {
        const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;
        command.creation_flags(CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP);
    }

    /// What has no window hears nobody ask. `within` waits until it is so, for the time that there
    /// is: whether it is.
    pub fn end_tree(child: &mut Child, within: &mut impl FnMut(&mut dyn FnMut() -> bool) -> bool) {
        let taskkill = Command::new("taskkill")
            .args(["/T", "/F", "/PID", &child.id().to_string()])
            .creation_flags(CREATE_NO_WINDOW)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        // First: with the child gone, nobody would know what it has started.
        if let Ok(mut taskkill) = taskkill {
            within(&mut || !matches!(taskkill.try_wait(), Ok(None)));
        }
        // It may have ended meanwhile.
        let _ = child.kill();
        within(&mut || !matches!(child.try_wait(), Ok(None)));
    }

    pub fn signal(_: ExitStatus) -> i32 {
        1
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("child-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// A wait as the run's is, for a test that has no channel.
    fn wait() -> impl FnMut(Duration) -> Result<(), Infallible> {
        |time| {
            std::thread::sleep(time);
            Ok(())
        }
    }

    #[test]
    fn its_code_and_all_that_it_said() {
        let log = folder("code").join("steps/a.log");
        let limit = Duration::from_secs(60);
        let run = |script| run(shell(script), &log, limit, &mut wait()).unwrap();
        assert_eq!(run("echo out; echo err >&2; exit 3"), Ended::Code(3));
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "out\nerr\n");
        assert_eq!(run("kill -KILL $$"), Ended::Code(137));
        let missing = super::run(Command::new("/no/such"), &log, limit, &mut wait()).unwrap();
        assert!(matches!(missing, Ended::NotStarted(_)), "{missing:?}");
    }

    #[test]
    fn what_is_ended_has_time_for_its_own_end_and_no_more() {
        let log = folder("grace").join("a.log");
        // The shell is told at once and goes; what it started takes a while, and another is deaf.
        let script =
            "(trap 'sleep 0.3; echo bye; exit' TERM; echo one; while :; do sleep 0.05; done) &
                      (trap '' TERM; echo two; while :; do sleep 1; done) & wait";
        let text = || std::fs::read_to_string(&log).unwrap_or_default();
        let ended = run(shell(script), &log, Duration::from_secs(60), &mut |time| {
            std::thread::sleep(time);
            let ready = text().contains("one") && text().contains("two");
            if ready { Err("interrupted") } else { Ok(()) }
        });
        assert_eq!(ended, Err("interrupted"));
        assert!(text().contains("bye"), "{}", text());
    }

    #[test]
    fn a_grandchild_that_holds_the_output_open_holds_up_nobody() {
        let log = folder("held").join("a.log");
        let begun = Instant::now();
        let ended = run(shell("sleep 5 & exit 0"), &log, Duration::from_secs(60), &mut wait());
        assert_eq!(ended.unwrap(), Ended::Code(0));
        assert!(begun.elapsed() < Duration::from_secs(4));
    }
}
