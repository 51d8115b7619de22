//! Runs `ComfyUI` generations end to end and records the VRAM they use: blocking, unattended,
//! with an exit code that says what happened.
//!
//! One idea carries it. The main thread drives the generation with short blocking calls and
//! otherwise waits in one place, [`run`]'s wait: a timed receive on one channel, into which the
//! sampler's thread sends readings and the signal's thread an interrupt. What the program then
//! says about memory is a function of the log that those readings made.
//!
//! [`options`] → [`run`] → ([`comfyui`], [`vram`], [`project`], [`llm`]), and [`report`] reads the
//! plain record that the run fills. [`monitor`] samples beside a command, with the same wait.
//! What a terminal is shown beside the plain lines is in [`console`].
//! Nothing outside [`comfyui`] sees its JSON.

mod archive;
mod cli;
pub mod clock;
mod comfyui;
mod console;
mod exit_code;
mod fs;
mod http;
mod interrupt;
mod monitor;
pub mod process;
mod project;
#[cfg(any(test, fuzzing))]
#[path = "../fuzz/oracles/mod.rs"]
pub mod properties;
pub mod report;
mod run;
mod sanitize;
mod suggest;
mod summary;
pub mod vram;

use std::ffi::OsString;
use std::process::ExitCode;

use cli::{Command, Env};
use exit_code::Exit;

/// The whole program: arguments without the program's name in, the code that it ends with out.
pub fn start(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let env = Env {
        var: &|name| std::env::var_os(name),
        current_dir: std::env::current_dir().unwrap_or_default(),
        program: std::env::current_exe().ok(),
    };
    let exit = match cli::parse(arguments, &env) {
        Ok(Command::Print(text)) => console::print(&(text + "\n"), Exit::Success),
        Ok(Command::Run(options)) => run::run(&options),
        Ok(Command::Summary(options)) => summary::summary(&options),
        Ok(Command::Monitor(options)) => {
            return exit_code::into_exit_code(monitor::monitor(&options));
        }
        Err(error) => {
            console::print_error(&error.to_string());
            Exit::Usage
        }
    };
    exit.code().into()
}
