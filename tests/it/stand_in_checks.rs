//! The stand-in answers with the keys and types of a recorded server.

use serde_json::{Map, Value, json};

use crate::scenes::{SOON, agent, somebody_posts};
use crate::stand_in::{Config, StandIn, State, graphs, recorded};

/// Sends a request. Returns the status and the body, as JSON or else as text.
fn ask(server: &StandIn, method: &str, path: &str, body: &str) -> (u16, Value) {
    let url = format!("{}{path}", server.url());
    let kind = if body.starts_with("--") {
        "multipart/form-data; boundary=XBOUNDARYX"
    } else {
        "application/json"
    };
    let request =
        ureq::http::Request::builder().method(method).uri(url).header("Content-Type", kind);
    let agent = agent();
    let request = request.body(body).unwrap();
    let request = agent.configure_request(request).http_status_as_error(false).build();
    let answer = agent.run(request).unwrap();
    let status = answer.status().as_u16();
    let text = answer.into_body().read_to_string().unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// A value with the names of types in place of what it holds. Texts about where an exception was
/// raised are left out.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::Object(members) => {
            let told = |name: &str| name != "traceback" && !name.starts_with("current_");
            let members = members.iter().filter(|(name, _)| told(name));
            members
                .map(|(name, member)| (name.clone(), shape(member)))
                .collect::<Map<_, _>>()
                .into()
        }
    }
}

#[test]
fn answers_have_the_keys_and_types_of_the_recorded_ones() {
    let server = StandIn::start();
    let mut lines = recorded::EXCHANGES.to_owned();
    while let Some((line, rest)) = lines.split_once('\n') {
        let exchange: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| exchange[name].as_str().unwrap_or_default();
        let name = text("name");
        if name.starts_with("history-") {
            assert!(server.wait_until(SOON, State::is_idle), "{name}");
        } else if name == "queue-running-and-pending" {
            assert!(server.wait_until_running(SOON), "{name}");
        }
        let send = &exchange["send"];
        let body = if send.is_object() { send.to_string() } else { text("send").to_owned() };
        let (status, answer) = ask(&server, text("method"), text("path"), &body);
        assert_eq!(status, exchange["status"], "{name}: {answer}");
        if status != 404 && status != 405 {
            assert_eq!(shape(&answer), shape(&exchange["body"]), "{name}");
        }
        // The exchanges that follow name the prompt.
        let id = |body: &Value| body["prompt_id"].as_str().unwrap_or("none").to_owned();
        lines = rest.replace(&id(&exchange["body"]), &id(&answer));
    }
    assert_eq!(server.uploads(), [("key frame é.png".to_owned(), String::new(), 96)]);
}

#[test]
fn a_cached_prompt_lists_its_nodes_and_outputs_until_memory_is_freed() {
    let server = StandIn::with(Config::cuda());
    let run = || {
        let id = somebody_posts(&server, &graphs::model("video/m", 1000, 1));
        assert!(server.wait_until(SOON, State::is_idle));
        ask(&server, "GET", &format!("/history/{id}"), "").1[&id].take()
    };
    let cached = |entry: &Value| entry["status"]["messages"][1][1]["nodes"].clone();
    let first = run();
    assert_eq!(cached(&first), json!([]));
    let again = run();
    assert_eq!(cached(&again), json!(["1", "2", "3", "4"]));
    assert_eq!(again["outputs"], first["outputs"]);
    ask(&server, "POST", "/free", r#"{"unload_models": true, "free_memory": true}"#);
    assert!(server.wait_until(SOON, |state| state.memory.models == 0));
    assert_eq!(cached(&run()), json!([]));
}
