//! One run at a time for each server of a project: an OS file lock, which ends with its process
//! however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::context::RunError;
use super::events::EventLoop;
use super::state_file::RunState;
use crate::cli::RunOptions;
use crate::clock::day_and_time;
use crate::exit_code::Exit;
use crate::http::ServerUrl;

/// How long another run is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// The two files of a server in the project's folder: the lock, empty and never deleted, and the
/// state of the run that holds it.
#[derive(Clone, Debug)]
pub struct Files {
    /// `.run-comfyui-e2e.<host>-<port>.lock`.
    pub lock: PathBuf,
    /// The same name with `.json`.
    pub state: PathBuf,
}

impl Files {
    /// Those of this server.
    pub fn of(root: &Path, server: &ServerUrl) -> Self {
        let host = match server.host().to_ascii_lowercase().as_str() {
            "localhost" => "127.0.0.1".to_owned(),
            host => host.replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "_"),
        };
        let file = |end| root.join(format!(".run-comfyui-e2e.{host}-{}.{end}", server.port()));
        Files { lock: file("lock"), state: file("json") }
    }
}

/// The lock, held until this is dropped.
#[derive(Debug)]
pub struct Lock {
    pub files: Files,
    file: Option<File>,
    /// Why there is none: the folder cannot be written, or has no locks. The run goes on without.
    pub problem: Option<String>,
}

impl Lock {
    /// Takes the lock. Another run that holds it is waited for, `patience` long, and logged once.
    ///
    /// # Errors
    /// Another run kept it, or an interrupt arrived.
    pub fn take(
        options: &RunOptions,
        patience: Duration,
        events: &mut EventLoop,
    ) -> Result<Self, RunError> {
        Lock::on(Files::of(&options.project_root, &options.server.url), patience, events)
    }

    fn on(files: Files, patience: Duration, events: &mut EventLoop) -> Result<Self, RunError> {
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&files.lock);
        let file = match opened {
            Ok(file) => file,
            Err(error) => return Ok(Lock::unavailable(files, &error)),
        };
        let until = Instant::now() + patience;
        let mut logged = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { files, file: Some(file), problem: None }),
                Err(TryLockError::Error(error)) => return Ok(Lock::unavailable(files, &error)),
                Err(TryLockError::WouldBlock) => {}
            }
            let (left, seconds) =
                (until.saturating_duration_since(Instant::now()), patience.as_secs());
            if left.is_zero() {
                let who = holder(&files);
                let why = format!(
                    "{who} is still at work on this server after {seconds} s: nothing was run"
                );
                return Err(RunError::refused(Exit::Locked, why));
            }
            if !std::mem::replace(&mut logged, true) {
                let who = holder(&files);
                events.console.log(&format!("waiting up to {seconds} s for {who}"));
            }
            events.wait(TRY_AGAIN.min(left))?;
        }
    }

    fn unavailable(files: Files, error: &std::io::Error) -> Self {
        let name = files.lock.display();
        let problem = format!("{name}: {error}: another run on this server would not be noticed");
        Lock { problem: Some(problem), files, file: None }
    }

    /// Whether no other run is at work on this server.
    pub fn is_held(&self) -> bool {
        self.file.is_some()
    }
}

/// Whose lock it is, as far as the state file tells.
fn holder(files: &Files) -> String {
    match RunState::read(&files.state) {
        Some(state) => format!(
            "the run of {} (process {}, {})",
            day_and_time(state.started),
            state.pid,
            state.folder.display()
        ),
        None => format!("another run ({})", files.lock.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::console::{Console, Output};
    use crate::run::recorder::Recorder;

    fn take(root: &Path, patience: Duration) -> Result<Lock, RunError> {
        let console = Console::new(Clock::start(), None, Output::Quiet, true);
        let mut events = EventLoop::new(Recorder::default(), console);
        Lock::on(
            Files::of(root, &ServerUrl::parse("127.0.0.1:8188").unwrap()),
            patience,
            &mut events,
        )
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("lock-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn each_server_has_files_of_its_own() {
        let name = |url: &str| {
            let files = Files::of(Path::new("/p"), &ServerUrl::parse(url).unwrap());
            files.lock.file_name().unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(name("http://GPU-2:8188/comfy"), ".run-comfyui-e2e.gpu_2-8188.lock");
        assert_eq!(name("http://localhost:8188"), name("127.0.0.1:8188"));
        assert_eq!(name("http://[::1]:8188"), ".run-comfyui-e2e.__1-8188.lock");
        assert_ne!(name("127.0.0.1:8188"), name("127.0.0.1:8189"));
    }

    #[test]
    fn the_second_waits_and_gives_up_and_a_dead_one_does_not_block() {
        let root = folder("two");
        let take = || take(&root, Duration::from_millis(1));
        let first = take().unwrap();
        assert!(first.is_held(), "{first:?}");
        match take() {
            Err(RunError::Failed { exit: Exit::Locked, why, .. }) => {
                assert!(why.contains("another run"), "{why}");
            }
            other => panic!("{other:?}"),
        }
        let file = first.files.lock.clone();
        drop(first);
        assert!(file.is_file(), "never deleted");
        assert!(take().unwrap().is_held());
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_reason_to_stop() {
        let lock = take(&folder("none").join("no/such"), Duration::ZERO).unwrap();
        assert!(!lock.is_held() && lock.problem.is_some(), "{lock:?}");
    }
}
