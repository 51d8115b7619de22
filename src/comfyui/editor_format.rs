//! The editor's format, which `ComfyUI`'s own menu saves, made into the graph that the server takes.
//!
//! The file says what was drawn: nodes with their values in a row, links, subgraphs, notes. What is
//! posted is made of it by the rules of the editor 1.49.6, with the server's description of each
//! class in use. It is exact or it is refused: what only a browser can carry out (a rendered scene,
//! a recording), a group node (the format before subgraphs), a link that leads nowhere and a class
//! that the server lacks are errors that name their node. What node packs change in the browser by
//! their own JavaScript is not known here, but for Get and Set nodes and values by name
//! (`VideoHelperSuite`).

mod links;
mod subgraphs;
mod texts;
mod widgets;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use time::PrimitiveDateTime;

use self::links::{BYPASSED, MAX_NODES, MUTED, Origin, Scope};
use self::widgets::{Reader, Widget, index_of_choice, is_made_in_browser};
use super::json::in_node_order;
use super::validate::{MISSING_CLASS, ObjectInfo};
use super::workflow::{Workflow, link_source};
use crate::sanitize::sanitize_line;

/// Subgraphs within subgraphs; `docs/workflows.md` tells of it.
const MAX_DEPTH: usize = 32;
/// The origin of the links that come from outside a subgraph.
const SUBGRAPH_INPUTS: &str = "-10";
/// Nodes that only the editor knows, those of common node packs among them. The first ones pass a
/// link on, the rest is notes and buttons.
const VIRTUAL: &str = "\
    Reroute|Reroute (rgthree)|GetNode|easy getNode|SetNode|easy setNode|PrimitiveNode|\
    MarkdownNote|Note|Bookmark (rgthree)|Fast Actions Button (rgthree)|Fast Bypasser (rgthree)|\
    Fast Groups Bypasser (rgthree)|Fast Groups Muter (rgthree)|Fast Muter (rgthree)|\
    Label (rgthree)|Mute / Bypass Relay (rgthree)|Mute / Bypass Repeater (rgthree)|\
    Node Collector (rgthree)";
/// Nodes that link others in the browser when a prompt is queued.
const BROADCASTS: &str = "\
    Anything Everywhere|Anything Everywhere3|Anything Everywhere?|Prompts Everywhere|\
    Seed Everywhere";
/// The nodes whose `filename_prefix` may name dates and values of other nodes.
const SAVES: &str = "\
    CLIPSave|LoraSave|ModelSave|Save3DAdvanced|SaveAnimatedPNG|SaveAnimatedWEBP|SaveAudio|\
    SaveAudioAdvanced|SaveAudioMP3|SaveAudioOpus|SaveGLB|SaveGaussianSplat|SaveImage|\
    SaveImageAdvanced|SaveLatent|SavePointCloud|SaveSVGNode|SaveVideo|SaveWEBM|VAESave";

/// A file in the editor's format.
#[derive(Debug)]
pub struct EditorFile<'f> {
    /// The root, then the definitions of the subgraphs.
    graphs: Vec<Graph<'f>>,
}

/// What became of a file.
#[derive(Debug)]
pub struct Converted {
    /// The graph to be posted.
    pub workflow: Workflow,
    /// What did not agree: one line a node with values too many or missing.
    pub warnings: Vec<String>,
}

/// What the result depends on beside the file and the server.
#[derive(Clone, Copy)]
pub struct Environment<'s> {
    /// The local time, for `%date:…%` in a file's prefix.
    pub now: PrimitiveDateTime,
    /// Any number, for the choices of dynamic prompts and seeds.
    pub random: &'s dyn Fn() -> u64,
    /// How often the file was queued before: what `control_after_generate` changes goes by it.
    pub repetition: u32,
}

#[derive(Debug)]
struct Graph<'f> {
    nodes: Vec<Node<'f>>,
    /// The place of each node by its id.
    places: BTreeMap<String, usize>,
    /// The origin of each link: a node and its output.
    links: BTreeMap<String, (String, usize)>,
    /// Of a subgraph: its own inputs and outputs, with the links that are theirs.
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    is_configured: bool,
}

