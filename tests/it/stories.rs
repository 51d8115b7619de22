//! A story and its template: what the server is sent.

use std::path::Path;

use serde_json::{Value, json};

use crate::stand_in::{StandIn, graphs};
use crate::support::{Folder, Ran, files, graphs as posted};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n keyframe";

/// A template as the editor exports it, its texts found by the graph: 6 positive, 7 negative.
fn by_graph() -> Value {
    let mut graph = json!({
        "3": {"class_type": "KSampler", "inputs": {
            "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0], "image": ["1", 0],
            "seed": 5, "steps": 4,
        }},
        "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "old"}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "old too"}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0]}},
        "9": {"class_type": "CreateVideo", "inputs": {"images": ["8", 0], "fps": 8.0}},
        "10": {"class_type": "SaveVideo", "inputs": {"filename_prefix": "x", "format": "auto", "codec": "auto"}},
    });
    graph["10"]["inputs"]["video"] = json!(["9", 0]);
    graph
}

fn by_placeholders() -> Value {
    let mut graph = graphs::video("__SCENE_PREFIX__/take", 0.0, 0, 1);
    graph["6"] = json!({"class_type": "CLIPTextEncode", "inputs": {
        "text": "best quality, __PROMPT__, of __SCENE_ID__", "seed": "__SEED__",
    }});
    graph["7"] = json!({"class_type": "Note", "inputs": {"any": "__NEGATIVE_PROMPT__"}});
    graph["1"]["inputs"]["start"] = json!("__KEYFRAME_IMAGE__");
    graph
}

fn scene(id: &str) -> Value {
    json!({"id": id, "prompt": format!("prompt of {id}"), "negativePrompt": format!("not {id}"),
           "keyframePath": "keys/key.png"})
}

fn write_story(folder: &Folder, scenes: &[Value], template: &Value) {
    folder.write("story/keys/key.png", PNG);
    folder.write("story/story.json", json!({"storyId": "s", "scenes": scenes}).to_string());
    folder.workflow("template.json", template);
}

fn tell(folder: &Folder, server: &StandIn, more: &[&str]) -> Ran {
    let words = ["--story", "story", "--workflow", "template.json"];
    let words: Vec<&str> = words.iter().chain(more).copied().collect();
    folder.run_on(&server.url(), &words)
}

#[test]
fn marked_places_are_filled() {
    let (server, folder) = (StandIn::start(), Folder::new());
    write_story(&folder, &[scene("scene-001"), scene("scene-002")], &by_placeholders());
    tell(&folder, &server, &[]).exits(0).says("Scenes to process: scene-001, scene-002\n");
    let seed = folder.metadata()["Scenes"][1]["Seed"].as_u64().expect("a seed");
    let graph = &posted(&server)[1];
    assert_eq!(graph["6"]["inputs"]["text"], "best quality, prompt of scene-002, of scene-002");
    assert_eq!(graph["6"]["inputs"]["seed"], seed, "a number, not its text");
    assert_eq!(graph["7"]["inputs"]["any"], "not scene-002");
    assert_eq!(graph["1"]["inputs"]["start"], "run-comfyui-e2e/scene-002-key.png");
    assert_eq!(graph["4"]["inputs"]["filename_prefix"], "video/scene-002/take");
    assert!(folder.newest().join("video/scene-002/scene-002.mp4").is_file());
}

