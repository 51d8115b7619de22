//! What keeps the computer awake, and what becomes of a sleep that came all the same.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::signals::{self, ctrl_c};
use crate::stand_in::{Config, StandIn, graphs};
use crate::support::{
    Folder, Ran, Running, SOON, executable, first_on_path, is_alive, line, wait_until,
};

const GRANTS: &str = "exec \"$@\"";
const REFUSES: &str = "echo 'Failed to inhibit: Access denied' >&2; exit 1";

/// A server with a long scene, and a folder with a systemd-inhibit that is false.
struct Bench {
    server: StandIn,
    folder: Folder,
}

impl Bench {
    /// It notes its process id and its arguments, drops those for itself, and does as told; `help` is
    /// its help.
    fn new(help: &str, way: &str) -> Self {
        let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
        folder.workflow("flow.json", &graphs::video("flow", 600.0, 0, 1));
        let notes = folder.path().join("notes");
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = --help ] && {{ echo '{help}'; exit; }}\n\
             echo \"$$ $*\" >> '{}'\nall=$*\n\
             while case $1 in --*) ;; *) false ;; esac; do shift; done\n{way}\n",
            notes.display()
        );
        executable(&folder.write("programs/systemd-inhibit", script));
        Bench { server, folder }
    }

    fn start(&self, words: &[&str]) -> Running {
        let path = first_on_path(&self.folder.path().join("programs"));
        self.folder.start_with(words, |command| {
            signals::alone(command.env("PATH", path));
        })
    }

    fn start_run(&self, words: &[&str]) -> Running {
        let url = self.server.url();
        self.start(&[&["--comfyui-url", &url, "flow.json"], words].concat())
    }

    /// Its process ids, each with its arguments.
    fn notes(&self) -> Vec<(String, String)> {
        let notes = fs::read_to_string(self.folder.path().join("notes")).unwrap_or_default();
        let note = |line: &str| line.split_once(' ').map(|(id, args)| (id.into(), args.into()));
        notes.lines().map(|line| note(line).expect("an id and arguments")).collect()
    }

    /// Waits for its start: its process id.
    fn started(&self) -> String {
        wait_until("a request", || !self.notes().is_empty());
        let [(id, _)] = &self.notes()[..] else { panic!("more than one request") };
        id.clone()
    }

    /// The run to its end, which the server brings about.
    fn end(&self, running: Running) -> Ran {
        assert!(self.server.wait_until_running(SOON));
        self.server.finish_running();
        running.wait().exits(0)
    }
}

#[track_caller]
fn is_gone(id: &str) {
    wait_until("the end of the request", || !is_alive(id));
}

#[test]
fn a_run_holds_off_sleep_from_its_beginning_to_its_end() {
    let bench = Bench::new("  --no-ask-password  Do not ask", GRANTS);
    bench.server.stop_listening();
    let running = bench.start_run(&["--wait-for-comfyui", "60"]);
    let id = bench.started();
    let asked = &bench.notes()[0].1;
    let wanted = "--no-ask-password --what=idle:sleep --who=run-comfyui-e2e --why=";
    assert!(asked.starts_with(wanted) && asked.contains(" --mode=block "), "{asked}");
    bench.server.listen_again();
    assert!(bench.server.wait_until_running(SOON));
    assert!(is_alive(&id));
    let ran = bench.end(running).never_says("the computer");
    is_gone(&id);
    assert_eq!(bench.notes().len(), 1, "{ran}");
    assert_eq!(bench.folder.metadata()["Asleep"], serde_json::json!([]));
}

#[test]
fn nothing_is_held_off_any_more_however_the_run_ends() {
    for end in ["a failed scene", "SIGTERM", "SIGKILL"] {
        let bench = Bench::new("", GRANTS);
        let running = bench.start_run(&[]);
        let id = bench.started();
        let help_has_none = !bench.notes()[0].1.contains("--no-ask-password");
        assert!(help_has_none, "an older one does not know it");
        assert!(bench.server.wait_until_running(SOON) && is_alive(&id));
        match end {
            "a failed scene" => {
                bench.server.interrupt_running();
                running.wait().exits(1);
            }
            "SIGTERM" => {
                signals::signal(&running, "-TERM");
                running.wait().exits(130);
            }
            _ => drop(running),
        }
        is_gone(&id);
    }
}

#[test]
fn what_cannot_be_held_off_is_one_line() {
    let idle_alone = format!("case $all in *idle:sleep*) {REFUSES};; esac; {GRANTS}");
    let idle = "the computer may be put to sleep meanwhile, but not for being idle: \
                Failed to inhibit: Access denied";
    let nothing = "the computer may fall asleep meanwhile: Failed to inhibit: Access denied";
    for (way, requests, told) in [(idle_alone.as_str(), 2, idle), (REFUSES, 2, nothing)] {
        let bench = Bench::new("", way);
        let running = bench.start_run(&[]);
        running.until_it_says(told);
        let held: Vec<_> = bench.notes().into_iter().map(|(id, _)| id).collect();
        let ran = bench.end(running);
        assert_eq!(ran.stdout.matches("the computer").count(), 1, "{ran}");
        assert_eq!(line(&bench.folder.read("run-summary.txt"), "the computer"), told);
        assert_eq!(held.len(), requests);
        is_gone(&held[1]);
    }
}

