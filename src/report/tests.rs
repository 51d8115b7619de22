//! A night with one of everything, as the closing block and the metadata tell it.

use std::path::Path;

use expect_test::expect;
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::datetime;

use super::metadata;
use super::record::*;
use super::text::{SceneRow, headline, summary_block};
use crate::exit_code::Exit;
use crate::layout::width;
use crate::project::helpers::HelperFiles;
use crate::vram::gates::{Gate, Measured, State, Verdict};
use crate::vram::stats::{LogSummary, VramStats};

pub(super) fn attempt(outcome: Outcome, why: &str) -> Attempt {
    Attempt {
        outcome,
        why: why.into(),
        prompt_id: Some("3b3ffbb5-96b7-479c-8507-529287655ec5".into()),
        seconds: 90.25,
        queued_seconds: 0.5,
        server_seconds: Some(89.5),
        polls: 97,
        cached_nodes: vec!["1".into()],
        timed_out: false,
        freed: true,
        server_starts: 0,
    }
}

pub(super) fn scene(
    id: &str,
    outcome: Outcome,
    seconds: f64,
    attempts: Vec<Attempt>,
) -> SceneRecord {
    let why = attempts.last().map(|attempt| attempt.why.clone()).unwrap_or_default();
    SceneRecord { outcome, why, seconds, attempts, ..SceneRecord::skipped(id, "") }
}

pub(super) fn night() -> RunRecord {
    let lost = attempt(Outcome::Lost, "server restarted 23:05:12");
    let late =
        attempt(Outcome::Deadline, "running all the time, never finished; cancelled on the server");
    let good = || attempt(Outcome::Succeeded, "");
    let mut first = scene("scene-001", Outcome::Succeeded, 188.4, vec![good()]);
    first.outputs = vec![Output { path: "video/scene-001/scene-001.mp4".into(), bytes: 1_604_321 }];
    first.warnings = vec!["partly cached".into()];
    first.seed = Some(u64::MAX);
    RunRecord {
        id: "20261124-230004".into(),
        folder: "logs/20261124-230004".into(),
        started: datetime!(2026-11-24 23:00:04 +1),
        ended: datetime!(2026-11-24 23:27:41 +1),
        settings: Settings {
            max_wait_seconds: 360,
            poll_interval_seconds: 0.5,
            history_max_attempts: 0,
            post_execution_timeout_seconds: 15,
            scene_retry_budget: 1,
            sample_interval_seconds: 5.0,
        },
        server: Server {
            url: "http://127.0.0.1:8188".into(),
            comfyui: Some("0.3.64".into()),
            device_kind: Some("cuda".into()),
            ..Server::default()
        },
        scenes: vec![
            first,
            scene("scene-002", Outcome::Succeeded, 191.0, vec![lost, good()]),
            scene("scene-003", Outcome::Deadline, 725.0, vec![late.clone(), late]),
        ],
        interrupted: false,
        failure: None,
        asleep: vec![],
        gates: vec![],
        baselines: vec![],
        aftermath: PostRunState {
            queue: Some(0),
            used_before_mb: Some(2140),
            used_after_mb: Some(2140),
            other_prompts: 2,
            still_running: None,
            may_come: None,
        },
        next: Some("run-comfyui-e2e -SceneFilter scene-003".into()),
        legacy: LegacyRun::default(),
    }
}

fn sleeps() -> Vec<(OffsetDateTime, OffsetDateTime)> {
    vec![
        (datetime!(2026-11-24 23:10:22.25 +1), datetime!(2026-11-24 23:20:01 +1)),
        (datetime!(2026-11-24 23:59:00 +1), datetime!(2026-11-25 07:45:01 +1)),
    ]
}

/// One of everything that a verdict can hold.
pub(super) fn verdicts() -> Vec<Verdict> {
    let measured = [
        Measured::Driver(7, Some(5)),
        Measured::Driver(7, None),
        Measured::Used(7),
        Measured::SystemRam(7),
        Measured::Growth(-7),
    ];
    let states = [State::Held, State::Failed, State::NotJudged("why".into())];
    let scenes = [None, Some("scene-001".to_owned())];
    let mut verdicts = Vec::new();
    for (at, measured) in measured.into_iter().map(Some).chain([None]).enumerate() {
        verdicts.push(Verdict {
            gate: Gate::ALL[at % 3],
            scene: scenes[at % 2].clone(),
            limit: measured.map(|_| 6),
            measured,
            before: None,
            state: states[at % 3].clone(),
        });
    }
    verdicts
}

