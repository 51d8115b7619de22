//! A dry run: what would be run is loaded, patched and shown, and the server is asked what it lacks
//! of it. Nothing is uploaded or posted; no folder, no lock and no state file is made.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::events::EventLoop;
use super::plan::{self, Plan, Scene};
use super::recorder::Recorder;
use super::{banner, connect, refuse};
use crate::cli::{RunOptions, Seed};
use crate::clock::Clock;
use crate::comfyui::{Classes, Client, HttpError, SystemStats};
use crate::console::{Console, Output, Terminal, print};
use crate::exit_code::Exit;
use crate::interrupt::Interrupted;
use crate::report::legacy::slashes;
use crate::sanitize::{json_text, sanitize_line};

/// Shows the scenes of the plan and what the server lacks of each. The code is a run's own for what
/// would come of it: 0 if nothing is lacking, 1 if a scene would be rejected at least in part, 3
/// without a server, 130 after an interrupt.
pub(super) fn run(options: &RunOptions, plan: Plan) -> Exit {
    let count = plan.count(options);
    let (scenes, template_only) = match plan {
        Plan::Scenes(scenes, _) => (scenes, false),
        Plan::Generate(template) => match plan::unwritten(options, &template) {
            Ok(scene) => (vec![scene], true),
            Err(why) => return refuse(&format!("{}: {why}", template.name), Exit::Usage),
        },
    };
    let mut dry = Dry { options, scenes, template_only, server: None, has_untold: false };
    dry.scenes.iter_mut().filter(|scene| scene.keyframe.is_some()).for_each(|scene| {
        scene.workflow.mark_keyframe();
    });
    dry.say(&dry.opening(count));
    let checked = dry.check();
    let exit = code(&checked);
    dry.close(&checked, exit);
    exit
}

struct Dry<'a> {
    options: &'a RunOptions,
    scenes: Vec<Scene>,
    /// They are those of a story that is not written: only their template is there.
    template_only: bool,
    /// The server's first answer.
    server: Option<SystemStats>,
    /// The server did not say what some class of node takes.
    has_untold: bool,
}

/// What each scene lacks, in their order.
type Lacking = Vec<Vec<String>>;

/// Why not everything was checked.
enum Unchecked {
    Interrupted,
    /// One line.
    Unreachable(String),
}

impl From<Interrupted> for Unchecked {
    fn from(_: Interrupted) -> Self {
        Unchecked::Interrupted
    }
}

impl From<HttpError> for Unchecked {
    fn from(error: HttpError) -> Self {
        Unchecked::Unreachable(error.to_string())
    }
}

