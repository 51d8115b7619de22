//! `POST /prompt`: the ids that are sent, and the answer: accepted, or rejected and why.

use std::hash::{BuildHasher, Hasher, RandomState};

use serde_json::Value;

use super::json::nodes_in_order;
use crate::sanitize::{counted, first_of, sanitize_line, shortened};
use crate::suggest::nearest;

/// The two ids of one `POST /prompt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// `prompt_id`; old servers ignore it and give their own.
    pub prompt: String,
    /// `client_id`, new for each POST: without one, some servers leave cached outputs out of the
    /// history, and a prompt whose answer was lost is found by it.
    pub client: String,
}

impl Ids {
    /// Two new UUIDs.
    pub fn random() -> Self {
        Ids { prompt: uuid(), client: uuid() }
    }
}

/// Picks the prompts that were posted with one of these ids: those, with the server's id.
pub(super) fn posted_with(
    sent: &[Ids],
) -> impl Fn(&str, Option<&str>) -> Option<(Ids, String)> + '_ {
    |id, client| {
        let ids = sent.iter().find(|ids| id == ids.prompt || client == Some(&ids.client))?;
        Some((ids.clone(), id.to_owned()))
    }
}

/// A canonical lowercase UUID of version 4: the form that new servers demand of a `prompt_id`.
pub(super) fn uuid() -> String {
    let high = (random() & !0xf000) | 0x4000;
    let low = (random() & !(0xc0 << 56)) | (0x80 << 56);
    let hex = format!("{high:016x}{low:016x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A seed of 48 random bits: exact wherever a node or a browser reads it as a double.
pub fn random_seed() -> u64 {
    random() >> 16
}

/// 64 bits of the standard library's own random seed. Not for secrets.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Whether a prompt's id can be shown and asked for: 1 to 200 bytes without control characters.
pub(super) fn is_valid_id(id: &str) -> bool {
    (1..=200).contains(&id.len()) && sanitize_line(id) == id
}

/// An error of the server as one line of at most 1000 characters. Of weights that do not fit a
/// model `PyTorch` lists every one, which can be megabytes; the history file has them all.
pub(super) fn error_line(text: &str) -> String {
    shortened(&sanitize_line(text), 1000)
}

/// What the server answered to a `POST /prompt`.
#[derive(Clone, Debug)]
pub enum Submission {
    /// Queued.
    Accepted {
        /// The server's id for it; an old server ignores ours.
        id: String,
        /// Outputs that the server dropped: one line a node with errors.
        node_errors: Vec<String>,
    },
    /// Refused, with the reasons.
    Rejected(String),
    /// 200 without a `prompt_id`: what it says instead. Posting again would be answered so again.
    NoId(String),
}

impl Submission {
    /// None if the answer says nothing about the prompt.
    pub(super) fn parse(status: u16, answer: &Value) -> Option<Self> {
        let node_errors = node_errors(&answer["node_errors"]);
        match status {
            200 => Some(match answer["prompt_id"].as_str().filter(|id| is_valid_id(id)) {
                Some(id) => Submission::Accepted { id: id.to_owned(), node_errors },
                None if answer.is_object() => Submission::NoId(
                    error_message(answer).unwrap_or_else(|| error_line(&answer.to_string())),
                ),
                None => return None,
            }),
            400 if node_errors.is_empty() => error_message(answer).map(Submission::Rejected),
            400 => Some(Submission::Rejected(first_of(node_errors, 20, |more| {
                format!("and {}", counted(more, "more node"))
            }))),
            _ => None,
        }
    }
}

/// One line a node of `node_errors`: `node 4 CheckpointLoaderSimple ckpt_name: …`.
fn node_errors(value: &Value) -> Vec<String> {
    let line = |(id, node): (&str, &Value)| {
        let class = node["class_type"].as_str().unwrap_or_default();
        let errors = node["errors"].as_array().into_iter().flatten();
        let mut errors: Vec<_> = errors.map(node_error).collect();
        errors.sort_unstable(); // the server's order within a node is not stable
        error_line(&format!("node {id} {class} {}", errors.join(", ")))
    };
    nodes_in_order(value).into_iter().map(line).collect()
}

fn node_error(error: &Value) -> String {
    let extra = &error["extra_info"];
    let (input, received) = (extra["input_name"].as_str(), extra["received_value"].as_str());
    if error["type"] == "value_not_in_list"
        && let (Some(input), Some(received)) = (input, received)
    {
        let config = &extra["input_config"];
        let options = config[0].as_array().or_else(|| config[1]["options"].as_array());
        return not_in_list(input, received, options.map(Vec::as_slice).unwrap_or_default());
    }
    let message = error["message"].as_str().unwrap_or("refused");
    let details = error["details"].as_str().unwrap_or_default();
    // `image - Invalid image file: a.png`: the node itself says why.
    if error["type"] == "custom_validation_failed"
        && let Some((input, why)) = details.split_once(" - ")
    {
        return format!("{input}: {why}");
    }
    if details.is_empty() { message.to_owned() } else { format!("{details}: {message}") }
}

/// The error of a value that is not one of the server's options.
pub(super) fn not_in_list(input: &str, received: &str, options: &[Value]) -> String {
    let near = nearest(received, options.iter().filter_map(Value::as_str));
    let near = near.map(|near| format!(" (nearest: '{near}')")).unwrap_or_default();
    format!("{input}: '{received}' is not in the server's list{near}")
}

/// The message of a refusal that names no node.
fn error_message(answer: &Value) -> Option<String> {
    let error = &answer["error"];
    let message = error.as_str().or(error["message"].as_str())?;
    let details = error["details"].as_str().filter(|text| !text.is_empty() && *text != message);
    let details = details.map(|details| format!(" ({details})")).unwrap_or_default();
    Some(error_line(&format!("{message}{details}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn node_errors_name_node_input_and_the_nearest_choice() {
        let errors = json!({
            "11": {"class_type": "LoadImage", "errors": [
                {"type": "custom_validation_failed", "message": "Custom validation failed for node",
                 "details": "image - Invalid image file: a.png"}]},
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
                "node 11 LoadImage image: Invalid image file: a.png",
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
            match Submission::parse(400, &value) {
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
            error_message(&error).unwrap(),
            "Cannot execute because node NoSuchNode does not exist. (Node ID '#1')"
        );
        assert_eq!(error_message(&json!({"error": "no prompt"})).unwrap(), "no prompt");
        assert_eq!(error_message(&json!({})), None);
    }

    #[test]
    fn a_uuid_is_canonical_and_new() {
        let one = uuid();
        assert_eq!(one.len(), 36);
        assert_eq!(one.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&one.as_bytes()[19]), "{one}");
        assert!(one.bytes().all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        assert_ne!(one, uuid());
    }
}
