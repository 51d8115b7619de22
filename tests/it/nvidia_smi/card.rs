//! Whose readings stand in the log, and of which card.

use std::time::Duration;

use super::stand_in::{Bench, CARD, STATS, line};
use crate::seen;
use crate::stand_in::{Config, Device, Fault};

const FAST: [&str; 2] = ["-SampleIntervalSeconds", "0.4"];
const FALLBACK: &str = ",Source=nvidia-smi";

fn words<'a>(more: &[&'a str]) -> Vec<&'a str> {
    FAST.into_iter().chain(more.iter().copied()).collect()
}

/// The values behind a name in the lines of nvidia-smi.
fn figures(log: &str, name: &str) -> Vec<u64> {
    let of = |line: &str| line.split_once(name)?.1.split_once("MB")?.0.parse().ok();
    log.lines().filter(|line| line.contains(FALLBACK)).filter_map(of).collect()
}

#[test]
fn its_lines_stand_exactly_where_comfyui_was_missed() {
    let bench = Bench::new(Config::cuda());
    let running = bench.start("", &line(0, CARD, "{n}"), &FAST);
    bench.wait_for_rounds(4);
    let faults = [
        (2, Fault::Status(500, "busy")),
        (1, Fault::Reset),
        (1, Fault::Body("{\"devices\": ".into())),
        (1, Fault::Body("{\"system\": {}, \"devices\": []}".into())),
    ];
    for (times, fault) in faults {
        bench.fail(times, fault);
    }
    // Not only five lines: some may be of ticks that were late.
    assert!(bench.server.wait_until_faults_are_met(Duration::from_secs(30)));
    bench.wait_for_lines(FALLBACK, 5);
    let ran = bench.end(running);
    let log = bench.folder.read("vram-usage.log");
    let asked = bench.server.requests().iter().filter(|request| request.is(STATS)).count();
    // Less the knock, the scene's two looks, and the five that failed.
    let answered = log.lines().filter(|line| !line.contains(FALLBACK)).count();
    assert_eq!(answered, asked - 8, "{log}");
    assert!(!log.contains("Missed="), "{log}");
    let mut lines = log.lines().filter(|line| line.contains(FALLBACK));
    let (used, driver) = (figures(&log, ",Used="), figures(&log, ",Driver="));
    assert_eq!(used, driver, "{log}");
    assert!(used.is_sorted() && used.iter().all(|used| *used > 10_000), "{log}");
    assert!(
        lines.all(|line| line.contains(",Free=4000MB,Total=24564MB,Driver=")
            && !line.contains("Ram=")
            && line.ends_with(",Scene=flow,Source=nvidia-smi")),
        "{log}"
    );
    let peak = seen::line(&ran.stdout, "Peak at: ");
    assert!(peak.ends_with(" in flow (nvidia-smi; ComfyUI's own highest was 2140 MB)"), "{peak}");
    assert_eq!(bench.pids().len(), 1);
    bench.none_is_left();
}

#[test]
fn a_late_tick_has_the_reading_of_its_own_moment() {
    let bench = Bench::new(Config::cuda());
    let running = bench.start("", &line(0, CARD, "{n}"), &FAST);
    bench.wait_for_rounds(4);
    bench.fail(1, Fault::Hang);
    bench.wait_for_lines(FALLBACK, 5);
    bench.end(running);
    let log = bench.folder.read("vram-usage.log");
    let used = figures(&log, ",Used=");
    // The request was out for two seconds, five ticks: they are not all of its end.
    assert!(used.is_sorted() && used[4] >= used[0] + 3, "{log}");
    assert!(!log.contains("Missed="), "{log}");
    assert!(log.lines().all(|line| !(line.contains(FALLBACK) && line.contains("Took="))), "{log}");
}

