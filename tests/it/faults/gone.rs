//! Servers that end, start anew, or stay away.

use std::time::Duration;

use super::bench::{Played, Row, VIEW, endless, meanwhile, row, start};
use super::polling::pending;
use crate::scenes::SOON;
use crate::stand_in::{Config, Fault, StandIn, graphs};
use crate::support::{Folder, Running};

const AGAIN: &str = "2nd attempt (1st: lost, server restarted ";
const REFUSED: &str = "connection refused: polling on";

/// Ends it, and starts it anew once that was noticed.
fn restart(server: &StandIn, running: &Running) {
    server.stop_listening();
    running.until_it_says(REFUSED);
    server.restart();
}

/// The server ends in the middle of a download; what it saved is there again later.
fn downloading(back: bool) -> Played {
    let server = StandIn::with(Config { video_padding: 1 << 20, ..Config::default() });
    let folder = Folder::new();
    server.fail_next(VIEW, 1, Fault::Dribble);
    let words = ["-SceneRetryBudget", if back { "20" } else { "1" }];
    let running = start(&server, &folder, &graphs::video("video/a", 0.1, 0, 1), &words);
    assert!(server.wait_until_request(VIEW, 1, SOON));
    server.stop_listening();
    if back {
        running.until_it_says("connection refused: downloading again");
        server.restart();
    }
    let ran = running.wait();
    Played { server, folder, ran }
}

pub fn rows() -> Vec<Row> {
    vec![
        row("restarted while our prompt waits", AGAIN, "succeeded", 0, || pending(&[], restart))
            .posts(3),
        row("restarted while our prompt runs", AGAIN, "succeeded", 0, || {
            meanwhile(&graphs::video("video/a", 1.5, 0, 1), &[], restart)
        })
        .posts(2),
        row(
            "restarted between two polls, after a scene that it remembered",
            AGAIN,
            "succeeded",
            0,
            || {
                let (server, folder) = (StandIn::start(), Folder::new());
                folder.workflow("a.json", &graphs::video("video/a", 0.1, 0, 1));
                folder.workflow("b.json", &graphs::video("video/b", 1.5, 0, 2));
                let words = ["-Poll", "0.2", "-Sample", "3600", "a.json", "b.json"];
                let running = folder.start_on(&server.url(), &words);
                running.until_it_says("[Scene b] Wan2 prompt queued");
                server.restart();
                let ran = running.wait();
                Played { server, folder, ran }
            },
        )
        .posts(3),
        row("restarted during a download", "refused: downloading again", "succeeded", 0, || {
            downloading(true)
        }),
        row(
            "dead from a download on",
            "downloadFailed: video/a/a.mp4: ",
            "downloadFailed",
            1,
            || downloading(false),
        ),
        row("dead while our prompt runs", "a may still run there", "unreachable", 3, || {
            meanwhile(&endless(), &["-MaxWaitSeconds", "2"], |server, _| server.stop_listening())
        })
        .stays(),
        row(
            "silent until after our deadline",
            "cancel asked, not seen gone",
            "deadline",
            4,
            || {
                meanwhile(&endless(), &["-MaxWaitSeconds", "1"], |server, running| {
                    for route in ["GET /", "POST /"] {
                        server.fail_next(route, usize::MAX, Fault::Hang);
                    }
                    running.until_it_says("cancel asked, not seen gone");
                    server.clear_faults(); // it is cancelled before the run ends
                })
            },
        )
        .slow(),
        row("away for some seconds while our prompt runs", REFUSED, "succeeded", 0, || {
            meanwhile(&graphs::video("video/a", 1.0, 0, 1), &[], |server, running| {
                server.stop_listening();
                running.until_it_says(REFUSED);
                // Its prompt ends meanwhile.
                assert!(server.wait_until_idle(Duration::from_secs(20)));
                server.listen_again();
            })
        }),
    ]
}
