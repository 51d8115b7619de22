//! The reports that other programs read, where they are asked for: each a text made of one run,
//! or of what a bare log knows.

use std::path::Path;

use super::junit::excerpt::Excerpts;
use super::past::Past;
use super::record::RunRecord;
use super::{junit, markdown, prometheus};
use crate::options::ReportOptions;
use crate::vram::gates::Verdict;
use crate::vram::statistics::Statistics;

/// What the reports are of.
pub struct Told<'a> {
    /// The run. Without it nothing is said that a bare log does not know.
    pub record: Option<&'a RunRecord>,
    /// The heading where there is no run to give a verdict on.
    pub title: &'a str,
    /// Why there is none, of a run that is still going or was killed.
    pub note: Option<&'a str>,
    /// The figures of the log.
    pub vram: &'a Statistics,
    /// What became of the gates.
    pub gates: &'a [Verdict],
    /// What the figures are told beside.
    pub baselines: &'a [Past],
    /// The file of the run's lines; it need not be there.
    pub summary: &'a Path,
}

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

/// The reports that are asked for.
///
/// # Errors
/// One line: there is nothing that the report could tell.
pub fn reports<'a>(options: &'a ReportOptions, told: &Told) -> Result<Vec<Report<'a>>, String> {
    let text = |option: &str, path: &Path| match option {
        "--junit" => junit::document(told, &Excerpts::read(told.summary))
            .ok_or_else(|| nothing(option, path)),
        "--markdown" => Ok(markdown::document(told)),
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
