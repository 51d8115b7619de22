//! `GET /history`: how a prompt ended, and the files that it made.

use std::collections::HashSet;

use serde_json::Value;

use super::json::{in_node_order, nodes_in_order};
use super::memory_errors::is_out_of_memory;
use super::prompt::{Ids, error_line, is_valid_id};
use crate::fs::extension;
use crate::sanitize::sanitize_line;

/// How a prompt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptOutcome {
    /// `success`, and no message says otherwise.
    Success,
    /// A node raised an exception, or the status is unknown.
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
    /// How it ended.
    pub outcome: PromptOutcome,
    /// The ids of the nodes that were taken from the cache, in node order.
    pub cached: Vec<String>,
    /// Every output came from the cache: nothing was executed.
    pub all_cached: bool,
    /// Milliseconds from `execution_start` to the end, by the server's clock.
    pub server_ms: Option<u64>,
    /// When it succeeded: Unix time in milliseconds, by the server's clock.
    pub success_ms: Option<u64>,
    /// The files it lists, in node order; those of `temp` only where there is no `output`.
    pub files: Vec<OutputFile>,
    /// The texts that nodes show, by node id, in node order.
    pub texts: Vec<(String, String)>,
    /// A node has queued the rest of its work as another prompt (`unfinished_batch` of
    /// `VideoHelperSuite`'s meta batch).
    pub is_unfinished: bool,
    /// The entry as the server sent it; indented up to 1 MiB.
    pub raw: String,
}

impl HistoryEntry {
    pub(super) fn parse(entry: &Value) -> Result<Self, &'static str> {
        let status = entry.get("status").ok_or("an entry without status")?;
        // Of a message `[name, data]` the data.
        let find = |name: &str| {
            let messages = status["messages"].as_array().into_iter().flatten();
            messages.filter(|message| message[0] == name).find_map(|message| message.get(1))
        };
        let outcome = if find("execution_interrupted").is_some() {
            PromptOutcome::Interrupted
        } else if let Some(error) = find("execution_error") {
            failure(error)
        } else if status["status_str"] == "success" {
            PromptOutcome::Success
        } else {
            let status = status["status_str"].as_str().unwrap_or("no status");
            let why = sanitize_line(&format!("the server says: {status}"));
            PromptOutcome::Failed { why, out_of_memory: false }
        };
        let cached = find("execution_cached").and_then(|data| data["nodes"].as_array());
        let cached = cached.into_iter().flatten().filter_map(Value::as_str).collect();
        let cached: Vec<String> = in_node_order(cached).into_iter().map(sanitize_line).collect();
        let known: HashSet<&str> = cached.iter().map(String::as_str).collect();
        let executed = entry["prompt"][4].as_array().map(Vec::as_slice).unwrap_or_default();
        let all_cached = !executed.is_empty()
            && executed.iter().all(|id| id.as_str().is_some_and(|id| known.contains(id)));
        let time = |name| find(name).and_then(|data| data["timestamp"].as_u64());
        let ended = ["execution_success", "execution_error", "execution_interrupted"];
        // Unknown where the clock was set back in between.
        let server_ms = time("execution_start")
            .zip(ended.into_iter().find_map(time))
            .and_then(|(start, end)| end.checked_sub(start));
        Ok(HistoryEntry {
            outcome,
            all_cached,
            server_ms,
            success_ms: time("execution_success"),
            files: output_files(&entry["outputs"]),
            texts: output_texts(&entry["outputs"]),
            is_unfinished: nodes_in_order(&entry["outputs"])
                .iter()
                .any(|(_, node)| node["unfinished_batch"][0] == true),
            raw: indented(entry),
            cached,
        })
    }

    /// Adds an earlier part of the same work.
    pub fn prepend(&mut self, earlier: HistoryEntry) {
        let HistoryEntry { mut files, mut texts, server_ms, all_cached, .. } = earlier;
        files.retain(|file| !self.files.contains(file));
        files.append(&mut self.files);
        texts.append(&mut self.texts);
        (self.files, self.texts) = (files, texts);
        self.server_ms = self.server_ms.zip(server_ms).map(|(later, earlier)| earlier + later);
        self.all_cached &= all_cached;
    }

    #[cfg(test)]
    pub(crate) fn example() -> Self {
        HistoryEntry::parse(&serde_json::json!({"status": {"status_str": "success"}})).unwrap()
    }
}

/// The id of the entry, of several of `/history`, that a POST with these ids made.
pub(super) fn find(history: &Value, ids: &Ids) -> Option<String> {
    let is_ours = |(id, entry): &(&String, &Value)| {
        **id == ids.prompt
            || (entry["prompt"][3]["client_id"] == ids.client.as_str() && is_valid_id(id))
    };
    history.as_object()?.iter().find(is_ours).map(|(id, _)| id.clone())
}

