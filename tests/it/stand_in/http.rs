//! HTTP/1.1 over a `TcpStream`, by hand: a library would not send what the faults send.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: String,
    /// With its query, percent-encoded as it came.
    pub path: String,
    /// The body as text; bytes that are not UTF-8 are replaced.
    pub body: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub bytes: Vec<u8>,
}

impl Request {
    /// The first header of that (lower case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether `METHOD /path` starts with `route`, with or without a prefix or `/api`.
    pub fn is(&self, route: &str) -> bool {
        let (method, path) = route.split_once(' ').unwrap_or(("", route));
        let query = self.path.find('?').unwrap_or(self.path.len());
        let mut starts = self.path[..query].match_indices('/').map(|(at, _)| at);
        self.method == method && starts.any(|at| self.path[at..].starts_with(path))
    }
}

/// Reads the head of a request except its last byte. A connection that is closed with that byte
/// unread is reset. `None`: the client closed the connection.
pub fn read_head(stream: &TcpStream, stopping: &AtomicBool) -> io::Result<Option<Request>> {
    let mut ahead = vec![0; 1 << 16];
    let end = loop {
        let seen = peek(stream, stopping, &mut ahead)?;
        if seen == 0 {
            return Ok(None);
        }
        if let Some(end) = ahead[..seen].windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 3;
        }
        std::thread::yield_now();
    };
    let head = String::from_utf8_lossy(&read(stream, end)?).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok(Some(Request { method, path, headers, ..Request::default() }))
}

/// Reads what `read_head` left: the last byte of the head, and the body.
pub fn read_body(stream: &TcpStream, request: &mut Request) -> io::Result<()> {
    let length = request.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    request.bytes = read(stream, 1 + length)?.split_off(1);
    request.body = String::from_utf8_lossy(&request.bytes).into_owned();
    Ok(())
}

/// Waits for bytes, and looks at them without taking them. 0: the client closed the connection.
pub fn peek(stream: &TcpStream, stopping: &AtomicBool, ahead: &mut [u8]) -> io::Result<usize> {
    // Wine does not wake a blocked reader when its own side shuts the connection down.
    let pause = Duration::from_millis(if cfg!(windows) { 50 } else { 60_000 });
    stream.set_read_timeout(Some(pause))?;
    loop {
        match stream.peek(ahead) {
            Err(error)
                if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
                    && !stopping.load(Ordering::SeqCst) => {}
            seen => return stream.set_read_timeout(None).and(seen),
        }
    }
}

pub fn read(mut stream: &TcpStream, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

pub struct Response {
    pub status: u16,
    /// Without `Content-Length`.
    pub headers: Vec<(&'static str, String)>,
    pub body: Arc<[u8]>,
}

impl Response {
    pub fn text(status: u16, text: &str) -> Self {
        Self::typed(status, "text/plain; charset=utf-8", text.as_bytes().into())
    }

    pub fn json(status: u16, value: &Value) -> Self {
        Self { status, ..Self::json_text(&value.to_string()) }
    }

    /// A text that says to be JSON.
    pub fn json_text(text: &str) -> Self {
        Self::typed(200, "application/json; charset=utf-8", text.as_bytes().into())
    }

    pub fn typed(status: u16, content_type: &str, body: Arc<[u8]>) -> Self {
        Self { status, headers: vec![("Content-Type", content_type.to_owned())], body }
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Everything before the body. A chunked body and an upgrade have no length.
    pub fn head(&self, length: u64) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Status\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if self.headers.iter().all(|(name, _)| !["Transfer-Encoding", "Upgrade"].contains(name)) {
            head += &format!("Content-Length: {length}\r\n");
        }
        (head + "\r\n").into_bytes()
    }

    /// Sends it in one write.
    pub fn send(&self, mut stream: &TcpStream) -> io::Result<()> {
        stream.write_all(&[&self.head(self.body.len() as u64), &self.body[..]].concat())
    }
}
