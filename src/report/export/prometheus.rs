//! A run as metrics for `node_exporter`'s textfile collector: the state of the last run, all of it
//! gauges. An unknown is absent; a count that is known to be 0 is 0.

#[cfg(test)]
mod tests;

use crate::exit_code::Exit;
use crate::report::record::{Outcome, RunRecord, SceneRecord};
use crate::report::{ReportInput, subject};
use crate::sanitize::sanitize_line;
use crate::vram::gates::Verdict;
use crate::vram::reading::{MB, MissReason};
use crate::vram::stats::{Added, Metric, in_seconds};

/// The metrics. `name` is the file's own, a label on each of them: the collector reads many files
/// and refuses all of them if two hold the same series.
pub fn metrics(input: &ReportInput, name: &str) -> String {
    // The first label has no comma before it.
    let mut out = Metrics { text: String::new(), report: label("report", name).split_off(1) };
    let memory = if input.is_system_ram() { "system_ram" } else { "vram" };
    if let Some(run) = input.record {
        of_run(&mut out, run, memory);
        of_scenes(&mut out, &run.scenes);
    }
    of_memory(&mut out, input, memory);
    of_sampling(&mut out, input);
    of_gates(&mut out, input.gates);
    out.text
}

/// A value, and the labels that tell it from the others of its metric.
type Sample = (String, String);

struct Metrics {
    text: String,
    report: String,
}

impl Metrics {
    /// Adds a metric with all its samples; without one it is left out.
    fn gauge(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = Sample>) {
        let report = &self.report;
        let line = |(labels, value)| format!("comfyui_e2e_{name}{{{report}{labels}}} {value}\n");
        let lines: String = samples.into_iter().map(line).collect();
        if !lines.is_empty() {
            self.text += &format!(
                "# HELP comfyui_e2e_{name} {help}\n# TYPE comfyui_e2e_{name} gauge\n{lines}"
            );
        }
    }

    /// Adds a metric of the run, if its value is known.
    fn one(&mut self, name: &str, help: &str, value: Option<impl ToString>) {
        self.gauge(name, help, value.map(|value| (String::new(), value.to_string())));
    }
}

/// `,scene="scene-001"`.
fn label(name: &str, value: &str) -> String {
    let value = sanitize_line(value).replace('\\', "\\\\").replace('"', "\\\"");
    format!(",{name}=\"{value}\"")
}

fn bytes(mb: impl Into<i128>) -> String {
    (mb.into() * i128::from(MB)).to_string()
}

fn of_run(out: &mut Metrics, run: &RunRecord, memory: &str) {
    let (server, exit, after) = (&run.server, run.exit(), &run.aftermath);
    let mut info = label("version", env!("CARGO_PKG_VERSION")) + &label("server", &server.url);
    for (name, value) in [
        ("comfyui_version", &server.comfyui),
        ("pytorch_version", &server.pytorch),
        ("device", &server.device),
    ] {
        info.extend(value.as_ref().map(|value| label(name, value)));
    }
    out.gauge("info", "What the last run was made with.", [(info, "1".to_owned())]);
    let [start, end] = [run.started, run.ended].map(|at| Some(at.unix_timestamp()));
    out.one("run_start_time_seconds", "When the last run began, since 1970.", start);
    out.one("run_end_time_seconds", "When the last run ended, since 1970.", end);
    let help = "Whether every scene succeeded and every gate held: 1, else 0.";
    out.one("run_success", help, Some(u8::from(exit == Exit::Success)));
    out.one("run_exit_code", "The exit code of the last run.", Some(exit.code()));
    let count = |outcome: Outcome| {
        let count = run.scenes.iter().filter(|scene| scene.outcome == outcome).count();
        (label("outcome", outcome.name()), count.to_string())
    };
    out.gauge("scenes", "Scenes by their outcome.", Outcome::all().map(count));
    let help = "Prompts in the server's queue after the run, anybody's.";
    out.one("queue_length", help, after.queue);
    let name = |when| format!("{memory}_in_use_{when}_bytes");
    let (before, after) = (after.used_before_mb.map(bytes), after.used_after_mb.map(bytes));
    out.one(&name("before"), "Memory in use before the run.", before);
    out.one(&name("after"), "Memory in use after the run.", after);
}

