//! The `ComfyUI` server: its routes as calls, its answers as typed values, workflow graphs and
//! their patching. Nothing outside this module reads `ComfyUI`'s JSON: the one
//! answer that the metadata hold is handed on unread, without secrets.
//!
//! Facts about answers are those of 0.3.64 and 0.33.0 where nothing else is said.

mod broken_contexts;
mod client;
pub mod editor_format;
mod history;
mod json;
mod listener;
mod memory_errors;
pub mod output_file;
mod prompt;
#[cfg(any(test, fuzzing))]
#[path = "../../fuzz/oracles/comfyui.rs"]
pub(crate) mod properties;
mod queue;
pub mod server_process;
mod system_stats;
mod template;
mod validate;
mod workflow;

pub(crate) use crate::http::OnWait;
pub use crate::http::{ErrorKind, HttpError, Target};
pub use broken_contexts::BrokenContext;
pub use client::Client;
pub use history::{HistoryEntry, OutputFile, PromptOutcome};
pub use listener::{Listener, Progress, Told};
pub use prompt::{Ids, Submission, random_seed};
pub use queue::{Queue, QueuePosition};
pub use system_stats::{Device, SystemStats};
pub use template::{KEYFRAME_PLACEHOLDER, ScenePrompts};
pub use validate::ObjectInfo;
pub use workflow::{SetError, Workflow};
