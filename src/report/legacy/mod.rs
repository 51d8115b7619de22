//! What the script's readers look for in the summary and the metadata, beside our own: its lines,
//! its fields, and the neutral values of what has no meaning here.

pub mod scene;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::record::{Output, SceneRecord};
use super::text::sized;
use crate::fs::{is_image, is_video};
use crate::project::helpers::HelperFiles;
use crate::project::llm::HealthCheck;
use crate::project::story::Story;
use crate::sanitize;
use scene::LegacyScene;

/// What the script's files tell of a run beside its record.
#[derive(Debug, Default)]
pub struct LegacyRun {
    /// The story of its scenes.
    pub story: Option<Story>,
    /// Whether the story's language model answered.
    pub health_check: Option<HealthCheck>,
    /// Its scenes, in the order of the record's.
    pub scenes: Vec<LegacyScene>,
    /// The archive to come.
    pub archive: Option<PathBuf>,
}

impl LegacyRun {
    /// Keyframes, images and videos that are home.
    pub fn frames(&self, scenes: &[SceneRecord]) -> usize {
        let keyframes = self.scenes.iter().filter(|scene| scene.keyframe().is_some()).count();
        let outputs = scenes.iter().flat_map(|scene| &scene.outputs);
        keyframes + outputs.filter(|file| is_image(&file.path) || is_video(&file.path)).count()
    }

    /// `## Artifact Index` and what stands below it.
    pub fn index(&self, scenes: &[SceneRecord], files: &HelperFiles) -> Vec<String> {
        let mut lines = vec!["## Artifact Index".to_owned()];
        lines.extend(self.story_folder().map(|folder| format!("Story folder: {folder}")));
        let captured = scenes.iter().filter(|scene| !scene.outputs.is_empty()).count();
        lines.push(format!("Scenes captured: {captured}"));
        lines.push(format!("Total frames copied: {}", self.frames(scenes)));
        let [comfyui, e2e, scripts] = &files.vitest;
        let logs = [
            ("Vitest comfyUI log", comfyui),
            ("Vitest e2e log", e2e),
            ("Vitest scripts log", scripts),
            ("Vitest results json", &files.vitest_results),
        ];
        lines.extend(logs.map(|(name, path)| format!("{name}: {}", path.display())));
        lines.extend(self.archive.iter().map(|path| format!("Archive: {}", path.display())));
        lines
    }

    fn story_folder(&self) -> Option<String> {
        self.story.as_ref()?.file.parent().map(slashes)
    }

    /// Adds the script's fields to the metadata's document.
    pub fn add_to(&self, document: &mut Value, files: &HelperFiles) {
        document["Story"] = self.story();
        let path = |path: &Path| Value::from(slashes(path));
        let [comfyui, e2e, scripts] = &files.vitest;
        document["VitestLogs"] = json!({
            "ComfyUI": path(comfyui),
            "E2E": path(e2e),
            "Scripts": path(scripts),
            "ResultsJson": path(&files.vitest_results),
        });
        document["VitestSummary"] = vitest_summary(&files.vitest_results);
        document["Archive"] = self.archive.as_deref().map(slashes).into();
        let both = |(summary, log): &(PathBuf, PathBuf)| json!({"Summary": slashes(summary), "Log": slashes(log)});
        document["HelperSummaries"] = json!({
            "MappingPreflight": both(&files.preflight),
            "ComfyUIStatus": both(&files.status),
        });
    }

    fn story(&self) -> Value {
        let story = self.story.as_ref();
        json!({
            "Id": story.map(|story| &story.id),
            "Logline": story.map(|story| &story.logline),
            "DirectorsVision": story.map(|story| &story.directors_vision),
            "Generator": story.map(|story| &story.generator),
            "File": story.map(|story| slashes(&story.file)),
            "StoryDir": self.story_folder(),
            "LLM": story.map(|story| without_credentials(&story.llm)),
            "HealthCheck": HealthCheck::json(self.health_check.as_ref()),
            "Warnings": story.map(|story| story.warnings.as_slice()).unwrap_or_default(),
        })
    }
}

/// The same without the credentials of the URLs in its texts: the metadata are shown to others.
fn without_credentials(value: &Value) -> Value {
    let mut value = value.clone();
    redact(&mut value);
    value
}

fn redact(value: &mut Value) {
    match value {
        Value::String(text) => *text = sanitize::without_credentials(text),
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Object(fields) => fields.values_mut().for_each(redact),
        _ => {}
    }
}

/// What the test suites found, where their results are a JSON document of a bearable size.
fn vitest_summary(file: &Path) -> Value {
    const LARGEST: u64 = 1 << 20;
    let small = std::fs::metadata(file).is_ok_and(|about| about.len() <= LARGEST);
    let text = if small { std::fs::read(file).unwrap_or_default() } else { Vec::new() };
    serde_json::from_slice(&text).unwrap_or_default()
}

