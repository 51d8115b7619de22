//! A command line taken apart: where the value of an option comes from, and which paths are named.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::flags::{FlagId, INERT, Kind, Verb};
use super::parser::{Style, suggestion};
use super::values::{FlagValue, quoted};
use super::{Env, UsageError};
use crate::fs::names_in;
use crate::sanitize::url_without_credentials;
use crate::suggest::nearest;

/// An option or a bare word on the command line.
#[derive(Debug)]
pub(super) enum Arg {
    Flag(FlagValue),
    Word(OsString),
}

/// A command line taken apart, and the environment it was given in.
pub(super) struct ParsedArgs<'a> {
    pub(super) verb: Verb,
    /// Options and bare words, in order.
    pub(super) args: Vec<Arg>,
    /// What follows the `--` of a verb that runs a command.
    pub(super) command: Option<Vec<OsString>>,
    /// Whether `-h`, `-?` or `/?` was given.
    pub(super) short_help: bool,
    pub(super) env: &'a Env<'a>,
}

impl ParsedArgs<'_> {
    /// # Errors
    /// An option that was given twice and may not be.
    pub(super) fn check_repetitions(&self) -> Result<(), UsageError> {
        for (i, given) in self.flags().enumerate() {
            let is_same = |other: &FlagValue| other.name == given.name;
            if given.flag.repeatable || !self.flags().take(i).any(is_same) {
                continue;
            }
            let (label, expected) = (&given.label, given.flag.kind.expected());
            return Err(UsageError(if given.flag.kind.is_switch() {
                format!("{label} is given twice")
            } else {
                format!("{label} is given twice: it takes one value, {expected}")
            }));
        }
        Ok(())
    }

    /// Told before what follows from a number that was forgotten, for which the next option was taken.
    ///
    /// # Errors
    /// A number that is none, or out of range.
    pub(super) fn check_numbers(&self) -> Result<(), UsageError> {
        let is_wrong = |given: &&FlagValue| {
            matches!(given.flag.kind, Kind::Number(..)) && given.number().is_none()
        };
        self.flags().find(is_wrong).map_or(Ok(()), |given| Err(given.invalid()))
    }

    fn flags(&self) -> impl Iterator<Item = &FlagValue> {
        self.args.iter().filter_map(|arg| match arg {
            Arg::Flag(given) => Some(given),
            Arg::Word(_) => None,
        })
    }

    pub(super) fn words(&self) -> impl Iterator<Item = &OsString> {
        self.args.iter().filter_map(|arg| match arg {
            Arg::Word(word) => Some(word),
            Arg::Flag(_) => None,
        })
    }

    /// Every time that the option was given.
    pub(super) fn all(&self, id: FlagId) -> impl Iterator<Item = &FlagValue> {
        self.flags().filter(move |given| given.flag.id == id)
    }

    /// The option as it was given; where it was given by both names, by the one that begins with
    /// `Scene`.
    pub(super) fn given(&self, id: FlagId) -> Option<&FlagValue> {
        self.all(id).max_by_key(|given| given.name.starts_with("Scene"))
    }

    /// Whether the switch is on.
    pub(super) fn is_on(&self, id: FlagId) -> bool {
        self.given(id).is_some_and(FlagValue::is_on)
    }

    /// Whether colours are unwanted: by the switch, else by any value of `NO_COLOR`.
    pub(super) fn no_color(&self) -> bool {
        let is_set = |name: &&str| (self.env.var)(name).is_some_and(|value| !value.is_empty());
        let by_variable = || FlagId::NoColor.flag().env.iter().any(is_set);
        self.given(FlagId::NoColor).map_or_else(by_variable, FlagValue::is_on)
    }

    /// The option's value: from the command line, `FastIteration`, the environment or the table.
    pub(super) fn value(&self, id: FlagId) -> FlagValue {
        let flag = id.flag();
        if let Some(given) = self.given(id) {
            return given.clone();
        }
        let fast = flag.fast.is_some() && self.is_on(FlagId::FastIteration);
        let mut variables = flag.env.iter().filter(|_| !fast);
        let (label, value) = variables
            .find_map(|name| Some((*name, self.variable(name)?)))
            .unwrap_or_else(|| (flag.name, flag.default_for(self.verb, fast).into()));
        FlagValue { flag, name: flag.name, label: label.to_owned(), value }
    }

    /// A variable of the environment; one without a visible character is unset.
    fn variable(&self, name: &str) -> Option<OsString> {
        (self.env.var)(name).filter(|value| !value.to_string_lossy().trim().is_empty())
    }

    /// What to tell the user before anything is done.
    pub(super) fn warnings(&self) -> Vec<String> {
        let inert = self.flags().filter(|given| given.flag.group == INERT);
        let labels: Vec<&str> = inert.map(|given| given.label.as_str()).collect();
        match labels.as_slice() {
            [] => Vec::new(),
            [label] => vec![format!("{label} is accepted, but does nothing")],
            labels => vec![format!("{} are accepted, but do nothing", labels.join(", "))],
        }
    }

    /// `path` from the current folder, without `.` and doubled separators; `..` stays, since a link
    /// may stand before it.
    fn absolute(&self, path: &OsStr) -> PathBuf {
        self.env.current_dir.join(path).components().collect()
    }

    /// The path that the option names, whether or not it exists.
    ///
    /// # Errors
    /// An empty one.
    pub(super) fn path(&self, given: &FlagValue) -> Result<PathBuf, UsageError> {
        if given.value.is_empty() {
            return Err(given.invalid());
        }
        Ok(self.absolute(&given.value))
    }

    pub(super) fn optional_path(&self, id: FlagId) -> Result<Option<PathBuf>, UsageError> {
        self.given(id).map(|given| self.path(given)).transpose()
    }

    /// Every path that the option names; all of them exist.
    pub(super) fn existing_paths(&self, id: FlagId) -> Result<Vec<PathBuf>, UsageError> {
        self.all(id).map(|given| self.existing_path(given)).collect()
    }

    fn existing_path(&self, given: &FlagValue) -> Result<PathBuf, UsageError> {
        let path = self.path(given)?;
        if path.exists() {
            return Ok(path);
        }
        let hint = nearest_file(&path);
        Err(UsageError(format!("{}: no such file or folder{hint}", given.as_written())))
    }

    /// The parent of `scripts` if the program lies in a folder of that name, as the script did,
    /// else the current folder.
    fn default_root(&self) -> PathBuf {
        let folder = self.env.program.as_deref().and_then(Path::parent);
        let scripts = folder.filter(|folder| folder.file_name() == Some(OsStr::new("scripts")));
        scripts.and_then(Path::parent).unwrap_or(&self.env.current_dir).to_path_buf()
    }

    /// Where the run folders are: `LogsDir`, else `logs` in the project's folder.
    pub(super) fn logs_dir(&self, root: &Path) -> Result<PathBuf, UsageError> {
        Ok(self.optional_path(FlagId::LogsDir)?.unwrap_or_else(|| root.join("logs")))
    }

    /// The workflows of a run, from options and bare words in their order, and the bare word that
    /// names the project's folder.
    pub(super) fn workflows_and_root(&self) -> Result<(Vec<PathBuf>, Option<&OsStr>), UsageError> {
        let (mut workflows, mut root) = (Vec::new(), None);
        for arg in &self.args {
            match arg {
                Arg::Flag(given) if given.flag.id == FlagId::Workflow => {
                    match matching_files(&self.path(given)?) {
                        files if files.is_empty() => workflows.push(self.existing_path(given)?),
                        files => workflows.extend(files),
                    }
                }
                Arg::Word(word) => {
                    let path = self.absolute(word);
                    let files = matching_files(&path);
                    let is_workflow = path.is_file() && is_workflow_name(&path)
                        || !word.is_empty() && is_workflow_folder(&path);
                    if !files.is_empty() {
                        workflows.extend(files);
                    } else if is_workflow {
                        workflows.push(path);
                    } else if path.is_dir() && root.is_none() && !word.is_empty() {
                        root = Some(word.as_os_str());
                    } else {
                        return Err(self.bare_word_error(word, &path));
                    }
                }
                Arg::Flag(_) => {}
            }
        }
        Ok((workflows, root))
    }

    /// The project's folder, and whether the user named it, by option or by the bare word `word`.
    pub(super) fn root(&self, word: Option<&OsStr>) -> Result<(PathBuf, bool), UsageError> {
        let Some(given) = self.given(FlagId::ProjectRoot) else {
            let named = word.map(|word| (self.absolute(word), true));
            return Ok(named.unwrap_or_else(|| (self.default_root(), false)));
        };
        let path = self.existing_path(given)?;
        if !path.is_dir() {
            return Err(UsageError(format!("{}: not a folder", given.as_written())));
        }
        if let Some(word) = word {
            let (label, word) = (&given.label, quoted(word));
            return Err(UsageError(format!("{label} is given twice: as an option and as {word}")));
        }
        Ok((path, true))
    }

    /// The bare words of `summary`: logs and run folders, in order.
    pub(super) fn summary_targets(&self) -> Result<Vec<PathBuf>, UsageError> {
        let target = |word: &OsString| {
            let path = self.absolute(word);
            let exists = !word.is_empty() && path.exists();
            if exists { Ok(path) } else { Err(self.bare_word_error(word, &path)) }
        };
        self.words().map(target).collect()
    }

    /// What is wrong with a bare word that names nothing usable.
    fn bare_word_error(&self, word: &OsStr, path: &Path) -> UsageError {
        let shown = quoted(word);
        UsageError(if word.is_empty() {
            format!("{shown}: no such file or folder")
        } else if path.is_dir() {
            format!(
                "{shown} is a second folder: a run has one project root, and a folder of workflows \
                 goes after --workflow"
            )
        } else if path.exists() {
            format!("{shown} is neither a folder nor a workflow, picture or video")
        } else if is_url(word) && self.verb == Verb::Run {
            format!("{shown}: a URL goes after --comfyui-url")
        } else {
            format!("{shown}: no such file or folder{}", self.bare_word_hint(word, path))
        })
    }

    /// What was probably meant by a bare word, as the end of an error message.
    fn bare_word_hint(&self, word: &OsStr, path: &Path) -> String {
        let word = word.to_string_lossy().to_lowercase();
        match word.as_str() {
            "run" => return ": a run needs no verb".to_owned(),
            "true" | "false" | "$true" | "$false" => {
                return ": a switch takes it after a colon, -Fresh:$false".to_owned();
            }
            verb if Verb::WORDS.contains(&verb) => {
                return format!(": the verb {verb} is the first word, in small letters");
            }
            _ => {}
        }
        let file = nearest_file(path);
        if !file.is_empty() || word.contains(['.', '/', '\\', ' ']) {
            return file;
        }
        let verb = nearest(&word, Verb::WORDS).map(|verb| format!("the verb {verb}"));
        verb.or_else(|| suggestion(&word, self.verb, Style::Gnu))
            .map_or_else(String::new, |meant| format!(": did you mean {meant}?"))
    }
}

