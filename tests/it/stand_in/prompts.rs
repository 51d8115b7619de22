//! `POST /prompt`: what of a graph is valid, and in which order its nodes execute.

use serde_json::{Map, Value, json};

use super::config::{Config, Version};
use super::executor;
use super::http::Response;
use super::recorded::{self, OBJECT_INFO};
use super::state::{Prompt, State};

type Graph = Map<String, Value>;

pub fn post(config: &Config, state: &mut State, mut body: Graph) -> Response {
    let Some(Value::Object(graph)) = body.remove("prompt") else {
        return Response::json(400, &recorded::body("prompt-missing-prompt"));
    };
    let (outputs, node_errors) = match check(&graph, state) {
        Ok(checked) => checked,
        Err(answer) => return Response::json(400, &answer),
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
    let item = json!([number, id, graph, extra, outputs]);
    state.pending.push(Prompt { id, graph, outputs, item });
    state.tell_queue();
    Response::json(200, &answer)
}

/// The valid output nodes and the errors of the others, or the answer to a graph that has none.
fn check(graph: &Graph, state: &State) -> Result<(Vec<String>, Value), Value> {
    let info = |node: &Value| &OBJECT_INFO[node["class_type"].as_str().unwrap_or_default()];
    if let Some(node) = graph.values().find(|node| info(node).is_null()) {
        let mut answer = recorded::body("prompt-unknown-node");
        let message = format!("Cannot execute because node {} does not exist.", node["class_type"]);
        answer["error"]["message"] = message.replace('"', "").into();
        return Err(answer);
    }
    let mut outputs: Vec<String> = graph.keys().cloned().collect();
    outputs.retain(|id| info(&graph[id])["output_node"] == true);
    outputs.sort_by_key(|id| id.parse().unwrap_or(u64::MAX));
    let mut errors = Map::new();
    outputs.retain(|output| {
        let Some((id, error)) = first_error(graph, output, state) else { return true };
        let class = &graph[&id]["class_type"];
        let entry = json!({"errors": [error], "dependent_outputs": [output], "class_type": class});
        errors.insert(id, entry);
        false
    });
    match (outputs.is_empty(), errors.is_empty()) {
        (false, _) => Ok((outputs, errors.into())),
        (true, true) => Err(recorded::body("prompt-no-outputs")),
        (true, false) => {
            let mut answer = recorded::body("prompt-loadimage-missing");
            answer["node_errors"] = errors.into();
            Err(answer)
        }
    }
}

/// The first error of an output node or of a node that it needs, with the node's id.
fn first_error(graph: &Graph, output: &str, state: &State) -> Option<(String, Value)> {
    let mut nodes = Vec::new();
    if let Err(missing) = order(graph, output, &mut nodes) {
        let mut error = recorded::error("prompt-partially-valid", "9");
        error["details"] = format!("'{missing}'").into();
        return Some((output.to_owned(), error));
    }
    nodes.into_iter().find_map(|(id, _)| error_of(&graph[&id], state).map(|error| (id, error)))
}

/// The errors that tests need: a video that is missing, and a model and an image that are not there.
fn error_of(node: &Value, state: &State) -> Option<Value> {
    let inputs = &node["inputs"];
    match node["class_type"].as_str()? {
        "SaveVideo" if inputs["video"].is_null() => Some(recorded::error("prompt-bad-inputs", "3")),
        class @ "CheckpointLoaderSimple" => {
            let spec = &OBJECT_INFO[class]["input"]["required"]["ckpt_name"];
            let name = &inputs["ckpt_name"];
            // Not recorded, since that server had no models.
            let error = json!({
                "type": "value_not_in_list",
                "message": "Value not in list",
                "details": format!("ckpt_name: {name} not in {}", spec[0]),
                "extra_info": {"input_name": "ckpt_name", "input_config": spec, "received_value": name},
            });
            Some(error).filter(|_| !spec[0].as_array().is_some_and(|known| known.contains(name)))
        }
        "LoadImage" => {
            let image = inputs["image"].as_str()?;
            let (subfolder, name) = image.rsplit_once('/').unwrap_or(("", image));
            let path = ("input".to_owned(), subfolder.to_owned(), name.to_owned());
            let mut error = recorded::error("prompt-loadimage-missing", "1");
            error["details"] = format!("image - Invalid image file: {image}").into();
            Some(error).filter(|_| !state.files.contains_key(&path))
        }
        _ => None,
    }
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
