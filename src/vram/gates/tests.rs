//! Verdicts to the letter, and what is never judged.

use proptest::prelude::*;

use super::*;
use crate::vram::reading::DynamicVram;
use crate::vram::stats::LogSummary;

const CARD: &str = "cuda:0 NVIDIA GeForce RTX 3090 : cudaMallocAsync";
const START: &str = "12:00:00,Used=2000MB,Total=24576MB,Driver=2100MB\n";

/// What is in use before a scene, and its peak.
type Scene = (u64, u64);

fn of(log: &str) -> VramStats {
    LogSummary::of(log.as_bytes()).unwrap().stats
}

/// A log of one reading a scene: its used and its driver figure.
fn log(scenes: &[(&str, u64, u64)]) -> String {
    let line = |(id, used, driver): &(&str, u64, u64)| {
        format!("12:00:05,Used={used}MB,Total=24576MB,Driver={driver}MB,Scene={id}\n")
    };
    START.to_owned() + &scenes.iter().map(line).collect::<String>()
}

fn facts<'a>(scenes: &[(&'a str, bool)]) -> RunFacts<'a> {
    let scene =
        |(id, cached): &(&'a str, bool)| SceneRun { id, cached: *cached, ..SceneRun::default() };
    let scenes = scenes.iter().map(scene).collect();
    RunFacts { device: Some(CARD), scenes }
}

fn lines(limits: Limits, run: &RunVram, baselines: &[RunVram]) -> Vec<String> {
    let baselines: Vec<_> =
        (1..).zip(baselines).map(|(n, other)| (format!("b{n}"), other.clone())).collect();
    judge(limits, run, &baselines).iter().map(Verdict::to_string).collect()
}

const fn peak(mb: u64) -> Limits {
    Limits { peak_mb: Some(mb), growth_mb: None }
}

#[test]
fn a_peak_is_the_driver_s_if_it_is_known() {
    let script = "12:00:00,Used=100MB\n12:00:05,Used=300MB\n";
    let late = "12:00:00,Used=100MB\n12:00:05,Used=300MB,Driver=300MB,Source=nvidia-smi,Scene=a\n";
    let before = START.to_owned() + "12:00:05,Used=20480MB,Driver=20480MB\n";
    let one = Some(facts(&[("a", false)]));
    for (log, facts, mb, line) in [
        (log(&[("a", 17_048, 20_480)]), &one, 20_000, "FAILED, driver 20480 MB (used 17048)"),
        (log(&[("a", 17_048, 20_480)]), &one, 20_480, "held, driver 20480 MB (used 17048)"),
        (log(&[("a", 17_048, 20_480)]), &None, 20_479, "FAILED, driver 20480 MB (used 17048)"),
        ("12:00:00,Used=300MB,Scene=a\n".into(), &one, 300, "held, used 300 MB"),
        ("12:00:00,Used=300MB,Ram=300MB,Scene=a\n".into(), &one, 299, "FAILED, RAM 300 MB"),
        (late.into(), &one, 299, "FAILED, driver 300 MB"),
        // A bare log without scenes is judged as a whole, one of a run of ours is not.
        (script.into(), &None, 299, "FAILED, used 300 MB"),
        (before, &one, 99_999, "not judged, no sample was taken while a scene was running"),
        ("12:00:00,Missed=late\n".into(), &one, 9, "not judged, no VRAM sample was taken"),
    ] {
        let vram = of(&log);
        let run = RunVram { vram: &vram, facts: facts.clone() };
        let wanted = format!("MaxPeakMB {mb}: {line}");
        assert_eq!(lines(peak(mb), &run, &[]), [wanted], "{log}");
    }
}

