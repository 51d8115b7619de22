//! What sampling costs a generation on a real server:
//! `COMFYUI_TEST_URL=http://127.0.0.1:8188 cargo bench --bench sampling`. It needs no model.
//!
//! The same scene while the program asks the server for readings and while it does not (it is told
//! to take them from nvidia-smi alone), in turn, and the ratio of the two by the server's own clock.
//! Without a server nothing is measured.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

const PAIRS: u32 = 15;
/// What is measured: readings at the default pace, and at 10 Hz.
const PACES: [(&str, &[&str]); 2] =
    [("every 0.25 s, the default", &[]), ("every 0.1 s", &["--sample-interval-seconds", "0.1"])];
const NONE: &[&str] = &["--vram-source", "nvidia-smi"];

fn main() {
    let Ok(url) = std::env::var("COMFYUI_TEST_URL") else {
        println!("what sampling costs: COMFYUI_TEST_URL names no server");
        return;
    };
    let folder = std::env::temp_dir().join(format!("e2e-sampling-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("flow.json"), graph().to_string()).unwrap();
    // No colour of an earlier run, which would come from the cache.
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let mut color = u32::try_from(begun % 0x00ff_0000).unwrap();
    let mut once = |options: &[&str]| {
        color += 1;
        server_seconds(&folder, &url, options, color)
    };
    once(NONE);
    for (pace, options) in PACES {
        let mut ratios = Vec::new();
        for pair in 0..PAIRS {
            // Each is first as often as the other, to be fair.
            let (with, without) = if pair % 2 == 0 {
                (once(options), once(NONE))
            } else {
                let without = once(NONE);
                (once(options), without)
            };
            ratios.push(with / without);
        }
        ratios.sort_by(f64::total_cmp);
        let [least, median, most] = [0, ratios.len() / 2, ratios.len() - 1].map(|at| ratios[at]);
        println!(
            "a scene that is read {pace}: {least:.3} / {median:.3} / {most:.3} times one that \
             is not (minimum / median / maximum of {PAIRS})"
        );
    }
    fs::remove_dir_all(&folder).unwrap();
}

fn server_seconds(folder: &Path, url: &str, options: &[&str], color: u32) -> f64 {
    let output = Command::new(env!("CARGO_BIN_EXE_run-comfyui-e2e"))
        .args(["flow.json", "--json", "--comfyui-url", url])
        .args(options)
        .args(["--set", &format!("1.color={color}")])
        .current_dir(folder)
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    document["Scenes"][0]["ServerSeconds"].as_f64().expect("a scene that executed")
}

/// Some seconds of work on every core of the server, and nothing that has to be there.
fn graph() -> Value {
    json!({
        "1": {"class_type": "EmptyImage", "inputs": {
            "width": 512, "height": 512, "batch_size": 320, "color": 1}},
        "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 8.0}},
        "3": {"class_type": "SaveVideo", "inputs": {
            "video": ["2", 0], "filename_prefix": "video/cost", "format": "auto", "codec": "auto"}},
    })
}
