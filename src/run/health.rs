//! What polls and failures tell of the server's health. Time is a value passed in.

use std::fmt;
use std::time::{Duration, Instant};

use crate::comfyui::{BrokenContext, Queue};

/// Something waits and nothing runs for this long: nothing will be executed any more.
const IDLE_FOR: Duration = Duration::from_secs(30);
/// The same behind a `/free`, which unloads models first.
const IDLE_AFTER_FREE: Duration = Duration::from_secs(120);

/// Why a server has to be started anew; as text, what it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Its port refuses connections.
    Gone,
    /// Its output shows that the thread has died that executes prompts.
    Worker,
    /// It answers, something waits, and nothing runs.
    Idle,
    /// A node's error says that its process can use the GPU no more.
    Context,
    /// A prompt past its deadline does not go, or nothing is answered.
    Stuck,
    /// `ComfyUI-Manager` has asked for it.
    Restart,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Death::Gone => "it went away",
            Death::Worker => "its worker died",
            Death::Idle => {
                "ComfyUI answers but executes nothing: its worker has died, or its queue is paused"
            }
            Death::Context => "it cannot use its GPU any more",
            Death::Stuck => "no cancel reaches a prompt past its deadline",
            Death::Restart => "ComfyUI-Manager restarted it",
        })
    }
}

/// What is counted over attempts and scenes.
#[derive(Debug, Default)]
pub struct Health {
    /// How long something has waited while nothing ran.
    idle: Duration,
    /// The latest answer that showed that.
    seen_idle: Option<Instant>,
    freed: bool,
    /// The scene of the latest attempt, where that failed by a broken context.
    broken: Option<String>,
}

impl Health {
    /// Takes an answered poll of the queue. Returns whether the server executes nothing any more.
    pub fn take_queue(&mut self, now: Instant, queue: &Queue) -> bool {
        if !queue.running.is_empty() {
            self.take_progress();
            return false;
        }
        if queue.pending.is_empty() {
            self.seen_idle = None;
            return false;
        }
        if let Some(before) = self.seen_idle.replace(now) {
            self.idle += now.saturating_duration_since(before);
        }
        self.idle >= if self.freed { IDLE_AFTER_FREE } else { IDLE_FOR }
    }

    /// A prompt runs, or has ended.
    pub fn take_progress(&mut self) {
        *self = Health { broken: self.broken.take(), ..Health::default() };
    }

    /// The server was told to free its memory.
    pub fn take_free(&mut self) {
        self.freed = true;
    }

    /// Takes the end of an attempt that was executed. Returns whether the server's context is broken.
    /// `certain_at_once`: the server is ours, so that one failure costs no more than a start.
    pub fn take_end(
        &mut self,
        scene: &str,
        broken: Option<BrokenContext>,
        certain_at_once: bool,
    ) -> bool {
        let before = std::mem::replace(&mut self.broken, broken.map(|_| scene.to_owned()));
        match broken {
            None => false,
            Some(BrokenContext::Certain) if certain_at_once => true,
            Some(_) if certain_at_once => before.is_some(),
            Some(_) => before.is_some_and(|other| other != scene),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comfyui::Queue;

    #[test]
    fn a_server_is_idle_after_thirty_seconds_in_all() {
        let (start, mut health) = (Instant::now(), Health::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        let (waits, runs) = (Queue::example(&[], &["a"]), Queue::example(&["a"], &["b"]));
        assert!(!health.take_queue(at(0), &waits));
        assert!(!health.take_queue(at(20), &waits));
        // Cancelled at its deadline; the time until the next scene waits does not count.
        assert!(!health.take_queue(at(21), &Queue::default()));
        assert!(!health.take_queue(at(50), &waits));
        assert!(!health.take_queue(at(59), &waits));
        assert!(health.take_queue(at(60), &waits));
        assert!(!health.take_queue(at(61), &runs));
        assert!(!health.take_queue(at(62), &waits));
        health.take_free();
        assert!(!health.take_queue(at(120), &waits));
        assert!(health.take_queue(at(182), &waits));
    }

    #[test]
    fn a_broken_context_is_certain_at_once_or_in_the_next_scene() {
        use BrokenContext::{Certain, IfRepeated};
        for (ours, ends, wanted) in [
            (true, vec![("a", Some(Certain))], true),
            (true, vec![("a", Some(IfRepeated))], false),
            (true, vec![("a", Some(IfRepeated)), ("a", Some(IfRepeated))], true),
            (true, vec![("a", Some(IfRepeated)), ("b", None), ("c", Some(IfRepeated))], false),
            (false, vec![("a", Some(Certain)), ("a", Some(Certain))], false),
            (false, vec![("a", Some(Certain)), ("a", Some(Certain)), ("b", Some(Certain))], true),
        ] {
            let mut health = Health::default();
            let mut last = false;
            for (scene, broken) in &ends {
                last = health.take_end(scene, *broken, ours);
            }
            assert_eq!(last, wanted, "{ours} {ends:?}");
        }
    }
}
