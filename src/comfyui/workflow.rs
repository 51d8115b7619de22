//! An API-format workflow: loading it, and changing its inputs by name.

use std::collections::BTreeSet;

use serde_json::{Map, Number, Value};

use super::json::in_node_order;
use crate::sanitize::{escape_json, sanitize_line};
use crate::suggest::nearest;

/// A graph as `POST /prompt` takes it: node id → `class_type`, `inputs`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workflow {
    pub(super) nodes: Map<String, Value>,
}

impl Workflow {
    /// Reads the graph from a file's text. A `{"prompt": {…}}` wrapper is unwrapped.
    ///
    /// # Errors
    /// Not JSON (with line and column), the editor's format, or no graph; one line without the
    /// file's name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        let Value::Object(mut nodes) = value else {
            return Err("no workflow: its top level is not an object".into());
        };
        if nodes.get("nodes").is_some_and(Value::is_array) && nodes.contains_key("links") {
            return Err("the editor's format: in ComfyUI, menu Workflow, Export (API)".into());
        }
        if nodes.get("scenes").is_some_and(Value::is_array) {
            return Err("a story: --story FILE --workflow TEMPLATE".into());
        }
        if let Some(Value::Object(inner)) = nodes.get_mut("prompt")
            && !inner.contains_key("class_type")
        {
            nodes = std::mem::take(inner);
        }
        if nodes.is_empty() {
            return Err("no workflow: it has no nodes".into());
        }
        for (id, node) in &nodes {
            let id = sanitize_line(id);
            if !node["class_type"].is_string() {
                return Err(format!("no workflow: node {id} has no class_type"));
            }
            if !node.get("inputs").is_none_or(Value::is_object) {
                return Err(format!("no workflow: the inputs of node {id} are no object"));
            }
        }
        Ok(Workflow { nodes })
    }

    /// The graph as JSON.
    pub fn to_json(&self) -> Value {
        self.nodes.clone().into()
    }

    /// The graph as indented JSON, its nodes in the order of their numbers, with `\u` escapes for
    /// control characters.
    pub fn to_pretty_json(&self) -> String {
        let node = |id: &str| {
            let node = format!("{:#}", self.nodes[id]).replace('\n', "\n  ");
            format!("  {}: {node}", Value::from(id))
        };
        let nodes: Vec<String> = self.ids().into_iter().map(node).collect();
        escape_json(&format!("{{\n{}\n}}", nodes.join(",\n")))
    }

    /// Sets an input to a value of the type that it has. `node` is an id, or a title or a
    /// `class_type` that only one node has.
    ///
    /// # Errors
    /// No such node or input (with near names), more than one, a link, or a value of another
    /// type; one line.
    pub fn set_input(&mut self, node: &str, input: &str, value: &str) -> Result<(), String> {
        let id = self.find(node)?;
        let place = format!("node {id} {}", self.class(&id));
        let Some(old) = self.input(&id, input) else {
            let names: Vec<&str> = self.inputs(&id).map(|(name, _)| name.as_str()).collect();
            let near = nearest(input, names.iter().copied())
                .map_or_else(|| format!("it has {}", names.join(", ")), did_you_mean);
            return Err(format!("{place} has no input '{input}': {near}"));
        };
        if is_link(old) {
            return Err(format!("input {input} of {place} is a link from another node"));
        }
        let new = parse_like(old, value)
            .map_err(|kind| format!("input {input} of {place} takes {kind}, not '{value}'"))?;
        self.set_value(&id, input, new);
        Ok(())
    }

    /// Sets every `seed` and `noise_seed` that is not a link, and returns how many there are.
    pub fn set_seeds(&mut self, seed: u64) -> usize {
        let is_seed = |name: &str| ["seed", "noise_seed"].contains(&name);
        self.set_inputs(&seed.into(), |name, value| is_seed(name) && !is_link(value))
    }

    /// Sets the inputs that are wanted by name and value, and returns how many there are.
    pub(super) fn set_inputs(
        &mut self,
        new: &Value,
        is_wanted: impl Fn(&str, &Value) -> bool,
    ) -> usize {
        let wanted = self.inputs_mut().filter(|(name, value)| is_wanted(name, value));
        wanted.map(|(_, value)| *value = new.clone()).count()
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The ids in the order of their numbers.
    pub(super) fn ids(&self) -> Vec<&str> {
        in_node_order(self.nodes.keys().map(String::as_str).collect())
    }

    /// The class of a node; empty where there is no such node.
    pub fn class(&self, id: &str) -> &str {
        self.nodes.get(id).and_then(|node| node["class_type"].as_str()).unwrap_or_default()
    }

    pub(super) fn inputs(&self, id: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.nodes.get(id).and_then(|node| node["inputs"].as_object()).into_iter().flatten()
    }

    pub(super) fn input(&self, id: &str, name: &str) -> Option<&Value> {
        self.nodes.get(id)?.get("inputs")?.get(name)
    }

    /// Sets an input that the node has.
    pub(super) fn set_value(&mut self, id: &str, input: &str, value: Value) {
        self.nodes[id]["inputs"][input] = value;
    }

    /// The node that an input is linked to.
    pub(super) fn source(&self, id: &str, input: &str) -> Option<&str> {
        self.input(id, input).and_then(link_source)
    }

    /// The inputs of all nodes.
    pub(super) fn inputs_mut(&mut self) -> impl Iterator<Item = (&String, &mut Value)> {
        self.nodes.values_mut().filter_map(|node| node.get_mut("inputs")?.as_object_mut()).flatten()
    }

    /// The first 20 nodes with their classes and titles in one line.
    fn listed(&self) -> String {
        const SHOWN: usize = 20;
        let ids = self.ids();
        let name = |id: &&str| {
            let title = self.title(id).map(|title| format!(" '{title}'"));
            sanitize_line(&format!("{id} {}{}", self.class(id), title.unwrap_or_default()))
        };
        let mut names: Vec<String> = ids.iter().take(SHOWN).map(name).collect();
        names.extend(ids.len().checked_sub(SHOWN + 1).map(|more| format!("{} more", more + 1)));
        names.join(", ")
    }

    fn title(&self, id: &str) -> Option<&str> {
        self.nodes.get(id)?["_meta"]["title"].as_str()
    }

    /// The id of the node with this id, title or class.
    fn find(&self, name: &str) -> Result<String, String> {
        if self.nodes.contains_key(name) {
            return Ok(name.to_owned());
        }
        let ids = self.ids();
        let titled = ids.iter().filter(|id| self.title(id) == Some(name));
        let mut found: Vec<&str> = titled.copied().collect();
        if found.is_empty() {
            found = ids.iter().filter(|id| self.class(id) == name).copied().collect();
        }
        match found.as_slice() {
            [one] => Ok((*one).to_owned()),
            [] => {
                let names = |id| [Some(id), self.title(id), Some(self.class(id))];
                let near = nearest(name, ids.into_iter().flat_map(names).flatten())
                    .map_or_else(|| format!("there are {}", self.listed()), did_you_mean);
                Err(format!("no node '{name}': {near}"))
            }
            many => {
                let (count, ids) = (many.len(), many.join(", "));
                Err(format!("{count} nodes are called '{name}': name one by its id ({ids})"))
            }
        }
    }
}

