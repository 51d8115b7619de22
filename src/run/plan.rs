//! From what was asked for to the scenes of the run, every graph patched. Nothing is sent. A file in
//! the editor's format is a scene without a graph until the server has described its classes.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use time::{OffsetDateTime, PrimitiveDateTime};

use crate::cli::{Assignment, RunOptions, Seed, is_workflow_name};
use crate::comfyui::editor_format::Environment;
use crate::comfyui::{
    KEYFRAME_PLACEHOLDER, ObjectInfo, ScenePrompts, SetError, Workflow, random_seed,
};
use crate::fs::names_in;
use crate::project::generator;
use crate::project::story::{Story, StoryScene};
use crate::project::workflow_source::WorkflowSource;
use crate::sanitize::{first_of, sanitize_line, scene_id};
use crate::suggest::nearest;

/// One scene, ready to be sent.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// Letters, digits and `._-`; no other scene of the run has it, in whatever case.
    pub id: String,
    /// The id without the number of its repetition.
    pub base: String,
    /// The graph, but for the keyframe's name on the server.
    pub workflow: Workflow,
    /// The image to be uploaded.
    pub keyframe: Option<PathBuf>,
    /// Files to be uploaded, and the inputs that take their names.
    pub uploads: Vec<Upload>,
    /// Inputs that wait for the server's description of their class.
    pub open: Vec<OpenInput>,
    /// The seed that was put in.
    pub seed: Option<u64>,
    /// The workflow file, or the template.
    pub source: PathBuf,
    /// How many repetitions of it come before.
    repetition: u32,
    /// The file was found in a folder: the run does without it where it cannot be converted.
    can_be_left_out: bool,
    /// It is the template of a story that is not written yet: its placeholders stay.
    is_template: bool,
    /// The scene of the story that it was made of.
    pub story: Option<StoryScene>,
    /// What found no place in the graph and can be done without.
    pub warnings: Vec<String>,
}

impl Scene {
    fn new(id: String, base: &str, workflow: Workflow, source: &Path) -> Self {
        Scene { id, base: base.to_owned(), workflow, source: source.to_owned(), ..Scene::default() }
    }
}

/// A local file that an input is set to.
#[derive(Clone, Debug)]
pub struct Upload {
    pub path: PathBuf,
    pub node: String,
    pub input: String,
}

/// An assignment that the file alone does not decide about, and what is wrong by the file.
#[derive(Clone, Debug)]
pub struct OpenInput {
    set: Assignment,
    why: String,
}

/// What a run is made of.
#[derive(Debug, Default)]
pub struct Plan {
    /// The scenes; where a story has to be written first, its template as a scene, to be checked.
    pub scenes: Vec<Scene>,
    /// The story that they are of.
    pub story: Option<Story>,
    /// The template of a story that the project's generator has to write first.
    pub template: Option<WorkflowSource>,
    /// Why files of a folder are left out.
    pub left_out: Vec<String>,
}

