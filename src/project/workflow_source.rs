//! Where the text of a workflow comes from: a file, a picture or video that holds it, or the place
//! where the project keeps the template of a story's scenes.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::comfyui::output_file;
use crate::fs::{open_file, read_text};

const SETTINGS: &str = "localGenSettings.json";
const WORKFLOW: &str = "workflows/video_wan2_2_5B_ti2v.json";

/// A template: its text, and how it is named in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowSource {
    /// The file, with the key in it where it is a part.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// The workflow's JSON.
    pub text: String,
}

impl WorkflowSource {
    /// The workflow that a file is, or that a picture, video or sound holds.
    ///
    /// # Errors
    /// One line: the file, and what the system said, or why it holds none.
    pub fn of_file(file: &Path) -> Result<Self, String> {
        let name = file.display().to_string();
        let text = text_of(file).map_err(|why| format!("{name}: {why}"))?;
        Ok(WorkflowSource { name, file: file.to_owned(), text })
    }

    /// The project's own: `localGenSettings.json` with `workflowProfiles["wan-i2v"].workflowJson`,
    /// else its `workflowJson`; else `workflows/video_wan2_2_5B_ti2v.json`.
    ///
    /// # Errors
    /// There is none, or the settings are no JSON or hold something else there: one line that names
    /// the file and the key, or says where was looked.
    pub fn of_project(root: &Path) -> Result<Self, String> {
        let settings = root.join(SETTINGS);
        if settings.is_file()
            && let Some(template) = of_settings(&settings)?
        {
            return Ok(template);
        }
        let workflow = root.join(WORKFLOW);
        if workflow.is_file() {
            return WorkflowSource::of_file(&workflow);
        }
        Err(format!(
            "no template for the story's scenes: no workflowJson in {SETTINGS} and no {WORKFLOW} \
             in {}: --workflow FILE",
            root.display()
        ))
    }
}

fn text_of(file: &Path) -> Result<String, String> {
    let said = |error: io::Error| error.to_string();
    let mut opened = open_file(file).map_err(said)?;
    match output_file::embedded(&mut opened)? {
        Some(found) => Ok(found.into_text()),
        None => read_text(file).map_err(said),
    }
}

fn of_settings(file: &Path) -> Result<Option<WorkflowSource>, String> {
    let source = WorkflowSource::of_file(file)?;
    let settings = super::parse_json(file, &source.text)?;
    for key in ["workflowProfiles.wan-i2v.workflowJson", "workflowJson"] {
        let name = format!("{} ({key})", source.name);
        match key.split('.').fold(&settings, |value, key| &value[key]) {
            Value::Null => {}
            Value::String(text) if text.trim().is_empty() => {}
            Value::String(text) => {
                return Ok(Some(WorkflowSource { name, text: text.clone(), ..source }));
            }
            _ => return Err(format!("{name}: no text: the workflow's JSON is a string here")),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_places_are_asked_in_their_order() {
        let root = std::env::temp_dir().join(format!("template-{}", std::process::id()));
        fs::create_dir_all(root.join("workflows")).unwrap();
        let write = |name: &str, text: &str| fs::write(root.join(name), text).unwrap();
        let found = || WorkflowSource::of_project(&root).map(|found| (found.text, found.name));
        let why = found().unwrap_err();
        assert!(why.contains("localGenSettings.json") && why.ends_with("--workflow FILE"), "{why}");
        write(WORKFLOW, "{\"w\": 1}");
        assert_eq!(found().unwrap().0, "{\"w\": 1}");
        write(SETTINGS, "\u{feff}{\"workflowJson\": \"\"}");
        assert_eq!(found().unwrap().0, "{\"w\": 1}");
        write(SETTINGS, "{\"workflowJson\": \"own\", \"workflowProfiles\": {\"wan-t2i\": {}}}");
        assert_eq!(found().unwrap().0, "own");
        let profile = "{\"workflowProfiles\": {\"wan-i2v\": {\"workflowJson\": \"of wan\"}},\r\n \
                       \"workflowJson\": \"own\"}";
        write(SETTINGS, profile);
        let (text, name) = found().unwrap();
        assert_eq!(text, "of wan");
        assert!(name.ends_with("localGenSettings.json (workflowProfiles.wan-i2v.workflowJson)"));
        write(SETTINGS, "{");
        assert!(found().unwrap_err().contains("localGenSettings.json: not JSON: "));
        write(SETTINGS, "{\"workflowJson\": {\"1\": {}}}");
        assert!(found().unwrap_err().contains("localGenSettings.json (workflowJson): no text: "));
        fs::remove_dir_all(&root).unwrap();
    }
}
