//! The script's side of a run: the project's helper scripts, its story, and the language models
//! that leave the card. What fails here is a warning; without a story the run ends.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::context::{RunContext, RunError};
use super::plan;
use crate::console::LiveRow;
use crate::exit_code::Exit;
use crate::interrupt::Interrupted;
use crate::process::{self, Ended};
use crate::project::helpers::{HELPERS, Helper, HelperFiles, Phase, scripts, told};
use crate::project::story::Story;
use crate::project::workflow_source::WorkflowSource;
use crate::project::{generator, llm, lm_studio};
use crate::sanitize::sanitize_line;

impl RunContext<'_> {
    /// Whether `ProjectRoot` has a `scripts` folder.
    pub(super) fn has_scripts(&self) -> bool {
        scripts(&self.options.project_root).is_dir()
    }

    /// The helpers that come before the story.
    pub(super) fn preflight(&mut self) -> Result<(), Interrupted> {
        if self.has_scripts() {
            self.events.console.header("STEP 0: Preflight (Mappings + ComfyUI Status)");
            let files = HelperFiles::of(&self.folder);
            let outputs =
                [("Step 0: Mapping preflight", files.preflight), ("ComfyUI status", files.status)];
            let helpers = HELPERS.iter().filter(|helper| helper.phase == Phase::Preflight);
            for (helper, (name, (summary, log))) in helpers.zip(outputs) {
                if self.helper(helper)?.is_some() {
                    self.events.console.log(&format!("{name} summary: {}", told(&summary)));
                    self.events.console.log(&format!("{name} log: {}", told(&log)));
                }
            }
        }
        let base = self.options.server.url.base();
        self.events.console.log(&format!("Using ComfyUI URL: {base}"));
        Ok(())
    }

    /// The helpers of a phase, in order.
    pub(super) fn helpers(&mut self, phase: Phase) -> Result<(), Interrupted> {
        for helper in HELPERS.iter().filter(|helper| helper.phase == phase) {
            let ended = self.helper(helper)?;
            if let (Phase::Validation, Some(Ended::Code(code))) = (phase, ended) {
                self.events.console.log(&format!("{} exitCode={code}", helper.what));
            }
        }
        Ok(())
    }

    /// Runs a helper, and returns how it ended; none where it is not there, or nothing runs it.
    fn helper(&mut self, helper: &Helper) -> Result<Option<Ended>, Interrupted> {
        let (root, what) = (&self.options.project_root, helper.what);
        let script = helper.file(root);
        let name = format!("scripts/{}", helper.script);
        if !script.is_file() {
            self.events.console.log(&format!("{what} skipped: {name} is not there"));
            return Ok(None);
        }
        let mut command = match helper.command(root, &self.folder, self.options.fast_iteration) {
            Ok(command) => command,
            Err(why) => {
                self.events.console.warn(&format!("{what} skipped: {why}"));
                return Ok(None);
            }
        };
        command.env("LOCAL_COMFY_URL", self.options.server.url.base());
        let log = helper.log(&self.folder);
        let ended = self.run_child(command, &log, helper.limit, what, &name)?;
        if let Some(problem) = ended.problem() {
            let log = log.display();
            self.events.console.warn(&format!("{what}: {name}: {problem}; its output: {log}"));
        }
        Ok(Some(ended))
    }

    /// Runs a program to its end, its output in a log, while the live row says what it is.
    fn run_child(
        &mut self,
        command: Command,
        log: &Path,
        limit: Duration,
        what: &str,
        name: &str,
    ) -> Result<Ended, Interrupted> {
        self.events.console.set_live(Some(LiveRow::new(what, name, Some(limit))));
        let mut wait = |time| self.events.wait_then_check(time);
        let ended = process::run(command, log, limit, &mut wait);
        self.events.console.set_live(None);
        ended
    }

    /// The story, generated from its template where there is none yet, and its scenes.
    ///
    /// # Errors
    /// The story's language model does not answer, or the generator gave no story.
    pub(super) fn story(&mut self, template: Option<WorkflowSource>) -> Result<(), RunError> {
        if template.is_none() && self.record.legacy.story.is_none() {
            return Ok(());
        }
        self.begin_story()?;
        if let Some(template) = template {
            let story = self.generate_story()?;
            let (made, asked) = (story.scenes.len(), self.options.scenes as usize);
            if made < asked {
                let plural = if made == 1 { "" } else { "s" };
                let line = format!("the story has {made} scene{plural}, {asked} were asked for");
                self.events.console.warn(&line);
            }
            self.scenes = plan::story_scenes(self.options, &story, &template).map_err(no_story)?;
            self.record.legacy.story = Some(story);
        }
        if let Some(story) = &self.record.legacy.story {
            self.events.console.log_all(&story_lines(story));
        }
        Ok(())
    }

    /// Logs the header, and asks the story's language model whether it answers.
    fn begin_story(&mut self) -> Result<(), RunError> {
        self.events.console.header("STEP 1: Generate Story");
        self.events.check()?;
        let check = llm::check(&self.options.llm, self.clock.now());
        self.events.console.log(&check.to_string());
        let failure = check.failure();
        self.record.legacy.health_check = Some(check);
        failure.map_or(Ok(()), |why| Err(RunError::failed(Exit::Failed, why, "no language model")))
    }

    fn generate_story(&mut self) -> Result<Story, RunError> {
        let options = self.options;
        let idea = self.story_idea();
        if options.llm.local && options.llm.provider.is_none() {
            self.events.console.warn(
                "--use-local-llm without a provider: --local-llm-provider-url URL; the generator decides",
            );
        }
        let output = self.folder.join("story");
        let log = self.folder.join("steps").join("generate-story.log");
        let command = generator::command(
            &options.project_root,
            &output,
            options.scenes,
            &options.llm,
            idea.as_deref(),
        )
        .map_err(no_story)?;
        let ended = self.run_child(command, &log, generator::LIMIT, "story", "")?;
        match generator::problem(&ended, &output, &log) {
            Some(why) => Err(no_story(why)),
            None => Story::load(&output).map_err(no_story),
        }
    }

    /// What a generated story is about, from `CUSTOM_STORY_IDEA`.
    fn story_idea(&mut self) -> Option<OsString> {
        let idea = std::env::var_os("CUSTOM_STORY_IDEA").filter(|idea| !idea.is_empty())?;
        let line = OsString::from(sanitize_line(&idea.to_string_lossy()));
        if cfg!(windows) && line != idea {
            self.events.console.warn(
                "CUSTOM_STORY_IDEA has line breaks, which npx.cmd cannot take: spaces instead",
            );
            return Some(line);
        }
        Some(idea)
    }

    /// Unloads LM Studio's models, so that they leave the card.
    pub(super) fn unload_lm_studio(&mut self) -> Result<(), Interrupted> {
        if !self.has_scripts() {
            return Ok(());
        }
        self.events.console.header("STEP 1.5: Unload LM Studio Model");
        let log = self.folder.join("steps").join("lms-unload.log");
        let RunContext { client, events, options, .. } = self;
        let gpu = options.sampling.gpu;
        let free = || client.system_stats().ok()?.devices.get(gpu)?.memory?.free;
        let mut wait = |time| events.wait_then_check(time);
        let lines = lm_studio::unload(&options.llm, &log, free, &mut wait)?;
        self.events.console.log_all(&lines);
        Ok(())
    }
}

fn no_story(why: String) -> RunError {
    RunError::failed(Exit::Failed, why, "no story")
}

fn story_lines(story: &Story) -> Vec<String> {
    let mut lines = vec![format!("Story ready: {} (scenes={})", story.id, story.scenes.len())];
    let vision = story.directors_vision.as_ref();
    lines.extend(vision.map(|vision| format!("Director's vision: {vision}")));
    lines.extend(story.logline.as_ref().map(|logline| format!("Story logline: {logline}")));
    lines.push(format!("Story LLM status: {}", story.llm_status()));
    lines.extend(story.warnings.iter().map(|warning| format!("WARNING: story: {warning}")));
    lines
}
