//! Servers with several devices: a log and a block for each.

use serde_json::json;

use crate::stand_in::{Config, Device, Fault, StandIn, graphs};
use crate::support::{Folder, SOON, files, line};

/// Three cards; the first one does the work.
pub fn three() -> StandIn {
    let mut config = Config::cuda();
    config.devices.push(Device::cuda(1, "NVIDIA GeForce RTX 3060", 12_288, 500, 0));
    config.devices.push(Device::cuda(2, "NVIDIA A2", 16_384, 900, 50));
    StandIn::with(config)
}

const OFTEN: [&str; 5] = ["-SampleIntervalSeconds", "0.05", "-Poll", "0.2", "flow.json"];

fn run(server: &StandIn, words: &[&str]) -> Folder {
    let folder = Folder::new();
    folder.workflow("flow.json", &graphs::video("video/flow", 600.0, 1000, 1));
    let running = folder.start_on(&server.url(), &[words, &OFTEN].concat());
    // No device has number 3, and nothing is sampled.
    let is_sampled = words != ["-Gpu", "3"];
    folder.wait_for_lines(if is_sampled { ",Scene=flow" } else { "Missed=noDevice" }, 3);
    assert!(server.wait_until_running(SOON));
    server.finish_running();
    running.wait().exits(0);
    folder
}

/// What stands in each line besides figures and what only a run's first line has.
fn ticks(log: &str) -> Vec<(String, bool, bool)> {
    let tick = |line: &str| {
        let time = line.split(',').next().unwrap().to_owned();
        (time, line.contains("Missed="), line.contains(",Scene=flow"))
    };
    log.lines().map(tick).collect()
}

#[test]
fn each_device_has_a_log_of_the_same_ticks_and_a_block() {
    let (server, folder) = (three(), Folder::new());
    folder.workflow("flow.json", &graphs::video("video/flow", 600.0, 1000, 1));
    let running = folder.start_on(&server.url(), &OFTEN);
    assert!(server.wait_until_running(SOON));
    server.fail_next("GET /system_stats", 2, Fault::Status(500, "busy"));
    assert!(server.wait_until_faults_are_met(SOON));
    folder.wait_for_lines(",Scene=flow", 3);
    server.finish_running();
    running.wait().exits(0);
    let log = folder.read("vram-usage.log");
    assert_eq!(log.matches("Missed=status").count(), 2, "{log}");
    for (place, figures) in [
        (1, "Used=500MB,Free=11788MB,Total=12288MB,Driver=500MB,"),
        (2, "Used=900MB,Free=15484MB,Total=16384MB,Driver=950MB,"),
    ] {
        let other = folder.read(&format!("vram-usage.gpu{place}.log"));
        assert_eq!(ticks(&other), ticks(&log));
        let read = other.lines().filter(|line| line.contains(figures)).count();
        let missed = other.matches(",Missed=").count();
        assert_eq!(read, other.lines().count() - missed, "{other}");
        assert_eq!(other.matches(",Interval=0.05s").count(), 1, "{other}");
    }

    let summary = folder.read("run-summary.txt");
    let heads: Vec<&str> = summary
        .lines()
        .filter_map(|line| line.split_once("=== VRAM Usage Statistics"))
        .map(|(_, rest)| rest)
        .collect();
    let wanted = [
        " ===",
        ": device 1 cuda:1 NVIDIA GeForce RTX 3060 ===",
        ": device 2 cuda:2 NVIDIA A2 ===",
    ];
    assert_eq!(heads, wanted);
    let block = summary.split_once("device 2 ").unwrap().1;
    assert_eq!(line(block, "Peak VRAM: 900 MB (from "), line(block, "Peak VRAM"));
    let scene = line(block, "Scene flow: peak 900 MB");
    assert!(scene.ends_with("; driver peak 950 MB; torch peak 0 MB; added 0 MB"), "{scene}");
    assert!(line(block, "VRAM log: ").ends_with("vram-usage.gpu2.log"));
    let others = &folder.metadata()["OtherDevices"];
    assert_eq!(others.as_array().map(Vec::len), Some(2), "{others}");
    assert_eq!(others[0]["Gpu"], 1);
    assert_eq!(others[0]["VramLog"], "vram-usage.gpu1.log");
    assert_eq!(others[0]["Vram"]["PeakMB"], 500);
    assert_eq!(others[1]["Scenes"][0]["Vram"]["PeakDriverMB"], 950);

    // The verb has every block again, and of the log of another device its block alone.
    let bare = summary.lines().map(|line| &line["[00:00:00] ".len()..]);
    let blocks: Vec<&str> = bare
        .skip_while(|line| !line.starts_with("=== VRAM Usage"))
        .take_while(|line| !line.contains("RUN COMPLETE"))
        .collect();
    let ran = folder.run(&["summary"]).exits(0).says(blocks.join("\n").trim_end());
    assert_eq!(ran.stdout.matches("=== VRAM Usage").count(), 3, "{ran}");
    let log = folder.newest().join("vram-usage.gpu1.log");
    let ran = folder.run(&["summary", log.to_str().unwrap()]).exits(0);
    assert!(
        ran.stdout.starts_with("VRAM peak  500 of 12288 MB (4 %), 11788 to spare\n\n=== VRAM"),
        "{ran}"
    );
}

