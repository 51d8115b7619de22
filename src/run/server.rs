//! The server's life during a run: started where it does not answer, started again where it has
//! died, ended with the run.

use std::time::{Duration, Instant};

use super::context::{RunContext, RunError};
use super::health::{Death, Health};
use super::poll::Outage;
use super::state_file::KnownServer;
use crate::cli::START_WAIT;
use crate::clock::{day_and_time, std_span};
use crate::comfyui::server_process::{Life, ServerProcess};
use crate::comfyui::{Device, ErrorKind, Queue, SystemStats};
use crate::exit_code::Exit;
use crate::interrupt::Interrupted;
use crate::process;
use crate::report::record::{NO_ANSWER, ServerEnd, ServerStart};
use crate::sleep;

/// The port of a server that is ours refuses for so long: it has died. On Windows a connection that is
/// refused takes 2 s, and one that a busy server does not take looks the same.
const OURS_GONE_AFTER: Duration = Duration::from_secs(if cfg!(windows) { 60 } else { 10 });
/// A prompt of a server that is ours is not gone so long after its cancel.
pub const STUCK_AFTER: Duration = Duration::from_secs(60);
/// A start takes no longer than this, whatever it prints.
const LONGEST_START: Duration = Duration::from_secs(30 * 60);
/// Between two looks at a server that starts, or ends.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// A process that has ended with 0 may have left a server that answers soon.
const ANSWERS_LATE: Duration = Duration::from_secs(10);
/// How long a server that was asked to end has for that; after an interrupt it is the second.
const GRACE: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(2)];
/// How long the port of an ended server may stay in use.
const PORT_FREE_AFTER: Duration = Duration::from_secs(30);
/// Before a start that failed since something was in use is repeated.
const IN_USE_PAUSE: Duration = Duration::from_secs(5);
/// The last words of a server come a moment after its death is known.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Scenes in a row under which it died: the rest is skipped.
const MOST_SCENES: usize = 3;

/// What a run knows of its server.
#[derive(Default)]
pub struct ServerLife {
    /// The server is ours: this run has started it, or a killed run of ours.
    process: Option<ServerProcess>,
    pub health: Health,
    /// Why it has to be started anew, once that is known, and the scene in which it died.
    death: Option<(Death, String)>,
    /// The scene that is at work.
    pub scene: String,
    /// Type, name and total of its device.
    device: Option<(String, String, Option<u64>)>,
    /// Scenes in a row under which it died.
    deaths: usize,
}

