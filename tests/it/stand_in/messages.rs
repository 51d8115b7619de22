//! What history says about a prompt.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::graph::{self, Node};
use super::python;
use super::world::Prompt;

/// What `ComfyUI` adds to the message of an out-of-memory exception.
pub const OUT_OF_MEMORY: &str = "This error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked before you might have accidentally set the batch_size to a large number.";

/// An exception in a node.
pub struct Failure {
    /// Its type.
    pub kind: &'static str,
    /// Its message.
    pub message: String,
    /// Whether one of the inputs was not a number.
    pub nan: bool,
}

/// Milliseconds since 1970.
pub fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// A message of `status.messages`.
pub fn message(name: &str, prompt_id: &str, mut event: Value) -> Value {
    event["prompt_id"] = prompt_id.into();
    event["timestamp"] = now().into();
    json!([name, event])
}

/// What is said of the node at which a prompt stopped: it failed, or was interrupted.
pub fn stopped(node: &Node, executed: &[String], failure: Option<&Failure>) -> Value {
    let mut event = json!({
        "node_id": node.id,
        "node_type": node.class,
        "executed": executed,
    });
    if let Some(failure) = failure {
        event["exception_message"] = failure.message.as_str().into();
        event["exception_type"] = failure.kind.into();
        event["traceback"] = json!([
            "  File \"/opt/ComfyUI/execution.py\", line 496, in execute\n    output_data, output_ui, has_subgraph, has_pending_tasks = await get_output_data(prompt_id, unique_id, obj, input_data_all)\n",
            "  File \"/opt/ComfyUI/execution.py\", line 289, in _async_map_node_over_list\n    await process_inputs(input_dict, i)\n",
        ]);
        event["current_inputs"] = current_inputs(node, failure.nan);
        let known = executed.iter().map(String::as_str).chain([node.id]);
        event["current_outputs"] = known.collect();
    }
    event
}

/// Every input in a list of its own, tensors as Python prints them.
fn current_inputs(node: &Node, nan: bool) -> Value {
    let mut inputs: Map<String, Value> = node
        .inputs
        .iter()
        .map(|(name, input)| {
            let tensor = || json!("tensor([[[[0.0000, 0.0000, 0.0275],\n          ...]]]])");
            let shown = if graph::link(input).is_some() { tensor() } else { input.clone() };
            (name.clone(), json!([shown]))
        })
        .collect();
    if nan {
        inputs.insert("strength".to_owned(), json!([python::NAN]));
    }
    inputs.into()
}

/// A history entry.
pub fn entry(
    prompt: &Prompt,
    outputs: &Map<String, Value>,
    messages: &[Value],
    completed: bool,
) -> Value {
    let meta: Map<String, Value> = outputs
        .keys()
        .map(|id| {
            let node = json!({
                "node_id": id,
                "display_node": id,
                "parent_node": null,
                "real_node_id": id,
            });
            (id.clone(), node)
        })
        .collect();
    json!({
        "prompt": prompt.item(),
        "outputs": outputs,
        "status": {
            "status_str": if completed { "success" } else { "error" },
            "completed": completed,
            "messages": messages,
        },
        "meta": meta,
    })
}
