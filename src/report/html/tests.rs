//! What a page says, and what it never lets through.

use proptest::prelude::*;
use time::macros::datetime;

use super::Page;
use crate::report::ReportInput;
use crate::report::record::*;
use crate::vram::gates::{Gate, Measured, State, Verdict};
use crate::vram::stats::{LogSummary, NodeFacts};

const LOG: &str = "\
23:04:00,Used=2140MB,Free=22436MB,Total=24576MB,Driver=2240MB,Interval=5s
23:04:05,Used=18231MB,Free=6345MB,Total=24576MB,Driver=19102MB,Scene=scene-001
23:04:10,Used=19310MB,Free=5266MB,Total=24576MB,Driver=19310MB,Scene=scene-001,Source=nvidia-smi
23:04:15,Missed=timeout,Scene=scene-001
23:04:20,Used=17000MB,Free=6345MB,Total=24576MB,Driver=19080MB,Scene=scene-002
";

fn scene(id: &str, outcome: Outcome, outputs: &[&str]) -> SceneRecord {
    let outputs = outputs.iter().map(|path| Output { path: (*path).to_owned(), bytes: 1_604_321 });
    let attempt = Attempt {
        outcome,
        why: String::new(),
        prompt_id: None,
        seconds: 90.25,
        queued_seconds: 0.5,
        server_seconds: Some(89.5),
        polls: 97,
        cached_nodes: Vec::new(),
        timed_out: false,
        freed: false,
        server_starts: 0,
    };
    SceneRecord {
        outcome,
        seconds: 90.25,
        attempts: vec![attempt],
        outputs: outputs.collect(),
        ..SceneRecord::skipped(id, "")
    }
}

fn run(scenes: Vec<SceneRecord>) -> RunRecord {
    RunRecord {
        id: "20261124-230004".into(),
        folder: "logs/20261124-230004".into(),
        started: datetime!(2026-11-24 23:00:04 +1),
        ended: datetime!(2026-11-24 23:27:41 +1),
        settings: Settings::default(),
        server: Server { device_kind: Some("cuda".into()), ..Server::default() },
        scenes,
        interrupted: false,
        failure: None,
        asleep: vec![],
        gates: Vec::new(),
        aftermath: PostRunState::default(),
        next: None,
        baselines: vec![],
        legacy: LegacyRun::default(),
    }
}

fn night() -> RunRecord {
    let video = ["video/scene-001/scene-001.mp4", "outputs/scene-001/a b.png", "outputs/x/c.txt"];
    run(vec![
        scene("scene-001", Outcome::Succeeded, &video),
        scene("scene-002", Outcome::Succeeded, &["outputs/scene-002/s.wav"]),
    ])
}

/// The page of a run, or of a log alone.
fn page(record: Option<&RunRecord>, log: &str, folder: &str) -> String {
    let LogSummary { stats: vram, timeline } = &LogSummary::of(log.as_bytes()).unwrap();
    let gates = record.map(|run| run.gates.as_slice()).unwrap_or_default();
    let input = ReportInput { record, title: "VRAM of a.log", note: None, vram, gates };
    Page { input, timeline, others: &[], folder }.html()
}

#[track_caller]
fn holds(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "{part:?} is not in {page}");
    }
}

#[track_caller]
fn lacks(page: &str, parts: &[&str]) {
    let (_, body) = page.split_once("</style>").expect("a style");
    for part in parts {
        assert!(!body.contains(part), "{part:?} is in {body}");
    }
}

#[test]
fn a_run_is_told_verdict_first_with_all_that_it_left() {
    let mut record = night();
    let measured = Some(Measured::Driver(19_310, Some(18_231)));
    let (gate, limit, state) = (Gate::MaxPeak, Some(20_000), State::Held);
    record.gates = vec![Verdict { gate, scene: None, limit, measured, before: None, state }];
    record.next = Some("run-comfyui-e2e flow.json".into());
    let text = page(Some(&record), LOG, "../run%20s/");
    let order = [
        "<h1 class=\"ok\">✓ 2 of 2 scenes in 27 min 37 s</h1>",
        "24 Nov 23:00:04 to 23:27:41",
        "scene-001 · 1:30 · at least 19310 MB: 1 reading",
        "<dt>Next</dt><dd><code>run-comfyui-e2e flow.json</code></dd>",
        "<h2 id=\"vram\">VRAM over time</h2>",
        "peak 19310 MB",
        ">20000</td>",
        "<h2 id=\"scenes\">",
        "scope=\"row\"><span class=\"quiet\">1</span> scene-001</th>",
        "<video controls preload=\"metadata\" aria-label=\"scene-001.mp4\" src=\"../run%20s/video/scene-001/scene-001.mp4\">",
        "<img loading=\"lazy\" alt=\"a b.png\" src=\"../run%20s/outputs/scene-001/a%20b.png\">",
        "<a href=\"../run%20s/outputs/x/c.txt\">c.txt (1.53 MB)</a>",
        "<audio controls",
        "Median VRAM: ",
        "<h2 id=\"environment\">",
        "<a href=\"../run%20s/vram-usage.log\">",
    ];
    holds(&text, &order);
    let places: Vec<_> = order.iter().map(|part| text.find(part)).collect();
    assert!(places.is_sorted(), "{places:?}");
    lacks(&text, &["<script", "http://", "https://", " style="]);
}

