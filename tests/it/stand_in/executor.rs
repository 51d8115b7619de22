//! The executor: takes one prompt after another and does what the classes of its nodes say.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::prompts;
use super::state::{FOREVER, Prompt, Shared, State};

const CLIP: &[u8] = include_bytes!("../../fixtures/clip.mp4");
const PIXEL: &[u8] = include_bytes!("../../fixtures/pixel.png");
const OUT_OF_MEMORY: &str = "Allocation on device \nThis error means you ran out of memory on your \
    GPU.\n\nTIPS: If the workflow worked before you might have accidentally set the batch_size to \
    a large number.";

pub fn run(shared: &Shared) {
    let has_work = |state: &State| state.closed || !state.pending.is_empty();
    while !shared.read(|state| state.closed) {
        shared.wait_until(FOREVER, |state| state.closed || !state.worker_dead);
        shared.wait_until(FOREVER, |state| has_work(state) || state.free);
        // An idle server acts on /free after a while, and runs a prompt that comes meanwhile first.
        shared.wait_until(shared.config.free_delay, has_work);
        shared.update(|state| {
            if state.pending.is_empty() {
                return state.free_memory();
            }
            state.running = Some(state.pending.remove(0));
            (state.interrupted, state.finish) = (false, false);
            state.progress.clear();
            state.tell_queue();
        });
        let next = shared.read(|state| Some((state.running.clone()?, state.generation)));
        let Some((prompt, generation)) = next else { continue };
        let run = Run { shared, prompt: &prompt, generation, messages: Vec::new() };
        let entry = run.execute();
        shared.update(|state| {
            if let Some(entry) = entry.filter(|_| state.generation == generation) {
                state.running = None;
                state.history.push((prompt.id.clone(), entry));
                state.tell_queue();
                let end = json!({"node": null, "prompt_id": prompt.id});
                state.tell(prompt.client(), "executing", &end);
                if state.free {
                    state.free_memory();
                }
            }
        });
    }
}

/// Milliseconds since 1970.
pub fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

