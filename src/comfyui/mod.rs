//! The server: its routes as calls, its answers as typed values, workflow graphs and their
//! patching. Nothing outside this module sees `ComfyUI`'s JSON.

mod answers;
mod client;
pub mod ids;
mod json;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
mod template;
mod validate;
mod workflow;

pub use crate::http::{ErrorKind, HttpError, Target};
pub use answers::{
    Device, HistoryEntry, OutputFile, PromptOutcome, QueuePosition, Submission, SystemStats,
};
pub use client::{Client, Ids};
pub use template::ScenePrompts;
pub use validate::Classes;
pub use workflow::Workflow;
