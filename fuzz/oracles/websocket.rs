//! What comes over the server's websocket.

use std::io::{self, Cursor, Read, Write};

use super::is_line;
use crate::comfyui::{Progress, properties::told};
use crate::http::websocket::WebSocket;

/// Bytes to be read; what is written goes nowhere.
struct Pipe<'d>(Cursor<&'d [u8]>);

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whatever bytes come, reading them ends, and what they tell may stand in a line of the log.
///
/// # Panics
/// Otherwise.
pub fn websocket(data: &[u8]) {
    let mut socket = WebSocket::open(Pipe(Cursor::new(data)));
    let mut messages = 0;
    while let Ok(Some(text)) = socket.next_text() {
        messages += 1;
        assert!(text.len() <= data.len());
        let Some((id, progress)) = told(text) else { continue };
        is_line(&id);
        if let Progress::Node(node) = progress {
            let safe = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
            assert!(!node.is_empty() && node.len() <= 64 && node.chars().all(safe), "{node:?}");
        }
    }
    assert!(messages <= data.len());
}