#[test]
fn without_marks_the_graph_shows_the_places() {
    let (server, folder) = (StandIn::start(), Folder::new());
    write_story(&folder, &[scene("scene-001")], &by_graph());
    tell(&folder, &server, &[]).exits(0);
    let graph = &posted(&server)[0];
    assert_eq!(graph["6"]["inputs"]["text"], "prompt of scene-001");
    assert_eq!(graph["7"]["inputs"]["text"], "not scene-001");
    assert_eq!(graph["1"]["inputs"]["image"], "run-comfyui-e2e/scene-001-key.png");
    assert_eq!(graph["10"]["inputs"]["filename_prefix"], "video/scene-001");
    assert_eq!(graph["3"], by_graph()["3"], "the seed is kept, links too");
    let uploaded = ("scene-001-key.png".to_owned(), "run-comfyui-e2e".to_owned(), PNG.len());
    assert_eq!(server.uploads(), [uploaded]);
    // A repeated scene saves under an id of its own.
    let ran = tell(&folder, &server, &["-Repeat", "2"]).exits(0);
    ran.says("Scenes to process: scene-001-r1, scene-001-r2\n");
    let prefixes = [1, 2].map(|at| posted(&server)[at]["10"]["inputs"]["filename_prefix"].clone());
    assert_eq!(prefixes, ["video/scene-001-r1", "video/scene-001-r2"]);
}

#[test]
fn a_keyframe_without_a_place_is_a_warning() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let mut template = graphs::video("x", 0.0, 0, 1);
    template["6"] = json!({"class_type": "CLIPTextEncode", "inputs": {"text": "__PROMPT__"}});
    write_story(&folder, &[scene("a")], &template);
    let ran = tell(&folder, &server, &[]).exits(0);
    ran.says("[Scene a] WARNING: the keyframe finds no place in the workflow")
        .says("[Scene a] WARNING: the negative prompt finds no place in the workflow: put __NEGATIVE_PROMPT__");
    assert!(server.uploads().is_empty());
    assert_eq!(folder.metadata()["Scenes"][0]["Warnings"].as_array().unwrap().len(), 2);
}

#[test]
fn an_id_that_is_no_name_of_a_folder_is_changed() {
    let (server, folder) = (StandIn::start(), Folder::new());
    // Odd characters, and the names of Windows' devices. Of a name with two dots ComfyUI hands out no
    // file.
    let scenes = ["../Szene 1/ü", "CON", "nul.1", "com1", "aux"].map(scene);
    write_story(&folder, &scenes, &by_placeholders());
    let ids = ["___Szene_1_ü", "_CON", "_nul.1", "_com1", "_aux"];
    let line = format!("Scenes to process: {}\n", ids.join(", "));
    tell(&folder, &server, &[]).exits(0).says(&line);
    let run = folder.newest();
    for (at, id) in ids.into_iter().enumerate() {
        assert_eq!(folder.metadata()["Scenes"][at]["SceneId"], id);
        assert!(run.join(format!("video/{id}/{id}.mp4")).is_file(), "{:?}", files(&run));
        assert!(run.join(format!("history/{id}.json")).is_file(), "{:?}", files(&run));
    }
}

#[test]
fn set_and_seed_reach_every_scene() {
    let (server, folder) = (StandIn::start(), Folder::new());
    write_story(&folder, &["a", "b", "c"].map(scene), &by_graph());
    let words = ["--set", "KSampler.steps=9", "--seed", "42", "--scene-filter", "c,a"];
    tell(&folder, &server, &words).exits(0).says("process: a, c\n");
    for (at, graph) in posted(&server).iter().enumerate() {
        assert_eq!(graph["3"]["inputs"]["steps"], 9);
        assert_eq!(graph["3"]["inputs"]["seed"], 42);
        assert_eq!(folder.metadata()["Scenes"][at]["Seed"], 42);
    }
    tell(&folder, &server, &["-Seed", "keep"]).exits(0);
    assert_eq!(posted(&server)[2]["3"]["inputs"]["seed"], 5);
    assert!(folder.metadata()["Scenes"][0]["Seed"].is_null());
}

