//! That a report is written whole, or said not to be.

use std::fs;

use super::Bench;
use crate::scenes::SOON;
use crate::seen;
use crate::stand_in::graphs;

#[test]
fn a_file_is_replaced_by_a_rename() {
    let bench = Bench::new();
    bench.flow("flow", 1, 1);
    let before = bench.folder.write("nightly.prom", "what was there before\n");
    // Another name of the same file: what is written into it is seen here too.
    let kept = bench.folder.path().join("kept");
    fs::hard_link(before, &kept).unwrap();
    bench.run(&["flow.json"]).exits(0);
    assert_eq!(fs::read_to_string(kept).unwrap(), "what was there before\n");
    assert!(bench.read("nightly.prom").contains("comfyui_e2e_run_success"));
}

#[test]
fn a_report_that_cannot_be_written_is_told_before_anything_is_run() {
    let bench = Bench::new();
    bench.flow("flow", 1, 1);
    fs::create_dir(bench.folder.path().join("taken")).unwrap();
    bench.folder.write("old.log", "12:00:00,Used=1MB\n");
    for option in ["--junit", "--markdown", "--prom-file"] {
        for file in ["no/such/report", "taken"] {
            let words = [option, file, "flow.json"];
            let ran = bench.folder.run_on(&bench.server.url(), &words).exits(2);
            assert!(ran.stderr.starts_with(&format!("run-comfyui-e2e: {option} ")), "{ran}");
            assert_eq!((ran.stderr.lines().count(), &*ran.stdout), (1, ""), "{ran}");
            let words = ["summary", "old.log", "-MaxPeakMB", "9", option, file];
            bench.folder.run(&words).exits(2).complains(&format!("run-comfyui-e2e: {option} "));
        }
        let words = ["summary", "old.log", "-MaxPeakMB", "9", option, "old.log"];
        bench.folder.run(&words).exits(2).complains("old.log: that is the log itself");
    }
    assert!(bench.folder.runs().is_empty() && bench.server.requests().is_empty());
    assert!(!seen::files(bench.folder.path()).concat().contains(".part"));
}

#[test]
fn one_that_cannot_be_written_any_more_costs_the_run_nothing() {
    for quiet in [false, true] {
        let bench = Bench::new();
        bench.folder.workflow("flow.json", &graphs::video("video/flow", 1.0, 1, 1));
        fs::create_dir(bench.folder.path().join("reports")).unwrap();
        let url = bench.server.url();
        let mut words = vec!["--comfyui-url", &url, "--junit", "reports/run.xml", "flow.json"];
        words.extend(["--markdown", "-"]);
        words.extend(quiet.then_some("--quiet"));
        let running = bench.folder.start(&words);
        assert!(bench.server.wait_until_running(SOON));
        fs::remove_dir(bench.folder.path().join("reports")).unwrap();
        let ran = running.wait().exits(0);
        let line =
            seen::line(&bench.folder.read("run-summary.txt"), "WARNING: --junit ").to_owned();
        assert!(line.contains("run.xml: "), "{line}");
        let printed = if quiet { &ran.stderr } else { &ran.stdout };
        assert_eq!(printed.matches("--junit ").count(), 1, "{ran}");
        // A name like another.
        assert!(bench.read("-").starts_with("### ✓ OK: 1 of 1 scenes"));
    }
}
