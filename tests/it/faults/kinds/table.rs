//! The requests of a run, in their order.

use serde_json::Value;

use super::{Back, Kind};
use crate::faults::bench::{HISTORY, PROMPT, QUEUE, STATS, VIEW, endless};
use crate::stand_in::{Config, Fault, Version, graphs};

/// The run that sends it.
pub struct Run {
    pub config: fn() -> Config,
    pub graph: fn() -> Value,
    pub story: bool,
    pub words: &'static [&'static str],
}

fn plain() -> Value {
    graphs::polled("video/a")
}

fn two() -> Value {
    graphs::images("img/a", 2, 1)
}

const PLAIN: Run = Run { config: Config::cuda, graph: plain, story: false, words: &[] };
const STORY: Run = Run { story: true, words: &["-Post", "1", "-SceneRetryBudget", "9"], ..PLAIN };
const OUTPUTS: Run = Run { graph: two, words: &["-Post", "1", "-SceneRetryBudget", "9"], ..PLAIN };
const ONCE: Run = Run { words: &["-SceneRetryBudget", "0"], ..PLAIN };
const FRESH: Run = Run { words: &["-Fresh"], ..PLAIN };
const DEADLINE: Run =
    Run { graph: endless, words: &["-MaxWaitSeconds", "1", "-SceneRetryBudget", "0"], ..PLAIN };

fn newest() -> Config {
    Config { version: Version::Newest, ..Config::cuda() }
}

const KIND: Kind = Kind {
    request: "",
    sees: |_| String::new(),
    outcome: "succeeded",
    exit: 0,
    body: true,
    lost: None,
    after: None,
    route: "",
    skip: 0,
    before: (None, STATS, 2, Fault::Leave),
    back: Back::Soon,
    run: PLAIN,
    but: &[],
};

