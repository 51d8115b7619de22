//! The one place that speaks HTTP: timeouts, caps, headers, and errors by kind.

mod url;

use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use ureq::config::IpFamily;
use ureq::http::Response;
use ureq::{Agent, Body, RequestBuilder};

pub use url::ServerUrl;

use crate::sanitize::sanitize_line;

/// Largest answer that is read as JSON: 64 MiB.
const BODY_CAP: u64 = 64 << 20;
const UNKNOWN_HOST: &str = "host not found";

/// Where a server is and what to send with each request.
#[derive(Clone)]
pub struct Target {
    /// The URL without credentials and without a slash at its end.
    pub base: String,
    /// Headers of every request, `Authorization` among them. Never printed.
    pub headers: Vec<(String, String)>,
    /// Whether the host is this machine: then no proxy is used.
    pub loopback: bool,
    /// Only IPv4 addresses of the host are tried. For `localhost`, whose IPv6 address costs
    /// two seconds a connection on Windows when the server listens on IPv4 alone.
    pub ipv4_only: bool,
    /// How the user gives other credentials, for a server that wants them.
    pub credentials: &'static str,
}

impl Target {
    /// The server at a URL, with its credentials. `localhost` is spoken to on IPv4 alone.
    pub fn new(url: &ServerUrl, credentials: &'static str) -> Self {
        let basic = url.authorization();
        Target {
            base: url.base().to_owned(),
            headers: basic
                .map(|basic| ("Authorization".into(), basic.into()))
                .into_iter()
                .collect(),
            loopback: url.is_loopback(),
            ipv4_only: url.host().eq_ignore_ascii_case("localhost"),
            credentials,
        }
    }
}

/// What kept a call from its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Nobody listens there, or the host has no address.
    Refused,
    /// No answer in time.
    Timeout,
    /// The connection broke before the answer was whole.
    Reset,
    /// The server answered with this status instead of 200.
    Status(u16),
    /// The answer is not the JSON that it should be, or larger than 64 MiB.
    BadJson,
}

/// A call that failed: what was asked, where, and what came back.
#[derive(Clone, Debug)]
pub struct HttpError {
    call: String,
    base: String,
    /// The kind, for who has to decide.
    pub fault: ErrorKind,
    detail: String,
}

impl HttpError {
    pub(crate) fn new(call: &str, base: &str, fault: ErrorKind, detail: impl Into<String>) -> Self {
        HttpError { call: call.into(), base: base.into(), fault, detail: detail.into() }
    }

    #[cfg(test)]
    pub(crate) fn example(fault: ErrorKind) -> Self {
        HttpError::new("GET /queue", "http://127.0.0.1:8188", fault, "as a test has it")
    }

    /// Whether the name of the host has no address.
    pub fn is_unknown_host(&self) -> bool {
        self.fault == ErrorKind::Refused && self.detail == UNKNOWN_HOST
    }

    /// What came back, without what was asked.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.call, self.base, self.detail)
    }
}

/// What the time of a call is bounded by.
#[derive(Clone, Copy)]
pub(crate) enum Timeout {
    /// End to end, from the address look-up to the last byte of the body.
    Whole(Duration),
    /// This long until the answer begins, and this long without a byte of its body; no bound on
    /// the whole, which its reader has to be ready to leave.
    Idle(Duration),
    /// End to end, and this long until a byte of what is sent is taken or the answer begins.
    Both(Duration, Duration),
}

pub(crate) enum Payload<'a> {
    None,
    Json(&'a str),
    Bytes { content_type: &'a str, bytes: &'a [u8] },
}

/// An agent with a pool of its own. One per thread, so that nobody waits for another's transfer.
pub(crate) struct Http {
    target: Target,
    agent: Agent,
}

