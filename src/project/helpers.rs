//! The helper scripts of a project: one table, their commands, and the files that they write.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::process::find_program;
use crate::sanitize::sanitize_line;

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
pub struct Helper {
    /// When it is run.
    pub phase: Phase,
    /// What it does, in a line.
    pub what: &'static str,
    /// The script's file in the project's `scripts`.
    pub script: &'static str,
    /// How long it may take.
    pub limit: Duration,
}

const STATUS_SCRIPT: &str = "comfyui-status.ts";

/// Every helper, in the order in which they are run.
pub static HELPERS: [Helper; 7] = [
    helper(Phase::Preflight, "Mapping preflight", "preflight-mappings.ts", 10),
    helper(Phase::Preflight, "ComfyUI status", STATUS_SCRIPT, 10),
    helper(Phase::Metrics, "Validation metrics", "validation-metrics.ts", 10),
    helper(Phase::Quality, "Video quality validation", "validate-video-quality.ts", 10),
    helper(Phase::Vitest, "Vitest suites", "run-vitests.ps1", 30),
    helper(Phase::Metadata, "Scene video metadata", "update-scene-video-metadata.ps1", 10),
    helper(Phase::Validation, "Run-summary validator", "validate-run-summary.ps1", 10),
];

const fn helper(phase: Phase, what: &'static str, script: &'static str, minutes: u64) -> Helper {
    Helper { phase, what, script, limit: Duration::from_secs(minutes * 60) }
}

impl Helper {
    /// The script's path in the project.
    pub fn file(&self, root: &Path) -> PathBuf {
        scripts(root).join(self.script)
    }

    /// The command for a run folder; `fast` is whether the run is one of `FastIteration`.
    ///
    /// # Errors
    /// Same as [`script_command`].
    pub fn command(&self, root: &Path, run: &Path, fast: bool) -> Result<Command, String> {
        let mut command = script_command(root, &self.file(root))?;
        self.add_arguments(&mut command, root, run, fast);
        Ok(command)
    }

    fn add_arguments(&self, command: &mut Command, root: &Path, run: &Path, fast: bool) {
        match self.phase {
            Phase::Preflight => {
                let HelperFiles { preflight, status, .. } = HelperFiles::of(run);
                let log = if self.script == STATUS_SCRIPT { status.1 } else { preflight.1 };
                command.arg("--project").arg(root).arg("--summary-dir").arg(status_folder(run));
                command.arg("--log-path").arg(log)
            }
            Phase::Metrics | Phase::Quality => command.arg("--run-dir").arg(run),
            Phase::Vitest => {
                command.arg("-ProjectRoot").arg(root).arg("-RunDir").arg(run);
                command.args(fast.then_some("-Quick"))
            }
            Phase::Metadata | Phase::Validation => command.arg("-RunDir").arg(run),
        };
    }

    /// The file in the run folder where its output goes.
    pub fn log(&self, run: &Path) -> PathBuf {
        run.join("steps").join(self.script).with_extension("log")
    }
}

/// Where a project has its scripts.
pub fn scripts(root: &Path) -> PathBuf {
    root.join("scripts")
}

