//! One run at a time for each server of a project: an OS file lock, which ends with its process
//! however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::context::RunError;
use super::events::EventLoop;
use super::state_file::RunState;
use crate::clock::day_and_time;
use crate::exit_code::Exit;
use crate::http::ServerUrl;
use crate::sleep;

/// How long another run is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// The lock, held until this is dropped.
#[derive(Debug)]
pub struct Lock {
    /// `.run-comfyui-e2e.<host>-<port>[-<prefix>].lock` in the project's folder; empty and never deleted.
    path: PathBuf,
    /// The error is why there is none: the folder cannot be written, or has no locks. The run goes
    /// on without.
    pub file: Result<File, String>,
}

impl Lock {
    /// Takes the lock. Another run that holds it is waited for, `patience` long, and logged once.
    ///
    /// # Errors
    /// Another run kept it, or an interrupt arrived.
    pub fn take(
        path: PathBuf,
        patience: Duration,
        events: &mut EventLoop,
    ) -> Result<Self, RunError> {
        let file = match open(&path) {
            Ok(file) => file,
            Err(error) => return Ok(Lock::unavailable(path, &error)),
        };
        let until = sleep::now() + patience;
        let mut logged = false;
        loop {
            match file.try_lock() {
                // Somebody may have deleted the file of a run that is at work (`git clean`).
                Ok(()) if is_at_work(&path) => file.unlock().unwrap_or_default(),
                Ok(()) => {
                    events.console.set_live(None);
                    return Ok(Lock { path, file: Ok(file) });
                }
                Err(TryLockError::Error(error)) => return Ok(Lock::unavailable(path, &error)),
                Err(TryLockError::WouldBlock) => {}
            }
            let (left, seconds) = (sleep::left(until), patience.as_secs());
            if left.is_zero() {
                let (who, place) = holder(&path);
                let why = format!(
                    "{who}, {place}, is still at work on this server after {seconds} s: nothing was run"
                );
                return Err(RunError::refused(Exit::Locked, why));
            }
            if !std::mem::replace(&mut logged, true) {
                let (who, place) = holder(&path);
                events.console.log(&format!("waiting up to {seconds} s for {who}, {place}"));
                events.console.wait_for(&format!("waiting up to {seconds} s for {who}"), &place);
            }
            events.wait(TRY_AGAIN.min(left))?;
        }
    }

    fn unavailable(path: PathBuf, error: &io::Error) -> Self {
        let name = path.display();
        let problem = format!("{name}: {error}: another run on this server would not be noticed");
        Lock { file: Err(problem), path }
    }

    /// The state file of the run that holds the lock: the same name with `.json`.
    pub fn state_path(&self) -> PathBuf {
        self.path.with_extension("json")
    }
}

/// The lock file of this server: its host, port and path prefix. Two prefixes are two servers.
pub fn path(root: &Path, server: &ServerUrl) -> PathBuf {
    let other = |also: &'static str| move |c: char| !c.is_ascii_alphanumeric() && !also.contains(c);
    let host = match server.host().to_ascii_lowercase().as_str() {
        "localhost" => "127.0.0.1".to_owned(),
        host => host.replace(other("."), "_"),
    };
    let mut name = format!(".run-comfyui-e2e.{host}-{}", server.port());
    let prefix = server.prefix();
    if !prefix.is_empty() {
        // With a sum of it: /a/b and /a_b are two, and a file's name ends at 255 bytes.
        let sum = prefix.bytes().fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let shown: String = prefix[1..].replace(other(".-"), "_").chars().take(60).collect();
        let is_plain = shown == prefix[1..];
        name += &if is_plain { format!("-{shown}") } else { format!("-{shown}-{sum:016x}") };
    }
    root.join(name + ".lock")
}

/// Opens the lock file, and makes it where there is none. A link and what is no file are refused.
fn open(path: &Path) -> io::Result<File> {
    if path.symlink_metadata().is_ok_and(|about| !about.is_file()) {
        return Err(io::Error::other("no file of its own"));
    }
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    // Others may read and write it: nobody deletes it while it is held.
    #[cfg(windows)]
    std::os::windows::fs::OpenOptionsExt::share_mode(&mut options, 3);
    options.open(path)
}

/// Whether the run that the state file tells of is alive.
fn is_at_work(lock: &Path) -> bool {
    let state = RunState::read(&lock.with_extension("json"));
    matches!(state, Ok(Some(state)) if !state.ended && state.run.is_alive())
}

/// Whose lock it is, as far as the state file tells.
fn holder(lock: &Path) -> (String, String) {
    match RunState::read(&lock.with_extension("json")) {
        Ok(Some(RunState { run, .. })) => {
            let who = format!("the run of {} (process {})", day_and_time(run.started), run.pid);
            (who, run.folder.display().to_string())
        }
        _ => ("another run".to_owned(), lock.display().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::console::{Console, Output, Terminal};
    use crate::run::recorder::Recorder;

    fn take(root: &Path, patience: Duration) -> Result<Lock, RunError> {
        let console = Console::new(Clock::start(), None, Terminal::new(Output::Quiet, true), true);
        let mut events = EventLoop::new(Recorder::default(), console);
        Lock::take(path(root, &ServerUrl::parse("127.0.0.1:8188").unwrap()), patience, &mut events)
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("lock-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn each_server_has_files_of_its_own() {
        let name = |url: &str| {
            let path = path(Path::new("/p"), &ServerUrl::parse(url).unwrap());
            path.file_name().unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(name("http://GPU-2:8188/comfy/"), ".run-comfyui-e2e.gpu_2-8188-comfy.lock");
        let names = ["", "/gpu0", "/gpu1", "/a/b", "/a_b", "/a-b"].map(|p| name(&format!("p{p}")));
        assert_eq!(names.iter().collect::<std::collections::HashSet<_>>().len(), names.len());
        assert!(name(&format!("p/{}", "long/".repeat(99))).len() < 120);
        assert_eq!(name("http://localhost:8188"), name("127.0.0.1:8188"));
        assert_eq!(name("http://[::1]:8188"), ".run-comfyui-e2e.__1-8188.lock");
        assert_ne!(name("127.0.0.1:8188"), name("127.0.0.1:8189"));
    }

    #[test]
    fn the_second_waits_and_gives_up_and_a_dead_one_does_not_block() {
        let root = folder("two");
        let take = || take(&root, Duration::from_millis(1));
        let first = take().unwrap();
        assert!(first.file.is_ok(), "{first:?}");
        match take() {
            Err(RunError::Failed { exit: Exit::Locked, why, .. }) => {
                assert!(why.contains("another run"), "{why}");
            }
            other => panic!("{other:?}"),
        }
        let file = first.path.clone();
        drop(first);
        assert!(file.is_file(), "never deleted");
        assert!(take().unwrap().file.is_ok());
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_reason_to_stop() {
        let lock = take(&folder("none").join("no/such"), Duration::ZERO).unwrap();
        assert!(lock.file.is_err(), "{lock:?}");
    }
}