#[test]
fn a_cached_scene_has_no_peak_whatever_was_sampled() {
    let vram = of(&log(&[("a", 100, 20_480), ("b", 100, 300)]));
    let run = |a, b| RunVram { vram: &vram, facts: Some(facts(&[("a", a), ("b", b)])) };
    assert_eq!(
        lines(peak(400), &run(true, false), &[]),
        ["MaxPeakMB 400: held, driver 300 MB (used 100)"]
    );
    let why = "all of it came from ComfyUI's cache (use --fresh)";
    assert_eq!(
        lines(peak(400), &run(true, true), &[]),
        [format!("MaxPeakMB 400: not judged, {why}")]
    );
    let all = RunVram { vram: &vram, facts: None };
    let wanted = [
        "Baseline: not judged, all of it came from ComfyUI's cache (use --fresh)",
        "Baseline a: not judged, it came from ComfyUI's cache (use --fresh)",
        "Baseline b: not judged, it came from ComfyUI's cache (use --fresh)",
    ];
    assert_eq!(lines(Limits::default(), &run(true, true), std::slice::from_ref(&all)), wanted);
    let wanted = "Baseline a: not judged, b1: it came from ComfyUI's cache (use --fresh)";
    assert_eq!(lines(Limits::default(), &all, &[run(true, false)])[1], wanted);
}

/// A log of one reading a scene after one of 2100 MB: its driver figure, and what torch held.
fn torch_log(scenes: &[(&str, u64, u64)]) -> String {
    let line = |(id, driver, torch): &(&str, u64, u64)| {
        format!(
            "12:00:01,Used=2000MB,Driver=2100MB,Torch=10MB\n\
             12:00:05,Used=3000MB,Driver={driver}MB,Torch={torch}MB,Scene={id}\n"
        )
    };
    START.to_owned() + &scenes.iter().map(line).collect::<String>()
}

#[test]
fn a_baseline_is_held_against_what_only_the_workflow_moves() {
    let before = of(&torch_log(&[("a", 10_000, 7000), ("gone", 200, 9)]));
    // Another program holds 700 MB more: torch does not.
    let other = of(&torch_log(&[("a", 10_700, 7010), ("new", 10_400, 6000)]));
    let hungry = of(&torch_log(&[("a", 10_000, 7351)]));
    let [before, other, hungry] =
        [&before, &other, &hungry].map(|vram| RunVram { vram, facts: None });
    let judged = |run: &RunVram, baselines: &[RunVram]| lines(Limits::default(), run, baselines);
    assert_eq!(
        judged(&other, std::slice::from_ref(&before)),
        ["Baseline 7350: held, torch 7010 MB", "Baseline a 7350: held, torch 7010 MB"]
    );
    assert_eq!(
        judged(&hungry, std::slice::from_ref(&before)),
        ["Baseline 7350: FAILED, torch 7351 MB", "Baseline a 7350: FAILED, torch 7351 MB"]
    );
    assert_eq!(
        judged(&other, &[before.clone(), hungry])[1],
        "Baseline a 7702: held, torch 7010 MB"
    );
    // Where one side does not know torch's figure, it is what was added.
    let own = of(&log(&[("a", 5400, 9000)]));
    let own = RunVram { vram: &own, facts: None };
    assert_eq!(
        judged(&own, std::slice::from_ref(&before))[1],
        "Baseline a 8295: held, added 6900 MB"
    );
    let unknown = of("12:00:05,Used=5000MB,Scene=a\n");
    let unknown = RunVram { vram: &unknown, facts: None };
    let wanted = "Baseline a: not judged, what it added is not known in each run (no reading before it, or memory was freed)";
    assert_eq!(judged(&unknown, std::slice::from_ref(&before))[1], wanted);
    let none = of("12:00:05,Missed=late,Scene=a\n");
    let none = RunVram { vram: &none, facts: None };
    assert_eq!(judged(&none, &[before])[0], "Baseline: not judged, no VRAM sample was taken");
}

