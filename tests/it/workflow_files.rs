//! What people call a workflow file, and what of it reaches the server.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::stand_in::{StandIn, graphs};
use crate::support::{Folder, asked, prompts};

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

/// What the editor's own menu saves: a picture that is saved, and a sampler with a seed and a text.
fn drawn(text: &str) -> Value {
    json!({"version": 0.4, "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 4, 0, 3, 0, "CONDITIONING"]],
    "nodes": [
        {"id": 1, "type": "EmptyImage", "title": "The picture", "widgets_values": [64, 64, 1, 7]},
        {"id": 2, "type": "SaveImage", "inputs": [{"name": "images", "type": "IMAGE", "link": 1}],
         "widgets_values": ["img/%date:yyyy%"]},
        {"id": 3, "type": "KSampler", "widgets_values": [5, "increment"],
         "inputs": [{"name": "positive", "type": "CONDITIONING", "link": 2}]},
        {"id": 4, "type": "CLIPTextEncode", "widgets_values": [text, "more"]},
        {"id": 9, "type": "Note", "widgets_values": ["nothing"]},
    ]})
}

fn png(texts: &[(&str, &Value)]) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (key, text) in texts {
        let text = format!("{key}\0{text}");
        bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend([b"tEXt", text.as_bytes(), &[0; 4]].concat());
    }
    bytes.extend(*b"\0\0\0\0IEND\xae\x42\x60\x82");
    bytes
}

#[test]
fn a_file_of_the_editor_is_posted_as_the_editor_would() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let url = server.url();
    folder.workflow("drawn.json", &drawn("old"));
    folder.run(&[URL, &url, "drawn.json", "--repeat", "2"]).exits(0);
    assert!(folder.warnings().contains("node 4 CLIPTextEncode: 1 value too many: was the file"));
    let posts = prompts(&server);
    let year = time::OffsetDateTime::now_utc().year();
    let graph = |width: u32, seed: u32| {
        json!({
            "1": {"inputs": {"width": width, "height": 64, "batch_size": 1, "color": 7},
                  "class_type": "EmptyImage", "_meta": {"title": "The picture"}},
            "2": {"inputs": {"filename_prefix": format!("img/{year}"), "images": ["1", 0]},
                  "class_type": "SaveImage", "_meta": {"title": "SaveImage"}},
            "3": {"inputs": {"seed": seed, "positive": ["4", 0]},
                  "class_type": "KSampler", "_meta": {"title": "KSampler"}},
            "4": {"inputs": {"text": "old"},
                  "class_type": "CLIPTextEncode", "_meta": {"title": "CLIPTextEncode"}},
        })
    };
    assert_eq!(posts[0]["prompt"].to_string(), graph(64, 5).to_string());
    assert_eq!(posts[1]["prompt"], graph(64, 6), "the next seed");
    assert_eq!(posts[1]["extra_data"]["extra_pnginfo"], json!({"workflow": drawn("old")}));
    let set = ["--set", "The picture.width=32", "--seed", "9", "--repeat", "2", "drawn.json"];
    folder.run(&[&[URL, &url], &set[..]].concat()).exits(0);
    assert!(prompts(&server)[2..].iter().all(|post| post["prompt"] == graph(32, 9)));
    let dry = folder.run(&[&[URL, &url, "--dry-run", "--json"], &set[..]].concat()).exits(0);
    let document: Value = serde_json::from_str(&dry.stdout).unwrap();
    assert_eq!(document["Scenes"][1]["Graph"], graph(32, 9));
    assert_eq!(asked(&server, "GET /object_info/EmptyImage"), 3, "once a run");
    // A template: what the story says is put into the graph that comes of it.
    folder.workflow("template.json", &drawn("of __PROMPT__"));
    folder.write("story.json", json!({"scenes": [{"id": "a", "prompt": "p"}]}).to_string());
    let words = ["--story", "story.json", "--workflow", "template.json", "--repeat", "2"];
    folder.run(&[&[URL, &url], &words[..]].concat()).exits(0);
    assert_eq!(prompts(&server)[5]["prompt"]["4"]["inputs"]["text"], "of p");
    assert_eq!(prompts(&server)[5]["prompt"]["3"]["inputs"]["seed"], 6);
}

#[test]
fn a_file_of_the_editor_without_end_is_refused_at_once() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let graph = |nodes: Vec<Value>| json!({"id": "", "nodes": nodes, "links": []});
    let node = |id: usize, class: String| json!({"id": id, "type": class});
    let many = graph((0..50_000).map(|id| node(id, "SaveImage".to_owned())).collect());
    let mut deep = graph(vec![node(1, "0".to_owned())]);
    let subgraphs = (0..10_000).map(|at: usize| {
        json!({"id": at.to_string(), "nodes": [node(1, (at + 1).to_string())], "links": []})
    });
    deep["definitions"] = json!({"subgraphs": subgraphs.collect::<Vec<_>>()});
    let begun = Instant::now();
    for (file, why) in [(many, "more than 50000 nodes"), (deep, "more than 32 deep")] {
        folder.workflow("endless.json", &file);
        folder.run(&[URL, &server.url(), "endless.json"]).exits(2).complains(why);
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_folder_mixes_pictures_and_files_of_any_kind() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let (mut graph, editor) = (graphs::images("img", 1, 1), drawn("old"));
    // The server saves a list without what has kept it from being a link.
    graph["1"]["inputs"]["list"] = json!(["", ""]);
    folder.write("flows/both.png", png(&[("workflow", &editor), ("prompt", &graph)]));
    graph["1"]["inputs"]["list"] = json!({"__value__": ["", ""]});
    folder.write("flows/drawn.PNG", png(&[("workflow", &editor)]));
    folder.workflow("flows/flow.json", &graph);
    folder.write("flows/none.png", png(&[]));
    folder.write("flows/notes.txt", "of no ending that is looked at");
    let mut unknown = drawn("old");
    unknown["nodes"][0]["type"] = "EmptyImge".into();
    unknown["nodes"][0]["properties"] = json!({"cnr_id": "comfyui-empty"});
    folder.workflow("flows/unknown.json", &unknown);
    let missing = "unknown.json: node 1 EmptyImge: the server has no node of this class: install \
                   the node pack comfyui-empty";
    let none = "none.png: a PNG picture without a workflow: was it edited or sent by a messenger?";
    let url = server.url();
    let ran = folder.run(&[URL, &url, "--workflow", "flows"]).exits(0);
    ran.says("Scenes to process: both, drawn, flow\n").says(missing).says(none);
    let posts = prompts(&server);
    assert_eq!(posts[0]["prompt"], graph);
    assert_eq!(posts[0]["extra_data"], json!({"extra_pnginfo": {"workflow": editor}}));
    assert_eq!(posts[1]["prompt"]["4"]["inputs"]["text"], "old");
    for (file, why) in [("flows/unknown.json", missing), ("flows/none.png", none)] {
        folder.run(&[URL, &url, file]).exits(2).refuses(why);
    }
    assert_eq!((prompts(&server).len(), folder.runs().len()), (3, 1));
    // Without a server it is no wrong file.
    server.stop_listening();
    folder.run(&[URL, &url, "flows/unknown.json"]).exits(3).says("no ComfyUI at ");
    for (file, exit) in [("flows/drawn.PNG", 0), ("flows/unknown.json", 1)] {
        server.stop_listening();
        let waiting = folder.start(&[URL, &url, "--wait-for-comfyui", "60", file]);
        waiting.until_it_says("Waiting up to 60 s");
        server.listen_again();
        waiting.wait().exits(exit);
    }
    assert_eq!(prompts(&server).len(), 4);
}