#[test]
fn a_random_seed_is_recorded_and_kept_over_retries() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let mut template = graphs::fail_once("x", "only once");
    template["6"] =
        json!({"class_type": "Note", "inputs": {"text": "__PROMPT__", "seed": 1, "noise_seed": 2}});
    write_story(&folder, &["a", "b"].map(scene), &template);
    tell(&folder, &server, &["-Seed", "random"]).exits(0);
    let seeds: Vec<Value> =
        posted(&server).iter().map(|graph| graph["6"]["inputs"]["seed"].clone()).collect();
    let scenes = &folder.metadata()["Scenes"];
    let (a, b) = (&scenes[0]["Seed"], &scenes[1]["Seed"]);
    assert_eq!(seeds, [a.clone(), a.clone(), b.clone()], "a was tried twice");
    assert!(a.is_u64() && b.is_u64() && a != b, "{a} {b}");
    assert_eq!(posted(&server)[0]["6"]["inputs"]["noise_seed"], *a);
}

#[test]
fn a_workflow_without_story_is_sent_as_it_stands() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let mut graph = graphs::video("mine/__SCENE_ID__", 0.0, 0, 1);
    graph["3"]["inputs"]["fps"] = json!(23.976_023_976_023_978);
    folder.workflow("flow.json", &graph);
    folder.run_on(&server.url(), &["flow.json"]).exits(0);
    graph["4"]["inputs"]["filename_prefix"] = "mine/flow".into();
    assert_eq!(posted(&server)[0], graph);
    folder.workflow("flow.json", &by_placeholders());
    let ran = folder.run_on(&server.url(), &["flow.json"]).exits(2);
    ran.complains("flow.json: it holds __PROMPT__, which only a story can fill: --story PATH");
}

#[test]
fn a_broken_story_is_named_with_the_place_in_it() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let refused = |part: &str| {
        tell(&folder, &server, &[]).exits(2).refuses(part);
        assert!(server.requests().is_empty() && folder.runs().is_empty());
    };
    let mut lost = scene("b");
    lost["keyframePath"] = "keys/lost.png".into();
    // Nothing else leaves this machine for a story, whatever its name.
    folder.write("story/keys/text.png", "root:x:0:0:root:/root:/bin/bash\n");
    let mut text = scene("b");
    text["keyframePath"] = "keys/text.png".into();
    let path = Path::new("keys/lost.png").display().to_string();
    for (scenes, part) in [
        (vec![], "story.json: no scenes"),
        (vec![scene("a"), json!({"prompt": "x"})], "story.json: scene 2: it has no id"),
        (vec![json!({"id": "a"})], "story.json: scene 1: 'a' has no prompt"),
        (vec![scene("a"), lost.clone()], "scene 2: 'b': its keyframe "),
        (vec![scene("a"), text], "text.png: no image (PNG, JPEG, "),
        (vec![scene("a"), lost], &format!("{path} is not there")),
        (vec![scene("a b"), scene("A_b")], "two scenes have the name a_b"),
    ] {
        write_story(&folder, &scenes, &by_placeholders());
        refused(part);
    }
    for (text, part) in
        [("{\n\"scenes\": [}", " at line 2 column 12"), ("", "story.json: not JSON: ")]
    {
        folder.write("story/story.json", text);
        refused(part);
    }
    // A place for a keyframe, and none to put there.
    write_story(&folder, &[json!({"id": "a", "prompt": "p"})], &by_placeholders());
    refused("it holds __KEYFRAME_IMAGE__, and scene 'a' of the story has no keyframePath");
}

#[test]
fn a_story_takes_one_template_with_a_place_for_the_prompt() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let mut none = by_graph();
    none["3"]["class_type"] = "EmptyImage".into();
    write_story(&folder, &[scene("a")], &none);
    let part = "no place (candidates: node 6 CLIPTextEncode text, node 7 CLIPTextEncode text)";
    tell(&folder, &server, &[]).exits(2).refuses(part).complains("put __PROMPT__");
    let part = "--story needs a template: no template for the story's scenes: no workflowJson in ";
    let ran = folder.run_on(&server.url(), &["--story", "story"]).exits(2);
    ran.refuses(part).complains("--workflow FILE");
    let part = "--story takes one workflow as the template of all its scenes, not 2";
    tell(&folder, &server, &["template.json"]).exits(2).refuses(part);
}

