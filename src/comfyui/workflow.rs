//! An API-format workflow: loading it, and changing its inputs by name.

use serde_json::{Map, Value};

use super::json::in_order;
use crate::sanitize::{escape_json, sanitize_line};
use crate::suggest::nearest;

/// A graph as `POST /prompt` takes it: node id → `class_type`, `inputs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Workflow {
    nodes: Map<String, Value>,
}

impl Workflow {
    /// The graph in a file's text. A `{"prompt": {…}}` wrapper is unwrapped.
    ///
    /// # Errors
    /// Not JSON (with line and column), the editor's format, or no graph; one line without the
    /// file's name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let value: Value =
            serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
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
            if !node["class_type"].is_string() {
                return Err(format!("no workflow: node {} has no class_type", sanitize_line(id)));
            }
            if !node.get("inputs").is_none_or(Value::is_object) {
                return Err(format!(
                    "no workflow: the inputs of node {} are no object",
                    sanitize_line(id)
                ));
            }
        }
        Ok(Workflow { nodes })
    }

    /// The graph, for a document that carries it unread.
    pub fn to_json(&self) -> Value {
        self.nodes.clone().into()
    }

    /// The graph as a person reads it: indented, its nodes in the order of their numbers. It is
    /// JSON, with escapes for what a terminal would act on.
    pub fn text(&self) -> String {
        let node = |id: &str| {
            let node = format!("{:#}", self.nodes[id]).replace('\n', "\n  ");
            format!("  {}: {node}", Value::from(id))
        };
        let nodes: Vec<String> = self.ids().into_iter().map(node).collect();
        escape_json(&format!("{{\n{}\n}}", nodes.join(",\n")))
    }

    pub(super) fn nodes(&self) -> &Map<String, Value> {
        &self.nodes
    }

    /// Gives an input a value of the type that it has. `node` is an id, or a title or a
    /// `class_type` that only one node has.
    ///
    /// # Errors
    /// No such node or input (with near names), more than one, a link, or a value of another
    /// type; one line.
    pub fn set(&mut self, node: &str, input: &str, value: &str) -> Result<(), String> {
        let id = self.find(node)?;
        let names: Vec<String> = self.inputs(&id).map(|(name, _)| name.clone()).collect();
        let class = self.class(&id).to_owned();
        let Some(old) = self.input_mut(&id, input) else {
            let near = nearest(input, names.iter().map(String::as_str))
                .map_or_else(|| format!("it has {}", names.join(", ")), did_you_mean);
            return Err(format!("node {id} {class} has no input '{input}': {near}"));
        };
        if is_link(old) {
            return Err(format!("input {input} of node {id} {class} is a link from another node"));
        }
        *old = like(old, value).ok_or_else(|| {
            format!("input {input} of node {id} {class} takes {}, not '{value}'", kind(old))
        })?;
        Ok(())
    }

    /// Puts the seed into every `seed` and `noise_seed` that is not a link, and says into how
    /// many.
    pub fn seed(&mut self, seed: u64) -> usize {
        let mut count = 0;
        for node in self.nodes.values_mut() {
            for name in ["seed", "noise_seed"] {
                if let Some(value) = node.get_mut("inputs").and_then(|inputs| inputs.get_mut(name))
                    && !is_link(value)
                {
                    *value = seed.into();
                    count += 1;
                }
            }
        }
        count
    }

    /// The ids in the order of their numbers.
    pub(super) fn ids(&self) -> Vec<&str> {
        in_order(self.nodes.keys().map(String::as_str).collect())
    }

    pub(super) fn class(&self, id: &str) -> &str {
        self.nodes.get(id).and_then(|node| node["class_type"].as_str()).unwrap_or_default()
    }

    pub(super) fn inputs(&self, id: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.nodes.get(id).and_then(|node| node["inputs"].as_object()).into_iter().flatten()
    }

    pub(super) fn input(&self, id: &str, name: &str) -> Option<&Value> {
        self.nodes.get(id)?.get("inputs")?.get(name)
    }

    pub(super) fn input_mut(&mut self, id: &str, name: &str) -> Option<&mut Value> {
        self.nodes.get_mut(id)?.get_mut("inputs")?.get_mut(name)
    }

    pub(super) fn all_inputs_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        self.nodes
            .values_mut()
            .filter_map(|node| node.get_mut("inputs")?.as_object_mut())
            .flat_map(|inputs| inputs.iter_mut().map(|(_, value)| value))
    }

    /// What its nodes are called, as far as a line has room for it.
    fn listed(&self) -> String {
        const SHOWN: usize = 20;
        let ids = self.ids();
        let called = |id: &&str| {
            let title = self.title(id).map(|title| format!(" '{title}'"));
            sanitize_line(&format!("{id} {}{}", self.class(id), title.unwrap_or_default()))
        };
        let mut names: Vec<String> = ids.iter().take(SHOWN).map(called).collect();
        names.extend(ids.len().checked_sub(SHOWN + 1).map(|more| format!("{} more", more + 1)));
        names.join(", ")
    }

    fn title(&self, id: &str) -> Option<&str> {
        self.nodes.get(id)?["_meta"]["title"].as_str()
    }

    fn find(&self, name: &str) -> Result<String, String> {
        if self.nodes.contains_key(name) {
            return Ok(name.to_owned());
        }
        let named = |get: &dyn Fn(&str) -> bool| -> Vec<&str> {
            self.ids().into_iter().filter(|id| get(id)).collect()
        };
        let mut found = named(&|id| self.title(id) == Some(name));
        if found.is_empty() {
            found = named(&|id| self.class(id) == name);
        }
        match found.as_slice() {
            [one] => Ok((*one).to_owned()),
            [] => {
                let ids = self.ids();
                let names = ids.iter().flat_map(|id| {
                    [Some(*id), self.title(id), Some(self.class(id))].into_iter().flatten()
                });
                let near = nearest(name, names)
                    .map_or_else(|| format!("there are {}", self.listed()), did_you_mean);
                Err(format!("no node '{name}': {near}"))
            }
            many => Err(format!(
                "{} nodes are called '{name}': name one by its id ({})",
                many.len(),
                many.join(", ")
            )),
        }
    }
}

