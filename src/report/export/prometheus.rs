//! A run as metrics for `node_exporter`'s textfile collector: the state of the last run, all of it
//! gauges. An unknown is absent; a count that is known to be 0 is 0.

#[cfg(test)]
mod tests;

use time::OffsetDateTime;

use crate::exit_code::Exit;
use crate::report::gates;
use crate::report::input::ReportInput;
use crate::report::record::{Attempt, Outcome, RunRecord, SceneRecord};
use crate::sanitize::sanitize_line;
use crate::vram::gates::{Measured, Verdict};
use crate::vram::reading::{MB, MissReason};
use crate::vram::stats::{Metric, RunTook, SceneStatistics};

/// The metrics. `name` is the file's own, a label on each of them: the collector reads many files
/// and refuses all of them if two hold the same series.
pub fn metrics(told: &ReportInput, name: &str) -> String {
    let mut out = Metrics { text: String::new(), report: label("report", name) };
    if let Some(run) = told.record {
        of_run(&mut out, run);
        of_scenes(&mut out, run);
    }
    of_memory(&mut out, told);
    of_sampling(&mut out, told);
    of_gates(&mut out, told.gates);
    out.text
}

/// A value, and the labels that tell it from the others of its metric.
type Sample = (Vec<String>, String);

struct Metrics {
    text: String,
    report: String,
}

impl Metrics {
    /// A metric with all its samples; without one it is left out.
    fn gauge(&mut self, name: &str, help: &str, samples: &[Sample]) {
        if samples.is_empty() {
            return;
        }
        let text = &mut self.text;
        text.push_str(&format!(
            "# HELP comfyui_e2e_{name} {help}\n# TYPE comfyui_e2e_{name} gauge\n"
        ));
        for (labels, value) in samples {
            text.push_str(&format!("comfyui_e2e_{name}{{{}", self.report));
            for label in labels {
                text.push_str(&format!(",{label}"));
            }
            text.push_str(&format!("}} {value}\n"));
        }
    }

    /// A metric of the run, if its value is known.
    fn one(&mut self, name: &str, help: &str, value: Option<String>) {
        let sample = value.map(|value| (Vec::new(), value));
        self.gauge(name, help, sample.as_slice());
    }
}

/// `scene="scene-001"`.
fn label(name: &str, value: &str) -> String {
    let value = sanitize_line(value).replace('\\', "\\\\").replace('"', "\\\"");
    format!("{name}=\"{value}\"")
}

fn bytes(mb: u64) -> String {
    (u128::from(mb) * u128::from(MB)).to_string()
}

fn of_run(out: &mut Metrics, run: &RunRecord) {
    let (server, exit) = (&run.server, run.exit());
    let mut info = vec![label("version", env!("CARGO_PKG_VERSION")), label("server", &server.url)];
    for (name, value) in [
        ("comfyui_version", &server.comfyui),
        ("pytorch_version", &server.pytorch),
        ("device", &server.device),
    ] {
        info.extend(value.as_ref().map(|value| label(name, value)));
    }
    out.gauge("info", "What the last run was made with.", &[(info, "1".to_owned())]);
    let unix = |at: OffsetDateTime| Some(at.unix_timestamp().to_string());
    out.one("run_start_time_seconds", "When the last run began, since 1970.", unix(run.started));
    out.one("run_end_time_seconds", "When the last run ended, since 1970.", unix(run.ended));
    let success = u8::from(exit == Exit::Success);
    let help = "Whether every scene succeeded and every gate held: 1, else 0.";
    out.one("run_success", help, Some(success.to_string()));
    out.one("run_exit_code", "The exit code of the last run.", Some(exit.code().to_string()));
    let count = |outcome: Outcome| {
        let count = run.scenes.iter().filter(|scene| scene.outcome == outcome).count();
        (vec![label("outcome", outcome.name())], count.to_string())
    };
    out.gauge("scenes", "Scenes by their outcome.", &Outcome::ALL.map(count));
    let after = &run.aftermath;
    let queue = after.queue.map(|queue| queue.to_string());
    out.one("queue_length", "Prompts in the server's queue after the run, anybody's.", queue);
    let memory = memory(run.is_system_ram());
    for (name, when, mb) in [
        ("before", "before the run", after.used_before_mb),
        ("after", "after the run", after.used_after_mb),
    ] {
        let help = format!("Memory in use {when}.");
        out.one(&format!("{memory}_in_use_{name}_bytes"), &help, mb.map(bytes));
    }
}

/// Of `cpu` and `mps` devices the figures are the machine's own memory.
fn memory(system_ram: bool) -> &'static str {
    if system_ram { "system_ram" } else { "vram" }
}