fn of_scenes(out: &mut Metrics, scenes: &[SceneRecord]) {
    let mut each = |name: &str, help: &str, value: fn(&SceneRecord) -> Option<String>| {
        let sample = |scene: &SceneRecord| Some((label("scene", &scene.id), value(scene)?));
        out.gauge(name, help, scenes.iter().filter_map(sample));
    };
    each("scene_success", "Whether the scene did what it was asked for: 1, else 0.", |scene| {
        Some(u8::from(scene.outcome.is_success()).to_string())
    });
    each("scene_attempts", "Attempts at the scene.", |scene| {
        Some(scene.attempts.len().to_string())
    });
    let help = "From the scene's start to its end, all attempts.";
    each("scene_duration_seconds", help, |scene| {
        (!scene.attempts.is_empty()).then(|| scene.seconds.to_string())
    });
    each("scene_queued_seconds", "In the server's queue, all attempts.", |scene| {
        scene.queued_seconds().map(seconds)
    });
    let help = "Execution by the server's own clock, all attempts that it told of.";
    each("scene_execution_seconds", help, |scene| scene.server_seconds().map(seconds));
}

/// To the millisecond, as each of the summands is.
fn seconds(sum: f64) -> String {
    ((sum * 1000.0).round() / 1000.0).to_string()
}

fn of_memory(out: &mut Metrics, input: &ReportInput, memory: &str) {
    let (vram, run) = (input.vram, subject(input.record, input.vram));
    for (name, what, metric) in [
        ("used", ", by live tensors", Metric::Used),
        ("driver", ", by the driver's figure", Metric::Driver),
    ] {
        let what = if input.is_system_ram() { "" } else { what };
        let help = format!("The most memory in use while a scene was running{what}.");
        let peak = run.peak(None, metric).map(bytes);
        out.one(&format!("{memory}_{name}_peak_bytes"), &help, peak);
        let help = format!("The most memory in use while the scene was running{what}.");
        let scenes = vram.scenes.iter().filter_map(|scene| {
            Some((label("scene", &scene.id), bytes(run.peak(Some(&scene.id), metric)?)))
        });
        out.gauge(&format!("scene_{memory}_{name}_peak_bytes"), &help, scenes);
    }
    // Without a sample in a scene it would be the difference of two idle moments.
    let generated = [Metric::Used, Metric::Driver].iter().any(|m| run.peak(None, *m).is_some());
    let added = vram.added.filter(|_| generated).map(Added::mb).map(bytes);
    let help = "What the run added to the memory in use before it, at most.";
    out.one(&format!("{memory}_added_bytes"), help, added);
    let help = "The most that the tensors of ComfyUI's own torch held.";
    out.one(&format!("{memory}_torch_peak_bytes"), help, vram.torch_peak.map(bytes));
    let help = "The most that torch has spilled into system RAM, at least.";
    let spilled = vram.spilled.as_ref().map(|(mb, _)| bytes(*mb));
    out.one(&format!("{memory}_spilled_bytes"), help, spilled);
    let help = "The size of the device's memory.";
    out.one(&format!("{memory}_size_bytes"), help, vram.total.map(bytes));
    let help = "By how much the memory in use grows from scene to scene.";
    out.one(&format!("{memory}_growth_per_scene_bytes"), help, vram.growth_per_scene.map(bytes));
}

fn of_sampling(out: &mut Metrics, input: &ReportInput) {
    let vram = input.vram;
    out.one("samples", "Samples that were taken.", Some(vram.samples));
    let missed = MissReason::ALL.map(|miss| {
        let count = vram.missed.get(&miss).copied().unwrap_or_default();
        (label("reason", miss.name()), count.to_string())
    });
    out.gauge("samples_missed", "Samples that could not be taken, by the reason.", missed);
    let gap = in_seconds(vram.longest_gap_ms);
    let help = "The longest time without a sample: a peak that was shorter may have been higher.";
    out.one("sampling_longest_gap_seconds", help, gap);
}

fn of_gates(out: &mut Metrics, verdicts: &[Verdict]) {
    let mut each = |name: &str, help: &str, value: fn(&Verdict) -> Option<String>| {
        let sample = |gate: &Verdict| {
            let mut labels = label("gate", gate.gate.name());
            labels.extend(gate.scene.as_ref().map(|scene| label("scene", scene)));
            Some((labels, value(gate)?))
        };
        out.gauge(name, help, verdicts.iter().filter_map(sample));
    };
    let help = "Whether the gate held: 1, else 0, also where it could not be judged.";
    each("gate_held", help, |gate| Some(u8::from(gate.held()).to_string()));
    each("gate_limit_bytes", "The gate's limit.", |gate| gate.limit.map(bytes));
    each("gate_measured_bytes", "What was held against the gate's limit.", |gate| {
        Some(bytes(gate.measured?.mb()))
    });
}