impl Plan {
    /// The files that it was read from, and those that are to be uploaded.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = self.story.iter().map(|story| story.file.clone()).collect();
        for scene in &self.scenes {
            files.extend(scene.uploads.iter().map(|upload| upload.path.clone()));
            files.extend(scene.keyframe.clone());
            files.push(scene.source.clone());
        }
        files
    }

    /// What the options ask for.
    ///
    /// # Errors
    /// One line: nothing to run, a file that is no workflow or no story, a prompt without a place, a
    /// node, input or scene that is not there, two scenes of one name.
    pub fn make(options: &RunOptions) -> Result<Self, String> {
        let files = workflow_files(&options.workflows)?;
        match (&options.story, files.as_slice()) {
            (Some(path), files) => {
                let story = Story::load(path)?;
                let template = match files {
                    [] => WorkflowSource::of_project(&options.project_root)
                        .map_err(|why| format!("--story needs a template: {why}"))?,
                    [(file, _)] => WorkflowSource::of_file(file)?,
                    many => {
                        return Err(format!(
                            "--story takes one workflow as the template of all its scenes, not {}",
                            many.len()
                        ));
                    }
                };
                let scenes = story_scenes(options, &story, &template)?;
                Ok(Plan { scenes, story: Some(story), ..Plan::default() })
            }
            (None, []) if generator::script(&options.project_root).is_file() => {
                let template = WorkflowSource::of_project(&options.project_root)?;
                let graph = parse(&template)?;
                let mut scene = Scene::new("template".into(), "template", graph, &template.file);
                scene.is_template = true;
                // What no story could make up for is refused before half an hour is spent on one.
                place(&mut scene).map_err(|why| format!("{}: {why}", template.name))?;
                patch(&mut scene, options, None)?;
                let (scenes, template) = (vec![scene], Some(template));
                Ok(Plan { scenes, template, ..Plan::default() })
            }
            (None, []) => Err(nothing_to_run(options)),
            (None, files) => {
                let (mut scenes, mut wrong, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
                for (file, is_named) in files {
                    let source = WorkflowSource::of_file(file);
                    match source.and_then(|source| from_workflow(&source, options.repeat)) {
                        Ok(mut found) => {
                            for scene in &mut found {
                                scene.can_be_left_out = !is_named;
                            }
                            scenes.append(&mut found);
                        }
                        Err(why) if *is_named => wrong.push(why),
                        Err(why) => left_out.push(why),
                    }
                }
                if scenes.is_empty() {
                    wrong.append(&mut left_out);
                }
                if !wrong.is_empty() {
                    return Err(wrong.join("; "));
                }
                Ok(Plan { scenes: finish(scenes, options)?, left_out, ..Plan::default() })
            }
        }
    }

    /// How many scenes there will be, as far as it is known.
    pub fn count(&self, options: &RunOptions) -> usize {
        match self.template {
            None => self.scenes.len(),
            Some(_) => options.scenes as usize * options.repeat as usize,
        }
    }
}

/// The scenes of a story, in order.
///
/// # Errors
/// One line: a prompt without a place in the template, a node, input or scene that is not there,
/// two scenes of one name.
pub fn story_scenes(
    options: &RunOptions,
    story: &Story,
    template: &WorkflowSource,
) -> Result<Vec<Scene>, String> {
    finish(from_story(story, template, options.repeat)?, options)
}

/// The scenes of one workflow by itself.
#[cfg(any(test, fuzzing))]
pub(super) fn workflow_scenes(
    options: &RunOptions,
    source: &WorkflowSource,
) -> Result<Vec<Scene>, String> {
    finish(from_workflow(source, options.repeat)?, options)
}

fn nothing_to_run(options: &RunOptions) -> String {
    let root = &options.project_root;
    let system = root.parent().is_none()
        || root.file_name().is_some_and(|name| name.eq_ignore_ascii_case("system32"));
    let name = root.display();
    let hint = if system && !options.root_given {
        format!(" (started in {name}: a scheduled task also wants --project-root and --logs-dir)")
    } else if options.root_given && workflow_files(std::slice::from_ref(root)).is_ok() {
        format!(
            " ({name} was taken as the project's folder; as a folder of workflows: --workflow {name})"
        )
    } else {
        String::new()
    };
    format!(
        "nothing to run: give a workflow (flow.json, or a picture or video that holds one) or \
         a folder of them (--workflow FOLDER), a story with its template \
         (--story story.json --workflow flow.json), or a project with a story generator \
         (scripts/generate-story-scenes.ts){hint}"
    )
}

/// The files that were given, and those of the folders that may hold a workflow; whether a file was
/// named itself.
fn workflow_files(given: &[PathBuf]) -> Result<Vec<(PathBuf, bool)>, String> {
    let mut files = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push((path.clone(), true));
            continue;
        }
        let names = names_in(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let before = files.len();
        // Not what begins with a dot: a run's own state may lie there.
        let shown = names.into_iter().filter(|name| !name.as_encoded_bytes().starts_with(b"."));
        let found = shown.map(|name| path.join(name)).filter(|path| is_workflow_name(path));
        files.extend(found.map(|path| (path, false)));
        if files.len() == before {
            return Err(format!(
                "{}: no workflow, picture or video in this folder",
                path.display()
            ));
        }
    }
    Ok(files)
}

