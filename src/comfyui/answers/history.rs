//! `GET /history`: how a prompt ended, and the files that it made.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use super::super::Ids;
use super::super::json::{in_order, nodes, text};
use super::{is_plain, told};
use crate::sanitize::sanitize_line;

/// Of several entries of `/history` the id of the one that a POST with these ids made.
pub(in crate::comfyui) fn posted_with(history: &Value, ids: &Ids) -> Option<String> {
    let ours = |(id, entry): &(&String, &Value)| {
        **id == ids.prompt
            || (entry["prompt"][3]["client_id"] == ids.client.as_str() && is_plain(id))
    };
    history.as_object()?.iter().find(ours).map(|(id, _)| id.clone())
}

/// How a prompt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptOutcome {
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
pub struct HistoryEntry {
    /// How.
    pub end: PromptOutcome,
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

impl HistoryEntry {
    pub(in crate::comfyui) fn read(entry: &Value) -> Option<Self> {
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
            PromptOutcome::Interrupted
        } else if let Some(error) = find("execution_error") {
            failure(error)
        } else if status["status_str"] == "success" {
            PromptOutcome::Success
        } else {
            let said = text(status, "status_str").unwrap_or_else(|| "no status".to_owned());
            let why = sanitize_line(&format!("the server says: {said}"));
            PromptOutcome::Failed { why, out_of_memory: false }
        };
        let cached = find("execution_cached").and_then(|data| data["nodes"].as_array());
        let cached = cached.into_iter().flatten().filter_map(Value::as_str).collect();
        let cached: Vec<String> = in_order(cached).into_iter().map(sanitize_line).collect();
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
        Some(HistoryEntry {
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

fn failure(error: &Value) -> PromptOutcome {
    let field = |key| text(error, key).map(|s| sanitize_line(s.trim())).unwrap_or_default();
    let (kind, message) = (field("exception_type"), field("exception_message"));
    let lower = message.to_lowercase();
    let out_of_memory = kind.ends_with("OutOfMemoryError")
        || lower.contains("out of memory")
        || lower.contains("can't allocate memory");
    let raised = if message.is_empty() { kind } else { format!("{kind}: {message}") };
    let why = format!("node {} {}: {raised}", field("node_id"), field("node_type"));
    PromptOutcome::Failed { why: told(&why), out_of_memory }
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
