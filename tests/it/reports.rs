//! The reports that other programs read: `JUnit`, Markdown, metrics, and the JSON of `--json`. What
//! stands in each is in their unit tests; here it is told that every run has them.

mod json;
mod readers;

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::signals;
use crate::stand_in::{Config, Fault, StandIn, graphs};
use crate::support::{Folder, Ran, SOON, files, line, run_sampled};

pub const REPORTS: [&str; 6] =
    ["--junit", "run.xml", "--markdown", "run.md", "--prom-file", "nightly.prom"];

const LOG: &str = "\
12:01:00,Used=2140MB,Total=24576MB,Driver=2240MB,Interval=5s
12:01:05,Used=18231MB,Total=24576MB,Driver=19102MB,Scene=scene-001
12:01:10,Missed=timeout,Scene=<i>|`
";

/// A card of 24 GB, sampled often.
pub struct Bench {
    pub server: StandIn,
    pub folder: Folder,
}

impl Bench {
    pub fn new() -> Self {
        Bench { server: StandIn::with(Config::cuda()), folder: Folder::new() }
    }

    /// A scene that holds that much memory until it is sampled; the colour makes it a new one.
    pub fn flow(&self, name: &str, mb: u64, color: u64) {
        let graph = graphs::video(&format!("video/{name}"), 600.0, mb, color);
        self.folder.workflow(&format!("{name}.json"), &graph);
    }

    /// A run with all its reports, in which these scenes are sampled.
    pub fn run(&self, words: &[&str], scenes: &[&str]) -> Ran {
        let often = ["-SampleIntervalSeconds", "0.05", "-Poll", "0.2", "-SceneRetryBudget", "0"];
        let words = [&often[..], &REPORTS, words].concat();
        run_sampled(&self.server, &self.folder, &words, scenes)
    }

    pub fn read(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Fails the test unless the three tell of the same end: what the suite counts, the first line,
    /// the exit code. Returns them.
    #[track_caller]
    fn tell(&self, exit: i32, counted: [usize; 4], verdict: &str) -> [String; 3] {
        let [junit, markdown, metrics] =
            ["run.xml", "run.md", "nightly.prom"].map(|name| self.read(name));
        assert_eq!(counts(&junit), counted, "{junit}");
        assert!(markdown.starts_with(&format!("### {verdict}")), "{markdown}");
        let value = |name: &str| metric(&metrics, name, "");
        assert_eq!(value("run_exit_code"), Some(&*exit.to_string()), "{metrics}");
        assert_eq!(value("run_success"), Some(if exit == 0 { "1" } else { "0" }), "{metrics}");
        [junit, markdown, metrics]
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
fn metric<'a>(metrics: &'a str, name: &str, labels: &str) -> Option<&'a str> {
    let labels = if labels.is_empty() { String::new() } else { format!(",{labels}") };
    let start = format!("comfyui_e2e_{name}{{report=\"nightly\"{labels}}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&start))
}

#[test]
fn a_successful_run_is_in_each_report() {
    let bench = Bench::new();
    bench.flow("flow", 17_070, 1);
    bench.flow("flow_2", 100, 2);
    // Another name of a file that is there: what is written into it would be seen here too.
    let before = bench.folder.write("run.xml", "what was there before");
    fs::hard_link(before, bench.folder.path().join("kept")).unwrap();
    let words = ["-MaxPeakMB", "20000", "flow.json", "flow_2.json"];
    bench.run(&words, &["flow", "flow_2"]).exits(0);
    let [junit, markdown, metrics] = bench.tell(0, [3, 0, 0, 0], "✓ 2 of 2 scenes in ");
    let flow = junit.split("<testcase ").nth(1).unwrap();
    assert!(flow.contains("] Scene flow: peak 19210 MB, average "), "{flow}");
    assert!(!flow.contains("[Scene flow_2]"), "{flow}");
    assert!(markdown.contains("\n| flow\\_2 | ✓ succeeded | "), "{markdown}");
    assert!(markdown.contains(" | 19310 | 19210 |\n"), "{markdown}");
    let peak = (19_310_u64 << 20).to_string();
    let of_flow = metric(&metrics, "scene_vram_driver_peak_bytes", "scene=\"flow\"");
    assert_eq!(of_flow, Some(&*peak), "{metrics}");
    assert_eq!(bench.read("kept"), "what was there before", "it was not replaced by a rename");
    assert!(!files(bench.folder.path()).concat().contains(".part"));
}

#[test]
fn a_failed_run_is_in_each_report_and_summary_writes_the_same() {
    let bench = Bench::new();
    bench.flow("flow", 100, 1);
    bench.folder.workflow("bad.json", &graphs::failing("<b>it</b> | \"broke\" `here` & \u{1b}[1m"));
    // The third one comes from the cache.
    let again = graphs::video("video/flow", 600.0, 100, 1);
    bench.folder.workflow("again.json", &again);
    let words = ["flow.json", "bad.json", "again.json", "-MaxPeakMB", "1"];
    // A scene that failed wins over a gate that did.
    let ran = bench.run(&words, &["flow"]).exits(1).says("Gates      MaxPeakMB 1 FAILED (2340)\n");
    let next = line(&ran.stdout, "Next       run-comfyui-e2e ");
    assert!(next.contains(" --max-peak-mb 1 ") && !next.contains("flow.json"), "{next}");
    let verdict = "✗ 1 of 3 scenes failed in ";
    let told = bench.tell(1, [4, 2, 0, 0], verdict);
    let [junit, markdown, metrics] = &told;
    for part in [
        "<failure type=\"failed\" message=\"node 2 FailAlways: ",
        "&lt;b&gt;it&lt;/b&gt; | &quot;broke&quot; `here` &amp; [1m",
        "<failure type=\"gate\" message=\"MaxPeakMB 1: FAILED, driver ",
    ] {
        assert!(junit.contains(part), "{part}: {junit}");
    }
    for part in [
        "| bad | ✗ failed<br>node 2 FailAlways: ",
        "&lt;b&gt;it&lt;/b&gt; \\| \"broke\" \\`here\\` &amp; \\[1m",
        "| again | ✓ cached<br>no execution | ",
        &format!("\nNext: `{}`\n", &next["Next       ".len()..]),
    ] {
        assert!(markdown.contains(part), "{part}: {markdown}");
    }
    let of = |scene| metric(metrics, "scene_vram_driver_peak_bytes", scene);
    assert!(of("scene=\"flow\"").is_some() && of("scene=\"again\"").is_none(), "{metrics}");

    for name in ["run.xml", "run.md", "nightly.prom"] {
        fs::remove_file(bench.folder.path().join(name)).unwrap();
    }
    let ran = bench.folder.run(&[&["summary"][..], &REPORTS].concat()).exits(0);
    assert!(ran.stdout.starts_with("✗ 1 of 3 scenes failed in "), "{ran}");
    assert_eq!(bench.tell(1, [4, 2, 0, 0], verdict), told);
    // Gates of the summary's own are judged in place of the run's.
    let words = [&["summary", "-MaxPeakMB", "20000"][..], &REPORTS].concat();
    bench.folder.run(&words).exits(1);
    assert_eq!(counts(&bench.read("run.xml")), [4, 1, 0, 0]);
}

#[test]
fn a_gate_that_failed_or_was_not_judged_is_in_each_report() {
    let bench = Bench::new();
    bench.flow("flow", 100, 1);
    bench.run(&["flow.json", "-MaxPeakMB", "1"], &["flow"]).exits(7);
    let verdict = "✗ VRAM peak 2340 MB is above 1 MB (exit 7)\n";
    let [_, _, metrics] = bench.tell(7, [2, 1, 0, 0], verdict);
    assert_eq!(metric(&metrics, "gate_held", "gate=\"MaxPeakMB\""), Some("0"));
    // All of it comes from the cache now.
    bench.run(&["flow.json", "-MaxPeakMB", "20000"], &[]).exits(7);
    let [junit, _, metrics] =
        bench.tell(7, [2, 0, 1, 0], "✗ MaxPeakMB could not be judged (exit 7)\n");
    let not_judged = "<error type=\"notJudged\" message=\"MaxPeakMB 20000: not judged, all ";
    assert!(junit.contains(not_judged), "{junit}");
    assert_eq!(metric(&metrics, "vram_driver_peak_bytes", ""), None);
    assert_eq!(metric(&metrics, "gate_limit_bytes", "gate=\"MaxPeakMB\""), Some("20971520000"));
    assert_eq!(metric(&metrics, "gate_measured_bytes", "gate=\"MaxPeakMB\""), None);
    // Without a gate it is well.
    bench.run(&["flow.json"], &[]).exits(0);
    bench.tell(0, [1, 0, 0, 0], "✓ nothing was generated: the scene ");
}

#[test]
fn an_unreachable_server_is_an_error_of_the_run() {
    let bench = Bench::new();
    bench.flow("flow", 100, 1);
    let words = [&REPORTS[..], &["flow.json"]].concat();
    bench.folder.run_on("http://127.0.0.1:1", &words).exits(3);
    let [junit, markdown, metrics] =
        bench.tell(3, [2, 0, 1, 1], "✗ no scene was run (exit 3, unreachable)\n");
    let run = "<testcase classname=\"run-comfyui-e2e.run\" name=\"run\" time=\"0.000\">\n\
               <error type=\"unreachable\" message=\"no ComfyUI at http://127.0.0.1:1 (connection";
    assert!(junit.contains(run), "{junit}");
    assert!(junit.contains("<skipped type=\"skipped\" message=\"no ComfyUI\">"), "{junit}");
    assert!(markdown.contains("\n- no ComfyUI at http\\://127.0.0.1:1 "), "{markdown}");
    assert_eq!(metric(&metrics, "samples", ""), Some("0"));
    let ran = bench.folder.run(&["summary"]).exits(0).says("After      nothing was posted");
    ran.says("✗ no scene was run (exit 3, unreachable)");
}

#[test]
fn reports_without_a_sample_have_no_memory_figures() {
    let bench = Bench::new();
    bench.folder.workflow("flow.json", &graphs::images("img/flow", 1, 1));
    // The opening has its answer, the sampler none.
    bench.server.fail_next("GET /system_stats", 1, Fault::Delay(Duration::ZERO));
    bench.server.fail_next("GET /system_stats", usize::MAX, Fault::Status(500, "busy"));
    let ran = bench.run(&["-VramSource", "comfyui", "flow.json"], &[]).exits(0);
    let log = bench.folder.read("vram-usage.log");
    // Where the machine is busy, a tick may be late as well.
    let missed = |reason: &str| log.matches(&format!("Missed={reason}")).count();
    let late = Some(missed("late")).filter(|late| *late > 0);
    let late = late.map(|late| format!(", late {late}")).unwrap_or_default();
    let why = format!("No VRAM sample was taken: status {}{late}\n", missed("status"));
    ran.says(&why).says("GPU idle, queue empty\n").never_says("Peak");
    assert!(bench.folder.metadata()["Vram"]["PeakMB"].is_null());
    let [_, markdown, metrics] = bench.tell(0, [1, 0, 0, 0], "✓ 1 scene in ");
    assert!(markdown.contains("\n- Sampling   No VRAM sample was taken: status "), "{markdown}");
    assert!(!metrics.contains("peak_bytes") && !metrics.contains("_size_bytes"), "{metrics}");
    let missed = metric(&metrics, "samples_missed", "reason=\"status\"").unwrap();
    assert!(missed.parse::<u64>().unwrap() > 0, "{metrics}");
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn an_interrupted_run_has_its_reports() {
    let bench = Bench::new();
    bench.flow("long", 100, 1);
    bench.flow("next", 100, 2);
    let url = bench.server.url();
    let words = [&["--comfyui-url", &url][..], &REPORTS, &["long.json", "next.json"]].concat();
    let running = bench.folder.start_with(&words, signals::alone);
    assert!(bench.server.wait_until_running(SOON));
    signals::ctrl_c(&running);
    running.wait().exits(130);
    let [junit, ..] = bench.tell(130, [3, 0, 2, 1], "✗ interrupted after ");
    let why = "<error type=\"interrupted\" message=\"by a signal (Ctrl-C); ";
    assert!(junit.contains(why), "{junit}");
}

#[test]
fn markdown_has_the_baseline_beside_it() {
    let bench = Bench::new();
    bench.flow("flow", 1000, 1);
    bench.run(&["flow.json"], &["flow"]).exits(0);
    let before = bench.folder.newest();
    let before = before.to_str().unwrap();
    bench.flow("flow", 1064, 3);
    bench.flow("new", 400, 4);
    bench.run(&["-Baseline", before, "flow.json", "new.json"], &["flow", "new"]).exits(0);
    let markdown = bench.read("run.md");
    for row in [
        "| Scene | Outcome | Seconds | Peak, driver (MB) | Figure | Now (MB) | Baseline (MB) | Difference (MB) |",
        " | torch | 1064 | 1000 | +64 (+6.4 %) |\n| new |",
        " | – | – | – | – |\n| **All** | |",
    ] {
        assert!(markdown.contains(row), "{row}: {markdown}");
    }
}

#[test]
fn reports_of_a_log_have_no_outcomes() {
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
    // Without a gate there is nothing to pass or to fail.
    let ran = folder.run(&["summary", "old.log", "--junit", "no.xml"]).exits(2);
    ran.refuses("no.xml: a log knows no outcome: name a run folder, or set a gate");
    assert!(!folder.path().join("no.xml").exists());
    // A run that was killed did not pass.
    folder.write("run/vram-usage.log", LOG);
    folder.write("run/run-summary.txt", "[12:00:00] E2E\n");
    let killed = "No verdict: this run is still going, or was killed";
    folder.run(&[&["summary", "run"][..], &REPORTS].concat()).exits(0).says(killed);
    assert_eq!(counts(&bench.read("run.xml")), [1, 0, 1, 0]);
    assert!(bench.read("run.xml").contains(&format!("type=\"unfinished\" message=\"{killed}\"")));
    assert!(bench.read("run.md").contains(&format!("\n{killed}\n")));
}

fn names(metrics: &str) -> BTreeSet<String> {
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE comfyui_e2e_"));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn docs_and_metrics_have_the_same_names() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reports.md");
    let page = fs::read_to_string(path).unwrap();
    let documented: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `comfyui_e2e_")?.split('`').next())
        .map(str::to_owned)
        .collect();
    // Growth is known from four scenes; what does not fit on the card spills.
    let bench = Bench::new();
    let scenes = ["s1", "s2", "s3", "s4"];
    for (color, name) in (1..).zip(scenes) {
        bench.flow(name, 27_000, color);
    }
    let words = ["-MaxPeakMB", "30000", "s1.json", "s2.json", "s3.json", "s4.json"];
    bench.run(&words, &scenes).exits(0);
    assert_eq!(documented, names(&bench.read("nightly.prom")));
    // On a CPU it is system RAM, and there is no other name.
    let bench = Bench { server: StandIn::start(), folder: Folder::new() };
    bench.flow("flow", 100, 1);
    bench.run(&["flow.json"], &["flow"]).exits(0);
    for name in names(&bench.read("nightly.prom")) {
        let documented = documented.contains(&name.replace("system_ram", "vram"));
        assert!(documented && !name.contains("vram"), "{name}");
    }
}

