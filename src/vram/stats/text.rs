//! The block of statistics that a run's summary holds.

use std::path::Path;

use super::{
    Metric, NodeFacts, NodeStatistics, Place, SceneFacts, SceneStatistics, Sources, VramStats,
};
use crate::clock::span;
use crate::sanitize::sanitize_line;
use crate::vram::log::time_text;
use crate::vram::reading::{Source, quotient};

const HEADER: &str = "=== VRAM Usage Statistics ===";
/// So many nodes of a scene have a line, those with the highest peaks.
const MAX_NODES: usize = 5;

impl VramStats {
    /// The block, from its header on. What is not known is left out, a part or a whole line; so is
    /// the log's path where none is kept. `facts` are those of the run's record.
    pub fn block(&self, log_path: Option<&Path>, facts: &[SceneFacts]) -> Vec<String> {
        let mut lines = vec![HEADER.to_owned()];
        if self.samples == 0 {
            lines.push(self.no_sample());
        } else {
            lines.extend(self.all_samples());
            lines.extend(self.peak_at_line(facts));
        }
        lines.extend(self.generating_line());
        lines.extend(self.added_line());
        lines.extend(self.spilled_line(facts));
        lines.extend(self.scene_lines(facts));
        if let Some(growth) = self.growth_per_scene {
            lines.push(format!("Growth across scenes: {growth:+} MB per scene"));
        }
        if self.samples > 0 {
            lines.push(self.sampling_line());
        }
        match self.skipped_lines {
            0 => {}
            1 => lines.push("Skipped: 1 line of the log could not be read".to_owned()),
            n => lines.push(format!("Skipped: {n} lines of the log could not be read")),
        }
        let log_path = log_path.map(|path| sanitize_line(&path.to_string_lossy()));
        lines.extend(log_path.map(|path| format!("VRAM log: {path}")));
        lines.extend(self.sources_line());
        lines
    }

    /// `No VRAM sample was taken: timeout 12`: what stands instead of figures.
    pub fn no_sample(&self) -> String {
        let reason = match (self.ticks, self.skipped_lines) {
            (0, 0) => "the log is empty".to_owned(),
            (0, _) => "no line of the log could be read".to_owned(),
            _ => self.missed_by_reason(),
        };
        format!("No VRAM sample was taken: {reason}")
    }

    /// The script's lines, and the distribution.
    fn all_samples(&self) -> impl Iterator<Item = String> {
        let samples = self.samples;
        let lines = [
            self.peak.map(|mb| format!("Peak VRAM: {mb} MB (from {samples} samples)")),
            self.average.map(|mb| format!("Average VRAM: {mb} MB")),
            self.minimum.map(|mb| format!("Minimum VRAM: {mb} MB")),
            self.median
                .zip(self.p95)
                .map(|(mb, p95)| format!("Median VRAM: {mb} MB, 95th percentile: {p95} MB")),
        ];
        lines.into_iter().flatten()
    }

    fn peak_at_line(&self, facts: &[SceneFacts]) -> Option<String> {
        let at = time_text(self.peak_at?);
        let place = self.peak_place.as_ref().map(|place| format!(" in {}", place.text(facts)));
        let source = match (self.peak_source, self.comfyui_peak) {
            (Some(Source::NvidiaSmi), Some(own)) => {
                format!(" (nvidia-smi; ComfyUI's own highest was {own} MB)")
            }
            (Some(Source::NvidiaSmi), None) => " (nvidia-smi)".to_owned(),
            _ => String::new(),
        };
        Some(format!("Peak at: {at}{}{source}", place.unwrap_or_default()))
    }

    /// The size of the card stands after the figure that the log's metric compares with it.
    fn generating_line(&self) -> Option<String> {
        let peak = self.peak_generating.as_ref()?;
        let metrics = (peak.used.map(|_| Metric::Used), peak.driver.map(|_| Metric::Driver));
        let compared = self.metric.first_of(metrics.0, metrics.1);
        let figure = |metric, name: &str, mb: u64| {
            let card = self.total.filter(|&total| total > 0 && compared == Some(metric));
            let card = card.map(|total| {
                let percent = quotient(u128::from(mb) * 100, total.into());
                format!(" of {total} MB ({percent} %)")
            });
            format!("{name}{mb} MB{}", card.unwrap_or_default())
        };
        let used = peak.used.map(|mb| figure(Metric::Used, "", mb));
        let driver = peak.driver.map(|mb| figure(Metric::Driver, "driver ", mb));
        let torch = peak.torch.map(|mb| format!("torch {mb} MB"));
        let figures: Vec<String> = [used, driver, torch].into_iter().flatten().collect();
        Some(format!("Peak while generating: {}", figures.join("; ")))
    }

