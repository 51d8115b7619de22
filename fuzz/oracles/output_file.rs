//! Pictures, videos and sounds that may hold a workflow.

use std::io::Cursor;

use super::is_line;
use crate::comfyui::output_file::embedded;

/// Whatever the bytes are, reading them ends, and gives texts that were in them, or a harmless line.
///
/// # Panics
/// Otherwise.
pub fn output_file(data: &[u8]) {
    match embedded(&mut Cursor::new(data)) {
        Ok(None) => {}
        Ok(Some(found)) => {
            assert!(found.prompt.is_some() || found.workflow.is_some());
            for text in [&found.prompt, &found.workflow].into_iter().flatten() {
                // A byte that is no UTF-8 takes three.
                assert!(text.len() <= 3 * data.len());
            }
            assert!(!found.into_text().is_empty());
        }
        Err(line) => {
            is_line(&line);
            assert!(line.chars().count() < 200, "{line}");
        }
    }
}
