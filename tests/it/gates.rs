//! Gates: what has to hold of the memory, and exit code 7.

use std::time::Duration;

use serde_json::json;

use crate::stand_in::{Config, Fault, StandIn, graphs};
use crate::support::{Folder, Ran, Running, line};

const OFTEN: [&str; 4] = ["-SampleIntervalSeconds", "0.05", "-Poll", "0.2"];

/// Starts a run of `flow`, which takes that much a while after it began, and waits until that is
/// sampled. The colour makes it a new one.
fn begin(server: &StandIn, folder: &Folder, mb: u64, words: &[&str]) -> Running {
    let mut graph = graphs::video("video/flow", 600.0, mb, mb);
    graph["2"]["inputs"]["after"] = 0.5.into();
    folder.workflow("flow.json", &graph);
    let running = folder.start_on(&server.url(), &[words, &OFTEN, &["flow.json"]].concat());
    folder.wait_for_lines(&format!(",Torch={mb}MB,"), 3);
    running
}

/// Runs `flow` so that it takes that much until it is sampled.
fn take(server: &StandIn, folder: &Folder, mb: u64, words: &[&str]) -> Ran {
    let running = begin(server, folder, mb, words);
    server.finish_running();
    running.wait()
}

/// A path as the program shows it, which runs in the folder.
fn from_here(folder: &Folder, path: &std::path::Path) -> String {
    path.strip_prefix(folder.path()).unwrap_or(path).display().to_string()
}

/// Runs `flow` where it is over at once, since it is cached or its graph is another one.
fn run_flow(server: &StandIn, folder: &Folder, words: &[&str]) -> Ran {
    folder.run_on(&server.url(), &[words, &OFTEN, &["flow.json"]].concat())
}

/// A log of a run with that peak, on a card of 24 GB or less.
fn log(peak: u64, total: u64) -> String {
    format!(
        "12:00:00,Used=2140MB,Total={total}MB,Driver=2240MB,Interval=1s\n\
         12:00:01,Used={}MB,Total={total}MB,Driver={peak}MB,Scene=flow\n",
        peak - 100
    )
}

#[test]
fn a_gate_that_held_is_told_and_the_run_is_well() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let ran = take(&server, &folder, 17_070, &["-MaxPeakMB", "20000"]).exits(0);
    ran.says("✓ 1 scene in ").says("Gates      MaxPeakMB 20000 held (19310)\n");
    let wanted = json!([{
        "Gate": "MaxPeakMB", "SceneId": null, "LimitMB": 20_000, "Figure": "driver",
        "MeasuredMB": 19_310, "UsedMB": 19_210, "BeforeMB": null, "Verdict": "held", "Why": null,
    }]);
    assert_eq!(folder.metadata()["Gates"], wanted);
}

#[test]
fn a_gate_that_failed_is_exit_7_and_summary_judges_anew() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let ran = take(&server, &folder, 17_070, &["-MaxPeakMB", "19000"]).exits(7);
    ran.tells("before now change limit")
        .tells("MaxPeakMB 19310 19000 ✗")
        .says("✗ VRAM peak 19310 MB is above 19000 MB (exit 7)")
        .says("]   flow  ")
        .never_says("✓ flow");
    let document = folder.metadata();
    assert_eq!((&document["ExitCode"], &document["ExitReason"]), (&json!(7), &json!("gate")));
    // What the run recorded is told once more; only gates of its own fail a summary.
    folder.run(&["summary"]).exits(0).tells("MaxPeakMB 19310 19000 ✗");
    let ran = folder.run(&["summary", "--json"]).exits(0);
    assert_eq!(ran.stdout, folder.read("artifact-metadata.json"));
    let ran = folder.run(&["summary", "--max-peak-mb", "20000", "--json"]).exits(0);
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&document["ExitCode"], &document["ExitReason"]), (&json!(0), &json!("success")));
    let ran = folder.run(&["summary", "--max-peak-mb", "20000"]).exits(0);
    ran.says("✓ 1 scene in ").says("Gates      MaxPeakMB 20000 held (19310)\n");
    let ran = folder.run(&["summary", "--max-peak-mb", "19309", "--json"]).exits(7);
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let told = (&document["ExitCode"], &document["Gates"][0]["LimitMB"]);
    assert_eq!(told, (&json!(7), &json!(19_309)));
}

