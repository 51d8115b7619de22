//! From what was asked for to the scenes of the run, every graph patched. Nothing is sent.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::comfyui::{Texts, Workflow, ids};
use crate::nearest::nearest;
use crate::options::{RunOptions, Seed};
use crate::project::story::{Story, StoryScene};
use crate::text::{clean, scene_id};

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

/// The scenes that the options ask for, in order.
///
/// # Errors
/// One line: nothing to run, a file that is no workflow or no story, a node, input or scene that
/// is not there, two scenes of one name.
pub fn scenes(options: &RunOptions) -> Result<Vec<Scene>, String> {
    let files = workflow_files(&options.workflows)?;
    let mut scenes = match (&options.story, files.as_slice()) {
        (None, []) => return Err(nothing_to_run(options)),
        (Some(story), [template]) => from_story(story, template, options.repeat)?,
        (Some(_), []) => {
            return Err("--story needs the workflow that is its template: --workflow FILE".into());
        }
        (Some(_), many) => {
            return Err(format!(
                "--story takes one workflow as the template of all its scenes, not {}",
                many.len()
            ));
        }
        (None, files) => {
            let scenes = files.iter().map(|file| from_file(file, options.repeat));
            scenes.collect::<Result<Vec<_>, _>>()?.concat()
        }
    };
    refuse_same_names(&scenes)?;
    keep_asked_for(&mut scenes, &options.scene_filter)?;
    for scene in &mut scenes {
        let named = |why| format!("scene {}: {why}", scene.id);
        scene.seed = seed(&mut scene.workflow, options.seed, &mut scene.warnings);
        for set in &options.set {
            scene
                .workflow
                .set(&set.node, &set.input, &set.value)
                .map_err(|why| named(format!("--set {}.{}: {why}", set.node, set.input)))?;
        }
    }
    Ok(scenes)
}

fn nothing_to_run(options: &RunOptions) -> String {
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
        "nothing to run: give a workflow (flow.json, exported with menu Workflow, Export (API)), \
         a folder of them (--workflow FOLDER), or a story with its template \
         (--story story.json --workflow flow.json){hint}"
    )
}

fn holds_json(folder: &Path) -> bool {
    workflow_files(&[folder.to_owned()]).is_ok()
}

fn workflow_files(given: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut found: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")))
            .collect();
        if found.is_empty() {
            return Err(format!("{}: no .json file in this folder", path.display()));
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

fn load(file: &Path) -> Result<Workflow, String> {
    let named = |why: String| format!("{}: {why}", file.display());
    let text = fs::read_to_string(file).map_err(|error| named(error.to_string()))?;
    Workflow::parse(&text).map_err(|why| {
        // A sentence of its own, since most people meet it once.
        if why.starts_with("the editor's format") || why.starts_with("a story") {
            format!("{} is {why}", file.display())
        } else {
            named(why)
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

fn from_file(file: &Path, times: u32) -> Result<Vec<Scene>, String> {
    let graph = load(file)?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let base = scene_id(&stem);
    let scene = |id: String| {
        let mut workflow = graph.clone();
        workflow.place_without_story(&id).map_err(|why| format!("{}: {why}", file.display()))?;
        Ok(Scene {
            id,
            base: base.clone(),
            workflow,
            keyframe: None,
            seed: None,
            source: file.to_owned(),
            story: None,
            warnings: Vec::new(),
        })
    };
    repeated(&base, times).into_iter().map(scene).collect()
}

fn from_story(path: &Path, template: &Path, times: u32) -> Result<Vec<Scene>, String> {
    let story = Story::load(path)?;
    let template_graph = load(template)?;
    let mut scenes = Vec::new();
    let each = story.scenes.iter().flat_map(|scene| {
        let base = scene_id(&scene.id);
        repeated(&base, times).into_iter().map(move |id| (scene, base.clone(), id))
    });
    for (scene, base, id) in each {
        let mut workflow = template_graph.clone();
        let texts = Texts { scene: &id, prompt: &scene.prompt, negative: &scene.negative };
        let mut warnings =
            workflow.place(texts).map_err(|why| format!("{}: {why}", template.display()))?;
        if scene.keyframe.is_none() && workflow.demands_keyframe() {
            return Err(format!(
                "{}: it holds __KEYFRAME_IMAGE__, and scene '{}' of the story has no keyframePath",
                template.display(),
                clean(&scene.id)
            ));
        }
        let keyframe = scene.keyframe.clone().filter(|_| workflow.takes_keyframe());
        if keyframe.is_none() && scene.keyframe.is_some() {
            warnings.push(
                "the keyframe finds no place in the workflow: it has no LoadImage and no __KEYFRAME_IMAGE__"
                    .into(),
            );
        }
        let source = template.to_owned();
        let story = Some(scene.clone());
        scenes.push(Scene { id, base, workflow, keyframe, seed: None, source, story, warnings });
    }
    Ok(scenes)
}

/// Folders are named after scenes, and Windows folds case.
fn refuse_same_names(scenes: &[Scene]) -> Result<(), String> {
    let mut seen = HashMap::new();
    for scene in scenes {
        if let Some(other) = seen.insert(scene.id.to_ascii_lowercase(), scene) {
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
                clean(wanted),
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
    let placeholder = workflow.wants_seed();
    let value = match wanted {
        Seed::Fixed(value) => value,
        // 48 bits: exact wherever a node or a browser reads it as a double.
        Seed::Random => ids::random() >> 16,
        Seed::Keep if placeholder => ids::random() >> 16,
        Seed::Keep => return None,
    };
    workflow.fill_seed(value);
    if wanted != Seed::Keep && workflow.seed(value) == 0 && !placeholder {
        warnings
            .push("the seed finds no place: no node has a seed or noise_seed of its own".into());
        return None;
    }
    Some(value)
}
