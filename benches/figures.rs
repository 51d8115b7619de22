//! The figures of `docs/numbers.md`: `cargo bench`.
//!
//! Each is measured over the program itself, against the stand-in server of the tests, and
//! printed as minimum, median and maximum. Nothing is judged here: a machine that is busy with
//! something else gives other figures.

mod memory;
#[path = "../tests/it/stand_in/mod.rs"]
mod stand_in;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use run_comfyui_e2e::clock::Clock;
use run_comfyui_e2e::vram::reading::{Reading, Source};
use run_comfyui_e2e::vram::sampler::Sampler;
use serde_json::Value;
use stand_in::{Config, Fault, StandIn, graphs};

const PROGRAM: &str = env!("CARGO_BIN_EXE_run-comfyui-e2e");

fn main() {
    let folder = std::env::temp_dir().join(format!("e2e-figures-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    println!("binary: {} bytes", fs::metadata(PROGRAM).unwrap().len());
    if let Some(crates) = crates() {
        println!("crates without tls: {crates}, this one among them");
    }
    start_up();
    if let Some(kib) = memory::peak_kib(&folder, PROGRAM, &["--version"]) {
        println!("memory of --version: {kib} KiB");
    }
    stop_of_the_sampler();
    instant_scene(&folder);
    grids(&folder);
    fs::remove_dir_all(&folder).unwrap();
}

/// How many are in the tree on this system, each counted once.
fn crates() -> Option<usize> {
    let tree = Command::new("cargo")
        .args(["tree", "--offline", "--locked", "-e", "normal", "--prefix", "none", "-f", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .ok()?;
    let text = String::from_utf8(tree.stdout).ok()?;
    let lines = text.lines().map(|line| line.trim_end_matches(" (*)"));
    let names: BTreeSet<&str> = lines.filter(|line| !line.is_empty()).collect();
    tree.status.success().then_some(names.len())
}

fn start_up() {
    let once = || {
        let begun = Instant::now();
        let status = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).status();
        assert!(status.unwrap().success());
        begun.elapsed()
    };
    once();
    report("--version, whole process", (0..50).map(|_| once()).collect());
}

fn stop_of_the_sampler() {
    let once = |_| {
        let read = || Ok((Reading::default(), Source::ComfyUi)).into();
        let hour = Duration::from_secs(3600);
        let sampler = Sampler::start(hour, Clock::start(), read, |_| None, |_| {}).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        let begun = Instant::now();
        drop(sampler);
        begun.elapsed()
    };
    report("stop of the sampler between ticks", (0..50).map(once).collect());
}

/// What the program adds to a scene: its own time for it less the server's for the execution.
fn instant_scene(folder: &Path) {
    let server = StandIn::with(Config::cuda());
    let files: Vec<PathBuf> = (0..20)
        .map(|n| {
            let path = folder.join(format!("instant-{n:02}.json"));
            let graph = graphs::video(&format!("instant-{n:02}"), 0.0, 0, 100 + n);
            fs::write(&path, graph.to_string()).unwrap();
            path
        })
        .collect();
    let metadata = run(folder, &server, &files, &[]);
    let scenes = metadata["Scenes"].as_array().unwrap();
    let seconds = |scene: &Value, key: &str| scene[key].as_f64().unwrap();
    let added = scenes
        .iter()
        .map(|scene| seconds(scene, "DurationSeconds") - seconds(scene, "ServerSeconds"))
        .map(Duration::from_secs_f64)
        .collect();
    report("added to a scene that ends at once", added);
}

/// How far each stamp is from the grid that the first one begins, and what the whole program takes
/// of a core meanwhile: beside a scene of 20 s at 4 and at 10 Hz, beside one while every answer takes
/// 80 ms, and while 4 GB are downloaded.
fn grids(folder: &Path) {
    let long = vec![graphs::video("long", 20.0, 4000, 7)];
    grid(folder, 4, "a scene of 20 s", &StandIn::with(Config::cuda()), &long);
    grid(folder, 10, "a scene of 20 s", &StandIn::with(Config::cuda()), &long);
    let slow = StandIn::with(Config::cuda());
    slow.fail_next("GET /system_stats", usize::MAX, Fault::Delay(Duration::from_millis(80)));
    grid(folder, 10, "answers of 80 ms", &slow, &long);
    let large = StandIn::with(Config { video_padding: 500 << 20, ..Config::cuda() });
    let films: Vec<Value> =
        (0..8).map(|n| graphs::video(&format!("film-{n}"), 0.0, 0, n)).collect();
    grid(folder, 10, "downloads of 4 GB", &large, &films);
}

fn grid(folder: &Path, hertz: u32, what: &str, server: &StandIn, scenes: &[Value]) {
    let files: Vec<PathBuf> = scenes
        .iter()
        .enumerate()
        .map(|(n, graph)| {
            let path = folder.join(format!("grid-{n}.json"));
            fs::write(&path, graph.to_string()).unwrap();
            path
        })
        .collect();
    let seconds = 1.0 / f64::from(hertz);
    let (before, begun) = (children_cpu(), Instant::now());
    let metadata =
        run(folder, server, &files, &["--sample-interval-seconds", &seconds.to_string()]);
    let took = begun.elapsed().as_secs_f64();
    let cpu = children_cpu().zip(before).map(|(after, before)| after - before);
    let run_folder = Path::new(metadata["RunDir"].as_str().unwrap());
    let log = fs::read_to_string(run_folder.join("vram-usage.log")).unwrap();
    let stamps: Vec<i64> = log.lines().map(stamp_ms).collect();
    // The last sample is taken when the files are home, not on the grid.
    let stamps = &stamps[..stamps.len() - 1];
    let step = 1000 / i64::from(hertz);
    let off_grid = |at: &i64| ((at - stamps[0] + step / 2).rem_euclid(step) - step / 2).abs();
    let off: Vec<i64> = stamps.iter().map(off_grid).collect();
    let close = off.iter().filter(|off| **off <= 10).count();
    println!(
        "{hertz} Hz, {what}: {} ticks in {took:.1} s, {close} within 10 ms of the grid ({:.1} %), furthest {} ms, missed {}",
        off.len(),
        100.0 * float(close) / float(off.len()),
        off.iter().max().unwrap(),
        metadata["Vram"]["Missed"],
    );
    if let Some(cpu) = cpu {
        println!(
            "{hertz} Hz, {what}: the whole program took {:.2} % of a core",
            100.0 * cpu / took
        );
    }
    fs::remove_dir_all(run_folder).unwrap();
}

fn run(folder: &Path, server: &StandIn, files: &[PathBuf], more: &[&str]) -> Value {
    let output = Command::new(PROGRAM)
        .args(["--json", "--comfyui-url", &server.url(), "--poll-interval-seconds", "0.5"])
        .args(more)
        .args(files)
        .current_dir(folder)
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn float(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::INFINITY, f64::from)
}

fn stamp_ms(line: &str) -> i64 {
    let mut parts = line.split([':', '.', ',']).map(|part| part.parse::<i64>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    ((next() * 60 + next()) * 60 + next()) * 1000 + next()
}

/// Seconds of a core that ended children took, where the system tells it.
fn children_cpu() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(13)?.parse::<f64>().ok()? + fields.get(14)?.parse::<f64>().ok()?;
    Some(ticks / 100.0)
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "{what}: {:.2} / {:.2} / {:.2} ms (minimum / median / maximum of {})",
        ms(times[0]),
        ms(times[times.len() / 2]),
        ms(times[times.len() - 1]),
        times.len()
    );
}
