//! Memory from scene to scene: what grows, what is freed in between, and repeated scenes.

use crate::stand_in::{Config, Fault, StandIn, graphs};
use crate::support::{Folder, Ran, files, graphs as posted, run, run_sampled};

const LEAKING: [&str; 4] = ["a.json", "b.json", "c.json", "d.json"];

/// Each scene leaves 10 MB more behind than the one before.
fn run_leaking(words: &[&str], more: &[&str]) -> (Folder, Ran) {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    for (color, name) in (1..).zip(["a", "b", "c", "d", "e"]) {
        let mut graph = graphs::model(&format!("video/{name}"), 10, color);
        graph["2"]["inputs"]["seconds"] = 600.into();
        folder.workflow(&format!("{name}.json"), &graph);
    }
    folder.workflow("large.json", &graphs::out_of_memory());
    let words = [words, &["-Sample", "0.05", "-Poll", "0.2"], &LEAKING, more].concat();
    let scenes = ["a", "b", "c", "d", "e"];
    let scenes = &scenes[..if more.is_empty() { 4 } else { 5 }];
    let ran = run_sampled(&server, &folder, &words, scenes);
    (folder, ran)
}

#[test]
fn growth_is_what_each_scene_leaves_behind() {
    let (folder, ran) = run_leaking(&["-MaxGrowthMB", "9"], &[]);
    ran.exits(7)
        .says("Growth across scenes: +10 MB per scene\n")
        .tells("MaxGrowthMB +10 9 ✗")
        .says("✗ VRAM grows by 10 MB per scene, more than 9 MB (exit 7)");
    let ran = folder.run(&["summary", "-MaxGrowthMB", "10"]).exits(0);
    ran.says("Gates      MaxGrowthMB 10 held (+10 per scene)\n");
}

#[test]
fn growth_is_counted_anew_after_a_free() {
    let (folder, ran) = run_leaking(&["-MaxGrowthMB", "10"], &["large.json", "e.json"]);
    let line = "Growth across scenes: +10 MB per scene\n";
    ran.exits(5).says(line).says("Gates      MaxGrowthMB 10 held (+10 per scene)\n");
    let scenes = &folder.metadata()["Scenes"];
    let freed = |scene: usize, attempt: usize| &scenes[scene]["Attempts"][attempt]["FreedBefore"];
    assert_eq!([freed(3, 0), freed(4, 0), freed(4, 1), freed(5, 0)], [false, false, true, false]);
    folder.run(&["summary"]).exits(0).says(line);
    // The log alone knows of no /free.
    let log = folder.write("bare.log", folder.read("vram-usage.log"));
    folder.run(&["summary", log.to_str().unwrap()]).never_says(line).says("Growth across");
}

#[test]
fn fresh_scenes_have_no_growth() {
    let (_folder, ran) = run_leaking(&["-Fresh", "-MaxGrowthMB", "10"], &[]);
    ran.exits(7)
        .says("10  ✗ not judged: too few scenes: growth is known from four")
        .never_says("Growth across scenes");
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
    ran.says("Scenes to process: flow-r1, flow-r2, flow-r3\n").says("✓ 3 of 3 scenes in ");
    let outputs = files(&folder.newest().join("outputs"));
    assert_eq!(outputs.len(), 3);
    assert!(outputs[2].starts_with("flow-r3/"), "{outputs:?}");
    let graphs = posted(&server);
    let seeds: Vec<_> = graphs.iter().map(|graph| &graph["1"]["inputs"]["seed"]).collect();
    assert!(seeds[0] != seeds[1] && seeds[1] != seeds[2], "a seed for each: {seeds:?}");
    let labels: Vec<_> = graphs.iter().map(|graph| &graph["1"]["inputs"]["label"]).collect();
    assert_eq!(labels, ["flow-r1", "flow-r2", "flow-r3"]);
    folder.workflow("flow-r2.json", &graph);
    let words = ["-Repeat", "2", "flow.json", "flow-r2.json"];
    let ran = folder.run_on(&server.url(), &words).exits(0);
    ran.says("Scenes to process: flow-r1, flow-r2, flow-r2-r1, flow-r2-r2\n");
}

/// Runs scenes that load so many MB each, with a cleanup after every so many of them.
fn run_cleaned(interval: &str, scenes: &[(&str, u64)]) -> (StandIn, Folder, Ran) {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    for (color, (name, mb)) in (1..).zip(scenes) {
        let graph = match mb {
            0 => graphs::images(name, 1, color),
            mb => graphs::model(&format!("video/{name}"), *mb, color),
        };
        folder.workflow(&format!("{name}.json"), &graph);
    }
    let files: Vec<String> = scenes.iter().map(|(name, _)| format!("{name}.json")).collect();
    let words = ["-Memory", interval, "-Sample", "0.2"].map(str::to_owned);
    let ran = folder.run_on(&server.url(), &[&words[..], &files].concat());
    (server, folder, ran)
}

#[test]
fn memory_is_freed_after_every_so_many_scenes_and_what_came_free_is_told() {
    let scenes = [("a", 1000), ("b", 500), ("c", 0), ("d", 0), ("e", 700)];
    let (server, folder, ran) = run_cleaned("2", &scenes);
    ran.exits(0)
        .says("Memory cleanup after b: freed 1500 MB (used 3640 to 2140 MB)\n")
        .says("Memory cleanup after d: freed nothing\n");
    let lines = folder.read("run-summary.txt");
    assert_eq!(lines.matches("Memory cleanup").count(), 2, "{lines}");
    assert_eq!(server.posts().join(" "), "/prompt /prompt /free /prompt /prompt /free /prompt");
}

#[test]
fn memory_is_freed_after_every_tenth_scene_and_never_with_0() {
    let (server, _folder, ran) = run_cleaned("0", &[("a", 0), ("b", 0)]);
    ran.exits(0);
    assert_eq!(server.posts(), ["/prompt"; 2]);
    let scenes = [("a", graphs::images("a", 1, 1))];
    let (_folder, ran) = run(&StandIn::start(), &scenes, &["-Repeat", "11", "-Seed", "keep"]);
    ran.exits(0).says("Memory cleanup after a-r10: freed");
}

#[test]
fn a_server_that_cannot_free_costs_a_warning() {
    let server = StandIn::start();
    server.fail_next("POST /free", usize::MAX, Fault::Status(500, "no"));
    let scenes = [("a", graphs::images("a", 1, 1)), ("b", graphs::images("b", 1, 2))];
    let (_folder, ran) = run(&server, &scenes, &["-Memory", "1"]);
    ran.exits(0).says("WARNING: nothing was freed: POST /free at").says("✓ 2 of 2 scenes in ");
}
