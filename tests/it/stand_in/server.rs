//! The listening socket: a thread that accepts, and a thread for each connection.

use std::cell::Cell;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::faults::{self, Fault};
use super::state::{FOREVER, Shared};
use super::{http, routes, websocket};

pub struct Server {
    pub shared: Arc<Shared>,
    port: u16,
    pub stopping: AtomicBool,
    /// The listening socket is closed, and so are all connections but the survivor's.
    closed: AtomicBool,
    survivor: AtomicU64,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// A connection, and what a fault needs of its server.
pub struct Connection<'a> {
    pub server: &'a Server,
    pub stream: &'a TcpStream,
    pub id: u64,
    /// `State::faults_cleared` when its request came.
    faults_cleared: u64,
}

impl Server {
    /// Accepts connections from now on.
    pub fn start(shared: &Arc<Shared>, socket: TcpListener) -> Arc<Self> {
        let server = Arc::new(Self {
            shared: Arc::clone(shared),
            port: socket.local_addr().map_or(0, |address| address.port()),
            stopping: AtomicBool::default(),
            closed: AtomicBool::default(),
            survivor: AtomicU64::default(),
            accepting: Mutex::default(),
        });
        let here = Arc::clone(&server);
        *server.accepting() = Some(std::thread::spawn(move || here.accept(socket)));
        server
    }

    fn accept(self: Arc<Self>, socket: TcpListener) {
        let mut connections = Vec::new();
        for (id, accepted) in (1..).zip(socket.incoming()) {
            if self.is_stopping() {
                break;
            }
            // A clone, since under Wine the programs that tests start inherit the accepted handle,
            // which would keep the connection open after it is closed here.
            let Ok(stream) = accepted.and_then(|stream| stream.try_clone()) else { continue };
            let stream = Arc::new(stream);
            let (server, weak) = (Arc::clone(&self), Arc::downgrade(&stream));
            let serve = move || _ = server.serve(id, &stream); // an error: the client has gone
            connections.push((id, weak, std::thread::spawn(serve)));
        }
        drop(socket);
        // On Unix a child that another test has just forked may hold the socket until it execs. On
        // Windows, where connecting to a closed port takes 2 s, no child inherits it.
        let until = Instant::now() + Duration::from_secs(5);
        let accepts = || cfg!(unix) && TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        while accepts() && Instant::now() < until {
            std::thread::yield_now();
        }
        let survivor = self.survivor.load(Ordering::SeqCst);
        for (_, stream, _) in connections.iter().filter(|(id, ..)| *id != survivor) {
            stream.upgrade().map(|stream| stream.shutdown(Shutdown::Both));
        }
        self.closed.store(true, Ordering::SeqCst);
        self.shared.update(|_| ()); // wakes all who wait for this
        for (.., thread) in connections {
            let _ = thread.join();
        }
    }

    /// Answers requests until one side closes the connection.
    fn serve(&self, id: u64, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        while let Some(mut request) = http::read_head(stream, &self.stopping)? {
            let (fault, faults_cleared, frames) = self.shared.update(|state| {
                let fault = faults::take(&mut state.faults, &request);
                (fault, state.faults_cleared, state.frames.len())
            });
            let of_socket = fault.clone();
            if !matches!(fault, Some(Fault::Reset)) {
                http::read_body(stream, &mut request)?;
            }
            self.shared.update(|state| state.requests.push(request.clone()));
            let connection = Connection { server: self, stream, id, faults_cleared };
            let upgraded = Cell::new(false);
            let answer = || {
                let answer = routes::answer(&self.shared, &request);
                upgraded.set(answer.status == 101);
                answer
            };
            let goes_on = match fault {
                Some(Fault::Reset) => return Ok(()),
                Some(fault) => fault.apply(&connection, answer)?,
                None => answer().send(stream).map(|()| true)?,
            };
            if goes_on && upgraded.get() {
                let client = request.path.split_once("clientId=").map_or("", |(_, id)| id);
                return websocket::serve(&connection, client, frames, of_socket.as_ref());
            }
            if !goes_on || request.header("connection") == Some("close") {
                // Shut down, not only dropped: under Wine another process may have the handle.
                return stream.shutdown(Shutdown::Write);
            }
        }
        Ok(())
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Refuses connections from now on and cuts those that are open, except one.
    pub fn close(&self, survivor: u64) {
        self.survivor.store(survivor, Ordering::SeqCst);
        if !self.stopping.swap(true, Ordering::SeqCst) {
            let _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes the accepting thread
        }
        self.shared.wait_until(FOREVER, |_| self.closed.load(Ordering::SeqCst));
    }

    /// Refuses connections, cuts the open ones and returns when all threads have ended.
    pub fn stop(&self) {
        self.close(0);
        let accepting = self.accepting().take();
        accepting.map(JoinHandle::join);
    }

    fn accepting(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.accepting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection<'_> {
    /// Waits. Returns false if that was ended by `clear_faults` or a stop.
    pub fn pause(&self, time: Duration) -> bool {
        !self.server.shared.wait_until(time, |state| {
            state.faults_cleared != self.faults_cleared || self.server.is_stopping()
        })
    }
}
