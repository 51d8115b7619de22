//! `vram-usage.log`: a line for each tick, and for higher readings between two ticks, written as it
//! happens and read back for the statistics.
//!
//! ```text
//! 12:01:00,Used=2140MB,Free=22436MB,Total=24576MB,Torch=0MB,Interval=5s,Reading=0.25s,DynamicVram=off
//! 12:01:03.250,Used=9231MB,Free=15345MB,Total=24576MB,Torch=7010MB,Scene=flow,Node=2,Between=1
//! 12:01:10,Used=19310MB,Free=5266MB,Total=24576MB,Scene=flow,Source=nvidia-smi,Gap=1.2s
//! 12:01:15,Missed=timeout,Scene=flow
//! ```
//!
//! The first three fields are those of the `PowerShell` script, so that its readers go on
//! working; each field stands only where its value is known.

mod line;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufRead, Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use crate::fs::open_to_append;

#[cfg(test)]
pub(super) use line::tests::any_line;
pub use line::{Line, has_millis, time_text};

/// Longer lines, in bytes, are skipped.
const LONGEST: usize = 4096;

/// The names of a run's logs.
pub mod names {
    /// The log of the run's own device.
    pub const MAIN: &str = "vram-usage.log";

    /// The log of another device, by its place in the server's list.
    pub fn of_device(device: usize) -> String {
        format!("vram-usage.gpu{device}.log")
    }

    /// The device that the log of that name is of; none for the run's own.
    pub fn device_of(name: &str) -> Option<usize> {
        let device = name.strip_prefix("vram-usage.gpu")?.strip_suffix(".log")?.parse().ok()?;
        (of_device(device) == name).then_some(device)
    }
}

/// Appends lines to a log, each with one write: a crash tears no line.
pub struct Writer {
    file: File,
    /// The times carry milliseconds.
    millis: bool,
    /// The file ends within a line: the next one must not continue it.
    torn: bool,
}

impl Writer {
    /// Opens a log for a run with a line every `interval`; an existing one is continued.
    ///
    /// # Errors
    /// The file can neither be opened nor made.
    pub fn create(path: &Path, interval: Duration) -> io::Result<Writer> {
        let file = open_to_append(path)?;
        let torn = file.metadata()?.len() > 0 && last_byte(path).is_ok_and(|byte| byte != b'\n');
        Ok(Writer { file, millis: line::has_millis(interval), torn })
    }

    /// Writes one line.
    ///
    /// # Errors
    /// The system does not take the whole line, as on a full disk. The next call tries anew.
    pub fn append(&mut self, line: &Line) -> io::Result<()> {
        let break_before = if self.torn { "\n" } else { "" };
        let text = format!("{break_before}{}\n", line.format(self.millis));
        let written = self.file.write_all(text.as_bytes());
        self.torn = written.is_err();
        written
    }
}

fn last_byte(path: &Path) -> io::Result<u8> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-1))?;
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// The unit of UTF-16 that two bytes are.
type Utf16 = fn([u8; 2]) -> u16;

/// Reads a log line by line in constant memory: UTF-8 with or without a byte order mark, UTF-16
/// with one, lines that end in LF or CR LF. Returns how many lines could not be read; empty ones
/// do not count.
///
/// A last line without its line break counts if nothing shows that it was cut: every figure has
/// its unit, and its scene is that of the line before.
///
/// # Errors
/// Those of the input.
pub fn read_lines(mut input: impl BufRead, mut take: impl FnMut(&Line<&str>)) -> io::Result<u64> {
    let mut start = Vec::new();
    input.by_ref().take(3).read_to_end(&mut start)?;
    let (utf16, mark): (Option<Utf16>, _) = match start.as_slice() {
        [0xef, 0xbb, 0xbf] => (None, 3),
        [0xff, 0xfe, ..] => (Some(u16::from_le_bytes), 2),
        [0xfe, 0xff, ..] => (Some(u16::from_be_bytes), 2),
        _ => (None, 0),
    };
    let mut input = Cursor::new(start.split_off(mark)).chain(input);
    let (mut buffer, mut latest_scene, mut skipped) = (Vec::new(), String::new(), 0);
    loop {
        buffer.clear();
        match utf16 {
            None => read_line(&mut input, &mut buffer)?,
            Some(unit) => read_utf16_line(&mut input, unit, &mut buffer)?,
        }
        if buffer.is_empty() {
            return Ok(skipped);
        }
        let text = buffer.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let complete = buffer.ends_with(b"\n");
        let is_cut =
            |line: &Line<&str>| !complete && line.scene.is_some_and(|scene| scene != latest_scene);
        match Line::parse(text) {
            Some(line) if buffer.len() < LONGEST && !is_cut(&line) => {
                take(&line);
                if let Some(scene) = line.scene.filter(|scene| *scene != latest_scene) {
                    scene.clone_into(&mut latest_scene);
                }
            }
            _ => skipped += 1,
        }
    }
}

/// Reads a line with its line break, or the first [`LONGEST`] bytes of a longer one; nothing at
/// the end.
pub(super) fn read_line(input: &mut impl BufRead, buffer: &mut Vec<u8>) -> io::Result<()> {
    input.by_ref().take(LONGEST as u64).read_until(b'\n', buffer)?;
    if buffer.len() == LONGEST && !buffer.ends_with(b"\n") {
        input.skip_until(b'\n')?;
    }
    Ok(())
}

/// Same as [`read_line`]. A line is ASCII; any other character becomes a byte that is none.
fn read_utf16_line(input: &mut impl BufRead, unit: Utf16, buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut pair = [0; 2];
    loop {
        match input.read_exact(&mut pair) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let byte = u8::try_from(unit(pair)).unwrap_or(u8::MAX);
        if buffer.len() < LONGEST {
            buffer.push(byte);
        }
        if byte == b'\n' {
            return Ok(());
        }
    }
}
