//! Every request that a run sends, met by everything that a connection can do.

use std::time::Duration;

use serde_json::Value;

use super::row::{
    HISTORY, ONE_SECOND, PROMPT, Played, QUEUE, Row, STATS, Told, UPLOAD, VIEW, endless, page,
    storied,
};
use crate::scenes::SOON;
use crate::stand_in::{Config, Fault, StandIn, Version, graphs};
use crate::support::Folder;

/// What happens to a request.
struct How {
    name: &'static str,
    /// `None`: nobody listens any more.
    fault: fn() -> Option<Fault>,
    told: Told,
}

const fn how(name: &'static str, told: Told, fault: fn() -> Option<Fault>) -> How {
    How { name, fault, told }
}

/// The last five make a difference only where the answer is read.
const HOWS: [How; 9] = [
    how("refused", ("connection refused", "refused"), || None),
    how("reset", BROKE_OFF, || Some(Fault::Reset)),
    how("silence", TOO_LATE, || Some(Fault::Hang)),
    how("500", ("HTTP 500: in trouble", "status"), || Some(Fault::Status(500, "in trouble"))),
    how("cut", BROKE_OFF, || Some(Fault::CutBody)),
    how("dribbling", TOO_LATE, || Some(Fault::Dribble)),
    how("endless", ("an answer of more than 64 MiB", "badJson"), || Some(Fault::Endless)),
    how("a proxy's page", ("an answer that is not JSON", "badJson"), || Some(page())),
    how("JSON of another kind", ("an answer that is no JSON object", "badJson"), || {
        Some(Fault::Body("[1, null, \"x\"]".into()))
    }),
];
const BROKE_OFF: Told = ("the connection broke off", "reset");
const TOO_LATE: Told = ("no answer in time", "timeout");

/// Which of the requests: that of a route after one of another route and so many of its own.
#[derive(Clone, Copy)]
struct Which(Option<&'static str>, &'static str, usize);

impl Which {
    /// Lets the requests before it pass, then it meets the fault.
    fn meets(self, server: &StandIn, fault: Fault) {
        let Which(after, route, skip) = self;
        let passing = std::iter::repeat_n(Fault::Delay(Duration::ZERO), skip);
        for fault in passing.chain([fault]) {
            match after {
                Some(after) => server.fail_after(after, route, 1, fault),
                None => server.fail_next(route, 1, fault),
            }
        }
    }
}

/// A request, and the run that sends it.
struct Kind {
    /// Its line on the page.
    line: &'static str,
    which: Which,
    /// The request before it, with which the server goes away that is to refuse it.
    before: Which,
    /// What is printed before that server comes back; none: it comes back a moment later.
    until: Option<&'static str>,
    /// Its answer is read.
    body: bool,
    /// What becomes of the POST before it.
    lost: Option<Fault>,
    /// What has a row of its own.
    but: &'static [&'static str],
    also: &'static str,
    config: fn() -> Config,
    graph: fn() -> Value,
    /// The run is that of a story.
    story: bool,
    words: &'static [&'static str],
}

fn kind(line: &'static str, which: Which, before: Which) -> Kind {
    Kind {
        line,
        which,
        before,
        until: None,
        body: true,
        lost: None,
        but: &[],
        also: "",
        config: Config::cuda,
        graph: || graphs::polled("video/a"),
        story: false,
        words: &[],
    }
}

/// A request of a run whose prompt is cancelled at its deadline.
fn cancelling(line: &'static str, which: Which, before: Which) -> Kind {
    Kind { body: false, graph: endless, words: &ONE_SECOND, ..kind(line, which, before) }
}

impl Kind {
    fn until(self, says: &'static str) -> Self {
        Kind { until: Some(says), ..self }
    }

    fn but(self, but: &'static [&'static str]) -> Self {
        Kind { but, ..self }
    }

    fn words(self, words: &'static [&'static str]) -> Self {
        Kind { words, ..self }
    }
}

