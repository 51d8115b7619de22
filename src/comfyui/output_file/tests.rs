//! Files of each format, made by hand: they are the fuzz target's corpus as well.

use std::fs::{self, File};
use std::io::Cursor;
use std::path::Path;

use super::*;

const PROMPT: &str = r#"{"1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}}"#;
const WORKFLOW: &str = r#"{"nodes": [{"id": 1, "type": "Note"}], "links": [], "version": 0.4}"#;

fn file(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/output_file");
    fs::read(folder.join(name)).unwrap()
}

type Texts = (Option<String>, Option<String>);

fn found(bytes: &[u8]) -> Result<Option<Texts>, String> {
    let found = embedded(&mut Cursor::new(bytes))?;
    Ok(found.map(|found| (found.prompt, found.workflow)))
}

#[test]
fn each_format_gives_its_texts() {
    let both = (Some(PROMPT.to_owned()), Some(WORKFLOW.to_owned()));
    for name in [
        "exr",
        "flac",
        "latent",
        "mkv",
        "mov",
        "mp3",
        "mp4",
        "opus",
        "png",
        "png-animated",
        "webm-live",
        "webp",
    ] {
        assert_eq!(found(&file(name)), Ok(Some(both.clone())), "{name}");
    }
    let prompt = (both.0.clone(), None);
    for name in ["mp3-2-3", "png-itxt"] {
        assert_eq!(found(&file(name)), Ok(Some(prompt.clone())), "{name}");
    }
    assert_eq!(found(&file("png-workflow-only")), Ok(Some((None, both.1.clone()))));
    // VideoHelperSuite's comment has the workflow as an object.
    for name in ["mp4-comment", "vorbis"] {
        let (prompt, workflow) = found(&file(name)).unwrap().unwrap();
        assert_eq!(prompt, both.0, "{name}");
        let workflow = json::parse(workflow.unwrap().as_bytes()).unwrap();
        assert_eq!(workflow, json::parse(WORKFLOW.as_bytes()).unwrap(), "{name}");
    }
}

#[test]
fn what_has_no_workflow_says_so() {
    let none = "without a workflow: was it edited or sent by a messenger?";
    for (name, wanted) in [
        ("jpeg", format!("a JPEG picture {none}")),
        ("mp3-none", format!("an MP3 file {none}")),
        ("mp4-none", format!("an MP4 file {none}")),
        ("png-claims-4-gb", format!("a PNG picture {none}")),
        ("png-compressed", "a PNG picture with compressed texts, which are not read".to_owned()),
        (
            "png-software",
            "a PNG picture of Some[31mProgram: it has no workflow of ComfyUI".to_owned(),
        ),
        ("png-none", format!("a PNG picture {none}")),
        (
            "png-other",
            "a PNG picture of AUTOMATIC1111's web UI or one like it: it has no workflow of ComfyUI"
                .to_owned(),
        ),
    ] {
        assert_eq!(found(&file(name)), Err(wanted), "{name}");
    }
    for name in ["empty", "not-one"] {
        assert_eq!(found(&file(name)), Ok(None), "{name}");
    }
}

/// A file that has only begun to be copied.
#[test]
fn a_file_cut_anywhere_is_no_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/output_file");
    for entry in fs::read_dir(folder).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        for end in 0..bytes.len() {
            let _ = found(&bytes[..end]);
        }
    }
}

/// Reads a large file of zeros between two parts, and counts what is read of it.
struct Sparse {
    begin: Vec<u8>,
    end: Vec<u8>,
    zeros: u64,
    at: u64,
    read: usize,
}

impl Read for Sparse {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begin = self.begin.len() as u64;
        for (count, slot) in buffer.iter_mut().enumerate() {
            let at = self.at;
            let byte = if at < begin {
                self.begin.get(usize::try_from(at).unwrap())
            } else if at < begin + self.zeros {
                Some(&0)
            } else {
                self.end.get(usize::try_from(at - begin - self.zeros).unwrap())
            };
            let Some(byte) = byte else { return Ok(count) };
            *slot = *byte;
            self.at += 1;
            self.read += 1;
        }
        Ok(buffer.len())
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.at.checked_add_signed(by).unwrap(),
            SeekFrom::End(_) => unimplemented!(),
        };
        Ok(self.at)
    }
}

#[test]
fn four_gigabytes_are_passed_over() {
    let film = file("mp4");
    let moov = film.windows(4).position(|four| four == b"moov").unwrap() - 4;
    let zeros = 4 << 30;
    let mut begin = film[..moov - 20].to_vec();
    begin.extend([0, 0, 0, 1]);
    begin.extend(b"mdat");
    begin.extend((zeros + 16_u64).to_be_bytes());
    let mut file = Sparse { begin, end: film[moov..].to_vec(), zeros, at: 0, read: 0 };
    let found = embedded(&mut file).unwrap().unwrap();
    assert_eq!(found.prompt.as_deref(), Some(PROMPT));
    assert!(file.read < 2000, "{}", file.read);
}

/// A folder of files, as the environment names it.
#[test]
#[ignore = "needs a folder of files: OUTPUT_FILES"]
fn a_folder_of_files() {
    for entry in fs::read_dir(std::env::var_os("OUTPUT_FILES").unwrap()).unwrap() {
        let path = entry.unwrap().path();
        let is_json = |text: &Option<String>| {
            text.as_ref().map(|text| json::parse(text.as_bytes()).is_some())
        };
        match embedded(&mut File::open(&path).unwrap()) {
            Ok(Some(found)) => {
                let (prompt, workflow) = (is_json(&found.prompt), is_json(&found.workflow));
                println!("{}: prompt {prompt:?}, workflow {workflow:?}", path.display());
            }
            other => println!("{}: {other:?}", path.display()),
        }
    }
}
