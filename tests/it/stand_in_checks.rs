//! The stand-in answers with the keys and types of a recorded server.

use serde_json::{Map, Value};

use crate::stand_in::{StandIn, State, recorded};
use crate::support::{SOON, agent};

/// Sends a recorded request. Returns the status and the body, as JSON or else as text.
fn send(server: &StandIn, exchange: &Value) -> (u16, Value) {
    let text = |name: &str| exchange[name].as_str().unwrap_or_default();
    let form = text("send").starts_with("--");
    let kind = if form { "multipart/form-data; boundary=XBOUNDARYX" } else { "application/json" };
    let body = Some(exchange["send"].to_string()).filter(|_| exchange["send"].is_object());
    let request = ureq::http::Request::builder()
        .method(text("method"))
        .uri(format!("{}{}", server.url(), text("path")))
        .header("Content-Type", kind)
        .body(body.unwrap_or(text("send").to_owned()));
    let agent = agent();
    let request = agent.configure_request(request.unwrap()).http_status_as_error(false).build();
    let answer = agent.run(request).unwrap();
    let status = answer.status().as_u16();
    let text = answer.into_body().read_to_string().unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// A value with types in place of what it holds, without what tells of an exception's place.
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
            members.map(|(name, value)| (name.clone(), shape(value))).collect::<Map<_, _>>().into()
        }
    }
}

#[test]
fn answers_have_the_keys_and_types_of_the_recorded_ones() {
    let server = StandIn::start();
    let mut lines = recorded::EXCHANGES.to_owned();
    while let Some((line, rest)) = lines.split_once('\n') {
        let exchange: Value = serde_json::from_str(line).unwrap();
        let name = exchange["name"].as_str().unwrap();
        if name.starts_with("history-") {
            assert!(server.wait_until(SOON, State::is_idle), "{name}");
        } else if name == "queue-running-and-pending" {
            assert!(server.wait_until_running(SOON), "{name}");
        }
        let (status, answer) = send(&server, &exchange);
        assert_eq!(status, exchange["status"], "{name}: {answer}");
        assert_eq!(shape(&answer), shape(&exchange["body"]), "{name}");
        // The exchanges that follow name the prompt.
        let id = |body: &Value| body["prompt_id"].as_str().unwrap_or("none").to_owned();
        lines = rest.replace(&id(&exchange["body"]), &id(&answer));
    }
    assert_eq!(server.uploads(), [("key frame é.png".to_owned(), String::new(), 96)]);
}
