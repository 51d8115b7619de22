//! A reading of a device's memory, and the tick of the sampler that took it.

use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::clock::Clock;

/// Bytes in the MB of every figure of this program: 2^20.
pub const MB: u64 = 1_048_576;

/// Whether devices of this type use the system memory: `cpu` and `mps`.
pub fn is_system_ram(kind: &str) -> bool {
    matches!(kind, "cpu" | "mps")
}

/// 16 TiB in MB: a higher figure is a mistake, and is neither written nor read.
pub const HIGHEST_MB: u64 = 1 << 24;

/// The memory figures of one moment, in MB. An unknown figure is absent, never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What live tensors hold (`vram_total - vram_free`); torch's idle cache counts as free.
    /// On a line of nvidia-smi it is that program's figure.
    pub used: u64,
    /// What `ComfyUI` could still allocate, its idle cache included.
    pub free: Option<u64>,
    /// The size of the card.
    pub total: Option<u64>,
    /// What the driver has handed out, torch's idle cache included: what nvidia-smi shows.
    /// Known for `cuda` devices only.
    pub driver: Option<u64>,
    /// The system memory in use on the server's machine.
    pub ram: Option<u64>,
}

/// Who gave a reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// `ComfyUI`'s `GET /system_stats`.
    #[default]
    ComfyUi,
    /// The fallback on the same machine.
    NvidiaSmi,
}

/// Bytes as MB, rounded half to even.
pub fn to_mb(bytes: u64) -> u64 {
    quotient(bytes.into(), MB.into())
}

/// `numerator / denominator`, rounded half to even; 0 for a denominator of 0.
pub(crate) fn quotient(numerator: u128, denominator: u128) -> u64 {
    if denominator == 0 {
        return 0;
    }
    let (floor, rest) = (numerator / denominator, numerator % denominator);
    let half = rest.cmp(&(denominator - rest));
    let up = half.is_gt() || half.is_eq() && floor % 2 == 1;
    u64::try_from(floor + u128::from(up)).unwrap_or(u64::MAX)
}

/// Why a tick has no reading. Its name in the log is one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MissReason {
    /// No answer within the sampler's timeout.
    Timeout,
    /// Nobody listens at the address.
    Refused,
    /// The connection broke before the answer was complete.
    Reset,
    /// An HTTP status other than 200.
    Status,
    /// An answer that is not the JSON it should be.
    BadJson,
    /// The answer lists no such device, or no memory figures for it; in an old log, a line with
    /// `Free=` alone.
    NoDevice,
    /// The tick passed while an earlier request was still out.
    Late,
}

impl MissReason {
    /// Every reason, in the order in which they are listed.
    pub const ALL: [MissReason; 7] = [
        MissReason::Timeout,
        MissReason::Refused,
        MissReason::Reset,
        MissReason::Status,
        MissReason::BadJson,
        MissReason::NoDevice,
        MissReason::Late,
    ];

    /// The word in the log.
    pub fn name(self) -> &'static str {
        ["timeout", "refused", "reset", "status", "badJson", "noDevice", "late"][self as usize]
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<MissReason> {
        MissReason::ALL.into_iter().find(|miss| miss.name() == name)
    }
}

/// A reading and who gave it, or why there is none.
pub type ReadingResult = Result<(Reading, Source), MissReason>;

/// What one request for a reading gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The reading of the run's device.
    pub result: ReadingResult,
    /// The readings of all devices, by their position among the server's; empty where the server
    /// did not answer or was not asked.
    pub devices: Vec<Option<Reading>>,
}

impl From<ReadingResult> for Answer {
    fn from(result: ReadingResult) -> Answer {
        Answer { result, devices: Vec::new() }
    }
}

/// One tick of the sampler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// When the request was sent; of a late tick, when it was due.
    pub at: OffsetDateTime,
    /// The same moment by the monotonic clock: the order of events goes by this one.
    pub moment: Instant,
    /// How long the answer took in milliseconds, if it took more than a twentieth of the interval.
    pub took_ms: Option<u64>,
    /// The reading of the run's device.
    pub result: ReadingResult,
    /// Why the request gave none; `result` may then hold the fallback's.
    pub missed: Option<MissReason>,
    /// The readings of all devices, as in [`Answer`].
    pub devices: Vec<Option<Reading>>,
}

impl Tick {
    /// Calls `read` now, and `fallback` for a reading of the same moment where that gives none.
    pub fn take(
        clock: Clock,
        interval: Duration,
        read: impl FnOnce() -> Answer,
        fallback: impl FnOnce(Instant) -> Option<(Reading, Source)>,
    ) -> Tick {
        let (at, moment) = (clock.now(), Instant::now());
        let answer = read();
        let took = moment.elapsed();
        let slow = answer.result.is_ok() && took > interval / 20;
        let took_ms = slow.then(|| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        Tick { took_ms, ..Tick::of(at, moment, answer, fallback) }
    }

    /// The tick of an answer, or of its fallback.
    pub(super) fn of(
        at: OffsetDateTime,
        moment: Instant,
        Answer { result, devices }: Answer,
        fallback: impl FnOnce(Instant) -> Option<(Reading, Source)>,
    ) -> Tick {
        let missed = result.err();
        let result = result.or_else(|miss| fallback(moment).ok_or(miss));
        Tick { at, moment, took_ms: None, result, missed, devices }
    }
}
