//! Wall-clock time as the run's files show it.

use std::env;
use std::path::Path;
use std::time::SystemTime;

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, UtcOffset};

/// Some time in 9987, in seconds since 1970: the latest now. There are no times beyond 9999, and
/// hours are added to what is now.
const LATEST: u64 = 253_000_000_000;

/// Local time with the offset of the moment the program started, so that one run's times never
/// jump when the clocks change.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    offset: UtcOffset,
    /// False where the system does not tell its offset: then times are UTC.
    pub local: bool,
}

impl Clock {
    /// The system's clock.
    pub fn start() -> Self {
        let is_known = !zone_is_a_pipe();
        let offset =
            is_known.then(|| UtcOffset::local_offset_at(now_utc(SystemTime::now())).ok()).flatten();
        Clock { offset: offset.unwrap_or(UtcOffset::UTC), local: offset.is_some() }
    }

    /// The moment so many milliseconds after the beginning of 1970, where there is one.
    pub fn at_unix_ms(self, ms: u64) -> Option<OffsetDateTime> {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok()?;
        at.checked_to_offset(self.offset)
    }

    /// Now. A clock that is set before 1970 or beyond 9987 stands at that limit.
    pub fn now(self) -> OffsetDateTime {
        self.at(SystemTime::now())
    }

    /// That moment of the system's clock, as [`Clock::now`] has it.
    pub fn at(self, time: SystemTime) -> OffsetDateTime {
        now_utc(time).to_offset(self.offset)
    }
}

/// Whether `TZ` names a pipe or a device: the system would wait for it.
fn zone_is_a_pipe() -> bool {
    let zone = env::var("TZ").unwrap_or_default();
    let folder = env::var_os("TZDIR").unwrap_or_else(|| "/usr/share/zoneinfo".into());
    let file = Path::new(&folder).join(zone.trim_start_matches(':')).metadata();
    file.is_ok_and(|file| !file.is_file() && !file.is_dir())
}

fn now_utc(now: SystemTime) -> OffsetDateTime {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    OffsetDateTime::UNIX_EPOCH + since.min(std::time::Duration::from_secs(LATEST))
}

/// `23:05:12`.
pub fn hms(at: OffsetDateTime) -> String {
    let (h, m, s) = at.to_hms();
    format!("{h:02}:{m:02}:{s:02}")
}

/// `2026-11-24T23:05:04.25+01:00`, as RFC 3339 has it.
pub fn iso(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

/// The moment that such a text names.
pub fn from_iso(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

/// `20261124-230504`: the name of a run that began then.
pub fn run_id(at: OffsetDateTime) -> String {
    let (h, m, s) = at.to_hms();
    format!("{:04}{:02}{:02}-{h:02}{m:02}{s:02}", at.year(), u8::from(at.month()), at.day())
}

/// Whether a name is one that [`run_id`] gives.
pub fn is_run_id(name: &str) -> bool {
    let is_digit =
        |(at, byte): (usize, u8)| if at == 8 { byte == b'-' } else { byte.is_ascii_digit() };
    name.len() == 15 && name.bytes().enumerate().all(is_digit)
}

/// `24 Nov 23:00:04`.
pub fn day_and_time(at: OffsetDateTime) -> String {
    let month = at.month().to_string();
    format!("{} {} {}", at.day(), &month[..3], hms(at))
}

/// A span for a person: `37 s`, `27 min 37 s`, `3 h 5 min`.
pub fn span(span: Duration) -> String {
    let seconds = span.whole_seconds().max(0);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, 0) => format!("{m} min"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, 0, _) => format!("{h} h"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// The same of the monotonic clock's time.
pub fn std_span(time: std::time::Duration) -> String {
    span(time.try_into().unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_clock_that_is_set_anywhere_is_a_time() {
        let at = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        assert_eq!(now_utc(at(1_800_000_000)), datetime!(2027-01-15 08:00 UTC));
        assert_eq!(now_utc(at(253_402_300_800)).year(), 9987);
        let before = SystemTime::UNIX_EPOCH - std::time::Duration::from_secs(9);
        assert_eq!(now_utc(before), OffsetDateTime::UNIX_EPOCH);
    }

    #[test]
    fn times_read_as_people_write_them() {
        let at = datetime!(2026-11-04 03:05:09 +2);
        assert_eq!(run_id(at), "20261104-030509");
        assert!(is_run_id(&run_id(at)) && !is_run_id("20261104_030509") && !is_run_id("logs"));
        assert_eq!(day_and_time(at), "4 Nov 03:05:09");
        assert_eq!(iso(at), "2026-11-04T03:05:09+02:00");
        assert_eq!(from_iso(&iso(at)), Some(at));
        assert_eq!(from_iso("yesterday"), None);
        let spans = [(37, "37 s"), (1657, "27 min 37 s"), (2160, "36 min"), (11100, "3 h 5 min")];
        for (seconds, wanted) in spans {
            assert_eq!(span(Duration::seconds(seconds)), wanted);
        }
    }
}
