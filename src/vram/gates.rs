//! Limits on a run's memory, judged by its statistics. A gate that cannot be evaluated counts as
//! failed, and says why.

#[cfg(test)]
mod tests;

use std::fmt;

use super::reading::{memory_name, quotient};
use super::stats::{Added, Metric, SceneStatistics, VramStats};
use crate::layout::width;

/// The least room above a baseline, in MB: about what a desktop takes and gives back.
const ROOM_MB: u64 = 64;
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
    /// Its scenes, in order.
    pub scenes: Vec<SceneRun<'a>>,
}

/// A scene of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct SceneRun<'a> {
    /// Its id.
    pub id: &'a str,
    /// Nothing of it was executed.
    pub cached: bool,
    /// The nodes that came from the cache.
    pub cached_nodes: &'a [String],
    /// How many nodes its workflow has; 0 if that is not known.
    pub node_count: usize,
    /// Seconds from its start to its end.
    pub seconds: f64,
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
    /// The device's peak by the driver's figure, with what has spilled into system RAM; beside it
    /// the used figure's.
    Driver(u64, Option<u64>),
    /// The device's peak by the used figure.
    Used(u64),
    /// The peak of system RAM.
    SystemRam(u64),
    /// The highest figure of torch.
    Torch(u64),
    /// What was added to the memory in use before.
    Added(u64),
    /// The growth from scene to scene.
    Growth(i64),
}

impl Measured {
    /// The figure, in MB.
    pub fn mb(self) -> i64 {
        match self {
            Measured::Driver(mb, _)
            | Measured::Used(mb)
            | Measured::SystemRam(mb)
            | Measured::Torch(mb)
            | Measured::Added(mb) => i64::try_from(mb).unwrap_or(i64::MAX),
            Measured::Growth(mb) => mb,
        }
    }