    fn added_line(&self) -> Option<String> {
        let added = self.added?;
        let name = self.metric.of("used", "driver");
        let (mb, peak, start) = (added.mb(), added.peak, added.start);
        Some(format!("Added by the run: {mb} MB ({name} {peak} less {start} at the start)"))
    }

    /// `Spilled into system RAM: at least 3000 MB for 2 min 40 s, in scene-001, node 3 KSampler`.
    pub fn spilled_line(&self, facts: &[SceneFacts]) -> Option<String> {
        let (mb, place) = self.spilled.as_ref()?;
        let time = Some(self.spilled_ms).filter(|ms| *ms > 0);
        let time = time.map(|ms| format!(" for {}", time_span(ms))).unwrap_or_default();
        let place = place.as_ref().map(|place| format!(", in {}", place.text(facts)));
        let place = place.unwrap_or_default();
        Some(format!("Spilled into system RAM: at least {mb} MB{time}{place}"))
    }

    /// In the order of the log, each with its nodes; scenes that the log does not know come last.
    fn scene_lines(&self, facts: &[SceneFacts]) -> Vec<String> {
        let mut lines = Vec::new();
        for scene in &self.scenes {
            let known = facts.iter().find(|facts| facts.id == scene.id);
            if let Some(text) = known.and_then(|facts| facts.no_figures) {
                lines.push(format!("Scene {}: {text}", scene.id));
            } else {
                lines.push(scene_line(scene));
                lines.extend(node_lines(scene, known.map_or(&[], |facts| &facts.nodes)));
            }
        }
        let in_log = |id: &str| self.scenes.iter().any(|scene| scene.id == id);
        for facts in facts.iter().filter(|facts| !in_log(&facts.id)) {
            lines.extend(facts.no_figures.map(|text| format!("Scene {}: {text}", facts.id)));
        }
        lines
    }

