//! Misbehaviour on demand.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::http::{Request, Response};
use super::server::Shared;
use super::world::World;

/// What an answer may suffer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Reads the request and never answers; the connection stays open until the faults are
    /// cleared or the server stops.
    Hang,
    /// Acts and answers only after this time.
    Delay(Duration),
    /// Resets the connection without reading the body.
    Reset,
    /// Does nothing but answer with this status and text.
    Status(u16, &'static str),
    /// Does nothing but answer 200 with this body, said to be JSON.
    Body(String),
    /// Acts, sends half of the body that `Content-Length` announced, and closes.
    CutBody,
    /// Acts, and sends the body at a byte every 50 ms.
    Dribble,
    /// Does nothing but send a chunked body that ends at 80 MiB, unfinished.
    Endless,
    /// Acts, and closes without an answer.
    LoseAnswer,
    /// Does nothing but point elsewhere.
    Redirect(String),
    /// Acts, and answers with something else at a place of its JSON: a JSON pointer, in which `*` is
    /// the first member of an object. An answer that has no such place stays as it is.
    Change(String, Value),
    /// Does nothing but send so many bytes.
    Large(u64),
    /// Acts and answers; from then on connections are refused, and the open ones are cut.
    Leave,
    /// The same without an answer.
    Die,
}

/// A fault to come.
struct Plan {
    /// Only requests behind one that starts so.
    after: Option<String>,
    route: String,
    times: usize,
    fault: Fault,
}

/// The faults to come.
#[derive(Default)]
pub struct Faults {
    planned: Vec<Plan>,
    /// Grows when held requests are let go.
    pub epoch: u64,
}

impl Faults {
    /// Plans a fault for the next requests of a route, or for the next behind a request of another.
    pub fn plan(&mut self, after: Option<&str>, route: &str, times: usize, fault: Fault) {
        let (after, route) = (after.map(str::to_owned), route.to_owned());
        self.planned.push(Plan { after, route, times, fault });
    }

    /// Takes the first fault planned for the request.
    pub fn take(&mut self, request: &Request) -> Option<Fault> {
        let fits =
            |plan: &&mut Plan| plan.after.is_none() && plan.times > 0 && request.is(&plan.route);
        let fault = self.planned.iter_mut().find(fits).map(|plan| {
            plan.times -= usize::from(plan.times != usize::MAX);
            plan.fault.clone()
        });
        for plan in &mut self.planned {
            plan.after.take_if(|route| request.is(route));
        }
        fault
    }

    /// Whether none is left.
    pub fn are_met(&self) -> bool {
        self.planned.iter().all(|plan| plan.times == 0)
    }

    /// Forgets what is planned and lets go of what is held.
    pub fn clear(&mut self) {
        self.planned.clear();
        self.epoch += 1;
    }
}

/// A request that a fault may hold up.
pub struct Held<'a> {
    /// The server.
    pub world: &'a World,
    /// Its listener.
    pub shared: &'a Shared,
    /// The connection.
    pub id: u64,
    /// When the fault was taken.
    pub epoch: u64,
}

impl Held<'_> {
    /// Passes the time; `false`: let go before it was over.
    fn pause(&self, time: Duration) -> bool {
        !self
            .world
            .wait_until(time, |state| state.faults.epoch != self.epoch || self.shared.is_stopping())
    }
}

/// Sends the answer, or what the fault makes of it. Whether the connection may go on.
pub fn answer(
    mut stream: &TcpStream,
    fault: Option<Fault>,
    held: &Held,
    act: impl FnOnce() -> Response,
) -> io::Result<bool> {
    let response = match fault {
        None => act(),
        Some(Fault::Delay(time)) => {
            held.pause(time);
            act()
        }
        Some(Fault::Status(status, text)) => Response::text(status, text),
        Some(Fault::Body(text)) => Response::json_text(200, &text),
        Some(Fault::Redirect(target)) => Response::empty(302).with("Location", &target),
        Some(Fault::Hang) => {
            held.pause(Duration::from_secs(86_400));
            return Ok(false);
        }
        Some(Fault::Reset) => return Ok(false),
        Some(Fault::LoseAnswer) => {
            act();
            return Ok(false);
        }
        Some(Fault::CutBody) => {
            let response = act();
            let length = response.body.len().max(1);
            stream.write_all(response.head(length).as_bytes())?;
            stream.write_all(&response.body[..length / 2])?;
            return Ok(false);
        }
        Some(Fault::Dribble) => {
            let response = act();
            stream.write_all(response.head(response.body.len()).as_bytes())?;
            for byte in response.body.iter() {
                if !held.pause(Duration::from_millis(50)) {
                    return Ok(false);
                }
                stream.write_all(&[*byte])?;
            }
            return Ok(true);
        }
        Some(Fault::Endless) => return endless(stream).map(|()| false),
        Some(Fault::Large(length)) => return large(stream, length).map(|()| true),
        Some(Fault::Change(place, value)) => {
            let mut response = act();
            if let Ok(mut answer) = serde_json::from_slice(&response.body)
                && let Some(changed) = at(&mut answer, &place)
            {
                *changed = value;
                response.body = answer.to_string().into_bytes().into();
            }
            response
        }
        Some(Fault::Leave) => {
            let response = act().with("Connection", "close");
            held.shared.leave(held.world, held.id);
            response.send(stream)?;
            return Ok(false);
        }
        Some(Fault::Die) => {
            act();
            held.shared.leave(held.world, held.id);
            return Ok(false);
        }
    };
    response.send(stream)?;
    Ok(true)
}

fn endless(mut stream: &TcpStream) -> io::Result<()> {
    let head = Response::typed(200, "application/json; charset=utf-8", Arc::default())
        .with("Transfer-Encoding", "chunked");
    stream.write_all(head.head(0).as_bytes())?;
    let chunk = [b"10000\r\n", vec![b'['; 0x10000].as_slice(), b"\r\n"].concat();
    (0..80 * 16).try_for_each(|_| stream.write_all(&chunk))
}

fn large(mut stream: &TcpStream, length: u64) -> io::Result<()> {
    let head = Response::typed(200, "application/octet-stream", Arc::default());
    let head = head.with("Content-Length", &length.to_string());
    stream.write_all(head.head(0).as_bytes())?;
    io::copy(&mut io::repeat(0).take(length), &mut io::BufWriter::with_capacity(1 << 20, stream))?;
    Ok(())
}

/// The place of a pointer in a value.
fn at<'a>(value: &'a mut Value, pointer: &str) -> Option<&'a mut Value> {
    pointer.split('/').skip(1).try_fold(value, |value, name| match value {
        Value::Object(members) => {
            let name = if name == "*" { members.keys().next()?.clone() } else { name.to_owned() };
            members.get_mut(&name)
        }
        Value::Array(items) => items.get_mut(name.parse::<usize>().ok()?),
        _ => None,
    })
}