#[test]
fn what_cannot_be_judged_is_exit_7_and_says_why() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    take(&server, &folder, 100, &[]).exits(0);
    let cached = "all of it came from ComfyUI's cache (use -Fresh)";
    run_flow(&server, &folder, &["-MaxPeakMB", "20000"])
        .exits(7)
        .tells(&format!("MaxPeakMB 20000 ✗ not judged: {cached}"))
        .says("✗ MaxPeakMB could not be judged (exit 7)");
    take(&server, &folder, 101, &["-MaxGrowthMB", "5"])
        .exits(7)
        .says("  5  ✗ not judged: too few scenes: growth is known from four");
    server.fail_next("GET /system_stats", 1, Fault::Delay(Duration::ZERO));
    server.fail_next("GET /system_stats", usize::MAX, Fault::Status(500, "busy"));
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 1));
    run_flow(&server, &folder, &["-MaxPeakMB", "20000"])
        .exits(7)
        .tells("MaxPeakMB 20000 ✗ not judged: no VRAM sample was taken");
}

/// What another program takes meanwhile is not the workflow's.
#[test]
fn an_earlier_run_is_a_baseline() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    take(&server, &folder, 1000, &[]).exits(0);
    let run = folder.newest();
    let before = run.to_str().unwrap();
    // 1000, and 64 MB.
    let running = begin(&server, &folder, 1064, &["-Baseline", before]);
    server.set_used_mb(2840);
    folder.wait_for_lines(",Used=3904MB,", 3);
    server.finish_running();
    running
        .wait()
        .exits(0)
        .tells("before now change limit")
        .tells("flow 1000 1064 +64 +6 % 1064 ✓")
        .says("Gates      Baseline held\n")
        .says("VRAM peak  4004 of 24576 MB (16 %)");
    let gate = &folder.metadata()["Gates"][0];
    let wanted = (&json!("torch"), &json!(1000), &json!(1064), &json!(null));
    let told = (&gate["Figure"], &gate["BeforeMB"], &gate["LimitMB"], &gate["UsedMB"]);
    assert_eq!(told, wanted, "{gate}");
    take(&server, &folder, 1065, &["-Baseline", before])
        .exits(7)
        .tells("flow 1000 1065 +65 +6 % 1064 ✗")
        .says(&format!("✗ VRAM is worse than {} (exit 7)", from_here(&folder, &run)));
    // Two runs side by side, without a gate.
    let now = folder.newest();
    let ran = folder.run(&["summary", before, now.to_str().unwrap()]).exits(0);
    let [now, before] = [&now, &run].map(|run| from_here(&folder, run));
    let ran = ran.tells("before now change").tells("flow 1000 1065 +65 +6 %");
    let table = ran.stdout.strip_prefix(&format!("{now} compared with {before}\n")).unwrap();
    assert!(table.lines().nth(3).unwrap().starts_with("==> "), "{ran}");
    // The picture of the run before comes from the cache.
    folder.workflow("flow.json", &graphs::video("video/flow", 0.6, 900, 1065));
    let ran = run_flow(&server, &folder, &["-Baseline", &before]).exits(7);
    let why = line(&ran.stdout, "  flow ").trim_start_matches("  flow").trim_start();
    assert_eq!(why, "✗ not judged: 1 of 4 nodes came from the cache, use -Fresh", "{ran}");
}