pub(super) fn vram() -> VramStats {
    let log = "\
23:04:00,Used=2140MB,Free=22436MB,Total=24576MB,Driver=2240MB,Interval=5s
23:04:05,Used=18231MB,Free=6345MB,Total=24576MB,Driver=19102MB,Scene=scene-001
23:04:10,Used=17000MB,Free=6345MB,Total=24576MB,Driver=19310MB,Scene=scene-001
23:04:15,Missed=timeout,Scene=scene-001
23:04:20,Used=17000MB,Free=6345MB,Total=24576MB,Driver=19080MB,Scene=scene-002
";
    LogSummary::of(log.as_bytes()).unwrap().stats
}

#[test]
fn the_closing_block_is_what_a_person_needs() {
    assert_eq!(
        summary_block(&night(), &vram(), None),
        [
            "✗ 1 of 3 scenes failed in 27 min 37 s (exit 4, deadline)                24 Nov 23:00:04 to 23:27:41",
            "✓ scene-001  3:08  partly cached (1 node)  19310 MB  +17070  video/scene-001/scene-001.mp4  1.53 MB",
            "✓ scene-002  3:11  partly cached (1 node)  at least 19080 MB: 1 reading  2nd attempt (1st: lost, server restarted 23:05:12)",
            "✗ scene-003  deadline, 2 × 360 s: running all the time, never finished; cancelled on the server",
            "VRAM peak  19310 of 24576 MB (79 %), 5266 to spare, 23:04:10 in scene-001",
            "Needs      17070 MB of its own: a 20 GB card, not a 16 GB one",
            "After      GPU idle, queue empty, 2140 MB in use as before",
            "Sampling   read every 5.0 s, 1 of 5 lines missed, longest gap 10.0 s: spikes shorter than that may be missed, 2 prompts of other clients ran meanwhile, their memory is in them",
            "Report     logs/20261124-230004/report.html",
            "Next       run-comfyui-e2e -SceneFilter scene-003",
        ]
    );
}

#[test]
fn a_sleep_of_the_computer_stands_in_the_closing_block() {
    let block = summary_block(&RunRecord { asleep: sleeps(), ..night() }, &vram(), None);
    assert_eq!(block[8], "Asleep     23:10:22 to 23:20:01, 23:59:00 to 07:45:01");
}

#[test]
fn a_share_and_a_size_are_told_as_the_statistics_tell_them() {
    let log = "12:00:00,Used=0MB,Total=24576MB\n12:00:05,Used=15360MB,Scene=scene-001\n"; // 62.5 %
    let vram = LogSummary::of(log.as_bytes()).unwrap().stats;
    let lines = summary_block(&night(), &vram, None).join("\n");
    assert!(lines.contains("15360 of 24576 MB (62 %)"), "{lines}");
    assert!(vram.block(None, &[]).join("\n").contains("15360 MB of 24576 MB (62 %)"));
    // As much as a 16 GB card has, and not less.
    let log = log.replace("15360", "16384");
    let vram = LogSummary::of(log.as_bytes()).unwrap().stats;
    let lines = summary_block(&night(), &vram, None).join("\n");
    assert!(
        lines.contains("Needs      16384 MB of its own: a 20 GB card, not a 12 GB one"),
        "{lines}"
    );
    let log = log.replace("16384", "9000");
    let vram = LogSummary::of(log.as_bytes()).unwrap().stats;
    let lines = summary_block(&night(), &vram, None).join("\n");
    assert!(lines.contains("9000 MB of its own: a 10 GB card, not an 8 GB one"), "{lines}");
}

#[test]
fn what_was_loaded_before_the_run_is_needed_too() {
    let log = "\
12:00:00,Used=16500MB,Total=24576MB,Driver=17000MB,Torch=15000MB
12:00:05,Used=2240MB,Total=24576MB,Driver=2240MB,Torch=0MB,Between=1
12:00:06,Used=19000MB,Total=24576MB,Driver=19310MB,Torch=16020MB,Scene=scene-001
";
    let needs = |log: &str| {
        let vram = LogSummary::of(log.as_bytes()).unwrap().stats;
        let lines = summary_block(&night(), &vram, None);
        lines.into_iter().find(|line| line.starts_with("Needs")).unwrap_or_default()
    };
    // Freed before the scene: what it added is all of it.
    assert_eq!(needs(log), "Needs      17070 MB of its own: a 20 GB card, not a 16 GB one");
    let kept: String = log.split_inclusive('\n').filter(|line| !line.contains("Between")).collect();
    let wanted = "Needs      at least 2310 MB: ComfyUI held 15000 MB already (use --fresh)";
    assert_eq!(needs(&kept), wanted);
    // No more than was in use at the start: nothing is known.
    let ram =
        "12:00:00,Used=900MB,Total=9000MB\n12:00:05,Used=800MB,Total=9000MB,Scene=scene-001\n";
    assert_eq!(needs(ram), "");
}

