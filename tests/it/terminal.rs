//! What a terminal is shown beside the plain lines, on one of our own: colours and the curve. Pipes
//! and files get neither.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use nix::pty::{OpenptyResult, Winsize, openpty};

use crate::signals;
use crate::stand_in::{Config, StandIn, graphs};
use crate::summary_verb::LOG;
use crate::support::{Folder, Ran, SOON, files, finish_sampled};

const ESCAPE: char = '\u{1b}';
const GREEN: &str = "\u{1b}[32m";
const RED: &str = "\u{1b}[31m";
const YELLOW: &str = "\u{1b}[33m";
const PLAIN: &str = "\u{1b}[0m";
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Runs the program with both outputs on a terminal so wide, `TERM` and the rest of the environment
/// being these. Returns what the terminal got, and the end.
fn on_terminal(
    folder: &Folder,
    columns: u16,
    environment: &[(&str, &str)],
    words: &[&str],
) -> (String, Ran) {
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let OpenptyResult { master, slave } = openpty(&size, None).unwrap();
    let reader = thread::spawn(move || {
        let (mut master, mut got) = (File::from(master), Vec::new());
        // Once nobody has the other end any more, reading fails.
        let _ = master.read_to_end(&mut got);
        String::from_utf8(got).unwrap().replace("\r\n", "\n")
    });
    let running = folder.start_with(words, |command| {
        command.stdout(slave.try_clone().unwrap()).stderr(Stdio::from(slave));
        for name in ["NO_COLOR", "TERM", "WT_SESSION"] {
            command.env_remove(name);
        }
        command.envs(environment.iter().copied());
    });
    let ran = running.wait();
    (reader.join().unwrap(), ran)
}

const XTERM: (&str, &str) = ("TERM", "xterm-256color");

#[test]
fn a_run_has_colours_and_its_curve_on_a_terminal_only() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.workflow("good.json", &graphs::video("video/good", 600.0, 4000, 1));
    folder.workflow("bad.json", &graphs::failing("it broke"));
    let url = server.url();
    let words = ["--comfyui-url", &url, "-SampleIntervalSeconds", "0.1", "good.json", "bad.json"];
    let words = [&words[..], &["-SceneRetryBudget", "0", "-MaxPeakMB", "1"]].concat();
    let (shown, ran) = thread::scope(|scope| {
        scope.spawn(|| finish_sampled(&server, &folder, &[], &["good"]));
        on_terminal(&folder, 100, &[XTERM], &words)
    });
    ran.exits(1);
    for part in [
        format!("] {RED}FAILED: 1 of 2 scenes, exit 1 (failed){PLAIN}      "),
        format!("] {GREEN}✓{PLAIN} good  "),
        format!("] {RED}✗{PLAIN} bad  failed: "),
        format!("] {YELLOW}⚠{PLAIN} "),
        format!("  6240              1 {RED} FAILED{PLAIN}\n"),
        format!("] Gates: MaxPeakMB 1{RED} FAILED{PLAIN} ("),
        "\nVRAM ▁ 2240 █ 6240 MB driver, ".to_owned(),
    ] {
        assert!(shown.contains(&part), "{part:?}\n{shown}");
    }
    let curve = shown.lines().last().unwrap();
    assert!(curve.contains('▁') && curve.contains('█') && curve.chars().count() <= 60, "{shown}");
    // The files have the lines as they are.
    for file in files(&folder.newest()) {
        let bytes = std::fs::read(folder.newest().join(&file)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(file.starts_with("video/") || !text.contains(ESCAPE), "{file}");
        assert!(!text.contains(BLOCKS), "{file}");
    }
    let summary = folder.read("run-summary.txt");
    let stripped = [GREEN, RED, YELLOW, PLAIN]
        .iter()
        .fold(shown.clone(), |text, escape| text.replace(escape, ""));
    for line in summary.lines() {
        assert!(stripped.contains(line), "{line:?}\n{stripped}");
    }
    // Nor has a pipe.
    let ran = folder.run(&["summary"]).exits(0);
    assert!(!ran.stdout.contains(ESCAPE) && !ran.stdout.contains(BLOCKS), "{ran}");
    // On a terminal the verb shows the curve again, below the verdict.
    let (again, _) = on_terminal(&folder, 100, &[XTERM], &["summary"]);
    let place = |text: &str| again.find(text).unwrap_or_else(|| panic!("{text}\n{again}"));
    assert!(again.starts_with(RED) && place(curve) < place("=== VRAM Usage Statistics ==="));
}

#[test]
fn the_curve_fits_the_terminal() {
    let folder = Folder::new();
    folder.write("short.log", LOG.replace("=19100MB", "=10100MB"));
    for (columns, scale, curve) in [
        (200, "VRAM ▁ 2240 █ 19102 MB driver, 12:01:00 to 12:01:20", "▁█ ▄▁"),
        (20, "▁ 2240 █ 19102 MB", "▁█ ▄▁"),
        (3, "▁ 2240 █ 19102 MB", "█ ▄"),
        // No size is known of it.
        (0, "VRAM ▁ 2240 █ 19102 MB driver, 12:01:00 to 12:01:20", "▁█ ▄▁"),
    ] {
        let (shown, ran) = on_terminal(&folder, columns, &[XTERM], &["summary", "short.log"]);
        ran.exits(0);
        let mut lines = shown.lines();
        assert_eq!((lines.next(), lines.next()), (Some(scale), Some(curve)), "{columns}\n{shown}");
        assert_eq!(lines.next(), Some("=== VRAM Usage Statistics ==="));
    }
}

