use std::fmt::Write;

use proptest::prelude::*;

use super::*;

fn of(log: &str) -> Statistics {
    Statistics::of_lines(Reader::new(log.as_bytes())).unwrap()
}

const LOG: &str = "\
12:01:00,Used=2140MB,Free=22436MB,Total=24576MB,Driver=2240MB,Ram=31020MB,Interval=5s
12:01:05,Used=18231MB,Free=6345MB,Total=24576MB,Driver=19102MB,Ram=31200MB,Scene=scene-001
12:01:10,Used=19310MB,Free=5266MB,Total=24576MB,Driver=19310MB,Scene=scene-001,Source=nvidia-smi
12:01:15,Missed=timeout,Scene=scene-001
12:01:20,Used=2144MB,Free=22432MB,Total=24576MB,Driver=2300MB
";

#[test]
fn the_block_is_to_the_letter() {
    let block = of(LOG).block(Path::new("vram-usage.log"), &[("b".into(), "no execution".into())]);
    assert_eq!(
        block,
        [
            "=== VRAM Usage Statistics ===",
            "Peak VRAM: 19310 MB (from 4 samples)",
            "Average VRAM: 10456 MB",
            "Minimum VRAM: 2140 MB",
            "Median VRAM: 10188 MB, 95th percentile: 19310 MB",
            "Peak at: 12:01:10 in scene-001 (nvidia-smi; ComfyUI's own highest was 18231 MB)",
            "Peak while generating: 18231 MB; driver 19310 MB of 24576 MB (79 %)",
            "The run itself took: 17070 MB (driver 19310 less 2240 at the start)",
            "Scene scene-001: peak 18231 MB, average 18231 MB, floor 18231 MB (2 samples); driver peak 19310 MB",
            "Scene b: no execution",
            "Sampling: every 5.0 s asked, 6.7 s achieved; longest gap 10.0 s; 1 of 5 ticks missed (timeout 1); a peak shorter than 10.0 s may be higher",
            "VRAM log: vram-usage.log",
        ]
    );
}

#[test]
fn without_a_driver_figure_used_stands_alone() {
    let log = "12:00:00,Used=100MB,Free=300MB,Total=400MB,Interval=0.25s\n\
        12:00:00.250,Used=300MB,Free=100MB,Total=400MB,Scene=a,Took=20ms\n";
    let block = of(log).block(Path::new("x"), &[]).join("\n");
    assert!(block.contains("Peak while generating: 300 MB of 400 MB (75 %)\n"), "{block}");
    assert!(block.contains("took: 200 MB (used 300 less 100 at the start)"), "{block}");
    assert!(block.contains("longest gap 0.27 s; 0 of 2 ticks missed; a peak"), "{block}");
}

#[test]
fn no_sample_says_why() {
    for (log, why) in [
        ("", "the log is empty"),
        (
            "12:00:00,Missed=refused\n12:00:05,Missed=timeout\n12:00:10,Missed=refused\n",
            "timeout 1, refused 2",
        ),
    ] {
        let block = of(log).block(Path::new("x"), &[]);
        assert_eq!(block[1], format!("No VRAM sample was taken: {why}"));
        assert_eq!(block.last().unwrap(), "VRAM log: x");
    }
}

#[test]
fn midnight_is_no_gap_and_neither_is_a_clock_that_was_set_back() {
    let at = |times: &[&str]| {
        let lines = times.iter().fold(String::new(), |mut log, time| {
            writeln!(log, "{time},Used=1MB").unwrap();
            log
        });
        of(&lines).longest_gap_ms
    };
    assert_eq!(at(&["23:59:58", "00:00:03"]), Some(5_000));
    assert_eq!(at(&["12:00:00", "11:00:00", "11:00:05"]), Some(5_000));
    assert_eq!(at(&["12:00:00"]), None);
    // Whole seconds are cut off, not rounded: within one there is up to a second.
    assert_eq!(at(&["12:00:00", "12:00:00"]), Some(1_000));
}

#[test]
fn growth_is_of_the_last_readings_from_the_second_scene_on() {
    let log = [9000, 2000, 2004, 2008, 2012].iter().enumerate().fold(
        String::new(),
        |mut log, (n, left)| {
            writeln!(log, "12:00:0{n},Used=8000MB,Scene=s{n}\n12:00:0{n},Used={left}MB,Scene=s{n}")
                .unwrap();
            log
        },
    );
    assert_eq!(of(&log).growth_per_scene, Some(4));
    assert_eq!(of(LOG).growth_per_scene, None);
}

fn naive_mean(values: &[u64]) -> u64 {
    let sum: u64 = values.iter().sum();
    let count = values.len() as u64;
    let (whole, rest) = (sum / count, sum % count);
    if rest * 2 > count || (rest * 2 == count && whole % 2 == 1) { whole + 1 } else { whole }
}

proptest! {
    #[test]
    fn figures_are_those_of_the_sorted_list(values in proptest::collection::vec(0u64..2000, 1..60)) {
        let log = values.iter().fold(String::new(), |mut log, value| {
            writeln!(log, "12:00:00,Used={value}MB").unwrap();
            log
        });
        let used = of(&log).used.unwrap();
        let mut sorted = values.clone();
        sorted.sort_unstable();
        let count = sorted.len();
        prop_assert_eq!(used.peak, sorted[count - 1]);
        prop_assert_eq!(used.minimum, sorted[0]);
        prop_assert_eq!(used.average, naive_mean(&values));
        prop_assert_eq!(used.median, naive_mean(&[sorted[(count - 1) / 2], sorted[count / 2]]));
        prop_assert_eq!(used.p95, sorted[(count * 95).div_ceil(100) - 1]);
    }
}
