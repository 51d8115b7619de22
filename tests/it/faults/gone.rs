//! Servers that end, start anew or stay away, and prompts that do not end.

use std::time::Duration;

use super::polling::pending;
use super::row::{ONE_SECOND, Played, Row, STATS, VIEW, endless, meanwhile, one, row, start};
use crate::stand_in::{Config, Fault, StandIn, State, graphs};
use crate::support::{Folder, Running, SOON};

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
        row("restarted while our prompt waits", || pending(&[], restart)).posts(3),
        row("restarted while our prompt runs", || {
            meanwhile(&graphs::video("video/a", 1.5, 0, 1), &[], restart)
        })
        .posts(2),
        row("restarted between two polls, after a scene that it remembered", || {
            let (server, folder) = (StandIn::start(), Folder::new());
            folder.workflow("a.json", &graphs::video("video/a", 0.1, 0, 1));
            folder.workflow("b.json", &graphs::video("video/b", 1.5, 0, 2));
            let words = ["--poll-interval-seconds", "0.2", "-Sample", "3600", "a.json", "b.json"];
            let running = folder.start_on(&server.url(), &words);
            running.until_it_says("[Scene b] Wan2 prompt queued");
            server.restart();
            let ran = running.wait();
            let played = Played { server, folder, ran };
            next_is(&played, 1, "succeeded", "");
            played
        })
        .posts(3),
        row("restarted during a download", || downloading(true)),
        row("dead from a download on", || downloading(false)),
        row("dead while our prompt runs", || {
            meanwhile(&endless(), &["-MaxWaitSeconds", "2"], |server, _| server.stop_listening())
        })
        .also("FAILED: 1 of 1 scenes, exit 3 (unreachable)")
        .also("✗ a  unreachable: at the deadline: GET /history/")
        .also("GPU: unknown, the server does not answer: a may still run there")
        .stays(),
        row("silent until after our deadline", || {
            meanwhile(&endless(), &["-MaxWaitSeconds", "1"], |server, running| {
                for route in ["GET /", "POST /"] {
                    server.fail_next(route, usize::MAX, Fault::Hang);
                }
                running.until_it_says("cancelled, but not known to be gone");
                server.clear_faults(); // it is cancelled before the run ends
            })
        })
        .slow(),
        row("away for some seconds while our prompt runs", || {
            meanwhile(&graphs::video("video/a", 1.0, 0, 1), &[], |server, running| {
                server.stop_listening();
                running.until_it_says(REFUSED);
                // Its prompt ends meanwhile.
                assert!(server.wait_until(SOON, State::is_idle));
                server.listen_again();
            })
        }),
    ]
}

/// A scene that is deaf for so long, and two behind it.
fn deaf(seconds: f64, words: &[&str]) -> Played {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("a.json", &graphs::deaf("video/a", 600.0, seconds));
    folder.workflow("b.json", &graphs::images("img/b", 1, 1));
    folder.workflow("c.json", &graphs::images("img/c", 1, 2));
    let words =
        [&["--poll-interval-seconds", "0.2", "a.json", "b.json", "c.json"][..], words].concat();
    let ran = folder.run_on(&server.url(), &words);
    Played { server, folder, ran }
}

/// A killed run, and one after it whose server is away for a moment once it has been greeted.
fn killed() -> Played {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("b.json", &graphs::images("img/b", 1, 1));
    let running = start(&server, &folder, &endless(), &[]);
    running.until_it_says("Wan2 prompt queued");
    drop(running);
    server.fail_next(STATS, 1, Fault::Leave);
    let running = folder.start_on(&server.url(), &["b.json"]);
    assert!(server.wait_until_faults_are_met(SOON));
    std::thread::sleep(Duration::from_millis(300));
    server.listen_again();
    let ran = running.wait();
    Played { server, folder, ran }
}

#[track_caller]
fn next_is(played: &Played, scene: usize, outcome: &str, why: &str) {
    let next = &played.folder.outcomes()[scene];
    assert_eq!((next.0.as_str(), next.1.as_str()), (outcome, why), "{}", played.ran);
}

pub fn rows_of_prompts_that_do_not_end() -> Vec<Row> {
    vec![
        row("nobody listens when the prompt of a killed run is to end", killed).posts(2),
        row("the last scene ignores its interrupt", || {
            one(StandIn::start(), &graphs::deaf("video/a", 600.0, 600.0), &ONE_SECOND)
        })
        .stays(),
        row("a scene ignores its interrupt for some time, another waits behind it", || {
            // Its cancel is watched for 5 s at the deadline. The next scene tells after 5 s that it
            // waits, and waits for 8 s: the prompt is gone in the middle between the two.
            let played = deaf(12.0, &["-MaxWaitSeconds", "8", "-SceneRetryBudget", "0"]);
            next_is(&played, 1, "succeeded", "");
            played
        })
        .also("GPU free: queue empty")
        .posts(3)
        .slow(),
        row("a scene ignores its interrupt for ever, another waits behind it", || {
            let played = deaf(600.0, &["-MaxWaitSeconds", "1"]);
            for scene in [1, 2] {
                next_is(&played, scene, "skipped", "GPU still busy with a");
            }
            played
        })
        .also("✗ a  deadline, 1 s: running all the time in node 2 HoldMemory; cancelled, but still running")
        .also("GPU not free: a was asked to end and still runs")
        .stays()
        .slow(),
    ]
}