#[test]
fn repeats_of_a_scene_tell_how_far_its_figure_strays() {
    let before =
        of(&torch_log(&[("a-r1", 10_000, 7000), ("a-r2", 10_000, 6000), ("b-r1", 1, 100)]));
    let now = of(&torch_log(&[("a-r1", 10_000, 7900), ("a-r2", 10_000, 7001), ("b-r1", 1, 165)]));
    let before = RunVram { vram: &before, facts: None };
    let now = RunVram { vram: &now, facts: None };
    let judged = |before: &RunVram| lines(Limits::default(), &now, std::slice::from_ref(before));
    let wanted = [
        "Baseline 8000: held, torch 7900 MB",
        "Baseline a-r1 8000: held, torch 7900 MB",
        "Baseline a-r2 7000: FAILED, torch 7001 MB",
        "Baseline b-r1 164: FAILED, torch 165 MB",
    ];
    assert_eq!(judged(&before), wanted);
    // One of which other nodes were executed tells nothing of that.
    let cached = ["1".to_owned()];
    let mut facts = facts(&[("a-r1", false), ("a-r2", false), ("b-r1", false)]);
    facts.scenes[1].cached_nodes = &cached;
    let part = RunVram { facts: Some(facts), ..before };
    assert_eq!(judged(&part)[1], "Baseline a-r1 7350: FAILED, torch 7900 MB");
}

#[test]
fn what_was_kept_in_the_machine_s_ram_may_be_the_workflow_s() {
    let judged = |before: &[Scene], now: Scene| {
        let log = |(start, peak): &Scene| {
            of(&format!(
                "12:00:00,Used={start}MB,Ram={start}MB\n12:00:05,Used={peak}MB,Ram={peak}MB,Scene=a\n"
            ))
        };
        let (before, now): (Vec<_>, _) = (before.iter().map(log).collect(), log(&now));
        let run = |vram| RunVram { vram, facts: None };
        let before: Vec<_> = before.iter().map(run).collect();
        lines(Limits::default(), &run(&now), &before)[1].clone()
    };
    let cold = (1200, 2200);
    for (before, now, wanted) in [
        (&[cold][..], (1200, 2264), "1064: held, added 1064 MB"),
        (&[cold], (1200, 2265), "1064: FAILED, added 1065 MB"),
        // With all that was in use before it within the limit; above it, whatever was.
        (&[cold], (1800, 2264), "1064: held, added 464 MB"),
        (&[cold], (1800, 2865), "1064: FAILED, added 1065 MB"),
        (
            &[cold],
            (1800, 2265),
            ": not judged, 1800 MB in use before it, 1200 in the baseline: run it again in two minutes, with ComfyUI started anew",
        ),
        // The same of the baseline.
        (
            &[(1800, 2200)],
            (1200, 2264),
            ": not judged, 1200 MB in use before it, 1800 in the baseline: run the baseline anew",
        ),
        (&[(1800, 2200)], (1200, 2265), "464: FAILED, added 1065 MB"),
        (&[(1800, 2200)], (1200, 1600), "464: held, added 400 MB"),
        (&[(1800, 2200), cold], (1200, 2264), "1600: held, added 1064 MB"),
    ] {
        let line = judged(before, now);
        assert!(line.ends_with(wanted), "{line}\n{wanted}");
    }
    // Each scene's start counts, and not that of the run, where its scenes have rows of their own.
    let log = |start: u64, scenes: [(&str, u64, u64); 2]| {
        let scene = |(id, before, peak): &(&str, u64, u64)| {
            let of = |mb, scene: &str| format!("12:00:05,Used={mb}MB,Ram={mb}MB{scene}\n");
            of(*before, "") + &of(*peak, &format!(",Scene={id}"))
        };
        of(&(format!("12:00:00,Used={start}MB,Ram={start}MB\n")
            + &scenes.each_ref().map(scene).concat()))
    };
    let before = log(1300, [("a-r1", 1300, 2060), ("a-r2", 1600, 1980)]);
    let now = log(2300, [("a-r1", 1800, 1850), ("a-r2", 1800, 2224)]);
    let [before, now] = [&before, &now].map(|vram| RunVram { vram, facts: None });
    let wanted = [
        "Baseline 1140: held, added 424 MB",
        "Baseline a-r1 1140: held, added 50 MB",
        "Baseline a-r2 760: held, added 424 MB",
    ];
    assert_eq!(lines(Limits::default(), &now, std::slice::from_ref(&before)), wanted);
    let other = log(2300, [("c", 1800, 1850), ("d", 1800, 2224)]);
    let other = RunVram { vram: &other, facts: None };
    let line = lines(Limits::default(), &other, &[before])[0].clone();
    assert!(
        line.starts_with("Baseline 1140: not judged, 2300 MB in use before it, 1300 in"),
        "{line}"
    );
    // Of a card's memory what other programs hold is no matter.
    let [before, now] = [(2000, 3000), (9000, 10_000)].map(|(start, peak)| {
        of(&format!("12:00:00,Used={start}MB\n12:00:05,Used={peak}MB,Scene=a\n"))
    });
    let [before, now] = [&before, &now].map(|vram| RunVram { vram, facts: None });
    let line = lines(Limits::default(), &now, &[before])[1].clone();
    assert_eq!(line, "Baseline a 1064: held, added 1000 MB");
}