#[expect(clippy::too_many_lines, reason = "a table")]
pub fn kinds() -> Vec<Kind> {
    let cancelled: fn((&str, &str)) -> String = |_| "cancelled and seen gone".to_owned();
    let cancelling = || Kind {
        sees: cancelled,
        outcome: "deadline",
        exit: 4,
        body: false,
        run: DEADLINE,
        ..KIND
    };
    vec![
        Kind {
            request: "`GET /system_stats`, the first",
            sees: |told| format!("({})", told.0),
            outcome: "skipped",
            exit: 3,
            route: STATS,
            but: &["refused"],
            ..KIND
        },
        Kind {
            request: "`GET /queue` at the start",
            sees: |_| "2240 in use\n".to_owned(),
            route: QUEUE,
            before: (None, STATS, 0, Fault::Leave),
            back: Back::Said("before the scene is not known (refused)"),
            but: &["dribbling"],
            ..KIND
        },
        Kind {
            request: "`GET /system_stats` of a sample",
            sees: |told| format!(" ticks missed ({} 1", told.1),
            after: Some(QUEUE),
            route: STATS,
            before: (None, QUEUE, 0, Fault::Leave),
            back: Back::Said("before the scene is not known (refused)"),
            ..KIND
        },
        Kind {
            request: "`GET /system_stats` before a scene",
            sees: |told| format!("the free memory before the scene is not known ({})", told.1),
            route: STATS,
            skip: 2,
            before: (None, STATS, 1, Fault::Leave),
            back: Back::Said("before the scene is not known (refused)"),
            ..KIND
        },
        Kind {
            request: "`POST /upload/image`",
            sees: |told| {
                format!("POST /upload/image at http://127.0.0.1:PORT: {}: trying again", told.0)
            },
            route: "POST /upload/image",
            back: Back::Said("trying again"),
            run: STORY,
            but: &["a proxy's page", "JSON of another kind"],
            ..KIND
        },
        Kind {
            request: "`POST /free`",
            sees: |told| {
                format!("nothing was freed: POST /free at http://127.0.0.1:PORT: {}", told.0)
            },
            body: false,
            route: "POST /free",
            before: (None, STATS, 3, Fault::Leave),
            back: Back::Said("nothing was freed"),
            run: FRESH,
            ..KIND
        },
        Kind {
            request: "`POST /prompt`",
            sees: |told| format!("POST /prompt at http://127.0.0.1:PORT: {}: ", told.0),
            route: PROMPT,
            back: Back::Said("connection refused: trying again"),
            but: &["silence", "500", "dribbling", "a proxy's page", "JSON of another kind"],
            ..KIND
        },
        Kind {
            request: "`GET /queue` of a lost prompt",
            sees: |_| "looking whether the prompt arrived".to_owned(),
            lost: Some(Fault::LoseAnswer),
            run: ONCE,
            after: Some(PROMPT),
            route: QUEUE,
            before: (None, PROMPT, 0, Fault::Die),
            ..KIND
        },
        Kind {
            request: "`GET /history?max_items=64` of a lost prompt",
            sees: |_| "looking whether the prompt arrived".to_owned(),
            // Nothing in the queue is it.
            lost: Some(Fault::Reset),
            run: ONCE,
            route: "GET /history?",
            but: &["dribbling"],
            before: (Some(PROMPT), QUEUE, 0, Fault::Leave),
            ..KIND
        },
        Kind {
            request: "`GET /history/{id}`",
            sees: |told| format!(": {}: polling on", told.0),
            route: HISTORY,
            before: (None, PROMPT, 0, Fault::Leave),
            back: Back::Said("polling on"),
            but: &["dribbling"],
            ..KIND
        },
        Kind {
            request: "`GET /queue` of a poll",
            sees: |told| format!(": {}: polling on", told.0),
            after: Some(PROMPT),
            route: QUEUE,
            before: (None, HISTORY, 0, Fault::Leave),
            back: Back::Said("polling on"),
            ..KIND
        },
        Kind {
            request: "`POST /api/jobs/{id}/cancel`",
            body: true,
            route: "POST /api/jobs",
            run: Run { config: newest, ..DEADLINE },
            but: &["refused", "dribbling"],
            ..cancelling()
        },
        Kind {
            request: "`POST /queue`, to delete",
            route: "POST /queue",
            before: (None, "POST /api/jobs", 0, Fault::Leave),
            ..cancelling()
        },
        Kind {
            request: "`GET /queue`, whether it runs",
            body: true,
            after: Some("POST /queue"),
            route: QUEUE,
            before: (None, "POST /queue", 0, Fault::Leave),
            ..cancelling()
        },
        Kind {
            request: "`POST /interrupt`",
            route: "POST /interrupt",
            before: (Some("POST /queue"), QUEUE, 0, Fault::Leave),
            ..cancelling()
        },
        Kind {
            request: "`GET /queue`, whether it is gone",
            body: true,
            after: Some("POST /interrupt"),
            but: &["dribbling"],
            route: QUEUE,
            before: (None, "POST /interrupt", 0, Fault::Leave),
            ..cancelling()
        },
        Kind {
            request: "`GET /view`",
            sees: |told| {
                format!(": {}: downloading again", told.0.split(": ").next().unwrap_or(""))
            },
            body: false,
            route: VIEW,
            skip: 1,
            before: (None, VIEW, 0, Fault::Leave),
            back: Back::Said("downloading again"),
            run: OUTPUTS,
            ..KIND
        },
        Kind {
            request: "`GET /system_stats` after a scene",
            sees: |told| format!("the free memory after the scene is not known ({})", told.1),
            after: Some(VIEW),
            route: STATS,
            before: (None, VIEW, 0, Fault::Leave),
            ..KIND
        },
        Kind {
            request: "`GET /queue` at the end",
            sees: |_| "GPU: unknown".to_owned(),
            after: Some(VIEW),
            route: QUEUE,
            before: (Some(VIEW), STATS, 1, Fault::Leave),
            but: &["dribbling"],
            ..KIND
        },
    ]
}
