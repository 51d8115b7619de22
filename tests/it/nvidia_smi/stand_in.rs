//! A run beside an nvidia-smi that behaves as told.

use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::process::Command;

use crate::signals;
use crate::stand_in::{Config, Fault, StandIn, graphs};
#[cfg(unix)]
use crate::support::is_alive;
use crate::support::{Folder, Ran, Running, SOON, example, wait_until};

pub const STATS: &str = "GET /system_stats";
/// The card of [`Config::cuda`], as it is called there and in nvidia-smi.
pub const CARD: &str = "NVIDIA GeForce RTX 4090";
const ALONE: [&str; 3] = ["monitor", "--comfyui-url", "http://127.0.0.1:9"];

/// A server with one scene that runs until it is told to end, and the folder of the run.
pub struct Bench {
    pub server: StandIn,
    pub folder: Folder,
}

pub fn line(index: u32, name: &str, used: &str) -> String {
    format!("{index}, GPU-{index}, {name}, 24564, {used}, 4000")
}

impl Bench {
    pub fn new(config: Config) -> Self {
        let bench = Bench { server: StandIn::with(config), folder: Folder::new() };
        bench.folder.workflow("flow.json", &graphs::video("flow", 600.0, 0, 1));
        bench
    }

    /// Starts the program; `lines` is a round of nvidia-smi's, `way` how it behaves.
    pub fn start(&self, way: &str, lines: &str, words: &[&str]) -> Running {
        self.start_on(&self.server.url(), way, lines, words)
    }

    pub fn start_on(&self, url: &str, way: &str, lines: &str, words: &[&str]) -> Running {
        self.start_with(url, words, |command| self.put_first(command, way, lines))
    }

    /// `monitor` where nobody listens at the server's address.
    pub fn monitor_alone(&self, way: &str, lines: &str, words: &[&str]) -> Ran {
        let words = [&ALONE[..], words].concat();
        self.folder.start_with(&words, |command| self.put_first(command, way, lines)).wait()
    }

    /// And without any nvidia-smi.
    pub fn monitor_without(&self, words: &[&str]) -> Ran {
        self.folder.start_with(&[&ALONE[..], words].concat(), |command| self.hide(command)).wait()
    }

    fn hide(&self, command: &mut Command) {
        command.env("PATH", self.folder.path().join("nothing"));
    }

    fn put_first(&self, command: &mut Command, way: &str, lines: &str) {
        let programs = self.folder.path().join("programs");
        fs::create_dir_all(&programs).unwrap();
        fs::copy(example("nvidia_smi_stand_in"), programs.join(format!("nvidia-smi{EXE_SUFFIX}")))
            .unwrap();
        signals::alone(command);
        command
            .env("PATH", programs)
            .env("STAND_IN_FOLDER", self.folder.path())
            .env("STAND_IN_LINES", lines)
            .env("STAND_IN_WAY", way);
    }

    pub fn start_without(&self, words: &[&str]) -> Running {
        self.start_with(&self.server.url(), words, |command| self.hide(command))
    }

    fn start_with(&self, url: &str, words: &[&str], change: impl FnOnce(&mut Command)) -> Running {
        let fixed = ["--comfyui-url", url, "flow.json", "-SceneRetryBudget", "0"];
        self.folder.start_with(&[&fixed[..], words].concat(), change)
    }

    /// Waits until nvidia-smi has printed that many rounds.
    pub fn wait_for_rounds(&self, rounds: u64) {
        wait_until("rounds of nvidia-smi", || {
            let out = fs::read_to_string(self.folder.path().join("rounds")).unwrap_or_default();
            out.parse::<u64>().is_ok_and(|out| out >= rounds)
        });
    }

    /// Lets the next samples meet a fault, once the scene runs.
    pub fn fail(&self, times: usize, fault: Fault) {
        assert!(self.server.wait_until_running(SOON));
        self.server.fail_next(STATS, times, fault);
    }

    pub fn end(&self, running: Running) -> Ran {
        assert!(self.server.wait_until_running(SOON));
        self.server.interrupt_running();
        running.wait().exits(1)
    }

    /// The process ids that nvidia-smi had, one for each start.
    pub fn pids(&self) -> Vec<String> {
        let pids = fs::read_to_string(self.folder.path().join("pids")).unwrap_or_default();
        pids.lines().map(str::to_owned).collect()
    }

    pub fn wait_for_pid(&self) {
        wait_until("a start of nvidia-smi", || !self.pids().is_empty());
    }

    /// Fails the test while one of them lives.
    #[track_caller]
    pub fn none_is_left(&self) {
        #[cfg(unix)]
        for pid in self.pids() {
            assert!(!is_alive(&pid), "nvidia-smi {pid} is left behind");
        }
        // Each has its ids' file open as long as it lives; without the file none got so far.
        #[cfg(windows)]
        {
            use std::os::windows::fs::OpenOptionsExt;
            let alone = || {
                let pids = self.folder.path().join("pids");
                let opened = fs::OpenOptions::new().read(true).share_mode(0).open(pids);
                opened.map_or_else(|error| error.kind() == std::io::ErrorKind::NotFound, |_| true)
            };
            wait_until("the end of every nvidia-smi", alone);
        }
    }
}
