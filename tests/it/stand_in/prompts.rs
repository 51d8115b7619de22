//! `POST /prompt`: what of a graph is valid, and in which order its nodes execute.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::config::{Config, Version};
use super::executor;
use super::http::Response;
use super::recorded::{self, OBJECT_INFO};
use super::state::{FilePath, Prompt, State};

type Graph = Map<String, Value>;

/// The valid output nodes, and the errors of the others. Or the answer to a graph that has none.
type Checked = Result<(Vec<String>, Value), Value>;

/// Queues a prompt.
pub fn post(config: &Config, state: &mut State, mut body: Graph) -> Response {
    let refused = |answer: &Value| Response::json(400, &answer.to_string());
    let Some(Value::Object(graph)) = body.remove("prompt") else {
        return refused(&recorded::body("prompt-missing-prompt"));
    };
    let (outputs, node_errors) = match check(&graph, &state.files) {
        Ok(checked) => checked,
        Err(answer) => return refused(&answer),
    };
    let id = match body.remove("prompt_id").filter(|_| !config.ignore_prompt_id) {
        Some(Value::String(id)) => id,
        _ => format!("00000000-0000-4000-8000-{:012x}", state.requests.len()),
    };
    let mut extra: Graph = body.remove_entry("client_id").into_iter().collect();
    if config.version == Version::Newest {
        extra.insert("create_time".to_owned(), executor::now().into());
    }
    let number = state.next_number;
    state.next_number += 1;
    state.posted += 1;
    let answer = json!({"prompt_id": id, "number": number, "node_errors": node_errors});
    state.pending.push(Prompt { number, id, graph, extra, outputs });
    Response::json(200, &answer.to_string())
}

fn check(graph: &Graph, files: &HashMap<FilePath, Arc<[u8]>>) -> Checked {
    for (id, node) in graph {
        if info(node).is_null() {
            let mut answer = recorded::body("prompt-unknown-node");
            let class = node["class_type"].as_str().unwrap_or_default();
            let message = format!("Cannot execute because node {class} does not exist.");
            answer["error"]["message"] = message.into();
            answer["error"]["details"] = format!("Node ID '#{id}'").into();
            return Err(answer);
        }
    }
    let (mut valid, mut node_errors) = (Vec::new(), Map::new());
    for output in outputs(graph) {
        let errors = errors_of_output(graph, &output, files);
        if errors.is_empty() {
            valid.push(output);
            continue;
        }
        for (id, errors) in errors {
            let class = &graph[&id]["class_type"];
            let entry = json!({"errors": errors, "dependent_outputs": [], "class_type": class});
            let entry = node_errors.entry(id).or_insert(entry);
            entry["dependent_outputs"].as_array_mut().expect("a list").push(json!(output));
        }
    }
    if !valid.is_empty() {
        Ok((valid, node_errors.into()))
    } else if node_errors.is_empty() {
        Err(recorded::body("prompt-no-outputs"))
    } else {
        let mut answer = recorded::body("prompt-loadimage-missing");
        answer["node_errors"] = node_errors.into();
        Err(answer)
    }
}

/// What `/object_info` says of a node's class; null if there is none of that name.
fn info(node: &Value) -> &'static Value {
    &OBJECT_INFO[node["class_type"].as_str().unwrap_or_default()]
}

/// The output nodes, in the order of their numbers.
fn outputs(graph: &Graph) -> Vec<String> {
    let outputs = graph.iter().filter(|(_, node)| info(node)["output_node"] == true);
    let mut outputs: Vec<String> = outputs.map(|(id, _)| id.clone()).collect();
    outputs.sort_by_key(|id| id.parse().unwrap_or(u64::MAX));
    outputs
}

/// The errors of an output node and of the nodes that it needs, by node.
fn errors_of_output(
    graph: &Graph,
    output: &str,
    files: &HashMap<FilePath, Arc<[u8]>>,
) -> Vec<(String, Vec<Value>)> {
    let mut needed = Vec::new();
    if let Err(missing) = order(graph, output, &mut needed) {
        let error = recorded::body("prompt-partially-valid")["node_errors"]["9"]["errors"].take();
        let mut error = error[0].clone();
        error["details"] = format!("'{missing}'").into();
        return vec![(output.to_owned(), vec![error])];
    }
    let errors = needed.into_iter().map(|(id, _)| (errors_of_node(&graph[&id], files), id));
    errors.filter(|(errors, _)| !errors.is_empty()).map(|(errors, id)| (id, errors)).collect()
}

fn errors_of_node(node: &Value, files: &HashMap<FilePath, Arc<[u8]>>) -> Vec<Value> {
    let error = |kind: &str, message: &str, details: &str, extra_info: Value| json!({"type": kind, "message": message, "details": details, "extra_info": extra_info});
    let mut errors = Vec::new();
    for (name, spec) in info(node)["input"]["required"].as_object().into_iter().flatten() {
        let value = &node["inputs"][name];
        if value.is_null() {
            let extra = json!({"input_name": name});
            let message = "Required input is missing";
            errors.push(error("required_input_missing", message, name, extra));
        } else if spec[0].as_array().is_some_and(|list| !list.contains(value)) {
            let details = format!("{name}: {value} not in {}", spec[0]);
            let extra = json!({"input_name": name, "input_config": spec, "received_value": value});
            errors.push(error("value_not_in_list", "Value not in list", &details, extra));
        }
    }
    let image = node["inputs"]["image"].as_str().filter(|_| node["class_type"] == "LoadImage");
    if let Some(image) = image {
        let (subfolder, name) = image.rsplit_once('/').unwrap_or(("", image));
        if !files.contains_key(&("input".into(), subfolder.into(), name.into())) {
            let details = format!("image - Invalid image file: {image}");
            let message = "Custom validation failed for node";
            let extra = json!({"input_name": "image"});
            errors.push(error("custom_validation_failed", message, &details, extra));
        }
    }
    errors
}

/// The id that an input links to: `["4", 0]`.
fn link(input: &Value) -> Option<&str> {
    input.as_array().filter(|link| link.len() == 2 && link[1].is_u64())?[0].as_str()
}

/// Appends a node behind all that it needs, each with a cache key: the text of its class and inputs
/// in which links are replaced by keys. Returns its key, or the id of a node that is missing.
pub fn order(graph: &Graph, id: &str, nodes: &mut Vec<(String, String)>) -> Result<String, String> {
    if let Some((_, key)) = nodes.iter().find(|(known, _)| known == id) {
        return Ok(key.clone());
    }
    let node = graph.get(id).ok_or(id)?;
    let mut inputs = node["inputs"].clone();
    for input in inputs.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(source) = link(input) {
            *input = order(graph, source, nodes)?.into();
        }
    }
    let key = json!([node["class_type"], inputs]).to_string();
    nodes.push((id.to_owned(), key.clone()));
    Ok(key)
}