#[test]
fn logs_without_a_run_are_told_by_number() {
    let folder = Folder::new();
    folder.write("run/vram-usage.log", "12:00:00,Used=1MB\n");
    folder.write("run/vram-usage.gpu10.log", "12:00:00,Used=10MB\n");
    folder.write("run/vram-usage.gpu2.log", "");
    let ran = folder.run(&["summary", "run"]).exits(0);
    let heads: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with("===")).collect();
    let wanted = [
        "=== VRAM Usage Statistics ===",
        "=== VRAM Usage Statistics: device 2 ===",
        "=== VRAM Usage Statistics: device 10 ===",
    ];
    assert_eq!(heads, wanted);
    let ran = ran.says("No VRAM sample was taken: the log is empty\n");
    assert!(ran.stdout.contains("Peak VRAM: 10 MB (from 1 samples)\n"), "{ran}");
    let ran = folder.run(&["summary", "--json", "run"]).exits(0);
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["OtherDevices"][1]["Gpu"], 10);
    assert_eq!(document["OtherDevices"][1]["Device"], json!(null));
}

#[test]
fn the_device_that_is_asked_for_has_the_main_log() {
    let folder = run(&three(), &["-Gpu", "1"]);
    assert!(folder.read("vram-usage.log").contains(",Used=500MB,"));
    assert!(folder.read("vram-usage.gpu0.log").contains(",Used=3140MB,"));
    assert!(folder.read("vram-usage.gpu2.log").contains(",Used=900MB,"));
    let names = files(&folder.newest());
    assert!(!names.contains(&"vram-usage.gpu1.log".to_owned()), "{names:?}");
}

#[test]
fn one_device_or_none_leaves_one_log() {
    for (server, words) in [(StandIn::with(Config::cuda()), &[][..]), (three(), &["-Gpu", "3"][..])]
    {
        let folder = run(&server, words);
        let names = files(&folder.newest());
        let logs: Vec<&String> = names.iter().filter(|name| name.starts_with("vram-")).collect();
        assert_eq!(logs, ["vram-usage.log"], "{names:?}");
        assert!(folder.metadata().get("OtherDevices").is_none());
        let summary = folder.read("run-summary.txt");
        let told = ["no device 3 (it lists 3): no VRAM is recorded", "taken: noDevice "];
        assert_eq!(told.map(|told| summary.contains(told)), [!words.is_empty(); 2], "{summary}");
        assert_eq!(summary.matches("=== VRAM Usage").count(), 1);
    }
}
