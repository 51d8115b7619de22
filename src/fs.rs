//! Files written whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Writes a file by way of a temporary one in the same folder: sync, then rename, so that
/// readers see the old text or the new one. A link stays one.
///
/// # Errors
/// What the system said, without the path; something that is no file is there.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = replaceable(path)?;
    let part = temp_path(&path);
    let written = File::create(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.and_then(|()| rename(&part, &path)).inspect_err(|_| drop(fs::remove_file(&part)))
}

/// Same as [`write_atomic`], of a report to the file that an option names.
///
/// # Errors
/// One line with the option and the path.
pub fn write_report(option: &str, path: &Path, text: &str) -> Result<(), String> {
    write_atomic(path, text.as_bytes())
        .map_err(|error| format!("{option} {}: {error}", path.display()))
}

/// Checks that [`write_report`] can work, before hours are spent on what it is about.
///
/// # Errors
/// Same as [`write_report`].
pub fn check_writable(option: &str, path: &Path) -> Result<(), String> {
    let replaceable = replaceable(path).map(|path| temp_path(&path));
    replaceable
        .and_then(|part| File::create(&part).and_then(|_| fs::remove_file(&part)))
        .map_err(|error| format!("{option} {}: {error}", path.display()))
}

/// The file that a rename is to replace. Root could rename over `/dev/null` and `/dev/stdout` too,
/// and the whole system would miss them.
fn replaceable(path: &Path) -> io::Result<PathBuf> {
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(there) if !there.is_file() => {
            Err(io::Error::other("a pipe or a device, and it would be replaced: name a file"))
        }
        Ok(_) if path.is_symlink() => fs::canonicalize(path),
        // Writing it gives the error, if there is one.
        _ => Ok(path.to_owned()),
    }
}

/// The name under which a file is written before it has its own.
pub fn temp_path(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
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

/// The text of a file: UTF-8, or UTF-16 with a byte order mark, which is left out.
///
/// # Errors
/// What the system said, without the path; another encoding.
pub fn read_text(path: &Path) -> io::Result<String> {
    let bytes = fs::read(path)?;
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
            for tried in [check_writable("--html", &path), write_report("--html", &path, "new")] {
                let why = tried.unwrap_err();
                assert!(why.starts_with(&format!("--html {}: ", path.display())), "{why}");
                assert!(why.ends_with("name a file"), "{why}");
            }
        }
        assert!(fs::symlink_metadata(path("socket")).unwrap().file_type().is_socket());
        assert!(path("stdout").is_symlink());
        check_writable("--html", &path("link")).unwrap();
        write_atomic(&path("link"), b"new").unwrap();
        assert_eq!(
            (path("link").is_symlink(), fs::read(path("file")).unwrap()),
            (true, b"new".to_vec())
        );
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