fn kinds() -> Vec<Kind> {
    const BEHIND: Which = Which(None, STATS, 2);
    const UNKNOWN: &str = "before the scene is not known (refused)";
    const PATIENT: &[&str] = &["-Post", "1", "-SceneRetryBudget", "9"];
    const CANCEL: &str = "POST /api/jobs";
    const DELETE: &str = "POST /queue";
    const INTERRUPT: &str = "POST /interrupt";
    let of = |route| Which(None, route, 0);
    let behind = |after, route| Which(Some(after), route, 0);
    let newest = || Config { version: Version::Newest, ..Config::cuda() };
    let images = || graphs::images("img/a", 2, 1);
    vec![
        kind("`GET /system_stats`, the first", of(STATS), BEHIND).but(&["refused"]),
        Kind {
            also: "2240 in use\n",
            ..kind("`GET /queue` at the start", of(QUEUE), of(STATS))
                .until(UNKNOWN)
                .but(&["dribbling"])
        },
        kind("`GET /system_stats` of a sample", behind(QUEUE, STATS), of(QUEUE)).until(UNKNOWN),
        kind("`GET /system_stats` before a scene", BEHIND, Which(None, STATS, 1)).until(UNKNOWN),
        Kind {
            story: true,
            ..kind("`POST /upload/image`", of(UPLOAD), BEHIND)
                .until("trying again")
                .words(PATIENT)
                .but(&["a proxy's page", "JSON of another kind"])
        },
        Kind {
            body: false,
            ..kind("`POST /free`", of("POST /free"), Which(None, STATS, 3))
                .until("nothing was freed")
                .words(&["-Fresh"])
        },
        kind("`POST /prompt`", of(PROMPT), BEHIND)
            .until("connection refused: trying again")
            .but(&["silence", "500", "dribbling", "a proxy's page", "JSON of another kind"]),
        Kind {
            lost: Some(Fault::LoseAnswer),
            ..kind("`GET /queue` of a lost prompt", behind(PROMPT, QUEUE), of(PROMPT))
                .words(&["-SceneRetryBudget", "0"])
        },
        Kind {
            lost: Some(Fault::Reset), // so nothing in the queue is it
            ..kind(
                "`GET /history?max_items=64` of a lost prompt",
                of("GET /history?"),
                behind(PROMPT, QUEUE),
            )
            .words(&["-SceneRetryBudget", "0"])
            .but(&["dribbling"])
        },
        kind("`GET /history/{id}`", of(HISTORY), of(PROMPT))
            .until("polling on")
            .but(&["dribbling"]),
        kind("`GET /queue` of a poll", behind(PROMPT, QUEUE), of(HISTORY)).until("polling on"),
        Kind {
            body: true,
            config: newest,
            ..cancelling("`POST /api/jobs/{id}/cancel`", of(CANCEL), BEHIND)
                .but(&["refused", "dribbling"])
        },
        cancelling("`POST /queue`, to delete", of(DELETE), of(CANCEL)),
        Kind {
            body: true,
            ..cancelling("`GET /queue`, whether it runs", behind(DELETE, QUEUE), of(DELETE))
        },
        cancelling("`POST /interrupt`", of(INTERRUPT), behind(DELETE, QUEUE)),
        Kind {
            body: true,
            ..cancelling(
                "`GET /queue`, whether it is gone",
                behind(INTERRUPT, QUEUE),
                of(INTERRUPT),
            )
            .but(&["dribbling"])
        },
        Kind {
            body: false,
            graph: images,
            ..kind("`GET /view`", Which(None, VIEW, 1), of(VIEW))
                .until("downloading again")
                .words(PATIENT)
        },
        kind("`GET /system_stats` after a scene", behind(VIEW, STATS), of(VIEW)),
        kind("`GET /queue` at the end", behind(VIEW, QUEUE), Which(Some(VIEW), STATS, 1))
            .but(&["dribbling"]),
    ]
}

fn play(kind: &Kind, how: &How) -> Played {
    let (server, folder) = (StandIn::with((kind.config)()), Folder::new());
    let fault = (how.fault)();
    let is_gone = fault.is_none();
    // A server that goes away with the POST whose answer is lost does not answer it.
    let dies = is_gone && kind.lost.is_some() && kind.before.1 == PROMPT;
    match fault {
        Some(fault) => kind.which.meets(&server, fault),
        None if dies => kind.before.meets(&server, Fault::Die),
        None => kind.before.meets(&server, Fault::Leave),
    }
    if let Some(lost) = kind.lost.clone().filter(|_| !dies) {
        server.fail_next(PROMPT, 1, lost);
    }
    let mut words = vec!["a.json"];
    if kind.story {
        words = storied(&folder).to_vec();
    } else {
        folder.workflow("a.json", &(kind.graph)());
    }
    // One sample at the start makes the order of the requests certain.
    words.extend(["-Poll", "0.2", "-Sample", "3600"]);
    words.extend(kind.words);
    let running = folder.start_on(&server.url(), &words);
    if is_gone {
        assert!(server.wait_until_faults_are_met(SOON));
        match kind.until {
            Some(text) => running.until_it_says(text),
            None => std::thread::sleep(Duration::from_millis(300)),
        }
        server.listen_again();
    }
    let mut ran = running.wait();
    assert!(server.wait_until_faults_are_met(Duration::ZERO), "not met\n{ran}");
    ran.stdout = ran.stdout.replace(&server.url(), "<url>");
    Played { server, folder, ran }
}

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (index, Kind { line, body, but, also, .. }) in kinds().into_iter().enumerate() {
        let hows = if body { &HOWS[..] } else { &HOWS[..4] };
        for how in hows.iter().filter(|how| !but.contains(&how.name)) {
            // A download says no more than the status.
            let what = if line == "`GET /view`" { how.told.0.split(": ").next() } else { None };
            let told = (what.unwrap_or(how.told.0), how.told.1);
            let play = move || play(&kinds()[index], how);
            let mut row = Row::one_of(line, how.name, told, play).also(also);
            if how.name == "endless" {
                row.or = Some(TOO_LATE); // 64 MiB may take longer than a call has
            }
            rows.push(row);
        }
    }
    rows
}
