//! Recorded answers of a `ComfyUI` 0.3.64, which serve as templates.

use std::sync::LazyLock;

use serde_json::Value;

/// One exchange a line: `name`, what was sent, and the answer's `status`, `headers` and `body`.
pub const EXCHANGES: &str = include_str!("../../fixtures/recorded-exchanges.jsonl");

/// `/object_info` of the classes that the stand-in knows.
pub static OBJECT_INFO: LazyLock<Value> = LazyLock::new(|| {
    let classes = include_str!("../../fixtures/object_info.json");
    let mut classes: Value = serde_json::from_str(classes).expect("the fixture is JSON");
    classes["SaveVideo"] = body("object-info-savevideo")["SaveVideo"].take();
    classes
});

/// `/system_stats` of a 0.33.0.
pub static NEWEST_STATS: LazyLock<Value> = LazyLock::new(|| {
    let stats = include_str!("../../fixtures/system_stats-0.33.0.json");
    serde_json::from_str(stats).expect("the fixture is JSON")
});

fn exchange(name: &str) -> Value {
    let start = format!("{{\"name\": \"{name}\",");
    let line = EXCHANGES.lines().find(|line| line.starts_with(&start)).expect("it is recorded");
    serde_json::from_str(line).expect("a line is JSON")
}

pub fn graph(name: &str) -> Value {
    exchange(name)["send"]["prompt"].take()
}

pub fn body(name: &str) -> Value {
    exchange(name)["body"].take()
}

pub fn error(name: &str, node: &str) -> Value {
    body(name)["node_errors"][node]["errors"][0].take()
}