/// The command that runs a script in the project's folder: `npx tsx SCRIPT` of Node.js, and for a
/// `.ps1` `pwsh -NoLogo -ExecutionPolicy Bypass -File SCRIPT`; on Windows `powershell.exe` where
/// there is no `pwsh`.
///
/// # Errors
/// The program is not on the PATH: one line that names it.
pub fn script_command(root: &Path, script: &Path) -> Result<Command, String> {
    let mut command;
    if script.extension().is_some_and(|end| end == "ps1") {
        let shells: &[&str] = if cfg!(windows) { &["pwsh", "powershell"] } else { &["pwsh"] };
        let shell = find_program(shells).ok_or("pwsh is not on the PATH: it is PowerShell's")?;
        command = Command::new(shell);
        command.args(["-NoLogo", "-ExecutionPolicy", "Bypass", "-File"]);
    } else {
        let npx = find_program(&["npx"]).ok_or("npx is not on the PATH: it is Node.js's")?;
        command = Command::new(npx);
        command.arg("tsx");
    }
    command.arg(script).current_dir(root);
    Ok(command)
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
    /// Those of this run folder, once its helpers were run: the test suites' logs are those that their
    /// results name.
    pub fn found(run: &Path) -> Self {
        let mut files = HelperFiles::of(run);
        let results = files.vitest_summary();
        for (log, key) in files.vitest.iter_mut().zip(["comfyLog", "e2eLog", "scriptsLog"]) {
            if let Some(path) = results[key].as_str() {
                *log = run.join(sanitize_line(path));
            }
        }
        files
    }

    /// The results of the test suites; null if they are no JSON document of at most 1 MiB.
    pub fn vitest_summary(&self) -> Value {
        const LARGEST: u64 = 1 << 20;
        let file = &self.vitest_results;
        let small = std::fs::metadata(file).is_ok_and(|about| about.len() <= LARGEST);
        let text = if small { std::fs::read(file).unwrap_or_default() } else { Vec::new() };
        // Windows PowerShell begins a file with a mark.
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text);
        serde_json::from_slice(text).unwrap_or_default()
    }

    /// Those that a run of the helpers writes into this run folder.
    pub fn of(run: &Path) -> Self {
        let file = |name| run.join(name);
        let status = |name| status_folder(run).join(name);
        HelperFiles {
            preflight: (status("mapping-preflight.json"), status("mapping-preflight.log")),
            status: (status("comfyui-status.json"), status("comfyui-status.log")),
            vitest: ["vitest-comfyui.log", "vitest-e2e.log", "vitest-scripts.log"].map(file),
            vitest_results: file("vitest-results.json"),
        }
    }
}

/// A helper's file as it is told: its path, or `none` where it is not there.
pub fn told(file: &Path) -> String {
    if file.is_file() { file.display().to_string() } else { "none".to_owned() }
}

fn status_folder(run: &Path) -> PathBuf {
    run.join("test-results").join("comfyui-status")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suites_logs_are_those_that_their_results_name() {
        let run = std::env::temp_dir().join(format!("helper-files-{}", std::process::id()));
        std::fs::create_dir_all(&run).unwrap();
        let logs = || HelperFiles::found(&run).vitest.map(|log| told(&log));
        let [comfyui, shape] =
            ["vitest-comfyui.log", "vitest-telemetry-shape.log"].map(|name| run.join(name));
        assert_eq!(logs(), ["none"; 3]);
        std::fs::write(&comfyui, "").unwrap();
        std::fs::write(&shape, "").unwrap();
        let results = |text: &str| std::fs::write(run.join("vitest-results.json"), text).unwrap();
        for text in ["", "[1]", "{\"comfyLog\": null, \"e2eLog\": \"gone.log\"}"] {
            results(text);
            assert_eq!(logs(), [&told(&comfyui), "none", "none"], "{text}");
        }
        // As Windows PowerShell writes it; an absolute path, as the helper does.
        let whole = serde_json::json!({"comfyLog": "gone.log", "scriptsLog": shape});
        results(&format!("\u{feff}{whole}"));
        assert_eq!(logs(), ["none", "none", &told(&shape)]);
        assert_eq!(HelperFiles::found(&run).vitest_summary(), whole);
        std::fs::remove_dir_all(&run).unwrap();
    }

    #[test]
    fn arguments_are_words_of_their_own() {
        let (root, run) = (Path::new("/my project"), Path::new("/my project/logs/2026"));
        let words = |script: &str, fast| -> Vec<String> {
            let helper = HELPERS.iter().find(|helper| helper.script == script).unwrap();
            let mut command = Command::new("npx");
            helper.add_arguments(&mut command, root, run, fast);
            command.get_args().map(|word| word.display().to_string()).collect()
        };
        let vitest = ["-ProjectRoot", "/my project", "-RunDir", "/my project/logs/2026"];
        assert_eq!(words("run-vitests.ps1", false), vitest);
        assert_eq!(words("run-vitests.ps1", true), [&vitest[..], &["-Quick"]].concat());
        let preflight = words("preflight-mappings.ts", false);
        assert_eq!(preflight[..2], ["--project", "/my project"]);
        assert!(preflight[5].ends_with("mapping-preflight.log"), "{preflight:?}");
        assert!(HELPERS[4].log(run).ends_with("steps/run-vitests.log"));
    }
}
