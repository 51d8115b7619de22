//! `/ws`: tells a client what the executor does with its prompts.

use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::json;

use super::faults::Fault;
use super::http::{self, Request, Response};
use super::server::Connection;
use super::state::{FOREVER, Prompt, State};

/// The answer to `GET /ws`, behind which `serve` takes over.
pub fn accept(request: &Request) -> Response {
    let asks = |name, value| request.header(name).is_some_and(|it| it.eq_ignore_ascii_case(value));
    if !asks("upgrade", "websocket") || request.header("sec-websocket-key").is_none() {
        return Response::text(400, "No WebSocket UPGRADE hdr");
    }
    // Not the hash of the client's key: the program does not look at it.
    let accept = Response { status: 101, headers: Vec::new(), body: [].into() };
    let accept = accept.with("Upgrade", "websocket").with("Connection", "upgrade");
    accept.with("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
}

/// Tells the frames from `next` on, until one side closes the connection.
pub fn serve(on: &Connection, client: &str, next: usize, fault: Option<&Fault>) -> io::Result<()> {
    let shared = &on.server.shared;
    shared.update(|state| state.sockets.push(on.id));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = hear(on);
            shared.update(|state| state.sockets.retain(|id| *id != on.id));
        });
        let told = tell(on, client, next, fault);
        let _ = on.stream.shutdown(Shutdown::Both); // ends the other thread too
        told
    })
}

fn tell(on: &Connection, client: &str, mut next: usize, fault: Option<&Fault>) -> io::Result<()> {
    let (mut stream, shared) = (on.stream, &on.server.shared);
    if let Some(Fault::Raw(bytes)) = fault {
        stream.write_all(bytes)?;
        while on.pause(Duration::from_millis(50)) {
            stream.write_all(b"x")?;
        }
        return Ok(());
    }
    let is_over = |state: &State| on.server.is_stopping() || !state.sockets.contains(&on.id);
    let mut frames = shared.read(|state| {
        let sid = json!({"status": state.status(), "sid": client});
        let mut first = vec![json!({"type": "status", "data": sid})];
        // Whoever comes back hears which node runs, but not of which prompt.
        let runs = state.running.as_ref().is_some_and(|prompt| prompt.client() == Some(client));
        let node = state.progress.values().find(|node| runs && node["state"] == "running");
        let executing = |id| json!({"type": "executing", "data": {"node": id}});
        first.extend(node.map(|node| executing(&node["node_id"])));
        first
    });
    let mut left = if let Some(Fault::Cut(frames)) = fault { *frames } else { usize::MAX };
    loop {
        for text in frames.iter().filter(|_| !matches!(fault, Some(Fault::Silent))) {
            if let Some(Fault::Between(opcode, payload)) = fault {
                stream.write_all(&frame(0x80 | opcode, payload))?;
            }
            let text = text.to_string();
            let size = if let Some(Fault::Fragments(size)) = fault { *size } else { text.len() };
            let parts = text.len().div_ceil(size);
            for (number, part) in text.as_bytes().chunks(size).enumerate() {
                let last = if number + 1 == parts { 0x80 } else { 0 };
                stream.write_all(&frame(last | u8::from(number == 0), part))?;
            }
            left -= 1;
            if left == 0 {
                return Ok(());
            }
        }
        shared.wait_until(FOREVER, |state| state.frames.len() > next || is_over(state));
        if shared.read(is_over) {
            return Ok(());
        }
        let news = shared.read(|state| state.frames[next..].to_vec());
        next += news.len();
        let is_for = |to: &Option<String>| to.as_deref().is_none_or(|to| to == client);
        frames = news.into_iter().filter(|(to, _)| is_for(to)).map(|(_, frame)| frame).collect();
    }
}

/// Hears a client's frames until it closes the connection, or sends what no client may.
fn hear(on: &Connection) -> io::Result<()> {
    let mut stream = on.stream;
    while http::peek(stream, &on.server.stopping, &mut [0])? > 0 {
        let head = http::read(stream, 2)?;
        let (opcode, length) = (head[0] & 15, head[1] ^ 0x80);
        if length > 125 {
            return Err(ErrorKind::InvalidData.into()); // not masked, or too long for the program
        }
        let (mask, masked) = (http::read(stream, 4)?, http::read(stream, length.into())?);
        let bytes: Vec<u8> = masked.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b).collect();
        if opcode == 8 {
            return stream.write_all(&frame(0x88, &bytes));
        }
    }
    Ok(())
}

/// The first byte is the opcode (0 for a text's later part), and 0x80 more in a message's last part.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len().to_be_bytes();
    let (mark, length): (&[u8], &[u8]) = match payload.len() {
        0..=125 => (&[], &length[7..]),
        126..=0xffff => (&[126], &length[6..]),
        _ => (&[127], &length),
    };
    [&[first], mark, length, payload].concat()
}
