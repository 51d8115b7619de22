//! Limits on a run's memory, judged by its statistics. A gate that cannot be evaluated counts as
//! failed, and says why.

#[cfg(test)]
mod tests;

use std::fmt;

use super::stats::{Metric, VramStats};

/// The least room above a baseline, in MB: about what a desktop takes and gives back.
const ROOM_MB: u64 = 64;
/// Verdicts on scenes that the closing line lists; further ones it counts.
const MAX_LISTED: usize = 3;
const TOO_FEW_SCENES: &str = "too few scenes: growth is known from four that executed and were \
    sampled without a /free between them";

/// The gates that are a number of MB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The highest peak while generating.
    pub peak_mb: Option<u64>,
    /// The highest growth from scene to scene.
    pub growth_mb: Option<u64>,
}

/// The memory of a run, or of a log without one.
#[derive(Clone, Debug)]
pub struct RunVram<'a> {
    /// The statistics of the log.
    pub vram: &'a VramStats,
    /// What the run's record adds; none for a bare log.
    pub facts: Option<RunFacts<'a>>,
}

/// What the record of a run knows and its log does not.
#[derive(Clone, Debug, Default)]
pub struct RunFacts<'a> {
    /// The device, as the server names it.
    pub device: Option<&'a str>,
    /// Whether the figures are system RAM.
    pub system_ram: bool,
    /// Its scenes, and whether nothing of them was executed.
    pub scenes: Vec<(&'a str, bool)>,
}

/// Which gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// A highest peak.
    MaxPeak,
    /// No higher peak than that of earlier runs.
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

/// What a limit is compared with, in MB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// The driver's peak, and beside it the used figure's.
    Driver(u64, Option<u64>),
    /// The peak of the used figure.
    Used(u64),
    /// The peak of system RAM.
    SystemRam(u64),
    /// The growth from scene to scene.
    Growth(i64),
}

impl Measured {
    fn mb(self) -> i128 {
        match self {
            Measured::Driver(mb, _) | Measured::Used(mb) | Measured::SystemRam(mb) => mb.into(),
            Measured::Growth(mb) => mb.into(),
        }
    }

    /// `driver 19310`, or with a unit `driver 19310 MB`.
    fn text(self, unit: &str) -> String {
        match self {
            Measured::Driver(mb, _) => format!("driver {mb}{unit}"),
            Measured::Used(mb) => format!("used {mb}{unit}"),
            Measured::SystemRam(mb) => format!("system RAM {mb}{unit}"),
            Measured::Growth(mb) => format!("{mb:+}{unit} per scene"),
        }
    }
}

/// The result of a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The measure is within the limit.
    Held,
    /// It is not.
    Failed,
    /// There is nothing to compare with the limit, and why. Counts as failed.
    NotJudged(String),
}

impl State {
    fn word(&self) -> &'static str {
        match self {
            State::Held => "held",
            State::Failed => "FAILED",
            State::NotJudged(_) => "not judged",
        }
    }
}

/// A gate and its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which gate.
    pub gate: Gate,
    /// The scene that it is about; none: the run.
    pub scene: Option<String>,
    /// The limit in MB, where one is known.
    pub limit: Option<u64>,
    /// What was measured, where something was.
    pub measured: Option<Measured>,
    /// Held, failed or not judged.
    pub state: State,
}

impl Verdict {
    /// Judges a measure, or says why there is none.
    fn new(
        gate: Gate,
        scene: Option<&str>,
        limit: Option<u64>,
        measured: Result<Measured, String>,
    ) -> Verdict {
        let is_within = |measured: Measured| limit.is_some_and(|mb| measured.mb() <= mb.into());
        let state = match &measured {
            Ok(measured) if is_within(*measured) => State::Held,
            Ok(_) => State::Failed,
            Err(why) => State::NotJudged(why.clone()),
        };
        Verdict { gate, scene: scene.map(str::to_owned), limit, measured: measured.ok(), state }
    }

    /// Whether it was judged and is within its limit.
    pub fn held(&self) -> bool {
        self.state == State::Held
    }

    /// `Baseline scene-001 20276`.
    fn head(&self) -> String {
        let scene = self.scene.as_ref().map(|scene| format!(" {scene}")).unwrap_or_default();
        let limit = self.limit.map(|limit| format!(" {limit}")).unwrap_or_default();
        format!("{}{scene}{limit}", self.gate.name())
    }

