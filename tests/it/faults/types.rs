//! Every field of every answer, replaced by a value of every other type.

use serde_json::{Value, json};

use super::bench::{ALWAYS, HISTORY, Played, QUEUE, Row, STATS, one, storied};
use crate::scenes::{SOON, agent, somebody_posts};
use crate::stand_in::{Config, Fault, StandIn, State, Version, graphs};
use crate::support::Folder;

/// An answer, and a run that reads it.
struct Answer {
    route: &'static str,
    /// As it comes.
    example: Value,
    play: fn(Fault) -> Played,
}

fn get(server: &StandIn, path: &str) -> Value {
    let answer = agent().get(format!("{}{path}", server.url())).call().unwrap();
    serde_json::from_slice(&answer.into_body().read_to_vec().unwrap()).unwrap()
}

/// The history of a prompt that has ended.
fn entry(graph: &Value) -> Value {
    let server = StandIn::start();
    let id = somebody_posts(&server, graph);
    assert!(server.wait_until(SOON, State::is_idle));
    get(&server, &format!("/history/{id}"))
}

const WORDS: [&str; 4] = ["-MaxWaitSeconds", "1", "-SceneRetryBudget", "0"];

fn on(server: StandIn, route: &str, graph: &Value, fault: Fault) -> Played {
    server.fail_next(route, ALWAYS, fault);
    one(server, graph, &WORDS)
}

fn answers() -> Vec<Answer> {
    let cuda = StandIn::with(Config::cuda());
    somebody_posts(&cuda, &graphs::video("video/b", 600.0, 0, 1));
    assert!(cuda.wait_until_running(SOON));
    vec![
        Answer {
            route: STATS,
            example: get(&cuda, "/system_stats"),
            play: |fault| {
                on(StandIn::with(Config::cuda()), STATS, &graphs::images("img/a", 1, 1), fault)
            },
        },
        Answer {
            route: QUEUE,
            example: get(&cuda, "/queue"),
            play: |fault| {
                let graph = graphs::video("video/a", 0.3, 0, 1);
                on(StandIn::start(), QUEUE, &graph, fault)
            },
        },
        Answer {
            route: HISTORY,
            example: entry(&graphs::images("img/a", 1, 1)),
            play: |fault| on(StandIn::start(), HISTORY, &graphs::images("img/a", 1, 1), fault),
        },
        Answer {
            route: HISTORY,
            example: entry(&graphs::failing("x")),
            play: |fault| on(StandIn::start(), HISTORY, &graphs::failing("x"), fault),
        },
        Answer {
            route: "POST /prompt",
            example: json!({"prompt_id": "x", "number": 0, "node_errors": {}}),
            play: |fault| {
                on(StandIn::start(), "POST /prompt", &graphs::images("img/a", 1, 1), fault)
            },
        },
        Answer {
            route: "POST /prompt",
            example: refusal(),
            play: |fault| on(StandIn::start(), "POST /prompt", &graphs::invalid(), fault),
        },
        Answer {
            route: "POST /upload/image",
            example: json!({"name": "k.png", "subfolder": "x", "type": "input"}),
            play: |fault| {
                let (server, folder) = (StandIn::start(), Folder::new());
                server.fail_next("POST /upload/image", ALWAYS, fault);
                let words = [&storied(&folder)[..], &WORDS].concat();
                let ran = folder.run_on(&server.url(), &words);
                Played { server, folder, ran }
            },
        },
        Answer {
            route: "POST /api/jobs",
            example: json!({"cancelled": true}),
            play: |fault| {
                let config = Config { version: Version::Newest, ..Config::default() };
                let graph = graphs::video("video/a", 600.0, 0, 1);
                on(StandIn::with(config), "POST /api/jobs", &graph, fault)
            },
        },
    ]
}

/// The answer to a graph that is refused.
fn refusal() -> Value {
    let server = StandIn::start();
    let body = json!({"prompt": graphs::invalid()}).to_string();
    let agent = ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build();
    let answer = agent.new_agent().post(format!("{}/prompt", server.url())).send(body).unwrap();
    serde_json::from_slice(&answer.into_body().read_to_vec().unwrap()).unwrap()
}

/// The pointers of all that is in a value; not below a graph, which nobody reads.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let mut below = |name: &str, value| places(value, &format!("{at}/{name}"), found);
    match value {
        Value::Object(members) if members.contains_key("class_type") && at.len() > 30 => {}
        Value::Object(members) => {
            let only = members.len() == 1 && at.is_empty();
            for (name, value) in members {
                below(if only && name.contains('-') { "*" } else { name }, value);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                below(&index.to_string(), value);
            }
        }
        _ => {}
    }
}

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for Answer { route, example, play } in answers() {
        let mut all = Vec::new();
        places(&example, "", &mut all);
        // The graph, and what is told of it.
        all.retain(|place| {
            !["/2/", "/meta/", "traceback/", "current_"].iter().any(|it| place.contains(it))
        });
        for (number, place) in all.into_iter().enumerate() {
            let values =
                [json!(null), json!(-1.5e300), json!("x\u{1b}\n"), json!([{}]), json!({"a": []})];
            // Where a start takes long, one type a place.
            let some =
                values.iter().enumerate().filter(|(at, _)| !cfg!(windows) || at % 5 == number % 5);
            for (_, value) in some {
                // A text there is another's prompt.
                if route == QUEUE && value.is_string() && place.ends_with("/1") {
                    continue;
                }
                let fault = Fault::Change(place.clone(), value.clone());
                let name = format!("{route} {place} {value}");
                rows.push(Row::any(name, move || play(fault.clone())));
            }
        }
    }
    rows
}
