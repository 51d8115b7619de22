//! The log of the memory, and that every figure told is the log's.

use std::time::Duration;

use crate::scenes::SOON;
use crate::seen;
use crate::stand_in::{Config, Fault, StandIn, graphs};
use crate::support::{Folder, Ran};

const STATS: &str = "GET /system_stats";

/// A card of 24 GB, and a scene that takes 17070 MB of it for half a second.
fn generate(words: &[&str]) -> (StandIn, Folder, Ran) {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.workflow("flow.json", &graphs::video("video/flow", 0.6, 17_070, 1));
    let words: Vec<&str> = words.iter().copied().chain(["flow.json"]).collect();
    let ran = folder.run_on(&server.url(), &words).exits(0);
    (server, folder, ran)
}

/// The figures behind a name, as the old readers take them: by plain search for `Name=(\d+)MB`.
fn figures(log: &str, name: &str) -> Vec<u64> {
    let wanted = format!("{name}=");
    let after = |line: &str| Some(line.split_once(&wanted)?.1.split_once("MB")?.0.to_owned());
    log.lines().filter_map(after).map(|figure| figure.parse().unwrap()).collect()
}

/// Half to even, as the script rounds.
fn average(figures: &[u64]) -> u64 {
    let (sum, count) = (figures.iter().sum::<u64>(), figures.len() as u64);
    let (whole, twice) = (sum / count, sum % count * 2);
    whole + u64::from(twice > count || twice == count && whole % 2 == 1)
}

#[test]
fn the_statistics_are_those_of_the_log_to_the_letter() {
    let (_server, folder, ran) = generate(&["-SampleIntervalSeconds", "0.05"]);
    let log = folder.read("vram-usage.log");
    let used = figures(&log, "Used");
    assert!(used.len() >= 8, "{log}");
    let block = ran.stdout.split_once("] === VRAM Usage Statistics ===\n").expect("a block").1;
    let lines: Vec<&str> = block.lines().map(|line| &line["[00:00:00] ".len()..]).collect();
    let (least, most) = (used.iter().min().unwrap(), used.iter().max().unwrap());
    assert_eq!((*least, *most), (2140, 19_210));
    assert_eq!(lines[0], format!("Peak VRAM: {most} MB (from {} samples)", used.len()));
    assert_eq!(lines[1], format!("Average VRAM: {} MB", average(&used)));
    assert_eq!(lines[2], format!("Minimum VRAM: {least} MB"));
    assert!(lines[3].starts_with("Median VRAM: "), "{block}");
    let peak = log.lines().find(|line| line.contains("Used=19210MB")).unwrap();
    // A sample from before a poll saw the scene running is nobody's.
    let whose = if peak.contains(",Scene=flow") { " in flow" } else { "" };
    assert_eq!(lines[4], format!("Peak at: {}{whose}", peak.split(',').next().unwrap()));
    assert_eq!(lines[5], "Peak while generating: 19210 MB; driver 19310 MB of 24576 MB (79 %)");
    assert_eq!(lines[6], "The run itself took: 17070 MB (driver 19310 less 2240 at the start)");
    let of_scene: String = log
        .lines()
        .filter(|line| line.contains(",Scene=flow"))
        .map(|l| l.to_owned() + "\n")
        .collect();
    let of_scene = figures(&of_scene, "Used");
    assert_eq!(
        lines[7],
        format!(
            "Scene flow: peak 19210 MB, average {} MB, floor {} MB ({} samples); driver peak 19310 MB",
            average(&of_scene),
            of_scene.iter().min().unwrap(),
            of_scene.len()
        )
    );
    let sampling = lines[8];
    assert!(sampling.starts_with("Sampling: every 0.05 s asked, "), "{sampling}");
    let ticks = log.lines().count();
    let missed = log.matches("Missed=").count();
    assert!(sampling.contains(&format!("; {missed} of {ticks} ticks missed")), "{sampling}");
    assert!(lines[9].starts_with("VRAM log: ") && lines[9].ends_with("vram-usage.log"));
}

