//! The server's memory, emptied after every so many scenes.

use crate::stand_in::{Config, StandIn, graphs};
use crate::support::Folder;

fn run(interval: &str, scenes: &[(&str, u64)]) -> (StandIn, Folder, crate::support::Ran) {
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
fn what_it_freed_is_measured() {
    let scenes = [("a", 1000), ("b", 500), ("c", 0), ("d", 0), ("e", 700)];
    let (server, folder, ran) = run("2", &scenes);
    ran.exits(0)
        .says("Memory cleanup after b: freed 1500 MB (used 3640 to 2140 MB)\n")
        .says("Memory cleanup after d: freed nothing\n");
    let lines = folder.read("run-summary.txt");
    assert_eq!(lines.matches("Memory cleanup").count(), 2, "{lines}");
    assert_eq!(server.posts().join(" "), "/prompt /prompt /free /prompt /prompt /free /prompt");
}

#[test]
fn zero_is_never_and_ten_is_the_default() {
    let (server, _folder, ran) = run("0", &[("a", 0), ("b", 0)]);
    ran.exits(0);
    assert_eq!(server.posts(), ["/prompt"; 2]);
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("a.json", &graphs::images("a", 1, 1));
    let ran = folder.run_on(&server.url(), &["-Repeat", "11", "-Seed", "keep", "a.json"]);
    ran.exits(0).says("Memory cleanup after a-r10: freed");
}

#[test]
fn a_server_that_cannot_free_is_told_of_and_the_run_goes_on() {
    let (server, folder) = (StandIn::start(), Folder::new());
    server.fail_next("POST /free", 9, crate::stand_in::Fault::Status(500, "no"));
    folder.workflow("a.json", &graphs::images("a", 1, 1));
    folder.workflow("b.json", &graphs::images("b", 1, 2));
    folder
        .run_on(&server.url(), &["-Memory", "1", "a.json", "b.json"])
        .exits(0)
        .says("WARNING: nothing was freed: POST /free at")
        .says("OK: 2 of 2 scenes");
}
