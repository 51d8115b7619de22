//! A run as `JUnit` XML, for a CI server: a test case for each scene and each gate. It is red
//! there exactly when the exit code is not 0.

pub mod excerpt;
#[cfg(test)]
mod tests;

use crate::clock::iso;
use crate::exit_code::Exit;
use crate::report::escape::Markup;
use crate::report::input::ReportInput;
use crate::report::record::{Outcome, RunRecord, SceneRecord};
use crate::report::text as closing;
use crate::vram::gates::{State, Verdict};
use excerpt::Excerpts;

/// A test case.
struct Case {
    class: &'static str,
    name: String,
    seconds: f64,
    result: Result<(), Bad>,
    /// What was said of it.
    lines: Vec<String>,
}

/// How a case that did not pass is told.
struct Bad {
    kind: Kind,
    /// One word.
    what: &'static str,
    why: String,
    /// More lines, for readers that do not show the reason.
    lines: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It was carried out, and is not as it should be.
    Failure,
    /// It could not be carried out.
    Error,
    Skipped,
}

/// The document. None where there is nothing to pass or fail: of a log without gates.
pub fn document(told: &ReportInput, excerpts: &Excerpts) -> Option<String> {
    let cases = cases(told, excerpts);
    if cases.is_empty() && told.record.is_none() {
        return None;
    }
    let count = |kind| cases.iter().filter(|case| case.is(kind)).count() as u64;
    let mut out = Markup::default();
    let out = &mut out;
    let attributes = |out: &mut Markup| {
        out.raw(" name=\"run-comfyui-e2e\" tests=\"").number(cases.len() as u64);
        out.raw("\" failures=\"").number(count(Kind::Failure));
        out.raw("\" errors=\"").number(count(Kind::Error));
        if let Some(run) = told.record {
            out.raw("\" time=\"").text(&seconds((run.ended - run.started).as_seconds_f64()));
        }
        out.raw("\"");
    };
    out.raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites");
    attributes(out);
    out.raw(">\n<testsuite");
    attributes(out);
    out.raw(" skipped=\"").number(count(Kind::Skipped)).raw("\"");
    if let Some(run) = told.record {
        let whole = run.started.replace_nanosecond(0).unwrap_or(run.started);
        out.raw(" timestamp=\"").text(&iso(whole)).raw("\"");
    }
    out.raw(">\n");
    if let Some(run) = told.record {
        properties(out, run);
    }
    for case in &cases {
        case.write(out);
    }
    out.raw("</testsuite>\n</testsuites>\n");
    Some(std::mem::take(out).finish())
}

fn cases(told: &ReportInput, excerpts: &Excerpts) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    if let Some(run) = told.record {
        cases.extend(run.scenes.iter().map(|scene| of_scene(scene, run, excerpts)));
    }
    cases.extend(told.gates.iter().map(of_gate));
    let red = cases.iter().any(|case| case.is(Kind::Failure) || case.is(Kind::Error));
    let why = match (told.record, told.note) {
        (Some(run), _) => of_run(run, red),
        (None, note) => note.map(|note| ("unfinished", note.to_owned())),
    };
    if let Some((what, why)) = why {
        let bad = Bad { kind: Kind::Error, what, why, lines: Vec::new() };
        let (class, name) = ("run-comfyui-e2e.run", "run".to_owned());
        cases.insert(0, Case { class, name, seconds: 0.0, result: Err(bad), lines: Vec::new() });
    }
    cases
}

/// What no scene and no gate tells: why the run as a whole could not be carried out.
fn of_run(run: &RunRecord, red: bool) -> Option<(&'static str, String)> {
    let exit = run.exit();
    match &run.failure {
        Some((_, why)) => Some((exit.reason(), why.clone())),
        None if run.interrupted => Some((exit.reason(), exit.sentence().to_owned())),
        None if exit != Exit::Success && !red => {
            Some((exit.reason(), format!("exit {}", exit.code())))
        }
        None => None,
    }
}