impl RunContext<'_> {
    /// Whether the server is started again when it goes away.
    pub fn restarts_server(&self) -> bool {
        self.options.start_comfyui.is_some()
    }

    /// Whether the server is ours to end and to start again.
    pub fn is_server_ours(&self) -> bool {
        self.restarts_server() && self.server.process.is_some()
    }

    /// How long connections are refused until the server counts as gone.
    pub fn gone_after(&self) -> Duration {
        if self.is_server_ours() { OURS_GONE_AFTER } else { self.options.wait_at_night }
    }

    /// Why the server has to be started anew, if it has to.
    pub fn death(&self) -> Option<Death> {
        self.server.death.as_ref().map(|(death, _)| *death)
    }

    /// Whether a server that has died in this way is started again.
    pub fn is_revived(&self) -> bool {
        self.is_server_ours() || self.restarts_server() && self.death() == Some(Death::Gone)
    }

    /// From now on the server has to be started anew.
    pub fn set_death(&mut self, death: Death) {
        let scene = self.server.scene.clone();
        self.server.death.get_or_insert((death, scene));
    }

    /// Why the server died, with what it said last of an error, else how its process ended, else its
    /// last line.
    pub fn death_text(&self) -> String {
        let death = self.death().map(|death| death.to_string()).unwrap_or_default();
        let Some(process) = &self.server.process else { return death };
        let output = &process.output;
        let detail = match (output.error(), process.exit_code) {
            (Some(error), _) => self.client.redact(error),
            (None, Some(code)) => process::end_text(code),
            (None, None) if output.last_line().is_empty() => return death,
            (None, None) => format!("its last line: {}", self.client.redact(output.last_line())),
        };
        format!("{death} ({detail})")
    }

    fn last_words(&self) -> String {
        let words = self.server.process.as_ref().map(|process| process.output.last_words());
        self.client.redact(words.unwrap_or_default())
    }

    /// Looks at the output of a server that is ours.
    pub fn look_at_server(&mut self) {
        let Some(process) = &mut self.server.process else { return };
        let life = process.look();
        let output = &mut process.output;
        let (is_dead, was_cut) = (output.has_dead_worker, std::mem::take(&mut output.was_cut));
        if was_cut {
            self.events.console.warn("steps/comfyui.log was cut at 100 MB: ComfyUI prints much");
        }
        if is_dead {
            self.set_death(Death::Worker);
        } else if life == Life::Restart {
            self.set_death(Death::Restart);
        }
    }

    /// Takes an answered poll of the queue.
    pub fn watch_queue(&mut self, queue: &Queue) {
        if self.server.health.take_queue(sleep::now(), queue) {
            self.set_death(Death::Idle);
        }
    }

    /// Waits for what a server that has died still says.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn hear_last_words(&mut self) -> Result<(), Interrupted> {
        if self.server.process.is_some() {
            self.events.wait(LAST_WORDS)?;
            self.look_at_server();
        }
        Ok(())
    }

    /// Counts whether the server died under a scene. After three in a row no further one is run.
    pub fn count_death(&mut self, died: bool) {
        self.server.deaths = if died { self.server.deaths + 1 } else { 0 };
        if self.server.deaths >= MOST_SCENES && self.stop_reason.is_none() {
            self.stop_for(format!("ComfyUI died under {MOST_SCENES} scenes in a row"));
        }
    }

    /// No further scene is run, and the run ends as one without a server.
    fn stop_for(&mut self, why: String) {
        self.events.console.log(&format!("ERROR: {why}"));
        self.stop_reason = Some(why.clone());
        self.record.failure = Some((Exit::Unreachable, why));
    }

    /// Where a server has died that is not started again: the rest is skipped.
    pub fn stop_for_death(&mut self) {
        let help = if self.restarts_server() {
            ": end it and run again"
        } else {
            "; --start-comfyui COMMAND does it"
        };
        let why = format!("ComfyUI has to be started anew ({}){help}", self.death_text());
        self.events.console.log(&format!("ERROR: {why}"));
        self.stop_reason = Some(why);
    }

    /// Before an attempt: a server that has died is started again, and nothing of ours is left on it.
    /// Returns whether the attempt can be made; else why not is [`RunContext::stop_reason`].
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn is_server_ready(&mut self) -> Result<bool, Interrupted> {
        loop {
            self.look_at_server();
            if self.death().is_some() && !self.revive()? {
                return Ok(false);
            }
            if self.wait_until_clear()? {
                return Ok(true);
            }
            if self.death().is_none() {
                return Ok(false);
            }
        }
    }

    /// Starts a server anew that has died. Returns whether it is there again.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn revive(&mut self) -> Result<bool, Interrupted> {
        if !self.is_revived() {
            self.stop_for_death();
            return Ok(false);
        }
        let Some((death, scene)) = self.server.death.clone() else { return Ok(true) };
        if matches!(death, Death::Idle | Death::Context | Death::Stuck)
            && !self.wait_for_others()?
        {
            self.stop_for("GPU still busy with a prompt of somebody else".to_owned());
            return Ok(false);
        }
        let why = format!("in {scene} {}", self.death_text());
        let id = self.server.process.as_ref().map(|process| process.id);
        self.end_process(GRACE[0]);
        if !self.is_port_free()? {
            let id = id.map(|id| format!(" (process {id})")).unwrap_or_default();
            let port = "its port is still in use 30 s after its end";
            self.stop_for(format!("ComfyUI{id} cannot be started again: {port}"));
            return Ok(false);
        }
        self.server.death = None;
        match self.start_server(&why) {
            Ok(_) => {}
            Err(RunError::Interrupted) => return Err(Interrupted),
            Err(RunError::Failed { why, .. }) => {
                self.stop_for(why);
                return Ok(false);
            }
        }
        self.server.health = Health::default();
        self.history_seen = false;
        self.listener_timeout = super::submit::LISTENER_TIMEOUT;
        // A server may restore its queue: they are looked for as if they had never been seen.
        self.state.forget_server_ids();
        Ok(true)
    }

    /// Waits for a server that has stopped answering, and starts one anew that has died. Returns whether
    /// it is there.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn wait_for_server(&mut self) -> Result<bool, Interrupted> {
        let mut outage = Outage::new(self.gone_after());
        let until = sleep::now() + STUCK_AFTER;
        loop {
            let Err(error) = self.client.system_stats() else { return Ok(true) };
            if outage.lasts(sleep::now(), &error) {
                self.look_at_server();
                self.set_death(Death::Gone);
                return self.revive();
            }
            if sleep::now() >= until {
                return Ok(false);
            }
            self.events.wait(LOOK_AGAIN)?;
        }
    }

    /// Waits while somebody else's prompt runs, for up to `MaxWaitSeconds`. Returns whether none does.
    fn wait_for_others(&mut self) -> Result<bool, Interrupted> {
        let until = sleep::now() + self.options.max_wait;
        let mut logged = false;
        loop {
            let others = self
                .client
                .queue()
                .is_ok_and(|queue| queue.running.iter().any(|item| !self.state.is_ours(&item.id)));
            if !others {
                return Ok(true);
            }
            if sleep::now() >= until {
                return Ok(false);
            }
            if !std::mem::replace(&mut logged, true) {
                let line = "ComfyUI is started anew when somebody else's prompt has ended";
                self.events.console.log(line);
            }
            self.events.wait(LOOK_AGAIN)?;
        }
    }

    fn is_port_free(&mut self) -> Result<bool, Interrupted> {
        let until = sleep::now() + PORT_FREE_AFTER;
        loop {
            match self.client.system_stats() {
                Err(error) if error.kind == ErrorKind::Refused => return Ok(true),
                _ if sleep::now() >= until => return Ok(false),
                _ => self.events.wait(LOOK_AGAIN)?,
            }
        }
    }

    /// Takes over a server that a killed run has started, if it still runs and that can be told.
    pub fn take_over(&mut self) {
        let Some(server) = self.state.server().cloned() else { return };
        let when = day_and_time(server.started);
        let adopt = |id| ServerProcess::adopt(id, server.process, &server.log, server.log_from);
        self.server.process = server.id.and_then(adopt);
        if let Some(ServerProcess { id, .. }) = &self.server.process {
            self.events.console.log(&format!(
                "ComfyUI (process {id}), started at {when} by a run that was killed, is taken over"
            ));
            return;
        }
        self.state.set_server(None);
        // With both the system knows: it has ended.
        if server.id.is_none() || server.process.is_none() {
            let id = server.id.map(|id| format!(" (process {id})")).unwrap_or_default();
            self.events.console.log(&format!(
                "WARNING: a run that was killed started ComfyUI{id} at {when}: whether that still runs cannot be told, and it is not ended"
            ));
        }
    }

    /// After the server has refused a connection at the start: waits for the one that a killed run
    /// was starting, or starts one.
    ///
    /// # Errors
    /// It does not become ready: one line; an interrupt.
    pub fn start_at_first(&mut self) -> Result<SystemStats, RunError> {
        if self.server.process.is_some() {
            let found = self.wait_until_ready(sleep::now());
            if found.is_ok() || !self.restarts_server() {
                return found;
            }
            self.end_process(GRACE[0]);
        }
        self.start_server(NO_ANSWER)
    }

    /// Whether a server that refuses connections at the start may come by what we do.
    pub fn is_server_coming(&self) -> bool {
        self.restarts_server() || self.server.process.is_some()
    }

    /// Starts `ComfyUI` and waits until it is ready.
    fn start_server(&mut self, why: &str) -> Result<SystemStats, RunError> {
        let (at, begun) = (self.clock.now(), sleep::now());
        let Some(command) = &self.options.start_comfyui else {
            return Err(RunError::failed(Exit::Unreachable, "no ComfyUI".into(), "no ComfyUI"));
        };
        let line =
            format!("Starting ComfyUI ({why}): {}; its output: steps/comfyui.log", command.text);
        self.events.console.log(&line);
        let mut is_second = false;
        let stats = loop {
            let started = self.spawn().and_then(|()| self.wait_until_ready(begun));
            let is_in_use = ["in use", "Errno 98", "10048", "only one usage"]
                .iter()
                .any(|words| self.last_words().contains(words));
            match started {
                Ok(stats) => break stats,
                Err(RunError::Failed { .. }) if is_in_use && !is_second => {
                    is_second = true;
                    self.end_process(GRACE[0]);
                    self.events.wait(IN_USE_PAUSE)?;
                }
                Err(error) => {
                    let is_interrupted = matches!(error, RunError::Interrupted);
                    self.end_process(GRACE[usize::from(is_interrupted)]);
                    return Err(error);
                }
            }
        };
        let ready_after = since(begun);
        let last_line = self.server.process.as_mut().map(|process| {
            process.output.forget_error();
            process.output.last_line().to_owned()
        });
        let start = ServerStart {
            at,
            ready_after_seconds: (ready_after.as_secs_f64() * 10.0).round() / 10.0,
            why: why.to_owned(),
            last_line: self.client.redact(&last_line.unwrap_or_default()),
        };
        let id = self.server.process.as_ref().map(|process| process.id).unwrap_or_default();
        let took = std_span(ready_after);
        self.events.console.log(&format!("ComfyUI is ready after {took} (process {id})"));
        self.record.server.starts.push(start);
        Ok(stats)
    }

    fn spawn(&mut self) -> Result<(), RunError> {
        let Some(command) = &self.options.start_comfyui else { return Ok(()) };
        let log = self.folder.join("steps").join("comfyui.log");
        let log_from = log.metadata().map_or(0, |about| about.len());
        let started = self.clock.now();
        let server = KnownServer { id: None, process: None, started, log: log.clone(), log_from };
        self.state.set_server(Some(server.clone()));
        let process = ServerProcess::start(command, &log).map_err(|why| {
            self.state.set_server(None);
            self.not_started(&why)
        })?;
        let (id, start) = (Some(process.id), process.start);
        self.state.set_server(Some(KnownServer { id, process: start, ..server }));
        self.server.process = Some(process);
        Ok(())
    }

    /// Waits until the process that was started answers as a `ComfyUI` with the same device.
    fn wait_until_ready(&mut self, begun: Instant) -> Result<SystemStats, RunError> {
        let mut ended = None;
        let ready = loop {
            self.events.check()?;
            let Some(process) = &mut self.server.process else {
                break Err("it was not started".to_owned());
            };
            let life = process.look();
            let (port, heard) = (process.output.port, process.output.heard);
            let last_line = self.client.redact(process.output.last_line());
            self.events.console.wait_for("starting ComfyUI", &last_line);
            if life == Life::Restart {
                self.end_process(Duration::ZERO);
                self.spawn()?;
                continue;
            }
            let url = &self.options.server.url;
            if let Some(port) = port.filter(|port| *port != url.port()) {
                let base = format!("http://127.0.0.1:{port}");
                break Err(format!("it listens on another port: --comfyui-url {base}"));
            }
            match (self.client.system_stats(), life) {
                (Ok(_), Life::Ended(Some(0))) => {
                    break Err("it has ended with exit code 0, and ComfyUI answers all the same: \
                         give the command that stays"
                        .to_owned());
                }
                (Ok(stats), _) if stats.devices.is_empty() => {
                    break Err("what answers is no ComfyUI".to_owned());
                }
                (Ok(stats), _) => break self.same_device(&stats).map(|()| stats),
                (Err(error), _) => match error.kind {
                    ErrorKind::Refused
                    | ErrorKind::Timeout
                    | ErrorKind::Reset
                    | ErrorKind::Status(500..=504) => {}
                    _ => break Err(format!("what answers is no ComfyUI ({})", error.detail)),
                },
            }
            if let Life::Ended(code) = life {
                let ended: &Instant = ended.get_or_insert_with(sleep::now);
                if code != Some(0) || since(*ended) >= ANSWERS_LATE {
                    let code = code.map(|code| format!(" with {}", process::end_text(code)));
                    break Err(format!("it has ended{}", code.unwrap_or_default()));
                }
            }
            // Without the option it is one that a killed run was starting.
            let patience = if self.restarts_server() {
                self.options.wait_for_comfyui
            } else {
                START_WAIT.max(self.options.wait_for_comfyui)
            };
            if since(heard) >= patience || since(begun) >= LONGEST_START {
                let took = std_span(since(begun));
                break Err(format!(
                    "it does not answer after {took} ({} s without a line)",
                    since(heard).as_secs()
                ));
            }
            self.events.wait(LOOK_AGAIN)?;
        };
        self.events.console.set_live(None);
        ready.map_err(|why| self.not_started(&why))
    }

    fn not_started(&self, why: &str) -> RunError {
        let words = match self.last_words() {
            // There was no process to say anything.
            _ if self.server.process.is_none() => String::new(),
            words if words.is_empty() => "; it said nothing".to_owned(),
            words => format!("; it said last: {words}"),
        };
        let by = self.options.start_comfyui.as_ref().map(|command| format!(" by {}", command.text));
        let why = format!("ComfyUI does not start{}: {why}{words}", by.unwrap_or_default());
        RunError::failed(Exit::Unreachable, why, "ComfyUI does not start")
    }

    /// A GPU that was lost comes back as a CPU.
    fn same_device(&self, stats: &SystemStats) -> Result<(), String> {
        let Some(device) = stats.devices.get(self.options.sampling.gpu) else { return Ok(()) };
        let now = identity(device);
        match &self.server.device {
            Some(before) if *before != now => {
                Err(format!("it came back with another device: {}, before {}", now.1, before.1))
            }
            _ => Ok(()),
        }
    }

    /// What the server's device is, to be the same after each start.
    pub fn note_device(&mut self, stats: &SystemStats) {
        let device = stats.devices.get(self.options.sampling.gpu);
        self.server.device = device.map(identity);
    }

    fn end_process(&mut self, grace: Duration) {
        if let Some(process) = self.server.process.take() {
            process.end(grace, &mut |time| {
                self.events.wait_ignoring_interrupt(time);
                Ok(())
            });
            self.state.set_server(None);
        }
    }

    /// Ends the server at the end of the run if it is ours, and nobody else uses it.
    pub fn end_server(&mut self) {
        let Some(process) = &self.server.process else { return };
        let id = process.id;
        let theirs = self.client.queue().is_ok_and(|queue| {
            let mut prompts = queue.running.iter().chain(&queue.pending);
            prompts.any(|item| !self.state.is_ours(&item.id))
        });
        if theirs {
            let line = "ComfyUI is left running: somebody else's prompt is there";
            self.events.console.log(&format!("{line} (process {id})"));
            if let Some(process) = self.server.process.take() {
                process.leave();
            }
            self.record.server.end = Some(ServerEnd::Left);
            return;
        }
        let is_hurried = self.events.intake().interrupted;
        self.end_process(GRACE[usize::from(is_hurried)]);
        if self.client.system_stats().is_ok() {
            // It was started by something that has ended before.
            let line = "WARNING: ComfyUI still answers after its end: give the command that stays";
            self.events.console.log(&format!("{line} (process {id})"));
            self.record.server.end = Some(ServerEnd::Left);
            return;
        }
        self.state.forget_prompts();
        self.record.aftermath.queue = Some(0);
        self.record.aftermath.still_running = None;
        self.record.aftermath.may_come = None;
        self.record.server.end = Some(ServerEnd::Ended);
        self.events.console.log(&format!("ComfyUI ended (process {id})"));
    }
}

fn since(moment: Instant) -> Duration {
    sleep::now().saturating_duration_since(moment)
}

fn identity(device: &Device) -> (String, String, Option<u64>) {
    let total = device.memory.and_then(|memory| memory.total);
    (device.kind.clone(), device.name.clone(), total)
}
