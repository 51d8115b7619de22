//! `artifact-metadata.json`: the machine's record of a run.

use serde_json::{Value, json};

use crate::stand_in::{Config, StandIn, graphs};
use crate::support::Folder;

fn keys(value: &Value) -> Vec<&str> {
    let object = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    object.keys().map(String::as_str).collect()
}

#[test]
fn no_key_is_missing_whatever_is_unknown() {
    let folder = Folder::new();
    folder.workflow("flow.json", &graphs::images("img/flow", 1, 1));
    let server = StandIn::with(Config::cuda());
    folder.run_on(&server.url(), &["flow.json"]).exits(0);
    let known = folder.metadata();
    // Nobody listens there: nothing is known.
    folder.run_on("http://127.0.0.1:1", &["flow.json"]).exits(3);
    let unknown = folder.metadata();
    for document in [&known, &unknown] {
        for key in [
            "SchemaVersion",
            "Tool",
            "RunId",
            "RunDir",
            "Timestamp",
            "Ended",
            "Server",
            "QueueConfig",
            "SampleIntervalSeconds",
            "Scenes",
            "Vram",
            "Gates",
            "Aftermath",
            "Interrupted",
            "Failure",
            "ExitCode",
            "ExitReason",
            "Next",
        ] {
            assert!(document.get(key).is_some(), "{key} is missing: {document:#}");
        }
    }
    for document in [&known, &unknown] {
        assert_eq!(crate::project::validator::missing(document), [""; 0]);
    }
    for part in ["Server", "QueueConfig", "Vram", "Aftermath", "Tool"] {
        assert_eq!(keys(&known[part]), keys(&unknown[part]), "{part}");
    }
    for key in [
        "PeakMB",
        "AverageMB",
        "MinimumMB",
        "MedianMB",
        "P95MB",
        "PeakDriverMB",
        "PeakGeneratingMB",
        "RunTookMB",
        "TotalMB",
        "PeakAt",
        "PeakScene",
        "Samples",
        "Ticks",
        "Missed",
        "AskedIntervalSeconds",
        "AchievedIntervalSeconds",
        "LongestGapSeconds",
        "Sources",
        "GrowthMBPerScene",
    ] {
        assert!(known["Vram"].get(key).is_some(), "Vram.{key} is missing");
    }
    assert_eq!(keys(&known["Scenes"][0]), keys(&unknown["Scenes"][0]));
    for key in ["Url", "ComfyUIVersion", "PyTorchVersion", "PythonVersion", "Device"] {
        assert!(known["Server"][key].is_string(), "Server.{key}");
        assert!(key == "Url" || unknown["Server"][key].is_null(), "Server.{key}");
    }
    assert_eq!((&unknown["ExitCode"], &unknown["ExitReason"]), (&json!(3), &json!("unreachable")));
}

#[test]
fn a_run_is_recorded_as_it_was() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::video("video/flow", 0.4, 500, 1));
    folder.workflow("bad.json", &graphs::failing("it broke"));
    let words = ["-SampleIntervalSeconds", "0.1", "flow.json", "bad.json"];
    folder.run_on(&server.url(), &words).exits(1);
    let run = folder.newest();
    let document = folder.metadata();
    assert_eq!(document["SchemaVersion"], 1);
    let tool = json!({"Name": "run-comfyui-e2e", "Version": env!("CARGO_PKG_VERSION")});
    assert_eq!(document["Tool"], tool);
    assert_eq!(document["RunId"], *run.file_name().unwrap().to_string_lossy());
    let directory = document["RunDir"].as_str().unwrap();
    assert!(directory.ends_with(&format!("/logs/{}", document["RunId"].as_str().unwrap())));
    assert_eq!(document["Server"]["Url"], server.url());
    assert_eq!((&document["ExitCode"], &document["ExitReason"]), (&json!(1), &json!("failed")));
    let started = document["Timestamp"].as_str().unwrap();
    assert!(
        started.contains('T') && (started.ends_with('Z') || started[19..].contains(['+', '-'])),
        "{started}"
    );
    let [flow, bad] = document["Scenes"].as_array().unwrap().as_slice() else { panic!("2 scenes") };
    assert_eq!((&flow["SceneId"], &flow["Outcome"]), (&json!("flow"), &json!("succeeded")));
    assert_eq!((&flow["Success"], &flow["Why"]), (&json!(true), &Value::Null));
    let size = std::fs::metadata(run.join("video/flow/flow.mp4")).unwrap().len();
    assert_eq!(flow["Outputs"], json!([{"Path": "video/flow/flow.mp4", "Bytes": size}]));
    assert_eq!(flow["Vram"]["PeakMB"], 1229 + 500);
    assert!(flow["ServerSeconds"].as_f64().unwrap() > 0.3);
    assert_eq!((&bad["Outcome"], &bad["AttemptsRun"]), (&json!("failed"), &json!(2)));
    assert!(bad["Why"].as_str().unwrap().contains("it broke"));
    let attempts = bad["Attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2);
    assert_ne!(attempts[0]["PromptId"], attempts[1]["PromptId"]);
    assert_eq!(bad["PromptId"], attempts[1]["PromptId"]);
}

#[test]
fn a_cached_scene_has_no_figures() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flow.json", &graphs::video("video/flow", 0.0, 0, 1));
    folder.run_on(&server.url(), &["flow.json"]).exits(0);
    let ran = folder.run_on(&server.url(), &["flow.json"]).exits(0);
    ran.says("OK, but nothing was generated: the scene came from ComfyUI's cache (use -Fresh or -Seed random); no VRAM figures")
        .says("✓ flow  ")
        .says("cached, no execution")
        .says("Scene flow: no execution");
    let scene = &folder.metadata()["Scenes"][0];
    assert_eq!((&scene["Outcome"], &scene["Vram"]), (&json!("cached"), &Value::Null));
    let mut cached: Vec<_> =
        scene["CachedNodes"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    cached.sort_unstable();
    assert_eq!(cached, ["1", "2", "3", "4"]);
}

#[test]
fn the_next_line_repeats_what_failed_and_is_accepted() {
    let (server, folder) = (StandIn::start(), Folder::new());
    folder.workflow("flows/good.json", &graphs::images("img/good", 1, 1));
    folder.workflow("flows/bad.json", &graphs::fail_once("video/bad", "only once"));
    let words = ["-Fast", "-SceneRetryBudget", "0", "-Set", "1.color=7", "-Workflow", "flows"];
    let ran = folder.run_on(&server.url(), &words).exits(1);
    let next = crate::seen::line(&ran.stdout, "Next: run-comfyui-e2e ");
    assert_eq!(folder.metadata()["Next"], next["Next: ".len()..]);
    assert!(next.contains("bad.json") && !next.contains("good.json"), "{next}");
    let words: Vec<&str> = next.split(' ').skip(2).map(|word| word.trim_matches('"')).collect();
    let ran = folder.run(&words).exits(0).says("Scenes to process: bad\n");
    ran.says("FastIteration mode: MaxWait=360s").says("OK: 1 of 1 scenes, exit 0");
    let graphs = crate::seen::graphs(&server);
    assert_eq!(graphs[2]["1"]["inputs"]["color"], 7, "-Set is repeated");
    assert!(folder.metadata()["Next"].is_null(), "all is well");
}
