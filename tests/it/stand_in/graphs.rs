//! Graphs in `ComfyUI`'s API format.

use serde_json::{Value, json};

use super::recorded;

fn empty_image(width: u64, height: u64, batch_size: u64, color: u64) -> Value {
    json!({
        "class_type": "EmptyImage",
        "inputs": {"width": width, "height": height, "batch_size": batch_size, "color": color},
    })
}

fn save_image(images: &str, prefix: &str) -> Value {
    json!({"class_type": "SaveImage", "inputs": {"images": [images, 0], "filename_prefix": prefix}})
}

/// A picture that goes through one node and becomes a video: nodes 1 to 4.
fn video_through(prefix: &str, color: u64, class: &str, mut inputs: Value) -> Value {
    inputs["image"] = json!(["1", 0]);
    json!({
        "1": empty_image(320, 240, 16, color),
        "2": {"class_type": class, "inputs": inputs},
        "3": {"class_type": "CreateVideo", "inputs": {"images": ["2", 0], "fps": 8.0}},
        "4": {"class_type": "SaveVideo", "inputs": {
            "video": ["3", 0], "filename_prefix": prefix, "format": "auto", "codec": "auto",
        }},
    })
}

/// A video whose making takes some seconds and megabytes. The colour makes it a new one.
pub fn video(prefix: &str, seconds: f64, mb: u64, color: u64) -> Value {
    video_through(prefix, color, "HoldMemory", json!({"mb": mb, "seconds": seconds}))
}

/// A video by way of nodes 10, 11, and so on, each with its megabytes and its seconds in four steps.
pub fn nodes(prefix: &str, nodes: &[(u64, f64)]) -> Value {
    let mut graph = video_through(prefix, 1, "HoldMemory", json!({}));
    graph.as_object_mut().map(|graph| graph.remove("2"));
    let mut last = "1".to_owned();
    for (id, (mb, seconds)) in (10..).zip(nodes) {
        let inputs = json!({"image": [last, 0], "mb": mb, "seconds": seconds, "steps": 4});
        last = id.to_string();
        graph[&last] = json!({"class_type": "HoldMemory", "inputs": inputs});
    }
    graph["3"]["inputs"]["images"][0] = last.into();
    graph
}

/// A video that ignores an interrupt for some seconds.
pub fn deaf(prefix: &str, seconds: f64, deaf_seconds: f64) -> Value {
    let inputs = json!({"mb": 64, "seconds": seconds, "deaf_seconds": deaf_seconds});
    video_through(prefix, 1, "HoldMemory", inputs)
}

/// A video that is done once it was asked for three times: no poll comes too late to see it run.
pub fn polled(prefix: &str) -> Value {
    video_through(prefix, 1, "Polled", json!({}))
}

pub fn model(prefix: &str, mb: u64, color: u64) -> Value {
    video_through(prefix, color, "LoadModel", json!({"mb": mb}))
}

/// Some pictures. The colour makes them new ones.
pub fn images(prefix: &str, count: u64, color: u64) -> Value {
    json!({"1": empty_image(64, 64, count, color), "2": save_image("1", prefix)})
}

pub fn previews(count: u64, color: u64) -> Value {
    json!({
        "1": empty_image(64, 64, count, color),
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    })
}

pub fn failing(message: &str) -> Value {
    video_through("video/failing", 2, "FailAlways", json!({"message": message}))
}

/// A video that ends its server in the way of that class; with a marker's path once.
pub fn ending(prefix: &str, class: &str, marker: &str) -> Value {
    video_through(prefix, 6, class, json!({"marker": marker, "seconds": 0.2}))
}

pub fn fail_once(prefix: &str, message: &str) -> Value {
    video_through(prefix, 3, "FailOnce", json!({"message": message}))
}

pub fn failing_late(prefix: &str, message: &str) -> Value {
    let fails =
        json!({"class_type": "FailAlways", "inputs": {"image": ["1", 0], "message": message}});
    let mut graph = images(prefix, 1, 4);
    graph["4"] = fails;
    graph["5"] = save_image("4", "img/after");
    graph
}

/// Takes 4 GB for a moment, then all there is.
pub fn out_of_memory() -> Value {
    video_through("video/too-large", 5, "OutOfMemory", json!({"mb": 4096, "seconds": 0.2}))
}

/// Refused: node 4 wants a checkpoint that the server does not have.
pub fn invalid() -> Value {
    json!({
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "x.safetensors"}},
        "5": {"class_type": "KSampler", "inputs": {"model": ["4", 0], "seed": 1, "steps": 20}},
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["4", 2]}},
        "9": save_image("6", "img/invalid"),
    })
}

/// Refused: the `SaveVideo` node 3 has no video.
pub fn missing_input() -> Value {
    recorded::graph("prompt-bad-inputs")
}

/// Refused: there is nothing to save.
pub fn no_outputs() -> Value {
    recorded::graph("prompt-no-outputs")
}

/// Refused: node 1 is not installed.
pub fn unknown_node() -> Value {
    recorded::graph("prompt-unknown-node")
}

/// Accepted in part: node 9 links to a node 99, which is not there.
pub fn partial(prefix: &str) -> Value {
    let mut graph = recorded::graph("prompt-partially-valid");
    graph["3"]["inputs"]["filename_prefix"] = prefix.into();
    graph
}

pub fn from_image(prefix: &str, image: &str) -> Value {
    json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": image}},
        "2": save_image("1", prefix),
    })
}