/// The entry, indented up to 1 MiB: indentation can make deep values a hundred times as long.
fn indented(entry: &Value) -> String {
    const LONGEST: usize = 1 << 20;
    let text = entry.to_string();
    if text.len() > LONGEST { text } else { format!("{entry:#}") }
}

fn failure(error: &Value) -> PromptOutcome {
    let field = |key: &str| sanitize_line(error[key].as_str().unwrap_or_default().trim());
    let (kind, message) = (field("exception_type"), field("exception_message"));
    let out_of_memory = is_out_of_memory(&kind, &message);
    let raised = if message.is_empty() { kind } else { format!("{kind}: {message}") };
    let why = format!("node {} {}: {raised}", field("node_id"), field("node_type"));
    PromptOutcome::Failed { why: error_line(&why), out_of_memory }
}

/// Every object with a `filename`, whatever list it stands in (core `SaveVideo` lists its mp4 under
/// `images`), and the 3D files that nodes name only as a string: `{"result": ["3d/a.glb", null]}`
/// (core `Preview3D`).
fn output_files(outputs: &Value) -> Vec<OutputFile> {
    let mut found = Vec::new();
    for (_, node) in nodes_in_order(outputs) {
        collect_files(node, &mut found);
        let results = node["result"].as_array().into_iter().flatten();
        found.extend(results.filter_map(Value::as_str).filter_map(model_file));
    }
    let wanted = if found.iter().any(|file| file.kind == "output") { "output" } else { "temp" };
    let mut seen = HashSet::new();
    found.retain(|file| file.kind == wanted && seen.insert(file.clone()));
    found
}

fn collect_files(value: &Value, found: &mut Vec<OutputFile>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_files(item, found)),
        Value::Object(fields) => {
            if let Some(filename) = value["filename"].as_str() {
                let field = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
                let kind = match field("type") {
                    // What a node means that does not say.
                    none if none.is_empty() => "output".to_owned(),
                    kind => kind,
                };
                // An empty name stands for no file.
                if !filename.is_empty() {
                    let (filename, subfolder) = (filename.to_owned(), field("subfolder"));
                    found.push(OutputFile { filename, subfolder, kind });
                }
            } else {
                fields.values().for_each(|field| collect_files(field, found));
            }
        }
        _ => {}
    }
}

/// A 3D file named by its path in the output folder.
fn model_file(path: &str) -> Option<OutputFile> {
    const MODELS: [&str; 11] =
        ["glb", "gltf", "obj", "fbx", "stl", "ply", "usdz", "splat", "ksplat", "spz", "3mf"];
    let path = path.replace('\\', "/");
    // Of a whole path what lies below the output folder.
    let path = path.rsplit_once("/output/").map_or(&*path, |(_, below)| below);
    let (subfolder, filename) = path.rsplit_once('/').unwrap_or(("", path));
    let is_model = MODELS.contains(&&*extension(filename));
    is_model.then(|| OutputFile {
        filename: filename.to_owned(),
        subfolder: subfolder.trim_start_matches('/').to_owned(),
        kind: "output".to_owned(),
    })
}

/// The texts of each node: lists of strings (core `PreviewAny`: `{"text": ["…"]}`), but for what
/// [`output_files`] takes.
fn output_texts(outputs: &Value) -> Vec<(String, String)> {
    let texts = |(id, node): (&str, &Value)| {
        let fields = node.as_object()?.iter().filter(|(name, _)| *name != "result");
        let lists = fields.filter_map(|(_, value)| value.as_array());
        let texts: Vec<&str> = lists.flatten().filter_map(Value::as_str).collect();
        let text = texts.join("\n");
        (!text.trim().is_empty()).then(|| (id.to_owned(), text))
    };
    nodes_in_order(outputs).into_iter().filter_map(texts).collect()
}

#[cfg(test)]
mod tests {
    //! Entries cut from recordings of 0.3.64 and 0.33.0.

    use serde_json::json;

    use super::*;

    fn entry(status: &str, messages: &Value, outputs: &Value, wanted: &Value) -> HistoryEntry {
        HistoryEntry::parse(&json!({
            "prompt": [0, "id", {}, {"client_id": "e2e"}, wanted],
            "outputs": outputs,
            "status": {"status_str": status, "completed": status == "success", "messages": messages},
            "meta": {},
        }))
        .unwrap()
    }