impl Http {
    /// `connect` bounds making a connection, the address look-up apart.
    pub(crate) fn new(target: Target, connect: Duration) -> Self {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(connect))
            .timeout_resolve(Some(connect))
            .user_agent(concat!("run-comfyui-e2e/", env!("CARGO_PKG_VERSION")));
        if target.loopback {
            config = config.proxy(None);
        }
        if target.ipv4_only {
            config = config.ip_family(IpFamily::Ipv4Only);
        }
        Http { agent: config.build().new_agent(), target }
    }

    pub(crate) fn base(&self) -> &str {
        &self.target.base
    }

    /// The status and body of a call; any status is an answer.
    pub(crate) fn exchange(
        &self,
        method: &str,
        path: &str,
        payload: &Payload,
        bound: Timeout,
    ) -> Result<(u16, Vec<u8>), HttpError> {
        let response = self.send(method, path, payload, bound)?;
        let status = response.status().as_u16();
        let body = response
            .into_body()
            .into_with_config()
            .limit(BODY_CAP)
            .read_to_vec()
            .map_err(|error| self.error(method, path, &error))?;
        Ok((status, body))
    }

    /// The body of a GET that answered 200.
    pub(crate) fn get(&self, path: &str, bound: Timeout) -> Result<Vec<u8>, HttpError> {
        let (status, body) = self.exchange("GET", path, &Payload::None, bound)?;
        if status == 200 { Ok(body) } else { Err(self.status("GET", path, status, &body)) }
    }

    /// The body of a GET that answered 200, to be read as it comes, and its announced length.
    pub(crate) fn open(
        &self,
        path: &str,
        bound: Timeout,
    ) -> Result<(Option<u64>, impl Read + use<>), HttpError> {
        let response = self.send("GET", path, &Payload::None, bound)?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(self.status("GET", path, status, b""));
        }
        let length = response.body().content_length();
        Ok((length, response.into_body().into_reader()))
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        payload: &Payload,
        bound: Timeout,
    ) -> Result<Response<Body>, HttpError> {
        let url = format!("{}{path}", self.target.base);
        let result = if method == "GET" {
            bounded(self.with_headers(self.agent.get(&url)), bound).call()
        } else {
            let request = bounded(self.with_headers(self.agent.post(&url)), bound);
            match payload {
                Payload::None => request.send_empty(),
                Payload::Json(json) => request.content_type("application/json").send(*json),
                Payload::Bytes { content_type, bytes } => {
                    request.content_type(*content_type).send(*bytes)
                }
            }
        };
        result.map_err(|error| self.error(method, path, &error))
    }

    fn with_headers<Kind>(&self, request: RequestBuilder<Kind>) -> RequestBuilder<Kind> {
        self.target
            .headers
            .iter()
            .fold(request, |request, (name, value)| request.header(name, value))
    }

    /// The error of an answer with a status that the call cannot use.
    pub(crate) fn status(&self, method: &str, path: &str, status: u16, body: &[u8]) -> HttpError {
        let hint = match status {
            401 | 403 => format!(" (it wants other credentials: {})", self.target.credentials),
            300..=399 => " (a redirect, not followed: give the final URL)".to_owned(),
            _ => String::new(),
        };
        let text = String::from_utf8_lossy(&body[..body.len().min(2000)]);
        // Before it is cut: of a secret a part would be left.
        let text = self.without_secrets(text.split_whitespace().collect::<Vec<_>>().join(" "));
        let said = if text.is_empty() || text.starts_with('<') {
            String::new()
        } else {
            format!(": {}", text.chars().take(200).collect::<String>())
        };
        self.fail(method, path, ErrorKind::Status(status), format!("HTTP {status}{hint}{said}"))
    }

    pub(crate) fn fail(
        &self,
        method: &str,
        path: &str,
        fault: ErrorKind,
        detail: impl Into<String>,
    ) -> HttpError {
        // The query may carry names from the server; the route alone says what was asked.
        let route = path.split('?').next().unwrap_or(path);
        HttpError::new(
            &format!("{method} {route}"),
            &self.target.base,
            fault,
            self.without_secrets(sanitize_line(&detail.into())),
        )
    }

    /// A server may say what it was sent.
    fn without_secrets(&self, text: String) -> String {
        // Shorter words than these are no tokens, but `Bearer` and the like.
        let values = self.target.headers.iter().flat_map(|(_, value)| value.split_whitespace());
        let tokens = values.filter(|word| word.len() > 6);
        tokens.fold(text, |text, token| text.replace(token, "***"))
    }

    fn error(&self, method: &str, path: &str, error: &ureq::Error) -> HttpError {
        let (fault, detail) = match error {
            // Windows knocks for two seconds at a port of its own where nobody listens.
            ureq::Error::Timeout(ureq::Timeout::Connect)
                if cfg!(windows) && self.target.loopback =>
            {
                (ErrorKind::Refused, "connection refused".to_owned())
            }
            ureq::Error::Timeout(_) => (ErrorKind::Timeout, "no answer in time".to_owned()),
            ureq::Error::Io(io) => fault_of_io(io),
            ureq::Error::HostNotFound => (ErrorKind::Refused, UNKNOWN_HOST.to_owned()),
            ureq::Error::ConnectionFailed => (ErrorKind::Refused, "connection failed".to_owned()),
            ureq::Error::BodyExceedsLimit(_) => {
                (ErrorKind::BadJson, "an answer of more than 64 MiB".to_owned())
            }
            other => (ErrorKind::Reset, other.to_string()),
        };
        self.fail(method, path, fault, detail)
    }
}

