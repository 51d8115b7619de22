//! The reports that other programs read, each a text made of one run or of a log alone.

pub mod junit;
pub mod markdown;
pub mod prometheus;

use std::path::{Path, PathBuf};

use super::ReportInput;
use super::saved_run::SavedRun;
use crate::cli::Format;
use junit::Excerpts;

/// A report, ready to be written.
pub struct Report<'a> {
    /// The option that asks for it, `--junit`.
    pub option: &'static str,
    /// The file to write.
    pub path: &'a Path,
    /// The content of the file.
    pub text: String,
}

/// The reports that are asked for. `baselines` stand beside the figures; `summary` is the file of
/// the run's lines, which need not be there.
///
/// # Errors
/// One line: there is nothing that the report could tell.
pub fn reports<'a>(
    files: &'a [(Format, PathBuf)],
    input: &ReportInput,
    baselines: &[SavedRun],
    summary: &Path,
) -> Result<Vec<Report<'a>>, String> {
    let report = |(format, path): &'a (Format, PathBuf)| {
        let option = format.option();
        let text = match format {
            Format::JUnit => junit::document(input, &Excerpts::read(summary)).ok_or_else(|| {
                let path = path.display();
                format!("{option} {path}: a log knows no outcome: name a run folder, or set a gate")
            })?,
            Format::Markdown => markdown::document(input, baselines),
            Format::Prometheus => {
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                prometheus::metrics(input, &name)
            }
        };
        Ok(Report { option, path, text })
    };
    files.iter().map(report).collect()
}
