//! The program itself: slow, hung, dying, missing, not wanted; and that none is left behind.

use std::fs;
use std::time::{Duration, Instant};

use super::stand_in::{Bench, CARD, line};
use crate::signals;
use crate::stand_in::{Config, Device, Fault, graphs};
use crate::support::Ran;

const FAST: [&str; 2] = ["-SampleIntervalSeconds", "0.2"];
const FALLBACK: &str = ",Source=nvidia-smi";

fn words<'a>(more: &[&'a str]) -> Vec<&'a str> {
    FAST.into_iter().chain(more.iter().copied()).collect()
}

#[test]
fn a_slow_start_holds_up_nothing_and_counts_from_when_it_is_there() {
    let bench = Bench::new(Config::cuda());
    let running = bench.start("slow", &line(0, CARD, "9000"), &FAST);
    bench.fail(2, Fault::Status(500, "busy"));
    bench.wait_for_lines("Missed=status", 2);
    bench.folder.write("go", "");
    bench.wait_for_rounds(4);
    bench.fail(2, Fault::Status(500, "busy"));
    bench.wait_for_lines(FALLBACK, 2);
    let ran = bench.end(running);
    assert!(!ran.stdout.contains("WARNING"), "what is only starting is no news: {ran}");
    bench.none_is_left();
}

#[test]
fn a_hung_one_gives_nothing_and_does_not_delay_the_end() {
    for source in ["auto", "nvidia-smi"] {
        let bench = Bench::new(Config::cuda());
        let running = bench.start("hang", "", &words(&["-VramSource", source]));
        bench.wait_for_pid();
        bench.fail(2, Fault::Status(500, "busy"));
        bench.wait_for_lines("Missed=", 2);
        let begun = Instant::now();
        bench.end(running);
        // Far more than the end takes, far less than the child would stay.
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        assert!(!bench.folder.read("vram-usage.log").contains(FALLBACK));
        assert_eq!(bench.pids().len(), 1);
        bench.none_is_left();
    }
}

#[test]
fn a_reading_from_before_it_hung_is_not_used_for_long() {
    let bench = Bench::new(Config::cuda());
    let running = bench.start("stall", &line(0, CARD, "9000"), &["-SampleIntervalSeconds", "0.4"]);
    bench.wait_for_rounds(4);
    bench.fail(usize::MAX, Fault::Status(500, "busy"));
    let log = bench.wait_for_lines("Missed=status", 2);
    let places: Vec<usize> = log.match_indices(FALLBACK).map(|(place, _)| place).collect();
    let missed = log.find("Missed=").unwrap();
    assert!(places.iter().all(|place| *place < missed) && places.len() <= 4, "{log}");
    bench.server.clear_faults();
    bench.end(running);
    bench.none_is_left();
}

#[test]
fn a_dying_one_is_not_started_again_and_again() {
    let bench = Bench::new(Config::cuda());
    let running = bench.start("die", &line(0, CARD, "9000"), &FAST);
    bench.wait_for_pid();
    bench.fail(6, Fault::Status(500, "busy"));
    bench.wait_for_lines("Missed=status", 6);
    bench.end(running);
    assert_eq!(bench.pids().len(), 1);
    bench.none_is_left();
}

#[test]
fn a_missing_one_is_told_only_where_it_would_have_helped() {
    let told = "WARNING: nvidia-smi is not on the PATH: ";
    let missed = "what ComfyUI misses stays without a reading\n";
    for (source, faults, wanted) in [
        ("auto", 0, None),
        ("auto", 3, Some(missed)),
        ("comfyui", 3, None),
        ("nvidia-smi", 0, Some("no VRAM is recorded\n")),
    ] {
        let bench = Bench::new(Config::cuda());
        let running = bench.start_without(&words(&["-VramSource", source]));
        bench.wait_for_lines(",Interval=", 1);
        if faults > 0 {
            bench.fail(faults, Fault::Status(500, "busy"));
            bench.wait_for_lines("Missed=status", faults);
        }
        let ran = bench.end(running);
        assert_eq!(ran.stdout.matches(told).count(), usize::from(wanted.is_some()), "{ran}");
        if let Some(so) = wanted {
            let ran = ran.says(&format!("{told}{so}"));
            assert!(bench.folder.read("run-summary.txt").contains(told), "{ran}");
        }
    }
}

#[test]
fn it_is_not_started_where_it_is_not_wanted() {
    let cpu = || Config { devices: vec![Device::cpu()], ..Config::default() };
    for (config, source) in [(cpu(), "auto"), (Config::cuda(), "comfyui")] {
        let bench = Bench::new(config);
        let running = bench.start("", &line(0, CARD, "9000"), &words(&["-VramSource", source]));
        bench.fail(2, Fault::Status(500, "busy"));
        bench.wait_for_lines("Missed=status", 2);
        bench.end(running);
        assert_eq!(bench.pids(), [""; 0], "{source}");
    }
}

