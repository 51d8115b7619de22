//! Reaching the server at the start of a run.

use std::time::{Duration, Instant};

use super::context::RunError;
use super::events::EventLoop;
use crate::cli::{RunOptions, ServerOptions};
use crate::comfyui::{Client, ErrorKind, HttpError, SystemStats, Target};
use crate::exit_code::Exit;
use crate::interrupt::Interrupted;

/// Between two tries at a server that is waited for.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Why a run has no server.
pub enum ConnectError {
    /// An interrupt arrived while the server was waited for.
    Interrupted,
    /// It does not answer as a server of `ComfyUI` does.
    NoServer {
        /// One line: where, what came back, what to do.
        why: String,
        /// Nobody listens there yet: waiting may help.
        may_come: bool,
    },
}

impl From<Interrupted> for ConnectError {
    fn from(_: Interrupted) -> Self {
        ConnectError::Interrupted
    }
}

impl From<ConnectError> for RunError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Interrupted => RunError::Interrupted,
            ConnectError::NoServer { why, .. } => {
                RunError::Failed { exit: Exit::Unreachable, why, skipped: "no ComfyUI" }
            }
        }
    }
}

/// Asks the server for its `/system_stats`, again for as long as `WaitForComfyUI` says. Returns how
/// it is spoken to, and the answer.
///
/// # Errors
/// There is no server, or an interrupt came first.
pub fn connect(
    options: &RunOptions,
    events: &mut EventLoop,
) -> Result<(Target, SystemStats), ConnectError> {
    let mut target = target(&options.server);
    let until = Instant::now() + options.wait_for_comfyui;
    let mut logged = false;
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
            Ok(stats) => return Ok((target, stats)),
            Err(error) => error,
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || matches!(error.kind, ErrorKind::Status(401 | 403)) {
            return Err(no_server(&target.base, &error));
        }
        if !std::mem::replace(&mut logged, true) {
            events.console.log(&format!(
                "Waiting up to {} s for ComfyUI at {} ({})",
                options.wait_for_comfyui.as_secs(),
                target.base,
                error.detail
            ));
        }
        events.wait(TRY_AGAIN.min(left))?;
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
    let detail = &error.detail;
    let silent = matches!(error.kind, ErrorKind::Refused | ErrorKind::Timeout | ErrorKind::Reset);
    let may_come = silent && !error.is_unknown_host();
    let why = match error.kind {
        _ if may_come => format!(
            "no ComfyUI at {base} ({detail}): start it, or --comfyui-url URL, or --wait-for-comfyui 120"
        ),
        ErrorKind::Status(401 | 403) => {
            format!("ComfyUI at {base} rejected our credentials: {detail}")
        }
        _ => format!("no ComfyUI at {base} ({detail}): is it the right --comfyui-url?"),
    };
    ConnectError::NoServer { why, may_come }
}
