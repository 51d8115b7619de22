//! What a log says: a pure function of its lines, computed in constant memory. A log of a day or
//! of a year takes some hundred KiB; one that was made to take more, with every figure there can
//! be and a new scene in every line, is held to 128 MiB for the figures and 4096 scenes.
//!
//! The figures down to [`VramStats::comfyui_peak`] are over every `Used=`, whoever gave it. Of
//! the others, a used figure takes `ComfyUI`'s lines only and a driver figure every line with
//! `Driver=`; the two are never compared with each other.

mod accumulate;
#[cfg(any(test, fuzzing))]
mod naive;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use time::Time;

use super::log::time_text;
use super::reading::{DynamicVram, MissReason, Source};
pub use accumulate::{Accumulator, LogSummary};
pub use text::seconds_text;

/// The statistics of one log. What the log does not tell is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VramStats {
    /// How many lines hold a reading.
    pub samples: u64,
    /// How many ticks there were, with a reading or without.
    pub ticks: u64,
    /// How many lines could not be read.
    pub skipped_lines: u64,
    /// The highest reading, in MB.
    pub peak: Option<u64>,
    /// The mean of the ticks, in MB, rounded half to even.
    pub average: Option<u64>,
    /// The lowest reading of a tick, in MB.
    pub minimum: Option<u64>,
    /// The median of the ticks, in MB; of an even number the mean of the middle two.
    pub median: Option<u64>,
    /// The 95th percentile of the ticks by nearest rank, in MB.
    pub p95: Option<u64>,
    /// When the peak was first reached.
    pub peak_at: Option<Time>,
    /// What was running then.
    pub peak_place: Option<Place>,
    /// Who gave the peak.
    pub peak_source: Option<Source>,
    /// The highest reading of `ComfyUI`'s own, in MB: what to compare a peak of nvidia-smi with.
    pub comfyui_peak: Option<u64>,
    /// The highest driver figure of all lines, in MB.
    pub driver_peak: Option<u64>,
    /// The highest figure of torch, in MB.
    pub torch_peak: Option<u64>,
    /// The most that has spilled into system RAM, in MB, and where.
    pub spilled: Option<(u64, Option<Place>)>,
    /// How long it has, in milliseconds: between ticks that both show it.
    pub spilled_ms: u64,
    /// The highest figures of the lines with a scene.
    pub peak_generating: Option<PeakGenerating>,
    /// The driver figure of the first sample, in MB.
    pub start_driver: Option<u64>,
    /// The first used figure, in MB.
    pub start_used: Option<u64>,
    /// Torch's figure of the first sample, in MB: what `ComfyUI` held already.
    pub start_torch: Option<u64>,
    /// The first sample says that the device's memory is the machine's own: it is all that is in use.
    pub system_ram: bool,
    /// The metric of the run's own figures: driver where the first sample has it.
    pub metric: Metric,
    /// What the run added to the memory in use.
    pub added: Option<Added>,
    /// The size of the card in MB, as first told.
    pub total: Option<u64>,
    /// The scenes, in the order in which they first appear. Behind the 4096th all further ones
    /// are one, `(other scenes)`.
    pub scenes: Vec<SceneStatistics>,
    /// MB by which the memory in use at the end of a scene grows from scene to scene: the
    /// least-squares slope from the second scene on, known from four scenes. Rounded half to even.
    /// Of the log alone it is over all scenes; see [`VramStats::grow_by`].
    pub growth_per_scene: Option<i64>,
    /// The interval that the first run in the log asked for, in milliseconds.
    pub asked_interval_ms: Option<u64>,
    /// The pace of the readings, in milliseconds; unknown in older logs, whose ticks are all there
    /// is.
    pub pace_ms: Option<u64>,
    /// Whether dynamic VRAM was expected on; none where the log does not tell.
    pub dynamic_vram: Option<DynamicVram>,
    /// The mean time between ticks with a reading, in milliseconds.
    pub achieved_interval_ms: Option<u64>,
    /// The longest time without a reading, in milliseconds: from the moment of one to the answer
    /// of the next; what a run missed before its first and after its last one too. Where no gap was
    /// longer than twice the readings' pace, it is that. A shorter peak may have gone unseen.
    pub longest_gap_ms: Option<u64>,
    /// The missed ticks by reason; reasons that did not occur are absent.
    pub missed: BTreeMap<MissReason, u64>,
    /// Who gave how many samples.
    pub sources: Sources,
    /// The time of the first line.
    pub first_at: Option<Time>,
    /// The time of the last line.
    pub last_at: Option<Time>,
}

