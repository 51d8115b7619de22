//! The stand-in against the real server's recorded answers, and its misbehaviour against its
//! description.

mod client;

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use client::{SOON, ask, connect, header, receive, send};
use serde_json::{Value, json};

use crate::stand_in::{Config, Fault, StandIn, State, Version, graphs};

/// Posts a graph, waits for its end and returns its history entry.
fn run(server: &StandIn, graph: &Value) -> Value {
    let answer = ask(server, "POST", "/prompt", &json!({"prompt": graph}).to_string());
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let id = answer.json()["prompt_id"].as_str().expect("an id").to_owned();
    assert!(server.wait_until(SOON, State::is_idle));
    ask(server, "GET", &format!("/history/{id}"), "").json()[&id].take()
}

/// Without what differs between two servers, or two runs of one.
fn comparable(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(comparable),
        Value::Object(members) => {
            members.retain(|name, _| name != "traceback" && !name.starts_with("current_"));
            for (name, member) in members {
                if name == "timestamp" || name.ends_with("_free") {
                    *member = Value::Null;
                }
                comparable(member);
            }
        }
        _ => {}
    }
}

#[test]
fn answers_as_the_recorded_server_does() {
    let server = StandIn::start();
    let mut lines = include_str!("../fixtures/recorded-exchanges.jsonl").to_owned();
    while let Some((line, rest)) = lines.split_once('\n') {
        let exchange: Value = serde_json::from_str(line).expect("the fixture is JSON");
        let text = |name: &str| exchange[name].as_str().unwrap_or_default();
        let name = text("name");
        if name.starts_with("history-") {
            assert!(server.wait_until(SOON, State::is_idle), "{name}");
        } else if name == "queue-running-and-pending" {
            assert!(server.wait_until_running(SOON), "{name}");
        }
        let body = match &exchange["send"] {
            Value::Null => String::new(),
            Value::String(body) => body.clone(),
            body => body.to_string(),
        };
        let answer = ask(&server, text("method"), text("path"), &body);
        assert_eq!(answer.status, exchange["status"], "{name}");
        let long = String::from_utf8_lossy(&answer.body).contains("traceback");
        for (header_name, value) in exchange["headers"].as_object().expect("headers") {
            if header_name != "Content-Length" || !long {
                assert_eq!(header(&answer.head, header_name), value.as_str(), "{name}");
            }
        }
        let id = |value: &Value| value["prompt_id"].as_str().unwrap_or("none").to_owned();
        lines = rest.replace(&id(&exchange["body"]), &id(&answer.json()));
        let (mut got, mut wanted) = (answer.json(), exchange["body"].clone());
        if wanted.is_string() {
            continue; // a text: its length has been compared
        }
        if wanted["prompt_id"].is_string() {
            wanted["prompt_id"] = got["prompt_id"].clone();
        }
        comparable(&mut got);
        comparable(&mut wanted);
        assert_eq!(got, wanted, "{name}");
    }
    assert_eq!(server.uploads(), [("key frame é.png".to_owned(), String::new(), 96)]);
}

#[test]
fn a_connection_serves_many_requests() {
    let server = StandIn::start();
    let stream = connect(&server);
    for _ in 0..200 {
        send(&stream, "GET", "/queue", "");
        assert_eq!(receive(&stream).expect("an answer").status, 200);
    }
    assert_eq!(server.requests().len(), 200);
}

#[test]
fn faults_do_what_they_say() {
    let server = StandIn::start();
    let queue = |fault| {
        server.fail_next("GET /queue", 1, fault);
        let stream = connect(&server);
        send(&stream, "GET", "/queue?x=1", "");
        stream
    };
    let error = |stream: &TcpStream| receive(stream).err().map(|error| error.kind());

    assert_eq!(error(&queue(Fault::Reset)), Some(ErrorKind::ConnectionReset));
    assert_eq!(error(&queue(Fault::CutBody)), Some(ErrorKind::UnexpectedEof));
    assert_eq!(receive(&queue(Fault::Status(503, "busy"))).expect("an answer").body, b"busy");
    let answer = receive(&queue(Fault::Body("{".to_owned()))).expect("an answer");
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"{".as_slice()));
    let answer = receive(&queue(Fault::Redirect("/else".to_owned()))).expect("an answer");
    assert_eq!((answer.status, header(&answer.head, "Location")), (302, Some("/else")));

    let start = Instant::now();
    assert!(receive(&queue(Fault::Delay(Duration::from_millis(60)))).is_ok());
    assert!(start.elapsed() >= Duration::from_millis(60));
    let start = Instant::now();
    assert!(receive(&queue(Fault::Dribble)).is_ok());
    assert!(start.elapsed() >= Duration::from_millis(42 * 50));

    let mut start = vec![0; 4 << 20];
    queue(Fault::Endless).read_exact(&mut start).expect("4 MiB without an end");

    let hung = queue(Fault::Hang);
    assert!(server.wait_until_faults_are_met(SOON));
    hung.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    assert!(matches!(error(&hung), Some(ErrorKind::WouldBlock | ErrorKind::TimedOut)));
    server.clear_faults();
    hung.set_read_timeout(Some(SOON)).expect("a timeout");
    assert_eq!(error(&hung), Some(ErrorKind::UnexpectedEof));

    server.fail_next("POST /prompt", usize::MAX, Fault::LoseAnswer);
    let stream = connect(&server);
    let body = json!({"prompt": graphs::video("v/a", 0.0, 0, 1)}).to_string();
    send(&stream, "POST", "/prompt", &body);
    assert_eq!(error(&stream), Some(ErrorKind::UnexpectedEof));
    assert_eq!(server.posted(), 1);
    assert!(server.wait_until_request("POST /prompt", 1, SOON));
}