    fn sampling_line(&self) -> String {
        let rhythm = match (self.pace_ms, self.asked_interval_ms, self.achieved_interval_ms) {
            (Some(pace), ..) => Some(format!("read every {}", seconds_text(pace))),
            (None, Some(asked), achieved) => {
                let achieved = achieved.map(|ms| format!(", {} achieved", seconds_text(ms)));
                Some(format!("every {} asked{}", seconds_text(asked), achieved.unwrap_or_default()))
            }
            (None, None, achieved) => achieved.map(|ms| format!("{} achieved", seconds_text(ms))),
        };
        let at_most = if self.has_gap() { "" } else { "at most " };
        let gap = self.longest_gap_ms.map(seconds_text);
        let missed: u64 = self.missed.values().sum();
        let reasons = (missed > 0).then(|| format!(" ({})", self.missed_by_reason()));
        let reasons = reasons.unwrap_or_default();
        let parts = [
            rhythm,
            gap.as_ref().map(|gap| format!("longest gap {at_most}{gap}")),
            Some(format!("{missed} of {} lines missed{reasons}", self.samples + missed)),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let spikes = gap.map(|gap| format!("; spikes shorter than {gap} may be missed"));
        format!("Sampling: {}{}", parts.join(", "), spikes.unwrap_or_default())
    }

    /// Whether readings were further apart than twice their pace; of older logs, always.
    pub fn has_gap(&self) -> bool {
        self.pace_ms.is_none_or(|pace| self.longest_gap_ms > Some(pace * 2))
    }

    /// Who gave the samples, where it was not `ComfyUI` alone.
    fn sources_line(&self) -> Option<String> {
        let Sources { comfyui, nvidia_smi } = self.sources;
        (nvidia_smi > 0).then(|| format!("Sources: ComfyUI {comfyui}, nvidia-smi {nvidia_smi}"))
    }

    fn missed_by_reason(&self) -> String {
        let reasons = self.missed.iter().map(|(miss, count)| format!("{} {count}", miss.name()));
        reasons.collect::<Vec<_>>().join(", ")
    }
}

impl Place {
    /// `scene-001, node 3 KSampler`.
    pub fn text(&self, facts: &[SceneFacts]) -> String {
        let Some(node) = &self.node else { return self.scene.clone() };
        let scene = facts.iter().find(|facts| facts.id == self.scene);
        let nodes = scene.map_or(&[][..], |facts| &facts.nodes);
        format!("{}, {}", self.scene, node_name(node, nodes))
    }
}

/// `node 3 KSampler`.
fn node_name(id: &str, nodes: &[NodeFacts]) -> String {
    let class = nodes.iter().find(|node| node.id == id).map_or("", |node| &node.class);
    format!("node {id} {class}").trim_end().to_owned()
}

fn scene_line(scene: &SceneStatistics) -> String {
    let mut parts = Vec::new();
    if let Some(peak) = scene.peak {
        let of = |name: &str, mb: Option<u64>| mb.map(|mb| format!(", {name} {mb} MB"));
        let average = of("average", scene.average).unwrap_or_default();
        let floor = of("floor", scene.floor).unwrap_or_default();
        let samples = match scene.samples {
            1 => "1 sample".to_owned(),
            n => format!("{n} samples"),
        };
        parts.push(format!("peak {peak} MB{average}{floor} ({samples})"));
    }
    parts.extend(scene.driver_peak.map(|mb| format!("driver peak {mb} MB")));
    parts.extend(scene.torch_peak.map(|mb| format!("torch peak {mb} MB")));
    if parts.is_empty() {
        parts.push("no sample".to_owned());
    } else {
        parts.push(match scene.added {
            Some(added) => format!("added {} MB", added.mb()),
            None => "added not known".to_owned(),
        });
    }
    parts.extend(scene.spilled_peak.map(|mb| format!("spilled at least {mb} MB into system RAM")));
    format!("Scene {}: {}", scene.id, parts.join("; "))
}

/// The nodes of a scene with the highest peaks, the highest first; not those whose readings were all
/// missed.
fn node_lines<'a>(
    scene: &'a SceneStatistics,
    facts: &'a [NodeFacts],
) -> impl Iterator<Item = String> + 'a {
    let has_figure =
        |node: &&NodeStatistics| node.peak.or(node.driver_peak).or(node.torch_peak).is_some();
    let mut nodes: Vec<&NodeStatistics> = scene.nodes.iter().filter(has_figure).collect();
    let highest_first = std::iter::from_fn(move || {
        let highest = |place: &usize| nodes[*place].driver_peak.or(nodes[*place].peak);
        Some(nodes.remove((0..nodes.len()).rev().max_by_key(highest)?))
    });
    highest_first.take(MAX_NODES).map(|node| {
        let seconds = facts.iter().find(|facts| facts.id == node.id).map(|facts| facts.seconds);
        let parts = [
            seconds.map(|seconds| format!("{}, ", time_span(millis(seconds)))),
            node.peak.map(|mb| format!("peak {mb} MB; ")),
            node.driver_peak.map(|mb| format!("driver peak {mb} MB; ")),
            node.torch_peak.map(|mb| format!("torch peak {mb} MB")),
        ];
        let text: String = parts.into_iter().flatten().collect();
        let (id, text) = (node_name(&node.id, facts), text.trim_end_matches("; "));
        format!("N{} of {}: {text}", &id[1..], scene.id)
    })
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a cast saturates
fn millis(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}

/// `2 min 40 s`; below ten seconds with decimals.
fn time_span(ms: u64) -> String {
    if ms < 10_000 {
        seconds_text(ms)
    } else {
        span(time::Duration::milliseconds(ms.cast_signed()))
    }
}

/// A span in seconds: `5.0 s`; two decimals below one second: `0.25 s`.
pub fn seconds_text(ms: u64) -> String {
    let (parts, places): (u64, usize) = if ms < 1000 { (100, 2) } else { (10, 1) };
    let rounded = quotient(ms.into(), (1000 / parts).into());
    format!("{}.{:0places$} s", rounded / parts, rounded % parts)
}
