//! What is sampled, how often and by whom: of a run and of `monitor`.

use std::time::Duration;

use super::args::ParsedArgs;
use super::row::Id;
use super::server::ServerOptions;
use super::{CardId, UsageError, values};

/// Who gives the readings of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VramSource {
    /// `ComfyUI`; nvidia-smi where that misses one, if the server is on this machine.
    #[default]
    Auto,
    /// `ComfyUI` alone.
    ComfyUi,
    /// nvidia-smi alone; the server is on this machine.
    NvidiaSmi,
}

/// How memory is sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplingOptions {
    /// The time between two samples: 0.05 to 3600 s. Default 5; in `monitor` and with a gate 1.
    pub interval: Duration,
    /// The position among the server's devices of the one that is told of. Default 0.
    pub gpu: usize,
    /// Who gives the readings.
    pub source: VramSource,
    /// Which card of nvidia-smi that device is, if the user named it.
    pub card: Option<CardId>,
}

pub(super) fn sampling(
    line: &ParsedArgs,
    server: &ServerOptions,
) -> Result<SamplingOptions, UsageError> {
    Ok(SamplingOptions {
        interval: line.decimal_seconds(Id::SampleIntervalSeconds)?,
        gpu: usize::try_from(line.whole(Id::Gpu)?).unwrap_or(usize::MAX),
        source: source(line, server)?,
        card: line.given(Id::NvidiaSmiGpu).map(|given| values::card(&given.into())).transpose()?,
    })
}

/// nvidia-smi tells of this machine's cards and of no other's.
fn source(line: &ParsedArgs, server: &ServerOptions) -> Result<VramSource, UsageError> {
    let setting = line.setting(Id::VramSource);
    let source = values::vram_source(&setting)?;
    if source == VramSource::NvidiaSmi && !server.url.is_loopback() {
        return Err(UsageError(format!(
            "{} nvidia-smi is a card of this machine, and {} is another one: leave it out",
            setting.label, server.url
        )));
    }
    Ok(source)
}