impl Dry<'_> {
    /// What needs no server: the plan, and every graph as it would be posted.
    fn opening(&self, count: usize) -> Vec<String> {
        let mut lines =
            vec!["Dry run: nothing is uploaded or posted, no folder is made".to_owned()];
        lines.push(banner::bounds(self.options, count));
        lines.extend(self.options.warnings.iter().map(|warning| format!("WARNING: {warning}")));
        let reports = self.options.reports.files();
        lines.extend(reports.iter().map(|(format, _)| {
            let option = format.option();
            format!("WARNING: {option}: a dry run has nothing to report, it is not written")
        }));
        if self.template_only {
            lines.push("A dry run generates no story: its template alone is checked".to_owned());
        }
        for scene in &self.scenes {
            let seed = scene.seed.map(|seed| match self.options.seed {
                Seed::Fixed(_) => format!(", seed {seed}"),
                // A run draws its own.
                Seed::Random | Seed::Keep => format!(", a random seed, here {seed}"),
            });
            let (id, file) = (&scene.id, scene.source.display());
            lines.push(String::new());
            lines.push(format!("{id}: {file}{}", seed.unwrap_or_default()));
            lines.extend(scene.warnings.iter().map(|warning| format!("WARNING: {warning}")));
            lines.extend(scene.keyframe.as_ref().map(|file| {
                let file = file.display();
                format!("keyframe {file}: its name on the server stands for __KEYFRAME_IMAGE__")
            }));
            lines.extend(scene.workflow.text().lines().map(str::to_owned));
        }
        lines.push(String::new());
        lines
    }

    /// Asks the server for each class of the graphs, once.
    fn check(&mut self) -> Result<Lacking, Unchecked> {
        let clock = Clock::start();
        let output = if self.options.quiet { Output::Quiet } else { Output::Stderr };
        let console = Console::new(clock, None, output, self.options.no_color);
        let mut events = EventLoop::new(Recorder::default(), console);
        if let Err(error) = events.listen_for_interrupt() {
            self.say(&[format!("WARNING: Ctrl-C ends this without a verdict: {error}")]);
        }
        let reached = connect::connect(self.options, &mut events)?;
        events.check()?;
        let (target, stats) = reached.map_err(|none| Unchecked::Unreachable(none.why))?;
        let line = banner::server(self.options, &stats);
        self.say(&[format!("{}: {line}", target.base)]);
        self.server = Some(stats);
        let client = Client::new(target, self.options.post_execution_timeout);
        let mut classes = Classes::default();
        let mut wanted = BTreeSet::new();
        wanted.extend(self.scenes.iter().flat_map(|scene| scene.workflow.classes()));
        for class in wanted {
            events.check()?;
            classes.ask(&client, class)?;
        }
        events.check()?;
        if classes.are_missing() {
            // Without the names there is no nearest one.
            let _ = classes.ask_names(&client);
        }
        events.check()?;
        self.has_untold = classes.are_untold();
        Ok(self.scenes.iter().map(|scene| scene.workflow.validate(&classes)).collect())
    }

    /// The verdict, and the document where one was asked for.
    fn close(&self, checked: &Result<Lacking, Unchecked>, exit: Exit) {
        let lines = self.verdict(checked, exit);
        if !self.options.quiet {
            self.say(&lines);
        } else if exit != Exit::Success {
            self.print(Output::Stderr, &lines);
        }
        if self.options.json {
            // The code is the verdict's.
            let _ = print(&json_text(&self.document(checked, exit)));
        }
    }

    fn verdict(&self, checked: &Result<Lacking, Unchecked>, exit: Exit) -> Vec<String> {
        let ended = format!("exit {} ({})", exit.code(), exit.reason());
        let what = if self.template_only { "template" } else { "scene" };
        let all = match self.scenes.len() {
            1 => format!("1 {what}"),
            n => format!("{n} {what}s"),
        };
        let lacking = match checked {
            Ok(lacking) => lacking,
            Err(Unchecked::Interrupted) => {
                return vec![format!("INTERRUPTED: {all} not checked, {ended}")];
            }
            Err(Unchecked::Unreachable(why)) => {
                return vec![format!("FAILED: {all} not checked, {ended}"), why.clone()];
            }
        };
        let bad = lacking.iter().filter(|lines| !lines.is_empty()).count();
        let or = if self.has_untold { " or could not be checked" } else { "" };
        let mut lines = vec![match bad {
            0 => format!("OK: the server lacks nothing of {all}, exit 0"),
            bad => format!("FAILED: {bad} of {all} would be rejected{or}, {ended}"),
        }];
        for (scene, lacking) in self.scenes.iter().zip(lacking) {
            let id = &scene.id;
            if lacking.is_empty() {
                lines.push(format!("✓ {id}"));
            }
            lines.extend(lacking.iter().map(|line| format!("✗ {id}  {line}")));
        }
        lines
    }

    /// An unknown is null; `Lacking` is null where it was not checked.
    fn document(&self, checked: &Result<Lacking, Unchecked>, exit: Exit) -> Value {
        let (lacking, why) = match checked {
            Ok(lacking) => (Some(lacking), None),
            Err(Unchecked::Interrupted) => (None, None),
            Err(Unchecked::Unreachable(why)) => (None, Some(why)),
        };
        let server = self.server.as_ref();
        let scenes = self.scenes.iter().enumerate().map(|(index, scene)| {
            json!({
                "SceneId": scene.id,
                "Workflow": slashes(&scene.source),
                "Keyframe": scene.keyframe.as_deref().map(slashes),
                "Seed": scene.seed,
                "Warnings": scene.warnings,
                "Lacking": lacking.map(|lacking| &lacking[index]),
                "Graph": scene.workflow.to_json(),
            })
        });
        json!({
            "SchemaVersion": 1,
            "DryRun": true,
            "TemplateOnly": self.template_only,
            "Server": {
                "Url": self.options.server.url.base(),
                "ComfyUIVersion": server.and_then(|stats| stats.comfyui.clone()),
                "PyTorchVersion": server.and_then(|stats| stats.pytorch.clone()),
            },
            "Scenes": scenes.collect::<Vec<_>>(),
            "Failure": why.map(|why| json!({"Code": exit.code(), "Why": why})),
            "ExitCode": exit.code(),
            "ExitReason": exit.reason(),
        })
    }

    /// Human lines: where a run has them. A reader that went away is no reason to end.
    fn say(&self, lines: &[String]) {
        match (self.options.quiet, self.options.json) {
            (true, _) => {}
            (false, true) => self.print(Output::Stderr, lines),
            (false, false) => self.print(Output::Stdout, lines),
        }
    }

    fn print(&self, output: Output, lines: &[String]) {
        Terminal::new(output, self.options.no_color).print(&text(lines));
    }
}

fn code(checked: &Result<Lacking, Unchecked>) -> Exit {
    match checked {
        Ok(lacking) if lacking.iter().all(Vec::is_empty) => Exit::Success,
        Ok(_) => Exit::Failed,
        Err(Unchecked::Interrupted) => Exit::Interrupted,
        Err(Unchecked::Unreachable(_)) => Exit::Unreachable,
    }
}

/// The last gate before a terminal. What a line is indented by stays.
fn text(lines: &[String]) -> String {
    lines.iter().map(|line| sanitize_line(line) + "\n").collect()
}
