//! Files written whole or not at all, and read only where they are files.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::sanitize::url_without_credentials;

/// A path as a person reads it: one below the current folder from there on.
pub fn from_here(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    inside(path, &here).unwrap_or(path).display().to_string()
}

/// A path from a folder on, where it lies in that. None of a root, which a scheduler starts programs in:
/// nobody stands there.
pub fn inside<'a>(path: &'a Path, folder: &Path) -> Option<&'a Path> {
    folder.parent()?;
    path.strip_prefix(folder).ok()
}

/// Largest text that is read: 64 MiB.
const LARGEST_TEXT: u64 = 64 << 20;
/// How long a pipe that holds headers or a key is read.
const PIPE_LIMIT: Duration = Duration::from_secs(5);
const NO_FILE: &str = "a pipe or a device: name a file";

/// Writes a file of our own by way of a temporary one in the same folder: sync, then rename, so that
/// readers see the old text or the new one. A link of that name is replaced, not followed.
///
/// # Errors
/// What the system said, without the path.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (mut file, temp) = create_temp(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    temp.rename_to(path)
}

/// Same as [`write_atomic`], of a report to the file that an option names; a link stays one.
///
/// # Errors
/// One line with the option and the path.
pub fn write_report(option: &str, path: &Path, text: &str) -> Result<(), String> {
    replaceable(path)
        .and_then(|path| write_atomic(&path, text.as_bytes()))
        .map_err(|error| format!("{option} {}: {error}", shown(path)))
}

/// A path as a message has it: it may have been meant as a URL.
fn shown(path: &Path) -> String {
    url_without_credentials(&path.display().to_string())
}

/// Checks that [`write_report`] can work, before hours are spent on what it is about, and that the
/// report would not take the place of one of the `inputs`.
///
/// # Errors
/// Same as [`write_report`].
pub fn check_writable(option: &str, path: &Path, inputs: &[PathBuf]) -> Result<(), String> {
    let named = |why: &dyn std::fmt::Display| format!("{option} {}: {why}", shown(path));
    let is_same = |input: &PathBuf| {
        path.canonicalize().is_ok_and(|path| input.canonicalize().is_ok_and(|input| input == path))
    };
    if inputs.iter().any(is_same) {
        return Err(named(&"that is read here, and would be replaced: name another file"));
    }
    replaceable(path).and_then(|path| create_temp(&path)).map_err(|error| named(&error))?;
    Ok(())
}

/// The file that a rename is to replace. Root could rename over `/dev/null` and `/dev/stdout` too,
/// and the whole system would miss them.
fn replaceable(path: &Path) -> io::Result<PathBuf> {
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(there) if !there.is_file() => {
            Err(io::Error::other("a pipe or a device, and it would be replaced: name a file"))
        }
        Ok(_) if path.is_symlink() => fs::canonicalize(path),
        // Writing it gives the error, if there is one.
        _ => Ok(path.to_owned()),
    }
}

/// The name of a file that has not its own yet; dropping it removes the file.
#[derive(Debug)]
pub struct TempFile {
    /// `<name>.<process>-<number>.part`, beside the name that the file will have.
    pub path: PathBuf,
}

impl TempFile {
    /// Gives the file its name, in place of what has it.
    ///
    /// # Errors
    /// What the system said.
    pub fn rename_to(self, path: &Path) -> io::Result<()> {
        rename(&self.path, path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        // Nothing is there once it was renamed: nobody else makes this name.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes an empty file beside `path`, under a name that nothing has: no link is followed, and
/// nobody's own `.part` is lost.
///
/// # Errors
/// What the system said, without the path.
pub fn create_temp(path: &Path) -> io::Result<(File, TempFile)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut name: OsString = path.as_os_str().to_owned();
        name.push(format!(".{}-{number}.part", std::process::id()));
        let path = PathBuf::from(name);
        match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            file => return Ok((file?, TempFile { path })),
        }
    }
}

/// Opens a file to be read. Pipes and devices are refused, without waiting for their other end.
///
/// # Errors
/// What the system said, without the path; it is no file.
pub fn open_file(path: &Path) -> io::Result<File> {
    let file = open_now(OpenOptions::new().read(true), path)?;
    check_is_file(&file)?;
    Ok(file)
}

