//! The answer to `POST /prompt`: taken, or refused and why.

use serde_json::Value;

use super::super::json::{nodes, text};
use super::{is_plain, told};
use crate::suggest::nearest;

/// What became of a `POST /prompt`.
#[derive(Clone, Debug)]
pub enum Submission {
    /// Queued under this id. `broken`: outputs that were dropped, each with its reason.
    Accepted {
        /// The server's id for it; an old server ignores ours.
        id: String,
        /// One line a broken node.
        broken: Vec<String>,
    },
    /// Refused, with the reasons.
    Rejected(String),
}

impl Submission {
    /// What the answer says of the prompt; none if it says nothing.
    pub(in crate::comfyui) fn read(status: u16, value: &Value) -> Option<Self> {
        let broken = node_errors(&value["node_errors"]);
        match status {
            200 => {
                let id = value["prompt_id"].as_str().filter(|id| is_plain(id))?;
                Some(Submission::Accepted { id: id.to_owned(), broken })
            }
            400 if broken.is_empty() => refusal(value).map(Submission::Rejected),
            400 => Some(Submission::Rejected(listed(broken))),
            _ => None,
        }
    }
}

/// As many of the nodes as a line has room for.
fn listed(mut broken: Vec<String>) -> String {
    const SHOWN: usize = 20;
    if let Some(more) = broken.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        broken.truncate(SHOWN);
        broken.push(format!("and {more} more node{}", if more == 1 { "" } else { "s" }));
    }
    broken.join("; ")
}

/// One line a node of `node_errors`: `node 4 CheckpointLoaderSimple ckpt_name: …`.
fn node_errors(value: &Value) -> Vec<String> {
    let of_node = |(id, node): (&str, &Value)| {
        let class = text(node, "class_type").unwrap_or_default();
        let errors = node["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut errors: Vec<_> = errors.iter().map(node_error).collect();
        errors.sort_unstable(); // the server's order within a node is not stable
        told(&format!("node {id} {class} {}", errors.join(", ")))
    };
    nodes(value).into_iter().map(of_node).collect()
}

fn node_error(error: &Value) -> String {
    let details = text(error, "details").unwrap_or_default();
    let extra = &error["extra_info"];
    let received = extra["received_value"].as_str();
    if let (Some("value_not_in_list"), Some(input), Some(received)) =
        (error["type"].as_str(), extra["input_name"].as_str(), received)
    {
        let config = &extra["input_config"];
        let list = config[0].as_array().or_else(|| config[1]["options"].as_array());
        return not_in_list(input, received, list.map(Vec::as_slice).unwrap_or_default());
    }
    let message = text(error, "message").unwrap_or_else(|| "refused".to_owned());
    if details.is_empty() { message } else { format!("{details}: {message}") }
}

/// The text of a value that is none of those that the server has.
pub(in crate::comfyui) fn not_in_list(input: &str, received: &str, list: &[Value]) -> String {
    let near = nearest(received, list.iter().filter_map(Value::as_str));
    let near = near.map(|near| format!(" (nearest: '{near}')")).unwrap_or_default();
    format!("{input}: '{received}' is not in the server's list{near}")
}

/// The message of a refusal that names no node.
fn refusal(value: &Value) -> Option<String> {
    let error = &value["error"];
    let message = error.as_str().map(str::to_owned).or_else(|| text(error, "message"))?;
    let details =
        text(error, "details").filter(|details| !details.is_empty() && *details != message);
    Some(told(&details.map_or(message.clone(), |details| format!("{message} ({details})"))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn node_errors_name_node_input_and_the_nearest_choice() {
        let errors = json!({
            "10": {"class_type": "SaveVideo", "errors": [
                {"type": "required_input_missing", "message": "Required input is missing", "details": "video"}]},
            "4": {"class_type": "CheckpointLoaderSimple", "errors": [
                {"type": "value_not_in_list", "message": "Value not in list",
                 "details": "ckpt_name: 'x.safetensors' not in ['sd15.safetensors', 'xl.safetensors']",
                 "extra_info": {"input_name": "ckpt_name", "received_value": "x.safetensors",
                    "input_config": [["sd15.safetensors", "xl.safetensors"], {}]}}]},
        });
        assert_eq!(
            node_errors(&errors),
            [
                "node 4 CheckpointLoaderSimple ckpt_name: 'x.safetensors' is not in the server's list (nearest: 'xl.safetensors')",
                "node 10 SaveVideo video: Required input is missing",
            ]
        );
        assert!(node_errors(&json!({})).is_empty());
    }

    #[test]
    fn of_very_many_refused_nodes_the_first_are_named() {
        let error = json!({"type": "required_input_missing", "message": "Required input is missing", "details": "model"});
        let refused = |count: usize| {
            let nodes = (1..=count)
                .map(|id| (id.to_string(), json!({"class_type": "X", "errors": [error]})));
            let value = json!({"node_errors": nodes.collect::<serde_json::Map<_, _>>()});
            match Submission::read(400, &value) {
                Some(Submission::Rejected(why)) => why,
                other => panic!("{other:?}"),
            }
        };
        assert!(refused(20).ends_with("; node 20 X model: Required input is missing"));
        let many = refused(300);
        assert!(
            many.ends_with("; node 20 X model: Required input is missing; and 280 more nodes"),
            "{many}"
        );
    }

    #[test]
    fn a_refusal_without_nodes_says_what_the_server_said() {
        let error = json!({"error": {"type": "invalid_prompt",
            "message": "Cannot execute because node NoSuchNode does not exist.", "details": "Node ID '#1'"}});
        assert_eq!(
            refusal(&error).unwrap(),
            "Cannot execute because node NoSuchNode does not exist. (Node ID '#1')"
        );
        assert_eq!(refusal(&json!({"error": "no prompt"})).unwrap(), "no prompt");
        assert_eq!(refusal(&json!({})), None);
    }
}
