//! The state file: prompts of ours that may still be on the server. After a kill the next run reads
//! it and cancels them.

use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::clock::{from_iso, iso};
use crate::comfyui::Ids;
use crate::fs::{create_temp, names_in, read_text};
use crate::process::process_start;
use crate::sanitize::sanitize_line;

/// A prompt of ours that may still be on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingPrompt {
    pub scene: String,
    /// The ids it was posted with.
    pub ids: Ids,
    /// When it was sent.
    pub sent: OffsetDateTime,
    /// The server's id for it, once it was seen there.
    pub server_id: Option<String>,
}

/// A prompt that was never seen on the server may yet come: a server that stalled has carried one out
/// 64 s after its answer was cut.
const MAY_COME_FOR: Duration = Duration::minutes(3);

/// A run, as the state file knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownRun {
    pub pid: u32,
    /// When its process started, as the system has it; none where the system does not tell.
    pub process: Option<u64>,
    pub started: OffsetDateTime,
    /// The run folder.
    pub folder: PathBuf,
}

impl KnownRun {
    /// Whether its process is alive, where the system tells when one started: numbers are used anew.
    pub fn is_alive(&self) -> bool {
        self.process.is_some() && process_start(self.pid) == self.process
    }

    fn read(value: &Value) -> Option<Self> {
        Some(KnownRun {
            pid: value["Pid"].as_u64()?.try_into().ok()?,
            process: value["ProcessStart"].as_u64(),
            started: from_iso(value["Started"].as_str()?)?,
            folder: value["RunDir"].as_str()?.into(),
        })
    }

    fn json(&self) -> Value {
        json!({
            "Pid": self.pid,
            "ProcessStart": self.process,
            "Started": iso(self.started),
            "RunDir": self.folder.to_string_lossy(),
        })
    }
}

/// A `ComfyUI` that a run has started.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownServer {
    /// None before its process is there.
    pub id: Option<u32>,
    /// When its process started, as the system has it; none where the system does not tell.
    pub process: Option<u64>,
    pub started: OffsetDateTime,
    /// Where its output goes.
    pub log: PathBuf,
    /// Where in it that begins, in bytes.
    pub log_from: u64,
}

impl KnownServer {
    fn read(value: &Value) -> Option<Self> {
        Some(KnownServer {
            id: value["Pid"].as_u64().and_then(|id| id.try_into().ok()),
            process: value["ProcessStart"].as_u64(),
            started: from_iso(value["Started"].as_str()?)?,
            log: value["Log"].as_str()?.into(),
            log_from: value["LogFrom"].as_u64()?,
        })
    }

    fn json(&self) -> Value {
        json!({
            "Pid": self.id,
            "ProcessStart": self.process,
            "Started": iso(self.started),
            "Log": self.log.to_string_lossy(),
            "LogFrom": self.log_from,
        })
    }
}

/// The content of the state file.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    pub run: KnownRun,
    /// Without credentials.
    pub url: String,
    /// The run was not killed: its summary has an end.
    pub ended: bool,
    /// Runs that were killed before it, and whose summaries have no end yet.
    pub killed: Vec<KnownRun>,
    /// Prompts of this run and of earlier ones.
    pub prompts: Vec<PendingPrompt>,
    /// The server, where a run has started it.
    pub server: Option<KnownServer>,
}

impl RunState {
    /// Reads the file; none where there is none.
    ///
    /// # Errors
    /// It is no state file: what is wrong, in a few words. A link is none.
    pub fn read(file: &Path) -> Result<Option<Self>, String> {
        match fs::symlink_metadata(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Ok(about) if !about.is_file() => return Err("no file of its own".into()),
            _ => {}
        }
        let text = read_text(file).map_err(|error| error.to_string())?;
        let value: Value =
            serde_json::from_str(&text).map_err(|error| format!("not JSON: {error}"))?;
        RunState::from_json(&value).map(Some).ok_or_else(|| "no state of a run".into())
    }

    /// The runs whose summaries have no end, the oldest first: those killed before it, and itself.
    pub fn unfinished(&self) -> impl Iterator<Item = &KnownRun> {
        self.killed.iter().chain((!self.ended).then_some(&self.run))
    }

    fn from_json(value: &Value) -> Option<Self> {
        let killed = value["Killed"].as_array().into_iter().flatten();
        Some(RunState {
            run: KnownRun::read(value)?,
            url: sanitize_line(value["Url"].as_str()?),
            ended: value["Ended"].as_bool()?,
            killed: killed.filter_map(KnownRun::read).collect(),
            prompts: value["Prompts"].as_array()?.iter().filter_map(prompt).collect(),
            server: KnownServer::read(&value["Server"]),
        })
    }

