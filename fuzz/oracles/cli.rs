//! Command lines of any words.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::flags::Verb;
use super::parser::{self, Style};
use super::{Command, Env, GateOptions, RunOptions, SamplingOptions, ServerOptions, UsageError};
use crate::properties::{are_lines, is_line};
use crate::sanitize::sanitize_line;

/// What the words that a line is made of may not tell: see [`arguments`].
const SECRET: &str = "hunter2";

/// One word a line; `$NAME=value` is a variable. Whatever they are, they are answered: by options
/// in their ranges, by text, or by one line without the credentials of a URL in them (a `^` stands
/// for `://user:hunter2@`). An option with its value means the same in every spelling.
///
/// # Panics
/// Otherwise.
pub fn arguments(data: &[u8]) {
    if data.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()) {
        // Where it is no secret, it may be told.
        return;
    }
    let (words, variables) = words(data);
    let env = |name: &str| {
        let value = variables.iter().find(|(known, _)| known == name);
        value.map(|(_, value)| value.clone())
    };
    match parse(&words, &env) {
        Ok(Command::Print(text)) => are_lines(text.lines()),
        Ok(Command::Run(options)) => run(&options),
        Ok(Command::Summary(options)) => gates(&options.gates),
        Ok(Command::Monitor(options)) => {
            assert!(options.command.is_none_or(|command| !command.is_empty()));
            assert!(options.log.is_none() || options.log != options.html);
            gates(&options.gates);
            sampling(&options.sampling);
            server(&options.server);
        }
        Err(error) => refusal(&error),
    }
    let pairs = words.iter().zip(words.iter().skip(1));
    pairs.take(4).for_each(|(name, value)| both_spellings(name, value, &env));
}

type Variables = Vec<(String, OsString)>;

fn words(data: &[u8]) -> (Vec<OsString>, Variables) {
    let (mut words, mut variables) = (Vec::new(), Vec::new());
    for line in data.split(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line).replace('^', &format!("://user:{SECRET}@"));
        match text.strip_prefix('$').and_then(|text| text.split_once('=')) {
            Some((name, value)) => variables.push((name.to_owned(), value.into())),
            // Where a word can be no Unicode, it is.
            #[cfg(unix)]
            None if str::from_utf8(line).is_err() => {
                use std::os::unix::ffi::OsStringExt;
                words.push(OsString::from_vec(line.to_vec()));
            }
            None => words.push(text.into()),
        }
    }
    (words, variables)
}

fn parse(
    words: &[OsString],
    env: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Command, UsageError> {
    // A folder of which only names are read. Built for Windows elsewhere, its path has no drive.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/stand_in");
    let current_dir = std::path::absolute(folder).unwrap();
    super::parse(words.to_vec(), &Env { var: env, current_dir, program: None })
}

fn refusal(error: &UsageError) {
    let text = error.to_string();
    assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
    assert!(!text.contains(SECRET), "{text:?} tells a secret");
    is_line(&sanitize_line(&text));
}

fn run(options: &RunOptions) {
    let RunOptions { scenes, repeat, scene_retry_budget, .. } = options;
    assert!((1..=1000).contains(scenes) && (1..=1000).contains(repeat));
    assert!(*scene_retry_budget <= 100);
    let second = Duration::from_secs(1);
    assert!((second..=second * 604_800).contains(&options.max_wait));
    assert!((second / 20..=second * 3600).contains(&options.poll_interval));
    assert!(options.post_execution_timeout >= second);
    assert!(options.project_root.is_absolute() && options.logs_dir.is_absolute());
    assert!(options.workflows.iter().chain(&options.story).all(|path| path.exists()));
    assert!(options.scene_filter.iter().all(|id| !id.is_empty()));
    assert!(options.set.iter().all(|set| !set.node.is_empty() && !set.input.is_empty()));
    for warning in &options.warnings {
        assert!(!warning.contains(SECRET), "{warning:?} tells a secret");
        is_line(&sanitize_line(warning));
    }
    gates(&options.gates);
    sampling(&options.sampling);
    server(&options.server);
}

fn gates(gates: &GateOptions) {
    assert!(gates.baselines.iter().all(|path| path.is_absolute()));
}

fn sampling(sampling: &SamplingOptions) {
    let second = Duration::from_secs(1);
    assert!((second / 20..=second * 3600).contains(&sampling.interval));
}

/// Nothing of it can end a header or a line of the request, and it reads as itself.
fn server(server: &ServerOptions) {
    let url = &server.url;
    let headers = server.headers.iter().flat_map(|(name, value)| [name.as_str(), value]);
    let sent = headers.chain(url.authorization()).chain([url.base(), url.host()]);
    for text in sent {
        let plain = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        assert!(plain && !text.is_empty(), "{text:?}");
    }
    assert!(!format!("{server:?} {url}").contains(SECRET));
    let again = crate::http::ServerUrl::parse(url.base()).unwrap();
    assert_eq!((again.base(), again.host(), again.port()), (url.base(), url.host(), url.port()));
}

/// `--name value`, `--name=value`, `-Name value`, `-Name:value` and `-Name:` `value`.
fn both_spellings(name: &OsString, value: &OsString, env: &dyn Fn(&str) -> Option<OsString>) {
    let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { return };
    let name = match name.strip_prefix("--") {
        Some(name) => parser::find_gnu(name.split('=').next().unwrap_or_default(), Verb::Run),
        None => {
            parser::find_powershell(name.trim_start_matches('-').trim_end_matches(':'), Verb::Run)
        }
    };
    let Ok(name) = name else { return };
    // Behind a colon an empty value is none yet.
    if name.flag.kind.is_switch() || value.is_empty() {
        return;
    }
    let (gnu, shell) = (Style::Gnu.write(name.text), Style::PowerShell.write(name.text));
    let ways: [&[String]; 5] = [
        &[gnu.clone(), value.to_owned()],
        &[format!("{gnu}={value}")],
        &[shell.clone(), value.to_owned()],
        &[format!("{shell}:{value}")],
        &[format!("{shell}:"), value.to_owned()],
    ];
    let results = ways.map(|words| {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        match parse(&words, env).inspect_err(refusal).ok()? {
            // They name the option as it was written.
            Command::Run(options) => Some(RunOptions { warnings: Vec::new(), ..*options }),
            other => panic!("{other:?}"),
        }
    });
    assert!(results.iter().all(|result| *result == results[0]), "{gnu} {value:?}: {results:?}");
}
