//! What the server tells over its websocket while a prompt of ours is there: when it starts, which
//! node runs and how far it is, and that it is over.
//!
//! An aid, never a condition: an outcome comes from the history, and where nothing is told, polls
//! do all as well. Messages as recorded from 0.3.64 and 0.33.0: `execution_start`, `executing` (its
//! node is null when the prompt is over and its history is there), `progress`.

use std::convert::Infallible;
use std::sync::mpsc::{self, RecvTimeoutError, Sender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::json;
use super::prompt::is_valid_id;
use crate::http::websocket::{WebSocket, is_supported};
use crate::http::{Secrets, Target};
use crate::sanitize::percent_encoded;

/// Between two openings of the websocket.
const OPEN_AGAIN: Duration = Duration::from_secs(5);
/// Progress is told this often at most.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Longer ids of nodes are cut.
const LONGEST_NODE: usize = 64;

/// What a listener tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The server will tell of the client's prompts from now on.
    Connected,
    /// It does not, or no longer.
    Lost,
    /// Of a prompt with that id.
    Prompt(String, Progress),
}

/// How far a prompt is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It executes.
    Started,
    /// This node runs now: letters, digits and `._:-`.
    Node(String),
    /// The running node has done so many of its steps.
    Steps(u64, u64),
    /// It is over, and has its history.
    Over,
}

/// A thread that reads the websocket of one client id. It ends soon after this is dropped.
pub struct Listener {
    _stop: Sender<Infallible>,
}

impl Listener {
    /// Starts listening for the prompts of that client id. `send` gets each message with the moment
    /// when it came, [`Told::Lost`] at once where nothing can be told.
    pub fn start(
        target: Target,
        client_id: &str,
        send: impl Fn(Instant, Told) + Send + 'static,
    ) -> Self {
        let (stop, stopped) = mpsc::channel::<Infallible>();
        let path = format!("/ws?clientId={}", percent_encoded(client_id));
        if !is_supported(&target) {
            send(Instant::now(), Told::Lost);
            return Listener { _stop: stop };
        }
        let secrets = Secrets::new(&target.headers, target.api_key.as_deref());
        let listen = move || loop {
            let opened = Instant::now();
            let go_on = || stopped.try_recv() == Err(TryRecvError::Empty);
            if let Ok(mut socket) = WebSocket::connect(&target, &path, &go_on) {
                send(Instant::now(), Told::Connected);
                let mut latest_steps = None;
                while let Ok(Some(text)) = socket.next_text() {
                    let now = Instant::now();
                    let Some((id, mut progress)) = parse(text) else { continue };
                    if let Progress::Node(node) = &mut progress {
                        *node = secrets.redact(node).replace('*', "_");
                    }
                    if let Progress::Steps(..) = progress {
                        if latest_steps.is_some_and(|at| now - at < PROGRESS_INTERVAL) {
                            continue;
                        }
                        latest_steps = Some(now);
                    }
                    send(now, Told::Prompt(id, progress));
                }
            }
            send(Instant::now(), Told::Lost);
            let wait = OPEN_AGAIN.saturating_sub(opened.elapsed());
            if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        };
        // Without a thread nothing is told.
        let _ = thread::Builder::new().name("listener".into()).spawn(listen);
        Listener { _stop: stop }
    }
}

/// What a message tells of a prompt, and the prompt's id.
pub(super) fn parse(text: &[u8]) -> Option<(String, Progress)> {
    // It repeats all nodes at every step.
    if text.starts_with(b"{\"type\": \"progress_state\"") {
        return None;
    }
    let message = json::parse(text)?;
    let data = &message["data"];
    let id = data["prompt_id"].as_str().filter(|id| is_valid_id(id) && id.len() <= LONGEST_NODE)?;
    let progress = match message["type"].as_str()? {
        "execution_start" => Progress::Started,
        // The one that a person sees, where a node is made of others.
        "executing" => match data["display_node"].as_str().or(data["node"].as_str()) {
            Some(node) => Progress::Node(node_id(node)?),
            None if data.get("node").is_some_and(Value::is_null) => Progress::Over,
            None => return None,
        },
        "progress" => Progress::Steps(steps(&data["value"])?, steps(&data["max"])?),
        _ => return None,
    };
    Some((id.to_owned(), progress))
}

fn node_id(node: &str) -> Option<String> {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._:-".contains(c) { c } else { '_' };
    let id: String = node.chars().take(LONGEST_NODE).map(safe).collect();
    Some(id).filter(|id| !id.is_empty())
}

fn steps(value: &Value) -> Option<u64> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a cast saturates
    value.as_u64().or_else(|| value.as_f64().map(|steps| steps as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_tell_of_a_prompt() {
        let told = |text: &str| parse(text.as_bytes());
        let of = |progress| Some(("p".to_owned(), progress));
        for (text, wanted) in [
            (r#"{"type":"execution_start","data":{"prompt_id":"p"}}"#, of(Progress::Started)),
            (
                r#"{"type":"executing","data":{"node":"5.0.1","display_node":"5","prompt_id":"p"}}"#,
                of(Progress::Node("5".into())),
            ),
            (
                r#"{"type":"executing","data":{"node":"5,x=","prompt_id":"p"}}"#,
                of(Progress::Node("5_x_".into())),
            ),
            (r#"{"type":"executing","data":{"node":null,"prompt_id":"p"}}"#, of(Progress::Over)),
            (
                r#"{"type":"progress","data":{"value":12.0,"max":20,"node":"3","prompt_id":"p"}}"#,
                of(Progress::Steps(12, 20)),
            ),
            (r#"{"type":"executing","data":{"prompt_id":"p"}}"#, None),
            (r#"{"type":"executing","data":{"node":"","prompt_id":"p"}}"#, None),
            (r#"{"type":"executing","data":{"node":"3"}}"#, None),
            (r#"{"type":"progress","data":{"value":NaN,"max":1,"prompt_id":"p"}}"#, None),
            (r#"{"type":"status","data":{"status":{}}}"#, None),
            ("[]", None),
            ("not json", None),
        ] {
            assert_eq!(told(text), wanted, "{text}");
        }
    }
}