/// `=== STEP 3: Validate Results ===`: the files of each scene, and whether every scene has one.
pub fn results(scenes: &[SceneRecord]) -> Vec<String> {
    let made = Made::of(scenes);
    let mut lines = vec![format!("{} generated: {}", made.name(), made.count)];
    for scene in scenes {
        let Some(first) = made.first(scene) else { continue };
        let name = first.path.rsplit('/').next().unwrap_or_default().to_owned();
        let more = match scene.outputs.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let file = Output { path: name, bytes: first.bytes };
        lines.push(format!("   - {}{more}", sized(&file)));
    }
    let all = scenes.len();
    lines.push(format!("Expected scenes: {all}"));
    let what = made.name().to_lowercase();
    lines.push(match made.count {
        0 => "✗ FAILURE: No videos generated".to_owned(),
        count if count == all => format!("✓ SUCCESS: All scenes produced {what}"),
        count => format!("⚠ PARTIAL: {count}/{all} {what} generated"),
    });
    lines
}

/// `Videos: 3/3`.
pub fn tally(scenes: &[SceneRecord]) -> String {
    let made = Made::of(scenes);
    format!("{}: {}/{}", made.name(), made.count, scenes.len())
}

/// What the scenes made: videos, unless one of them made other files alone.
struct Made {
    videos: bool,
    count: usize,
}

impl Made {
    fn of(scenes: &[SceneRecord]) -> Self {
        let with_files = scenes.iter().filter(|scene| !scene.outputs.is_empty());
        Made {
            videos: with_files.clone().all(|scene| video(scene).is_some()),
            count: with_files.count(),
        }
    }

    fn name(&self) -> &'static str {
        if self.videos { "Videos" } else { "Files" }
    }

    fn first<'a>(&self, scene: &'a SceneRecord) -> Option<&'a Output> {
        if self.videos { video(scene) } else { scene.outputs.first() }
    }
}

/// A scene's video.
fn video(scene: &SceneRecord) -> Option<&Output> {
    scene.outputs.iter().find(|file| is_video(&file.path))
}

/// A path as the files of a run write it.
pub fn slashes(path: &Path) -> String {
    path.display().to_string().replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::super::record::Outcome;
    use super::*;

    fn scene(id: &str, files: &[(&str, u64)]) -> SceneRecord {
        let output = |(path, bytes): &(&str, u64)| Output { path: (*path).into(), bytes: *bytes };
        let outputs = files.iter().map(output).collect();
        SceneRecord { outcome: Outcome::Succeeded, outputs, ..SceneRecord::skipped(id, "") }
    }

    #[test]
    fn a_story_s_llm_is_told_without_credentials() {
        let with = json!({
            "providerUrl": "http://user:p@ss@host:1/v1", "seed": 42, "status": null,
            "error": "GET https://user:pass@host failed, so did http://me@host/x",
            "tried": ["me@home", "http://host"],
        });
        let without = json!({
            "providerUrl": "http://***@host:1/v1", "seed": 42, "status": null,
            "error": "GET https://***@host failed, so did http://***@host/x",
            "tried": ["me@home", "http://host"],
        });
        assert_eq!(without_credentials(&with), without);
    }

    #[test]
    fn results_are_told_as_what_they_are() {
        let mb = 1_604_321;
        let a = scene("a", &[("video/a/a.mp4", mb), ("outputs/a/a.png", 5)]);
        let (b, none) = (scene("b", &[("video/b/b.mp4", mb)]), scene("c", &[]));
        let images = scene("d", &[("outputs/d/d_00001_.png", 700), ("outputs/d/e.png", 5)]);
        let told = |scenes: &[&SceneRecord]| {
            let scenes: Vec<SceneRecord> = scenes.iter().map(|scene| (*scene).clone()).collect();
            (results(&scenes), tally(&scenes))
        };
        let all = [
            "Videos generated: 2",
            "   - a.mp4 (1.53 MB) and 1 more",
            "   - b.mp4 (1.53 MB)",
            "Expected scenes: 2",
            "✓ SUCCESS: All scenes produced videos",
        ];
        assert_eq!(told(&[&a, &b]), (all.map(str::to_owned).to_vec(), "Videos: 2/2".to_owned()));
        let (some, tally) = told(&[&a, &b, &none]);
        assert_eq!(some.last().unwrap(), "⚠ PARTIAL: 2/3 videos generated");
        assert_eq!(tally, "Videos: 2/3");
        assert_eq!(told(&[&none]).0.last().unwrap(), "✗ FAILURE: No videos generated");
        let (files, tally) = told(&[&images, &a]);
        assert_eq!(files[1], "   - d_00001_.png (700 bytes) and 1 more");
        assert_eq!(files.last().unwrap(), "✓ SUCCESS: All scenes produced files");
        assert_eq!(tally, "Files: 2/2");
    }
}
