//! A blocking HTTP client over `ureq`: timeouts, size limits, headers, and errors by kind.

mod redact;
mod transport;
mod url;
pub(crate) mod websocket;

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ureq::config::IpFamily;
use ureq::http::Response;
use ureq::http::header::{CONNECTION, CONTENT_ENCODING, HeaderValue, TRANSFER_ENCODING};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector};
use ureq::{Agent, Body, RequestBuilder};

pub(crate) use redact::Secrets;
pub use transport::Addresses;
pub(crate) use transport::{OnWait, never_cut_off};
use transport::{Shared, SharedResolver, TcpConnector};
pub use url::ServerUrl;

use crate::sanitize::sanitize_line;

/// Largest body that is read into memory as a whole: 8 MiB.
const MAX_BODY: u64 = 8 << 20;
/// So much of a body is looked at for its text, in bytes.
const SHOWN_BODY: usize = 64 << 10;
const UNKNOWN_HOST: &str = "host not found";
const REFUSED: &str = "connection refused";
const TIMED_OUT: &str = "no answer in time";
const TOO_LONG: &str = "an answer of more than 8 MiB";
/// What can be done about a certificate: the system's own authorities are not used.
const CERTIFICATE_HELP: &str = "; only those of public authorities are taken: without one, go \
    through a tunnel (ssh -L 8188:127.0.0.1:8188 HOST) to an http:// URL";

/// A server's address and what is sent with each request.
#[derive(Clone)]
pub struct Target {
    /// The URL without credentials and without a slash at its end.
    pub base: String,
    /// Headers of every request, `Authorization` among them. Never printed.
    pub headers: Vec<(String, String)>,
    /// The key that is posted with a prompt. Never printed.
    pub api_key: Option<String>,
    /// Whether the host is this machine: then no proxy is used.
    pub loopback: bool,
    /// Only IPv4 addresses of the host are tried. For `localhost`, whose IPv6 address costs
    /// two seconds a connection on Windows when the server listens on IPv4 alone.
    pub ipv4_only: bool,
    /// The host's addresses, looked up once for all who speak to it.
    pub addresses: Arc<Addresses>,
    /// How the user gives other credentials: the hint of an error with status 401 or 403.
    pub credentials_hint: &'static str,
}

impl Target {
    /// The server at a URL, with its credentials. `localhost` is spoken to on IPv4 alone.
    pub fn new(url: &ServerUrl, credentials_hint: &'static str) -> Self {
        let authorization = url.authorization().map(|value| ("Authorization".into(), value.into()));
        Target {
            base: url.base().to_owned(),
            headers: authorization.into_iter().collect(),
            api_key: None,
            loopback: url.is_loopback(),
            ipv4_only: url.host().eq_ignore_ascii_case("localhost"),
            addresses: Arc::default(),
            credentials_hint,
        }
    }
}

/// Why a request has no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The connection was refused, or the host has no address.
    Refused,
    /// No answer in time.
    Timeout,
    /// The connection broke before the answer was complete.
    Reset,
    /// Another status than 200.
    Status(u16),
    /// The body is not the expected JSON, or too large.
    BadJson,
}

/// A failed request: the call, the server, and what came back.
#[derive(Clone, Debug)]
pub struct HttpError {
    call: String,
    base: String,
    /// What callers branch on.
    pub kind: ErrorKind,
    /// What came back, without the call and the server.
    pub detail: String,
}

impl HttpError {
    /// `call` is the method and the route: `GET /queue`.
    pub(crate) fn new(call: &str, base: &str, kind: ErrorKind, detail: impl Into<String>) -> Self {
        HttpError { call: call.into(), base: base.into(), kind, detail: detail.into() }
    }

    #[cfg(test)]
    pub(crate) fn example(kind: ErrorKind) -> Self {
        HttpError::new("GET /queue", "http://127.0.0.1:8188", kind, "as a test has it")
    }

    /// Whether the name of the host has no address.
    pub fn is_unknown_host(&self) -> bool {
        self.kind == ErrorKind::Refused && self.detail == UNKNOWN_HOST
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.call, self.base, self.detail)
    }
}