fn of_scene(scene: &SceneRecord, run: &RunRecord, excerpts: &Excerpts) -> Case {
    let kind = match scene.outcome {
        Outcome::Succeeded | Outcome::Cached => None,
        Outcome::Skipped => Some(Kind::Skipped),
        // Not the workflow's doing.
        Outcome::Unreachable | Outcome::Lost | Outcome::Interrupted | Outcome::DownloadFailed => {
            Some(Kind::Error)
        }
        _ => Some(Kind::Failure),
    };
    let bad = kind.map(|kind| {
        let mut lines = vec![closing::failure(scene, run)];
        if scene.attempts.len() > 1 {
            lines.push(closing::attempts(&scene.attempts));
        }
        Bad { kind, what: scene.outcome.name(), why: scene.why.clone(), lines }
    });
    Case {
        class: "run-comfyui-e2e.scenes",
        name: scene.id.clone(),
        seconds: scene.seconds,
        result: bad.map_or(Ok(()), Err),
        lines: excerpts.of(&scene.id),
    }
}

fn of_gate(gate: &Verdict) -> Case {
    let scene = gate.scene.as_ref().map(|scene| format!(" {scene}")).unwrap_or_default();
    let line = gate.to_string();
    let bad = |kind, what| Err(Bad { kind, what, why: line.clone(), lines: vec![line.clone()] });
    Case {
        lines: if gate.held() { vec![line.clone()] } else { Vec::new() },
        class: "run-comfyui-e2e.gates", // Without its limit: the same case from run to run.
        name: format!("{}{scene}", gate.gate.name()),
        seconds: 0.0,
        result: match gate.state {
            State::Held => Ok(()),
            State::Failed => bad(Kind::Failure, "gate"),
            State::NotJudged(_) => bad(Kind::Error, "notJudged"),
        },
    }
}

impl Case {
    fn is(&self, kind: Kind) -> bool {
        self.result.as_ref().is_err_and(|bad| bad.kind == kind)
    }

    fn write(&self, out: &mut Markup) {
        out.raw("<testcase classname=\"").raw(self.class).raw("\" name=\"").text(&self.name);
        out.raw("\" time=\"").text(&seconds(self.seconds)).raw("\">\n");
        if let Err(bad) = &self.result {
            let [open, close] = match bad.kind {
                Kind::Failure => ["<failure", "</failure>\n"],
                Kind::Error => ["<error", "</error>\n"],
                Kind::Skipped => ["<skipped", "</skipped>\n"],
            };
            out.raw(open).raw(" type=\"").raw(bad.what).raw("\" message=\"").text(&bad.why);
            out.raw("\">");
            lines(out, &bad.lines);
            out.raw(close);
        }
        if !self.lines.is_empty() {
            out.raw("<system-out>");
            lines(out, &self.lines);
            out.raw("</system-out>\n");
        }
        out.raw("</testcase>\n");
    }
}

fn lines(out: &mut Markup, lines: &[String]) {
    for (place, line) in lines.iter().enumerate() {
        out.raw(if place > 0 { "\n" } else { "" }).text(line);
    }
}

/// With what it was made.
fn properties(out: &mut Markup, run: &RunRecord) {
    let exit = run.exit().code().to_string();
    let server = &run.server;
    let known = |text: &'_ Option<String>| text.clone();
    let all = [
        ("run", Some(run.id.clone())),
        ("folder", Some(run.folder.clone())),
        ("exit", Some(exit)),
        ("server", Some(server.url.clone())),
        ("ComfyUI", known(&server.comfyui)),
        ("PyTorch", known(&server.pytorch)),
        ("Python", known(&server.python)),
        ("device", known(&server.device)),
    ];
    out.raw("<properties>\n");
    for (name, value) in all {
        if let Some(value) = value {
            out.raw("<property name=\"").raw(name).raw("\" value=\"").text(&value).raw("\"/>\n");
        }
    }
    out.raw("</properties>\n");
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.3}")
}
