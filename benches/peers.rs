//! The program beside others of its field, those of them that are on the PATH:
//! `cargo bench --bench peers`, after `pip install comfy-cli comfyui-cli nvitop` somewhere.
//!
//! All are run in turn, round after round, and each is held against this program in the same round:
//! so a machine that slows down slows all of them. A scene goes to the stand-in server of the tests;
//! to a real one, which also has the websocket that some need, where `COMFYUI_TEST_URL` names it.

mod memory;
#[path = "../tests/it/stand_in/mod.rs"]
mod stand_in;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stand_in::{Config, StandIn, graphs};

const ROUNDS: usize = 10;

/// What runs a program; words in capitals are filled in.
struct Contender {
    program: &'static str,
    start: &'static [&'static str],
    /// Runs one workflow to its end and takes its files home, if that is what it is for.
    scene: Option<&'static [&'static str]>,
}

/// This program first: the others are held against it.
const CONTENDERS: [Contender; 4] = [
    Contender {
        program: env!("CARGO_BIN_EXE_run-comfyui-e2e"),
        start: &["--version"],
        scene: Some(&["--comfyui-url", "http://HOST:PORT", "WORKFLOW"]),
    },
    Contender {
        program: "comfy",
        start: &["--version"],
        scene: Some(&[
            "--skip-prompt",
            "--no-enable-telemetry",
            "run",
            "--workflow",
            "WORKFLOW",
            "--wait",
            "--host",
            "HOST",
            "--port",
            "PORT",
        ]),
    },
    Contender {
        program: "comfyui-cli",
        start: &["--version"],
        scene: Some(&[
            "--host",
            "HOST",
            "--port",
            "PORT",
            "workflow",
            "run",
            "WORKFLOW",
            "--wait",
            "--save-to",
            "OUTPUTS",
        ]),
    },
    Contender { program: "nvitop", start: &["--version"], scene: None },
];

fn main() {
    let folder = std::env::temp_dir().join(format!("e2e-peers-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let here: Vec<&Contender> =
        CONTENDERS.iter().filter(|contender| is_here(contender, &folder)).collect();
    in_turn("start-up", &here, |contender, _| once(contender.program, contender.start, &folder));
    for contender in &here {
        match memory::peak_kib(&folder, contender.program, contender.start) {
            Some(kib) => println!("memory, {}: {kib} KiB", name(contender)),
            None => println!("memory, {}: not known, it needs GNU time", name(contender)),
        }
    }
    scenes(&here, &folder);
    fs::remove_dir_all(&folder).unwrap();
}

/// A scene that ends at once, by the whole command: starting, posting, waiting, the file.
fn scenes(here: &[&Contender], folder: &Path) {
    let server = StandIn::with(Config::cuda());
    let url = std::env::var("COMFYUI_TEST_URL").unwrap_or_else(|_| server.url());
    let (host, port) = url.trim_end_matches('/').rsplit_once(':').expect("a URL with its port");
    let host = host.rsplit_once('/').map_or(host, |(_, host)| host);
    // Nothing of another run, since nothing may come from a cache.
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let first = u64::try_from(begun % 0x00ff_0000).unwrap();
    let scene = |contender: &Contender, run: u64| {
        let workflow = folder.join("scene.json");
        let graph = graphs::images("peers", 1, first + run);
        fs::write(&workflow, graph.to_string()).unwrap();
        let words: Vec<String> = contender
            .scene?
            .iter()
            .map(|word| {
                word.replace("HOST", host)
                    .replace("PORT", port)
                    .replace("WORKFLOW", &workflow.to_string_lossy())
                    .replace("OUTPUTS", &folder.join("outputs").to_string_lossy())
            })
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        once(contender.program, &words, folder)
    };
    println!("scenes go to {url}");
    let able: Vec<&Contender> =
        here.iter().copied().filter(|contender| contender.scene.is_some()).collect();
    in_turn("a scene that ends at once, whole command", &able, scene);
}

/// Each in turn, round after round; the first round is not counted. Whoever fails once is out.
fn in_turn(
    what: &str,
    contenders: &[&Contender],
    mut once: impl FnMut(&Contender, u64) -> Option<Duration>,
) {
    let mut times: Vec<Option<Vec<f64>>> = vec![Some(Vec::new()); contenders.len()];
    let mut run = 0;
    for round in 0..=ROUNDS {
        for (contender, times) in contenders.iter().zip(&mut times) {
            let Some(all) = times else { continue };
            run += 1;
            match once(contender, run) {
                Some(time) if round > 0 => all.push(time.as_secs_f64() * 1000.0),
                Some(_) => {}
                None => *times = None,
            }
        }
    }
    let ours = times[0].clone().expect("this program does it");
    for (contender, times) in contenders.iter().zip(times) {
        let Some(times) = times else {
            println!("{what}, {}: it failed, or is not for this server", name(contender));
            continue;
        };
        let ratios = times.iter().zip(&ours).map(|(time, ours)| time / ours).collect();
        println!(
            "{what}, {}: {} ms; {} times this program's (minimum / median / maximum of {})",
            name(contender),
            spread(times.clone()),
            spread(ratios),
            times.len()
        );
    }
}

/// How long a program takes that must end with 0, its output thrown away.
fn once(program: &str, arguments: &[&str], folder: &Path) -> Option<Duration> {
    let begun = Instant::now();
    let status = quiet(program, arguments, folder).status().ok()?;
    status.success().then(|| begun.elapsed())
}

/// In a home of its own, where it leaves what it likes.
fn quiet(program: &str, arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env("HOME", folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn is_here(contender: &Contender, folder: &Path) -> bool {
    let here = quiet(contender.program, contender.start, folder).status().is_ok();
    if !here {
        println!("{}: not on this machine's PATH", name(contender));
    }
    here
}

fn name(contender: &Contender) -> String {
    let file = PathBuf::from(contender.program);
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn spread(mut figures: Vec<f64>) -> String {
    figures.sort_by(f64::total_cmp);
    let [least, median, most] = [0, figures.len() / 2, figures.len() - 1].map(|at| figures[at]);
    format!("{least:.1} / {median:.1} / {most:.1}")
}
