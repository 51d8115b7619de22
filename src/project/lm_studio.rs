//! LM Studio's models, which leave the card before the scenes are generated on it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::llm_server::{Server, models};
use crate::cli::LlmOptions;
use crate::http::{ErrorKind, HttpError};
use crate::process::{self, Ended};
use crate::project::tool::on_path;
use crate::vram::freed_memory::{FreedMemoryWait, NOISE_MB};

/// How long `lms unload --all` may take.
const COMMAND: Duration = Duration::from_secs(30);
/// And then the models, until none is loaded.
const GONE_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks for them.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What became of LM Studio's models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unload {
    /// They were to stay.
    Unwanted,
    /// None is known to be loaded, because of this.
    Skipped(String),
    /// All are gone; the MB that were free before and after, where both are known.
    Done(Option<(u64, u64)>),
    /// They stay, or may, because of this.
    Failed(String),
}

impl Unload {
    /// What to tell of it.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Unload::Unwanted => {
                vec!["Skipping LM Studio unload (--SkipLMStudioUnload flag)".to_owned()]
            }
            Unload::Skipped(why) => vec![format!("LM Studio unload skipped: {why}")],
            Unload::Failed(why) => vec![format!("⚠ LM Studio unload failed: {why}")],
            Unload::Done(free) => {
                let done = "✓ LM Studio model unloaded - VRAM available for ComfyUI".to_owned();
                let freed = free.map(|(before, after)| match after.saturating_sub(before) {
                    freed if freed <= NOISE_MB => "LM Studio unload: freed nothing".to_owned(),
                    freed => {
                        format!("LM Studio unload: freed {freed} MB (free {before} to {after} MB)")
                    }
                });
                [Some(done), freed].into_iter().flatten().collect()
            }
        }
    }
}

/// Unloads LM Studio's models, if any is loaded, and waits until they are gone and their memory is
/// free: 30 s for the program `lms`, whose output goes to `log`, 30 s for the models and 10 s for
/// the memory at most. `free` gives the MB that are free on the card, if that is known; `pause`
/// waits, as a child's end wants it. Whatever fails is in the value.
///
/// # Errors
/// What `pause` gave.
pub fn unload<E>(
    llm: &LlmOptions,
    log: &Path,
    free: impl Fn() -> Option<u64>,
    pause: &mut impl FnMut(Duration) -> Result<(), E>,
) -> Result<Unload, E> {
    if llm.skip_unload {
        return Ok(Unload::Unwanted);
    }
    let studio = Server::new(&llm.lm_studio, llm.lm_studio.base());
    let (route, count) = match first_look(&studio) {
        Ok((_, 0)) => return Ok(Unload::Skipped("no model is loaded".into())),
        Ok(loaded) => loaded,
        Err(error) => return Ok(Unload::Skipped(no_list(llm, &error))),
    };
    let Some(program) = on_path(&["lms"]) else {
        let why = format!("{}, but lms is not on the PATH: it comes with LM Studio", loaded(count));
        return Ok(Unload::Failed(why));
    };
    let before = free();
    let mut command = Command::new(program);
    command.args(["unload", "--all"]);
    let failed = |how: &str| Ok(Unload::Failed(format!("lms unload --all {how}")));
    let see = || format!("see {}", log.display());
    match process::run(command, log, COMMAND, pause)? {
        Ended::Code(0) => {}
        Ended::Code(code) => return failed(&format!("ended with exit code {code}: {}", see())),
        Ended::TimedOut => {
            return failed(&format!("did not end within {} s: {}", COMMAND.as_secs(), see()));
        }
        Ended::NotStarted(why) => return failed(&format!("did not start: {why}")),
    }
    let begun = Instant::now();
    loop {
        match next(&route.count(&studio), begun.elapsed()) {
            Next::Gone => break,
            Next::Look(time) => pause(time)?,
            Next::Stayed(why) => return Ok(Unload::Failed(why)),
        }
    }
    let (begun, mut wait) = (Instant::now(), FreedMemoryWait::default());
    loop {
        let after = free();
        match wait.next_check(begun.elapsed(), after) {
            Some(time) => pause(time)?,
            None => return Ok(Unload::Done(before.zip(after))),
        }
    }
}

