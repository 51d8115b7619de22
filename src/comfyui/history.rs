//! `GET /history`: how a prompt ended, and the files that it made.

use std::collections::HashSet;
use std::io::{self, Write};

use serde_json::Value;

use super::broken_contexts::{BrokenContext, broken_context};
use super::json::{self, Step, in_node_order, nodes_in_order};
use super::memory_errors::is_out_of_memory;
use super::prompt::{error_line, is_valid_id};
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
        /// What it tells of the server's process.
        broken: Option<BrokenContext>,
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

impl OutputFile {
    /// The n-th file of a sequence that is listed by its pattern alone, as `VideoHelperSuite` does
    /// with formats of pictures: `a_00001.%03d.png`. None for a name.
    pub fn of_sequence(&self, n: usize) -> Option<OutputFile> {
        let (before, rest) = self.filename.split_once('%')?;
        let (width, after) = rest.split_once('d')?;
        let width: usize = width.parse().ok().filter(|width| (1..=9).contains(width))?;
        Some(OutputFile { filename: format!("{before}{n:0width$}{after}"), ..self.clone() })
    }
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
    /// The entry as the server sent it, indented up to 1 MiB; above 8 MiB without its graph.
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
            PromptOutcome::Failed { why, out_of_memory: false, broken: None }
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
            raw: entry.to_string(),
            cached,
        })
    }

    /// Adds an earlier part of the same work.
    pub fn prepend(&mut self, earlier: HistoryEntry) {
        let HistoryEntry { mut files, mut texts, server_ms, all_cached, is_unfinished, .. } =
            earlier;
        files.retain(|file| !self.files.contains(file));
        files.append(&mut self.files);
        texts.append(&mut self.texts);
        (self.files, self.texts) = (files, texts);
        self.server_ms = self.server_ms.zip(server_ms).map(|(later, earlier)| earlier + later);
        self.all_cached &= all_cached;
        // The last part may have been read before one that was missed at first.
        self.is_unfinished &= is_unfinished;
    }

    #[cfg(test)]
    pub(crate) fn example() -> Self {
        HistoryEntry::parse(&serde_json::json!({"status": {"status_str": "success"}})).unwrap()
    }
}

/// So many items of a list that a node shows are looked at: a list may be a picture's numbers.
const MOST_ITEMS: usize = 1 << 16;

/// Of an entry all but its graph, what was posted beside it, its `meta`, and the ends of long lists.
pub(super) fn is_wanted(steps: &[Step]) -> bool {
    match steps {
        [_, Step::Field(part), Step::Place(place), ..] if part == "prompt" => {
            !matches!(place, 2 | 3)
        }
        [_, Step::Field(part), ..] if part == "meta" => false,
        [_, Step::Field(part), .., Step::Place(place)] if part == "outputs" => *place < MOST_ITEMS,
        _ => true,
    }
}

/// Of several entries their ids, and the clients that posted them.
pub(super) fn is_client(steps: &[Step]) -> bool {
    match steps {
        [] | [_] => true,
        [_, Step::Field(prompt), item @ ..] if prompt == "prompt" => match item {
            [] | [Step::Place(3)] => true,
            [_, Step::Field(name)] => name == "client_id",
            _ => false,
        },
        _ => false,
    }
}

/// The id of an entry, of several of `/history`, by its id and its client.
pub(super) fn find<T>(
    history: &Value,
    pick: impl Fn(&str, Option<&str>) -> Option<T>,
) -> Option<T> {
    let mut entries = history.as_object()?.iter().filter(|(id, _)| is_valid_id(id));
    entries.find_map(|(id, entry)| pick(id, entry["prompt"][3]["client_id"].as_str()))
}

/// The answer to `GET /history/{id}` as it came, up to 8 MiB.
#[derive(Default)]
pub(super) struct Copy {
    text: Vec<u8>,
    is_cut: bool,
}

