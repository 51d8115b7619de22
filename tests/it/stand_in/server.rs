//! The listening socket: a thread that accepts, and a thread for each connection.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::faults::{self, Fault};
use super::state::Shared;
use super::{http, routes};

pub struct Server {
    shared: Arc<Shared>,
    port: u16,
    stopping: AtomicBool,
    /// The listening socket is closed.
    closed: AtomicBool,
    connections: Mutex<HashMap<u64, TcpStream>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A connection, and what a fault needs of its server.
pub struct Connection<'a> {
    pub server: &'a Server,
    pub stream: &'a TcpStream,
    id: u64,
    /// `State::faults_cleared` when its request came.
    faults_cleared: u64,
}

impl Server {
    /// Accepts connections from now on.
    pub fn start(shared: &Arc<Shared>, socket: TcpListener) -> Arc<Self> {
        let server = Arc::new(Self {
            shared: Arc::clone(shared),
            port: socket.local_addr().map_or(0, |address| address.port()),
            stopping: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            connections: Mutex::default(),
            threads: Mutex::default(),
        });
        let accepting = Arc::clone(&server);
        lock(&server.threads).push(std::thread::spawn(move || accepting.accept(socket)));
        server
    }

    fn accept(self: Arc<Self>, socket: TcpListener) {
        for (id, accepted) in (0..).zip(socket.incoming()) {
            if self.is_stopping() {
                break;
            }
            // Clones, since under Wine the programs that tests start inherit the accepted handle,
            // which would keep the connection open after it is closed here.
            let clones = accepted.and_then(|stream| Ok((stream.try_clone()?, stream.try_clone()?)));
            let Ok((stream, kept)) = clones else { continue };
            lock(&self.connections).insert(id, kept);
            let server = Arc::clone(&self);
            let thread = std::thread::spawn(move || {
                let _ = server.serve(id, &stream); // an error: the client has gone
                lock(&server.connections).remove(&id);
            });
            lock(&self.threads).push(thread);
        }
        drop(socket);
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Answers requests until one side closes the connection.
    fn serve(&self, id: u64, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        while let Some(mut request) = http::read_head(stream, &self.stopping)? {
            let (fault, faults_cleared) = self
                .shared
                .update(|state| (faults::take(&mut state.faults, &request), state.faults_cleared));
            if !matches!(fault, Some(Fault::Reset)) {
                http::read_body(stream, &mut request)?;
            }
            self.shared.update(|state| state.requests.push(request.clone()));
            let connection = Connection { server: self, stream, id, faults_cleared };
            let answer = || routes::answer(&self.shared, &request);
            let goes_on = match fault {
                Some(Fault::Reset) => return Ok(()),
                Some(fault) => fault.apply(&connection, answer)?,
                None => answer().send(stream).map(|()| true)?,
            };
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
    fn close(&self, except: Option<u64>) {
        if !self.stopping.swap(true, Ordering::SeqCst) {
            let _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes the accepting thread
        }
        // On Unix a child that another test has just forked may hold the socket until it execs. On
        // Windows, where connecting to a closed port takes 2 s, no child inherits it.
        let until = Instant::now() + Duration::from_secs(5);
        let accepts = || cfg!(unix) && TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        while !self.closed.load(Ordering::SeqCst) || accepts() && Instant::now() < until {
            std::thread::yield_now();
        }
        for (_, stream) in lock(&self.connections).iter().filter(|(id, _)| Some(**id) != except) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.shared.update(|_| ()); // wakes the connections that a fault holds up
    }

    /// Refuses connections, cuts the open ones and returns when all threads have ended.
    pub fn stop(&self) {
        self.close(None);
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Connection<'_> {
    /// Waits. Returns false if that was ended by `clear_faults` or a stop.
    pub fn pause(&self, time: Duration) -> bool {
        !self.server.shared.wait_until(time, |state| {
            state.faults_cleared != self.faults_cleared || self.server.is_stopping()
        })
    }

    /// Stops the server, apart from this connection.
    pub fn stop_server(&self) {
        self.server.close(Some(self.id));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
