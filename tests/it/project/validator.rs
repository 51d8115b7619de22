//! The rules by which the project's validator judges a run's summary and metadata, read anew from
//! the two files alone.

use serde_json::Value;

pub fn broken(summary: &str, metadata: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    let mut rule = |holds: bool, what: &str| {
        if !holds {
            broken.push(what.to_owned());
        }
    };
    let texts = "Story ready:|Story logline:|[Scene scene-|Vitest comfyUI exitCode=|\
        Vitest e2e exitCode=|Vitest scripts exitCode=|## Artifact Index";
    for text in texts.split('|') {
        rule(summary.contains(text), text);
    }
    let frames = after(summary, "Total frames copied: ").and_then(|rest| number(&rest));
    rule(frames.is_some_and(|frames| frames > 0.0), "Total frames copied");
    let policy = after(summary, "Queue policy: ").unwrap_or_default();
    let queue = &metadata["QueueConfig"];
    for (name, key) in [
        ("sceneRetries=", "SceneRetryBudget"),
        ("historyMaxWait=", "HistoryMaxWaitSeconds"),
        ("historyPollInterval=", "HistoryPollIntervalSeconds"),
        ("historyMaxAttempts=", "HistoryMaxAttempts"),
        ("postExecutionTimeout=", "PostExecutionTimeoutSeconds"),
    ] {
        let said = after(&policy, name).and_then(|rest| limit(&rest));
        rule(said.is_some() && said == queue[key].as_f64(), &format!("Queue policy {name}"));
    }
    rule(!blank(&metadata["Story"]["Id"]), "Story.Id");
    for key in ["ComfyUI", "E2E", "Scripts"] {
        rule(!blank(&metadata["VitestLogs"][key]), &format!("VitestLogs.{key}"));
    }
    for key in ["MappingPreflight", "ComfyUIStatus"] {
        rule(!blank(&metadata["HelperSummaries"][key]["Summary"]), key);
    }
    for key in missing(metadata) {
        rule(false, &key);
    }
    let scenes = metadata["Scenes"].as_array().cloned().unwrap_or_default();
    rule(!scenes.is_empty(), "Scenes");
    for scene in &scenes {
        let id = scene["SceneId"].as_str().unwrap_or_default();
        let lines: Vec<&str> =
            summary.lines().filter(|line| line.contains(&format!("[Scene {id}]"))).collect();
        for what in broken_of_scene(scene, &lines) {
            rule(false, &format!("{id}: {what}"));
        }
    }
    broken
}

