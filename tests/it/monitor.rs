//! The verb `monitor`: what it samples, what it says of it, and what becomes of its command.

use std::fs;

use crate::signals::{self, ctrl_c};
use crate::stand_in::{Config, Fault, StandIn};
use crate::support::{Folder, Ran, Running, SOON, asked, files};

const STATS: &str = "GET /system_stats";
const BLOCK: &str = "=== VRAM Usage Statistics ===";
/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

fn start(folder: &Folder, url: &str, words: &[&str]) -> Running {
    let first = ["monitor", "--comfyui-url", url, "--sample-interval-seconds", "0.05"];
    folder.start_with(&[&first, words].concat(), signals::alone)
}

fn monitor(folder: &Folder, url: &str, words: &[&str]) -> Ran {
    start(folder, url, words).wait()
}

fn shell(script: &str) -> [&str; 4] {
    if cfg!(windows) { ["--", "cmd", "/C", script] } else { ["--", "sh", "-c", script] }
}

/// A command that runs as long as there is a file `go-on`.
fn as_long_as_told() -> [&'static str; 4] {
    shell(if cfg!(windows) {
        "for /L %i in (0,0,1) do @if not exist go-on exit 0"
    } else {
        "while [ -e go-on ]; do sleep 0.02; done"
    })
}

/// Sets the memory in use, and waits until a reading of it was answered.
fn plateau(server: &StandIn, mb: u64) {
    server.set_used_mb(mb);
    // The one after it is asked when the first is answered.
    assert!(server.wait_until_request(STATS, asked(server, STATS) + 2, SOON));
}

#[test]
fn a_known_curve_is_reported_to_the_megabyte() {
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
        .complains("Added by the run: 11345 MB (driver ")
        .complains("Sampling: read every 0.05 s, ")
        .complains("vram.log\n");
    // The block is a function of the log that was kept.
    let again = folder.run(&["summary", "vram.log"]).exits(0);
    let block = ran.stderr.find("VRAM peak  12445 of 24576 MB (51 %), 12131 to spare, ");
    assert_eq!(ran.stderr[block.expect("its peak first")..], again.stdout);
}

#[test]
fn a_duration_ends_with_0_and_the_block() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let ran = monitor(&folder, &server.url(), &["--duration", "0.3"]).exits(0);
    let ran = ran.complains(BLOCK).complains("Peak VRAM: 2140 MB (from ");
    assert!(!ran.stderr.contains("VRAM log:"), "{ran}");
    assert_eq!(ran.stdout, "", "{ran}");
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 2, "only what the test itself keeps: {:?}", files(folder.path()));
}

#[test]
fn the_command_s_code_is_handed_on() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let codes: &[i32] =
        if cfg!(windows) { &[0, 3, 256, -1_073_741_510] } else { &[0, 3, 130, 255] };
    for &code in codes {
        let exit = format!("exit {code}");
        monitor(&folder, &server.url(), &shell(&exit)).exits(code).complains(BLOCK);
    }
}

#[test]
fn a_command_that_cannot_be_started_ends_with_126_or_127() {
    let (server, folder) = (StandIn::start(), Folder::new());
    let ran =
        monitor(&folder, &server.url(), &["--allow-sleep", "--", "no-such-program-here", "x"])
            .exits(127);
    assert!(ran.stderr.starts_with("run-comfyui-e2e: no-such-program-here: "), "{ran}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
    folder.write("notes.txt", "no program");
    let path = folder.path().join("notes.txt");
    let ran = monitor(&folder, &server.url(), &["--allow-sleep", "--", path.to_str().unwrap()])
        .exits(126);
    assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
}

#[test]
fn quiet_says_nothing_unless_the_command_fails() {
    let folder = Folder::new();
    let quiet = |words: &[&str]| monitor(&folder, NOWHERE, &[&["--quiet"], words].concat());
    assert_eq!(quiet(&shell("exit 0")).exits(0).stderr, "");
    quiet(&shell("exit 3")).exits(3).complains("No VRAM sample was taken: refused ");
    assert_eq!(quiet(&["--duration", "0.1"]).exits(0).stderr, "");
}

#[test]
fn without_a_source_the_command_runs_and_that_is_said_once() {
    let folder = Folder::new();
    // So seldom that no tick is late.
    let words = ["monitor", "--comfyui-url", NOWHERE, "--sample-interval-seconds", "3600"];
    let words = [&words[..], &["--log", "l.log"], &shell("exit 3")].concat();
    let ran = folder.run(&words).exits(3);
    let said = "run-comfyui-e2e: no ComfyUI at http://127.0.0.1:1 (refused): nothing is sampled";
    assert_eq!(ran.stderr.matches(said).count(), 1, "{ran}");
    let ran = ran.complains("No VRAM sample was taken: refused ");
    let log = fs::read_to_string(folder.path().join("l.log")).unwrap();
    assert!(!log.is_empty() && log.lines().all(|line| line.contains(",Missed=refused")), "{ran}");
}

#[test]
fn a_server_that_the_command_starts_is_sampled_from_then_on() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    server.stop_listening();
    let go_on = folder.write("go-on", "");
    let running = start(&folder, &server.url(), &as_long_as_told());
    running.until_it_says("nothing is sampled unless it answers later;");
    server.listen_again();
    assert!(server.wait_until_request(STATS, 2, SOON));
    fs::remove_file(go_on).unwrap();
    running.wait().exits(0).complains("Peak VRAM: 2140 MB (from ").complains(" lines missed (re");
}

