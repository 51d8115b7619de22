//! The reports that other programs read: `JUnit`, Markdown, metrics, and the JSON of `--json`.

mod json;
mod readers;
mod written;

use std::collections::BTreeSet;
use std::fs;

use crate::scenes::SOON;
use crate::seen;
use crate::signals;
use crate::stand_in::{Config, Fault, StandIn, graphs};
use crate::support::{Folder, Ran};

/// The three of them.
pub const REPORTS: [&str; 6] =
    ["--junit", "run.xml", "--markdown", "run.md", "--prom-file", "nightly.prom"];

/// A card of 24 GB, sampled often.
pub struct Bench {
    pub server: StandIn,
    pub folder: Folder,
}

impl Bench {
    pub fn new() -> Self {
        Bench { server: StandIn::with(Config::cuda()), folder: Folder::new() }
    }

    /// A scene that takes that much memory; the colour makes it a new one.
    pub fn flow(&self, name: &str, mb: u64, color: u64) {
        let graph = graphs::video(&format!("video/{name}"), 1.0, mb, color);
        self.folder.workflow(&format!("{name}.json"), &graph);
    }

    /// A run with all its reports.
    pub fn run(&self, words: &[&str]) -> Ran {
        let often = ["-SampleIntervalSeconds", "0.05", "-SceneRetryBudget", "0"];
        let words = [&often[..], &REPORTS, words].concat();
        self.folder.run_on(&self.server.url(), &words)
    }