#[test]
fn bare_logs_are_baselines_and_several_tell_their_spread() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let (one, two) = (folder.write("one.log", log(3000, 24_576)), log(3100, 24_576));
    folder.write("two.log", two);
    // They know nothing of torch: what was added is judged, 760 and 860 here.
    let both = ["-Baseline", "one.log", "-Baseline", "two.log"];
    take(&server, &folder, 961, &both).exits(7).tells("flow +860 +961 +101 +12 % +960 ✗");
    let words = ["summary", "two.log", "--baseline", one.to_str().unwrap()];
    folder.run(&words).exits(7).tells("flow +760 +860 +100 +13 % +824 ✗");
    folder.write("small.log", log(3000, 16_384));
    let ran = take(&server, &folder, 962, &["-Baseline", "small.log"]).exits(7);
    ran.says("small.log is of a device of 16384 MB, this one has 24576\n");
}

/// Of a driver that gives more than the card has, the rest from system RAM.
#[test]
fn what_has_spilled_counts() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let ran = take(&server, &folder, 27_000, &["-MaxPeakMB", "26000"])
        .exits(7)
        .tells("MaxPeakMB 27000 26000 ✗")
        .says("Needs      24760 MB of its own: a 32 GB card, not a 24 GB one\n");
    let line_of = ",Driver=24576MB,Torch=27000MB,Spilled=2424MB,Ram=24302MB,Scene=flow";
    folder.wait_for_lines(line_of, 3);
    let scene = line(&ran.stdout, "Scene flow: peak 24576 MB");
    assert!(scene.ends_with("; spilled at least 2424 MB into system RAM"), "{scene}");
    let block = &ran.stdout[ran.stdout.find("RUN COMPLETE").unwrap()..];
    let told = line(block, "Spilled    into system RAM: at least 2424 MB for ");
    assert!(told.contains(" s, in flow") && told.contains("everything is slow there"), "{told}");
    let row = line(block, "  flow  ");
    assert!(row.contains("  24576 MB  +22336  2424 MB spilled into system RAM  "), "{row}");
    let vram = &folder.metadata()["Vram"];
    assert!(vram["SpilledMB"] == 2424 && vram["SpilledSeconds"].as_f64() > Some(0.0), "{vram}");
    folder
        .run(&["summary", "-MaxPeakMB", "27000"])
        .exits(0)
        .says("Gates      MaxPeakMB 27000 held (27000)\n");
}

#[test]
fn with_dynamic_vram_no_card_s_size_is_told() {
    let packages = json!([{"name": "comfy-aimdo", "installed": "0.4.13"}]);
    let system = json!({"comfy_package_versions": packages, "argv": ["main.py"]});
    let (server, folder) = (StandIn::with(Config { system, ..Config::cuda() }), Folder::new());
    folder.write("off.log", log(20_000, 24_576).replace("=1s", "=1s,DynamicVram=off"));
    take(&server, &folder, 17_070, &["-Baseline", "off.log"])
        .exits(7)
        .says("✗ not judged: dynamic VRAM was off in ")
        .says("off.log, it is on here\n")
        .says("Needs      17070 MB held by its tensors: dynamic VRAM filled the card on purpose")
        .never_says("GB card");
    assert!(folder.read("vram-usage.log").contains(",Reading=0.05s,DynamicVram=on"));
    assert_eq!(folder.metadata()["Server"]["DynamicVram"], "on");
}

#[test]
fn a_baseline_that_cannot_be_read_ends_it_before_anything_is_run() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 1));
    folder.write("novel.txt", "Call me Ishmael.\n");
    folder.write("run/run-summary.txt", "no log here");
    folder.write("good.log", log(3000, 24_576));
    for (baseline, complaint) in [
        ("novel.txt", "novel.txt: no line of a VRAM log in it"),
        ("run", "no vram-usage.log in it"),
        ("gone.log", "gone.log: no such file or folder"),
    ] {
        run_flow(&server, &folder, &["-Baseline", baseline]).exits(2).refuses(complaint);
        let words = ["summary", "good.log", "-Baseline", baseline];
        folder.run(&words).exits(2).complains(complaint);
    }
    assert!(folder.runs().is_empty() && server.requests().is_empty());
}