#[test]
fn the_curve_breaks_at_a_gap_and_marks_what_nvidia_smi_gave() {
    let text = page(None, LOG, "");
    let path = |class: &str| {
        let start = format!("<path class=\"{class}\" d=\"M");
        let (_, rest) = text.rsplit_once(&start).unwrap_or_else(|| panic!("no {class}: {text}"));
        rest.split_once('"').unwrap().0.to_owned()
    };
    // Used: two readings, then nvidia-smi's, which is none, a gap, and the last one.
    assert_eq!(path("used").matches('M').count(), 1, "{}", path("used"));
    assert_eq!(path("used").matches('L').count(), 1, "{}", path("used"));
    assert_eq!(path("driver").matches('M').count(), 1, "{}", path("driver"));
    assert_eq!(path("driver").matches('L').count(), 2, "{}", path("driver"));
    assert_eq!(path("fallback").matches("h.1").count(), 1);
    holds(&text, &["<svg class=\"missed\"", " no reading</li>", "<title>scene-002</title>"]);
    holds(&text, &[">total 24576 MB</text>", "nvidia-smi, where ComfyUI missed it"]);
    // What a bare log does not know is left out.
    lacks(&text, &["Outcome", "exit ", "Environment", "Outputs", "UTC", "href"]);
    holds(&text, &["<h1>VRAM of a.log</h1>", "Average, used", "<p class=\"quiet\">23:04:00 to"]);
    let whole =
        LOG.replace("23:04:15,Missed=timeout,Scene=scene-001\n", "").replace(":20,", ":15,");
    lacks(&page(None, &whole, ""), &["no reading"]);
}

/// The figure `name="…%"` of the first tag that begins so.
fn percent_of(page: &str, tag: &str, name: &str) -> f64 {
    let (_, rest) = page.split_once(tag).unwrap_or_else(|| panic!("no {tag}: {page}"));
    let (rest, _) = rest.split_once('>').unwrap();
    let (_, value) = rest.split_once(&format!(" {name}=\"")).unwrap_or_else(|| panic!("{rest}"));
    value.split_once('%').unwrap().0.parse().unwrap()
}

#[test]
fn a_scene_is_as_wide_as_it_was() {
    // A tick every 5 s, 20 s in all; the second scene lasted one second, between two ticks.
    let span = |from, to| {
        let at =
            |seconds| datetime!(2026-11-24 23:04:00 +1) + time::Duration::milliseconds(seconds);
        LegacyScene { span: Some((at(from), at(to))), ..LegacyScene::default() }
    };
    let mut record = night();
    record.scenes[0].legacy = span(2_000, 10_500);
    record.scenes[1].legacy = span(11_000, 12_000);
    let text = page(Some(&record), LOG, "");
    let extent = |class: &str| {
        let tag = format!("<rect class=\"{class}\"");
        [percent_of(&text, &tag, "x"), percent_of(&text, &tag, "width")]
    };
    let (columns, half) = (20.001, 0.5);
    for (class, from, to) in [("b0", 2.5, 10.5), ("b1", 11.5, 12.0)] {
        let [x, width] = extent(class);
        assert!((x - from / columns * 100.0).abs() < half, "{class}: {x}");
        assert!((width - (to - from) / columns * 100.0).abs() < half, "{class}: {width}");
    }
    // A log alone knows its own lines only.
    let text = page(None, LOG, "");
    assert!((percent_of(&text, "<rect class=\"b0\"", "x") - 25.0).abs() < 0.5);
}

