//! The one executor: takes a prompt, walks its graph, leaves a history entry.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::config::Version;
use super::graph::{self, Node};
use super::messages::{self, Failure};
use super::world::{Prompt, State, World};
use super::{files, png};

/// Works until the stand-in is dropped.
pub fn run(world: &World) {
    loop {
        world.wait(|state| state.closed || !state.pending.is_empty() || state.free_asked());
        // An idle server takes its time over `/free`, and a prompt that comes meanwhile is first.
        world
            .wait_until(world.config.free_delay, |state| state.closed || !state.pending.is_empty());
        if world.look(|state| state.closed) {
            return;
        }
        let Some((prompt, epoch)) = world.change(|state| {
            if state.pending.is_empty() {
                state.act_on_free();
                return None;
            }
            let prompt = state.pending.remove(0);
            state.running = Some(prompt.clone());
            state.interrupt = None;
            state.finish = false;
            Some((prompt, state.epoch))
        }) else {
            continue;
        };
        let entry = Run::new(world, &prompt, epoch).execute();
        world.change(|state| {
            if let Some(entry) = entry.filter(|_| state.epoch == epoch) {
                state.running = None;
                state.history.retain(|(id, _)| *id != prompt.id);
                state.history.push((prompt.id.clone(), entry));
                state.act_on_free();
            }
        });
    }
}

/// How a node ended.
enum Outcome {
    /// With this to show.
    Done(Option<Value>),
    /// With an exception of this type and message.
    Failed(&'static str, String),
    /// At an interrupt.
    Interrupted,
    /// The prompt was dropped, or the stand-in is.
    Dropped,
}

/// The execution of one prompt.
struct Run<'a> {
    world: &'a World,
    prompt: &'a Prompt,
    epoch: u64,
    messages: Vec<Value>,
    outputs: Map<String, Value>,
    executed: Vec<String>,
}

impl<'a> Run<'a> {
    fn new(world: &'a World, prompt: &'a Prompt, epoch: u64) -> Self {
        let (messages, outputs, executed) = Default::default();
        Self { world, prompt, epoch, messages, outputs, executed }
    }

    /// The history entry, unless the prompt was dropped.
    fn execute(mut self) -> Option<Value> {
        self.say("execution_start", json!({}));
        let mut open = graph::reachable(&self.prompt.graph, &self.prompt.outputs);
        let cached = self.take_cached(&mut open);
        self.say("execution_cached", json!({ "nodes": cached }));
        self.world.change(|state| state.executed += usize::from(!open.is_empty()));
        while let Some(node) = graph::take_ready(&mut open) {
            let failure = match self.perform(&node) {
                Outcome::Done(shown) => {
                    self.remember(node.signature, shown.clone());
                    self.executed.push(node.id.to_owned());
                    self.show(node.id, shown);
                    continue;
                }
                Outcome::Dropped => return None,
                Outcome::Interrupted => None,
                Outcome::Failed(kind, message) => {
                    Some(Failure { kind, message, nan: self.world.config.nan_in_history })
                }
            };
            let event = messages::stopped(&node, &self.executed, failure.as_ref());
            let name = failure.map_or("execution_interrupted", |_| "execution_error");
            self.say(name, event);
            return Some(self.entry(false));
        }
        self.say("execution_success", json!({}));
        Some(self.entry(true))
    }

    /// Takes the nodes out that the cache knows, with what they show; returns their ids.
    fn take_cached(&mut self, open: &mut Vec<Node>) -> Vec<String> {
        let old = self.world.config.version == Version::Ancient;
        let hidden = old && !self.prompt.extra.contains_key("client_id");
        let world = self.world;
        let mut ids = Vec::new();
        open.retain(|node| {
            let Some(shown) = world.look(|state| state.cache.get(&node.signature).cloned()) else {
                return true;
            };
            if !hidden {
                self.show(node.id, shown);
            }
            ids.push(node.id.to_owned());
            false
        });
        ids
    }

    fn remember(&self, signature: u64, shown: Option<Value>) {
        self.world.change(|state| {
            if state.epoch == self.epoch {
                state.cache.insert(signature, shown);
            }
        });
    }

    fn show(&mut self, id: &str, shown: Option<Value>) {
        if let Some(shown) = shown {
            self.outputs.insert(id.to_owned(), shown);
        }
    }

    fn say(&mut self, name: &str, event: Value) {
        self.messages.push(messages::message(name, &self.prompt.id, event));
    }

    fn entry(&self, completed: bool) -> Value {
        messages::entry(self.prompt, &self.outputs, &self.messages, completed)
    }

