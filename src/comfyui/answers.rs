//! What `ComfyUI` answers, as small typed values. Facts of 0.3.64 and 0.33.0, where not said else.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use super::Ids;
use super::json::{in_order, nodes, text};
use crate::nearest::nearest;
use crate::text::{clean, shortened};
use crate::vram::reading::{HIGHEST_MB, MB, Reading, is_system_ram, to_mb};

/// `GET /system_stats`.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// `system.comfyui_version`.
    pub comfyui: Option<String>,
    /// `system.pytorch_version`.
    pub pytorch: Option<String>,
    /// `system.python_version`, its first word.
    pub python: Option<String>,
    /// `devices[]`, the primary first.
    pub devices: Vec<Device>,
}

/// One of the server's devices.
#[derive(Clone, Debug)]
pub struct Device {
    /// As the server calls it: `cuda:0 NVIDIA GeForce RTX 3090 : cudaMallocAsync`.
    pub name: String,
    /// `cuda`, `cpu`, `mps`, … Of `cpu` and `mps` the figures are system memory.
    pub kind: String,
    /// The server's own number for it.
    pub index: Option<u64>,
    /// Its memory, where the answer holds figures for it.
    pub memory: Option<Reading>,
}

impl Stats {
    pub(super) fn read(value: &Value) -> Self {
        let system = &value["system"];
        let ram = bytes(system, "ram_total")
            .zip(bytes(system, "ram_free"))
            .map(|(total, free)| total.saturating_sub(free));
        let devices = value["devices"].as_array().map(Vec::as_slice).unwrap_or_default();
        Stats {
            comfyui: text(system, "comfyui_version").map(|s| clean(&s)),
            pytorch: text(system, "pytorch_version").map(|s| clean(&s)),
            python: text(system, "python_version")
                .and_then(|version| version.split_whitespace().next().map(clean)),
            devices: devices.iter().map(|device| Device::read(device, ram)).collect(),
        }
    }
}

impl Device {
    /// Whether its figures are the machine's own memory.
    #[must_use]
    pub fn is_ram(&self) -> bool {
        is_system_ram(&self.kind)
    }

    fn read(value: &Value, ram: Option<u64>) -> Self {
        let kind = clean(&text(value, "type").unwrap_or_default());
        Device {
            name: clean(&text(value, "name").unwrap_or_default()),
            index: value["index"].as_u64(),
            // DirectML tells a constant.
            memory: memory(value, kind == "cuda", ram).filter(|_| kind != "privateuseone"),
            kind,
        }
    }
}

/// Used is what live tensors hold. The driver's figure adds torch's idle cache, which
/// `vram_free` counts as free. Presence decides, not truth: 0 is a value.
fn memory(device: &Value, cuda: bool, ram: Option<u64>) -> Option<Reading> {
    let either = |key, in_mb| bytes(device, key).or_else(|| bytes(device, in_mb)?.checked_mul(MB));
    let total = either("vram_total", "total_mem_mb");
    let free = either("vram_free", "free_mem_mb");
    let used = total
        .zip(free)
        .map(|(total, free)| total.saturating_sub(free))
        .or_else(|| either("vram_used", "used_mem_mb"))?;
    let idle = bytes(device, "torch_vram_free");
    let driver = total
        .zip(free)
        .zip(idle)
        .filter(|_| cuda)
        .map(|((total, free), idle)| total.saturating_sub(free.saturating_sub(idle)));
    let reading = Reading {
        used: to_mb(used),
        free: free.map(to_mb),
        total: total.map(to_mb),
        driver: driver.map(to_mb),
        ram: ram.map(to_mb),
    };
    let figures = [Some(reading.used), reading.free, reading.total, reading.driver, reading.ram];
    figures.into_iter().flatten().all(|mb| mb <= HIGHEST_MB).then_some(reading)
}

/// A size that may come as an integer or as a float; anything else is absent.
fn bytes(value: &Value, key: &str) -> Option<u64> {
    let number = value.get(key)?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked to be in range
    number
        .as_u64()
        .or_else(|| number.as_f64().filter(|f| (0.0..1e18).contains(f)).map(|f| f as u64))
}

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
pub enum Place {
    /// It is executing.
    Running,
    /// This many are before it, the running one included.
    Pending(usize),
    /// Not in the queue: ended, or never there.
    Absent,
}

