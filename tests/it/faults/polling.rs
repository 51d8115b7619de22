//! What a prompt on the server may meet.

use serde_json::json;

use super::bench::{ALWAYS, HISTORY, Played, QUEUE, Row, endless, meanwhile, one, row, with};
use crate::scenes::{SOON, somebody_posts};
use crate::stand_in::{Fault, StandIn, graphs};
use crate::support::{Folder, Running};

/// A run whose prompt waits behind another client's.
pub fn pending(words: &[&str], act: impl Fn(&StandIn, &Running)) -> Played {
    let (server, folder) = (StandIn::start(), Folder::new());
    somebody_posts(&server, &graphs::video("video/theirs", 600.0, 0, 2));
    assert!(server.wait_until_running(SOON));
    let running =
        super::bench::start(&server, &folder, &graphs::video("video/a", 0.1, 0, 1), words);
    running.until_it_says("Wan2 prompt queued");
    act(&server, &running);
    let ran = running.wait();
    Played { server, folder, ran }
}

/// The history's answer of a prompt that has ended, changed at a place.
fn changed(graph: &serde_json::Value, place: &str, value: serde_json::Value) -> Played {
    let server = StandIn::start();
    server.fail_next(HISTORY, ALWAYS, Fault::Change(place.to_owned(), value));
    one(server, graph, &["-SceneRetryBudget", "0"])
}

pub fn rows() -> Vec<Row> {
    const START: &str = "/*/status/messages/0/1/timestamp";
    vec![
        row(
            "a queue of other types",
            "an answer without its arrays: polling on",
            "succeeded",
            0,
            || {
                let strange = r#"{"queue_running": 5, "queue_pending": {"a": null}}"#;
                with(QUEUE, 3, Fault::Body(strange.to_owned()), &[])
            },
        ),
        row(
            "a queue whose prompts have no id",
            "an answer without its arrays: polling on",
            "succeeded",
            0,
            || {
                let server = StandIn::start();
                let place = "/queue_running/0/1".to_owned();
                server.fail_next(QUEUE, ALWAYS, Fault::Change(place, json!(null)));
                one(server, &graphs::video("video/a", 1.0, 0, 1), &[])
            },
        ),
        row(
            "a history that is no entry",
            "an entry without status: polling on",
            "succeeded",
            0,
            || {
                let server = StandIn::start();
                server.fail_next(HISTORY, 4, Fault::Change("/*".to_owned(), json!([1])));
                one(server, &graphs::video("video/a", 0.1, 0, 1), &[])
            },
        ),
        row("a history that stays unreadable", "HISTORY WARNING: ", "lost", 6, || {
            let words = ["-HistoryMaxAttempts", "2"];
            with(HISTORY, ALWAYS, Fault::Status(500, "no"), &words)
        }),
        row(
            "a history that stays unreadable to the deadline",
            "cancelled and seen gone",
            "deadline",
            4,
            || {
                let words = ["-MaxWaitSeconds", "2", "-SceneRetryBudget", "0"];
                with(HISTORY, ALWAYS, Fault::Status(500, "no"), &words)
            },
        ),
        row(
            "a token that expires while it runs",
            "it wants other credentials: --header-file FILE",
            "deadline",
            4,
            || {
                meanwhile(
                    &endless(),
                    &["-MaxWaitSeconds", "2", "-SceneRetryBudget", "0"],
                    |server, _| {
                        for route in ["GET /", "POST /"] {
                            server.fail_next(route, ALWAYS, Fault::Status(401, "expired"));
                        }
                    },
                )
            },
        )
        .stays()
        .slow(),
        row("the queue cleared by somebody", "somebody removed it", "lost", 6, || {
            pending(&[], |server, _| server.clear_queue())
        })
        .posts(2)
        .stays(),
        row("our running prompt removed by somebody", "somebody removed it", "lost", 6, || {
            meanwhile(&endless(), &[], |server, _| server.drop_prompts())
        }),
        row(
            "our prompt interrupted by somebody",
            "somebody interrupted it on the server",
            "interrupted",
            1,
            || meanwhile(&endless(), &[], |server, _| server.interrupt_running()),
        ),
        row("the server's clock set back while it runs", "✓ a  ", "succeeded", 0, || {
            let played = changed(&graphs::polled("video/a"), START, json!(4_102_444_800_000_u64));
            let scene = &played.folder.metadata()["Scenes"][0];
            assert_eq!(scene["ServerSeconds"], json!(null), "{}", played.ran);
            played
        }),
        row("the server's clock set forward while it runs", "✓ a  ", "succeeded", 0, || {
            let played = changed(&graphs::polled("video/a"), START, json!(0));
            let scene = &played.folder.metadata()["Scenes"][0];
            assert_eq!(scene["ServerSeconds"], json!(null), "{}", played.ran);
            played
        }),
        row("an exception of other types", "failed: node  :", "failed", 1, || {
            let strange = json!({"node_id": 5, "exception_message": {}, "exception_type": null});
            changed(&graphs::failing("x"), "/*/status/messages/2/1", strange)
        }),
    ]
}
