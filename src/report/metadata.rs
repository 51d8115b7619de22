//! `artifact-metadata.json`: the record of a run as JSON, and the record read back from it.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::legacy;
use super::record::{
    Attempt, LegacyRun, LegacyScene, Outcome, Output, PostRunState, RunRecord, SceneRecord, Server,
    ServerEnd, ServerStart, Settings,
};
use super::saved_run::{OtherDevice, add_devices};
use crate::clock::{from_iso, iso};
use crate::exit_code::Exit;
use crate::project::helpers::HelperFiles;
use crate::sanitize::sanitize_line;
use crate::vram::gates::{Gate, Measured, State, Verdict};
use crate::vram::reading::DynamicVram;
use crate::vram::stats::{NodeFacts, VramStats};

/// Incremented when a key changes its metric or goes.
pub const SCHEMA: u64 = 2;

/// The document, the script's fields included. An unknown is null; times are ISO 8601 with their
/// offset, paths have forward slashes, keys are in alphabetical order.
pub fn document(
    run: &RunRecord,
    vram: &VramStats,
    others: &[OtherDevice],
    files: &HelperFiles,
) -> Value {
    let exit = run.exit();
    let mut document = json!({
        "SchemaVersion": SCHEMA,
        "Tool": {"Name": env!("CARGO_PKG_NAME"), "Version": env!("CARGO_PKG_VERSION")},
        "RunId": run.id,
        "RunDir": run.folder,
        "Timestamp": iso(run.started),
        "Ended": iso(run.ended),
        "Server": {
            "Url": run.server.url,
            "ComfyUIVersion": run.server.comfyui,
            "PyTorchVersion": run.server.pytorch,
            "PythonVersion": run.server.python,
            "Device": run.server.device,
            "DeviceType": run.server.device_kind,
            "DeviceIndex": run.server.device_index,
            "DynamicVram": run.server.dynamic_vram.name(),
            "Starts": run.server.starts.iter().map(start_json).collect::<Vec<_>>(),
            "Ended": run.server.end.map(|end| end == ServerEnd::Ended),
        },
        "QueueConfig": {
            "SceneRetryBudget": run.settings.scene_retry_budget,
            "HistoryMaxWaitSeconds": run.settings.max_wait_seconds,
            "HistoryPollIntervalSeconds": run.settings.poll_interval_seconds,
            "HistoryMaxAttempts": run.settings.history_max_attempts,
            "PostExecutionTimeoutSeconds": run.settings.post_execution_timeout_seconds,
        },
        "SampleIntervalSeconds": run.settings.sample_interval_seconds,
        "Scenes": run.scenes.iter().map(|scene| scene_json(scene, run, vram)).collect::<Vec<_>>(),
        "Vram": vram.json(),
        "Gates": gates_json(&run.gates),
        "Aftermath": {
            "QueueLength": run.aftermath.queue,
            "UsedBeforeMB": run.aftermath.used_before_mb,
            "UsedAfterMB": run.aftermath.used_after_mb,
            "OtherPrompts": run.aftermath.other_prompts,
            "StillRunning": run.aftermath.still_running,
            "MayCome": run.aftermath.may_come,
        },
        "Asleep": run.asleep.iter().map(|(from, to)| json!({"From": iso(*from), "To": iso(*to)}))
            .collect::<Vec<_>>(),
        "Interrupted": run.interrupted,
        "Failure": run.failure.as_ref().map(|(exit, why)| json!({"Code": exit.code(), "Why": why})),
        "ExitCode": exit.code(),
        "ExitReason": exit.reason(),
        "Next": run.next,
    });
    extend(&mut document, legacy::run_fields(&run.legacy, files));
    add_devices(&mut document, others);
    document
}

fn start_json(start: &ServerStart) -> Value {
    json!({
        "At": iso(start.at),
        "ReadyAfterSeconds": start.ready_after_seconds,
        "Why": start.why,
        "LastLine": start.last_line,
    })
}

fn extend(object: &mut Value, fields: Value) {
    if let (Value::Object(object), Value::Object(fields)) = (object, fields) {
        object.extend(fields);
    }
}

