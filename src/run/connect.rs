//! Reaching the server at the start of a run.

use std::time::Duration;

use super::context::RunError;
use super::events::EventLoop;
use crate::cli::{RunOptions, ServerOptions};
use crate::clock::std_span;
use crate::comfyui::{Client, ErrorKind, HttpError, OnWait, SystemStats, Target};
use crate::exit_code::Exit;
use crate::interrupt::Interrupted;
use crate::sleep;

/// Between two tries at a server that is waited for.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Asks the server for its `/system_stats`, again for as long as `WaitForComfyUI` says. Returns how
/// it is spoken to, and the answer, or what came back in its place. `is_started`: one that refuses
/// connections is not waited for.
///
/// # Errors
/// [`Interrupted`].
pub fn connect(
    options: &RunOptions,
    events: &mut EventLoop,
    is_started: bool,
) -> Result<Result<(Target, SystemStats), HttpError>, Interrupted> {
    let mut target = target(&options.server);
    let until = sleep::now() + options.wait_for_comfyui;
    let mut logged = false;
    let what = format!("waiting for ComfyUI at {}", target.base);
    loop {
        events.console.wait_for(&what, &waited_for(options));
        let mut answer = probe(options, &target, events.on_wait());
        if target.ipv4_only && matches!(&answer, Err(error) if error.kind == ErrorKind::Refused) {
            let any = Target { ipv4_only: false, ..target.clone() };
            if let Ok(stats) = probe(options, &any, events.on_wait()) {
                target = any;
                answer = Ok(stats);
            }
        }
        let error = match answer {
            Ok(stats) => {
                events.console.set_live(None);
                return Ok(Ok((target, stats)));
            }
            Err(error) => error,
        };
        let left = sleep::left(until);
        let is_final = match error.kind {
            ErrorKind::Status(401 | 403) => true,
            ErrorKind::Refused => is_started,
            _ => false,
        };
        if left.is_zero() || is_final {
            events.console.set_live(None);
            return Ok(Err(error));
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

/// How long it is waited for at most, where it is.
fn waited_for(options: &RunOptions) -> String {
    let time = options.wait_for_comfyui;
    if time.is_zero() { String::new() } else { format!("up to {}", std_span(time)) }
}

/// How the server is spoken to. `localhost` is tried on IPv4 alone first.
pub fn target(server: &ServerOptions) -> Target {
    const CREDENTIALS: &str = "--header-file FILE or user:password@ in the URL";
    let mut target = Target::new(&server.url, CREDENTIALS);
    target.headers.splice(..0, server.headers.iter().cloned());
    target.api_key.clone_from(&server.api_key);
    target
}

fn probe(options: &RunOptions, target: &Target, on_wait: OnWait) -> Result<SystemStats, HttpError> {
    Client::new(target.clone(), options.post_execution_timeout, on_wait).system_stats()
}

/// What a run fails with that finds no server.
pub fn no_server(options: &RunOptions, error: &HttpError) -> RunError {
    let (base, detail) = (options.server.url.base(), &error.detail);
    let silent = matches!(error.kind, ErrorKind::Refused | ErrorKind::Timeout | ErrorKind::Reset);
    let server_may_come = silent && !error.is_unknown_host();
    let why = match error.kind {
        _ if server_may_come => format!(
            "no ComfyUI at {base} ({detail}): start it, or --comfyui-url URL, or --wait-for-comfyui 120"
        ),
        ErrorKind::Status(401) => {
            format!("ComfyUI at {base} rejected our credentials: {detail}")
        }
        ErrorKind::Status(403) => format!("ComfyUI at {base} refused us: {detail}"),
        _ => format!("no ComfyUI at {base} ({detail}): is it the right --comfyui-url?"),
    };
    let (exit, skipped) = (Exit::Unreachable, "no ComfyUI");
    RunError::Failed { exit, why, skipped, server_may_come }
}
