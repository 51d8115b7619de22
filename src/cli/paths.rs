//! Folders and files: the options that name one, and the bare words.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::UsageError;
use super::args::ParsedArgs;
use super::flags::{FlagId, Verb};
use super::names::{Style, meant};
use super::parser::{Arg, RawFlag};
use super::values::{is_url, quoted, shown};
use crate::suggest::nearest;

/// Where the program works, and the workflows it was given.
pub(super) struct Places {
    pub(super) root: PathBuf,
    pub(super) root_given: bool,
    pub(super) workflows: Vec<PathBuf>,
}

/// The project's folder and the workflows of a run, from options and bare words in their order.
pub(super) fn of_run(args: &ParsedArgs) -> Result<Places, UsageError> {
    let mut root = None;
    let mut workflows = Vec::new();
    for item in &args.args {
        match item {
            Arg::Flag(given) if given.name.flag.id == FlagId::Workflow => {
                workflows.push(existing(given, args)?);
            }
            Arg::Word(word) => {
                let path = against(args, Path::new(word));
                if path.is_file() && has_json_name(&path) {
                    workflows.push(path);
                } else if path.is_dir() && root.is_none() && !word.is_empty() {
                    root = Some((word, path));
                } else {
                    return Err(not_a_place(word, &path, args));
                }
            }
            Arg::Flag(_) | Arg::Command(_) | Arg::ShortHelp => {}
        }
    }
    let given = given_root(args)?;
    if let (Some(given), Some((word, _))) = (args.given(FlagId::ProjectRoot), &root) {
        let label = given.label();
        let both = format!("{label} is given twice: as an option and as {}", quoted(word));
        return Err(UsageError(both));
    }
    let root = given.or(root.map(|(_, path)| path));
    Ok(Places {
        root_given: root.is_some(),
        root: root.unwrap_or_else(|| default_root(args)),
        workflows,
    })
}

/// The bare words of `summary`: logs and run folders, in order.
pub(super) fn of_summary(args: &ParsedArgs) -> Result<Vec<PathBuf>, UsageError> {
    let words = args.args.iter().filter_map(|item| match item {
        Arg::Word(word) => Some(word),
        Arg::Flag(_) | Arg::Command(_) | Arg::ShortHelp => None,
    });
    words
        .map(|word| {
            let path = against(args, Path::new(word));
            let there = !word.is_empty() && path.exists();
            if there { Ok(path) } else { Err(not_a_place(word, &path, args)) }
        })
        .collect()
}

/// The project's folder where bare words are something else.
pub(super) fn root(args: &ParsedArgs) -> Result<PathBuf, UsageError> {
    Ok(given_root(args)?.unwrap_or_else(|| default_root(args)))
}

/// Where the run folders are.
pub(super) fn logs_dir(args: &ParsedArgs, root: &Path) -> Result<PathBuf, UsageError> {
    args.given(FlagId::LogsDir).map_or_else(|| Ok(root.join("logs")), |given| absolute(given, args))
}

/// The file or folder that the option names, which is there.
pub(super) fn existing(given: &RawFlag, args: &ParsedArgs) -> Result<PathBuf, UsageError> {
    let path = absolute(given, args)?;
    if path.exists() {
        return Ok(path);
    }
    let subject = format!("{} {}", given.label(), shown(&given.value));
    Err(UsageError(format!("{subject}: no such file or folder{}", near(&path))))
}

/// The path that the option names, whether or not there is something.
pub(super) fn absolute(given: &RawFlag, args: &ParsedArgs) -> Result<PathBuf, UsageError> {
    if given.value.is_empty() {
        let takes = given.name.flag.kind.expected();
        return Err(UsageError(format!("{} takes {takes}, not ''", given.label())));
    }
    Ok(against(args, Path::new(&given.value)))
}

/// Where a page is written.
pub(super) fn html(args: &ParsedArgs) -> Result<Option<PathBuf>, UsageError> {
    args.given(FlagId::Html).map(|given| absolute(given, args)).transpose()
}

fn given_root(args: &ParsedArgs) -> Result<Option<PathBuf>, UsageError> {
    let Some(given) = args.given(FlagId::ProjectRoot) else { return Ok(None) };
    let path = existing(given, args)?;
    if path.is_dir() {
        return Ok(Some(path));
    }
    Err(UsageError(format!("{} {}: not a folder", given.label(), shown(&given.value))))
}

/// A copy of the program in a project's `scripts` stands for the script that was there.
fn default_root(args: &ParsedArgs) -> PathBuf {
    let env = args.env;
    let folder = env.program.as_deref().and_then(Path::parent);
    let scripts = folder.filter(|folder| folder.file_name() == Some(OsStr::new("scripts")));
    scripts.and_then(Path::parent).unwrap_or(&env.current_dir).to_path_buf()
}

/// Without `.` and doubled separators; `..` stays, since a link may stand before it.
fn against(args: &ParsedArgs, path: &Path) -> PathBuf {
    args.env.current_dir.join(path).components().collect()
}

fn has_json_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

/// What is wrong with a bare word.
fn not_a_place(word: &OsStr, path: &Path, args: &ParsedArgs) -> UsageError {
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
    if is_url(word) && args.verb == Verb::Run {
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
            .or_else(|| meant(word, args.verb, Style::Gnu))
            .map_or_else(String::new, |meant| format!(": did you mean {meant}?")),
    };
    UsageError(format!("{shown}: no such file or folder{hint}"))
}

/// The name in the same folder that was probably meant, as the end of a args.
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