#[test]
fn a_report_that_cannot_be_written_is_told_before_anything_is_run() {
    let bench = Bench::new();
    let folder = &bench.folder;
    bench.flow("flow", 1, 1);
    fs::create_dir(folder.path().join("taken")).unwrap();
    folder.write("old.log", LOG);
    for option in ["--junit", "--markdown", "--prom-file", "--html"] {
        let start = format!("run-comfyui-e2e: {option} ");
        for file in ["no/such/report", "taken", "old.log"] {
            let words = ["summary", "old.log", "-MaxPeakMB", "9", option, file];
            folder.run(&words).exits(2).refuses(&start);
            if file == "old.log" {
                folder.run(&words).refuses("old.log: that is read here, and would be replaced");
            } else if option == "--html" {
                let words = ["monitor", "--log", "new.log", "--html", file, "--duration", "60"];
                folder.run(&words).exits(2).refuses(&start);
                assert!(!folder.path().join("new.log").exists());
            } else {
                let words = [option, file, "flow.json"];
                folder.run_on(&bench.server.url(), &words).exits(2).refuses(&start);
            }
        }
    }
    assert!(folder.runs().is_empty() && bench.server.requests().is_empty());
    assert_eq!(bench.read("old.log"), LOG);
    assert!(!files(folder.path()).concat().contains(".part"));
}

#[test]
fn a_report_that_can_no_longer_be_written_is_a_warning() {
    for quiet in [false, true] {
        let bench = Bench::new();
        bench.flow("flow", 1, 1);
        fs::create_dir(bench.folder.path().join("reports")).unwrap();
        let mut words = vec!["--junit", "reports/run.xml", "flow.json", "--markdown", "-"];
        words.extend(quiet.then_some("--quiet"));
        let running = bench.folder.start_on(&bench.server.url(), &words);
        assert!(bench.server.wait_until_running(SOON));
        fs::remove_dir(bench.folder.path().join("reports")).unwrap();
        bench.server.finish_running();
        let ran = running.wait().exits(0);
        let summary = bench.folder.read("run-summary.txt");
        assert!(line(&summary, "WARNING: --junit ").contains("run.xml: "), "{summary}");
        let printed = if quiet { &ran.stderr } else { &ran.stdout };
        assert_eq!(printed.matches("--junit ").count(), 1, "{ran}");
        // `-` is a name like another.
        assert!(bench.read("-").starts_with("### ✓ 1 scene in "));
    }
}
