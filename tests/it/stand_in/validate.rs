//! What `ComfyUI` checks before it queues a prompt.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::config::Version;
use super::files::Files;
use super::graph::{self, Graph};
use super::nodes;

/// A prompt that may run, at least in part.
pub struct Accepted {
    /// The output nodes that will be executed.
    pub outputs: Vec<String>,
    /// What is wrong with the others.
    pub node_errors: Value,
}

/// Validates a graph; what may not run comes back as the body of the refusal.
pub fn validate(graph: &Graph, files: &Files, version: Version) -> Result<Accepted, Value> {
    if let Some(error) = unknown_node(graph, version) {
        return Err(refused(&error, &json!({})));
    }
    let mut outputs: Vec<&str> = graph.keys().map(String::as_str).collect();
    outputs.retain(|id| class_of(graph, id).is_some_and(|class| class.output));
    outputs.sort_by_key(|id| graph::by_number(id));
    if outputs.is_empty() {
        return Err(refusal("prompt_no_outputs", "Prompt has no outputs", ""));
    }

    let mut checks = Checks { graph, files, checked: BTreeMap::new() };
    let mut node_errors = Map::new();
    let mut reasons = Vec::new();
    let mut good = Vec::new();
    for output in outputs {
        if checks.output(output) {
            good.push(output.to_owned());
            continue;
        }
        for error in checks.checked.get(output).into_iter().flat_map(|check| &check.errors) {
            reasons.push(format!("{}: {}", plain(&error["message"]), plain(&error["details"])));
        }
        for (id, check) in checks.checked.iter().filter(|(_, check)| !check.errors.is_empty()) {
            let entry = node_errors.entry(id.clone()).or_insert_with(|| {
                let class = class_of(graph, id).map(|class| class.name);
                json!({ "errors": check.errors, "dependent_outputs": [], "class_type": class })
            });
            if let Some(outputs) = entry["dependent_outputs"].as_array_mut() {
                outputs.push(output.into());
            }
        }
    }
    if good.is_empty() {
        let details = reasons.join("\n");
        let message = "Prompt outputs failed validation";
        let error = problem("prompt_outputs_failed_validation", message, &details, &json!({}));
        return Err(refused(&error, &node_errors.into()));
    }
    Ok(Accepted { outputs: good, node_errors: node_errors.into() })
}

fn class_of(graph: &Graph, id: &str) -> Option<&'static nodes::Class> {
    nodes::class(graph.get(id)?.get("class_type")?.as_str()?)
}

fn plain(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn refused(error: &Value, node_errors: &Value) -> Value {
    json!({ "error": error, "node_errors": node_errors })
}

/// The body of a refusal that is no single node's fault.
pub fn refusal(kind: &str, message: &str, details: &str) -> Value {
    refused(&problem(kind, message, details, &json!({})), &json!({}))
}

fn problem(kind: &str, message: &str, details: &str, extra_info: &Value) -> Value {
    json!({ "type": kind, "message": message, "details": details, "extra_info": extra_info })
}

/// The first node whose class is missing or not installed.
fn unknown_node(graph: &Graph, version: Version) -> Option<Value> {
    let (id, node) = graph.iter().find(|(id, _)| class_of(graph, id).is_none())?;
    let details = format!("Node ID '#{id}'");
    let Some(class) = node.get("class_type").and_then(Value::as_str) else {
        let message = "Cannot execute because a node is missing the class_type property.";
        return Some(problem("invalid_prompt", message, &details, &json!({})));
    };
    if version == Version::Newest {
        let message = format!("Node '{class}' not found. The custom node may not be installed.");
        let title = node.pointer("/_meta/title").and_then(Value::as_str).unwrap_or(class);
        let extra = json!({ "node_id": id, "class_type": class, "node_title": title });
        return Some(problem("missing_node_type", &message, &details, &extra));
    }
    let message = format!("Cannot execute because node {class} does not exist.");
    Some(problem("invalid_prompt", &message, &details, &json!({})))
}

/// A checked node.
struct Check {
    valid: bool,
    errors: Vec<Value>,
}

/// The nodes checked so far.
struct Checks<'a> {
    graph: &'a Graph,
    files: &'a Files,
    checked: BTreeMap<String, Check>,
}

