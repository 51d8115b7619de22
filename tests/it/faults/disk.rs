//! No space, no folder, no right to write, each under one file alone; and no thread.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::row::{Played, Row, STATS, endless, row, video};
use crate::stand_in::{Config, StandIn};
use crate::support::{Folder, Running, SOON, asked, executable, first_on_path, wait_until};

const HOLES: &str = "the VRAM log has holes";

/// So many blocks of 1 KiB for each of its files, as if the disk were full behind them.
fn cramped(kib: u32, server: &StandIn, folder: &Folder) -> Running {
    let limit = format!("ulimit -S -f {kib}");
    let url = server.url();
    folder.start_shell("", &limit, &["--comfyui-url", &url, "-Sample", "0.05", "a.json"])
}

/// From when the log is the largest file until that was told.
fn log_alone() -> Played {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("a.json", &endless());
    let running = cramped(1 << 20, &server, &folder);
    running.until_it_says("Wan2 prompt queued");
    let limit = |bytes: &str| {
        let id = running.id().to_string();
        let limit = format!("--fsize={bytes}:unlimited");
        assert!(Command::new("prlimit").args(["--pid", &id, &limit]).status().unwrap().success());
    };
    let log = folder.newest().join("vram-usage.log");
    wait_until("a log of 4000 bytes", || fs::metadata(&log).is_ok_and(|log| log.len() > 4000));
    limit("4000");
    running.until_it_says(HOLES);
    let asked = asked(&server, STATS);
    assert!(server.wait_until_request(STATS, asked + 4, SOON), "it goes on all the same");
    limit("unlimited");
    server.finish_running();
    let ran = running.wait();
    assert_eq!(ran.stdout.matches(HOLES).count(), 1, "{ran}");
    Played { server, folder, ran }
}

fn outputs_alone() -> Played {
    let server = StandIn::with(Config { video_padding: 1 << 20, ..Config::default() });
    let folder = Folder::new();
    folder.workflow("a.json", &video());
    let ran = cramped(256, &server, &folder).wait();
    let left = crate::support::files(&folder.newest());
    assert!(!left.iter().any(|file| file.starts_with("video/")), "{left:?}");
    Played { server, folder, ran }
}

/// Not as root, who may write everywhere and start what he likes. `through` is what starts it then.
fn start_as_nobody(through: &str, server: &StandIn, folder: &Folder) -> Running {
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let other = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let prefix = format!("{} {through}", if root { other } else { "" });
    let url = server.url();
    let words = ["--comfyui-url", &url, "-Sample", "0.2", "a.json"];
    folder.start_shell(&prefix, "true", &words)
}

/// A run with something done to its folder while its scene runs.
fn meanwhile(act: impl Fn(&Path)) -> Played {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("a.json", &endless());
    let running = start_as_nobody("", &server, &folder);
    running.until_it_says("Wan2 prompt queued");
    act(&folder.newest());
    let asked = server.requests().len();
    // So that there is something to be written: readings.
    assert!(server.wait_until(SOON, |state| state.requests.len() > asked + 4));
    server.finish_running();
    let ran = running.wait();
    Played { server, folder, ran }
}

pub fn rows() -> Vec<Row> {
    vec![
        row("full under the log alone", log_alone),
        row("full under the outputs alone", outputs_alone),
        row("full under the summary alone", || {
            meanwhile(|run| {
                fs::remove_file(run.join("run-summary.txt")).unwrap();
                symlink("/dev/full", run.join("run-summary.txt")).unwrap();
            })
        }),
        row("a folder in place of the metadata and of the page", || {
            let played = meanwhile(|run| {
                for name in ["artifact-metadata.json", "report.html"] {
                    fs::create_dir(run.join(name)).unwrap();
                }
            });
            let left = crate::support::files(&played.folder.newest());
            let half = |file: &String| file.contains("report") || file.contains("artifact");
            assert!(!left.iter().any(half), "{left:?}\n{}", played.ran);
            played
        }),
        row("the run's folder deleted while the scene runs", || {
            meanwhile(|run| fs::remove_dir_all(run).unwrap())
        }),
        row("the logs' folder deleted while the scene runs", || {
            meanwhile(|run| fs::remove_dir_all(run.parent().unwrap()).unwrap())
        }),
        row("the run's folder made read-only while the scene runs", || {
            let played = meanwhile(|run| {
                fs::set_permissions(run, fs::Permissions::from_mode(0o555)).unwrap();
            });
            fs::set_permissions(played.folder.newest(), fs::Permissions::from_mode(0o755)).unwrap();
            played
        }),
        row("sleep cannot be held off", || {
            let (server, folder) = (StandIn::start(), Folder::new());
            folder.workflow("a.json", &endless());
            let refuses = "#!/bin/sh\necho Access denied >&2\nexit 1\n";
            executable(&folder.write("programs/systemd-inhibit", refuses));
            let path = first_on_path(&folder.path().join("programs"));
            let running =
                folder.start_with(&["--comfyui-url", &server.url(), "a.json"], |command| {
                    command.env("PATH", path);
                });
            running.until_it_says("] the computer may ");
            assert!(server.wait_until_running(SOON));
            server.finish_running();
            let ran = running.wait();
            Played { server, folder, ran }
        }),
        row("no thread to be had", || {
            let (server, folder) = (StandIn::start(), Folder::new());
            folder.workflow("a.json", &video());
            let through = "bash -c 'ulimit -u 1; exec \"$@\"' bash";
            let ran = start_as_nobody(through, &server, &folder).wait();
            Played { server, folder, ran }
        }),
    ]
}
