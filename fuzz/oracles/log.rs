//! A log of any bytes, and everything that is made of it.

use std::io::BufReader;

use super::{are_lines, page};
use crate::report::ReportInput;
use crate::report::html::Page;
use crate::vram::log::{Line, read_lines};
use crate::vram::reading::HIGHEST_MB;
use crate::vram::stats::{LogSummary, VramStats};
use crate::vram::timeline::Timeline;

/// A log reads the same at every size of the buffer. What was read and is written
/// again reads the same. The statistics are those of the lines, their block is harmless, and the
/// page is well-formed, whatever the log and its name.
///
/// # Panics
/// Otherwise.
pub fn log(data: &[u8]) {
    let (lines, skipped) = read(data);
    rewritten(&lines);
    torn(data, &lines);
    let LogSummary { stats: vram, timeline } = LogSummary::of(data).unwrap();
    assert_eq!(vram.skipped_lines, skipped);
    vram.assert_of(&lines);
    figures(&vram);
    are_lines(vram.block(None, &[]));
    let json = vram.json();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json.to_string()).unwrap(), json);
    drawn(&timeline, &vram);
    let name = String::from_utf8_lossy(&data[..data.len().min(60)]);
    let title = &format!("VRAM of {name}");
    let input = ReportInput { record: None, title, note: None, vram: &vram, gates: &[] };
    page::is_well_formed(&Page { input, timeline: &timeline, others: &[], folder: "" }.html());
}

/// The lines that can be read, and how many cannot: the same whatever the buffer holds at a time.
pub(crate) fn read(log: &[u8]) -> (Vec<Line>, u64) {
    let with_buffer = |capacity| {
        let mut lines = Vec::new();
        let input = BufReader::with_capacity(capacity, log);
        let skipped = read_lines(input, |line| lines.push(line.clone().into_owned())).unwrap();
        (lines, skipped)
    };
    let read = with_buffer(1);
    for capacity in [150, 1 << 16] {
        assert_eq!(with_buffer(capacity), read, "read with a buffer of {capacity}");
    }
    let all = log.split(|byte| *byte == b'\n').count();
    assert!(read.0.len() as u64 + read.1 <= all as u64);
    read
}

/// A last line without its break may be cut in its scene: it counts with that of a line before.
fn torn(data: &[u8], lines: &[Line]) {
    let tail = data.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let tail = Line::parse(tail.trim_ascii()).map(Line::into_owned);
    if let (Some((last, before)), Some(tail)) = (lines.split_last(), tail)
        && tail.scene.is_some()
        && *last == tail
    {
        assert_eq!(before.iter().rev().find_map(|line| line.scene.as_ref()), tail.scene.as_ref());
    }
}

/// A log has milliseconds at most.
fn rewritten(lines: &[Line]) {
    let in_ms = |line: &Line| {
        let at = line.at.replace_nanosecond(u32::from(line.at.millisecond()) * 1_000_000).unwrap();
        Line { at, ..line.clone() }
    };
    let lines: Vec<Line> = lines.iter().map(in_ms).collect();
    let written: Vec<String> = lines.iter().map(|line| line.format(true)).collect();
    are_lines(&written);
    assert_eq!(read((written.join("\n") + "\n").as_bytes()).0, lines);
}

/// What has to be so of any figures.
fn figures(vram: &VramStats) {
    let ranks = [vram.minimum, vram.median, vram.p95, vram.peak];
    // A log may begin between two ticks, and end there.
    let ranks: Vec<u64> = ranks.into_iter().flatten().collect();
    assert!(ranks.is_sorted(), "{ranks:?}");
    assert!(vram.average.is_none_or(|mb| ranks[0] <= mb && Some(mb) <= vram.peak), "{ranks:?}");
    assert!(vram.peak.max(vram.driver_peak) <= Some(HIGHEST_MB));
    // Readings between two ticks have lines too.
    assert!(vram.ticks <= vram.samples + vram.missed.values().sum::<u64>());
    assert!(vram.scenes.iter().map(|scene| scene.samples).sum::<u64>() <= vram.samples);
}

/// The curve is bounded and has the statistics' peak; of a line of nvidia-smi the driver's figure
/// counts there, if it should differ from used.
fn drawn(curve: &Timeline, vram: &VramStats) {
    assert!(curve.columns.len() <= 1200 && curve.bands.len() <= 400);
    let highest = vram.peak.max(vram.driver_peak).unwrap_or_default();
    assert!(
        curve.highest() == highest || (curve.highest() < highest && vram.sources.nvidia_smi > 0)
    );
    assert!(curve.bands.iter().all(|band| band.from_ms <= band.to_ms));
    assert!(curve.bands.iter().all(|band| band.to_ms <= curve.span_ms()));
}
