//! The editor's format, which `ComfyUI`'s own menu saves, made into the graph that the server takes.
//!
//! The file says what was drawn: nodes with their values in a row, links, subgraphs, notes. What is
//! posted is made of it by the rules of the editor 1.49.6, with the server's description of each
//! class in use. It is exact or it is refused: what only a browser can carry out (a rendered scene,
//! a recording), a group node (the format before subgraphs), a link that leads nowhere and a class
//! that the server lacks are errors that name their node. What node packs change in the browser by
//! their own JavaScript is not known here, but for Get and Set nodes and values by name
//! (`VideoHelperSuite`).

mod texts;
mod widgets;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use time::PrimitiveDateTime;

use self::widgets::{Reader, Widget, index_of_choice};
use super::json::in_node_order;
use super::validate::{MISSING_CLASS, ObjectInfo};
use super::workflow::{Workflow, link_source};
use crate::sanitize::sanitize_line;

/// Most nodes of a graph, those of each instance of a subgraph counted.
const MAX_NODES: usize = 50_000;
/// Most nodes that a link may be passed on by; beyond it is a circle.
const LONGEST_CHAIN: usize = 10_000;
/// Subgraphs within subgraphs.
const MAX_DEPTH: usize = 32;
/// The origin of the links that come from outside a subgraph.
const SUBGRAPH_INPUTS: &str = "-10";
const MUTED: u64 = 2;
const BYPASSED: u64 = 4;
/// Nodes that only the editor knows, those of common node packs among them. The first ones pass a
/// link on, the rest is notes and buttons.
const VIRTUAL: &str = "\
    Reroute|Reroute (rgthree)|GetNode|easy getNode|SetNode|easy setNode|PrimitiveNode|\
    MarkdownNote|Note|Bookmark (rgthree)|Fast Actions Button (rgthree)|Fast Bypasser (rgthree)|\
    Fast Groups Bypasser (rgthree)|Fast Groups Muter (rgthree)|Fast Muter (rgthree)|\
    Label (rgthree)|Mute / Bypass Relay (rgthree)|Mute / Bypass Repeater (rgthree)|\
    Node Collector (rgthree)";
/// What they do is made in the browser: a rendered scene, a camera, a microphone, links to every
/// node of a kind.
const BROWSER_ONLY: &str = "\
    Anything Everywhere|Anything Everywhere3|Anything Everywhere?|Load3D|Load3DAdvanced|\
    Load3DAnimation|Prompts Everywhere|RecordAudio|Seed Everywhere|WebcamCapture";
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
    /// Any number, for the choices of dynamic prompts.
    pub random: &'s dyn Fn() -> u64,
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

/// One use of a graph: the root, or an instance of a subgraph.
struct Scope {
    graph: usize,
    /// The scope and the node of the instance.
    parent: Option<(usize, usize)>,
    /// The instances in it: node and scope.
    children: Vec<(usize, usize)>,
    /// Before the ids of its nodes: the ids of the instances with colons.
    prefix: String,
    depth: usize,
    is_emitted: bool,
}

