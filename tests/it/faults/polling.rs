//! What a prompt on the server may meet.

use serde_json::{Value, json};

use super::row::{
    ALWAYS, HISTORY, Played, QUEUE, Row, endless, meanwhile, one, page, row, start, with,
};
use crate::stand_in::{Config, Fault, StandIn, graphs};
use crate::support::{Folder, Running, SOON, asked, somebody_posts};

/// A run whose prompt waits behind another client's.
pub fn pending(words: &[&str], act: impl Fn(&StandIn, &Running)) -> Played {
    let (server, folder) = (StandIn::start(), Folder::new());
    somebody_posts(&server, &graphs::video("video/theirs", 600.0, 0, 2));
    assert!(server.wait_until_running(SOON));
    let running = start(&server, &folder, &graphs::video("video/a", 0.1, 0, 1), words);
    running.until_it_says("Wan2 prompt queued");
    act(&server, &running);
    let ran = running.wait();
    Played { server, folder, ran }
}

/// The history's answer of a prompt that has ended, changed at a place.
fn changed(graph: &Value, place: &str, value: Value) -> Played {
    let server = StandIn::start();
    server.fail_next(HISTORY, ALWAYS, Fault::Change(place.to_owned(), value));
    one(server, graph, &["-SceneRetryBudget", "0"])
}

/// A prompt that started at a time of the server's clock that cannot be.
fn clock(start: Value) -> Played {
    let place = "/*/status/messages/0/1/timestamp";
    let played = changed(&graphs::polled("video/a"), place, start);
    let scene = &played.folder.metadata()["Scenes"][0];
    assert_eq!(scene["ServerSeconds"], json!(null), "{}", played.ran);
    played
}

/// The websocket goes wrong: polls do all as before, and a scene has its figures.
fn websocket() -> impl Iterator<Item = Row> {
    let claim = [&[0x81, 127][..], &(1_u64 << 62).to_be_bytes()].concat();
    let faults = [
        ("refused", Fault::Status(404, "404: Not Found")),
        ("answered by a page", page()),
        ("no answer", Fault::Hang),
        ("silent", Fault::Silent),
        ("cut off", Fault::Cut(8)),
        ("garbage", Fault::Raw(vec![0xff; 4096])),
        ("an enormous frame that dribbles", Fault::Raw(claim)),
        ("previews between", Fault::Between(2, vec![0; 1 << 20])),
        ("no JSON between", Fault::Between(1, b"{not json".to_vec())),
        ("pings between", Fault::Between(9, b"?".to_vec())),
        ("fragments", Fault::Fragments(10)),
    ];
    faults.into_iter().map(|(name, fault)| {
        let knows = matches!(fault, Fault::Between(..) | Fault::Fragments(_));
        let play = move || {
            let server = StandIn::with(Config::cuda());
            server.fail_next("GET /ws", ALWAYS, fault.clone());
            let played = one(server, &graphs::nodes("video/a", &[(500, 0.1), (9000, 0.7)]), &[]);
            let log = played.folder.read("vram-usage.log");
            assert_eq!(log.contains(",Scene=a,Node="), knows, "{log}");
            played
        };
        let row = Row::one_of("its websocket goes wrong", name, ("", ""), play);
        row.also("Scene a: peak 11140 MB")
    })
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        row("700 prompts of others in the queue (23 MB)", || {
            let graph = json!({"1": {"class_type": "X", "inputs": {"text": "x".repeat(33_000)}}});
            let item = |n: u64| json!([n, format!("p{n}"), graph, {"client_id": "c"}, ["1"]]);
            let pending: Vec<Value> = (1..=700).map(item).collect();
            let server = StandIn::start();
            let place = "/queue_pending".to_owned();
            server.fail_next(QUEUE, 2, Fault::Change(place, pending.into()));
            let played = one(server, &graphs::video("video/a", 1.0, 0, 1), &[]);
            let log = played.folder.read("vram-usage.log");
            assert!(log.contains(",Scene=a"), "{log}");
            played
        })
        .slow(),
        row("a queue of other types", || {
            let strange = r#"{"queue_running": 5, "queue_pending": {"a": null}}"#;
            with(QUEUE, 3, Fault::Body(strange.to_owned()), &[])
        }),
        row("a queue whose prompts have no id", || {
            let server = StandIn::start();
            let place = "/queue_running/0/1".to_owned();
            server.fail_next(QUEUE, ALWAYS, Fault::Change(place, json!(null)));
            one(server, &graphs::video("video/a", 1.0, 0, 1), &[])
        }),
        row("a history that is no entry", || {
            let server = StandIn::start();
            server.fail_next(HISTORY, 4, Fault::Change("/*".to_owned(), json!([1])));
            one(server, &graphs::video("video/a", 0.1, 0, 1), &[])
        }),
        row("a history that stays unreadable", || {
            let words = ["-HistoryMaxAttempts", "2"];
            with(HISTORY, ALWAYS, Fault::Status(500, "no"), &words)
        }),
        row("a history that stays unreadable to the deadline", || {
            let words = ["-MaxWaitSeconds", "2", "-SceneRetryBudget", "0"];
            with(HISTORY, ALWAYS, Fault::Status(500, "no"), &words)
        }),
        row("a token that expires while it runs", || {
            let words = ["-MaxWaitSeconds", "2", "-SceneRetryBudget", "0"];
            meanwhile(&endless(), &words, |server, _| {
                for route in ["GET /", "POST /"] {
                    server.fail_next(route, ALWAYS, Fault::Status(401, "expired"));
                }
            })
        })
        .stays()
        .slow(),
        row("the queue cleared by somebody", || pending(&[], |server, _| server.clear_queue()))
            .posts(2)
            .stays(),
        row("our running prompt removed by somebody", || {
            meanwhile(&endless(), &[], |server, _| server.drop_prompts())
        })
        .also("✗ 1 scene failed in ")
        .also("(exit 6, lost)")
        .also("✗ a  lost: gone from the queue without a history entry: somebody removed it"),
        row("our prompt interrupted by somebody", || {
            meanwhile(&endless(), &[], |server, _| server.interrupt_running())
        })
        .also("✗ a  interrupted: somebody interrupted it on the server"),
        row("the server's clock set back while it runs", || clock(json!(4_102_444_800_000_u64))),
        row("the server's clock set forward while it runs", || clock(json!(0))),
        row("out of memory in the words of a library", || {
            let why = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`";
            let played = one(StandIn::start(), &graphs::failing(why), &[]);
            assert_eq!(asked(&played.server, "POST /free"), 1, "{}", played.ran);
            played
        })
        .posts(2),
        row("an exception of other types", || {
            let strange = json!({"node_id": 5, "exception_message": {}, "exception_type": null});
            changed(&graphs::failing("x"), "/*/status/messages/2/1", strange)
        }),
    ];
    rows.splice(..0, websocket());
    rows
}
