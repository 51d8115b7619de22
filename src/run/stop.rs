//! What ends a run before its last scene.

use crate::exit_code::Exit;
use crate::interrupt::Interrupted;

/// Why the run goes no further.
pub(super) enum Stop {
    /// Somebody asked for its end.
    Interrupted,
    /// It cannot be carried out: the code for that, one line, and what becomes of its scenes.
    Failed {
        /// The code.
        exit: Exit,
        /// What was tried, what came back, what to do.
        why: String,
        /// Why its scenes are skipped.
        skipped: &'static str,
    },
}

impl From<Interrupted> for Stop {
    fn from(_: Interrupted) -> Self {
        Stop::Interrupted
    }
}
