//! Scenes that are repeated, and what grows from one to the next.

use crate::seen;
use crate::stand_in::{Config, StandIn, graphs};
use crate::support::Folder;

/// Writes a scene that leaves 10 MB more behind than the one before.
fn leaking(folder: &Folder, name: &str, color: u64) {
    let mut graph = graphs::model(&format!("video/{name}"), 10, color);
    graph["2"]["inputs"]["seconds"] = 1.into();
    folder.workflow(&format!("{name}.json"), &graph);
}

const LEAKING: [&str; 4] = ["a.json", "b.json", "c.json", "d.json"];

fn four_leaking() -> (StandIn, Folder) {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    for (color, name) in (1..).zip(["a", "b", "c", "d"]) {
        leaking(&folder, name, color);
    }
    (server, folder)
}

#[test]
fn growth_is_what_each_scene_leaves_behind() {
    let (server, folder) = four_leaking();
    let words = [&["-Sample", "0.05", "-MaxGrowthMB", "9"][..], &LEAKING].concat();
    folder
        .run_on(&server.url(), &words)
        .exits(7)
        .says("Growth across scenes: +10 MB per scene\n")
        .says("MaxGrowthMB 9: FAILED, +10 MB per scene\n")
        .says("Gates: MaxGrowthMB 9 FAILED (+10 per scene)\n");
    folder
        .run(&["summary", "-MaxGrowthMB", "10"])
        .exits(0)
        .says("MaxGrowthMB 10: held, +10 MB per scene\n");
}

#[test]
fn what_grew_before_a_free_is_gone() {
    let (server, folder) = four_leaking();
    folder.workflow("large.json", &graphs::out_of_memory());
    leaking(&folder, "e", 5);
    let words = [&["-Sample", "0.05", "-MaxGrowthMB", "10"][..], &LEAKING];
    let words = [&words.concat()[..], &["large.json", "e.json"]].concat();
    let ran = folder.run_on(&server.url(), &words).exits(5);
    let line = "Growth across scenes: +10 MB per scene\n";
    ran.says(line).says("MaxGrowthMB 10: held, +10 MB per scene\n");
    let scenes = &folder.metadata()["Scenes"];
    let freed = |scene: usize, attempt: usize| &scenes[scene]["Attempts"][attempt]["FreedBefore"];
    assert_eq!([freed(3, 0), freed(4, 0), freed(4, 1), freed(5, 0)], [false, false, true, false]);
    folder.run(&["summary"]).exits(0).says(line);
    // The log alone knows of no /free.
    let log = folder.write("bare.log", folder.read("vram-usage.log"));
    let ran = folder.run(&["summary", log.to_str().unwrap()]).exits(0);
    assert!(!ran.stdout.contains(line) && ran.stdout.contains("Growth across"), "{ran}");
}

#[test]
fn after_fresh_starts_nothing_is_known_of_growth() {
    let (server, folder) = four_leaking();
    let words = [&["-Fresh", "-Sample", "0.05", "-MaxGrowthMB", "10"][..], &LEAKING].concat();
    let ran = folder.run_on(&server.url(), &words).exits(7);
    let ran = ran.says("MaxGrowthMB 10: not judged, too few scenes: growth is known from four");
    assert!(!ran.stdout.contains("Growth across scenes"), "{ran}");
}

#[test]
fn a_repeated_scene_has_an_id_each_time() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let mut graph = graphs::images("img/flow", 1, 1);
    graph["1"]["inputs"]["seed"] = 7.into();
    graph["1"]["inputs"]["label"] = "__SCENE_ID__".into();
    folder.workflow("flow.json", &graph);
    let words = ["-Repeat", "3", "-Seed", "random", "-SceneFilter", "flow", "flow.json"];
    let ran = folder.run_on(&server.url(), &words).exits(0);
    ran.says("Scenes to process: flow-r1, flow-r2, flow-r3\n").says("OK: 3 of 3 scenes, exit 0");
    let outputs = seen::files(&folder.newest().join("outputs"));
    assert_eq!(outputs.len(), 3);
    assert!(outputs[2].starts_with("flow-r3/"), "{outputs:?}");
    let graphs = seen::graphs(&server);
    let seeds: Vec<_> = graphs.iter().map(|graph| &graph["1"]["inputs"]["seed"]).collect();
    assert!(seeds[0] != seeds[1] && seeds[1] != seeds[2], "a seed for each: {seeds:?}");
    let labels: Vec<_> = graphs.iter().map(|graph| &graph["1"]["inputs"]["label"]).collect();
    assert_eq!(labels, ["flow-r1", "flow-r2", "flow-r3"]);
    folder.workflow("flow-r2.json", &graph);
    let words = ["-Repeat", "2", "flow.json", "flow-r2.json"];
    let ran = folder.run_on(&server.url(), &words).exits(0);
    ran.says("Scenes to process: flow-r1, flow-r2, flow-r2-r1, flow-r2-r2\n");
}

#[test]
fn a_repeated_scene_of_a_story_saves_under_its_own_id() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let mut template = graphs::images("img/x", 1, 1);
    template["1"]["inputs"]["title"] = "__PROMPT__".into();
    folder.workflow("template.json", &template);
    let scene = |id: &str| serde_json::json!({"id": id, "prompt": "a lake"});
    let story = serde_json::json!({"storyId": "s", "scenes": [scene("one"), scene("two")]});
    folder.write("story.json", story.to_string());
    let words = ["-Repeat", "2", "-Story", "story.json", "-SceneFilter", "two", "template.json"];
    let ran = folder.run_on(&server.url(), &words).exits(0);
    ran.says("Scenes to process: two-r1, two-r2\n");
    let graphs = seen::graphs(&server);
    let prefixes: Vec<_> = graphs.iter().map(|g| &g["2"]["inputs"]["filename_prefix"]).collect();
    assert_eq!(prefixes, ["video/two-r1", "video/two-r2"]);
}

#[test]
fn the_next_line_repeats_the_whole_batch_of_what_failed() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("good.json", &graphs::images("img/good", 1, 1));
    folder.workflow("bad.json", &graphs::fail_once("video/bad", "only once"));
    let words = ["-Repeat", "2", "-SceneRetryBudget", "0", "good.json", "bad.json"];
    let ran = folder.run_on(&server.url(), &words).exits(1);
    let next = seen::line(&ran.stdout, "Next: run-comfyui-e2e ");
    assert!(next.contains(" -Repeat 2 ") && !next.contains("good.json"), "{next}");
    let words: Vec<&str> = next.split(' ').skip(2).map(|word| word.trim_matches('"')).collect();
    folder.run(&words).exits(0).says("Scenes to process: bad-r1, bad-r2\n");
}
