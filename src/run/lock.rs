//! One run at a time for each server of a project: an OS file lock, which ends with its process
//! however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::events::EventLoop;
use super::state_file::RunState;
use crate::clock::day_and_time;
use crate::http::ServerUrl;
use crate::interrupt::Interrupted;

/// How long another run is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const KNOCK: Duration = Duration::from_millis(200);

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

/// What came of asking for the lock.
#[derive(Debug)]
pub enum Locked {
    /// It is ours as long as this is held.
    Ours(File),
    /// The folder cannot be written, or has no locks: the run goes on without one. One line.
    Without(String),
    /// Another run kept it. One line.
    Taken(String),
}

/// Takes the lock; where another run holds it, waits for that long, saying once for whom.
///
/// # Errors
/// [`Interrupted`].
pub fn take(
    files: &Files,
    patience: Duration,
    events: &mut EventLoop,
) -> Result<Locked, Interrupted> {
    let name = files.lock.display();
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&files.lock);
    let file = match opened {
        Ok(file) => file,
        Err(error) => return Ok(Locked::Without(without(&name, &error))),
    };
    let until = Instant::now() + patience;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Locked::Ours(file)),
            Err(TryLockError::Error(error)) => return Ok(Locked::Without(without(&name, &error))),
            Err(TryLockError::WouldBlock) => {}
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let who = holder(files);
            return Ok(Locked::Taken(format!(
                "{who} is still at work on this server after {} s: nothing was run",
                patience.as_secs()
            )));
        }
        if !std::mem::replace(&mut told, true) {
            let who = holder(files);
            events.console.log(&format!("waiting up to {} s for {who}", patience.as_secs()));
        }
        events.wait(KNOCK.min(left))?;
    }
}

fn without(name: &dyn std::fmt::Display, error: &std::io::Error) -> String {
    format!("{name}: {error}: another run on this server would not be noticed")
}

/// Whose lock it is, as far as the state tells.
fn holder(files: &Files) -> String {
    match RunState::read(&files.state) {
        Some(left) => format!(
            "the run of {} (process {}, {})",
            day_and_time(left.started),
            left.pid,
            left.folder.display()
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

    fn event_loop() -> EventLoop {
        let console = Console::new(Clock::start(), None, Output::Quiet, true);
        EventLoop::new(Recorder::default(), console)
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
        let files = Files::of(&root, &ServerUrl::parse("127.0.0.1:8188").unwrap());
        let take = || take(&files, Duration::from_millis(1), &mut event_loop()).unwrap();
        let first = take();
        assert!(matches!(first, Locked::Ours(_)), "{first:?}");
        match take() {
            Locked::Taken(why) => assert!(why.contains("another run"), "{why}"),
            other => panic!("{other:?}"),
        }
        drop(first);
        assert!(files.lock.is_file(), "never deleted");
        assert!(matches!(take(), Locked::Ours(_)));
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_reason_to_stop() {
        let root = folder("none").join("no/such");
        let files = Files::of(&root, &ServerUrl::parse("127.0.0.1:8188").unwrap());
        let locked = take(&files, Duration::ZERO, &mut event_loop()).unwrap();
        assert!(matches!(locked, Locked::Without(_)), "{locked:?}");
    }
}
