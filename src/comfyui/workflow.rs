//! A workflow: loading it, and changing its inputs by name.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Number, Value, json};

use super::editor_format::{EditorFile, Environment, is_editor_format, other_program};
use super::json::{self, in_node_order};
use super::validate::{ObjectInfo, declared_inputs};
use crate::sanitize::{escape_json, sanitize_line};
use crate::suggest::nearest;

/// A graph as `POST /prompt` takes it: node id → `class_type`, `inputs`, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workflow {
    /// Empty as long as a file in the editor's format is not converted.
    pub(super) nodes: Map<String, Value>,
    /// What is posted beside it: `extra_pnginfo` for nodes that read it and for the metadata of the
    /// outputs, the editor's file among it; keys of partner nodes. Secrets may be in it. Shared by
    /// the scenes of a file, which may be large.
    pub(super) extra_data: Arc<Map<String, Value>>,
}

/// Wrappers within each other, at most.
const MAX_WRAPPERS: usize = 4;

impl Workflow {
    /// Reads the graph from a file's text. Wrappers are unwrapped: `{"prompt": {…}}`, whose
    /// `extra_data` is kept, `{"input": {"workflow": {…}}}`, `{"output": {…}}`, a graph as a JSON
    /// string. Bare `NaN` is read as null, and what the server remembers of an execution
    /// (`is_changed`) is dropped. A file in the editor's format waits for [`Workflow::convert`].
    ///
    /// # Errors
    /// Not JSON (with line and column), no graph, or another program's file; one line without the
    /// file's name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let not_json = |error| format!("not JSON: {error}");
        let mut value = json::parse_file(text).map_err(not_json)?;
        let mut extra_data = Map::new();
        for _ in 0..MAX_WRAPPERS {
            let inner = match &mut value {
                Value::String(text) => Some(json::parse_file(text).map_err(not_json)?),
                wrapper => unwrap(wrapper, &mut extra_data),
            };
            let Some(inner) = inner else { break };
            value = inner;
        }
        if is_editor_format(&value) {
            EditorFile::parse(&value).map_err(|why| format!("no workflow: {why}"))?;
            extra_data.insert("extra_pnginfo".to_owned(), json!({ "workflow": value }));
            return Ok(Workflow { nodes: Map::new(), extra_data: Arc::new(extra_data) });
        }
        if let Some(program) = other_program(&value) {
            return Err(format!("no workflow of ComfyUI: it is a file of {program}"));
        }
        let Value::Object(mut nodes) = value else {
            return Err("no workflow: its top level is not an object".into());
        };
        if nodes.get("scenes").is_some_and(Value::is_array) {
            return Err("a story: --story FILE --workflow TEMPLATE".into());
        }
        if nodes.is_empty() {
            return Err("no workflow: it has no nodes".into());
        }
        for (id, node) in &mut nodes {
            let id = sanitize_line(id);
            if !node["class_type"].is_string() {
                return Err(format!("no workflow: node {id} has no class_type"));
            }
            if !node.get("inputs").is_none_or(Value::is_object) {
                return Err(format!("no workflow: the inputs of node {id} are no object"));
            }
            node.as_object_mut().map(|node| node.shift_remove("is_changed"));
        }
        Ok(Workflow { nodes, extra_data: Arc::new(extra_data) })
    }

    /// The editor's file, as long as it is not converted.
    fn drawn(&self) -> Option<&Value> {
        self.extra_data.get("extra_pnginfo")?.get("workflow").filter(|_| self.nodes.is_empty())
    }

    /// Whether it is a file in the editor's format that waits for [`Workflow::convert`].
    pub fn is_drawn(&self) -> bool {
        self.drawn().is_some()
    }

    /// The classes of its nodes, as far as the server has to know them.
    pub fn classes(&self) -> BTreeSet<&str> {
        match self.drawn() {
            Some(file) => EditorFile::parse(file).map(|file| file.classes()).unwrap_or_default(),
            None => self.nodes.keys().map(|id| self.class(id)).collect(),
        }
    }

    /// Makes the graph of a file in the editor's format, by the server's description of its
    /// [`Workflow::classes`]. Returns what of it did not agree with them, a line a node.
    ///
    /// # Errors
    /// What cannot be carried out as the editor would: one line a node.
    pub fn convert(
        &mut self,
        object_info: &ObjectInfo,
        environment: Environment,
    ) -> Result<Vec<String>, Vec<String>> {
        let Some(file) = self.drawn() else { return Ok(Vec::new()) };
        let file = EditorFile::parse(file).map_err(|why| vec![why])?;
        let made = file.convert(object_info, environment)?;
        self.nodes = made.workflow.nodes;
        Ok(made.warnings)
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

    /// Sets an input. `node` is an id, or a title or a `class_type` that only one node has. The value
    /// is of the type that the class declares in `object_info`, else of the type that the file has
    /// there; a number stays a number. An input that the file leaves out is added where the class has
    /// it.
    ///
    /// # Errors
    /// No such node or input (with near names), more than one, a link, or a value of another type;
    /// one line. Without `object_info` the server may know better: [`SetError::Open`].
    pub fn set_input(
        &mut self,
        node: &str,
        input: &str,
        value: &str,
        object_info: Option<&ObjectInfo>,
    ) -> Result<(), SetError> {
        let id = self.find(node).map_err(SetError::Refused)?;
        let place = format!("node {id} {}", self.class(&id));
        let old = self.input(&id, input);
        if old.is_some_and(is_link) {
            let why = format!("input {input} of {place} is a link from another node");
            return Err(SetError::Refused(why));
        }
        let class = object_info.and_then(|info| info.described(self.class(&id)).ok());
        let declared = || class.into_iter().flat_map(|class| declared_inputs(&class["input"]));
        let kind = declared().find(|(name, _)| *name == input);
        let parsed = match (kind, old) {
            (Some((_, config)), _) => parse_declared(config, value),
            (None, Some(old)) => parse_like(old, value),
            (None, None) => {
                let mut names: Vec<&str> = self.inputs(&id).map(|(name, _)| &**name).collect();
                names.extend(declared().map(|(name, _)| name));
                let near = nearest(input, names.iter().copied())
                    .map_or_else(|| format!("it has {}", names.join(", ")), did_you_mean);
                let why = format!("{place} has no input '{input}': {near}");
                return Err(SetError::undecided(object_info, why));
            }
        };
        let new = parsed.map_err(|kind| {
            let why = format!("input {input} of {place} takes {kind}, not '{value}'");
            SetError::undecided(object_info, why)
        })?;
        self.set_value(&id, input, new);
        Ok(())
    }

    /// The class of the node of that id, title or class; none where it is not one.
    pub fn class_of(&self, node: &str) -> Option<&str> {
        self.find(node).ok().map(|id| self.class(&id))
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

    /// Sets an input of a node that there is; the input need not be there.
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

/// What a wrapper holds, if it is one; what is posted beside the graph goes into `extra_data`.
fn unwrap(value: &mut Value, extra_data: &mut Map<String, Value>) -> Option<Value> {
    if is_editor_format(value) {
        return None;
    }
    let is_node = |value: &Value| value.get("class_type").is_some();
    let holds_graph = |value: &Value| value.is_string() || value.is_object() && !is_node(value);
    if value["input"].get("workflow").is_some_and(holds_graph) {
        return Some(value["input"]["workflow"].take());
    }
    let mut keys = ["prompt", "output"].into_iter();
    let key = keys.find(|key| value.get(key).is_some_and(holds_graph))?;
    if let Some(Value::Object(more)) = value.get_mut("extra_data") {
        extra_data.append(more);
    }
    // What the editor hands over beside the graph, to be kept in the outputs.
    if value["workflow"]["nodes"].is_array() {
        let workflow = value["workflow"].take();
        extra_data.entry("extra_pnginfo").or_insert(json!({ "workflow": workflow }));
    }
    Some(value[key].take())
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

/// Why an input was not set; one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    /// It is wrong.
    Refused(String),
    /// It looks wrong in the file alone; the server's description of the class decides.
    Open(String),
}

impl SetError {
    fn undecided(object_info: Option<&ObjectInfo>, why: String) -> Self {
        if object_info.is_some() { SetError::Refused(why) } else { SetError::Open(why) }
    }
}

/// The text as a value of the type that `old` has. The error names the type.
fn parse_like(old: &Value, text: &str) -> Result<Value, &'static str> {
    match old {
        Value::String(_) => Ok(text.into()),
        Value::Bool(_) => parse_bool(text),
        Value::Number(_) => parse_number(text),
        _ => serde_json::from_str(text).map_err(|_| "JSON"),
    }
}

/// The text as a value of the type that a class declares for an input: `["INT", {…}]`, or a list of
/// options.
fn parse_declared(config: &Value, text: &str) -> Result<Value, &'static str> {
    let options = config[0].as_array().or(config[1]["options"].as_array());
    match (config[0].as_str().unwrap_or_default(), options) {
        ("INT", _) => parse_integer(text).ok_or("a whole number"),
        ("FLOAT", _) => parse_number(text),
        ("BOOLEAN", _) => parse_bool(text),
        (_, Some(options)) => {
            let number = parse_number(text).ok().filter(|number| options.contains(number));
            Ok(number.unwrap_or(text.into()))
        }
        ("STRING", _) => Ok(text.into()),
        _ => Ok(serde_json::from_str(text).unwrap_or(text.into())),
    }
}

