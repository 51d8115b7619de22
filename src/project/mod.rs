//! The script's side of a project: its story, its workflow, its own programs, and its language
//! models.

pub mod generator;
pub mod helpers;
pub mod llm;
pub mod lm_studio;
pub mod story;
pub mod workflow_source;

use std::path::Path;

use serde_json::Value;

/// The JSON in a file's text, which may begin with a byte order mark. The error names the file.
fn parse_json(file: &Path, text: &str) -> Result<Value, String> {
    serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(text))
        .map_err(|error| format!("{}: not JSON: {error}", file.display()))
}