#[derive(Debug)]
struct Port {
    name: String,
    kind: String,
    links: Vec<String>,
}

#[derive(Debug)]
struct Node<'f> {
    id: String,
    class: &'f str,
    mode: u64,
    file: &'f Value,
    /// The graph that a subgraph's instance stands for.
    definition: Option<usize>,
    inputs: Vec<Input>,
    /// `properties.proxyWidgets`: node, widget, and the node in that one's subgraph.
    proxies: Vec<[String; 3]>,
    widgets: Vec<Widget>,
    /// Of an instance: the values of its inputs that lead to a widget.
    promoted: Vec<Option<Value>>,
    mismatch: Option<String>,
}

#[derive(Clone, Debug)]
struct Input {
    name: String,
    kind: String,
    link: Option<String>,
    /// The widget that the link stands for.
    widget: Option<String>,
}

/// Whether a JSON value is a workflow in the editor's format.
pub fn is_editor_format(value: &Value) -> bool {
    value["nodes"].is_array() && value["links"].is_array()
}

/// The program whose workflow this is, if it is none of `ComfyUI`.
pub fn other_program(value: &Value) -> Option<&'static str> {
    let first = value.get(0).unwrap_or(&Value::Null);
    if first["wires"].is_array() || first["type"] == "tab" {
        return Some("Node-RED");
    }
    let has = |key: &str| value.get(key).is_some();
    match () {
        () if is_editor_format(value) => None,
        () if value["nodes"].is_array() && value["connections"].is_object() => Some("n8n"),
        () if has("exposedFields") || has("nodes") && has("edges") && has("meta") => {
            Some("InvokeAI")
        }
        () if value["nodes"].is_array() && has("edges") => Some("another node editor"),
        () if has("sui_image_params") => Some("SwarmUI"),
        () if has("asset") && has("meshes") => Some("a 3D program (glTF)"),
        () => None,
    }
}

impl<'f> EditorFile<'f> {
    /// Reads the file.
    ///
    /// # Errors
    /// A node without an id, two with the same one, or too many; one line.
    pub fn parse(file: &'f Value) -> Result<Self, String> {
        let definitions = array(&file["definitions"]["subgraphs"]);
        let count = |graph: &Value| array(&graph["nodes"]).len() + 1;
        if count(file) + definitions.iter().map(count).sum::<usize>() > MAX_NODES {
            return Err(format!("more than {MAX_NODES} nodes and subgraphs in it"));
        }
        let place = |(at, definition): (usize, &Value)| Some((id(&definition["id"])?, at + 1));
        let places: BTreeMap<String, usize> =
            definitions.iter().enumerate().filter_map(place).collect();
        let graphs = std::iter::once(file).chain(definitions);
        let graphs = graphs.map(|graph| Graph::parse(graph, &places));
        let mut graphs: Vec<Graph> = graphs.collect::<Result<_, _>>()?;
        make_unique(&mut graphs, number(&file["last_node_id"]).unwrap_or(0));
        for graph in &mut graphs {
            for (place, node) in graph.nodes.iter().enumerate() {
                if graph.places.insert(node.id.clone(), place).is_some() {
                    return Err(format!("two nodes have the id {}", sanitize_line(&node.id)));
                }
            }
        }
        Ok(EditorFile { graphs })
    }

