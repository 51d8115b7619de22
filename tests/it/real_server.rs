//! Against a real `ComfyUI`, asked for by its URL; core nodes only, no model.
//!
//! `COMFYUI_TEST_URL=http://127.0.0.1:8188 cargo test --test it real_server -- --ignored`

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::stand_in::recorded;
use crate::support::Folder;

/// The server, for one test at a time: its cache holds the nodes of the last prompt only.
fn server() -> (String, MutexGuard<'static, ()>) {
    static ALONE: Mutex<()> = Mutex::new(());
    let url = std::env::var("COMFYUI_TEST_URL").expect("COMFYUI_TEST_URL: a real ComfyUI's URL");
    (url, ALONE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A few grey frames. `shade` makes it another scene for the server's cache.
fn video(name: &str, shade: u64) -> Value {
    let mut graph = recorded::graph("prompt-accepted");
    graph["1"]["inputs"]["color"] = shade.into();
    graph["3"]["inputs"]["filename_prefix"] = format!("video/{name}").into();
    graph
}

/// A colour that no earlier run of this test has left in the server's cache.
fn new_shade() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::from(now.subsec_nanos()) % 0xff_ffff
}

#[test]
#[ignore = "needs a real ComfyUI at COMFYUI_TEST_URL"]
fn three_scenes_run_and_their_videos_are_home() {
    let (url, _alone) = server();
    let (folder, shade) = (Folder::new(), new_shade());
    let names = ["one", "two", "three"];
    for (name, shade) in names.into_iter().zip(shade..) {
        folder.workflow(&format!("flows/{name}.json"), &video(name, shade));
    }
    let ran = folder.run_on(&url, &["--workflow", "flows"]).exits(0);
    ran.says("✓ 3 of 3 scenes in ").says("idle, queue empty");
    for name in names {
        let file = folder.newest().join(format!("video/{name}/{name}.mp4"));
        let bytes = std::fs::read(&file).unwrap();
        assert_eq!(&bytes[4..8], b"ftyp", "{}", file.display());
    }
}

#[test]
#[ignore = "needs a real ComfyUI at COMFYUI_TEST_URL"]
fn the_same_again_is_cached_and_fresh_executes() {
    let (url, _alone) = server();
    let folder = Folder::new();
    folder.workflow("flow.json", &video("flow", new_shade()));
    folder.run_on(&url, &["flow.json"]).exits(0).says("✓ 1 scene in ");
    folder.run_on(&url, &["flow.json"]).exits(0).says("✓ nothing was generated");
    for _ in 0..10 {
        folder.run_on(&url, &["flow.json", "-Fresh"]).exits(0).says("✓ 1 scene in ");
        let metadata = folder.metadata();
        assert_eq!(metadata["Scenes"][0]["CachedNodes"], json!([]));
    }
}

#[test]
#[ignore = "needs a real ComfyUI at COMFYUI_TEST_URL"]
fn what_the_server_refuses_is_named() {
    let (url, _alone) = server();
    let folder = Folder::new();
    let mut invalid = video("invalid", 1);
    invalid["3"]["inputs"].as_object_mut().unwrap().remove("video");
    folder.workflow("invalid.json", &invalid);
    folder
        .run_on(&url, &["invalid.json"])
        .exits(1)
        .says("rejected: node 3 SaveVideo video: Required input is missing");
    let mut unknown = video("unknown", 1);
    unknown["2"]["class_type"] = json!("NoSuchNode");
    folder.workflow("unknown.json", &unknown);
    folder.run_on(&url, &["unknown.json"]).exits(1).says("NoSuchNode");
}