#[test]
fn a_command_shorter_than_the_interval_has_a_reading_before_and_one_after() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let url = server.url();
    let words = ["monitor", "--comfyui-url", &url, "--sample-interval-seconds", "3600"];
    let ran = folder.run(&[&words, &shell("exit 0")[..]].concat()).exits(0);
    ran.complains("Peak VRAM: 2140 MB (from 2 samples)")
        .complains(", longest gap at most 0.50 s, 0 of 2 lines missed; ");
}

#[test]
fn a_log_that_exists_is_refused_or_continued() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let old = "12:00:00,Used=99999MB,Interval=5s\n";
    let log = folder.write("old.log", old);
    let mark = if cfg!(windows) { "echo > ran" } else { ": > ran" };
    let words = [&["--log", "old.log"], &shell(mark)[..]].concat();
    let ran = monitor(&folder, &server.url(), &words).exits(2);
    ran.refuses("run-comfyui-e2e: --log ").complains("it exists; --append continues it\n");
    assert!(!folder.path().join("ran").exists(), "the command was run");
    assert_eq!(fs::read_to_string(&log).unwrap(), old);
    assert!(server.requests().is_empty());

    let ran = monitor(&folder, &server.url(), &[&["--append"], &words[..]].concat()).exits(0);
    // What was there before is not this command's.
    ran.complains("Peak VRAM: 2140 MB (from ");
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.starts_with(old) && text.lines().count() > 1, "{text}");
    assert_eq!(text.matches("Interval=").count(), 2, "{text}");

    let words = ["--log", "gone/l.log", "--duration", "9"];
    monitor(&folder, &server.url(), &words).exits(2).refuses("run-comfyui-e2e: --log ");
    monitor(&folder, &server.url(), &["--log", "n.log", "--append", "--duration", "0.1"]).exits(0);
    assert!(folder.path().join("n.log").is_file());
}

#[test]
fn monitor_says_why_nothing_is_sampled() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let monitor = |words: &[&str]| monitor(&folder, &server.url(), words).exits(0);
    monitor(&["-Gpu", "3", "-Duration", "0.1"])
        .complains("tells no memory of a device 3: nothing is sampled\n");
    // Who it is, and the first sample.
    server.fail_next(STATS, 2, Fault::Status(500, "busy"));
    monitor(&["--duration", "0.3"])
        .complains("(status): nothing is sampled unless it answers later; another one is --comfyui-url URL\n")
        .complains(" lines missed (status 1");
}

#[test]
fn a_failed_gate_is_the_exit_code_unless_the_command_failed() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    for (limit, command, wanted, told) in [
        ("30000", "exit 0", 0, "✓ MaxPeakMB 30000 held (2240)"),
        ("1000", "exit 0", 7, "MaxPeakMB 2240 1000 ✗"),
        ("1000", "exit 3", 3, "MaxPeakMB 2240 1000 ✗"),
    ] {
        let words = [&["--max-peak-mb", limit], &shell(command)[..]].concat();
        monitor(&folder, &server.url(), &words).exits(wanted).tells(told);
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
    assert!(server.wait_until_request(STATS, 3, SOON));
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
    assert!(server.wait_until_request(STATS, 4, SOON));
    ctrl_c(&running);
    let ran = running.wait().complains(BLOCK);
    // 128 and SIGINT: it needed no SIGTERM, which would be 143. On Windows STATUS_CONTROL_C_EXIT, which
    // Wine does not have: there it is 0 or 1, by what the command is at.
    let codes: &[i32] = if cfg!(windows) { &[-1_073_741_510, 0, 1] } else { &[130] };
    assert!(codes.contains(&ran.code), "{ran}");
}

/// The commands here are the shell's of Unix.
#[cfg(unix)]
mod command {
    use std::fs::{self, File};
    use std::time::{Duration, Instant};

    use super::{BLOCK, STATS, shell, start};
    use crate::signals::{self, ctrl_c};
    use crate::stand_in::{Config, StandIn};
    use crate::support::{Folder, Running, SOON, asked, is_alive, wait_until};

    fn script(folder: &Folder, server: &StandIn, script: &str) -> Running {
        start(folder, &server.url(), &shell(script))
    }

