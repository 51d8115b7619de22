//! What survives the thinning, whatever the log.

use proptest::prelude::*;

use super::*;
use crate::vram::reading::MissReason;
use crate::vram::stats::{Accumulator, LogSummary};

/// A timeline of lines, each so many milliseconds after the one before: its used figure, or none.
fn of(steps: &[(u64, Option<u64>)]) -> Timeline {
    let mut accumulator = Accumulator::default();
    let mut now = 0;
    for (place, (step, mb)) in steps.iter().enumerate() {
        now += step;
        let at = Time::MIDNIGHT + std::time::Duration::from_millis(now);
        let result = mb.map_or(Err(MissReason::Late), |used| {
            Ok((Reading { used, ..Reading::default() }, Source::ComfyUi))
        });
        let interval_ms = (place == 0).then_some(1000);
        accumulator.take(&Line { interval_ms, ..Line::new(at, result) });
    }
    accumulator.finish(0).timeline
}

fn of_text(log: &str) -> Timeline {
    LogSummary::of(log.as_bytes()).unwrap().timeline
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_column_keeps_its_extremes_and_every_gap_is_shown(
        steps in prop::collection::vec(
            (prop_oneof![8 => 900..1100_u64, 1 => 0..40_000_u64], prop::option::weighted(0.9, 0..30_000_u64)),
            1..1500,
        ),
    ) {
        let timeline = of(&steps);
        prop_assert!(timeline.columns.len() <= MAX_COLUMNS);
        // Midnight comes again in a longer log: the columns are those of the time since the start.
        let mut now = 0;
        let times: Vec<u64> = steps.iter().skip(1).map(|(step, _)| { now += step; now }).collect();
        let times: Vec<u64> = [0].into_iter().chain(times).collect();
        let mut wanted = vec![Vec::new(); timeline.columns.len()];
        for (at, (_, mb)) in times.iter().zip(&steps) {
            wanted[timeline.position(*at)].extend(*mb);
        }
        for (column, wanted) in timeline.columns.iter().zip(&wanted) {
            let kept = column.readings(Metric::Used).map(|kept| (kept.low, kept.high));
            prop_assert_eq!(kept, wanted.iter().min().copied().zip(wanted.iter().max().copied()));
            let ends = column.readings(Metric::Used).map(|kept| (kept.first, kept.last));
            prop_assert_eq!(ends, wanted.first().copied().zip(wanted.last().copied()));
        }
        let highest = steps.iter().filter_map(|(_, mb)| *mb).max();
        prop_assert_eq!(timeline.peak(Metric::Used).map(|peak| peak.mb), highest);

        let gaps = timeline.gaps();
        prop_assert!(gaps.windows(2).all(|pair| pair[0].1 < pair[1].0));
        let shown = |from: usize, to: usize| gaps.iter().any(|gap| gap.0 <= from && gap.1 >= to);
        let mut latest = None;
        for (at, (_, mb)) in times.iter().zip(&steps) {
            let place = timeline.position(*at);
            if mb.is_none() {
                prop_assert!(shown(place, place), "a missed tick in column {place}: {gaps:?}");
                continue;
            }
            if let Some(latest) = latest.replace(*at) && at - latest > 2500 {
                prop_assert!(shown(timeline.position(latest), place), "{latest} to {at}: {gaps:?}");
            }
        }
        // Nothing else is.
        if steps.iter().skip(1).all(|(step, mb)| *step < 2000 && mb.is_some()) && steps[0].1.is_some() {
            prop_assert_eq!(gaps, vec![]);
        }
    }
}

#[test]
fn a_day_keeps_a_peak_of_one_second_and_a_gap_of_one_tick() {
    let line = |second: u64| match second {
        40_000 => (1000, Some(23_999)),
        50_000 => (1000, None),
        _ => (1000, Some(5000 + second % 7)),
    };
    let steps: Vec<_> = (0..86_400).map(line).collect();
    let timeline = of(&steps);
    assert!(
        (MAX_COLUMNS / 2..=MAX_COLUMNS).contains(&timeline.columns.len()),
        "{}",
        timeline.columns.len()
    );
    let peak = timeline.peak(Metric::Driver).unwrap();
    assert_eq!((peak.mb, peak.at_ms), (23_999, 40_000_000));
    let high = |column: &Column| column.readings(Metric::Used).unwrap().high;
    let place = timeline.columns.iter().position(|column| high(column) == 23_999);
    assert_eq!(place, Some(timeline.position(40_000_000)));
    assert_eq!(timeline.gaps(), [(timeline.position(50_000_000), timeline.position(50_000_000))]);
}

#[test]
fn midnight_is_passed_and_a_clock_set_back_is_told() {
    let timeline = of_text("23:59:55,Used=1MB\n00:00:00,Used=2MB\n00:00:05,Used=3MB\n");
    assert_eq!(timeline.peak(Metric::Used).map(|peak| peak.at_ms), Some(10_000));
    assert!(!timeline.set_back && timeline.gaps().is_empty());
    let timeline = of_text("12:00:00,Used=1MB\n11:00:00,Used=2MB\n11:00:05,Used=3MB\n");
    assert_eq!(timeline.peak(Metric::Used).map(|peak| peak.at_ms), Some(5000));
    assert!(timeline.set_back);
    let empty = of_text("");
    assert_eq!((empty.span_ms(), empty.first_at, empty.gaps()), (0, None, vec![]));
    assert_eq!(of_text("12:00:00,Missed=late\n").gaps(), [(0, 0)]);
}

#[test]
fn what_nvidia_smi_gives_is_the_driver_s_and_never_used() {
    let timeline = of_text(
        "12:00:00,Used=10MB,Driver=20MB\n12:00:05,Used=90MB,Driver=90MB,Source=nvidia-smi\n\
         12:00:10,Used=11MB,Driver=21MB\n",
    );
    let of = |metric| timeline.peak(metric).map(|peak| peak.mb);
    assert_eq!((of(Metric::Used), of(Metric::Driver)), (Some(11), Some(90)));
    let marked: Vec<_> = timeline.columns.iter().filter_map(|column| column.fallback).collect();
    assert_eq!((marked, timeline.highest()), (vec![90], 90));
}

#[test]
fn a_scene_is_one_band_over_its_attempts_and_another_run_begins_another() {
    let timeline = of_text(
        "12:00:00,Used=1MB,Interval=5s\n12:00:05,Used=9MB,Scene=a\n12:00:10,Used=1MB\n\
         12:00:15,Missed=late,Scene=a\n12:00:20,Used=5MB,Scene=b\n12:00:25,Used=99MB\n\
         12:00:30,Used=1MB,Interval=5s,Scene=b\n",
    );
    let bands: Vec<_> =
        timeline.bands.iter().map(|band| (&*band.scene, band.from_ms, band.to_ms)).collect();
    assert_eq!(bands, [("a", 5000, 15_000), ("b", 20_000, 20_000), ("b", 30_000, 30_000)]);
    // What was in use while nothing was generated is no peak of a scene.
    assert_eq!(timeline.peak(Metric::Used).map(|peak| peak.mb), Some(9));
    let many: Vec<_> = (0..500).map(|n| format!("12:00:00,Used=1MB,Scene=s{n}\n")).collect();
    let timeline = of_text(&many.concat());
    assert_eq!((timeline.bands.len(), timeline.unbanded), (MAX_BANDS, true));
}
