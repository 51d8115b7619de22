//! `monitor` and its command: streams untouched, signals, and what is left of it.
#![cfg(unix)] // The commands are the shell's. What Ctrl-C does on Windows too is in `monitor`.

use std::fs::{self, File};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::signals::{self, ctrl_c};
use crate::stand_in::{Config, StandIn};
use crate::support::{Folder, Running};

const BLOCK: &str = "=== VRAM Usage Statistics ===";

/// Starts it in a process group of its own, as a terminal does, with a shell's script to run.
fn start(folder: &Folder, server: &StandIn, words: &[&str]) -> Running {
    let url = server.url();
    let first = ["monitor", "--comfyui-url", &url, "--sample-interval-seconds", "0.05"];
    folder.start_with(&[&first, words].concat(), signals::alone)
}

fn script(folder: &Folder, server: &StandIn, script: &str) -> Running {
    start(folder, server, &["--", "sh", "-c", script])
}

fn until(running: &Running, output: usize, text: &str) {
    let limit = Instant::now() + Duration::from_secs(30);
    while !running.printed()[output].contains(text) {
        assert!(Instant::now() < limit, "no {text:?} in {:?}", running.printed());
        std::thread::yield_now();
    }
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
    assert!(ran.stderr.starts_with(&format!("heard\n{BLOCK}\n")), "{ran}");
}

#[test]
fn a_signal_that_ends_the_command_is_128_and_its_number() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    for (name, code) in [("TERM", 143), ("KILL", 137)] {
        script(&folder, &server, &format!("kill -{name} $$")).wait().exits(code).complains(BLOCK);
    }
}

#[test]
fn ctrl_c_reaches_the_command_and_its_code_is_handed_on() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let waits = "trap 'echo bye; exit 9' INT; echo ready; for i in $(seq 600); do sleep 0.05; done";
    let running = script(&folder, &server, waits);
    until(&running, 0, "ready");
    ctrl_c(&running);
    let ran = running.wait().exits(9).complains("stopping…").complains(BLOCK);
    assert_eq!(ran.stdout, "ready\nbye\n", "{ran}");
    let dies = "echo ready; exec sleep 60";
    let running = script(&folder, &server, dies);
    until(&running, 0, "ready");
    ctrl_c(&running);
    running.wait().exits(130).complains(BLOCK);
}

#[test]
fn the_second_ctrl_c_quits_at_once() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let alive = folder.write("alive", "");
    let deaf = "trap '' INT; echo ready; while [ -e alive ]; do sleep 0.05; done";
    let running = script(&folder, &server, deaf);
    until(&running, 0, "ready");
    ctrl_c(&running);
    until(&running, 1, "stopping…");
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
    until(&running, 0, "child ");
    until(&running, 0, "\n");
    let begun = Instant::now();
    ctrl_c(&running);
    let ran = running.wait().exits(137).complains(BLOCK);
    assert!(begun.elapsed() >= Duration::from_secs(10), "{:?}", begun.elapsed());
    let asked = ran.stdout.matches("asked").count();
    assert_eq!(asked, 1, "{ran}");
    let child = ran.stdout.lines().find_map(|line| line.strip_prefix("child ")).unwrap();
    let there = || Command::new("sh").args(["-c", &format!("kill -0 {child} 2>&1")]).output();
    let limit = Instant::now() + Duration::from_secs(10);
    while there().unwrap().status.success() {
        assert!(Instant::now() < limit, "the command's child {child} is still there");
        std::thread::yield_now();
    }
}

#[test]
fn a_command_that_did_not_hear_the_interrupt_is_asked_after_five_seconds() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let running = script(&folder, &server, "echo ready; exec sleep 60");
    until(&running, 0, "ready");
    // As a service manager does: to us alone.
    signals::signal(&running, "-TERM");
    running.wait().exits(143).complains("stopping…").complains(BLOCK);
}