#[test]
fn it_goes_away_and_comes_back() {
    let server = StandIn::start();
    run(&server, &graphs::images("img/a", 2, 1));
    let (open, hung) = (connect(&server), connect(&server));
    server.fail_next("GET /prompt", 1, Fault::Hang);
    send(&hung, "GET", "/prompt", "");
    assert!(server.wait_until_request("GET /prompt", 1, SOON));
    server.stop_listening();
    assert!(receive(&open).is_err() && receive(&hung).is_err());
    let refused = TcpStream::connect(("127.0.0.1", server.port())).map_err(|error| error.kind());
    assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused));
    server.listen_again();
    assert_ne!(ask(&server, "GET", "/history", "").json(), json!({}));
    server.restart();
    assert_eq!(ask(&server, "GET", "/history", "").json(), json!({}));
    run(&server, &graphs::images("img/a", 2, 1));
    assert_eq!(server.executed(), 2);
}

#[test]
fn the_cache_lasts_until_free_is_acted_on() {
    let server = StandIn::with(Config { free_delay: Duration::from_secs(2), ..Config::cuda() });
    let used = || {
        let device = ask(&server, "GET", "/system_stats", "").json()["devices"][0].take();
        let mb = |name: &str| device[name].as_u64().expect("bytes") >> 20;
        let used = mb("vram_total") - mb("vram_free");
        (used, used + mb("torch_vram_free"))
    };
    let graph = graphs::model("video/m", 1000, 1);
    let free = || ask(&server, "POST", "/free", r#"{"unload_models": true, "free_memory": true}"#);
    run(&server, &graph);
    assert_eq!(used(), (3140, 3240));
    free();
    let entry = run(&server, &graph); // posted at once: first, and from the cache
    assert_eq!(entry["status"]["messages"][1][1]["nodes"], json!(["1", "2", "3", "4"]));
    assert_eq!(entry["outputs"]["4"]["images"][0]["filename"], "m_00001_.mp4");
    assert!(server.wait_until(SOON, |state| state.memory.models == 0));
    assert_eq!(used(), (2140, 2240));
    let entry = run(&server, &graph);
    assert_eq!(entry["outputs"]["4"]["images"][0]["filename"], "m_00002_.mp4");
    assert_eq!(server.executed(), 2);

    let path = "/api/view?filename=m_00001_.mp4&subfolder=video&type=output";
    let answer = ask(&server, "GET", path, "");
    assert_eq!(header(&answer.head, "Content-Disposition"), Some("filename=\"m_00001_.mp4\""));
    assert_eq!(&answer.body[4..8], b"ftyp");
    server.forget_outputs();
    assert_eq!(ask(&server, "GET", path, "").status, 404);
}

#[test]
fn prompts_fail_as_asked() {
    let server = StandIn::with(Config { nan_in_history: true, ..Config::default() });
    let last = |entry: &Value| entry["status"]["messages"][2][1].clone();
    let entry = run(&server, &graphs::out_of_memory());
    assert_eq!(last(&entry)["exception_type"], Value::Null, "a bare NaN is not JSON to serde_json");
    let raw = ask(&server, "GET", "/history?max_items=1", "");
    assert!(String::from_utf8_lossy(&raw.body).contains("\"strength\": [NaN]"));

    let server = StandIn::start();
    let entry = run(&server, &graphs::out_of_memory());
    assert_eq!(last(&entry)["exception_type"], "torch.OutOfMemoryError");
    let entry = run(&server, &graphs::fail_once("video/f", "not yet"));
    assert_eq!(last(&entry)["exception_message"], "not yet\n");
    let entry = run(&server, &graphs::fail_once("video/f", "not yet"));
    assert_eq!(entry["status"]["status_str"], "success");
    let entry = run(&server, &graphs::failing_late("img/before", "late"));
    assert_eq!(entry["outputs"]["2"]["images"][0]["filename"], "before_00001_.png");
    assert_eq!(entry["status"]["status_str"], "error");
    for refused in [graphs::invalid(), graphs::missing_input(), graphs::no_outputs()] {
        let body = json!({"prompt": refused}).to_string();
        assert_eq!(ask(&server, "POST", "/prompt", &body).status, 400);
    }
}

#[test]
fn prompts_are_cancelled_interrupted_and_lost() {
    let server = StandIn::with(Config {
        version: Version::Newest,
        prefix: "/comfy".to_owned(),
        ..Config::default()
    });
    let id = "00000000-0000-4000-8000-00000000000a";
    let post = |id: &str, graph: &Value| {
        let body = json!({"prompt": graph, "prompt_id": id}).to_string();
        ask(&server, "POST", "/comfy/prompt", &body).status
    };
    let cancel = || ask(&server, "POST", &format!("/comfy/api/jobs/{id}/cancel"), "{}").json();
    assert_eq!(post("A", &graphs::video("v/a", 60.0, 1, 1)), 400);
    assert_eq!(post(id, &graphs::video("v/a", 60.0, 1, 1)), 200);
    assert!(server.wait_until_running(SOON));
    assert_eq!(cancel(), json!({"cancelled": true}));
    assert!(server.wait_until_idle(SOON));
    assert_eq!(cancel(), json!({"cancelled": false}));

    assert_eq!(post(id, &graphs::deaf("v/b", 60.0, 0.2)), 200);
    // Before it holds its memory it hears an interrupt.
    assert!(server.wait_until(SOON, |state| state.memory.held > 0));
    let asked = Instant::now();
    server.interrupt_running();
    assert!(server.wait_until_idle(SOON));
    assert!(asked.elapsed() >= Duration::from_millis(200));

    let other = "00000000-0000-4000-8000-00000000000b";
    assert_eq!(post(other, &graphs::video("v/c", 60.0, 1, 2)), 200);
    assert!(server.wait_until_running(SOON));
    server.drop_prompts();
    assert!(server.queue_is_empty());
    assert_eq!(ask(&server, "GET", &format!("/comfy/history/{other}"), "").json(), json!({}));
    assert_eq!(ask(&server, "GET", "/queue", "").status, 404);
}

#[test]
fn old_and_guarded_servers() {
    let server = StandIn::with(Config {
        version: Version::Ancient,
        ignore_prompt_id: true,
        ..Config::default()
    });
    let body = json!({"prompt": graphs::video("v/a", 60.0, 1, 1), "prompt_id": "mine"});
    let answer = ask(&server, "POST", "/prompt", &body.to_string()).json();
    assert_eq!(answer["prompt_id"].as_str().map(str::len), Some(36));
    assert!(server.wait_until_running(SOON));
    ask(&server, "POST", "/interrupt", r#"{"prompt_id": "another"}"#);
    assert!(server.wait_until_idle(SOON));

    let authorization = Some("Bearer x".to_owned());
    let server = StandIn::with(Config { authorization, ..Config::default() });
    assert_eq!(ask(&server, "GET", "/queue", "").status, 401);
}

#[test]
fn uploads_are_found_by_load_image() {
    let server = StandIn::start();
    let upload = |bytes: &str| {
        let field = |name: &str, rest: &str, value: &str| {
            format!(
                "--XBOUNDARYX\r\nContent-Disposition: form-data; name=\"{name}\"{rest}\r\n\r\n{value}\r\n"
            )
        };
        let body = field("subfolder", "", "keys")
            + &field("image", "; filename=\"a.png\"", bytes)
            + "--XBOUNDARYX--\r\n";
        ask(&server, "POST", "/upload/image", &body).json()["name"].take()
    };
    assert_eq!([upload("one"), upload("one"), upload("two")], ["a.png", "a.png", "a (1).png"]);
    let entry = run(&server, &graphs::from_image("img/b", "keys/a (1).png"));
    assert_eq!(entry["status"]["status_str"], "success");
    let path = "/view?filename=a%20%281%29.png&subfolder=keys&type=input";
    assert_eq!(ask(&server, "GET", path, "").body, b"two");
}
