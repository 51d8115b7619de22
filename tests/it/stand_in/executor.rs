//! The executor: takes one prompt after another and does what the classes of its nodes say.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::prompts;
use super::state::{FOREVER, Prompt, Shared, State};

const CLIP: &[u8] = include_bytes!("../../fixtures/clip.mp4");
const PIXEL: &[u8] = include_bytes!("../../fixtures/pixel.png");

/// Works until the stand-in is dropped.
pub fn run(shared: &Shared) {
    loop {
        let has_work = |state: &State| state.closed || !state.pending.is_empty();
        shared.wait_until(FOREVER, |state| has_work(state) || state.free);
        // An idle server acts on /free after a while, and runs a prompt that comes meanwhile first.
        shared.wait_until(shared.config.free_delay, has_work);
        if shared.read(|state| state.closed) {
            return;
        }
        let next = shared.update(|state| {
            if state.pending.is_empty() {
                state.act_on_free();
                return None;
            }
            let prompt = state.pending.remove(0);
            state.running = Some(prompt.clone());
            (state.interrupted, state.finish) = (false, false);
            Some((prompt, state.generation))
        });
        let Some((prompt, generation)) = next else { continue };
        let entry = Run { shared, prompt: &prompt, generation, messages: Vec::new() }.execute();
        shared.update(|state| {
            if let Some(entry) = entry.filter(|_| state.generation == generation) {
                state.running = None;
                state.history.push((prompt.id.clone(), entry));
                state.act_on_free();
            }
        });
    }
}

/// Milliseconds since 1970.
pub fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Why a node did not finish.
enum Stop {
    /// An exception, by its type and message.
    Failed(&'static str, String),
    Interrupted,
    /// The prompt was dropped, or the stand-in is.
    Dropped,
}

/// The execution of one prompt.
struct Run<'a> {
    shared: &'a Shared,
    prompt: &'a Prompt,
    generation: u64,
    messages: Vec<Value>,
}

