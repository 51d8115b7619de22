//! `story.json`: the scenes that a project's generator wrote.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fs::read_text;
use crate::sanitize::{sanitize_line, without_credentials};

/// A story. Texts are one line each, without control characters; prompts are as they were written.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    /// The file that it was read from.
    pub file: PathBuf,
    /// `storyId`; the file's name without its extension where there is none.
    pub id: String,
    /// `logline`.
    pub logline: Option<String>,
    /// `directorsVision`.
    pub directors_vision: Option<String>,
    /// `generator`.
    pub generator: Option<String>,
    /// `llm`, as the generator wrote it; null where it wrote none.
    pub llm: Value,
    /// `warnings`.
    pub warnings: Vec<String>,
    /// In its own order; never empty.
    pub scenes: Vec<StoryScene>,
}

/// One scene of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoryScene {
    /// As the story writes it.
    pub id: String,
    /// `title`.
    pub title: Option<String>,
    /// `summary`.
    pub summary: Option<String>,
    /// The positive prompt.
    pub prompt: String,
    /// The negative one; empty is none.
    pub negative: String,
    /// `mood`.
    pub mood: Option<String>,
    /// An image file; a relative path was taken from the story's folder.
    pub keyframe: Option<PathBuf>,
    /// `expectedFrames`: images that the scene has to have at least.
    pub expected_frames: Option<u64>,
    /// `cameraMovement`.
    pub camera_movement: Option<String>,
}

impl Story {
    /// Reads a story file, or the `story.json` of a folder.
    ///
    /// # Errors
    /// One line naming the file, the place in it and what is wrong: unreadable, no JSON, no
    /// scenes, a scene without id or prompt, a keyframe that is not there.
    pub fn load(path: &Path) -> Result<Self, String> {
        let file = if path.is_dir() { path.join("story.json") } else { path.to_owned() };
        let name = file.display();
        let text = read_text(&file).map_err(|error| format!("{name}: {error}"))?;
        Story::parse(file, &text)
    }

    /// The story in a file's text.
    ///
    /// # Errors
    /// The same, but for unreadable.
    pub(crate) fn parse(file: PathBuf, text: &str) -> Result<Self, String> {
        let name = file.display();
        let value = super::parse_json(&file, text)?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let scenes = list(&value["scenes"]).enumerate().map(|(index, scene)| {
            StoryScene::read(scene, folder)
                .map_err(|why| format!("{name}: scene {}: {why}", index + 1))
        });
        let scenes = scenes.collect::<Result<Vec<_>, _>>()?;
        if scenes.is_empty() {
            return Err(format!("{name}: no scenes: a story has a list 'scenes'"));
        }
        let warnings = list(&value["warnings"]).filter_map(Value::as_str);
        let stem = || file.file_stem().map(|stem| sanitize_line(&stem.to_string_lossy()));
        Ok(Story {
            id: line(&value, "storyId").or_else(stem).unwrap_or_default(),
            logline: line(&value, "logline"),
            directors_vision: line(&value, "directorsVision"),
            generator: line(&value, "generator"),
            llm: value["llm"].clone(),
            warnings: warnings.map(sanitize_line).collect(),
            scenes,
            file,
        })
    }

    /// How its language model did, in a line: `success (provider=…, seed=42, duration=8011ms)`;
    /// `skipped` where the generator names none.
    pub fn llm_status(&self) -> String {
        let llm = &self.llm;
        let text = |key: &str| match &llm[key] {
            Value::String(text) => {
                Some(without_credentials(&sanitize_line(text))).filter(|text| !text.is_empty())
            }
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let parts = [
            ("providerUrl", "provider", ""),
            ("seed", "seed", ""),
            ("durationMs", "duration", "ms"),
            ("error", "error", ""),
        ];
        let part = |(key, name, unit)| Some(format!("{name}={}{unit}", text(key)?));
        let parts: Vec<String> = parts.into_iter().filter_map(part).collect();
        let status = text("status").unwrap_or_else(|| "skipped".to_owned());
        if parts.is_empty() { status } else { format!("{status} ({})", parts.join(", ")) }
    }
}

impl StoryScene {
    fn read(scene: &Value, folder: &Path) -> Result<Self, String> {
        let text = |key: &str| scene[key].as_str().map(str::to_owned);
        let id = text("id").filter(|id| !id.is_empty()).ok_or("it has no id")?;
        let name = sanitize_line(&id);
        let prompt = text("prompt").ok_or_else(|| format!("'{name}' has no prompt"))?;
        let keyframe = text("keyframePath").filter(|path| !path.is_empty());
        let keyframe = keyframe.map(|path| folder.join(path));
        if let Some(path) = keyframe.as_ref().filter(|path| !path.is_file()) {
            return Err(format!("'{name}': its keyframe {} is not there", path.display()));
        }
        Ok(StoryScene {
            id,
            title: line(scene, "title"),
            summary: line(scene, "summary"),
            prompt,
            negative: text("negativePrompt").unwrap_or_default(),
            mood: line(scene, "mood"),
            keyframe,
            expected_frames: scene["expectedFrames"].as_u64(),
            camera_movement: line(scene, "cameraMovement"),
        })
    }
}

/// The items of a list; nothing else has any.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A text of one line; an empty one is none.
fn line(value: &Value, key: &str) -> Option<String> {
    value[key].as_str().map(sanitize_line).filter(|text| !text.is_empty())
}