/// The time limit of a request.
#[derive(Clone, Copy)]
pub(crate) enum Timeout {
    /// End to end, from DNS lookup to the last byte of the body.
    Whole(Duration),
    /// Until the answer begins, and between two reads of its body; the whole has no limit. The
    /// server is asked to close the connection behind it, so that [`Http::had_surplus`] can tell.
    Transfer(Duration),
    /// `Whole`, and this long until the server takes more of the request, begins its answer, or
    /// has sent all of it.
    WholeAndIdle(Duration, Duration),
}

/// What became of a request.
type Sent = Result<Response<Body>, ureq::Error>;

/// The status and the body of an answer.
pub(crate) type Answer = (u16, Vec<u8>);

/// A client of one server with its own connection pool. One per thread, so that no thread waits for
/// another's transfer.
pub(crate) struct Http {
    pub(crate) target: Target,
    /// Every text that comes from the server goes through them.
    pub(crate) secrets: Secrets,
    agent: Agent,
    shared: Arc<Shared>,
}

impl Http {
    /// `connect` limits the DNS lookup and making the connection, each. `on_wait` is called while a
    /// call waits.
    pub(crate) fn new(target: Target, connect: Duration, on_wait: OnWait) -> Self {
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
        let shared = Arc::new(Shared {
            on_wait,
            addresses: Arc::clone(&target.addresses),
            is_transfer: AtomicBool::new(false),
            is_kept: AtomicBool::new(false),
            has_surplus: AtomicBool::new(false),
        });
        let connector = ().chain(ConnectProxyConnector::default());
        let connector = connector.chain(TcpConnector(Arc::clone(&shared)));
        #[cfg(feature = "tls")]
        let connector = connector.chain(ureq::unversioned::transport::RustlsConnector::default());
        let resolver = SharedResolver(Arc::clone(&target.addresses));
        let agent = Agent::with_parts(config.build(), connector, resolver);
        let secrets = Secrets::new(&target.headers, target.api_key.as_deref());
        Http { target, secrets, agent, shared }
    }

    /// The body of a GET that answered 200.
    pub(crate) fn get(&self, path: &str, timeout: Timeout) -> Result<Vec<u8>, HttpError> {
        let call = format!("GET {path}");
        self.require_200(&call, self.read_body(&call, self.send_get(path, timeout))?)
    }

    /// The body of a GET that answered 200 as a stream, and its `Content-Length`. A failed read is
    /// turned into an [`HttpError`] by [`Http::transport_error`].
    pub(crate) fn get_stream(
        &self,
        path: &str,
        timeout: Timeout,
    ) -> Result<(Option<u64>, impl Read + use<>), HttpError> {
        let call = format!("GET {path}");
        let response = self.require_plain(&call, self.send_get(path, timeout))?;
        let status = response.status().as_u16();
        let (length, mut body) =
            (response.body().content_length(), response.into_body().into_reader());
        if status == 200 {
            return Ok((length, body));
        }
        let mut text = Vec::new();
        // What broke off says enough.
        let _ = body.by_ref().take(SHOWN_BODY as u64).read_to_end(&mut text);
        Err(self.status_error(&call, status, &text))
    }

    /// Whether more came than was announced for the transfer that has been read to its end. Over
    /// TLS that is not seen.
    pub(crate) fn had_surplus(&self) -> bool {
        self.shared.has_surplus.load(Ordering::Relaxed)
    }

    /// The status of a HEAD.
    pub(crate) fn head(&self, path: &str, timeout: Timeout) -> Result<u16, HttpError> {
        let request = self.agent.head(format!("{}{path}", self.target.base));
        let response = self.prepare(request, timeout).call();
        let status = response.map(|response| response.status().as_u16());
        status.map_err(|error| self.transport_error(&format!("HEAD {path}"), error))
    }

    /// The status, whatever it is, and the body of the answer to a POST.
    pub(crate) fn post(
        &self,
        path: &str,
        content_type: &str,
        body: &[u8],
        timeout: Timeout,
    ) -> Result<Answer, HttpError> {
        let request = self.agent.post(format!("{}{path}", self.target.base));
        let response = self.prepare(request, timeout).content_type(content_type).send(body);
        self.read_body(&format!("POST {path}"), response)
    }