/// These nodes and all that are reached from them, step by step, through `next`. Not recursive: a
/// chain may be longer than a stack is deep.
pub(super) fn reachable<'a>(
    mut open: Vec<&'a str>,
    next: impl Fn(&'a str) -> Vec<&'a str>,
) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    while let Some(id) = open.pop() {
        if found.insert(id) {
            open.extend(next(id));
        }
    }
    found
}

fn did_you_mean(name: &str) -> String {
    format!("did you mean '{}'?", sanitize_line(name))
}

/// A link to another node's output: `["4", 0]`.
pub(super) fn is_link(value: &Value) -> bool {
    matches!(value.as_array().map(Vec::as_slice), Some([Value::String(_), Value::Number(_)]))
}

/// The node at the other end of a link.
pub(super) fn link_source(value: &Value) -> Option<&str> {
    if is_link(value) { value[0].as_str() } else { None }
}

/// The text as a value of the type that `old` has. The error names the type.
fn parse_like(old: &Value, text: &str) -> Result<Value, &'static str> {
    match old {
        Value::String(_) => Ok(text.into()),
        Value::Bool(_) => match text.to_ascii_lowercase().as_str() {
            "true" | "$true" => Ok(true.into()),
            "false" | "$false" => Ok(false.into()),
            _ => Err("true or false"),
        },
        Value::Number(number) if number.is_f64() => {
            let number = text.trim().parse().ok().and_then(Number::from_f64);
            number.map(Value::Number).ok_or("a number")
        }
        Value::Number(_) => parse_integer(text).ok_or("a whole number"),
        _ => serde_json::from_str(text).map_err(|_| "JSON"),
    }
}

