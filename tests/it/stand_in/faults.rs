//! Misbehaviour on demand.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use serde_json::Value;

use super::http::{Request, Response};
use super::server::Connection;
use super::state::FOREVER;

/// What happens to a request. "Acts" means that it has its effect, e.g. a prompt is queued.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Never answers. The connection stays open until the faults are cleared or the server stops.
    Hang,
    /// Acts and answers after this time.
    Delay(Duration),
    /// Resets the connection without reading the body.
    Reset,
    /// Answers with this status and text.
    Status(u16, &'static str),
    /// Answers 200 with this body, said to be JSON.
    Body(String),
    /// Acts, sends half of the announced body and closes.
    CutBody,
    /// Acts, and sends the body at a byte every 50 ms.
    Dribble,
    /// Sends a chunked body that breaks off at 80 MiB.
    Endless,
    /// Acts, and closes without an answer.
    LoseAnswer,
    /// Sends some bytes more than it announces.
    Longer,
    /// Acts, and adds a header to the answer.
    Header(&'static str, &'static str),
    /// Closes without an answer, and acts so much later.
    ActLate(Duration),
    /// Acts, and answers by this status.
    ActAnd(u16),
    /// Redirects to this URL.
    Redirect(String),
    /// Acts, and replaces a value of the JSON answer, if it is there. It is found by a JSON pointer
    /// in which `*` is the first member of an object.
    Change(String, Value),
    /// Sends so many bytes.
    Large(u64),
    /// Acts and answers. From then on connections are refused, and the other open ones are cut.
    Leave,
    /// Like `Leave`, without an answer.
    Die,
    /// A websocket, and nothing comes over it.
    Silent,
    /// A websocket that is cut behind so many frames, from the greeting on.
    Cut(usize),
    /// A websocket over which these bytes come, and then a byte every 50 ms.
    Raw(Vec<u8>),
    /// A websocket with a frame of this opcode and payload before each of its own.
    Between(u8, Vec<u8>),
    /// A websocket whose frames come in parts of so many bytes.
    Fragments(usize),
}

pub struct Plan {
    /// Only requests behind one of this route.
    pub after: Option<String>,
    pub route: String,
    /// `usize::MAX` means always.
    pub times: usize,
    pub fault: Fault,
}

/// Takes the first fault planned for the request.
pub fn take(plans: &mut [Plan], request: &Request) -> Option<Fault> {
    let fits = |plan: &&mut Plan| plan.after.is_none() && plan.times > 0 && request.is(&plan.route);
    let fault = plans.iter_mut().find(fits).map(|plan| {
        plan.times -= usize::from(plan.times != usize::MAX);
        plan.fault.clone()
    });
    for plan in plans {
        plan.after.take_if(|route| request.is(route));
    }
    fault
}

impl Fault {
    /// Answers a request. Returns whether the connection goes on.
    pub fn apply(self, on: &Connection, act: impl FnOnce() -> Response) -> io::Result<bool> {
        let mut stream = on.stream;
        let send = |response: Response| response.send(stream).map(|()| true);
        match self {
            Self::Delay(time) => {
                on.pause(time);
                return send(act());
            }
            Self::Silent | Self::Cut(_) | Self::Raw(_) | Self::Between(..) | Self::Fragments(_) => {
                return send(act());
            }
            Self::Status(status, text) => return send(Response::text(status, text)),
            Self::Body(text) => return send(Response::json_text(&text)),
            Self::Longer => {
                let response = act();
                stream.write_all(&response.head(response.body.len() as u64))?;
                stream.write_all(&[&response.body[..], b" and more"].concat())?;
                return Ok(true);
            }
            Self::ActAnd(status) => {
                act();
                return send(Response::text(status, "done, I think"));
            }
            Self::Header(name, value) => return send(act().with(name, value)),
            Self::Redirect(url) => return send(Response::text(302, "").with("Location", &url)),
            Self::Change(pointer, value) => return send(change(act(), &pointer, value)),
            Self::Large(bytes) => {
                let head = Response::text(200, "").head(bytes);
                let mut writer = io::BufWriter::with_capacity(1 << 20, stream);
                io::copy(&mut head.chain(io::repeat(0).take(bytes)), &mut writer)?;
                return Ok(true);
            }
            Self::Dribble => {
                let response = act();
                stream.write_all(&response.head(response.body.len() as u64))?;
                for byte in response.body.iter() {
                    if !on.pause(Duration::from_millis(50)) {
                        return Ok(false);
                    }
                    stream.write_all(&[*byte])?;
                }
                return Ok(true);
            }
            Self::Reset => {} // closed by the caller, with a part of the request unread
            Self::Hang => _ = on.pause(FOREVER),
            Self::LoseAnswer => _ = act(),
            Self::ActLate(time) => {
                stream.shutdown(Shutdown::Both)?;
                on.pause(time);
                act();
            }
            Self::CutBody => {
                let response = act();
                let announced = response.body.len().max(1);
                stream.write_all(&response.head(announced as u64))?;
                stream.write_all(&response.body[..announced / 2])?;
            }
            Self::Endless => {
                let head = Response::json_text("").with("Transfer-Encoding", "chunked").head(0);
                stream.write_all(&head)?;
                let chunk = [b"10000\r\n", vec![b'['; 0x10000].as_slice(), b"\r\n"].concat();
                (0..80 * 16).try_for_each(|_| stream.write_all(&chunk))?;
            }
            Self::Leave | Self::Die => {
                let has_answer = matches!(self, Self::Leave);
                let response = act().with("Connection", "close");
                on.server.close(on.id);
                if has_answer {
                    response.send(stream)?;
                }
            }
        }
        Ok(false)
    }
}

fn change(mut response: Response, pointer: &str, value: Value) -> Response {
    if let Ok(mut answer) = serde_json::from_slice(&response.body)
        && let Some(found) = find(&mut answer, pointer)
    {
        *found = value;
        response.body = answer.to_string().into_bytes().into();
    }
    response
}

fn find<'a>(value: &'a mut Value, pointer: &str) -> Option<&'a mut Value> {
    pointer.split('/').skip(1).try_fold(value, |value, name| match value {
        Value::Object(members) => {
            members.iter_mut().find(|(key, _)| *key == name || name == "*").map(|(_, value)| value)
        }
        Value::Array(items) => items.get_mut(name.parse::<usize>().ok()?),
        _ => None,
    })
}
