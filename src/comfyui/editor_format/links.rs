//! Where a link comes from, through subgraphs and all nodes that only pass it on.

use serde_json::Value;

use super::{EditorFile, Input, MAX_DEPTH, Node, SUBGRAPH_INPUTS, VIRTUAL, is_one_of, text};

/// Most nodes and subgraphs of a file, and most nodes of a graph, those of each instance of a subgraph
/// counted; `docs/workflows.md` tells of it.
pub(super) const MAX_NODES: usize = 50_000;
/// Most nodes that a link may be passed on by; beyond it is a circle.
const LONGEST_CHAIN: usize = 10_000;
pub(super) const MUTED: u64 = 2;
pub(super) const BYPASSED: u64 = 4;

/// One use of a graph: the root, or an instance of a subgraph.
pub(super) struct Scope {
    pub(super) graph: usize,
    /// The scope and the node of the instance.
    parent: Option<(usize, usize)>,
    /// The instances in it: node and scope.
    children: Vec<(usize, usize)>,
    /// Before the ids of its nodes: the ids of the instances with colons.
    pub(super) prefix: String,
    depth: usize,
    pub(super) is_emitted: bool,
}

/// Where a link comes from.
pub(super) enum Origin<'v> {
    Output(String, usize),
    Value(&'v Value),
    Nothing,
}

impl EditorFile<'_> {
    /// Every use of a graph, the root first.
    pub(super) fn scopes(&self) -> Result<Vec<Scope>, String> {
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
                return Err(format!(
                    "its subgraphs have more than {MAX_NODES} nodes, or lie more than {MAX_DEPTH} \
                     deep in each other: does one contain itself?"
                ));
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

    /// Where the link of an input comes from, through all that only passes it on.
    pub(super) fn follow<'v>(
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

impl Node<'_> {
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

/// Whether two types may be linked.
fn are_compatible(a: &str, b: &str) -> bool {
    let is_any = |kind: &str| kind.is_empty() || kind == "*";
    let has = |kind: &str| b.split(',').any(|other| other.eq_ignore_ascii_case(kind));
    is_any(a) || is_any(b) || a.split(',').any(has)
}