#[test]
fn the_size_of_a_file_is_told_in_a_unit_that_shows_it() {
    let of = |bytes| {
        super::text::with_size("a.png", &Output { bytes, ..night().scenes[0].outputs[0].clone() })
    };
    let sizes = [72, 10_486, 317_440, 1_604_321].map(of);
    let wanted = ["(72 bytes)", "(10 kB)", "(310 kB)", "(1.53 MB)"];
    assert_eq!(sizes, wanted.map(|size| format!("a.png {size}")));
}

#[test]
fn gates_stand_in_the_closing_block_and_decide_where_all_scenes_succeeded() {
    let mut run = night();
    let (limit, measured) = (Some(19_000), Some(Measured::Driver(19_310, Some(18_231))));
    let bad = Verdict {
        gate: Gate::MaxPeak,
        scene: None,
        limit,
        measured,
        before: None,
        state: State::Failed,
    };
    run.gates = vec![bad];
    let block = summary_block(&run, &vram(), None);
    assert_eq!(block[8], "Gates      MaxPeakMB 19000 FAILED (19310)");
    assert_eq!(run.exit(), Exit::Deadline);
    run.scenes.truncate(2);
    assert_eq!(run.exit(), Exit::Gate);
    let verdict = &summary_block(&run, &vram(), None)[0];
    let wanted = "✗ VRAM peak 19310 MB is above 19000 MB (exit 7)                       ";
    assert!(verdict.starts_with(wanted) && verdict.ends_with(" 23:27:41"), "{verdict}");
    run.gates[0].state = State::NotJudged("why".into());
    assert_eq!(run.exit(), Exit::Gate);
    run.gates[0].state = State::Held;
    assert_eq!(run.exit(), Exit::Success);
    run.interrupted = true;
    assert_eq!(run.exit(), Exit::Interrupted);
}