    /// A GET, sent once more where the server has closed the connection that was kept, or says that
    /// it waited too long for a request on it.
    fn send_get(&self, path: &str, timeout: Timeout) -> Sent {
        let is_transfer = matches!(timeout, Timeout::Transfer(_));
        self.shared.is_transfer.store(is_transfer, Ordering::Relaxed);
        self.shared.has_surplus.store(false, Ordering::Relaxed);
        let send = || {
            let request = self.agent.get(format!("{}{path}", self.target.base));
            let close = is_transfer.then_some("close");
            let request = close.into_iter().fold(request, |it, close| it.header(CONNECTION, close));
            self.prepare(request, timeout).call()
        };
        let is_kept = || self.shared.is_kept.load(Ordering::Relaxed);
        match send() {
            Err(ureq::Error::Io(error)) if is_kept() && is_broken_off(&error) => send(),
            Ok(response) if is_kept() && response.status() == 408 => send(),
            answer => answer,
        }
    }

    /// The answer, without an encoding: nobody asked for one, and it is not undone.
    fn require_plain(&self, call: &str, sent: Sent) -> Result<Response<Body>, HttpError> {
        let response = sent.map_err(|error| self.transport_error(call, error))?;
        let encodings = response.headers().get_all(CONTENT_ENCODING).into_iter();
        let mut encodings = encodings.chain(response.headers().get_all(TRANSFER_ENCODING));
        let is_coded = |it: &&HeaderValue| !matches!(it.as_bytes(), b"identity" | b"chunked" | b"");
        let Some(encoding) = encodings.find(is_coded) else { return Ok(response) };
        let why = format!(
            "the body came compressed ({}) though nobody asked for it: is there a proxy before the \
             server?",
            String::from_utf8_lossy(encoding.as_bytes())
        );
        Err(self.error(call, ErrorKind::BadJson, &why))
    }

    /// The request with the target's headers and the timeout.
    fn prepare<B>(&self, request: RequestBuilder<B>, timeout: Timeout) -> RequestBuilder<B> {
        let headers = self.target.headers.iter();
        let request = headers.fold(request, |request, (name, value)| request.header(name, value));
        let config = request.config();
        match timeout {
            Timeout::Whole(whole) => config.timeout_global(Some(whole)),
            Timeout::Transfer(idle) => {
                config.timeout_recv_response(Some(idle)).timeout_per_read(Some(idle))
            }
            Timeout::WholeAndIdle(whole, idle) => config
                .timeout_global(Some(whole))
                .timeout_per_write(Some(idle))
                .timeout_recv_response(Some(idle))
                .timeout_recv_body(Some(idle)),
        }
        .build()
    }

    fn read_body(&self, call: &str, sent: Sent) -> Result<Answer, HttpError> {
        let response = self.require_plain(call, sent)?;
        let status = response.status().as_u16();
        let body = response.into_body().into_with_config().limit(MAX_BODY).read_to_vec();
        Ok((status, body.map_err(|error| self.transport_error(call, error))?))
    }

    /// The body of an answer; its status has to be 200.
    pub(crate) fn require_200(&self, call: &str, answer: Answer) -> Result<Vec<u8>, HttpError> {
        let (status, body) = answer;
        if status == 200 { Ok(body) } else { Err(self.status_error(call, status, &body)) }
    }

