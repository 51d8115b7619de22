//! Every request that a run sends, met by everything that a connection can do.

use std::time::Duration;

use serde_json::Value;

use super::row::{
    HISTORY, ONE_SECOND, PROMPT, Played, QUEUE, Row, STATS, Texts, UPLOAD, VIEW, endless, page,
};
use crate::signals;
use crate::stand_in::{Config, Fault, StandIn, Version, graphs};
use crate::support::{Folder, Running, SOON, keyframe_story};

/// Its name, how it is told, and the fault. `None`: nobody listens any more.
type FaultCase = (&'static str, Texts, fn() -> Option<Fault>);

/// The last five make a difference only where the answer is read.
const FAULT_CASES: [FaultCase; 9] = [
    ("refused", ("connection refused", "refused"), || None),
    ("reset", BROKE_OFF, || Some(Fault::Reset)),
    ("silence", TOO_LATE, || Some(Fault::Hang)),
    ("500", ("HTTP 500: in trouble", "status"), || Some(Fault::Status(500, "in trouble"))),
    ("cut", BROKE_OFF, || Some(Fault::CutBody)),
    ("dribbling", TOO_LATE, || Some(Fault::Dribble)),
    ("endless", ("an answer of more than 8 MiB", "badJson"), || Some(Fault::Endless)),
    ("a proxy's page", ("an answer that is not JSON", "badJson"), || Some(page())),
    ("JSON of another kind", ("an answer that is no JSON object", "badJson"), || {
        Some(Fault::Body("[1, null, \"x\"]".into()))
    }),
];
const BROKE_OFF: Texts = ("the connection broke off", "reset");
const TOO_LATE: Texts = ("no answer in time", "timeout");

/// Selects a request: the first of a route that comes after a request of another route, if one is
/// given, and after so many requests of its own route.
#[derive(Clone, Copy)]
struct Selector(Option<&'static str>, &'static str, usize);

impl Selector {
    /// Plans the fault for that request and lets those before it pass.
    fn plan(self, server: &StandIn, fault: Fault) {
        let Selector(after, route, skip) = self;
        let passing = std::iter::repeat_n(Fault::Delay(Duration::ZERO), skip);
        // One of two on end may be the sampler's.
        let of_sampler = (after, route, skip) == (Some(VIEW), STATS, 0);
        // On a connection that was kept a GET is sent once more.
        let is_kept = (after, route, skip) != (None, STATS, 0) && route != VIEW;
        let is_resent = is_kept && matches!(fault, Fault::Reset) && route.starts_with("GET");
        let times = if of_sampler || is_resent { 2 } else { 1 };
        for fault in passing.chain([fault]) {
            match after {
                Some(after) => server.fail_after(after, route, times, fault),
                None if matches!(fault, Fault::Delay(_)) => server.fail_next(route, 1, fault),
                None => server.fail_next(route, times, fault),
            }
        }
    }
}

struct RequestCase {
    /// Its line on the page.
    line: &'static str,
    selector: Selector,
    /// The request before it. For the case "refused" the server goes away with that one.
    before: Selector,
    /// The server comes back once this is printed, or else a moment later.
    until: Option<&'static str>,
    /// The program reads the body of its answer.
    body: bool,
    /// The fault of the POST before it.
    lost: Option<Fault>,
    /// Cases that end otherwise and have rows of their own.
    but: &'static [&'static str],
    also: &'static str,
    config: fn() -> Config,
    graph: fn() -> Value,
    story: bool,
    words: &'static [&'static str],
    /// What is waited for has a minute or more, and a second where nothing comes.
    is_long: bool,
}

fn request(line: &'static str, selector: Selector, before: Selector) -> RequestCase {
    RequestCase {
        line,
        selector,
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
        is_long: false,
    }
}

/// A request of a run whose prompt is cancelled at its deadline.
fn cancelling(line: &'static str, selector: Selector, before: Selector) -> RequestCase {
    RequestCase {
        body: false,
        graph: endless,
        words: &ONE_SECOND,
        ..request(line, selector, before)
    }
}

