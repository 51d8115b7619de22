//! HTTP/1.1 read and written by hand.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::python;

/// A request as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: String,
    /// Path with query, percent-encoded as it came.
    pub path: String,
    /// The body as text; what is not UTF-8 in it is replaced.
    pub body: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub bytes: Vec<u8>,
}

impl Request {
    /// The first header of that (lower case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether `METHOD /path` starts with `route`, be it behind a prefix or `/api`.
    pub fn is(&self, route: &str) -> bool {
        let (method, path) = route.split_once(' ').unwrap_or(("", route));
        let query = self.path.find('?').unwrap_or(self.path.len());
        let mut starts = self.path[..query].match_indices('/').map(|(at, _)| at);
        self.method == method && starts.any(|at| self.path[at..].starts_with(path))
    }

    /// Whether the connection ends after this request.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Reads a request up to the last byte of its head. That byte stays with the system, so that
/// dropping the connection now resets it. `None`: the client has gone.
pub fn read_head(mut stream: &TcpStream, stopping: &AtomicBool) -> io::Result<Option<Request>> {
    const END: &[u8] = b"\r\n\r\n";
    let mut head = Vec::new();
    let mut ahead = [0; 4096];
    loop {
        let seen = peek(stream, &mut ahead, stopping)?;
        if seen == 0 {
            return Ok(None);
        }
        let known = head.len();
        head.extend(&ahead[..seen]);
        let end = head.windows(END.len()).position(|window| window == END);
        let wanted = end.map_or(head.len(), |at| at + END.len() - 1);
        head.truncate(wanted);
        stream.read_exact(&mut head[known..])?;
        if end.is_some() {
            return Ok(Some(parse_head(&String::from_utf8_lossy(&head))));
        }
    }
}

/// Waits for a byte. Wine does not wake whoever reads when its own side shuts the connection down,
/// and nobody promises that Windows does: there it looks up now and then.
fn peek(stream: &TcpStream, ahead: &mut [u8], stopping: &AtomicBool) -> io::Result<usize> {
    if cfg!(not(windows)) {
        return stream.peek(ahead);
    }
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    loop {
        match stream.peek(ahead) {
            Err(error)
                if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
                    && !stopping.load(Ordering::SeqCst) => {}
            seen => {
                stream.set_read_timeout(None)?;
                return seen;
            }
        }
    }
}

fn parse_head(head: &str) -> Request {
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let method = first.next().unwrap_or_default();
    let path = first.next().unwrap_or_default();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Request { method, path, headers, ..Request::default() }
}

/// Reads what `read_head` left: the last byte of the head, and the body.
pub fn read_body(stream: &TcpStream, request: &mut Request) -> io::Result<()> {
    take(stream, 1)?;
    if request.header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        loop {
            let length = usize::from_str_radix(line(stream)?.trim(), 16).unwrap_or(0);
            let chunk = take(stream, length)?;
            line(stream)?;
            if chunk.is_empty() {
                break;
            }
            request.bytes.extend(chunk);
        }
    } else {
        let length = request.header("content-length").and_then(|value| value.parse().ok());
        request.bytes = take(stream, length.unwrap_or(0))?;
    }
    request.body = String::from_utf8_lossy(&request.bytes).into_owned();
    Ok(())
}

fn take(mut stream: &TcpStream, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn line(stream: &TcpStream) -> io::Result<String> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.extend(take(stream, 1)?);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// An answer.
pub struct Response {
    /// The status code.
    pub status: u16,
    /// All headers but `Content-Length`.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Arc<[u8]>,
}

impl Response {
    /// Nothing but a status.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Arc::default() }
    }

    /// Text, as aiohttp's own errors are.
    pub fn text(status: u16, text: &str) -> Self {
        Self::typed(status, "text/plain; charset=utf-8", text.as_bytes().into())
    }

    /// JSON in Python's spelling.
    pub fn json(status: u16, value: &Value) -> Self {
        Self::json_text(status, &python::dumps(value))
    }

    /// JSON that is written already.
    pub fn json_text(status: u16, text: &str) -> Self {
        Self::typed(status, "application/json; charset=utf-8", text.as_bytes().into())
    }

    /// A body of some type.
    pub fn typed(status: u16, content_type: &str, body: Arc<[u8]>) -> Self {
        Self { status, headers: vec![("Content-Type", content_type.to_owned())], body }
    }

    /// One header more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Everything before the body; an answer may bring its own framing.
    pub fn head(&self, content_length: usize) -> String {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let framing = ["Transfer-Encoding", "Content-Length"];
        if self.headers.iter().all(|(name, _)| !framing.contains(name)) {
            let _ = write!(head, "Content-Length: {content_length}\r\n");
        }
        head + "\r\n"
    }

    /// Sends it in one piece.
    pub fn send(&self, mut stream: &TcpStream) -> io::Result<()> {
        stream.write_all(&[self.head(self.body.len()).as_bytes(), &self.body].concat())
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Unknown",
    }
}