fn scene_json(scene: &SceneRecord, run: &RunRecord, vram: &VramStats) -> Value {
    let last = scene.attempts.last();
    let output = |output: &Output| json!({"Path": output.path, "Bytes": output.bytes});
    let mut object = json!({
        "SceneId": scene.id,
        "Success": scene.outcome.is_success(),
        "Outcome": scene.outcome.name(),
        "Why": none_if_empty(&scene.why),
        "DurationSeconds": scene.seconds,
        "PromptId": last.and_then(|attempt| attempt.prompt_id.as_ref()),
        "CachedNodes": last.map(|attempt| attempt.cached_nodes.as_slice()).unwrap_or_default(),
        "QueuedSeconds": last.map(|attempt| attempt.queued_seconds),
        "ServerSeconds": last.and_then(|attempt| attempt.server_seconds),
        "AttemptsRun": scene.attempts.len(),
        "Attempts": scene.attempts.iter().map(attempt_json).collect::<Vec<_>>(),
        "Outputs": scene.outputs.iter().map(output).collect::<Vec<_>>(),
        "Warnings": scene.warnings,
        "Seed": scene.seed,
        "NodeCount": Some(scene.node_count).filter(|count| *count > 0),
        "ServerStart": last.and_then(|attempt| attempt.server_starts.checked_sub(1)),
        "Vram": scene.figures(vram).map(|figures| figures.json(&scene.nodes)),
    });
    extend(&mut object, legacy::scene_fields(scene, run));
    object
}

fn attempt_json(attempt: &Attempt) -> Value {
    json!({
        "Outcome": attempt.outcome.name(),
        "Why": none_if_empty(&attempt.why),
        "PromptId": attempt.prompt_id,
        "DurationSeconds": attempt.seconds,
        "QueuedSeconds": attempt.queued_seconds,
        "ServerSeconds": attempt.server_seconds,
        "Polls": attempt.polls,
        "CachedNodes": attempt.cached_nodes,
        "FreedBefore": attempt.freed,
        "ServerStart": attempt.server_starts.checked_sub(1),
    })
}

fn none_if_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// The `Gates` array: MB, except for the names. An unknown is null.
pub fn gates_json(verdicts: &[Verdict]) -> Value {
    verdicts.iter().map(verdict_json).collect()
}

fn verdict_json(verdict: &Verdict) -> Value {
    let used = match verdict.measured {
        Some(Measured::Driver(_, used)) => used,
        Some(Measured::Used(mb)) => Some(mb),
        _ => None,
    };
    let (state, why) = match &verdict.state {
        State::Held => ("held", None),
        State::Failed => ("failed", None),
        State::NotJudged(why) => ("notJudged", Some(why)),
    };
    json!({
        "Gate": verdict.gate.name(),
        "SceneId": verdict.scene,
        "LimitMB": verdict.limit,
        "Figure": verdict.measured.map(Measured::name),
        "MeasuredMB": verdict.measured.map(Measured::mb),
        "UsedMB": used,
        "BeforeMB": verdict.before,
        "Verdict": state,
        "Why": why,
    })
}

