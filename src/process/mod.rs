//! Child processes: started, waited for with a time limit, ended with what they have started.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, PipeReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

#[cfg(unix)]
mod unix;
#[cfg(not(unix))]
mod windows;

pub use crate::interrupt::Interrupted;
pub use platform::{
    block_signals, end_group_with_us, kill_group, own_group, process_start, signal_tree,
    spawn_as_found,
};
#[cfg(unix)]
use unix as platform;
#[cfg(not(unix))]
use windows as platform;

use crate::clock::std_span;
use crate::sanitize::sanitize_line;
use crate::sleep;

/// How long a process that is ended has to clean up, and again after it was killed.
const GRACE: Duration = Duration::from_secs(2);
/// The pauses between two looks at a running child: the first, doubled up to the longest.
const FIRST_POLL: Duration = Duration::from_millis(5);
const LONGEST_POLL: Duration = Duration::from_millis(250);
/// The pause while a child is being ended.
const ENDING_POLL: Duration = Duration::from_millis(20);

/// How a caller of a long operation waits: it waits the whole time, and then returns an error if
/// somebody wants an end.
pub type Wait<'a> = dyn FnMut(Duration) -> Result<(), Interrupted> + 'a;

/// How a child of [`run`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this code, as [`exit_code`] has it.
    Code(i32),
    /// Not started, not by itself, or in a way that the system does not tell: the problem, one line.
    Failed(String),
}

impl Ended {
    /// What went wrong; `None` after exit code 0.
    pub fn problem(&self) -> Option<String> {
        match self {
            Ended::Code(0) => None,
            Ended::Code(code) => Some(end_text(*code)),
            Ended::Failed(why) => Some(why.clone()),
        }
    }
}

/// The signals of [`signal_tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// To end itself: SIGTERM. On Windows only a program with a window hears it.
    Terminate,
    /// Ended by the system: SIGKILL.
    Kill,
}

/// Runs a command in a process group of its own, with nothing on standard input. Its output and
/// errors go to the file `log`, not into a pipe, which a process that it leaves behind would hold
/// open. Past `limit` the whole group is ended: asked first, killed 2 s later.
///
/// # Errors
/// [`Interrupted`] if `wait` returns it, once the group is ended.
pub fn run(
    mut command: Command,
    log: &Path,
    limit: Duration,
    wait: &mut Wait,
) -> Result<Ended, Interrupted> {
    let created = log.parent().map_or(Ok(()), fs::create_dir_all);
    let created = created.and_then(|()| File::create(log));
    let log = created.map_err(|error| format!("{}: {error}", log.display()));
    let mut child = match log.and_then(|log| spawn(&mut command, log)) {
        Ok(child) => child,
        Err(why) => return Ok(Ended::Failed(format!("it does not start: {why}"))),
    };
    let _watcher = end_group_with_us(&child);
    let deadline = sleep::now() + limit;
    let mut pause = FIRST_POLL;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(Ended::Code(exit_code(status))),
            Ok(None) => {}
            Err(error) => return Ok(Ended::Failed(no_code(&error))),
        }
        let left = sleep::left(deadline);
        if left.is_zero() {
            end_child(&mut child, GRACE, wait)?;
            let limit = std_span(limit);
            return Ok(Ended::Failed(format!("not done after {limit}, ended with all it started")));
        }
        if wait(pause.min(left)).is_err() {
            let _ = end_child(&mut child, GRACE, wait);
            return Err(Interrupted);
        }
        pause = (pause * 2).min(LONGEST_POLL);
    }
}

/// Starts a child whose output and errors come through one pipe, in the order in which it wrote them.
///
/// # Errors
/// It does not start.
pub fn spawn_to_pipe(mut command: Command) -> io::Result<(Child, PipeReader)> {
    let (output, into) = io::pipe()?;
    // The command has the other ends of the pipe and is dropped here: the child alone keeps it open.
    let child = command.stdout(into.try_clone()?).stderr(into).spawn()?;
    Ok((child, output))
}

