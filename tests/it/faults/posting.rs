//! What keeps a run from beginning, and posting a prompt exactly once whatever becomes of the answer.

use std::time::Duration;

use super::row::{
    ALWAYS, PROMPT, Played, Row, STATS, endless, one, page, row, start, uploading, video, with,
};
use crate::stand_in::{Config, Fault, StandIn, Version, graphs};
use crate::support::{Folder, SOON, prompts};

const LOOKING: &str = "looking whether the prompt arrived";

pub fn rows_at_the_start() -> Vec<Row> {
    // The server of a dry run goes away, or falls silent, once it has said who it is.
    let dry = |name, told, route, fault: Fault| {
        let play = move || with(route, ALWAYS, fault.clone(), &["-DryRun"]);
        let line = "`GET /object_info/{class}` of a dry run";
        Row::one_of(line, name, (told, ""), play).also(format!(": {told} (exit 3)\n"))
    };
    vec![
        row("nobody listens at the start", || {
            let (server, folder) = (StandIn::start(), Folder::new());
            server.stop_listening();
            folder.workflow("b.json", &video());
            let ran = start(&server, &folder, &video(), &["b.json"]).wait();
            Played { server, folder, ran }
        })
        .also("start it, or --comfyui-url URL, or --wait-for-comfyui 120")
        .also("✗ no scene was run (exit 3, unreachable)")
        .also("✗ b  skipped: no ComfyUI"),
        row("silence at the start", || with(STATS, ALWAYS, Fault::Hang, &[])),
        row("another server at that address", || {
            with(STATS, ALWAYS, Fault::Status(404, "not here"), &[])
        }),
        row("401 at the start", || {
            with(STATS, ALWAYS, Fault::Status(401, "who?"), &["-WaitForComfyUI", "3600"])
        })
        .also("HTTP 401 (it wants other credentials"),
        row("403 at the start", || {
            with(STATS, ALWAYS, Fault::Status(403, "not you"), &["-WaitForComfyUI", "3600"])
        }),
        dry("refused", "connection refused", STATS, Fault::Leave),
        dry("reset", "the connection broke off", "GET /object_info", Fault::Reset),
        dry("silence", "no answer in time", "GET /object_info", Fault::Hang),
    ]
}

/// A server of some age that loses the answer to a POST.
fn lost(version: Version) -> Played {
    let ignore_prompt_id = version == Version::Ancient;
    let server = StandIn::with(Config { version, ignore_prompt_id, ..Config::default() });
    server.fail_next(PROMPT, 1, Fault::LoseAnswer);
    let played = one(server, &graphs::polled("video/a"), &[]);
    assert_eq!((prompts(&played.server).len(), played.server.executed()), (1, 1));
    played
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

/// A server that carries a POST out when it was given up and posted anew.
fn late() -> Played {
    let (server, folder) = (StandIn::start(), Folder::new());
    server.fail_next(PROMPT, 1, Fault::ActLate(Duration::from_secs(13)));
    let running = start(&server, &folder, &graphs::video("video/a", 600.0, 10, 1), &[]);
    running.until_it_says("a POST that was given up has arrived late");
    server.finish_running();
    let ran = running
        .wait()
        .says("arrived late: cancelled on the server")
        .says("ComfyUI idle, queue empty");
    assert_eq!((prompts(&server).len(), server.executed()), (2, 1));
    Played { server, folder, ran }
}

/// The gateway's word does not count as one of the three.
fn troubled() -> Played {
    let server = StandIn::start();
    server.fail_next(PROMPT, 1, Fault::Status(502, "Bad Gateway"));
    server.fail_next(PROMPT, ALWAYS, Fault::Status(500, "broken"));
    let played = one(server, &graphs::polled("video/a"), &[]);
    assert_eq!(played.ran.stdout.matches(LOOKING).count(), 4, "{}", played.ran);
    played
}

pub fn rows() -> Vec<Row> {
    vec![
        row("the answer lost, on a server that takes our id", || lost(Version::Newest)),
        row("the answer lost, on one that gives its own", || lost(Version::Ancient)),
        row("a POST that is cut, and carried out 3 s later", || {
            with(PROMPT, 1, Fault::ActLate(Duration::from_secs(3)), &[])
        })
        .posts(1),
        row("a POST that is cut, and carried out when another was posted", late).posts(2),
        row("a POST that a stalled server reads when it was given up", stalled),
        row("a POST that is read 3 s late", || {
            let late = Fault::Delay(Duration::from_secs(3));
            let Played { server, folder, ran } = with(PROMPT, 1, late, &[]);
            Played { server, folder, ran: ran.never_says(LOOKING) }
        }),
        row("a POST that nobody reads until the deadline", || {
            with(PROMPT, ALWAYS, Fault::Hang, &["-MaxWaitSeconds", "5", "-SceneRetryBudget", "0"])
        }),
        row("a POST answered by a gateway (502)", || {
            with(PROMPT, 1, Fault::Status(502, "Bad Gateway"), &[])
        }),
        row("a POST answered 200 by a proxy's page", || with(PROMPT, 1, page(), &[])),
        row("a POST answered by a gateway (502), then 500 three times", troubled).slow(),
        row("a token that has expired by the POST", || {
            with(PROMPT, ALWAYS, Fault::Status(401, "expired"), &[])
        }),
        row("403 at the POST", || with(PROMPT, ALWAYS, Fault::Status(403, "not you"), &[])),
        row("413 at the POST", || with(PROMPT, ALWAYS, Fault::Status(413, "too large"), &[])),
        row("a POST answered 429 for a moment", || {
            with(PROMPT, 2, Fault::Status(429, "slow down"), &[])
        }),
        row("a POST answered 404 once", || with(PROMPT, 1, Fault::Status(404, "no page"), &[])),
        row("a POST answered 200 with an error and no prompt_id", || {
            let error = r#"{"error": {"message": "no disk"}, "node_errors": {}}"#;
            with(PROMPT, ALWAYS, Fault::Body(error.into()), &[])
        })
        .posts(1),
        row("an image answered by a proxy's page", || uploading(1, page(), &[])),
        row("an image that the server does not take", || {
            uploading(ALWAYS, Fault::Status(413, "too large"), &[])
        }),
        row("a server that takes no image at all", || uploading(ALWAYS, Fault::Reset, &[])),
        row("a server that dies with the POST", || {
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