    /// Executes a node.
    fn perform(&self, node: &Node) -> Outcome {
        if let Some(ended) = self.hold(node, 0, 0.0) {
            return ended; // interrupted or dropped between nodes
        }
        let text = |name| node.text(name).unwrap_or_default().to_owned();
        match node.class {
            "SaveVideo" | "SaveImage" | "PreviewImage" => Outcome::Done(Some(self.save(node))),
            "HoldMemory" => self
                .hold(node, node.megabytes(0.0), node.number("seconds", 1.0))
                .unwrap_or(Outcome::Done(None)),
            "LoadModel" => {
                self.world.change(|state| state.memory.models += node.megabytes(0.0));
                self.hold(node, 0, node.number("seconds", 0.0)).unwrap_or(Outcome::Done(None))
            }
            "Polled" => self.until_polled(),
            "FailAlways" => Outcome::Failed("RuntimeError", text("message") + "\n"),
            "FailOn" if text("text") == text("fail") => {
                Outcome::Failed("RuntimeError", "as it was told\n".to_owned())
            }
            "FailOnce" => {
                let message = text("message");
                if self.world.change(|state| state.failed_once.insert(message.clone())) {
                    Outcome::Failed("RuntimeError", message + "\n")
                } else {
                    Outcome::Done(None)
                }
            }
            "OutOfMemory" => self
                .hold(node, node.megabytes(4096.0), node.number("seconds", 0.2))
                .unwrap_or_else(|| {
                    self.world.change(|state| state.memory.models = 0);
                    let message = format!("Allocation on device \n{}", messages::OUT_OF_MEMORY);
                    Outcome::Failed("torch.OutOfMemoryError", message)
                }),
            _ => Outcome::Done(None),
        }
    }

    /// Ends once its prompt was asked for three times, so that no scene is over at the first poll.
    fn until_polled(&self) -> Outcome {
        let route = format!("GET /history/{}", self.prompt.id);
        let gone = |state: &State| state.closed || state.epoch != self.epoch;
        self.world
            .wait_until(Duration::from_secs(20), |state| gone(state) || state.asked(&route) >= 3);
        if self.world.look(gone) { Outcome::Dropped } else { Outcome::Done(None) }
    }

    /// Holds memory for a time: how the node ended if it was not to its end. An interrupt is
    /// heard only `deaf_seconds` after it was asked for.
    fn hold(&self, node: &Node, bytes: u64, seconds: f64) -> Option<Outcome> {
        let deaf = Duration::from_secs_f64(node.number("deaf_seconds", 0.0));
        let deaf = if seconds > 0.0 { deaf } else { Duration::ZERO };
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        if bytes > 0 {
            self.world.change(|state| state.memory.held = bytes);
        }
        let ended = loop {
            let now = Instant::now();
            let (gone, interrupt, finish) = self.world.look(|state| {
                (state.closed || state.epoch != self.epoch, state.interrupt, state.finish)
            });
            let heard = interrupt.map(|asked| asked + deaf);
            if gone {
                break Some(Outcome::Dropped);
            } else if heard.is_some_and(|heard| heard <= now) {
                break Some(Outcome::Interrupted);
            } else if finish || end <= now {
                break None;
            }
            let until = heard.map_or(end, |heard| heard.min(end));
            self.world.wait_until(until - now, |state| {
                state.closed
                    || state.epoch != self.epoch
                    || state.interrupt != interrupt
                    || state.finish
            });
        };
        if bytes > 0 {
            self.world.change(|state| state.memory.held = 0);
        }
        ended
    }

    /// Writes the files of an output node, and says which.
    fn save(&self, node: &Node) -> Value {
        let prefix = node.text("filename_prefix").unwrap_or("ComfyUI");
        if node.class == "SaveVideo" {
            let bytes = files::clip(&self.prompt.id, self.world.config.video_padding);
            let file = self.world.change(|state| state.files.save("output", prefix, "mp4", bytes));
            return json!({ "images": [file], "animated": [true] });
        }
        let (folder, prefix) =
            if node.class == "SaveImage" { ("output", prefix) } else { ("temp", "ComfyUI_temp") };
        let source = graph::source(&self.prompt.graph, node.id, "EmptyImage");
        let input =
            |name, default| source.and_then(|inputs| inputs.get(name)?.as_u64()).unwrap_or(default);
        let picture = png::solid(input("width", 512), input("height", 512), input("color", 0));
        let files = (0..input("batch_size", 1)).map(|_| {
            let bytes = picture.clone();
            self.world.change(|state| state.files.save(folder, prefix, "png", bytes))
        });
        json!({ "images": files.collect::<Vec<_>>() })
    }
}
