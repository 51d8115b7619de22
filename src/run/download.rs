//! Downloading a prompt's files: streamed under a temporary name, then renamed.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use super::context::RunContext;
use crate::comfyui::{ErrorKind, HistoryEntry, HttpError, OutputFile};
use crate::fs::{extension, is_video, rename, temp_path};
use crate::interrupt::Interrupted;
use crate::report::record::Output;
use crate::sanitize::file_name;

/// Why a file could not be downloaded.
#[derive(Debug)]
pub enum DownloadError {
    /// An interrupt arrived.
    Interrupted,
    /// The server or the disk failed.
    Failed {
        /// 404: the server's output folder has it no longer. Asking again is of no use.
        gone: bool,
        /// One line that names the file.
        why: String,
    },
}

impl From<Interrupted> for DownloadError {
    fn from(_: Interrupted) -> Self {
        DownloadError::Interrupted
    }
}

impl From<HttpError> for DownloadError {
    fn from(error: HttpError) -> Self {
        let gone = error.fault == ErrorKind::Status(404);
        DownloadError::Failed { gone, why: error.to_string() }
    }
}

impl From<io::Error> for DownloadError {
    fn from(error: io::Error) -> Self {
        DownloadError::Failed { gone: false, why: error.to_string() }
    }
}

impl RunContext<'_> {
    /// Downloads every file of the entry, again within the scene's budget of retries.
    ///
    /// # Errors
    /// The first file that could not be had.
    pub fn download_within_budget(
        &mut self,
        scene: &str,
        entry: &HistoryEntry,
    ) -> Result<Vec<Output>, DownloadError> {
        let mut left = self.options.scene_retry_budget;
        loop {
            match self.download(scene, entry) {
                Err(DownloadError::Failed { gone: false, why }) if left > 0 => {
                    left -= 1;
                    self.warn(scene, &format!("{why}: downloading again"));
                    self.events.wait(Duration::from_secs(1))?;
                }
                result => return result,
            }
        }
    }

    fn download(
        &mut self,
        scene: &str,
        entry: &HistoryEntry,
    ) -> Result<Vec<Output>, DownloadError> {
        let files = destinations(scene, &entry.files).into_iter();
        files
            .map(|(file, path)| {
                let bytes = self.download_file(&file, &path).map_err(|error| match error {
                    DownloadError::Failed { gone, why } => {
                        DownloadError::Failed { gone, why: format!("{path}: {why}") }
                    }
                    DownloadError::Interrupted => DownloadError::Interrupted,
                })?;
                Ok(Output { path, bytes })
            })
            .collect()
    }

    fn download_file(&mut self, file: &OutputFile, path: &str) -> Result<u64, DownloadError> {
        self.events.check()?;
        let target = self.folder.join(path);
        let part = temp_path(&target);
        let written = self.transfer(file, &part);
        let renamed = written.and_then(|bytes| Ok(rename(&part, &target).map(|()| bytes)?));
        if renamed.is_err() {
            // It may never have been made.
            let _ = fs::remove_file(&part);
        }
        renamed
    }

    /// Streams a file to the disk. Readings and an interrupt are taken between its chunks.
    fn transfer(&mut self, file: &OutputFile, to: &Path) -> Result<u64, DownloadError> {
        let (length, mut body) = self.client.view(file)?;
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut out = File::create(to)?;
        let mut bytes = 0;
        let mut chunk = vec![0; 64 << 10];
        loop {
            self.events.check()?;
            let count = body.read(&mut chunk).map_err(|error| self.client.broken_view(&error))?;
            if count == 0 {
                break;
            }
            out.write_all(&chunk[..count])?;
            bytes += count as u64;
        }
        match length {
            Some(length) if length != bytes => {
                let why = format!("{bytes} bytes came, {length} were announced");
                Err(DownloadError::Failed { gone: false, why })
            }
            _ => Ok(bytes),
        }
    }
}

/// Where each file goes in the run folder, with forward slashes: the first mp4 becomes
/// `video/<scene>/<scene>.mp4`, other videos lie beside it, the rest in `outputs/<scene>/`.
pub(super) fn destinations(scene: &str, files: &[OutputFile]) -> Vec<(OutputFile, String)> {
    let first = files.iter().position(|file| extension(&file.filename) == "mp4");
    let (mut taken, mut copies) = (HashSet::new(), HashMap::new());
    if first.is_some() {
        taken.insert(format!("video/{scene}/{scene}.mp4").to_lowercase());
    }
    let place = |(index, file): (usize, &OutputFile)| {
        if Some(index) == first {
            return (file.clone(), format!("video/{scene}/{scene}.mp4"));
        }
        let mut name = file_name(&file.filename);
        if extension(&name) == "part" {
            // Another file is called so while it is written.
            name.push('_');
        }
        let folder = if is_video(&name) { "video" } else { "outputs" };
        let mut path = format!("{folder}/{scene}/{name}");
        // Of many of one name each goes on where the one before it found a place.
        let copy = copies.entry(path.to_lowercase()).or_insert(1);
        while !taken.insert(path.to_lowercase()) {
            *copy += 1;
            let (stem, dot) = name
                .rsplit_once('.')
                .map_or((&*name, String::new()), |(stem, end)| (stem, format!(".{end}")));
            path = format!("{folder}/{scene}/{stem}-{copy}{dot}");
        }
        (file.clone(), path)
    };
    files.iter().enumerate().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn videos_and_the_rest_have_their_places_and_nothing_is_overwritten() {
        let file = |name: &str, subfolder: &str| OutputFile {
            filename: name.into(),
            subfolder: subfolder.into(),
            kind: "output".into(),
        };
        let files = [
            file("a.png", "x"),
            file("clip.webm", ""),
            file("flow_00001_.mp4", "video"),
            file("flow.mp4", "video"),
            file("A.png", "y"),
            file("../../a.png", ""),
            file("second.MP4", ""),
            file("second.MP4.Part", ""),
        ];
        let places: Vec<_> =
            destinations("flow", &files).into_iter().map(|(_, path)| path).collect();
        assert_eq!(
            places,
            [
                "outputs/flow/a.png",
                "video/flow/clip.webm",
                "video/flow/flow.mp4",
                "video/flow/flow-2.mp4",
                "outputs/flow/A-2.png",
                "outputs/flow/a-3.png",
                "video/flow/second.MP4",
                "outputs/flow/second.MP4.Part_",
            ]
        );
    }

    #[test]
    fn very_many_files_of_one_name_have_their_places_at_once() {
        let file = |n: usize| OutputFile {
            filename: ["a.png", "A.png"][n % 2].into(),
            subfolder: n.to_string(),
            kind: "output".into(),
        };
        let files: Vec<_> = (0..100_000).map(file).collect();
        let places = destinations("flow", &files);
        assert_eq!(places[99_999].1, "outputs/flow/A-100000.png");
    }
}
