//! The block to the letter, and what a figure may be made of.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::vram::reading::quotient;

const EXAMPLE: &str = "\
12:01:00,Used=2140MB,Free=22436MB,Total=24576MB,Driver=2240MB,Ram=31020MB,Interval=5s
12:01:05,Used=18231MB,Free=6345MB,Total=24576MB,Driver=19102MB,Ram=31200MB,Scene=scene-001
12:01:10,Used=19310MB,Free=5266MB,Total=24576MB,Driver=19310MB,Scene=scene-001,Source=nvidia-smi
12:01:15,Missed=timeout,Scene=scene-001
12:01:20,Used=17000MB,Free=7576MB,Total=24576MB,Driver=18000MB,Scene=scene-001
";

fn of(log: &str) -> VramStats {
    LogSummary::of(log.as_bytes()).unwrap().stats
}

fn block(log: &str, without: &[(&str, &'static str)]) -> String {
    let facts = without.iter().map(|&(id, text)| SceneFacts {
        id: id.into(),
        no_figures: Some(text),
        nodes: Vec::new(),
    });
    let facts: Vec<_> = facts.collect();
    of(log).block(Some(Path::new("vram-usage.log")), &facts).join("\n")
}

#[test]
fn the_block_reads_to_the_letter() {
    let wanted = "\
=== VRAM Usage Statistics ===
Peak VRAM: 19310 MB (from 4 samples)
Average VRAM: 14170 MB
Minimum VRAM: 2140 MB
Median VRAM: 17616 MB, 95th percentile: 19310 MB
Peak at: 12:01:10 in scene-001 (nvidia-smi; ComfyUI's own highest was 18231 MB)
Peak while generating: 18231 MB; driver 19310 MB of 24576 MB (79 %)
Added by the run: 17070 MB (driver 19310 less 2240 at the start)
Scene scene-001: peak 18231 MB, average 17616 MB, floor 17000 MB (2 samples); driver peak 19310 MB; added 17070 MB
Sampling: every 5.0 s asked, 6.7 s achieved, longest gap 10.0 s, 1 of 5 lines missed (timeout 1); spikes shorter than 10.0 s may be missed
VRAM log: vram-usage.log
Sources: ComfyUI 3, nvidia-smi 1";
    assert_eq!(block(EXAMPLE, &[]), wanted);
}

#[test]
fn what_is_unknown_is_left_out() {
    let log = "12:01:00.000,Used=100MB,Interval=0.1s\n12:01:00.100,Used=300MB,Scene=a\ntorn\n";
    let wanted = "\
=== VRAM Usage Statistics ===
Peak VRAM: 300 MB (from 2 samples)
Average VRAM: 200 MB
Minimum VRAM: 100 MB
Median VRAM: 200 MB, 95th percentile: 300 MB
Peak at: 12:01:00.100 in a
Peak while generating: 300 MB
Added by the run: 200 MB (used 300 less 100 at the start)
Scene a: no execution
Scene b: rejected
Sampling: every 0.10 s asked, 0.10 s achieved, longest gap 0.10 s, 0 of 2 lines missed; spikes shorter than 0.10 s may be missed
Skipped: 1 line of the log could not be read
VRAM log: vram-usage.log";
    assert_eq!(block(log, &[("b", "rejected"), ("a", "no execution")]), wanted);

    let one = block("12:01:00,Used=100MB,Total=400MB,Scene=a\n12:01:05,Missed=late,Scene=b\n", &[]);
    assert!(one.contains("Peak while generating: 100 MB of 400 MB (25 %)\n"), "{one}");
    let wanted = "Scene b: no sample\nSampling: longest gap 5.0 s, 1 of 2 lines missed (late 1); ";
    assert!(one.contains(wanted), "{one}");
    let alone = block("12:01:00,Used=100MB\n", &[]);
    assert!(alone.contains("Sampling: 0 of 1 lines missed\n"), "{alone}");
}

#[test]
fn without_a_sample_the_reason_stands_alone() {
    let no_sample = |log: &str| of(log).no_sample();
    assert_eq!(no_sample(""), "No VRAM sample was taken: the log is empty");
    assert_eq!(no_sample("?\n"), "No VRAM sample was taken: no line of the log could be read");
    let log = "12:01:00,Missed=late\n12:01:05,Missed=refused\n12:01:10,Missed=late\n";
    assert_eq!(no_sample(log), "No VRAM sample was taken: refused 1, late 2");
    assert_eq!(
        block(log, &[]),
        "=== VRAM Usage Statistics ===\n\
         No VRAM sample was taken: refused 1, late 2\n\
         VRAM log: vram-usage.log"
    );
    assert_eq!(of("").json()["PeakMB"], serde_json::Value::Null);
}

#[test]
fn the_two_metrics_are_never_mixed() {
    let own = "12:01:00,Used=100MB,Total=400MB\n12:01:05,Used=200MB,Scene=a\n";
    let mixed = format!("{own}12:01:10,Used=300MB,Driver=300MB,Scene=b,Source=nvidia-smi\n");
    let figures = of(&mixed);
    assert_eq!(figures.added, Some(Added { peak: 200, start: 100 }));
    let peak = figures.peak_generating.as_ref().unwrap();
    assert_eq!((peak.used, peak.driver, peak.place.scene.as_str()), (Some(200), Some(300), "a"));
    assert_eq!((figures.peak_generating_mb(), figures.peak), (Some(200), Some(300)));
    let text = block(&mixed, &[]);
    let line = "Peak while generating: 200 MB of 400 MB (50 %); driver 300 MB\n";
    assert!(text.contains(line), "{text}");
    assert!(text.contains("Scene b: driver peak 300 MB; added not known\n"), "{text}");

    let fallback = "12:01:00,Used=90MB,Driver=90MB,Source=nvidia-smi,Scene=a\n";
    let text = block(fallback, &[]);
    assert!(text.contains("in a (nvidia-smi)\nPeak while generating: driver 90 MB\n"), "{text}");
}

#[test]
fn gaps_are_found_and_midnight_is_none() {
    let gaps = |log: &str| {
        let figures = of(log);
        (figures.achieved_interval_ms, figures.longest_gap_ms)
    };
    let midnight = "23:59:50,Used=1MB\n23:59:55,Used=1MB\n00:00:00,Used=1MB\n00:00:05,Used=1MB\n";
    assert_eq!(gaps(midnight), (Some(5000), Some(5000)));
    let hole = "12:00:00,Used=1MB\n12:00:05,Missed=late\n12:00:10,Used=1MB\n12:00:15,Used=1MB\n";
    assert_eq!(gaps(hole), (Some(7500), Some(10_000)));
    let slow = "12:00:00,Used=1MB,Took=1900ms\n12:00:05,Used=1MB,Took=1000ms\n12:00:10,Used=1MB\n";
    assert_eq!(gaps(slow), (Some(5000), Some(6000)));
    let set_back = "12:00:00,Used=1MB\n12:00:05,Used=1MB\n00:00:05,Used=1MB\n00:00:10,Used=1MB\n";
    assert_eq!(gaps(set_back), (Some(5000), Some(5000)));
    let set_back = "12:00:00,Used=1MB\n11:00:00,Missed=late\n11:00:05,Used=1MB\n";
    assert_eq!(gaps(set_back), (None, None));
    assert_eq!(gaps("12:00:00,Used=1MB,Took=90ms\n"), (None, None));
    let night =
        "10:00:00,Used=1MB\n20:00:00,Missed=late\n06:00:00,Missed=late\n11:00:00,Used=1MB\n";
    assert_eq!(gaps(night), (Some(90_000_000), Some(90_000_000)));
}

#[test]
fn what_was_missed_at_either_end_is_a_gap_and_the_time_between_runs_is_none() {
    let gaps = |log: &str| {
        let figures = of(log);
        (figures.achieved_interval_ms, figures.longest_gap_ms)
    };
    let one = "12:00:30,Used=1MB,Took=400ms\n12:00:35,Used=1MB\n";
    let before = format!("12:00:00,Missed=refused,Interval=5s\n{one}");
    assert_eq!(gaps(&before), (Some(5000), Some(30_400)));
    let after = format!("{one}12:00:40,Missed=timeout\n13:00:35,Missed=timeout\n");
    assert_eq!(gaps(&after), (Some(5000), Some(3_600_000)));
    assert_eq!(gaps("12:00:00,Missed=refused\n12:00:05,Missed=refused\n"), (None, None));
    let run = |hour| {
        format!("{hour}:00:00,Used=1MB,Interval=5s\n{hour}:00:05,Used=1MB\n{hour}:00:10,Used=1MB\n")
    };
    assert_eq!(gaps(&[run("12"), run("14"), run("11")].concat()), (Some(5000), Some(5000)));
}

#[test]
fn a_sleep_of_the_computer_is_no_gap() {
    let gaps = |log: &str| {
        let figures = of(log);
        (figures.achieved_interval_ms, figures.longest_gap_ms)
    };
    let night = "03:00:00,Used=1MB,Interval=5s,Reading=0.25s\n03:00:05,Used=1MB\n\
                 03:00:07,Missed=asleep\n07:00:00,Used=1MB\n07:00:05,Used=1MB\n";
    assert_eq!(gaps(night), (Some(5000), Some(500)));
    let twice = "03:00:00,Missed=asleep,Interval=5s,Reading=0.25s\n04:00:00,Missed=asleep\n\
                 05:00:00,Missed=refused\n05:00:05,Missed=refused\n05:00:10,Used=1MB\n";
    assert_eq!(gaps(twice), (None, Some(5000)));
    let last = "03:00:00,Used=1MB\n03:00:05,Used=1MB\n03:00:10,Missed=asleep\n";
    assert_eq!(gaps(last), (Some(5000), Some(5000)));
    let spilled = ",Used=1MB,Spilled=9MB\n";
    let log =
        format!("03:00:00{spilled}03:00:05{spilled}03:00:08,Missed=asleep\n07:00:00{spilled}");
    assert_eq!(of(&log).spilled_ms, 5000);
}

#[test]
fn what_stamps_of_whole_seconds_cut_off_is_in_the_gap() {
    let gap = |log: &str| of(log).longest_gap_ms;
    // Off the grid, as a run's last reading is: 12:00:00.1 to 12:00:04.9 perhaps.
    assert_eq!(gap("12:00:00,Used=1MB,Interval=5s\n12:00:04,Used=1MB\n"), Some(5000));
    assert_eq!(gap("12:00:00,Used=1MB,Interval=5s\n12:00:05,Used=1MB\n"), Some(5000));
    assert_eq!(gap("12:00:00,Used=1MB,Interval=5s\n12:00:00,Used=1MB\n"), Some(1000));
    assert_eq!(gap("12:00:00,Used=1MB,Interval=1.5s\n12:00:01,Used=1MB\n"), Some(2000));
    assert_eq!(gap("12:00:00.000,Used=1MB,Interval=0.5s\n12:00:00.400,Used=1MB\n"), Some(400));
}

#[test]
fn growth_is_the_slope_from_the_second_scene_on() {
    let growth = |mbs: &[u64], driver: &str| {
        let line = |(scene, mb): (usize, &u64)| {
            format!(
                "12:00:0{scene},Used={mb}MB{driver},Scene=s{scene}\n12:00:09,Used={mb}MB{driver}\n"
            )
        };
        of(&mbs.iter().enumerate().map(line).collect::<String>()).growth_per_scene
    };
    assert_eq!(growth(&[9000, 104, 108, 112], ""), Some(4));
    assert_eq!(growth(&[9000, 112, 108, 104], ""), Some(-4));
    assert_eq!(growth(&[9000, 100, 107, 105], ""), Some(2)); // 2.5
    assert_eq!(growth(&[9000, 104, 108], ""), None);
    assert_eq!(growth(&[9000, 104, 108, 112], ",Driver=500MB"), Some(0));
}

#[test]
fn growth_begins_anew_where_the_record_says_so() {
    let line = |(scene, mb): (usize, &u64)| format!("12:00:0{scene},Used={mb}MB,Scene={scene}\n");
    let log = [900, 10, 20, 30, 990, 5, 9, 13].iter().enumerate().map(line).collect::<String>();
    let growth = |series: &[&[&'static str]]| {
        let mut vram = of(&log);
        vram.grow_by(&series.iter().map(|ids| ids.to_vec()).collect::<Vec<_>>());
        vram.growth_per_scene
    };
    assert_eq!(of(&log).growth_per_scene, Some(-1));
    assert_eq!(growth(&[&["0", "1", "2", "3"], &["4", "5", "6", "7"]]), Some(10));
    assert_eq!(growth(&[&["0", "1", "2"], &["4", "5", "6", "7"]]), Some(4));
    // A scene without a sample has its place all the same.
    assert_eq!(growth(&[&["4", "5", "gone", "6", "gone", "7"]]), Some(2));
    assert_eq!(growth(&[&["0"], &["1", "2", "3"], &["gone"]]), None);
    assert_eq!(growth(&[]), None);
}

#[test]
fn the_metadata_has_every_figure() {
    let vram = of(EXAMPLE);
    let wanted = serde_json::json!({
        "PeakMB": 19310, "AverageMB": 14170, "MinimumMB": 2140, "MedianMB": 17616, "P95MB": 19310,
        "PeakDriverMB": 19310, "PeakGeneratingMB": 19310, "AddedMB": 17070,
        "PeakTorchMB": null, "PeakNode": null, "SpilledMB": null, "SpilledSeconds": null,
        "DynamicVram": null, "TotalMB": 24576,
        "PeakAt": "12:01:10", "PeakScene": "scene-001", "Samples": 4, "Ticks": 5,
        "Missed": {"timeout": 1}, "AskedIntervalSeconds": 5.0, "AchievedIntervalSeconds": 6.667,
        "LongestGapSeconds": 10.0, "Sources": {"comfyui": 3, "nvidiaSmi": 1},
        "GrowthMBPerScene": null,
    });
    assert_eq!(vram.json(), wanted);
    let scene = serde_json::json!({
        "PeakMB": 18231, "AverageMB": 17616, "FloorMB": 17000, "PeakDriverMB": 19310, "Samples": 2,
        "PeakTorchMB": null, "AddedMB": 17070, "SpilledMB": null, "SpilledSeconds": null,
        "Nodes": [],
    });
    assert_eq!(vram.scenes[0].json(&[]), scene);
}

#[test]
fn scenes_beyond_the_most_are_told_together() {
    let line = |(n, mb): (usize, usize)| format!("12:00:00,Used={mb}MB,Scene=s{n}\n");
    // Each twice, so that every place is looked for again.
    let log: String =
        (0..5000).map(|n| (n, n)).chain((0..5000).map(|n| (n, 9000))).map(line).collect();
    let figures = of(&log);
    assert_eq!(figures.scenes.len(), 4097);
    let last = &figures.scenes[4095];
    assert_eq!((last.id.as_str(), last.floor, last.samples), ("s4095", Some(4095), 2));
    let others = &figures.scenes[4096];
    assert_eq!(others.id, "(other scenes)");
    assert_eq!((others.floor, others.peak, others.samples), (Some(4096), Some(9000), 1808));
    assert_eq!((figures.samples, figures.growth_per_scene), (10_000, Some(0)));
}

#[test]
fn seconds_are_written_as_they_are_known() {
    for (ms, wanted) in [(1930, "1.93"), (8899, "8.899"), (1364, "1.364"), (5000, "5.0")] {
        assert_eq!(serde_json::to_string(&in_seconds(Some(ms))).unwrap(), wanted);
    }
    for ms in 0..100_000 {
        let text = in_seconds(Some(ms)).unwrap().to_string();
        assert!(text.split_once('.').is_none_or(|(_, places)| places.len() <= 3), "{text}");
    }
}

#[test]
fn halves_go_to_the_even_neighbour() {
    let rounded = [(1, 2), (3, 2), (5, 2), (7, 3), (8, 3), (7, 0)].map(|(n, d)| quotient(n, d));
    assert_eq!(rounded, [0, 2, 2, 2, 3, 0]);
}

proptest! {
    /// A plateau that no sample saw is shorter than the longest gap that is told, whatever was
    /// missed and however long answers took.
    #[test]
    fn the_longest_gap_bounds_every_plateau_that_was_missed(
        seen in prop::collection::vec(any::<bool>(), 3..40),
        took in prop::collection::vec(0u64..400, 40),
        start in 0u64..4000,
        length in 1u64..4000,
    ) {
        // Ticks of 100 ms; a reading tells of some moment between its stamp and its answer.
        let mut log = String::new();
        let mut moments = Vec::new();
        for (n, seen) in (0u64..).zip(&seen) {
            let (at, took) = (n * 100, took[usize::try_from(n).unwrap()]);
            let stamp = format!("00:00:{:02}.{:03}", at / 1000, at % 1000);
            if *seen {
                log.push_str(&format!("{stamp},Used=1MB,Took={took}ms\n"));
                moments.push((at, at + took));
            } else {
                log.push_str(&format!("{stamp},Missed=timeout\n"));
            }
        }
        prop_assume!(!moments.is_empty());
        let (first, last) = (0, (u64::try_from(seen.len()).unwrap() - 1) * 100);
        let from = first + start % (last - first);
        let length = 1 + length % (last - from);
        let to = from + length;
        // Unseen: of no reading do both ends lie in it.
        let unseen = moments.iter().all(|(sent, answered)| *sent < from || *answered > to);
        if unseen {
            let statistics = LogSummary::of(log.as_bytes()).unwrap().stats;
            prop_assert!(length <= statistics.longest_gap_ms.unwrap(), "{log}");
        }
    }
}
