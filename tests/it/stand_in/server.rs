//! The listener: a thread that accepts, and a thread for each connection.

use std::collections::HashMap;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::faults::{self, Fault, Held};
use super::world::World;
use super::{http, routes};

/// A listener that can be stopped.
pub struct Server {
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What the listener and its connections have in common.
pub struct Shared {
    port: u16,
    stopping: AtomicBool,
    /// The listener is gone.
    closed: AtomicBool,
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    open: HashMap<u64, TcpStream>,
    threads: Vec<JoinHandle<()>>,
}

impl Shared {
    /// Whether the listener is about to stop, or has.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Refuses connections from now on and cuts all but one, whose thread this is.
    pub fn leave(&self, world: &World, mine: u64) {
        self.close();
        world.wait(|_| self.closed.load(Ordering::SeqCst));
        self.wait_until_refused();
        for (id, stream) in &self.connections().open {
            if *id != mine {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        }
        world.ring();
    }

    /// A program that another test has just started may hold the listener until it is the program.
    fn wait_until_refused(&self) {
        let until = Instant::now() + Duration::from_secs(5);
        while cfg!(unix)
            && TcpStream::connect(("127.0.0.1", self.port)).is_ok()
            && Instant::now() < until
        {
            std::thread::yield_now();
        }
    }

    fn close(&self) {
        if !self.stopping.swap(true, Ordering::SeqCst) {
            let _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes the accepting thread
        }
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Accepts connections from now on.
    pub fn start(world: &Arc<World>, listener: TcpListener) -> Self {
        let port = listener.local_addr().map_or(0, |address| address.port());
        let shared = Arc::new(Shared {
            port,
            stopping: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            connections: Mutex::default(),
        });
        let accepting = {
            let (world, shared) = (Arc::clone(world), Arc::clone(&shared));
            std::thread::spawn(move || {
                accept(&world, &shared, &listener);
                drop(listener);
                shared.closed.store(true, Ordering::SeqCst);
                world.ring();
            })
        };
        Self { shared, accepting }
    }

    /// Whether it refuses connections already.
    pub fn has_left(&self) -> bool {
        self.shared.is_stopping()
    }

    /// Refuses connections, cuts the open ones and returns when all threads have ended.
    pub fn stop(self, world: &World) {
        self.shared.close();
        let _ = self.accepting.join();
        self.shared.wait_until_refused();
        for stream in self.shared.connections().open.values() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        world.ring();
        let threads = std::mem::take(&mut self.shared.connections().threads);
        for thread in threads {
            let _ = thread.join();
        }
    }
}

fn accept(world: &Arc<World>, shared: &Arc<Shared>, listener: &TcpListener) {
    for (id, stream) in (0..).zip(listener.incoming()) {
        if shared.is_stopping() {
            return;
        }
        let Ok((stream, twin)) = stream.and_then(|stream| twins(&stream)) else {
            continue;
        };
        let mut connections = shared.connections();
        connections.open.insert(id, twin);
        connections.threads.retain(|thread| !thread.is_finished());
        let (world, shared) = (Arc::clone(world), Arc::clone(shared));
        connections.threads.push(std::thread::spawn(move || {
            let _ = serve(&world, &shared, id, &stream); // an error: the client has gone
            shared.connections().open.remove(&id);
        }));
    }
}

/// The connection twice, neither time as it was accepted: under Wine every program that another
/// test starts inherits that handle, and would keep the connection open after we have closed it.
fn twins(accepted: &TcpStream) -> io::Result<(TcpStream, TcpStream)> {
    Ok((accepted.try_clone()?, accepted.try_clone()?))
}

/// Answers requests until one side closes.
fn serve(world: &World, shared: &Shared, id: u64, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    while let Some(mut request) = http::read_head(stream, &shared.stopping)? {
        let (fault, epoch) =
            world.change(|state| (state.faults.take(&request), state.faults.epoch));
        if matches!(fault, Some(Fault::Reset)) {
            world.change(|state| state.requests.push(request));
            return Ok(());
        }
        http::read_body(stream, &mut request)?;
        let closes = request.closes();
        world.change(|state| state.requests.push(request.clone()));
        let held = Held { world, shared, id, epoch };
        let answer = || routes::answer(world, &request);
        if !faults::answer(stream, fault, &held, answer)? || closes {
            // Said, not left to the last handle's end: under Wine another may be about ([`twins`]).
            let _ = stream.shutdown(std::net::Shutdown::Write);
            return Ok(());
        }
    }
    Ok(())
}
