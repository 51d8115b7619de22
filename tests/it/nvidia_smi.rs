//! nvidia-smi as the second source: whose readings stand in the log, of which card, and what the
//! program does that is slow, hangs, dies or is not there. A stand-in of it is first on the PATH.

mod stand_in;

use std::fs;
use std::time::{Duration, Instant};

use crate::signals;
use crate::stand_in::{Config, Device, Fault};
use crate::support::{Ran, SOON, asked, line as line_of};
use stand_in::{Bench, CARD, STATS, line};

/// The pace of the readings: each is a tick.
const FAST: [&str; 2] = ["-SampleIntervalSeconds", "0.25"];
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
fn nvidia_smi_fills_exactly_the_missed_ticks() {
    let bench = Bench::new(Config::cuda());
    let running = bench.start("", &line(0, CARD, "{n}"), &FAST);
    bench.wait_for_rounds(4);
    let faults = [
        (2, Fault::Status(500, "busy")),
        // The first of them is met on a connection that was kept, and asked for anew.
        (2, Fault::Reset),
        (1, Fault::Body("{\"devices\": ".into())),
        (1, Fault::Body("{\"system\": {}, \"devices\": []}".into())),
    ];
    for (times, fault) in faults {
        bench.fail(times, fault);
    }
    // Not only five lines: some may be of ticks that were late.
    assert!(bench.server.wait_until_faults_are_met(SOON));
    bench.folder.wait_for_lines(FALLBACK, 5);
    let ran = bench.end(running);
    let log = bench.folder.read("vram-usage.log");
    // Less the knock, the scene's two looks, and the six that failed.
    let answered = log.lines().filter(|line| !line.contains(FALLBACK)).count();
    assert_eq!(answered, asked(&bench.server, STATS) - 9, "{log}");
    assert!(!log.contains("Missed="), "{log}");
    let (used, driver) = (figures(&log, ",Used="), figures(&log, ",Driver="));
    assert_eq!(used, driver, "{log}");
    assert!(used.is_sorted() && used.iter().all(|used| *used > 10_000), "{log}");
    for line in log.lines().filter(|line| line.contains(FALLBACK)) {
        assert!(line.contains(",Free=4000MB,Total=24564MB,Driver="), "{log}");
        assert!(!line.contains("Ram=") && line.ends_with(",Source=nvidia-smi"), "{log}");
        assert!(line.contains(",Scene=flow"), "{log}");
    }
    let peak = line_of(&ran.stdout, "Peak at: ");
    assert!(
        peak.ends_with(
            " in flow, node 2 HoldMemory (nvidia-smi; ComfyUI's own highest was 2140 MB)"
        ),
        "{peak}"
    );
    assert_eq!(bench.pids().len(), 1);
    bench.none_is_left();
}

#[test]
fn what_a_card_holds_while_comfyui_is_away_is_none_of_the_run_s() {
    let bench = Bench::new(Config::cuda());
    let running = bench.start("", &line(0, CARD, "{n}"), &FAST);
    bench.wait_for_rounds(4);
    bench.fail(1, Fault::Status(500, "busy"));
    bench.folder.wait_for_lines(FALLBACK, 1);
    bench.server.stop_listening();
    let log = bench.folder.wait_for_lines("Missed=refused", 4);
    bench.server.listen_again();
    bench.end(running);
    assert!(figures(&log, ",Used=").len() <= 3, "{log}");
}

#[test]
fn the_card_that_comfyui_uses_is_found_among_eight_equal_ones() {
    let bench = Bench::new(Config::cuda());
    let used = |n: u32| if n == 5 { "2250".to_owned() } else { (400 + n).to_string() };
    let lines: Vec<String> = (0..8).map(|n| line(n, CARD, &used(n))).collect();
    let running = bench.start("", &lines.join("\n"), &FAST);
    bench.wait_for_rounds(4);
    // An answer after that has told which card it is.
    bench.server.fail_next(STATS, 1, Fault::Delay(Duration::ZERO));
    bench.fail(3, Fault::Status(500, "busy"));
    let log = bench.folder.wait_for_lines(FALLBACK, 3);
    assert!(figures(&log, ",Used=").iter().all(|used| *used == 2250), "{log}");
    bench.end(running);
}

