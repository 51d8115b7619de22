//! Folders and files: the options that name one, and the bare words.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::UsageError;
use super::args::ParsedArgs;
use super::names::{Spelling, meant};
use super::parser::{Item, RawFlag};
use super::quote::{is_url, quoted, shown};
use super::row::{Id, Verb};
use crate::suggest::nearest;

/// Where the program works, and the workflows it was given.
pub(super) struct Places {
    pub(super) root: PathBuf,
    pub(super) root_given: bool,
    pub(super) workflows: Vec<PathBuf>,
}

/// The project's folder and the workflows of a run, from options and bare words in their order.
pub(super) fn of_run(line: &ParsedArgs) -> Result<Places, UsageError> {
    let mut root = None;
    let mut workflows = Vec::new();
    for item in &line.items {
        match item {
            Item::Option(given) if given.name.row.id == Id::Workflow => {
                workflows.push(existing(given, line)?);
            }
            Item::Word(word) => {
                let path = against(line, Path::new(word));
                if path.is_file() && has_json_name(&path) {
                    workflows.push(path);
                } else if path.is_dir() && root.is_none() && !word.is_empty() {
                    root = Some((word, path));
                } else {
                    return Err(not_a_place(word, &path, line));
                }
            }
            Item::Option(_) | Item::Command(_) | Item::ShortHelp => {}
        }
    }
    let given = given_root(line)?;
    if let (Some(given), Some((word, _))) = (line.given(Id::ProjectRoot), &root) {
        let label = given.label();
        let both = format!("{label} is given twice: as an option and as {}", quoted(word));
        return Err(UsageError(both));
    }
    let root = given.or(root.map(|(_, path)| path));
    Ok(Places {
        root_given: root.is_some(),
        root: root.unwrap_or_else(|| default_root(line)),
        workflows,
    })
}

/// The bare words of `summary`: logs and run folders, in order.
pub(super) fn of_summary(line: &ParsedArgs) -> Result<Vec<PathBuf>, UsageError> {
    let words = line.items.iter().filter_map(|item| match item {
        Item::Word(word) => Some(word),
        Item::Option(_) | Item::Command(_) | Item::ShortHelp => None,
    });
    words
        .map(|word| {
            let path = against(line, Path::new(word));
            let there = !word.is_empty() && path.exists();
            if there { Ok(path) } else { Err(not_a_place(word, &path, line)) }
        })
        .collect()
}

/// The project's folder where bare words are something else.
pub(super) fn root(line: &ParsedArgs) -> Result<PathBuf, UsageError> {
    Ok(given_root(line)?.unwrap_or_else(|| default_root(line)))
}

/// Where the run folders are.
pub(super) fn logs_dir(line: &ParsedArgs, root: &Path) -> Result<PathBuf, UsageError> {
    line.given(Id::LogsDir).map_or_else(|| Ok(root.join("logs")), |given| absolute(given, line))
}

/// The file or folder that the option names, which is there.
pub(super) fn existing(given: &RawFlag, line: &ParsedArgs) -> Result<PathBuf, UsageError> {
    let path = absolute(given, line)?;
    if path.exists() {
        return Ok(path);
    }
    let subject = format!("{} {}", given.label(), shown(&given.value));
    Err(UsageError(format!("{subject}: no such file or folder{}", near(&path))))
}

/// The path that the option names, whether or not there is something.
pub(super) fn absolute(given: &RawFlag, line: &ParsedArgs) -> Result<PathBuf, UsageError> {
    if given.value.is_empty() {
        let takes = given.name.row.kind.takes();
        return Err(UsageError(format!("{} takes {takes}, not ''", given.label())));
    }
    Ok(against(line, Path::new(&given.value)))
}

/// Where a page is written.
pub(super) fn html(line: &ParsedArgs) -> Result<Option<PathBuf>, UsageError> {
    line.given(Id::Html).map(|given| absolute(given, line)).transpose()
}

fn given_root(line: &ParsedArgs) -> Result<Option<PathBuf>, UsageError> {
    let Some(given) = line.given(Id::ProjectRoot) else { return Ok(None) };
    let path = existing(given, line)?;
    if path.is_dir() {
        return Ok(Some(path));
    }
    Err(UsageError(format!("{} {}: not a folder", given.label(), shown(&given.value))))
}

/// A copy of the program in a project's `scripts` stands for the script that was there.
fn default_root(line: &ParsedArgs) -> PathBuf {
    let env = line.env;
    let folder = env.program.as_deref().and_then(Path::parent);
    let scripts = folder.filter(|folder| folder.file_name() == Some(OsStr::new("scripts")));
    scripts.and_then(Path::parent).unwrap_or(&env.current_dir).to_path_buf()
}

/// Without `.` and doubled separators; `..` stays, since a link may stand before it.
fn against(line: &ParsedArgs, path: &Path) -> PathBuf {
    line.env.current_dir.join(path).components().collect()
}

fn has_json_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

/// What is wrong with a bare word.
fn not_a_place(word: &OsStr, path: &Path, line: &ParsedArgs) -> UsageError {
    let text = word.to_string_lossy();
    let shown = quoted(word);
    if word.is_empty() {
        return UsageError(format!("{shown}: no such file or folder"));
    }
    if path.is_dir() {
        return UsageError(format!(
            "{shown} is a second folder: a run has one project root, and a folder of workflows goes \
             after --workflow"
        ));
    }
    if path.exists() {
        return UsageError(format!("{shown} is neither a folder nor a .json file"));
    }
    if is_url(word) && line.verb == Verb::Run {
        return UsageError(format!("{shown}: a URL goes after --comfyui-url"));
    }
    let verbs = Verb::ALL.iter().filter_map(|verb| verb.word());
    let hint = match text.to_lowercase().as_str() {
        "run" => ": a run needs no verb".to_owned(),
        "true" | "false" | "$true" | "$false" => {
            ": a switch takes it after a colon, -Fresh:$false".to_owned()
        }
        word if verbs.clone().any(|verb| verb == word) => {
            format!(": the verb {word} is the first word, in small letters")
        }
        _ if !near(path).is_empty() => near(path),
        word if word.contains(['.', '/', '\\', ' ']) => String::new(),
        word => nearest(word, verbs)
            .map(|verb| format!("the verb {verb}"))
            .or_else(|| meant(word, line.verb, Spelling::Gnu))
            .map_or_else(String::new, |meant| format!(": did you mean {meant}?")),
    };
    UsageError(format!("{shown}: no such file or folder{hint}"))
}

/// The name in the same folder that was probably meant, as the end of a line.
fn near(path: &Path) -> String {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return String::new();
    };
    // A hint is not worth reading a folder of any size.
    let entries = folder.read_dir().into_iter().flatten().take(10_000).flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    nearest(&name.to_string_lossy(), names.iter().map(String::as_str))
        .map_or_else(String::new, |name| format!(" (nearest: {})", quoted(name)))
}
