//! The gates: what has to hold of the memory.

use std::path::PathBuf;

use super::args::ParsedArgs;
use super::row::Id;
use super::{UsageError, paths};
use crate::vram::gates::Limits;

/// The gates that the user sets; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateOptions {
    /// Those that are a number.
    pub limits: Limits,
    /// Logs or run folders to be no worse than, in the order in which they were given. All were
    /// there; absolute.
    pub baselines: Vec<PathBuf>,
}

impl GateOptions {
    /// Whether any gate is set.
    pub fn any(&self) -> bool {
        *self != GateOptions::default()
    }
}

pub(super) fn gates(line: &ParsedArgs) -> Result<GateOptions, UsageError> {
    Ok(GateOptions {
        limits: Limits {
            peak_mb: line.whole_if_given(Id::MaxPeakMB)?,
            growth_mb: line.whole_if_given(Id::MaxGrowthMB)?,
        },
        baselines: line
            .all(Id::Baseline)
            .map(|given| paths::existing(given, line))
            .collect::<Result<_, _>>()?,
    })
}
