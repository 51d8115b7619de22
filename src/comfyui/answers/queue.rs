//! `GET /queue`: where a prompt stands.

use serde_json::Value;

use super::super::json::text;
use super::is_plain;

/// `GET /queue`: whose turn it is.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// Running now; on today's servers one at most.
    pub running: Vec<Queued>,
    /// Waiting, as the server's heap lies: in the order of their numbers only at the top.
    pub pending: Vec<Queued>,
}

/// A prompt in the queue.
#[derive(Clone, Debug)]
pub struct Queued {
    /// Its prompt id.
    pub id: String,
    /// The client that posted it, where it said so.
    pub client: Option<String>,
    /// Its turn: the lowest is next.
    number: f64,
}

/// Where a prompt stands in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueuePosition {
    /// It is executing.
    Running,
    /// This many are before it, the running one included.
    Pending(usize),
    /// Not in the queue: ended, or never there.
    Absent,
}

impl Queue {
    pub(in crate::comfyui) fn read(value: &Value) -> Option<Self> {
        let items = |key| {
            // One without an id may be ours: such a list does not say that we are gone.
            let items = value[key].as_array()?.iter().map(Queued::read);
            let mut items: Vec<_> = items.collect::<Option<_>>()?;
            items.retain(|item| is_plain(&item.id));
            Some(items)
        };
        Some(Queue { running: items("queue_running")?, pending: items("queue_pending")? })
    }

    /// Where the prompt stands.
    pub fn place(&self, id: &str) -> QueuePosition {
        if self.running.iter().any(|item| item.id == id) {
            return QueuePosition::Running;
        }
        let Some(ours) = self.pending.iter().find(|item| item.id == id) else {
            return QueuePosition::Absent;
        };
        let before = self.pending.iter().filter(|item| item.number < ours.number);
        QueuePosition::Pending(before.count() + self.running.len())
    }

    /// Prompts in the queue.
    pub fn len(&self) -> usize {
        self.running.len() + self.pending.len()
    }

    /// Whether nothing runs and nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Queued {
    fn read(item: &Value) -> Option<Self> {
        let id = item.get(1)?.as_str()?.to_owned();
        let client = item.get(3).and_then(|extra| text(extra, "client_id"));
        let number = item.get(0).and_then(Value::as_f64).unwrap_or(f64::MAX);
        Some(Queued { id, client, number })
    }
}