fn of_scenes(out: &mut Metrics, run: &RunRecord) {
    let mut each = |name: &str, help: &str, value: &dyn Fn(usize) -> Option<String>| {
        let sample = |(place, scene): (usize, &SceneRecord)| {
            Some((vec![label("scene", &scene.id)], value(place)?))
        };
        let samples: Vec<Sample> = run.scenes.iter().enumerate().filter_map(sample).collect();
        out.gauge(name, help, &samples);
    };
    let scene = |place: usize| &run.scenes[place];
    let help = "Whether the scene did what it was asked for: 1, else 0.";
    let success = |place| Some(u8::from(scene(place).outcome.is_success()).to_string());
    each("scene_success", help, &success);
    let attempts = |place| Some(scene(place).attempts.len().to_string());
    each("scene_attempts", "Attempts at the scene.", &attempts);
    let known = |place: usize| Some(scene(place)).filter(|scene| !scene.attempts.is_empty());
    let help = "From the scene's start to its end, all attempts.";
    each("scene_duration_seconds", help, &|place| Some(known(place)?.seconds.to_string()));
    let queued = |place| sum(&known(place)?.attempts, |attempt| Some(attempt.queued_seconds));
    each("scene_queued_seconds", "In the server's queue, all attempts.", &queued);
    let help = "Execution by the server's own clock, all attempts that it told of.";
    let executed = |place| sum(&known(place)?.attempts, |attempt| attempt.server_seconds);
    each("scene_execution_seconds", help, &executed);
}

/// Of what is known; none of nothing.
fn sum(attempts: &[Attempt], seconds: fn(&Attempt) -> Option<f64>) -> Option<String> {
    let known: Vec<f64> = attempts.iter().filter_map(seconds).collect();
    // To the millisecond, as each of them is.
    let ms = (known.iter().sum::<f64>() * 1000.0).round() / 1000.0;
    (!known.is_empty()).then(|| ms.to_string())
}

fn of_memory(out: &mut Metrics, told: &ReportInput) {
    let run = gates::subject(told.vram, told.record);
    let ram = run.facts.as_ref().is_some_and(|facts| facts.system_ram);
    let memory = memory(ram);
    let figures = [
        ("used", "by live tensors", Metric::Used),
        ("driver", "by the driver's figure", Metric::Driver),
    ];
    for (name, what, meaning) in figures {
        let what = if ram { "" } else { what };
        let help = format!("The most memory in use while a scene was running, {what}");
        let help = help.trim_end_matches([',', ' ']).to_owned() + ".";
        let peak = run.peak(None, meaning).map(bytes);
        out.one(&format!("{memory}_{name}_peak_bytes"), &help, peak);
        let help = help.replace("while a scene", "while the scene");
        let of = |scene: &SceneStatistics| {
            let peak = run.peak(Some(&scene.id), meaning)?;
            Some((vec![label("scene", &scene.id)], bytes(peak)))
        };
        let scenes: Vec<Sample> = told.vram.scenes.iter().filter_map(of).collect();
        out.gauge(&format!("scene_{memory}_{name}_peak_bytes"), &help, &scenes);
    }
    // Without a sample in a scene it would be the difference of two idle moments.
    let generated = [Metric::Used, Metric::Driver].iter().any(|m| run.peak(None, *m).is_some());
    let took = told.vram.run_took.filter(|_| generated).map(RunTook::mb);
    let help = "What the run added to the memory in use before it, at most.";
    out.one(&format!("{memory}_run_took_bytes"), help, took.map(bytes));
    let help = "The size of the device's memory.";
    out.one(&format!("{memory}_size_bytes"), help, told.vram.total.map(bytes));
    let growth = told.vram.growth_per_scene.map(|mb| (i128::from(mb) * i128::from(MB)).to_string());
    let help = "By how much the memory in use grows from scene to scene.";
    out.one(&format!("{memory}_growth_per_scene_bytes"), help, growth);
}

fn of_sampling(out: &mut Metrics, told: &ReportInput) {
    let vram = told.vram;
    out.one("samples", "Samples that were taken.", Some(vram.samples.to_string()));
    let missed = MissReason::ALL.map(|miss| {
        let count = vram.missed.get(&miss).copied().unwrap_or_default();
        (vec![label("reason", miss.name())], count.to_string())
    });
    out.gauge("samples_missed", "Samples that could not be taken, by the reason.", &missed);
    #[allow(clippy::cast_precision_loss)] // exact for 285 000 years
    let gap = vram.longest_gap_ms.map(|ms| (ms as f64 / 1000.0).to_string());
    let help = "The longest time without a sample: a peak that was shorter may have been higher.";
    out.one("sampling_longest_gap_seconds", help, gap);
}

fn of_gates(out: &mut Metrics, verdicts: &[Verdict]) {
    let labels = |gate: &Verdict| {
        let scene = gate.scene.as_ref().map(|scene| label("scene", scene));
        [label("gate", gate.gate.name())].into_iter().chain(scene).collect::<Vec<_>>()
    };
    let each = |value: &dyn Fn(&Verdict) -> Option<String>| -> Vec<Sample> {
        verdicts.iter().filter_map(|gate| Some((labels(gate), value(gate)?))).collect()
    };
    let held = each(&|gate| Some(u8::from(gate.held()).to_string()));
    let help = "Whether the gate held: 1, else 0, also where it could not be judged.";
    out.gauge("gate_held", help, &held);
    let limit = each(&|gate| gate.limit.map(bytes));
    out.gauge("gate_limit_bytes", "The gate's limit.", &limit);
    let measured = each(&|gate| {
        Some(match gate.measured? {
            Measured::Driver(mb, _) | Measured::Used(mb) | Measured::SystemRam(mb) => bytes(mb),
            Measured::Growth(mb) => (i128::from(mb) * i128::from(MB)).to_string(),
        })
    });
    out.gauge("gate_measured_bytes", "What was held against the gate's limit.", &measured);
}