/// As it always was done: count the lines, look at the last 20, and take `Used=(\d+)MB` for the
/// figures.
#[test]
fn the_plain_old_checks_give_the_figures_of_the_summary() {
    let (_server, folder, _ran) = generate(&["-SampleIntervalSeconds", "0.05"]);
    let (log, summary) = (folder.read("vram-usage.log"), folder.read("run-summary.txt"));
    let said = |start: &str| seen::line(&summary, start);
    assert!(log.ends_with('\n'), "{log}");
    let lines: Vec<&str> = log.lines().collect();
    assert!(said("Sampling: ").contains(&format!(" of {} ticks missed", lines.len())), "{log}");
    let last = &lines[lines.len().saturating_sub(20)..];
    for line in last {
        let (time, fields) = line.split_once(',').expect("a time and fields");
        assert_eq!(time.len(), "12:00:00.000".len(), "{line}");
        let reading = ["Used", "Free", "Total"].map(|name| figures(line, name).len()) == [1; 3];
        assert!(reading && fields.starts_with("Used=") || fields.starts_with("Missed="), "{line}");
    }
    let used = figures(&log, "Used");
    let count = format!("(from {} samples)", used.len());
    assert_eq!(
        said("Peak VRAM: "),
        format!("Peak VRAM: {} MB {count}", used.iter().max().unwrap())
    );
    assert_eq!(said("Average VRAM: "), format!("Average VRAM: {} MB", average(&used)));
    assert_eq!(said("Minimum VRAM: "), format!("Minimum VRAM: {} MB", used.iter().min().unwrap()));
}

#[test]
fn the_closing_block_says_what_the_run_took_and_which_card_has_it() {
    let (_server, folder, ran) = generate(&["-SampleIntervalSeconds", "0.05"]);
    let scene = seen::line(&ran.stdout, "✓ flow  ");
    assert!(scene.contains(" s  peak 19310 MB driver  video/flow/flow.mp4 ("), "{scene}");
    let log = folder.read("vram-usage.log");
    let peak = log
        .lines()
        .find(|line| line.contains("Driver=19310MB") && line.contains(",Scene=flow"))
        .unwrap();
    assert_eq!(
        seen::line(&ran.stdout, "Peak while generating: driver "),
        format!(
            "Peak while generating: driver 19310 MB of 24576 (79 %), 5266 MB to spare, {} in flow",
            peak.split(',').next().unwrap()
        )
    );
    ran.says("The run itself took 17070 MB: more than a 16 GB card has, less than a 20 GB one\n")
        .says("GPU free: queue empty, 2240 MB in use (2240 before the run)\n")
        .says("Trust: every 0.05 s, longest gap ")
        .says("Initial VRAM: Used=2140MB Free=22436MB Total=24576MB\n");
    let vram = &folder.metadata()["Vram"];
    assert_eq!(vram["PeakDriverMB"], 19_310);
    assert_eq!(vram["RunTookMB"], 17_070);
    assert_eq!(folder.metadata()["Scenes"][0]["Vram"]["PeakDriverMB"], 19_310);
}

#[test]
fn the_log_has_one_line_a_tick_in_its_format() {
    let (server, folder, _ran) = generate(&["-SampleIntervalSeconds", "0.1"]);
    let log = folder.read("vram-usage.log");
    let first = log.lines().next().unwrap();
    let at = |line: &str| {
        line.bytes().map(|b| if b.is_ascii_digit() { b'0' } else { b }).collect::<Vec<_>>()
    };
    let fields = ",Used=2140MB,Free=22436MB,Total=24576MB,Driver=2240MB,Ram=24302MB,Interval=0.1s";
    assert!(first[12..].starts_with(fields), "{first}");
    assert!(log.lines().all(|line| at(&line[..12]) == b"00:00:00.000"), "{log}");
    assert_eq!(log.matches("Interval=").count(), 1, "{log}");
    let scenes: Vec<bool> = log.lines().map(|line| line.contains(",Scene=flow")).collect();
    assert!(scenes.contains(&true), "{log}");
    assert!(!scenes[0] && !scenes[scenes.len() - 1], "{log}");
    assert!(scenes.windows(2).filter(|pair| pair[0] != pair[1]).count() == 2, "{log}");
    let of_peak = |line: &&str| line.contains("Used=19210MB") && line.contains("Scene=");
    let running = log.lines().find(of_peak).unwrap();
    let fields = ",Used=19210MB,Free=5366MB,Total=24576MB,Driver=19310MB,Ram=24302MB,Scene=flow";
    assert!(running[12..].starts_with(fields), "{running}");
    // The knock and the first sample come before anything is posted.
    let requests = server.requests();
    let post = requests.iter().position(|request| request.is("POST /prompt")).unwrap();
    assert!(requests[..post].iter().filter(|request| request.is(STATS)).count() >= 2);
}

