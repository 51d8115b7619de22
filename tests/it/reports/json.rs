//! `docs/json.md` and the documents: each tells of all that stands in the other.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::devices::three;
use crate::project::bench::Project;
use crate::project::validator;
use crate::stand_in::{Fault, StandIn, graphs};
use crate::support::{Folder, SOON, keyframe_story, run_sampled};

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md");
    std::fs::read_to_string(path).unwrap().replace("\r\n", "\n")
}

/// A row of a table: a key by its whole path, what it is, and where it is null.
struct Row {
    path: String,
    is: String,
    null: String,
}

/// The rows of a run's document, those that a log's has at its top, and those of a dry run. The words
/// in the backticks of a heading are what stands before the keys below it.
fn rows(page: &str) -> [Vec<Row>; 3] {
    let (mut rows, mut of) = ([Vec::new(), Vec::new(), Vec::new()], 0);
    let mut places = Vec::new();
    for line in page.lines() {
        if line.starts_with('#') {
            of = match line {
                "## A log alone" => 1,
                "## A dry run" => 2,
                _ => 0,
            };
            places = line.split('`').skip(1).step_by(2).map(|place| format!("{place}.")).collect();
            if places.is_empty() {
                places.push(String::new());
            }
        }
        let Some(row) = line.strip_prefix("| `") else { continue };
        let cells: Vec<&str> = row.split(" | ").collect();
        assert_eq!(cells.len(), 5, "{line}");
        assert!(["1", "2"].contains(&cells[3]), "there are two versions: {line}");
        for place in &places {
            let path = format!("{place}{}", cells[0].trim_end_matches('`'));
            let row = Row { path, is: cells[1].to_owned(), null: cells[2].to_owned() };
            rows[of].push(row);
        }
    }
    rows
}

/// What a value is in the words of the page.
fn is(value: &Value, what: &str) -> bool {
    match what.split(',').next().unwrap() {
        "anything" => true,
        "object" => value.is_object(),
        "list" => value.is_array(),
        "true or false" => value.is_boolean(),
        "whole number" => value.is_i64() || value.is_u64(),
        "number" => value.is_f64(),
        "text" => value.is_string(),
        "path" => value.as_str().is_some_and(|path| !path.contains('\\')),
        "time" => value.as_str().is_some_and(|time| {
            time.len() > 19
                && time.contains('T')
                && (time.ends_with('Z') || time.contains('+') || time[10..].contains('-'))
        }),
        other => panic!("what is {other}?"),
    }
}

/// Goes through a document; every path in it goes to `seen`.
fn walk(value: &Value, path: &str, rows: &[Row], seen: &mut BTreeSet<String>) {
    // The document itself and an object in a list have no row of their own.
    if !(path.is_empty() || path.ends_with("[]") && value.is_object()) {
        let row = rows.iter().find(|row| row.path == path);
        let row = row.unwrap_or_else(|| panic!("{path} is not in docs/json.md: {value}"));
        seen.insert(path.to_owned());
        if value.is_null() {
            let never = row.null == "never" || row.null.starts_with("absent");
            assert!(!never, "{path} is null");
            return;
        }
        assert!(is(value, &row.is), "{path} is no {}: {value}", row.is);
        assert!(row.null != "always", "{path} is not null");
        if row.is == "anything" {
            return;
        }
    }
    let dot = if path.is_empty() { "" } else { "." };
    match value {
        Value::Object(fields) => {
            // No key is missing because its value is not known.
            for row in rows.iter().filter(|row| !row.null.starts_with("absent")) {
                let key = row.path.strip_prefix(&format!("{path}{dot}"));
                let key = key.filter(|key| !key.contains(['.', '[', '<']));
                assert!(key.is_none_or(|key| fields.contains_key(key)), "{} is missing", row.path);
            }
            for (key, value) in fields {
                let of_any = path.ends_with("Missed");
                let key = if of_any { "<reason>" } else { key };
                walk(value, &format!("{path}{dot}{key}"), rows, seen);
            }
        }
        Value::Array(items) => {
            for item in items {
                walk(item, &format!("{path}[]"), rows, seen);
            }
        }
        _ => {}
    }
}

/// What a program printed: one document, its keys in their order.
#[track_caller]
fn document(printed: &str) -> Value {
    let document: Value = serde_json::from_str(printed).expect("one document");
    // Read anew, the keys are sorted.
    assert_eq!(format!("{document:#}\n"), printed);
    document
}

