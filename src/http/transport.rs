//! The connections under `ureq`: they wait in slices, with something else done in between, look a
//! name up once, and notice what comes behind the end of a file.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Error, Timeout};

use crate::sleep;

/// Between two calls of [`OnWait`]. Not shorter than most answers take: of a socket whose read has
/// timed out Windows promises nothing, and under Wine a reset in that moment was not seen.
const SLICE: Duration = Duration::from_millis(500);
/// The end of a connection, or more than was announced, is waited for so long.
const LINGER: Duration = Duration::from_millis(50);
/// Addresses that refuse are looked up again once they are so old.
const STALE: Duration = Duration::from_secs(60);
/// The least time for one of several addresses.
const SHORTEST_CONNECT: Duration = Duration::from_millis(10);

/// Called twice a second while a call is under way; `false` cuts the call off.
pub(crate) type OnWait = Arc<dyn Fn() -> bool + Send + Sync>;

/// What a lookup has found.
type Found = io::Result<Vec<SocketAddr>>;

/// For calls that nothing cuts off.
pub(crate) fn never_cut_off() -> OnWait {
    Arc::new(|| true)
}

/// The addresses of a host, looked up once for all who share them.
#[derive(Debug, Default)]
pub struct Addresses(Mutex<Lookup>);

#[derive(Debug, Default)]
enum Lookup {
    #[default]
    Unknown,
    /// Of that host and port, on a thread of its own: a lookup has no time limit.
    UnderWay(String, Receiver<Found>),
    Known(String, Vec<SocketAddr>, Instant),
}

impl Addresses {
    /// The addresses of a host, which may be a literal one, and its port: `host:port`.
    ///
    /// # Errors
    /// It has none, or they were not found in time ([`ErrorKind::TimedOut`]).
    pub(super) fn find(&self, name: &str, at_most: Duration) -> Found {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        let mut lookup = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Lookup::Known(known, addresses, _) = &*lookup
            && known == name
        {
            return Ok(addresses.clone());
        }
        let under_way = match std::mem::take(&mut *lookup) {
            Lookup::UnderWay(other, found) if other == name => found,
            _ => look_up(name),
        };
        let Ok(found) = under_way.recv_timeout(at_most) else {
            *lookup = Lookup::UnderWay(name.to_owned(), under_way);
            return Err(ErrorKind::TimedOut.into());
        };
        if let Ok(addresses) = &found {
            *lookup = Lookup::Known(name.to_owned(), addresses.clone(), Instant::now());
        }
        found
    }

    /// None of them took a connection: a host that has moved has others.
    fn refused(&self) {
        let mut lookup = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(&*lookup, Lookup::Known(_, _, at) if at.elapsed() >= STALE) {
            *lookup = Lookup::Unknown;
        }
    }
}

/// Starts the lookup of a name; where there is no thread for it, it is waited for.
fn look_up(name: &str) -> Receiver<Found> {
    let (send, found) = mpsc::sync_channel(1);
    let (asked, answer) = (name.to_owned(), send.clone());
    let look = move || drop(send.send(addresses_of(&asked)));
    if thread::Builder::new().name("name lookup".into()).spawn(look).is_err() {
        drop(answer.send(addresses_of(name)));
    }
    found
}

fn addresses_of(name: &str) -> Found {
    Ok(name.to_socket_addrs()?.collect())
}

/// Resolves names by the shared addresses.
#[derive(Debug)]
pub(super) struct SharedResolver(pub(super) Arc<Addresses>);

impl Resolver for SharedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(Error::BadUri(uri.to_string()));
        };
        let name = DefaultResolver::host_and_port(scheme, authority).ok_or(Error::HostNotFound)?;
        let found = self.0.find(&name, *timeout.after).map_err(|error| match error.kind() {
            ErrorKind::TimedOut => Error::Timeout(Timeout::Resolve),
            _ => Error::HostNotFound,
        })?;
        let mut addresses = self.empty();
        let most = 16;
        config
            .ip_family()
            .keep_wanted(found.into_iter())
            .take(most)
            .for_each(|it| addresses.push(it));
        if addresses.is_empty() { Err(Error::HostNotFound) } else { Ok(addresses) }
    }
}