#[test]
fn colours_follow_the_environment_and_the_options() {
    let folder = Folder::new();
    folder.write("old.log", LOG);
    let words = ["summary", "old.log", "--max-peak-mb", "20000"];
    let off = [&words[..], &["--no-color"]].concat();
    let on = [&words[..], &["-NoColor:$false"]].concat();
    for (environment, words, colours, curve) in [
        (&[XTERM][..], &words[..], true, true),
        (&[XTERM, ("NO_COLOR", "1")], &words, false, true),
        (&[XTERM, ("NO_COLOR", "")], &words, true, true),
        (&[XTERM, ("NO_COLOR", "1")], &on, true, true),
        (&[XTERM], &off, false, true),
        (&[("TERM", "dumb")], &words, false, false),
        (&[("TERM", "linux")], &words, true, false),
        (&[], &words, false, false),
        (&[("WT_SESSION", "x")], &words, true, true),
    ] {
        let (shown, ran) = on_terminal(&folder, 80, environment, words);
        ran.exits(0);
        let has = (shown.contains(GREEN), shown.contains('█'));
        assert_eq!(has, (colours, curve), "{environment:?} {words:?}\n{shown}");
    }
}

#[test]
fn a_dumb_terminal_gets_no_live_line_and_json_no_colours() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::video("video/flow", 0.7, 64, 1));
    let url = server.url();
    let words = ["--comfyui-url", &url, "-SampleIntervalSeconds", "0.1", "flow.json"];
    let (shown, ran) = on_terminal(&folder, 80, &[("TERM", "dumb")], &words);
    ran.exits(0);
    assert!(!shown.contains([ESCAPE, '\r']), "{shown:?}");
    let (shown, ran) = on_terminal(&folder, 80, &[XTERM], &["summary", "--json"]);
    ran.exits(0);
    assert_eq!(shown, folder.run(&["summary", "--json"]).exits(0).stdout);
}

#[test]
fn monitor_and_a_dry_run_use_colours_too() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.workflow("flow.json", &graphs::invalid());
    let url = server.url();
    let words = ["monitor", "--comfyui-url", &url, "--duration", "0.5", "--max-peak-mb", "5"];
    let (shown, ran) = on_terminal(&folder, 80, &[XTERM], &words);
    ran.exits(7);
    assert!(shown.contains(&format!(" 2240              5 {RED} FAILED{PLAIN}\n")), "{shown}");
    assert!(shown.contains("\nVRAM ▁ 2240 █ 2240 MB driver, "), "{shown}");
    let words = ["--comfyui-url", &url, "--dry-run", "flow.json"];
    let (shown, ran) = on_terminal(&folder, 80, &[XTERM], &words);
    ran.exits(1);
    assert!(shown.contains(&format!("\n{RED}✗{PLAIN} flow  node 4 ")), "{shown}");
}

/// A full pipe on both outputs, like a terminal that was stopped with Ctrl-S.
#[cfg(target_os = "linux")]
#[test]
fn an_output_that_nobody_reads_holds_nothing_up() {
    for (words, signal, code) in [
        (&["-MaxWaitSeconds", "2", "-SceneRetryBudget", "0"][..], None, 4),
        (&["--json"], Some("-TERM"), 130),
        (&[], Some("-TERM"), 130),
    ] {
        let (server, folder) = (StandIn::start(), Folder::new());
        folder.workflow("flow.json", &graphs::video("video/flow", 600.0, 64, 1));
        let (_reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(&vec![b'x'; 1 << 16]).unwrap();
        let url = server.url();
        let words = [&["--comfyui-url", &url, "-Sample", "0.2", "flow.json"], words].concat();
        let begun = Instant::now();
        let running = folder.start_with(&words, |command| {
            command.stderr(writer.try_clone().unwrap());
            if !words.contains(&"--json") {
                command.stdout(writer);
            }
        });
        assert!(server.wait_until_running(SOON));
        signal.inspect(|name| signals::signal(&running, name));
        let ran = running.wait().exits(code);
        assert_eq!(ran.stdout.starts_with("{\n"), words.contains(&"--json"), "{ran}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        assert!(server.queue_is_empty());
        let summary = folder.read("run-summary.txt");
        let told = "] WARNING: the terminal or its pipe did not take ";
        assert!(summary.contains("=== RUN COMPLETE ===") && summary.contains(told), "{summary}");
        let readings = folder.read("vram-usage.log").matches(",Used=").count();
        assert!(signal.is_some() || readings >= 5, "{readings}");
    }
}
