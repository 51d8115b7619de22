//! The reports read by the programs that they are for, where those are there: `python3` with
//! `junitparser`, `prometheus_client` and `cmarkgfm`, and `promtool`. `.ci/readers` has them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Bench, counts};
use crate::stand_in::graphs;

/// What a server may say to get out of its place.
const HOSTILE: &str =
    "</failure><b>it</b> ]]> | `x` *y* \"z\" & \\ #1 @me http://a.b \u{1b}[1m\u{ffff}";

/// One of everything, and what came of it.
fn night() -> Bench {
    let bench = Bench::new();
    bench.flow("flow", 1000, 1);
    bench.run(&["flow.json"], &["flow"]).exits(0);
    let before = bench.folder.newest();
    let before = before.to_str().unwrap();
    bench.folder.workflow("bad.json", &graphs::failing(HOSTILE));
    bench.folder.workflow("large.json", &graphs::out_of_memory());
    bench.flow("more", 2000, 2);
    let gates = ["-MaxPeakMB", "4000", "-Baseline", before, "-MaxGrowthMB", "5"];
    // The first one comes from the cache.
    let scenes = ["flow.json", "bad.json", "large.json", "more.json"];
    bench.run(&[&gates[..], &scenes].concat(), &["more"]).exits(1);
    bench
}

/// What a program makes of a file on its standard input; none, and a line that says so, where it
/// is not there, which `there` asks.
fn read_by(program: &str, there: &[&str], words: &[&str], file: &Path) -> Option<String> {
    let mut look = Command::new(program);
    look.args(there).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !look.status().is_ok_and(|status| status.success()) {
        // Not eprintln!, which the test's harness would keep to itself.
        let line =
            format!("SKIPPED: no {program} {there:?} here, {} was not read\n", file.display());
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return None;
    }
    let input = std::fs::File::open(file).unwrap();
    let utf8 = [("LC_ALL", "C.UTF-8"), ("PYTHONUTF8", "1")];
    let done = Command::new(program).args(words).envs(utf8).stdin(input).output().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {words:?}: {said}{stderr}");
    Some(said + &stderr)
}

fn python(module: &str, script: &str, file: &Path) -> Option<String> {
    read_by("python3", &["-c", &format!("import {module}")], &["-c", script], file)
}

#[test]
fn junitparser_reads_the_junit_report() {
    const SCRIPT: &str = "
import sys, datetime, junitparser
xml = junitparser.JUnitXml.fromstring(sys.stdin.buffer.read())
[suite] = list(xml)
told = xml.tests, xml.failures, xml.errors, suite.tests, suite.failures, suite.errors, suite.skipped
print(*told)
xml.update_statistics()
[suite] = list(xml)
assert told == (xml.tests, xml.failures, xml.errors, suite.tests, suite.failures, suite.errors, suite.skipped)
assert datetime.datetime.fromisoformat(suite.timestamp).tzinfo is not None
for case in suite:
    results = ['%s %s %s' % (type(r).__name__, r.type, r.message) for r in case.result]
    print(case.classname, case.name, case.time >= 0, bool(case.system_out), *results, sep='|')
";
    let bench = night();
    let file = bench.folder.path().join("run.xml");
    let Some(read) = python("junitparser", SCRIPT, &file) else { return };
    let mut lines = read.lines();
    let [tests, failures, errors, skipped] = counts(&bench.read("run.xml"));
    let all = format!("{tests} {failures} {errors} {tests} {failures} {errors} {skipped}");
    assert_eq!(lines.next(), Some(&*all), "{read}");
    let wanted = [
        "scenes|flow|True|True",
        "scenes|bad|True|True|Failure failed node 2 FailAlways: ",
        "scenes|large|True|True|Failure outOfMemory node 2 OutOfMemory: ",
        "scenes|more|True|True",
        "gates|MaxPeakMB|True|False|Failure gate MaxPeakMB 4000: FAILED, driver ",
        "gates|Baseline|True|False|Failure gate Baseline ",
        "gates|Baseline flow|True|False|Error notJudged Baseline flow: not judged, ",
        "gates|MaxGrowthMB|True|False|Error notJudged MaxGrowthMB 5: not judged, ",
    ];
    assert_eq!(lines.clone().count(), wanted.len(), "{read}");
    for (line, wanted) in lines.zip(wanted) {
        assert!(line.starts_with(&format!("run-comfyui-e2e.{wanted}")), "{wanted}: {read}");
    }
    let shown = "</failure><b>it</b> ]]> | `x` *y* \"z\" & \\ #1 @me http://a.b [1m";
    assert!(read.contains(shown), "{read}");
}

#[test]
fn prometheus_client_and_promtool_read_the_metrics() {
    const SCRIPT: &str = "
import sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation and family.type == 'gauge', family
    assert family.samples, family
    for sample in family.samples:
        assert sample.timestamp is None and sample.labels['report'] == 'nightly', sample
        labels = ' '.join(f'{k}={v}' for k, v in sample.labels.items() if k != 'report')
        print(sample.name, labels, sample.value, sep='|')
";
    let bench = night();
    let file = bench.folder.path().join("nightly.prom");
    if let Some(read) = python("prometheus_client", SCRIPT, &file) {
        let samples = bench.read("nightly.prom").lines().filter(|l| !l.starts_with('#')).count();
        assert_eq!(read.lines().count(), samples, "{read}");
        let peak = "comfyui_e2e_scene_vram_driver_peak_bytes|scene=more|";
        assert!(read.contains(peak), "{read}");
        for line in read.lines() {
            let (name, _) = line.split_once('|').unwrap();
            let is_memory = ["peak", "added", "size", "growth", "in_use", "limit", "measured"]
                .iter()
                .any(|word| name.contains(word));
            assert_eq!(is_memory, name.ends_with("_bytes"), "{line}");
        }
    }
    // It lints too: names, units, help.
    let read = read_by("promtool", &["--version"], &["check", "metrics"], &file);
    assert_eq!(read.unwrap_or_default(), "");
}

#[test]
fn cmarkgfm_renders_the_markdown_report() {
    const SCRIPT: &str = "
import sys, cmarkgfm
from cmarkgfm.cmark import Options
print(cmarkgfm.github_flavored_markdown_to_html(sys.stdin.read(), Options.CMARK_OPT_UNSAFE))
";
    let bench = night();
    let Some(html) = python("cmarkgfm", SCRIPT, &bench.folder.path().join("run.md")) else {
        return;
    };
    // The head, four scenes and all of them: each as wide as the head.
    assert_eq!(html.matches("<tr>").count(), 6, "{html}");
    assert_eq!(html.matches("<th").count() - 1, 8, "{html}"); // <thead>
    assert_eq!(html.matches("<td").count(), 40, "{html}");
    let shown = "&lt;/failure&gt;&lt;b&gt;it&lt;/b&gt; ]]&gt; | `x` *y* &quot;z&quot; &amp; \\ #";
    assert!(html.contains(shown), "{html}");
    for markup in ["<b>", "<em>", "<a ", "</failure>"] {
        assert!(!html.contains(markup), "{markup}: {html}");
    }
    assert!(html.contains("<code>run-comfyui-e2e -") && html.contains("<strong>All</strong>"));
}
