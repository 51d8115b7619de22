//! Folders and files: the options that name one, and the bare words.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::args::ParsedArgs;
use super::flags::{FlagId, Verb};
use super::names::{Style, meant};
use super::parser::{Arg, FlagValue};
use super::values::{is_url, quoted, shown};
use super::{Env, UsageError};
use crate::suggest::nearest;

/// The project's folder, if the user named it, and the workflows of a run, from options and bare
/// words in their order.
pub(super) fn of_run(args: &ParsedArgs) -> Result<(Option<PathBuf>, Vec<PathBuf>), UsageError> {
    let mut bare = None;
    let mut workflows = Vec::new();
    for arg in &args.args {
        match arg {
            Arg::Flag(given) if given.name.flag.id == FlagId::Workflow => {
                workflows.push(existing(given, args)?);
            }
            Arg::Word(word) => {
                let path = resolve(args, word);
                if path.is_file() && has_json_name(&path) {
                    workflows.push(path);
                } else if path.is_dir() && bare.is_none() && !word.is_empty() {
                    bare = Some((word, path));
                } else {
                    return Err(bad_word(word, &path, args));
                }
            }
            Arg::Flag(_) | Arg::Command(_) | Arg::ShortHelp => {}
        }
    }
    let root = given_root(args)?;
    if let (Some(given), Some((word, _))) = (args.given(FlagId::ProjectRoot), &bare) {
        let (label, word) = (&given.label, quoted(word));
        return Err(UsageError(format!("{label} is given twice: as an option and as {word}")));
    }
    Ok((root.or(bare.map(|(_, path)| path)), workflows))
}

/// The bare words of `summary`: logs and run folders, in order.
pub(super) fn of_summary(args: &ParsedArgs) -> Result<Vec<PathBuf>, UsageError> {
    let target = |word: &OsString| {
        let path = resolve(args, word);
        let exists = !word.is_empty() && path.exists();
        if exists { Ok(path) } else { Err(bad_word(word, &path, args)) }
    };
    args.words().map(target).collect()
}

/// Where the run folders are.
pub(super) fn logs_dir(args: &ParsedArgs, root: &Path) -> Result<PathBuf, UsageError> {
    Ok(optional(args, FlagId::LogsDir)?.unwrap_or_else(|| root.join("logs")))
}

/// The file or folder that the option names, which has to exist.
pub(super) fn existing(given: &FlagValue, args: &ParsedArgs) -> Result<PathBuf, UsageError> {
    let path = absolute(given, args)?;
    if path.exists() {
        return Ok(path);
    }
    let subject = format!("{} {}", given.label, shown(&given.value));
    Err(UsageError(format!("{subject}: no such file or folder{}", near(&path))))
}

/// The path that the option names, whether or not there is something.
pub(super) fn absolute(given: &FlagValue, args: &ParsedArgs) -> Result<PathBuf, UsageError> {
    if given.value.is_empty() { Err(given.refused()) } else { Ok(resolve(args, &given.value)) }
}

/// The same of an option that need not be given.
pub(super) fn optional(args: &ParsedArgs, id: FlagId) -> Result<Option<PathBuf>, UsageError> {
    args.optional(id, |given| absolute(given, args))
}

/// The project's folder, if an option names it.
pub(super) fn given_root(args: &ParsedArgs) -> Result<Option<PathBuf>, UsageError> {
    args.optional(FlagId::ProjectRoot, |given| {
        let path = existing(given, args)?;
        let subject = format!("{} {}", given.label, shown(&given.value));
        if path.is_dir() { Ok(path) } else { Err(UsageError(format!("{subject}: not a folder"))) }
    })
}

/// A copy of the program in a project's `scripts` stands for the script that was there.
pub(super) fn default_root(env: &Env) -> PathBuf {
    let folder = env.program.as_deref().and_then(Path::parent);
    let scripts = folder.filter(|folder| folder.file_name() == Some(OsStr::new("scripts")));
    scripts.and_then(Path::parent).unwrap_or(&env.current_dir).to_path_buf()
}

/// Without `.` and doubled separators; `..` stays, since a link may stand before it.
fn resolve(args: &ParsedArgs, path: &OsStr) -> PathBuf {
    args.env.current_dir.join(path).components().collect()
}

fn has_json_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

/// What is wrong with a bare word.
fn bad_word(word: &OsStr, path: &Path, args: &ParsedArgs) -> UsageError {
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
    let hint = match word.to_string_lossy().to_lowercase().as_str() {
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

/// The name in the same folder that was probably meant, as the end of an error line.
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
