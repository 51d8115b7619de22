//! Every request that a run sends, met by everything that a connection can do.

mod table;

use std::time::Duration;

use super::bench::{PROMPT, Played, Row, What, page, storied};
use crate::scenes::SOON;
use crate::stand_in::{Fault, StandIn};
use crate::support::Folder;
use table::{Run, kinds};

/// What happens to a request.
struct How {
    name: &'static str,
    /// The answer's fault; none: nobody listens any more.
    fault: fn() -> Option<Fault>,
    /// What is told of it, and the word for it in the log.
    told: (&'static str, &'static str),
    /// It makes a difference only where the answer is read.
    body: bool,
}

/// As the page writes what is told.
const TOLD: (&str, &str) = ("<what came back>", "<reason>");

const HOWS: [How; 9] = [
    How { name: "refused", fault: || None, told: ("connection refused", "refused"), body: false },
    How {
        name: "reset",
        fault: || Some(Fault::Reset),
        told: ("the connection broke off", "reset"),
        body: false,
    },
    How {
        name: "silence",
        fault: || Some(Fault::Hang),
        told: ("no answer in time", "timeout"),
        body: false,
    },
    How {
        name: "500",
        fault: || Some(Fault::Status(500, "in trouble")),
        told: ("HTTP 500: in trouble", "status"),
        body: false,
    },
    How {
        name: "cut",
        fault: || Some(Fault::CutBody),
        told: ("the connection broke off", "reset"),
        body: true,
    },
    How {
        name: "dribbling",
        fault: || Some(Fault::Dribble),
        told: ("no answer in time", "timeout"),
        body: true,
    },
    How {
        name: "endless",
        fault: || Some(Fault::Endless),
        told: ("an answer of more than 64 MiB", "badJson"),
        body: true,
    },
    How {
        name: "a proxy's page",
        fault: || Some(page()),
        told: ("an answer that is not JSON", "badJson"),
        body: true,
    },
    How {
        name: "JSON of another kind",
        fault: || Some(Fault::Body("[1, null, \"x\"]".into())),
        told: ("an answer that is no JSON object", "badJson"),
        body: true,
    },
];

/// How a server that was refused comes back.
#[derive(Clone, Copy)]
enum Back {
    /// Once the program has said so.
    Said(&'static str),
    /// A moment after it was gone: nothing is said of it before it is back.
    Soon,
}

/// A request, and what is seen of it whatever happens to it.
struct Kind {
    request: &'static str,
    sees: fn((&str, &str)) -> String,
    outcome: &'static str,
    exit: i32,
    /// Its answer is read.
    body: bool,
    /// What becomes of the POST before it.
    lost: Option<Fault>,
    /// It comes behind the first of these, and behind so many others of its route.
    after: Option<&'static str>,
    route: &'static str,
    skip: usize,
    /// The request before it, found in the same way, and the fault with which its server goes.
    before: (Option<&'static str>, &'static str, usize, Fault),
    back: Back,
    run: Run,
    /// What happens to it elsewhere on the page.
    but: &'static [&'static str],
}

/// Lets some requests of a route pass, then one meets the fault.
fn plan(server: &StandIn, after: Option<&str>, route: &str, skip: usize, fault: Fault) {
    let passing = std::iter::repeat_n(Fault::Delay(Duration::ZERO), skip);
    for fault in passing.chain([fault]) {
        match after {
            Some(after) => server.fail_after(after, route, 1, fault),
            None => server.fail_next(route, 1, fault),
        }
    }
}

fn play(kind: &Kind, how: &How) -> Played {
    let (server, folder) = (StandIn::with((kind.run.config)()), Folder::new());
    let fault = (how.fault)();
    let is_gone = fault.is_none();
    if let Some(fault) = fault {
        plan(&server, kind.after, kind.route, kind.skip, fault);
    } else {
        let (after, route, skip, fault) = kind.before.clone();
        plan(&server, after, route, skip, fault);
    }
    if let Some(lost) = kind.lost.clone().filter(|_| !is_gone || kind.before.1 != PROMPT) {
        server.fail_next(PROMPT, 1, lost);
    }
    let mut words = vec!["a.json"];
    if kind.run.story {
        words = storied(&folder).to_vec();
    } else {
        folder.workflow("a.json", &(kind.run.graph)());
    }
    // One sample at the start: what the requests are in their order, is certain.
    words.extend(["-Poll", "0.2", "-Sample", "3600"]);
    words.extend(kind.run.words);
    let running = folder.start_on(&server.url(), &words);
    if is_gone {
        assert!(server.wait_until_faults_are_met(SOON));
        match kind.back {
            Back::Said(text) => running.until_it_says(text),
            Back::Soon => std::thread::sleep(Duration::from_millis(300)),
        }
        server.listen_again();
    }
    let mut ran = running.wait();
    assert!(server.wait_until_faults_are_met(Duration::ZERO), "not met\n{ran}");
    // The port is another one each time.
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    ran.stdout = ran.stdout.replace(&format!(":{port}"), ":PORT");
    Played { server, folder, ran }
}

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for index in 0..kinds().len() {
        for how in &HOWS {
            let Kind { request, sees, outcome, exit, body, but, .. } = kinds()[index];
            if but.contains(&how.name) || how.body && !body {
                continue;
            }
            let name = format!("{request}: {}", how.name);
            let what =
                What::OneOf { request, sees: sees(TOLD).replace("http://127.0.0.1:PORT", "<url>") };
            let row = Row::new(name, what, sees(how.told), (outcome, exit), move || {
                play(&kinds()[index], how)
            });
            // 64 MiB may take longer than a call has.
            let late = how.name == "endless";
            rows.push(if late { row.or(sees(("no answer in time", "timeout"))) } else { row });
        }
    }
    rows
}
