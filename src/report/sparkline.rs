//! VRAM over time in one line of blocks, and its scale, for a terminal.

use time::Duration;

use super::text::metric_name;
use crate::vram::log::time_text;
use crate::vram::reading::memory_name;
use crate::vram::stats::{Metric, VramStats};
use crate::vram::timeline::Timeline;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The scale, and the curve in at most `width` columns: one for each tick; if there are more ticks,
/// the highest reading of several. A gap is blank. Empty if nothing was sampled.
///
/// The figure is the one that counts in the statistics; `system_ram`: it is the machine's own memory.
pub fn lines(timeline: &Timeline, vram: &VramStats, system_ram: bool, width: usize) -> Vec<String> {
    let all = |metric| timeline.columns.iter().filter_map(move |column| column.readings(metric));
    let metrics = [vram.metric, Metric::Driver, Metric::Used];
    let Some(metric) = metrics.into_iter().find(|metric| all(*metric).next().is_some()) else {
        return Vec::new();
    };
    let low = all(metric).map(|readings| readings.low).min().unwrap_or_default();
    let high = all(metric).map(|readings| readings.high).max().unwrap_or_default();
    let (memory, name) = match memory_name(system_ram) {
        ram if system_ram => (ram, String::new()),
        vram => (vram, format!(" {}", metric_name(metric, false))),
    };
    let from = timeline.first_at.unwrap_or(time::Time::MIDNIGHT);
    let to = from + Duration::milliseconds(i64::try_from(timeline.span_ms()).unwrap_or_default());
    let [from, to] = [from, to].map(|at| time_text(at.replace_millisecond(0).unwrap_or(from)));
    let scale = format!("▁ {low} █ {high} MB");
    let whole = format!("{memory} {scale}{name}");
    let scales = [format!("{whole}, {from} to {to}"), whole];
    let fits = scales.into_iter().find(|line| line.chars().count() <= width);
    vec![fits.unwrap_or(scale), blocks(timeline, metric, width, low, high)]
}

fn blocks(timeline: &Timeline, metric: Metric, width: usize, low: u64, high: u64) -> String {
    let columns = &timeline.columns;
    let ticks = columns.iter().filter(|column| !column.is_empty() || column.missed > 0).count();
    let cells = ticks.min(width).max(1);
    let gaps = timeline.gaps();
    let in_gap = |place: usize| gaps.iter().any(|(first, last)| *first < place && place < *last);
    let mut latest = low;
    let cell = |cell: usize| {
        let (from, to) = (cell * columns.len() / cells, (cell + 1) * columns.len() / cells);
        let readings = || columns[from..to].iter().filter_map(|column| column.readings(metric));
        if let Some(last) = readings().next_back() {
            latest = last.last;
        } else if (from..to).all(in_gap) {
            return ' ';
        }
        // Between two ticks the latest reading still holds.
        block(readings().map(|readings| readings.high).max().unwrap_or(latest), low, high)
    };
    (0..cells).map(cell).collect::<String>().trim_end().to_owned()
}

fn block(mb: u64, low: u64, high: u64) -> char {
    let (height, all) = (u128::from(mb - low) * 7, u128::from((high - low).max(1)));
    let level = usize::try_from((height + all / 2) / all).unwrap_or(7);
    BLOCKS[level.min(7)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vram::stats::LogSummary;

    fn drawn(log: &str, width: usize) -> Vec<String> {
        let LogSummary { timeline, .. } = LogSummary::of(log.as_bytes()).unwrap();
        let vram = VramStats { metric: Metric::Driver, ..VramStats::default() };
        lines(&timeline, &vram, false, width)
    }

    /// A line a second, its driver's figure or a missed tick.
    fn log(figures: &[Option<u64>]) -> String {
        let line = |(second, figure): (usize, &Option<u64>)| {
            let (h, m, s) = (12 + second / 3600, second / 60 % 60, second % 60);
            let what = match figure {
                Some(mb) => format!("Used=1MB,Driver={mb}MB"),
                None => "Missed=timeout".to_owned(),
            };
            format!("{h:02}:{m:02}:{s:02},{what}\n")
        };
        figures.iter().enumerate().map(line).collect()
    }

    #[test]
    fn a_block_a_tick_and_the_scale_as_far_as_there_is_room() {
        let rising: Vec<_> = (0..8).map(|n| Some(1000 + n * 1000)).collect();
        let rising = log(&rising);
        let blocks = "▁▂▃▄▅▆▇█";
        for (width, scale) in [
            (60, "VRAM ▁ 1000 █ 8000 MB driver, 12:00:00 to 12:00:07"),
            (40, "VRAM ▁ 1000 █ 8000 MB driver"),
            (20, "▁ 1000 █ 8000 MB"),
        ] {
            assert_eq!(drawn(&rising, width), [scale, blocks]);
        }
        assert_eq!(drawn(&rising, 4)[1], "▂▄▆█");
        assert_eq!(drawn("", 60), [""; 0]);
        assert_eq!(drawn(&log(&[None, None]), 60), [""; 0]);
        assert_eq!(drawn(&log(&[Some(5), Some(5)]), 60)[1], "▁▁");
    }

    #[test]
    fn a_gap_is_blank_and_no_peak_is_lost() {
        let gap = [Some(1), Some(8), None, None, None, Some(8), Some(1)];
        assert_eq!(drawn(&log(&gap), 60)[1], "▁█   █▁");
        let mut day = vec![Some(100); 10_000];
        day[7777] = Some(900);
        let day = drawn(&log(&day), 60);
        assert_eq!(day[1].chars().count(), 60);
        assert_eq!(day[1].chars().position(|c| c == '█'), Some(46), "{day:?}");
        assert_eq!(day[1].matches('▁').count(), 59);
    }
}
