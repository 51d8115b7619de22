use proptest::prelude::*;

use super::*;

fn lines(bytes: &[u8]) -> (Vec<Line>, u64) {
    let mut reader = Reader::new(bytes);
    let mut lines = Vec::new();
    while let Some(line) = reader.next_line().unwrap() {
        lines.push(line);
    }
    (lines, reader.skipped())
}

fn used(bytes: &[u8]) -> (Vec<u64>, u64) {
    let (lines, skipped) = lines(bytes);
    (lines.iter().filter_map(|line| Some(line.entry.ok()?.0.used)).collect(), skipped)
}

prop_compose! {
    fn a_line()(
        ms in 0u32..86_400_000,
        used in 0u64..1 << 40,
        known in any::<[Option<u32>; 4]>(),
        smi in any::<bool>(),
        miss in proptest::option::of(0usize..Miss::ALL.len()),
        took_ms in any::<Option<u64>>(),
        scene in proptest::option::of("[A-Za-z0-9._-]{1,20}"),
        interval_ms in proptest::option::of(0u64..3_600_000),
    ) -> Line {
        let [free, total, driver, ram] = known.map(|value| value.map(u64::from));
        let source = if smi { Source::NvidiaSmi } else { Source::ComfyUi };
        let entry = match miss {
            Some(index) => Err(Miss::ALL[index]),
            None => Ok((Reading { used, free, total, driver, ram }, source)),
        };
        let at = Time::MIDNIGHT + Duration::from_millis(ms.into());
        Line { at, entry, took_ms, scene, interval_ms }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(line in a_line()) {
        prop_assert_eq!(Line::parse(&line.format(true)), Some(line));
    }

    #[test]
    fn whatever_is_read_nothing_breaks(bytes in any::<Vec<u8>>()) {
        let _ = lines(&bytes);
    }
}

#[test]
fn the_format_is_to_the_letter() {
    for line in [
        "12:01:00,Used=2140MB,Free=22436MB,Total=24576MB,Driver=2240MB,Ram=31020MB,Interval=5s",
        "12:01:05,Used=18231MB,Free=6345MB,Total=24576MB,Driver=19102MB,Ram=31200MB,Scene=scene-001",
        "12:01:10,Used=19310MB,Free=5266MB,Total=24576MB,Driver=19310MB,Scene=scene-001,Source=nvidia-smi",
        "12:01:15,Missed=timeout,Scene=scene-001",
        "12:01:20,Used=0MB,Took=1900ms",
    ] {
        assert_eq!(Line::parse(line).unwrap().format(false), line);
    }
    let fine = "12:01:05.250,Used=1MB,Interval=0.25s";
    assert_eq!(Line::parse(fine).unwrap().format(true), fine);
}

#[test]
fn older_forms_are_read() {
    let old = b"\xef\xbb\xbf12:00:00,Used=11476.123MB,Free=13099MB\r\n\
        12:00:05,Used=2.5MB\r\n12:00:10,Used=3.5MB\r\n12:00:15,Used=3.51MB\r\n\r\n\
        12:00:20,Free=10MB,Total=24MB\r\n12:00:25,Free=10MB\r\n";
    assert_eq!(used(old), (vec![11476, 2, 4, 4, 14], 1));
}

#[test]
fn utf_16_is_read_both_ways_round() {
    let text = "\u{feff}12:00:00,Used=7MB\r\n12:00:05,Used=8MB\r\n";
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for bytes in [little, big] {
        assert_eq!(used(&bytes), (vec![7, 8], 0));
    }
}

#[test]
fn what_cannot_be_read_is_counted_and_a_torn_number_is_not_a_smaller_one() {
    let long = format!("12:00:00,Used=1MB,{}\n12:00:05,Used=2MB\n", "x".repeat(10_000));
    assert_eq!(used(long.as_bytes()), (vec![2], 1));
    for (text, wanted) in [
        ("12:00:00,Used=19310MB\n12:00:05,Used=193", (vec![19310], 1)),
        ("12:00:00,Used=19310MB\n12:00:05,Used=193MB", (vec![19310], 1)),
        ("nonsense\n12:00:61,Used=1MB\n1:00:00,Used=1MB\n12:00:00,Used=-1MB\n", (vec![], 4)),
        ("12:00:00,Missed=because\n12:00:00,Used=99999999999999999999MB\n", (vec![], 2)),
    ] {
        assert_eq!(used(text.as_bytes()), wanted, "{text}");
    }
}

#[test]
fn the_writer_says_the_interval_once_and_appends() {
    let path = std::env::temp_dir().join(format!("writer-{}.log", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let at = time::macros::datetime!(2026-11-24 12:01:05.250 UTC);
    let reading = Reading { used: 5, ..Reading::default() };
    let tick = |result| Tick { at, took_ms: None, result };
    let mut writer = Writer::create(&path, Duration::from_millis(500)).unwrap();
    writer.append(&tick(Ok((reading, Source::ComfyUi))), Some("a")).unwrap();
    writer.append(&tick(Err(Miss::Late)), None).unwrap();
    drop(writer);
    let mut coarse = Writer::create(&path, Duration::from_secs(5)).unwrap();
    coarse.append(&tick(Ok((reading, Source::ComfyUi))), None).unwrap();
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "12:01:05.250,Used=5MB,Interval=0.5s,Scene=a\n12:01:05.250,Missed=late\n\
         12:01:05,Used=5MB,Interval=5s\n"
    );
    std::fs::remove_file(&path).unwrap();
}