    /// `driver 19310`, or why it is not judged.
    fn detail(&self, unit: &str) -> Option<String> {
        match &self.state {
            State::NotJudged(why) => Some(why.clone()),
            State::Held | State::Failed => Some(self.measured?.text(unit)),
        }
    }

    /// `MaxPeakMB 20000 held (driver 19310)`.
    fn short(&self) -> String {
        let detail = self.detail("").unwrap_or_default();
        format!("{} {} ({detail})", self.head(), self.state.word())
    }
}

impl fmt::Display for Verdict {
    /// `MaxPeakMB 20000: FAILED, driver 20480 MB (used 17048)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = self.detail(" MB").unwrap_or_else(|| "nothing measured".to_owned());
        write!(f, "{}: {}, {detail}", self.head(), self.state.word())?;
        match (&self.state, self.measured) {
            (State::Held | State::Failed, Some(Measured::Driver(_, Some(used)))) => {
                write!(f, " (used {used})")
            }
            _ => Ok(()),
        }
    }
}

/// All verdicts in one line, `Gates: MaxPeakMB 20000 held (driver 19310)`; none without a gate.
/// Of the scenes' verdicts the first three that did not hold are listed, the others counted.
pub fn closing(verdicts: &[Verdict]) -> Option<String> {
    if verdicts.is_empty() {
        return None;
    }
    let (of_scenes, of_run): (Vec<&Verdict>, Vec<&Verdict>) =
        verdicts.iter().partition(|verdict| verdict.scene.is_some());
    let (held, bad): (Vec<&Verdict>, Vec<&Verdict>) =
        of_scenes.into_iter().partition(|verdict| verdict.held());
    let listed = of_run.iter().chain(bad.iter().take(MAX_LISTED));
    let mut parts: Vec<String> = listed.map(|verdict| verdict.short()).collect();
    if bad.len() > MAX_LISTED {
        parts.push(format!("{} more scenes not within theirs", bad.len() - MAX_LISTED));
    }
    match held.len() {
        0 => {}
        1 => parts.push("1 scene within its baseline".to_owned()),
        n => parts.push(format!("{n} scenes within their baselines")),
    }
    Some(format!("Gates: {}", parts.join("; ")))
}

/// Judges a run by the limits, and by baselines, each with its name.
pub fn judge(limits: Limits, run: &RunVram, baselines: &[(String, RunVram)]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    // Where the first sample had no driver figure, the fallback may still have given some.
    let any_peak = run.measured(None, Metric::Driver);
    if let Some(limit) = limits.peak_mb {
        let peak = run.measured(None, run.vram.metric).or(any_peak);
        let peak = peak.ok_or_else(|| run.why_unknown(None));
        verdicts.push(Verdict::new(Gate::MaxPeak, None, Some(limit), peak));
    }
    if !baselines.is_empty() {
        verdicts.extend(judge_by_baselines(run, baselines));
    }
    if let Some(limit) = limits.growth_mb {
        let why_unknown = || match any_peak {
            Some(_) => TOO_FEW_SCENES.to_owned(),
            None => run.why_unknown(None),
        };
        let growth = run.vram.growth_per_scene.map(Measured::Growth).ok_or_else(why_unknown);
        verdicts.push(Verdict::new(Gate::MaxGrowth, None, Some(limit), growth));
    }
    verdicts
}

/// Verdicts on the run, and on each scene that it shares with a baseline.
fn judge_by_baselines(run: &RunVram, baselines: &[(String, RunVram)]) -> Vec<Verdict> {
    let not_judged = |why| Verdict::new(Gate::Baseline, None, None, Err(why));
    let metric = match comparable(run, baselines) {
        Ok(metric) => metric,
        Err(why) => return vec![not_judged(why)],
    };
    let verdict = |scene: Option<&str>, peaks: &[u64]| {
        // The other metric's figure is not compared.
        let measured = run.peak(scene, metric).and_then(|_| run.measured(scene, metric));
        let measured = measured.ok_or_else(|| run.why_unknown(scene));
        Verdict::new(Gate::Baseline, scene, limit(peaks), measured)
    };
    let of_baseline = |(name, other): &(String, RunVram)| {
        other.peak(None, metric).ok_or_else(|| format!("{name}: {}", other.why_unknown(None)))
    };
    let of_run = match baselines.iter().map(of_baseline).collect::<Result<Vec<_>, _>>() {
        Ok(peaks) => verdict(None, &peaks),
        Err(why) => not_judged(why),
    };
    let of_scene = |id: &str| {
        let peaks = baselines.iter().filter_map(|(_, other)| other.peak(Some(id), metric));
        let peaks: Vec<u64> = peaks.collect();
        (!peaks.is_empty()).then(|| verdict(Some(id), &peaks))
    };
    [of_run].into_iter().chain(run.scenes().into_iter().filter_map(of_scene)).collect()
}

