//! Prompts that do not want to end.

use std::time::Duration;

use super::bench::{Played, Row, STATS, endless, one, row, start};
use crate::scenes::SOON;
use crate::stand_in::{Fault, StandIn, graphs};
use crate::support::Folder;

/// A scene that is deaf for so long, and one behind it.
fn deaf(seconds: f64, words: &[&str]) -> Played {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("a.json", &graphs::deaf("video/a", 600.0, seconds));
    folder.workflow("b.json", &graphs::images("img/b", 1, 1));
    let words = [&["-Poll", "0.2", "a.json", "b.json"][..], words].concat();
    let ran = folder.run_on(&server.url(), &words);
    Played { server, folder, ran }
}

/// A killed run, and one after it whose server is away for a moment once it has been greeted.
fn killed() -> Played {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("b.json", &graphs::images("img/b", 1, 1));
    let running = start(&server, &folder, &endless(), &[]);
    running.until_it_says("Wan2 prompt queued");
    running.kill();
    server.fail_next(STATS, 1, Fault::Leave);
    let running = folder.start_on(&server.url(), &["b.json"]);
    assert!(server.wait_until_faults_are_met(SOON));
    std::thread::sleep(Duration::from_millis(300));
    server.listen_again();
    let ran = running.wait();
    Played { server, folder, ran }
}

#[track_caller]
fn second_is(played: &Played, outcome: &str, why: &str) {
    let second = &played.folder.outcomes()[1];
    assert_eq!((second.0.as_str(), second.1.as_str()), (outcome, why), "{}", played.ran);
}

pub fn rows() -> Vec<Row> {
    vec![
        row(
            "nobody listens when the prompt of a killed run is to end",
            "a: cancelled and seen gone",
            "succeeded",
            0,
            killed,
        )
        .posts(2),
        row("the last scene ignores its interrupt", "cancel asked, still running", "deadline", 4, || {
            let words = ["-MaxWaitSeconds", "1", "-SceneRetryBudget", "0"];
            one(StandIn::start(), &graphs::deaf("video/a", 600.0, 600.0), &words)
        })
        .stays(),
        row(
            "a scene ignores its interrupt for some time, another waits behind it",
            "still running after its cancel: asking again every 10 s, nothing is posted before it is gone",
            "deadline",
            4,
            || {
                // 5 s at its deadline, 5 s before the next scene: gone when it is asked again.
                let played = deaf(11.0, &["-MaxWaitSeconds", "6", "-SceneRetryBudget", "0"]);
                second_is(&played, "succeeded", "");
                played
            },
        )
        .posts(2)
        .slow(),
        row(
            "a scene ignores its interrupt for ever, another waits behind it",
            "✗ b  skipped: GPU still busy with a",
            "deadline",
            1,
            || {
                let played = deaf(600.0, &["-MaxWaitSeconds", "1"]);
                second_is(&played, "skipped", "GPU still busy with a");
                played
            },
        )
        .stays()
        .slow(),
    ]
}
