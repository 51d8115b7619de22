//! Every field of every answer, replaced by a value of every other type.

use serde_json::{Value, json};

use super::row::{
    ALWAYS, HISTORY, ONE_SECOND, PROMPT, Played, QUEUE, Row, STATS, UPLOAD, one, uploading,
};
use crate::stand_in::{Config, Fault, StandIn, State, Version, graphs};
use crate::support::{self, SOON, agent, somebody_posts};

/// Its route, an example as it comes, and a run that meets it.
type Answer = (&'static str, Value, fn(Fault) -> Played);

fn get(server: &StandIn, path: &str) -> Value {
    serde_json::from_slice(&support::get(server, path)).unwrap()
}

fn entry(graph: &Value) -> Value {
    let server = StandIn::start();
    let id = somebody_posts(&server, graph);
    assert!(server.wait_until(SOON, State::is_idle));
    get(&server, &format!("/history/{id}"))
}

fn on(config: Config, route: &str, graph: &Value, fault: Fault) -> Played {
    let server = StandIn::with(config);
    server.fail_next(route, ALWAYS, fault);
    one(server, graph, &ONE_SECOND)
}

fn picture() -> Value {
    graphs::images("img/a", 1, 1)
}

fn answers() -> Vec<Answer> {
    let cuda = StandIn::with(Config::cuda());
    somebody_posts(&cuda, &graphs::video("video/b", 600.0, 0, 1));
    assert!(cuda.wait_until_running(SOON));
    let accepted = json!({"prompt_id": "x", "number": 0, "node_errors": {}});
    let uploaded = json!({"name": "k.png", "subfolder": "x", "type": "input"});
    vec![
        (STATS, get(&cuda, "/system_stats"), |fault| on(Config::cuda(), STATS, &picture(), fault)),
        (QUEUE, get(&cuda, "/queue"), |fault| {
            on(Config::default(), QUEUE, &graphs::video("video/a", 0.3, 0, 1), fault)
        }),
        (HISTORY, entry(&picture()), |fault| on(Config::default(), HISTORY, &picture(), fault)),
        (HISTORY, entry(&graphs::failing("x")), |fault| {
            on(Config::default(), HISTORY, &graphs::failing("x"), fault)
        }),
        (PROMPT, accepted, |fault| on(Config::default(), PROMPT, &picture(), fault)),
        (PROMPT, refusal(), |fault| on(Config::default(), PROMPT, &graphs::invalid(), fault)),
        (UPLOAD, uploaded, |fault| uploading(ALWAYS, fault, &ONE_SECOND)),
        ("POST /api/jobs", json!({"cancelled": true}), |fault| {
            let config = Config { version: Version::Newest, ..Config::default() };
            on(config, "POST /api/jobs", &graphs::video("video/a", 600.0, 0, 1), fault)
        }),
    ]
}

fn refusal() -> Value {
    let server = StandIn::start();
    let body = json!({"prompt": graphs::invalid()}).to_string();
    let request = agent().post(format!("{}/prompt", server.url()));
    let answer = request.config().http_status_as_error(false).build().send(body).unwrap();
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
    for (route, example, play) in answers() {
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
