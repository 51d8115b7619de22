//! Misbehaviour on demand.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::http::{Request, Response};
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
}

/// The faults to come.
#[derive(Default)]
pub struct Faults {
    planned: Vec<(String, usize, Fault)>,
    /// Grows when held requests are let go.
    pub epoch: u64,
}

impl Faults {
    /// Plans a fault for the next requests of a route.
    pub fn plan(&mut self, route: &str, times: usize, fault: Fault) {
        self.planned.push((route.to_owned(), times, fault));
    }

    /// Takes the first fault planned for the request.
    pub fn take(&mut self, request: &Request) -> Option<Fault> {
        let (_, times, fault) =
            self.planned.iter_mut().find(|(route, times, _)| *times > 0 && request.is(route))?;
        *times -= usize::from(*times != usize::MAX);
        Some(fault.clone())
    }

    /// Whether none is left.
    pub fn are_met(&self) -> bool {
        self.planned.iter().all(|(_, times, _)| *times == 0)
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
    /// Whether its listener is about to stop.
    pub stopping: &'a AtomicBool,
    /// When the fault was taken.
    pub epoch: u64,
}

impl Held<'_> {
    /// Passes the time; `false`: let go before it was over.
    fn pause(&self, time: Duration) -> bool {
        !self.world.wait_until(time, |state| {
            state.faults.epoch != self.epoch || self.stopping.load(Ordering::SeqCst)
        })
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