#[test]
fn docs_and_documents_have_the_same_keys() {
    let [rows, of_log, _] = rows(&page());
    let mut seen = BTreeSet::new();
    // A story, helpers, three devices, gates, and a tick that was missed.
    let mut project = Project::new();
    project.server = three();
    let running = project.start("", &["--json", "-MaxPeakMB", "20000", "-MaxGrowthMB", "9"]);
    assert!(project.server.wait_until_running(SOON));
    // Of four requests on end one is the sampler's.
    project.server.fail_next("GET /system_stats", 4, Fault::Status(500, "busy"));
    assert!(project.server.wait_until_faults_are_met(SOON));
    let ran = running.wait().exits(7);
    walk(&document(&ran.stdout), "", &rows, &mut seen);
    // What failed, what was cached, what was skipped, and nothing known at all.
    let (server, folder) = (three(), Folder::new());
    folder.workflow("flow.json", &graphs::video("video/flow", 600.0, 1000, 1));
    folder.workflow("again.json", &graphs::video("video/flow", 600.0, 1000, 1));
    folder.workflow("stills.json", &graphs::images("img/stills", 1, 3));
    folder.workflow("bad.json", &graphs::failing("it broke"));
    folder.workflow("large.json", &graphs::out_of_memory());
    let scenes = ["flow.json", "again.json", "stills.json", "bad.json", "large.json"];
    let words = [&["--json", "-SampleIntervalSeconds", "0.05"][..], &scenes].concat();
    let ran = run_sampled(&server, &folder, &words, &["flow"]).exits(1);
    walk(&document(&ran.stdout), "", &rows, &mut seen);
    let ran = folder.run(&["summary", "--json", "-MaxPeakMB", "9"]).exits(1);
    walk(&document(&ran.stdout), "", &rows, &mut seen);
    // A sleep of the computer, for which nobody waits here.
    let slept = folder.read("artifact-metadata.json");
    let sleeps = "\"Asleep\": [{\"From\": \"2026-11-24T03:10:22+01:00\", \"To\": \"2026-11-24T07:45:01+01:00\"}]";
    let slept = slept.replace("\"Asleep\": []", sleeps);
    std::fs::write(folder.newest().join("artifact-metadata.json"), slept).unwrap();
    let ran = folder.run(&["summary", "--json"]).exits(0);
    walk(&document(&ran.stdout), "", &rows, &mut seen);
    folder.run(&["summary"]).exits(0).says("\nAsleep     03:10:22 to 07:45:01\n");
    let ran = folder.run_on("http://127.0.0.1:1", &["--json", "flow.json"]).exits(3);
    let unknown = document(&ran.stdout);
    walk(&unknown, "", &rows, &mut seen);
    // Nor is one of the script's keys.
    assert_eq!(validator::missing(&unknown), [""; 0]);
    let ran = crate::server_life::run_that_starts_it(&["--json"]).exits(0);
    walk(&document(&ran.stdout), "", &rows, &mut seen);
    // Items have a row for what they are, and not every list has one here.
    let told = rows.iter().map(|row| row.path.clone()).filter(|path| !path.ends_with("[]"));
    let told: Vec<String> = told.chain(of_log.iter().map(|row| row.path.clone())).collect();
    // A log alone: its own top, and below it the same.
    let below = |row: &Row| {
        let places = ["Vram.", "Scenes[].Vram.", "Gates[].", "OtherDevices[]."];
        places.iter().any(|place| row.path.starts_with(place))
    };
    let rows: Vec<Row> = of_log.into_iter().chain(rows.into_iter().filter(below)).collect();
    let log = "12:00:00,Used=5MB,Total=9MB,Driver=6MB,Interval=5s\n12:00:05,Used=7MB,Spilled=1MB,Scene=a,Node=3\n";
    folder.write("bare/vram-usage.log", log);
    folder.write("bare/vram-usage.gpu1.log", log);
    let ran = folder.run(&["summary", "--json", "bare", "-MaxPeakMB", "9"]).exits(0);
    let of_log = document(&ran.stdout);
    assert!(of_log["Vram"]["SpilledSeconds"].is_null() && of_log["Vram"]["SpilledMB"] == 1);
    walk(&of_log, "", &rows, &mut seen);
    let missing: Vec<&String> = told.iter().filter(|path| !seen.contains(*path)).collect();
    assert_eq!(missing, [""; 0], "in docs/json.md and in no document");
}

#[test]
fn docs_and_dry_run_have_the_same_keys() {
    let [_, _, rows] = rows(&page());
    let mut seen = BTreeSet::new();
    let (server, folder) = (StandIn::start(), Folder::new());
    let words = [&keyframe_story(&folder)[..], &["--dry-run", "--json", "--seed", "5"]].concat();
    let mut template = graphs::from_image("a", "of-the-template.png");
    template["90"] = serde_json::json!({"class_type": "Note", "inputs": {"text": "__PROMPT__"}});
    template["91"] = serde_json::json!({"class_type": "NoSuchNode", "inputs": {"seed": 1}});
    folder.workflow("template.json", &template);
    let ran = folder.run_on(&server.url(), &words).exits(1);
    walk(&document(&ran.stdout), "", &rows, &mut seen);
    server.stop_listening();
    let ran = folder.run_on(&server.url(), &words).exits(3);
    walk(&document(&ran.stdout), "", &rows, &mut seen);
    for row in rows {
        assert!(seen.contains(&row.path), "{} is in no document", row.path);
    }
}

#[test]
fn docs_list_every_outcome_and_reason() {
    let page = page();
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 1));
    folder.run_on(&server.url(), &["--prom-file", "all.prom", "flow.json"]).exits(0);
    // The metrics have a line for every outcome and for every reason of a missed sample.
    let metrics = std::fs::read_to_string(folder.path().join("all.prom")).unwrap();
    for (label, least) in [("outcome=\"", 13), ("reason=\"", 8)] {
        let words = metrics.split(label).skip(1).map(|rest| rest.split('"').next().unwrap());
        let words: BTreeSet<&str> = words.collect();
        assert!(words.len() >= least, "{words:?}");
        for word in words {
            assert!(page.contains(&format!("`{word}`")), "{word}");
        }
    }
}