#[test]
fn the_highest_of_a_run_has_a_row_where_no_scene_says_as_much() {
    let verdict = |scene: Option<&str>, state: &State| Verdict {
        scene: scene.map(str::to_owned),
        state: state.clone(),
        ..Verdict::new(Gate::Baseline, None, Some(1), Ok(Measured::Added(1)))
    };
    let unknown = State::NotJudged("why".into());
    for (highest, scene, is_shown) in [
        (&State::Failed, &State::Held, true),
        (&State::Failed, &unknown, true),
        (&State::Failed, &State::Failed, false),
        (&unknown, &State::Held, true),
        (&unknown, &unknown, false),
        (&unknown, &State::Failed, false),
        (&State::Held, &State::Failed, false),
    ] {
        let both = [verdict(None, highest), verdict(Some("a"), scene)];
        assert_eq!(cells(&both, true).len() == 2, is_shown, "{both:?}");
        assert_eq!(cells(&both, false).len(), 1);
        assert_eq!(cells(&both[..1], true).len(), 1);
    }
}

#[test]
fn a_scene_of_which_other_nodes_came_from_the_cache_is_not_judged() {
    let vram = of(&torch_log(&[("a", 10_000, 7000)]));
    let nodes: Vec<String> = ["1", "4"].map(str::to_owned).to_vec();
    let run = |cached_nodes: &'static [String]| {
        let scene = SceneRun { id: "a", cached_nodes, node_count: 5, ..SceneRun::default() };
        RunVram { vram: &vram, facts: Some(RunFacts { scenes: vec![scene], ..facts(&[]) }) }
    };
    let nodes: &'static [String] = nodes.leak();
    let judged = |run: &RunVram, other: RunVram| lines(Limits::default(), run, &[other])[1].clone();
    let wanted = "Baseline a: not judged, 2 of 5 nodes came from the cache, use --fresh";
    assert_eq!(judged(&run(nodes), run(&[])), wanted);
    assert_eq!(judged(&run(nodes), run(&nodes[..1])), wanted);
    let wanted = "Baseline a: not judged, b1: 2 of 5 nodes came from the cache, use --fresh";
    assert_eq!(judged(&run(&[]), run(nodes)), wanted);
    assert_eq!(judged(&run(nodes), run(nodes)), "Baseline a 7350: held, torch 7000 MB");
}

#[test]
fn one_reading_of_a_long_scene_holds_nothing() {
    let vram = of(&torch_log(&[("a", 10_000, 7000)]));
    let run = |seconds| {
        let scene = SceneRun { id: "a", seconds, ..SceneRun::default() };
        RunVram { vram: &vram, facts: Some(RunFacts { scenes: vec![scene], ..facts(&[]) }) }
    };
    let judged = |mb, seconds| lines(peak(mb), &run(seconds), &[run(0.5)]);
    let wanted = [
        "MaxPeakMB 10000: not judged, of a there is one reading alone",
        "Baseline 7350: held, torch 7000 MB",
        "Baseline a 7350: not judged, there is one reading alone",
    ];
    assert_eq!(judged(10_000, 60.0), wanted);
    assert_eq!(judged(9999, 60.0)[0], "MaxPeakMB 9999: FAILED, driver 10000 MB (used 3000)");
    assert_eq!(judged(10_000, 0.5)[2], "Baseline a 7350: held, torch 7000 MB");
}

