//! A reading of a device's memory, and the moment of the sampler's grid that it was taken at.

use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::clock::Clock;

/// Bytes in the MB of every figure of this program: 2^20.
pub const MB: u64 = 1_048_576;

/// Whether devices of this type use the system memory: `cpu` and `mps`.
pub fn is_system_ram(kind: &str) -> bool {
    matches!(kind, "cpu" | "mps")
}

/// How the memory of a device is called in every line: the machine's own is no VRAM.
pub fn memory_name(system_ram: bool) -> &'static str {
    if system_ram { "RAM" } else { "VRAM" }
}

/// 16 TiB in MB: a higher figure is a mistake, and is neither written nor read.
pub const HIGHEST_MB: u64 = 1 << 24;

/// The memory figures of one moment, in MB. An unknown figure is absent, never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What is in use on the device (`vram_total - vram_free`), by whatever program; torch's idle
    /// cache counts as free. Of nvidia-smi it is that program's figure.
    pub used: u64,
    /// What `ComfyUI` could still allocate, its idle cache included.
    pub free: Option<u64>,
    /// The size of the card.
    pub total: Option<u64>,
    /// What the driver has handed out, torch's idle cache included: what nvidia-smi shows.
    /// Known for `cuda` devices only.
    pub driver: Option<u64>,
    /// What the tensors of `ComfyUI`'s own torch hold; no other program is in it. Not known for
    /// `cpu` and `mps`.
    pub torch: Option<u64>,
    /// By how much torch has reserved more than the card has: at least so much lies in system RAM.
    /// Absent where it does not.
    pub spilled: Option<u64>,
    /// The system memory in use on the server's machine.
    pub ram: Option<u64>,
}

impl Reading {
    /// How full the device is: the driver's figure where it is known.
    pub fn device(&self) -> u64 {
        self.driver.unwrap_or(self.used)
    }

    /// Whether the device's memory is the machine's own, as that of `cpu` and `mps` is: neither the
    /// driver's figure nor torch's is known, and as much is in use as of the machine.
    pub fn is_system_ram(&self) -> bool {
        self.driver.or(self.torch).is_none() && self.ram == Some(self.used)
    }
}

/// Whether `ComfyUI` fills the card with weights that it gives back under pressure (comfy-aimdo).
/// Then the device's peak tells how full the card was, not what a workflow needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DynamicVram {
    /// It is expected to.
    On,
    /// It does not.
    Off,
    /// The server does not tell.
    #[default]
    Unknown,
}

impl DynamicVram {
    /// The word in the log and in the metadata.
    pub fn name(self) -> &'static str {
        ["on", "off", "unknown"][self as usize]
    }

    /// The value of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [DynamicVram::On, DynamicVram::Off, DynamicVram::Unknown]
            .into_iter()
            .find(|value| value.name() == name)
    }
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

/// Why a moment of the grid has no reading. Its name in the log is one word.
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
    /// The computer slept: no gap, since nothing ran.
    Asleep,
}

impl MissReason {
    /// Every reason, in the order in which they are listed.
    pub const ALL: [MissReason; 8] = [
        MissReason::Timeout,
        MissReason::Refused,
        MissReason::Reset,
        MissReason::Status,
        MissReason::BadJson,
        MissReason::NoDevice,
        MissReason::Late,
        MissReason::Asleep,
    ];

    /// The word in the log.
    pub fn name(self) -> &'static str {
        ["timeout", "refused", "reset", "status", "badJson", "noDevice", "late", "asleep"]
            [self as usize]
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

/// What the sampler measured at one moment of its grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// When the request was sent; of a late one, when it was due.
    pub at: OffsetDateTime,
    /// The same moment by the monotonic clock: the order of events goes by this one.
    pub moment: Instant,
    /// The moment of the grid.
    pub due: Instant,
    /// When the answer was there.
    pub answered: Instant,
    /// The reading of the run's device.
    pub result: ReadingResult,
    /// Why the request gave none; `result` may then hold the fallback's.
    pub missed: Option<MissReason>,
    /// The readings of all devices, as in [`Answer`].
    pub devices: Vec<Option<Reading>>,
}

impl Measurement {
    /// Calls `read` now, and `fallback` for a reading of the same moment where that gives none.
    pub fn take(
        clock: Clock,
        due: Option<Instant>,
        read: impl FnOnce() -> Answer,
        fallback: impl FnOnce(Instant) -> Option<(Reading, Source)>,
    ) -> Self {
        let (at, moment) = (clock.now(), Instant::now());
        let answer = read();
        let answered = Instant::now();
        let due = due.unwrap_or(moment);
        Measurement { due, answered, ..Measurement::of(at, moment, answer, fallback) }
    }

    /// The measurement of an answer that came at once, or of its fallback.
    pub(super) fn of(
        at: OffsetDateTime,
        moment: Instant,
        Answer { result, devices }: Answer,
        fallback: impl FnOnce(Instant) -> Option<(Reading, Source)>,
    ) -> Self {
        let missed = result.err();
        let result = result.or_else(|miss| fallback(moment).ok_or(miss));
        let (due, answered) = (moment, moment);
        Measurement { at, moment, due, answered, result, missed, devices }
    }
}

/// The time between readings: 0.25 s, or the interval of the log's lines where that is shorter.
pub fn pace(interval: Duration) -> Duration {
    interval.min(Duration::from_millis(250))
}
