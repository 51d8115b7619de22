//! The verb `monitor`: what it samples, and what it says of it.

use std::fs;
use std::time::{Duration, Instant};

use crate::seen;
use crate::signals::{self, ctrl_c};
use crate::stand_in::{Config, Fault, StandIn};
use crate::support::{Folder, Ran, Running};

const LONG: Duration = Duration::from_secs(30);
const STATS: &str = "GET /system_stats";
const BLOCK: &str = "=== VRAM Usage Statistics ===";
/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

/// Starts it with these words before the others.
fn start(folder: &Folder, url: &str, words: &[&str]) -> Running {
    let first = ["monitor", "--comfyui-url", url, "--sample-interval-seconds", "0.05"];
    folder.start_with(&[&first, words].concat(), signals::alone)
}

fn monitor(folder: &Folder, url: &str, words: &[&str]) -> Ran {
    start(folder, url, words).wait()
}

/// A command that ends with this code.
fn exit(code: &str) -> Vec<&str> {
    if cfg!(windows) {
        vec!["--", "cmd", "/C", "exit", code]
    } else {
        vec!["--", "sh", "-c", "exit $0", code]
    }
}

/// A command that runs as long as there is a file `go-on`.
fn as_long_as_told() -> [&'static str; 4] {
    if cfg!(windows) {
        ["--", "cmd", "/C", "for /L %i in (0,0,1) do @if not exist go-on exit 0"]
    } else {
        ["--", "sh", "-c", "while [ -e go-on ]; do sleep 0.02; done"]
    }
}

/// Sets the memory in use, and waits until a reading of it was answered.
fn plateau(server: &StandIn, mb: u64) {
    server.set_used_mb(mb);
    let asked = server.requests().iter().filter(|request| request.is(STATS)).count();
    // The one after it is asked when the first is answered.
    assert!(server.wait_until_request(STATS, asked + 2, LONG));
}

#[test]
fn a_planted_curve_is_told_to_the_megabyte() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    server.set_used_mb(1_000);
    // The command ends when the test says so.
    let go_on = folder.write("go-on", "");
    let words = [&["--log", "vram.log"], &as_long_as_told()[..]].concat();
    let running = start(&folder, &server.url(), &words);
    // The server is asked who it is before it is sampled: one answer more at the start.
    for mb in [1_000, 1_000, 7_777, 3_000, 12_345, 2_000] {
        plateau(&server, mb);
    }
    fs::remove_file(go_on).unwrap();
    let ran = running.wait().exits(0);
    assert_eq!(ran.stdout, "", "{ran}");
    let ran = ran
        .complains(BLOCK)
        .complains("Peak VRAM: 12345 MB (from ")
        .complains("Minimum VRAM: 1000 MB\n")
        .complains("The run itself took: 11345 MB (driver ")
        .complains("Sampling: every 0.05 s asked, ")
        .complains("vram.log\n");
    // The block is a function of the log that was kept.
    let again = folder.run(&["summary", "vram.log"]).exits(0);
    // A loaded machine is late now and then, and a warning of that stands before it.
    let block = ran.stderr.find(BLOCK).expect("a block");
    assert_eq!(ran.stderr[block..], again.stdout);
}

#[test]
fn a_duration_ends_with_0_and_the_block() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let ran = monitor(&folder, &server.url(), &["--duration", "0.3"]).exits(0);
    let ran = ran.complains(BLOCK).complains("Peak VRAM: 2140 MB (from ");
    assert!(!ran.stderr.contains("VRAM log:"), "{ran}");
    assert_eq!(ran.stdout, "", "{ran}");
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 2, "only what the test itself keeps: {:?}", seen::files(folder.path()));
}

#[test]
fn the_command_s_code_is_handed_on() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let codes: &[i32] =
        if cfg!(windows) { &[0, 3, 256, -1_073_741_510] } else { &[0, 3, 130, 255] };
    for &code in codes {
        let code_text = code.to_string();
        let words = exit(&code_text);
        monitor(&folder, &server.url(), &words).exits(code).complains(BLOCK);
    }
}

