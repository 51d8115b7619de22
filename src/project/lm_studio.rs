//! LM Studio's models, which leave the card before the scenes are generated on it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::llm::{get, models, server};
use crate::cli::LlmOptions;
use crate::http::{ErrorKind, HttpError, Target};
use crate::interrupt::Interrupted;
use crate::process::{self, Wait};
use crate::sleep;
use crate::vram::freed_memory::{FreedMemoryWait, NOISE_MB};

/// LM Studio's own list: all models that it has, each with its state.
const ALL_MODELS: &str = "/api/v0/models";
/// The list that others have too: the loaded ones only.
const LOADED_MODELS: &str = "/v1/models";
/// How long `lms unload --all` may take.
const LMS_LIMIT: Duration = Duration::from_secs(30);
/// How long the models may then take to go.
const GONE_LIMIT: Duration = Duration::from_secs(30);
/// The pause between two looks for them.
const GONE_POLL: Duration = Duration::from_millis(500);

/// Unloads LM Studio's models, if any is loaded, and waits until they are gone and their memory is
/// free: 30 s for the program `lms`, whose output goes to `log`, 30 s for the models and 10 s for
/// the memory at most. `free` returns the MB that are free on the card, if that is known. Returns
/// the lines that say what came of it; a failure is one of them.
///
/// # Errors
/// [`Interrupted`] if `wait` returns it.
pub fn unload(
    llm: &LlmOptions,
    log: &Path,
    free: impl Fn() -> Option<u64>,
    wait: &mut Wait,
) -> Result<Vec<String>, Interrupted> {
    if llm.skip_unload {
        return Ok(vec!["Skipping LM Studio unload (--SkipLMStudioUnload flag)".to_owned()]);
    }
    let skipped = |why: &str| Ok(vec![format!("LM Studio unload skipped: {why}")]);
    let failed = |why: String| Ok(vec![format!("⚠ LM Studio unload failed: {why}")]);
    let studio = server(&llm.lm_studio, llm.lm_studio.base());
    let (path, count) = match find_list(&studio) {
        Ok((_, 0)) => return skipped("no model is loaded"),
        Ok(found) => found,
        Err(error) if was_answered(&error) => return skipped(&error.to_string()),
        Err(error) => {
            return skipped(&format!("no LM Studio at {} ({})", llm.lm_studio, error.detail));
        }
    };
    let before = free();
    if let Some(problem) = run_lms(count, log, wait)? {
        return failed(problem);
    }
    let begun = sleep::now();
    loop {
        match pause_for_models(&count_loaded(&studio, path), sleep::now() - begun) {
            Ok(None) => break,
            Ok(Some(pause)) => wait(pause)?,
            Err(why) => return failed(why),
        }
    }
    let (begun, mut settling) = (sleep::now(), FreedMemoryWait::default());
    loop {
        let after = free();
        match settling.next_check(sleep::now() - begun, after) {
            Some(pause) => wait(pause)?,
            None => return Ok(unloaded(before.zip(after))),
        }
    }
}

/// The lines after an unload; `free` are the MB that were free before and after.
fn unloaded(free: Option<(u64, u64)>) -> Vec<String> {
    let mut lines = vec!["✓ LM Studio model unloaded - VRAM available for ComfyUI".to_owned()];
    lines.extend(free.map(|(before, after)| match after.saturating_sub(before) {
        freed if freed <= NOISE_MB => "LM Studio unload: freed nothing".to_owned(),
        freed => format!("LM Studio unload: freed {freed} MB (free {before} to {after} MB)"),
    }));
    lines
}

/// Runs `lms unload --all`: what went wrong.
fn run_lms(count: usize, log: &Path, wait: &mut Wait) -> Result<Option<String>, Interrupted> {
    let Some(program) = process::find_program(&["lms"]) else {
        let loaded = loaded(count);
        return Ok(Some(format!("{loaded}, but lms is not on the PATH: it comes with LM Studio")));
    };
    let mut command = Command::new(program);
    command.args(["unload", "--all"]);
    let ended = process::run(command, log, LMS_LIMIT, wait)?;
    let problem = ended.problem();
    Ok(problem.map(|problem| format!("lms unload --all: {problem}: see {}", log.display())))
}

/// How many models are loaded, and the path that tells it: an older LM Studio has only the second.
fn find_list(studio: &Target) -> Result<(&'static str, usize), HttpError> {
    match count_loaded(studio, ALL_MODELS) {
        Err(error) if was_answered(&error) => {
            Ok((LOADED_MODELS, count_loaded(studio, LOADED_MODELS)?))
        }
        count => Ok((ALL_MODELS, count?)),
    }
}

fn count_loaded(studio: &Target, path: &str) -> Result<usize, HttpError> {
    let models = get(studio, path, models)?;
    let is_loaded = |model: &&Value| path == LOADED_MODELS || model["state"] == "loaded";
    Ok(models.iter().filter(is_loaded).count())
}

/// Whether a server is there that answers something else.
fn was_answered(error: &HttpError) -> bool {
    matches!(error.kind, ErrorKind::Status(_) | ErrorKind::BadJson)
}

fn loaded(count: usize) -> String {
    match count {
        1 => "1 model is loaded".to_owned(),
        count => format!("{count} models are loaded"),
    }
}

/// The pause until the next look for models, so long after they were told to go; `None` once none
/// is loaded.
///
/// # Errors
/// Time is up: what was seen.
fn pause_for_models(
    seen: &Result<usize, HttpError>,
    since: Duration,
) -> Result<Option<Duration>, String> {
    let left = GONE_LIMIT.saturating_sub(since);
    let limit = GONE_LIMIT.as_secs();
    match seen {
        Ok(0) => Ok(None),
        _ if !left.is_zero() => Ok(Some(left.min(GONE_POLL))),
        Ok(count) => Err(format!("{} still, {limit} s after lms unload --all", loaded(*count))),
        Err(error) => Err(format!("its models are not gone after {limit} s: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_looked_for_until_they_are_gone_for_thirty_seconds_at_most() {
        let (ms, refused) = (Duration::from_millis, Err(HttpError::example(ErrorKind::Refused)));
        assert_eq!(pause_for_models(&Ok(0), ms(0)), Ok(None));
        assert_eq!(pause_for_models(&Ok(0), ms(31_000)), Ok(None));
        assert_eq!(pause_for_models(&Ok(2), ms(0)), Ok(Some(ms(500))));
        assert_eq!(pause_for_models(&refused, ms(20_000)), Ok(Some(ms(500))));
        assert_eq!(pause_for_models(&Ok(1), ms(29_900)), Ok(Some(ms(100))));
        let stayed = |text: &str| Err(text.to_owned());
        let still = "1 model is loaded still, 30 s after lms unload --all";
        assert_eq!(pause_for_models(&Ok(1), ms(30_000)), stayed(still));
        let unseen = "its models are not gone after 30 s: \
                      GET /queue at http://127.0.0.1:8188: as a test has it";
        assert_eq!(pause_for_models(&refused, ms(30_000)), stayed(unseen));
    }

    #[test]
    fn what_came_free_is_told_where_it_is_known() {
        let lines = |free| unloaded(free).split_off(1);
        assert_eq!(lines(None), [""; 0]);
        let freed = "LM Studio unload: freed 8123 MB (free 3100 to 11223 MB)";
        assert_eq!(lines(Some((3100, 11_223))), [freed]);
        assert_eq!(lines(Some((3100, 3116))), ["LM Studio unload: freed nothing"]);
        assert_eq!(lines(Some((3100, 3000))), ["LM Studio unload: freed nothing"]);
    }
}