impl Queue {
    pub(super) fn read(value: &Value) -> Option<Self> {
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
    #[must_use]
    pub fn place(&self, id: &str) -> Place {
        if self.running.iter().any(|item| item.id == id) {
            return Place::Running;
        }
        let Some(ours) = self.pending.iter().find(|item| item.id == id) else {
            return Place::Absent;
        };
        let before = self.pending.iter().filter(|item| item.number < ours.number);
        Place::Pending(before.count() + self.running.len())
    }

    /// Prompts in the queue.
    #[must_use]
    pub fn len(&self) -> usize {
        self.running.len() + self.pending.len()
    }

    /// Whether nothing runs and nothing waits.
    #[must_use]
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

/// Whether a prompt's id can be shown and asked for: it has characters, and none that control.
fn is_plain(id: &str) -> bool {
    !id.is_empty() && clean(id) == id
}

/// What became of a `POST /prompt`.
#[derive(Clone, Debug)]
pub enum Submission {
    /// Queued under this id. `broken`: outputs that were dropped, each with its reason.
    Accepted {
        /// The server's id for it; an old server ignores ours.
        id: String,
        /// One line a broken node.
        broken: Vec<String>,
    },
    /// Refused, with the reasons.
    Rejected(String),
}

impl Submission {
    /// What the answer says of the prompt; none if it says nothing.
    pub(super) fn read(status: u16, value: &Value) -> Option<Self> {
        let broken = node_errors(&value["node_errors"]);
        match status {
            200 => {
                let id = value["prompt_id"].as_str().filter(|id| is_plain(id))?;
                Some(Submission::Accepted { id: id.to_owned(), broken })
            }
            400 if broken.is_empty() => refusal(value).map(Submission::Rejected),
            400 => Some(Submission::Rejected(listed(broken))),
            _ => None,
        }
    }
}

/// As many of the nodes as a line has room for.
fn listed(mut broken: Vec<String>) -> String {
    const SHOWN: usize = 20;
    if let Some(more) = broken.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        broken.truncate(SHOWN);
        broken.push(format!("and {more} more node{}", if more == 1 { "" } else { "s" }));
    }
    broken.join("; ")
}

/// One line a node of `node_errors`: `node 4 CheckpointLoaderSimple ckpt_name: …`.
fn node_errors(value: &Value) -> Vec<String> {
    let of_node = |(id, node): (&str, &Value)| {
        let class = text(node, "class_type").unwrap_or_default();
        let errors = node["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut errors: Vec<_> = errors.iter().map(node_error).collect();
        errors.sort_unstable(); // the server's order within a node is not stable
        told(&format!("node {id} {class} {}", errors.join(", ")))
    };
    nodes(value).into_iter().map(of_node).collect()
}

fn node_error(error: &Value) -> String {
    let details = text(error, "details").unwrap_or_default();
    let extra = &error["extra_info"];
    let received = extra["received_value"].as_str();
    if let (Some("value_not_in_list"), Some(input), Some(received)) =
        (error["type"].as_str(), extra["input_name"].as_str(), received)
    {
        let config = &extra["input_config"];
        let list = config[0].as_array().or_else(|| config[1]["options"].as_array());
        return not_in_list(input, received, list.map(Vec::as_slice).unwrap_or_default());
    }
    let message = text(error, "message").unwrap_or_else(|| "refused".to_owned());
    if details.is_empty() { message } else { format!("{details}: {message}") }
}

/// The text of a value that is none of those that the server has.
pub(super) fn not_in_list(input: &str, received: &str, list: &[Value]) -> String {
    let near = nearest(received, list.iter().filter_map(Value::as_str));
    let near = near.map(|near| format!(" (nearest: '{near}')")).unwrap_or_default();
    format!("{input}: '{received}' is not in the server's list{near}")
}

/// The message of a refusal that names no node.
fn refusal(value: &Value) -> Option<String> {
    let error = &value["error"];
    let message = error.as_str().map(str::to_owned).or_else(|| text(error, "message"))?;
    let details =
        text(error, "details").filter(|details| !details.is_empty() && *details != message);
    Some(told(&details.map_or(message.clone(), |details| format!("{message} ({details})"))))
}

/// Of several entries of `/history` the id of the one that a POST with these ids made.
pub(super) fn posted_with(history: &Value, ids: &Ids) -> Option<String> {
    let ours = |(id, entry): &(&String, &Value)| {
        **id == ids.prompt
            || (entry["prompt"][3]["client_id"] == ids.client.as_str() && is_plain(id))
    };
    history.as_object()?.iter().find(ours).map(|(id, _)| id.clone())
}

/// The name that an uploaded image has for a `LoadImage` node.
pub(super) fn uploaded(value: &Value) -> Option<String> {
    let name = value["name"].as_str()?;
    Some(match value["subfolder"].as_str() {
        None | Some("") => name.to_owned(),
        Some(folder) => format!("{folder}/{name}"),
    })
}

/// How a prompt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// `success`, and no message says otherwise.
    Success,
    /// A node raised. Its message, and whether it is a want of memory.
    Failed {
        /// `node 4 KSampler: RuntimeError: …`, one line.
        why: String,
        /// The exception is an out-of-memory error by its type or its message.
        out_of_memory: bool,
    },
    /// Somebody interrupted it.
    Interrupted,
}

/// A file that a prompt made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OutputFile {
    /// Its name on the server; not to be trusted as a path.
    pub filename: String,
    /// Its folder under the server's.
    pub subfolder: String,
    /// `output` or `temp`.
    pub kind: String,
}

