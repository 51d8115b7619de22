//! Posting a prompt exactly once, whatever becomes of the answer.

use std::time::Duration;

use super::bench::{
    ALWAYS, PROMPT, Played, Row, endless, one, page, row, start, storied, video, with,
};
use crate::scenes::SOON;
use crate::stand_in::{Config, Fault, StandIn, Version};
use crate::support::Folder;

const LOOKING: &str = "looking whether the prompt arrived";

fn of(version: Version) -> StandIn {
    let ignore_prompt_id = version == Version::Ancient;
    StandIn::with(Config { version, ignore_prompt_id, ..Config::default() })
}

fn uploading(fault: Fault) -> Played {
    let (server, folder) = (StandIn::start(), Folder::new());
    server.fail_next("POST /upload/image", ALWAYS, fault);
    let ran = folder.run_on(&server.url(), &storied(&folder));
    Played { server, folder, ran }
}

/// A server that stalls as a whole from the POST on, until well after that was given up.
fn stalled() -> Played {
    let (server, folder) = (StandIn::start(), Folder::new());
    let later = Fault::Delay(Duration::from_secs(3600));
    server.fail_next(PROMPT, 1, later.clone());
    server.fail_after(PROMPT, "GET /", ALWAYS, later);
    let words = ["-MaxWaitSeconds", "5", "-SceneRetryBudget", "0"];
    let running = start(&server, &folder, &endless(), &words);
    running.until_it_says(LOOKING);
    server.clear_faults(); // lets go of it: it is read now
    let ran = running.wait();
    Played { server, folder, ran }
}

pub fn rows() -> Vec<Row> {
    vec![
        row("the answer lost, on a server that takes our id", LOOKING, "succeeded", 0, || {
            let server = of(Version::Newest);
            server.fail_next(PROMPT, 1, Fault::LoseAnswer);
            one(server, &video(), &[])
        }),
        row("the answer lost, on one that gives its own", LOOKING, "succeeded", 0, || {
            let server = of(Version::Ancient);
            server.fail_next(PROMPT, 1, Fault::LoseAnswer);
            one(server, &video(), &[])
        }),
        row(
            "a POST that a stalled server reads when it was given up",
            "cancelled and seen gone",
            "deadline",
            4,
            stalled,
        ),
        row("a POST that is read 3 s late", "Wan2 prompt queued", "succeeded", 0, || {
            let late = Fault::Delay(Duration::from_secs(3));
            let Played { server, folder, ran } = with(PROMPT, 1, late, &[]);
            Played { server, folder, ran: ran.never_says(LOOKING) }
        }),
        row(
            "a POST that nobody reads until the deadline",
            "posting it was not answered in time",
            "deadline",
            4,
            || {
                with(
                    PROMPT,
                    ALWAYS,
                    Fault::Hang,
                    &["-MaxWaitSeconds", "5", "-SceneRetryBudget", "0"],
                )
            },
        ),
        row("a POST answered by a gateway (502)", LOOKING, "succeeded", 0, || {
            with(PROMPT, 1, Fault::Status(502, "Bad Gateway"), &[])
        }),
        row("a POST answered 200 by a proxy's page", LOOKING, "succeeded", 0, || {
            with(PROMPT, 1, page(), &[])
        }),
        row("a POST answered 500", "HTTP 500: broken", "rejected", 1, || {
            with(PROMPT, ALWAYS, Fault::Status(500, "broken"), &[])
        }),
        row(
            "a token that has expired by the POST",
            "it wants other credentials",
            "rejected",
            1,
            || with(PROMPT, ALWAYS, Fault::Status(401, "expired"), &[]),
        ),
        row("403 at the POST", "it wants other credentials", "rejected", 1, || {
            with(PROMPT, ALWAYS, Fault::Status(403, "not you"), &[])
        }),
        row(
            "an image answered by a proxy's page",
            "an answer without the image's name",
            "succeeded",
            0,
            || {
                let (server, folder) = (StandIn::start(), Folder::new());
                server.fail_next("POST /upload/image", 1, page());
                let ran = folder.run_on(&server.url(), &storied(&folder));
                Played { server, folder, ran }
            },
        ),
        row(
            "an image that the server does not take",
            "✗ a  failed: POST /upload/image",
            "failed",
            1,
            || uploading(Fault::Status(413, "too large")),
        ),
        row("a server that takes no image at all", "failed, 2 attempts: POST", "failed", 1, || {
            uploading(Fault::Reset)
        }),
        row("a server that dies with the POST", LOOKING, "unreachable", 3, || {
            let (server, folder) = (StandIn::start(), Folder::new());
            server.fail_next(PROMPT, 1, Fault::Die);
            let words = ["-MaxWaitSeconds", "3", "-SceneRetryBudget", "0"];
            let running = start(&server, &folder, &endless(), &words);
            assert!(server.wait_until_faults_are_met(SOON));
            let ran = running.wait();
            Played { server, folder, ran }
        })
        .stays(),
    ]
}