/// Where a link comes from.
enum Origin<'v> {
    Output(String, usize),
    Value(&'v Value),
    Nothing,
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
    /// A node without an id, or two with the same one; one line.
    pub fn parse(file: &'f Value) -> Result<Self, String> {
        let definitions = array(&file["definitions"]["subgraphs"]);
        let place = |(at, definition): (usize, &Value)| Some((id(&definition["id"])?, at + 1));
        let places: BTreeMap<String, usize> =
            definitions.iter().enumerate().filter_map(place).collect();
        let mut graphs = Vec::with_capacity(definitions.len() + 1);
        for graph in std::iter::once(file).chain(definitions) {
            graphs.push(Graph::parse(graph, &places)?);
        }
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
        nodes.filter(|node| node.is_real() && !node.is_group()).map(|node| node.class).collect()
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
        self.configure(0, object_info, 0);
        self.apply_primitives(environment);
        let scopes = self.scopes().map_err(|error| vec![error])?;
        let (mut nodes, mut warnings, mut errors) = (Map::new(), Vec::new(), Vec::new());
        for (at, scope) in scopes.iter().enumerate().filter(|(_, scope)| scope.is_emitted) {
            for node in self.graphs[scope.graph].nodes.iter().filter(|node| node.is_emitted()) {
                let id = format!("{}{}", scope.prefix, node.id);
                let line = |text: &str| sanitize_line(&format!("node {id} {}{text}", node.class));
                if let Some(why) = node.refusal(object_info) {
                    errors.push(line(&why));
                    continue;
                }
                match self.inputs(&scopes, at, node, environment) {
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
        Ok(Converted { workflow: Workflow { nodes: cleaned(nodes) }, warnings })
    }

    /// Gives the nodes of a graph their values: those of the subgraphs in it first.
    fn configure(&mut self, graph: usize, object_info: &ObjectInfo, depth: usize) {
        // Where it is too deep, the uses of the graphs are refused.
        if depth > MAX_DEPTH || std::mem::replace(&mut self.graphs[graph].is_configured, true) {
            return;
        }
        for place in 0..self.graphs[graph].nodes.len() {
            let node = &mut self.graphs[graph].nodes[place];
            match node.definition {
                Some(definition) => self.configure(definition, object_info, depth + 1),
                None => node.configure(object_info),
            }
        }
        for place in 0..self.graphs[graph].nodes.len() {
            if let Some(definition) = self.graphs[graph].nodes[place].definition {
                self.promote(graph, place, definition);
            }
        }
    }

    /// Gives an instance the values of its inputs: those of the widgets inside, then its own, in the
    /// order of these inputs, then in that of its `proxyWidgets`.
    fn promote(&mut self, graph: usize, place: usize, definition: usize) {
        let count = self.graphs[definition].inputs.len();
        let mut promoted: Vec<Option<Value>> =
            (0..count).map(|slot| self.inner_value(definition, slot).cloned()).collect();
        let node = &self.graphs[graph].nodes[place];
        let inputs = self.graphs[definition].inputs.iter().map(|port| {
            let listed = node.inputs.iter().find(|input| input.name == port.name);
            let link = listed.and_then(|input| input.link.clone());
            Input { name: port.name.clone(), kind: port.kind.clone(), link, widget: None }
        });
        let inputs = inputs.collect();
        let node = &mut self.graphs[graph].nodes[place];
        node.inputs = inputs;
        let values = array(&node.file["widgets_values"]);
        let proxies = std::mem::take(&mut node.proxies);
        let slots = promoted.iter_mut().filter(|value| value.is_some());
        slots.zip(values).for_each(|(slot, value)| *slot = Some(value.clone()));
        // What the editor could not place when it changed an old file.
        for entry in array(&node.file["properties"]["proxyWidgetErrorQuarantine"]).iter().rev() {
            let (name, value) = (text(&entry["originalEntry"][1]), &entry["hostValue"]);
            let slot = self.graphs[definition].input_slot(name).filter(|_| !value.is_null());
            if let Some(slot) = slot.filter(|_| entry["originalEntry"][0] == "-1") {
                promoted[slot] = promoted[slot].is_some().then(|| value.clone());
            }
        }
        for (at, proxy) in proxies.iter().enumerate() {
            let primitive = self.graphs[definition].primitive(&proxy[0]);
            let is_other = |other: &[String; 3]| other[0] == proxy[0] && other[1] != proxy[1];
            if primitive.is_some() && proxies.iter().any(is_other) {
                continue;
            }
            let Some(slot) = self.proxied_slot(definition, proxy) else { continue };
            while promoted.len() <= slot {
                let inner = self.inner_value(definition, promoted.len());
                promoted.push(primitive.or(inner).cloned());
            }
            if let Some(value) = values.get(at).filter(|value| !value.is_null()) {
                promoted[slot] = Some(value.clone());
            }
        }
        self.graphs[graph].nodes[place].promoted = promoted;
    }

    /// The value of the first widget that an input of a subgraph leads to.
    fn inner_value(&self, graph: usize, slot: usize) -> Option<&Value> {
        let graph = &self.graphs[graph];
        graph.inputs.get(slot)?.links.iter().find_map(|link| {
            let (node, input) = graph.target_of(link)?;
            match node.definition {
                Some(definition) => {
                    let slot = self.graphs[definition].input_slot(&input.name)?;
                    node.promoted.get(slot)?.as_ref()
                }
                None => node.value(input.widget_name()),
            }
        })
    }

    /// The input of a subgraph that stands for a widget inside: the one that leads there, else a new
    /// one.
    fn proxied_slot(&mut self, graph: usize, [id, name, inner]: &[String; 3]) -> Option<usize> {
        if id == "-1" {
            return self.graphs[graph].input_slot(name);
        }
        let (place, name) = self.proxied_widget(graph, id, name, inner)?;
        let graph = &mut self.graphs[graph];
        let node = &graph.nodes[place];
        let is_primitive = node.class == "PrimitiveNode";
        let title =
            node.file["title"].as_str().filter(|_| is_primitive).unwrap_or(&name).to_owned();
        let targets = if is_primitive { graph.targets_of(id) } else { vec![(place, name)] };
        let (place, name) = targets.first()?;
        let first = graph.nodes[*place].inputs.iter().find(|input| input.widget_name() == name)?;
        let kind = first.kind.clone();
        match first.link.as_ref().and_then(|link| graph.links.get(link)) {
            Some((origin, slot)) if origin == SUBGRAPH_INPUTS => return Some(*slot),
            _ => {}
        }
        // A link that was there before is lost, as in the editor.
        let slot = graph.inputs.len();
        let link = format!("proxy {slot}");
        for (place, name) in &targets {
            let mut inputs = graph.nodes[*place].inputs.iter_mut();
            if let Some(input) = inputs.find(|input| input.widget_name() == name) {
                input.link = Some(link.clone());
            }
        }
        graph.links.insert(link.clone(), (SUBGRAPH_INPUTS.to_owned(), slot));
        let numbered = (1..).map(|number| format!("{title}_{number}"));
        let mut names = std::iter::once(title.clone()).chain(numbered);
        let name = names.find(|name| graph.input_slot(name).is_none())?;
        graph.inputs.push(Port { name, kind, links: vec![link] });
        Some(slot)
    }

    /// The node and the widget, or the input of an instance, that an entry of `proxyWidgets` names.
    fn proxied_widget(
        &self,
        graph: usize,
        id: &str,
        name: &str,
        inner: &str,
    ) -> Option<(usize, String)> {
        let graph = &self.graphs[graph];
        let place = *graph.places.get(id)?;
        let node = &graph.nodes[place];
        if node.class == "PrimitiveNode" {
            return Some((place, name.to_owned()));
        }
        // Old files have the nodes on the way in the name: `6: 3: seed`.
        let (way, plain) = name.rsplit_once(": ").unwrap_or((inner, name));
        let Some(definition) = node.definition else {
            let known = [name, plain].into_iter().find(|name| node.value(name).is_some())?;
            return Some((place, known.to_owned()));
        };
        let definition = &self.graphs[definition];
        let inner = way.rsplit(": ").next().unwrap_or_default();
        let leads = |port: &&Port| {
            let end = port.links.iter().find_map(|link| definition.target_of(link));
            end.is_some_and(|(node, input)| {
                input.widget_name() == plain && (inner.is_empty() || node.id == inner)
            })
        };
        let named = |port: &&Port| port.name == name || port.name == plain;
        let mut ports = definition.inputs.iter();
        let port = if inner.is_empty() { None } else { ports.clone().find(leads) };
        let port = port.or_else(|| ports.clone().find(named)).or_else(|| ports.find(leads))?;
        Some((place, port.name.clone()))
    }

    /// Writes the value of each `PrimitiveNode` into the widgets that it is linked to.
    fn apply_primitives(&mut self, environment: Environment) {
        for graph in 0..self.graphs.len() {
            let nodes = &self.graphs[graph].nodes;
            let value = |node: &Node<'f>| {
                let value = self.graphs[graph].primitive(&node.id)?;
                let text = value
                    .as_str()
                    .filter(|_| node.file["properties"]["Run widget replace on values"] == true);
                let replaced = text.map(|text| self.replaced(text, environment).into());
                Some((node.id.clone(), replaced.unwrap_or_else(|| value.clone())))
            };
            let primitives: Vec<(String, Value)> = nodes.iter().filter_map(value).collect();
            for (id, value) in primitives {
                for (place, name) in self.graphs[graph].targets_of(&id) {
                    let definition = self.graphs[graph].nodes[place].definition;
                    let slot = definition.and_then(|graph| self.graphs[graph].input_slot(&name));
                    let node = &mut self.graphs[graph].nodes[place];
                    if let Some(promoted) = slot.and_then(|slot| node.promoted.get_mut(slot)) {
                        *promoted = Some(value.clone());
                    } else if let Some(widget) = node.widgets.iter_mut().find(|w| w.name == name) {
                        widget.value = value.clone();
                    }
                }
            }
        }
    }

    /// Every use of a graph, the root first.
    fn scopes(&self) -> Result<Vec<Scope>, String> {
        let scope = |graph, parent, prefix, depth, is_emitted| Scope {
            graph,
            parent,
            children: Vec::new(),
            prefix,
            depth,
            is_emitted,
        };
        let mut scopes = vec![scope(0, None, String::new(), 0, true)];
        let (mut at, mut count) = (0, 0);
        while at < scopes.len() {
            let Scope { graph, depth, is_emitted, .. } = scopes[at];
            count += self.graphs[graph].nodes.len();
            if count > MAX_NODES || depth > MAX_DEPTH {
                let why = "its subgraphs have too many nodes: does one contain itself?";
                return Err(why.to_owned());
            }
            for (place, node) in self.graphs[graph].nodes.iter().enumerate() {
                let Some(definition) = node.definition else { continue };
                // Of an instance within another one the inner nodes' own modes decide.
                let is_emitted = is_emitted && (depth > 0 || !node.is_off());
                let prefix = format!("{}{}:", scopes[at].prefix, node.id);
                let child = (place, scopes.len());
                scopes[at].children.push(child);
                scopes.push(scope(definition, Some((at, place)), prefix, depth + 1, is_emitted));
            }
            at += 1;
        }
        Ok(scopes)
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

    /// The scope and the link of the `SetNode` that a `GetNode` names: in its own graph, else in one
    /// around it.
    fn set_node(
        &self,
        scopes: &[Scope],
        scope: usize,
        get: &Node,
    ) -> Result<(usize, Option<&String>), String> {
        let name = &get.file["widgets_values"][0];
        let mut at = Some(scope);
        while let Some(scope) = at {
            let is_set = |node: &&Node| {
                ["SetNode", "easy setNode"].contains(&node.class)
                    && node.file["widgets_values"][0] == *name
            };
            if let Some(set) = self.graphs[scopes[scope].graph].nodes.iter().find(is_set) {
                return Ok((scope, set.first_link()));
            }
            at = scopes[scope].parent.map(|(outer, _)| outer);
        }
        Err(format!("no SetNode has the name {name}"))
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

    /// Where the link of an input comes from, through all that only passes it on.
    fn follow<'v>(
        &'v self,
        scopes: &[Scope],
        scope: usize,
        input: &'v Input,
    ) -> Result<Origin<'v>, String> {
        let (mut at, mut link, mut kind) = (scope, input.link.as_ref(), input.kind.as_str());
        for _ in 0..LONGEST_CHAIN {
            let Some(id) = link else { return Ok(Origin::Nothing) };
            let scope = &scopes[at];
            let graph = &self.graphs[scope.graph];
            let (origin, slot) =
                graph.links.get(id).ok_or_else(|| format!("its link {id} is not in the file"))?;
            if let Some((outer, place)) = scope.parent.filter(|_| origin == SUBGRAPH_INPUTS) {
                let node = &self.graphs[scopes[outer].graph].nodes[place];
                let port = graph.inputs.get(*slot).ok_or("the subgraph lacks an input")?;
                let Some(input) =
                    node.inputs.iter().find(|i| i.name == port.name && i.link.is_some())
                else {
                    let value = node.promoted.get(*slot).and_then(Option::as_ref);
                    return Ok(value.map_or(Origin::Nothing, Origin::Value));
                };
                (at, link, kind) = (outer, input.link.as_ref(), &input.kind);
                continue;
            }
            let place = *graph.places.get(origin).ok_or_else(|| {
                format!("its link {id} comes from node {origin}, which is not in the file")
            })?;
            let node = &graph.nodes[place];
            match node.class {
                _ if node.mode == MUTED => return Ok(Origin::Nothing),
                _ if node.mode == BYPASSED => {
                    let Some(input) = node.bypass(*slot, kind) else { return Ok(Origin::Nothing) };
                    (link, kind) = (input.link.as_ref(), &input.kind);
                }
                "Reroute" | "Reroute (rgthree)" => link = node.first_link(),
                "GetNode" | "easy getNode" => (at, link) = self.set_node(scopes, at, node)?,
                class if is_one_of(VIRTUAL, class) => return Ok(Origin::Nothing),
                _ => match node.definition {
                    Some(definition) => {
                        link = self.graphs[definition]
                            .outputs
                            .get(*slot)
                            .and_then(|port| port.links.first());
                        let child = scope.children.iter().find(|(node, _)| *node == place);
                        at = child.map_or(at, |(_, child)| *child);
                    }
                    None => return Ok(Origin::Output(format!("{}{origin}", scope.prefix), *slot)),
                },
            }
        }
        Err("its links run in a circle".to_owned())
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

    /// The nodes and the widgets that links from a node lead to.
    fn targets_of(&self, id: &str) -> Vec<(usize, String)> {
        let is_target = |input: &&Input| {
            let link = input.link.as_ref().and_then(|link| self.links.get(link));
            link.is_some_and(|(origin, _)| origin == id)
        };
        let nodes = self.nodes.iter().enumerate();
        let ends = nodes.flat_map(|(place, node)| {
            let ends = node.inputs.iter().filter(is_target);
            ends.map(move |input| (place, input.widget_name().to_owned()))
        });
        ends.collect()
    }

    /// The node and the input that a link leads to.
    fn target_of(&self, link: &str) -> Option<(&Node<'f>, &Input)> {
        let is_target = |input: &&Input| input.link.as_deref() == Some(link);
        self.nodes.iter().find_map(|node| Some((node, node.inputs.iter().find(is_target)?)))
    }

    /// The value of a `PrimitiveNode`; none if the node is none.
    fn primitive(&self, id: &str) -> Option<&'f Value> {
        let node = &self.nodes[*self.places.get(id)?];
        if node.class == "PrimitiveNode" { node.file["widgets_values"].get(0) } else { None }
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
        let definition = definitions.get(class).copied();
        let proxies = array(&node["properties"]["proxyWidgets"]).iter().map(entry);
        Ok(Node {
            id,
            class,
            mode: node["mode"].as_u64().unwrap_or_default(),
            file: node,
            definition,
            inputs: array(&node["inputs"]).iter().map(input).collect(),
            proxies: if definition.is_some() { proxies.collect() } else { Vec::new() },
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

    /// Why it cannot be carried out; follows its class in a line.
    fn refusal(&self, object_info: &ObjectInfo) -> Option<String> {
        if self.is_group() {
            let how = "open the file in ComfyUI, which makes it a subgraph, and save it again";
            return Some(format!(": a group node of an old version: {how}"));
        }
        if is_one_of(BROWSER_ONLY, self.class) {
            return Some(": only the editor can carry it out, in a browser".to_owned());
        }
        let why = object_info.described(self.class).err()?;
        let properties = &self.file["properties"];
        let pack =
            [&properties["cnr_id"], &properties["aux_id"]].into_iter().find_map(Value::as_str);
        Some(match pack {
            _ if why != MISSING_CLASS => format!(": {why}"),
            Some("comfy-core") => format!(": {why}: it belongs to another version of ComfyUI"),
            Some(pack) => format!(": {why}: install the node pack {pack}"),
            None => format!(": {why}: is a custom node not installed?"),
        })
    }

    fn title<'v>(&'v self, object_info: &'v ObjectInfo) -> &'v str {
        let display = object_info.described(self.class).ok().map(|class| &class["display_name"]);
        let titles = [Some(&self.file["title"]), display];
        titles.into_iter().flatten().find_map(Value::as_str).unwrap_or(self.class)
    }

    fn configure(&mut self, object_info: &ObjectInfo) {
        if let Ok(class) = object_info.described(self.class) {
            let reader = Reader::read(class, &self.file["widgets_values"], &self.inputs);
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

    /// The input that a bypassed node hands on at an output, where a type is wanted.
    fn bypass(&self, slot: usize, wanted: &str) -> Option<&Input> {
        let output = text(&self.file["outputs"][slot]["type"]);
        let same = self.inputs.get(slot);
        if wanted == "*" || wanted.is_empty() {
            return same.or(self.inputs.first());
        }
        let fits = |input: &&Input| {
            are_compatible(&input.kind, output) && are_compatible(&input.kind, wanted)
        };
        let exact = || self.inputs.iter().find(|input| input.kind == wanted);
        same.filter(fits).or_else(exact).or_else(|| self.inputs.iter().find(fits))
    }
}

impl Input {
    fn widget_name(&self) -> &str {
        self.widget.as_ref().unwrap_or(&self.name)
    }
}

/// Gives a node of a subgraph whose id is taken the next one above all, as the editor does.
fn make_unique(graphs: &mut [Graph], last: i64) {
    let number = |id: &str| id.parse::<i64>().ok();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut last = last;
    for graph in 0..graphs.len() {
        let mut renamed: Vec<(String, String)> = Vec::new();
        for node in &mut graphs[graph].nodes {
            let Some(id) = number(&node.id) else { continue };
            last = last.max(id);
            if !taken.insert(node.id.clone()) && graph > 0 {
                last = last.saturating_add(1);
                let new = last.to_string();
                taken.insert(new.clone());
                renamed.push((std::mem::replace(&mut node.id, new.clone()), new));
            }
        }
        if renamed.is_empty() {
            continue;
        }
        let rename = |id: &mut String| {
            if let Some((_, new)) = renamed.iter().find(|(old, _)| old == id) {
                new.clone_into(id);
            }
        };
        graphs[graph].links.values_mut().for_each(|(origin, _)| rename(origin));
        let instances = graphs.iter_mut().flat_map(|graph| &mut graph.nodes);
        let instances = instances.filter(|node| node.definition == Some(graph));
        instances.flat_map(|node| &mut node.proxies).for_each(|[id, ..]| rename(id));
    }
}

/// The nodes in their order, without links to nodes that are not there.
fn cleaned(mut nodes: Map<String, Value>) -> Map<String, Value> {
    let ids = in_node_order(nodes.keys().map(String::as_str).collect());
    let ids: Vec<String> = ids.into_iter().map(str::to_owned).collect();
    let known: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    let exists = |value: &Value| link_source(value).is_none_or(|id| known.contains(id));
    let mut ordered = Map::new();
    for id in &ids {
        let mut node = nodes[id].take();
        if let Some(inputs) = node["inputs"].as_object_mut() {
            inputs.retain(|_, value| exists(value));
        }
        ordered.insert(id.clone(), node);
    }
    ordered
}

/// Whether two types may be linked.
fn are_compatible(a: &str, b: &str) -> bool {
    let is_any = |kind: &str| kind.is_empty() || kind == "*";
    let has = |kind: &str| b.split(',').any(|other| other.eq_ignore_ascii_case(kind));
    is_any(a) || is_any(b) || a.split(',').any(has)
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