    fn json(&self) -> Value {
        let prompts = self.prompts.iter().map(|prompt| {
            json!({
                "Scene": prompt.scene,
                "PromptId": prompt.ids.prompt,
                "ClientId": prompt.ids.client,
                "Sent": iso(prompt.sent),
                "ServerId": prompt.server_id,
            })
        });
        let mut value = self.run.json();
        value["Url"] = self.url.as_str().into();
        value["Ended"] = self.ended.into();
        value["Killed"] = self.killed.iter().map(KnownRun::json).collect();
        value["Prompts"] = prompts.collect();
        value["Server"] = self.server.as_ref().map(KnownServer::json).into();
        value
    }
}

fn prompt(value: &Value) -> Option<PendingPrompt> {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    Some(PendingPrompt {
        scene: sanitize_line(&text("Scene")?),
        ids: Ids { prompt: text("PromptId")?, client: text("ClientId")? },
        sent: from_iso(&text("Sent")?)?,
        server_id: text("ServerId"),
    })
}

/// The state of the run at work. Every change is on disk before the call returns.
#[derive(Debug)]
pub struct StateFile {
    file: Option<PathBuf>,
    state: RunState,
    /// Why the file could not be written; to be taken once.
    pub problem: Option<String>,
}

impl StateFile {
    /// Writes the state of a run that begins. Without a file nothing is kept on disk.
    pub fn create(file: Option<PathBuf>, state: RunState) -> Self {
        if let Some(file) = &file {
            remove_temporary(file);
        }
        let mut file = StateFile { file, state, problem: None };
        file.write();
        file
    }

    /// The prompts that may still be on the server, the oldest first.
    pub fn prompts(&self) -> &[PendingPrompt] {
        &self.state.prompts
    }

    /// The one that is known to be on the server longest.
    pub fn first_known(&self) -> Option<&PendingPrompt> {
        self.state.prompts.iter().find(|prompt| prompt.server_id.is_some())
    }

    /// The ids of prompts that were sent and have never been seen on the server.
    pub fn unseen(&self) -> Vec<Ids> {
        let prompts = self.state.prompts.iter().filter(|prompt| prompt.server_id.is_none());
        prompts.map(|prompt| prompt.ids.clone()).collect()
    }

    /// The server that a run of ours has started.
    pub fn server(&self) -> Option<&KnownServer> {
        self.state.server.as_ref()
    }

    /// Notes a server that is started, before and after that; none once it has ended.
    pub fn set_server(&mut self, server: Option<KnownServer>) {
        self.state.server = server;
        self.write();
    }

    /// Whether a prompt with this server's id is ours.
    pub fn is_ours(&self, id: &str) -> bool {
        let ids = |prompt: &PendingPrompt| {
            prompt.server_id.as_deref() == Some(id) || prompt.ids.prompt == id
        };
        self.state.prompts.iter().any(ids)
    }

    /// The server was started anew: it knows none of them, unless it restores its queue.
    pub fn forget_server_ids(&mut self) {
        self.state.prompts.iter_mut().for_each(|prompt| prompt.server_id = None);
        self.write();
    }

    /// Their server has ended.
    pub fn forget_prompts(&mut self) {
        self.state.prompts.clear();
        self.write();
    }

    /// The runs that were killed before it have their ends.
    pub fn forget_killed(&mut self) {
        self.state.killed.clear();
        self.write();
    }

    /// Adds a prompt, before it is posted.
    pub fn add(&mut self, scene: &str, ids: &Ids, sent: OffsetDateTime) {
        let (scene, ids) = (scene.to_owned(), ids.clone());
        self.state.prompts.push(PendingPrompt { scene, ids, sent, server_id: None });
        self.write();
    }

    /// Notes the id that the server gave a prompt.
    pub fn set_server_id(&mut self, ids: &Ids, id: &str) {
        if let Some(prompt) = self.state.prompts.iter_mut().find(|prompt| prompt.ids == *ids) {
            prompt.server_id = Some(id.to_owned());
            self.write();
        }
    }

    /// Removes the prompt with these ids: it never arrived.
    pub fn remove(&mut self, ids: &Ids) {
        self.state.prompts.retain(|prompt| prompt.ids != *ids);
        self.write();
    }

    /// Removes the prompt with this server's id: it has ended, or the queue holds it no longer.
    pub fn remove_server_id(&mut self, id: &str) {
        self.state.prompts.retain(|prompt| prompt.server_id.as_deref() != Some(id));
        self.write();
    }

    /// Removes those that were sent so long ago without being seen that they no longer come.
    pub fn forget_unseen(&mut self, now: OffsetDateTime) {
        let may_come = |prompt: &PendingPrompt| now - prompt.sent < MAY_COME_FOR;
        self.state.prompts.retain(|prompt| prompt.server_id.is_some() || may_come(prompt));
        self.write();
    }

