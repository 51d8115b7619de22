//! Every form and encoding of a log, complete and cut, and what is written.

use std::fs;

use proptest::prelude::*;
use time::Time;

use super::*;
use crate::properties::read_log as read;
use crate::vram::reading::{MissReason, Reading, Source};

fn wide(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(bytes).collect()
}

#[test]
fn every_encoding_and_line_break_is_read() {
    let text = "12:01:00,Used=1MB\r\n\r\n12:01:05,Used=2MB\n?Ċ\n12:01:10,Used=3MB\r\n";
    let (lines, skipped) = read(text.as_bytes());
    assert_eq!((lines.len(), skipped), (3, 1));
    let mut invalid = text.as_bytes().to_vec();
    invalid.iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xff);
    for log in [
        format!("\u{feff}{text}").into_bytes(),
        wide(text, u16::to_le_bytes),
        wide(text, u16::to_be_bytes),
        invalid,
    ] {
        assert_eq!(read(&log), (lines.clone(), skipped));
    }
}

#[test]
fn long_lines_are_skipped_whole() {
    let long = format!("12:01:00,Used=1MB,X={}\n12:01:05,Used=2MB\n", ",12:01:00".repeat(9999));
    for log in [long.clone().into_bytes(), wide(&long, u16::to_le_bytes)] {
        let (lines, skipped) = read(&log);
        assert_eq!((lines.len(), skipped), (1, 1));
    }
}

#[test]
fn a_line_counts_up_to_the_longest_only() {
    let scene = "s".repeat(LONGEST - "12:01:00,Used=1MB,Scene=\n".len());
    let whole = format!("12:01:00,Used=1MB,Scene={}\n", &scene[1..]);
    let long = format!("12:01:00,Used=1MB,Scene={scene}\n");
    assert_eq!(long.len(), LONGEST);
    let (lines, skipped) = read([whole.as_str(), &long, &whole].concat().as_bytes());
    assert_eq!((lines.len(), skipped), (2, 1));
}

#[test]
fn a_torn_last_line_makes_nothing_up() {
    let whole = "12:01:00,Used=1MB,Scene=flow-1\n";
    for (torn, counts) in [
        ("12:01:05,Used=20MB,Scene=flow-1", true),
        ("12:01:05,Used=20MB,Scene=flow-", false),
        ("12:01:05,Used=20MB,Sc", false),
        ("12:01:05,Used=20MB", true),
        ("12:01:05,Used=20M", false),
        ("12:01:05,Used=2", false),
        ("12", false),
    ] {
        let (lines, skipped) = read(format!("{whole}{torn}").as_bytes());
        assert_eq!((lines.len(), skipped), if counts { (2, 0) } else { (1, 1) }, "{torn}");
    }
}

#[test]
fn the_scene_before_a_torn_line_is_known_however_it_was_read() {
    let lines = ["12:01:00,Used=1MB,Scene=a\n", "12:01:05,Used=1MB,Scene=b\n"];
    let torn = "12:01:10,Used=1MB,Scene=b";
    assert_eq!(read([lines[0], lines[1], torn].concat().as_bytes()).1, 0);
    assert_eq!(read([lines[1], lines[0], torn].concat().as_bytes()).1, 1);
}

#[test]
fn a_torn_line_stays_alone() {
    let path = std::env::temp_dir().join(format!("run-comfyui-log-{}", std::process::id()));
    let _ = fs::remove_file(&path);
    let at = Time::from_hms_milli(12, 1, 5, 250).unwrap();
    let reading = Reading { used: 7, ..Reading::default() };
    let line = Line { interval_ms: Some(500), ..Line::new(at, Ok((reading, Source::ComfyUi))) };
    let missed = Line { scene: Some("flow".to_owned()), ..Line::new(at, Err(MissReason::Timeout)) };

    let mut log = Writer::create(&path, Duration::from_millis(500)).unwrap();
    log.append(&line).unwrap();
    log.append(&missed).unwrap();
    let first = "12:01:05.250,Used=7MB,Interval=0.5s\n12:01:05.250,Missed=timeout,Scene=flow\n";
    assert_eq!(fs::read_to_string(&path).unwrap(), first);

    fs::write(&path, "12:00:00,Us").unwrap();
    let mut log = Writer::create(&path, Duration::from_secs(1)).unwrap();
    log.append(&missed).unwrap();
    let wanted = "12:00:00,Us\n12:01:05,Missed=timeout,Scene=flow\n";
    assert_eq!(fs::read_to_string(&path).unwrap(), wanted);
    fs::remove_file(&path).unwrap();
}

#[test]
fn the_name_of_a_log_says_whose_it_is() {
    assert_eq!(names::device_of(&names::of_device(12)), Some(12));
    for name in [names::MAIN, "vram-usage.gpu.log", "vram-usage.gpu01.log", "vram-usage.gpu+1.log"]
    {
        assert_eq!(names::device_of(name), None, "{name}");
    }
}

proptest! {
    #[test]
    fn a_cut_log_has_no_figure_that_the_whole_one_lacks(
        lines in prop::collection::vec(any_line(false), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let log: String = lines.iter().map(|line| line.format(false) + "\n").collect();
        let cut = &log[..cut.index(log.len() + 1)];
        let (read, skipped) = read(cut.as_bytes());
        for (read, line) in read.iter().zip(&lines) {
            prop_assert_eq!(read.at, line.at);
            match (read.result, line.result) {
                (Ok((read, _)), Ok((line, _))) => prop_assert_eq!(read.used, line.used),
                (read, line) => prop_assert_eq!(read, line),
            }
            let scene = line.scene.as_deref().unwrap_or_default();
            prop_assert!(scene.starts_with(read.scene.as_deref().unwrap_or_default()));
        }
        let torn = u64::from(!cut.is_empty() && !cut.ends_with('\n'));
        let count = u64::try_from(read.len()).unwrap() + skipped;
        prop_assert_eq!(count, u64::try_from(cut.matches('\n').count()).unwrap() + torn);
    }

    #[test]
    fn a_log_with_a_byte_gone_wrong_is_read_alike(
        lines in prop::collection::vec(any_line(true), 1..8),
        at in any::<prop::sample::Index>(),
        byte in prop::sample::select(b"\n,5\xff".to_vec()),
    ) {
        let log: String = lines.iter().map(|line| line.format(true) + "\n").collect();
        let mut log = log.into_bytes();
        let at = at.index(log.len());
        log[at] = byte;
        read(&log);
    }

    #[test]
    fn any_bytes_are_survived(log in prop::collection::vec(any::<u8>(), 0..200)) {
        read(&log);
    }
}
