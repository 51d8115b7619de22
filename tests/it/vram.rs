//! The log of the memory, and that every figure told is the log's.

use crate::stand_in::{Config, Device, Fault, StandIn, graphs};
use crate::support::{Folder, SOON, line, run_sampled};

const STATS: &str = "GET /system_stats";

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

/// The log in its format: a reading or the reason why there is none, as the old readers look for it.
#[track_caller]
fn has_one_line_a_tick(log: &str) {
    let lines: Vec<&str> = log.lines().collect();
    let first = ",Used=2140MB,Free=22436MB,Total=24576MB,Driver=2240MB,Torch=0MB,Ram=24302MB,\
                 Interval=0.05s,Reading=0.05s,DynamicVram=off";
    assert_eq!((&lines[0][12..], log.matches("Interval=").count()), (first, 1), "{log}");
    for line in &lines {
        let time = line[..12].replace(|c: char| c.is_ascii_digit(), "0");
        let reading = ["Used", "Free", "Total"].map(|name| figures(line, name).len()) == [1; 3];
        let reading = reading && line[12..].starts_with(",Used=");
        let is_good = reading || line[12..].starts_with(",Missed=");
        assert!(is_good && time == "00:00:00.000", "{line}");
    }
    let scenes: Vec<bool> = lines.iter().map(|line| line.contains(",Scene=flow")).collect();
    assert!(!scenes[0] && !scenes[scenes.len() - 1] && log.ends_with('\n'), "{log}");
    assert!(scenes.windows(2).filter(|pair| pair[0] != pair[1]).count() == 2, "{log}");
    let peak = ",Used=19210MB,Free=5366MB,Total=24576MB,Driver=19310MB,Torch=17000MB,Ram=24302MB,\
                Scene=flow";
    assert!(log.contains(peak), "{log}");
}

#[test]
fn reported_figures_are_those_of_the_log() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let mut graph = graphs::video("video/flow", 600.0, 17_000, 1);
    graph["2"]["inputs"]["after"] = 0.5.into();
    folder.workflow("flow.json", &graph);
    let words = ["-SampleIntervalSeconds", "0.05", "-Poll", "0.2", "flow.json"];
    let running = folder.start_on(&server.url(), &words);
    folder.wait_for_lines(",Torch=17000MB", 3);
    server.set_used_mb(2_210);
    folder.wait_for_lines(",Used=19210MB", 3);
    server.set_used_mb(2_140);
    server.finish_running();
    let ran = running.wait().exits(0);
    // The knock and the first sample come before anything is posted.
    let requests = server.requests();
    let post = requests.iter().position(|request| request.is("POST /prompt")).unwrap();
    assert!(requests[..post].iter().filter(|request| request.is(STATS)).count() >= 2);
    // No live line in a pipe.
    assert!(!ran.stdout.contains(|c: char| c.is_control() && c != '\n'), "{:?}", ran.stdout);
    assert_eq!(ran.stderr, "");
    let log = folder.read("vram-usage.log");
    has_one_line_a_tick(&log);
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
        format!("Peak at: {peak} in flow, node 2 HoldMemory"),
        "Peak while generating: 19210 MB; driver 19310 MB of 24576 MB (79 %); torch 17000 MB".into(),
        "Added by the run: 17070 MB (driver 19310 less 2240 at the start)".to_owned(),
        format!(
            "Scene flow: peak 19210 MB, average {} MB, floor {} MB ({} samples); driver peak 19310 MB; \
             torch peak 17000 MB; added 17070 MB",
            average(&scene),
            scene.iter().min().unwrap(),
            scene.len()
        ),
    ]) {
        assert_eq!(*line, wanted);
    }
    assert!(lines[3].starts_with("Median VRAM: "), "{block}");
    let (ticks, missed) = (log.lines().count(), log.matches("Missed=").count());
    // Behind the lines of the nodes that a reading fell into.
    let end = lines.iter().position(|line| line.starts_with("Sampling: ")).unwrap();
    let sampling = lines[end];
    assert!(sampling.starts_with("Sampling: read every 0.05 s, longest gap "), "{block}");
    assert!(sampling.contains(&format!(" s, {missed} of {ticks} lines missed")), "{block}");
    assert!(sampling.ends_with(" s may be missed"), "{block}");
    let last = lines[end + 1];
    assert!(last.starts_with("VRAM log: ") && last.ends_with("vram-usage.log"));

    // The closing block.
    let scene = line(&ran.stdout, "✓ flow  ");
    assert!(scene.contains("  19310 MB  +17070  video/flow/flow.mp4  "), "{scene}");
    let has_more = missed > 0 || !sampling.contains(" longest gap at most ");
    assert_eq!(ran.stdout.contains("] Sampling   read every 0.05 s, "), has_more, "{ran}");
    ran.says(&format!("VRAM peak  19310 of 24576 MB (79 %), 5266 to spare, {peak} in flow"))
        .says("Needs      17070 MB of its own: a 20 GB card, not a 16 GB one\n")
        .says("GPU idle, queue empty, 2240 MB in use as before\n")
        .says("Initial VRAM: Used=2140MB Free=22436MB Total=24576MB\n");
    let metadata = folder.metadata();
    let vram = &metadata["Vram"];
    assert_eq!((&vram["PeakDriverMB"], &vram["AddedMB"]), (&19_310.into(), &17_070.into()));
    assert_eq!(metadata["Scenes"][0]["Vram"]["PeakDriverMB"], 19_310);
}

