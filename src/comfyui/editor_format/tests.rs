//! Files and what the editor makes of them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use time::macros::datetime;

use super::*;

const ENVIRONMENT: Environment =
    Environment { now: datetime!(2026-03-04 05:06:07), random: &|| 0, repetition: 0 };

fn read(path: &Path) -> Value {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The classes of a file as `GET /object_info` answers.
fn object_info(path: &Path) -> ObjectInfo {
    let mut object_info = ObjectInfo::default();
    let mut all = read(path);
    for (class, info) in all.as_object_mut().unwrap() {
        object_info.insert(class, json!({ class: info.take() }));
    }
    object_info
}

fn convert(file: &Value, object_info: &ObjectInfo) -> Result<Converted, Vec<String>> {
    EditorFile::parse(file).map_err(|error| vec![error])?.convert(object_info, ENVIRONMENT)
}

/// Numbers by value: the browser writes 1 for 1.0.
fn is_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| is_equal(a, b)))
        }
        _ => a == b,
    }
}

/// What is not equal, in a few lines; inputs in another order too.
fn difference(found: &Value, wanted: &Value) -> Option<String> {
    let mut lines = Vec::new();
    let (found, wanted) = (found.as_object().unwrap(), wanted.as_object().unwrap());
    for (id, node) in wanted {
        let Some(made) = found.get(id) else {
            lines.push(format!("{id} {} is missing", node["class_type"]));
            continue;
        };
        let (a, b) = (made["inputs"].as_object().unwrap(), node["inputs"].as_object().unwrap());
        for name in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
            let (a, b) = (a.get(name), b.get(name));
            if a.zip(b).is_none_or(|(a, b)| !is_equal(a, b)) {
                let show =
                    |value: Option<&Value>| value.map_or("none".to_owned(), Value::to_string);
                let (a, b) = (show(a), show(b));
                lines.push(format!("{id} {} {name}: {a:.80} for {b:.80}", node["class_type"]));
            }
        }
        if made["class_type"] != node["class_type"] {
            lines.push(format!("{id}: {} for {}", made["class_type"], node["class_type"]));
        }
        if lines.is_empty() && !a.keys().eq(b.keys()) {
            lines.push(format!("order of {id}: {:?} for {:?}", a.keys(), b.keys()));
        }
    }
    lines.extend(
        found.keys().filter(|id| !wanted.contains_key(*id)).map(|id| format!("{id} too many")),
    );
    (!lines.is_empty()).then(|| lines.join("\n    "))
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/editor")
}

