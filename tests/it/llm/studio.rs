//! A server of language models that answers as it is told.

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use crate::scenes::SOON;
use crate::stand_in::http::{self, Request, Response};

/// What becomes of a request.
pub enum Answer {
    /// This status and body.
    Text(u16, String),
    /// The connection stays open and silent.
    Nothing,
}

/// Listens on a free port of the loopback address until it is dropped.
pub struct Studio {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    requests: Mutex<Vec<Request>>,
    asked: Condvar,
}

impl Studio {
    /// `answer` gets the path, and how many requests of it there have been with this one.
    pub fn with(mut answer: impl FnMut(&str, usize) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let here = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                if here.stopping.load(Ordering::SeqCst) {
                    return;
                }
                // An error: the client has gone.
                let Ok(stream) = stream else { continue };
                let Ok(Some(mut request)) = http::read_head(&stream, &here.stopping) else {
                    continue;
                };
                if http::read_body(&stream, &mut request).is_err() {
                    continue;
                }
                let path = request.path.clone();
                let mut requests = here.requests.lock().unwrap();
                requests.push(request);
                let count = requests.iter().filter(|request| request.path == path).count();
                drop(requests);
                match answer(&path, count) {
                    Answer::Text(status, text) => {
                        let text = Response::text(status, &text).with("Connection", "close");
                        let _ = text.send(&stream);
                    }
                    Answer::Nothing => silent.push(stream),
                }
                here.asked.notify_all();
            }
        });
        Studio { port, shared, thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Every request, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Method and path of each.
    pub fn asked(&self) -> Vec<String> {
        let requests = self.requests();
        requests.iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }

    /// Waits until there were that many.
    #[track_caller]
    pub fn wait_until_asked(&self, times: usize) {
        let requests = self.shared.requests.lock().unwrap();
        let waited = self.shared.asked.wait_timeout_while(requests, SOON, |r| r.len() < times);
        assert!(!waited.unwrap().1.timed_out(), "not asked {times} times");
    }
}

impl Drop for Studio {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes the thread
        let ended = self.thread.take().map(JoinHandle::join);
        // What an answer asserts.
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the stand-in's thread panicked");
        }
    }
}
