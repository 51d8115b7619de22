//! What has to hold of a run's memory: limits held against its statistics.
//!
//! What cannot be judged counts as failed, and says why: a gate that nobody has looked through
//! is not a gate that held.

mod baseline;
#[cfg(test)]
mod tests;
mod text;

use super::stats::{Metric, SceneStatistics, VramStats};
pub use baseline::comparable;
pub use text::closing;

/// The gates that are a number of MB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The highest peak while generating.
    pub peak_mb: Option<u64>,
    /// The highest growth from scene to scene.
    pub growth_mb: Option<u64>,
}

/// A log, and what is known beside it.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// The statistics of the log.
    pub vram: &'a VramStats,
    /// What its run's record knows; of a bare log nothing.
    pub known: Option<Known<'a>>,
}

/// What the record of a run knows and its log does not.
#[derive(Clone, Debug, Default)]
pub struct Known<'a> {
    /// The device, as the server names it.
    pub device: Option<&'a str>,
    /// Whether the figures are the machine's own memory.
    pub system_ram: bool,
    /// Its scenes, and whether nothing of them was executed.
    pub scenes: Vec<(&'a str, bool)>,
}

/// Which gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// A highest peak.
    MaxPeak,
    /// No worse than before.
    Baseline,
    /// A highest growth.
    MaxGrowth,
}

impl Gate {
    /// Every gate.
    pub const ALL: [Gate; 3] = [Gate::MaxPeak, Gate::Baseline, Gate::MaxGrowth];

    /// The name of its option.
    pub fn name(self) -> &'static str {
        match self {
            Gate::MaxPeak => "MaxPeakMB",
            Gate::Baseline => "Baseline",
            Gate::MaxGrowth => "MaxGrowthMB",
        }
    }
}

/// What a limit is held against, in MB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// The driver's peak, and beside it that of live tensors.
    Driver(u64, Option<u64>),
    /// The peak of live tensors.
    Used(u64),
    /// The peak of the machine's own memory.
    SystemRam(u64),
    /// The growth from scene to scene.
    Growth(i64),
}

/// What became of a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The measure is within the limit.
    Held,
    /// It is not.
    Failed,
    /// There is nothing to hold against the limit, and this is why. Counts as failed.
    NotJudged(String),
}

/// A gate and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which gate.
    pub gate: Gate,
    /// The scene it is of; none: the run.
    pub scene: Option<String>,
    /// The limit in MB, where one is known.
    pub limit: Option<u64>,
    /// What was measured, where something was.
    pub measured: Option<Measured>,
    /// Held, failed or not judged.
    pub state: State,
}

impl Verdict {
    /// The measure held against the limit.
    fn of(gate: Gate, scene: Option<&str>, limit: u64, measured: Measured) -> Verdict {
        let mb = match measured {
            Measured::Driver(mb, _) | Measured::Used(mb) | Measured::SystemRam(mb) => mb.into(),
            Measured::Growth(mb) => i128::from(mb),
        };
        Verdict {
            gate,
            scene: scene.map(str::to_owned),
            limit: Some(limit),
            measured: Some(measured),
            state: if mb <= i128::from(limit) { State::Held } else { State::Failed },
        }
    }

    /// There is nothing to judge.
    fn not_judged(gate: Gate, scene: Option<&str>, limit: Option<u64>, why: String) -> Verdict {
        let scene = scene.map(str::to_owned);
        Verdict { gate, scene, limit, measured: None, state: State::NotJudged(why) }
    }

    /// Whether it was judged and is within its limit.
    pub fn held(&self) -> bool {
        self.state == State::Held
    }
}

/// Judges a run by the limits, and by what it is to be no worse than, each with its name.
pub fn judge(limits: Limits, run: &Subject, baselines: &[(String, Subject)]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    if let Some(limit) = limits.peak_mb {
        let peaks = run.peaks();
        let measured = run.measured(peaks, run.vram.meaning);
        // Where the first sample had no driver figure a fallback may still have given some.
        let measured = measured.or_else(|| peaks.driver.map(|mb| Measured::Driver(mb, None)));
        verdicts.push(match measured {
            Some(measured) => Verdict::of(Gate::MaxPeak, None, limit, measured),
            None => Verdict::not_judged(Gate::MaxPeak, None, Some(limit), run.without(None)),
        });
    }
    verdicts.extend(baseline::judge(run, baselines));
    if let Some(limit) = limits.growth_mb {
        let growth = run.vram.growth_per_scene.map(Measured::Growth);
        verdicts.push(match growth {
            Some(growth) => Verdict::of(Gate::MaxGrowth, None, limit, growth),
            None => Verdict::not_judged(Gate::MaxGrowth, None, Some(limit), run.without_growth()),
        });
    }
    verdicts
}