#[test]
fn below_a_gate_that_failed_stands_its_table_and_no_scene_has_a_mark() {
    let mut run = night();
    run.scenes.truncate(2);
    run.baselines = vec!["logs/20261121-230004".to_owned()];
    let of = |scene: &str, before, now, limit, state| Verdict {
        gate: Gate::Baseline,
        scene: Some(scene.to_owned()),
        limit: Some(limit),
        measured: Some(Measured::Added(now)),
        before: Some(before),
        state,
    };
    run.gates = vec![
        of("scene-001", 1512, 1912, 1588, State::Failed),
        of("scene-002", 1510, 1521, 1586, State::Held),
    ];
    expect![[r"
        ✗ VRAM is worse than logs/20261121-230004 (exit 7)
                      before     now   change          limit
          scene-001    +1512   +1912     +400  +26 %   +1588  ✗
          scene-002    +1510   +1521      +11   +1 %   +1586  ✓
          scene-001  3:08  partly cached (1 node)  19310 MB  +17070  video/scene-001/scene-001.mp4  1.53 MB
          scene-002  3:11  partly cached (1 node)  at least 19080 MB: 1 reading  2nd attempt (1st: lost, server restarted 23:05:12)
    "]]
    .assert_eq(&lines(&run, 6));
    run.gates[0].state = State::Held;
    let block = summary_block(&run, &vram(), None);
    let table = block.iter().position(|line| line.starts_with("  scene-001  ")).unwrap();
    assert!(block[0].starts_with("✓ 2 of 2 scenes in 27 min 37 s  "), "{block:?}");
    assert_eq!(block[table - 3], "Gates      Baseline held");
}

/// The first lines of the block of a run, without their times.
fn lines(run: &RunRecord, count: usize) -> String {
    let block = summary_block(run, &vram(), None);
    block.iter().take(count).map(|line| headline(line).0.to_owned() + "\n").collect()
}

#[test]
fn a_verdict_counts_right_and_says_what_to_do() {
    fn set(run: &mut RunRecord, count: usize, outcome: Outcome) {
        run.scenes.truncate(count);
        run.scenes.iter_mut().for_each(|scene| scene.outcome = outcome);
    }
    let first = |change: fn(&mut RunRecord)| {
        let mut run = night();
        change(&mut run);
        lines(&run, 1)
    };
    let texts = [
        first(|run| set(run, 1, Outcome::Succeeded)),
        first(|run| set(run, 3, Outcome::Succeeded)),
        first(|run| set(run, 1, Outcome::Cached)),
        first(|run| set(run, 3, Outcome::Cached)),
        first(|run| set(run, 1, Outcome::Failed)),
        first(|run| set(run, 2, Outcome::OutOfMemory)),
        first(|run| run.interrupted = true),
        first(|run| {
            run.interrupted = true;
            run.scenes.clear();
        }),
        first(|run| {
            run.failure = Some((Exit::Unreachable, "no ComfyUI".into()));
            run.scenes.iter_mut().for_each(|scene| scene.attempts.clear());
        }),
    ];
    expect![[r"
        ✓ 1 scene in 27 min 37 s
        ✓ 3 of 3 scenes in 27 min 37 s
        ✓ nothing was generated: the scene came from ComfyUI's cache (use --fresh)
        ✓ nothing was generated: all 3 scenes came from ComfyUI's cache (use --fresh)
        ✗ 1 scene failed in 27 min 37 s (exit 1)
        ✗ 2 of 2 scenes failed in 27 min 37 s (exit 5, out of memory)
        ✗ interrupted after 27 min 37 s: 2 of 3 scenes succeeded (exit 130)
        ✗ interrupted before a scene was run (exit 130)
        ✗ no scene was run (exit 3, unreachable)
    "]]
    .assert_eq(&texts.concat());
    let mut run = night();
    set(&mut run, 2, Outcome::Rejected);
    let block = summary_block(&run, &vram(), None);
    assert_eq!(
        block.last().unwrap(),
        "Next       correct what the server rejects, then run-comfyui-e2e -SceneFilter scene-003"
    );
    // What did not end may have needed more.
    assert!(!block.iter().any(|line| line.starts_with("Needs")), "{block:?}");
}

#[test]
fn the_machine_s_own_memory_is_no_vram() {
    let mut run = night();
    run.server.device_kind = Some("cpu".into());
    run.server.starts = vec![started("it did not answer")];
    run.aftermath.other_prompts = 1;
    let block = summary_block(&run, &vram(), None);
    assert!(!block.concat().contains("VRAM") && !block.concat().contains("GPU"), "{block:?}");
    assert_eq!(
        block[4..8],
        [
            "RAM peak   19310 of 24576 MB (79 %), 5266 to spare, 23:04:10 in scene-001",
            "Needs      at least 17070 MB of RAM of its own",
            "After      ComfyUI idle, queue empty, 2140 MB of RAM in use as before",
            "Server     ComfyUI started by this run, ready after 14 s",
        ]
    );
    assert!(block[8].contains(", 1 prompt of another client ran meanwhile, "), "{block:?}");
    // So a gate on it is one on all that runs there.
    run.gates = vec![Verdict {
        gate: Gate::Baseline,
        scene: Some("scene-001".into()),
        limit: Some(2),
        measured: Some(Measured::Added(1)),
        before: Some(1),
        state: State::Held,
    }];
    let block = summary_block(&run, &vram(), None);
    let table = block.iter().position(|line| line.starts_with("  scene-001  ")).unwrap();
    assert_eq!(
        block[table + 1],
        "  RAM of the whole machine: less is added on a warm start, which ✓ allows for"
    );
    run.gates[0].state = State::Failed;
    assert!(!summary_block(&run, &vram(), None).concat().contains("whole machine"));
}

#[test]
fn a_scene_has_a_row_on_a_screen() {
    let mut run = night();
    run.scenes[0].attempts[0].cached_nodes.clear();
    run.scenes[0].id = "城のシーン".into();
    let mut vram = vram();
    vram.scenes[0].id = "城のシーン".into();
    run.scenes[1].outcome = Outcome::Cached;
    run.scenes[2].outcome = Outcome::Failed;
    run.scenes[2].why = "node 4 FailAlways: CLIP model not found: umt5_xxl_fp8.safetensors".into();
    let mut shown = String::new();
    for columns in [79, 39, 19] {
        for scene in &run.scenes {
            for row in SceneRow::new(scene, &run, &vram, true).rows(10, columns) {
                assert!(width(&row) <= columns, "{columns}: {row}");
                shown += &(row + "\n");
            }
        }
    }
    expect![[r"
        ✓ 城のシーン     3:08  19310 MB  +17070  scene-001.mp4  1.5 MB
        ✓ scene-002      3:11  from the cache, no figures (use --fresh)
                               2nd attempt (1st: lost, server restarted 23:05:12)
        ✗ scene-003     12:05  node 4 FailAlways: CLIP model not found:
                               umt5_xxl_fp8.safetensors (2 attempts)
        ✓ 城のシーン 3:08 19310 MB +17070
        ✓ scene-002 3:11 from the cache, no
          figures (use --fresh) 2nd attempt
          (1st: lost, server restarted
          23:05:12)
        ✗ scene-003 12:05 node 4 FailAlways:
          CLIP model not found:
          umt5_xxl_fp8.safetensors (2 attempts)
        ✓ 城のシーン 3:08
          19310 MB +17070
        ✓ scene-002 3:11
          from the cache,
          no figures (use
          --fresh) 2nd
          attempt (1st:
          lost, server
          restarted
          23:05:12)
        ✗ scene-003 12:05
          node 4
          FailAlways: CLIP
          model not found:
          umt5_xxl_fp8.safe
          tensors (2
          attempts)
    "]]
    .assert_eq(&shown);
}

#[test]
fn a_free_parts_the_scenes_that_executed() {
    use Outcome::{Cached, OutOfMemory, Rejected, Skipped, Succeeded};
    let scenes = |scenes: &[(Outcome, &[bool])]| {
        let of = |(n, (outcome, freed)): (usize, &(Outcome, &[bool]))| {
            let attempts =
                freed.iter().map(|freed| Attempt { freed: *freed, ..attempt(*outcome, "") });
            scene(&n.to_string(), *outcome, 1.0, attempts.collect())
        };
        let run = RunRecord { scenes: scenes.iter().enumerate().map(of).collect(), ..night() };
        run.series().iter().map(|ids| ids.concat()).collect::<Vec<_>>().join(" ")
    };
    let good = (Succeeded, &[false][..]);
    assert_eq!(scenes(&[]), "");
    assert_eq!(scenes(&[good, good, good]), "012");
    assert_eq!(scenes(&[(Succeeded, &[true]), good, (Succeeded, &[true]), good]), "01 23");
    assert_eq!(scenes(&[good, (OutOfMemory, &[false, true]), good]), "0 12");
    assert_eq!(scenes(&[(Cached, &[false]), good, (Skipped, &[]), good]), "13");
    // What was emptied before a scene that never ran is empty for the next one.
    assert_eq!(scenes(&[good, (Rejected, &[true]), good]), "0 2");
}

/// A start of the server that took 14 s.
fn started(why: &str) -> ServerStart {
    let (at, last_line) = (datetime!(2026-11-24 23:05:00 -5), "Starting server".to_owned());
    ServerStart { at, ready_after_seconds: 14.0, why: why.to_owned(), last_line }
}

#[test]
fn a_start_of_the_server_parts_the_scenes_and_what_was_added_behind_it_is_not_known() {
    let of = |(n, starts): (usize, &&[usize])| {
        let attempts = starts.iter().map(|server_starts| Attempt {
            server_starts: *server_starts,
            freed: false,
            ..attempt(Outcome::Succeeded, "")
        });
        scene(&n.to_string(), Outcome::Succeeded, 1.0, attempts.collect())
    };
    let scenes: [&[usize]; 6] = [&[1], &[1], &[1, 2], &[2], &[3], &[3]];
    let run = RunRecord { scenes: scenes.iter().enumerate().map(of).collect(), ..night() };
    assert_eq!(run.series(), [vec!["0", "1"], vec!["2", "3"], vec!["4", "5"]]);
    assert_eq!(run.restarted(), ["2", "4"]);
}

#[test]
fn the_server_has_a_row_where_the_run_started_it() {
    let row = |whys: &[&str]| {
        let starts = whys.iter().map(|why| started(why)).collect();
        let server = Server { starts, ..Server::default() };
        let block = summary_block(&RunRecord { server, ..night() }, &vram(), None);
        block.into_iter().find(|line| line.starts_with("Server"))
    };
    let wanted = |text: &str| Some(format!("Server     ComfyUI started {text}"));
    assert_eq!(row(&[]), None);
    assert_eq!(row(&["it did not answer"]), wanted("by this run, ready after 14 s"));
    let died = "in scene-002 its worker died (failed to extract audio)";
    assert_eq!(
        row(&["it did not answer", died]),
        wanted(&format!("again once: {died}; ready after 14 s"))
    );
    assert_eq!(
        row(&["in a it went away", "in b it went away"]),
        wanted(
            "again twice: in a it went away; ready after 14 s; in b it went away; ready after 14 s"
        )
    );
}

#[test]
fn with_many_scenes_failures_come_first() {
    let mut run = night();
    run.scenes.extend((4..10).map(|n| scene(&format!("scene-{n}"), Outcome::Cached, 0.1, vec![])));
    let block = summary_block(&run, &vram(), None);
    assert!(block[1].starts_with("✗ scene-003"), "{block:?}");
    assert!(block[2].starts_with("✓ scene-001"), "{block:?}");
}

/// The metadata of a run.
fn document(run: &RunRecord) -> Value {
    metadata::document(run, &vram(), &[], &HelperFiles::of(Path::new("run")))
}

#[test]
fn the_metadata_hold_the_whole_record() {
    let unreachable = Some((Exit::Unreachable, "no ComfyUI".to_owned()));
    let (still_running, may_come) = (Some("scene-003".to_owned()), Some("scene-002".to_owned()));
    for run in [
        night(),
        RunRecord { failure: unreachable, interrupted: true, next: None, ..night() },
        RunRecord { asleep: sleeps(), ..night() },
        RunRecord {
            gates: verdicts(),
            aftermath: PostRunState { still_running, may_come, ..PostRunState::default() },
            server: Server {
                starts: vec![started("it did not answer"), started("in a it went away (Killed)")],
                end: Some(ServerEnd::Left),
                ..Server::default()
            },
            scenes: vec![],
            ..night()
        },
    ] {
        let document = document(&run);
        // As `summary` has it, from the file's text.
        let document = serde_json::from_str(&document.to_string()).unwrap();
        assert_eq!(metadata::record(&document), Ok(run));
    }
}

#[test]
fn a_cached_scene_has_no_figures_whatever_the_log_says() {
    let mut run = night();
    run.scenes[0].outcome = Outcome::Cached;
    let document = document(&run);
    assert!(document["Scenes"][0]["Vram"].is_null());
    assert_eq!(document["Scenes"][1]["Vram"]["PeakDriverMB"], 19080);
    let block = summary_block(&run, &vram(), None);
    assert!(
        block[1].starts_with("✓ scene-001  3:08  from the cache, no figures (use --fresh)  "),
        "{block:?}"
    );
}

#[test]
fn an_outcome_stands_in_the_table_where_the_enum_has_it() {
    for (index, outcome) in Outcome::all().into_iter().enumerate() {
        assert_eq!(outcome as usize, index);
        assert_eq!(Outcome::from_name(outcome.name()), Some(outcome));
    }
}

#[test]
fn the_first_code_that_applies_is_the_exit() {
    use Outcome::{Cached, Deadline, Failed, Lost, OutOfMemory, Skipped, Succeeded, Unreachable};
    let exit = |outcomes: &[Outcome]| {
        let scenes = outcomes.iter().map(|outcome| scene("a", *outcome, 0.0, vec![])).collect();
        RunRecord { scenes, ..night() }.exit()
    };
    for (outcomes, wanted) in [
        (&[Succeeded, Cached][..], Exit::Success),
        (&[Succeeded, Deadline, Deadline], Exit::Deadline),
        (&[OutOfMemory], Exit::OutOfMemory),
        (&[Lost, Succeeded], Exit::Lost),
        (&[Lost, Deadline], Exit::Failed),
        (&[Deadline, Skipped], Exit::Failed),
        (&[Failed, Failed], Exit::Failed),
        (&[Deadline, Unreachable, Skipped], Exit::Unreachable),
    ] {
        assert_eq!(exit(outcomes), wanted, "{outcomes:?}");
    }
    let interrupted = RunRecord { interrupted: true, ..night() };
    assert_eq!(interrupted.exit(), Exit::Interrupted);
}