#[test]
fn a_command_that_cannot_be_started_has_a_shell_s_code_and_one_line() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let ran = monitor(&folder, &server.url(), &["--", "no-such-program-here", "x"]).exits(127);
    assert!(ran.stderr.starts_with("run-comfyui-e2e: no-such-program-here: "), "{ran}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
    folder.write("notes.txt", "no program");
    let path = folder.path().join("notes.txt");
    let ran = monitor(&folder, &server.url(), &["--", path.to_str().unwrap()]).exits(126);
    assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
}

#[test]
fn quiet_says_nothing_unless_the_command_fails() {
    let folder = Folder::new();
    let quiet = |words: &[&str]| monitor(&folder, NOWHERE, &[&["--quiet"], words].concat());
    assert_eq!(quiet(&exit("0")).exits(0).stderr, "");
    quiet(&exit("3")).exits(3).complains("No VRAM sample was taken: refused ");
    assert_eq!(quiet(&["--duration", "0.1"]).exits(0).stderr, "");
}

#[test]
fn without_a_source_the_command_runs_and_that_is_said_once() {
    let folder = Folder::new();
    let ran = monitor(&folder, NOWHERE, &[&["--log", "l.log"], &exit("3")[..]].concat()).exits(3);
    let said = "run-comfyui-e2e: no ComfyUI at http://127.0.0.1:1 (refused): nothing is sampled";
    assert_eq!(ran.stderr.matches(said).count(), 1, "{ran}");
    let ran = ran.complains("No VRAM sample was taken: refused ");
    let log = fs::read_to_string(folder.path().join("l.log")).unwrap();
    let missed = |line: &str| line.contains(",Missed=refused") || line.contains(",Missed=late");
    assert!(log.lines().all(missed) && log.contains(",Missed=refused"), "{log}\n{ran}");
}

#[test]
fn a_server_that_the_command_starts_is_sampled_from_then_on() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    server.stop_listening();
    let go_on = folder.write("go-on", "");
    let running = start(&folder, &server.url(), &as_long_as_told());
    let limit = Instant::now() + LONG;
    while !running.printed()[1].contains("nothing is sampled unless it answers later") {
        assert!(Instant::now() < limit, "that nobody answers is not said");
        std::thread::yield_now();
    }
    server.listen_again();
    assert!(server.wait_until_request(STATS, 2, LONG));
    fs::remove_file(go_on).unwrap();
    running.wait().exits(0).complains("Peak VRAM: 2140 MB (from ").complains(" ticks missed (re");
}

#[test]
fn a_command_shorter_than_the_interval_has_a_reading_before_and_one_after() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let url = server.url();
    let words = ["monitor", "--comfyui-url", &url, "--sample-interval-seconds", "3600"];
    let ran = folder.run(&[&words, &exit("0")[..]].concat()).exits(0);
    ran.complains("Peak VRAM: 2140 MB (from 2 samples)").complains("; longest gap ");
}

#[test]
fn a_device_that_is_not_there_is_said() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let ran = monitor(&folder, &server.url(), &["-Gpu", "3", "-Duration", "0.1"]).exits(0);
    ran.complains("tells no memory of a device 3: nothing is sampled\n");
}