/// The figures of the lines with one scene: of all its attempts, while they were running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SceneStatistics {
    /// The id.
    pub id: String,
    /// The highest used figure, in MB.
    pub peak: Option<u64>,
    /// The mean used figure of its ticks, in MB, rounded half to even.
    pub average: Option<u64>,
    /// The lowest used figure of a tick, in MB.
    pub floor: Option<u64>,
    /// How many samples the used figures are made of.
    pub samples: u64,
    /// The highest driver figure, in MB.
    pub driver_peak: Option<u64>,
    /// The highest figure of torch, in MB.
    pub torch_peak: Option<u64>,
    /// The most that has spilled into system RAM, in MB.
    pub spilled_peak: Option<u64>,
    /// How long it has, in milliseconds.
    pub spilled_ms: u64,
    /// The highest figure of the device together with what has spilled, where something has.
    pub device_peak: Option<u64>,
    /// Its peak less the last reading before it: of the driver's figure where both have it.
    /// Not known where it would be negative.
    pub added: Option<Added>,
    /// Torch's figure of the last reading before it, in MB.
    pub torch_before: Option<u64>,
    /// The longest gap that its lines tell, or the line after them, in milliseconds.
    pub gap_ms: Option<u64>,
    /// Its nodes with a reading, in the order in which they first appear. Behind the 4096th of a
    /// log none is kept.
    pub nodes: Vec<NodeStatistics>,
    /// The last used figure, in MB.
    pub last_used: Option<u64>,
    /// The last driver figure, in MB.
    pub last_driver: Option<u64>,
}

/// The highest figures while a node was running, in MB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeStatistics {
    /// The node's id in its workflow.
    pub id: String,
    /// The highest used figure.
    pub peak: Option<u64>,
    /// The highest driver figure.
    pub driver_peak: Option<u64>,
    /// The highest figure of torch.
    pub torch_peak: Option<u64>,
}

/// What was running at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The scene.
    pub scene: String,
    /// Its node, where it is known.
    pub node: Option<String>,
}

/// What the record of a run knows of a scene, and its log does not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SceneFacts {
    /// The scene's id.
    pub id: String,
    /// What stands in place of its figures, such as `no execution`.
    pub no_figures: Option<&'static str>,
    /// Its nodes that were executed, in order.
    pub nodes: Vec<NodeFacts>,
}

/// A node that was executed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeFacts {
    /// The node's id.
    pub id: String,
    /// Its class, `KSampler`; empty where the workflow does not tell.
    pub class: String,
    /// Seconds of execution, of all attempts.
    pub seconds: f64,
}

/// How many samples came from where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Samples from `GET /system_stats`.
    pub comfyui: u64,
    /// Samples from the fallback.
    pub nvidia_smi: u64,
}

/// Which memory a figure counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// What the driver has handed out, torch's idle cache included.
    Driver,
    /// What live tensors hold.
    #[default]
    Used,
}

impl Metric {
    /// The figure of this metric.
    pub(super) fn of<T>(self, used: T, driver: T) -> T {
        match self {
            Metric::Driver => driver,
            Metric::Used => used,
        }
    }

    /// The figure of this metric, else that of the other one.
    pub fn first_of<T: Copy>(self, used: Option<T>, driver: Option<T>) -> Option<T> {
        self.of(used, driver).or(used).or(driver)
    }
}

/// The highest figures while a scene was running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeakGenerating {
    /// The highest used figure, in MB.
    pub used: Option<u64>,
    /// The highest driver figure, in MB.
    pub driver: Option<u64>,
    /// The highest figure of torch, in MB.
    pub torch: Option<u64>,
    /// When the figure of the log's metric was first reached; the other's, if it has none.
    pub at: Time,
    /// What was running then.
    pub place: Place,
}

/// What a run or a scene added to the memory in use: `peak` less `start`, of one and the same figure.
/// A run's is in the log's [`Metric`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// The highest figure, in MB.
    pub peak: u64,
    /// The first figure of the run, or the last one before the scene, in MB.
    pub start: u64,
}

impl Added {
    /// The difference, in MB.
    pub fn mb(self) -> u64 {
        self.peak.saturating_sub(self.start)
    }
}

impl VramStats {
    /// Computes growth anew from what a run's record knows: its scenes that executed, in order and
    /// in series that a `/free` parts. In each the first scene loads the models again; the steepest
    /// slope counts.
    pub fn grow_by(&mut self, series: &[Vec<&str>]) {
        let of = |id: &&str| self.scenes.iter().find(|scene| scene.id == **id);
        let slope = |ids: &Vec<&str>| accumulate::growth(ids.iter().map(of), self.metric);
        self.growth_per_scene = series.iter().filter_map(slope).max();
    }

