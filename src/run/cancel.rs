//! The end of prompts of ours that may still run: asked for, and seen.

use std::time::{Duration, Instant};

use super::events::EventLoop;
use super::state_file::StateFile;
use crate::comfyui::{Client, HttpError, Ids, QueuePosition};

/// How long a cancelled prompt is watched.
const SEEN_GONE_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks for a prompt whose answer was lost.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often a prompt is asked to end while it is watched.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What became of asking for a prompt's end.
#[derive(Debug)]
pub enum Cancelled {
    /// It is in neither list of the queue.
    Gone,
    /// It was asked and still runs.
    StillRunning,
    /// The server did not say.
    Unknown(HttpError),
}

impl Cancelled {
    /// For the end of a sentence.
    pub fn words(&self) -> String {
        match self {
            Cancelled::Gone => "cancelled and seen gone".to_owned(),
            Cancelled::StillRunning => "cancel asked, still running".to_owned(),
            Cancelled::Unknown(error) => format!("cancel asked, not seen gone ({error})"),
        }
    }
}

/// Who cancels: it knows the server, and the ledger of the prompts.
pub struct Canceller<'a> {
    /// The server.
    pub client: &'a Client,
    /// The one wait.
    pub events: &'a mut EventLoop,
    /// Every prompt of ours not yet seen gone.
    pub ledger: &'a mut StateFile,
}

impl Canceller<'_> {
    /// Asks for the end of a prompt and watches it go, for up to 5 s; once anew where the server has
    /// left a call unanswered and another one not. An interrupt does not cut this short.
    pub fn one(&mut self, id: &str) -> Cancelled {
        let mut until = Instant::now() + SEEN_GONE_WITHIN;
        let mut patient = false;
        let mut asked = self.client.cancel(id);
        let mut asked_at = Instant::now();
        let mut pause = Duration::from_millis(50);
        loop {
            self.events.drain();
            let seen = self.client.queue();
            if let (Ok(queue), Ok(())) = (&seen, &asked)
                && queue.position(id) == QueuePosition::Absent
            {
                self.ledger.gone(id);
                return Cancelled::Gone;
            }
            // One silence may have taken all of the time from a server that answers again.
            if seen.is_ok() != asked.is_ok() && !std::mem::replace(&mut patient, true) {
                until = Instant::now() + SEEN_GONE_WITHIN;
            }
            if Instant::now() >= until {
                return match (seen, asked) {
                    (Ok(_), Ok(())) => Cancelled::StillRunning,
                    (Err(error), _) | (_, Err(error)) => Cancelled::Unknown(error),
                };
            }
            self.events.wait_ignoring_interrupt(pause);
            pause = (pause * 2).min(Duration::from_millis(500));
            if asked.is_err() || asked_at.elapsed() >= ASK_AGAIN {
                asked = self.client.cancel(id);
                asked_at = Instant::now();
            }
        }
    }

    /// Cancels everything of ours that may still run. Returns what became of the last one that
    /// did not go, else of the last one.
    pub fn all(&mut self) -> Option<Cancelled> {
        let mut last = None;
        for prompt in self.ledger.prompts().to_vec() {
            let id = match prompt.accepted {
                Some(id) => id,
                None => match self.find_twice(&prompt.ids) {
                    Ok(Some(id)) => {
                        self.ledger.accepted(&prompt.ids, &id);
                        id
                    }
                    Ok(None) => {
                        self.ledger.forget(&prompt.ids);
                        continue;
                    }
                    Err(error) => {
                        last = Some(Cancelled::Unknown(error));
                        continue;
                    }
                },
            };
            let cancelled = self.one(&id);
            if !matches!((&last, &cancelled), (Some(_), Cancelled::Gone)) {
                last = Some(cancelled);
            }
        }
        last
    }

    /// Looks for a prompt whose POST was not answered, and once more a second later: a stalled
    /// server may read it only then. One that does not answer is asked for up to 5 s.
    fn find_twice(&mut self, ids: &Ids) -> Result<Option<String>, HttpError> {
        let until = Instant::now() + SEEN_GONE_WITHIN;
        let mut looked = false;
        loop {
            match self.client.find_prompt(ids) {
                Ok(None) if !looked => looked = true,
                Err(_) if Instant::now() < until => {}
                found => return found,
            }
            self.events.wait_ignoring_interrupt(LOOK_AGAIN);
        }
    }
}
