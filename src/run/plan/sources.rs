//! Where scenes come from: workflow files, or a story and its template.

use std::path::{Path, PathBuf};

use super::Scene;
use crate::cli::RunOptions;
use crate::comfyui::{ScenePrompts, Workflow};
use crate::fs::names_in;
use crate::project::story::Story;
use crate::project::workflow_source::WorkflowSource;
use crate::sanitize::{sanitize_line, scene_id};

pub(super) fn nothing_to_run(options: &RunOptions) -> String {
    let root = &options.project_root;
    let system = root.parent().is_none()
        || root.file_name().is_some_and(|name| name.eq_ignore_ascii_case("system32"));
    let hint = if system && !options.root_given {
        format!(
            " (started in {}: a scheduled task also wants --project-root and --logs-dir)",
            root.display()
        )
    } else if options.root_given && holds_json(root) {
        format!(
            " ({} was taken as the project's folder; as a folder of workflows: --workflow {0})",
            root.display()
        )
    } else {
        String::new()
    };
    format!(
        "nothing to run: give a workflow (flow.json, exported with menu Workflow, Export (API)) or \
         a folder of them (--workflow FOLDER), a story with its template \
         (--story story.json --workflow flow.json), or a project with a story generator \
         (scripts/generate-story-scenes.ts){hint}"
    )
}

fn holds_json(folder: &Path) -> bool {
    workflow_files(&[folder.to_owned()]).is_ok()
}

pub(super) fn workflow_files(given: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let names = names_in(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let before = files.len();
        // Not what begins with a dot: a run's own state may lie there.
        let shown = names.into_iter().filter(|name| !name.as_encoded_bytes().starts_with(b"."));
        let found = shown.map(|name| path.join(name));
        files.extend(found.filter(|path| {
            path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
        }));
        if files.len() == before {
            return Err(format!("{}: no .json file in this folder", path.display()));
        }
    }
    Ok(files)
}

/// The graph of a template, or of a file.
pub(super) fn parse(template: &WorkflowSource) -> Result<Workflow, String> {
    let name = &template.name;
    Workflow::parse(&template.text).map_err(|why| {
        // A sentence of its own, since most people meet it once.
        if why.starts_with("the editor's format") || why.starts_with("a story") {
            format!("{name} is {why}")
        } else {
            format!("{name}: {why}")
        }
    })
}

/// The ids of a scene that is run so many times; of one that is run once its own.
fn repeated(base: &str, times: u32) -> Vec<String> {
    match times {
        1 => vec![base.to_owned()],
        times => (1..=times).map(|time| format!("{base}-r{time}")).collect(),
    }
}

pub(super) fn from_workflow(flow: &WorkflowSource, times: u32) -> Result<Vec<Scene>, String> {
    let (graph, file) = (parse(flow)?, &flow.file);
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let base = scene_id(&stem);
    let scene = |id: String| {
        let mut workflow = graph.clone();
        workflow.insert_scene_id(&id).map_err(|why| format!("{}: {why}", file.display()))?;
        Ok(Scene {
            id,
            base: base.clone(),
            workflow,
            keyframe: None,
            seed: None,
            source: file.clone(),
            story: None,
            warnings: Vec::new(),
        })
    };
    repeated(&base, times).into_iter().map(scene).collect()
}

pub(super) fn from_story(
    story: &Story,
    template: &WorkflowSource,
    times: u32,
) -> Result<Vec<Scene>, String> {
    let template_graph = parse(template)?;
    let mut scenes = Vec::new();
    let each = story.scenes.iter().flat_map(|scene| {
        let base = scene_id(&scene.id);
        repeated(&base, times).into_iter().map(move |id| (scene, base.clone(), id))
    });
    for (scene, base, id) in each {
        let mut workflow = template_graph.clone();
        let texts = ScenePrompts { scene: &id, prompt: &scene.prompt, negative: &scene.negative };
        let mut warnings =
            workflow.insert_prompts(texts).map_err(|why| format!("{}: {why}", template.name))?;
        if scene.keyframe.is_none() && workflow.needs_keyframe() {
            return Err(format!(
                "{}: it holds __KEYFRAME_IMAGE__, and scene '{}' of the story has no keyframePath",
                template.name,
                sanitize_line(&scene.id)
            ));
        }
        let keyframe = scene.keyframe.clone().filter(|_| workflow.has_keyframe_input());
        if keyframe.is_none() && scene.keyframe.is_some() {
            warnings.push(
                "the keyframe finds no place in the workflow: it has no LoadImage and no __KEYFRAME_IMAGE__"
                    .into(),
            );
        }
        let source = template.file.clone();
        let story = Some(scene.clone());
        scenes.push(Scene { id, base, workflow, keyframe, seed: None, source, story, warnings });
    }
    Ok(scenes)
}
