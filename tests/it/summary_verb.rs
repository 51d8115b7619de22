//! `summary`: the same blocks again, from a log, a run folder or the newest run.

use expect_test::expect;
use serde_json::Value;

use crate::stand_in::{Config, StandIn, graphs};
use crate::support::{Folder, run_sampled};

pub const LOG: &str = "\
12:01:00,Used=2140MB,Free=22436MB,Total=24576MB,Driver=2240MB,Interval=5s
12:01:05,Used=18231MB,Free=6345MB,Total=24576MB,Driver=19102MB,Scene=scene-001
12:01:10,Missed=timeout,Scene=scene-001
12:01:15,Used=18231MB,Free=6345MB,Total=24576MB,Driver=19100MB,Scene=scene-001
12:01:20,Used=2150MB,Free=22426MB,Total=24576MB,Driver=2250MB
";

/// The lines of a run's summary without their times, from one line to the last.
fn from<'a>(summary: &'a str, start: &str) -> Vec<&'a str> {
    let lines = summary.lines().map(|line| &line[11..]);
    lines.skip_while(|line| !line.starts_with(start)).collect()
}

#[test]
fn summary_of_a_log_is_its_statistics() {
    let folder = Folder::new();
    folder.write("old.log", LOG);
    let ran = folder.run(&["summary", "old.log"]).exits(0);
    let printed = ran.stdout.replace(&folder.path().display().to_string(), "FOLDER");
    expect![[r#"
        VRAM peak  19102 of 24576 MB (78 %), 5474 to spare, 16862 more than at the start

        === VRAM Usage Statistics ===
        Peak VRAM: 18231 MB (from 4 samples)
        Average VRAM: 10188 MB
        Minimum VRAM: 2140 MB
        Median VRAM: 10190 MB, 95th percentile: 18231 MB
        Peak at: 12:01:05 in scene-001
        Peak while generating: 18231 MB; driver 19102 MB of 24576 MB (78 %)
        Added by the run: 16862 MB (driver 19102 less 2240 at the start)
        Scene scene-001: peak 18231 MB, average 18231 MB, floor 18231 MB (2 samples); driver peak 19102 MB; added 16862 MB
        Sampling: every 5.0 s asked, 6.7 s achieved, longest gap 10.0 s, 1 of 5 lines missed (timeout 1); spikes shorter than 10.0 s may be missed
        VRAM log: FOLDER/old.log
    "#]].assert_eq(&printed.replace('\\', "/"));
    assert_eq!(ran.stderr, "");
}

#[test]
fn summary_of_a_run_repeats_its_lines() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.workflow("flow.json", &graphs::video("video/flow", 600.0, 1000, 1));
    folder.workflow("bad.json", &graphs::failing("it broke"));
    // The third scene comes from the cache.
    folder.workflow("again.json", &graphs::video("video/flow", 600.0, 1000, 1));
    let words = ["--sample-interval-seconds", "0.05", "flow.json", "bad.json", "again.json"];
    run_sampled(&server, &folder, &words, &["flow"]).exits(1);
    let summary = folder.read("run-summary.txt");
    let closing = from(&summary, "✗ 1 of 3 scenes failed ");
    let mut statistics = from(&summary, "=== VRAM Usage");
    statistics.truncate(statistics.iter().position(|line| line.is_empty()).unwrap());
    let wanted: Vec<&str> = closing.into_iter().chain([""]).chain(statistics).collect();
    assert!(wanted.contains(&"Scene again: no execution"), "{wanted:?}");
    let run = folder.newest();
    let run = format!("logs/{}", run.file_name().unwrap().to_str().unwrap());
    let run = run.as_str();
    let log = format!("{run}/vram-usage.log");
    for words in [&["summary", run][..], &["summary", &log], &["summary"]] {
        let ran = folder.run(words).exits(0);
        assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), wanted, "{words:?}");
    }
    let ran = folder.run(&["summary", "--json", run]).exits(0);
    assert_eq!(ran.stdout, folder.read("artifact-metadata.json"));
}

