//! A stand-in for `ComfyUI`: its routes answer like a recorded 0.3.64, its executor does what the
//! classes of a graph's nodes say, and faults happen to its answers on demand.
//!
//! Nothing here sleeps: every wait ends with a change of the [`State`]. The exception is reading
//! from a connection on Windows.
#![allow(dead_code, unused_imports, reason = "tests, benches and the demo use parts of it")]

mod config;
mod executor;
mod faults;
pub mod graphs;
pub mod http;
mod prompts;
pub mod recorded;
mod routes;
mod server;
mod state;
mod websocket;

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use config::{Config, Device, Version};
pub use faults::Fault;
use faults::Plan;
pub use http::Request;
use server::Server;
use state::Shared;
pub use state::State;

/// A running stand-in. Dropping it stops all its threads.
pub struct StandIn {
    shared: Arc<Shared>,
    port: u16,
    server: Mutex<Arc<Server>>,
    executor: Option<JoinHandle<()>>,
}

impl StandIn {
    /// A `ComfyUI` 0.3.64 on the CPU, like the recorded one.
    pub fn start() -> Self {
        Self::with(Config::default())
    }

    /// A server as the configuration describes it, on a free port of the loopback address.
    pub fn with(config: Config) -> Self {
        Self::on(listen(), config)
    }

    /// The same on that port.
    pub fn at(port: u16, config: Config) -> std::io::Result<Self> {
        Ok(Self::on(TcpListener::bind(("127.0.0.1", port))?, config))
    }

    fn on(listener: TcpListener, config: Config) -> Self {
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let shared = Arc::new(Shared::new(config));
        let server = Mutex::new(Server::start(&shared, listener));
        let for_executor = Arc::clone(&shared);
        let executor = std::thread::spawn(move || executor::run(&for_executor));
        Self { shared, port, server, executor: Some(executor) }
    }

    /// Where it answers, with its path prefix and without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, self.shared.config.prefix)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next `times` requests whose `METHOD /path` starts with `route` meet `fault`;
    /// `usize::MAX` means always. Paths are matched with and without the prefix and `/api`.
    pub fn fail_next(&self, route: &str, times: usize, fault: Fault) {
        let plan = Plan { after: None, route: route.to_owned(), times, fault };
        self.shared.update(|state| state.faults.push(plan));
    }

    /// Like `fail_next`, from the first request on that comes behind one of the route `after`.
    pub fn fail_after(&self, after: &str, route: &str, times: usize, fault: Fault) {
        let plan = Plan { after: Some(after.to_owned()), route: route.to_owned(), times, fault };
        self.shared.update(|state| state.faults.push(plan));
    }

    /// Forgets the planned faults and lets go of every request that one holds up.
    pub fn clear_faults(&self) {
        self.shared.update(|state| {
            state.faults.clear();
            state.faults_cleared += 1;
        });
    }

    pub fn wait_until_faults_are_met(&self, timeout: Duration) -> bool {
        self.wait_until(timeout, |state| state.faults.iter().all(|plan| plan.times == 0))
    }

    /// Refuses connections and cuts the open ones; what was queued goes on running.
    pub fn stop_listening(&self) {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).stop();
    }

    pub fn listen_again(&self) {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if server.is_stopping() {
            server.stop();
            let bind = |_| TcpListener::bind(("127.0.0.1", self.port)).ok();
            // The system may need a moment to free the port.
            let socket = (0..1_000_000).find_map(bind).expect("the port is free again");
            *server = Server::start(&self.shared, socket);
        }
    }

    /// A crash and a new start: queue, history, cache and memory are gone, the files remain.
    pub fn restart(&self) {
        self.stop_listening();
        self.shared.update(State::restart);
        self.listen_again();
    }

    /// Deletes the files that prompts saved; cached nodes still list them.
    pub fn forget_outputs(&self) {
        self.shared.update(|state| state.files.retain(|(folder, ..), _| folder == "input"));
    }

    /// Removes what is pending, as another client's `clear` does.
    pub fn clear_queue(&self) {
        self.shared.update(|state| state.pending.clear());
    }

    pub fn drop_prompts(&self) {
        self.shared.update(State::drop_prompts);
    }

    /// What runs queues itself again under another id, with its client, before all that waits.
    pub fn queue_again(&self) {
        self.shared.update(|state| {
            let mut next = state.running.clone().expect("nothing runs");
            "0ea7a8c1-0000-4000-8000-000000000000".clone_into(&mut next.id);
            (next.item[0], next.item[1]) = ((-7).into(), next.id.clone().into());
            state.pending.insert(0, next);
        });
    }

    pub fn interrupt_running(&self) {
        self.shared.update(|state| state.interrupted = true);
    }

    /// What runs comes to its end now, as if its time were over.
    pub fn finish_running(&self) {
        self.shared.update(|state| state.finish = true);
    }

    /// The memory in use on the first device beside that of prompts and models.
    pub fn set_used_mb(&self, base: u64) {
        self.shared.update(|state| state.base_memory = base << 20);
    }

    /// Every request, in order of arrival, those that met a fault too.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.read(|state| state.requests.clone())
    }

    pub fn posts(&self) -> Vec<String> {
        let posts = self.requests().into_iter().filter(|request| request.method == "POST");
        posts.map(|request| request.path).collect()
    }

    pub fn executed(&self) -> usize {
        self.shared.read(|state| state.executed)
    }

    pub fn posted(&self) -> usize {
        self.shared.read(|state| state.posted)
    }

    pub fn uploads(&self) -> Vec<(String, String, usize)> {
        self.shared.read(|state| state.uploads.clone())
    }

    pub fn queue_is_empty(&self) -> bool {
        self.shared.read(State::is_idle)
    }

    pub fn wait_until(&self, timeout: Duration, condition: impl FnMut(&State) -> bool) -> bool {
        self.shared.wait_until(timeout, condition)
    }

    pub fn wait_until_running(&self, timeout: Duration) -> bool {
        self.wait_until(timeout, |state| state.running.is_some())
    }

    /// Waits until `times` requests of a route have arrived, counted from the server's start.
    pub fn wait_until_request(&self, route: &str, times: usize, timeout: Duration) -> bool {
        self.wait_until(timeout, |state| state.asked(route) >= times)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.shared.update(|state| state.closed = true);
        self.stop_listening();
        if let Some(executor) = self.executor.take() {
            let _ = executor.join();
        }
    }
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    listen().local_addr().expect("a bound listener has an address").port()
}

/// Binds a port that this process has not had before, below those that systems hand out: a
/// stand-in that listens again finds its port free.
fn listen() -> TcpListener {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let bind = |_| {
        let next = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Relaxed));
        TcpListener::bind(("127.0.0.1", u16::try_from(20_000 + next % 10_000).ok()?)).ok()
    };
    (0..10_000).find_map(bind).expect("a free port")
}
