//! An attempt while it goes on, and what it left once it is over.

use std::time::{Duration, Instant};

use super::poll::Poller;
use crate::report::record::{Attempt, Outcome, Output};

/// What an attempt left.
pub struct AttemptResult {
    /// Its record.
    pub record: Attempt,
    /// Its files.
    pub outputs: Vec<Output>,
    /// Its history entry, as the server sent it.
    pub history: Option<String>,
    /// When it succeeded: milliseconds since 1970, by the server's clock.
    pub success_ms: Option<u64>,
    /// Every output came from the cache.
    pub all_cached: bool,
    /// Another attempt may help, and nothing of this one is left on the server.
    pub again: bool,
    /// A file of a cached scene is gone: it has to be made anew.
    pub files_gone: bool,
}

/// The parts of an attempt that are known while it goes on.
pub struct AttemptState {
    /// When it was submitted.
    pub begun: Instant,
    /// When it has to have ended.
    pub deadline: Instant,
    /// The server's id of the prompt.
    pub prompt_id: Option<String>,
    /// The outputs that the server dropped, one line a node.
    pub broken: Vec<String>,
    /// What the polls have shown.
    pub follow: Poller,
}

impl AttemptState {
    /// It has ended so, now.
    pub fn ended(&self, outcome: Outcome, why: String) -> AttemptResult {
        let now = Instant::now();
        let queued_until = match (outcome, self.follow.running_since) {
            (_, Some(since)) => since,
            // Over before a poll saw it running.
            (Outcome::Deadline | Outcome::Lost | Outcome::Unreachable, None) => now,
            (_, None) => self.begun,
        };
        AttemptResult {
            record: Attempt {
                outcome,
                why,
                prompt_id: self.prompt_id.clone(),
                seconds: seconds(now.saturating_duration_since(self.begun)),
                queued_seconds: seconds(queued_until.saturating_duration_since(self.begun)),
                server_seconds: None,
                polls: self.follow.polls,
                cached_nodes: Vec::new(),
                freed: false,
            },
            outputs: Vec::new(),
            history: None,
            success_ms: None,
            all_cached: false,
            again: false,
            files_gone: false,
        }
    }
}

impl AttemptResult {
    /// Another attempt may help.
    pub fn again(mut self) -> Self {
        self.again = true;
        self
    }
}

/// To the millisecond, as the files show it.
pub fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}