#[test]
fn indistinguishable_cards_are_not_used_unless_one_is_named() {
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
        let log = bench.folder.wait_for_lines(text, 3);
        assert!(figures(&log, ",Used=").iter().all(|used| Some(*used) == wanted), "{log}");
        let ran = bench.end(running);
        let told = "WARNING: nvidia-smi lists 2 cards that may be ComfyUI's \
                    (--nvidia-smi-gpu INDEX names it): what ComfyUI misses stays without a reading\n";
        assert_eq!(ran.stdout.matches(told).count(), usize::from(wanted.is_none()), "{ran}");
    }
}

#[test]
fn vram_source_nvidia_smi_is_the_only_source_from_the_first_tick() {
    // A server whose own figures are no card's.
    for config in [Config::cuda(), Config { devices: vec![Device::cpu()], ..Config::default() }] {
        let bench = Bench::new(config);
        let running =
            bench.start("", &line(0, CARD, "{n}"), &words(&["-VramSource", "nvidia-smi"]));
        let log = bench.folder.wait_for_lines(FALLBACK, 4);
        assert!(log.lines().next().unwrap().contains(",Used=100"), "{log}");
        let ran = bench.end(running).says("Initial VRAM: Used=100");
        let log = bench.folder.read("vram-usage.log");
        assert!(log.lines().all(|line| line.contains(FALLBACK)), "{log}");
        // The knock alone.
        assert_eq!(asked(&bench.server, STATS), 1, "{ran}");
        bench.none_is_left();
    }
}

#[test]
fn a_slow_start_delays_nothing_and_readings_count_from_then() {
    let bench = Bench::new(Config::cuda());
    let running = bench.start("slow", &line(0, CARD, "9000"), &FAST);
    bench.fail(2, Fault::Status(500, "busy"));
    bench.folder.wait_for_lines("Missed=status", 2);
    bench.folder.write("go", "");
    bench.wait_for_rounds(4);
    bench.fail(2, Fault::Status(500, "busy"));
    bench.folder.wait_for_lines(FALLBACK, 2);
    let ran = bench.end(running);
    assert!(!ran.stdout.contains("WARNING"), "what is only starting is no news: {ran}");
    bench.none_is_left();
}

#[test]
fn a_hung_or_dead_nvidia_smi_delays_nothing_and_is_not_restarted() {
    for (way, source) in [("hang", "auto"), ("hang", "nvidia-smi"), ("die", "auto")] {
        let bench = Bench::new(Config::cuda());
        let running = bench.start(way, &line(0, CARD, "9000"), &words(&["-VramSource", source]));
        bench.wait_for_pid();
        bench.fail(6, Fault::Status(500, "busy"));
        bench.folder.wait_for_lines("Missed=", if way == "die" { 6 } else { 2 });
        let begun = Instant::now();
        bench.end(running);
        // Far more than the end takes, far less than the child would stay.
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        let log = bench.folder.read("vram-usage.log");
        assert!(way == "die" || !log.contains(FALLBACK), "{log}");
        assert_eq!(bench.pids().len(), 1);
        bench.none_is_left();
    }
}