/// What a client and its connections share.
pub(super) struct Shared {
    pub(super) on_wait: OnWait,
    pub(super) addresses: Arc<Addresses>,
    /// A transfer is under way, or was the last call: behind it the server closes the connection.
    pub(super) is_transfer: AtomicBool,
    /// The last request went over a connection that was kept from one before.
    pub(super) is_kept: AtomicBool,
    /// More came than was announced.
    pub(super) has_surplus: AtomicBool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

/// Makes the TCP connections, unless there is one to a proxy already.
#[derive(Debug)]
pub(super) struct TcpConnector(pub(super) Arc<Shared>);

impl<In: Transport> Connector<In> for TcpConnector {
    type Out = Either<In, Tcp>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if let Some(proxy) = chained {
            return Ok(Some(Either::A(proxy)));
        }
        let until = until(details.timeout);
        let mut failed = Error::ConnectionFailed;
        for (tried, address) in details.addrs.iter().enumerate() {
            let left = until.map_or(STALE, |until| until.saturating_duration_since(sleep::now()));
            let others = u32::try_from(details.addrs.len() - tried).unwrap_or(1);
            let (began, wait) = (Instant::now(), (left / others).max(SHORTEST_CONNECT));
            let connected = TcpStream::connect_timeout(address, wait);
            sleep::after_wait(began, wait);
            match connected {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    let config = details.config;
                    let buffers =
                        LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
                    let shared = Arc::clone(&self.0);
                    let tcp = Tcp {
                        stream,
                        buffers,
                        shared,
                        called: Instant::now(),
                        in_use: false,
                        was_used: false,
                    };
                    return Ok(Some(Either::B(tcp)));
                }
                Err(error) if is_timeout(&error) => failed = Error::Timeout(Timeout::Connect),
                Err(error) => failed = error.into(),
            }
        }
        self.0.addresses.refused();
        Err(failed)
    }
}

/// A TCP connection.
pub(super) struct Tcp {
    stream: TcpStream,
    buffers: LazyBuffers,
    shared: Arc<Shared>,
    /// When [`OnWait`] was called last.
    called: Instant,
    /// Between a request and the end of its answer.
    in_use: bool,
    /// It has carried a request.
    was_used: bool,
}

impl Tcp {
    /// How long to wait now, once it was asked whether to go on waiting.
    fn slice(&mut self, until: Option<Instant>, reason: Timeout) -> Result<Duration, Error> {
        if self.called.elapsed() >= SLICE {
            if !(self.shared.on_wait)() {
                return Err(io::Error::other("cut off by an interrupt").into());
            }
            self.called = Instant::now();
        }
        let left = until.map_or(SLICE, |until| until.saturating_duration_since(sleep::now()));
        if left.is_zero() { Err(Error::Timeout(reason)) } else { Ok(left.min(SLICE)) }
    }
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if !std::mem::replace(&mut self.in_use, true) {
            let was_used = std::mem::replace(&mut self.was_used, true);
            self.shared.is_kept.store(was_used, Ordering::Relaxed);
        }
        let timeout = timeout.for_write();
        let until = until(timeout);
        let mut sent = 0;
        while sent < amount {
            let slice = self.slice(until, timeout.reason)?;
            self.stream.set_write_timeout(Some(slice))?;
            let began = Instant::now();
            let written = self.stream.write(&self.buffers.output()[sent..amount]);
            sleep::after_wait(began, slice);
            match written {
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                Ok(count) => sent += count,
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        let until = until(timeout);
        loop {
            let slice = self.slice(until, timeout.reason)?;
            self.stream.set_read_timeout(Some(slice))?;
            let began = Instant::now();
            let read = self.stream.read(self.buffers.input_append_buf());
            sleep::after_wait(began, slice);
            match read {
                Ok(count) => {
                    self.buffers.input_appended(count);
                    return Ok(count > 0);
                }
                Err(error) if is_timeout(&error) => {}
                // Of a body without a length `ureq` takes these for its end.
                Err(error) if is_reset(&error) => {
                    return Err(io::Error::from(ErrorKind::BrokenPipe).into());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether it can be used again: nothing has come unasked, and it is not closed.
    fn is_open(&mut self) -> bool {
        let quiet = self.stream.set_nonblocking(true).is_ok()
            && match self.stream.read(&mut [0]) {
                Ok(count) => {
                    if count > 0 && self.in_use {
                        self.shared.has_surplus.store(true, Ordering::Relaxed);
                    }
                    false
                }
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            };
        self.in_use = false;
        quiet && self.stream.set_nonblocking(false).is_ok()
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        if !self.in_use || !self.shared.is_transfer.load(Ordering::Relaxed) {
            return;
        }
        let more = !self.buffers.input().is_empty()
            || self.stream.set_read_timeout(Some(LINGER)).is_ok()
                && self.stream.read(&mut [0]).is_ok_and(|count| count > 0);
        if more {
            self.shared.has_surplus.store(true, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tcp").field(&self.stream).finish()
    }
}

/// The end of a timeout, sleeps of the computer not counted; none where there is no limit.
fn until(timeout: NextTimeout) -> Option<Instant> {
    (!timeout.after.is_not_happening()).then(|| sleep::now() + *timeout.after)
}

fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
}

/// Nothing in time, or a signal in between.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
