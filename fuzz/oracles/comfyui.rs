//! The server's answers, read from any body.

use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};

use super::client::{CONNECT, uploaded_name};
use super::queue::Queue;
use super::workflow::is_link;
use super::{
    HistoryEntry, ObjectInfo, Progress, PromptOutcome, QueuePosition, Submission, SystemStats,
    Target, Workflow, history, json, listener, system_stats,
};
use crate::http::{Http, never_cut_off};
use crate::properties::{are_lines, is_line};
use crate::vram::reading::HIGHEST_MB;

/// What a message of the websocket tells.
pub(crate) fn told(text: &[u8]) -> Option<(String, Progress)> {
    listener::parse(text)
}

/// A client's errors do not depend on where it is.
static HTTP: LazyLock<Http> = LazyLock::new(|| {
    let (base, headers) = ("http://127.0.0.1:8188".to_owned(), Vec::new());
    let credentials_hint = "-Header";
    let (api_key, loopback, ipv4_only) = (None, true, false);
    let addresses = Arc::default();
    let target =
        Target { base, headers, api_key, loopback, ipv4_only, addresses, credentials_hint };
    Http::new(target, CONNECT, never_cut_off())
});

/// What a body was read as.
pub(crate) struct Answers {
    pub(crate) stats: SystemStats,
    /// Why a POST would have been refused, and which of its outputs were dropped.
    pub(crate) refused: Vec<String>,
    /// With the id that each has.
    pub(crate) entries: Vec<(String, HistoryEntry)>,
}

/// Every answer that the body can be. Whatever may be shown of it is one harmless line, and no
/// figure is higher than memory is.
pub(crate) fn answers(body: &[u8]) -> Option<Answers> {
    for status in [400, 403, 404, 502] {
        let error = HTTP.status_error("GET /queue", status, body).to_string();
        is_line(&error);
        assert!(error.len() < 2000, "{error}");
    }
    let value = json::parse(body)?;
    if let Ok(strict) = serde_json::from_slice::<Value>(body) {
        assert_eq!(strict, value);
    }
    assert_eq!(json::parse(value.to_string().as_bytes()).unwrap(), value);
    queue(&value);
    if let Some(id) = history::find(&value, |id, client| {
        (id == "p" || client == Some("c")).then(|| id.to_owned())
    }) {
        is_line(&id);
        assert!(value.get(&id).is_some());
    }
    let _ = uploaded_name(&value);
    described(&value);
    let own = HistoryEntry::parse(&value).ok().map(|entry| (String::new(), &value, entry));
    let listed = value.as_object().into_iter().flatten();
    let listed = listed
        .filter_map(|(id, entry)| Some((id.clone(), entry, HistoryEntry::parse(entry).ok()?)));
    let entries = own.into_iter().chain(listed).map(|(id, value, entry)| {
        is_entry(value, &entry);
        (id, entry)
    });
    Some(Answers { stats: stats(&value), refused: submissions(&value), entries: entries.collect() })
}

fn stats(value: &Value) -> SystemStats {
    let public = system_stats::public(value.clone(), &|text| text);
    assert!(format!("{public:#}").len() <= 64 << 10);
    let stats = SystemStats::parse(value);
    are_lines([&stats.comfyui, &stats.pytorch, &stats.python].into_iter().flatten());
    for device in &stats.devices {
        is_line(&device.name);
        is_line(&device.kind);
        let Some(memory) = device.memory else { continue };
        let figures = [Some(memory.used), memory.free, memory.total, memory.driver, memory.ram];
        assert!(figures.into_iter().flatten().all(|mb| mb <= HIGHEST_MB), "{memory:?}");
        assert!(memory.driver.is_none() || memory.driver <= memory.total, "{memory:?}");
    }
    stats
}

fn queue(value: &Value) {
    let Ok(queue) = Queue::parse(value) else { return };
    for prompt in queue.running.iter().chain(&queue.pending) {
        is_line(&prompt.id);
        match queue.position(&prompt.id) {
            QueuePosition::Running => {}
            QueuePosition::Pending(before) => assert!(before < queue.count()),
            QueuePosition::Absent => panic!("{} is not in its own queue", prompt.id),
        }
    }
}

fn submissions(value: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for status in [200, 400, 500] {
        match Submission::parse(status, value) {
            Some(Submission::Accepted { id, node_errors }) => {
                assert!(status == 200 && !id.is_empty());
                is_line(&id);
                lines.extend(node_errors);
            }
            Some(Submission::NoId(why)) => {
                assert_eq!(status, 200);
                lines.push(why);
            }
            Some(Submission::Rejected(why)) => {
                assert_eq!(status, 400);
                lines.push(why);
            }
            None => {}
        }
    }
    are_lines(&lines);
    lines
}

/// Classes as a dry run asks for them, and a graph that has each of their inputs.
fn described(value: &Value) {
    let (mut object_info, mut graph) = (ObjectInfo::default(), Map::new());
    for (class, told) in value.as_object().into_iter().flatten().take(8) {
        object_info.insert(class, value.clone());
        let inputs = told["input"]["required"].as_object().into_iter().flatten();
        let given = |config: &Value| config[1].get("default").unwrap_or(&config[0]).clone();
        let inputs: Map<_, _> =
            inputs.map(|(name, config)| (name.clone(), given(config))).collect();
        graph.insert(class.clone(), serde_json::json!({"class_type": class, "inputs": inputs}));
    }
    let Ok(graph) = Workflow::parse(&Value::from(graph).to_string()) else { return };
    are_lines(graph.validate(&object_info));
}

fn is_entry(value: &Value, entry: &HistoryEntry) {
    if let PromptOutcome::Failed { why, .. } = &entry.outcome {
        is_line(why);
    }
    are_lines(&entry.cached);
    assert!(!entry.all_cached || !entry.cached.is_empty());
    assert_eq!(serde_json::from_str::<Value>(&entry.raw).unwrap(), *value);
    let kind = entry.files.first().map(|file| &file.kind);
    assert!(kind.is_none_or(|kind| ["output", "temp"].contains(&kind.as_str())));
    assert!(entry.files.iter().all(|file| Some(&file.kind) == kind));
}

/// The graph reads back as it is written, and it has no link that its template had not, and every
/// one that it had.
pub(crate) fn is_made_of(made: &Workflow, template: &Workflow) {
    assert_eq!(Workflow::parse(&made.to_json().to_string()).as_ref(), Ok(made));
    assert!(made.ids().eq(&template.ids()));
    for id in made.ids() {
        assert_eq!(made.class(id), template.class(id));
        assert!(
            made.inputs(id).map(|(name, _)| name).eq(template.inputs(id).map(|(name, _)| name))
        );
        for (name, value) in made.inputs(id) {
            let before = template.input(id, name).unwrap();
            assert!(is_link(value) == is_link(before), "{name} of {id}");
            assert!(!is_link(value) || value == before, "{name} of {id}");
        }
    }
}

/// Whether one of its inputs holds the text.
pub(crate) fn holds(workflow: &Workflow, text: &str) -> bool {
    let inputs = workflow.ids().into_iter().flat_map(|id| workflow.inputs(id));
    inputs.into_iter().any(|(_, value)| value.as_str().is_some_and(|value| value.contains(text)))
}