    /// The classes that the server has to describe, each once.
    pub fn classes(&self) -> BTreeSet<&'f str> {
        let nodes = self.graphs.iter().flat_map(|graph| &graph.nodes);
        let nodes = nodes.filter(|node| node.is_real() && !node.is_group());
        // One without a type is refused; the server would answer with all classes.
        nodes.map(|node| node.class).filter(|class| !class.is_empty()).collect()
    }

    /// The graph that the editor would post.
    ///
    /// # Errors
    /// What cannot be carried out as the editor would: one line a node.
    pub fn convert(
        mut self,
        object_info: &ObjectInfo,
        environment: Environment,
    ) -> Result<Converted, Vec<String>> {
        self.configure(0, object_info, environment, 0);
        self.apply_primitives(environment);
        let scopes = self.scopes().map_err(|error| vec![error])?;
        let (mut nodes, mut warnings, mut errors) = (Map::new(), Vec::new(), Vec::new());
        for (at, scope) in scopes.iter().enumerate().filter(|(_, scope)| scope.is_emitted) {
            for node in self.graphs[scope.graph].nodes.iter().filter(|node| node.is_emitted()) {
                let id = format!("{}{}", scope.prefix, node.id);
                let line = |text: &str| sanitize_line(&format!("node {id} {}{text}", node.class));
                let is_possible = node.check(object_info);
                match is_possible.and_then(|()| self.inputs(&scopes, at, node, environment)) {
                    Ok(inputs) => {
                        let title = node.title(object_info);
                        let node = json!({"inputs": inputs, "class_type": node.class, "_meta": {"title": title}});
                        nodes.insert(id.clone(), node);
                    }
                    Err(error) => errors.push(line(&error)),
                }
                warnings.extend(node.mismatch.as_ref().map(|text| line(&format!(": {text}"))));
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        if nodes.is_empty() {
            return Err(vec!["no workflow: nothing in it runs".to_owned()]);
        }
        let workflow = Workflow { nodes: cleaned(nodes), ..Workflow::default() };
        Ok(Converted { workflow, warnings })
    }

    /// The inputs of a node as they are posted: its values, then the links over them.
    fn inputs(
        &self,
        scopes: &[Scope],
        scope: usize,
        node: &Node,
        environment: Environment,
    ) -> Result<Map<String, Value>, String> {
        let mut inputs = Map::new();
        for widget in &node.widgets {
            inputs
                .insert(widget.name.clone(), wrapped(self.posted_value(node, widget, environment)));
        }
        let mut choice = node.value("choice");
        for input in &node.inputs {
            let error = |error: String| format!(" {}: {error}", input.name);
            match self.follow(scopes, scope, input).map_err(error)? {
                Origin::Nothing => {}
                Origin::Output(id, slot) => {
                    inputs.insert(input.name.clone(), json!([id, slot]));
                }
                Origin::Value(value) => {
                    if input.name == "choice" {
                        choice = Some(value);
                    }
                    inputs.insert(input.name.clone(), wrapped(value.clone()));
                }
            }
        }
        if node.class == "CustomCombo" {
            let index = index_of_choice(&node.widgets, choice.unwrap_or(&Value::Null));
            inputs.insert("index".to_owned(), index);
        }
        Ok(inputs)
    }

    /// The value of a widget as it is posted.
    fn posted_value(&self, node: &Node, widget: &Widget, environment: Environment) -> Value {
        let Value::String(text) = &widget.value else { return widget.value.clone() };
        if widget.has_dynamic_prompts {
            texts::dynamic_prompt(text, environment.random, 0).into()
        } else if widget.name == "filename_prefix" && is_one_of(SAVES, node.class) {
            self.replaced(text, environment).into()
        } else if widget.name == "sampler_name"
            && ["KSampler", "KSamplerAdvanced"].contains(&node.class)
        {
            text.strip_prefix("sample_").unwrap_or(text).into()
        } else {
            widget.value.clone()
        }
    }

    /// A text with dates and values of other nodes in it.
    fn replaced(&self, text: &str, environment: Environment) -> String {
        let value = |node: &str, widget: &str| self.value_by_name(node, widget);
        texts::replaced(text, environment.now, value)
    }

    /// The value of a widget of the first node with this name.
    fn value_by_name(&self, name: &str, widget: &str) -> Option<&Value> {
        let nodes = || self.graphs.iter().flat_map(|graph| &graph.nodes);
        let named = |node: &&Node| {
            let property = &node.file["properties"]["Node name for S&R"];
            property.as_str().unwrap_or(node.class) == name
        };
        let node = nodes().find(named).or_else(|| nodes().find(|node| node.file["title"] == *name));
        node?.value(widget)
    }
}

impl<'f> Graph<'f> {
    fn parse(graph: &'f Value, definitions: &BTreeMap<String, usize>) -> Result<Self, String> {
        let mut links = BTreeMap::new();
        for link in array(&graph["links"]) {
            let part =
                |at: usize, name: &str| link.get(at).or(link.get(name)).unwrap_or(&Value::Null);
            let slot = number(part(2, "origin_slot")).and_then(|slot| usize::try_from(slot).ok());
            // The editor leaves out what is no link.
            if let (Some(id), Some(origin), Some(slot)) =
                (id(part(0, "id")), id(part(1, "origin_id")), slot)
            {
                links.insert(id, (origin, slot));
            }
        }
        let port = |port: &Value| Port {
            name: text(&port["name"]).to_owned(),
            kind: text(&port["type"]).to_owned(),
            links: array(&port["linkIds"]).iter().filter_map(id).collect(),
        };
        let nodes = array(&graph["nodes"]).iter().map(|node| Node::parse(node, definitions));
        Ok(Graph {
            nodes: nodes.collect::<Result<_, _>>()?,
            places: BTreeMap::new(),
            links,
            inputs: array(&graph["inputs"]).iter().map(port).collect(),
            outputs: array(&graph["outputs"]).iter().map(port).collect(),
            is_configured: false,
        })
    }

    fn input_slot(&self, name: &str) -> Option<usize> {
        self.inputs.iter().position(|port| port.name == name)
    }
}

impl<'f> Node<'f> {
    fn parse(node: &'f Value, definitions: &BTreeMap<String, usize>) -> Result<Self, String> {
        let class = text(&node["type"]);
        let id =
            id(&node["id"]).ok_or_else(|| format!("a node {} has no id", sanitize_line(class)))?;
        let input = |input: &Value| Input {
            name: text(&input["name"]).to_owned(),
            kind: text(&input["type"]).to_owned(),
            link: self::id(&input["link"]),
            widget: input["widget"]["name"].as_str().map(str::to_owned),
        };
        let entry = |entry: &Value| {
            let part = |at: usize| entry.get(at).and_then(self::id).unwrap_or_default();
            [part(0), part(1), part(2)]
        };
        Ok(Node {
            id,
            class,
            mode: node["mode"].as_u64().unwrap_or_default(),
            file: node,
            definition: definitions.get(class).copied(),
            inputs: array(&node["inputs"]).iter().map(input).collect(),
            proxies: array(&node["properties"]["proxyWidgets"]).iter().map(entry).collect(),
            widgets: Vec::new(),
            promoted: Vec::new(),
            mismatch: None,
        })
    }

    /// Whether the server has to know its class.
    fn is_real(&self) -> bool {
        self.definition.is_none() && !is_one_of(VIRTUAL, self.class)
    }

    fn is_off(&self) -> bool {
        self.mode == MUTED || self.mode == BYPASSED
    }

    fn is_emitted(&self) -> bool {
        self.is_real() && !self.is_off()
    }

    /// Whether it is one of the group nodes that subgraphs have replaced.
    fn is_group(&self) -> bool {
        self.class.starts_with("workflow>") || self.class.starts_with("workflow/")
    }

    /// Whether it can be carried out.
    ///
    /// # Errors
    /// Why not; follows its class in a line.
    fn check(&self, object_info: &ObjectInfo) -> Result<(), String> {
        if self.is_group() {
            let how = "open the file in ComfyUI, which makes it a subgraph, and save it again";
            return Err(format!(": a group node of an old version: {how}"));
        }
        let why = match object_info.described(self.class) {
            Ok(class) if is_made_in_browser(class) || is_one_of(BROADCASTS, self.class) => {
                return Err(": only the editor can carry it out, in a browser".to_owned());
            }
            Ok(_) => return Ok(()),
            Err(why) => why,
        };
        let properties = &self.file["properties"];
        let pack = properties["cnr_id"].as_str().or(properties["aux_id"].as_str());
        Err(match pack {
            _ if why != MISSING_CLASS => format!(": {why}"),
            Some("comfy-core") => format!(
                ": {why}: it is one of ComfyUI's own: update it, or see IMPORT FAILED in its log"
            ),
            Some(pack) => format!(": {why}: install the node pack {pack}"),
            None => format!(": {why}: is a custom node not installed?"),
        })
    }

    fn title<'v>(&'v self, object_info: &'v ObjectInfo) -> &'v str {
        let display = || object_info.described(self.class).ok()?["display_name"].as_str();
        self.file["title"].as_str().or_else(display).unwrap_or(self.class)
    }

    fn configure(&mut self, object_info: &ObjectInfo, environment: Environment) {
        if let Ok(class) = object_info.described(self.class) {
            let values = &self.file["widgets_values"];
            let reader = Reader::read(class, values, &self.inputs, environment);
            self.inputs = reader.inputs(&self.inputs);
            self.mismatch = reader.mismatch();
            self.widgets = reader.widgets;
        }
    }

    fn value(&self, widget: &str) -> Option<&Value> {
        self.widgets.iter().find(|known| known.name == widget).map(|widget| &widget.value)
    }

    fn first_link(&self) -> Option<&String> {
        self.inputs.first()?.link.as_ref()
    }
}

impl Input {
    fn widget_name(&self) -> &str {
        self.widget.as_ref().unwrap_or(&self.name)
    }
}

/// The link of the first input of that name.
fn link_of(inputs: &[Input], name: &str) -> Option<String> {
    inputs.iter().find(|input| input.name == name)?.link.clone()
}

/// Gives a node of a subgraph whose id is taken the next one above all, as the editor does.
fn make_unique(graphs: &mut [Graph], mut last: i64) {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut all_renamed: Vec<BTreeMap<String, String>> = Vec::with_capacity(graphs.len());
    for (at, graph) in graphs.iter_mut().enumerate() {
        let mut renamed = BTreeMap::new();
        for node in &mut graph.nodes {
            let Ok(number) = node.id.parse() else { continue };
            last = last.max(number);
            if !taken.insert(node.id.clone()) && at > 0 {
                last = last.saturating_add(1);
                let new = last.to_string();
                taken.insert(new.clone());
                renamed.entry(std::mem::replace(&mut node.id, new.clone())).or_insert(new);
            }
        }
        graph.links.values_mut().for_each(|(origin, _)| rename(origin, &renamed));
        all_renamed.push(renamed);
    }
    for node in graphs.iter_mut().flat_map(|graph| &mut graph.nodes) {
        if let Some(renamed) = node.definition.and_then(|graph| all_renamed.get(graph)) {
            node.proxies.iter_mut().for_each(|[id, ..]| rename(id, renamed));
        }
    }
}

fn rename(id: &mut String, renamed: &BTreeMap<String, String>) {
    if let Some(new) = renamed.get(id) {
        new.clone_into(id);
    }
}

/// The nodes in their order, without links to nodes that are not there.
fn cleaned(mut nodes: Map<String, Value>) -> Map<String, Value> {
    let known: BTreeSet<String> = nodes.keys().cloned().collect();
    for inputs in nodes.values_mut().filter_map(|node| node["inputs"].as_object_mut()) {
        inputs.retain(|_, value| link_source(value).is_none_or(|id| known.contains(id)));
    }
    let ids = in_node_order(known.iter().map(String::as_str).collect());
    ids.into_iter().map(|id| (id.to_owned(), nodes[id].take())).collect()
}

/// A value as it is posted: a list would be taken for a link.
fn wrapped(value: Value) -> Value {
    if value.is_array() { json!({"__value__": value}) } else { value }
}

/// Whether a name is in a list with `|` between its parts.
fn is_one_of(list: &str, name: &str) -> bool {
    list.split('|').any(|part| part == name)
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// An id, which is a number or a string.
fn id(value: &Value) -> Option<String> {
    match value {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
