//! One attempt of a scene: from the upload to the outcome, its files home.

use std::fs;
use std::time::Instant;

use super::cancel::Cancelled;
use super::context::RunContext;
use super::course::{AttemptResult, AttemptState};
use super::ending::ended;
use super::plan::Scene;
use super::poll::{Observation, Poller, Verdict};
use super::submit::{Submitted, submit, upload};
use crate::clock::hms;
use crate::comfyui::{ErrorKind, HistoryEntry, HttpError, PromptOutcome, QueuePosition};
use crate::console::LiveRow;
use crate::interrupt::Interrupted;
use crate::report::record::{HISTORY_UNREADABLE, Outcome};
use crate::sanitize::file_name;

/// Prompts of other clients are counted up to here.
const MOST_OTHERS: usize = 10_000;

/// Runs a scene once.
///
/// # Errors
/// [`Interrupted`]; what was posted stays in the ledger.
pub fn attempt(
    stage: &mut RunContext,
    scene: &Scene,
    what: &str,
) -> Result<AttemptResult, Interrupted> {
    let options = stage.options;
    let mut workflow = scene.workflow.clone();
    let begun = Instant::now();
    let mut course = AttemptState {
        begun,
        deadline: begun + options.max_wait,
        prompt_id: None,
        broken: Vec::new(),
        follow: Poller::new(options.poll_interval, options.history_max_attempts),
    };
    if let Some(path) = &scene.keyframe {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{}-{}", scene.id, file_name(&name));
        let image = match fs::read(path) {
            Ok(image) => image,
            Err(error) => {
                let why = format!("keyframe {}: {error}", path.display());
                return Ok(course.ended(Outcome::Failed, why));
            }
        };
        match upload(stage, scene, &name, &image, course.deadline)? {
            Ok(uploaded) => workflow.place_keyframe(&uploaded),
            Err(error) if error.fault == ErrorKind::Refused => {
                return Ok(course.ended(Outcome::Unreachable, error.to_string()));
            }
            // The same image is refused again.
            Err(error) if matches!(error.fault, ErrorKind::Status(400..=499)) => {
                return Ok(course.ended(Outcome::Failed, error.to_string()));
            }
            Err(error) => return Ok(course.ended(Outcome::Failed, error.to_string()).again()),
        }
        stage.events.check()?;
    }
    course.begun = Instant::now();
    course.deadline = course.begun + options.max_wait;
    live(stage, scene, what, "posting", &course);
    match submit(stage, scene, &workflow, course.deadline)? {
        Submitted::Accepted { id, broken } => {
            stage.events.console.log(&format!(
                "[Scene {}] Wan2 prompt queued: prompt_id={id} duration={:.1}s",
                scene.id,
                course.begun.elapsed().as_secs_f64()
            ));
            course.prompt_id = Some(id.clone());
            course.broken = broken;
            let end = follow_to_end(stage, scene, &id, &mut course, what);
            stage.events.recorder.set_running(None);
            end
        }
        Submitted::Rejected(why) => Ok(course.ended(Outcome::Rejected, why)),
        Submitted::Deadline(error) => {
            let cancelled = stage.canceller().all();
            let words = cancelled.as_ref().map_or("never seen there".into(), Cancelled::words);
            let why = format!("posting it was not answered in time ({error}); {words}");
            let tried = course.ended(Outcome::Deadline, why);
            Ok(if stage.ledger.prompts().is_empty() { tried.again() } else { tried })
        }
        Submitted::Unreachable(error) => Ok(course.ended(Outcome::Unreachable, error.to_string())),
    }
}

fn live(stage: &mut RunContext, scene: &Scene, what: &str, doing: &str, course: &AttemptState) {
    stage.events.console.set_live(Some(LiveRow {
        what: format!("{what} {doing}"),
        name: scene.id.clone(),
        since: course.begun,
        limit: Some(stage.options.max_wait),
    }));
}

fn follow_to_end(
    stage: &mut RunContext,
    scene: &Scene,
    id: &str,
    course: &mut AttemptState,
    what: &str,
) -> Result<AttemptResult, Interrupted> {
    let mut told: Option<ErrorKind> = None;
    loop {
        let left = course.deadline.saturating_duration_since(Instant::now());
        stage.events.wait(course.follow.pause().min(left))?;
        let at_deadline = Instant::now() >= course.deadline;
        let (seen, unread) = look(stage, scene, id)?;
        match &seen {
            Observation::At(QueuePosition::Running) => live(stage, scene, what, "running", course),
            Observation::At(QueuePosition::Pending(before)) => {
                live(stage, scene, what, &format!("queued, {before} before it"), course);
            }
            _ => {}
        }
        let failed = match &seen {
            Observation::Failed(error) | Observation::Unread(error) => Some(error),
            _ => unread.as_ref(),
        };
        if let Some(error) = failed
            && told.as_ref() != Some(&error.fault)
        {
            let text = format!("{error}: polling on");
            if matches!(seen, Observation::Unread(_)) {
                stage.events.console.log(&format!("[Scene {}] HISTORY WARNING: {text}", scene.id));
            } else {
                stage.warn(&scene.id, &text);
            }
            told = Some(error.fault.clone());
        }
        let refused = match &seen {
            Observation::Failed(error) if error.fault == ErrorKind::Refused => Some(error.clone()),
            _ => None,
        };
        match course.follow.observe(Instant::now(), seen) {
            Verdict::Continue if !at_deadline => {}
            Verdict::Continue => {
                return match refused {
                    Some(error) => {
                        Ok(course.ended(Outcome::Unreachable, format!("at the deadline: {error}")))
                    }
                    None => deadline(stage, scene, id, course),
                };
            }
            Verdict::Ended(entry) => {
                stage.ledger.gone(id);
                stage.history_seen = true;
                return ended(stage, scene, course, &entry);
            }
            Verdict::Lost => return Ok(lost(stage, id, course)),
            Verdict::Unreadable(error) => {
                // It has left the queue: nothing of it runs.
                stage.ledger.gone(id);
                let why = format!("{HISTORY_UNREADABLE} ({error})");
                return Ok(course.ended(Outcome::Lost, why));
            }
            Verdict::Unreachable(error) => {
                let why = format!("refused for a minute on end: {error}");
                return Ok(course.ended(Outcome::Unreachable, why));
            }
        }
    }
}

