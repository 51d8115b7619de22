//! The fault table of `docs/faults.md`: every row is played, and the page holds these rows.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::scenes::SOON;
use crate::stand_in::{Config, Fault, StandIn, Version, graphs};
use crate::support::{Folder, Ran};

/// What was played, when it is over.
struct Played {
    server: StandIn,
    folder: Folder,
    ran: Ran,
}

/// A row of the page, and how it is played.
struct Row {
    fault: &'static str,
    sees: &'static str,
    /// Of the first scene; `-` where no scene is told of.
    outcome: &'static str,
    exit: i32,
    play: fn() -> Played,
}

const STATS: &str = "GET /system_stats";
const HISTORY: &str = "GET /history/";
const QUEUE: &str = "GET /queue";
const ALWAYS: usize = usize::MAX;

fn html() -> Fault {
    Fault::Body("<html><body>Bad Gateway</body></html>".to_owned())
}

fn video() -> Value {
    graphs::video("video/a", 0.4, 64, 1)
}

/// A run of one scene against a server that was told to fail before.
fn one(server: StandIn, graph: &Value, words: &[&str]) -> Played {
    let folder = Folder::new();
    folder.workflow("a.json", graph);
    let words = [&["-Poll", "0.2", "-Sample", "0.5", "a.json"][..], words].concat();
    let ran = folder.run_on(&server.url(), &words);
    Played { server, folder, ran }
}

fn with(route: &str, times: usize, fault: Fault, words: &[&str]) -> Played {
    let server = StandIn::start();
    server.fail_next(route, times, fault);
    one(server, &video(), words)
}

/// A scene with something done to its server while it runs.
fn meanwhile(seconds: f64, words: &[&str], act: fn(&StandIn)) -> Played {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("a.json", &graphs::video("video/a", seconds, 64, 1));
    let words = [&["-Poll", "0.2", "-Sample", "0.2", "a.json"][..], words].concat();
    let running = folder.start_on(&server.url(), &words);
    assert!(server.wait_until_running(SOON));
    running.until_it_says("Wan2 prompt queued");
    act(&server);
    let ran = running.wait();
    Played { server, folder, ran }
}

fn uploading(fault: Fault, words: &[&str]) -> Played {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.write("k.png", b"\x89PNG\r\n\x1a\n");
    let story = r#"{"scenes": [{"id": "a", "prompt": "p", "keyframePath": "k.png"}]}"#;
    folder.write("story.json", story);
    let mut template = graphs::from_image("a", "__KEYFRAME_IMAGE__");
    template["90"] = json!({"class_type": "Note", "inputs": {"text": "__PROMPT__"}});
    folder.workflow("a.json", &template);
    server.fail_next("POST /upload/image", 1, fault);
    let words = [&["--story", "story.json", "a.json"][..], words].concat();
    let ran = folder.run_on(&server.url(), &words);
    Played { server, folder, ran }
}

#[cfg(target_os = "linux")]
/// The program with so many KiB for each of its files, as if the disk were full behind them.
fn cramped(kib: u32) -> Played {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("a.json", &video());
    let program = env!("CARGO_BIN_EXE_run-comfyui-e2e");
    let script = format!(
        "trap '' XFSZ; ulimit -f {kib}; exec '{program}' --comfyui-url {} -Sample 0.05 a.json",
        server.url()
    );
    let ran = folder.run_program("bash", &["-c", &script]);
    Played { server, folder, ran }
}

