//! Reaching the server at the start of a run.

use std::time::{Duration, Instant};

use super::events::EventLoop;
use crate::cli::{RunOptions, ServerOptions};
use crate::comfyui::{Client, ErrorKind, HttpError, SystemStats, Target};
use crate::interrupt::Interrupted;

/// Between two knocks at a server that is waited for.
const KNOCK_AGAIN: Duration = Duration::from_secs(1);

/// Why a run has no server.
pub struct ConnectError {
    /// One line: where, what came back, what to do.
    pub why: String,
    /// Nobody listens there yet: waiting may help.
    pub waiting_helps: bool,
}

/// The server's first answer, waited for as long as was asked. The inner error says why there is none.
///
/// # Errors
/// [`Interrupted`].
pub fn connect(
    options: &RunOptions,
    events: &mut EventLoop,
) -> Result<Result<(Target, SystemStats), ConnectError>, Interrupted> {
    let mut target = target(&options.server);
    let until = Instant::now() + options.wait_for_comfyui;
    let mut told = false;
    loop {
        let mut answer = probe(options, &target);
        if target.ipv4_only && matches!(&answer, Err(error) if error.kind == ErrorKind::Refused) {
            let any = Target { ipv4_only: false, ..target.clone() };
            if let Ok(stats) = probe(options, &any) {
                target = any;
                answer = Ok(stats);
            }
        }
        let error = match answer {
            Ok(stats) => return Ok(Ok((target, stats))),
            Err(error) => error,
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || matches!(error.kind, ErrorKind::Status(401 | 403)) {
            return Ok(Err(no_server(&target.base, &error)));
        }
        if !std::mem::replace(&mut told, true) {
            events.console.log(&format!(
                "Waiting up to {} s for ComfyUI at {} ({})",
                options.wait_for_comfyui.as_secs(),
                target.base,
                error.detail()
            ));
        }
        events.wait(KNOCK_AGAIN.min(left))?;
    }
}

/// How the server is spoken to. `localhost` is tried on IPv4 alone first.
pub fn target(server: &ServerOptions) -> Target {
    const CREDENTIALS: &str = "--header-file FILE or user:password@ in the URL";
    let mut target = Target::new(&server.url, CREDENTIALS);
    target.headers.splice(..0, server.headers.iter().cloned());
    target
}

fn probe(options: &RunOptions, target: &Target) -> Result<SystemStats, HttpError> {
    Client::new(target.clone(), options.post_execution_timeout).system_stats()
}

fn no_server(base: &str, error: &HttpError) -> ConnectError {
    let detail = error.detail();
    let waiting_helps =
        matches!(error.kind, ErrorKind::Refused | ErrorKind::Timeout | ErrorKind::Reset)
            && !error.is_unknown_host();
    let why = match error.kind {
        _ if error.is_unknown_host() => {
            format!("no ComfyUI at {base} ({detail}): is it the right --comfyui-url?")
        }
        ErrorKind::Refused | ErrorKind::Timeout | ErrorKind::Reset => format!(
            "no ComfyUI at {base} ({detail}): start it, or --comfyui-url URL, or --wait-for-comfyui 120"
        ),
        ErrorKind::Status(401 | 403) => format!("ComfyUI at {base} does not let us in: {detail}"),
        ErrorKind::Status(_) | ErrorKind::BadJson => {
            format!("no ComfyUI at {base} ({detail}): is it the right --comfyui-url?")
        }
    };
    ConnectError { why, waiting_helps }
}