    #[test]
    fn a_success_lists_its_files_in_node_order() {
        let file =
            |name: &str, kind: &str| json!({"filename": name, "subfolder": "video", "type": kind});
        let outputs = json!({
            "10": {"images": [file("late.png", "output")]},
            "9": {"images": [file("clip.mp4", "output")], "animated": [true]},
            "3": {"images": [file("preview.png", "temp")], "text": ["no file"]},
        });
        let messages = json!([
            ["execution_start", {"timestamp": 1_000}],
            ["execution_cached", {"nodes": ["10", "2"], "timestamp": 1_001}],
            ["execution_success", {"timestamp": 3_500}],
        ]);
        let entry = entry("success", &messages, &outputs, &json!(["9", "10"]));
        let names: Vec<_> = entry.files.iter().map(|file| file.filename.as_str()).collect();
        assert_eq!(names, ["clip.mp4", "late.png"]);
        assert_eq!(entry.outcome, PromptOutcome::Success);
        assert_eq!(entry.cached, ["2", "10"]);
        assert!(!entry.all_cached);
        assert_eq!(entry.server_ms, Some(2_500));
    }

    #[test]
    fn all_cached_means_every_output_to_execute() {
        let messages = |nodes: Value| json!([["execution_cached", {"nodes": nodes}]]);
        let cached =
            |nodes, wanted| entry("success", &messages(nodes), &json!({}), &wanted).all_cached;
        assert!(cached(json!(["1", "2", "3"]), json!(["3"])));
        assert!(!cached(json!(["1", "2"]), json!(["3"])));
        assert!(!cached(json!([]), json!([])));
    }

    #[test]
    fn previews_count_only_where_nothing_is_saved() {
        let outputs = json!({"3": {"images": [{"filename": "p.png", "type": "temp"}]}});
        let entry = entry("success", &json!([]), &outputs, &json!(["3"]));
        assert_eq!(entry.files[0].kind, "temp");
    }

    #[test]
    fn a_reason_ends_with_its_last_word() {
        // As the metadata are read back.
        let why =
            |status: &str, messages: Value| match entry(status, &messages, &json!({}), &json!([]))
                .outcome
            {
                PromptOutcome::Failed { why, .. } => why,
                end => panic!("{end:?}"),
            };
        let raised = |kind: &str| json!([["execution_error", {"node_id": "4", "node_type": "X", "exception_type": kind}]]);
        assert_eq!(why("error", raised("AssertionError")), "node 4 X: AssertionError");
        assert_eq!(why("error", raised("")), "node 4 X:");
        assert_eq!(why("", json!([])), "the server says:");
    }

    #[test]
    fn an_entry_does_not_grow_in_the_telling() {
        let deep = format!("{}{}1{}", "[".repeat(100), "1,".repeat(1 << 20), "]".repeat(100));
        let deep: Value = serde_json::from_str(&deep).unwrap();
        let entry = HistoryEntry::parse(&json!({"status": {}, "outputs": {"1": deep}})).unwrap();
        assert!(entry.raw.len() < 3 << 20, "{}", entry.raw.len());
        let small = HistoryEntry::parse(&json!({"status": {}})).unwrap();
        assert_eq!(small.raw, "{\n  \"status\": {}\n}");
    }

    #[test]
    fn a_want_of_memory_is_known_by_type_or_message() {
        let end = |kind: &str, message: &str| {
            let error = json!([["execution_error", {"node_id": "4", "node_type": "KSampler",
                "exception_type": kind, "exception_message": message}]]);
            entry("error", &error, &json!({}), &json!(["3"])).outcome
        };
        for (kind, message, wanted) in [
            ("torch.OutOfMemoryError", "Allocation on device", true),
            ("MemoryError", "", true),
            ("RuntimeError", "CUDA error: Out of memory", true),
            ("RuntimeError", "deliberate failure\n", false),
        ] {
            let PromptOutcome::Failed { why, out_of_memory } = end(kind, message) else {
                panic!("{kind}")
            };
            assert_eq!(out_of_memory, wanted, "{kind}");
            let told =
                if message.is_empty() { String::new() } else { format!(": {}", message.trim()) };
            assert_eq!(why, format!("node 4 KSampler: {kind}{told}"));
        }
    }

    #[test]
    fn interrupted_is_not_failed_and_an_unknown_status_is_no_success() {
        let interrupted = json!([["execution_interrupted", {"node_id": "4"}]]);
        assert_eq!(
            entry("error", &interrupted, &json!({}), &json!(["3"])).outcome,
            PromptOutcome::Interrupted
        );
        let end = entry("odd", &json!([]), &json!({}), &json!(["3"])).outcome;
        assert!(matches!(end, PromptOutcome::Failed { .. }), "{end:?}");
        assert!(HistoryEntry::parse(&json!({"outputs": {}})).is_err());
    }

    #[test]
    fn a_clock_that_was_set_back_tells_no_time() {
        let message = |name: &str, at: u64| json!([name, {"timestamp": at}]);
        let status = |end| {
            let messages = [message("execution_start", 5000), message("execution_success", end)];
            json!({"status": {"status_str": "success", "messages": messages}})
        };
        assert_eq!(HistoryEntry::parse(&status(5100)).unwrap().server_ms, Some(100));
        assert_eq!(HistoryEntry::parse(&status(4900)).unwrap().server_ms, None);
    }
}
