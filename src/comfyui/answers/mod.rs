//! What `ComfyUI` answers, as small typed values. Facts of 0.3.64 and 0.33.0, where not said else.

mod history;
mod prompt;
mod queue;
mod system_stats;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::sanitize::{sanitize_line, shortened};
pub(super) use history::posted_with;
pub use history::{HistoryEntry, OutputFile, PromptOutcome};
pub use prompt::Submission;
pub(super) use prompt::not_in_list;
pub use queue::{Queue, QueuePosition, Queued};
pub use system_stats::{Device, SystemStats};

/// Whether a prompt's id can be shown and asked for: it has characters, and none that control.
fn is_plain(id: &str) -> bool {
    !id.is_empty() && sanitize_line(id) == id
}

/// What the server says, as a line has room for it. Of weights that do not fit a model `PyTorch`
/// lists every one, which can be megabytes; the history file has them all.
fn told(text: &str) -> String {
    const LONGEST: usize = 1000;
    shortened(&sanitize_line(text), LONGEST)
}

/// The name that an uploaded image has for a `LoadImage` node.
pub(super) fn uploaded(value: &Value) -> Option<String> {
    let name = value["name"].as_str()?;
    Some(match value["subfolder"].as_str() {
        None | Some("") => name.to_owned(),
        Some(folder) => format!("{folder}/{name}"),
    })
}
