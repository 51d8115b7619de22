//! Downloading a prompt's files: streamed under a temporary name, then renamed.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::time::Duration;

use super::context::RunContext;
use crate::comfyui::{ErrorKind, HistoryEntry, HttpError, OutputFile};
use crate::fs::{create_temp, extension, is_image, is_video, write_atomic};
use crate::interrupt::Interrupted;
use crate::report::record::Output;
use crate::sanitize::{file_name, first_of};
use crate::sleep;

/// What became of an entry's files.
#[derive(Debug, Default)]
pub struct Downloaded {
    /// Those that came, in the order of the entry.
    pub outputs: Vec<Output>,
    /// Why the others did not, one line; empty where all came.
    pub why: String,
    /// One is gone from the server (404): asking again is of no use.
    pub gone: bool,
    /// The time between two bytes ran out for one.
    pub timed_out: bool,
}

/// Something to be brought into the run folder.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'e> {
    File(&'e OutputFile),
    /// What a node shows.
    Text(&'e str),
}

enum FileError {
    Interrupted,
    /// The server or the disk failed.
    Failed(Option<ErrorKind>, String),
}

impl From<Interrupted> for FileError {
    fn from(_: Interrupted) -> Self {
        FileError::Interrupted
    }
}

impl From<HttpError> for FileError {
    fn from(error: HttpError) -> Self {
        FileError::Failed(Some(error.kind.clone()), error.to_string())
    }
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        FileError::Failed(None, error.to_string())
    }
}

impl RunContext<'_> {
    /// Puts the files of sequences in place of their patterns: from 1 to the first that the server
    /// does not have.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn expand_sequences(&mut self, files: &mut Vec<OutputFile>) -> Result<(), Interrupted> {
        for file in std::mem::take(files) {
            let before = files.len();
            for next in (1..).map_while(|n| file.of_sequence(n)) {
                self.events.check()?;
                if !self.client.has_file(&next).unwrap_or(false) {
                    break;
                }
                files.push(next);
            }
            // A name, or a pattern of which there is no file: asking for it says so.
            if files.len() == before {
                files.push(file);
            }
        }
        Ok(())
    }

    /// Brings the files and texts of an entry home; what does not come is asked for again within the
    /// scene's budget of retries, and does not keep the others from coming.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn download(
        &mut self,
        scene: &str,
        entry: &HistoryEntry,
    ) -> Result<Downloaded, Interrupted> {
        let contents = destinations(scene, entry);
        let mut sizes: Vec<Option<u64>> = vec![None; contents.len()];
        let mut left = self.options.scene_retry_budget;
        let mut waits = self.restarts_server();
        loop {
            let mut result = Downloaded::default();
            let mut problems: Vec<String> = Vec::new();
            let (mut again, mut away) = (false, false);
            for ((content, path), size) in contents.iter().zip(&mut sizes) {
                if size.is_none() {
                    match self.bring(*content, path) {
                        Ok(bytes) => *size = Some(bytes),
                        Err(FileError::Interrupted) => return Err(Interrupted),
                        Err(FileError::Failed(kind, mut why)) => {
                            let gone = kind == Some(ErrorKind::Status(404));
                            let refused = kind == Some(ErrorKind::Status(400));
                            if refused
                                && matches!(content, Content::File(file) if file.filename.contains(".."))
                            {
                                why.push_str(
                                    " (ComfyUI hands out no file with .. in its name: give it \
                                     another filename_prefix)",
                                );
                            }
                            again |= !gone && !refused;
                            away |= matches!(kind, Some(ErrorKind::Refused | ErrorKind::Reset));
                            result.gone |= gone;
                            result.timed_out |= kind == Some(ErrorKind::Timeout);
                            problems.push(format!("{path}: {why}"));
                        }
                    }
                }
                result.outputs.extend(size.map(|bytes| Output { path: path.clone(), bytes }));
            }
            result.why = first_of(problems, 5, |more| format!("and {more} more"));
            // A server that is started again has the files, too.
            if away && std::mem::take(&mut waits) {
                self.warn(scene, &format!("{}: waiting for ComfyUI", result.why));
                if self.wait_for_server()? {
                    continue;
                }
            }
            if !again || left == 0 {
                return Ok(result);
            }
            left -= 1;
            self.warn(scene, &format!("{}: downloading again", result.why));
            self.events.wait(Duration::from_secs(1))?;
        }
    }

    /// Writes one file or text, whole or not at all. Returns how many bytes it has.
    fn bring(&mut self, content: Content, path: &str) -> Result<u64, FileError> {
        self.events.check()?;
        let target = self.folder.join(path);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = match content {
            Content::File(file) => file,
            Content::Text(text) => {
                write_atomic(&target, text.as_bytes())?;
                return Ok(text.len() as u64);
            }
        };
        let (out, part) = create_temp(&target)?;
        let bytes = self.transfer(file, out)?;
        part.rename_to(&target)?;
        Ok(bytes)
    }

    /// Streams a file to the disk, at least 64 kB of it within each `PostExecutionTimeout`.
    fn transfer(&mut self, file: &OutputFile, mut out: File) -> Result<u64, FileError> {
        let (length, mut body) = self.client.view(file)?;
        let (mut bytes, mut head) = (0, Vec::new());
        let mut progress = (sleep::now(), 0);
        let mut chunk = vec![0; 64 << 10];
        loop {
            let read = body.read(&mut chunk);
            // It may be what has cut the reading off.
            self.events.check()?;
            let count = read.map_err(|error| self.client.view_error(error))?;
            if count == 0 {
                break;
            }
            out.write_all(&chunk[..count])?;
            head.extend(chunk[..count].iter().take(HEAD - head.len()));
            bytes += count as u64;
            if bytes - progress.1 >= PROGRESS {
                progress = (sleep::now(), bytes);
            } else if sleep::now() >= progress.0 + self.options.post_execution_timeout {
                let why = format!("less than 64 kB in time, {bytes} bytes in all");
                return Err(self.client.error("GET /view", ErrorKind::Timeout, &why).into());
            }
        }
        let why = match length {
            Some(length) if length != bytes => {
                Some(format!("{bytes} bytes came, {length} were announced"))
            }
            Some(length) if self.client.had_surplus() => {
                Some(format!("more than the {length} bytes came that were announced"))
            }
            _ => other_content(&file.filename, &head).map(str::to_owned),
        };
        why.map_or(Ok(bytes), |why| Err(FileError::Failed(None, why)))
    }
}

