//! From what was asked for to the scenes of the run, every graph patched. Nothing is sent.

mod sources;

use std::collections::HashSet;
use std::path::PathBuf;

use crate::cli::{Assignment, RunOptions, Seed};
use crate::comfyui::{ScenePrompts, Workflow, random_seed};
use crate::project::generator;
use crate::project::story::{Story, StoryScene};
use crate::project::workflow_source::WorkflowSource;
use crate::sanitize::{sanitize_line, scene_id};
use crate::suggest::nearest;

/// One scene, ready to be sent.
#[derive(Clone, Debug)]
pub struct Scene {
    /// `[A-Za-z0-9._-]`; no other scene of the run has it, in whatever case.
    pub id: String,
    /// The id without the number of its repetition.
    pub base: String,
    /// The graph, but for the keyframe's name on the server.
    pub workflow: Workflow,
    /// The image to be uploaded.
    pub keyframe: Option<PathBuf>,
    /// The seed that was put in.
    pub seed: Option<u64>,
    /// The workflow file, or the template.
    pub source: PathBuf,
    /// The scene of the story that it was made of.
    pub story: Option<StoryScene>,
    /// What found no place in the graph and can be done without.
    pub warnings: Vec<String>,
}

/// What a run is made of.
#[derive(Debug)]
pub enum Plan {
    /// The scenes are known, and the story that they are of.
    Scenes(Vec<Scene>, Option<Story>),
    /// They are those of a story that the project's generator has to write first.
    Generate(WorkflowSource),
}

impl Plan {
    /// What the options ask for.
    ///
    /// # Errors
    /// One line: nothing to run, a file that is no workflow or no story, a prompt without a place, a
    /// node, input or scene that is not there, two scenes of one name.
    pub fn make(options: &RunOptions) -> Result<Self, String> {
        let files = sources::workflow_files(&options.workflows)?;
        match (&options.story, files.as_slice()) {
            (Some(path), files) => {
                let story = Story::load(path)?;
                let template = match files {
                    [] => WorkflowSource::of_project(&options.project_root)
                        .map_err(|why| format!("--story needs a template: {why}"))?,
                    [file] => WorkflowSource::of_file(file)?,
                    many => {
                        return Err(format!(
                            "--story takes one workflow as the template of all its scenes, not {}",
                            many.len()
                        ));
                    }
                };
                Ok(Plan::Scenes(scenes_of(options, &story, &template)?, Some(story)))
            }
            (None, []) if generator::script(&options.project_root).is_file() => {
                let template = WorkflowSource::of_project(&options.project_root)?;
                let mut workflow = sources::parse(&template)?;
                // What no story could make up for is told before half an hour is spent on one.
                let texts = ScenePrompts { scene: "scene-001", prompt: "", negative: "" };
                let named = |why| format!("{}: {why}", template.name);
                workflow.insert_prompts(texts).map_err(named)?;
                set(&mut workflow, options)?;
                Ok(Plan::Generate(template))
            }
            (None, []) => Err(sources::nothing_to_run(options)),
            (None, files) => {
                let mut scenes = Vec::new();
                for file in files {
                    let flow = WorkflowSource::of_file(file)?;
                    scenes.extend(sources::from_workflow(&flow, options.repeat)?);
                }
                Ok(Plan::Scenes(finished(scenes, options)?, None))
            }
        }
    }

    /// How many scenes there will be, as far as it is known.
    pub fn count(&self, options: &RunOptions) -> usize {
        match self {
            Plan::Scenes(scenes, _) => scenes.len(),
            Plan::Generate(_) => options.scenes as usize * options.repeat as usize,
        }
    }
}

/// The template of a story that is not written yet: its placeholders stay, the inputs that were
/// asked for are set.
///
/// # Errors
/// As of [`Plan::make`]; one line.
pub fn unwritten(options: &RunOptions, template: &WorkflowSource) -> Result<Scene, String> {
    let mut workflow = sources::parse(template)?;
    let mut warnings = Vec::new();
    let seed = seed(&mut workflow, options.seed, &mut warnings);
    set(&mut workflow, options)?;
    Ok(Scene {
        id: "template".to_owned(),
        base: "template".to_owned(),
        workflow,
        keyframe: None,
        seed,
        source: template.file.clone(),
        story: None,
        warnings,
    })
}