#[test]
fn without_the_programs_that_hold_it_off_the_run_goes_on() {
    let bench = Bench::new("", GRANTS);
    let shell_alone = bench.folder.path().join("shell");
    fs::create_dir(&shell_alone).unwrap();
    std::os::unix::fs::symlink("/bin/sh", shell_alone.join("sh")).unwrap();
    for (path, why) in [
        (shell_alone, "systemd-inhibit is not on the PATH"),
        (bench.folder.path().join("nothing"), "sh: No such file or directory"),
    ] {
        let words = ["--comfyui-url", &bench.server.url(), "flow.json"];
        let running = bench.folder.start_with(&words, |command| {
            command.env("PATH", path);
        });
        running.until_it_says(&format!("] the computer may fall asleep meanwhile: {why}"));
        assert!(bench.server.wait_until_running(SOON));
        bench.server.interrupt_running();
        running.wait().exits(1);
    }
}

#[test]
fn nothing_is_asked_for_where_nobody_wants_it() {
    let bench = Bench::new("", GRANTS);
    bench.end(bench.start_run(&["--allow-sleep"])).never_says("the computer");
    bench.start_run(&["--dry-run"]).wait().exits(0);
    bench.start(&["summary"]).wait().exits(0);
    let url = bench.server.url();
    let monitor = |words: &[&str]| {
        bench.start(&[&["monitor", "--comfyui-url", &url], words].concat()).wait().exits(0)
    };
    monitor(&["--duration", "0.1"]);
    monitor(&["--allow-sleep", "--", "true"]);
    assert_eq!(bench.notes(), []);
}

/// Ctrl-C reaches everything on the terminal, and monitor's command may take its time then.
#[test]
fn a_command_of_monitor_is_under_way_until_it_ends() {
    let bench = Bench::new("", GRANTS);
    let script = "trap 'sleep 0.3; kill -0 $(cut -d \" \" -f 1 notes) && echo awake; exit 9' INT; \
                  echo ready; while :; do sleep 0.05; done";
    let url = bench.server.url();
    let running = bench.start(&["monitor", "--comfyui-url", &url, "--", "sh", "-c", script]);
    let id = bench.started();
    running.until_it_says("ready");
    ctrl_c(&running);
    let ran = running.wait().exits(9);
    assert_eq!(ran.stdout, "ready\nawake\n", "{ran}");
    is_gone(&id);
}

/// The system's clock counts while a process is stopped, as that of Windows does in a sleep.
#[test]
fn a_sleep_is_told_once_and_counts_neither_for_the_deadline_nor_as_a_gap() {
    let bench = Bench::new("", GRANTS);
    let words = ["-MaxWaitSeconds", "20", "-SceneRetryBudget", "0", "-SampleIntervalSeconds", "1"];
    let run = bench.start_run(&words);
    let url = bench.server.url();
    let words = ["--sample-interval-seconds", "0.5", "--log", "monitor.log"];
    let words = [&["monitor", "--comfyui-url", &url], &words[..], &["--", "sleep", "600"]].concat();
    let monitor = bench.start(&words);
    bench.folder.wait_for_lines("Scene=flow", 3);
    for running in [&run, &monitor] {
        signals::signal(running, "-STOP");
    }
    std::thread::sleep(Duration::from_secs(32));
    for running in [&run, &monitor] {
        signals::signal(running, "-CONT");
        running.until_it_says("the computer slept from ");
    }
    bench.folder.wait_for_lines("Missed=asleep,Scene=flow", 1);
    let ran = bench.end(run);
    assert_eq!(ran.stdout.matches("the computer slept").count(), 1, "{ran}");
    ctrl_c(&monitor);
    let monitored = monitor.wait().exits(130);
    assert_eq!(monitored.stderr.matches("the computer slept").count(), 1, "{monitored}");

    for log in
        [bench.folder.newest().join("vram-usage.log"), bench.folder.path().join("monitor.log")]
    {
        let log = fs::read_to_string(log).unwrap();
        assert_eq!(log.matches("Missed=asleep").count(), 1, "{log}");
        // What a busy machine may leave out is shorter.
        let gaps = log.split("Gap=").skip(1).map(|gap| gap.split('s').next().unwrap().parse());
        assert!(gaps.map(Result::unwrap).all(|gap: f64| gap < 20.0), "{log}");
    }
    let metadata = bench.folder.metadata();
    let [sleep] = &metadata["Asleep"].as_array().unwrap()[..] else { panic!("{metadata}") };
    let at = |time: &Value| OffsetDateTime::parse(time.as_str().unwrap(), &Rfc3339).unwrap();
    let length = at(&sleep["To"]) - at(&sleep["From"]);
    assert!((30..40).contains(&length.whole_seconds()), "{sleep}");
    assert!(metadata["Vram"]["LongestGapSeconds"].as_f64().unwrap() < 20.0, "{metadata}");
    assert_eq!(metadata["Vram"]["Missed"]["asleep"], 1);
    let seconds = metadata["Scenes"][0]["DurationSeconds"].as_f64().unwrap();
    assert!(seconds > 32.0, "the scene took as long as it did: {seconds}");
    let again = bench.start(&["summary"]).wait().exits(0);
    assert_eq!(line(&ran.stdout, "Asleep "), line(&again.stdout, "Asleep "));
}
