//! A dry run: graphs are loaded, patched and checked against the server's `/object_info`.
//! Nothing is uploaded or posted; no folder, no lock and no state file is made.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::banner;
use super::connect::{connect, no_server};
use super::context::RunError;
use super::events::EventLoop;
use super::plan::{self, Plan};
use crate::cli::{RunOptions, Seed};
use crate::clock::Clock;
use crate::comfyui::{Client, KEYFRAME_PLACEHOLDER, ObjectInfo, SystemStats};
use crate::console::{Output, Terminal, print_document};
use crate::exit_code::Exit;
use crate::report::legacy::slashes;
use crate::sanitize::{json_text, sanitize_line};

/// Prints what the server lacks of each scene of the plan. Returns 0 if nothing is lacking, 1 if a
/// scene would be rejected at least in part, 3 without a server, 130 after an interrupt.
pub(super) fn run(
    options: &RunOptions,
    plan: Plan,
    clock: Clock,
    events: EventLoop,
    object_info: ObjectInfo,
) -> Exit {
    let count = plan.count(options);
    let mut dry = Dry { options, clock, object_info, plan, server: None };
    let (lacking, exit, why) = match dry.check(events) {
        Ok(lacking) if lacking.iter().all(Vec::is_empty) => (Some(lacking), Exit::Success, None),
        Ok(lacking) => (Some(lacking), Exit::Failed, None),
        Err(RunError::Interrupted) => (None, Exit::Interrupted, None),
        Err(RunError::Failed { exit, why, .. }) => (None, exit, Some(why)),
    };
    dry.close(&CheckResult { lacking, exit, why }, count)
}

struct Dry<'a> {
    options: &'a RunOptions,
    clock: Clock,
    /// What the server said of its classes so far.
    object_info: ObjectInfo,
    plan: Plan,
    /// The server's first answer.
    server: Option<SystemStats>,
}

/// What came of the check.
struct CheckResult {
    /// What each scene lacks, in their order; none where that was not checked.
    lacking: Option<Vec<Vec<String>>>,
    exit: Exit,
    /// Why it was not checked, but for an interrupt.
    why: Option<String>,
}

