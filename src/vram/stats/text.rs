//! The block of statistics that a run's summary holds.

use std::path::Path;

use super::{Metric, SceneStatistics, Sources, VramStats};
use crate::vram::log::time_text;
use crate::vram::reading::{Source, quotient};

const HEADER: &str = "=== VRAM Usage Statistics ===";

impl VramStats {
    /// The block, from its header on. What is not known is left out, a part or a whole line; so is
    /// the log's path where none is kept.
    ///
    /// A scene of `without_figures` has a text instead of its figures, such as `no execution`.
    pub fn block(
        &self,
        log_path: Option<&Path>,
        without_figures: &[(String, String)],
    ) -> Vec<String> {
        let mut lines = vec![HEADER.to_owned()];
        if self.samples == 0 {
            lines.push(self.no_sample());
        } else {
            lines.extend(self.all_samples());
            lines.extend(self.peak_at_line());
        }
        lines.extend(self.generating_line());
        lines.extend(self.took_line());
        lines.extend(self.scene_lines(without_figures));
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
        lines.extend(log_path.map(|path| format!("VRAM log: {}", path.display())));
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

    fn peak_at_line(&self) -> Option<String> {
        let at = time_text(self.peak_at?);
        let scene = self.peak_scene.as_ref().map(|scene| format!(" in {scene}"));
        let source = match (self.peak_source, self.comfyui_peak) {
            (Some(Source::NvidiaSmi), Some(own)) => {
                format!(" (nvidia-smi; ComfyUI's own highest was {own} MB)")
            }
            (Some(Source::NvidiaSmi), None) => " (nvidia-smi)".to_owned(),
            _ => String::new(),
        };
        Some(format!("Peak at: {at}{}{source}", scene.unwrap_or_default()))
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
        let figures: Vec<String> = used.into_iter().chain(driver).collect();
        Some(format!("Peak while generating: {}", figures.join("; ")))
    }

    fn took_line(&self) -> Option<String> {
        let took = self.run_took?;
        let name = self.metric.of("used", "driver");
        let (mb, peak, start) = (took.mb(), took.peak, took.start);
        Some(format!("The run itself took: {mb} MB ({name} {peak} less {start} at the start)"))
    }

    /// In the order of the log; scenes that it does not know come last.
    fn scene_lines(&self, without_figures: &[(String, String)]) -> Vec<String> {
        let text = |id: &str| without_figures.iter().find(|(other, _)| other == id);
        let known = self.scenes.iter().map(|scene| match text(&scene.id) {
            Some((id, text)) => format!("Scene {id}: {text}"),
            None => scene_line(scene),
        });
        let in_log = |id: &str| self.scenes.iter().any(|scene| scene.id == id);
        let unknown = without_figures.iter().filter(|(id, _)| !in_log(id));
        known.chain(unknown.map(|(id, text)| format!("Scene {id}: {text}"))).collect()
    }

    fn sampling_line(&self) -> String {
        let asked = self.asked_interval_ms.map(|ms| format!("every {} asked", seconds_text(ms)));
        let achieved = self.achieved_interval_ms.map(|ms| format!("{} achieved", seconds_text(ms)));
        let interval: Vec<String> = asked.into_iter().chain(achieved).collect();
        let gap = self.longest_gap_ms.map(seconds_text);
        let missed: u64 = self.missed.values().sum();
        let reasons = (missed > 0).then(|| format!(" ({})", self.missed_by_reason()));
        let reasons = reasons.unwrap_or_default();
        let parts = [
            Some(interval.join(", ")).filter(|interval| !interval.is_empty()),
            gap.as_ref().map(|gap| format!("longest gap {gap}")),
            Some(format!("{missed} of {} ticks missed{reasons}", self.ticks)),
            gap.as_ref().map(|gap| format!("a peak shorter than {gap} may be higher")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        format!("Sampling: {}", parts.join("; "))
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

fn scene_line(scene: &SceneStatistics) -> String {
    let mut parts = Vec::new();
    if let (Some(peak), Some(average), Some(floor)) = (scene.peak, scene.average, scene.floor) {
        let samples = scene.samples;
        parts.push(format!(
            "peak {peak} MB, average {average} MB, floor {floor} MB ({samples} samples)"
        ));
    }
    parts.extend(scene.driver_peak.map(|mb| format!("driver peak {mb} MB")));
    if parts.is_empty() {
        parts.push("no sample".to_owned());
    }
    format!("Scene {}: {}", scene.id, parts.join("; "))
}

/// A span in seconds: `5.0 s`; two decimals below one second: `0.25 s`.
pub fn seconds_text(ms: u64) -> String {
    let (parts, places): (u64, usize) = if ms < 1000 { (100, 2) } else { (10, 1) };
    let rounded = quotient(ms.into(), (1000 / parts).into());
    format!("{}.{:0places$} s", rounded / parts, rounded % parts)
}
