//! What the Markdown says, that it fits, and that nothing from outside becomes markup.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::exit_code::Exit;
use crate::report::tests::{attempt, night, scene, verdicts, vram};
use crate::vram::gates::{Gate, State};
use crate::vram::stats::{LogSummary, VramStats};

fn figures(log: &str) -> VramStats {
    LogSummary::of(log.as_bytes()).unwrap().stats
}

fn past(log: &str) -> SavedRun {
    let (run, others, note) = (None, Vec::new(), None);
    let LogSummary { stats: vram, timeline } = LogSummary::of(log.as_bytes()).unwrap();
    SavedRun { log: PathBuf::from("b.log"), vram, timeline, run, others, note }
}

fn of(record: Option<&RunRecord>, vram: &VramStats, baselines: &[SavedRun]) -> String {
    let gates = record.map(|run| run.gates.as_slice()).unwrap_or_default();
    let (title, note) = ("VRAM of a.log", None);
    document(&ReportInput { record, title, note, vram, gates }, baselines)
}

#[test]
fn a_night_to_the_letter() {
    let mut run = night();
    run.gates = verdicts()[..2].to_vec();
    // Other nodes than in a baseline would not be compared.
    run.scenes[0].attempts[0].cached_nodes.clear();
    let low = "12:00:00,Used=1MB,Total=24576MB,Driver=2240MB\n\
               12:00:05,Used=9MB,Driver=19000MB,Scene=scene-001\n\
               12:00:06,Used=9MB,Driver=19100MB,Scene=scene-002\n";
    let high = "12:00:00,Used=1MB,Total=24576MB,Driver=2240MB\n\
                12:00:05,Used=9MB,Driver=19080MB,Scene=scene-002\n";
    let wanted = "\
### ✗ 1 of 3 scenes failed in 27 min 37 s (exit 4, deadline)

Run 20261124-230004, 24 Nov 23:00:04 to 23:27:41

| Scene | Outcome | Seconds | Peak, driver (MB) | Figure | Now (MB) | Baseline (MB) | Difference (MB) |
|---|---|--:|--:|---|--:|--:|--:|
| scene-001 | ✓ succeeded | 188 | 19310 | added | 17070 | 16760 | +310 (+1.8 %) |
| scene-002 | ✓ succeeded<br>2nd attempt (1st: lost, server restarted 23:05:12) | 191 | 19080 | – | – | – | – |
| scene-003 | ✗ deadline<br>2 × 360 s: running all the time, never finished; cancelled on the server<br>2nd attempt (1st: deadline, running all the time, never finished; cancelled on the server) | 725 | – | – | – | – | – |
| **All** | | 1657 | 19310 | added | 17070 | 16840 | +230 (+1.4 %) |

- VRAM peak  19310 of 24576 MB (79 %), 5266 to spare, 23:04:10 in scene-001
- Needs      17070 MB of its own: a 20 GB card, not a 16 GB one
- After      GPU idle, queue empty, 2140 MB in use as before
- Sampling   read every 5.0 s, 1 of 5 lines missed, longest gap 10.0 s: spikes shorter than that may be missed, 2 prompts of other clients ran meanwhile, their memory is in them

**Gates**

- ✓ MaxPeakMB 6: held, driver 7 MB (used 5)
- ✗ Baseline scene-001 6: FAILED, driver 7 MB

Next: `run-comfyui-e2e -SceneFilter scene-003`

<sub>ComfyUI 0.3.64, run-comfyui-e2e VERSION</sub>
";
    let wanted = wanted.replace("VERSION", env!("CARGO_PKG_VERSION"));
    assert_eq!(of(Some(&run), &vram(), &[past(low), past(high)]), wanted);
}

#[test]
fn the_figures_beside_each_other_are_of_one_meaning() {
    let mut run = night();
    run.scenes[0].attempts[0].cached_nodes.clear();
    let used = "12:00:00,Used=1MB,Torch=1MB\n12:00:05,Used=18231MB,Torch=16000MB,Scene=scene-001\n";
    let text = of(Some(&run), &figures(used), &[past(&used.replace("16000", "15000"))]);
    let head = "| Peak, used (MB) | Figure | Now (MB) | Baseline (MB) | Difference (MB) |\n";
    assert!(text.contains(head), "{text}");
    assert!(text.contains(" | 188 | 18231 | torch | 16000 | 15000 | +1000 (+6.7 %) |\n"), "{text}");
    // Of another card there are none.
    let small = "12:00:00,Used=1MB,Total=16384MB\n12:00:05,Used=5MB,Scene=scene-001\n";
    let text = of(Some(&night()), &vram(), &[past(small)]);
    assert!(text.contains("| Peak, driver (MB) | Peak, used (MB) |\n"), "{text}");

    let mut run = night();
    run.server.device_kind = Some("cpu".into());
    let text = of(Some(&run), &figures(used), &[]);
    assert!(text.contains("| Seconds | Peak, RAM (MB) |\n"), "{text}");
    let text = of(Some(&night()), &figures("12:00:00,Missed=late\n"), &[]);
    assert!(text.contains("| Scene | Outcome | Seconds |\n|---|---|--:|\n"), "{text}");
}

#[test]
fn differences() {
    for (now, before, wanted) in [
        (3402, 3240, "+162 (+5.0 %)"),
        (3240, 3402, "-162 (-4.8 %)"),
        (10_000, 10_001, "-1 (-0.0 %)"),
        (5, 0, "+5"),
        (0, 5, "-5 (-100.0 %)"),
    ] {
        assert_eq!(difference(now, before), wanted);
    }
}

