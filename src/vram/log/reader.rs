//! A log as a stream of its lines, whatever wrote it.

use std::io::{self, BufRead, Chain, Cursor, Read};

use super::{Line, parse};

/// Longer lines, in bytes, are not read.
const LONGEST: usize = 4096;

#[derive(Clone, Copy)]
enum Encoding {
    Utf8,
    Utf16(fn([u8; 2]) -> u16),
}

/// Reads a log line by line in constant memory: UTF-8 with or without a byte order mark, UTF-16
/// with one, any line breaks that end in LF. What it cannot read it skips and counts.
pub struct Reader<R> {
    /// Its first part is what was read to know the encoding.
    input: Chain<Cursor<Vec<u8>>, R>,
    encoding: Encoding,
    buffer: Vec<u8>,
    /// The scene of the latest line that had one.
    scene: String,
    skipped: u64,
}

impl<R: BufRead> Reader<R> {
    /// A reader at the start of a log.
    ///
    /// # Errors
    /// Those of reading the first three bytes.
    pub fn new(mut input: R) -> io::Result<Self> {
        let mut start = Vec::new();
        input.by_ref().take(3).read_to_end(&mut start)?;
        let (encoding, mark) = match start.as_slice() {
            [0xef, 0xbb, 0xbf] => (Encoding::Utf8, 3),
            [0xff, 0xfe, ..] => (Encoding::Utf16(u16::from_le_bytes), 2),
            [0xfe, 0xff, ..] => (Encoding::Utf16(u16::from_be_bytes), 2),
            _ => (Encoding::Utf8, 0),
        };
        let input = Cursor::new(start.split_off(mark)).chain(input);
        Ok(Reader { input, encoding, buffer: Vec::new(), scene: String::new(), skipped: 0 })
    }

    /// The next line that can be read; none at the end of the log.
    ///
    /// A last line without its line break counts if nothing shows that it was cut: every figure
    /// has its unit, and its scene is that of the line before.
    ///
    /// # Errors
    /// Those of the input.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        loop {
            self.fill()?;
            if self.buffer.is_empty() {
                return Ok(None);
            }
            let text = self.buffer.trim_ascii();
            if text.is_empty() {
                continue;
            }
            let whole = self.buffer.ends_with(b"\n");
            let cut = |line: &Line| line.scene.as_ref().is_some_and(|scene| *scene != self.scene);
            let fits = self.buffer.len() < LONGEST;
            match parse::line(text).filter(|line| fits && (whole || !cut(line))) {
                None => self.skipped += 1,
                Some(line) => {
                    if let Some(scene) = &line.scene {
                        self.scene.clone_from(scene);
                    }
                    return Ok(Some(line));
                }
            }
        }
    }

    /// How many lines could not be read so far; empty ones are no lines.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Takes the next line into the buffer with its line break, or the start of one that is too
    /// long; leaves it empty at the end.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.clear();
        match self.encoding {
            Encoding::Utf8 => {
                let mut input = self.input.by_ref().take(LONGEST as u64);
                input.read_until(b'\n', &mut self.buffer)?;
                if self.buffer.len() == LONGEST && !self.buffer.ends_with(b"\n") {
                    self.input.skip_until(b'\n')?;
                }
                Ok(())
            }
            Encoding::Utf16(unit) => self.fill_wide(unit),
        }
    }

    /// Everything that a line is made of is ASCII; the rest only has to stay strange.
    fn fill_wide(&mut self, unit: fn([u8; 2]) -> u16) -> io::Result<()> {
        let mut pair = [0; 2];
        loop {
            match self.input.read_exact(&mut pair) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                read => read?,
            }
            let byte = u8::try_from(unit(pair)).unwrap_or(u8::MAX);
            if self.buffer.len() < LONGEST {
                self.buffer.push(byte);
            }
            if byte == b'\n' {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::super::line::tests::any_line;
    use super::*;

    fn read(log: &[u8]) -> (Vec<Line>, u64) {
        // One byte at a time, so that no mark and no line comes in one piece.
        let mut reader = Reader::new(BufReader::with_capacity(1, log)).unwrap();
        let lines = std::iter::from_fn(|| reader.next_line().unwrap()).collect();
        (lines, reader.skipped())
    }

    fn wide(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(bytes).collect()
    }

    #[test]
    fn every_encoding_and_line_break_is_read() {
        let text = "12:01:00,Used=1MB\r\n\r\n12:01:05,Used=2MB\n?Ċ\n12:01:10,Used=3MB\r\n";
        let (lines, skipped) = read(text.as_bytes());
        assert_eq!((lines.len(), skipped), (3, 1));
        let mut invalid = text.as_bytes().to_vec();
        invalid.iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xff);
        for log in [
            format!("\u{feff}{text}").into_bytes(),
            wide(text, u16::to_le_bytes),
            wide(text, u16::to_be_bytes),
            invalid,
        ] {
            assert_eq!(read(&log), (lines.clone(), skipped));
        }
    }

    #[test]
    fn long_lines_are_skipped_whole() {
        let long = format!("12:01:00,Used=1MB,X={}\n12:01:05,Used=2MB\n", ",12:01:00".repeat(9999));
        for log in [long.clone().into_bytes(), wide(&long, u16::to_le_bytes)] {
            let (lines, skipped) = read(&log);
            assert_eq!((lines.len(), skipped), (1, 1));
        }
    }

    #[test]
    fn a_torn_last_line_makes_nothing_up() {
        let whole = "12:01:00,Used=1MB,Scene=flow-1\n";
        for (torn, counts) in [
            ("12:01:05,Used=20MB,Scene=flow-1", true),
            ("12:01:05,Used=20MB,Scene=flow-", false),
            ("12:01:05,Used=20MB,Sc", false),
            ("12:01:05,Used=20MB", true),
            ("12:01:05,Used=20M", false),
            ("12:01:05,Used=2", false),
            ("12", false),
        ] {
            let (lines, skipped) = read(format!("{whole}{torn}").as_bytes());
            assert_eq!((lines.len(), skipped), if counts { (2, 0) } else { (1, 1) }, "{torn}");
        }
    }

    proptest! {
        #[test]
        fn a_cut_log_has_no_figure_that_the_whole_one_lacks(
            lines in prop::collection::vec(any_line(false), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let log: String = lines.iter().map(|line| line.format(false) + "\n").collect();
            let cut = &log[..cut.index(log.len() + 1)];
            let (read, skipped) = read(cut.as_bytes());
            for (read, line) in read.iter().zip(&lines) {
                prop_assert_eq!(read.at, line.at);
                match (read.entry, line.entry) {
                    (Ok((read, _)), Ok((line, _))) => prop_assert_eq!(read.used, line.used),
                    (read, line) => prop_assert_eq!(read, line),
                }
                let scene = line.scene.as_deref().unwrap_or_default();
                prop_assert!(scene.starts_with(read.scene.as_deref().unwrap_or_default()));
            }
            let torn = u64::from(!cut.is_empty() && !cut.ends_with('\n'));
            let count = u64::try_from(read.len()).unwrap() + skipped;
            prop_assert_eq!(count, u64::try_from(cut.matches('\n').count()).unwrap() + torn);
        }

        #[test]
        fn any_bytes_are_survived(log in prop::collection::vec(any::<u8>(), 0..200)) {
            read(&log);
        }
    }
}