const ROWS: &[Row] = &[
    Row {
        fault: "nobody listens at the start",
        sees: "connection refused): start it",
        outcome: "skipped",
        exit: 3,
        play: || {
            let server = StandIn::start();
            server.stop_listening();
            one(server, &video(), &[])
        },
    },
    Row {
        fault: "silence at the start",
        sees: "no answer in time): start it",
        outcome: "skipped",
        exit: 3,
        play: || with(STATS, ALWAYS, Fault::Hang, &[]),
    },
    Row {
        fault: "a reset at the start",
        sees: "the connection broke off): start it",
        outcome: "skipped",
        exit: 3,
        play: || with(STATS, ALWAYS, Fault::Reset, &[]),
    },
    Row {
        fault: "500 at the start",
        sees: "is it the right --comfyui-url?",
        outcome: "skipped",
        exit: 3,
        play: || with(STATS, ALWAYS, Fault::Status(500, "no"), &[]),
    },
    Row {
        fault: "a proxy's page at the start",
        sees: "is it the right --comfyui-url?",
        outcome: "skipped",
        exit: 3,
        play: || with(STATS, ALWAYS, html(), &[]),
    },
    Row {
        fault: "401 or 403 at the start",
        sees: "does not let us in",
        outcome: "skipped",
        exit: 3,
        play: || with(STATS, ALWAYS, Fault::Status(401, "who?"), &[]),
    },
    Row {
        fault: "a token that expires before the prompt is posted",
        sees: "it wants other credentials",
        outcome: "rejected",
        exit: 1,
        play: || with("POST /prompt", ALWAYS, Fault::Status(403, "expired"), &[]),
    },
    Row {
        fault: "the answer to POST /prompt lost, on a new server",
        sees: "looking whether the prompt arrived",
        outcome: "succeeded",
        exit: 0,
        play: || {
            let server = StandIn::with(Config { version: Version::Newest, ..Config::default() });
            server.fail_next("POST /prompt", 1, Fault::LoseAnswer);
            one(server, &video(), &[])
        },
    },
    Row {
        fault: "the answer to POST /prompt lost, on an old server",
        sees: "looking whether the prompt arrived",
        outcome: "succeeded",
        exit: 0,
        play: || {
            let config =
                Config { version: Version::Ancient, ignore_prompt_id: true, ..Config::default() };
            let server = StandIn::with(config);
            server.fail_next("POST /prompt", 1, Fault::LoseAnswer);
            one(server, &video(), &[])
        },
    },
    Row {
        fault: "a POST /prompt that a stalled server reads later",
        sees: "Wan2 prompt queued",
        outcome: "succeeded",
        exit: 0,
        play: || with("POST /prompt", 1, Fault::Delay(Duration::from_secs(3)), &[]),
    },
    Row {
        fault: "POST /prompt reset",
        sees: "looking whether the prompt arrived",
        outcome: "succeeded",
        exit: 0,
        play: || with("POST /prompt", 1, Fault::Reset, &[]),
    },
    Row {
        fault: "POST /prompt answered by a gateway (502)",
        sees: "looking whether the prompt arrived",
        outcome: "succeeded",
        exit: 0,
        play: || with("POST /prompt", 1, Fault::Status(502, "Bad Gateway"), &[]),
    },
    Row {
        fault: "POST /prompt answered by a proxy's page",
        sees: "looking whether the prompt arrived",
        outcome: "succeeded",
        exit: 0,
        play: || with("POST /prompt", 1, html(), &[]),
    },
    Row {
        fault: "POST /prompt answered 500",
        sees: "HTTP 500: broken",
        outcome: "rejected",
        exit: 1,
        play: || with("POST /prompt", ALWAYS, Fault::Status(500, "broken"), &[]),
    },
    Row {
        fault: "an upload reset",
        sees: "POST /upload/image",
        outcome: "succeeded",
        exit: 0,
        play: || uploading(Fault::Reset, &[]),
    },
    Row {
        fault: "an upload refused",
        sees: "failed: POST /upload/image",
        outcome: "failed",
        exit: 1,
        play: || uploading(Fault::Status(413, "too large"), &[]),
    },
    Row {
        fault: "a poll reset",
        sees: "the connection broke off: polling on",
        outcome: "succeeded",
        exit: 0,
        play: || with(HISTORY, 1, Fault::Reset, &[]),
    },
    Row {
        fault: "a poll answered 500",
        sees: "HTTP 500: in trouble: polling on",
        outcome: "succeeded",
        exit: 0,
        play: || with(HISTORY, 1, Fault::Status(500, "in trouble"), &[]),
    },
    Row {
        fault: "a poll answered by a proxy's page",
        sees: "polling on",
        outcome: "succeeded",
        exit: 0,
        play: || with(HISTORY, 2, html(), &[]),
    },
    Row {
        fault: "a poll's answer cut",
        sees: "polling on",
        outcome: "succeeded",
        exit: 0,
        play: || with(HISTORY, 1, Fault::CutBody, &[]),
    },
    Row {
        fault: "a poll's answer without end",
        sees: "polling on",
        outcome: "succeeded",
        exit: 0,
        play: || with(HISTORY, 1, Fault::Endless, &[]),
    },
    Row {
        fault: "silence at a poll",
        sees: "no answer in time: polling on",
        outcome: "succeeded",
        exit: 0,
        play: || with(HISTORY, 1, Fault::Hang, &[]),
    },
    Row {
        fault: "wrong types in the queue",
        sees: "polling on",
        outcome: "succeeded",
        exit: 0,
        play: || {
            let strange = r#"{"queue_running": 5, "queue_pending": {"a": null}}"#;
            with(QUEUE, 4, Fault::Body(strange.to_owned()), &[])
        },
    },
    Row {
        fault: "wrong types in the history",
        sees: "polling on",
        outcome: "succeeded",
        exit: 0,
        play: || with(HISTORY, 2, Fault::Body("[[1], null, \"x\"]".to_owned()), &[]),
    },
    Row {
        fault: "a history that stays unreadable",
        sees: "HISTORY WARNING: ",
        outcome: "lost",
        exit: 6,
        play: || with(HISTORY, ALWAYS, Fault::Status(500, "no"), &["-HistoryMaxAttempts", "2"]),
    },
    Row {
        fault: "a download cut once",
        sees: ": downloading again",
        outcome: "succeeded",
        exit: 0,
        play: || with("GET /view", 1, Fault::CutBody, &[]),
    },
    Row {
        fault: "a download cut every time",
        sees: "downloadFailed: video/a/a.mp4: ",
        outcome: "downloadFailed",
        exit: 1,
        play: || with("GET /view", ALWAYS, Fault::CutBody, &[]),
    },
    Row {
        fault: "silence during a download",
        sees: "downloadFailed: video/a/a.mp4: ",
        outcome: "downloadFailed",
        exit: 1,
        play: || with("GET /view", ALWAYS, Fault::Hang, &["-Post", "1", "-SceneRetryBudget", "0"]),
    },
    Row {
        fault: "an output that is gone (404)",
        sees: "HTTP 404",
        outcome: "downloadFailed",
        exit: 1,
        play: || with("GET /view", ALWAYS, Fault::Status(404, ""), &[]),
    },
    Row {
        fault: "an output of 0 bytes",
        sees: "video/a/a.mp4 (0 bytes)",
        outcome: "succeeded",
        exit: 0,
        play: || with("GET /view", 1, Fault::Body(String::new()), &[]),
    },
    Row {
        fault: "/free answered 500",
        sees: "nothing was freed: POST /free",
        outcome: "succeeded",
        exit: 0,
        play: || with("POST /free", ALWAYS, Fault::Status(500, "no"), &["-Fresh"]),
    },
    Row {
        fault: "cancelling reset once, at the deadline",
        sees: "cancelled and seen gone",
        outcome: "deadline",
        exit: 4,
        play: || {
            let server = StandIn::start();
            server.fail_next("POST /api/jobs", 1, Fault::Reset);
            server.fail_next("POST /interrupt", 1, Fault::Reset);
            let words = ["-MaxWaitSeconds", "1", "-SceneRetryBudget", "0"];
            one(server, &graphs::video("video/a", 60.0, 64, 1), &words)
        },
    },
    Row {
        fault: "a prompt that ignores its interrupt",
        sees: "cancel asked, still running",
        outcome: "deadline",
        exit: 4,
        play: || {
            let words = ["-MaxWaitSeconds", "1", "-SceneRetryBudget", "0"];
            one(StandIn::start(), &graphs::deaf("video/a", 60.0, 8.0), &words)
        },
    },
    Row {
        fault: "the server restarted while the prompt runs",
        sees: "2nd attempt (1st: lost, server restarted ",
        outcome: "succeeded",
        exit: 0,
        play: || {
            meanwhile(1.5, &[], |server| {
                server.stop_listening();
                assert!(server.wait_until(SOON, |_| true));
                std::thread::sleep(Duration::from_millis(700));
                server.restart();
            })
        },
    },
    Row {
        fault: "a server that stays dead",
        sees: "may still run there",
        outcome: "unreachable",
        exit: 3,
        play: || meanwhile(60.0, &["-MaxWaitSeconds", "2"], StandIn::stop_listening),
    },
    Row {
        fault: "the queue cleared by somebody",
        sees: "somebody removed it",
        outcome: "lost",
        exit: 6,
        play: || meanwhile(60.0, &[], StandIn::drop_prompts),
    },
    Row {
        fault: "our prompt interrupted by somebody",
        sees: "somebody interrupted it on the server",
        outcome: "interrupted",
        exit: 1,
        play: || meanwhile(60.0, &[], StandIn::interrupt_running),
    },
    Row {
        fault: "the run folder deleted while the scene runs",
        sees: "OK: 1 of 1 scenes",
        outcome: "succeeded",
        exit: 0,
        play: || {
            let (server, folder) = (StandIn::start(), Folder::new());
            folder.workflow("a.json", &graphs::video("video/a", 1.0, 64, 1));
            let running = folder.start_on(&server.url(), &["-Sample", "0.2", "a.json"]);
            assert!(server.wait_until_running(SOON));
            // Where files that are open cannot go, nothing is lost.
            let _ = std::fs::remove_dir_all(folder.newest());
            let ran = running.wait();
            Played { server, folder, ran }
        },
    },
    #[cfg(target_os = "linux")]
    Row {
        fault: "the disk full under the log, the summary and the outputs",
        sees: "lines are missing there",
        outcome: "-",
        exit: 1,
        play: || cramped(1),
    },
];