#[test]
fn what_has_spilled_counts_as_on_the_card() {
    let log = START.to_owned()
        + "12:00:05,Used=24576MB,Driver=24576MB,Torch=26000MB,Spilled=3000MB,Scene=a\n";
    let vram = of(&log);
    let run = RunVram { vram: &vram, facts: None };
    let wanted = "MaxPeakMB 27575: FAILED, driver 27576 MB (used 24576)";
    assert_eq!(lines(peak(27_575), &run, &[]), [wanted]);
}

#[test]
fn verdicts_are_told_as_a_table() {
    let before = of(&torch_log(&[("node-r1", 10_000, 1512), ("r2", 10_000, 1510)]));
    let now = of(&torch_log(&[("node-r1", 10_000, 1912), ("r2", 10_000, 1521)]));
    let [before, now] = [&before, &now].map(|vram| RunVram { vram, facts: None });
    let limits = Limits { peak_mb: Some(20_000), growth_mb: Some(5) };
    let verdicts = judge(limits, &now, &[("b".into(), before)]);
    expect_test::expect![[r"
        verdict
                        before     now   change          limit
          MaxPeakMB              10000                   20000  ✓
          node-r1         1512    1912     +400  +26 %    1588  ✗
          r2              1510    1521      +11   +1 %    1586  ✓
          MaxGrowthMB                                        5  ✗ not judged: too few scenes: growth is known from four that executed and were sampled without a /free between them
    "]]
    .assert_eq(&format!("verdict\n{}\n", table(&verdicts).join("\n")));
    assert_eq!(table(&[]), [""; 0]);
}

#[test]
fn a_gate_that_did_not_hold_is_a_sentence() {
    let of = |gate, limit, measured| Verdict::new(gate, None, limit, measured);
    let why = || Err("why".to_owned());
    let worse = of(Gate::Baseline, Some(5), Ok(Measured::Torch(6)));
    let peak = of(Gate::MaxPeak, Some(300), Ok(Measured::Used(301)));
    let held = of(Gate::MaxPeak, Some(300), Ok(Measured::Used(299)));
    let growth = of(Gate::MaxGrowth, Some(3), Ok(Measured::Growth(4)));
    let not_judged = of(Gate::Baseline, None, why());
    let [one, two] = [1, 2].map(|n| vec!["logs/a".to_owned(); n]);
    for (verdicts, baselines, wanted) in [
        (vec![worse.clone(), held.clone()], &one, "VRAM is worse than logs/a"),
        (vec![not_judged.clone(), worse.clone()], &two, "VRAM is worse than 2 baselines"),
        (vec![peak.clone(), not_judged.clone()], &one, "2 of 2 gates did not hold"),
        (vec![peak], &one, "VRAM peak 301 MB is above 300 MB"),
        (vec![growth], &one, "VRAM grows by 4 MB per scene, more than 3 MB"),
        (vec![not_judged, held], &one, "Baseline could not be judged"),
    ] {
        assert_eq!(failure(&verdicts, "VRAM", baselines), wanted);
    }
}

#[test]
fn growth_is_held_against_its_limit() {
    let growth = |mb| Limits { peak_mb: None, growth_mb: Some(mb) };
    let grown = VramStats { growth_per_scene: Some(4), ..of(&log(&[("a", 1, 1)])) };
    let run = RunVram { vram: &grown, facts: None };
    assert_eq!(lines(growth(4), &run, &[]), ["MaxGrowthMB 4: held, +4 MB per scene"]);
    assert_eq!(lines(growth(3), &run, &[]), ["MaxGrowthMB 3: FAILED, +4 MB per scene"]);
    let shrunk = VramStats { growth_per_scene: Some(-4), ..grown.clone() };
    let run = RunVram { vram: &shrunk, facts: None };
    assert_eq!(lines(growth(0), &run, &[]), ["MaxGrowthMB 0: held, -4 MB per scene"]);
    let few = VramStats { growth_per_scene: None, ..grown };
    let line = &lines(growth(0), &RunVram { vram: &few, facts: None }, &[])[0];
    assert!(line.starts_with("MaxGrowthMB 0: not judged, too few scenes: "), "{line}");
}

#[test]
fn baselines_give_room_by_their_number_and_spread() {
    for (peaks, wanted) in [
        (&[][..], None),
        (&[1000], Some(1064)),
        (&[20_000], Some(21_000)),
        (&[20_001], Some(21_002)), // 5 % are 1000.05
        (&[20_000, 20_000], Some(20_200)),
        (&[20_000, 19_000, 19_500], Some(21_000)),
        (&[1000, 1000], Some(1064)),
        (&[u64::MAX], Some(u64::MAX)),
    ] {
        assert_eq!(limit(peaks, 0), wanted, "{peaks:?}");
    }
}

proptest! {
    #[test]
    fn a_limit_is_never_below_the_highest_baseline(
        peaks in prop::collection::vec(any::<u64>(), 1..8), more in any::<u64>()
    ) {
        let (highest, first) = (*peaks.iter().max().unwrap(), limit(&peaks, 0).unwrap());
        prop_assert!(first >= highest && first >= highest.saturating_add(64));
        let with_more = limit(&[peaks, vec![more]].concat(), 0).unwrap();
        prop_assert!(with_more >= highest.max(more));
    }
}

#[test]
fn another_card_is_no_baseline() {
    let vram = of(&log(&[("a", 100, 200)]));
    let small = VramStats { total: Some(16_384), ..vram.clone() };
    let unknown = VramStats { total: None, ..vram.clone() };
    let on =
        |vram, device| RunVram { vram, facts: Some(RunFacts { device, ..facts(&[("a", false)]) }) };
    let run = on(&vram, Some(CARD));
    let verdict = |other: &RunVram| lines(Limits::default(), &run, &[run.clone(), other.clone()]);
    assert_eq!(
        verdict(&on(&small, Some(CARD))),
        ["Baseline: not judged, b2 is of a device of 16384 MB, this one has 24576"]
    );
    assert_eq!(
        verdict(&on(&vram, Some("cuda:0 NVIDIA GeForce RTX 4090 : native"))),
        ["Baseline: not judged, b2 is of NVIDIA GeForce RTX 4090, this is NVIDIA GeForce RTX 3090"]
    );
    for same in [Some("cuda:3 NVIDIA GeForce RTX 3090 : native"), None] {
        assert_eq!(verdict(&on(&unknown, same)).len(), 2);
        assert_eq!(verdict(&on(&vram, same)).len(), 2);
    }
    let on_dynamic = |dynamic| VramStats { dynamic_vram: Some(dynamic), ..vram.clone() };
    let (dynamic, plain) = (on_dynamic(DynamicVram::On), on_dynamic(DynamicVram::Off));
    assert_eq!(
        lines(Limits::default(), &on(&dynamic, None), &[on(&plain, None)]),
        ["Baseline: not judged, dynamic VRAM was off in b1, it is on here"]
    );
    let fallback = of("12:00:00,Used=9MB,Driver=9MB,Source=nvidia-smi\n\
                       12:00:05,Used=50MB,Driver=50MB,Source=nvidia-smi,Scene=a\n");
    let line = &lines(Limits::default(), &on(&vram, None), &[on(&fallback, None)])[0];
    assert!(
        line.starts_with("Baseline: not judged, b1 has the readings of another source"),
        "{line}"
    );
}

#[test]
fn the_closing_line_tells_each_gate_once() {
    let verdict = |scene: &str, mb| {
        Verdict::new(Gate::Baseline, Some(scene), Some(9), Ok(Measured::Torch(mb)))
    };
    let mut verdicts = vec![
        Verdict::new(Gate::MaxPeak, None, Some(20_000), Ok(Measured::Driver(19_310, Some(18_231)))),
        Verdict::new(Gate::MaxGrowth, None, Some(3), Ok(Measured::Growth(4))),
    ];
    assert_eq!(closing(&[]), None);
    assert_eq!(closing(&verdicts[..1]).unwrap(), "MaxPeakMB 20000 held (19310)");
    verdicts.push(verdict("a", 9));
    let limits = "MaxPeakMB 20000 held (19310); MaxGrowthMB 3 FAILED (+4 per scene)";
    assert_eq!(closing(&verdicts).unwrap(), format!("{limits}; Baseline held"));
    verdicts.push(verdict("b", 10));
    assert_eq!(closing(&verdicts).unwrap(), format!("{limits}; Baseline FAILED"));
}
