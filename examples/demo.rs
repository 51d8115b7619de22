//! The main job in ten seconds, without a GPU and without `ComfyUI`: a stand-in server on a
//! loopback port, three scenes, one of them failing on purpose and retried.
//!
//! `cargo run --release --example demo`

#[path = "../tests/it/stand_in/mod.rs"]
mod stand_in;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use stand_in::{Config, Device, StandIn, Version, graphs};

fn main() -> std::io::Result<ExitCode> {
    let home = Path::new("target").join("demo");
    fs::create_dir_all(&home)?;
    let server = StandIn::with(Config {
        version: Version::Newest,
        devices: vec![Device::cuda(0, "NVIDIA GeForce RTX 3090", 24_576, 2_140, 900)],
        ..Config::default()
    });
    let mut unlucky = graphs::fail_once("scene-002", "failing on purpose, the first time");
    unlucky["5"] = json!({"class_type": "HoldMemory", "inputs": {
        "image": ["2", 0], "mb": 12_000, "seconds": 2.0,
    }});
    unlucky["3"]["inputs"]["images"] = json!(["5", 0]);
    unlucky["5"]["inputs"]["steps"] = 20.into();
    let steady = |name: &str, mb| {
        let mut graph = graphs::video(name, 3.0, mb, mb);
        graph["2"]["inputs"]["steps"] = 20.into();
        graph
    };
    let scenes = [
        ("scene-001", steady("scene-001", 9_000)),
        ("scene-002", unlucky),
        ("scene-003", steady("scene-003", 16_000)),
    ];
    let mut arguments = vec!["--project-root".into(), home.clone().into_os_string()];
    arguments.extend(["--comfyui-url", &server.url()].map(Into::into));
    arguments.extend(["--sample-interval-seconds", "0.25"].map(Into::into));
    for (name, graph) in &scenes {
        let path = home.join(format!("{name}.json"));
        fs::write(&path, pretty(graph))?;
        arguments.push(path.into_os_string());
    }
    let exit = run_comfyui_e2e::start(arguments);
    let newest = fs::read_dir(home.join("logs"))?.filter_map(|run| Some(run.ok()?.path())).max();
    if let Some(folder) = newest {
        println!("\nThe demo's report, for a browser: {}", folder.join("report.html").display());
    }
    Ok(exit)
}

fn pretty(graph: &Value) -> String {
    format!("{graph:#}\n")
}
