//! The server's state, shared by its connections, the executor and the test.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::config::Config;
use super::faults::Plan;
use super::http::Request;

pub const FOREVER: Duration = Duration::from_secs(86_400);

#[derive(Clone, Debug)]
pub struct Prompt {
    pub id: String,
    pub graph: Map<String, Value>,
    pub outputs: Vec<String>,
    /// As `/queue` and `/history` show it: number, id, graph, extra data, outputs.
    pub item: Value,
}

impl Prompt {
    pub fn client(&self) -> Option<&str> {
        self.item[3]["client_id"].as_str()
    }
}

/// Folder (`output`, `temp`, `input`), subfolder and name of a file.
pub type FilePath = (String, String, String);

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent of each other")]
pub struct State {
    /// Waiting prompts, in the order in which they will run.
    pub pending: Vec<Prompt>,
    pub running: Option<Prompt>,
    /// Entries of ended prompts by id, oldest first.
    pub history: Vec<(String, Value)>,
    /// Bytes of the first device in use whatever runs.
    pub base_memory: u64,
    pub held_memory: u64,
    /// Bytes held by loaded models, until `/free`.
    pub model_memory: u64,
    pub files: HashMap<FilePath, Arc<[u8]>>,
    /// In order of arrival.
    pub requests: Vec<Request>,
    /// Name, subfolder and size of every upload.
    pub uploads: Vec<(String, String, usize)>,
    /// What websockets tell: the client that hears it, or all.
    pub frames: Vec<(Option<String>, Value)>,
    /// The websockets that are open.
    pub sockets: Vec<u64>,
    /// Of the running prompt, or of the last one: its nodes so far, as `progress_state` has them.
    pub progress: Map<String, Value>,
    pub posted: usize,
    pub executed: usize,
    pub(super) next_number: usize,
    /// `/free` was asked for and is not done yet.
    pub(super) free: bool,
    pub(super) interrupted: bool,
    pub(super) finish: bool,
    /// Grows when the running prompt is dropped, which tells the executor to forget it.
    pub(super) generation: u64,
    pub(super) cache: HashMap<String, Option<Value>>,
    /// Messages of the `FailOnce` nodes that have failed.
    pub(super) failed_once: HashSet<String>,
    /// The thread that executes prompts has died.
    pub(super) worker_dead: bool,
    pub(super) faults: Vec<Plan>,
    pub(super) faults_cleared: u64,
    pub(super) closed: bool,
}

impl State {
    pub fn is_idle(&self) -> bool {
        self.running.is_none() && self.pending.is_empty()
    }

    pub(super) fn status(&self) -> Value {
        let running = usize::from(self.running.is_some());
        json!({"exec_info": {"queue_remaining": self.pending.len() + running}})
    }

    /// Tells all clients how long the queue is.
    pub(super) fn tell_queue(&mut self) {
        self.tell(None, "status", &json!({"status": self.status()}));
    }

    pub(super) fn tell(&mut self, client: Option<&str>, name: &str, data: &Value) {
        self.frames.push((client.map(str::to_owned), json!({"type": name, "data": data})));
    }

    /// How many requests had a `METHOD /path` that starts so.
    pub fn asked(&self, route: &str) -> usize {
        self.requests.iter().filter(|request| request.is(route)).count()
    }

    pub fn running_id(&self) -> Option<&str> {
        self.running.as_ref().map(|prompt| prompt.id.as_str())
    }

    pub(super) fn delete_pending(&mut self, id: &str) -> bool {
        let before = self.pending.len();
        self.pending.retain(|prompt| prompt.id != id);
        self.tell_queue();
        self.pending.len() < before
    }

    pub(super) fn interrupt(&mut self, id: &str) -> bool {
        let runs = self.running_id() == Some(id);
        self.interrupted |= runs;
        runs
    }

    pub(super) fn drop_prompts(&mut self) {
        self.generation += 1;
        self.pending.clear();
        self.running = None;
        self.held_memory = 0;
    }

    pub(super) fn restart(&mut self) {
        self.drop_prompts();
        self.history.clear();
        self.next_number = 0;
        self.worker_dead = false;
        self.free_memory();
    }

    pub(super) fn free_memory(&mut self) {
        self.free = false;
        self.model_memory = 0;
        self.cache.clear();
    }

    /// Saves a file under the next free number of its prefix. Returns it as a node lists it.
    pub(super) fn save(&mut self, folder: &str, prefix: &str, end: &str, bytes: &[u8]) -> Value {
        let (subfolder, stem) = prefix.rsplit_once('/').unwrap_or(("", prefix));
        let name = |number| format!("{stem}_{number:05}_.{end}");
        let path = |number| (folder.to_owned(), subfolder.to_owned(), name(number));
        let is_free = |path: &FilePath| !self.files.contains_key(path);
        let path = (1..99_999).map(path).find(is_free).expect("a free number");
        let listed = json!({"filename": path.2, "subfolder": subfolder, "type": folder});
        self.files.insert(path, bytes.into());
        listed
    }
}

/// The state behind its lock, and a condition variable for its changes.
pub struct Shared {
    pub config: Config,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    pub fn new(config: Config) -> Self {
        let base_memory = config.devices.first().map_or(0, |device| device.used);
        let mut state = State { base_memory, ..State::default() };
        let kept = config.files.iter().flat_map(std::fs::read_dir).flatten().flatten();
        for file in kept {
            let name = file.file_name().into_string().expect("a name of ours");
            let (folder, subfolder, name) = match name.split('@').collect::<Vec<_>>()[..] {
                [folder, subfolder, name] => (folder.into(), subfolder.into(), name.into()),
                _ => continue,
            };
            let bytes = std::fs::read(file.path()).expect("a file of ours");
            state.files.insert((folder, subfolder, name), bytes.into());
        }
        let state = Mutex::new(state);
        Self { config, state, changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.lock())
    }

    /// Changes the state and wakes everybody who waits for a change.
    pub fn update<T>(&self, update: impl FnOnce(&mut State) -> T) -> T {
        let result = update(&mut self.lock());
        self.changed.notify_all();
        result
    }

    pub fn wait_until(&self, timeout: Duration, mut condition: impl FnMut(&State) -> bool) -> bool {
        let wait = |state: &mut State| !condition(state);
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, wait);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}