enum Stop {
    Failed(&'static str, String),
    Interrupted,
    /// The prompt was dropped, or the stand-in is.
    Dropped,
}

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
        let (mut outputs, mut cached, mut executed) = (Map::new(), Vec::new(), Vec::new());
        self.shared.update(|state| {
            nodes.retain(|(id, key)| {
                let Some(listed) = state.cache.get(key) else { return true };
                outputs.extend(listed.iter().map(|listed| (id.clone(), listed.clone())));
                cached.push(id.clone());
                false
            });
            state.executed += usize::from(!nodes.is_empty());
        });
        self.message("execution_cached", json!({"nodes": cached}));
        for (id, output) in &outputs {
            self.finished(id, Some(output));
        }
        for (id, key) in nodes {
            let node = &self.prompt.graph[&id];
            self.progress(&id, 0.0, 1.0, "running");
            self.tell("executing", json!({"node": id, "display_node": id}));
            match self.perform(&id, node) {
                Ok(listed) => {
                    self.finished(&id, listed.as_ref());
                    outputs.extend(listed.iter().map(|listed| (id.clone(), listed.clone())));
                    executed.push(id);
                    self.shared.update(|state| {
                        if !self.is_gone(state) {
                            state.cache.insert(key, listed);
                        }
                    });
                }
                Err(stop) => {
                    let class = &node["class_type"];
                    let event = json!({"node_id": id, "node_type": class, "executed": executed});
                    match stop {
                        Stop::Dropped => return None,
                        Stop::Interrupted => self.message("execution_interrupted", event),
                        Stop::Failed(kind, message) => self.failed(event, kind, &message),
                    }
                    return Some(self.entry(&outputs, "error"));
                }
            }
        }
        self.message("execution_success", json!({}));
        Some(self.entry(&outputs, "success"))
    }

    fn message(&mut self, name: &str, mut event: Value) {
        event["prompt_id"] = self.prompt.id.as_str().into();
        event["timestamp"] = now().into();
        self.tell(name, event.clone());
        self.messages.push(json!([name, event]));
    }

    /// Tells the prompt's client, or all if it has none.
    fn tell(&self, name: &str, mut data: Value) {
        data["prompt_id"] = self.prompt.id.as_str().into();
        self.shared.update(|state| {
            if !self.is_gone(state) {
                state.tell(self.prompt.client(), name, &data);
            }
        });
    }

    fn progress(&self, id: &str, value: f64, most: f64, status: &str) {
        let nodes = self.shared.update(|state| {
            let node = json!({
                "value": value, "max": most, "state": status, "prompt_id": self.prompt.id,
                "node_id": id, "display_node_id": id, "parent_node_id": null, "real_node_id": id,
            });
            state.progress.insert(id.to_owned(), node);
            state.progress.clone()
        });
        self.tell("progress_state", json!({"nodes": nodes}));
    }

    fn finished(&self, id: &str, listed: Option<&Value>) {
        if let Some(output) = listed {
            self.tell("executed", json!({"node": id, "display_node": id, "output": output}));
        }
        let steps = self.prompt.graph[id]["inputs"]["steps"].as_f64().unwrap_or(1.0);
        self.progress(id, steps, steps, "finished");
    }

    fn failed(&mut self, mut event: Value, kind: &str, message: &str) {
        event["exception_type"] = kind.into();
        event["exception_message"] = message.into();
        event["traceback"] = json!(["  File \"/opt/ComfyUI/execution.py\", line 496, in execute"]);
        // `/history` writes a bare NaN where the configuration says so.
        event["current_inputs"] = json!({"strength": ["NaN"]});
        event["current_outputs"] = event["executed"].clone();
        self.message("execution_error", event);
    }

    fn entry(&self, outputs: &Map<String, Value>, status: &str) -> Value {
        let mut entry = json!({
            "prompt": self.prompt.item,
            "outputs": outputs,
            "status": {"status_str": status, "completed": status == "success"},
            "meta": {},
        });
        entry["status"]["messages"] = self.messages.as_slice().into();
        for id in outputs.keys() {
            entry["meta"][id] =
                json!({"node_id": id, "display_node": id, "parent_node": null, "real_node_id": id});
        }
        entry
    }

    /// How nodes end a server, each once where there is no file of the name `marker` so far.
    fn end_server(&self, class: &str, inputs: &Value) -> Result<(), Stop> {
        let marker = inputs["marker"].as_str().unwrap_or_default();
        if !marker.is_empty() {
            if std::path::Path::new(marker).exists() {
                return Ok(());
            }
            std::fs::write(marker, "").expect("the marker's folder is there");
        }
        match class {
            "EndProcess" => {
                eprintln!("Fatal Python error: Segmentation fault\n");
                eprintln!("Extension modules: numpy, torch._C (total: 2)");
                std::process::exit(139)
            }
            "EndWorker" | "EndWorkerLater" => {
                let silent = inputs["silent"] == true;
                if !silent {
                    eprintln!("Exception in thread Thread-9 (prompt_worker):");
                    eprintln!("Traceback (most recent call last):");
                    eprintln!("RuntimeError: failed to extract audio");
                }
                self.shared.update(|state| state.worker_dead = true);
                if class == "EndWorker" {
                    self.shared.wait_until(FOREVER, |state| self.is_gone(state));
                    return Err(Stop::Dropped);
                }
            }
            "BreakContext" => {
                let message = "CUDA error: an illegal memory access was encountered\n";
                return Err(Stop::Failed("torch.AcceleratorError", message.to_owned()));
            }
            "AskForRestart" => {
                let session = std::env::var("__COMFY_CLI_SESSION__").expect("a session");
                std::fs::write(session + ".reboot", "").expect("the session's folder is there");
                std::process::exit(0)
            }
            _ => {}
        }
        Ok(())
    }

    /// Executes a node. Returns what it lists as its outputs, if it is an output node.
    fn perform(&self, id: &str, node: &Value) -> Result<Option<Value>, Stop> {
        let inputs = &node["inputs"];
        let text = |name: &str| inputs[name].as_str().unwrap_or_default();
        let bytes = inputs["mb"].as_u64().unwrap_or(0) << 20;
        let failed = |message: &str| Err(Stop::Failed("RuntimeError", format!("{message}\n")));
        let class = node["class_type"].as_str().unwrap_or_default();
        match class {
            "LoadModel" => self.shared.update(|state| state.model_memory += bytes),
            "HoldMemory" | "OutOfMemory" => {
                // So long nothing is held.
                let after = Duration::from_secs_f64(inputs["after"].as_f64().unwrap_or(0.0));
                self.shared.wait_until(after, |state| self.is_gone(state) || state.interrupted);
                self.shared.update(|state| state.held_memory = bytes);
            }
            // Is done when it was asked for three times, so no poll comes too late to see it run.
            "Polled" => {
                let route = format!("GET /history/{}", self.prompt.id);
                let is_polled = |state: &State| self.is_gone(state) || state.asked(&route) >= 3;
                self.shared.wait_until(Duration::from_secs(20), is_polled);
            }
            _ => {}
        }
        self.wait(id, inputs)?;
        self.end_server(class, inputs)?;
        match class {
            "FailAlways" => failed(text("message")),
            "FailOn" if text("text") == text("fail") => failed("as it was told"),
            "FailOnce"
                if self.shared.update(|state| state.failed_once.insert(text("message").into())) =>
            {
                failed(text("message"))
            }
            "OutOfMemory" => {
                self.shared.update(|state| state.model_memory = 0);
                Err(Stop::Failed("torch.OutOfMemoryError", OUT_OF_MEMORY.to_owned()))
            }
            "SaveVideo" => Ok(Some(self.save_video(text("filename_prefix")))),
            "SaveImage" => Ok(Some(self.save_images("output", text("filename_prefix")))),
            "PreviewImage" => Ok(Some(self.save_images("temp", "ComfyUI_temp"))),
            _ => Ok(None),
        }
    }

    fn is_gone(&self, state: &State) -> bool {
        state.closed || state.generation != self.generation
    }

    /// Lets a node take its time, and tells of its steps if it has some. An interrupt ends it, but
    /// not before `deaf_seconds` have passed: a node that is busy in native code notices late.
    fn wait(&self, id: &str, inputs: &Value) -> Result<(), Stop> {
        let seconds = |name: &str| Duration::from_secs_f64(inputs[name].as_f64().unwrap_or(0.0));
        let (time, deaf) = (seconds("seconds"), seconds("deaf_seconds"));
        let steps = inputs["steps"].as_u64().and_then(|steps| u32::try_from(steps).ok());
        let end = Instant::now() + time;
        let over = |state: &State| self.is_gone(state) || state.finish;
        for step in 1..=steps.unwrap_or(1) {
            let time = time / steps.unwrap_or(1);
            if self.shared.wait_until(time, |state| over(state) || state.interrupted) {
                break;
            }
            if let Some(steps) = steps {
                self.progress(id, step.into(), steps.into(), "running");
                self.tell("progress", json!({"value": step, "max": steps, "node": id}));
            }
        }
        let left = end.saturating_duration_since(Instant::now());
        self.shared.wait_until(left.min(deaf), over);
        self.shared.update(|state| {
            if self.is_gone(state) {
                return Err(Stop::Dropped);
            }
            state.held_memory = 0;
            if state.interrupted { Err(Stop::Interrupted) } else { Ok(()) }
        })
    }

    /// Saves the clip, made unique by the prompt's id in a box that players skip.
    fn save_video(&self, prefix: &str) -> Value {
        let id = self.prompt.id.as_bytes();
        let note = [id, &vec![0; self.shared.config.video_padding]].concat();
        let length = u32::try_from(note.len() + 8).expect("less than 4 GiB");
        let bytes = [CLIP, &length.to_be_bytes(), b"free", &note].concat();
        let file = self.shared.update(|state| state.save("output", prefix, "mp4", &bytes));
        if let Some(folder) = &self.shared.config.files {
            let text = |key: &str| file[key].as_str().expect("a text").to_owned();
            let name = format!("output@{}@{}", text("subfolder"), text("filename"));
            std::fs::write(folder.join(name), &bytes).expect("the folder is there");
        }
        json!({"images": [file], "animated": [true]})
    }

    /// Saves as many pictures as the graph's `EmptyImage` has.
    fn save_images(&self, folder: &str, prefix: &str) -> Value {
        let source = self.prompt.graph.values().find(|node| node["class_type"] == "EmptyImage");
        let count = source.and_then(|node| node["inputs"]["batch_size"].as_u64()).unwrap_or(1);
        let save = |_| self.shared.update(|state| state.save(folder, prefix, "png", PIXEL));
        json!({"images": (0..count).map(save).collect::<Vec<_>>()})
    }
}