/// As Windows' editors and PowerShell write files: a mark at the start, and two bytes a line's end.
#[test]
fn files_of_windows_editors_are_read() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let windows = |value: &Value| {
        let text = serde_json::to_string_pretty(value).unwrap();
        format!("\u{feff}{}\r\n", text.replace('\n', "\r\n"))
    };
    folder.write("story/keys/key.png", PNG);
    folder.write("story/story.json", windows(&json!({"storyId": "s", "scenes": [scene("a")]})));
    folder.write("template.json", windows(&by_graph()));
    folder.write("headers.txt", "\u{feff}# a token\r\nAuthorization: Bearer x\r\n\r\n");
    tell(&folder, &server, &["--header-file", "headers.txt"]).exits(0);
    assert_eq!(posted(&server)[0]["6"]["inputs"]["text"], "prompt of a");
    let requests = server.requests();
    assert!(requests.iter().all(|request| request.header("authorization") == Some("Bearer x")));
}

#[test]
fn every_path_may_have_spaces_and_any_letters() {
    let (server, folder) = (StandIn::start(), Folder::new());
    // What has scripts is a project, whatever its name.
    let (root, logs) = ("Dev Ordner ß 映画", "Meine Läufe 🎬");
    std::fs::create_dir_all(folder.path().join(root).join("scripts")).unwrap();
    let place = |name: &str| format!("{root}/{name}");
    let key = folder.write(&place("Schlüssel bild é.png"), PNG);
    let keys = ["Schlüssel bild é.png", key.to_str().unwrap()];
    let scenes = keys.map(|key| json!({"id": key, "prompt": "p", "keyframePath": key}));
    folder.write(&place("story.json"), json!({"storyId": "s", "scenes": scenes}).to_string());
    folder.workflow(&place("Vorlage ä.json"), &by_graph());
    folder.write(&place("kopf zeilen.txt"), "X-Name: 1\n");
    let [story, template, headers] = ["story.json", "Vorlage ä.json", "kopf zeilen.txt"].map(place);
    let words = [root, "--story", &story, "--workflow", &template, "--header-file", &headers];
    for logs in [None, Some(logs)] {
        let more = logs.map_or(Vec::new(), |logs| vec!["--logs-dir", logs]);
        folder.run_on(&server.url(), &[&words[..], &more].concat()).exits(0);
    }
    let run = |logs: &str| {
        let runs = std::fs::read_dir(folder.path().join(logs)).unwrap();
        runs.last().unwrap().unwrap().path()
    };
    assert!(run(&place("logs")).join("run-summary.txt").is_file());
    let run = run(logs);
    assert_eq!(std::fs::read_dir(run.join("video")).unwrap().count(), 2, "{:?}", files(&run));
    assert!(server.requests().iter().all(|request| request.header("x-name") == Some("1")));
    assert_eq!(server.uploads().len(), 4);
    // And read again.
    let run = run.to_str().unwrap();
    folder.run(&["summary", run]).exits(0).says("Peak VRAM: ");
    let (url, log) = (server.url(), format!("{logs}/beside.log"));
    let words = ["monitor", "--comfyui-url", &url, "--log", &log, "--duration", "0.2"];
    folder.run(&words).exits(0);
    folder.run(&["summary", &log, run]).exits(0).says(logs).says("beside.log <==");
}

#[test]
fn an_unreachable_server_leaves_the_story_in_the_metadata() {
    let (server, folder) = (StandIn::start(), Folder::new());
    write_story(&folder, &[scene("a")], &by_graph());
    folder.write("story/story.json", json!({"scenes": [scene("a")]}).to_string());
    server.stop_listening();
    tell(&folder, &server, &[]).exits(3).says("[Scene a] Wan2 video missing\n");
    let story = &folder.metadata()["Story"];
    assert_eq!(story["Id"], "story", "it has no id: the file's name");
    assert_eq!(story["HealthCheck"]["SkipReason"], "no story was to be made");
}