fn did_you_mean(name: &str) -> String {
    format!("did you mean '{}'?", sanitize_line(name))
}

/// A link to another node's output: `["4", 0]`.
pub(super) fn is_link(value: &Value) -> bool {
    matches!(value.as_array().map(Vec::as_slice), Some([Value::String(_), Value::Number(_)]))
}

/// The text as a value of the type that `old` has.
fn like(old: &Value, text: &str) -> Option<Value> {
    match old {
        Value::String(_) => Some(text.into()),
        Value::Bool(_) => match text.to_ascii_lowercase().as_str() {
            "true" | "$true" => Some(true.into()),
            "false" | "$false" => Some(false.into()),
            _ => None,
        },
        Value::Number(number) if number.is_f64() => text
            .trim()
            .parse::<f64>()
            .ok()
            .and_then(serde_json::Number::from_f64)
            .map(Value::Number),
        Value::Number(_) => {
            let text = text.trim();
            text.parse::<i64>()
                .map(Into::into)
                .or_else(|_| text.parse::<u64>().map(Into::into))
                .ok()
        }
        _ => serde_json::from_str(text).ok(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number",
        Value::Number(_) => "a whole number",
        _ => "JSON",
    }
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
            graph.set(node, input, text).unwrap();
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
            assert_eq!(graph.set(node, input, text).unwrap_err(), wanted);
        }
    }

    #[test]
    fn a_shown_graph_is_the_graph_in_order_and_harmless() {
        let mut graph = graph();
        graph.set("6", "text", "line\nbreak \u{1b}[31m \u{202e}\u{9b}\u{e0061} Grüße").unwrap();
        let text = graph.text();
        assert_eq!(Workflow::parse(&text).unwrap(), graph);
        assert!(text.find("\"6\"").unwrap() < text.find("\"10\"").unwrap(), "{text}");
        let harmful = |c: char| c.is_control() && c != '\n' || "\u{202e}\u{e0061}".contains(c);
        assert!(!text.contains(harmful) && text.contains("Grüße"), "{text}");
    }

    #[test]
    fn seeds_that_are_links_stay() {
        let mut graph = graph();
        assert_eq!(graph.seed(42), 1);
        assert_eq!(graph.input("3", "seed"), Some(&Value::from(42)));
        assert!(is_link(graph.input("3", "noise_seed").unwrap()));
    }
}
