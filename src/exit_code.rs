//! The exit codes: what a scheduler reads in the morning.

use std::process::ExitCode;

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Every scene succeeded, and every gate held.
    Success,
    /// Scenes failed for different reasons or for one without a code of its own, or the run could
    /// not be carried out.
    Failed,
    /// Usage or configuration: nothing was run and no run folder made.
    Usage,
    /// `ComfyUI` could not be reached, or did not start.
    Unreachable,
    /// Scenes did not end in time.
    Deadline,
    /// Scenes ran out of memory.
    OutOfMemory,
    /// Prompts were lost: the server restarted, or somebody removed them.
    Lost,
    /// Scenes succeeded; a gate failed or could not be judged.
    Gate,
    /// Another run is at work on the server.
    Locked,
    /// Ctrl-C, Ctrl-Break, SIGTERM or SIGHUP.
    Interrupted,
}

/// Each [`Exit`] in its order, with its code, its word in a verdict and in the metadata, and its
/// sentence in `--help` and the README.
const TABLE: [(Exit, u8, &str, &str); 10] = [
    (Exit::Success, 0, "success", "every scene succeeded and every gate held"),
    (
        Exit::Failed,
        1,
        "failed",
        "scenes failed, for different reasons or for one without a code of its own",
    ),
    (Exit::Usage, 2, "usage", "usage or configuration; nothing was run, no run folder made"),
    (Exit::Unreachable, 3, "unreachable", "ComfyUI unreachable, or not to be started"),
    (Exit::Deadline, 4, "deadline", "deadline"),
    (Exit::OutOfMemory, 5, "out of memory", "out of memory"),
    (Exit::Lost, 6, "lost", "prompt lost: the server restarted, or somebody removed it"),
    (Exit::Gate, 7, "gate", "scenes succeeded, a gate failed or could not be judged"),
    (Exit::Locked, 8, "locked", "another run holds the lock; no run folder made"),
    (Exit::Interrupted, 130, "interrupted", "interrupted: Ctrl-C, Ctrl-Break, SIGTERM, SIGHUP"),
];

impl Exit {
    /// Every way to end, by its code.
    pub fn all() -> [Exit; 10] {
        TABLE.map(|(exit, ..)| exit)
    }

    /// The number that the process ends with.
    pub fn code(self) -> u8 {
        TABLE[self as usize].1
    }

    /// The word behind the code in a verdict and in the metadata.
    pub fn reason(self) -> &'static str {
        TABLE[self as usize].2
    }

    /// The sentence of `--help` and the README.
    pub fn sentence(self) -> &'static str {
        TABLE[self as usize].3
    }
}

/// What `main` returns for a code: ours, or that of `monitor`'s command. Windows' codes have 32 bits
/// and [`ExitCode`] has 8: a larger one ends the process here.
pub fn into_exit_code(code: i32) -> ExitCode {
    u8::try_from(code).map_or_else(|_| std::process::exit(code), ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_exits() {
        for (place, (exit, ..)) in TABLE.iter().enumerate() {
            assert_eq!(*exit as usize, place);
        }
    }
}