/// Starts a command in a group of its own, with nothing on standard input; its output and errors go
/// to the file.
///
/// # Errors
/// Why it does not start, one line.
pub fn spawn(command: &mut Command, log: File) -> Result<Child, String> {
    let errors = log.try_clone().map_err(|error| error.to_string())?;
    command.stdin(Stdio::null()).stdout(log).stderr(errors);
    own_group(command);
    command.spawn().map_err(|error| refusal(command, &error))
}

/// Why a command was not started. A `.cmd` cannot be given every argument: the one that it cannot
/// is named.
fn refusal(command: &Command, error: &io::Error) -> String {
    let has_control = |word: &&OsStr| word.to_string_lossy().contains(char::is_control);
    match command.get_args().find(has_control) {
        Some(word) if error.kind() == io::ErrorKind::InvalidInput => {
            let program = Path::new(command.get_program()).file_name().unwrap_or_default();
            let (program, word) = (program.to_string_lossy(), word.to_string_lossy());
            format!("{program} cannot be given the argument '{}': {error}", sanitize_line(&word))
        }
        _ => error.to_string(),
    }
}

/// Same as [`end_group`], of the group that a child leads.
///
/// # Errors
/// That of `wait`, once the group is ended.
pub fn end_child(child: &mut Child, grace: Duration, wait: &mut Wait) -> Result<(), Interrupted> {
    let id = child.id();
    let ended = end_group(id, &mut || !matches!(child.try_wait(), Ok(None)), grace, wait);
    // Where the system's own means failed.
    let _ = child.kill();
    ended
}

/// Ends a group: asked first, killed after `grace`; that it is over is waited for, 2 s more.
/// `is_over`: its leader has ended.
///
/// # Errors
/// That of `wait`, once the group is ended.
pub fn end_group(
    id: u32,
    is_over: &mut dyn FnMut() -> bool,
    grace: Duration,
    wait: &mut Wait,
) -> Result<(), Interrupted> {
    let mut result = Ok(());
    let mut time = grace;
    platform::end_group(id, is_over, &mut |is_over| {
        let until = sleep::now() + std::mem::replace(&mut time, GRACE);
        loop {
            if is_over() {
                return true;
            }
            if sleep::now() >= until {
                return false;
            }
            result = result.and(wait(ENDING_POLL));
        }
    });
    result
}

/// How a process with that exit code ended: `exit code 3`, `signal 9`, `exit code 0xC0000005`.
pub fn end_text(code: i32) -> String {
    match code {
        129..=192 if cfg!(unix) => format!("signal {}", code - 128),
        ..0 => format!("exit code {code:#010X}"),
        _ => format!("exit code {code}"),
    }
}

/// A process's own exit code; 128 and its number if a signal ended it.
pub fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| platform::signal_number(status).map_or(1, |n| 128 + n))
}

/// Why the exit code of a child is not known.
pub fn no_code(error: &io::Error) -> String {
    let why = if platform::is_child_lost(error) {
        "SIGCHLD was ignored by what started us, so the system has kept none"
    } else {
        &error.to_string()
    };
    format!("its exit code is not known: {why}")
}

/// The first of these programs that a folder of the PATH holds. On Windows it may be a `.cmd`,
/// which the standard library runs through cmd.exe, its arguments quoted or refused.
pub fn find_program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    names.iter().find_map(|name| find_in(name, &path))
}

