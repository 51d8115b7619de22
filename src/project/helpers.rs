//! The helper scripts of a project: one table, and where their files lie.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::tool::Runner;

/// When a helper is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before the story.
    Preflight,
    /// After the scenes.
    Metrics,
    /// After the metrics.
    Quality,
    /// The project's test suites.
    Vitest,
    /// With the metadata written: what adds to it.
    Metadata,
    /// Last: what judges the summary and the metadata.
    Validation,
}

/// One helper script.
#[derive(Debug)]
pub struct Step {
    /// When it is run.
    pub phase: Phase,
    /// What it does, in a line.
    pub what: &'static str,
    /// The script's file in the project's `scripts`.
    pub script: &'static str,
    /// What runs it.
    pub runner: Runner,
    /// Its arguments.
    arguments: &'static [Argument],
    /// How long it may take.
    pub limit: Duration,
}

/// One or two words of a command.
#[derive(Clone, Copy, Debug)]
enum Argument {
    Word(&'static str),
    Root,
    RunDir,
    /// A path in the run folder.
    InRun(&'static str),
    /// Only under `FastIteration`.
    IfFast(&'static str),
}

/// What a helper's arguments are made of.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The project's folder.
    pub root: &'a Path,
    /// The run folder.
    pub run: &'a Path,
    /// Whether the run is one of `FastIteration`.
    pub fast: bool,
}

const TEN_MINUTES: Duration = Duration::from_secs(600);
const HALF_AN_HOUR: Duration = Duration::from_secs(1800);
const STATUS: &str = "test-results/comfyui-status";
const PREFLIGHT_LOG: &str = "test-results/comfyui-status/mapping-preflight.log";
const STATUS_LOG: &str = "test-results/comfyui-status/comfyui-status.log";

/// Every helper, in the order in which they are run.
pub static STEPS: [Step; 7] = [
    Step {
        phase: Phase::Preflight,
        what: "Mapping preflight",
        script: "preflight-mappings.ts",
        runner: Runner::Tsx,
        arguments: &[
            Argument::Word("--project"),
            Argument::Root,
            Argument::Word("--summary-dir"),
            Argument::InRun(STATUS),
            Argument::Word("--log-path"),
            Argument::InRun(PREFLIGHT_LOG),
        ],
        limit: TEN_MINUTES,
    },
    Step {
        phase: Phase::Preflight,
        what: "ComfyUI status",
        script: "comfyui-status.ts",
        runner: Runner::Tsx,
        arguments: &[
            Argument::Word("--project"),
            Argument::Root,
            Argument::Word("--summary-dir"),
            Argument::InRun(STATUS),
            Argument::Word("--log-path"),
            Argument::InRun(STATUS_LOG),
        ],
        limit: TEN_MINUTES,
    },
    Step {
        phase: Phase::Metrics,
        what: "Validation metrics",
        script: "validation-metrics.ts",
        runner: Runner::Tsx,
        arguments: &[Argument::Word("--run-dir"), Argument::RunDir],
        limit: TEN_MINUTES,
    },
    Step {
        phase: Phase::Quality,
        what: "Video quality validation",
        script: "validate-video-quality.ts",
        runner: Runner::Tsx,
        arguments: &[Argument::Word("--run-dir"), Argument::RunDir],
        limit: TEN_MINUTES,
    },
    Step {
        phase: Phase::Vitest,
        what: "Vitest suites",
        script: "run-vitests.ps1",
        runner: Runner::PowerShell,
        arguments: &[
            Argument::Word("-ProjectRoot"),
            Argument::Root,
            Argument::Word("-RunDir"),
            Argument::RunDir,
            Argument::IfFast("-Quick"),
        ],
        limit: HALF_AN_HOUR,
    },
    Step {
        phase: Phase::Metadata,
        what: "Scene video metadata",
        script: "update-scene-video-metadata.ps1",
        runner: Runner::PowerShell,
        arguments: &[Argument::Word("-RunDir"), Argument::RunDir],
        limit: TEN_MINUTES,
    },
    Step {
        phase: Phase::Validation,
        what: "Run-summary validator",
        script: "validate-run-summary.ps1",
        runner: Runner::PowerShell,
        arguments: &[Argument::Word("-RunDir"), Argument::RunDir],
        limit: TEN_MINUTES,
    },
];

impl Step {
    /// Its script in the project.
    pub fn file(&self, root: &Path) -> PathBuf {
        scripts(root).join(self.script)
    }

    /// Its arguments, in order.
    pub fn words(&self, places: Places) -> Vec<PathBuf> {
        let word = |argument: &Argument| match *argument {
            Argument::Word(word) => Some(word.into()),
            Argument::IfFast(word) => places.fast.then(|| word.into()),
            Argument::Root => Some(places.root.to_owned()),
            Argument::RunDir => Some(places.run.to_owned()),
            Argument::InRun(path) => Some(in_run(places.run, path)),
        };
        self.arguments.iter().filter_map(word).collect()
    }

    /// Where its output goes.
    pub fn log(&self, run: &Path) -> PathBuf {
        let stem = self.script.rsplit_once('.').map_or(self.script, |(stem, _)| stem);
        run.join("steps").join(format!("{stem}.log"))
    }
}

/// Where a project has its scripts.
pub fn scripts(root: &Path) -> PathBuf {
    root.join("scripts")
}

/// The files in the run folder that helpers write, whether or not they were run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelperFiles {
    /// The mapping preflight's summary and log.
    pub preflight: (PathBuf, PathBuf),
    /// The status helper's.
    pub status: (PathBuf, PathBuf),
    /// The logs of the three test suites: `ComfyUI`'s, end to end, scripts.
    pub vitest: [PathBuf; 3],
    /// The results of the test suites.
    pub vitest_results: PathBuf,
}

impl HelperFiles {
    /// Those of this run folder.
    pub fn of(run: &Path) -> Self {
        let file = |path| in_run(run, path);
        HelperFiles {
            preflight: (
                file("test-results/comfyui-status/mapping-preflight.json"),
                file(PREFLIGHT_LOG),
            ),
            status: (file("test-results/comfyui-status/comfyui-status.json"), file(STATUS_LOG)),
            vitest: ["vitest-comfyui.log", "vitest-e2e.log", "vitest-scripts.log"].map(file),
            vitest_results: file("vitest-results.json"),
        }
    }
}

/// A path in the run folder, as the system writes paths.
fn in_run(run: &Path, path: &str) -> PathBuf {
    path.split('/').fold(run.to_owned(), |path, part| path.join(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_words_of_their_own() {
        let (root, run) = (Path::new("/my project"), Path::new("/my project/logs/2026"));
        let words = |script: &str, fast| -> Vec<String> {
            let step = STEPS.iter().find(|step| step.script == script).unwrap();
            let words = step.words(Places { root, run, fast });
            words.iter().map(|word| word.display().to_string()).collect()
        };
        let vitest = ["-ProjectRoot", "/my project", "-RunDir", "/my project/logs/2026"];
        assert_eq!(words("run-vitests.ps1", false), vitest);
        assert_eq!(words("run-vitests.ps1", true), [&vitest[..], &["-Quick"]].concat());
        let preflight = words("preflight-mappings.ts", false);
        assert_eq!(preflight[..2], ["--project", "/my project"]);
        assert!(preflight[5].ends_with("mapping-preflight.log"), "{preflight:?}");
        assert!(STEPS[4].log(run).ends_with("steps/run-vitests.log"));
    }
}
