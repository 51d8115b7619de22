//! What is red and what is not, and that nothing from outside gets out of its place.

use proptest::prelude::*;

use super::*;
use crate::report::record::Server;
use crate::report::tests::{attempt, night, scene, verdicts, vram};
use crate::vram::gates::Gate;

fn told(record: &RunRecord) -> String {
    of(record, &Excerpts::default())
}

fn of(record: &RunRecord, excerpts: &Excerpts) -> String {
    document(&ReportInput::of_run(record, &vram()), excerpts).expect("a run has a document")
}

#[test]
fn a_night_to_the_letter() {
    let mut run = night();
    run.scenes[2].why = "running & \"running\" <all> the time".into();
    run.scenes.push(SceneRecord::skipped("scene-004", "GPU still busy with scene-003"));
    run.gates = verdicts()[..2].to_vec();
    let wanted = "\
<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuites name=\"run-comfyui-e2e\" tests=\"6\" failures=\"2\" errors=\"0\" time=\"1657.000\">
<testsuite name=\"run-comfyui-e2e\" tests=\"6\" failures=\"2\" errors=\"0\" time=\"1657.000\" skipped=\"1\" timestamp=\"2026-11-24T23:00:04+01:00\">
<properties>
<property name=\"run\" value=\"20261124-230004\"/>
<property name=\"folder\" value=\"logs/20261124-230004\"/>
<property name=\"exit\" value=\"1\"/>
<property name=\"server\" value=\"http://127.0.0.1:8188\"/>
<property name=\"ComfyUI\" value=\"0.3.64\"/>
</properties>
<testcase classname=\"run-comfyui-e2e.scenes\" name=\"scene-001\" time=\"188.400\">
</testcase>
<testcase classname=\"run-comfyui-e2e.scenes\" name=\"scene-002\" time=\"191.000\">
</testcase>
<testcase classname=\"run-comfyui-e2e.scenes\" name=\"scene-003\" time=\"725.000\">
<failure type=\"deadline\" message=\"running &amp; &quot;running&quot; &lt;all&gt; the time\">deadline, 2 × 360 s: running &amp; &quot;running&quot; &lt;all&gt; the time
2nd attempt (1st: deadline, running all the time, never finished; cancelled on the server)</failure>
</testcase>
<testcase classname=\"run-comfyui-e2e.scenes\" name=\"scene-004\" time=\"0.000\">
<skipped type=\"skipped\" message=\"GPU still busy with scene-003\">skipped: GPU still busy with scene-003</skipped>
</testcase>
<testcase classname=\"run-comfyui-e2e.gates\" name=\"MaxPeakMB\" time=\"0.000\">
<system-out>MaxPeakMB 6: held, driver 7 MB (used 5)</system-out>
</testcase>
<testcase classname=\"run-comfyui-e2e.gates\" name=\"Baseline scene-001\" time=\"0.000\">
<failure type=\"gate\" message=\"Baseline scene-001 6: FAILED, driver 7 MB\">Baseline scene-001 6: FAILED, driver 7 MB</failure>
</testcase>
</testsuite>
</testsuites>
";
    assert_eq!(told(&run), wanted);
}

#[test]
fn an_outcome_is_a_failure_an_error_skipped_or_none_of_them() {
    use Outcome::{
        Cached, Deadline, DownloadFailed, Failed, Interrupted, Lost, NoOutput, OutOfMemory,
        Partial, Rejected, Skipped, Succeeded, Unreachable,
    };
    let element = |outcome: &Outcome| {
        let scenes = vec![scene("a", *outcome, 1.0, vec![attempt(*outcome, "why")])];
        let document = told(&RunRecord { scenes, ..night() });
        let case = document.split("name=\"a\"").nth(1).unwrap();
        let found = ["<failure", "<error", "<skipped"].into_iter().find(|e| case.contains(e));
        found.unwrap_or_default()
    };
    for (outcomes, wanted) in [
        (&[Succeeded, Cached][..], ""),
        (&[Partial, Rejected, Failed, OutOfMemory, Deadline, NoOutput], "<failure"),
        (&[Lost, Interrupted, DownloadFailed, Unreachable], "<error"),
        (&[Skipped], "<skipped"),
    ] {
        for outcome in outcomes {
            assert_eq!(element(outcome), wanted, "{outcome:?}");
        }
    }
}

#[test]
fn of_a_log_there_are_its_gates_or_nothing() {
    let vram = vram();
    let of = |note, gates: &[Verdict]| {
        let input = ReportInput { record: None, title: "VRAM of a.log", note, vram: &vram, gates };
        document(&input, &Excerpts::default())
    };
    assert_eq!(of(None, &[]), None);
    let gates = of(None, &verdicts()).expect("gates");
    assert!(gates.contains("tests=\"6\" failures=\"2\" errors=\"2\" skipped=\"0\">"), "{gates}");
    let killed = of(Some("killed"), &[]).expect("a run");
    assert!(killed.contains("<error type=\"unfinished\" message=\"killed\">"), "{killed}");
}