#[test]
fn few_readings_are_dots_and_the_peak_has_its_node() {
    let log = "\
23:04:00,Used=2140MB,Total=24576MB,Driver=2240MB,Interval=5s
23:04:05,Used=18231MB,Total=24576MB,Driver=19102MB,Scene=scene-001,Node=2
23:04:10,Used=19310MB,Total=24576MB,Driver=19310MB,Scene=scene-001,Node=3
23:04:15,Used=17000MB,Total=24576MB,Driver=19080MB,Scene=scene-002
";
    let mut record = night();
    record.scenes[0].nodes =
        vec![NodeFacts { id: "3".into(), class: "KSampler".into(), seconds: 5.0 }];
    let text = page(Some(&record), log, "");
    let (_, dots) = text.split_once("<path class=\"used dots\" d=\"").expect("dots");
    assert_eq!(dots.split_once('"').unwrap().0.matches("h.1").count(), 4, "{dots}");
    holds(&text, &["peak 19310 MB, node 3 KSampler</text>", "<path class=\"driver dots\""]);
    // A line that is dense needs none.
    let line = |n| format!("23:{:02}:{:02},Used={n}MB,Total=24576MB\n", n / 60, n % 60);
    let dense: Vec<String> = (0..1000).map(line).collect();
    assert!(!page(None, &dense.concat(), "").contains("dots\" d=\"M"));
}

fn gate(gate: Gate, scene: Option<&str>, now: u64, before: u64, state: State) -> Verdict {
    let scene = scene.map(str::to_owned);
    let measured = Some(Measured::Added(now));
    Verdict { gate, scene, limit: Some(before + 64), measured, before: Some(before), state }
}

#[test]
fn a_failed_gate_is_a_table_below_the_verdict_and_its_baseline_a_line() {
    let mut record = night();
    record.gates = vec![
        gate(Gate::Baseline, None, 17_170, 16_170, State::Failed),
        gate(Gate::Baseline, Some("scene-001"), 17_170, 16_170, State::Failed),
        gate(Gate::Baseline, Some("scene-002"), 10, 20, State::Held),
    ];
    let text = page(Some(&record), LOG, "");
    let order = [
        "<h1 class=\"bad\">",
        "<h2 id=\"gates\">",
        ">before</th>",
        ">+16170</td>",
        ">+17170</td>",
        ">+1000 +6 %</td>",
        ">+16234</td>",
        "<b class=\"bad\">✗</b></td>",
        "<h2 id=\"vram\">",
        "<line class=\"baseline\"",
    ];
    holds(&text, &order);
    let places: Vec<_> = order.iter().map(|part| text.find(part)).collect();
    assert!(places.is_sorted(), "{places:?}");
    // No list of what went well stands under a verdict that failed.
    lacks(&text, &["<li class=\"ok\">"]);
    // scene-001's peak was 19310: 1000 less was the baseline.
    let y = |mb: f64| 100.0 - mb / (24_576.0 + 24_576.0 / 9.0) * 100.0;
    let drawn = percent_of(&text, "<line class=\"baseline\"", "y1");
    assert!((drawn - y(18_310.0)).abs() < 0.3, "{drawn}");
    assert_eq!(text.matches("<line class=\"baseline\"").count(), 2);
    holds(
        &text,
        &["the baseline: where a scene's peak would be", "title>scene-001, before: +16170"],
    );
    lacks(&page(Some(&night()), LOG, ""), &["baseline"]);
}

#[test]
fn outputs_are_one_grid_each_with_its_figures() {
    let text = page(Some(&night()), LOG, "");
    assert_eq!(text.matches("<div class=\"outputs\">").count(), 1);
    holds(
        &text,
        &[
            "<b>scene-001</b> 1:30 · at least 19310\u{a0}MB</p>",
            "<a href=\"outputs/scene-001/a%20b.png\">a b.png (1.53 MB)</a>",
        ],
    );
}