impl Dry<'_> {
    /// Asks the server for each class of the graphs, once.
    fn check(&mut self, mut events: EventLoop) -> Result<Vec<Vec<String>>, RunError> {
        if let Err(error) = events.listen_for_interrupt(|| {}) {
            events.console.warn(&format!("Ctrl-C ends this without a verdict: {error}"));
        }
        let connected = connect(self.options, &mut events, false)?;
        events.check()?;
        let (target, stats) = connected.map_err(|error| no_server(self.options, &error))?;
        self.server = Some(stats);
        events.console.wait_for("asking ComfyUI about its nodes", "");
        let client = Client::new(target, self.options.post_execution_timeout, events.drawing());
        let classes = self.plan.scenes.iter().flat_map(|scene| scene.workflow.classes());
        for class in classes.collect::<BTreeSet<_>>() {
            events.check()?;
            self.object_info
                .fetch(&client, class)
                .map_err(|error| RunError::refused(Exit::Unreachable, error.to_string()))?;
        }
        events.check()?;
        if self.object_info.has_missing() {
            // Without the names there is no nearest one.
            self.object_info.names = client.class_names().unwrap_or_default();
        }
        events.check()?;
        events.console.set_live(None);
        let (info, now) = (&self.object_info, self.clock.now());
        let left_out = plan::complete(&mut self.plan.scenes, self.options, info, now)
            .map_err(|why| RunError::refused(Exit::Usage, why))?;
        self.plan.left_out.extend(left_out);
        let graphs = self.plan.scenes.iter().map(|scene| &scene.workflow);
        Ok(graphs.map(|graph| graph.validate(&self.object_info)).collect())
    }

    /// The verdict, what it is about, and the document where one was asked for.
    fn close(mut self, verdict: &CheckResult, count: usize) -> Exit {
        for scene in self.plan.scenes.iter_mut().filter(|scene| scene.keyframe.is_some()) {
            scene.workflow.set_keyframe(KEYFRAME_PLACEHOLDER);
        }
        let mut lines = self.verdict(verdict);
        if !self.options.quiet {
            lines.extend(self.details(count));
            if self.options.verbose {
                lines.extend(self.graphs());
            }
            self.print(Output::of(false, self.options.json), &lines);
        } else if verdict.exit != Exit::Success {
            self.print(Output::Stderr, &lines);
        }
        if !self.options.json {
            return verdict.exit;
        }
        print_document(&json_text(&self.document(verdict)), verdict.exit)
    }

    fn verdict(&self, CheckResult { lacking, exit, why }: &CheckResult) -> Vec<String> {
        let what = if self.plan.template.is_some() { "template" } else { "scene" };
        let all = match self.plan.scenes.len() {
            1 => format!("1 {what}"),
            n => format!("{n} {what}s"),
        };
        let code = exit.code();
        let Some(lacking) = lacking else {
            return vec![match why {
                Some(why) => format!("✗ {all} not checked: {why} (exit {code})"),
                None => format!("✗ interrupted, {all} not checked (exit {code})"),
            }];
        };
        let bad = lacking.iter().filter(|lines| !lines.is_empty()).count();
        let or = if self.object_info.has_unavailable() { " or could not be checked" } else { "" };
        let mut lines = vec![match bad {
            0 => format!("✓ {all} ready to run"),
            1 if self.plan.scenes.len() == 1 => {
                format!("✗ {all} would be rejected{or} (exit {code})")
            }
            bad => format!("✗ {bad} of {all} would be rejected{or} (exit {code})"),
        }];
        for (scene, lacking) in self.plan.scenes.iter().zip(lacking) {
            let id = &scene.id;
            if lacking.is_empty() {
                lines.push(format!("✓ {id}"));
            }
            lines.extend(lacking.iter().map(|line| format!("✗ {id}  {line}")));
        }
        lines
    }

    /// What would be done, where, and what is to be known of it.
    fn details(&self, count: usize) -> Vec<String> {
        let mut lines = vec![banner::bounds(self.options, count)];
        let base = self.options.server.url.base();
        lines.extend(
            self.server.iter().map(|it| format!("{base}: {}", banner::server(self.options, it))),
        );
        if self.plan.template.is_some() {
            lines.push("A dry run generates no story: its template alone is checked".to_owned());
        }
        let warnings = self.options.warnings.iter().cloned();
        let left_out = self.plan.left_out.iter().map(|why| format!("left out: {why}"));
        let reports = self.options.reports.iter().map(|(format, _)| {
            format!("{}: a dry run has nothing to report, it is not written", format.option())
        });
        let of_scenes = self.plan.scenes.iter().flat_map(|scene| {
            scene.warnings.iter().map(move |warning| format!("{}: {warning}", scene.id))
        });
        let all = warnings.chain(left_out).chain(reports).chain(of_scenes);
        lines.extend(all.map(|warning| format!("WARNING: {warning}")));
        lines.push("Nothing was uploaded or posted, and no folder was made".to_owned());
        lines
    }

    /// Every graph as it would be posted.
    fn graphs(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for scene in &self.plan.scenes {
            let seed = scene.seed.map(|seed| match self.options.seed {
                Seed::Fixed(_) => format!(", seed {seed}"),
                // A run gets another one.
                Seed::Random | Seed::Keep => format!(", a random seed, here {seed}"),
            });
            let (id, file) = (&scene.id, scene.source.display());
            lines.push(String::new());
            lines.push(format!("{id}: {file}{}", seed.unwrap_or_default()));
            lines.extend(scene.keyframe.as_ref().map(|file| {
                let file = file.display();
                format!("keyframe {file}: its name on the server stands for __KEYFRAME_IMAGE__")
            }));
            lines.extend(scene.workflow.to_pretty_json().lines().map(str::to_owned));
        }
        lines
    }

    /// An unknown is null; `Lacks` is null where it was not checked.
    fn document(&self, CheckResult { lacking, exit, why }: &CheckResult) -> Value {
        let server = self.server.as_ref();
        let scenes = self.plan.scenes.iter().enumerate().map(|(index, scene)| {
            json!({
                "SceneId": scene.id,
                "Source": slashes(&scene.source),
                "Keyframe": scene.keyframe.as_deref().map(slashes),
                "Seed": scene.seed,
                "Warnings": scene.warnings,
                "Lacks": lacking.as_ref().map(|lacking| &lacking[index]),
                "Graph": (!scene.workflow.is_drawn()).then(|| scene.workflow.to_json()),
            })
        });
        json!({
            "SchemaVersion": 1,
            "DryRun": true,
            "TemplateOnly": self.plan.template.is_some(),
            "Server": {
                "Url": self.options.server.url.base(),
                "ComfyUIVersion": server.and_then(|stats| stats.comfyui.clone()),
                "PyTorchVersion": server.and_then(|stats| stats.pytorch.clone()),
            },
            "Scenes": scenes.collect::<Vec<_>>(),
            "Failure": why.as_ref().map(|why| json!({"Code": exit.code(), "Why": why})),
            "ExitCode": exit.code(),
            "ExitReason": exit.reason(),
        })
    }

    /// Human lines: where a run has them. A reader that went away is no reason to end.
    fn print(&self, output: Output, lines: &[String]) {
        let terminal = Terminal::new(output, self.options.no_color);
        let lines: Vec<String> = lines.iter().map(|line| sanitize_line(line)).collect();
        terminal.print_lines(&lines);
    }
}