/// How a run may go.
fn runs() -> impl Strategy<Value = RunRecord> {
    let outcomes = prop::collection::vec(prop::sample::select(Outcome::all().to_vec()), 0..5);
    let failure = prop::option::of(prop::sample::select(vec![Exit::Failed, Exit::Unreachable]));
    let states = vec![State::Held, State::Failed, State::NotJudged("why".into())];
    let gates = prop::collection::vec(prop::sample::select(states), 0..3);
    (outcomes, failure, any::<bool>(), gates).prop_map(|(outcomes, failure, stopped, gates)| {
        let scene = |(n, outcome): (usize, Outcome)| scene(&format!("s{n}"), outcome, 1.0, vec![]);
        let gate = |state| Verdict {
            gate: Gate::MaxPeak,
            scene: None,
            limit: Some(1),
            measured: None,
            before: None,
            state,
        };
        RunRecord {
            scenes: outcomes.into_iter().enumerate().map(scene).collect(),
            failure: failure.map(|exit| (exit, "why".to_owned())),
            interrupted: stopped,
            gates: gates.into_iter().map(gate).collect(),
            ..night()
        }
    })
}

proptest! {
    #[test]
    fn it_is_red_exactly_where_the_exit_is_not_0(run in runs()) {
        let document = told(&run);
        let red = document.contains("<failure ") || document.contains("<error ");
        prop_assert_eq!(red, run.exit() != Exit::Success, "{}", document);
        let suite = document.split("<testsuite ").nth(1).unwrap().split('>').next().unwrap();
        for (name, element) in [
            ("tests", "<testcase "), ("failures", "<failure "), ("errors", "<error "),
            ("skipped", "<skipped "),
        ] {
            let counted = format!(" {name}=\"{}\"", document.matches(element).count());
            prop_assert!(suite.contains(&counted), "{counted}: {document}");
        }
    }

    #[test]
    fn nothing_from_outside_becomes_markup(hostile in "[<>\"'&/ a-z=!\\]\\[-]{1,24}|\\PC{1,12}|[\\x00-\\x1f\u{fffe}\u{ffff}]{1,4}") {
        let of = |text: &str| {
            let mut run = night();
            for scene in &mut run.scenes[1..] {
                (scene.id, scene.why) = (text.to_owned(), text.to_owned());
            }
            let failure = Some((Exit::Failed, text.to_owned()));
            let server = Server { device: Some(text.to_owned()), ..run.server };
            let run = RunRecord { server, failure, ..run };
            let summary = format!("[12:00:00] [Scene scene-001] {text}\n");
            of(&run, &Excerpts::of_lines(summary.as_bytes()))
        };
        let text = of(&format!("{hostile}</system-out>]]>\"'"));
        let tags = |text: &str| text.matches(['<', '>', '"']).count();
        prop_assert_eq!(tags(&text), tags(&of("scene")), "{}", text);
        let in_xml = |c: char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}') || c == '\n';
        prop_assert!(text.chars().all(in_xml), "{text:?}");
    }
}

#[test]
fn a_scene_has_its_own_lines() {
    let summary = "\
[12:00:00] Scenes to process: a, a.b\n[12:00:01] [Scene a] Starting\n[12:00:01] [Scene a.b] \x1b[1mno\n\
[12:00:02] [Scene a] \u{fffd}\n[12:00:09] Scene a: peak 5 MB\n[Scene a] not ours\nScene a: neither\n\
[12:00:09] === VRAM Usage Statistics: device 1 ===\n[12:00:09] Scene a: peak 7 MB\n";
    let excerpts = Excerpts::of_lines(summary.as_bytes());
    let lines = ["[12:00:01] [Scene a] Starting", "[12:00:02] [Scene a] \u{fffd}"];
    assert_eq!(excerpts.of("a"), [&lines[..], &["[12:00:09] Scene a: peak 5 MB"]].concat());
    assert_eq!(excerpts.of("a.b"), ["[12:00:01] [Scene a.b] [1mno"]);
    assert_eq!(excerpts.of("b"), [""; 0]);
}

#[test]
fn of_very_many_lines_the_last_ones_are_kept() {
    let line = |n| format!("[12:00:00] [Scene a] {n}{}\n", "x".repeat(5000));
    let summary: String = (0..MOST_LINES + 5).map(line).collect();
    let lines = Excerpts::of_lines(summary.as_bytes()).of("a");
    assert_eq!((lines.len(), lines[0].as_str()), (MOST_LINES + 1, "(5 lines before these)"));
    assert!(lines[1].starts_with("[12:00:00] [Scene a] 5x"), "{}", lines[1]);
    assert!(lines.iter().all(|line| line.len() <= MOST_CHARS));
    // Without an end of line it is read in pieces, and the first one is a line.
    let endless = format!("[12:00:00] [Scene a] {}", "y".repeat(1 << 20));
    assert_eq!(Excerpts::of_lines(endless.as_bytes()).of("a").len(), 1);
}