/// One poll: the history, then the queue, then the history again, since a prompt may have gone
/// from one to the other in between. Beside it what kept the history from being read, though the
/// queue was.
fn look(
    stage: &mut RunContext,
    scene: &Scene,
    id: &str,
) -> Result<(Observation, Option<HttpError>), Interrupted> {
    let unread = match stage.client.history(id) {
        Ok(Some(entry)) => return Ok((over(stage, entry), None)),
        Ok(None) => None,
        Err(error) if error.fault == ErrorKind::Refused => {
            return Ok((Observation::Failed(error), None));
        }
        Err(error) => Some(error),
    };
    stage.events.check()?;
    let asked = Instant::now();
    let queue = match stage.client.queue() {
        Ok(queue) => queue,
        Err(error) => return Ok((Observation::Failed(unread.unwrap_or(error)), None)),
    };
    // What came meanwhile belongs to what was known before this answer.
    stage.events.check()?;
    let ours = |id: &String| {
        stage.ledger.prompts().iter().any(|prompt| prompt.accepted.as_ref() == Some(id))
    };
    let strangers: Vec<_> =
        queue.running.iter().map(|prompt| &prompt.id).filter(|id| !ours(id)).cloned().collect();
    for stranger in strangers {
        let first = stage.others.is_empty();
        if stage.others.len() < MOST_OTHERS && stage.others.insert(stranger) && first {
            stage
                .events
                .console
                .log("Another client's prompt is running: its memory is in the figures");
        }
    }
    let seen = match queue.place(id) {
        QueuePosition::Running => {
            stage.events.recorder.set_running(Some((&scene.id, asked)));
            Observation::At(QueuePosition::Running)
        }
        QueuePosition::Absent => {
            stage.events.recorder.set_running(None);
            match stage.client.history(id) {
                Ok(Some(entry)) => over(stage, entry),
                Ok(None) => Observation::At(QueuePosition::Absent),
                Err(error) => Observation::Unread(error),
            }
        }
        pending @ QueuePosition::Pending(_) => {
            stage.events.recorder.set_running(None);
            Observation::At(pending)
        }
    };
    Ok((seen, unread))
}

fn over(stage: &mut RunContext, entry: HistoryEntry) -> Observation {
    stage.events.drain();
    stage.events.recorder.set_running(None);
    Observation::Ended(Box::new(entry))
}

fn deadline(
    stage: &mut RunContext,
    scene: &Scene,
    id: &str,
    course: &AttemptState,
) -> Result<AttemptResult, Interrupted> {
    let state = match course.follow.running_since {
        None => "queued all the time".to_owned(),
        Some(since) => match since.saturating_duration_since(course.begun).as_secs() {
            0..=3 => "running all the time, never finished".to_owned(),
            queued => format!("queued {queued} s, then running, never finished"),
        },
    };
    let cancelled = stage.canceller().one(id);
    let gone = matches!(cancelled, Cancelled::Gone);
    if gone
        && let Ok(Some(entry)) = stage.client.history(id)
        && entry.end != PromptOutcome::Interrupted
    {
        // It came to its own end while it was asked to.
        return ended(stage, scene, course, &entry);
    }
    let tried = course.ended(Outcome::Deadline, format!("{state}; {}", cancelled.words()));
    Ok(if gone { tried.again() } else { tried })
}

fn lost(stage: &mut RunContext, id: &str, course: &AttemptState) -> AttemptResult {
    stage.ledger.gone(id);
    let refused = stage.events.recorder.refused_since(course.begun);
    let restarted = course.follow.was_refused
        || refused.is_some()
        || (stage.history_seen && stage.client.history_is_empty().unwrap_or(false));
    if restarted {
        stage.history_seen = false;
        let at = hms(refused.unwrap_or_else(|| stage.clock.now()));
        course.ended(Outcome::Lost, format!("server restarted {at}")).again()
    } else {
        let why = "gone from the queue without a history entry: somebody removed it";
        course.ended(Outcome::Lost, why.to_owned())
    }
}
