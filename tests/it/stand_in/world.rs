//! The server's state, and waiting for it to change.

use std::collections::{HashMap, HashSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::config::Config;
use super::faults::Faults;
use super::files::Files;
use super::http::Request;

/// A prompt in the queue.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Its place: lower runs first.
    pub number: i64,
    /// Its id.
    pub id: String,
    /// Node id to node.
    pub graph: Map<String, Value>,
    /// The extra data: `client_id`, if it came with one.
    pub extra: Map<String, Value>,
    /// The output nodes that validation let through.
    pub outputs: Vec<String>,
}

impl Prompt {
    /// As `/queue` and `/history` show it.
    pub fn item(&self) -> Value {
        json!([self.number, self.id, self.graph, self.extra, self.outputs])
    }
}

/// The first device's memory, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// In use whatever runs.
    pub base: u64,
    /// Held by the node that executes.
    pub held: u64,
    /// Held by loaded models, until `/free`.
    pub models: u64,
}

/// What `/free` asked for and the executor has not done yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Free {
    /// Models go.
    pub unload_models: bool,
    /// Models and the cache go.
    pub free_memory: bool,
}

/// Everything that the server knows. Tests look at it in `StandIn::wait_until`.
#[derive(Default)]
pub struct State {
    /// Waiting prompts, in the order in which they will run.
    pub pending: Vec<Prompt>,
    /// The prompt that executes.
    pub running: Option<Prompt>,
    /// Ended prompts, oldest first.
    pub history: Vec<(String, Value)>,
    /// Memory of the first device.
    pub memory: Memory,
    /// Files that `/view` knows.
    pub files: Files,
    /// Requests in order of arrival.
    pub requests: Vec<Request>,
    /// Uploads: name, subfolder, bytes.
    pub uploads: Vec<(String, String, usize)>,
    /// Accepted prompts.
    pub posted: usize,
    /// Prompts in which a node executed.
    pub executed: usize,
    /// The next prompt's number.
    pub(super) number: i64,
    /// What `/free` left to do.
    pub(super) free: Free,
    /// When the running prompt was told to stop.
    pub(super) interrupt: Option<Instant>,
    /// What runs is to come to its end.
    pub(super) finish: bool,
    /// Grows when what runs is to vanish without a trace.
    pub(super) epoch: u64,
    /// Signature of an executed node to what it showed.
    pub(super) cache: HashMap<u64, Option<Value>>,
    /// Messages of `FailOnce` nodes that have failed.
    pub(super) failed_once: HashSet<String>,
    /// Planned misbehaviour.
    pub(super) faults: Faults,
    /// The stand-in is being dropped.
    pub(super) closed: bool,
}

impl State {
    /// Whether nothing runs and nothing waits.
    pub fn is_idle(&self) -> bool {
        self.running.is_none() && self.pending.is_empty()
    }

    /// How many requests had a `METHOD /path` that starts so.
    pub fn asked(&self, route: &str) -> usize {
        self.requests.iter().filter(|request| request.is(route)).count()
    }

    /// The id of the prompt that runs.
    pub fn running_id(&self) -> Option<&str> {
        self.running.as_ref().map(|prompt| prompt.id.as_str())
    }

    /// Takes one pending prompt of that id out of the queue.
    pub(super) fn delete_pending(&mut self, id: &str) -> bool {
        let found = self.pending.iter().position(|prompt| prompt.id == id);
        found.map(|at| self.pending.remove(at)).is_some()
    }

    /// Tells whatever runs to stop.
    pub(super) fn interrupt_running(&mut self) {
        self.interrupt.get_or_insert_with(Instant::now);
    }

    /// Tells the running prompt to stop, if it is that one.
    pub(super) fn interrupt_if_running(&mut self, id: &str) -> bool {
        let runs = self.running_id() == Some(id);
        if runs {
            self.interrupt_running();
        }
        runs
    }

    /// Queue and running prompt vanish.
    pub(super) fn drop_prompts(&mut self) {
        self.epoch += 1;
        self.pending.clear();
        self.running = None;
        self.memory.held = 0;
    }

    /// What a new process does not know.
    pub(super) fn forget(&mut self) {
        self.drop_prompts();
        self.history.clear();
        self.cache.clear();
        self.memory.models = 0;
        self.free = Free::default();
        self.number = 0;
    }

    /// Does what `/free` asked for.
    pub(super) fn act_on_free(&mut self) {
        let free = std::mem::take(&mut self.free);
        if free.unload_models || free.free_memory {
            self.memory.models = 0;
        }
        if free.free_memory {
            self.cache.clear();
        }
    }

    /// Whether `/free` left something to do.
    pub(super) fn free_asked(&self) -> bool {
        self.free.unload_models || self.free.free_memory
    }
}

/// The state behind its lock, with a bell that rings at every change.
pub struct World {
    /// What the server is like.
    pub config: Config,
    state: Mutex<State>,
    changed: Condvar,
}

impl World {
    /// A server that has just started.
    pub fn new(config: Config) -> Self {
        let base = config.devices.first().map_or(0, |device| device.used);
        let state = State { memory: Memory { base, ..Memory::default() }, ..State::default() };
        Self { config, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads something.
    pub fn look<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.lock())
    }

    /// Changes something and wakes everybody who waits for it.
    pub fn change<T>(&self, write: impl FnOnce(&mut State) -> T) -> T {
        let result = write(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Wakes everybody who waits, for a change outside the state.
    pub fn ring(&self) {
        drop(self.lock());
        self.changed.notify_all();
    }

    /// Waits, without end, until the condition holds.
    pub fn wait(&self, mut condition: impl FnMut(&State) -> bool) {
        drop(
            self.changed
                .wait_while(self.lock(), |state| !condition(state))
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Waits until the condition holds, or the time is over: whether it held.
    pub fn wait_until(&self, timeout: Duration, mut condition: impl FnMut(&State) -> bool) -> bool {
        let (state, result) = self
            .changed
            .wait_timeout_while(self.lock(), timeout, |state| !condition(state))
            .unwrap_or_else(PoisonError::into_inner);
        drop(state);
        !result.timed_out()
    }
}
