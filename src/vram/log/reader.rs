//! A log as a stream of its lines, whatever wrote it.

#[cfg(test)]
mod tests;

use std::io::{self, BufRead, Chain, Cursor, Read};

use super::{Line, parse, today};

/// Longer lines, in bytes, are not read.
const LONGEST: usize = 4096;

/// What the next line came to.
enum Step<'a> {
    Line(Line<&'a str>),
    /// It is empty, or cannot be read.
    Passed,
    End,
}

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
            match self.step()? {
                Step::Line(line) => return Ok(Some(line.into_owned())),
                Step::Passed => {}
                Step::End => return Ok(None),
            }
        }
    }

    /// Every line that [`Reader::next_line`] would give, to the end of the log, and much faster.
    ///
    /// # Errors
    /// Those of the input.
    pub fn for_each(&mut self, mut take: impl FnMut(Line<&str>)) -> io::Result<()> {
        loop {
            if let Encoding::Utf8 = self.encoding {
                self.run(&mut take);
            }
            match self.step()? {
                Step::Line(line) => take(line),
                Step::Passed => {}
                Step::End => return Ok(()),
            }
        }
    }

    /// Takes lines of today's form, as many as lie whole in the input's buffer. It never fails:
    /// what goes wrong is told by the step that follows.
    fn run(&mut self, take: &mut impl FnMut(Line<&str>)) {
        let Ok(chunk) = self.input.fill_buf() else { return };
        let (mut rest, mut latest) = (chunk, self.scene.as_str());
        while let Some((line, after)) = today::line(rest, latest) {
            if rest.len() - after.len() >= LONGEST {
                break;
            }
            latest = line.scene.unwrap_or(latest);
            rest = after;
            take(line);
        }
        let taken = chunk.len() - rest.len();
        if latest != self.scene {
            self.scene = latest.to_owned();
        }
        self.input.consume(taken);
    }

    /// Reads one line, whatever its form.
    fn step(&mut self) -> io::Result<Step<'_>> {
        self.fill()?;
        if self.buffer.is_empty() {
            return Ok(Step::End);
        }
        let text = self.buffer.trim_ascii();
        if text.is_empty() {
            return Ok(Step::Passed);
        }
        let whole = self.buffer.ends_with(b"\n");
        let cut = |line: &Line<&str>| line.scene.is_some_and(|scene| scene != self.scene);
        let fits = self.buffer.len() < LONGEST;
        let Some(line) = parse::line(text).filter(|line| fits && (whole || !cut(line))) else {
            self.skipped += 1;
            return Ok(Step::Passed);
        };
        if let Some(scene) = line.scene.filter(|scene| *scene != self.scene) {
            scene.clone_into(&mut self.scene);
        }
        Ok(Step::Line(line))
    }

    /// How many lines could not be read so far; empty ones are no lines.
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
