//! The state file: prompts of ours that may still be on the server. After a kill the next run reads
//! it and cancels them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::clock::{from_iso, iso};
use crate::comfyui::Ids;
use crate::fs::{rename, temp_path};
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

/// The content of the state file.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    pub pid: u32,
    pub started: OffsetDateTime,
    /// Without credentials.
    pub url: String,
    /// The run folder.
    pub folder: PathBuf,
    /// The run was not killed: its summary has an end.
    pub ended: bool,
    /// Prompts of this run and of earlier ones.
    pub prompts: Vec<PendingPrompt>,
}

impl RunState {
    /// Reads the file; none where there is none, or it is no state file.
    pub fn read(file: &Path) -> Option<Self> {
        let value: Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        let prompts = value["Prompts"].as_array()?.iter();
        Some(RunState {
            pid: value["Pid"].as_u64()?.try_into().ok()?,
            started: from_iso(&text("Started")?)?,
            url: sanitize_line(&text("Url")?),
            folder: text("RunDir")?.into(),
            ended: value["Ended"].as_bool()?,
            prompts: prompts.filter_map(prompt).collect(),
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
        json!({
            "Pid": self.pid,
            "Started": iso(self.started),
            "Url": self.url,
            "RunDir": self.folder.to_string_lossy(),
            "Ended": self.ended,
            "Prompts": prompts.collect::<Vec<_>>(),
        })
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
            // A server that took our id adds nothing to the file.
            if ids.prompt != id {
                self.write();
            }
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

    /// Deletes the file at the end of the run, unless a prompt is left for the next run to cancel.
    pub fn close(mut self) {
        self.state.ended = true;
        match &self.file {
            Some(file) if self.state.prompts.is_empty() => {
                // Else the next run reads that this one ended and left nothing.
                if fs::remove_file(file).is_err() {
                    self.write();
                }
            }
            _ => self.write(),
        }
    }

    /// Replaces the file by rename, so that a reader sees the old state or the new one. It is not
    /// synced: a power failure ends the server's prompts too.
    fn write(&mut self) {
        let Some(file) = &self.file else { return };
        let part = temp_path(file);
        let text = format!("{:#}\n", self.state.json());
        let written = fs::write(&part, text).and_then(|()| rename(&part, file));
        if let Err(error) = written {
            self.problem = Some(format!(
                "{}: {error}: should this run be killed, the next one cannot clear up",
                file.display()
            ));
            self.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::datetime;

    fn state_with(prompts: Vec<PendingPrompt>) -> RunState {
        RunState {
            pid: 7,
            started: datetime!(2026-11-24 23:00:04 -5),
            url: "http://127.0.0.1:8188".into(),
            folder: "/logs/20261124-230004".into(),
            ended: false,
            prompts,
        }
    }

    #[test]
    fn the_file_follows_every_change_and_goes_when_nothing_is_left() {
        let file = std::env::temp_dir().join(format!("state_file-{}.json", std::process::id()));
        let read = || RunState::read(&file).map(|state| (state.ended, state.prompts));
        let mut state = StateFile::create(Some(file.clone()), state_with(Vec::new()));
        assert_eq!(read(), Some((false, Vec::new())));
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
        let mut state = StateFile::create(Some(file.clone()), RunState::read(&file).unwrap());
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
    fn what_is_no_state_is_none() {
        let file = std::env::temp_dir().join(format!("no-state-{}.json", std::process::id()));
        for text in ["", "{", "[]", "{\"Pid\": -1}", "{\"Pid\": 1, \"Started\": 5}"] {
            fs::write(&file, text).unwrap();
            assert_eq!(RunState::read(&file), None, "{text}");
        }
        fs::remove_file(&file).unwrap();
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
            let prompts: Vec<_> =
                value["Prompts"].as_array().unwrap().iter().filter_map(prompt).collect();
            prop_assert_eq!(prompts, state.prompts);
        }
    }
}