/// The fault of a body that broke off while it was read.
pub(crate) fn fault_of_io(error: &io::Error) -> (ErrorKind, String) {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => (ErrorKind::Refused, "connection refused".to_owned()),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            (ErrorKind::Timeout, "no answer in time".to_owned())
        }
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => (ErrorKind::Reset, "the connection broke off".to_owned()),
        _ => match error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
            Some(ureq::Error::Timeout(_)) => (ErrorKind::Timeout, "no answer in time".to_owned()),
            _ => (ErrorKind::Reset, with_help(error.to_string())),
        },
    }
}

/// Of a certificate that is refused, what can be done: the system's own authorities are not asked.
fn with_help(error: String) -> String {
    if error.starts_with("invalid peer certificate") {
        format!(
            "{error}; only those of public authorities are taken: without one, go through a \
             tunnel (ssh -L 8188:127.0.0.1:8188 HOST) to an http:// URL"
        )
    } else {
        error
    }
}

fn bounded<Kind>(request: RequestBuilder<Kind>, bound: Timeout) -> RequestBuilder<Kind> {
    let config = request.config();
    match bound {
        Timeout::Whole(time) => config.timeout_global(Some(time)).build(),
        Timeout::Idle(time) => {
            config.timeout_recv_response(Some(time)).timeout_per_read(Some(time)).build()
        }
        Timeout::Both(whole, silence) => {
            let config = config.timeout_global(Some(whole)).timeout_per_write(Some(silence));
            config.timeout_recv_response(Some(silence)).timeout_recv_body(Some(silence)).build()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_a_server_repeats_no_part_of_a_secret_is_left_at_the_cut() {
        let headers =
            vec![("Authorization".to_owned(), "Bearer t0k3n-of-mine-which-is-long".to_owned())];
        let (base, credentials) = ("http://127.0.0.1:8188".to_owned(), "-Header");
        let target = Target { base, headers, loopback: true, ipv4_only: false, credentials };
        let http = Http::new(target, Duration::from_secs(1));
        for length in 160..200 {
            let body =
                format!("{} Bearer t0k3n-of-mine-which-is-long is not known", "x".repeat(length));
            let error = http.status("GET", "/queue", 403, body.as_bytes()).to_string();
            assert!(!error.contains("t0k"), "{error}");
        }
    }

    #[test]
    fn a_certificate_that_is_refused_says_what_to_do() {
        let refused = "invalid peer certificate: UnknownIssuer";
        let (fault, detail) = fault_of_io(&io::Error::new(io::ErrorKind::InvalidData, refused));
        assert_eq!(fault, ErrorKind::Reset);
        assert!(detail.starts_with(refused) && detail.contains("ssh -L"), "{detail}");
    }
}