fn parse(source: &WorkflowSource) -> Result<Workflow, String> {
    let name = &source.name;
    Workflow::parse(&source.text).map_err(|why| {
        if why.starts_with("a story") {
            format!("{name} is {why}")
        } else {
            format!("{name}: {why}")
        }
    })
}

/// A scene so many times, each with an id of its own, which is that of the scene where it is run once.
fn repeated(
    base: &str,
    graph: &Workflow,
    source: &WorkflowSource,
    story: Option<&StoryScene>,
    times: u32,
) -> Result<Vec<Scene>, String> {
    let scene = |repetition| {
        let id = match times {
            1 => base.to_owned(),
            _ => format!("{base}-r{}", repetition + 1),
        };
        let mut scene = Scene::new(id, base, graph.clone(), &source.file);
        scene.repetition = repetition;
        scene.story = story.cloned();
        place(&mut scene).map_err(|why| format!("{}: {why}", source.name))?;
        Ok(scene)
    };
    (0..times).map(scene).collect()
}

fn from_workflow(source: &WorkflowSource, times: u32) -> Result<Vec<Scene>, String> {
    let base = scene_id(&source.file.file_stem().unwrap_or_default().to_string_lossy());
    repeated(&base, &parse(source)?, source, None, times)
}

fn from_story(story: &Story, template: &WorkflowSource, times: u32) -> Result<Vec<Scene>, String> {
    let graph = parse(template)?;
    let mut scenes = Vec::new();
    for scene in &story.scenes {
        scenes.extend(repeated(&scene_id(&scene.id), &graph, template, Some(scene), times)?);
    }
    Ok(scenes)
}

/// Puts the scene of the story into its graph, without one its id, if there is a graph already. A
/// template is only tried.
fn place(scene: &mut Scene) -> Result<(), String> {
    let Scene { id, workflow, story, .. } = scene;
    if workflow.is_drawn() {
        return Ok(());
    }
    if scene.is_template {
        let prompts = ScenePrompts { scene: id, prompt: "", negative: "" };
        return workflow.clone().insert_prompts(prompts).map(drop);
    }
    let Some(story) = story else { return workflow.insert_scene_id(id) };
    let prompts = ScenePrompts { scene: id, prompt: &story.prompt, negative: &story.negative };
    scene.warnings.extend(workflow.insert_prompts(prompts)?);
    if story.keyframe.is_none() && scene.workflow.needs_keyframe() {
        let id = sanitize_line(&story.id);
        return Err(format!(
            "it holds __KEYFRAME_IMAGE__, and scene '{id}' of the story has no keyframePath"
        ));
    }
    scene.keyframe = story.keyframe.clone().filter(|_| scene.workflow.has_keyframe_input());
    if scene.keyframe.is_none() && story.keyframe.is_some() {
        scene.warnings.push(
            "the keyframe finds no place in the workflow: it has no LoadImage and no __KEYFRAME_IMAGE__"
                .into(),
        );
    }
    Ok(())
}

/// Checks the names, keeps what `SceneFilter` asks for, and puts `Seed` and `Set` in.
fn finish(mut scenes: Vec<Scene>, options: &RunOptions) -> Result<Vec<Scene>, String> {
    refuse_same_names(&scenes)?;
    keep_filtered(&mut scenes, &options.scene_filter)?;
    for scene in &mut scenes {
        patch(scene, options, None).map_err(|why| format!("scene {}: {why}", scene.id))?;
        warn_of_literal_names(scene);
    }
    Ok(scenes)
}

