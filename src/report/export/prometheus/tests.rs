//! What is known has a metric, and only that.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::report::record::{PostRunState, Server};
use crate::report::tests::{night, verdicts, vram};
use crate::vram::stats::VramStats;

fn of(record: Option<&RunRecord>, vram: &VramStats, name: &str) -> String {
    let gates = record.map(|run| run.gates.as_slice()).unwrap_or_default();
    let (title, note) = ("", None);
    metrics(&ReportInput { record, title, note, vram, gates }, name)
}

/// The names of what there is, without what all of them begin with.
fn names(metrics: &str) -> BTreeSet<&str> {
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE comfyui_e2e_"));
    types.map(|line| line.strip_suffix(" gauge").expect("a gauge")).collect()
}

#[test]
fn a_night_has_a_metric_for_all_that_is_known() {
    let mut run = night();
    run.gates = verdicts();
    run.scenes[1].outcome = Outcome::Cached;
    let text = of(Some(&run), &vram(), "nightly");
    for line in [
        "comfyui_e2e_info{report=\"nightly\",version=\"VERSION\",server=\"http://127.0.0.1:8188\",comfyui_version=\"0.3.64\"} 1",
        "comfyui_e2e_run_start_time_seconds{report=\"nightly\"} 1795557604",
        "comfyui_e2e_run_end_time_seconds{report=\"nightly\"} 1795559261",
        "comfyui_e2e_run_exit_code{report=\"nightly\"} 4",
        "comfyui_e2e_scenes{report=\"nightly\",outcome=\"deadline\"} 1",
        "comfyui_e2e_scene_attempts{report=\"nightly\",scene=\"scene-003\"} 2",
        "comfyui_e2e_scene_duration_seconds{report=\"nightly\",scene=\"scene-001\"} 188.4",
        "comfyui_e2e_scene_queued_seconds{report=\"nightly\",scene=\"scene-003\"} 1",
        "comfyui_e2e_scene_execution_seconds{report=\"nightly\",scene=\"scene-003\"} 179",
        "comfyui_e2e_vram_driver_peak_bytes{report=\"nightly\"} 20248002560",
        "comfyui_e2e_scene_vram_used_peak_bytes{report=\"nightly\",scene=\"scene-001\"} 19116589056",
        "comfyui_e2e_vram_added_bytes{report=\"nightly\"} 17899192320",
        "comfyui_e2e_vram_size_bytes{report=\"nightly\"} 25769803776",
        "comfyui_e2e_vram_in_use_after_bytes{report=\"nightly\"} 2243952640",
        "comfyui_e2e_samples_missed{report=\"nightly\",reason=\"timeout\"} 1",
        "comfyui_e2e_samples_missed{report=\"nightly\",reason=\"late\"} 0",
        "comfyui_e2e_sampling_longest_gap_seconds{report=\"nightly\"} 10",
        "comfyui_e2e_gate_held{report=\"nightly\",gate=\"Baseline\",scene=\"scene-001\"} 0",
        "comfyui_e2e_gate_measured_bytes{report=\"nightly\",gate=\"Baseline\",scene=\"scene-001\"} 7340032",
    ] {
        let line = line.replace("VERSION", env!("CARGO_PKG_VERSION"));
        assert!(text.lines().any(|it| it == line), "{line} is not in {text}");
    }
    // A sample in the time of a cached scene says nothing about it.
    assert!(!text.contains("peak_bytes{report=\"nightly\",scene=\"scene-002\"}"), "{text}");
}

#[test]
fn what_is_not_known_is_not_there() {
    let nothing = RunRecord {
        scenes: Vec::new(),
        server: Server::default(),
        aftermath: PostRunState::default(),
        ..night()
    };
    let text = of(Some(&nothing), &VramStats::default(), "x");
    let wanted = "info run_end_time_seconds run_exit_code run_start_time_seconds run_success samples \
                  samples_missed scenes";
    assert_eq!(names(&text), wanted.split_whitespace().collect());
    let text = of(None, &vram(), "x");
    assert!(names(&text).iter().all(|name| !name.starts_with("run_")), "{text}");
    assert!(names(&text).contains("scene_vram_driver_peak_bytes"), "{text}");
}

#[test]
fn system_ram_is_called_so() {
    let mut run = night();
    run.server.device_kind = Some("cpu".into());
    let text = of(Some(&run), &vram(), "x");
    assert!(!text.contains("vram") && !text.contains("tensors"), "{text}");
    assert!(names(&text).contains("system_ram_used_peak_bytes"), "{text}");
}

/// A label's value and what stands behind it, read as the format has it.
fn value(text: &str) -> (String, &str) {
    let (mut read, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (read, &text[at + 1..]),
            '\\' => read.push(chars.next().expect("a character").1),
            c => read.push(c),
        }
    }
    panic!("no end: {text}");
}

proptest! {
    #[test]
    fn a_name_stays_in_its_label(hostile in "[\"\\\\{},= a-z\\n]{0,16}|\\PC{0,12}") {
        let mut run = night();
        run.scenes[0].id.clone_from(&hostile);
        run.server.device = Some(hostile.clone());
        let text = of(Some(&run), &vram(), &hostile);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, mut rest) = line.split_once('{').expect("labels");
            prop_assert!(name.starts_with("comfyui_e2e_"), "{line}");
            while let Some((label, behind)) = rest.split_once("=\"") {
                let label = label.trim_start_matches(',');
                prop_assert!(label.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
                let (read, behind) = value(behind);
                if label == "report" || label == "device" {
                    prop_assert_eq!(read, sanitize_line(&hostile), "{}", line);
                }
                rest = behind;
            }
            let number = rest.strip_prefix("} ").expect("a value");
            prop_assert!(number.parse::<f64>().is_ok(), "{line}");
        }
    }
}

#[test]
fn each_metric_has_its_help_and_type_before_it() {
    let mut run = night();
    run.gates = verdicts();
    let text = of(Some(&run), &vram(), "x");
    let (mut seen, mut current) = (BTreeSet::new(), "");
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            current = help.split(' ').next().unwrap();
            assert!(seen.insert(current), "{current} is there twice");
            assert!(help.ends_with('.') && help.len() > current.len() + 10, "{help}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            assert_eq!(kind, format!("{current} gauge"));
        } else {
            assert!(line.starts_with(&format!("{current}{{")), "{line}");
        }
    }
}
