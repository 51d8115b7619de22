//! What the history's entry makes of an attempt: its outcome, and its files home.

use std::time::Duration;

use super::context::RunContext;
use super::course::{AttemptResult, AttemptState, seconds};
use super::download::{DownloadError, fetch};
use super::plan::Scene;
use crate::comfyui::{HistoryEntry, PromptOutcome};
use crate::interrupt::Interrupted;
use crate::report::record::{Outcome, Output};

/// The attempt of a prompt that has ended.
///
/// # Errors
/// [`Interrupted`] while its files are brought home.
pub(super) fn ended(
    stage: &mut RunContext,
    scene: &Scene,
    course: &AttemptState,
    entry: &HistoryEntry,
) -> Result<AttemptResult, Interrupted> {
    let with = |mut tried: AttemptResult| {
        tried.record.server_seconds = server_time(course, entry).map(seconds);
        tried.record.cached_nodes.clone_from(&entry.cached);
        tried.history = Some(entry.raw.clone());
        tried.success_ms = entry.success_ms;
        tried.all_cached = entry.all_cached;
        tried
    };
    match &entry.outcome {
        PromptOutcome::Interrupted => {
            let why = "somebody interrupted it on the server".to_owned();
            return Ok(with(course.ended(Outcome::Interrupted, why)));
        }
        PromptOutcome::Failed { why, out_of_memory } => {
            let outcome = if *out_of_memory { Outcome::OutOfMemory } else { Outcome::Failed };
            return Ok(with(course.ended(outcome, why.clone()).again()));
        }
        PromptOutcome::Success => {}
    }
    let execution = server_time(course, entry).unwrap_or(course.begun.elapsed());
    stage.events.console.log(&format!(
        "[Scene {}] Wan2 execution completed ({:.1}s)",
        scene.id,
        seconds(execution)
    ));
    let (outputs, trouble) = bring_home(stage, scene, entry)?;
    let (outcome, why) = match trouble {
        Some(trouble) => {
            let mut tried = with(course.ended(Outcome::DownloadFailed, trouble.why));
            tried.files_gone = trouble.gone && entry.all_cached;
            return Ok(tried);
        }
        None if !course.broken.is_empty() => (Outcome::Partial, course.broken.join("; ")),
        None if outputs.is_empty() => {
            (Outcome::NoOutput, "it succeeded and lists no file: has it a node that saves?".into())
        }
        None if entry.all_cached => (Outcome::Cached, String::new()),
        None => (Outcome::Succeeded, String::new()),
    };
    let mut tried = with(course.ended(outcome, why));
    tried.outputs = outputs;
    Ok(tried)
}

/// What the server says the execution took; unknown where that is more than the whole attempt did,
/// as after its clock was set.
fn server_time(course: &AttemptState, entry: &HistoryEntry) -> Option<Duration> {
    let most = course.begun.elapsed() + Duration::from_secs(1);
    entry.server_ms.map(Duration::from_millis).filter(|time| *time <= most)
}

/// The download, repeated within the scene's budget.
fn bring_home(
    stage: &mut RunContext,
    scene: &Scene,
    entry: &HistoryEntry,
) -> Result<(Vec<Output>, Option<DownloadError>), Interrupted> {
    let mut left = stage.options.scene_retry_budget;
    loop {
        match fetch(stage, &scene.id, entry)? {
            Ok(outputs) => return Ok((outputs, None)),
            Err(trouble) if left == 0 || trouble.gone => return Ok((Vec::new(), Some(trouble))),
            Err(trouble) => {
                left -= 1;
                stage.warn(&scene.id, &format!("{}: downloading again", trouble.why));
                stage.events.wait(Duration::from_secs(1))?;
            }
        }
    }
}
