//! The project's side of a run: its helper scripts, its story, and the language models that have
//! to leave the card. What fails here costs a warning; a story that cannot be had ends the run.

use std::path::PathBuf;
use std::time::Instant;

use super::Run;
use super::plan::{self, Plan};
use super::stop::Stop;
use crate::comfyui::Client;
use crate::console::LiveRow;
use crate::exit_code::Exit;
use crate::interrupt::Interrupted;
use crate::process::{self, Ended};
use crate::project::generator::{self, Generator};
use crate::project::helpers::{HelperFiles, Phase, Places, STEPS, Step, scripts};
use crate::project::story::Story;
use crate::project::workflow_source::WorkflowSource;
use crate::project::{llm, lm_studio};
use crate::sanitize::sanitize_line;

impl Run<'_> {
    /// Whether the project's folder is that of a project with scripts.
    pub(super) fn has_scripts(&self) -> bool {
        scripts(&self.options.project_root).is_dir()
    }

    /// What comes before the story.
    pub(super) fn preflight(&mut self) -> Result<(), Interrupted> {
        if self.has_scripts() {
            self.events.console.header("STEP 0: Preflight (Mappings + ComfyUI Status)");
            let files = HelperFiles::of(&self.folder);
            let told =
                [("Step 0: Mapping preflight", files.preflight), ("ComfyUI status", files.status)];
            let steps = STEPS.iter().filter(|step| step.phase == Phase::Preflight);
            for (step, (name, (summary, log))) in steps.zip(told) {
                if self.step(step)?.is_some() {
                    self.events.console.log(&format!("{name} summary: {}", summary.display()));
                    self.events.console.log(&format!("{name} log: {}", log.display()));
                }
            }
        }
        let base = self.options.server.url.base();
        self.events.console.log(&format!("Using ComfyUI URL: {base}"));
        Ok(())
    }

    /// The helpers of a phase, under its header.
    pub(super) fn helpers(&mut self, phase: Phase, header: &str) -> Result<(), Interrupted> {
        self.events.console.header(header);
        self.helpers_of(phase)
    }

    /// The helpers of a phase.
    pub(super) fn helpers_of(&mut self, phase: Phase) -> Result<(), Interrupted> {
        for step in STEPS.iter().filter(|step| step.phase == phase) {
            let ended = self.step(step)?;
            if let (Phase::Validation, Some(Ended::Code(code))) = (phase, ended) {
                self.events.console.log(&format!("{} exitCode={code}", step.what));
            }
        }
        Ok(())
    }

    /// Runs a helper: how it ended; none where it is not there, or nothing runs it.
    fn step(&mut self, step: &Step) -> Result<Option<Ended>, Interrupted> {
        let Run { options, events, folder, .. } = self;
        let (root, what) = (&options.project_root, step.what);
        let script = step.file(root);
        let name = format!("scripts/{}", step.script);
        if !script.is_file() {
            events.console.log(&format!("{what} skipped: {name} is not there"));
            return Ok(None);
        }
        let mut command = match step.runner.command(root, &script) {
            Ok(command) => command,
            Err(why) => {
                events.console.warn(&format!("{what} skipped: {why}"));
                return Ok(None);
            }
        };
        command.args(step.words(Places { root, run: folder, fast: options.fast_iteration }));
        command.env("LOCAL_COMFY_URL", options.server.url.base());
        events.console.set_live(Some(LiveRow {
            what: what.to_owned(),
            scene: name.clone(),
            since: Instant::now(),
            of: Some(step.limit),
        }));
        let log = step.log(folder);
        let ended =
            process::run(command, &log, step.limit, &mut |time| events.wait_then_check(time));
        events.console.set_live(None);
        let ended = ended?;
        let trouble = match &ended {
            Ended::Code(0) => None,
            Ended::Code(code) => Some(format!("exit code {code}")),
            Ended::TimedOut => {
                Some(format!("ended after {} min, with all it started", step.limit.as_secs() / 60))
            }
            Ended::NotStarted(error) => Some(format!("it does not start: {error}")),
        };
        if let Some(trouble) = trouble {
            let log = log.display();
            events.console.warn(&format!("{what}: {name}: {trouble}; its output: {log}"));
        }
        Ok(Some(ended))
    }

    /// The story, generated where there is none yet, and the scenes of it.
    pub(super) fn story(&mut self, plan: Plan) -> Result<(), Stop> {
        let failed = |why| Stop::Failed { exit: Exit::Failed, why, skipped: "no story" };
        let (scenes, story) = match plan {
            Plan::Scenes(scenes, None) => {
                self.scenes = scenes;
                return Ok(());
            }
            Plan::Scenes(scenes, Some(story)) => {
                self.begin_story()?;
                (scenes, story)
            }
            Plan::Generate(template) => {
                self.begin_story()?;
                let story = self.generate_story()?.map_err(failed)?;
                (self.scenes_of(&story, &template).map_err(failed)?, story)
            }
        };
        let lines = lines(&story);
        self.events.console.log_all(&lines);
        self.scenes = scenes;
        self.record.legacy.story = Some(story);
        Ok(())
    }

    /// The header, and whether the story's language model answers.
    fn begin_story(&mut self) -> Result<(), Stop> {
        self.events.console.header("STEP 1: Generate Story");
        self.events.check()?;
        let check = llm::check(&self.options.llm, self.clock.now());
        self.events.console.log(&check.to_string());
        let failure = check.failure();
        self.record.legacy.health_check = Some(check);
        match failure {
            Some(why) => {
                let (exit, skipped) = (Exit::Failed, "no language model");
                Err(Stop::Failed { exit, why, skipped })
            }
            None => Ok(()),
        }
    }

    fn generate_story(&mut self) -> Result<Result<Story, String>, Interrupted> {
        let Run { options, events, folder, .. } = self;
        let mut idea = std::env::var_os("CUSTOM_STORY_IDEA").filter(|idea| !idea.is_empty());
        if let Some(text) = idea.as_mut().filter(|_| cfg!(windows)) {
            let line = sanitize_line(&text.to_string_lossy());
            if *text != *line {
                events.console.log(
                    "WARNING: CUSTOM_STORY_IDEA has line breaks, which npx.cmd cannot take: spaces instead",
                );
                *text = line.into();
            }
        }
        let generator = Generator {
            root: &options.project_root,
            scenes: options.scenes,
            llm: &options.llm,
            idea,
        };
        if options.llm.local && options.llm.provider.is_none() {
            events.console.log(
                "WARNING: -UseLocalLLM without a provider: --local-llm-provider-url URL; the generator decides",
            );
        }
        let (output, log) = (folder.join("story"), folder.join("steps").join("generate-story.log"));
        let command = match generator.command(&output) {
            Ok(command) => command,
            Err(why) => return Ok(Err(why)),
        };
        events.console.set_live(Some(LiveRow {
            what: "story".to_owned(),
            scene: String::new(),
            since: Instant::now(),
            of: Some(generator::LIMIT),
        }));
        let mut pause = |time| events.wait_then_check(time);
        let ended = process::run(command, &log, generator::LIMIT, &mut pause);
        events.console.set_live(None);
        Ok(match Generator::trouble(&ended?, &output, &log) {
            Some(why) => Err(why),
            None => Story::load(&output),
        })
    }

    fn scenes_of(
        &mut self,
        story: &Story,
        template: &WorkflowSource,
    ) -> Result<Vec<plan::Scene>, String> {
        let (made, asked) = (story.scenes.len(), self.options.scenes as usize);
        if made < asked {
            let plural = if made == 1 { "" } else { "s" };
            let line =
                format!("WARNING: the story has {made} scene{plural}, {asked} were asked for");
            self.events.console.log(&line);
        }
        plan::scenes_of(self.options, story, template)
    }

    /// LM Studio's models leave the card.
    pub(super) fn unload(&mut self, client: &Client) -> Result<(), Interrupted> {
        if !self.has_scripts() {
            return Ok(());
        }
        self.events.console.header("STEP 1.5: Unload LM Studio Model");
        let log: PathBuf = self.folder.join("steps").join("lms-unload.log");
        let (gpu, events) = (self.options.sampling.gpu, &mut self.events);
        let free = || client.system_stats().ok()?.devices.get(gpu)?.memory?.free;
        let mut pause = |time| events.wait_then_check(time);
        let unload = lm_studio::unload(&self.options.llm, &log, free, &mut pause)?;
        self.events.console.log_all(&unload.lines());
        Ok(())
    }
}

/// What is told of a story.
fn lines(story: &Story) -> Vec<String> {
    let mut lines = vec![format!("Story ready: {} (scenes={})", story.id, story.scenes.len())];
    let vision = story.directors_vision.as_ref();
    lines.extend(vision.map(|vision| format!("Director's vision: {vision}")));
    lines.extend(story.logline.as_ref().map(|logline| format!("Story logline: {logline}")));
    lines.push(format!("Story LLM status: {}", story.llm_status()));
    lines.extend(story.warnings.iter().map(|warning| format!("WARNING: story: {warning}")));
    lines
}
