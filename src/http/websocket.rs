//! The reading side of a websocket (RFC 6455), for text messages alone: everything else is passed
//! over without being held.
//!
//! The answer's `Sec-WebSocket-Accept` is not checked: what is read is not believed without another
//! source.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine};
use ureq::http::Uri;

use super::Target;

/// Longer messages are passed over: 1 MiB.
const MAX_TEXT: u64 = 1 << 20;
/// Longer heads of an answer are none: 16 KiB.
const MAX_HEAD: u64 = 16 << 10;
/// Making the connection, and the answer to the upgrade.
const CONNECT: Duration = Duration::from_secs(2);
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Between two looks whether reading is to go on.
const PATIENCE: Duration = Duration::from_millis(200);

/// A connection. `go_on` is asked a few times a second; once it is false, reading fails.
pub(crate) struct WebSocket<S> {
    stream: BufReader<S>,
    text: Vec<u8>,
}

/// A socket whose reads last until bytes come, or until they are no longer wanted.
pub(crate) struct Patient<'g> {
    socket: TcpStream,
    until: Option<Instant>,
    go_on: &'g dyn Fn() -> bool,
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let late = self.until.is_some_and(|until| Instant::now() >= until);
            if late || !(self.go_on)() {
                return Err(ErrorKind::TimedOut.into());
            }
            match self.socket.read(buffer) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                read => return read,
            }
        }
    }
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// Whether a server can be reached this way: by plain HTTP, and without a proxy.
pub(crate) fn is_supported(target: &Target) -> bool {
    let has_proxy = || !target.loopback && ureq::Proxy::try_from_env().is_some();
    target.base.starts_with("http://") && !has_proxy()
}

impl<'g> WebSocket<Patient<'g>> {
    /// Connects and asks for the upgrade: 2 s for each address, 5 s for the answer.
    ///
    /// # Errors
    /// There is no connection, or the answer is none of an upgrade.
    pub(crate) fn connect(
        target: &Target,
        path: &str,
        go_on: &'g dyn Fn() -> bool,
    ) -> io::Result<Self> {
        let uri: Uri = target.base.parse().map_err(io::Error::other)?;
        let name = format!("{}:{}", uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(80));
        let mut socket = Err(ErrorKind::NotFound.into());
        for address in target.addresses.find(&name, CONNECT)? {
            if target.ipv4_only && !address.is_ipv4() {
                continue;
            }
            socket = TcpStream::connect_timeout(&address, CONNECT);
            if socket.is_ok() {
                break;
            }
        }
        let socket = socket?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(CONNECT))?;
        let prefix = uri.path().trim_end_matches('/');
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        // Nobody relies on the key being random.
        let key = BASE64_STANDARD.encode([0; 16]);
        let mut request = format!(
            "GET {prefix}{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        );
        for (name, value) in &target.headers {
            request += &format!("{name}: {value}\r\n");
        }
        let until = Some(Instant::now() + HANDSHAKE);
        let mut stream = BufReader::new(Patient { socket, until, go_on });
        stream.get_mut().write_all(format!("{request}\r\n").as_bytes())?;
        let mut head = (&mut stream).take(MAX_HEAD);
        let mut line = Vec::new();
        head.read_until(b'\n', &mut line)?;
        if !line.starts_with(b"HTTP/1.1 101 ") {
            return Err(io::Error::new(ErrorKind::InvalidData, "no upgrade to a websocket"));
        }
        while line.trim_ascii() != b"" {
            line.clear();
            head.read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") {
                return Err(ErrorKind::InvalidData.into());
            }
        }
        stream.get_mut().until = None;
        Ok(WebSocket { stream, text: Vec::new() })
    }
}

