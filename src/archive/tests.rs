use std::convert::Infallible;
use std::process::Command;

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("archive-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.0.join("run").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn target(&self) -> PathBuf {
        self.0.join("artifacts/comfyui-e2e-20261124-230004.zip")
    }

    fn archive(&self) -> Result<u64, NoArchive<Infallible>> {
        write(&self.0.join("run"), "20261124-230004", &self.target(), || Ok(()), |_| {})
    }

    /// What the folder of the archive holds.
    fn left(&self) -> usize {
        fs::read_dir(self.0.join("artifacts")).map_or(0, Iterator::count)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Names and sizes, in order.
fn listed(target: &Path) -> Vec<(String, u64)> {
    let file = File::open(target).unwrap();
    let mut buffer = vec![0; rawzip::RECOMMENDED_BUFFER_SIZE];
    let archive = rawzip::ZipArchive::from_file(file, &mut buffer).unwrap();
    let mut entries = archive.entries(&mut buffer);
    let mut found = Vec::new();
    while let Some(entry) = entries.next_entry().unwrap() {
        let name = String::from_utf8(entry.file_path().as_ref().to_vec()).unwrap();
        found.push((name, entry.uncompressed_size_hint()));
    }
    found
}

#[test]
fn a_folder_is_whole_in_its_archive_in_the_order_of_names() {
    let folder = Folder::new("whole");
    folder.write("run-summary.txt", b"OK\n");
    folder.write("video/Grüße 映画/clip.mp4", &vec![7; CHUNK * 2 + 1]);
    folder.write("outputs/a.png", b"");
    folder.write("outputs/b.png.part", b"half");
    fs::create_dir_all(folder.0.join("run/steps")).unwrap();
    let size = folder.archive().unwrap();
    assert_eq!(size, fs::metadata(folder.target()).unwrap().len());
    let names = [
        ("20261124-230004/", 0),
        ("20261124-230004/outputs/", 0),
        ("20261124-230004/outputs/a.png", 0),
        ("20261124-230004/run-summary.txt", 3),
        ("20261124-230004/steps/", 0),
        ("20261124-230004/video/", 0),
        ("20261124-230004/video/Grüße 映画/", 0),
        ("20261124-230004/video/Grüße 映画/clip.mp4", CHUNK as u64 * 2 + 1),
    ];
    assert_eq!(listed(&folder.target()), names.map(|(name, size)| (name.to_owned(), size)));
    assert_eq!(folder.left(), 1);
    folder.archive().expect("an older one is replaced");
}

#[test]
fn given_up_it_leaves_nothing() {
    let folder = Folder::new("given-up");
    folder.write("video/clip.mp4", &vec![7; CHUNK * 3]);
    let mut chunks = 0;
    let between = || {
        chunks += 1;
        if chunks < 5 { Ok(()) } else { Err("interrupted") }
    };
    let run = folder.0.join("run");
    match write(&run, "top", &folder.target(), between, |_| {}) {
        Err(NoArchive::Stopped("interrupted")) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(folder.left(), 0);
}

#[test]
fn what_cannot_be_written_or_read_is_named() {
    let folder = Folder::new("failing");
    let failure = |folder: &Folder| match folder.archive() {
        Err(NoArchive::Failed(why)) => why,
        other => panic!("{other:?}"),
    };
    let why = failure(&folder);
    assert!(why.contains("run: "), "{why}");
    assert_eq!(folder.left(), 0);
    folder.write("a.txt", b"a");
    fs::create_dir_all(folder.target()).unwrap();
    let why = failure(&folder);
    assert!(why.contains("comfyui-e2e-20261124-230004.zip: "), "{why}");
    assert_eq!(folder.left(), 1);
    fs::remove_dir(folder.target()).unwrap();
    fs::remove_dir(folder.0.join("artifacts")).unwrap();
    fs::write(folder.0.join("artifacts"), "").unwrap();
    let why = failure(&folder);
    assert!(why.contains("artifacts: "), "{why}");
}

/// Whether other programs find it right: `unzip`, and Python's zipfile with every name.
fn others_agree(folder: &Folder, name: &str) {
    let target = folder.target();
    let script = "import sys, zipfile\n\
        z = zipfile.ZipFile(sys.argv[1])\n\
        assert z.testzip() is None\n\
        assert sys.argv[2] in z.namelist(), ascii(z.namelist())\n";
    let (target, top) = (target.to_str().unwrap(), format!("20261124-230004/{name}"));
    let commands = [("unzip", vec!["-tqq", target]), ("python3", vec!["-c", script, target, &top])];
    for (program, arguments) in commands {
        match Command::new(program).args(arguments).status() {
            Ok(status) => assert!(status.success(), "{program}"),
            Err(error) => eprintln!("NOT CHECKED: {program}: {error}"),
        }
    }
}

#[test]
fn other_programs_read_it() {
    let folder = Folder::new("others");
    let name = "video/Grüße 映画/clip.mp4";
    folder.write(name, &vec![7; CHUNK + 1]);
    folder.write("run-summary.txt", b"OK\n");
    folder.archive().unwrap();
    others_agree(&folder, name);
}

#[test]
#[ignore = "it writes 4 GiB"]
fn a_file_above_4_gib_is_in_it() {
    let folder = Folder::new("large");
    folder.write("video/large.mp4", b"");
    let large = File::options().write(true).open(folder.0.join("run/video/large.mp4")).unwrap();
    large.set_len((4 << 30) + 4321).unwrap();
    folder.write("z.txt", b"behind it");
    folder.archive().unwrap();
    let listed = listed(&folder.target());
    assert_eq!(listed[2].1, (4 << 30) + 4321);
    others_agree(&folder, "video/large.mp4");
    others_agree(&folder, "z.txt");
}