impl Run<'_> {
    /// Returns the history entry, unless the prompt was dropped.
    fn execute(mut self) -> Option<Value> {
        self.message("execution_start", json!({}));
        let mut nodes = Vec::new();
        for output in &self.prompt.outputs {
            prompts::order(&self.prompt.graph, output, &mut nodes).expect("the graph is valid");
        }
        let (mut outputs, mut cached) = (Map::new(), Vec::new());
        self.shared.update(|state| {
            nodes.retain(|(id, key)| {
                let Some(listed) = state.cache.get(key) else { return true };
                outputs.extend(listed.clone().map(|listed| (id.clone(), listed)));
                cached.push(id.clone());
                false
            });
            state.executed += usize::from(!nodes.is_empty());
        });
        self.message("execution_cached", json!({"nodes": cached}));
        let mut executed: Vec<String> = Vec::new();
        for (id, key) in nodes {
            let node = &self.prompt.graph[&id];
            match self.perform(node) {
                Ok(listed) => {
                    outputs.extend(listed.clone().map(|listed| (id.clone(), listed)));
                    self.shared.update(|state| {
                        if state.generation == self.generation {
                            state.cache.insert(key, listed);
                        }
                    });
                    executed.push(id);
                }
                Err(Stop::Dropped) => return None,
                Err(stop) => {
                    let class = &node["class_type"];
                    let event = json!({"node_id": id, "node_type": class, "executed": executed});
                    self.stopped(event, stop);
                    return Some(self.entry(&outputs, false));
                }
            }
        }
        self.message("execution_success", json!({}));
        Some(self.entry(&outputs, true))
    }

    fn message(&mut self, name: &str, mut event: Value) {
        event["prompt_id"] = self.prompt.id.as_str().into();
        event["timestamp"] = now().into();
        self.messages.push(json!([name, event]));
    }

    fn stopped(&mut self, mut event: Value, stop: Stop) {
        let Stop::Failed(kind, message) = stop else {
            return self.message("execution_interrupted", event);
        };
        event["exception_type"] = kind.into();
        event["exception_message"] = message.into();
        event["traceback"] =
            json!(["  File \"/opt/ComfyUI/execution.py\", line 496, in execute\n"]);
        // `/history` writes it as a bare NaN where the configuration says so.
        event["current_inputs"] = json!({"strength": ["NaN"]});
        event["current_outputs"] = event["executed"].clone();
        self.message("execution_error", event);
    }

    fn entry(&self, outputs: &Map<String, Value>, completed: bool) -> Value {
        let meta = |id: &String| {
            let node =
                json!({"node_id": id, "display_node": id, "parent_node": null, "real_node_id": id});
            (id.clone(), node)
        };
        json!({
            "prompt": self.prompt.item(),
            "outputs": outputs,
            "status": {
                "status_str": if completed { "success" } else { "error" },
                "completed": completed,
                "messages": self.messages,
            },
            "meta": outputs.keys().map(meta).collect::<Map<_, _>>(),
        })
    }

    /// Executes a node. Returns what it lists as its outputs, if it is an output node.
    fn perform(&self, node: &Value) -> Result<Option<Value>, Stop> {
        let inputs = &node["inputs"];
        let text = |name: &str| inputs[name].as_str().unwrap_or_default();
        let seconds = |name: &str| Duration::from_secs_f64(inputs[name].as_f64().unwrap_or(0.0));
        let bytes = inputs["mb"].as_u64().unwrap_or(0) << 20;
        let failed = |message: &str| Err(Stop::Failed("RuntimeError", format!("{message}\n")));
        match node["class_type"].as_str().unwrap_or_default() {
            "HoldMemory" => self.hold(bytes, seconds("seconds"), seconds("deaf_seconds"))?,
            "LoadModel" => {
                self.shared.update(|state| state.memory.models += bytes);
                self.hold(0, seconds("seconds"), Duration::ZERO)?;
            }
            "OutOfMemory" => {
                self.hold(bytes, seconds("seconds"), Duration::ZERO)?;
                self.shared.update(|state| state.memory.models = 0);
                let message = "Allocation on device \nThis error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked before you might have accidentally set the batch_size to a large number.";
                return Err(Stop::Failed("torch.OutOfMemoryError", message.to_owned()));
            }
            // No poll comes too late to see it run.
            "Polled" => {
                let route = format!("GET /history/{}", self.prompt.id);
                let polled = |state: &State| self.is_gone(state) || state.asked(&route) >= 3;
                self.shared.wait_until(Duration::from_secs(20), polled);
            }
            "FailAlways" => return failed(text("message")),
            "FailOn" if text("text") == text("fail") => return failed("as it was told"),
            "FailOnce" => {
                let message = text("message").to_owned();
                if self.shared.update(|state| state.failed_once.insert(message)) {
                    return failed(text("message"));
                }
            }
            class @ ("SaveVideo" | "SaveImage" | "PreviewImage") => {
                self.hold(0, Duration::ZERO, Duration::ZERO)?;
                return Ok(Some(self.save(class, text("filename_prefix"))));
            }
            _ => {}
        }
        self.hold(0, Duration::ZERO, Duration::ZERO).map(|()| None)
    }

    fn is_gone(&self, state: &State) -> bool {
        state.closed || state.generation != self.generation
    }

    /// Holds memory for a time. An interrupt ends it, but not before `deaf` has passed: a node that
    /// is busy in native code notices late.
    fn hold(&self, bytes: u64, time: Duration, deaf: Duration) -> Result<(), Stop> {
        let end = Instant::now() + time;
        if bytes > 0 {
            self.shared.update(|state| state.memory.held = bytes);
        }
        let over = |state: &State| self.is_gone(state) || state.finish;
        self.shared.wait_until(time, |state| over(state) || state.interrupted);
        let left = end.saturating_duration_since(Instant::now());
        self.shared.wait_until(left.min(deaf), over);
        self.shared.update(|state| {
            if self.is_gone(state) {
                return Err(Stop::Dropped);
            }
            state.memory.held = 0;
            if state.interrupted { Err(Stop::Interrupted) } else { Ok(()) }
        })
    }

    /// Writes the files of an output node. Returns how it lists them.
    fn save(&self, class: &str, prefix: &str) -> Value {
        self.shared.update(|state| {
            if class == "SaveVideo" {
                // The id of the prompt, in a box that players skip, makes the file unique.
                let note = [self.prompt.id.as_bytes(), &vec![0; self.shared.config.video_padding]];
                let note = note.concat();
                let length = u32::try_from(note.len() + 8).expect("less than 4 GiB");
                let bytes = [CLIP, &length.to_be_bytes(), b"free", &note].concat();
                return json!({"images": [state.save("output", prefix, "mp4", &bytes)], "animated": [true]});
            }
            let (folder, prefix) =
                if class == "SaveImage" { ("output", prefix) } else { ("temp", "ComfyUI_temp") };
            let source = self.prompt.graph.values().find(|node| node["class_type"] == "EmptyImage");
            let count = source.and_then(|node| node["inputs"]["batch_size"].as_u64()).unwrap_or(1);
            let files = (0..count).map(|_| state.save(folder, prefix, "png", PIXEL));
            json!({"images": files.collect::<Vec<_>>()})
        })
    }
}
