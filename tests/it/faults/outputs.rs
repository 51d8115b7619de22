//! Files that do not come home, or come home strangely.

use serde_json::{Value, json};

use super::row::{ALWAYS, HISTORY, Played, Row, VIEW, one, page, row, start, video, with};
use crate::outcomes::has_the_video;
use crate::stand_in::{Fault, StandIn, graphs};
use crate::support::{Folder, SOON, asked, files, prompts};

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

fn files_of(played: &Played) -> Vec<String> {
    files(&played.folder.newest().join("outputs/a"))
}

fn text(body: &str) -> Fault {
    Fault::Body(body.to_owned())
}

fn pictures(count: usize) -> Value {
    let name = |n| json!({"filename": format!("a_{n:05}_.png"), "subfolder": "", "type": "output"});
    json!({"4": {"images": (1..=count).map(name).collect::<Vec<_>>()}})
}

/// A scene whose history lists these outputs, and whose downloads are answered so, so many times
/// each; then by a picture.
fn listed(outputs: Value, faults: &[(usize, Fault)]) -> Played {
    let server = StandIn::start();
    server.fail_next(HISTORY, ALWAYS, Fault::Change("/*/outputs".into(), outputs));
    for (times, fault) in faults {
        server.fail_next(VIEW, *times, fault.clone());
    }
    server.fail_next(VIEW, ALWAYS, text("\u{89}PNG, a picture"));
    one(server, &video(), &["-SceneRetryBudget", "0"])
}

/// The first part of its work has queued the rest, as `VideoHelperSuite`'s meta batch does.
fn batch() -> Played {
    let (server, folder) = (StandIn::start(), Folder::new());
    let running = start(&server, &folder, &graphs::video("video/a", 1.0, 64, 1), &[]);
    assert!(server.wait_until(SOON, |state| state.running.is_some()));
    server.queue_again();
    let id = prompts(&server).pop().unwrap()["prompt_id"].take();
    let part = json!({"1": {"unfinished_batch": [true]}});
    let route = format!("GET /history/{}", id.as_str().unwrap());
    server.fail_next(&route, ALWAYS, Fault::Change("/*/outputs".into(), part));
    let ran = running.wait();
    has_the_video(&folder, &server);
    assert!(!ran.stdout.contains("Another client's prompt"), "{ran}");
    Played { server, folder, ran }
}

/// Behind the last `|` is one without a name: it is no file.
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
    server.fail_next(VIEW, ALWAYS, Fault::Body("\u{89}".into()));
    let ran = running.wait();
    let names = files(&folder.newest().join("outputs/a"));
    assert_eq!(names.len(), 13, "{names:?}\n{ran}");
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
            .also("✗ 1 scene failed in ")
            .also("(exit 1)"),
        row("silence every time", || {
            failing(ALWAYS, Fault::Hang, &["-Post", "1", "-SceneRetryBudget", "0"])
        }),
        row("a file that comes byte by byte", || {
            let server = StandIn::start();
            server.fail_next(VIEW, 1, Fault::Dribble);
            one(server, &graphs::images("img/a", 1, 1), &["-Post", "1"])
        })
        .also("downloading again"),
        row("more comes than was announced", || failing(ALWAYS, Fault::Longer, &[])),
        row("it comes compressed, unasked", || {
            failing(ALWAYS, Fault::Header("Content-Encoding", "gzip"), &[])
        }),
        row("a proxy that has waited too long on a kept connection (408)", || {
            failing(1, Fault::Status(408, ""), &["-SceneRetryBudget", "0"])
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
        .also("✓ 1 scene in ")
        .posts(3),
        row("0 bytes", || failing(ALWAYS, Fault::Large(0), &[])),
        row("a login page in place of a picture", || listed(pictures(1), &[(1, page())])),
        row("JSON in place of a picture", || {
            listed(pictures(1), &[(1, Fault::Body("{\"detail\": \"no\"}".into()))])
        }),
        row("one of three files gone (404)", || {
            let played = listed(pictures(3), &[(1, Fault::Status(404, ""))]);
            let home = files(&played.folder.newest().join("outputs/a"));
            assert_eq!(home, ["a_00002_.png", "a_00003_.png"], "{}", played.ran);
            assert!(!played.ran.stdout.contains("-PostExecutionTimeoutSeconds"), "{}", played.ran);
            played
        }),
        row("a name with `..` in it (400)", || {
            let outputs = json!({"4": {"x": [{"filename": "a..png", "type": "output"}]}});
            listed(outputs, &[(1, Fault::Status(400, ""))])
        }),
        row("a sequence that is listed by its pattern", || {
            let server = StandIn::start();
            let files = json!([{"filename": "a_%05d_.png", "subfolder": "img", "type": "output"}]);
            let place = "/*/outputs/*".to_owned();
            server.fail_next(HISTORY, ALWAYS, Fault::Change(place, json!({ "gifs": files })));
            let played = one(server, &graphs::images("img/a", 3, 1), &[]);
            assert_eq!(files_of(&played).len(), 3, "{}", played.ran);
            played
        }),
        row("a file without a type", || {
            listed(json!({"4": {"x": [{"filename": "a_00001_.png"}]}}), &[(1, text("\u{89}PNG"))])
        }),
        row("a 3D file named only as a string", || {
            let outputs = json!({"4": {"result": ["3d\\a.glb", null, null]},
                "5": {"images": [{"filename": "p.png", "type": "temp"}]}});
            let played = listed(outputs, &[(1, text("glTF\u{2}"))]);
            let asked = played.server.requests();
            let asked = asked.iter().find(|request| request.is(VIEW)).unwrap();
            assert!(
                asked.path.contains("filename=a.glb&subfolder=3d&type=output"),
                "{}",
                asked.path
            );
            played
        }),
        row("a text that a node shows", || {
            let played = listed(json!({"4": {"text": ["first", "other"]}}), &[]);
            assert_eq!(played.folder.output("outputs/a/4.txt"), b"first\nother");
            played
        }),
        row("a file without a name", || {
            listed(json!({"4": {"images": [{"filename": "", "type": "output"}]}}), &[])
        }),
        row("a batch that goes on as other prompts", batch),
        row("a batch whose rest was never queued", || {
            listed(json!({"4": {"unfinished_batch": [true]}}), &[])
        })
        .slow(),
        row("names that try to get out", hostile),
        row("a history that lists no file", || {
            with(HISTORY, ALWAYS, Fault::Change("/*/outputs".into(), json!("x")), &[])
        }),
    ];
    #[cfg(target_os = "linux")]
    rows.push(row("2 GB, in 512 MiB of memory (played on Linux)", large).slow());
    rows
}