    pub fn read(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// Tests, failures, errors and skipped ones as the suite counts them, which is what it holds.
#[track_caller]
pub fn counts(junit: &str) -> [usize; 4] {
    let suite = junit.split("<testsuite ").nth(1).expect("a suite");
    let suite = suite.split('>').next().unwrap();
    let held = ["<testcase ", "<failure ", "<error ", "<skipped "];
    let counted = ["tests", "failures", "errors", "skipped"].map(|name| {
        let count = suite.split(&format!(" {name}=\"")).nth(1).expect(name);
        count.split('"').next().unwrap().parse::<usize>().unwrap()
    });
    assert_eq!(counted, held.map(|element| junit.matches(element).count()), "{junit}");
    counted
}

/// A value of the metrics, by all that stands before it but the file's label.
#[track_caller]
pub fn metric<'a>(metrics: &'a str, name: &str, labels: &str) -> Option<&'a str> {
    let labels = if labels.is_empty() { String::new() } else { format!(",{labels}") };
    let start = format!("comfyui_e2e_{name}{{report=\"nightly\"{labels}}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&start))
}

#[test]
fn a_run_that_is_well_is_told_to_each_of_them() {
    let bench = Bench::new();
    bench.flow("flow", 17_070, 1);
    bench.flow("flow_2", 100, 2);
    bench.folder.write("run.xml", "what was there before");
    bench.run(&["-MaxPeakMB", "20000", "flow.json", "flow_2.json"]).exits(0);
    let junit = bench.read("run.xml");
    assert_eq!(counts(&junit), [3, 0, 0, 0]);
    for part in [
        "<testcase classname=\"run-comfyui-e2e.scenes\" name=\"flow\" time=\"",
        "[Scene flow] Wan2 prompt queued: prompt_id=",
        "] Scene flow: peak 19210 MB, average ",
        "<testcase classname=\"run-comfyui-e2e.gates\" name=\"MaxPeakMB\" time=\"0.000\">",
        "MaxPeakMB 20000: held, driver 19310 MB (used 19210)",
    ] {
        assert!(junit.contains(part), "{part} is not in {junit}");
    }
    // Nothing of the one in the other.
    let flow = junit.split("<testcase ").nth(1).unwrap();
    assert!(!flow.contains("[Scene flow_2]"), "{flow}");

    let markdown = bench.read("run.md");
    for line in [
        "### ✓ OK: 2 of 2 scenes, exit 0",
        "| Scene | Outcome | Seconds | Peak, driver (MB) | Peak, used (MB) |",
        "- ✓ MaxPeakMB 20000: held, driver 19310 MB (used 19210)",
        "- GPU free: queue empty, 2240 MB in use (2240 before the run)",
    ] {
        assert!(markdown.lines().any(|it| it == line), "{line} is not in {markdown}");
    }
    assert!(markdown.contains("\n| flow\\_2 | ✓ succeeded | "), "{markdown}");
    assert!(markdown.contains(" | 19310 | 19210 |\n"), "{markdown}");

    let metrics = bench.read("nightly.prom");
    let value = |name: &str, labels: &str| metric(&metrics, name, labels);
    assert_eq!(value("run_success", ""), Some("1"));
    assert_eq!(value("scenes", "outcome=\"succeeded\""), Some("2"));
    assert_eq!(value("scenes", "outcome=\"failed\""), Some("0"));
    let peak = (19_310_u64 << 20).to_string();
    assert_eq!(value("vram_driver_peak_bytes", ""), Some(&*peak));
    assert_eq!(value("scene_vram_driver_peak_bytes", "scene=\"flow\""), Some(&*peak));
    assert_eq!(value("gate_held", "gate=\"MaxPeakMB\""), Some("1"));
    assert!(!seen::files(bench.folder.path()).concat().contains(".part"));
}

#[test]
fn what_failed_is_red_and_says_why() {
    let bench = Bench::new();
    bench.flow("flow", 100, 1);
    // The third one comes from the cache.
    bench.folder.workflow("bad.json", &graphs::failing("<b>it</b> | \"broke\" `here` & \u{1b}[1m"));
    bench.folder.workflow("again.json", &graphs::video("video/flow", 1.0, 100, 1));
    bench.run(&["flow.json", "bad.json", "again.json", "-MaxPeakMB", "1"]).exits(1);
    let junit = bench.read("run.xml");
    assert_eq!(counts(&junit), [4, 2, 0, 0]);
    let failed = "<failure type=\"failed\" message=\"node 2 FailAlways: ";
    assert!(junit.contains(failed), "{junit}");
    assert!(
        junit.contains("&lt;b&gt;it&lt;/b&gt; | &quot;broke&quot; `here` &amp; [1m"),
        "{junit}"
    );
    assert!(junit.contains("<failure type=\"gate\" message=\"MaxPeakMB 1: FAILED, driver "));
    let markdown = bench.read("run.md");
    assert!(markdown.starts_with("### ✗ FAILED: 1 of 3 scenes, exit 1 (failed)\n"), "{markdown}");
    let why = "| bad | ✗ failed<br>node 2 FailAlways: ";
    assert!(markdown.contains(why), "{markdown}");
    let escaped = "&lt;b&gt;it&lt;/b&gt; \\| \"broke\" \\`here\\` &amp; \\[1m";
    assert!(markdown.contains(escaped), "{markdown}");
    assert!(markdown.contains("| again | ✓ cached<br>no execution | "), "{markdown}");
    assert!(markdown.contains("\nNext: `run-comfyui-e2e "), "{markdown}");
    let metrics = bench.read("nightly.prom");
    let value = |name: &str, labels: &str| metric(&metrics, name, labels);
    assert_eq!((value("run_success", ""), value("run_exit_code", "")), (Some("0"), Some("1")));
    let of = |scene: &str| value("scene_vram_driver_peak_bytes", &format!("scene=\"{scene}\""));
    // A sample in the time of a cached scene says nothing about it.
    assert!(of("flow").is_some() && of("again").is_none(), "{metrics}");
}

#[test]
fn a_gate_that_did_not_hold_is_red() {
    let bench = Bench::new();
    bench.flow("flow", 100, 1);
    bench.run(&["flow.json", "-MaxPeakMB", "1"]).exits(7);
    assert_eq!(counts(&bench.read("run.xml")), [2, 1, 0, 0]);
    let metrics = bench.read("nightly.prom");
    assert_eq!(metric(&metrics, "gate_held", "gate=\"MaxPeakMB\""), Some("0"));
    // All of it from the cache now.
    bench.run(&["flow.json", "-MaxPeakMB", "20000"]).exits(7);
    let junit = bench.read("run.xml");
    assert_eq!(counts(&junit), [2, 0, 1, 0]);
    assert!(
        junit.contains("<error type=\"notJudged\" message=\"MaxPeakMB 20000: not judged, all ")
    );
    let metrics = bench.read("nightly.prom");
    assert_eq!(metric(&metrics, "vram_driver_peak_bytes", ""), None);
    assert_eq!(metric(&metrics, "gate_limit_bytes", "gate=\"MaxPeakMB\""), Some("20971520000"));
    assert_eq!(metric(&metrics, "gate_measured_bytes", "gate=\"MaxPeakMB\""), None);
    // And without a gate it is well.
    bench.run(&["flow.json"]).exits(0);
    assert_eq!(counts(&bench.read("run.xml")), [1, 0, 0, 0]);
    assert!(bench.read("run.md").starts_with("### ✓ OK, but nothing was generated: the scene "));
}

#[test]
fn without_a_server_it_is_an_error_of_the_run() {
    let bench = Bench::new();
    bench.flow("flow", 100, 1);
    let words = [&REPORTS[..], &["flow.json"]].concat();
    bench.folder.run_on("http://127.0.0.1:1", &words).exits(3);
    let junit = bench.read("run.xml");
    assert_eq!(counts(&junit), [2, 0, 1, 1]);
    let run = "<testcase classname=\"run-comfyui-e2e.run\" name=\"run\" time=\"0.000\">\n\
               <error type=\"unreachable\" message=\"no ComfyUI at http://127.0.0.1:1 (connection";
    assert!(junit.contains(run), "{junit}");
    assert!(junit.contains("<skipped type=\"skipped\" message=\"no ComfyUI\">"), "{junit}");
    let markdown = bench.read("run.md");
    assert!(markdown.contains("\n- no ComfyUI at http\\://127.0.0.1:1 "), "{markdown}");
    let metrics = bench.read("nightly.prom");
    let value = |name: &str, labels: &str| metric(&metrics, name, labels);
    assert_eq!((value("run_exit_code", ""), value("samples", "")), (Some("3"), Some("0")));
    for unknown in ["queue_length", "vram_size_bytes", "vram_in_use_after_bytes"] {
        assert!(!metrics.contains(&format!("comfyui_e2e_{unknown}")), "{unknown}: {metrics}");
    }
    assert!(!metrics.contains("scene_duration_seconds"), "{metrics}");
}

#[test]
fn where_nothing_was_sampled_nothing_is_told_of_memory() {
    let bench = Bench::new();
    bench.flow("flow", 100, 1);
    // The opening has its answer, the sampler none.
    bench.server.fail_next("GET /system_stats", 1, Fault::Delay(std::time::Duration::ZERO));
    bench.server.fail_next("GET /system_stats", usize::MAX, Fault::Status(500, "busy"));
    bench.run(&["flow.json"]).exits(0);
    assert_eq!(counts(&bench.read("run.xml")), [1, 0, 0, 0]);
    let markdown = bench.read("run.md");
    assert!(markdown.contains("\n- No VRAM sample was taken: status "), "{markdown}");
    let metrics = bench.read("nightly.prom");
    assert!(!metrics.contains("peak_bytes") && !metrics.contains("_size_bytes"), "{metrics}");
    let missed = metric(&metrics, "samples_missed", "reason=\"status\"").unwrap();
    assert!(missed.parse::<u64>().unwrap() > 0, "{metrics}");
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn an_interrupted_run_has_its_reports() {
    let bench = Bench::new();
    bench.folder.workflow("long.json", &graphs::video("long", 60.0, 100, 1));
    bench.flow("next", 100, 2);
    let url = bench.server.url();
    let words = [&["--comfyui-url", &url][..], &REPORTS, &["long.json", "next.json"]].concat();
    let running = bench.folder.start_with(&words, signals::alone);
    assert!(bench.server.wait_until_running(SOON));
    signals::ctrl_c(&running);
    running.wait().exits(130);
    let junit = bench.read("run.xml");
    assert_eq!(counts(&junit), [3, 0, 2, 1]);
    assert!(junit.contains("<error type=\"interrupted\" message=\"stopped from here; "), "{junit}");
    let markdown = bench.read("run.md");
    assert!(markdown.starts_with("### ✗ INTERRUPTED: 0 of 2 scenes succeeded, "), "{markdown}");
    assert_eq!(metric(&bench.read("nightly.prom"), "run_exit_code", ""), Some("130"));
}

#[test]
fn markdown_has_the_baseline_beside_it() {
    let bench = Bench::new();
    bench.flow("flow", 1000, 1);
    bench.flow("other", 500, 2);
    bench.run(&["flow.json", "other.json"]).exits(0);
    let before = bench.folder.newest();
    let before = before.to_str().unwrap();
    bench.flow("flow", 1162, 3);
    bench.flow("new", 400, 4);
    bench.run(&["-Baseline", before, "flow.json", "new.json"]).exits(0);
    let markdown = bench.read("run.md");
    let head =
        "| Scene | Outcome | Seconds | Peak, driver (MB) | Baseline (MB) | Difference (MB) |";
    assert!(markdown.contains(head), "{markdown}");
    for row in [
        "| flow | ✓ succeeded | ",
        " | 3402 | 3240 | +162 (+5.0 %) |\n| new |",
        " | 2640 | – | – |\n| **All** | |",
    ] {
        assert!(markdown.contains(row), "{row}: {markdown}");
    }
    let all = markdown.lines().find(|line| line.starts_with("| **All**")).unwrap();
    assert!(all.ends_with(" | 3402 | 3240 | +162 (+5.0 %) |"), "{all}");
    // Of a card that is another one there is nothing to hold it against.
    let log = "12:00:00,Used=1MB,Total=9MB,Driver=2MB\n12:00:01,Used=2MB,Driver=3MB,Scene=flow\n";
    bench.folder.write("small.log", log);
    bench.flow("flow", 1100, 5);
    bench.run(&["-Baseline", "small.log", "flow.json"]).exits(7);
    let markdown = bench.read("run.md");
    assert!(!markdown.contains("| Baseline (MB)"), "{markdown}");
    assert!(markdown.contains("- ✗ Baseline: not judged, "), "{markdown}");
}

#[test]
fn summary_tells_the_same_of_a_run_that_is_over() {
    let bench = Bench::new();
    bench.flow("flow", 100, 1);
    bench.folder.workflow("bad.json", &graphs::failing("it broke"));
    bench.run(&["-MaxPeakMB", "20000", "flow.json", "bad.json"]).exits(1);
    let names = ["run.xml", "run.md", "nightly.prom"];
    let told = names.map(|name| bench.read(name));
    for name in names {
        fs::remove_file(bench.folder.path().join(name)).unwrap();
    }
    let ran = bench.folder.run(&[&["summary"][..], &REPORTS].concat()).exits(0);
    assert!(ran.stdout.starts_with("FAILED: 1 of 2 scenes"), "{ran}");
    assert_eq!(names.map(|name| bench.read(name)), told);
    // Judged anew.
    let words = [&["summary", "-MaxPeakMB", "1"][..], &REPORTS].concat();
    bench.folder.run(&words).exits(7);
    assert_eq!(counts(&bench.read("run.xml")), [3, 2, 0, 0]);
}

#[test]
fn of_a_log_they_tell_what_the_log_knows() {
    const LOG: &str = "\
12:01:00,Used=2140MB,Total=24576MB,Driver=2240MB,Interval=5s
12:01:05,Used=18231MB,Total=24576MB,Driver=19102MB,Scene=scene-001
12:01:10,Missed=timeout,Scene=<i>|`
";
    let bench = Bench::new();
    let folder = &bench.folder;
    folder.write("old.log", LOG);
    let words = [&["summary", "old.log", "-MaxPeakMB", "19102"][..], &REPORTS].concat();
    folder.run(&words).exits(0);
    assert_eq!(counts(&bench.read("run.xml")), [1, 0, 0, 0]);
    let markdown = bench.read("run.md");
    assert!(markdown.starts_with("### VRAM of old.log\n"), "{markdown}");
    assert!(markdown.contains("\n| scene-001 | 19102 | 18231 |\n"), "{markdown}");
    assert!(!markdown.contains("exit") && !markdown.contains("Outcome"), "{markdown}");
    let metrics = bench.read("nightly.prom");
    assert!(!metrics.contains("run_success") && metrics.contains("vram_driver_peak_bytes"));
    // Nothing there to pass or to fail.
    let ran = folder.run(&["summary", "old.log", "--junit", "no.xml"]).exits(2);
    ran.complains("no.xml: a log knows no outcome: name a run folder, or set a gate");
    assert!(!folder.path().join("no.xml").exists());
    // A run that was killed is no good one.
    folder.write("run/vram-usage.log", LOG);
    folder.write("run/run-summary.txt", "[12:00:00] E2E\n");
    folder.run(&[&["summary", "run"][..], &REPORTS].concat()).exits(0);
    assert_eq!(counts(&bench.read("run.xml")), [1, 0, 1, 0]);
    let killed = "No verdict: this run is still going, or was killed";
    assert!(bench.read("run.xml").contains(&format!("type=\"unfinished\" message=\"{killed}\"")));
    assert!(bench.read("run.md").contains(&format!("\n{killed}\n")));
}

#[test]
fn the_page_and_the_metrics_have_the_same_names() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reports.md");
    let page = fs::read_to_string(path).unwrap();
    let told: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `comfyui_e2e_")?.split('`').next())
        .map(str::to_owned)
        .collect();
    // Growth is known from four scenes.
    let bench = Bench::new();
    let names: Vec<String> = (1..5).map(|n| format!("s{n}")).collect();
    for (color, name) in (1..).zip(&names) {
        bench.flow(name, 100, color);
    }
    let files: Vec<String> = names.iter().map(|name| format!("{name}.json")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    bench.run(&[&["-MaxPeakMB", "20000"][..], &files].concat()).exits(0);
    let metrics = bench.read("nightly.prom");
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE comfyui_e2e_"));
    let written = types.map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(told, written);
    // On a CPU it is system RAM, and there is no other name.
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::video("video/flow", 1.0, 100, 1));
    folder.run_on(&server.url(), &["--prom-file", "nightly.prom", "flow.json"]).exits(0);
    let metrics = fs::read_to_string(folder.path().join("nightly.prom")).unwrap();
    for line in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE comfyui_e2e_")) {
        let name = line.split(' ').next().unwrap().replace("system_ram", "vram");
        assert!(told.contains(&name) && !line.contains("vram"), "{line}");
    }
}