#[test]
fn a_missing_nvidia_smi_is_reported_only_if_it_was_needed() {
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
        bench.folder.wait_for_lines(",Interval=", 1);
        if faults > 0 {
            bench.fail(faults, Fault::Status(500, "busy"));
            bench.folder.wait_for_lines("Missed=status", faults);
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
fn nvidia_smi_is_not_started_for_a_cpu_or_another_source() {
    let cpu = || Config { devices: vec![Device::cpu()], ..Config::default() };
    // A card of AMD's is a device of this type too.
    let system = serde_json::json!({"pytorch_version": "2.8.0+rocm7.1"});
    let amd = Config { system, ..Config::cuda() };
    for (config, source) in [(cpu(), "auto"), (amd, "auto"), (Config::cuda(), "comfyui")] {
        let bench = Bench::new(config);
        let running = bench.start("", &line(0, CARD, "9000"), &words(&["-VramSource", source]));
        bench.fail(2, Fault::Status(500, "busy"));
        bench.folder.wait_for_lines("Missed=status", 2);
        bench.end(running);
        assert_eq!(bench.pids(), [""; 0], "{source}");
    }
}

/// Another address of this machine: Windows does not connect to it.
#[cfg(unix)]
#[test]
fn nvidia_smi_is_not_started_for_a_server_that_may_be_remote() {
    let bench = Bench::new(Config::cuda());
    let url = format!("http://0.0.0.0:{}", bench.server.port());
    let lines = line(0, CARD, "9000");
    for more in [&[][..], &["-NvidiaSmiGpu", "0"]] {
        let running = bench.start_on(&url, "", &lines, &words(more));
        bench.fail(2, Fault::Status(500, "busy"));
        bench.folder.wait_for_lines("Missed=status", 2);
        bench.end(running);
        assert_eq!(bench.pids(), [""; 0]);
    }
    let words = words(&["-VramSource", "nvidia-smi"]);
    let ran = bench.start_on(&url, "", &lines, &words).wait().exits(2);
    ran.complains("-VramSource nvidia-smi is a card of this machine, and http://0.0.0.0:");
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn an_interrupt_ends_nvidia_smi() {
    let bench = Bench::new(Config::cuda());
    let running = bench.start("hang", "", &FAST);
    bench.wait_for_pid();
    assert!(bench.server.wait_until_running(SOON));
    // The program alone hears it; on Windows the child has a console of its own.
    #[cfg(unix)]
    signals::signal(&running, "-TERM");
    #[cfg(windows)]
    signals::ctrl_c(&running);
    running.wait().exits(130);
    bench.none_is_left();
}

#[test]
#[cfg(unix)]
fn a_kill_ends_a_hanging_nvidia_smi() {
    let bench = Bench::new(Config::cuda());
    let running = bench.start("hang", "", &FAST);
    bench.wait_for_pid();
    drop(running);
    let is_alive = |pid: &String| crate::support::is_alive(pid);
    crate::support::wait_until("its end", || !bench.pids().iter().any(is_alive));
}

#[test]
fn monitor_works_with_nvidia_smi_alone() {
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
fn monitor_says_once_why_nvidia_smi_gives_nothing() {
    let says = |ran: &Ran, wanted: &str| {
        let lines: Vec<_> =
            ran.stderr.lines().take_while(|line| !line.starts_with("===")).collect();
        assert_eq!(lines, [format!("run-comfyui-e2e: {wanted}")]);
    };
    let (bench, time) = (Bench::new(Config::cuda()), ["--duration", "0.3"]);
    let forced = ["--duration", "0.3", "--vram-source", "nvidia-smi"];
    let (lines, nothing) = (line(0, CARD, "9000"), "no VRAM is recorded");
    let ran = bench.monitor_without(&forced);
    says(&ran, &format!("WARNING: nvidia-smi is not on the PATH: {nothing}"));
    let ran = bench.monitor_alone("fail", "No devices were found", &forced);
    says(&ran, &format!("WARNING: nvidia-smi: No devices were found: {nothing}"));
    let nobody = "no ComfyUI at http://127.0.0.1:9 (refused): nothing is sampled unless it";
    let other = "another one is --comfyui-url URL";
    says(&bench.monitor_without(&time), &format!("{nobody} answers later; {other}"));
    let ran = bench.monitor_alone("hang", &lines, &time);
    says(&ran, &format!("{nobody} or nvidia-smi answers later; {other}"));
    let ran = bench.monitor_alone("hang", &lines, &forced);
    says(&ran, "nvidia-smi gives no reading yet: nothing is sampled unless it does later");
    let two = format!("{lines}\n{}", line(1, CARD, "9000"));
    let ran = bench.monitor_alone("normal", &two, &time);
    let several = "WARNING: nvidia-smi lists 2 cards that may be ComfyUI's (--nvidia-smi-gpu INDEX";
    assert_eq!(ran.stderr.matches(several).count(), 1, "{ran}");
    let ran =
        bench.monitor_alone("normal", &two, &[&time[..], &["--nvidia-smi-gpu", "1"]].concat());
    ran.complains("Peak VRAM: 9000 MB (from ");
}
