//! Files in the editor's format.

use serde_json::{Value, json};
use time::PrimitiveDateTime;

use super::{are_lines, record};
use crate::comfyui::editor_format::{EditorFile, Environment, is_editor_format, other_program};
use crate::comfyui::{ObjectInfo, Workflow};

/// Whatever a file and the descriptions of classes hold, it becomes a graph that can be posted, or it
/// is refused in harmless lines: its classes were asked for, its links lead to nodes that are in it,
/// and no other list is in the place of a link.
///
/// # Panics
/// Otherwise.
pub fn editor_format(data: &[u8]) {
    let Ok(mut value) = serde_json::from_slice::<Value>(data) else { return };
    let mut object_info = ObjectInfo::default();
    let classes = value.get_mut("classes").and_then(Value::as_object_mut);
    for (class, info) in classes.into_iter().flatten() {
        object_info.insert(class, json!({ class: info.take() }));
    }
    let file = &value["file"];
    assert!(!is_editor_format(file) || other_program(file).is_none());
    let now = PrimitiveDateTime::new(record::BEGUN.date(), record::BEGUN.time());
    let environment = Environment { now, random: &|| 3, repetition: 1 };
    let read = || EditorFile::parse(file).map_err(|error| vec![error]);
    let convert = || read().and_then(|file| file.convert(&object_info, environment));
    let made = match convert() {
        Ok(made) => made,
        Err(lines) => {
            assert!(!lines.is_empty());
            are_lines(&lines);
            return;
        }
    };
    are_lines(&made.warnings);
    let again = convert().unwrap();
    assert!(again.workflow == made.workflow && again.warnings == made.warnings);
    let classes = read().unwrap().classes();
    let mut made_classes = made.workflow.classes().into_iter();
    assert!(made_classes.all(|class| class.is_empty() || classes.contains(class)));
    let graph = made.workflow.to_json();
    assert_eq!(Workflow::parse(&graph.to_string()).as_ref(), Ok(&made.workflow));
    for node in graph.as_object().unwrap().values() {
        for (name, input) in node["inputs"].as_object().unwrap() {
            let Some(link) = input.as_array() else { continue };
            let [Value::String(source), Value::Number(_)] = link.as_slice() else {
                panic!("{name}: {input}")
            };
            assert!(graph.get(source).is_some(), "{name}: {input}");
        }
    }
}