fn find_in(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|folder| !folder.as_os_str().is_empty())
        .flat_map(|folder| {
            platform::EXTENSIONS.iter().map(move |end| folder.join(format!("{name}{end}")))
        })
        .find(|file| platform::is_program(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(unix)]
    use std::time::Instant;

    #[test]
    fn the_end_of_a_process_is_told_as_its_system_does() {
        let nine = if cfg!(unix) { "signal 9" } else { "exit code 137" };
        let told = [3, 137, -1_073_741_819, i32::MIN].map(end_text);
        assert_eq!(told, ["exit code 3", nine, "exit code 0xC0000005", "exit code 0x80000000"]);
    }

    /// Only a `.cmd` refuses words that a command line can hold.
    #[cfg(windows)]
    #[test]
    fn an_argument_that_a_cmd_cannot_be_given_is_named() {
        let folder = std::env::temp_dir().join(format!("cmd-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("npx.cmd"), "@exit /b 0\r\n").unwrap();
        let mut command = Command::new(folder.join("npx.cmd"));
        command.arg("two\nlines");
        let log = folder.join("a.log");
        let ended = run(command, &log, Duration::from_secs(60), &mut |_| Ok(())).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        let why = ended.problem().unwrap_or_default();
        let refused = "it does not start: npx.cmd cannot be given the argument 'two lines': ";
        assert!(why.starts_with(refused), "{why}");
    }

    #[cfg(unix)]
    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("child-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[cfg(unix)]
    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[cfg(unix)]
    /// A wait without an event loop, which nothing interrupts.
    #[expect(clippy::unnecessary_wraps, reason = "what a run hands in may be interrupted")]
    fn sleep(time: Duration) -> Result<(), Interrupted> {
        std::thread::sleep(time);
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn the_exit_code_is_returned_and_all_output_is_in_the_log() {
        let log = folder("code").join("steps/a.log");
        let limit = Duration::from_secs(60);
        let run = |script| run(shell(script), &log, limit, &mut sleep).unwrap();
        assert_eq!(run("echo out; echo err >&2; exit 3"), Ended::Code(3));
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "out\nerr\n");
        assert_eq!(run("kill -KILL $$"), Ended::Code(137));
        let missing = super::run(Command::new("/no/such"), &log, limit, &mut sleep).unwrap();
        let why = missing.problem().unwrap_or_default();
        assert!(why.starts_with("it does not start: "), "{why}");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_ended_has_time_to_clean_up_and_no_more() {
        let log = folder("grace").join("a.log");
        // The shell is told at once and goes; what it started takes a while, and another is deaf.
        let script =
            "(trap 'sleep 0.3; echo bye; exit' TERM; echo one; while :; do sleep 0.05; done) &
                      (trap '' TERM; echo two; while :; do sleep 1; done) & wait";
        let text = || std::fs::read_to_string(&log).unwrap_or_default();
        let ended = run(shell(script), &log, Duration::from_secs(60), &mut |time| {
            std::thread::sleep(time);
            let ready = text().contains("one") && text().contains("two");
            if ready { Err(Interrupted) } else { Ok(()) }
        });
        assert_eq!(ended, Err(Interrupted));
        assert!(text().contains("bye"), "{}", text());
    }

    #[cfg(unix)]
    #[test]
    fn a_grandchild_that_holds_the_output_open_holds_up_nobody() {
        let log = folder("held").join("a.log");
        let begun = Instant::now();
        let ended = run(shell("sleep 5 & exit 0"), &log, Duration::from_secs(60), &mut sleep);
        assert_eq!(ended.unwrap(), Ended::Code(0));
        assert!(begun.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn a_program_is_found_in_the_first_folder_of_the_path_that_has_it() {
        let root = std::env::temp_dir().join(format!("tool-{}", std::process::id()));
        let end = if cfg!(windows) { ".cmd" } else { "" };
        let mut folders = Vec::new();
        for (folder, program) in [("empty", false), ("one two", true), ("three", true)] {
            let folder = root.join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            if program {
                let file = folder.join(format!("tsx-runner{end}"));
                std::fs::write(&file, "").unwrap();
                #[cfg(unix)]
                {
                    use std::os::unix::fs::PermissionsExt;
                    let all = std::fs::Permissions::from_mode(0o755);
                    std::fs::set_permissions(&file, all).unwrap();
                }
            }
            folders.push(folder);
        }
        let path = std::env::join_paths(&folders).unwrap();
        let wanted = folders[1].join(format!("tsx-runner{end}"));
        assert_eq!(find_in("tsx-runner", &path), Some(wanted));
        assert_eq!(find_in("no-runner", &path), None);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