/// What a transfer has to bring within `PostExecutionTimeout`, in bytes.
const PROGRESS: u64 = 64 << 10;
/// So many bytes of a file tell what it is.
const HEAD: usize = 64;

/// What stands in a file's place, by its first bytes: a proxy or a login answers 200 too.
fn other_content(name: &str, head: &[u8]) -> Option<&'static str> {
    let extension = &*extension(name);
    let is_media = is_image(name)
        || is_video(name)
        || ["glb", "mp3", "wav", "flac", "opus", "ogg", "m4a"].contains(&extension);
    let text = String::from_utf8_lossy(head).trim_start().to_ascii_lowercase();
    let text = text.trim_start_matches('\u{feff}');
    let is_page = text.starts_with("<!doctype html")
        || text.starts_with("<html")
        || is_media && text.starts_with('<');
    let is_text = head.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    if is_page && !["html", "htm", "svg", "xml", "txt", "md"].contains(&extension) {
        Some("a web page came in its place: is there a login or a proxy before ComfyUI?")
    } else if is_media && head.is_empty() {
        Some("it is empty")
    } else if is_media && text.starts_with(['{', '[']) {
        Some("JSON came in its place")
    } else if is_media && is_text {
        Some("text came in its place")
    } else {
        None
    }
}

/// Where each file and text goes in the run folder, with forward slashes: the first mp4 becomes
/// `video/<scene>/<scene>.mp4`, other videos lie beside it, the rest in `outputs/<scene>/`, a text
/// there as `<node>.txt`.
pub(super) fn destinations<'e>(scene: &str, entry: &'e HistoryEntry) -> Vec<(Content<'e>, String)> {
    let is_mp4 = |file: &OutputFile| extension(&file.filename) == "mp4";
    let first = entry.files.iter().position(is_mp4);
    let (mut taken, mut copies) = (HashSet::new(), HashMap::new());
    if first.is_some() {
        taken.insert(format!("video/{scene}/{scene}.mp4").to_lowercase());
    }
    let files = entry.files.iter().map(|file| (Content::File(file), file_name(&file.filename)));
    let texts = entry.texts.iter();
    let texts = texts.map(|(id, text)| (Content::Text(text), file_name(&format!("{id}.txt"))));
    let place = |(index, (content, mut name)): (usize, (Content<'e>, String))| {
        if Some(index) == first {
            return (content, format!("video/{scene}/{scene}.mp4"));
        }
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
        (content, path)
    };
    files.chain(texts).enumerate().map(place).collect()
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
        let texts = vec![("7".to_owned(), "a".to_owned())];
        let entry = HistoryEntry { files: files.into(), texts, ..HistoryEntry::example() };
        let places: Vec<_> =
            destinations("flow", &entry).into_iter().map(|(_, path)| path).collect();
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
                "outputs/flow/7.txt",
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
        let files = (0..100_000).map(file).collect();
        let entry = HistoryEntry { files, ..HistoryEntry::example() };
        let places = destinations("flow", &entry);
        assert_eq!(places[99_999].1, "outputs/flow/A-100000.png");
    }

    #[test]
    fn what_stands_in_a_file_s_place_is_named() {
        for (name, head, wanted) in [
            ("a.png", "\n <!DOCTYPE html><html>", Some("a web page")),
            ("a.latent", "<html lang=en>", Some("a web page")),
            ("a.html", "<html>", None),
            ("a.svg", "<html>", None),
            ("a.mp4", "{\"detail\": \"Not authenticated\"}", Some("JSON")),
            ("a.json", "{}", None),
            ("a.wav", "", Some("it is empty")),
            ("a.txt", "", None),
            ("a.png", "\u{89}PNG", None),
            ("a.png", "\u{feff}<!-- x --><head>", Some("a web page")),
            ("a.mp4", "Unauthorized", Some("text")),
        ] {
            let found = other_content(name, head.as_bytes());
            assert_eq!(found.is_some(), wanted.is_some(), "{name} {head}");
            assert!(found.unwrap_or_default().starts_with(wanted.unwrap_or_default()));
        }
    }
}