#[test]
fn from_a_second_on_the_times_are_the_script_s() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 1));
    folder.run_on(&server.url(), &["flow.json"]).exits(0);
    let log = folder.read("vram-usage.log");
    let first = log.lines().next().unwrap();
    assert!(first[8..].starts_with(",Used=1229MB,Free=22877MB,Total=24106MB"), "{first}");
    assert!(first.contains(",Interval=5s"), "{first}");
    assert!(!log.contains("Driver="), "a CPU has no driver: {log}");
}

#[test]
fn of_a_cpu_the_figures_are_called_system_ram() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::video("video/flow", 0.4, 4096, 1));
    let words = ["-SampleIntervalSeconds", "0.05", "flow.json"];
    let ran = folder.run_on(&server.url(), &words).exits(0);
    ran.says("Peak while generating: system RAM 5325 MB of 24106 (22 %), 18781 MB to spare, ")
        .says("The run itself took 4096 MB of system RAM\n");
}

#[test]
fn missed_ticks_are_lines_and_are_counted_by_reason() {
    let server = StandIn::with(Config::cuda());
    let folder = Folder::new();
    folder.workflow("flow.json", &graphs::video("video/flow", 1.2, 64, 1));
    let words = ["-SampleIntervalSeconds", "0.05", "-VramSource", "comfyui", "flow.json"];
    let running = folder.start_on(&server.url(), &words);
    assert!(server.wait_until_running(SOON));
    server.fail_next(STATS, 2, Fault::Status(500, "busy"));
    server.fail_next(STATS, 1, Fault::Reset);
    server.fail_next(STATS, 3, Fault::Body("{\"devices\": ".into()));
    server.fail_next(STATS, 1, Fault::Body("{\"system\": {}, \"devices\": []}".into()));
    let ran = running.wait().exits(0);
    let log = folder.read("vram-usage.log");
    let reasons = [("reset", 1), ("status", 2), ("badJson", 3), ("noDevice", 1)];
    for (reason, times) in reasons {
        assert_eq!(log.matches(&format!(",Missed={reason}")).count(), times, "{reason}\n{log}");
    }
    let sampling = seen::line(&ran.stdout, "Sampling: ");
    assert!(sampling.contains("(reset 1, status 2, badJson 3, noDevice 1"), "{sampling}");
    let missed = &folder.metadata()["Vram"]["Missed"];
    for (reason, times) in reasons {
        assert_eq!(missed[reason], times, "{missed}");
    }
}

#[test]
fn without_any_sample_the_reason_stands_in_place_of_figures() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 1));
    server.fail_next(STATS, 1, Fault::Delay(Duration::ZERO));
    server.fail_next(STATS, usize::MAX, Fault::Status(500, "busy"));
    let words = ["-VramSource", "comfyui", "flow.json"];
    let ran = folder.run_on(&server.url(), &words).exits(0);
    let missed = folder.read("vram-usage.log").matches("Missed=status").count();
    let ran = ran
        .says(&format!("No VRAM sample was taken: status {missed}\n"))
        .says("GPU free: queue empty\n");
    assert!(!ran.stdout.contains("Peak"), "{ran}");
    assert!(folder.metadata()["Vram"]["PeakMB"].is_null());
}

#[test]
fn a_device_that_is_not_there_is_told_and_the_run_goes_on() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 1));
    let ran = folder.run_on(&server.url(), &["-Gpu", "3", "flow.json"]).exits(0);
    ran.says("no device 3 (it lists 1): no VRAM is recorded")
        .says("No VRAM sample was taken: noDevice ");
}
