//! The log of the memory, and that every figure told is the log's.

use crate::stand_in::{Config, Fault, StandIn, graphs};
use crate::support::{Folder, Ran, SOON, line, run_sampled, wait_until};

const STATS: &str = "GET /system_stats";

/// A run on a card of 24 GB whose scene, once it is seen running, takes 17070 MB of it.
fn generate(interval: &str) -> (StandIn, Folder, Ran) {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.workflow("flow.json", &graphs::video("video/flow", 600.0, 17_000, 1));
    let words = ["-SampleIntervalSeconds", interval, "-Poll", "0.2", "flow.json"];
    let running = folder.start_on(&server.url(), &words);
    let log = || folder.runs().pop().map(|run| std::fs::read_to_string(run.join("vram-usage.log")));
    let has =
        |text: &str| log().is_some_and(|log| log.is_ok_and(|log| log.matches(text).count() > 2));
    wait_until("readings of the scene", || has(",Scene=flow"));
    server.set_used_mb(2_210);
    wait_until("readings of the peak", || has(",Used=19210MB"));
    server.set_used_mb(2_140);
    server.finish_running();
    let ran = running.wait().exits(0);
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
fn reported_figures_are_those_of_the_log() {
    let (_server, folder, ran) = generate("0.05");
    // No live line in a pipe.
    assert!(!ran.stdout.contains(|c: char| c.is_control() && c != '\n'), "{:?}", ran.stdout);
    assert_eq!(ran.stderr, "");
    let log = folder.read("vram-usage.log");
    let used = figures(&log, "Used");
    let block = ran.stdout.split_once("] === VRAM Usage Statistics ===\n").expect("a block").1;
    let lines: Vec<&str> = block.lines().map(|line| &line["[00:00:00] ".len()..]).collect();
    let (least, most) = (used.iter().min().unwrap(), used.iter().max().unwrap());
    assert_eq!((*least, *most), (2140, 19_210));
    let peak = log.lines().find(|line| line.contains("Used=19210MB")).unwrap();
    let peak = peak.split(',').next().unwrap();
    let of_scene: Vec<&str> = log.lines().filter(|line| line.contains(",Scene=flow")).collect();
    let scene = figures(&of_scene.join("\n"), "Used");
    for (line, wanted) in lines.iter().zip([
        format!("Peak VRAM: {most} MB (from {} samples)", used.len()),
        format!("Average VRAM: {} MB", average(&used)),
        format!("Minimum VRAM: {least} MB"),
        lines[3].to_owned(),
        format!("Peak at: {peak} in flow"),
        "Peak while generating: 19210 MB; driver 19310 MB of 24576 MB (79 %)".to_owned(),
        "The run itself took: 17070 MB (driver 19310 less 2240 at the start)".to_owned(),
        format!(
            "Scene flow: peak 19210 MB, average {} MB, floor {} MB ({} samples); driver peak 19310 MB",
            average(&scene),
            scene.iter().min().unwrap(),
            scene.len()
        ),
    ]) {
        assert_eq!(*line, wanted);
    }
    assert!(lines[3].starts_with("Median VRAM: "), "{block}");
    let (ticks, missed) = (log.lines().count(), log.matches("Missed=").count());
    assert!(lines[8].starts_with("Sampling: every 0.05 s asked, "), "{block}");
    assert!(lines[8].contains(&format!("; {missed} of {ticks} ticks missed")), "{block}");
    assert!(lines[9].starts_with("VRAM log: ") && lines[9].ends_with("vram-usage.log"));

    // The closing block.
    let scene = line(&ran.stdout, "✓ flow  ");
    assert!(scene.contains(" s  peak 19310 MB driver  video/flow/flow.mp4 ("), "{scene}");
    ran.says(&format!(
        "Peak while generating: driver 19310 MB of 24576 (79 %), 5266 MB to spare, {peak} in flow\n"
    ))
    .says("The run itself took 17070 MB: more than a 16 GB card has, less than a 20 GB one\n")
    .says("GPU free: queue empty, 2240 MB in use (2240 before the run)\n")
    .says("Trust: every 0.05 s, longest gap ")
    .says("Initial VRAM: Used=2140MB Free=22436MB Total=24576MB\n");
    let metadata = folder.metadata();
    let vram = &metadata["Vram"];
    assert_eq!((&vram["PeakDriverMB"], &vram["RunTookMB"]), (&19_310.into(), &17_070.into()));
    assert_eq!(metadata["Scenes"][0]["Vram"]["PeakDriverMB"], 19_310);
}

#[test]
fn the_log_has_one_line_a_tick_in_its_format() {
    let (server, folder, _ran) = generate("0.1");
    let log = folder.read("vram-usage.log");
    assert!(log.ends_with('\n'), "{log}");
    let lines: Vec<&str> = log.lines().collect();
    let time = |line: &str| line[..12].replace(|c: char| c.is_ascii_digit(), "0");
    assert!(lines.iter().all(|line| time(line) == "00:00:00.000"), "{log}");
    let first = ",Used=2140MB,Free=22436MB,Total=24576MB,Driver=2240MB,Ram=24302MB,Interval=0.1s";
    assert!(lines[0][12..].starts_with(first), "{log}");
    assert_eq!(log.matches("Interval=").count(), 1, "{log}");
    // The plain old checks: a reading or the reason why there is none.
    for line in &lines {
        let reading = ["Used", "Free", "Total"].map(|name| figures(line, name).len()) == [1; 3];
        let fields = &line[12..];
        assert!(
            reading && fields.starts_with(",Used=") || fields.starts_with(",Missed="),
            "{line}"
        );
    }
    let scenes: Vec<bool> = lines.iter().map(|line| line.contains(",Scene=flow")).collect();
    assert!(!scenes[0] && !scenes[scenes.len() - 1], "{log}");
    assert!(scenes.windows(2).filter(|pair| pair[0] != pair[1]).count() == 2, "{log}");
    let peak = ",Used=19210MB,Free=5366MB,Total=24576MB,Driver=19310MB,Ram=24302MB,Scene=flow";
    assert!(log.contains(peak), "{log}");
    // The knock and the first sample come before anything is posted.
    let requests = server.requests();
    let post = requests.iter().position(|request| request.is("POST /prompt")).unwrap();
    assert!(requests[..post].iter().filter(|request| request.is(STATS)).count() >= 2);
}

#[test]
fn a_cpu_has_system_ram_and_no_driver_figure() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::video("video/flow", 600.0, 4096, 1));
    let words = ["-SampleIntervalSeconds", "1", "-Poll", "0.2", "flow.json"];
    run_sampled(&server, &folder, &words, &["flow"])
        .exits(0)
        .says("Peak while generating: system RAM 5325 MB of 24106 (22 %), 18781 MB to spare, ")
        .says("The run itself took 4096 MB of system RAM\n");
    let log = folder.read("vram-usage.log");
    // From a second on the times are the script's, without a fraction.
    let first = log.lines().next().unwrap();
    assert!(first[8..].starts_with(",Used=1229MB,Free=22877MB,Total=24106MB"), "{first}");
    assert!(first.contains(",Interval=1s") && !log.contains("Driver="), "{log}");
}

