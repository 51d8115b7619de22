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
//! What a terminal is shown beside the plain lines is in [`terminal`].
//! Nothing outside [`comfyui`] sees its JSON.

pub mod archive;
pub mod clock;
pub mod comfyui;
pub mod exit;
pub mod files;
mod http;
pub mod llm;
pub mod monitor;
pub mod nearest;
pub mod options;
pub mod project;
#[cfg(any(test, fuzzing))]
pub mod properties;
pub mod report;
pub mod run;
pub mod summary;
pub mod terminal;
pub mod text;
pub mod vram;

use std::ffi::OsString;

use exit::{Code, Exit};
use options::{Command, World};

/// The whole program: arguments without the program's name in, the code that it ends with out.
pub fn start(arguments: impl IntoIterator<Item = OsString>) -> Code {
    let world = World {
        env: &|name| std::env::var_os(name),
        current_dir: std::env::current_dir().unwrap_or_default(),
        program: std::env::current_exe().ok(),
    };
    match options::parse(arguments, &world) {
        Ok(Command::Print(text)) => {
            if text::print(&(text + "\n")) { Exit::Success } else { Exit::Failed }.into()
        }
        Ok(Command::Run(options)) => run::run(&options).into(),
        Ok(Command::Summary(options)) => summary::summary(&options).into(),
        Ok(Command::Monitor(options)) => monitor::monitor(&options),
        Err(error) => {
            text::complain(&error.to_string());
            Exit::Usage.into()
        }
    }
}