#[test]
fn summary_without_a_name_takes_the_newest_run() {
    let folder = Folder::new();
    folder.write("logs/20261123-235959/vram-usage.log", "12:00:00,Used=1MB\n");
    folder.write("logs/20261124-000001/vram-usage.log", "12:00:00,Used=3MB\n");
    folder.write("logs/20261124-000000/vram-usage.log", "12:00:00,Used=2MB\n");
    folder.write("logs/zzz/notes.txt", "no run");
    folder.run(&["summary"]).exits(0).says("Peak VRAM: 3 MB (from 1 samples)\n");
    folder.write("elsewhere/20260101-000000/vram-usage.log", "12:00:00,Used=9MB\n");
    folder.run(&["summary", "--logs-dir", "elsewhere"]).exits(0).says("Peak VRAM: 9 MB");
}

#[test]
fn several_logs_are_summarized_in_order() {
    let folder = Folder::new();
    folder.write("a.log", "12:00:00,Used=1MB\n");
    folder.write("b.log", "12:00:00,Used=2MB\n");
    folder.write("run/vram-usage.log", "12:00:00,Used=3MB\n");
    let ran = folder.run(&["summary", "a.log", "run", "b.log"]).exits(0);
    let mut rest = ran.stdout.as_str();
    for (name, mb) in [("a.log", 1), ("run", 3), ("b.log", 2)] {
        let head = format!("{name} <==\nVRAM peak  {mb} MB\n\n=== VRAM Usage Statistics ===\n");
        let (before, block) = rest.split_once(&head).unwrap_or_else(|| panic!("{name}: {ran}"));
        assert!(before.lines().last().unwrap().starts_with("==> "), "{ran}");
        assert!(block.starts_with(&format!("Peak VRAM: {mb} MB (from 1 samples)\n")), "{ran}");
        rest = block;
    }
    let ran = folder.run(&["summary", "--json", "a.log", "b.log"]).exits(0);
    let documents: Value = serde_json::from_str(&ran.stdout).expect("one JSON document");
    assert_eq!(documents[1]["Vram"]["PeakMB"], 2);
}

#[test]
fn an_unusable_log_is_refused_with_its_name() {
    let folder = Folder::new();
    folder.write("empty.log", "");
    folder.write("novel.txt", "Call me Ishmael.\n");
    folder.write("run/run-summary.txt", "no log here");
    folder.write("good.log", LOG);
    folder.write("runs/20261124-230004/vram-usage.log", LOG);
    for (words, named) in [
        (&["summary"][..], "no run in "),
        (&["summary", "runs"], "runs: a folder of runs: name one of them"),
        (&["summary", "gone.log"], "'gone.log': no such file or folder"),
        (&["summary", "empty.log"], "empty.log: "),
        (&["summary", "novel.txt"], "novel.txt: no line of a VRAM log in it"),
        (&["summary", "run"], "run: no run folder: no vram-usage.log in it"),
        (&["summary", "good.log", "empty.log"], "empty.log: "),
    ] {
        folder.run(words).exits(2).refuses(named);
    }
    assert!(!folder.path().join("logs").exists());
}

#[test]
fn unusable_metadata_cost_the_verdict_but_not_the_figures() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 1));
    folder.run_on(&server.url(), &["flow.json"]).exits(0);
    let mut document = folder.metadata();
    document["Scenes"][0]["Attempts"][0]["Polls"] = "many".into();
    for (text, why) in [
        ("{\"RunId\": ", "artifact-metadata.json: not JSON: "),
        ("\u{feff}{\"RunId\": \"x\"}", "artifact-metadata.json: "),
        (&document.to_string(), "Scenes[0].Attempts[0].Polls is missing or not"),
    ] {
        std::fs::write(folder.newest().join("artifact-metadata.json"), text).unwrap();
        let ran = folder.run(&["summary"]).exits(0).complains(why).says("Peak VRAM: ");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
    }
}
