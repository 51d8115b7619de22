//! The stand-in answers with the keys and types of a recorded server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::stand_in::{Config, StandIn, State, Version, graphs, http, recorded};
use crate::support::{SOON, agent, replaced, somebody_posts};

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
        let id = |body: &Value| body["prompt_id"].as_str().unwrap_or("none").to_owned();
        lines = rest.replace(&id(&exchange["body"]), &id(&answer));
    }
    assert_eq!(server.uploads(), [("key frame é.png".to_owned(), String::new(), 96)]);
}

/// A websocket of the client that `somebody_posts` is.
fn socket(server: &StandIn) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let head = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAA";
    write!(stream, "GET /api/ws?clientId=somebody HTTP/1.1\r\n{head}\r\n\r\n").unwrap();
    let mut answer = http::read_head(&stream, &false.into()).unwrap().unwrap();
    http::read_body(&stream, &mut answer).unwrap();
    assert_eq!((answer.path.as_str(), answer.header("upgrade")), ("101", Some("websocket")));
    stream
}

/// The next frame: its first byte and its payload. `None`: the connection is closed.
fn frame(mut stream: &TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    let more = match head[1] {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let more = http::read(stream, more).unwrap();
    let length = if more.is_empty() { &head[1..] } else { &more };
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    Some((head[0], http::read(stream, length).unwrap()))
}

/// A frame's JSON, without what differs between two prompts.
fn told(frame: &[u8]) -> String {
    let mut frame = serde_json::from_slice::<Value>(frame).unwrap();
    frame.sort_all_objects();
    let frame = frame.to_string();
    let shapes = ["xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "0000000000000", "somebody", "_00000_"];
    shapes.iter().fold(frame, |frame, shape| replaced(&frame, shape, "…"))
}

#[test]
fn a_websocket_tells_what_the_recorded_one_told() {
    let server = StandIn::start();
    let sockets = [socket(&server), socket(&server)];
    let mut graph = recorded::graph("prompt-pending");
    graph["3"]["inputs"]["filename_prefix"] = "video/x".into();
    somebody_posts(&server, &graph);
    for line in include_str!("../fixtures/websocket-0.3.64.jsonl").lines() {
        for socket in &sockets {
            let (first, text) = frame(socket).unwrap();
            assert_eq!((first, told(&text)), (0x81, told(line.as_bytes())));
        }
    }
    assert!(server.wait_until(Duration::ZERO, |state| state.history.len() == 1));
    drop(sockets);
    assert!(server.wait_until(SOON, |state| state.sockets.is_empty()));
}

#[test]
fn nodes_hold_their_memory_and_tell_of_their_steps() {
    let system = json!({"argv": ["main.py"], "pytorch_version": "2.8.0+cu129"});
    let version = Version::Newest;
    let server = StandIn::with(Config { version, system: system.clone(), ..Config::cuda() });
    let stats = |used: u64| {
        server.set_used_mb(used);
        let stats = send(&server, &json!({"method": "GET", "path": "/system_stats"})).1;
        assert_eq!(stats["system"]["argv"], system["argv"]);
        assert_eq!(stats["system"]["comfy_package_versions"][4]["name"], "comfy-aimdo");
        let mb = |name: &str| stats["devices"][0][name].as_u64().unwrap() >> 20;
        [mb("vram_total") - mb("vram_free"), mb("torch_vram_total") - mb("torch_vram_free")]
    };
    let first = socket(&server);
    // Another program's memory is none of torch's, which may be more than the card has.
    assert_eq!([stats(1_000), stats(5_000)], [[1_000, 0], [5_000, 0]]);
    somebody_posts(&server, &graphs::nodes("a", &[(1_000, 0.1), (30_000, 600.0)]));
    assert!(server.wait_until(SOON, |state| state.held_memory == 30_000 << 20));
    assert_eq!([stats(1_000), stats(5_000)], [[24_576, 30_000]; 2]);
    server.interrupt_running();
    let mut told = String::new();
    while !told.ends_with("executing null ") {
        let frame: Value = serde_json::from_slice(&frame(&first).unwrap().1).unwrap();
        if frame["type"] != "status" && frame["type"] != "progress_state" {
            told += &format!("{} {} ", frame["type"], frame["data"]["node"]).replace('"', "");
        }
    }
    let steps = "progress 10 ".repeat(4);
    let before = "execution_start null execution_cached null executing 1 executing 10";
    let wanted = format!("{before} {steps}executing 11 execution_interrupted null executing null ");
    assert_eq!(told, wanted);
}