#[test]
fn without_readings_there_is_no_drawing_but_a_reason() {
    let mut gone = run(vec![]);
    gone.failure = Some((crate::exit_code::Exit::Unreachable, "no ComfyUI at x: start it".into()));
    let text = page(Some(&gone), "12:00:00,Missed=refused\n", "");
    holds(&text, &["No VRAM sample was taken: refused 1", "no ComfyUI at x: start it"]);
    holds(&text, &["<h1 class=\"bad\">✗ no scene was run (exit 3, unreachable)</h1>"]);
    lacks(&text, &["<svg", "<table", "VRAM figures"]);
    lacks(&page(Some(&gone), "", ""), &["<svg", "vram-usage.log"]);

    let cached = run(vec![scene("a", Outcome::Cached, &[])]);
    let text = page(Some(&cached), LOG, "");
    holds(&text, &["everything came from ComfyUI's cache", "cached</b>"]);
    lacks(&text, &["<svg", "Peak VRAM", "18231"]);

    let text = page(None, "12:00:00,Used=7MB\n", "");
    holds(&text, &["One sample alone was taken: 7 MB at 12:00:00"]);
    lacks(&text, &["<svg"]);

    let mut stopped = night();
    stopped.interrupted = true;
    holds(
        &page(Some(&stopped), LOG, ""),
        &["✗ interrupted after 27 min 37 s: 2 of 2 scenes succeeded (exit 130)", "<svg"],
    );
}

#[test]
fn a_cpu_server_has_ram_only() {
    let mut record = night();
    record.server.device_kind = Some("cpu".into());
    let log = "12:00:00,Used=1MB,Total=9MB\n12:00:05,Used=5MB,Total=9MB,Scene=scene-001\n";
    let text = page(Some(&record), log, "");
    holds(&text, &["RAM over time", "used: the machine's own memory", "total: the machine"]);
    holds(&text, &["RAM figures", "Peak RAM: 5 MB", "<dt>RAM (MB)</dt>"]);
    lacks(&text, &["VRAM", "the card", "driver:", "Peak, driver", "device's"]);
}

#[test]
fn with_many_scenes_those_that_failed_are_not_folded_away() {
    let mut scenes: Vec<_> =
        (0..60).map(|n| scene(&format!("s{n}"), Outcome::Succeeded, &[])).collect();
    scenes[41] = scene("s41", Outcome::Failed, &[]);
    let text = page(Some(&run(scenes)), LOG, "");
    holds(&text, &["s41 · failed"]);
    lacks(&text, &["s59 · 1:30", "<details>"]);
    assert_eq!(text.matches("<tr role=\"row\"><th role=\"rowheader\"").count(), 60);
    let scenes = (0..60).map(|n| scene(&format!("s{n}"), Outcome::Succeeded, &[])).collect();
    let text = page(Some(&run(scenes)), LOG, "");
    let (_, folded) = text.split_once("<details>").unwrap();
    holds(folded, &["<summary>60 scenes did what they were asked for</summary>", "s59 · 1:30"]);
}

#[test]
fn a_day_is_one_small_page() {
    use std::fmt::Write as _;
    let mut log = String::new();
    for second in 0..86_400 {
        let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
        let used = 5000 + second * 7919 % 9000;
        let scene = second / 1440;
        let figures = format!("Used={used}MB,Total=24576MB,Driver={}MB", used + 777);
        writeln!(log, "{h:02}:{m:02}:{s:02},{figures},Scene=s{scene}").unwrap();
    }
    let scenes = (0..60).map(|n| scene(&format!("s{n}"), Outcome::Succeeded, &["outputs/a/b.png"]));
    let text = page(Some(&run(scenes.collect())), &log, "");
    assert!(text.len() < 300_000, "{}", text.len());
    holds(&text, &["peak 14776 MB"]);
}

proptest! {
    #[test]
    fn nothing_from_outside_becomes_markup(
        hostile in "[<>\"'&/ a-z=()!-]{1,24}|</style><script>|\\PC{1,12}",
        path in "[<>\"'&/. a-z:?#%]{1,16}",
    ) {
        let of = |text: &str, file: &str| {
            let mut record = night();
            for scene in &mut record.scenes {
                (scene.id, scene.why, scene.warnings) = (text.into(), text.into(), vec![text.into()]);
                scene.outputs[0].path = file.to_owned();
            }
            record.id = text.to_owned();
            record.server.device = Some(text.to_owned());
            record.server.comfyui = Some(text.to_owned());
            record.next = Some(text.to_owned());
            page(Some(&record), LOG, "")
        };
        let plain = of("scene", "outputs/a/b.png");
        let file = format!("outputs/a/x{}<i>\".png", path.replace(['/', '.'], ""));
        let text = of(&format!("{hostile}<script>\"'"), &file);
        prop_assert!(!text.contains("<script") && !text.contains("<i>"), "{text}");
        // The same markup as of any other text there.
        let tags = |text: &str| text.matches(['<', '"']).count();
        prop_assert_eq!(tags(&text), tags(&plain), "{}", text);
    }
}
