//! Files that do not come home, or come home strangely.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::row::{ALWAYS, HISTORY, Played, Row, VIEW, one, row, start, video, with};
use crate::outcomes::has_the_video;
use crate::stand_in::{Fault, StandIn, graphs};
use crate::support::{Folder, SOON, asked, files};

fn failing(times: usize, fault: Fault, words: &[&str]) -> Played {
    let server = StandIn::start();
    server.fail_next(VIEW, times, fault);
    let played = one(server, &video(), words);
    let left = files(&played.folder.newest());
    let left = left.iter().any(|file| file.starts_with("video/"));
    assert_eq!(left, times != ALWAYS, "{}", played.ran);
    assert_eq!(played.server.executed(), 1);
    played
}

/// With half a GiB for all that the program maps.
#[cfg(target_os = "linux")]
fn large() -> Played {
    /// More than fits 31 bits.
    const LARGE: u64 = (1 << 31) + 1;
    let (server, folder) = (StandIn::start(), Folder::new());
    server.fail_next(VIEW, 1, Fault::Large(LARGE));
    folder.workflow("a.json", &video());
    let words = ["--comfyui-url", &server.url(), "-Sample", "0.5", "a.json"];
    let ran = folder.start_shell("", "ulimit -v 524288", &words).wait();
    let video = folder.newest().join("video/a/a.mp4");
    assert_eq!(video.metadata().unwrap().len(), LARGE, "{ran}");
    Played { server, folder, ran }
}

/// Behind the last `|` is one without a name.
const HOSTILE: &str = "../../../escaped.png|..\\..\\escaped.png|/escaped.png|\
    //host/share/escaped.png|C:\\escaped.png|C:escaped.png|..|.|CON.png|nul|COM\u{b9}.png|\
    a\u{0}b\u{1b}[2J\u{202e}.png|a.png:stream|";

/// A history whose files have these names, in folders that are no better.
fn hostile() -> Played {
    let (server, folder) = (StandIn::start(), Folder::new());
    let running = start(&server, &folder, &graphs::video("video/x", 600.0, 0, 1), &[]);
    let mut id = None;
    assert!(server.wait_until(SOON, |state| {
        id = state.running_id().map(str::to_owned);
        id.is_some()
    }));
    let file = |name: &str| json!({"filename": name, "subfolder": "../..", "type": "output"});
    let hostile: Vec<Value> = HOSTILE.split('|').map(file).collect();
    let entry = json!({id.unwrap(): {
        "prompt": [0, "", {}, {}, ["4"]],
        "outputs": {"4": {"images": hostile}},
        "status": {"status_str": "success", "completed": true, "messages": []},
    }});
    server.fail_next("GET /history", ALWAYS, Fault::Body(entry.to_string()));
    server.fail_next(VIEW, ALWAYS, Fault::Body("x".into()));
    let ran = running.wait();
    let names = files(&folder.newest().join("outputs/a"));
    assert_eq!(names.len(), 14, "{names:?}\n{ran}");
    let reserved = |name: &String| {
        let stem = name.split('.').next().unwrap_or_default().to_uppercase();
        ["CON", "NUL", "COM\u{b9}"].contains(&&*stem)
    };
    let odd = |name: &String| name.contains(['/', '\\', ':', '\u{0}', '\u{1b}', '\u{202e}']);
    assert!(!names.iter().any(|name| odd(name) || reserved(name)), "{names:?}");
    let all = files(folder.path());
    let outside = all.iter().filter(|file| !file.starts_with("logs/"));
    assert!(outside.clone().all(|file| !file.contains("escaped")), "{all:?}");
    server.drop_prompts();
    Played { server, folder, ran }
}

pub fn rows() -> Vec<Row> {
    #[cfg_attr(windows, expect(unused_mut))]
    let mut rows = vec![
        row("cut once", || {
            let played = failing(1, Fault::CutBody, &[]);
            has_the_video(&played.folder, &played.server);
            played
        }),
        row("cut every time", || failing(ALWAYS, Fault::CutBody, &[]))
            .also("FAILED: 1 of 1 scenes, exit 1 (failed)"),
        row("silence every time", || {
            failing(ALWAYS, Fault::Hang, &["-Post", "1", "-SceneRetryBudget", "0"])
        }),
        row("a file that comes byte by byte", || {
            // For longer than may pass without a byte.
            let begun = Instant::now();
            let server = StandIn::start();
            server.fail_next(VIEW, 1, Fault::Dribble);
            let played = one(server, &graphs::images("img/a", 1, 1), &["-Post", "1"]);
            assert!(begun.elapsed() > Duration::from_secs(3), "{:?}", begun.elapsed());
            played
        }),
        row("a token that has expired by the download", || {
            failing(ALWAYS, Fault::Status(401, "expired"), &[])
        }),
        row("gone (404)", || {
            let played = failing(ALWAYS, Fault::Status(404, ""), &[]);
            let asked = asked(&played.server, VIEW);
            assert_eq!(asked, 1, "it does not come back\n{}", played.ran);
            played
        })
        .also("✗ a  downloadFailed: video/a/a.mp4: "),
        row("gone (404), of a scene from the cache", || {
            let (server, folder) = (StandIn::start(), Folder::new());
            start(&server, &folder, &video(), &[]).wait().exits(0);
            server.forget_outputs();
            let ran = start(&server, &folder, &video(), &["-SceneRetryBudget", "0"]).wait();
            assert!(folder.warnings().contains("a file is gone from the server"), "{ran}");
            assert_eq!(server.executed(), 2);
            has_the_video(&folder, &server);
            Played { server, folder, ran }
        })
        .also("OK: 1 of 1 scenes, exit 0")
        .posts(3),
        row("0 bytes", || failing(2, Fault::Large(0), &[])),
        row("names that try to get out", hostile),
        row("a history that lists no file", || {
            with(HISTORY, ALWAYS, Fault::Change("/*/outputs".into(), json!("x")), &[])
        }),
    ];
    #[cfg(target_os = "linux")]
    rows.push(row("2 GB, in 512 MiB of memory (played on Linux)", large).slow());
    rows
}
