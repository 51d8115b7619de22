//! What the server has told over its websocket of the prompt that an attempt follows.

use std::time::{Duration, Instant};

use crate::comfyui::{Progress, Told, Workflow};
use crate::console::RunningNode;
use crate::vram::stats::NodeFacts;

/// So many nodes of a prompt have their times kept.
const MOST_NODES: usize = 2000;

/// The prompt that is followed, as far as the server tells of it.
#[derive(Debug)]
pub struct Following {
    scene: String,
    /// The client id of its POST: what other listeners tell is not of it.
    client: String,
    /// The ids that it may have: ours, and the server's own.
    ids: Vec<String>,
    /// Whether the server tells: none before the first word of the listener.
    pub connected: Option<bool>,
    /// What runs is known exactly, so that polls add nothing to it.
    pub is_exact: bool,
    /// It was told to be over.
    is_over: bool,
    /// That is so, and nobody has looked.
    pub has_ended: bool,
    running: Option<(String, Instant)>,
    steps: Option<(u64, u64)>,
    times: Vec<(String, Duration)>,
    /// When it began to execute.
    pub started: Option<Instant>,
    /// What is posted.
    workflow: Workflow,
}

/// What has been running since some moment; both none: nothing of ours.
pub type Change<'a> = (Option<&'a str>, Option<&'a str>);

impl Following {
    /// The prompt of a POST with these ids.
    pub fn new(scene: &str, client: &str, prompt: &str, workflow: Workflow) -> Self {
        Following {
            scene: scene.to_owned(),
            client: client.to_owned(),
            ids: vec![prompt.to_owned()],
            connected: None,
            is_exact: false,
            is_over: false,
            has_ended: false,
            running: None,
            steps: None,
            times: Vec::new(),
            started: None,
            workflow,
        }
    }

    /// The server's own id for it.
    pub fn add_id(&mut self, id: &str) {
        self.ids.push(id.to_owned());
    }

    /// Takes what the listener of a client told. Returns what runs since then, if that changes.
    pub fn take(&mut self, client: &str, at: Instant, told: Told) -> Option<Change<'_>> {
        if client != self.client {
            return None;
        }
        let (id, progress) = match told {
            Told::Connected => {
                self.connected = Some(true);
                return None;
            }
            Told::Lost => {
                self.connected = Some(false);
                self.end_node(at);
                // Polls tell when it ends.
                let was_exact = std::mem::take(&mut self.is_exact);
                return (was_exact && !self.is_over).then_some((Some(&self.scene), None));
            }
            Told::Prompt(id, progress) => (id, progress),
        };
        if !self.ids.contains(&id) {
            return None;
        }
        self.is_exact = true;
        match progress {
            Progress::Started => {
                self.started = Some(at);
                Some((Some(&self.scene), None))
            }
            Progress::Node(node) => {
                self.end_node(at);
                let (node, _) = self.running.insert((node, at));
                Some((Some(&self.scene), Some(node)))
            }
            Progress::Steps(done, all) => {
                self.steps = Some((done, all));
                None
            }
            Progress::Over => {
                self.end_node(at);
                (self.is_over, self.has_ended) = (true, true);
                Some((None, None))
            }
        }
    }

    fn end_node(&mut self, at: Instant) {
        self.steps = None;
        let Some((node, since)) = self.running.take() else { return };
        let time = at.saturating_duration_since(since);
        let has_room = self.times.len() < MOST_NODES;
        match self.times.iter_mut().find(|(known, _)| *known == node) {
            Some((_, before)) => *before += time,
            None if has_room => self.times.push((node, time)),
            None => {}
        }
    }

    /// The node that runs, if that is known.
    pub fn node(&self) -> Option<RunningNode> {
        let (node, since) = self.running.as_ref()?;
        let name = format!("node {node} {}", self.workflow.class(node)).trim_end().to_owned();
        Some(RunningNode { name, since: *since, steps: self.steps })
    }

    /// `node 3 KSampler (12 of 20)`: what runs, if that is known.
    pub fn place(&self) -> Option<String> {
        let RunningNode { name, steps, .. } = self.node()?;
        let steps = steps.map(|(done, all)| format!(" ({done} of {all})"));
        Some(name + &steps.unwrap_or_default())
    }

    /// The nodes that ran, the running one to this moment.
    pub fn nodes(&mut self, now: Instant) -> Vec<NodeFacts> {
        self.end_node(now);
        let facts = |(id, time): &(String, Duration)| NodeFacts {
            id: id.clone(),
            class: self.workflow.class(id).to_owned(),
            seconds: super::attempt::seconds(*time),
        };
        self.times.iter().map(facts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_followed_by_its_ids_and_its_listener() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let workflow = Workflow::parse(r#"{"3":{"class_type":"KSampler","inputs":{}}}"#).unwrap();
        let mut it = Following::new("flow", "c", "p", workflow);
        let of = |id: &str, progress| Told::Prompt(id.to_owned(), progress);
        assert_eq!(it.take("other", at(0), of("p", Progress::Over)), None);
        assert_eq!(it.take("c", at(0), of("q", Progress::Over)), None);
        assert!(!it.is_over && !it.is_exact);
        it.add_id("q");
        assert_eq!(it.take("c", at(1), Told::Connected), None);
        assert_eq!(it.take("c", at(1), of("q", Progress::Started)), Some((Some("flow"), None)));
        let node = |node: &str| of("p", Progress::Node(node.to_owned()));
        assert_eq!(it.take("c", at(2), node("3")), Some((Some("flow"), Some("3"))));
        assert_eq!(it.take("c", at(3), of("p", Progress::Steps(12, 20))), None);
        assert_eq!(it.place().unwrap(), "node 3 KSampler (12 of 20)");
        it.take("c", at(4), node("9"));
        assert_eq!(it.place().unwrap(), "node 9");
        it.take("c", at(5), node("3"));
        assert_eq!(it.take("c", at(7), Told::Lost), Some((Some("flow"), None)));
        assert!(!it.is_exact);
        assert_eq!(it.take("c", at(9), of("p", Progress::Over)), Some((None, None)));
        assert_eq!(it.take("c", at(9), Told::Lost), None);
        let nodes = it.nodes(at(20));
        let nodes: Vec<_> =
            nodes.iter().map(|node| (&*node.id, &*node.class, node.seconds)).collect();
        assert_eq!(nodes, [("3", "KSampler", 4.0), ("9", "", 1.0)]);
    }
}