fn broken_of_scene(scene: &Value, lines: &[&str]) -> Vec<String> {
    let mut broken = Vec::new();
    let mut rule = |holds: bool, what: &str| {
        if !holds {
            broken.push(what.to_owned());
        }
    };
    let telemetry = &scene["Telemetry"];
    let gpu = &telemetry["GPU"];
    let line = lines.iter().find_map(|line| after(line, "Telemetry: ")).unwrap_or_default();
    let part = |name: &str| {
        let found = line.split(" | ").find_map(|part| part.strip_prefix(name));
        found.map(str::to_owned).unwrap_or_default()
    };
    for (name, value) in [
        ("pollLimit=", &telemetry["HistoryAttemptLimit"]),
        ("SceneRetryBudget=", &telemetry["SceneRetryBudget"]),
        ("DoneMarkerWaitSeconds=", &telemetry["DoneMarkerWaitSeconds"]),
        ("VRAMBeforeMB=", &gpu["VramBeforeMB"]),
        ("VRAMAfterMB=", &gpu["VramAfterMB"]),
        ("VRAMDeltaMB=", &gpu["VramDeltaMB"]),
    ] {
        // Memory that is not known is null there and not told here.
        let told = limit(&part(name));
        let may_be_unknown = name.starts_with("VRAM");
        rule(told == value.as_f64() && (told.is_some() || may_be_unknown), name);
    }
    for (name, key) in [
        ("DoneMarkerDetected=", "DoneMarkerDetected"),
        ("ForcedCopyTriggered=", "ForcedCopyTriggered"),
    ] {
        rule(Some(part(name)) == telemetry[key].as_bool().map(|it| it.to_string()), name);
    }
    let mb = |key: &str| gpu[key].as_f64();
    let delta = mb("VramAfterMB").zip(mb("VramBeforeMB")).map(|(after, before)| after - before);
    rule(delta.is_some() == mb("VramDeltaMB").is_some(), "an unknown delta of the memory");
    let off = delta.zip(mb("VramDeltaMB")).map_or(0.0, |(delta, told)| (told - delta).abs());
    rule(off <= 0.01, "the delta of the memory");
    rule(!blank(&gpu["Name"]), "GPU.Name");
    let says = |text: &str| lines.iter().any(|line| line.contains(text));
    let is = |key: &str| scene[key].as_bool();
    rule(is("MeetsFrameFloor") != Some(false) || says("WARNING: Frame count below floor"), "floor");
    rule(is("HistoryRetrieved") == Some(true) || says("HISTORY"), "HISTORY");
    rule(is("Success") == Some(true) || says("ERROR"), "ERROR");
    for note in telemetry["System"]["FallbackNotes"].as_array().unwrap_or(&Vec::new()) {
        rule(says(note.as_str().unwrap_or("\0")), "a fallback note without a line");
    }
    rule(scene["SceneRetryBudget"].is_number(), "SceneRetryBudget");
    for key in TELEMETRY.split(' ').skip(2).take(6) {
        rule(!telemetry[key].is_null(), &format!("{key} is null"));
    }
    let detected = telemetry["ExecutionSuccessDetected"] == true;
    rule(!detected || !telemetry["ExecutionSuccessAt"].is_null(), "ExecutionSuccessAt");
    broken
}

