//! The values of nodes that come from elsewhere: from the instance of a subgraph, from a
//! `PrimitiveNode`.

use serde_json::Value;

use super::widgets::after_generate;
use super::{
    EditorFile, Environment, Graph, Input, MAX_DEPTH, Node, Port, SUBGRAPH_INPUTS, array, link_of,
    text,
};
use crate::comfyui::validate::ObjectInfo;

impl<'f> EditorFile<'f> {
    /// Gives the nodes of a graph their values: those of the subgraphs in it first.
    pub(super) fn configure(
        &mut self,
        graph: usize,
        object_info: &ObjectInfo,
        environment: Environment,
        depth: usize,
    ) {
        // Where it is too deep, the uses of the graphs are refused.
        if depth > MAX_DEPTH || std::mem::replace(&mut self.graphs[graph].is_configured, true) {
            return;
        }
        for place in 0..self.graphs[graph].nodes.len() {
            let node = &mut self.graphs[graph].nodes[place];
            match node.definition {
                Some(definition) => {
                    self.configure(definition, object_info, environment, depth + 1);
                }
                None => node.configure(object_info, environment),
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
            let link = link_of(&node.inputs, &port.name);
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
    pub(super) fn apply_primitives(&mut self, environment: Environment) {
        for graph in 0..self.graphs.len() {
            let nodes = &self.graphs[graph].nodes;
            let value = |node: &Node<'f>| {
                let value = self.graphs[graph].primitive(&node.id)?;
                let text = value
                    .as_str()
                    .filter(|_| node.file["properties"]["Run widget replace on values"] == true);
                let replaced = text.map(|text| self.replaced(text, environment).into());
                let control = &node.file["widgets_values"][1];
                let changed = || after_generate(value, control, &Value::Null, environment);
                Some((node.id.clone(), replaced.unwrap_or_else(changed)))
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
}

impl<'f> Graph<'f> {
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