    /// Deletes the file at the end of the run, unless a prompt is left for the next run to cancel, or
    /// a server to end.
    pub fn close(mut self) {
        self.state.ended = true;
        let leaves_nothing = self.state.prompts.is_empty() && self.state.server.is_none();
        let is_removed = |file: &PathBuf| leaves_nothing && fs::remove_file(file).is_ok();
        // Where it cannot be deleted, the next run reads that this one ended and left nothing.
        if !self.file.as_ref().is_some_and(is_removed) {
            self.write();
        }
    }

    /// Replaces the file by rename, so that a reader sees the old state or the new one. It is not
    /// synced: a power failure ends the server's prompts too.
    fn write(&mut self) {
        let Some(file) = &self.file else { return };
        let text = format!("{:#}\n", self.state.json());
        let written = create_temp(file).and_then(|(mut out, part)| {
            out.write_all(text.as_bytes())?;
            drop(out);
            part.rename_to(file)
        });
        if let Err(error) = written {
            self.problem = Some(format!(
                "{}: {error}: should this run be killed, the next one cannot clear up",
                file.display()
            ));
            self.file = None;
        }
    }
}

/// Removes what a run left that was killed while it wrote.
fn remove_temporary(file: &Path) {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { return };
    let start = format!("{}.", name.display());
    let is_ours = |name: &OsString| {
        let name = name.to_string_lossy();
        name.starts_with(&start) && name.ends_with(".part")
    };
    for name in names_in(folder).unwrap_or_default().iter().filter(|name| is_ours(name)) {
        let _ = fs::remove_file(folder.join(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::datetime;

    fn state_with(prompts: Vec<PendingPrompt>) -> RunState {
        let run = KnownRun {
            pid: 7,
            process: Some(5),
            started: datetime!(2026-11-24 23:00:04 -5),
            folder: "/logs/20261124-230004".into(),
        };
        let (url, killed) = ("http://127.0.0.1:8188".into(), vec![run.clone()]);
        let log = "/logs/20261124-230004/steps/comfyui.log".into();
        let started = datetime!(2026-11-24 23:00:05 -5);
        let server = Some(KnownServer { id: Some(8), process: None, started, log, log_from: 9 });
        RunState { run, url, ended: false, killed, prompts, server }
    }

    #[test]
    fn the_file_follows_every_change_and_goes_when_nothing_is_left() {
        let file = std::env::temp_dir().join(format!("state_file-{}.json", std::process::id()));
        let read = || RunState::read(&file).unwrap().map(|state| (state.ended, state.prompts));
        let mut state = StateFile::create(Some(file.clone()), state_with(Vec::new()));
        assert_eq!(read(), Some((false, Vec::new())));
        state.set_server(None);
        let (one, two, now) = (Ids::random(), Ids::random(), datetime!(2026-11-24 23:00:04 UTC));
        state.add("a", &one, now);
        assert_eq!(read().unwrap().1[0].ids, one);
        state.set_server_id(&one, "another");
        assert_eq!(read().unwrap().1[0].server_id.as_deref(), Some("another"));
        state.add("b", &two, now);
        state.remove_server_id("another");
        assert_eq!(read().unwrap().1.len(), 1);
        state.close();
        assert_eq!(read().map(|(ended, prompts)| (ended, prompts.len())), Some((true, 1)));
        let mut state =
            StateFile::create(Some(file.clone()), RunState::read(&file).unwrap().unwrap());
        state.remove(&two);
        state.close();
        assert!(!file.exists());
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told_once() {
        let file = std::env::temp_dir().join("no/such/folder/state_file.json");
        let mut state = StateFile::create(Some(file), state_with(Vec::new()));
        assert!(state.problem.take().is_some());
        state.add("a", &Ids::random(), OffsetDateTime::UNIX_EPOCH);
        assert_eq!((state.problem.take(), state.prompts().len()), (None, 1));
    }

    #[test]
    fn what_is_no_state_is_an_error() {
        let file = std::env::temp_dir().join(format!("no-state-{}.json", std::process::id()));
        for text in ["", "{", "[]", "{\"Pid\": -1}", "{\"Pid\": 1, \"Started\": 5}"] {
            fs::write(&file, text).unwrap();
            assert!(RunState::read(&file).is_err(), "{text}");
        }
        fs::remove_file(&file).unwrap();
        assert_eq!(RunState::read(&file), Ok(None));
    }

    proptest! {
        #[test]
        fn a_written_state_reads_the_same(
            scenes in prop::collection::vec(("[a-z]{1,5}", prop::option::of("[a-z0-9-]{1,9}")), 0..4)
        ) {
            let prompts = scenes
                .into_iter()
                .map(|(scene, server_id)| PendingPrompt {
                    scene,
                    ids: Ids::random(),
                    sent: datetime!(2026-11-24 23:00:04 -5),
                    server_id,
                })
                .collect();
            let state = state_with(prompts);
            let value: Value = serde_json::from_str(&state.json().to_string()).unwrap();
            prop_assert_eq!(RunState::from_json(&value), Some(state));
        }
    }
}