/// Every key of the script's document that is not there, known or not.
pub fn missing(metadata: &Value) -> Vec<String> {
    let of = |whole: &Value, parts: &[(&str, &str)]| {
        let mut missing = Vec::new();
        for (path, keys) in parts {
            let part = whole.pointer(path).unwrap_or(&Value::Null);
            let absent = keys.split(' ').filter(|key| part.get(key).is_none());
            missing.extend(absent.map(|key| format!("{path}/{key} is missing")));
        }
        missing
    };
    let scenes = metadata["Scenes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_scenes = scenes.iter().flat_map(|scene| of(scene, &SCENE));
    of(metadata, &DOCUMENT).into_iter().chain(of_scenes).collect()
}

const DOCUMENT: [(&str, &str); 8] = [
    (
        "",
        "RunId Timestamp RunDir Story Scenes QueueConfig VitestLogs VitestSummary Archive HelperSummaries",
    ),
    ("/Story", "Id Logline DirectorsVision Generator File StoryDir LLM HealthCheck Warnings"),
    ("/Story/HealthCheck", "Url Override Status Models Error Timestamp Skipped SkipReason"),
    (
        "/QueueConfig",
        "SceneRetryBudget HistoryMaxWaitSeconds HistoryPollIntervalSeconds HistoryMaxAttempts PostExecutionTimeoutSeconds",
    ),
    ("/VitestLogs", "ComfyUI E2E Scripts ResultsJson"),
    ("/HelperSummaries", "MappingPreflight ComfyUIStatus"),
    ("/HelperSummaries/MappingPreflight", "Summary Log"),
    ("/HelperSummaries/ComfyUIStatus", "Summary Log"),
];
const SCENE: [(&str, &str); 6] = [
    (
        "/HistoryConfig",
        "MaxWaitSeconds PollIntervalSeconds MaxAttempts PostExecutionTimeoutSeconds",
    ),
    ("/Telemetry", TELEMETRY),
    (
        "/Telemetry/GPU",
        "Name Type Index VramFreeBefore VramFreeAfter VramTotal VramDelta VramBeforeMB VramAfterMB VramDeltaMB",
    ),
    ("/Telemetry/System", "Before After FallbackNotes"),
    ("/Video", "Path DurationSeconds Status UpdatedAt Error"),
    (
        "",
        "SceneId SceneTitle SceneSummary Prompt NegativePrompt FrameFloor FrameCount DurationSeconds FramePrefix HistoryPath Success MeetsFrameFloor HistoryRetrieved HistoryAttempts Warnings Errors AttemptsRun Requeued KeyframeSource StoryTitle StorySummary StoryMood StoryExpectedFrames StoryCameraMovement HistoryAttemptLimit SceneRetryBudget HistoryConfig Telemetry Video",
    ),
];
const TELEMETRY: &str = "QueueStart QueueEnd DurationSeconds MaxWaitSeconds PollIntervalSeconds HistoryAttempts HistoryAttemptLimit HistoryExitReason HistoryPostExecutionTimeoutReached PostExecutionTimeoutSeconds ExecutionSuccessDetected ExecutionSuccessAt SceneRetryBudget DoneMarkerDetected DoneMarkerWaitSeconds DoneMarkerPath ForcedCopyTriggered ForcedCopyDebugPath GPU System";

fn after(text: &str, start: &str) -> Option<String> {
    let rest = text.split_once(start)?.1;
    Some(rest.lines().next().unwrap_or_default().to_owned())
}

fn number(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'));
    text[..end.unwrap_or(text.len())].parse().ok()
}

/// The same, where no limit is 0.
fn limit(text: &str) -> Option<f64> {
    if text.starts_with("unbounded") { Some(0.0) } else { number(text) }
}

fn blank(value: &Value) -> bool {
    value.as_str().is_none_or(|text| text.trim().is_empty())
}

/// One thing is gone from a good pair of files.
#[test]
fn each_rule_finds_what_breaks_it() {
    const TEXTS: &str = "Story ready:|Story logline:|Vitest comfyUI exitCode=|Vitest e2e exitCode=|\
        Vitest scripts exitCode=|## Artifact Index|Total frames copied: |sceneRetries=|\
        historyMaxWait=|historyPollInterval=|historyMaxAttempts=|postExecutionTimeout=|Telemetry: |\
        pollLimit=|SceneRetryBudget=|DoneMarkerWaitSeconds=|DoneMarkerDetected=|ForcedCopyTriggered=|\
        VRAMBeforeMB=|VRAMAfterMB=|VRAMDeltaMB=|WARNING: Frame count below floor|[Scene scene-001]";
    const PATHS: &str = "/QueueConfig/SceneRetryBudget /Story/Id /VitestLogs/Scripts /Scenes \
        /HelperSummaries/ComfyUIStatus/Summary /Scenes/0/SceneRetryBudget /Scenes/0/HistoryRetrieved \
        /Scenes/0/Success /Scenes/0/Video /Scenes/0/Telemetry/DurationSeconds \
        /Scenes/0/Telemetry/HistoryExitReason /Scenes/0/Telemetry/ExecutionSuccessAt \
        /Scenes/0/Telemetry/GPU/Name /Scenes/0/Telemetry/GPU/VramBeforeMB";
    let project = super::bench::Project::new();
    let mut graph = crate::stand_in::graphs::images("x", 5, 1);
    graph["20"] = serde_json::json!({"class_type": "Note", "inputs": {"text": "__PROMPT__"}});
    project.template(&graph);
    project.run("", &["-Scenes", "1", "-SceneHistoryMaxAttempts", "9"]).exits(0);
    let (summary, metadata) = (project.folder.read("run-summary.txt"), project.folder.metadata());
    assert_eq!(broken(&summary, &metadata), [""; 0]);
    for text in TEXTS.split('|') {
        assert!(summary.contains(text), "{text}: {summary}");
        assert_ne!(broken(&summary.replace(text, ""), &metadata), [""; 0], "{text}");
    }
    for path in PATHS.split(' ') {
        let mut changed = metadata.clone();
        *changed.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = Value::Null;
        assert_ne!(broken(&summary, &changed), [""; 0], "{path}");
    }
}
