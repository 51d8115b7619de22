//! A run as `JUnit` XML, for a CI server: a test case for each scene and each gate. It is red
//! there exactly if the exit code is not 0.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::clock::iso;
use crate::exit_code::Exit;
use crate::fs::open_file;
use crate::report::ReportInput;
use crate::report::escape::Escaped;
use crate::report::record::{Outcome, RunRecord, SceneRecord};
use crate::report::text::{attempts, failure};
use crate::sanitize::{counted, sanitize_line};
use crate::vram::gates::{State, Verdict};

/// So many lines of a scene are kept, the last ones.
const MOST_LINES: usize = 200;
/// A kept line is cut behind so many characters.
const MOST_CHARS: usize = 1000;
/// Lines of the summary are read in pieces of at most so many bytes.
const MOST_BYTES: u64 = 1 << 16;

/// The element of a test case that did not pass.
const FAILURE: &str = "failure";
/// The element of a test case that could not be carried out.
const ERROR: &str = "error";
const SKIPPED: &str = "skipped";

struct TestCase {
    class: &'static str,
    name: String,
    seconds: f64,
    problem: Option<Problem>,
    /// The lines of its `system-out`.
    lines: Vec<String>,
}

/// Why a test case did not pass.
struct Problem {
    element: &'static str,
    /// One word.
    kind: &'static str,
    message: String,
    /// More lines, for readers that do not show the message.
    lines: Vec<String>,
}