#[test]
fn of_eight_equal_cards_it_is_the_one_that_comfyui_uses() {
    let bench = Bench::new(Config::cuda());
    let used = |n: u32| if n == 5 { "2250".to_owned() } else { (400 + n).to_string() };
    let lines: Vec<String> = (0..8).map(|n| line(n, CARD, &used(n))).collect();
    let running = bench.start("", &lines.join("\n"), &FAST);
    bench.wait_for_rounds(4);
    // An answer after that has told which card it is.
    bench.server.fail_next(STATS, 1, Fault::Delay(std::time::Duration::ZERO));
    bench.fail(3, Fault::Status(500, "busy"));
    let log = bench.wait_for_lines(FALLBACK, 3);
    assert!(figures(&log, ",Used=").iter().all(|used| *used == 2250), "{log}");
    bench.end(running);
}

#[test]
fn cards_that_nothing_tells_apart_are_not_guessed_at_unless_one_is_named() {
    for (more, wanted) in [
        (&[][..], None),
        (&["-NvidiaSmiGpu", "1"], Some(2241)),
        (&["-NvidiaSmiGpu", "gpu-0"], Some(2240)),
    ] {
        let bench = Bench::new(Config::cuda());
        let lines = format!("{}\n{}", line(0, CARD, "2240"), line(1, CARD, "2241"));
        let running = bench.start("", &lines, &words(more));
        bench.wait_for_rounds(4);
        bench.fail(3, Fault::Status(500, "busy"));
        let text = wanted.map_or("Missed=status", |_| FALLBACK);
        let log = bench.wait_for_lines(text, 3);
        assert!(figures(&log, ",Used=").iter().all(|used| Some(*used) == wanted), "{log}");
        let ran = bench.end(running);
        let told = "WARNING: nvidia-smi lists 2 cards that may be ComfyUI's \
                    (--nvidia-smi-gpu INDEX names it): what ComfyUI misses stays without a reading\n";
        assert_eq!(ran.stdout.matches(told).count(), usize::from(wanted.is_none()), "{ran}");
    }
}

#[test]
fn broken_lines_unknown_figures_and_other_cards_are_passed_over() {
    let bench = Bench::new(Config::cuda());
    let lines = [
        "\r",
        "0, GPU-0, NVIDIA GeForce RTX 4090, 24564, 22",
        "0, GPU-0, Tesla, the old one, 24564, 7, 7\r",
        "2, GPU-2, NVIDIA GB10, [N/A], [N/A], [N/A]",
        &format!("3, GPU-3, {CARD}, 24564, {{n}}, [Not Supported]\r"),
        "4, GPU-4, NVIDIA GeForce RTX 3090, [Unknown Error], 9, 9",
        "",
    ];
    let running = bench.start("", &lines.join("\n"), &FAST);
    bench.wait_for_rounds(4);
    bench.fail(2, Fault::Status(500, "busy"));
    let log = bench.wait_for_lines(FALLBACK, 2);
    let of_card =
        |line: &str| line.contains("Used=100") && line.contains("MB,Total=24564MB,Driver=");
    assert!(log.lines().filter(|line| line.contains(FALLBACK)).all(of_card), "{log}");
    assert!(!log.contains("Missed="), "{log}");
    bench.end(running);
}

#[test]
fn forced_it_is_the_only_source_from_the_first_tick_on() {
    // A server whose own figures are no card's.
    for config in [Config::cuda(), Config { devices: vec![Device::cpu()], ..Config::default() }] {
        let bench = Bench::new(config);
        let running =
            bench.start("", &line(0, CARD, "{n}"), &words(&["-VramSource", "nvidia-smi"]));
        let log = bench.wait_for_lines(FALLBACK, 4);
        assert!(log.lines().next().unwrap().contains(",Used=100"), "{log}");
        let ran = bench.end(running).says("Initial VRAM: Used=100");
        let log = bench.folder.read("vram-usage.log");
        assert!(log.lines().all(|line| line.contains(FALLBACK)), "{log}");
        // The knock alone.
        let asked = bench.server.requests().iter().filter(|request| request.is(STATS)).count();
        assert_eq!(asked, 1, "{ran}");
        bench.none_is_left();
    }
}