/// The record in a document; of its script's part the times of the scenes alone are read.
///
/// # Errors
/// One line: the key that is missing or has a value of another kind.
pub fn record(document: &Value) -> Result<RunRecord, String> {
    let doc = Fields { path: String::new(), value: document };
    let (server, queue, after) = (doc.at("Server"), doc.at("QueueConfig"), doc.at("Aftermath"));
    Ok(RunRecord {
        id: doc.get("RunId", line)?,
        folder: doc.get("RunDir", line)?,
        started: doc.get("Timestamp", |time| from_iso(&line(time)?))?,
        ended: doc.get("Ended", |time| from_iso(&line(time)?))?,
        settings: Settings {
            max_wait_seconds: queue.get("HistoryMaxWaitSeconds", Value::as_u64)?,
            poll_interval_seconds: queue.get("HistoryPollIntervalSeconds", Value::as_f64)?,
            history_max_attempts: queue.get("HistoryMaxAttempts", small)?,
            post_execution_timeout_seconds: queue
                .get("PostExecutionTimeoutSeconds", Value::as_u64)?,
            scene_retry_budget: queue.get("SceneRetryBudget", small)?,
            sample_interval_seconds: doc.get("SampleIntervalSeconds", Value::as_f64)?,
        },
        server: Server {
            url: server.get("Url", line)?,
            comfyui: line(&server.value["ComfyUIVersion"]),
            pytorch: line(&server.value["PyTorchVersion"]),
            python: line(&server.value["PythonVersion"]),
            device: line(&server.value["Device"]),
            device_kind: line(&server.value["DeviceType"]),
            device_index: server.value["DeviceIndex"].as_u64(),
            dynamic_vram: DynamicVram::from_name(
                server.value["DynamicVram"].as_str().unwrap_or_default(),
            )
            .unwrap_or_default(),
            // Older versions did not write these.
            starts: match &server.value["Starts"] {
                Value::Null => Vec::new(),
                _ => server.each("Starts", |start| read_start(&start))?,
            },
            end: server.value["Ended"]
                .as_bool()
                .map(|ended| if ended { ServerEnd::Ended } else { ServerEnd::Left }),
        },
        scenes: doc.each("Scenes", |scene| read_scene(&scene))?,
        interrupted: doc.get("Interrupted", Value::as_bool)?,
        failure: match doc.at("Failure") {
            Fields { value: Value::Null, .. } => None,
            failure => Some((failure.get("Code", exit)?, failure.get("Why", line)?)),
        },
        // Older versions did not write it.
        asleep: match &document["Asleep"] {
            Value::Array(sleeps) => sleeps.iter().filter_map(read_sleep).collect(),
            _ => Vec::new(),
        },
        gates: doc.each("Gates", |gate| read_verdict(&gate))?,
        aftermath: PostRunState {
            queue: after.value["QueueLength"].as_u64(),
            used_before_mb: after.value["UsedBeforeMB"].as_u64(),
            used_after_mb: after.value["UsedAfterMB"].as_u64(),
            other_prompts: after.get("OtherPrompts", Value::as_u64)?,
            still_running: line(&after.value["StillRunning"]),
            may_come: line(&after.value["MayCome"]),
        },
        next: line(&document["Next"]),
        legacy: LegacyRun::default(),
    })
}

fn read_sleep(sleep: &Value) -> Option<(OffsetDateTime, OffsetDateTime)> {
    let at = |key: &str| from_iso(sleep[key].as_str()?);
    at("From").zip(at("To"))
}

fn read_scene(scene: &Fields) -> Result<SceneRecord, String> {
    Ok(SceneRecord {
        id: scene.get("SceneId", line)?,
        outcome: scene.get("Outcome", outcome)?,
        why: line(&scene.value["Why"]).unwrap_or_default(),
        seconds: scene.get("DurationSeconds", Value::as_f64)?,
        attempts: scene.each("Attempts", |attempt| read_attempt(&attempt))?,
        outputs: scene.each("Outputs", |output| {
            let bytes = output.get("Bytes", Value::as_u64)?;
            Ok(Output { path: output.get("Path", line)?, bytes })
        })?,
        warnings: scene.get("Warnings", lines)?,
        seed: scene.value["Seed"].as_u64(),
        // Older versions did not write these.
        node_count: scene.value["NodeCount"].as_u64().and_then(|n| n.try_into().ok()).unwrap_or(0),
        nodes: match &scene.value["Vram"]["Nodes"] {
            Value::Array(nodes) => nodes.iter().filter_map(read_node).collect(),
            _ => Vec::new(),
        },
        legacy: LegacyScene {
            span: read_span(&scene.value["Telemetry"]),
            ..LegacyScene::default()
        },
    })
}

fn read_start(start: &Fields) -> Result<ServerStart, String> {
    Ok(ServerStart {
        at: start.get("At", |time| from_iso(&line(time)?))?,
        ready_after_seconds: start.get("ReadyAfterSeconds", Value::as_f64)?,
        why: start.get("Why", line)?,
        last_line: start.get("LastLine", line)?,
    })
}

