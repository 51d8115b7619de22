//! Walking an API-format graph.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value};

use super::nodes;

/// A graph: node id to node.
pub type Graph = Map<String, Value>;

/// A node to execute.
pub struct Node<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its `class_type`.
    pub class: &'a str,
    /// Its inputs.
    pub inputs: &'a Map<String, Value>,
    /// Equal for nodes whose class and inputs, all the way up, are equal.
    pub signature: u64,
}

impl Node<'_> {
    /// A text input.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.inputs.get(name)?.as_str()
    }

    /// A number input that is not negative.
    pub fn number(&self, name: &str, default: f64) -> f64 {
        self.inputs.get(name).and_then(Value::as_f64).unwrap_or(default).max(0.0)
    }

    /// The input `mb`, in bytes.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few GB")]
    pub fn megabytes(&self, default: f64) -> u64 {
        (self.number("mb", default) * 1_048_576.0) as u64
    }
}

/// A node's class and inputs.
pub fn parts(node: &Value) -> Option<(&str, &Map<String, Value>)> {
    Some((node.get("class_type")?.as_str()?, node.get("inputs")?.as_object()?))
}

/// The node that an input is linked to: `["4", 0]`.
pub fn link(input: &Value) -> Option<&str> {
    match input.as_array()?.as_slice() {
        [Value::String(id), Value::Number(_)] => Some(id),
        _ => None,
    }
}

/// Ids in the order of their numbers.
pub fn by_number(id: &str) -> (u64, &str) {
    (id.parse().unwrap_or(u64::MAX), id)
}

/// The nodes that the outputs need, in the order of their ids. The graph is a valid one.
pub fn reachable<'a>(graph: &'a Graph, outputs: &[String]) -> Vec<Node<'a>> {
    let mut found = BTreeMap::new();
    for output in outputs {
        visit(graph, output, &mut found);
    }
    let mut nodes: Vec<Node> = found.into_values().collect();
    nodes.sort_by_key(|node| by_number(node.id));
    nodes
}

fn visit<'a>(graph: &'a Graph, id: &str, found: &mut BTreeMap<&'a str, Node<'a>>) -> u64 {
    if let Some(node) = found.get(id) {
        return node.signature;
    }
    let Some((id, (class, inputs))) =
        graph.get_key_value(id).and_then(|(id, node)| Some((id, parts(node)?)))
    else {
        return 0;
    };
    let mut hasher = DefaultHasher::new();
    class.hash(&mut hasher);
    for (name, input) in inputs {
        name.hash(&mut hasher);
        match link(input) {
            Some(source) => (visit(graph, source, found), &input[1]).hash(&mut hasher),
            None => input.hash(&mut hasher),
        }
    }
    let signature = hasher.finish();
    found.insert(id, Node { id, class, inputs, signature });
    signature
}

/// Takes a node out that waits for no other one; output nodes come first, as in `ComfyUI`.
pub fn take_ready<'a>(open: &mut Vec<Node<'a>>) -> Option<Node<'a>> {
    let is_open = |id: &str| open.iter().any(|node| node.id == id);
    let ready = |node: &Node| !node.inputs.values().filter_map(link).any(is_open);
    let at = (0..open.len())
        .filter(|at| ready(&open[*at]))
        .min_by_key(|at| !nodes::class(open[*at].class).is_some_and(|class| class.output))?;
    Some(open.remove(at))
}

/// The inputs of the first node of a class at or above a node.
pub fn source<'a>(graph: &'a Graph, id: &str, wanted: &str) -> Option<&'a Map<String, Value>> {
    let (class, inputs) = parts(graph.get(id)?)?;
    if class == wanted {
        return Some(inputs);
    }
    inputs.values().filter_map(link).find_map(|id| source(graph, id, wanted))
}