/// Puts `Seed` and `Set` into the graph of a scene, if there is one already.
fn patch(
    scene: &mut Scene,
    options: &RunOptions,
    object_info: Option<&ObjectInfo>,
) -> Result<(), String> {
    if scene.workflow.is_drawn() {
        return Ok(());
    }
    set_seed(scene, options.seed);
    set_inputs(scene, options, object_info)
}

fn set_inputs(
    scene: &mut Scene,
    options: &RunOptions,
    object_info: Option<&ObjectInfo>,
) -> Result<(), String> {
    for set in &options.set {
        let Assignment { node, input, value } = set;
        let (value, file) = match value.strip_prefix('@') {
            Some(text) if text.starts_with('@') => (text, None),
            Some(path) => (KEYFRAME_PLACEHOLDER, Some(PathBuf::from(path))),
            None => (value.as_str(), None),
        };
        let named = |why: String| format!("--set {node}.{input}: {why}");
        match scene.workflow.set_input(node, input, value, object_info) {
            Ok(()) => {}
            Err(SetError::Refused(why)) => return Err(named(why)),
            Err(SetError::Open(why)) => {
                let set = Assignment { value: value.to_owned(), ..set.clone() };
                scene.open.push(OpenInput { set, why: named(why) });
            }
        }
        if let Some(path) = file {
            if !path.is_file() {
                let path = path.display();
                return Err(named(format!("no file {path} (a text that begins with @: @@)")));
            }
            let (node, input) = (node.clone(), input.clone());
            scene.uploads.push(Upload { path, node, input });
        }
    }
    Ok(())
}

/// Whether a scene waits for the server's description of its classes.
pub fn are_open(scenes: &[Scene]) -> bool {
    scenes.iter().any(|scene| scene.workflow.is_drawn() || !scene.open.is_empty())
}

/// The classes that have to be known for what is still open.
pub fn open_classes(scenes: &[Scene]) -> BTreeSet<&str> {
    let mut classes = BTreeSet::new();
    for Scene { workflow, open, .. } in scenes {
        if workflow.is_drawn() {
            classes.extend(workflow.classes());
        }
        classes.extend(open.iter().filter_map(|open| workflow.class_of(&open.set.node)));
    }
    classes
}

/// What is wrong with an input by the file alone; none where nothing is open.
pub fn wrong_by_the_file(scenes: &[Scene]) -> Option<String> {
    let open = |scene: &Scene| Some(format!("scene {}: {}", scene.id, scene.open.first()?.why));
    scenes.iter().find_map(open)
}

/// Does what only the server's description of the classes decides about: converts the scenes that
/// are in the editor's format, and sets the inputs that are open. Returns why scenes of a folder's
/// files are taken out.
///
/// # Errors
/// One line: the nodes that cannot be converted, an input that its class does not have, or that
/// takes no such value.
pub fn complete(
    scenes: &mut Vec<Scene>,
    options: &RunOptions,
    object_info: &ObjectInfo,
    now: OffsetDateTime,
) -> Result<Vec<String>, String> {
    let now = PrimitiveDateTime::new(now.date(), now.time());
    let (mut wrong, mut left_out) = (Vec::new(), Vec::new());
    scenes.retain_mut(|scene| {
        let is_drawn = scene.workflow.is_drawn();
        if is_drawn && let Err(why) = convert(scene, object_info, now) {
            let why = format!("{}: {why}", scene.source.display());
            if scene.can_be_left_out { &mut left_out } else { &mut wrong }.push(why);
            return !scene.can_be_left_out;
        }
        let set = if is_drawn {
            patch(scene, options, Some(object_info))
        } else {
            set_open_inputs(scene, object_info)
        };
        // One is enough: each scene may have the same.
        let why = set.err().filter(|_| wrong.is_empty());
        wrong.extend(why.map(|why| format!("scene {}: {why}", scene.id)));
        true
    });
    if scenes.is_empty() {
        wrong.append(&mut left_out);
    }
    // So has each repetition.
    wrong.dedup();
    left_out.dedup();
    if wrong.is_empty() { Ok(left_out) } else { Err(wrong.join("; ")) }
}

