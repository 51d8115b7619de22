//! Gates: what has to hold of the memory, and exit code 7.

use std::time::Duration;

use serde_json::json;

use crate::stand_in::{Config, Fault, StandIn, graphs};
use crate::support::{Folder, Ran, run_sampled};

const OFTEN: [&str; 4] = ["-SampleIntervalSeconds", "0.05", "-Poll", "0.2"];

/// Runs `flow` so that it takes that much until it is sampled; the colour makes it a new one.
fn take(server: &StandIn, folder: &Folder, mb: u64, words: &[&str]) -> Ran {
    folder.workflow("flow.json", &graphs::video("video/flow", 600.0, mb, mb));
    let words = [words, &OFTEN, &["flow.json"]].concat();
    run_sampled(server, folder, &words, &["flow"])
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
    ran.says("] MaxPeakMB 20000: held, driver 19310 MB (used 19210)\n")
        .says("OK: 1 of 1 scenes, exit 0")
        .says("Gates: MaxPeakMB 20000 held (driver 19310)\n");
    let wanted = json!([{
        "Gate": "MaxPeakMB", "SceneId": null, "LimitMB": 20_000, "Figure": "driver",
        "MeasuredMB": 19_310, "UsedMB": 19_210, "Verdict": "held", "Why": null,
    }]);
    assert_eq!(folder.metadata()["Gates"], wanted);
}

#[test]
fn a_gate_that_failed_is_exit_7_and_summary_judges_anew() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let ran = take(&server, &folder, 17_070, &["-MaxPeakMB", "19000"]).exits(7);
    ran.says("MaxPeakMB 19000: FAILED, driver 19310 MB (used 19210)\n")
        .says("FAILED: 1 of 1 gates, exit 7 (gate)")
        .says("✓ flow  ")
        .says("Gates: MaxPeakMB 19000 FAILED (driver 19310)\n");
    let document = folder.metadata();
    assert_eq!((&document["ExitCode"], &document["ExitReason"]), (&json!(7), &json!("gate")));
    // What the run recorded is told once more; only gates of its own fail a summary.
    folder.run(&["summary"]).exits(0).says("Gates: MaxPeakMB 19000 FAILED (driver 19310)\n");
    let ran = folder.run(&["summary", "--json"]).exits(0);
    assert_eq!(ran.stdout, folder.read("artifact-metadata.json"));
    let ran = folder.run(&["summary", "--max-peak-mb", "20000", "--json"]).exits(0);
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&document["ExitCode"], &document["ExitReason"]), (&json!(0), &json!("success")));
    let ran = folder.run(&["summary", "--max-peak-mb", "20000"]).exits(0);
    ran.says("OK: 1 of 1 scenes, exit 0").says("MaxPeakMB 20000: held, driver 19310 MB");
    let ran = folder.run(&["summary", "--max-peak-mb", "19309", "--json"]).exits(7);
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&document["ExitCode"], &document["Gates"][0]["LimitMB"]),
        (&json!(7), &json!(19_309))
    );
}

#[test]
fn what_cannot_be_judged_is_exit_7_and_says_why() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    take(&server, &folder, 100, &[]).exits(0);
    let cached = "all of it came from ComfyUI's cache (use -Fresh or -Seed random)";
    run_flow(&server, &folder, &["-MaxPeakMB", "20000"])
        .exits(7)
        .says(&format!("MaxPeakMB 20000: not judged, {cached}\n"))
        .says("FAILED: 1 of 1 gates, exit 7 (gate)")
        .says(&format!("Gates: MaxPeakMB 20000 not judged ({cached})\n"));
    take(&server, &folder, 101, &["-MaxGrowthMB", "5"])
        .exits(7)
        .says("MaxGrowthMB 5: not judged, too few scenes: ");
    server.fail_next("GET /system_stats", 1, Fault::Delay(Duration::ZERO));
    server.fail_next("GET /system_stats", usize::MAX, Fault::Status(500, "busy"));
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 1));
    run_flow(&server, &folder, &["-MaxPeakMB", "20000"])
        .exits(7)
        .says("MaxPeakMB 20000: not judged, no VRAM sample was taken\n");
}

#[test]
fn an_earlier_run_is_a_baseline() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    take(&server, &folder, 1000, &[]).exits(0);
    let run = folder.newest();
    let before = run.to_str().unwrap();
    // 3240, and 5 % of it.
    take(&server, &folder, 1162, &["-Baseline", before])
        .exits(0)
        .says("Baseline 3402: held, driver 3402 MB (used 3302)\n")
        .says("Baseline flow 3402: held, driver 3402 MB (used 3302)\n")
        .says("Gates: Baseline 3402 held (driver 3402); 1 scene within its baseline\n");
    take(&server, &folder, 1163, &["-Baseline", before])
        .exits(7)
        .says("Baseline flow 3402: FAILED, driver 3403 MB (used 3303)\n")
        .says("FAILED: 2 of 2 gates, exit 7 (gate)");
}

#[test]
fn bare_logs_are_baselines_and_several_tell_their_spread() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let (one, two) = (folder.write("one.log", log(3000, 24_576)), log(3100, 24_576));
    folder.write("two.log", two);
    let both = ["-Baseline", "one.log", "-Baseline", "two.log"];
    take(&server, &folder, 961, &both).exits(7).says("Baseline 3200: FAILED, driver 3201 MB");
    let words = ["summary", "two.log", "--baseline", one.to_str().unwrap()];
    folder.run(&words).exits(0).says("Baseline flow 3150: held, driver 3100 MB (used 3000)\n");
    folder.write("small.log", log(3000, 16_384));
    let ran = take(&server, &folder, 962, &["-Baseline", "small.log"]).exits(7);
    ran.says("small.log is of a device of 16384 MB, this one has 24576\n");
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