/// The highest peak that counts as no worse than these: the highest of them plus the largest of
/// their spread, 1 % and 64 MB; of a single one, whose spread is unknown, plus 5 % or 64 MB.
fn limit(peaks: &[u64]) -> Option<u64> {
    let (lowest, highest) = (*peaks.iter().min()?, *peaks.iter().max()?);
    let percent = |percent: u64| highest.saturating_mul(percent).div_ceil(100);
    let room = if peaks.len() == 1 { percent(5) } else { percent(1).max(highest - lowest) };
    Some(highest.saturating_add(room.max(ROOM_MB)))
}

/// The metric in which a run is compared with baselines: the driver's where all of them have it.
///
/// # Errors
/// One of them is of another device.
pub fn comparable(run: &RunVram, baselines: &[(String, RunVram)]) -> Result<Metric, String> {
    if let Some(why) = baselines.iter().find_map(|(name, other)| other_device(run, name, other)) {
        return Err(why);
    }
    let mut all = baselines.iter().map(|(_, baseline)| baseline).chain([run]);
    let driver = all.all(|run| run.vram.metric == Metric::Driver);
    Ok(if driver { Metric::Driver } else { Metric::Used })
}

/// Why a baseline says nothing about this run: it is of another device.
fn other_device(run: &RunVram, name: &str, other: &RunVram) -> Option<String> {
    if let (Some(ours), Some(theirs)) = (run.vram.total, other.vram.total)
        && ours != theirs
    {
        return Some(format!("{name} is of a device of {theirs} MB, this one has {ours}"));
    }
    let device = |run: &RunVram| run.facts.as_ref()?.device.map(card).map(str::to_owned);
    let (ours, theirs) = (device(run)?, device(other)?);
    (ours != theirs).then(|| format!("{name} is of {theirs}, this is {ours}"))
}

/// `NVIDIA GeForce RTX 3090` of `cuda:0 NVIDIA GeForce RTX 3090 : cudaMallocAsync`: the same card
/// in another slot is the same device.
fn card(device: &str) -> &str {
    let name = device.split(" : ").next().unwrap_or(device);
    match name.split_once(' ') {
        Some((slot, card)) if slot.contains(':') => card,
        _ => name,
    }
}

impl RunVram<'_> {
    /// The peak of a scene, or of the run while it generated, in MB; none where nothing was
    /// executed. A bare log without scenes, such as the script's, is taken as generating
    /// throughout.
    pub fn peak(&self, scene: Option<&str>, metric: Metric) -> Option<u64> {
        let vram = self.vram;
        if scene.is_none() && self.facts.is_none() && vram.scenes.is_empty() {
            return metric.of(vram.comfyui_peak, vram.driver_peak);
        }
        let wanted = |id: &str| scene.is_none_or(|scene| scene == id) && !self.is_cached(id);
        let scenes = vram.scenes.iter().filter(|scene| wanted(&scene.id));
        scenes.filter_map(|scene| metric.of(scene.peak, scene.driver_peak)).max()
    }

    /// Whether nothing of the scene was executed: samples from its time say nothing about it.
    fn is_cached(&self, scene: &str) -> bool {
        let mut scenes = self.facts.iter().flat_map(|facts| &facts.scenes);
        scenes.any(|(id, cached)| *id == scene && *cached)
    }

    /// The scenes, in order.
    fn scenes(&self) -> Vec<&str> {
        match &self.facts {
            Some(facts) => facts.scenes.iter().map(|(id, _)| *id).collect(),
            None => self.vram.scenes.iter().map(|scene| scene.id.as_str()).collect(),
        }
    }

    /// The peak of a metric, and the used figure where the driver's is missing.
    fn measured(&self, scene: Option<&str>, metric: Metric) -> Option<Measured> {
        let used = self.peak(scene, Metric::Used);
        if metric == Metric::Driver
            && let Some(driver) = self.peak(scene, metric)
        {
            return Some(Measured::Driver(driver, used));
        }
        let ram = self.facts.as_ref().is_some_and(|facts| facts.system_ram);
        used.map(if ram { Measured::SystemRam } else { Measured::Used })
    }

    /// Why there is no figure of a scene, or of the run.
    fn why_unknown(&self, scene: Option<&str>) -> String {
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
