//! One attempt at a scene: image, prompt, polls, outcome, files.

use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use super::cancel::{Cancelled, LOOK_AGAIN};
use super::context::RunContext;
use super::download::Downloaded;
use super::health::Death;
use super::plan::Scene;
use super::poll::{Decision, Observation, Poller, is_refused};
use super::submit::{Posted, SubmitError};
use crate::clock::hms;
use crate::comfyui::{
    BrokenContext, ErrorKind, HistoryEntry, HttpError, Ids, PromptOutcome, QueuePosition,
};
use crate::console::{Activity, LiveRow, SceneProgress};
use crate::fs::{has_image_content, open_file};
use crate::interrupt::Interrupted;
use crate::project::story::NO_IMAGE;
use crate::report::record::{Attempt, HISTORY_UNREADABLE, Outcome, Output};
use crate::sanitize::file_name;
use crate::sleep;
use crate::vram::stats::NodeFacts;

/// Prompts of other clients are counted up to here.
const MOST_FOREIGN_PROMPTS: usize = 10_000;

/// What an attempt left.
#[derive(Default)]
pub struct AttemptResult {
    pub record: Attempt,
    pub outputs: Vec<Output>,
    /// Its history entry, where one was read.
    pub entry: Option<Box<HistoryEntry>>,
    /// The nodes that ran, as far as the server told.
    pub nodes: Vec<NodeFacts>,
    /// Another attempt may help, and nothing of this one is left on the server.
    pub retry: bool,
    /// A file of a cached scene is gone from the server: it has to be made anew.
    pub files_gone: bool,
    /// The server was away before anything was sent: it is no attempt.
    pub is_unsent: bool,
}

/// An attempt while it goes on.
struct AttemptState<'r, 'a> {
    run: &'r mut RunContext<'a>,
    scene: &'r Scene,
    /// Which of how many scenes it is.
    number: (usize, usize),
    submitted: Instant,
    /// Sleeps of the computer do not count.
    deadline: Instant,
    /// When a poll first showed it running.
    running_since: Option<Instant>,
    prompt_id: Option<String>,
    /// The outputs that the server dropped, one line a node.
    broken: Vec<String>,
    /// The entries of its parts so far: it goes on under another id.
    parts: Vec<HistoryEntry>,
    /// Their ids.
    known: Vec<String>,
    poller: Poller,
}

/// Runs a scene once.
///
/// # Errors
/// [`Interrupted`]; what was posted stays in the state file.
pub fn attempt(
    run: &mut RunContext,
    scene: &Scene,
    number: (usize, usize),
) -> Result<AttemptResult, Interrupted> {
    let (now, options) = (Instant::now(), run.options);
    let gone_after = run.gone_after();
    let poller = Poller::new(options.poll_interval, options.history_max_attempts, gone_after);
    let mut attempt = AttemptState {
        run,
        scene,
        number,
        submitted: now,
        deadline: sleep::now() + options.max_wait,
        running_since: None,
        prompt_id: None,
        broken: Vec::new(),
        parts: Vec::new(),
        known: Vec::new(),
        poller,
    };
    let result = match attempt.submit() {
        Ok((ids, id)) => attempt.poll_to_end(&ids, id),
        Err(SubmitError::Interrupted) => Err(Interrupted),
        Err(SubmitError::Upload { why, retry }) => {
            Ok(AttemptResult { retry, ..attempt.end(Outcome::Failed, why) })
        }
        Err(SubmitError::Rejected(why)) => Ok(attempt.end(Outcome::Rejected, why)),
        Err(SubmitError::Unreachable { error, sent }) => {
            let is_over = sleep::now() >= attempt.deadline;
            let result = attempt.end_unreachable(&error, error.to_string(), is_over);
            Ok(AttemptResult { is_unsent: !sent && !is_over, ..result })
        }
        Err(SubmitError::Deadline(error)) => {
            let cancelled = attempt.run.cancel_all();
            let retry = attempt.run.is_server_ours()
                || attempt.run.state.first_known().is_none()
                    && !matches!(cancelled, Some(Cancelled::Unknown(_)));
            let cancelled = cancelled.map_or("never seen there".into(), |it| it.to_string());
            let why = format!("posting it was not answered in time ({error}); {cancelled}");
            Ok(AttemptResult { retry, ..attempt.end(Outcome::Deadline, why) })
        }
    };
    attempt.run.listener = None;
    let (now, events) = (Instant::now(), &mut attempt.run.events);
    events.intake().recorder.set_running(now, None, None);
    let nodes = events.intake().following.take().map(|mut it| it.nodes(now));
    Ok(AttemptResult { nodes: nodes.unwrap_or_default(), ..result? })
}

