//! The recorded answers of a `ComfyUI` 0.3.64, to be filled in for other prompts.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

/// One exchange a line: `name`, what was sent, and the answer's `status`, `headers` and `body`.
pub const EXCHANGES: &str = include_str!("../../fixtures/recorded-exchanges.jsonl");

static BODIES: LazyLock<HashMap<String, Value>> = LazyLock::new(|| {
    let exchanges = EXCHANGES.lines().map(|line| {
        let mut exchange: Value = serde_json::from_str(line).expect("a line is JSON");
        (exchange["name"].as_str().expect("a name").to_owned(), exchange["body"].take())
    });
    exchanges.collect()
});

/// `/object_info` of the classes that the stand-in knows.
pub static OBJECT_INFO: LazyLock<Value> = LazyLock::new(|| {
    let classes = include_str!("../../fixtures/object_info.json");
    let mut classes: Value = serde_json::from_str(classes).expect("the fixture is JSON");
    classes["SaveVideo"] = body("object-info-savevideo")["SaveVideo"].take();
    classes
});

/// The body of a recorded answer.
pub fn body(name: &str) -> Value {
    BODIES[name].clone()
}
