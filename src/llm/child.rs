//! Stands in for the project's own child runner until that is there: no tree is ended.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How a child ended.
pub enum Ended {
    /// By itself, with this code.
    Code(i32),
    /// It was ended after its time.
    TimedOut,
    /// It did not start, because of this.
    NotStarted(String),
}

/// Runs a child to its end, its output going to a file.
pub fn run<E>(
    mut command: Command,
    log: &Path,
    limit: Duration,
    pause: &mut impl FnMut(Duration) -> Result<(), E>,
) -> Result<Ended, E> {
    let started = log.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
        let out = File::create(log)?;
        command.stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out).spawn()
    });
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return Ok(Ended::NotStarted(error.to_string())),
    };
    let until = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(Ended::Code(status.code().unwrap_or(-1))),
            Err(error) => return Ok(Ended::NotStarted(error.to_string())),
            Ok(None) => {}
        }
        let paused = pause(Duration::from_millis(50));
        if paused.is_err() || Instant::now() >= until {
            let _ = child.kill();
            let _ = child.wait();
            return paused.map(|()| Ended::TimedOut);
        }
    }
}