/// Where LM Studio tells of its models.
#[derive(Clone, Copy)]
enum Route {
    /// Its own list: all models that it has, each with its state.
    States,
    /// The list that others have too: those that are loaded.
    Loaded,
}

impl Route {
    fn path(self) -> &'static str {
        match self {
            Route::States => "/api/v0/models",
            Route::Loaded => "/v1/models",
        }
    }

    /// How many models are loaded.
    fn count(self, studio: &Server) -> Result<usize, HttpError> {
        let models =
            models(&studio.get(self.path())?).map_err(|why| studio.unusable(self.path(), &why))?;
        Ok(match self {
            Route::States => models.iter().filter(|model| model["state"] == "loaded").count(),
            Route::Loaded => models.len(),
        })
    }
}

/// How many models are loaded, and by which route that is known: an older LM Studio has only the
/// second.
fn first_look(studio: &Server) -> Result<(Route, usize), HttpError> {
    let route = match Route::States.count(studio) {
        Ok(count) => return Ok((Route::States, count)),
        Err(error) if matches!(error.fault, ErrorKind::Status(_) | ErrorKind::BadJson) => {
            Route::Loaded
        }
        Err(error) => return Err(error),
    };
    Ok((route, route.count(studio)?))
}

fn no_list(llm: &LlmOptions, error: &HttpError) -> String {
    match error.fault {
        ErrorKind::Refused | ErrorKind::Timeout | ErrorKind::Reset => {
            format!("no LM Studio at {} ({})", llm.lm_studio, error.detail())
        }
        ErrorKind::Status(_) | ErrorKind::BadJson => error.to_string(),
    }
}

fn loaded(count: usize) -> String {
    match count {
        1 => "1 model is loaded".to_owned(),
        count => format!("{count} models are loaded"),
    }
}

/// What a look for models that were told to go leads to.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// None is loaded.
    Gone,
    /// Another look, after this time.
    Look(Duration),
    /// Time is up.
    Stayed(String),
}

/// Judges the look that is taken so long after they were told to.
fn next(seen: &Result<usize, HttpError>, since: Duration) -> Next {
    let left = GONE_WITHIN.saturating_sub(since);
    match seen {
        Ok(0) => Next::Gone,
        _ if !left.is_zero() => Next::Look(left.min(LOOK_AGAIN)),
        Ok(count) => Next::Stayed(format!(
            "{} still, {} s after lms unload --all",
            loaded(*count),
            GONE_WITHIN.as_secs()
        )),
        Err(error) => Next::Stayed(format!(
            "its models were not seen gone within {} s: {error}",
            GONE_WITHIN.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_looked_for_until_they_are_gone_for_thirty_seconds_at_most() {
        let (ms, refused) = (Duration::from_millis, Err(HttpError::example(ErrorKind::Refused)));
        assert_eq!(next(&Ok(0), ms(0)), Next::Gone);
        assert_eq!(next(&Ok(0), ms(31_000)), Next::Gone);
        assert_eq!(next(&Ok(2), ms(0)), Next::Look(ms(500)));
        assert_eq!(next(&refused, ms(20_000)), Next::Look(ms(500)));
        assert_eq!(next(&Ok(1), ms(29_900)), Next::Look(ms(100)));
        let stayed = |text: &str| Next::Stayed(text.to_owned());
        let still = "1 model is loaded still, 30 s after lms unload --all";
        assert_eq!(next(&Ok(1), ms(30_000)), stayed(still));
        let unseen = "its models were not seen gone within 30 s: \
                      GET /queue at http://127.0.0.1:8188: as a test has it";
        assert_eq!(next(&refused, ms(30_000)), stayed(unseen));
    }

    #[test]
    fn what_came_free_is_told_where_it_is_known() {
        let lines = |free| Unload::Done(free).lines().split_off(1);
        assert_eq!(lines(None), [""; 0]);
        let freed = "LM Studio unload: freed 8123 MB (free 3100 to 11223 MB)";
        assert_eq!(lines(Some((3100, 11_223))), [freed]);
        assert_eq!(lines(Some((3100, 3116))), ["LM Studio unload: freed nothing"]);
        assert_eq!(lines(Some((3100, 3000))), ["LM Studio unload: freed nothing"]);
    }
}
