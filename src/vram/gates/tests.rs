//! Verdicts to the letter, and what is never judged.

use proptest::prelude::*;

use super::*;
use crate::vram::stats::LogSummary;

const CARD: &str = "cuda:0 NVIDIA GeForce RTX 3090 : cudaMallocAsync";
const START: &str = "12:00:00,Used=2000MB,Total=24576MB,Driver=2100MB\n";

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
    RunFacts { device: Some(CARD), system_ram: false, scenes: scenes.to_vec() }
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
    let ram = Some(RunFacts { system_ram: true, ..facts(&[("a", false)]) });
    for (log, facts, mb, line) in [
        (log(&[("a", 17_048, 20_480)]), &one, 20_000, "FAILED, driver 20480 MB (used 17048)"),
        (log(&[("a", 17_048, 20_480)]), &one, 20_480, "held, driver 20480 MB (used 17048)"),
        (log(&[("a", 17_048, 20_480)]), &None, 20_479, "FAILED, driver 20480 MB (used 17048)"),
        ("12:00:00,Used=300MB,Scene=a\n".into(), &one, 300, "held, used 300 MB"),
        ("12:00:00,Used=300MB,Scene=a\n".into(), &ram, 299, "FAILED, system RAM 300 MB"),
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
    let why = "all of it came from ComfyUI's cache (use -Fresh or -Seed random)";
    assert_eq!(
        lines(peak(400), &run(true, true), &[]),
        [format!("MaxPeakMB 400: not judged, {why}")]
    );
    let all = RunVram { vram: &vram, facts: None };
    let wanted = [
        "Baseline 21504: not judged, all of it came from ComfyUI's cache (use -Fresh or -Seed random)",
        "Baseline a 21504: not judged, it came from ComfyUI's cache: nothing was executed",
        "Baseline b 364: not judged, it came from ComfyUI's cache: nothing was executed",
    ];
    assert_eq!(lines(Limits::default(), &run(true, true), std::slice::from_ref(&all)), wanted);
    // Nothing of a scene that was cached then is compared.
    assert_eq!(
        lines(Limits::default(), &all, &[run(true, false)])[1..],
        ["Baseline b 364: held, driver 300 MB (used 100)"]
    );
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
        assert_eq!(limit(peaks), wanted, "{peaks:?}");
    }
}

proptest! {
    #[test]
    fn a_limit_is_never_below_the_highest_baseline(
        peaks in prop::collection::vec(any::<u64>(), 1..8), more in any::<u64>()
    ) {
        let (highest, first) = (*peaks.iter().max().unwrap(), limit(&peaks).unwrap());
        prop_assert!(first >= highest && first >= highest.saturating_add(64));
        let with_more = limit(&[peaks, vec![more]].concat()).unwrap();
        prop_assert!(with_more >= highest.max(more));
    }
}

#[test]
fn a_baseline_is_for_the_run_and_each_scene_that_both_have() {
    let before = of(&log(&[("a", 9000, 10_000), ("gone", 100, 200)]));
    let now = of(&log(&[("a", 9000, 10_501), ("new", 100, 10_400)]));
    let (before, now) =
        (RunVram { vram: &before, facts: None }, RunVram { vram: &now, facts: None });
    assert_eq!(
        lines(Limits::default(), &now, std::slice::from_ref(&before)),
        [
            "Baseline 10500: FAILED, driver 10501 MB (used 9000)",
            "Baseline a 10500: FAILED, driver 10501 MB (used 9000)",
        ]
    );
    assert_eq!(
        lines(Limits::default(), &now, &[before, now.clone()]),
        [
            "Baseline 11002: held, driver 10501 MB (used 9000)",
            "Baseline a 11002: held, driver 10501 MB (used 9000)",
            "Baseline new 10920: held, driver 10400 MB (used 100)",
        ]
    );
}

#[test]
fn the_two_meanings_are_never_mixed() {
    let own = "12:00:00,Used=100MB\n12:00:05,Used=5000MB,Scene=a\n";
    let (old, both) = (of(own), of(&log(&[("a", 5400, 9000)])));
    let (old, both) = (RunVram { vram: &old, facts: None }, RunVram { vram: &both, facts: None });
    // An old log has no driver figure: used is held against used.
    let wanted = ["Baseline 5250: FAILED, used 5400 MB", "Baseline a 5250: FAILED, used 5400 MB"];
    assert_eq!(lines(Limits::default(), &both, std::slice::from_ref(&old)), wanted);
    assert_eq!(lines(Limits::default(), &old, &[both])[0], "Baseline 5670: held, used 5000 MB");
    let fallback =
        "12:00:00,Used=100MB\n12:00:05,Used=5000MB,Driver=5000MB,Source=nvidia-smi,Scene=a\n";
    let fallback = of(fallback);
    let fallback = RunVram { vram: &fallback, facts: None };
    let line = &lines(Limits::default(), &fallback, std::slice::from_ref(&old))[0];
    assert_eq!(line, "Baseline 5250: not judged, no sample was taken while a scene was running");
    let line = &lines(Limits::default(), &old, &[fallback])[0];
    assert_eq!(line, "Baseline: not judged, b1: no sample was taken while a scene was running");
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
        assert!(verdict(&on(&vram, same))[0].starts_with("Baseline 264: held"));
    }
}

#[test]
fn the_closing_line_tells_the_run_and_the_scenes_that_are_worse() {
    let verdict = |scene: &str, mb| {
        Verdict::new(Gate::Baseline, Some(scene), Some(9), Ok(Measured::Used(mb)))
    };
    let mut verdicts = vec![
        Verdict::new(Gate::MaxPeak, None, Some(20_000), Ok(Measured::Driver(19_310, Some(18_231)))),
        Verdict::new(Gate::Baseline, None, None, Err("why".into())),
        Verdict::new(Gate::MaxGrowth, None, Some(3), Ok(Measured::Growth(4))),
    ];
    assert_eq!(closing(&[]), None);
    assert_eq!(closing(&verdicts[..1]).unwrap(), "Gates: MaxPeakMB 20000 held (driver 19310)");
    verdicts.push(verdict("a", 10));
    verdicts.push(verdict("b", 9));
    assert_eq!(
        closing(&verdicts).unwrap(),
        "Gates: MaxPeakMB 20000 held (driver 19310); Baseline not judged (why); \
         MaxGrowthMB 3 FAILED (+4 per scene); Baseline a 9 FAILED (used 10); \
         1 scene within its baseline"
    );
    verdicts.extend((0..7).map(|_| verdict("c", 10)));
    verdicts.push(verdict("d", 0));
    let line = closing(&verdicts).unwrap();
    assert_eq!(line.matches("FAILED (used 10)").count(), 3, "{line}");
    assert!(
        line.ends_with("; 5 more scenes not within theirs; 2 scenes within their baselines"),
        "{line}"
    );
}
