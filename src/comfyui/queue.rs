//! `GET /queue`: what runs and what waits.

use serde_json::Value;

use super::json::Step;
use super::prompt::{Ids, is_valid_id, posted_with};

/// The prompts that are running or waiting.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// `queue_running`; on today's servers one prompt at most.
    pub running: Vec<QueueItem>,
    /// `queue_pending`, in the order of the server's heap, which is not that of the numbers.
    pub pending: Vec<QueueItem>,
}

/// A prompt in the queue.
#[derive(Clone, Debug)]
pub struct QueueItem {
    /// Its prompt id.
    pub id: String,
    client: Option<String>,
    /// The lowest is next.
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

/// Of each prompt in the queue its number, its id and its client: 700 of them have 23 MB.
pub(super) fn is_wanted(steps: &[Step]) -> bool {
    match steps {
        [_, _, Step::Place(3), Step::Field(name)] => name == "client_id",
        [_, _, Step::Place(item)] => matches!(item, 0 | 1 | 3),
        _ => steps.len() < 3,
    }
}

impl Queue {
    pub(super) fn parse(answer: &Value) -> Result<Self, &'static str> {
        let items = |key| {
            // An item without an id may be ours: such a list does not show that ours is gone.
            let items = answer[key].as_array()?.iter().map(QueueItem::parse);
            let mut items: Vec<_> = items.collect::<Option<_>>()?;
            items.retain(|item| is_valid_id(&item.id));
            Some(items)
        };
        let both = items("queue_running").zip(items("queue_pending"));
        let (running, pending) = both.ok_or("an answer without its arrays")?;
        Ok(Queue { running, pending })
    }

    /// A queue of prompts by their ids.
    #[cfg(test)]
    pub(crate) fn example(running: &[&str], pending: &[&str]) -> Self {
        let item = |id: &&str| QueueItem { id: (*id).to_owned(), client: None, number: 0.0 };
        Queue {
            running: running.iter().map(item).collect(),
            pending: pending.iter().map(item).collect(),
        }
    }

    /// Where a prompt stands.
    pub fn position(&self, id: &str) -> QueuePosition {
        if self.running.iter().any(|item| item.id == id) {
            return QueuePosition::Running;
        }
        let Some(ours) = self.pending.iter().find(|item| item.id == id) else {
            return QueuePosition::Absent;
        };
        let before = self.pending.iter().filter(|item| item.number < ours.number);
        QueuePosition::Pending(before.count() + self.running.len())
    }

    /// The first of these prompts that is in the queue, with the server's id for it.
    pub fn find_sent(&self, sent: &[Ids]) -> Option<(Ids, String)> {
        self.find(posted_with(sent))
    }

    /// What `pick` makes of the first prompt that it takes, by its id and its client.
    pub(super) fn find<T>(&self, pick: impl Fn(&str, Option<&str>) -> Option<T>) -> Option<T> {
        let mut items = self.running.iter().chain(&self.pending);
        items.find_map(|item| pick(&item.id, item.client.as_deref()))
    }

    /// How many prompts are running or waiting.
    pub fn count(&self) -> usize {
        self.running.len() + self.pending.len()
    }
}

impl QueueItem {
    fn parse(item: &Value) -> Option<Self> {
        Some(QueueItem {
            id: item[1].as_str()?.to_owned(),
            client: item[3]["client_id"].as_str().map(str::to_owned),
            number: item[0].as_f64().unwrap_or(f64::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_queue_is_ordered_by_number_not_as_the_heap_lies() {
        let item = |number: i64, id: &str| json!([number, id, {}, {"client_id": "c"}, ["3"]]);
        let queue = Queue::parse(&json!({
            "queue_running": [item(0, "run")],
            "queue_pending": [item(-7, "front"), item(2, "b"), item(1, "a")],
        }))
        .unwrap();
        assert_eq!(queue.position("run"), QueuePosition::Running);
        assert_eq!(queue.position("front"), QueuePosition::Pending(1));
        assert_eq!(queue.position("b"), QueuePosition::Pending(3));
        assert_eq!(queue.position("x"), QueuePosition::Absent);
        assert!(Queue::parse(&json!({"queue_running": []})).is_err());
    }

    #[test]
    fn an_id_that_controls_the_terminal_is_no_prompt() {
        let queue = json!({"queue_running": [[0, "\u{1b}[31m", {}, {}, []], [1, "", {}, {}, []]],
            "queue_pending": []});
        assert_eq!(Queue::parse(&queue).unwrap().count(), 0);
    }

    #[test]
    fn a_queue_with_a_prompt_that_has_no_id_says_nothing() {
        for item in [json!(null), json!([0]), json!([0, null, {}, {}, []]), json!({"1": "x"})] {
            for (running, pending) in [(json!([item]), json!([])), (json!([]), json!([item]))] {
                let queue = json!({"queue_running": running, "queue_pending": pending});
                assert!(Queue::parse(&queue).is_err(), "{queue}");
            }
        }
    }
}