/// Makes the graph of a scene that has none, and puts the scene into it.
fn convert(
    scene: &mut Scene,
    object_info: &ObjectInfo,
    now: PrimitiveDateTime,
) -> Result<(), String> {
    let environment = Environment { now, random: &random_seed, repetition: scene.repetition };
    let more = |more| format!("and {more} more");
    let converted = scene.workflow.convert(object_info, environment);
    scene.warnings.extend(converted.map_err(|lines| first_of(lines, 20, more))?);
    place(scene)
}

/// Sets the inputs that are open.
fn set_open_inputs(scene: &mut Scene, object_info: &ObjectInfo) -> Result<(), String> {
    for OpenInput { set, .. } in std::mem::take(&mut scene.open) {
        let Assignment { node, input, value } = &set;
        if let Err(SetError::Refused(why) | SetError::Open(why)) =
            scene.workflow.set_input(node, input, value, Some(object_info))
        {
            return Err(format!("--set {node}.{input}: {why}"));
        }
    }
    Ok(())
}

/// What the editor replaces in a file's name before it queues a prompt, and the server does not.
fn warn_of_literal_names(scene: &mut Scene) {
    if scene.workflow.has_date_in_name() {
        let warning = "its filename_prefix holds %date:…%, which only the editor replaces: the files \
                       are called so (on Windows saving fails); --set NODE.filename_prefix=NAME";
        scene.warnings.push(warning.into());
    }
}

/// Folders are named after scenes, and Windows folds case.
fn refuse_same_names(scenes: &[Scene]) -> Result<(), String> {
    let mut seen = HashMap::new();
    for scene in scenes {
        if let Some(Scene { id, source, .. }) = seen.insert(scene.id.to_lowercase(), scene) {
            let mut files = String::new();
            if *source != scene.source {
                files = format!(" ({}, {})", source.display(), scene.source.display());
            }
            return Err(format!("two scenes have the name {id}{files}: each needs one of its own"));
        }
    }
    Ok(())
}

fn keep_filtered(scenes: &mut Vec<Scene>, filter: &[String]) -> Result<(), String> {
    if filter.is_empty() {
        return Ok(());
    }
    let mut ids: Vec<String> = scenes.iter().map(|scene| scene.base.clone()).collect();
    ids.dedup();
    // As the file or the story has it, or as the run calls it.
    let filter: Vec<String> = filter.iter().map(|wanted| scene_id(wanted)).collect();
    if let Some(wanted) = filter.iter().find(|wanted| !ids.contains(wanted)) {
        let near = nearest(wanted, ids.iter().map(String::as_str))
            .map(|near| format!(" (did you mean '{near}'?)"))
            .unwrap_or_default();
        return Err(format!(
            "--scene-filter: no scene '{}'{near}; there are {}",
            sanitize_line(wanted),
            ids.join(", ")
        ));
    }
    scenes.retain(|scene| filter.contains(&scene.base));
    Ok(())
}

/// Puts one seed into the scene's graph, kept over its retries. A `__SEED__` placeholder has no seed
/// to keep: it gets a random one.
fn set_seed(scene: &mut Scene, wanted: Seed) {
    let workflow = &mut scene.workflow;
    let placeholder = workflow.has_seed_placeholder();
    let value = match wanted {
        Seed::Fixed(value) => value,
        Seed::Keep if !placeholder => return,
        // 48 bits: exact wherever a node or a browser reads it as a double.
        Seed::Random | Seed::Keep => random_seed(),
    };
    workflow.replace_seed_placeholder(value);
    if wanted != Seed::Keep && workflow.set_seeds(value) == 0 && !placeholder {
        let warning = "the seed finds no place: no node has a seed or noise_seed of its own";
        scene.warnings.push(warning.into());
        return;
    }
    scene.seed = Some(value);
}