fn read_span(telemetry: &Value) -> Option<(OffsetDateTime, OffsetDateTime)> {
    let at = |key| from_iso(telemetry[key].as_str()?);
    at("QueueStart").zip(at("QueueEnd"))
}

fn read_node(node: &Value) -> Option<NodeFacts> {
    let class = line(&node["ClassType"]).unwrap_or_default();
    Some(NodeFacts { id: line(&node["Node"])?, class, seconds: node["Seconds"].as_f64()? })
}

fn read_attempt(attempt: &Fields) -> Result<Attempt, String> {
    Ok(Attempt {
        outcome: attempt.get("Outcome", outcome)?,
        why: line(&attempt.value["Why"]).unwrap_or_default(),
        prompt_id: line(&attempt.value["PromptId"]),
        seconds: attempt.get("DurationSeconds", Value::as_f64)?,
        queued_seconds: attempt.get("QueuedSeconds", Value::as_f64)?,
        server_seconds: attempt.value["ServerSeconds"].as_f64(),
        polls: attempt.get("Polls", small)?,
        cached_nodes: attempt.get("CachedNodes", lines)?,
        timed_out: false,
        // Older versions did not write it.
        freed: attempt.value["FreedBefore"].as_bool().unwrap_or_default(),
        server_starts: match attempt.value["ServerStart"].as_u64() {
            Some(index) => usize::try_from(index).map_or(0, |index| index.saturating_add(1)),
            None => 0,
        },
    })
}

fn read_verdict(gate: &Fields) -> Result<Verdict, String> {
    let mb = || gate.get("MeasuredMB", Value::as_u64);
    Ok(Verdict {
        gate: gate.get("Gate", |name| Gate::ALL.into_iter().find(|gate| *name == gate.name()))?,
        scene: line(&gate.value["SceneId"]),
        limit: gate.value["LimitMB"].as_u64(),
        measured: match gate.value["Figure"].as_str() {
            None => None,
            Some("driver") => Some(Measured::Driver(mb()?, gate.value["UsedMB"].as_u64())),
            Some("used") => Some(Measured::Used(mb()?)),
            Some("systemRam") => Some(Measured::SystemRam(mb()?)),
            Some("torch") => Some(Measured::Torch(mb()?)),
            Some("added") => Some(Measured::Added(mb()?)),
            Some("growth") => Some(Measured::Growth(gate.get("MeasuredMB", Value::as_i64)?)),
            Some(_) => return Err(gate.wrong("Figure")),
        },
        before: gate.value["BeforeMB"].as_u64(),
        state: match gate.value["Verdict"].as_str() {
            Some("held") => State::Held,
            Some("failed") => State::Failed,
            Some("notJudged") => State::NotJudged(gate.get("Why", line)?),
            _ => return Err(gate.wrong("Verdict")),
        },
    })
}

/// An object of the document, with its path for error messages.
struct Fields<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Fields<'a> {
    fn at(&self, key: &str) -> Fields<'a> {
        Fields { path: format!("{}{key}.", self.path), value: &self.value[key] }
    }

    fn get<T>(&self, key: &str, read: impl Fn(&Value) -> Option<T>) -> Result<T, String> {
        read(&self.value[key]).ok_or_else(|| self.wrong(key))
    }

    fn each<T>(
        &self,
        key: &str,
        read: impl Fn(Fields<'a>) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let items = self.value[key].as_array().ok_or_else(|| self.wrong(key))?;
        let item = |(n, value)| Fields { path: format!("{}{key}[{n}].", self.path), value };
        items.iter().enumerate().map(item).map(read).collect()
    }

    fn wrong(&self, key: &str) -> String {
        format!("{}{key} is missing or not what it should be", self.path)
    }
}

fn line(value: &Value) -> Option<String> {
    value.as_str().map(sanitize_line)
}

fn lines(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(line).collect()
}

fn small(value: &Value) -> Option<u32> {
    value.as_u64()?.try_into().ok()
}

fn outcome(value: &Value) -> Option<Outcome> {
    Outcome::from_name(value.as_str()?)
}

fn exit(value: &Value) -> Option<Exit> {
    Exit::all().into_iter().find(|exit| value.as_u64() == Some(exit.code().into()))
}
