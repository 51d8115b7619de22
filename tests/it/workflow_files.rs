//! What people call a workflow file, and what of it reaches the server.

use serde_json::{Value, json};

use crate::stand_in::{StandIn, graphs};
use crate::support::{Folder, prompts};

const URL: &str = "--comfyui-url";

#[test]
fn a_graph_is_posted_as_its_file_has_it() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let mut graph = graphs::images("a", 1, 1);
    graph["1"]["inputs"] = json!({"width": 64, "height": 64, "color": 1.0, "batch_size": 1,
        "f1": 1, "f2": 2, "f10": 1e-7});
    let text = graph.to_string();
    let saved = text.replacen("{\"class_type\"", "{\"is_changed\":[NaN],\"class_type\"", 1);
    let extra = json!({"extra_pnginfo": {"workflow": {"nodes": []}}});
    let wrapped = format!("{{\"prompt\":{saved},\"extra_data\":{extra}}}");
    let utf16: Vec<u8> =
        "\u{feff}".chars().chain(wrapped.chars()).flat_map(|c| (c as u16).to_le_bytes()).collect();
    std::fs::write(folder.path().join("wrapped.json"), utf16).unwrap();
    folder.write("worker.json", json!({"input": {"workflow": graph}}).to_string());
    folder.write("text.json", Value::from(text.as_str()).to_string());
    let words = [URL, &server.url(), "wrapped.json", "worker.json", "text.json"];
    folder.run(&words).exits(0);
    let requests = server.requests();
    let posts: Vec<_> = requests.iter().filter(|request| request.is("POST /prompt")).collect();
    assert_eq!(posts.len(), 3);
    for post in &posts {
        assert!(post.body.contains(&text), "{:?}", post.body);
    }
    assert_eq!(prompts(&server)[0]["extra_data"], extra);
    assert_eq!(prompts(&server)[1]["extra_data"], Value::Null);
}

#[test]
fn a_folder_runs_what_it_can_and_names_what_it_cannot() {
    let (server, folder) = (StandIn::start(), Folder::new());
    for (name, color) in [("夜景", 1), ("夜空", 2), ("b", 3)] {
        folder.workflow(&format!("flows/{name}.json"), &graphs::video(name, 0.6, 64, color));
    }
    folder.write("flows/settings.json", "{\"a\": 1}");
    folder.write("flows/torn.json", "{");
    let url = server.url();
    let ran = folder.run(&[URL, &url, "--workflow", "flows"]);
    ran.exits(0)
        .says("Scenes to process: b, 夜景, 夜空\n")
        .says("WARNING: left out: ")
        .says("settings.json: no workflow: node a has no class_type")
        .says("torn.json: not JSON: ");
    assert!(folder.newest().join("video/夜空/夜空.mp4").is_file());
    assert!(folder.read("vram-usage.log").contains(",Scene=夜景"));
    // What a shell of Windows hands on as it is.
    folder.run(&[URL, &url, "flows/?.json"]).exits(0).says("Scenes to process: b\n");
    let all = folder.run(&[URL, &url, "--workflow", "flows/*.json"]);
    all.exits(2).refuses("settings.json: no workflow: node a has no class_type; ");
    folder.write("none/torn.json", "{");
    folder.run(&[URL, &url, "--workflow", "none"]).exits(2).refuses("torn.json: not JSON: ");
}

#[test]
fn an_input_is_set_by_the_type_that_its_class_declares() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let mut graph = graphs::from_image("a", "old.png");
    let load =
        graph.as_object().unwrap().iter().find(|(_, node)| node["class_type"] == "LoadImage");
    let load = load.unwrap().0.clone();
    graph[&load]["inputs"].as_object_mut().unwrap().remove("image");
    folder.workflow("flow.json", &graph);
    folder.write("cat.png", "a cat");
    let set = format!("{load}.image=@cat.png");
    let url = server.url();
    folder.run(&[URL, &url, "flow.json", "--set", &set]).exits(0);
    let posted = prompts(&server)[0]["prompt"][&load]["inputs"]["image"].clone();
    let name = posted.as_str().unwrap();
    assert!(name.starts_with("run-comfyui-e2e/flow-") && name.ends_with("cat.png"), "{name}");
    let uploads = server.wait_until(std::time::Duration::ZERO, |state| state.uploads.len() == 1);
    assert!(uploads);
    let wrong = format!("{load}.imag=@cat.png");
    let refused = folder.run(&[URL, &url, "flow.json", "--set", &wrong]);
    refused.exits(2).refuses("has no input 'imag': did you mean 'image'?");
    let missing = format!("{load}.image=@dog.png");
    let refused = folder.run(&[URL, &url, "flow.json", "--set", &missing]);
    refused.exits(2).refuses("no file dog.png (a text that begins with @: @@)");
    assert_eq!(folder.runs().len(), 1);
}

#[test]
fn a_date_in_a_name_and_a_partner_s_key() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::images("%date:yyyy%/a", 1, 1));
    folder.write("key.txt", "comfyui-s3cret-key\n");
    let words = [URL, &server.url(), "flow.json", "--api-key-file", "key.txt", "--json"];
    let ran = folder.run(&words);
    let posted = &prompts(&server)[0]["extra_data"];
    assert_eq!(*posted, json!({"api_key_comfy_org": "comfyui-s3cret-key"}));
    assert!(folder.warnings().contains("%date:"), "{}", folder.warnings());
    assert!(!ran.stdout.contains("s3cret") && !ran.stderr.contains("s3cret"));
    for file in crate::support::files(&folder.newest()) {
        let bytes = std::fs::read(folder.newest().join(&file)).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("s3cret"), "{file}");
    }
}
