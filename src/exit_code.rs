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
    /// `ComfyUI` could not be reached.
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

impl Exit {
    /// Every way to end, by its code.
    pub const ALL: [Exit; 10] = [
        Exit::Success,
        Exit::Failed,
        Exit::Usage,
        Exit::Unreachable,
        Exit::Deadline,
        Exit::OutOfMemory,
        Exit::Lost,
        Exit::Gate,
        Exit::Locked,
        Exit::Interrupted,
    ];

    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::Deadline => 4,
            Exit::OutOfMemory => 5,
            Exit::Lost => 6,
            Exit::Gate => 7,
            Exit::Locked => 8,
            Exit::Interrupted => 130,
        }
    }

    /// The sentence of `--help` and the README.
    pub fn sentence(self) -> &'static str {
        match self {
            Exit::Success => "every scene succeeded and every gate held",
            Exit::Failed => {
                "scenes failed, for different reasons or for one without a code of its own"
            }
            Exit::Usage => "usage or configuration; nothing was run, no run folder made",
            Exit::Unreachable => "ComfyUI unreachable",
            Exit::Deadline => "deadline",
            Exit::OutOfMemory => "out of memory",
            Exit::Lost => "prompt lost: the server restarted, or somebody removed it",
            Exit::Gate => "scenes succeeded, a gate failed or could not be judged",
            Exit::Locked => "another run holds the lock; no run folder made",
            Exit::Interrupted => "interrupted: Ctrl-C, Ctrl-Break, SIGTERM, SIGHUP",
        }
    }

    /// The word behind it in a verdict and in the metadata.
    pub fn reason(self) -> &'static str {
        match self {
            Exit::Success => "success",
            Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::Unreachable => "unreachable",
            Exit::Deadline => "deadline",
            Exit::OutOfMemory => "out of memory",
            Exit::Lost => "lost",
            Exit::Gate => "gate",
            Exit::Locked => "locked",
            Exit::Interrupted => "interrupted",
        }
    }
}

/// The number that the process ends with: ours, or that of `monitor`'s command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(i32);

impl Code {
    /// The code of a command as the system told it.
    pub fn of_command(code: i32) -> Self {
        Code(code)
    }

    /// What `main` returns. The codes of Windows have 32 bits and [`ExitCode`] has 8: a larger one
    /// ends the process here, so this is the last thing that is called.
    pub fn leave(self) -> ExitCode {
        u8::try_from(self.0).map_or_else(|_| std::process::exit(self.0), ExitCode::from)
    }
}

impl From<Exit> for Code {
    fn from(exit: Exit) -> Self {
        Code(exit.code().into())
    }
}