/// The scenes of a story, in order.
///
/// # Errors
/// One line: a prompt without a place in the template, a node, input or scene that is not there,
/// two scenes of one name.
pub fn scenes_of(
    options: &RunOptions,
    story: &Story,
    template: &WorkflowSource,
) -> Result<Vec<Scene>, String> {
    finished(sources::from_story(story, template, options.repeat)?, options)
}

/// The scenes of one workflow by itself.
#[cfg(any(test, fuzzing))]
pub(super) fn scenes_of_workflow(
    options: &RunOptions,
    flow: &WorkflowSource,
) -> Result<Vec<Scene>, String> {
    finished(sources::from_workflow(flow, options.repeat)?, options)
}

/// Checked, picked out, and with their own inputs set.
fn finished(mut scenes: Vec<Scene>, options: &RunOptions) -> Result<Vec<Scene>, String> {
    refuse_same_names(&scenes)?;
    keep_asked_for(&mut scenes, &options.scene_filter)?;
    for scene in &mut scenes {
        let named = |why| format!("scene {}: {why}", scene.id);
        scene.seed = seed(&mut scene.workflow, options.seed, &mut scene.warnings);
        set(&mut scene.workflow, options).map_err(named)?;
    }
    Ok(scenes)
}

/// The inputs that were asked for.
fn set(workflow: &mut Workflow, options: &RunOptions) -> Result<(), String> {
    options.set.iter().try_for_each(|set| {
        let Assignment { node, input, value } = set;
        workflow.set_input(node, input, value).map_err(|why| format!("--set {node}.{input}: {why}"))
    })
}

/// Folders are named after scenes, and Windows folds case.
fn refuse_same_names(scenes: &[Scene]) -> Result<(), String> {
    let mut seen = HashSet::new();
    for scene in scenes {
        if !seen.insert(scene.id.to_ascii_lowercase())
            && let Some(other) = scenes.iter().find(|it| it.id.eq_ignore_ascii_case(&scene.id))
        {
            let (one, two) = (other.source.display(), scene.source.display());
            let files = if other.source == scene.source {
                String::new()
            } else {
                format!(" ({one}, {two})")
            };
            return Err(format!(
                "two scenes have the name {}{files}: each needs one of its own",
                other.id
            ));
        }
    }
    Ok(())
}

fn keep_asked_for(scenes: &mut Vec<Scene>, filter: &[String]) -> Result<(), String> {
    if filter.is_empty() {
        return Ok(());
    }
    let mut ids: Vec<String> = scenes.iter().map(|scene| scene.base.clone()).collect();
    ids.dedup();
    // As the file or the story has it, or as the run calls it.
    let filter: Vec<String> = filter.iter().map(|wanted| scene_id(wanted)).collect();
    for wanted in &filter {
        if !ids.contains(wanted) {
            let near = nearest(wanted, ids.iter().map(String::as_str))
                .map(|near| format!(" (did you mean '{near}'?)"))
                .unwrap_or_default();
            return Err(format!(
                "--scene-filter: no scene '{}'{near}; there are {}",
                sanitize_line(wanted),
                ids.join(", ")
            ));
        }
    }
    scenes.retain(|scene| filter.contains(&scene.base));
    Ok(())
}

/// One seed a scene, kept over its retries. A placeholder has no seed to keep: it gets a random
/// one.
fn seed(workflow: &mut Workflow, wanted: Seed, warnings: &mut Vec<String>) -> Option<u64> {
    let placeholder = workflow.has_seed_placeholder();
    let value = match wanted {
        Seed::Fixed(value) => value,
        Seed::Random => random_seed(),
        Seed::Keep if placeholder => random_seed(),
        Seed::Keep => return None,
    };
    workflow.replace_seed_placeholder(value);
    if wanted != Seed::Keep && workflow.set_seeds(value) == 0 && !placeholder {
        warnings
            .push("the seed finds no place: no node has a seed or noise_seed of its own".into());
        return None;
    }
    Some(value)
}
