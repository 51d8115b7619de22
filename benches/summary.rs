//! `summary` of a night of 10 h and of a log of 1 GB, as a whole process, beside `wc -l` of the
//! same file: `cargo bench --bench summary`.
//!
//! The files are in the system's cache when the clock runs. They lie in the temporary folder and
//! are removed at the end.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 15;
const TICKS_OF_A_NIGHT: u32 = 10 * 720;

fn main() {
    report("10 h", 0);
    report("1 GB", 1_000_000_000);
}

/// Nights, one after the other, until the log has so many bytes.
fn report(what: &str, bytes: usize) {
    let path = std::env::temp_dir().join(format!("e2e-summary-{}.log", std::process::id()));
    let log = Log { size: write(&path, bytes).unwrap(), path };
    let summary = |path: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_run-comfyui-e2e"));
        command.arg("summary").arg(path);
        command
    };
    let wc = |path: &Path| {
        let mut command = Command::new("wc");
        command.arg("-l").arg(path);
        command
    };
    log.report(&format!("summary of {what}"), summary);
    log.report(&format!("wc -l of {what}"), wc);
}

struct Log {
    path: PathBuf,
    size: usize,
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Log {
    /// Prints what the program takes for the log; nothing of a program that is not here.
    fn report(&self, name: &str, command: impl Fn(&Path) -> Command) {
        let once = || {
            let begun = Instant::now();
            let child = command(&self.path).stdout(Stdio::null()).spawn().ok()?;
            let peak = wait(child);
            Some((begun.elapsed(), peak))
        };
        if once().is_none() {
            return println!("{name}: not on this machine");
        }
        let mut runs: Vec<_> = (0..ROUNDS).filter_map(|_| once()).collect();
        runs.sort();
        let [least, median, most] =
            [0, runs.len() / 2, runs.len() - 1].map(|at| runs[at].0.as_secs_f64() * 1000.0);
        let gigabytes = f64::from(u32::try_from(self.size).unwrap()) / 1e9;
        println!(
            "{name}: {least:.2} / {median:.2} / {most:.2} ms (minimum / median / maximum of {}), \
             {:.2} GB/s",
            runs.len(),
            gigabytes / median * 1000.0
        );
        if let Some(kib) = runs.iter().filter_map(|(_, peak)| *peak).max() {
            println!("{name}: {kib} KiB at most (VmHWM)");
        }
    }
}

/// Waits for the program, which must succeed; the highest memory seen, where the system tells it.
fn wait(mut child: Child) -> Option<u64> {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = None;
    loop {
        if let Some(ended) = child.try_wait().unwrap() {
            assert!(ended.success());
            return peak;
        }
        let told = fs::read_to_string(&status).unwrap_or_default();
        let line = told.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        // Nobody's, between the ending and the waiting.
        peak = peak.max(kib);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Nights of a card of 24 GB at the defaults: a tick every 5 s, scenes of 5 min of which most
/// windows have a higher and a lower reading between the lines, and a missed tick now and then.
fn write(path: &Path, bytes: usize) -> std::io::Result<usize> {
    let mut night = String::new();
    let mut noise = 1_u64;
    for tick in 0..TICKS_OF_A_NIGHT {
        let (hours, minutes, seconds) = (tick / 720, tick / 12 % 60, tick % 12 * 5);
        let place = if tick % 66 > 6 {
            format!(",Scene=scene-{:03},Node={}", tick / 66, tick % 66 / 20)
        } else {
            String::new()
        };
        let mut line = |millis: &str, more: &str| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let used = 2000 + (noise >> 32) % 20_000;
            let (free, driver, torch) = (24_576 - used, used + 100, used - 1500);
            writeln!(
                night,
                "{hours:02}:{minutes:02}:{seconds:02}{millis},Used={used}MB,Free={free}MB,\
                 Total=24576MB,Driver={driver}MB,Torch={torch}MB,Ram=31000MB{place}{more}"
            )
            .unwrap();
        };
        if tick % 500 == 7 {
            writeln!(night, "{hours:02}:{minutes:02}:{seconds:02},Missed=timeout{place}").unwrap();
            continue;
        }
        line("", "");
        if !place.is_empty() && tick % 4 > 0 {
            line(".250", ",Between=1");
            line(".750", ",Between=1");
        }
    }
    let mut file = File::create(path)?;
    let mut size = 0;
    while size < bytes.max(1) {
        file.write_all(night.as_bytes())?;
        size += night.len();
    }
    Ok(size)
}