/// Another address of this machine: Windows does not connect to it.
#[cfg(unix)]
#[test]
fn a_server_that_is_not_surely_here_never_starts_it() {
    let bench = Bench::new(Config::cuda());
    let url = format!("http://0.0.0.0:{}", bench.server.port());
    let lines = line(0, CARD, "9000");
    for more in [&[][..], &["-NvidiaSmiGpu", "0"]] {
        let running = bench.start_on(&url, "", &lines, &words(more));
        bench.fail(2, Fault::Status(500, "busy"));
        bench.wait_for_lines("Missed=status", 2);
        bench.end(running);
        assert_eq!(bench.pids(), [""; 0]);
    }
    let words = words(&["-VramSource", "nvidia-smi"]);
    let ran = bench.start_on(&url, "", &lines, &words).wait().exits(2);
    ran.complains("-VramSource nvidia-smi is a card of this machine, and http://0.0.0.0:");
}

#[test]
fn no_early_end_leaves_one_behind() {
    let bench = Bench::new(Config::cuda());
    // The prompt is refused: the run ends at once.
    bench.folder.workflow("flow.json", &graphs::failing("on purpose"));
    let running = bench.start("hang", "", &FAST);
    running.wait().exits(1);
    bench.none_is_left();
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn an_interrupt_leaves_none_behind() {
    let bench = Bench::new(Config::cuda());
    let running = bench.start("hang", "", &FAST);
    bench.wait_for_pid();
    assert!(bench.server.wait_until_running(Duration::from_secs(30)));
    // The program alone hears it; on Windows the child has a console of its own.
    #[cfg(unix)]
    signals::signal(&running, "-TERM");
    #[cfg(windows)]
    signals::ctrl_c(&running);
    running.wait().exits(130);
    bench.none_is_left();
}

#[test]
fn monitor_works_with_it_alone() {
    for more in [&["--vram-source", "nvidia-smi"][..], &[]] {
        let bench = Bench::new(Config::cuda());
        let words = ["--duration", "1.5", "--sample-interval-seconds", "0.1", "--log", "vram.log"];
        let lines = line(0, CARD, "9000");
        let ran = bench.monitor_alone("normal", &lines, &[&words[..], more].concat()).exits(0);
        assert!(!ran.stderr.contains("nothing is sampled"), "{ran}");
        ran.complains("Peak VRAM: 9000 MB (from ").complains("(nvidia-smi)");
        // From before a command would have been started.
        let log = fs::read_to_string(bench.folder.path().join("vram.log")).unwrap();
        assert!(log.lines().next().unwrap().contains(",Used=9000MB,"), "{log}");
        bench.none_is_left();
    }
}

#[test]
fn monitor_says_once_why_it_gives_nothing() {
    let said = |ran: &Ran| -> Vec<String> {
        let lines = ran.stderr.lines().take_while(|line| !line.starts_with("==="));
        lines.map(str::to_owned).collect()
    };
    let (bench, time) = (Bench::new(Config::cuda()), ["--duration", "0.3"]);
    let forced = ["--duration", "0.3", "--vram-source", "nvidia-smi"];
    assert_eq!(
        said(&bench.monitor_without(&forced)),
        ["run-comfyui-e2e: WARNING: nvidia-smi is not on the PATH: no VRAM is recorded"]
    );
    let nobody = "run-comfyui-e2e: no ComfyUI at http://127.0.0.1:9 (refused): nothing is sampled";
    assert_eq!(said(&bench.monitor_without(&time)), [format!("{nobody} unless it answers later")]);

    let lines = line(0, CARD, "9000");
    assert_eq!(
        said(&bench.monitor_alone("hang", &lines, &time)),
        [format!("{nobody} unless it or nvidia-smi answers later")]
    );
    assert_eq!(
        said(&bench.monitor_alone("hang", &lines, &forced)),
        [
            "run-comfyui-e2e: nvidia-smi gives no reading yet: nothing is sampled unless it does later"
        ]
    );
    let two = format!("{lines}\n{}", line(1, CARD, "9000"));
    let ran = bench.monitor_alone("normal", &two, &time);
    let several = "WARNING: nvidia-smi lists 2 cards that may be ComfyUI's (--nvidia-smi-gpu INDEX";
    assert_eq!(ran.stderr.matches(several).count(), 1, "{ran}");
    let ran =
        bench.monitor_alone("normal", &two, &[&time[..], &["--nvidia-smi-gpu", "1"]].concat());
    ran.complains("Peak VRAM: 9000 MB (from ");
}