    #[test]
    fn the_streams_are_the_command_s_own_byte_for_byte() {
        let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
        let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let input = folder.write("input", &bytes);
        let output = folder.path().join("output");
        let url = server.url();
        let words = ["monitor", "--comfyui-url", &url, "--", "sh", "-c", "cat; echo heard >&2"];
        let running = folder.start_with(&words, |command| {
            command.stdin(File::open(&input).unwrap()).stdout(File::create(&output).unwrap());
        });
        let ran = running.wait().exits(0);
        assert!(fs::read(&output).unwrap() == bytes, "the output is not what the command wrote");
        assert!(
            ran.stderr.starts_with(
                "heard\nVRAM peak  2240 of 24576 MB (9 %), 22336 to spare\n\n=== VRAM"
            ),
            "{ran}"
        );
    }

    #[test]
    fn a_signal_that_ends_the_command_is_128_and_its_number() {
        let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
        for (name, code) in [("TERM", 143), ("KILL", 137)] {
            script(&folder, &server, &format!("kill -{name} $$"))
                .wait()
                .exits(code)
                .complains(BLOCK);
        }
    }

    #[test]
    fn ctrl_c_reaches_the_command_and_its_code_is_handed_on() {
        let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
        let traps =
            "trap 'echo bye; exit 9' INT; echo ready; for i in $(seq 600); do sleep 0.05; done";
        let running = script(&folder, &server, traps);
        running.until_it_says("ready");
        ctrl_c(&running);
        let ran = running.wait().exits(9).complains(BLOCK);
        assert_eq!(ran.stdout, "ready\nbye\n", "{ran}");
    }

    #[test]
    fn a_second_ctrl_c_two_seconds_later_quits_at_once() {
        let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
        let alive = folder.write("alive", "");
        let deaf = "trap '' INT; echo ready; while [ -e alive ]; do sleep 0.05; done";
        let running = script(&folder, &server, deaf);
        running.until_it_says("ready");
        ctrl_c(&running);
        running.until_it_says("stopping…");
        std::thread::sleep(Duration::from_millis(2100));
        ctrl_c(&running);
        let ran = running.wait().exits(130);
        assert!(!ran.stderr.contains(BLOCK), "{ran}");
        fs::remove_file(alive).unwrap();
    }

    /// The whole of the ten seconds: a command that hears neither Ctrl-C nor TERM, and its child.
    #[test]
    fn a_deaf_command_is_asked_and_then_ended_with_what_it_started() {
        let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
        let deaf = "trap '' INT; trap 'echo asked' TERM; \
                    sh -c 'trap \"\" INT TERM; echo child $$; for i in $(seq 600); do sleep 0.05; done' & \
                    for i in $(seq 600); do sleep 0.05; done";
        let running = script(&folder, &server, deaf);
        running.until_it_says("child ");
        running.until_it_says("\n");
        let begun = Instant::now();
        ctrl_c(&running);
        let ran = running.wait().exits(137).complains(BLOCK);
        assert!(begun.elapsed() >= Duration::from_secs(10), "{:?}", begun.elapsed());
        let asked = ran.stdout.matches("asked").count();
        assert_eq!(asked, 1, "{ran}");
        let child = ran.stdout.lines().find_map(|line| line.strip_prefix("child ")).unwrap();
        wait_until("the end of the command's child", || !is_alive(child));
    }

    /// As `nohup` and a script's background job are started, by a parent that lets the system reap its
    /// children, and under a limit for files.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_command_meets_signals_as_we_did() {
        let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
        let url = server.url();
        let monitor = |before: &str, script: &str| {
            let words = ["monitor", "--comfyui-url", &url, "--", "sh", "-c", script];
            folder.start_shell("", before, &words)
        };
        let alive = "kill -HUP $$ $PPID; kill -INT $$; sleep 0.2; printf alive";
        let ran = monitor("trap '' HUP INT", alive).wait().exits(0);
        assert_eq!(
            (ran.stdout.as_str(), ran.stderr.contains("stopping…")),
            ("alive", false),
            "{ran}"
        );
        let why = "its exit code is not known: SIGCHLD was ignored by what started us";
        monitor("trap '' CHLD", "exit 42").wait().exits(1).complains(why).complains(BLOCK);
        let ran = monitor("ulimit -S -f 1", "head -c 5000 /dev/zero > large").wait();
        ran.exits(153).complains(BLOCK);
    }

    /// SIGTERM and SIGHUP to `monitor` alone, as a service manager sends them: without a command they
    /// are its regular end; a command that did not hear them is asked after five seconds.
    #[test]
    fn signals_to_us_alone_are_interrupts_too() {
        let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
        for name in ["-TERM", "-HUP"] {
            let running = start(&folder, &server.url(), &[]);
            assert!(server.wait_until_request(STATS, asked(&server, STATS) + 3, SOON));
            signals::signal(&running, name);
            running.wait().exits(0).complains(BLOCK);
        }
        let running = script(&folder, &server, "echo ready; exec sleep 60");
        running.until_it_says("ready");
        signals::signal(&running, "-TERM");
        running.wait().exits(143).complains("stopping…").complains(BLOCK);
    }
}