impl<S: Read + Write> WebSocket<S> {
    /// A connection that is open already.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn open(stream: S) -> Self {
        WebSocket { stream: BufReader::new(stream), text: Vec::new() }
    }

    /// The next text message of at most 1 MiB; none where the server closes the connection.
    ///
    /// # Errors
    /// The connection broke, what came is no frame of a server, or reading is no longer wanted.
    pub(crate) fn next_text(&mut self) -> io::Result<Option<&[u8]>> {
        let mut is_wanted = false;
        loop {
            let (is_last, opcode, length) = self.head()?;
            match opcode {
                0..=2 => {
                    if opcode > 0 {
                        self.text.clear();
                        is_wanted = opcode == 1;
                    }
                    is_wanted &= self.text.len() as u64 + length <= MAX_TEXT;
                    let mut payload = (&mut self.stream).take(length);
                    if is_wanted {
                        payload.read_to_end(&mut self.text)?;
                    } else {
                        io::copy(&mut payload, &mut io::sink())?;
                    }
                    if payload.limit() > 0 {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                    if is_last && is_wanted {
                        return Ok(Some(&self.text));
                    }
                }
                8 => return Ok(None),
                _ => {
                    let mut payload = vec![0; usize::from(length.to_le_bytes()[0])];
                    self.stream.read_exact(&mut payload)?;
                    if opcode == 9 {
                        self.pong(&payload)?;
                    }
                }
            }
        }
    }

    /// Whether it is the last frame of its message, its opcode, and the length of its payload.
    fn head(&mut self) -> io::Result<(bool, u8, u64)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let (opcode, is_last, short) = (head[0] & 0x0f, head[0] & 0x80 != 0, head[1] & 0x7f);
        let is_control = opcode >= 8;
        let is_known = matches!(opcode, 0..=2 | 8..=10) && head[0] & 0x70 == 0;
        let is_masked = head[1] & 0x80 != 0;
        if !is_known || is_masked || is_control && (short > 125 || !is_last) {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut long = [0; 8];
        match short {
            126 => self.stream.read_exact(&mut long[6..])?,
            127 => self.stream.read_exact(&mut long)?,
            _ => long[7] = short,
        }
        Ok((is_last, opcode, u64::from_be_bytes(long)))
    }

    /// What a client sends is masked; a mask of zeros leaves it as it is.
    fn pong(&mut self, payload: &[u8]) -> io::Result<()> {
        let length = u8::try_from(payload.len()).unwrap_or(125);
        let frame = [&[0x8a, 0x80 | length, 0, 0, 0, 0], payload].concat();
        self.stream.get_mut().write_all(&frame)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
        let length = payload.len();
        let mut frame = match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short), _) if short < 126 => vec![head, short],
            (_, Ok(length)) => [&[head, 126][..], &length.to_be_bytes()].concat(),
            _ => [&[head, 127][..], &(length as u64).to_be_bytes()].concat(),
        };
        frame.extend(payload);
        frame
    }

    /// Bytes to be read, and what was written.
    struct Pipe(io::Cursor<Vec<u8>>, Vec<u8>);

    impl Read for Pipe {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The messages, whether the end was a regular one, what was sent, and the most that was held.
    fn read(frames: &[Vec<u8>]) -> (Vec<String>, bool, Vec<u8>, usize) {
        let mut socket = WebSocket::open(Pipe(io::Cursor::new(frames.concat()), Vec::new()));
        let mut texts = Vec::new();
        let is_closed = loop {
            match socket.next_text() {
                Ok(Some(text)) => texts.push(String::from_utf8_lossy(text).into_owned()),
                end => break end.is_ok(),
            }
        };
        let held = socket.text.capacity();
        (texts, is_closed, socket.stream.into_inner().1, held)
    }

    #[test]
    fn texts_are_read_and_all_else_is_passed_over() {
        let long = vec![b'l'; 70_000];
        let frames = [
            frame(0x81, b"one"),
            frame(0x82, &vec![0; 300_000]),
            frame(0x89, b"hi"),
            frame(0x01, b"tw"),
            frame(0x8a, b""),
            frame(0x80, b"o"),
            frame(0x81, &long),
            frame(0x88, b""),
        ];
        let (texts, is_closed, sent, _) = read(&frames);
        let long = String::from_utf8(long).unwrap();
        assert_eq!(texts, ["one", "two", &long]);
        assert!(is_closed);
        assert_eq!(sent, [0x8a, 0x82, 0, 0, 0, 0, b'h', b'i']);
    }

    #[test]
    fn an_enormous_message_is_passed_over_without_being_held() {
        let enormous = frame(0x81, &vec![b'x'; 3 << 20]);
        let parts = [frame(0x01, &vec![b'x'; 1 << 20]), frame(0x80, b"more")].concat();
        let (texts, _, _, held) = read(&[enormous, parts, frame(0x81, b"next")]);
        assert_eq!(texts, ["next"]);
        assert!(held <= 2 << 20, "{held}");
        let claim = [&[0x81, 127][..], &(1_u64 << 62).to_be_bytes(), b"little"].concat();
        assert_eq!(read(&[claim]).0, [""; 0]);
    }

    #[test]
    fn what_no_server_sends_ends_it() {
        let masked = vec![0x81, 0x80, 0, 0, 0, 0];
        for bad in [masked, frame(0x83, b""), frame(0xc1, b"a"), frame(0x09, b""), vec![0x89, 126]]
        {
            let (texts, is_closed, ..) = read(&[bad.clone(), frame(0x81, b"one")]);
            assert!(texts.is_empty() && !is_closed, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let (texts, ..) = read(&[bytes]);
            prop_assert!(texts.len() < 300);
        }

        #[test]
        fn a_message_is_the_same_in_any_fragments(
            text in "[a-z]{0,300}", cuts in prop::collection::vec(0..300_usize, 0..5)
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let last = cuts.len() - 2;
            let frames = cuts.windows(2).enumerate().map(|(n, part)| {
                let head = u8::from(n == 0) | u8::from(n == last) << 7;
                frame(head, &text.as_bytes()[part[0]..part[1]])
            });
            let (texts, ..) = read(&frames.collect::<Vec<_>>());
            prop_assert_eq!(texts, [text]);
        }
    }
}