fn parse_bool(text: &str) -> Result<Value, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "$true" => Ok(true.into()),
        "false" | "$false" => Ok(false.into()),
        _ => Err("true or false"),
    }
}

fn parse_number(text: &str) -> Result<Value, &'static str> {
    let exact = serde_json::from_str::<Number>(text.trim()).ok();
    let other = || text.trim().parse().ok().and_then(Number::from_f64);
    exact.or_else(other).map(Value::Number).ok_or("a number")
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
            (r#"{"nodes": [], "connections": {}}"#, "no workflow of ComfyUI: it is a file of n8n"),
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
        let graph =
            r#"{"3": {"class_type": "X", "is_changed": [NaN], "inputs": {"f2": 1, "f10": NaN}}}"#;
        let bare = Workflow::parse(graph).unwrap();
        assert_eq!(
            bare.to_json().to_string(),
            r#"{"3":{"class_type":"X","inputs":{"f2":1,"f10":null}}}"#
        );
        for wrapped in [
            format!("\u{feff}{{\"prompt\": {graph}}}"),
            format!(r#"{{"input": {{"workflow": {graph}}}}}"#),
            format!(r#"{{"output": {graph}, "workflow": 5}}"#),
            json!({ "prompt": graph }).to_string(),
            json!(graph).to_string(),
        ] {
            assert_eq!(Workflow::parse(&wrapped).unwrap(), bare, "{wrapped}");
        }
        let more = format!(
            r#"{{"prompt": {graph}, "extra_data": {{"key": "k"}}, "workflow": {{"nodes": []}}}}"#
        );
        let extra_data = Workflow::parse(&more).unwrap().extra_data;
        let wanted = json!({"key": "k", "extra_pnginfo": {"workflow": {"nodes": []}}});
        assert_eq!(Value::from((*extra_data).clone()), wanted);
    }

    #[test]
    fn a_value_keeps_the_type_of_its_input() {
        let mut graph = graph();
        for (node, input, text, wanted) in [
            ("3", "seed", "18446744073709551615", Value::from(u64::MAX)),
            ("The sampler", "cfg", "8", Value::from(8)),
            ("3", "seed", "7.5", Value::from(7.5)),
            ("KSampler", "seed", "-1", Value::from(-1)),
            ("6", "text", "12", Value::from("12")),
            ("6", "on", "$false", Value::from(false)),
        ] {
            graph.set_input(node, input, text, None).unwrap();
            let id = graph.find(node).unwrap();
            assert_eq!(graph.input(&id, input), Some(&wanted));
        }
        for (node, input, text, wanted) in [
            ("3", "sed", "1", "node 3 KSampler has no input 'sed': did you mean 'seed'?"),
            ("3", "seed", "x", "input seed of node 3 KSampler takes a number, not 'x'"),
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
            let (SetError::Refused(why) | SetError::Open(why)) =
                graph.set_input(node, input, text, None).unwrap_err();
            assert_eq!(why, wanted);
        }
    }

    #[test]
    fn pretty_json_is_the_same_graph_in_order_with_escapes() {
        let mut graph = graph();
        graph
            .set_input("6", "text", "line\nbreak \u{1b}[31m \u{202e}\u{9b}\u{e0061} Grüße", None)
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

    mod proptests {
        use proptest::prelude::*;

        use super::*;

        fn value() -> impl Strategy<Value = Value> {
            let leaf = prop_oneof![
                Just(Value::Null),
                any::<bool>().prop_map(Value::from),
                any::<u64>().prop_map(Value::from),
                any::<i64>().prop_map(Value::from),
                any::<f64>().prop_map(Value::from),
                "\\PC{0,6}".prop_map(Value::from),
            ];
            leaf.prop_recursive(3, 24, 4, |inner| {
                let name = "[a-z]{1,3}[0-9]{0,2}";
                prop_oneof![
                    prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                    prop::collection::vec((name, inner), 0..4)
                        .prop_map(|fields| Value::Object(fields.into_iter().collect())),
                ]
            })
        }

        proptest! {
            /// In every order, with every digit.
            #[test]
            fn a_graph_is_posted_as_its_file_has_it(
                nodes in prop::collection::vec(
                    ("[0-9:]{1,4}", prop::collection::vec(("[a-z]{1,3}[0-9]{0,2}", value()), 0..6)),
                    1..6,
                ),
            ) {
                let node = |(id, inputs): (String, Vec<(String, Value)>)| {
                    let inputs: Map<String, Value> = inputs.into_iter().collect();
                    (id, json!({"class_type": "X", "inputs": inputs}))
                };
                let text = Value::Object(nodes.into_iter().map(node).collect()).to_string();
                let graph = Workflow::parse(&text).unwrap();
                prop_assert_eq!(graph.to_json().to_string(), text);
            }
        }
    }
}