impl Checks<'_> {
    /// Whether the output can run. A link to nowhere is an exception, and the output's error.
    fn output(&mut self, id: &str) -> bool {
        self.node(id, &mut Vec::new()).unwrap_or_else(|missing| {
            let extra = json!({
                "exception_type": "KeyError",
                "traceback": [
                    "  File \"/opt/ComfyUI/execution.py\", line 1010, in validate_prompt\n    m = await validate_inputs(prompt_id, prompt, o, validated)\n",
                    "  File \"/opt/ComfyUI/execution.py\", line 788, in validate_inputs\n    o_class_type = prompt[o_id]['class_type']\n                   ~~~~~~^^^^^^\n",
                ],
            });
            let message = "Exception when validating node";
            let error =
                problem("exception_during_validation", message, &format!("'{missing}'"), &extra);
            self.checked.insert(id.to_owned(), Check { valid: false, errors: vec![error] });
            false
        })
    }

    /// Whether the node and everything above it is valid, or the id that a link looks for in
    /// vain. `path` holds the nodes below, for a graph that bites its tail.
    fn node(&mut self, id: &str, path: &mut Vec<String>) -> Result<bool, String> {
        if let Some(check) = self.checked.get(id) {
            return Ok(check.valid);
        }
        let graph = self.graph;
        let (Some((_, inputs)), Some(class)) =
            (graph.get(id).and_then(graph::parts), class_of(graph, id))
        else {
            return Err(id.to_owned());
        };
        if path.iter().any(|below| below == id) {
            return Err(id.to_owned());
        }
        path.push(id.to_owned());
        let mut errors = Vec::new();
        let mut valid = true;
        for (name, _) in class.required {
            if !inputs.contains_key(*name) {
                errors.push(missing_input(name));
            }
        }
        for source in inputs.values().filter_map(graph::link) {
            valid &= self.node(source, path)?;
        }
        errors.extend(class.choice.and_then(|(name, options)| choice(inputs, name, options)));
        errors.extend(self.image(class.name, inputs));
        path.pop();
        valid &= errors.is_empty();
        self.checked.insert(id.to_owned(), Check { valid, errors });
        Ok(valid)
    }

    /// `LoadImage` wants a file of the input folder.
    fn image(&self, class: &str, inputs: &Map<String, Value>) -> Option<Value> {
        let image = inputs.get("image").filter(|_| class == "LoadImage")?.as_str()?;
        let name = image.strip_suffix(" [input]").unwrap_or(image);
        let (subfolder, name) = name.rsplit_once('/').unwrap_or(("", name));
        if self.files.read(&("input".into(), subfolder.into(), name.into())).is_some() {
            return None;
        }
        let details = format!("image - Invalid image file: {image}");
        let message = "Custom validation failed for node";
        let extra = json!({ "input_name": "image" });
        Some(problem("custom_validation_failed", message, &details, &extra))
    }
}

fn missing_input(name: &str) -> Value {
    let extra = json!({ "input_name": name });
    problem("required_input_missing", "Required input is missing", name, &extra)
}

fn choice(inputs: &Map<String, Value>, name: &str, options: &[&str]) -> Option<Value> {
    let Some(value) = inputs.get(name) else {
        return Some(missing_input(name));
    };
    let chosen = value.as_str().unwrap_or_default();
    if graph::link(value).is_some() || options.contains(&chosen) {
        return None;
    }
    let list = options.iter().map(|option| format!("'{option}'")).collect::<Vec<_>>().join(", ");
    let details = format!("{name}: '{chosen}' not in [{list}]");
    let extra = json!({
        "input_name": name,
        "input_config": nodes::choice_config(options),
        "received_value": value,
    });
    Some(problem("value_not_in_list", "Value not in list", &details, &extra))
}