impl Write for Copy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        const MOST: usize = 8 << 20;
        self.is_cut |= self.text.len() + bytes.len() > MOST;
        if !self.is_cut {
            self.text.extend(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Copy {
    /// The entry of that id, indented up to 1 MiB: indentation can make deep values a hundred times
    /// as long. None where it was cut.
    pub(super) fn entry(self, id: &str) -> Option<String> {
        const LONGEST: usize = 1 << 20;
        let text = String::from_utf8(self.text).ok().filter(|_| !self.is_cut)?;
        if text.len() <= LONGEST {
            return Some(format!("{:#}", json::parse(text.as_bytes())?[id]));
        }
        // `{"<id>": {…}}`
        let (_, entry) = text.split_once(':')?;
        Some(entry.trim().strip_suffix('}')?.to_owned())
    }
}

fn failure(error: &Value) -> PromptOutcome {
    let field = |key: &str| sanitize_line(error[key].as_str().unwrap_or_default().trim());
    let (kind, message) = (field("exception_type"), field("exception_message"));
    let out_of_memory = is_out_of_memory(&kind, &message);
    let broken = if out_of_memory { None } else { broken_context(&message) };
    let raised = if message.is_empty() { kind } else { format!("{kind}: {message}") };
    let why = format!("node {} {}: {raised}", field("node_id"), field("node_type"));
    PromptOutcome::Failed { why: error_line(&why), out_of_memory, broken }
}

/// Every object with a `filename`, whatever list it stands in (core `SaveVideo` lists its mp4 under
/// `images`), and the 3D files that nodes name only as a string: `{"result": ["3d/a.glb", null]}`
/// (core `Preview3D`).
fn output_files(outputs: &Value) -> Vec<OutputFile> {
    let mut found = Vec::new();
    for (_, node) in nodes_in_order(outputs) {
        collect_files(node, &mut found);
        found.extend(node["result"][0].as_str().and_then(model_file));
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
                let field = |key: &str| value[key].as_str().filter(|text| !text.is_empty());
                // An empty name stands for no file.
                if !filename.is_empty() {
                    found.push(OutputFile {
                        filename: filename.to_owned(),
                        subfolder: field("subfolder").unwrap_or_default().to_owned(),
                        // What a node means that does not say.
                        kind: field("type").unwrap_or("output").to_owned(),
                    });
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
    let is_whole = path.starts_with('/') || path.contains(':');
    let is_model = !is_whole && MODELS.contains(&&*extension(filename));
    let [filename, subfolder] = [filename, subfolder].map(str::to_owned);
    is_model.then(|| OutputFile { filename, subfolder, kind: "output".to_owned() })
}

/// The texts that nodes show: `{"text": ["…"]}` of a node that lists no file (core `PreviewAny`,
/// `ShowText` of pythongosssss, and many others). A list may hold numbers and objects, and a node
/// that gave one string where a list belongs has a list of its characters there (Easy-Use).
fn output_texts(outputs: &Value) -> Vec<(String, String)> {
    let texts = |(id, node): (&str, &Value)| {
        let mut files = Vec::new();
        collect_files(node, &mut files);
        let items = node["text"].as_array().filter(|_| files.is_empty())?;
        let line = |item: &Value| match item.get("text").unwrap_or(item) {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let is_character = |item: &Value| item.as_str().is_some_and(|it| it.chars().count() == 1);
        let between = if items.iter().all(is_character) { "" } else { "\n" };
        let text = items.iter().map(line).collect::<Vec<_>>().join(between);
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
        let copy = |text: &str| {
            let mut copy = Copy::default();
            copy.write_all(text.as_bytes()).unwrap();
            copy.entry("x")
        };
        let deep = format!("{}{}1{}", "[".repeat(100), "1,".repeat(1 << 20), "]".repeat(100));
        assert_eq!(
            copy(&format!("{{\"x\": {{\"a\":{deep}}}}}")).unwrap(),
            format!("{{\"a\":{deep}}}")
        );
        assert_eq!(copy(r#"{"x": {"status": {}}}"#).unwrap(), "{\n  \"status\": {}\n}");
        assert_eq!(copy(&format!("{{\"x\": \"{}\"}}", "a".repeat(32 << 20))), None);
    }

    #[test]
    fn of_a_large_answer_what_is_needed_is_kept() {
        let entry = json!({"prompt": [0, "a", {"1": {}}, {"client_id": "c", "x": [1]}, ["1"]],
            "status": {"status_str": "success"}, "outputs": {"1": {"images": [1]}}});
        let answer = json!({ "a": entry }).to_string();
        let part = |keep| json::parse_part(answer.as_bytes(), keep, io::sink()).unwrap();
        assert_eq!(
            part(&is_wanted),
            json!({"a": {"prompt": [0, "a", null, null, ["1"]],
                "status": {"status_str": "success"}, "outputs": {"1": {"images": [1]}}}})
        );
        assert_eq!(
            part(&is_client),
            json!({"a": {"prompt": [null, null, null, {"client_id": "c", "x": null}],
                "status": null, "outputs": null}})
        );
        assert_eq!(
            find(&part(&is_client), |id, client| (client == Some("c")).then(|| id.to_owned()))
                .unwrap(),
            "a"
        );
    }

    #[test]
    fn a_pattern_is_a_sequence() {
        let named = |filename: &str| OutputFile {
            filename: filename.into(),
            subfolder: String::new(),
            kind: "output".into(),
        };
        let of = |name: &str| named(name).of_sequence(12).map(|file| file.filename);
        assert_eq!(of("a_00001.%03d.png").unwrap(), "a_00001.012.png");
        for name in ["a.png", "100%.png", "a%d.png", "%date:dd%.png", "a%0012d"] {
            assert_eq!(of(name), None, "{name}");
        }
    }

    #[test]
    fn what_nodes_list_is_found_whatever_its_shape() {
        for (outputs, files, texts) in [
            // Without a type, of an input, without a name.
            (
                json!({"1": {"x": [{"filename": "a.png"}, {"filename": "b.png", "type": "input"},
                    {"filename": "", "type": "output"}]}}),
                vec![("", "a.png")],
                vec![],
            ),
            // core Preview3D, Hunyuan3DWrapper on Windows, a whole path, a picture behind it.
            (
                json!({"1": {"result": ["3d/H_1_.glb", null, null]}, "2": {"result": ["3D\\x\\m.obj"]},
                    "3": {"result": ["/srv/ComfyUI/output/a/b.ply", null, "temp/bg_0.png"]},
                    "4": {"result": ["/etc/x.stl", null]}, "5": {"result": ["v1.0"]}}),
                vec![("3d", "H_1_.glb"), ("3D/x", "m.obj"), ("a", "b.ply")],
                vec![],
            ),
            // PreviewAny, Easy-Use's characters, numbers and objects, the caption of a preview.
            (
                json!({"1": {"text": ["one", "two"]}, "2": {"text": ["5", "1", "2"]},
                    "3": {"text": [7, null, {"text": "in"}]}, "4": {"value": ["x"], "text": []},
                    "5": {"text": ["16x512"], "images": [{"filename": "p.png", "type": "temp"}]}}),
                vec![("", "p.png")],
                vec![("1", "one\ntwo"), ("2", "512"), ("3", "7\n\nin")],
            ),
        ] {
            let found = entry("success", &json!([]), &outputs, &json!(["1"]));
            let names: Vec<_> =
                found.files.iter().map(|file| (&*file.subfolder, &*file.filename)).collect();
            let shown: Vec<_> = found.texts.iter().map(|(id, text)| (&**id, &**text)).collect();
            assert_eq!((names, shown), (files, texts));
        }
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
            let PromptOutcome::Failed { why, out_of_memory, .. } = end(kind, message) else {
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
