//! Reads a log as a stream, in constant memory.

use std::io::{self, BufRead, Read};

use super::Line;

/// A line of ours has at most a few hundred bytes; what is longer is none.
const LONGEST: u64 = 4096;

/// The lines of a log, one after the other. UTF-8 with or without BOM, or UTF-16 with one; LF or
/// CRLF.
pub struct Reader<R> {
    input: R,
    encoding: Option<Encoding>,
    line: Vec<u8>,
    skipped: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Encoding {
    Utf8,
    Utf16 { big_endian: bool },
}

impl<R: BufRead> Reader<R> {
    /// A reader from the start of a log.
    pub fn new(input: R) -> Self {
        Reader { input, encoding: None, line: Vec::new(), skipped: 0 }
    }

    /// Lines so far that could not be read. Blank ones do not count.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The next line that can be read; none at the end. A last line without its newline was torn
    /// by a crash, and its numbers may be cut short: it is skipped.
    ///
    /// # Errors
    /// What the system said.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        let encoding = match self.encoding {
            Some(encoding) => encoding,
            None => self.byte_order_mark()?,
        };
        self.encoding = Some(encoding);
        loop {
            self.line.clear();
            let whole = match encoding {
                Encoding::Utf8 => self.read_utf8()?,
                Encoding::Utf16 { big_endian } => self.read_utf16(big_endian)?,
            };
            let text = String::from_utf8_lossy(&self.line);
            let text = text.trim_end_matches(['\n', '\r']);
            match Line::parse(text).filter(|_| whole) {
                Some(line) => return Ok(Some(line)),
                None if self.line.is_empty() => return Ok(None),
                None if text.trim().is_empty() => {}
                None => self.skipped += 1,
            }
        }
    }

    fn byte_order_mark(&mut self) -> io::Result<Encoding> {
        let start = self.input.fill_buf()?;
        let (encoding, length) = match start {
            [0xef, 0xbb, 0xbf, ..] => (Encoding::Utf8, 3),
            [0xff, 0xfe, ..] => (Encoding::Utf16 { big_endian: false }, 2),
            [0xfe, 0xff, ..] => (Encoding::Utf16 { big_endian: true }, 2),
            _ => (Encoding::Utf8, 0),
        };
        self.input.consume(length);
        Ok(encoding)
    }

    /// Whether the line is whole: it has its newline. Of an overlong one the rest is passed over.
    fn read_utf8(&mut self) -> io::Result<bool> {
        self.input.by_ref().take(LONGEST).read_until(b'\n', &mut self.line)?;
        let whole = self.line.ends_with(b"\n");
        if !whole && self.line.len() as u64 == LONGEST {
            self.input.skip_until(b'\n')?;
        }
        Ok(whole)
    }

    fn read_utf16(&mut self, big_endian: bool) -> io::Result<bool> {
        let mut units = Vec::new();
        let mut pair = [0; 2];
        loop {
            match self.input.read_exact(&mut pair) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
            let unit = if big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) };
            if (units.len() as u64) < LONGEST {
                units.push(unit);
            }
            if unit == u16::from(b'\n') {
                self.line.extend(String::from_utf16_lossy(&units).bytes());
                return Ok(self.line.ends_with(b"\n"));
            }
        }
        self.line.extend(String::from_utf16_lossy(&units).bytes());
        Ok(false)
    }
}