/// Each file says what it is about, holds a file of the editor, and the graph with its warnings, or
/// the errors.
#[test]
fn the_fixtures_become_what_they_say() {
    let object_info = object_info(&fixtures().join("object_info.json"));
    let mut count = 0;
    for entry in fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        let fixture = read(&path);
        if fixture.get("about").is_none() {
            continue;
        }
        count += 1;
        let wanted = |key: &str| {
            let lines = array(&fixture[key]).iter().map(text);
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        match convert(&fixture["file"], &object_info) {
            Ok(made) => {
                let difference = difference(&made.workflow.to_json(), &fixture["graph"]);
                assert_eq!(difference, None, "{}", path.display());
                assert_eq!(made.warnings, wanted("warnings"), "{}", path.display());
            }
            Err(lines) => assert_eq!(lines, wanted("errors"), "{}", path.display()),
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn the_classes_are_those_that_the_server_has_to_know() {
    let file = read(&fixtures().join("passed-on.json"));
    let classes = EditorFile::parse(&file["file"]).unwrap().classes();
    let wanted =
        ["CheckpointLoaderSimple", "EmptyLatentImage", "KSampler", "PreviewAny", "VAEDecode"];
    assert!(classes.into_iter().eq(wanted));
}

#[test]
fn titles_are_kept_and_a_node_without_one_has_that_of_its_class() {
    let file = read(&fixtures().join("plain.json"));
    let object_info = object_info(&fixtures().join("object_info.json"));
    let graph = convert(&file["file"], &object_info).unwrap().workflow.to_json();
    assert_eq!(graph["3"]["_meta"]["title"], "The sampler");
    assert_eq!(graph["4"]["_meta"]["title"], "Load Checkpoint");
}

/// The same as an export by the editor's own menu, which the server accepts.
#[test]
fn a_custom_combo_is_ready_to_run() {
    let object_info = object_info(&fixtures().join("object_info.json"));
    let file = json!({"links": [[1, 1, 0, 2, 0, "STRING"]], "nodes": [
        {"id": 1, "type": "CustomCombo", "widgets_values": ["b", 1, "a", "b", ""]},
        {"id": 2, "type": "PreviewAny", "inputs": [{"name": "source", "type": "*", "link": 1}]}]});
    let made = convert(&file, &object_info).unwrap();
    assert_eq!(made.workflow.validate(&object_info), Vec::<String>::new());
}

#[test]
fn a_class_that_the_server_did_not_describe_is_no_missing_one() {
    let mut object_info = ObjectInfo::default();
    object_info.insert("SaveImage", json!({"SaveImage": 5}));
    let file = json!({"nodes": [{"id": 1, "type": "SaveImage"}], "links": []});
    let errors = convert(&file, &object_info).unwrap_err();
    assert_eq!(errors, ["node 1 SaveImage: the server's answer does not tell its inputs"]);
}

#[test]
fn what_other_programs_call_a_workflow_is_named() {
    for (file, wanted) in [
        (json!({"nodes": [], "connections": {}, "name": "x"}), Some("n8n")),
        (json!([{"id": "1", "type": "tab"}, {"wires": []}]), Some("Node-RED")),
        (json!({"nodes": [], "edges": [], "meta": {"version": "3.0.0"}}), Some("InvokeAI")),
        (json!({"nodes": [], "edges": []}), Some("another node editor")),
        (json!({"sui_image_params": {}}), Some("SwarmUI")),
        (json!({"asset": {}, "meshes": [], "nodes": []}), Some("a 3D program (glTF)")),
        (json!({"nodes": [], "links": []}), None),
        (json!({"3": {"class_type": "X"}}), None),
        (json!(5), None),
    ] {
        assert_eq!(other_program(&file), wanted, "{file}");
        assert_eq!(is_editor_format(&file), file["links"].is_array());
    }
}

/// A folder of pairs: `ui/NAME`, `api/NAME`, `object_info.json`, as the environment names it.
#[test]
#[ignore = "needs a folder of pairs: EDITOR_PAIRS"]
fn a_folder_of_pairs() {
    let folder = PathBuf::from(std::env::var_os("EDITOR_PAIRS").unwrap());
    let object_info = object_info(&folder.join("object_info.json"));
    let (mut equal, mut all) = (0, 0);
    for entry in fs::read_dir(folder.join("ui")).unwrap() {
        let name = entry.unwrap().file_name();
        let (file, wanted) =
            (read(&folder.join("ui").join(&name)), read(&folder.join("api").join(&name)));
        all += 1;
        let result = convert(&file, &object_info);
        for line in result.iter().flat_map(|made| &made.warnings) {
            println!("WARN {name:?}: {line}");
        }
        match &result {
            Err(lines) => println!("REFUSED {name:?}: {}", lines.join("\n    ")),
            Ok(made) => match difference(&made.workflow.to_json(), &wanted) {
                None => equal += 1,
                Some(lines) => {
                    println!("MISS {name:?} ({} warnings): {lines}", made.warnings.len());
                }
            },
        }
    }
    println!("{equal} of {all} are equal");
}

#[test]
fn a_seed_changes_with_each_repetition_as_its_control_says() {
    let options = json!({"min": 0, "max": 9, "step": 1});
    // Bounds that no number keeps are no reason to panic.
    let odd = json!({"min": i64::MAX, "max": i64::MIN, "step": i64::MAX});
    for (control, repetition, wanted) in [
        ("increment", 0, 5),
        ("increment", 2, 7),
        ("increment", 9, 9),
        ("decrement", 1, 4),
        ("randomize", 0, 5),
        ("randomize", 1, 3),
        ("fixed", 1, 5),
    ] {
        let environment = Environment { random: &|| 12, repetition, ..ENVIRONMENT };
        let changed = widgets::after_generate(&5.into(), &control.into(), &options, environment);
        assert_eq!(changed, wanted, "{control} {repetition}");
        widgets::after_generate(&5.into(), &control.into(), &odd, environment);
    }
}
