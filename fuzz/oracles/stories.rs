//! Workflows and stories of any text.

use std::collections::HashSet;

use super::{are_lines, is_inside, is_line};
use crate::cli::{self, Command, Env, RunOptions};
use crate::comfyui::{Workflow, properties};
use crate::project::story::Story;
use crate::project::workflow_source::WorkflowSource;
use crate::run::properties::{Scene, scenes};
use crate::sanitize::{file_name, sanitize_line, scene_id};

/// Parts of the data.
const CUT: &str = "\n====\n";
/// Texts that are filled in later than a story's.
const LATER: [&str; 2] = ["__SEED__", "__KEYFRAME_IMAGE__"];

/// Words of a command line, one a line, then a workflow, then perhaps a story of which it is the
/// template. The scenes that come of them have names that stay in the run folder, and none twice;
/// their graphs keep every link and hold the prompts as they were written; what is told of them is
/// one harmless line each.
///
/// # Panics
/// Otherwise.
pub fn stories(data: &[u8]) {
    let data = String::from_utf8_lossy(data);
    names(&data);
    let mut parts = data.splitn(3, CUT);
    let (Some(words), Some(text)) = (parts.next(), parts.next()) else { return };
    let (name, file) = ("flow.json".to_owned(), "flow.json".into());
    let template = WorkflowSource { name, file, text: text.to_owned() };
    let story = parts.next().map(|text| Story::parse("story.json".into(), text)).transpose();
    let Ok(story) = story.inspect_err(|why| is_told(why)) else { return };
    if let Some(story) = &story {
        told(story);
    }
    let options = of(words);
    let made = scenes(&options, story.as_ref(), &template);
    let Ok(made) = made.inspect_err(|why| is_told(why)) else { return };
    let template = Workflow::parse(&template.text).unwrap();
    let mut ids = HashSet::new();
    for scene in &made {
        assert!(ids.insert(scene.id.to_lowercase()), "two scenes are {}", scene.id);
        named(&scene.id);
        are_lines(&scene.warnings);
        if template.is_drawn() {
            assert!(scene.workflow == template);
            continue;
        }
        shown(&scene.workflow);
        if options.set.is_empty() {
            properties::is_made_of(&scene.workflow, &template);
            prompted(scene);
        }
    }
}

/// Any text as a name.
fn names(text: &str) {
    for text in text.split('\n').take(20) {
        is_inside(&file_name(text));
        named(&scene_id(text));
        let line = sanitize_line(text);
        is_line(&line);
        assert_eq!(sanitize_line(&line), line);
    }
}

fn named(id: &str) {
    let plain = |c: char| c.is_alphanumeric() || "._-".contains(c);
    assert!(id.chars().all(plain) && !id.contains("..") && id.len() <= 110, "{id}");
    is_inside(&format!("video/{id}/{id}.mp4"));
    is_inside(&format!("history/{id}.json"));
}

/// What is said on the one line that there is for it.
fn is_told(why: &str) {
    assert!(!why.is_empty());
    is_line(&sanitize_line(why));
}

fn told(story: &Story) {
    let lines = [Some(&story.id), story.logline.as_ref(), story.directors_vision.as_ref()];
    are_lines(lines.into_iter().flatten().chain(&story.generator).chain(&story.warnings));
    is_line(&story.llm_status());
    assert!(!story.scenes.is_empty());
    for scene in &story.scenes {
        let lines = [&scene.title, &scene.summary, &scene.mood, &scene.camera_movement];
        are_lines(lines.into_iter().flatten());
    }
}

/// As a dry run prints it, it is the same graph.
fn shown(workflow: &Workflow) {
    let text = workflow.to_pretty_json();
    are_lines(text.lines());
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), workflow.to_json());
}

/// The graph has the prompts of the scene's story, or it is said that it has not.
fn prompted(scene: &Scene) {
    let Some(story) = &scene.story else { return };
    let later = |text: &str| LATER.iter().any(|placeholder| text.contains(placeholder));
    for prompt in [&story.prompt, &story.negative] {
        let warned = prompt == &story.negative && !scene.warnings.is_empty();
        assert!(
            warned || later(prompt) || properties::holds(&scene.workflow, prompt),
            "{prompt:?}"
        );
    }
}

fn of(words: &str) -> RunOptions {
    let parse = |words: &str| {
        let env = Env { var: &|_| None, current_dir: "/".into(), program: None };
        match cli::parse(words.lines().map(Into::into), &env) {
            Ok(Command::Run(options)) => Some(*options),
            _ => None,
        }
    };
    let options = parse(words).or_else(|| parse("")).unwrap();
    // A thousand copies show no more than a few.
    RunOptions { repeat: options.repeat.min(3), ..options }
}
