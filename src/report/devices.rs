//! The devices beside the run's own: each has a log, a block and an object in the metadata.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::vram::log::names;
use crate::vram::stats::{LogSummary, VramStats};

/// The key in the metadata; absent where a server has one device only.
const KEY: &str = "OtherDevices";

/// One device, and what its log says.
pub struct OtherDevice {
    /// Its place in the server's list.
    place: usize,
    /// As the server calls it; empty where nobody knows.
    name: String,
    log: PathBuf,
    vram: VramStats,
}

impl OtherDevice {
    /// The device of that place, from its log in the folder of a run.
    ///
    /// # Errors
    /// The log cannot be read; one line that names it.
    pub fn load(folder: &Path, place: usize, name: &str) -> Result<Self, String> {
        let log = folder.join(names::of_device(place));
        let summary =
            LogSummary::read(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        Ok(OtherDevice { place, name: name.to_owned(), log, vram: summary.stats })
    }

    /// All that have a log in the folder of a run, named as its metadata names them.
    ///
    /// # Errors
    /// A log cannot be read; one line that names it.
    pub fn all(folder: &Path, metadata: Option<&Value>) -> Result<Vec<Self>, String> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let device = |entry: fs::DirEntry| names::device_of(entry.file_name().to_str()?);
        let mut places: Vec<usize> = entries.filter_map(device).collect();
        places.sort_unstable();
        let known = metadata.and_then(|document| document[KEY].as_array());
        let name = |place: usize| {
            let device = known?.iter().find(|device| device["Gpu"] == json!(place))?;
            device["Device"].as_str().map(crate::sanitize::sanitize_line)
        };
        let load = |place| OtherDevice::load(folder, place, &name(place).unwrap_or_default());
        places.into_iter().map(load).collect()
    }

    /// An empty line, and the block of its statistics with a header of its own.
    pub fn block(&self, without_figures: &[(String, String)]) -> Vec<String> {
        let name = self.name.split(" : ").next().unwrap_or_default();
        let device = format!("device {} {name}", self.place);
        let header = format!("=== VRAM Usage Statistics: {} ===", device.trim_end());
        let lines = self.vram.block(Some(&self.log), without_figures).into_iter().skip(1);
        [String::new(), header].into_iter().chain(lines).collect()
    }

    fn json(&self) -> Value {
        json!({
            "Gpu": self.place,
            "Device": Some(&self.name).filter(|name| !name.is_empty()),
            "VramLog": names::of_device(self.place),
            "Vram": self.vram.json(),
            "Scenes": self.vram.scenes.iter().map(|scene| {
                json!({"SceneId": scene.id, "Vram": scene.json()})
            }).collect::<Vec<_>>(),
        })
    }
}

/// Adds them to a document, if there are any.
pub fn add(document: &mut Value, others: &[OtherDevice]) {
    if !others.is_empty() {
        document[KEY] = others.iter().map(OtherDevice::json).collect();
    }
}