#[track_caller]
fn check(row: &Row) {
    let Played { server, folder, ran } = (row.play)();
    let fault = row.fault;
    assert_eq!(ran.code, row.exit, "{fault}\n{ran}");
    let said = ran.stdout.contains(row.sees) || ran.stderr.contains(row.sees);
    assert!(said, "{fault}: not seen: {}\n{ran}", row.sees);
    if row.outcome != "-" {
        assert_eq!(folder.outcomes()[0].0, row.outcome, "{fault}\n{ran}");
    }
    let most = if row.sees.contains("2nd attempt") { 2 } else { 1 };
    assert!(server.posted() <= most, "{fault}: generated {} times\n{ran}", server.posted());
}

/// Every fourth row, so that they run beside each other.
fn play(first: usize) {
    for row in ROWS.iter().skip(first).step_by(4) {
        check(row);
    }
}

#[test]
fn every_row_first() {
    play(0);
}

#[test]
fn every_row_second() {
    play(1);
}

#[test]
fn every_row_third() {
    play(2);
}

#[test]
fn every_row_fourth() {
    play(3);
}

#[test]
fn the_page_has_these_rows() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md");
    let page = std::fs::read_to_string(page).unwrap();
    let page: String = page.chars().filter(|c| *c != '\r').collect();
    for row in ROWS {
        let exit = row.exit;
        let line =
            format!("| {} | `{}` | {} | {exit} |\n", row.fault, row.sees.trim(), row.outcome);
        assert!(page.contains(&line), "missing in docs/faults.md:\n{line}");
    }
}