/// Two scenes within one tick, each with a plateau of 0.3 s, on the first of eight cards.
#[test]
fn short_plateaus_are_seen_with_every_option_at_its_default() {
    let mut config = Config::cuda();
    config.devices.extend((1..8).map(|n| Device::cuda(n, "NVIDIA A2", 16_384, 900, 50)));
    let (server, folder) = (StandIn::with(config), Folder::new());
    for (name, mb) in [("one", 5000), ("two", 9000)] {
        let mut graph = graphs::nodes(&format!("video/{name}"), &[(0, 0.4), (mb, 0.3), (0, 0.3)]);
        graph["1"]["inputs"]["color"] = mb.into();
        folder.workflow(&format!("{name}.json"), &graph);
    }
    let ran = folder.run_on(&server.url(), &["one.json", "two.json"]).exits(0);
    let log = folder.read("vram-usage.log");
    let first = ",Torch=0MB,Ram=24302MB,Interval=5s,Reading=0.25s,DynamicVram=off";
    assert!(log.lines().next().unwrap().ends_with(first), "{log}");
    let (scenes, vram) = (&folder.metadata()["Scenes"], &folder.metadata()["Vram"]);
    for (place, scene, used, added) in [(0, "one", 7140, 5000), (1, "two", 11_140, 9000)] {
        let plateau = format!(",Used={used}MB,");
        let lines: Vec<_> = log.lines().filter(|line| line.contains(&plateau)).collect();
        let is_of_scene = |line: &&str| line.contains(&format!(",Scene={scene}"));
        assert!(!lines.is_empty() && lines.iter().all(is_of_scene), "{scene}\n{log}");
        let said = line(&ran.stdout, &format!("Scene {scene}: peak {used} MB"));
        assert!(said.contains(&format!("; added {added} MB")), "{said}");
        let figures = &scenes[place]["Vram"];
        assert_eq!((&figures["PeakMB"], &figures["AddedMB"]), (&used.into(), &added.into()));
    }
    assert_eq!((&vram["PeakMB"], &vram["PeakScene"]), (&11_140.into(), &"two".into()));
    ran.says("Peak VRAM: 11140 MB (from ")
        .says("  11240 MB  +9000  video/two/two.mp4  ")
        .says("VRAM peak  11240 of 24576 MB (46 %), 13336 to spare, ");
    for gpu in 1..8 {
        let other = folder.read(&format!("vram-usage.gpu{gpu}.log"));
        assert!(other.lines().all(|line| line.contains(",Used=900MB,")), "{other}");
        let has = [",Interval=5s,Reading=0.25s", ",Scene=one", ",Scene=two"];
        assert!(has.iter().all(|part| other.contains(part)), "{other}");
    }
}

#[test]
fn a_cpu_has_system_ram_and_no_driver_figure() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::video("video/flow", 600.0, 4096, 1));
    let words = ["-SampleIntervalSeconds", "1", "-Poll", "0.2", "flow.json"];
    run_sampled(&server, &folder, &words, &["flow"])
        .exits(0)
        .says("RAM peak   5325 of 24106 MB (22 %), 18781 to spare, ")
        .says("Needs      at least 4096 MB of RAM of its own\n")
        .never_says("VRAM peak");
    let log = folder.read("vram-usage.log");
    // From a second on the times are the script's, without a fraction.
    let first = log.lines().next().unwrap();
    assert!(first[8..].starts_with(",Used=1229MB,Free=22877MB,Total=24106MB"), "{first}");
    assert!(first.contains(",Interval=1s,Reading=0.25s") && !log.contains("Driver="), "{log}");
}

/// The main thread takes events while its calls wait.
#[test]
fn readings_reach_the_log_while_a_post_waits_for_its_answer() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.workflow("flow.json", &graphs::video("video/flow", 0.1, 64, 1));
    server.fail_next("POST /prompt", 1, Fault::Hang);
    let words = ["-SampleIntervalSeconds", "0.1", "flow.json"];
    let running = folder.start_on(&server.url(), &words);
    assert!(server.wait_until_faults_are_met(SOON));
    folder.wait_for_lines("Used=", 20);
    server.clear_faults(); // lets go of it, unanswered
    running.wait().exits(0);
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
    // The first of them is met on a connection that was kept, and asked for anew.
    server.fail_next(STATS, 2, Fault::Reset);
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
