//! The prompts of ours that have not been seen gone, on disk too: should this process be killed,
//! the next run knows them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::clock::{from_iso, iso};
use crate::comfyui::Ids;
use crate::fs::{rename, temp_path};
use crate::sanitize::sanitize_line;

/// A prompt of ours that has not been seen gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingPrompt {
    /// Its scene.
    pub scene: String,
    /// The ids we gave it.
    pub ids: Ids,
    /// The server's id for it, once it said so.
    pub accepted: Option<String>,
}

/// What a run left in the state file.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    /// Its process.
    pub pid: u32,
    /// When it began.
    pub started: OffsetDateTime,
    /// The server's URL without credentials.
    pub url: String,
    /// Its run folder.
    pub folder: PathBuf,
    /// Whether it came to its own end: then its summary has one.
    pub ended: bool,
    /// Its prompts that it has not seen gone.
    pub prompts: Vec<PendingPrompt>,
}

impl RunState {
    /// What the file tells; none where it is not there or is no such file.
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
                "ServerId": prompt.accepted,
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
        accepted: text("ServerId"),
    })
}

/// The prompts of this run and of those before it. Every change is on disk before it returns.
#[derive(Debug)]
pub struct StateFile {
    file: Option<PathBuf>,
    left: RunState,
    problem: Option<String>,
}

impl StateFile {
    /// Begins with what earlier runs left on that server. Without a file nothing is kept on disk.
    pub fn begin(file: Option<PathBuf>, left: RunState) -> Self {
        let mut ledger = StateFile { file, left, problem: None };
        ledger.write();
        ledger
    }

    /// Every prompt not yet seen gone, the oldest first.
    pub fn prompts(&self) -> &[PendingPrompt] {
        &self.left.prompts
    }

    /// Before a prompt is posted.
    pub fn post(&mut self, scene: &str, ids: &Ids) {
        let prompt = PendingPrompt { scene: scene.to_owned(), ids: ids.clone(), accepted: None };
        self.left.prompts.push(prompt);
        self.write();
    }

    /// The server has named the prompt of a POST.
    pub fn accepted(&mut self, ids: &Ids, id: &str) {
        if let Some(prompt) = self.left.prompts.iter_mut().find(|prompt| prompt.ids == *ids) {
            prompt.accepted = Some(id.to_owned());
            // Where the server took our name there is nothing that the file does not know.
            if ids.prompt != id {
                self.write();
            }
        }
    }

    /// The prompt of that POST never arrived, or is gone.
    pub fn forget(&mut self, ids: &Ids) {
        self.left.prompts.retain(|prompt| prompt.ids != *ids);
        self.write();
    }

    /// The prompt of that server's id has ended or was seen gone.
    pub fn gone(&mut self, id: &str) {
        self.left.prompts.retain(|prompt| prompt.accepted.as_deref() != Some(id));
        self.write();
    }

    /// The run has come to its own end: the file goes, unless a prompt is left that the next run
    /// has to see to.
    pub fn end(mut self) {
        self.left.ended = true;
        match &self.file {
            Some(file) if self.left.prompts.is_empty() => {
                // Then the next run finds one that has ended and left nothing.
                if fs::remove_file(file).is_err() {
                    self.write();
                }
            }
            _ => self.write(),
        }
    }

    /// Why the file could not be written, once.
    pub fn problem(&mut self) -> Option<String> {
        self.problem.take()
    }

    /// By rename, so that a reader sees one state or the other. It is not synced: what a power
    /// failure takes, it takes on the server too.
    fn write(&mut self) {
        let Some(file) = &self.file else { return };
        let part = temp_path(file);
        let text = format!("{:#}\n", self.left.json());
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

    fn left(prompts: Vec<PendingPrompt>) -> RunState {
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
        let file = std::env::temp_dir().join(format!("ledger-{}.json", std::process::id()));
        let read = || RunState::read(&file).map(|left| (left.ended, left.prompts));
        let mut ledger = StateFile::begin(Some(file.clone()), left(Vec::new()));
        assert_eq!(read(), Some((false, Vec::new())));
        let (one, two) = (Ids::random(), Ids::random());
        ledger.post("a", &one);
        assert_eq!(read().unwrap().1[0].ids, one);
        ledger.accepted(&one, "another");
        assert_eq!(read().unwrap().1[0].accepted.as_deref(), Some("another"));
        ledger.post("b", &two);
        ledger.gone("another");
        assert_eq!(read().unwrap().1.len(), 1);
        ledger.end();
        assert_eq!(read().map(|(ended, prompts)| (ended, prompts.len())), Some((true, 1)));
        let mut ledger = StateFile::begin(Some(file.clone()), RunState::read(&file).unwrap());
        ledger.forget(&two);
        ledger.end();
        assert!(!file.exists());
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told_once() {
        let file = std::env::temp_dir().join("no/such/folder/ledger.json");
        let mut ledger = StateFile::begin(Some(file), left(Vec::new()));
        assert!(ledger.problem().is_some());
        ledger.post("a", &Ids::random());
        assert_eq!((ledger.problem(), ledger.prompts().len()), (None, 1));
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
                .map(|(scene, accepted)| PendingPrompt { scene, ids: Ids::random(), accepted })
                .collect();
            let left = left(prompts);
            let value: Value = serde_json::from_str(&left.json().to_string()).unwrap();
            let prompts: Vec<_> =
                value["Prompts"].as_array().unwrap().iter().filter_map(prompt).collect();
            prop_assert_eq!(prompts, left.prompts);
        }
    }
}
