//! The log as it grows.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use super::Line;
use crate::vram::reading::Tick;

/// Appends to a log, one line a tick, each with one write: a crash tears no line.
pub struct Writer {
    file: File,
    millis: bool,
    /// Until a line has told it.
    interval_ms: Option<u64>,
    /// The file ends within a line: the next one must not continue it.
    torn: bool,
}

impl Writer {
    /// Opens a log for a run that samples every `interval`; an existing one is continued. Below
    /// an interval of one second the times carry milliseconds.
    ///
    /// # Errors
    /// The file can neither be opened nor made.
    pub fn create(path: &Path, interval: Duration) -> io::Result<Writer> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let torn = file.metadata()?.len() > 0 && last_byte(path).is_ok_and(|byte| byte != b'\n');
        Ok(Writer {
            file,
            millis: shows_millis(interval),
            interval_ms: u64::try_from(interval.as_millis()).ok(),
            torn,
        })
    }

    /// Writes one tick; `scene` is the id of the scene whose prompt was running.
    ///
    /// # Errors
    /// The system does not take the whole line, as on a full disk. The next call tries anew.
    pub fn append(&mut self, tick: &Tick, scene: Option<&str>) -> io::Result<()> {
        let line = Line::of(tick, scene, self.interval_ms);
        let mend = if self.torn { "\n" } else { "" };
        let text = format!("{mend}{}\n", line.format(self.millis));
        let written = self.file.write_all(text.as_bytes());
        self.torn = written.is_err();
        if written.is_ok() {
            self.interval_ms = None;
        }
        written
    }
}

/// Whether the times of a log carry milliseconds.
pub(in crate::vram) fn shows_millis(interval: Duration) -> bool {
    interval < Duration::from_secs(1)
}

fn last_byte(path: &Path) -> io::Result<u8> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-1))?;
    let mut byte = [0];
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use std::time::Instant;

    use time::OffsetDateTime;

    use super::*;
    use crate::vram::reading::{MissReason, Reading, Source};

    #[test]
    fn ticks_become_lines_and_a_torn_line_stays_alone() {
        let path = std::env::temp_dir().join(format!("run-comfyui-log-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        let at = OffsetDateTime::UNIX_EPOCH + Duration::from_millis(43_265_250);
        let reading = Reading { used: 7, ..Reading::default() };
        let result = Ok((reading, Source::ComfyUi));
        let tick = Tick { at, moment: Instant::now(), took_ms: Some(300), result, missed: None };
        let missed = Tick { result: Err(MissReason::Timeout), ..tick };

        let mut log = Writer::create(&path, Duration::from_millis(500)).unwrap();
        log.append(&tick, None).unwrap();
        log.append(&missed, Some("flow")).unwrap();
        let first = "12:01:05.250,Used=7MB,Interval=0.5s,Took=300ms\n\
                     12:01:05.250,Missed=timeout,Scene=flow\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), first);

        fs::write(&path, "12:00:00,Us").unwrap();
        let mut log = Writer::create(&path, Duration::from_secs(1)).unwrap();
        log.append(&missed, None).unwrap();
        let wanted = "12:00:00,Us\n12:01:05,Missed=timeout,Interval=1s\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), wanted);
        fs::remove_file(&path).unwrap();
    }
}