impl RequestCase {
    fn until(self, says: &'static str) -> Self {
        RequestCase { until: Some(says), ..self }
    }

    fn but(self, but: &'static [&'static str]) -> Self {
        RequestCase { but, ..self }
    }

    fn words(self, words: &'static [&'static str]) -> Self {
        RequestCase { words, ..self }
    }
}

fn request_cases() -> Vec<RequestCase> {
    const BEHIND: Selector = Selector(None, STATS, 2);
    const UNKNOWN: &str = "before the scene is not known (refused)";
    const PATIENT: &[&str] = &["-SceneRetryBudget", "9"];
    const CANCEL: &str = "POST /api/jobs";
    const DELETE: &str = "POST /queue";
    const INTERRUPT: &str = "POST /interrupt";
    let of = |route| Selector(None, route, 0);
    let behind = |after, route| Selector(Some(after), route, 0);
    let newest = || Config { version: Version::Newest, ..Config::cuda() };
    let images = || graphs::images("img/a", 2, 1);
    vec![
        request("`GET /system_stats`, the first", of(STATS), BEHIND).but(&["refused"]),
        RequestCase {
            also: "2240 in use\n",
            ..request("`GET /queue` at the start", of(QUEUE), of(STATS))
                .until(UNKNOWN)
                .but(&["dribbling"])
        },
        request("`GET /system_stats` of a sample", behind(QUEUE, STATS), of(QUEUE)).until(UNKNOWN),
        // The sampler may meet both resets, on the connection that it keeps.
        request("`GET /system_stats` before a scene", BEHIND, Selector(None, STATS, 1))
            .until(UNKNOWN)
            .but(&["reset"]),
        RequestCase {
            story: true,
            is_long: true,
            ..request("`POST /upload/image`", of(UPLOAD), BEHIND)
                .until("trying again")
                .words(PATIENT)
                .but(&["a proxy's page", "JSON of another kind"])
        },
        RequestCase {
            body: false,
            ..request("`POST /free`", of("POST /free"), Selector(None, STATS, 3))
                .until("nothing was freed")
                .words(&["-Fresh"])
        },
        request("`POST /prompt`", of(PROMPT), BEHIND)
            .until("connection refused: trying again")
            .but(&["silence", "500", "dribbling", "a proxy's page", "JSON of another kind"]),
        RequestCase {
            lost: Some(Fault::LoseAnswer),
            ..request("`GET /queue` of a lost prompt", behind(PROMPT, QUEUE), of(PROMPT))
                .words(&["-SceneRetryBudget", "0"])
        },
        RequestCase {
            lost: Some(Fault::Reset), // so nothing in the queue is it
            ..request(
                "`GET /history?max_items=64` of a lost prompt",
                of("GET /history?"),
                behind(PROMPT, QUEUE),
            )
            .words(&["-SceneRetryBudget", "0"])
            .but(&["dribbling"])
        },
        request("`GET /history/{id}`", of(HISTORY), of(PROMPT))
            .until("polling on")
            .but(&["dribbling"]),
        request("`GET /queue` of a poll", behind(PROMPT, QUEUE), of(HISTORY)).until("polling on"),
        RequestCase {
            body: true,
            config: newest,
            ..cancelling("`POST /api/jobs/{id}/cancel`", of(CANCEL), BEHIND)
                .but(&["refused", "dribbling"])
        },
        cancelling("`POST /queue`, to delete", of(DELETE), of(CANCEL)),
        RequestCase {
            body: true,
            ..cancelling("`GET /queue`, whether it runs", behind(DELETE, QUEUE), of(DELETE))
        },
        cancelling("`POST /interrupt`", of(INTERRUPT), behind(DELETE, QUEUE)),
        RequestCase {
            body: true,
            ..cancelling(
                "`GET /queue`, whether it is gone",
                behind(INTERRUPT, QUEUE),
                of(INTERRUPT),
            )
            .but(&["dribbling"])
        },
        RequestCase {
            body: false,
            graph: images,
            is_long: true,
            ..request("`GET /view`", Selector(None, VIEW, 1), of(VIEW))
                .until("downloading again")
                .words(PATIENT)
        },
        request("`GET /system_stats` after a scene", behind(VIEW, STATS), of(VIEW)).but(&["reset"]),
        request("`GET /queue` at the end", behind(VIEW, QUEUE), Selector(Some(VIEW), STATS, 1))
            .but(&["dribbling"]),
    ]
}