/// The files of a folder whose names match a pattern with `*` and `?`, which Windows' shells hand on
/// as it is; none where a file is called so.
fn matching_files(pattern: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (pattern.parent(), pattern.file_name()) else {
        return Vec::new();
    };
    let name = name.to_string_lossy().to_lowercase();
    if !name.contains(['*', '?']) || pattern.exists() {
        return Vec::new();
    }
    let names = names_in(folder).unwrap_or_default().into_iter();
    let is_match = |found: &OsString| matches(&name, &found.to_string_lossy().to_lowercase());
    let files = names.filter(is_match).map(|found| folder.join(found));
    files.filter(|path| path.is_file()).collect()
}

/// Whether a name matches a pattern: `*` stands for any characters, `?` for one.
fn matches(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('*') => {
            let ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
            ends.into_iter().any(|at| matches(rest.as_str(), &name[at..]))
        }
        Some(wanted) => {
            let mut name = name.chars();
            name.next().is_some_and(|c| wanted == '?' || c == wanted)
                && matches(rest.as_str(), name.as_str())
        }
    }
}

/// Whether a file may hold a workflow, by the ending of its name.
pub fn is_workflow_name(path: &Path) -> bool {
    let endings = ["json", "png", "webp", "mp4", "mkv", "webm", "flac", "opus", "mp3"];
    path.extension().is_some_and(|it| endings.iter().any(|ending| it.eq_ignore_ascii_case(ending)))
}

/// Whether a folder holds a file that may be a workflow, and nothing that a project has.
fn is_workflow_folder(path: &Path) -> bool {
    let of_project = ["scripts", "workflows", "localGenSettings.json"];
    let names = names_in(path).unwrap_or_default();
    !names.iter().any(|name| of_project.iter().any(|known| name == known))
        && names.iter().map(|name| path.join(name)).any(|it| is_workflow_name(&it) && it.is_file())
}

/// Whether a word is a URL, or an address with credentials, rather than a path.
fn is_url(word: &OsStr) -> bool {
    let text = word.to_string_lossy();
    text.contains("://") || url_without_credentials(&text) != text
}

/// The name in the same folder that was probably meant, as the end of an error message.
fn nearest_file(path: &Path) -> String {
    // Of a folder that is not there, its own name.
    let path = path.ancestors().take_while(|part| !part.exists()).last().unwrap_or(path);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return String::new();
    };
    // Bounded, since a hint is not worth reading a huge folder.
    let entries = folder.read_dir().into_iter().flatten().take(10_000).flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    nearest(&name.to_string_lossy(), names.iter().map(String::as_str))
        .map_or_else(String::new, |name| format!(" (nearest: {})", quoted(name)))
}