/// An integer from `i64::MIN` to `u64::MAX`.
pub(super) fn parse_integer(text: &str) -> Option<Value> {
    let (signed, unsigned) = (text.trim().parse::<i64>(), text.trim().parse::<u64>());
    signed.map(Value::from).or(unsigned.map(Value::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Workflow {
        Workflow::parse(
            r#"{"3": {"class_type": "KSampler", "inputs": {"seed": 5, "cfg": 7.5, "model": ["4", 0],
                      "noise_seed": ["9", 0]}, "_meta": {"title": "The sampler"}},
                "10": {"class_type": "CLIPTextEncode", "inputs": {"text": "a"}},
                "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "b", "on": true}}}"#,
        )
        .unwrap()
    }

    #[test]
    fn what_is_no_workflow_is_named() {
        for (text, wanted) in [
            ("{\"a\": ", "not JSON: EOF while parsing a value at line 1 column 6"),
            ("[]", "no workflow: its top level is not an object"),
            ("{}", "no workflow: it has no nodes"),
            (
                r#"{"nodes": [], "links": []}"#,
                "the editor's format: in ComfyUI, menu Workflow, Export (API)",
            ),
            (r#"{"scenes": []}"#, "a story: --story FILE --workflow TEMPLATE"),
            (r#"{"3": {"inputs": {}}}"#, "no workflow: node 3 has no class_type"),
            (r#"{"3": 5}"#, "no workflow: node 3 has no class_type"),
            (
                r#"{"3": {"class_type": "X", "inputs": []}}"#,
                "no workflow: the inputs of node 3 are no object",
            ),
        ] {
            assert_eq!(Workflow::parse(text).unwrap_err(), wanted);
        }
        let wrapped = Workflow::parse("\u{feff}{\"prompt\": {\"3\": {\"class_type\": \"X\"}}}");
        assert_eq!(wrapped.unwrap().class("3"), "X");
    }

    #[test]
    fn a_value_keeps_the_type_of_its_input() {
        let mut graph = graph();
        for (node, input, text, wanted) in [
            ("3", "seed", "18446744073709551615", Value::from(u64::MAX)),
            ("The sampler", "cfg", "8", Value::from(8.0)),
            ("KSampler", "seed", "-1", Value::from(-1)),
            ("6", "text", "12", Value::from("12")),
            ("6", "on", "$false", Value::from(false)),
        ] {
            graph.set_input(node, input, text).unwrap();
            let id = graph.find(node).unwrap();
            assert_eq!(graph.input(&id, input), Some(&wanted));
        }
        for (node, input, text, wanted) in [
            ("3", "sed", "1", "node 3 KSampler has no input 'sed': did you mean 'seed'?"),
            ("3", "seed", "x", "input seed of node 3 KSampler takes a whole number, not 'x'"),
            ("3", "model", "x", "input model of node 3 KSampler is a link from another node"),
            ("KSamplr", "seed", "1", "no node 'KSamplr': did you mean 'KSampler'?"),
            (
                "42",
                "seed",
                "1",
                "no node '42': there are 3 KSampler 'The sampler', 6 CLIPTextEncode, 10 CLIPTextEncode",
            ),
            (
                "CLIPTextEncode",
                "text",
                "x",
                "2 nodes are called 'CLIPTextEncode': name one by its id (6, 10)",
            ),
        ] {
            assert_eq!(graph.set_input(node, input, text).unwrap_err(), wanted);
        }
    }

    #[test]
    fn pretty_json_is_the_same_graph_in_order_with_escapes() {
        let mut graph = graph();
        graph
            .set_input("6", "text", "line\nbreak \u{1b}[31m \u{202e}\u{9b}\u{e0061} Grüße")
            .unwrap();
        let text = graph.to_pretty_json();
        assert_eq!(Workflow::parse(&text).unwrap(), graph);
        assert!(text.find("\"6\"").unwrap() < text.find("\"10\"").unwrap(), "{text}");
        let harmful = |c: char| c.is_control() && c != '\n' || "\u{202e}\u{e0061}".contains(c);
        assert!(!text.contains(harmful) && text.contains("Grüße"), "{text}");
    }

    #[test]
    fn seeds_that_are_links_stay() {
        let mut graph = graph();
        assert_eq!(graph.set_seeds(42), 1);
        assert_eq!(graph.input("3", "seed"), Some(&Value::from(42)));
        assert!(is_link(graph.input("3", "noise_seed").unwrap()));
    }
}
