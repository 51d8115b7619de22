//! The reports that other programs read: which of them are asked for, and where they go.

use std::path::{Path, PathBuf};

use super::line::Line;
use super::names::Spelling;
use super::row::Id;
use super::{UsageError, places};

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
    /// Each file, and before it the option that names it: `--junit`.
    #[must_use]
    pub fn files(&self) -> Vec<(String, &Path)> {
        let files = [
            (Id::JUnit, &self.junit),
            (Id::Markdown, &self.markdown),
            (Id::PromFile, &self.prom_file),
        ];
        let named = files.into_iter().filter_map(|(id, file)| Some((gnu(id), file.as_deref()?)));
        named.collect()
    }
}

fn gnu(id: Id) -> String {
    Spelling::Gnu.write(id.row().name)
}

pub(super) fn reports(line: &Line) -> Result<ReportOptions, UsageError> {
    let file = |id| line.given(id).map(|given| places::absolute(given, line)).transpose();
    let options = ReportOptions {
        junit: file(Id::JUnit)?,
        markdown: file(Id::Markdown)?,
        prom_file: file(Id::PromFile)?,
    };
    let page = places::html(line)?;
    let mut files = options.files();
    files.extend(page.iter().map(|page| (gnu(Id::Html), page.as_path())));
    for (place, (name, file)) in files.iter().enumerate() {
        if let Some((other, _)) = files[..place].iter().find(|(_, other)| other == file) {
            return Err(UsageError(format!("{other} and {name} name the same file")));
        }
    }
    Ok(options)
}