/// Reads a part of a file: from there on, so many bytes at most.
///
/// # Errors
/// What the system said, without the path.
pub fn read_part(path: &Path, from: u64, most: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut part = Vec::new();
    file.take(most).read_to_end(&mut part)?;
    Ok(part)
}

/// Opens a file to be continued, and makes it where there is none. Refuses what
/// [`open_file`] refuses.
///
/// # Errors
/// Same as [`open_file`].
pub fn open_to_append(path: &Path) -> io::Result<File> {
    let file = open_now(OpenOptions::new().append(true).create(true), path);
    // Of a pipe that nobody reads.
    let file = file.map_err(|error| match fs::metadata(path) {
        Ok(about) if !about.is_file() && !about.is_dir() => io::Error::other(NO_FILE),
        _ => error,
    })?;
    check_is_file(&file)?;
    Ok(file)
}

fn check_is_file(file: &File) -> io::Result<()> {
    let about = file.metadata()?;
    match about.is_file() {
        true => Ok(()),
        false if about.is_dir() => Err(ErrorKind::IsADirectory.into()),
        false => Err(io::Error::other(NO_FILE)),
    }
}

/// Opening a pipe waits for its other end, unless it is told not to.
fn open_now(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, nix::libc::O_NONBLOCK);
    options.open(path)
}

/// The bytes of a file of at most so many. Of a pipe (a shell's `<(…)`) too, for 5 s.
///
/// # Errors
/// What the system said, without the path; more bytes; a device; a pipe into which nothing comes.
pub fn read_small(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut file = open_now(OpenOptions::new().read(true), path)?;
    let is_pipe = !file.metadata()?.is_dir() && check_is_file(&file).is_err();
    #[cfg(unix)]
    if is_pipe && !std::os::unix::fs::FileTypeExt::is_fifo(&file.metadata()?.file_type()) {
        return Err(io::Error::other(NO_FILE));
    }
    let (mut bytes, until) = (Vec::new(), Instant::now() + PIPE_LIMIT);
    loop {
        let read =
            Read::by_ref(&mut file).take(most + 1 - bytes.len() as u64).read_to_end(&mut bytes);
        if bytes.len() as u64 > most {
            return Err(io::Error::other(format!("larger than {} MiB", most >> 20)));
        }
        match read {
            // Nobody has it open yet, or nothing has come.
            Ok(_) if is_pipe && bytes.is_empty() => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            read => return read.map(|_| bytes),
        }
        if Instant::now() >= until {
            return Err(io::Error::other("a pipe that does not end within 5 s: name a file"));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Renames over an existing file. On Windows a reader or a virus scanner may hold it open for a
/// moment: it is tried again for up to a quarter of a second, during which the calling thread
/// sleeps.
///
/// # Errors
/// What the system said.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    for _ in 0..25 {
        match fs::rename(from, to) {
            Err(error) if is_held(&error) => thread::sleep(Duration::from_millis(10)),
            result => return result,
        }
    }
    fs::rename(from, to)
}

/// The text of a file of at most 64 MiB: UTF-8, or UTF-16 with a byte order mark, which is left out.
///
/// # Errors
/// What the system said, without the path; another encoding; no file, or a larger one.
pub fn read_text(path: &Path) -> io::Result<String> {
    let (file, mut bytes) = (open_file(path)?, Vec::new());
    if file.take(LARGEST_TEXT + 1).read_to_end(&mut bytes)? as u64 > LARGEST_TEXT {
        return Err(io::Error::other("larger than 64 MiB"));
    }
    let utf16 = |unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> =
            bytes[2..].chunks_exact(2).map(|two| unit([two[0], two[1]])).collect();
        String::from_utf16(&units).ok()
    };
    let text = match bytes.as_slice() {
        [0xff, 0xfe, ..] => utf16(u16::from_le_bytes),
        [0xfe, 0xff, ..] => utf16(u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, text @ ..] => str::from_utf8(text).ok().map(str::to_owned),
        _ => String::from_utf8(bytes).ok(),
    };
    text.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a text (UTF-8 or UTF-16)"))
}

