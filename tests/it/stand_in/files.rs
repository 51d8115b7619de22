//! The folders `output`, `temp` and `input`.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

const CLIP: &[u8] = include_bytes!("../../fixtures/clip.mp4");

/// Where a file lies: folder (`output`, `temp`, `input`), subfolder, name.
pub type Place = (String, String, String);

/// The files, and how far the numbers in their names have come.
#[derive(Default)]
pub struct Files {
    kept: HashMap<Place, Arc<[u8]>>,
    counters: HashMap<(String, String), u32>,
}

impl Files {
    /// The bytes of a file.
    pub fn read(&self, place: &Place) -> Option<Arc<[u8]>> {
        self.kept.get(place).map(Arc::clone)
    }

    /// Writes a file.
    pub fn write(&mut self, place: Place, bytes: Vec<u8>) {
        self.kept.insert(place, bytes.into());
    }

    /// Saves under the next number of the prefix, and says where, as a node's output does.
    pub fn save(&mut self, folder: &str, prefix: &str, extension: &str, bytes: Vec<u8>) -> Value {
        let prefix = prefix.replace('\\', "/");
        let (subfolder, stem) = prefix.rsplit_once('/').unwrap_or(("", &prefix));
        let counter = self.counters.entry((folder.to_owned(), prefix.clone())).or_default();
        *counter += 1;
        let name = format!("{stem}_{counter:05}_.{extension}");
        let place = (folder.to_owned(), subfolder.to_owned(), name.clone());
        self.write(place, bytes);
        json!({"filename": name, "subfolder": subfolder, "type": folder})
    }

    /// Somebody empties the folders that prompts write to.
    pub fn forget_outputs(&mut self) {
        self.kept.retain(|(folder, ..), _| folder == "input");
        self.counters.clear();
    }
}

/// A clip that plays, made longer by a box that players skip. The name in it makes it unlike
/// every other.
pub fn clip(name: &str, padding: usize) -> Vec<u8> {
    let mut note = name.as_bytes().to_vec();
    note.resize(name.len() + padding, 0);
    let length = u32::try_from(note.len() + 8).expect("padding below 4 GiB");
    [CLIP, &length.to_be_bytes(), b"free", &note].concat()
}

/// What `/view` calls the file's content.
pub fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("mp4") => "video/mp4",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        _ => "application/octet-stream",
    }
}