fn start(request: &RequestCase, is_late: bool, server: &StandIn, folder: &Folder) -> Running {
    let url = server.url();
    let mut words = vec!["--comfyui-url", &url];
    if request.is_long && is_late {
        words.extend(["-Post", "1"]);
    }
    if request.story {
        words.extend(keyframe_story(folder));
    } else {
        folder.workflow("a.json", &(request.graph)());
        words.push("a.json");
    }
    // Every reading is a tick, the next one 0.25 s behind the one at the start.
    words.extend(["-Poll", "0.2", "-Sample", "0.25"]);
    words.extend(request.words);
    folder.start_with(&words, signals::alone)
}

/// Ctrl-C while a request, whichever it is, waits for an answer that does not come. On Windows some of
/// them are played, in `interrupts`.
#[test]
#[cfg(unix)]
fn ctrl_c_while_any_request_waits() {
    let interrupt = |request: RequestCase| {
        let (server, folder) = (StandIn::with((request.config)()), Folder::new());
        request.selector.plan(&server, Fault::Hang);
        request.lost.iter().for_each(|lost| server.fail_next(PROMPT, 1, lost.clone()));
        let running = start(&request, false, &server, &folder);
        assert!(server.wait_until_faults_are_met(SOON), "{}", request.line);
        let begun = std::time::Instant::now();
        signals::ctrl_c(&running);
        let ran = running.wait();
        assert!(begun.elapsed() < Duration::from_secs(10), "{}\n{ran}", request.line);
        let is_kept = crate::killed::state(&folder, &server).exists();
        assert!(server.queue_is_empty() || is_kept, "{}\n{ran}", request.line);
        ran.exits(130);
    };
    std::thread::scope(|scope| {
        for request in request_cases() {
            scope.spawn(move || interrupt(request));
        }
    });
}

fn play(request: &RequestCase, case: &FaultCase) -> Played {
    let (server, folder) = (StandIn::with((request.config)()), Folder::new());
    let fault = (case.2)();
    let is_gone = fault.is_none();
    // A server that goes away with the POST whose answer is lost does not answer it.
    let dies = is_gone && request.lost.is_some() && request.before.1 == PROMPT;
    match fault {
        Some(fault) => request.selector.plan(&server, fault),
        None if dies => request.before.plan(&server, Fault::Die),
        None => request.before.plan(&server, Fault::Leave),
    }
    if let Some(lost) = request.lost.clone().filter(|_| !dies) {
        server.fail_next(PROMPT, 1, lost);
    }
    let running = start(request, case.1 == TOO_LATE, &server, &folder);
    if is_gone {
        assert!(server.wait_until_faults_are_met(SOON));
        match request.until {
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
    for (index, RequestCase { line, body, but, also, .. }) in
        request_cases().into_iter().enumerate()
    {
        let cases = if body { &FAULT_CASES[..] } else { &FAULT_CASES[..4] };
        // 64 MiB may take longer than the 5 s of most calls; this one has a minute.
        let is_patient = line == "`POST /prompt`";
        let cases = cases.iter().filter(|case| case.0 != "endless" || is_patient);
        for case in cases.filter(|case| !but.contains(&case.0)) {
            let play = move || play(&request_cases()[index], case);
            rows.push(Row::one_of(line, case.0, case.1, play).also(also));
        }
    }
    rows
}