impl AttemptState<'_, '_> {
    /// Uploads the image and posts the prompt. The deadline counts from the POST. Returns the ids of
    /// that, and the server's.
    fn submit(&mut self) -> Result<(Ids, String), SubmitError> {
        let scene = self.scene;
        let mut workflow = scene.workflow.clone();
        for upload in &scene.uploads {
            let name = self.upload(&format!("{}.{}-", upload.node, upload.input), &upload.path)?;
            // It took the place of the name before.
            let _ = workflow.set_input(&upload.node, &upload.input, &name, None);
        }
        if let Some(path) = &scene.keyframe {
            workflow.set_keyframe(&self.upload("", path)?);
        }
        self.submitted = Instant::now();
        self.deadline = sleep::now() + self.run.options.max_wait;
        self.show("posting");
        let Posted { ids, id, broken } = self.run.submit(&scene.id, &workflow, self.deadline)?;
        let took = self.submitted.elapsed().as_secs_f64();
        let line = format!("Wan2 prompt queued: prompt_id={id} duration={took:.1}s");
        self.run.log(&scene.id, &line);
        self.prompt_id = Some(id.clone());
        self.broken = broken;
        Ok((ids, id))
    }

    /// Uploads a local file. Returns its name on the server.
    fn upload(&mut self, place: &str, path: &Path) -> Result<String, SubmitError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.show(&format!("uploading {name}"));
        let name = file_name(&format!("{}-{place}{}", self.scene.id, file_name(&name)));
        let image = open_file(path).and_then(|mut file| {
            let mut image = Vec::new();
            file.read_to_end(&mut image)?;
            // The story may come from anywhere, and the file be another by now.
            let is_wanted = !place.is_empty() || has_image_content(&image);
            if is_wanted { Ok(image) } else { Err(io::Error::other(NO_IMAGE)) }
        });
        let image = image.map_err(|error| SubmitError::Upload {
            why: format!("{}: {error}", path.display()),
            retry: false,
        })?;
        let uploaded = self.run.upload(&self.scene.id, &name, &image, self.deadline)?;
        self.run.events.check()?;
        Ok(uploaded)
    }

    fn show(&mut self, doing: &str) {
        let started = self.run.events.intake().following.as_ref().and_then(|it| it.started);
        let running_since = started.or(self.running_since);
        self.run.show_scene(self.scene, self.number, doing, running_since);
    }

    fn poll_to_end(&mut self, ids: &Ids, mut id: String) -> Result<AttemptResult, Interrupted> {
        let mut logged: Option<ErrorKind> = None;
        loop {
            let left = sleep::left(self.deadline);
            self.run.events.wait_for_prompt(self.poller.pause().min(left))?;
            let at_deadline = sleep::now() >= self.deadline;
            let (observation, problem) = self.poll(&id)?;
            let has_ended = matches!(observation, Observation::Ended(_));
            if self.run.death().is_some() && !has_ended {
                return self.end_dead(&id, at_deadline);
            }
            match &observation {
                Observation::At(QueuePosition::Running) => {
                    self.running_since.get_or_insert_with(Instant::now);
                    self.show("running");
                }
                Observation::At(QueuePosition::Pending(before)) => {
                    self.show(&format!("queued, {before} before it"));
                }
                Observation::Failed(error) if is_refused(error) => {
                    self.show("ComfyUI does not answer");
                }
                _ => {}
            }
            let is_unread = matches!(observation, Observation::Unread(_));
            if let Some(error) = &problem
                && logged.as_ref() != Some(&error.kind)
            {
                let history = if is_unread { "HISTORY " } else { "" };
                let line = format!("{history}WARNING: {error}: polling on");
                self.run.log(&self.scene.id, &line);
                logged = Some(error.kind.clone());
            }
            match (self.poller.observe(sleep::now(), observation), problem) {
                (Decision::Continue, _) if !at_deadline => {}
                (Decision::Continue, Some(error)) if is_unread => {
                    return Ok(self.end_unreadable(&id, &error));
                }
                (Decision::Continue, Some(error)) if is_refused(&error) => {
                    let why = format!("at the deadline: {error}");
                    return Ok(self.end_unreachable(&error, why, true));
                }
                (Decision::Continue, _) => return self.end_at_deadline(&id),
                (Decision::Ended(entry), _) => {
                    self.run.history_seen = true;
                    let Some(next) = self.next_part(ids, &id, &entry)? else {
                        self.run.state.remove_server_id(&id);
                        return self.complete(entry);
                    };
                    self.parts.push(*entry);
                    id = next;
                }
                (Decision::Lost, _) => return Ok(self.end_lost(&id)),
                (Decision::Unreadable(error), _) => return Ok(self.end_unreadable(&id, &error)),
                (Decision::Unreachable(error), _) => {
                    let time = self.run.gone_after().as_secs();
                    let why = format!("refused for {time} s on end: {error}");
                    return Ok(self.end_unreachable(&error, why, at_deadline));
                }
            }
        }
    }

    /// The attempt of a prompt that has left the queue, so that nothing of it runs.
    fn end_unreadable(&mut self, id: &str, error: &HttpError) -> AttemptResult {
        self.run.state.remove_server_id(id);
        self.end(Outcome::Lost, format!("{HISTORY_UNREADABLE} ({error})"))
    }

    /// The attempt of a server that is away. One that is started again costs this attempt at most.
    fn end_unreachable(&mut self, error: &HttpError, why: String, is_over: bool) -> AttemptResult {
        if !self.run.restarts_server() {
            return self.end(Outcome::Unreachable, why);
        }
        if is_over {
            let why = format!("not finished, ComfyUI went away ({error})");
            return AttemptResult { retry: true, ..self.end(Outcome::Deadline, why) };
        }
        self.run.look_at_server();
        self.run.set_death(Death::Gone);
        let why = self.run.death_text();
        AttemptResult { retry: true, ..self.end(Outcome::Lost, format!("ComfyUI died: {why}")) }
    }

    /// The attempt under which the server has died. One that is not started again may still hold the
    /// prompt.
    fn end_dead(&mut self, id: &str, is_over: bool) -> Result<AttemptResult, Interrupted> {
        self.run.hear_last_words()?;
        let mut why = self.run.death_text();
        let retry = self.run.is_revived();
        if !retry {
            why = format!("{why}; {}", self.run.cancel(id));
        }
        let outcome = if is_over { Outcome::Deadline } else { Outcome::Lost };
        Ok(AttemptResult { retry, ..self.end(outcome, why) })
    }

    /// The id under which the prompt goes on: nodes such as `VideoHelperSuite`'s meta batch queue the
    /// rest of their work themselves, with the client id of our POST.
    fn next_part(
        &mut self,
        ids: &Ids,
        id: &str,
        entry: &HistoryEntry,
    ) -> Result<Option<String>, Interrupted> {
        if entry.outcome != PromptOutcome::Success {
            return Ok(None);
        }
        self.known.push(id.to_owned());
        // The rest may already be over; a part that was over at once may have been passed by.
        let in_history = entry.is_unfinished || !self.parts.is_empty();
        let is_open = entry.is_unfinished && self.parts.iter().all(|part| part.is_unfinished);
        let mut looks = if is_open { 10 } else { 1 };
        loop {
            self.run.events.check()?;
            let found = self.run.client.find_other(&ids.client, &self.known, in_history);
            if let Ok(Some(next)) = found {
                self.run.set_server_id(ids, &next);
                let line = format!("goes on as another prompt: prompt_id={next}");
                self.run.log(&self.scene.id, &line);
                return Ok(Some(next));
            }
            looks -= 1;
            if looks == 0 || sleep::now() >= self.deadline {
                return Ok(None);
            }
            self.run.events.wait(LOOK_AGAIN)?;
        }
    }

    /// One poll: the history, then the queue, then the history again, since a prompt may have gone
    /// from one to the other in between. Beside it the error to be logged.
    fn poll(&mut self, id: &str) -> Result<(Observation, Option<HttpError>), Interrupted> {
        let failed = |error: HttpError| Ok((Observation::Failed(error.clone()), Some(error)));
        self.run.look_at_server();
        let unread = match self.run.client.history(id) {
            Ok(Some(entry)) => return Ok((self.ended(entry), None)),
            Ok(None) => None,
            Err(error) if is_refused(&error) => return failed(error),
            Err(error) => Some(error),
        };
        self.run.events.check()?;
        let asked = Instant::now();
        let queue = match self.run.client.queue() {
            Ok(queue) => queue,
            Err(error) => return failed(unread.unwrap_or(error)),
        };
        // What came meanwhile belongs to what was known before this answer.
        self.run.events.check()?;
        self.run.cancel_late(&queue);
        self.run.watch_queue(&queue);
        self.run.count_foreign(queue.running.iter().map(|prompt| prompt.id.as_str()));
        let position = queue.position(id);
        if !self.is_exact() {
            let running = (position == QueuePosition::Running).then_some(&*self.scene.id);
            self.run.events.intake().recorder.set_running(asked, running, None);
        }
        if position != QueuePosition::Absent {
            return Ok((Observation::At(position), unread));
        }
        Ok(match self.run.client.history(id) {
            Ok(Some(entry)) => (self.ended(entry), unread),
            Ok(None) => (Observation::At(QueuePosition::Absent), unread),
            Err(error) => (Observation::Unread(error.clone()), Some(error)),
        })
    }

    fn ended(&mut self, entry: HistoryEntry) -> Observation {
        self.run.events.drain();
        self.run.server.health.take_progress();
        if !self.is_exact() {
            self.run.events.intake().recorder.set_running(Instant::now(), None, None);
        }
        Observation::Ended(Box::new(entry))
    }

    /// Whether the server tells what runs, so that polls need not.
    fn is_exact(&self) -> bool {
        self.run.events.intake().following.as_ref().is_some_and(|following| following.is_exact)
    }

    /// `node 3 KSampler (12 of 20)`, if that is known.
    fn place(&self) -> Option<String> {
        self.run.events.intake().following.as_ref()?.place()
    }

    fn end_at_deadline(&mut self, id: &str) -> Result<AttemptResult, Interrupted> {
        let place = self.place().map(|place| format!(" in {place}"));
        let place = place.unwrap_or_else(|| ", never finished".to_owned());
        let state = match self.running_since {
            None if self.poller.was_queued => "queued all the time".to_owned(),
            None => "whether it ran is not known, its polls failed".to_owned(),
            Some(since) => match since.saturating_duration_since(self.submitted).as_secs() {
                0..=3 => format!("running all the time{place}"),
                queued => format!("queued {queued} s, then running{place}"),
            },
        };
        let cancelled = self.run.cancel(id);
        let is_gone = matches!(cancelled, Cancelled::Gone);
        let retry = is_gone || self.run.is_server_ours();
        if is_gone
            && let Ok(Some(entry)) = self.run.client.history(id)
            && entry.outcome != PromptOutcome::Interrupted
        {
            // It came to its own end while it was cancelled.
            return self.complete(Box::new(entry));
        }
        let why = format!("{state}; {cancelled}");
        Ok(AttemptResult { retry, ..self.end(Outcome::Deadline, why) })
    }

    fn end_lost(&mut self, id: &str) -> AttemptResult {
        self.run.state.remove_server_id(id);
        let refused = self.run.events.intake().recorder.refused_since(self.submitted);
        let restarted = self.poller.was_refused
            || refused.is_some()
            || (self.run.history_seen && self.run.client.history_is_empty().unwrap_or(false));
        if restarted {
            self.run.history_seen = false;
            let at = hms(refused.unwrap_or_else(|| self.run.clock.now()));
            let why = format!("server restarted {at}");
            AttemptResult { retry: true, ..self.end(Outcome::Lost, why) }
        } else {
            let why = "gone from the queue without a history entry: somebody removed it";
            self.end(Outcome::Lost, why.to_owned())
        }
    }

    /// The attempt of a prompt with a history entry: its outcome, its files downloaded.
    fn complete(&mut self, mut entry: Box<HistoryEntry>) -> Result<AttemptResult, Interrupted> {
        for part in std::mem::take(&mut self.parts).into_iter().rev() {
            entry.prepend(part);
        }
        if entry.outcome == PromptOutcome::Success {
            self.run.expand_sequences(&mut entry.files)?;
        }
        // What the server says the execution took; unknown where that is more than the whole
        // attempt did, as after its clock was set.
        let most = self.submitted.elapsed() + Duration::from_secs(1);
        let server_time = entry.server_ms.map(Duration::from_millis).filter(|time| *time <= most);
        let mut result = match &entry.outcome {
            PromptOutcome::Interrupted => {
                self.end(Outcome::Interrupted, "somebody interrupted it on the server".into())
            }
            PromptOutcome::Failed { why, out_of_memory, broken } => {
                self.note_end(*broken);
                let outcome = if *out_of_memory { Outcome::OutOfMemory } else { Outcome::Failed };
                AttemptResult { retry: true, ..self.end(outcome, why.clone()) }
            }
            PromptOutcome::Success => {
                let took = seconds(server_time.unwrap_or(self.submitted.elapsed()));
                self.run.log(&self.scene.id, &format!("Wan2 execution completed ({took:.1}s)"));
                self.note_end(None);
                self.show("downloading");
                self.download(&entry)?
            }
        };
        result.record.server_seconds = server_time.map(seconds);
        result.record.cached_nodes.clone_from(&entry.cached);
        result.entry = Some(entry);
        Ok(result)
    }

    fn note_end(&mut self, broken: Option<BrokenContext>) {
        let is_ours = self.run.is_server_ours();
        if self.run.server.health.take_end(&self.scene.id, broken, is_ours) {
            self.run.set_death(Death::Context);
        }
    }

    fn download(&mut self, entry: &HistoryEntry) -> Result<AttemptResult, Interrupted> {
        let Downloaded { outputs, why, gone, timed_out } =
            self.run.download(&self.scene.id, entry)?;
        if !why.is_empty() {
            let mut result = self.end(Outcome::DownloadFailed, why);
            result.record.timed_out = timed_out;
            return Ok(AttemptResult { outputs, files_gone: gone && entry.all_cached, ..result });
        }
        let (outcome, why) = if !self.broken.is_empty() {
            (Outcome::Partial, self.broken.join("; "))
        } else if entry.is_unfinished {
            (Outcome::NoOutput, "the rest of its batch was never queued".into())
        } else if outputs.is_empty() {
            (
                Outcome::NoOutput,
                "succeeded without output files: does the workflow have a Save node?".into(),
            )
        } else if entry.all_cached {
            (Outcome::Cached, String::new())
        } else {
            (Outcome::Succeeded, String::new())
        };
        Ok(AttemptResult { outputs, ..self.end(outcome, why) })
    }

    /// The attempt, ended now.
    fn end(&self, outcome: Outcome, why: String) -> AttemptResult {
        let now = Instant::now();
        let queued_until = match (outcome, self.running_since) {
            (_, Some(since)) => since,
            // Over before a poll saw it running.
            (Outcome::Deadline | Outcome::Lost | Outcome::Unreachable, None) => now,
            (_, None) => self.submitted,
        };
        let since_submitted = |at: Instant| seconds(at.saturating_duration_since(self.submitted));
        AttemptResult {
            record: Attempt {
                outcome,
                why,
                prompt_id: self.prompt_id.clone(),
                seconds: since_submitted(now),
                queued_seconds: since_submitted(queued_until),
                polls: self.poller.polls,
                server_starts: self.run.record.server.starts.len(),
                ..Attempt::default()
            },
            ..AttemptResult::default()
        }
    }
}

impl RunContext<'_> {
    /// Sets the live row of a scene: which of how many it is, what is done, and since when the server
    /// executes it.
    pub(super) fn show_scene(
        &self,
        scene: &Scene,
        number: (usize, usize),
        doing: &str,
        running_since: Option<Instant>,
    ) {
        let progress = SceneProgress {
            name: scene.id.clone(),
            names: self.name_width,
            number,
            doing: doing.to_owned(),
            running_since,
            expected: self.expected_time(scene.workflow.node_count()),
        };
        let what = Activity::Scene(progress);
        self.events.console.set_live(Some(LiveRow { since: self.scene_begun, what }));
    }

    /// Notes prompts that run and are not ours; the first one is logged.
    fn count_foreign<'i>(&mut self, running: impl Iterator<Item = &'i str>) {
        for id in running {
            if self.state.is_ours(id) || self.foreign_prompts.len() >= MOST_FOREIGN_PROMPTS {
                continue;
            }
            if self.foreign_prompts.is_empty() {
                let line = "Another client's prompt is running: its memory is in the figures";
                self.events.console.log(line);
            }
            self.foreign_prompts.insert(id.to_owned());
        }
    }
}

/// To the millisecond, as the files show it.
pub fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}