/// An entry of `/history`: a prompt that has ended.
#[derive(Clone, Debug)]
pub struct Entry {
    /// How.
    pub end: End,
    /// The nodes that were taken from the cache, in node order.
    pub cached: Vec<String>,
    /// Every output came from the cache: nothing was executed.
    pub all_cached: bool,
    /// Milliseconds from `execution_start` to the end, by the server's clock.
    pub server_ms: Option<u64>,
    /// When it succeeded: milliseconds since 1970, by the server's clock.
    pub success_ms: Option<u64>,
    /// The files it lists, in node order; those of `temp` only where there is no `output`.
    pub files: Vec<OutputFile>,
    /// The entry as the server sent it; indented up to 1 MiB.
    pub raw: String,
}

impl Entry {
    pub(super) fn read(entry: &Value) -> Option<Self> {
        let status = entry.get("status")?;
        let messages: Vec<(&str, &Value)> = status["messages"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
            .iter()
            .filter_map(|message| Some((message.get(0)?.as_str()?, message.get(1)?)))
            .collect();
        let find = |name| messages.iter().find(|(kind, _)| *kind == name).map(|(_, data)| *data);
        let end = if find("execution_interrupted").is_some() {
            End::Interrupted
        } else if let Some(error) = find("execution_error") {
            failure(error)
        } else if status["status_str"] == "success" {
            End::Success
        } else {
            let said = text(status, "status_str").unwrap_or_else(|| "no status".to_owned());
            let why = clean(&format!("the server says: {said}"));
            End::Failed { why, out_of_memory: false }
        };
        let cached = find("execution_cached").and_then(|data| data["nodes"].as_array());
        let cached = cached.into_iter().flatten().filter_map(Value::as_str).collect();
        let cached: Vec<String> = in_order(cached).into_iter().map(clean).collect();
        let mut known = BTreeSet::new();
        known.extend(cached.iter().map(String::as_str));
        let wanted = entry["prompt"][4].as_array().map(Vec::as_slice).unwrap_or_default();
        let all_cached = !wanted.is_empty()
            && wanted.iter().all(|id| id.as_str().is_some_and(|id| known.contains(id)));
        let time = |name| find(name).and_then(|data| data["timestamp"].as_u64());
        let ended = ["execution_success", "execution_error", "execution_interrupted"];
        // A clock that was set back in between makes it unknown, not nothing.
        let server_ms = time("execution_start")
            .zip(ended.into_iter().find_map(time))
            .and_then(|(start, end)| end.checked_sub(start));
        Some(Entry {
            end,
            all_cached,
            server_ms,
            success_ms: time("execution_success"),
            files: files(&entry["outputs"]),
            raw: indented(entry),
            cached,
        })
    }
}

/// Deep values are mostly indentation, which can make a text a hundred times as long.
fn indented(entry: &Value) -> String {
    const LONGEST: usize = 1 << 20;
    let text = entry.to_string();
    if text.len() > LONGEST {
        return text;
    }
    serde_json::to_string_pretty(entry).unwrap_or(text)
}

fn failure(error: &Value) -> End {
    let field = |key| text(error, key).map(|s| clean(s.trim())).unwrap_or_default();
    let (kind, message) = (field("exception_type"), field("exception_message"));
    let lower = message.to_lowercase();
    let out_of_memory = kind.ends_with("OutOfMemoryError")
        || lower.contains("out of memory")
        || lower.contains("can't allocate memory");
    let raised = if message.is_empty() { kind } else { format!("{kind}: {message}") };
    let why = format!("node {} {}: {raised}", field("node_id"), field("node_type"));
    End::Failed { why: told(&why), out_of_memory }
}

/// What the server says, as a line has room for it. Of weights that do not fit a model `PyTorch`
/// lists every one, which can be megabytes; the history file has them all.
fn told(text: &str) -> String {
    const LONGEST: usize = 1000;
    shortened(&clean(text), LONGEST)
}

/// Any object with a string `filename` is a file, whatever list it stands in: core `SaveVideo`
/// lists its mp4 under `images`.
fn files(outputs: &Value) -> Vec<OutputFile> {
    let mut found = Vec::new();
    for (_, node) in nodes(outputs) {
        collect(node, &mut found);
    }
    let mut seen = HashSet::new();
    found.retain(|file| seen.insert(file.clone()));
    let wanted = if found.iter().any(|file| file.kind == "output") { "output" } else { "temp" };
    found.retain(|file| file.kind == wanted);
    found
}

fn collect(value: &Value, found: &mut Vec<OutputFile>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => {
            if let Some(filename) = text(value, "filename") {
                let field = |key| text(value, key).unwrap_or_default();
                found.push(OutputFile {
                    filename,
                    subfolder: field("subfolder"),
                    kind: field("type"),
                });
            } else {
                fields.values().for_each(|field| collect(field, found));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
