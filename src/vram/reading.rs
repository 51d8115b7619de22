//! One reading of the memory of one device: what both the sampler sends and the log holds.

use std::time::Instant;

use time::OffsetDateTime;

/// Bytes in the MB of every figure of this program: 2^20.
pub const MB: u64 = 1_048_576;

/// Whether the memory of devices of this type is the machine's own: `cpu` and `mps`.
pub fn is_system_ram(kind: &str) -> bool {
    matches!(kind, "cpu" | "mps")
}

/// 16 TiB: more in one figure is no memory but a mistake, and is neither written nor read.
pub const HIGHEST_MB: u64 = 1 << 24;

/// The memory figures of one moment, in MB. What is not known is absent, never 0.
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
    let (whole, rest) = (bytes / MB, bytes % MB);
    whole + u64::from(rest > MB / 2 || (rest == MB / 2 && whole % 2 == 1))
}

/// Why a tick has no reading. Its name in the log is one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MissReason {
    /// No answer within the sampler's timeout.
    Timeout,
    /// Nobody listens at the address.
    Refused,
    /// The connection broke before the answer was whole.
    Reset,
    /// An HTTP status other than 200.
    Status,
    /// An answer that is not the JSON it should be.
    BadJson,
    /// The answer lists no such device, or no memory figures for it; in an old log, what is free
    /// alone.
    NoDevice,
    /// The tick passed while an earlier request was still out.
    Late,
}

impl MissReason {
    /// Every reason, in the order in which they are told.
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
        match self {
            MissReason::Timeout => "timeout",
            MissReason::Refused => "refused",
            MissReason::Reset => "reset",
            MissReason::Status => "status",
            MissReason::BadJson => "badJson",
            MissReason::NoDevice => "noDevice",
            MissReason::Late => "late",
        }
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<MissReason> {
        MissReason::ALL.into_iter().find(|miss| miss.name() == name)
    }
}

/// One tick of the sampler: the moment it was asked, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// When the request was sent; of a late tick, when it was due.
    pub at: OffsetDateTime,
    /// The same moment by the clock that nobody sets: what comes before what goes by this one.
    pub moment: Instant,
    /// How long the answer took, if it took more than a twentieth of the interval.
    pub took_ms: Option<u64>,
    /// The reading, or why there is none.
    pub result: Result<(Reading, Source), MissReason>,
    /// Why whoever was asked gave none, where the reading is another one's too.
    pub missed: Option<MissReason>,
}
