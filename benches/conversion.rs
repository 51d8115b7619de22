//! A workflow of 100 nodes in the editor's format, read from its text and converted: `cargo bench
//! --bench conversion`. What the server says of the classes is there already.

use std::path::Path;
use std::time::{Duration, Instant};

use run_comfyui_e2e::ObjectInfo;
use run_comfyui_e2e::editor_format::{EditorFile, Environment};
use serde_json::{Value, json};
use time::macros::datetime;

const ROUNDS: usize = 200;
const COPIES: i64 = 12;

fn main() {
    let mut object_info = ObjectInfo::default();
    for (class, info) in fixture("object_info").as_object_mut().unwrap() {
        object_info.insert(class, json!({ class: info.take() }));
    }
    let text = copies(&fixture("plain")["file"]).to_string();
    let environment =
        Environment { now: datetime!(2026-03-04 05:06:07), random: &|| 0, repetition: 0 };
    let once = || {
        let begun = Instant::now();
        let file: Value = serde_json::from_str(&text).unwrap();
        let made = EditorFile::parse(&file).unwrap().convert(&object_info, environment).unwrap();
        (begun.elapsed(), made.workflow.node_count())
    };
    let nodes = once().1;
    let mut times: Vec<Duration> = (0..ROUNDS).map(|_| once().0).collect();
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "conversion of {nodes} nodes ({} KB): {:.2} / {:.2} / {:.2} ms (minimum / median / maximum of {ROUNDS})",
        text.len() / 1000,
        ms(times[0]),
        ms(times[ROUNDS / 2]),
        ms(times[ROUNDS - 1]),
    );
}

fn fixture(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/editor");
    let text = std::fs::read_to_string(folder.join(name).with_extension("json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A file with several copies of the same nodes, and four more.
fn copies(file: &Value) -> Value {
    let (mut nodes, mut links) = (Vec::new(), Vec::new());
    for copy in 0..COPIES {
        let moved = |id: &mut Value| *id = (id.as_i64().unwrap() + 1000 * copy).into();
        for node in file["nodes"].as_array().unwrap() {
            let mut node = node.clone();
            moved(&mut node["id"]);
            for input in node["inputs"].as_array_mut().unwrap() {
                if input["link"].is_i64() {
                    moved(&mut input["link"]);
                }
            }
            nodes.push(node);
        }
        for link in file["links"].as_array().unwrap() {
            let mut link = link.clone();
            for at in [0, 1, 3] {
                moved(&mut link[at]);
            }
            links.push(link);
        }
    }
    for id in 1..=4 {
        nodes.push(json!({"id": id + 999_000, "type": "LoadImage", "widgets_values": ["a.png"]}));
    }
    json!({"nodes": nodes, "links": links, "version": 0.4})
}
