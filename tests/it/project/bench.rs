//! A project laid out like the script's, with stand-ins for `npx` and `pwsh`.

use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::stand_in::{Config, StandIn, graphs};
use crate::support::{Folder, Ran, Running, executable, wait_until};

pub const HELPERS: [&str; 7] = [
    "preflight-mappings.ts",
    "comfyui-status.ts",
    "validation-metrics.ts",
    "validate-video-quality.ts",
    "run-vitests.ps1",
    "update-scene-video-metadata.ps1",
    "validate-run-summary.ps1",
];

/// Spaces and letters that are not ASCII, as desktops have them.
pub const ROOT: &str = "mein größtes café";

pub struct Project {
    pub server: StandIn,
    pub folder: Folder,
}

impl Project {
    /// With every script, and a template whose scenes take some polls.
    pub fn new() -> Self {
        let (server, mut folder) = (StandIn::with(Config::cuda()), Folder::new());
        folder.logs = folder.path().join(ROOT).join("logs");
        let project = Project { server, folder };
        for script in HELPERS.iter().chain(&["generate-story-scenes.ts"]) {
            project.folder.write(&format!("{ROOT}/scripts/{script}"), "");
        }
        project.template(&template(0.3));
        project.programs();
        project
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join(ROOT)
    }

    pub fn template(&self, graph: &Value) {
        let file = format!("{ROOT}/workflows/video_wan2_2_5B_ti2v.json");
        self.folder.write(&file, graph.to_string());
    }

    /// `npx` and `pwsh`: scripts that hand on to the stand-in, so that it is a `.cmd` on Windows.
    fn programs(&self) {
        let name = format!("project_stand_in{EXE_SUFFIX}");
        fs::create_dir_all(self.programs_folder()).unwrap();
        let program = self.programs_folder().join(&name);
        fs::copy(crate::support::example("project_stand_in"), &program).unwrap();
        for role in ["npx", "pwsh"] {
            if cfg!(windows) {
                let text = format!("@\"%~dp0{name}\" {role} %*\r\n");
                fs::write(self.programs_folder().join(format!("{role}.cmd")), text).unwrap();
            } else {
                let text = format!("#!/bin/sh\nexec '{}' {role} \"$@\"\n", program.display());
                let file = self.programs_folder().join(role);
                fs::write(&file, text).unwrap();
                executable(&file);
            }
        }
    }

    pub fn programs_folder(&self) -> PathBuf {
        self.folder.path().join("programs")
    }

    /// Starts a run in the project; `way` is what the stand-ins do differently.
    pub fn start(&self, way: &str, words: &[&str]) -> Running {
        self.start_about("a fox & \"friends\"", way, words)
    }

    pub fn start_about(&self, idea: &str, way: &str, words: &[&str]) -> Running {
        let url = self.server.url();
        let all = [&["--comfyui-url", &url, "-SampleIntervalSeconds", "0.2"], words].concat();
        self.folder.start_with(&all, |command| self.place(idea, way, command))
    }

    /// Has a program run in the project, with nothing but its programs on the PATH.
    pub fn place(&self, idea: &str, way: &str, command: &mut Command) {
        crate::signals::alone(command);
        command
            .current_dir(self.root())
            .env("PATH", self.programs_folder())
            .env("STAND_IN_NOTES", self.folder.path().join("notes.txt"))
            .env("STAND_IN_WAY", way)
            .env("CUSTOM_STORY_IDEA", idea);
    }

    pub fn run(&self, way: &str, words: &[&str]) -> Ran {
        self.start(way, words).wait()
    }

    pub fn notes(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("notes.txt")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until what a stand-in has started holds its lock.
    #[track_caller]
    pub fn wait_for_what_it_started(&self) {
        wait_until("a start", || self.notes().iter().any(|note| note.starts_with("locked\t")));
    }

    /// Fails the test if that goes on. What was killed is gone once the system has noticed.
    #[track_caller]
    pub fn nothing_is_left(&self) {
        let lock = fs::File::open(self.folder.path().join("notes.lock")).unwrap();
        wait_until("the end of what a program started", || lock.try_lock().is_ok());
    }
}

/// A video with a place for the prompts and for the keyframe.
pub fn template(seconds: f64) -> Value {
    let mut graph = graphs::video("x", seconds, 500, 1);
    graph["20"] = json!({"class_type": "Note", "inputs": {"text": "__PROMPT__ __SCENE_ID__"}});
    graph["21"] = json!({"class_type": "Note", "inputs": {"text": "__NEGATIVE_PROMPT__"}});
    graph["22"] = json!({"class_type": "LoadImage", "inputs": {"image": "__KEYFRAME_IMAGE__"}});
    // Another one for each scene, lest all but the first come from the cache.
    graph["1"]["inputs"]["color"] = json!("__SEED__");
    graph
}
