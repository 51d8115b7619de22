//! A program of the project's, run to its end with its output in a file.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long what was asked to end has for it.
const GRACE: Duration = Duration::from_secs(2);
/// The longest pause between two looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(250);

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
/// behind would hold open. Past `limit` its whole tree is ended. `pause` is how the caller waits.
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
        Err(error) => return Ok(Ended::NotStarted(error.to_string())),
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

fn start(command: &mut Command, log: &Path) -> io::Result<Child> {
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let log = File::create(log)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    own_group(command);
    command.spawn()
}

/// Asks the tree to end, and ends it. The reason of a pause that was cut short is handed on.
fn end<E>(child: &mut Child, pause: &mut impl FnMut(Duration) -> Result<(), E>) -> Result<(), E> {
    ask(child);
    let until = Instant::now() + GRACE;
    let mut cut_short = Ok(());
    while cut_short.is_ok() && Instant::now() < until && matches!(child.try_wait(), Ok(None)) {
        cut_short = pause(Duration::from_millis(20));
    }
    // What it started may go on though it has ended itself.
    kill(child);
    // Not waited for: what the system cannot end at once holds up nobody.
    let _ = child.try_wait();
    cut_short
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| signal(status))
}

#[cfg(unix)]
use unix::{ask, kill, own_group, signal};

#[cfg(unix)]
mod unix {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command, ExitStatus};

    use nix::sys::signal::{Signal, killpg};
    use nix::unistd::Pid;

    /// The terminal's Ctrl-C does not reach it: it is ended by us, with what it started.
    pub fn own_group(command: &mut Command) {
        command.process_group(0);
    }

    pub fn ask(child: &Child) {
        send(child, Signal::SIGTERM);
    }

    pub fn kill(child: &Child) {
        send(child, Signal::SIGKILL);
    }

    fn send(child: &Child, signal: Signal) {
        if let Ok(group) = i32::try_from(child.id()) {
            // All of it may have ended meanwhile.
            let _ = killpg(Pid::from_raw(group), signal);
        }
    }

    pub fn signal(status: ExitStatus) -> i32 {
        status.signal().map_or(1, |signal| 128 + signal)
    }
}

#[cfg(not(unix))]
use windows::{ask, kill, own_group, signal};

#[cfg(not(unix))]
mod windows {
    use std::os::windows::process::CommandExt;
    use std::process::{Child, Command, ExitStatus, Stdio};

    /// Neither a console window nor the console's Ctrl-C.
    pub fn own_group(command: &mut Command) {
        const CREATE_NO_WINDOW: u32 = 0x0800_0000;
        const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;
        command.creation_flags(CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP);
    }

    /// What has no window does not hear it.
    pub fn ask(_: &Child) {}

    pub fn kill(child: &mut Child) {
        let taskkill = Command::new("taskkill")
            .args(["/T", "/F", "/PID", &child.id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !taskkill.is_ok_and(|status| status.success()) {
            // It may have ended by itself.
            let _ = child.kill();
        }
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

    /// Whether the process of that id lives.
    fn lives(id: &str) -> bool {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", id.trim())) else {
            return false;
        };
        !stat.contains(") Z ")
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
    fn past_its_limit_its_tree_is_ended_deaf_grandchildren_too() {
        let folder = folder("limit");
        let id = folder.join("id");
        let script = format!(
            "trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & echo $! > {}; wait; sleep 60",
            id.display()
        );
        let begun = Instant::now();
        let ended =
            run(shell(&script), &folder.join("a.log"), Duration::from_millis(300), &mut wait());
        assert_eq!(ended.unwrap(), Ended::TimedOut);
        assert!(begun.elapsed() < Duration::from_secs(20), "it hangs");
        let id = std::fs::read_to_string(id).unwrap();
        // Killed; it is gone as soon as its new parent has noticed.
        let until = Instant::now() + Duration::from_secs(10);
        while lives(&id) && Instant::now() < until {
            std::thread::yield_now();
        }
        assert!(!lives(&id), "a grandchild goes on");
    }

    #[test]
    fn a_grandchild_that_holds_the_output_open_holds_up_nobody() {
        let log = folder("held").join("a.log");
        let begun = Instant::now();
        let ended = run(shell("sleep 5 & exit 0"), &log, Duration::from_secs(60), &mut wait());
        assert_eq!(ended.unwrap(), Ended::Code(0));
        assert!(begun.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn a_wait_that_is_cut_short_ends_it() {
        let log = folder("cut").join("a.log");
        let begun = Instant::now();
        let mut left = 3;
        let ended = run(shell("sleep 60"), &log, Duration::from_secs(60), &mut |time| {
            left -= 1;
            std::thread::sleep(time);
            if left > 0 { Ok(()) } else { Err("interrupted") }
        });
        assert_eq!(ended, Err("interrupted"));
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}
