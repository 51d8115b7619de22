//! The reports that other programs read, where they are asked for: each a text made of one run,
//! or of what a bare log knows.

use std::path::Path;

use super::junit::excerpt::Excerpts;
use super::past::Past;
use super::told::Told;
use super::{junit, markdown, prometheus};
use crate::options::ReportOptions;

/// A report, ready to be written.
pub struct Report<'a> {
    /// The option that asks for it, `--junit`.
    pub option: String,
    /// Its file.
    pub path: &'a Path,
    /// What goes there.
    pub text: String,
}

/// Of a log without gates.
fn nothing(option: &str, path: &Path) -> String {
    let path = path.display();
    format!("{option} {path}: a log knows no outcome: name a run folder, or set a gate")
}

/// The reports that are asked for. `baselines` stand beside the figures; `summary` is the file of the
/// run's lines, which need not be there.
///
/// # Errors
/// One line: there is nothing that the report could tell.
pub fn reports<'a>(
    options: &'a ReportOptions,
    told: &Told,
    baselines: &[Past],
    summary: &Path,
) -> Result<Vec<Report<'a>>, String> {
    let text = |option: &str, path: &Path| match option {
        "--junit" => {
            junit::document(told, &Excerpts::read(summary)).ok_or_else(|| nothing(option, path))
        }
        "--markdown" => Ok(markdown::document(told, baselines)),
        _ => {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            Ok(prometheus::metrics(told, &name))
        }
    };
    let report = |(option, path): (String, &'a Path)| {
        Ok(Report { text: text(&option, path)?, option, path })
    };
    options.files().into_iter().map(report).collect()
}
