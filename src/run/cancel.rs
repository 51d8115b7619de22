//! Cancelling prompts of ours, and watching until they are gone.

use std::fmt;
use std::time::{Duration, Instant};

use super::context::RunContext;
use crate::comfyui::{HttpError, Queue, QueuePosition};
use crate::sleep;

/// How long a cancelled prompt is watched.
const WATCHED_FOR: Duration = Duration::from_secs(5);
/// Between two looks for a prompt whose POST was not answered.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Between two cancels of a prompt that is watched.
const CANCEL_AGAIN: Duration = Duration::from_secs(1);

/// What became of a cancelled prompt; as text, the end of a sentence.
#[derive(Debug)]
pub enum Cancelled {
    /// The queue holds it no longer.
    Gone,
    /// It was cancelled and still runs.
    StillRunning,
    /// It was sent, and the server does not know it so far.
    Unseen,
    /// The server did not answer.
    Unknown(HttpError),
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cancelled::Gone => f.write_str("cancelled on the server"),
            Cancelled::StillRunning => f.write_str("cancelled, but still running"),
            Cancelled::Unseen => {
                f.write_str("not on the server so far; should it yet come, it is cancelled then")
            }
            Cancelled::Unknown(error) => write!(f, "cancelled, but not known to be gone ({error})"),
        }
    }
}

impl RunContext<'_> {
    /// Cancels a prompt and polls until it is gone, for 5 s; starts over once if only one of the
    /// two calls failed. An interrupt does not cut this short.
    pub fn cancel(&mut self, id: &str) -> Cancelled {
        let mut started_over = false;
        let mut asked = self.client.cancel(id);
        let mut asked_at = Instant::now();
        // A route that is silent at first takes none of the time that the next one's effect has.
        let mut until = sleep::now() + WATCHED_FOR;
        let mut pause = Duration::from_millis(50);
        loop {
            self.events.drain();
            let queue = self.client.queue();
            if let (Ok(queue), Ok(())) = (&queue, &asked)
                && queue.position(id) == QueuePosition::Absent
            {
                self.state.remove_server_id(id);
                return Cancelled::Gone;
            }
            if queue.is_err() && asked.is_err() && self.events.intake().interrupted {
                until = sleep::now();
            }
            // One silence may have taken all of the time from a server that answers again.
            if queue.is_ok() != asked.is_ok() && !std::mem::replace(&mut started_over, true) {
                until = sleep::now() + WATCHED_FOR;
            }
            if sleep::now() >= until {
                return match (queue, asked) {
                    (Ok(_), Ok(())) => Cancelled::StillRunning,
                    (Err(error), _) | (_, Err(error)) => Cancelled::Unknown(error),
                };
            }
            self.events.wait_ignoring_interrupt(pause);
            pause = (pause * 2).min(Duration::from_millis(500));
            if asked.is_err() || asked_at.elapsed() >= CANCEL_AGAIN {
                asked = self.client.cancel(id);
                asked_at = Instant::now();
            }
        }
    }

    /// Cancels every prompt of ours that may still run. Returns what became of the last one that
    /// did not go, else of the last one; none where there was nothing to cancel.
    pub fn cancel_all(&mut self) -> Option<Cancelled> {
        let looked = self.look_for_unseen();
        let known: Vec<_> =
            self.state.prompts().iter().filter_map(|prompt| prompt.server_id.clone()).collect();
        let cancelled: Vec<_> = known.iter().map(|id| self.cancel(id)).collect();
        let unseen = looked.err().map_or(Cancelled::Unseen, Cancelled::Unknown);
        let unseen = Some(unseen).filter(|_| !self.state.unseen().is_empty());
        let all = cancelled.into_iter().chain(unseen);
        all.reduce(|last, next| if matches!(next, Cancelled::Gone) { last } else { next })
    }

    /// Looks for the prompts whose POST was not answered, until none turns up for a second: a
    /// stalled server may read one only then. A server that does not answer is asked for up to 5 s.
    fn look_for_unseen(&mut self) -> Result<(), HttpError> {
        let is_hurried = self.events.intake().interrupted;
        let until = sleep::now() + if is_hurried { LOOK_AGAIN } else { WATCHED_FOR };
        let mut looked = false;
        loop {
            match self.find_unseen() {
                Ok(true) => continue,
                Ok(false) if looked || self.state.unseen().is_empty() => return Ok(()),
                Ok(false) => looked = true,
                Err(_) if sleep::now() < until => {}
                Err(error) => return Err(error),
            }
            self.events.wait_ignoring_interrupt(LOOK_AGAIN);
        }
    }

    /// Looks once for the prompts whose POST was not answered. Returns whether one turned up: it is a
    /// known one then.
    ///
    /// # Errors
    /// Same as [`Client::find_sent`](crate::comfyui::Client::find_sent).
    pub fn find_unseen(&mut self) -> Result<bool, HttpError> {
        let unseen = self.state.unseen();
        let found = if unseen.is_empty() { None } else { self.client.find_sent(&unseen)? };
        if let Some((ids, id)) = &found {
            self.state.set_server_id(ids, id);
        }
        Ok(found.is_some())
    }

    /// Cancels a prompt that turns up in the queue though its POST was given up.
    pub fn cancel_late(&mut self, queue: &Queue) {
        let Some((ids, id)) = queue.find_sent(&self.state.unseen()) else { return };
        self.state.set_server_id(&ids, &id);
        let mut prompts = self.state.prompts().iter();
        let scene = prompts.find(|it| it.ids == ids).map(|it| it.scene.clone()).unwrap_or_default();
        let cancelled = self.cancel(&id);
        self.warn(&scene, &format!("a POST that was given up has arrived late: {cancelled}"));
    }
}