    /// The error of an answer whose status the caller cannot use.
    pub(crate) fn status_error(&self, call: &str, status: u16, body: &[u8]) -> HttpError {
        let hint = match status {
            401 => format!(" (it wants other credentials: {})", self.target.credentials_hint),
            403 if body.is_empty() => {
                " (ComfyUI says no more than that where Host and Origin differ, or a file lies \
                  outside its folders)"
                    .to_owned()
            }
            413 => {
                " (too large for it: ComfyUI's --max-upload-size, a proxy's own limit)".to_owned()
            }
            300..=399 => format!(
                " (a redirect, not followed: give the final URL, or what a login wants: {})",
                self.target.credentials_hint
            ),
            _ => String::new(),
        };
        let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BODY)]);
        // Redacted before it is cut: a cut could leave a part of a secret.
        let text = self.secrets.redact(&text);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut detail = format!("HTTP {status}{hint}");
        if !text.is_empty() && !text.starts_with('<') {
            detail.push_str(": ");
            detail.extend(text.chars().take(200));
        }
        self.error(call, ErrorKind::Status(status), &detail)
    }

    /// The error of a call (`GET /queue`; a query is left out, since it may carry names from the
    /// server) with one redacted line about what came back.
    pub(crate) fn error(&self, call: &str, kind: ErrorKind, detail: &str) -> HttpError {
        let call = call.split('?').next().unwrap_or(call);
        HttpError::new(call, &self.target.base, kind, self.secrets.redact(&sanitize_line(detail)))
    }

    /// The key that is posted with a prompt.
    pub(crate) fn api_key(&self) -> Option<&str> {
        self.target.api_key.as_deref()
    }

    /// The error of a request that was not answered, or of a body that broke off.
    pub(crate) fn transport_error(&self, call: &str, error: impl Into<ureq::Error>) -> HttpError {
        use ureq::Error;
        let (kind, detail): (_, String) = match error.into() {
            // On Windows a closed loopback port times out after 2 s instead of refusing.
            Error::Timeout(ureq::Timeout::Connect) if cfg!(windows) && self.target.loopback => {
                (ErrorKind::Refused, REFUSED.into())
            }
            Error::Timeout(_) => (ErrorKind::Timeout, TIMED_OUT.into()),
            Error::Io(error) => classify_io_error(&error),
            Error::HostNotFound => (ErrorKind::Refused, UNKNOWN_HOST.into()),
            error @ Error::ConnectionFailed => (ErrorKind::Refused, error.to_string()),
            Error::BodyExceedsLimit(_) => (ErrorKind::BadJson, TOO_LONG.into()),
            error => (ErrorKind::Reset, error.to_string()),
        };
        self.error(call, kind, &detail)
    }
}

fn classify_io_error(error: &io::Error) -> (ErrorKind, String) {
    use io::ErrorKind as Io;
    match error.kind() {
        Io::ConnectionRefused => (ErrorKind::Refused, REFUSED.to_owned()),
        Io::TimedOut | Io::WouldBlock => (ErrorKind::Timeout, TIMED_OUT.to_owned()),
        _ if is_broken_off(error) => (ErrorKind::Reset, "the connection broke off".to_owned()),
        _ => {
            let error = error.to_string();
            let is_certificate = error.starts_with("invalid peer certificate");
            (ErrorKind::Reset, error + if is_certificate { CERTIFICATE_HELP } else { "" })
        }
    }
}

fn is_broken_off(error: &io::Error) -> bool {
    use io::ErrorKind as Io;
    matches!(
        error.kind(),
        Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe | Io::UnexpectedEof
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http() -> Http {
        let headers =
            vec![("Authorization".to_owned(), "Bearer t0k3n-of-mine-which-is-long".to_owned())];
        let base = "http://127.0.0.1:8188".to_owned();
        let credentials_hint = "-Header";
        let target = Target {
            base,
            headers,
            api_key: None,
            loopback: true,
            ipv4_only: false,
            addresses: Arc::default(),
            credentials_hint,
        };
        Http::new(target, Duration::from_secs(1), never_cut_off())
    }

    #[test]
    fn a_secret_that_the_server_repeats_is_redacted_before_the_text_is_cut() {
        let http = http();
        for length in 160..200 {
            let body =
                format!("{} Bearer t0k3n-of-mine-which-is-long is not known", "x".repeat(length));
            let error = http.status_error("GET /queue", 403, body.as_bytes()).to_string();
            assert!(!error.contains("t0k"), "{error}");
        }
    }

    #[test]
    fn a_refused_certificate_says_what_to_do() {
        let refused = "invalid peer certificate: UnknownIssuer";
        let error = io::Error::new(io::ErrorKind::InvalidData, refused);
        let error = http().transport_error("GET /queue", error);
        assert_eq!(error.kind, ErrorKind::Reset);
        let detail = error.detail;
        assert!(detail.starts_with(refused) && detail.contains("ssh -L"), "{detail}");
    }
}