#[test]
fn a_log_that_exists_is_refused_or_continued() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let old = "12:00:00,Used=99999MB,Interval=5s\n";
    let log = folder.write("old.log", old);
    let mark = if cfg!(windows) { "echo > ran" } else { ": > ran" };
    let command = if cfg!(windows) { ["cmd", "/C", mark] } else { ["sh", "-c", mark] };
    let words = [&["--log", "old.log", "--"][..], &command[..]].concat();
    let ran = monitor(&folder, &server.url(), &words).exits(2);
    assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
    ran.complains("run-comfyui-e2e: --log ").complains("it exists; --append continues it\n");
    assert!(!folder.path().join("ran").exists(), "the command was run");
    assert_eq!(fs::read_to_string(&log).unwrap(), old);
    assert!(server.requests().is_empty());

    let ran = monitor(&folder, &server.url(), &[&["--append"], &words[..]].concat()).exits(0);
    // What was there before is not this command's.
    ran.complains("Peak VRAM: 2140 MB (from ");
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.starts_with(old) && text.lines().count() > 1, "{text}");
    assert_eq!(text.matches("Interval=").count(), 2, "{text}");

    let ran = monitor(&folder, &server.url(), &["--log", "gone/l.log", "--duration", "9"]).exits(2);
    assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
    monitor(&folder, &server.url(), &["--log", "n.log", "--append", "--duration", "0.1"]).exits(0);
    assert!(folder.path().join("n.log").is_file());
}

#[test]
fn failing_readings_are_counted_beside_a_command() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    // Who it is, and the first sample.
    server.fail_next(STATS, 2, Fault::Status(500, "busy"));
    let ran = monitor(&folder, &server.url(), &["--duration", "0.3"]).exits(0);
    ran.complains("(status): nothing is sampled unless it answers later\n")
        .complains(" ticks missed (status 1");
}

#[test]
fn a_gate_counts_where_the_command_itself_was_well() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let exit = |code: &str| {
        if cfg!(windows) {
            vec!["--".to_owned(), "cmd".into(), "/C".into(), format!("exit {code}")]
        } else {
            vec!["--".to_owned(), "sh".into(), "-c".into(), format!("exit {code}")]
        }
    };
    for (limit, code, wanted, told) in [
        ("30000", "0", 0, "MaxPeakMB 30000: held, driver 2240 MB (used 2140)"),
        ("1000", "0", 7, "MaxPeakMB 1000: FAILED, driver 2240 MB (used 2140)"),
        ("1000", "3", 3, "MaxPeakMB 1000: FAILED"),
    ] {
        let command = exit(code);
        let mut words = vec!["--max-peak-mb", limit];
        words.extend(command.iter().map(String::as_str));
        monitor(&folder, &server.url(), &words).exits(wanted).complains(told);
    }
    monitor(&folder, &server.url(), &["--baseline", "gone.log", "--duration", "9"]).exits(2);
    // Refused before there is a log that would be refused the next time.
    folder.write("empty.log", "");
    let words = ["--baseline", "empty.log", "--log", "new.log", "--duration", "9"];
    monitor(&folder, &server.url(), &words).exits(2);
    assert!(!folder.path().join("new.log").exists());
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn without_a_command_ctrl_c_is_the_regular_end() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let running = start(&folder, &server.url(), &[]);
    assert!(server.wait_until_request(STATS, 3, LONG));
    ctrl_c(&running);
    let ran = running.wait().exits(0);
    ran.complains(BLOCK).complains("Peak VRAM: 2140 MB");
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn ctrl_c_reaches_the_command_and_its_end_is_handed_on() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    folder.write("go-on", "");
    let running = start(&folder, &server.url(), &as_long_as_told());
    // Who it is and the reading before the command; the second tick is beside it.
    assert!(server.wait_until_request(STATS, 4, LONG));
    let begun = Instant::now();
    ctrl_c(&running);
    let ran = running.wait().complains("stopping…").complains(BLOCK);
    // 128 and SIGINT, or STATUS_CONTROL_C_EXIT, which Wine does not have: there it is 0 or 1, by what
    // the command is at.
    let codes: &[i32] = if cfg!(windows) { &[-1_073_741_510, 0, 1] } else { &[130] };
    assert!(codes.contains(&ran.code), "{ran}");
    assert!(begun.elapsed() < Duration::from_secs(5), "it had to be asked: {:?}", begun.elapsed());
}