/// The highest figures of a scene, or of all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Peaks {
    used: Option<u64>,
    driver: Option<u64>,
}

impl Peaks {
    fn by(self, meaning: Metric) -> Option<u64> {
        match meaning {
            Metric::Driver => self.driver,
            Metric::Used => self.used,
        }
    }
}

impl From<&SceneStatistics> for Peaks {
    fn from(scene: &SceneStatistics) -> Peaks {
        Peaks { used: scene.peak, driver: scene.driver_peak }
    }
}

impl Subject<'_> {
    /// Whether nothing of the scene was executed: a sample in its time says nothing about it.
    fn is_cached(&self, scene: &str) -> bool {
        let known = self.known.iter().flat_map(|known| &known.scenes);
        known.into_iter().any(|(id, cached)| *id == scene && *cached)
    }

    /// The scenes, in order.
    fn scenes(&self) -> Vec<&str> {
        match &self.known {
            Some(known) => known.scenes.iter().map(|(id, _)| *id).collect(),
            None => self.vram.scenes.iter().map(|scene| scene.id.as_str()).collect(),
        }
    }

    fn of_scene(&self, id: &str) -> Peaks {
        let scenes = self.vram.scenes.iter();
        let scene = scenes.into_iter().find(|scene| scene.id == id && !self.is_cached(id));
        scene.map(Peaks::from).unwrap_or_default()
    }

    /// The peak of a scene, or of the run while it generated, in MB; none of what was not executed.
    pub fn peak(&self, scene: Option<&str>, meaning: Metric) -> Option<u64> {
        scene.map_or_else(|| self.peaks(), |id| self.of_scene(id)).by(meaning)
    }

    /// The peaks while generating. A bare log that knows no scene, such as the script's, is about
    /// generating as a whole.
    fn peaks(&self) -> Peaks {
        if self.known.is_none() && self.vram.scenes.is_empty() {
            return Peaks { used: self.vram.comfyui_peak, driver: self.vram.driver_peak };
        }
        let executed = self.vram.scenes.iter().filter(|scene| !self.is_cached(&scene.id));
        executed.map(Peaks::from).fold(Peaks::default(), |all, one| Peaks {
            used: all.used.max(one.used),
            driver: all.driver.max(one.driver),
        })
    }

    /// The figure of one meaning, called what it is; of the driver's the other one if it is
    /// missing.
    fn measured(&self, peaks: Peaks, meaning: Metric) -> Option<Measured> {
        let ram = self.known.as_ref().is_some_and(|known| known.system_ram);
        match (meaning, peaks.driver, peaks.used) {
            (Metric::Driver, Some(driver), used) => Some(Measured::Driver(driver, used)),
            (_, _, Some(used)) if ram => Some(Measured::SystemRam(used)),
            (_, _, used) => used.map(Measured::Used),
        }
    }

    /// Why it is not known what grew.
    fn without_growth(&self) -> String {
        if self.peaks() == Peaks::default() {
            return self.without(None);
        }
        "too few scenes: growth is known from four that executed and were sampled without a /free \
         between them"
            .to_owned()
    }

    /// Why there is no figure of a scene, or of the run.
    fn without(&self, scene: Option<&str>) -> String {
        let scenes = self.scenes();
        match scene {
            Some(id) if self.is_cached(id) => {
                "it came from ComfyUI's cache: nothing was executed".to_owned()
            }
            None if !scenes.is_empty() && scenes.iter().all(|id| self.is_cached(id)) => {
                "all of it came from ComfyUI's cache (use -Fresh or -Seed random)".to_owned()
            }
            _ if self.vram.samples == 0 => "no VRAM sample was taken".to_owned(),
            Some(_) => "no sample was taken while it was running".to_owned(),
            None => "no sample was taken while a scene was running".to_owned(),
        }
    }
}
