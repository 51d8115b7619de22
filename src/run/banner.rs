//! The first lines of a run: what it will do, with which server, under which rules.

use std::path::Path;

use crate::cli::RunOptions;
use crate::clock::{span, std_span};
use crate::comfyui::{Device, SystemStats};
use crate::layout::width;
use crate::vram::gates::card;
use crate::vram::reading::{Reading, is_system_ram};

/// The first lines.
pub fn lines(id: &str, folder: &Path) -> Vec<String> {
    vec![
        format!("E2E Story-to-Video Run: {id}"),
        format!("Run directory: {}", folder.display()),
        String::new(),
    ]
}

/// The warnings that need no server.
pub fn warnings(options: &RunOptions, local_time: bool) -> Vec<String> {
    let utc = "the system does not tell its time zone: times are UTC".to_owned();
    options.warnings.iter().cloned().chain((!local_time).then_some(utc)).collect()
}

/// The opening of the screen: the server, and what will be done. In one row where there is one scene
/// and room for both; that the queue is empty can go for it.
pub fn opening(
    options: &RunOptions,
    stats: &SystemStats,
    queue: Option<usize>,
    scenes: usize,
    columns: usize,
) -> Vec<String> {
    let mut parts: Vec<String> =
        stats.comfyui.iter().map(|version| format!("ComfyUI {version}")).collect();
    parts.push(match stats.devices.get(options.sampling.gpu) {
        Some(device) => short_device(device),
        None => no_device(options, stats),
    });
    let short = parts.join(" · ");
    parts.extend(queue.map(in_queue));
    let server = parts.join(" · ");
    let most = std_span(options.max_wait);
    if scenes == 1 {
        let starts = [Some(&server), Some(&short).filter(|_| queue == Some(0))];
        let both = starts.into_iter().flatten().map(|start| format!("{start} · at most {most}"));
        let fits = both.into_iter().find(|both| width(both) <= columns);
        return fits
            .map_or_else(|| vec![server, format!("1 scene, at most {most}")], |it| vec![it]);
    }
    vec![server, format!("{}, at most {most} each", counted(scenes as u64, "scene", "scenes"))]
}

/// `RTX 3090, 24576 MB, 2240 in use`.
fn short_device(device: &Device) -> String {
    let name = card(&device.name);
    let name = name.strip_prefix("NVIDIA ").unwrap_or(name);
    with_memory(name.strip_prefix("GeForce ").unwrap_or(name), device)
}

/// A device by that name, with its memory where that is known.
fn with_memory(name: &str, device: &Device) -> String {
    let mut parts = vec![name.to_owned()];
    if let Some(memory) = device.memory {
        let ram = if is_system_ram(&device.kind) { " of RAM" } else { "" };
        parts.extend(memory.total.map(|total| format!("{total} MB{ram}")));
        parts.push(format!("{} in use", memory.device()));
    }
    parts.join(", ")
}

fn in_queue(prompts: usize) -> String {
    match prompts {
        0 => "queue empty".to_owned(),
        n => format!("{n} in the queue"),
    }
}

fn no_device(options: &RunOptions, stats: &SystemStats) -> String {
    let (gpu, devices) = (options.sampling.gpu, stats.devices.len());
    format!("no device {gpu} (it lists {devices}): no VRAM is recorded")
}

/// The lines about deadlines and retries.
pub fn rules(options: &RunOptions) -> Vec<String> {
    let mut lines = Vec::new();
    let attempts = match options.history_max_attempts {
        0 => "unbounded".to_owned(),
        most => most.to_string(),
    };
    let (wait, poll) = (options.max_wait.as_secs(), options.poll_interval.as_secs_f64());
    if options.fast_iteration {
        lines.push(format!("FastIteration mode: MaxWait={wait}s PollInterval={poll}s"));
    }
    lines.push(format!(
        "Queue policy: sceneRetries={}, historyMaxWait={wait}s, historyPollInterval={poll}s, \
         historyMaxAttempts={attempts}, postExecutionTimeout={}s",
        options.scene_retry_budget,
        options.post_execution_timeout.as_secs()
    ));
    lines
}

/// What will be done and with which server, in one line. `queue`: prompts in the server's queue.
pub fn plan(
    options: &RunOptions,
    stats: &SystemStats,
    queue: Option<usize>,
    scenes: usize,
) -> String {
    let mut found = vec![server(options, stats)];
    found.extend(queue.map(in_queue));
    format!("{}; {}", bounds(options, scenes), found.join(", "))
}

/// How many scenes there will be, how long they may take, and how often memory is sampled.
pub fn bounds(options: &RunOptions, scenes: usize) -> String {
    let retries = options.scene_retry_budget;
    let attempts = u64::from(retries) + 1;
    let worst = options.max_wait.as_secs().saturating_mul(attempts).saturating_mul(scenes as u64);
    let worst = span(time::Duration::seconds(i64::try_from(worst).unwrap_or(i64::MAX)));
    format!(
        "{}, at most {} each and {}: at worst {worst}; VRAM every {} s",
        counted(scenes as u64, "scene", "scenes"),
        std_span(options.max_wait),
        counted(retries.into(), "retry", "retries"),
        options.sampling.interval.as_secs_f64(),
    )
}

/// The server's versions and the device whose memory is recorded.
pub fn server(options: &RunOptions, stats: &SystemStats) -> String {
    let mut parts = Vec::new();
    parts.extend(stats.comfyui.as_ref().map(|version| format!("ComfyUI {version}")));
    parts.extend(stats.pytorch.as_ref().map(|version| format!("PyTorch {version}")));
    parts.push(match stats.devices.get(options.sampling.gpu) {
        Some(device) => with_memory(device.name.split(" : ").next().unwrap_or_default(), device),
        None => no_device(options, stats),
    });
    parts.join(", ")
}

/// The first reading.
pub fn initial(reading: &Reading) -> String {
    let field = |name: &str, value: Option<u64>| {
        value.map(|value| format!(" {name}={value}MB")).unwrap_or_default()
    };
    format!(
        "Initial VRAM: Used={}MB{}{}",
        reading.used,
        field("Free", reading.free),
        field("Total", reading.total)
    )
}

fn counted(n: u64, one: &str, many: &str) -> String {
    match n {
        0 => format!("no {one}"),
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    }
}