#[test]
fn missed_ticks_are_lines_and_are_counted_by_reason() {
    let server = StandIn::with(Config::cuda());
    let folder = Folder::new();
    folder.workflow("flow.json", &graphs::video("video/flow", 600.0, 64, 1));
    let words = ["-SampleIntervalSeconds", "0.05", "-VramSource", "comfyui", "flow.json"];
    let running = folder.start_on(&server.url(), &words);
    assert!(server.wait_until_running(SOON));
    server.fail_next(STATS, 2, Fault::Status(500, "busy"));
    server.fail_next(STATS, 1, Fault::Reset);
    server.fail_next(STATS, 3, Fault::Body("{\"devices\": ".into()));
    server.fail_next(STATS, 1, Fault::Body("{\"system\": {}, \"devices\": []}".into()));
    assert!(server.wait_until_faults_are_met(SOON));
    server.finish_running();
    let ran = running.wait().exits(0);
    let log = folder.read("vram-usage.log");
    let reasons = [("reset", 1), ("status", 2), ("badJson", 3), ("noDevice", 1)];
    for (reason, times) in reasons {
        assert_eq!(log.matches(&format!(",Missed={reason}")).count(), times, "{reason}\n{log}");
    }
    let sampling = line(&ran.stdout, "Sampling: ");
    assert!(sampling.contains("(reset 1, status 2, badJson 3, noDevice 1"), "{sampling}");
    let missed = &folder.metadata()["Vram"]["Missed"];
    for (reason, times) in reasons {
        assert_eq!(missed[reason], times, "{missed}");
    }
}
