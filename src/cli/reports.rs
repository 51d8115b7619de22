//! The reports that other programs read: which of them are asked for, and where they go.

use std::path::{Path, PathBuf};

use super::args::ParsedArgs;
use super::names::Spelling;
use super::row::Id;
use super::{UsageError, paths};

/// A form in which other programs are told of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For a CI server.
    JUnit,
    /// For a pull request.
    Markdown,
    /// For `node_exporter`.
    Prometheus,
}

impl Format {
    /// The option that asks for it: `--junit`.
    pub fn option(self) -> String {
        gnu(match self {
            Format::JUnit => Id::JUnit,
            Format::Markdown => Id::Markdown,
            Format::Prometheus => Id::PromFile,
        })
    }
}

/// The reports that are asked for; none by default. Every path is absolute, and no two are the
/// same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportOptions {
    /// Where the `JUnit` document goes.
    pub junit: Option<PathBuf>,
    /// Where the Markdown goes.
    pub markdown: Option<PathBuf>,
    /// Where the metrics for `node_exporter` go.
    pub prom_file: Option<PathBuf>,
}

impl ReportOptions {
    /// Each file, and before it what goes there.
    pub fn files(&self) -> Vec<(Format, &Path)> {
        let files = [
            (Format::JUnit, &self.junit),
            (Format::Markdown, &self.markdown),
            (Format::Prometheus, &self.prom_file),
        ];
        files.into_iter().filter_map(|(format, file)| Some((format, file.as_deref()?))).collect()
    }
}

fn gnu(id: Id) -> String {
    Spelling::Gnu.write(id.row().name)
}

pub(super) fn reports(line: &ParsedArgs) -> Result<ReportOptions, UsageError> {
    let file = |id| line.given(id).map(|given| paths::absolute(given, line)).transpose();
    let options = ReportOptions {
        junit: file(Id::JUnit)?,
        markdown: file(Id::Markdown)?,
        prom_file: file(Id::PromFile)?,
    };
    let page = paths::html(line)?;
    let named = |(format, file): (Format, _)| (format.option(), file);
    let mut files: Vec<(String, &Path)> = options.files().into_iter().map(named).collect();
    files.extend(page.iter().map(|page| (gnu(Id::Html), page.as_path())));
    for (place, (name, file)) in files.iter().enumerate() {
        if let Some((other, _)) = files[..place].iter().find(|(_, other)| other == file) {
            return Err(UsageError(format!("{other} and {name} name the same file")));
        }
    }
    Ok(options)
}