/// The document; `None` for a log without gates, where there is nothing to pass or fail.
pub fn document(input: &ReportInput, excerpts: &Excerpts) -> Option<String> {
    let cases = cases(input, excerpts);
    if cases.is_empty() && input.record.is_none() {
        return None;
    }
    let count = |element| cases.iter().filter(|case| case.has(element)).count();
    let (tests, failures, errors) = (cases.len(), count(FAILURE), count(ERROR));
    let mut suites = format!(
        r#"name="run-comfyui-e2e" tests="{tests}" failures="{failures}" errors="{errors}""#
    );
    let mut suite = format!(r#" skipped="{}""#, count(SKIPPED));
    if let Some(run) = input.record {
        let started = run.started.replace_nanosecond(0).unwrap_or(run.started);
        suites += &format!(r#" time="{:.3}""#, (run.ended - run.started).as_seconds_f64());
        suite += &format!(r#" timestamp="{}""#, iso(started));
    }
    let properties = input.record.map(properties).unwrap_or_default();
    let cases: String = cases.iter().map(TestCase::xml).collect();
    Some(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {suites}>\n\
         <testsuite {suites}{suite}>\n{properties}{cases}</testsuite>\n</testsuites>\n"
    ))
}

fn cases(input: &ReportInput, excerpts: &Excerpts) -> Vec<TestCase> {
    let mut cases: Vec<TestCase> = Vec::new();
    if let Some(run) = input.record {
        cases.extend(run.scenes.iter().map(|scene| scene_case(scene, run, excerpts)));
    }
    cases.extend(input.gates.iter().map(gate_case));
    let red = cases.iter().any(|case| case.has(FAILURE) || case.has(ERROR));
    let problem = match input.record {
        Some(run) => run_problem(run, red),
        None => input.note.map(|note| ("unfinished", note.to_owned())),
    };
    if let Some((kind, message)) = problem {
        let problem = Problem { element: ERROR, kind, message, lines: Vec::new() };
        let class = "run-comfyui-e2e.run";
        cases.insert(0, TestCase::new(class, "run".to_owned(), Some(problem)));
    }
    cases
}

/// Why the run as a whole could not be carried out, where no scene and no gate says so.
fn run_problem(run: &RunRecord, red: bool) -> Option<(&'static str, String)> {
    let exit = run.exit();
    let message = match &run.failure {
        Some((_, why)) => why.clone(),
        None if run.interrupted => exit.sentence().to_owned(),
        None if exit != Exit::Success && !red => format!("exit {}", exit.code()),
        None => return None,
    };
    Some((exit.reason(), message))
}

fn scene_case(scene: &SceneRecord, run: &RunRecord, excerpts: &Excerpts) -> TestCase {
    let element = match scene.outcome {
        Outcome::Succeeded | Outcome::Cached => None,
        Outcome::Skipped => Some(SKIPPED),
        // Not the workflow's doing.
        Outcome::Unreachable | Outcome::Lost | Outcome::Interrupted | Outcome::DownloadFailed => {
            Some(ERROR)
        }
        _ => Some(FAILURE),
    };
    let problem = element.map(|element| {
        let mut lines = vec![failure(scene, run)];
        lines.extend((scene.attempts.len() > 1).then(|| attempts(&scene.attempts)));
        Problem { element, kind: scene.outcome.name(), message: scene.why.clone(), lines }
    });
    let case = TestCase::new("run-comfyui-e2e.scenes", scene.id.clone(), problem);
    TestCase { seconds: scene.seconds, lines: excerpts.of(&scene.id), ..case }
}

fn gate_case(gate: &Verdict) -> TestCase {
    let line = gate.to_string();
    let problem = match gate.state {
        State::Held => None,
        State::Failed => Some((FAILURE, "gate")),
        State::NotJudged(_) => Some((ERROR, "notJudged")),
    };
    let (message, lines) = (line.clone(), vec![line]);
    let system_out = if gate.held() { lines.clone() } else { Vec::new() };
    let problem = problem.map(|(element, kind)| Problem { element, kind, message, lines });
    // Without its limit it is the same case from run to run.
    let scene = gate.scene.as_ref().map(|scene| format!(" {scene}")).unwrap_or_default();
    let name = format!("{}{scene}", gate.gate.name());
    TestCase { lines: system_out, ..TestCase::new("run-comfyui-e2e.gates", name, problem) }
}

impl TestCase {
    fn new(class: &'static str, name: String, problem: Option<Problem>) -> Self {
        TestCase { class, name, seconds: 0.0, problem, lines: Vec::new() }
    }

    fn has(&self, element: &str) -> bool {
        self.problem.as_ref().is_some_and(|problem| problem.element == element)
    }

    fn xml(&self) -> String {
        let TestCase { class, name, seconds, problem, lines } = self;
        let name = Escaped(name);
        let mut xml =
            format!("<testcase classname=\"{class}\" name=\"{name}\" time=\"{seconds:.3}\">\n");
        if let Some(Problem { element, kind, message, lines }) = problem {
            let (message, lines) = (Escaped(message), escaped_lines(lines));
            xml +=
                &format!("<{element} type=\"{kind}\" message=\"{message}\">{lines}</{element}>\n");
        }
        if !lines.is_empty() {
            xml += &format!("<system-out>{}</system-out>\n", escaped_lines(lines));
        }
        xml + "</testcase>\n"
    }
}

fn escaped_lines(lines: &[String]) -> String {
    lines.iter().map(|line| Escaped(line).to_string()).collect::<Vec<_>>().join("\n")
}

/// What the run was made with.
fn properties(run: &RunRecord) -> String {
    let (server, exit) = (&run.server, run.exit().code().to_string());
    let all = [
        ("run", Some(&run.id)),
        ("folder", Some(&run.folder)),
        ("exit", Some(&exit)),
        ("server", Some(&server.url)),
        ("ComfyUI", server.comfyui.as_ref()),
        ("PyTorch", server.pytorch.as_ref()),
        ("Python", server.python.as_ref()),
        ("device", server.device.as_ref()),
    ];
    let known = all.into_iter().filter_map(|(name, value)| {
        Some(format!("<property name=\"{name}\" value=\"{}\"/>\n", Escaped(value?)))
    });
    format!("<properties>\n{}</properties>\n", known.collect::<String>())
}

/// The lines of each scene in a run's summary.
#[derive(Default)]
pub struct Excerpts {
    /// By scene: how many lines were dropped, and those that are kept.
    scenes: HashMap<String, (usize, VecDeque<String>)>,
    /// The figures that follow are those of another device than the run's.
    other_device: bool,
}

impl Excerpts {
    /// Reads a `run-summary.txt`, as far as it can be read.
    pub fn read(path: &Path) -> Self {
        open_file(path).map(|file| Excerpts::of_lines(BufReader::new(file))).unwrap_or_default()
    }

    pub(crate) fn of_lines(mut summary: impl BufRead) -> Self {
        let mut excerpts = Excerpts::default();
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            match summary.by_ref().take(MOST_BYTES).read_until(b'\n', &mut bytes) {
                Ok(0) | Err(_) => return excerpts,
                Ok(_) => excerpts.add(&sanitize_line(&String::from_utf8_lossy(&bytes))),
            }
        }
    }

    fn add(&mut self, line: &str) {
        self.other_device |= line.contains("] === VRAM Usage Statistics: ");
        let Some((id, has_figures)) = scene_of(line) else { return };
        if has_figures && self.other_device {
            return;
        }
        let (dropped, kept) = self.scenes.entry(id.to_owned()).or_default();
        kept.push_back(line.chars().take(MOST_CHARS).collect());
        if kept.len() > MOST_LINES {
            kept.pop_front();
            *dropped += 1;
        }
    }

    fn of(&self, scene: &str) -> Vec<String> {
        let Some((dropped, kept)) = self.scenes.get(scene) else { return Vec::new() };
        let head = (*dropped > 0).then(|| format!("({} before these)", counted(*dropped, "line")));
        head.into_iter().chain(kept.iter().cloned()).collect()
    }
}

/// The scene of a line, `[12:00:00] [Scene a] …`, or `[12:00:00] Scene a: …` with its figures, and
/// whether it is the latter.
fn scene_of(line: &str) -> Option<(&str, bool)> {
    let (_, text) = line.strip_prefix('[')?.split_once("] ")?;
    match text.strip_prefix("[Scene ") {
        Some(rest) => rest.split_once(']').map(|(id, _)| (id, false)),
        None => text.strip_prefix("Scene ")?.split_once(": ").map(|(id, _)| (id, true)),
    }
}