/// The names in a folder, in the order of their bytes.
///
/// # Errors
/// What the system said, without the path.
pub fn names_in(folder: &Path) -> io::Result<Vec<OsString>> {
    let names = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

/// Whether a file is a video, by its name.
pub fn is_video(name: &str) -> bool {
    ["mp4", "webm", "mkv", "mov", "avi", "m4v", "mpg", "mpeg"].contains(&&*extension(name))
}

/// Whether a file is an image, by its first bytes: PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF.
pub fn has_image_content(head: &[u8]) -> bool {
    let at = |from: usize, wanted: &[u8]| head.get(from..).is_some_and(|it| it.starts_with(wanted));
    let starts: [&[u8]; 6] =
        [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*"];
    starts.iter().any(|start| at(0, start))
        || (at(0, b"RIFF") && at(8, b"WEBP"))
        // The size of a BMP's own header, which no text has.
        || (at(0, b"BM") && head.get(14..18).is_some_and(|size| size[0] >= 12 && size[1..] == [0; 3]))
        || (at(4, b"ftyp") && (at(8, b"avif") || at(8, b"avis") || at(8, b"mif1")))
}

/// Whether a file is an image, by its name.
pub fn is_image(name: &str) -> bool {
    ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "avif"].contains(&&*extension(name))
}

/// The extension of a name in small letters, empty where there is none.
pub fn extension(name: &str) -> String {
    Path::new(name).extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// Whether somebody else has one of the two files open: the replaced one is `ERROR_ACCESS_DENIED`
/// then, the renamed one `ERROR_SHARING_VIOLATION`.
fn is_held(error: &io::Error) -> bool {
    cfg!(windows) && matches!(error.raw_os_error(), Some(5 | 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(windows)]
    #[test]
    fn a_file_that_somebody_has_open_is_replaced_once_they_let_go() {
        use std::os::windows::fs::OpenOptionsExt;

        let folder = std::env::temp_dir().join(format!("held-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (from, to) = (folder.join("a.part"), folder.join("a"));
        for held in [&from, &to] {
            fs::write(&from, "new").unwrap();
            fs::write(&to, "old").unwrap();
            // As a virus scanner does: others may read.
            let open = || fs::OpenOptions::new().read(true).share_mode(1).open(held).unwrap();
            let reader = open();
            let releasing = thread::spawn(move || {
                thread::sleep(Duration::from_millis(30));
                drop(reader);
            });
            rename(&from, &to).unwrap();
            releasing.join().unwrap();
            assert_eq!(fs::read(&to).unwrap(), b"new");

            fs::write(&from, "newer").unwrap();
            let reader = open();
            assert!(rename(&from, &to).is_err());
            assert_eq!(fs::read(&to).unwrap(), b"new");
            drop(reader);
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_not_replaced_and_a_link_stays_one() {
        use std::os::unix::fs::{FileTypeExt, symlink};

        let folder = std::env::temp_dir().join(format!("replaced-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = |name: &str| folder.join(name);
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        symlink("socket", path("stdout")).unwrap();
        fs::write(path("file"), "old").unwrap();
        symlink("file", path("link")).unwrap();
        for name in ["socket", "stdout"] {
            let path = path(name);
            for tried in
                [check_writable("--html", &path, &[]), write_report("--html", &path, "new")]
            {
                let why = tried.unwrap_err();
                assert!(why.starts_with(&format!("--html {}: ", path.display())), "{why}");
                assert!(why.ends_with("name a file"), "{why}");
            }
        }
        assert!(fs::symlink_metadata(path("socket")).unwrap().file_type().is_socket());
        assert!(path("stdout").is_symlink());
        check_writable("--html", &path("link"), &[]).unwrap();
        write_report("--html", &path("link"), "new").unwrap();
        assert_eq!(
            (path("link").is_symlink(), fs::read(path("file")).unwrap()),
            (true, b"new".to_vec())
        );
        assert!(check_writable("--html", &path("link"), &[path("file")]).is_err());
        // Of a name of our own a link is none of ours.
        write_atomic(&path("link"), b"newer").unwrap();
        assert_eq!(fs::read(path("file")).unwrap(), b"new");
        assert_eq!(fs::read(path("link")).unwrap(), b"newer");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_is_replaced_and_nothing_else_stays() {
        let folder = std::env::temp_dir().join(format!("whole-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.json");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        // A folder of that name cannot be replaced; the temporary file goes all the same.
        fs::create_dir(folder.join("taken")).unwrap();
        assert!(write_atomic(&folder.join("taken"), b"x").is_err());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        assert!(write_atomic(&folder.join("no/such"), b"x").is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
