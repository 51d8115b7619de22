//! The ways in which a scene ends.

use crate::exit_code::Exit;

/// How the reason begins of a scene whose history could not be read as often as was allowed.
pub const HISTORY_UNREADABLE: &str = "history not readable";

/// How a scene ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It executed, and its files are home.
    Succeeded,
    /// Its files are home, and nothing was executed: there are no figures of its memory.
    Cached,
    /// Some of its outputs were refused; the others are home.
    Partial,
    /// The server refused the workflow.
    Rejected,
    /// A node raised.
    Failed,
    /// A node ran out of memory.
    OutOfMemory,
    /// It did not end in time.
    Deadline,
    /// The server knows nothing of it any more.
    Lost,
    /// Somebody interrupted it.
    Interrupted,
    /// It succeeded and made no file.
    NoOutput,
    /// It succeeded, and its files could not be brought home.
    DownloadFailed,
    /// The server went away.
    Unreachable,
    /// It was not started.
    Skipped,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 13] = [
        Outcome::Succeeded,
        Outcome::Cached,
        Outcome::Partial,
        Outcome::Rejected,
        Outcome::Failed,
        Outcome::OutOfMemory,
        Outcome::Deadline,
        Outcome::Lost,
        Outcome::Interrupted,
        Outcome::NoOutput,
        Outcome::DownloadFailed,
        Outcome::Unreachable,
        Outcome::Skipped,
    ];

    /// Its name in lines and in the metadata.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Cached => "cached",
            Outcome::Partial => "partial",
            Outcome::Rejected => "rejected",
            Outcome::Failed => "failed",
            Outcome::OutOfMemory => "outOfMemory",
            Outcome::Deadline => "deadline",
            Outcome::Lost => "lost",
            Outcome::Interrupted => "interrupted",
            Outcome::NoOutput => "noOutput",
            Outcome::DownloadFailed => "downloadFailed",
            Outcome::Unreachable => "unreachable",
            Outcome::Skipped => "skipped",
        }
    }

    /// The outcome of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Outcome::ALL.into_iter().find(|outcome| outcome.name() == name)
    }

    /// Whether the scene did what it was asked for.
    pub fn is_success(self) -> bool {
        matches!(self, Outcome::Succeeded | Outcome::Cached)
    }

    /// Whether nodes may have run in it.
    pub(super) fn may_have_executed(self) -> bool {
        use Outcome::{Cached, Rejected, Skipped, Unreachable};
        !matches!(self, Cached | Rejected | Skipped | Unreachable)
    }

    /// The code that it asks for.
    pub(super) fn exit(self) -> Exit {
        match self {
            Outcome::Succeeded | Outcome::Cached => Exit::Success,
            Outcome::OutOfMemory => Exit::OutOfMemory,
            Outcome::Deadline => Exit::Deadline,
            Outcome::Lost => Exit::Lost,
            Outcome::Unreachable => Exit::Unreachable,
            _ => Exit::Failed,
        }
    }
}
