//! The statistics as the block of `run-summary.txt`.

use std::path::Path;

use super::{SceneStatistics, Statistics, Used};
use crate::vram::log::time_text;
use crate::vram::reading::Source;

impl Statistics {
    /// The block, its title first. `without_figures`: scenes that get these words instead of
    /// figures.
    #[must_use]
    pub fn block(&self, log: &Path, without_figures: &[(String, String)]) -> Vec<String> {
        let mut lines = vec!["=== VRAM Usage Statistics ===".to_owned()];
        match &self.used {
            None => lines.push(format!("No VRAM sample was taken: {}", self.no_sample())),
            Some(used) => {
                lines.extend([
                    format!("Peak VRAM: {} MB (from {} samples)", used.peak, self.samples),
                    format!("Average VRAM: {} MB", used.average),
                    format!("Minimum VRAM: {} MB", used.minimum),
                    format!("Median VRAM: {} MB, 95th percentile: {} MB", used.median, used.p95),
                    self.peak_at(used),
                ]);
                lines.extend(self.peak_while_generating());
                lines.extend(self.run_itself());
            }
        }
        let silent = |id: &str| without_figures.iter().any(|(other, _)| other == id);
        lines.extend(self.scenes.iter().filter(|scene| !silent(&scene.id)).map(scene_line));
        lines.extend(without_figures.iter().map(|(id, words)| format!("Scene {id}: {words}")));
        lines.extend(
            self.growth_per_scene
                .map(|growth| format!("Growth across scenes: {growth:+} MB per scene")),
        );
        if self.samples > 0 {
            lines.push(self.sampling());
        }
        if self.skipped_lines > 0 {
            lines.push(format!("Lines that could not be read: {}", self.skipped_lines));
        }
        lines.push(format!("VRAM log: {}", log.display()));
        lines
    }

    /// Why there is no sample.
    #[must_use]
    pub fn no_sample(&self) -> String {
        if self.missed.is_empty() { "the log is empty".to_owned() } else { self.misses() }
    }

    fn misses(&self) -> String {
        let each = self.missed.iter().map(|(miss, count)| format!("{} {count}", miss.name()));
        each.collect::<Vec<_>>().join(", ")
    }

    fn peak_at(&self, used: &Used) -> String {
        let scene = used.peak_scene.as_ref().map(|scene| format!(" in {scene}"));
        let own = match (used.peak_source, self.comfyui_peak) {
            (Source::ComfyUi, _) => String::new(),
            (Source::NvidiaSmi, None) => " (nvidia-smi)".to_owned(),
            (Source::NvidiaSmi, Some(own)) => {
                format!(" (nvidia-smi; ComfyUI's own highest was {own} MB)")
            }
        };
        format!("Peak at: {}{}{own}", time_text(used.peak_at), scene.unwrap_or_default())
    }

    fn peak_while_generating(&self) -> Option<String> {
        let peak = self.peak_generating.as_ref()?;
        let mut figures = Vec::new();
        figures.extend(peak.used.map(|used| format!("{used} MB")));
        figures.extend(peak.driver.map(|driver| format!("driver {driver} MB")));
        let highest = peak.driver.or(peak.used)?;
        let card = self
            .total
            .filter(|total| *total > 0)
            .map(|total| format!(" of {total} MB ({} %)", (highest * 200 + total) / (2 * total)));
        Some(format!("Peak while generating: {}{}", figures.join("; "), card.unwrap_or_default()))
    }

    fn run_itself(&self) -> Option<String> {
        let took = self.run_took.as_ref()?;
        let meaning = if took.driver { "driver" } else { "used" };
        Some(format!(
            "The run itself took: {} MB ({meaning} {} less {} at the start)",
            took.mb(),
            took.peak,
            took.start
        ))
    }

    fn sampling(&self) -> String {
        let missed: u64 = self.missed.values().sum();
        let mut rhythm = Vec::new();
        rhythm.extend(self.asked_interval_ms.map(|ms| format!("every {} asked", seconds(ms))));
        rhythm.extend(self.achieved_interval_ms.map(|ms| format!("{} achieved", seconds(ms))));
        let mut parts = Vec::new();
        if !rhythm.is_empty() {
            parts.push(rhythm.join(", "));
        }
        parts.extend(self.longest_gap_ms.map(|ms| format!("longest gap {}", seconds(ms))));
        let reasons = if missed > 0 { format!(" ({})", self.misses()) } else { String::new() };
        parts.push(format!("{missed} of {} ticks missed{reasons}", self.ticks));
        parts.extend(
            self.longest_gap_ms
                .map(|ms| format!("a peak shorter than {} may be higher", seconds(ms))),
        );
        format!("Sampling: {}", parts.join("; "))
    }
}

fn scene_line(scene: &SceneStatistics) -> String {
    let mut figures = Vec::new();
    figures.extend(scene.peak.map(|peak| format!("peak {peak} MB")));
    figures.extend(scene.average.map(|average| format!("average {average} MB")));
    figures.extend(scene.floor.map(|floor| format!("floor {floor} MB")));
    let samples = match scene.samples {
        1 => "1 sample".to_owned(),
        n => format!("{n} samples"),
    };
    let figures =
        if figures.is_empty() { samples } else { format!("{} ({samples})", figures.join(", ")) };
    let driver = scene.driver_peak.map(|driver| format!("; driver peak {driver} MB"));
    format!("Scene {}: {figures}{}", scene.id, driver.unwrap_or_default())
}

/// `5.0 s`, below a second `0.25 s`.
#[must_use]
pub fn seconds(ms: u64) -> String {
    if ms < 1000 {
        // Hundredths, rounded.
        let hundredths = (ms + 5) / 10;
        return format!("{}.{:02} s", hundredths / 100, hundredths % 100);
    }
    let tenths = (ms + 50) / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}
