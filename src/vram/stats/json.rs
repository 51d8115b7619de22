//! The statistics in the run's metadata. An unknown is null.

use serde_json::{Map, Value, json};

use super::{RunTook, SceneStatistics, VramStats};
use crate::vram::log::time_text;

impl VramStats {
    /// The run's `Vram` object: memory in MB, times in seconds.
    pub fn json(&self) -> Value {
        let mut missed = Map::new();
        for (miss, count) in &self.missed {
            missed.insert(miss.name().to_owned(), json!(count));
        }
        json!({
            "PeakMB": self.peak,
            "AverageMB": self.average,
            "MinimumMB": self.minimum,
            "MedianMB": self.median,
            "P95MB": self.p95,
            "PeakDriverMB": self.driver_peak,
            "PeakGeneratingMB": self.peak_generating_mb(),
            "RunTookMB": self.run_took.map(RunTook::mb),
            "TotalMB": self.total,
            "PeakAt": self.peak_at.map(time_text),
            "PeakScene": self.peak_scene,
            "Samples": self.samples,
            "Ticks": self.ticks,
            "Missed": missed,
            "AskedIntervalSeconds": seconds(self.asked_interval_ms),
            "AchievedIntervalSeconds": seconds(self.achieved_interval_ms),
            "LongestGapSeconds": seconds(self.longest_gap_ms),
            "Sources": {"comfyui": self.sources.comfyui, "nvidiaSmi": self.sources.nvidia_smi},
            "GrowthMBPerScene": self.growth_per_scene,
        })
    }
}

impl SceneStatistics {
    /// The scene's `Vram` object, in MB.
    pub fn json(&self) -> Value {
        json!({
            "PeakMB": self.peak,
            "AverageMB": self.average,
            "FloorMB": self.floor,
            "PeakDriverMB": self.driver_peak,
            "Samples": self.samples,
        })
    }
}

/// The float nearest to the decimal, so that it is written with three places at most.
fn seconds(ms: Option<u64>) -> Option<f64> {
    #[allow(clippy::cast_precision_loss)] // exact for 285 000 years
    ms.map(|ms| ms as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn seconds_are_written_as_they_are_known() {
        for (ms, wanted) in [(1930, "1.93"), (8899, "8.899"), (1364, "1.364"), (5000, "5.0")] {
            assert_eq!(serde_json::to_string(&seconds(Some(ms))).unwrap(), wanted);
        }
        for ms in 0..100_000 {
            let text = seconds(Some(ms)).unwrap().to_string();
            assert!(text.split_once('.').is_none_or(|(_, places)| places.len() <= 3), "{text}");
        }
    }
}
