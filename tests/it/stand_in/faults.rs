//! Misbehaviour on demand.

use std::io::{self, Read, Write};
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
}

/// Faults for the next requests of a route.
struct Plan {
    /// They start with the first request after one of this route.
    after: Option<String>,
    route: String,
    times: usize,
    fault: Fault,
}

/// The faults to come.
#[derive(Default)]
pub struct Faults {
    plans: Vec<Plan>,
    /// Grows when requests that a fault holds up are let go.
    pub generation: u64,
}

impl Faults {
    pub fn plan(&mut self, after: Option<&str>, route: &str, times: usize, fault: Fault) {
        let (after, route) = (after.map(str::to_owned), route.to_owned());
        self.plans.push(Plan { after, route, times, fault });
    }

    /// Takes the first fault planned for the request.
    pub fn take(&mut self, request: &Request) -> Option<Fault> {
        let fits =
            |plan: &&mut Plan| plan.after.is_none() && plan.times > 0 && request.is(&plan.route);
        let fault = self.plans.iter_mut().find(fits).map(|plan| {
            plan.times -= usize::from(plan.times != usize::MAX);
            plan.fault.clone()
        });
        for plan in &mut self.plans {
            plan.after.take_if(|route| request.is(route));
        }
        fault
    }

    pub fn are_met(&self) -> bool {
        self.plans.iter().all(|plan| plan.times == 0)
    }

    pub fn clear(&mut self) {
        self.plans.clear();
        self.generation += 1;
    }
}

impl Fault {
    /// Answers a request. Returns whether the connection goes on.
    pub fn apply(self, on: &Connection, act: impl FnOnce() -> Response) -> io::Result<bool> {
        let mut stream = on.stream;
        let length = |length| format!("Content-Length: {length}");
        match self {
            Self::Reset => return Ok(false),
            Self::Hang => {
                on.pause(FOREVER);
                return Ok(false);
            }
            Self::Delay(time) => {
                on.pause(time);
                act().send(stream)?;
            }
            Self::Status(status, text) => Response::text(status, text).send(stream)?,
            Self::Body(text) => Response::json(200, &text).send(stream)?,
            Self::Redirect(url) => Response::text(302, "").with("Location", &url).send(stream)?,
            Self::Change(pointer, value) => change(act(), &pointer, value).send(stream)?,
            Self::Large(bytes) => {
                stream.write_all(&Response::text(200, "").head(&length(bytes)))?;
                let mut writer = io::BufWriter::with_capacity(1 << 20, stream);
                io::copy(&mut io::repeat(0).take(bytes), &mut writer)?;
            }
            Self::Dribble => {
                let response = act();
                stream.write_all(&response.head(&length(response.body.len() as u64)))?;
                for byte in response.body.iter() {
                    if !on.pause(Duration::from_millis(50)) {
                        return Ok(false);
                    }
                    stream.write_all(&[*byte])?;
                }
            }
            Self::CutBody => {
                let response = act();
                let announced = response.body.len().max(1);
                stream.write_all(&response.head(&length(announced as u64)))?;
                stream.write_all(&response.body[..announced / 2])?;
                return Ok(false);
            }
            Self::Endless => {
                stream.write_all(&Response::json(200, "").head("Transfer-Encoding: chunked"))?;
                let chunk = [b"10000\r\n", vec![b'['; 0x10000].as_slice(), b"\r\n"].concat();
                (0..80 * 16).try_for_each(|_| stream.write_all(&chunk))?;
                return Ok(false);
            }
            Self::LoseAnswer => {
                act();
                return Ok(false);
            }
            Self::Leave | Self::Die => {
                let response = act().with("Connection", "close");
                on.stop_server();
                if matches!(self, Self::Leave) {
                    response.send(stream)?;
                }
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Replaces the value at a pointer.
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