    /// The name in the metadata.
    pub fn name(self) -> &'static str {
        match self {
            Measured::Driver(..) => "driver",
            Measured::Used(_) => "used",
            Measured::SystemRam(_) => "systemRam",
            Measured::Torch(_) => "torch",
            Measured::Added(_) => "added",
            Measured::Growth(_) => "growth",
        }
    }

    /// `19310`, or `+1512` of what was added.
    fn figure(self) -> String {
        match self {
            Measured::Added(mb) => format!("+{mb}"),
            Measured::Growth(mb) => format!("{mb:+}"),
            _ => self.mb().to_string(),
        }
    }

    /// The same figure with another value.
    fn with(self, mb: u64) -> Measured {
        match self {
            Measured::Added(_) => Measured::Added(mb),
            _ => Measured::Torch(mb),
        }
    }

    /// `driver 19310`, or with a unit `driver 19310 MB`.
    fn text(self, unit: &str) -> String {
        match self {
            Measured::Added(mb) => format!("added {mb}{unit}"),
            Measured::SystemRam(mb) => format!("{} {mb}{unit}", memory_name(true)),
            Measured::Growth(mb) => format!("{mb:+}{unit} per scene"),
            _ => format!("{} {}{unit}", self.name(), self.mb()),
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
    /// The same figure of the baseline, the highest of several, in MB.
    pub before: Option<u64>,
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
        let is_within = |measured: Measured| {
            limit.is_some_and(|mb| measured.mb() <= i64::try_from(mb).unwrap_or(i64::MAX))
        };
        let state = match &measured {
            Ok(measured) if is_within(*measured) => State::Held,
            Ok(_) => State::Failed,
            Err(why) => State::NotJudged(why.clone()),
        };
        let (scene, measured) = (scene.map(str::to_owned), measured.ok());
        Verdict { gate, scene, limit, measured, before: None, state }
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

    /// `MaxPeakMB 20000 held (19310)`.
    fn short(&self) -> String {
        let detail = match (&self.state, self.measured) {
            (State::Held | State::Failed, Some(measured)) => match measured {
                Measured::Growth(_) => measured.text(""),
                _ => measured.figure(),
            },
            _ => self.detail("").unwrap_or_default(),
        };
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

/// All verdicts in one line, `MaxPeakMB 20000 held (19310); Baseline held`; none without a gate. Those on
/// a baseline are told by their [`table`].
pub fn closing(verdicts: &[Verdict]) -> Option<String> {
    let (baseline, limits): (Vec<&Verdict>, Vec<&Verdict>) =
        verdicts.iter().partition(|verdict| verdict.gate == Gate::Baseline);
    let mut parts: Vec<String> = limits.into_iter().map(Verdict::short).collect();
    if !baseline.is_empty() {
        let has_held = baseline.iter().all(|verdict| verdict.held());
        parts.push(format!("Baseline {}", if has_held { "held" } else { "FAILED" }));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// What stands in a verdict of gates that did not hold: `VRAM is worse than logs/20261121-230004`.
/// `memory` is how it is called, `baselines` their names.
pub fn failure(verdicts: &[Verdict], memory: &str, baselines: &[String]) -> String {
    let of = |gate: Gate| verdicts.iter().filter(move |verdict| verdict.gate == gate);
    let has = |gate: &Gate| of(*gate).next().is_some();
    let set: Vec<Gate> = Gate::ALL.into_iter().filter(has).collect();
    let is_bad = |gate: &Gate| of(*gate).any(|verdict| !verdict.held());
    let bad: Vec<Gate> = set.iter().copied().filter(is_bad).collect();
    let [gate] = bad[..] else {
        return format!("{} of {} gates did not hold", bad.len(), set.len());
    };
    let failed = of(gate).find(|verdict| verdict.state == State::Failed);
    let Some(Verdict { limit: Some(limit), measured: Some(measured), .. }) = failed else {
        return format!("{} could not be judged", gate.name());
    };
    match gate {
        Gate::MaxPeak => format!("{memory} peak {} MB is above {limit} MB", measured.mb()),
        Gate::MaxGrowth => {
            format!("{memory} grows by {} MB per scene, more than {limit} MB", measured.mb())
        }
        Gate::Baseline => match baselines {
            [] => format!("{memory} is worse than the baseline"),
            [one] => format!("{memory} is worse than {one}"),
            more => format!("{memory} is worse than {} baselines", more.len()),
        },
    }
}

/// The verdicts as a table: what was before, what is now, the change, the limit and the verdict.
/// Without verdicts no line.
pub fn table(verdicts: &[Verdict]) -> Vec<String> {
    rows(verdicts, true)
}

/// The same of a comparison, which has neither limits nor a verdict.
pub fn comparison(verdicts: &[Verdict]) -> Vec<String> {
    rows(verdicts, false)
}

/// The rows of [`table`]: name, before, now, change, the same in percent, limit, and the verdict behind
/// them. The highest of a run has a row only where it says more than the rows of the scenes.
pub fn cells(verdicts: &[Verdict], has_limits: bool) -> Vec<([String; 6], String)> {
    let of_scenes = || verdicts.iter().filter(|verdict| verdict.scene.is_some());
    let says_more = |verdict: &Verdict| match verdict.state {
        State::Held => false,
        State::Failed => has_limits && of_scenes().all(|scene| scene.state != State::Failed),
        State::NotJudged(_) => has_limits && of_scenes().all(Verdict::held),
    };
    let is_said = |verdict: &Verdict| {
        verdict.gate == Gate::Baseline
            && verdict.scene.is_none()
            && of_scenes().next().is_some()
            && !says_more(verdict)
    };
    let shown = verdicts.iter().filter(|verdict| !is_said(verdict));
    shown.map(|it| it.row(has_limits)).collect()
}

fn rows(verdicts: &[Verdict], has_limits: bool) -> Vec<String> {
    let rows = cells(verdicts, has_limits);
    if rows.is_empty() {
        return Vec::new();
    }
    let heads = ["", "before", "now", "change", "", "limit"].map(str::to_owned);
    let widest = |column: usize| {
        let cells = rows.iter().map(|(row, _)| row).chain([&heads]);
        cells.map(|row| width(&row[column])).max().unwrap_or_default()
    };
    let columns = if has_limits { 6 } else { 5 };
    let widths: Vec<usize> = (0..columns).map(widest).collect();
    let line = |row: &[String; 6], verdict: &str| {
        let mut text = format!("  {}{}", row[0], " ".repeat(widths[0] - width(&row[0])));
        for column in (1..columns).filter(|column| widths[*column] > 0) {
            let gap = if column == 4 { 2 } else { 3 };
            text += &" ".repeat(gap + widths[column] - width(&row[column]));
            text += &row[column];
        }
        format!("{text}  {verdict}").trim_end().to_owned()
    };
    let head = [(&heads, "")].into_iter();
    head.chain(rows.iter().map(|(row, verdict)| (row, verdict.as_str())))
        .map(|(row, verdict)| line(row, verdict))
        .collect()
}

impl Verdict {
    /// The cells of its row in [`table`], and what stands behind them.
    pub fn row(&self, has_limits: bool) -> ([String; 6], String) {
        let name = self.scene.clone().unwrap_or_else(|| match self.gate {
            Gate::Baseline => "highest".to_owned(),
            gate => gate.name().to_owned(),
        });
        let of = |mb: u64| self.measured.map_or(Measured::Torch(mb), |it| it.with(mb)).figure();
        let change = self.measured.zip(self.before).map(|(now, before)| {
            let before = i64::try_from(before).unwrap_or(i64::MAX);
            let change = now.mb() - before;
            let percent = (before > 0).then(|| rounded_percent(change, before));
            let percent = percent.map(|it| format!("{it:+} %")).unwrap_or_default();
            (format!("{change:+}"), percent)
        });
        let limit = |mb: u64| match self.measured {
            Some(Measured::Added(_)) => format!("+{mb}"),
            _ => mb.to_string(),
        };
        let verdict = match &self.state {
            State::NotJudged(why) if has_limits => format!("✗ not judged: {why}"),
            State::NotJudged(why) => format!("not compared: {why}"),
            _ if !has_limits => String::new(),
            State::Held => "✓".to_owned(),
            State::Failed => "✗".to_owned(),
        };
        let (change, percent) = change.unwrap_or_default();
        let cells = [
            name,
            self.before.map(of).unwrap_or_default(),
            self.measured.map(Measured::figure).unwrap_or_default(),
            change,
            percent,
            self.limit.filter(|_| has_limits).map(limit).unwrap_or_default(),
        ];
        (cells, verdict)
    }
}

fn rounded_percent(part: i64, whole: i64) -> i64 {
    let hundredths = quotient(u128::from(part.unsigned_abs()) * 100, whole.unsigned_abs().into());
    i64::try_from(hundredths).unwrap_or(i64::MAX) * part.signum()
}

/// Judges a run by the limits, and by baselines, each with its name.
pub fn judge(limits: Limits, run: &RunVram, baselines: &[(String, RunVram)]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    if let Some(limit) = limits.peak_mb {
        let peak = run.device_peak().ok_or_else(|| run.why_unknown(None));
        let mut verdict = Verdict::new(Gate::MaxPeak, None, Some(limit), peak);
        if let Some(scene) = run.scenes().into_iter().find(|scene| run.at_least(scene).is_some())
            && verdict.held()
        {
            verdict.state = State::NotJudged(format!("of {scene} there is one reading alone"));
        }
        verdicts.push(verdict);
    }
    if !baselines.is_empty() {
        verdicts.extend(compare(run, baselines));
    }
    if let Some(limit) = limits.growth_mb {
        let why_unknown = || match run.device_peak() {
            Some(_) => TOO_FEW_SCENES.to_owned(),
            None => run.why_unknown(None),
        };
        let growth = run.vram.growth_per_scene.map(Measured::Growth).ok_or_else(why_unknown);
        verdicts.push(Verdict::new(Gate::MaxGrowth, None, Some(limit), growth));
    }
    verdicts
}

/// Verdicts on the run's highest figure, and on that of each scene that it shares with a baseline:
/// torch's, which only the workflow moves, where all of them know it, else what was added.
pub fn compare(run: &RunVram, baselines: &[(String, RunVram)]) -> Vec<Verdict> {
    let not_judged = |scene, why| Verdict::new(Gate::Baseline, scene, None, Err(why));
    if let Some(why) = baselines.iter().find_map(|(name, other)| run.why_other(name, other)) {
        return vec![not_judged(None, why)];
    }
    let mut scenes = Vec::new();
    for id in run.scenes() {
        let theirs: Vec<&(String, RunVram)> =
            baselines.iter().filter(|(_, other)| other.scenes().contains(&id)).collect();
        let others: Vec<&RunVram> = theirs.iter().map(|(_, other)| other).collect();
        if !others.is_empty() {
            let why = theirs.iter().find_map(|(name, other)| run.why_not_same(id, name, other));
            scenes.push(match why {
                Some(why) => not_judged(Some(id), why),
                None => run.verdict(Some(id), &others),
            });
        }
    }
    let all: Vec<&RunVram> = baselines.iter().map(|(_, other)| other).collect();
    [run.verdict(None, &all)].into_iter().chain(scenes).collect()
}

/// The highest figure that counts as no worse than these: the highest of them plus the largest of
/// their spread, that of repeats of the scene, 1 % and 64 MB; of a single one plus 5 % in place of 1 %.
fn limit(peaks: &[u64], of_repeats: u64) -> Option<u64> {
    let (lowest, highest) = (*peaks.iter().min()?, *peaks.iter().max()?);
    let percent = if peaks.len() == 1 { 5 } else { 1 };
    let room = highest.saturating_mul(percent).div_ceil(100).max(highest - lowest);
    Some(highest.saturating_add(room.max(of_repeats).max(ROOM_MB)))
}

/// Why what was added to the machine's RAM decides nothing, if so: `ComfyUI` uses again what it kept
/// from before, so what was in use at one start beyond the other's may be the workflow's as well.
fn why_warm(verdict: &Verdict, now: Added, before: &[Added], spread: u64) -> Option<String> {
    let starts = || before.iter().map(|it| it.start);
    let at_most = |it: &Added, other: u64| it.peak.saturating_sub(it.start.min(other));
    if verdict.held() {
        let (start, lowest) = (now.start, starts().min()?);
        return (at_most(&now, lowest) > verdict.limit?).then(|| {
            format!(
                "{start} MB in use before it, {lowest} in the baseline: run it again in two minutes, \
                 with ComfyUI started anew"
            )
        });
    }
    let (start, highest) = (now.start, starts().max()?);
    let most: Vec<u64> = before.iter().map(|it| at_most(it, start)).collect();
    (now.mb() <= limit(&most, spread)?).then(|| {
        format!("{start} MB in use before it, {highest} in the baseline: run the baseline anew")
    })
}

fn added_unknown(what: &str) -> String {
    format!("{what} is not known in each run (no reading before it, or memory was freed)")
}

/// `flow` of `flow-r2`, as `Repeat` names it.
fn repeated(id: &str) -> Option<&str> {
    let (scene, number) = id.rsplit_once("-r")?;
    number.parse::<u32>().ok().map(|_| scene)
}

/// `NVIDIA GeForce RTX 3090` of `cuda:0 NVIDIA GeForce RTX 3090 : cudaMallocAsync`: the same card
/// in another slot is the same device.
pub fn card(device: &str) -> &str {
    let name = device.split(" : ").next().unwrap_or(device);
    match name.split_once(' ') {
        Some((slot, card)) if slot.contains(':') => card,
        _ => name,
    }
}

impl<'a> RunVram<'a> {
    /// The peak of a scene, or of the run while it generated, in MB; none where nothing was
    /// executed. A bare log without scenes, such as the script's, is taken as generating
    /// throughout.
    pub fn peak(&self, scene: Option<&str>, metric: Metric) -> Option<u64> {
        let vram = self.vram;
        if scene.is_none() && self.is_bare() {
            return metric.of(vram.comfyui_peak, vram.driver_peak);
        }
        self.executed(scene).filter_map(|scene| metric.of(scene.peak, scene.driver_peak)).max()
    }

    /// The device's peak while generating: by the driver's figure, with what has spilled, else by
    /// the used one.
    fn device_peak(&self) -> Option<Measured> {
        let used = self.peak(None, Metric::Used);
        let driver = self.peak(None, Metric::Driver);
        let spilled = self.executed(None).filter_map(|scene| scene.device_peak).max();
        // Where the first sample had no driver figure, the fallback may still have given some.
        let is_driver = self.vram.metric == Metric::Driver || used.is_none();
        match driver.max(spilled).filter(|_| is_driver || spilled.is_some()) {
            Some(mb) => Some(Measured::Driver(mb, used)),
            None => {
                used.map(if self.vram.system_ram { Measured::SystemRam } else { Measured::Used })
            }
        }
    }

    /// The verdict on a scene, or on the highest of the run, held against these.
    fn verdict(&self, scene: Option<&str>, others: &[&RunVram]) -> Verdict {
        let figures = |torch| {
            let before: Option<Vec<u64>> =
                others.iter().map(|other| other.figure(scene, torch)).collect();
            self.figure(scene, torch).zip(before)
        };
        let torch = figures(true).map(|(now, before)| (Measured::Torch(now), before));
        let added = || figures(false).map(|(now, before)| (Measured::Added(now), before));
        let Some((now, before)) = torch.or_else(added) else {
            let why = self.why_unknown(scene);
            return Verdict::new(Gate::Baseline, scene, None, Err(why));
        };
        let is_torch = matches!(now, Measured::Torch(_));
        let spread = others.iter().filter_map(|other| other.spread(scene, is_torch));
        let spread = spread.max().unwrap_or_default();
        let highest = limit(&before, spread);
        let mut verdict = Verdict::new(Gate::Baseline, scene, highest, Ok(now));
        verdict.before = before.into_iter().max();
        let at_least = scene.and_then(|scene| self.at_least(scene)).filter(|_| verdict.held());
        // Of scenes that both have each start tells more than that of the run.
        let is_told = scene.is_none() && others.iter().any(|other| self.shares_scenes(other));
        let warm = || {
            let before: Vec<Added> = others.iter().filter_map(|other| other.added(scene)).collect();
            why_warm(&verdict, self.added(scene)?, &before, spread)
        };
        let is_ram = self.vram.system_ram && !is_torch && !(is_told && verdict.held());
        if let Some(why) = at_least.or_else(|| if is_ram { warm() } else { None }) {
            verdict.state = State::NotJudged(why);
        }
        verdict
    }

    /// How far apart a figure of a scene's repeats is, in MB, as far as the same nodes of them were
    /// executed; of the run that of its scenes, the largest.
    fn spread(&self, scene: Option<&str>, torch: bool) -> Option<u64> {
        let Some(id) = scene else {
            let scenes = self.scenes().into_iter();
            return scenes.filter_map(|id| self.spread(Some(id), torch)).max();
        };
        let (scene, cached) = (repeated(id)?, self.cached_nodes(id));
        let is_alike = |it: &&str| repeated(it) == Some(scene) && self.cached_nodes(it) == cached;
        let ids = self.scenes().into_iter().filter(is_alike);
        let figures: Vec<u64> = ids.filter_map(|id| self.figure(Some(id), torch)).collect();
        Some(figures.iter().max()? - figures.iter().min()?)
    }

    fn figure(&self, scene: Option<&str>, torch: bool) -> Option<u64> {
        if torch { self.torch(scene) } else { self.added(scene).map(Added::mb) }
    }

    /// Torch's highest figure of a scene, or of the run's scenes, in MB.
    fn torch(&self, scene: Option<&str>) -> Option<u64> {
        if scene.is_none() && self.is_bare() {
            return self.vram.torch_peak;
        }
        self.executed(scene).filter_map(|scene| scene.torch_peak).max()
    }

    /// What a scene added, or the most that one of the run's did, from the run's start.
    fn added(&self, scene: Option<&str>) -> Option<Added> {
        if scene.is_none() && self.is_bare() {
            return self.vram.added;
        }
        let added = self.executed(scene).filter_map(|scene| scene.added);
        let most = added.max_by_key(|added| added.mb())?;
        let start = self.vram.added.filter(|_| scene.is_none()).map_or(most.start, |it| it.start);
        Some(Added { peak: start.saturating_add(most.mb()), start })
    }

    /// A log that knows no scene, and no run.
    fn is_bare(&self) -> bool {
        self.facts.is_none() && self.vram.scenes.is_empty()
    }

    /// The figures of that scene, or of all, as far as they were executed.
    fn executed<'s>(
        &'s self,
        wanted: Option<&'s str>,
    ) -> impl Iterator<Item = &'s SceneStatistics> + 's {
        let is_wanted = move |id: &str| {
            wanted.is_none_or(|wanted| wanted == id)
                && self.scene_run(id).is_none_or(|scene| !scene.cached)
        };
        self.vram.scenes.iter().filter(move |scene| is_wanted(&scene.id))
    }

    fn scene_run(&self, id: &str) -> Option<&SceneRun<'a>> {
        self.facts.as_ref()?.scenes.iter().find(|scene| scene.id == id)
    }

    /// The scenes, in order.
    fn scenes(&self) -> Vec<&str> {
        match &self.facts {
            Some(facts) => facts.scenes.iter().map(|scene| scene.id).collect(),
            None => self.vram.scenes.iter().map(|scene| scene.id.as_str()).collect(),
        }
    }

    fn shares_scenes(&self, other: &RunVram) -> bool {
        let theirs = other.scenes();
        self.scenes().iter().any(|id| theirs.contains(id))
    }

    /// Why a baseline says nothing about this run: it is of another device, or was measured
    /// otherwise.
    fn why_other(&self, name: &str, other: &RunVram) -> Option<String> {
        if let (Some(ours), Some(theirs)) = (self.vram.total, other.vram.total)
            && ours != theirs
        {
            return Some(format!("{name} is of a device of {theirs} MB, this one has {ours}"));
        }
        let device = |run: &RunVram| run.facts.as_ref()?.device.map(card).map(str::to_owned);
        if let (Some(ours), Some(theirs)) = (device(self), device(other))
            && ours != theirs
        {
            return Some(format!("{name} is of {theirs}, this is {ours}"));
        }
        if let (Some(ours), Some(theirs)) = (self.vram.dynamic_vram, other.vram.dynamic_vram)
            && ours != theirs
        {
            let (ours, theirs) = (ours.name(), theirs.name());
            return Some(format!("dynamic VRAM was {theirs} in {name}, it is {ours} here"));
        }
        let of_nvidia_smi = |run: &RunVram| run.vram.samples > 0 && run.vram.sources.comfyui == 0;
        (of_nvidia_smi(self) != of_nvidia_smi(other) && other.vram.samples > 0).then(|| {
            format!("{name} has the readings of another source: nvidia-smi's and ComfyUI's differ")
        })
    }

    /// Why a scene is not compared with a baseline's: other nodes of it came from the cache.
    fn why_not_same(&self, id: &str, name: &str, other: &RunVram) -> Option<String> {
        let (ours, theirs) = (self.scene_run(id), other.scene_run(id));
        if ours.is_some_and(|scene| scene.cached) {
            return Some(self.why_unknown(Some(id)));
        }
        if theirs.is_some_and(|scene| scene.cached) {
            return Some(format!("{name}: it came from ComfyUI's cache (use --fresh)"));
        }
        let (cached, cached_before) = (self.cached_nodes(id), other.cached_nodes(id));
        let of = |scene: Option<&SceneRun>| match scene.map(|scene| scene.node_count) {
            Some(count) if count > 0 => format!(" of {count}"),
            _ => String::new(),
        };
        if cached.len() == cached_before.len() && cached.iter().all(|id| cached_before.contains(id))
        {
            return None;
        }
        let nodes = |n: usize, of: &str| if n == 1 && of.is_empty() { "node" } else { "nodes" };
        let (n, of, where_from) = match cached.len() {
            0 => (cached_before.len(), of(theirs), format!("{name}: ")),
            n => (n, of(ours), String::new()),
        };
        let nodes = nodes(n, &of);
        Some(format!("{where_from}{n}{of} {nodes} came from the cache, use --fresh"))
    }

    fn cached_nodes(&self, id: &str) -> &'a [String] {
        self.scene_run(id).map(|scene| scene.cached_nodes).unwrap_or_default()
    }

    /// Why a scene's figures are no more than lower bounds, if they are.
    fn at_least(&self, id: &str) -> Option<String> {
        let figures = self.vram.scenes.iter().find(|scene| scene.id == id)?;
        let scene = self.scene_run(id).filter(|scene| !scene.cached)?;
        self.vram
            .is_lower_bound(figures, scene.seconds)
            .then(|| "there is one reading alone".into())
    }

    /// Why there is no figure of a scene, or of the run.
    fn why_unknown(&self, scene: Option<&str>) -> String {
        let scenes = self.scenes();
        let is_cached = |id: &str| self.scene_run(id).is_some_and(|scene| scene.cached);
        let sampled = |id: &str| self.vram.scenes.iter().any(|scene| scene.id == id);
        match scene {
            Some(id) if is_cached(id) => "it came from ComfyUI's cache (use --fresh)".to_owned(),
            None if !scenes.is_empty() && scenes.iter().all(|id| is_cached(id)) => {
                "all of it came from ComfyUI's cache (use --fresh)".to_owned()
            }
            _ if self.vram.samples == 0 => "no VRAM sample was taken".to_owned(),
            Some(id) if sampled(id) => added_unknown("what it added"),
            Some(_) => "no sample was taken while it was running".to_owned(),
            None if scenes.iter().any(|id| sampled(id)) || self.is_bare() => {
                added_unknown("what was added")
            }
            None => "no sample was taken while a scene was running".to_owned(),
        }
    }
}
