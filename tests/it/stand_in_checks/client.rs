//! A client that hides nothing: raw requests over a socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::stand_in::StandIn;

/// How long a check waits at most for what must happen.
pub const SOON: Duration = Duration::from_secs(10);

/// What came back: status, head, body.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

pub fn connect(server: &StandIn) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream
}

pub fn send(mut stream: &TcpStream, method: &str, path: &str, body: &str) {
    let kind = if body.starts_with("--") {
        "multipart/form-data; boundary=XBOUNDARYX"
    } else {
        "application/json"
    };
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("sent");
}

pub fn receive(mut stream: &TcpStream) -> std::io::Result<Answer> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let length =
        header(&head, "Content-Length").map_or(5, |length| length.parse().expect("digits"));
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Answer { status, head, body })
}

pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

pub fn ask(server: &StandIn, method: &str, path: &str, body: &str) -> Answer {
    let stream = connect(server);
    send(&stream, method, path, body);
    receive(&stream).expect("an answer")
}