#[test]
fn of_very_many_scenes_it_fits_a_comment_and_the_failures_are_there() {
    let why = "|<&_".repeat(1000);
    let ids = (0..1000).map(|n| format!("{n:_>100}"));
    let mut run = RunRecord {
        scenes: ids
            .map(|id| scene(&id, Outcome::Succeeded, 1.0, vec![attempt(Outcome::Succeeded, "")]))
            .collect(),
        ..night()
    };
    for bad in [7, 700] {
        let attempts = vec![attempt(Outcome::Failed, &why), attempt(Outcome::Failed, &why)];
        run.scenes[bad] = scene(&format!("bad-{bad}"), Outcome::Failed, 1.0, attempts);
    }
    let gate = |scene: &SceneRecord| {
        let (gate, scene, state) = (Gate::Baseline, Some(scene.id.clone()), State::Failed);
        Verdict { gate, scene, limit: Some(1), measured: None, before: None, state }
    };
    run.gates = run.scenes.iter().map(gate).collect();
    let text = of(Some(&run), &vram(), &[]);
    assert!(text.len() < 65_536, "{}", text.len());
    assert!(text.contains("\n| bad-7 | ✗ failed<br>2 attempts: \\|&lt;&amp;\\_"), "{text}");
    assert!(
        text.contains("\n| bad-700 | ✗ ") && text.contains(" more scenes without a row here.\n")
    );
    assert!(text.contains("\n- and 980 more of scenes\n"), "{text}");
    // Were all of it as long as can be, it would still fit.
    let long = "&".repeat(10_000);
    for scene in &mut run.scenes {
        (scene.outcome, scene.why) = (Outcome::Failed, long.clone());
        scene.attempts[0].why.clone_from(&long);
        scene.attempts.push(scene.attempts[0].clone());
    }
    for gate in &mut run.gates {
        gate.state = State::NotJudged(long.clone());
    }
    (run.failure, run.next) = (Some((Exit::Failed, long.clone())), Some("a".repeat(4001)));
    run.server.device = Some(long);
    let text = of(Some(&run), &vram(), &[]);
    assert!(text.len() < 65_536, "{}", text.len());
    assert!(text.contains("\nNext: a long command, at the end of run-summary.txt.\n"), "{text}");
}

/// A row's cells, cut where a reader would.
fn cells(row: &str) -> usize {
    row.replace("\\\\", "").replace("\\|", "").matches('|').count()
}

proptest! {
    #[test]
    fn nothing_from_outside_becomes_markup(
        hostile in "[<>\"'&/ a-z=!\\]\\[|`*_~#@:.$+(){}\\\\-]{1,24}|\\PC{1,12}|[\\x00-\\x1f]{1,4}",
    ) {
        let mut run = night();
        for scene in &mut run.scenes {
            (scene.id, scene.why) = (hostile.clone(), hostile.clone());
            scene.warnings = vec![hostile.clone()];
        }
        run.failure = Some((Exit::Failed, hostile.clone()));
        run.server.device = Some(hostile.clone());
        run.id.clone_from(&hostile);
        let text = of(Some(&run), &vram(), &[]);
        let lines: Vec<&str> = text.lines().collect();
        let plain = of(Some(&RunRecord { failure: Some((Exit::Failed, "x".into())), ..night() }), &vram(), &[]);
        prop_assert_eq!(lines.len(), plain.lines().count(), "{}", text);
        // Ours are <br> and <sub>.
        let ours = text.replace("<br>", "").replace("<sub>", "").replace("</sub>", "");
        prop_assert!(!ours.contains(['<', '>']), "{text}");
        let rows: Vec<&&str> = lines.iter().filter(|line| line.starts_with('|')).collect();
        prop_assert!(rows.iter().all(|row| cells(row) == cells(rows[0])), "{text}");
        prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    }
}

#[test]
fn text_stays_text() {
    for (given, wanted) in [
        ("scene-001", "scene-001"),
        ("flow_r1", "flow\\_r1"),
        ("a|b", "a\\|b"),
        ("<img src=x>&amp;", "&lt;img src=x&gt;&amp;amp;"),
        ("`rm -rf`", "\\`rm -rf\\`"),
        ("[x](http://y)", "\\[x\\](http\\://y)"),
        ("see WWW.x.y", "see WWW\\.x.y"),
        ("- 5 MB", "\\- 5 MB"),
        ("+5", "\\+5"),
        ("1. one", "1\\. one"),
        ("12) two", "12\\) two"),
        ("0.3.64", "0.3.64"),
        ("7.", "7\\."),
        ("# x", "\\#\u{200b} x"),
        ("node #4 of @me", "node \\#\u{200b}4 of @\u{200b}me"),
        (
            "GH-4, gh-4, xgh-, !7 of GitLab!",
            "GH-\u{200b}4, gh-\u{200b}4, xgh-, !\u{200b}7 of GitLab!",
        ),
        (":tada: at 23:00:04, cuda:0: x", ":\u{200b}tada: at 23:00:04, cuda:0: x"),
        ("   four\nlines\u{7}", "four lines"),
        ("", ""),
    ] {
        assert_eq!(text(given), wanted);
    }
}

#[test]
fn code_is_fenced_by_more_than_it_has() {
    for (given, wanted) in
        [("a b", "`a b`"), ("a`b", "``a`b``"), ("`a``b", "``` `a``b ```"), ("x|y<b>", "`x|y<b>`")]
    {
        assert_eq!(code(given), wanted);
    }
}
