//! A run judged by its gates, and the verdicts in its metadata.

use serde_json::{Value, json};

use super::fields::Fields;
use super::record::RunRecord;
use super::saved_run::SavedRun;
use crate::cli::GateOptions;
use crate::vram::gates::{Gate, Measured, RunVram, State, Verdict, judge};
use crate::vram::stats::VramStats;

/// The verdicts on a run; without its record on its log.
pub fn verdicts_on(
    options: &GateOptions,
    record: Option<&RunRecord>,
    vram: &VramStats,
    baselines: &[SavedRun],
) -> Vec<Verdict> {
    judge(options.limits, &subject(vram, record), &named(baselines))
}

/// A run as the gates see it; without its record its log.
pub(super) fn subject<'a>(vram: &'a VramStats, record: Option<&'a RunRecord>) -> RunVram<'a> {
    RunVram { vram, facts: record.map(RunRecord::facts) }
}

/// Baselines, each with its name.
pub(super) fn named(baselines: &[SavedRun]) -> Vec<(String, RunVram<'_>)> {
    let one = |past: &'_ SavedRun| past.log.display().to_string();
    baselines.iter().map(|past| (one(past), subject(&past.vram, past.record()))).collect()
}

/// The `Gates` array: MB, except for the names. An unknown is null.
pub fn json(verdicts: &[Verdict]) -> Value {
    verdicts.iter().map(of_verdict).collect()
}

fn of_verdict(verdict: &Verdict) -> Value {
    let (figure, mb, used) = match verdict.measured {
        Some(Measured::Driver(mb, used)) => (Some("driver"), json!(mb), used),
        Some(Measured::Used(mb)) => (Some("used"), json!(mb), Some(mb)),
        Some(Measured::SystemRam(mb)) => (Some("systemRam"), json!(mb), None),
        Some(Measured::Growth(mb)) => (Some("growth"), json!(mb), None),
        None => (None, Value::Null, None),
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
        "Figure": figure,
        "MeasuredMB": mb,
        "UsedMB": used,
        "Verdict": state,
        "Why": why,
    })
}

/// The verdicts in a document.
///
/// # Errors
/// The key that is missing or holds something else, one line.
pub(super) fn verdicts(document: &Fields) -> Result<Vec<Verdict>, String> {
    document.each("Gates", |gate| {
        let named = gate.text("Gate")?;
        let kind = Gate::ALL.into_iter().find(|gate| gate.name() == named);
        let mb = || gate.number("MeasuredMB");
        Ok(Verdict {
            gate: kind.ok_or_else(|| gate.wrong("Gate"))?,
            scene: gate.maybe_text("SceneId"),
            limit: gate.value["LimitMB"].as_u64(),
            measured: match gate.maybe_text("Figure").as_deref() {
                None => None,
                Some("driver") => Some(Measured::Driver(mb()?, gate.value["UsedMB"].as_u64())),
                Some("used") => Some(Measured::Used(mb()?)),
                Some("systemRam") => Some(Measured::SystemRam(mb()?)),
                Some("growth") => {
                    let mb = gate.value["MeasuredMB"].as_i64();
                    Some(Measured::Growth(mb.ok_or_else(|| gate.wrong("MeasuredMB"))?))
                }
                Some(_) => return Err(gate.wrong("Figure")),
            },
            state: match gate.text("Verdict")?.as_str() {
                "held" => State::Held,
                "failed" => State::Failed,
                "notJudged" => State::NotJudged(gate.text("Why")?),
                _ => return Err(gate.wrong("Verdict")),
            },
        })
    })
}
