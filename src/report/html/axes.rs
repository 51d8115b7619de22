//! Where the axes have their marks.

use time::Time;

use crate::vram::log::time_text;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Milliseconds between two marks of time: from 50 ms to half a minute, from one minute to half an
/// hour, and from one hour to a week.
const STEPS: [&[u64]; 3] = [
    &[50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000],
    &[MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE],
    &[HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY],
];

/// Round figures from 0 up to the highest, six at most.
pub(super) fn of_memory(highest_mb: u64) -> Vec<u64> {
    // 1, 2, 5, 10, 20, 50 and so on.
    let mut steps = (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)));
    let step = steps.find(|step| highest_mb / step <= 5).unwrap_or(1);
    (0..=highest_mb / step).map(|mark| mark * step).collect()
}

/// Round times of day within a span that begins at `first`, nine at most: milliseconds since then,
/// and what stands there.
pub(super) fn of_time(first: Time, span_ms: u64) -> Vec<(u64, String)> {
    let (h, m, s, ms) = first.as_hms_milli();
    let start = u64::from(h) * HOUR + u64::from(m) * MINUTE + u64::from(s) * 1000 + u64::from(ms);
    let mut step = STEPS.concat().into_iter().find(|step| span_ms / step <= 8).unwrap_or(7 * DAY);
    while span_ms / step > 8 {
        step *= 2;
    }
    let marks = (start.div_ceil(step)..).map(|mark| mark * step);
    let marks = marks.take_while(|at| *at < start + span_ms);
    let marks: Vec<_> = marks.map(|at| (at - start, label(at, step, span_ms > DAY))).collect();
    if marks.is_empty() { vec![(0, time_text(first))] } else { marks }
}

/// `23:05`, with seconds where the marks are closer than minutes; in a log of days midnight is the
/// day.
fn label(at: u64, step: u64, days: bool) -> String {
    let (day, rest) = (at / DAY, at % DAY);
    let (h, m, s, ms) = (rest / HOUR, rest / MINUTE % 60, rest / 1000 % 60, rest % 1000);
    if days && day > 0 && rest == 0 {
        format!("+{day} d")
    } else if step >= MINUTE {
        format!("{h:02}:{m:02}")
    } else if step >= 1000 || ms == 0 {
        format!("{h:02}:{m:02}:{s:02}")
    } else {
        format!("{h:02}:{m:02}:{s:02}.{:02}", ms / 10)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::time;

    use super::*;

    #[test]
    fn marks_of_memory_are_round_and_few() {
        assert_eq!(of_memory(24_576), [0, 5000, 10_000, 15_000, 20_000]);
        assert_eq!(of_memory(98_304), [0, 20_000, 40_000, 60_000, 80_000]);
        assert_eq!(of_memory(3), [0, 1, 2, 3]);
        assert_eq!(of_memory(0), [0]);
        for highest in (0..1 << 24).step_by(997) {
            let marks = of_memory(highest);
            assert!((1..=6).contains(&marks.len()) && marks.last() <= Some(&highest), "{highest}");
            assert!(highest < 2 || marks.len() >= 3, "{highest}: {marks:?}");
        }
    }

    #[test]
    fn marks_of_time_stand_at_round_times_of_day() {
        let texts = |first, span| {
            let marks = of_time(first, span);
            marks.into_iter().map(|(at, text)| format!("{at} {text}")).collect::<Vec<_>>()
        };
        let seconds = texts(time!(12:01:03), 20_000);
        assert_eq!(seconds[0], "2000 12:01:05");
        assert_eq!(seconds.len(), 4, "{seconds:?}");
        let night = texts(time!(22:30), 9 * HOUR);
        assert_eq!(night, ["5400000 00:00", "12600000 02:00", "19800000 04:00", "27000000 06:00"]);
        let days = texts(time!(22:30), 40 * HOUR);
        assert_eq!(days[..2], ["5400000 +1 d", "27000000 06:00"]);
        assert_eq!(texts(time!(0:00:00.25), 100), ["0 00:00:00.25", "50 00:00:00.30"]);
        assert_eq!(texts(time!(12:01:03), 1), ["0 12:01:03"]);
        for span in (1..40).map(|power| 3_u64.pow(power) % (400 * DAY) + 1) {
            let marks = of_time(time!(17:43:11.037), span);
            assert!((1..=9).contains(&marks.len()), "{span}: {marks:?}");
            assert!(marks.iter().all(|(at, _)| *at < span), "{span}: {marks:?}");
        }
    }
}
