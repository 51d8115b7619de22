//! Bringing a prompt's files home: streamed under a temporary name, then renamed.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;

use super::context::RunContext;
use crate::comfyui::{ErrorKind, HistoryEntry, OutputFile};
use crate::fs::{extension, is_video, rename, temp_path};
use crate::interrupt::Interrupted;
use crate::report::record::Output;
use crate::sanitize::file_name;

/// Why a file is not home.
#[derive(Debug)]
pub struct DownloadError {
    /// 404: somebody emptied the server's output folder. Asking again is of no use.
    pub gone: bool,
    /// One line that names the file.
    pub why: String,
}

/// Brings every file of the entry home.
///
/// # Errors
/// [`Interrupted`]; the inner one is the first file that could not be had.
pub fn fetch(
    stage: &mut RunContext,
    scene: &str,
    entry: &HistoryEntry,
) -> Result<Result<Vec<Output>, DownloadError>, Interrupted> {
    let mut outputs = Vec::new();
    for (file, path) in destinations(scene, &entry.files) {
        match fetch_one(stage, &file, &path)? {
            Ok(bytes) => outputs.push(Output { path, bytes }),
            Err(trouble) => return Ok(Err(trouble)),
        }
    }
    Ok(Ok(outputs))
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

fn fetch_one(
    stage: &mut RunContext,
    file: &OutputFile,
    path: &str,
) -> Result<Result<u64, DownloadError>, Interrupted> {
    stage.events.check()?;
    let target: PathBuf = stage.folder.join(path);
    let part = temp_path(&target);
    let trouble =
        |what: &dyn std::fmt::Display, gone| DownloadError { gone, why: format!("{path}: {what}") };
    let broken = |what: &dyn std::fmt::Display| trouble(what, false);
    let result = (|| {
        let (length, mut body) = match stage.client.view(file) {
            Ok(opened) => opened,
            Err(error) => {
                let gone = error.kind == ErrorKind::Status(404);
                return Ok(Err(trouble(&error, gone)));
            }
        };
        if let Some(Err(error)) = target.parent().map(fs::create_dir_all) {
            return Ok(Err(broken(&error)));
        }
        let mut out = match File::create(&part) {
            Ok(out) => out,
            Err(error) => return Ok(Err(broken(&error))),
        };
        let mut bytes = 0;
        let mut chunk = vec![0; 64 << 10];
        loop {
            // Readings and an interrupt are not kept waiting by a long transfer.
            stage.events.check()?;
            let count = match body.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => {
                    return Ok(Err(broken(&stage.client.view_error(error))));
                }
            };
            if let Err(error) = out.write_all(&chunk[..count]) {
                return Ok(Err(broken(&error)));
            }
            bytes += count as u64;
        }
        if length.is_some_and(|length| length != bytes) {
            let short =
                format!("{bytes} bytes came, {} were announced", length.unwrap_or_default());
            return Ok(Err(broken(&short)));
        }
        drop(out);
        Ok(rename(&part, &target).map(|()| bytes).map_err(|error| broken(&error)))
    })();
    if !matches!(result, Ok(Ok(_))) {
        // It may never have been made.
        let _ = fs::remove_file(&part);
    }
    result
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