    /// Forgets what scenes added whose readings before are those of another start of the server.
    pub fn forget_added(&mut self, scenes: &[&str]) {
        for scene in self.scenes.iter_mut().filter(|scene| scenes.contains(&&*scene.id)) {
            scene.added = None;
        }
    }

    /// Whether the figures of a scene that took so many seconds are lower bounds: a single sample,
    /// and no readings beside it that it is the highest of.
    pub fn is_lower_bound(&self, scene: &SceneStatistics, seconds: f64) -> bool {
        let unseen = self.pace_ms.is_none() || scene.gap_ms >= Some(1000);
        scene.samples == 1 && seconds > 1.0 && unseen
    }

    /// The highest figure while generating, in MB: of the log's metric, else of the other one.
    pub fn peak_generating_mb(&self) -> Option<u64> {
        let peak = self.peak_generating.as_ref()?;
        self.metric.first_of(peak.used, peak.driver)
    }

    /// The run's `Vram` object: memory in MB, times in seconds.
    pub fn json(&self) -> Value {
        let mut missed = Map::new();
        missed
            .extend(self.missed.iter().map(|(miss, count)| (miss.name().to_owned(), json!(count))));
        json!({
            "PeakMB": self.peak,
            "AverageMB": self.average,
            "MinimumMB": self.minimum,
            "MedianMB": self.median,
            "P95MB": self.p95,
            "PeakDriverMB": self.driver_peak,
            "PeakGeneratingMB": self.peak_generating_mb(),
            "PeakTorchMB": self.torch_peak,
            "SpilledMB": self.spilled.as_ref().map(|(mb, _)| mb),
            "SpilledSeconds": spilled_seconds(self.spilled_ms),
            "AddedMB": self.added.map(Added::mb),
            "DynamicVram": self.dynamic_vram.map(DynamicVram::name),
            "TotalMB": self.total,
            "PeakAt": self.peak_at.map(time_text),
            "PeakScene": self.peak_place.as_ref().map(|place| &place.scene),
            "PeakNode": self.peak_place.as_ref().and_then(|place| place.node.as_ref()),
            "Samples": self.samples,
            "Ticks": self.ticks,
            "Missed": missed,
            "AskedIntervalSeconds": in_seconds(self.asked_interval_ms),
            "AchievedIntervalSeconds": in_seconds(self.achieved_interval_ms),
            "LongestGapSeconds": in_seconds(self.longest_gap_ms),
            "Sources": {"comfyui": self.sources.comfyui, "nvidiaSmi": self.sources.nvidia_smi},
            "GrowthMBPerScene": self.growth_per_scene,
        })
    }
}

impl SceneStatistics {
    /// The scene's `Vram` object, in MB and seconds; `nodes` are those of its record, which may be
    /// more than have a reading.
    pub fn json(&self, nodes: &[NodeFacts]) -> Value {
        let unknown = self.nodes.iter().filter(|node| !nodes.iter().any(|it| it.id == node.id));
        let known = nodes.iter().map(|facts| {
            let figures = self.nodes.iter().find(|node| node.id == facts.id);
            let class = Some(&facts.class).filter(|class| !class.is_empty());
            node_json(&facts.id, class, Some(facts.seconds), figures)
        });
        let unknown = unknown.map(|node| node_json(&node.id, None, None, Some(node)));
        json!({
            "PeakMB": self.peak,
            "AverageMB": self.average,
            "FloorMB": self.floor,
            "PeakDriverMB": self.driver_peak,
            "PeakTorchMB": self.torch_peak,
            "AddedMB": self.added.map(Added::mb),
            "SpilledMB": self.spilled_peak,
            "SpilledSeconds": spilled_seconds(self.spilled_ms),
            "Samples": self.samples,
            "Nodes": known.chain(unknown).collect::<Vec<_>>(),
        })
    }
}

fn node_json(
    id: &str,
    class: Option<&String>,
    seconds: Option<f64>,
    figures: Option<&NodeStatistics>,
) -> Value {
    json!({
        "Node": id,
        "ClassType": class,
        "Seconds": seconds,
        "PeakMB": figures.and_then(|node| node.peak),
        "PeakDriverMB": figures.and_then(|node| node.driver_peak),
        "PeakTorchMB": figures.and_then(|node| node.torch_peak),
    })
}

/// Not known where no two ticks showed it: then it is not 0.
fn spilled_seconds(ms: u64) -> Option<f64> {
    in_seconds(Some(ms).filter(|ms| *ms > 0))
}

/// The float nearest to the decimal, so that it is written with three places at most.
pub(crate) fn in_seconds(ms: Option<u64>) -> Option<f64> {
    #[allow(clippy::cast_precision_loss)] // exact for 285 000 years
    ms.map(|ms| ms as f64 / 1000.0)
}
