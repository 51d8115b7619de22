//! The archive of a run: its finished folder as a zip file, stored and not compressed, since
//! videos and images are compressed already.

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rawzip::ZipArchiveWriter;
use rawzip::time::UtcDateTime;

use crate::files::{part_of, rename};

/// So much is copied between two calls of `between`.
const CHUNK: usize = 256 << 10;

/// Why there is no archive.
#[derive(Debug)]
pub enum NoArchive<E> {
    /// The caller gave it up.
    Stopped(E),
    /// One line that names the file and what the system said.
    Failed(String),
}

/// Puts everything in `folder` into the archive `target`, under the one folder `top`: files and
/// folders in the order of their names, links and `.part` files apart. The archive has its name
/// only when it is whole. `between` is called between chunks and may give it up; `pause` is how
/// the caller waits. Returns the archive's size in bytes.
///
/// A file that grows meanwhile is in it as far as it was read.
///
/// # Errors
/// It was given up, or a file could not be read or written. Then nothing of it is left.
pub fn write<E>(
    folder: &Path,
    top: &str,
    target: &Path,
    between: impl FnMut() -> Result<(), E>,
    pause: impl FnMut(Duration),
) -> Result<u64, NoArchive<E>> {
    let part = part_of(target);
    let written = fill(folder, top, &part, between).and_then(|bytes| {
        rename(&part, target, pause).map_err(failed(target))?;
        Ok(bytes)
    });
    if written.is_err() {
        // It may never have been made.
        let _ = fs::remove_file(&part);
    }
    written
}

fn fill<E>(
    folder: &Path,
    top: &str,
    part: &Path,
    mut between: impl FnMut() -> Result<(), E>,
) -> Result<u64, NoArchive<E>> {
    let parent = part.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(parent).map_err(failed(parent))?;
    let file = File::create(part).map_err(failed(part))?;
    let mut archive = ZipArchiveWriter::new(BufWriter::with_capacity(CHUNK, file));
    let zip = |error: rawzip::Error| NoArchive::Failed(format!("{}: {error}", part.display()));
    let mut chunk = vec![0; CHUNK];
    // Depth first, the next one last.
    let mut left = vec![(folder.to_owned(), top.to_owned())];
    while let Some((path, name)) = left.pop() {
        between().map_err(NoArchive::Stopped)?;
        let about = fs::symlink_metadata(&path).map_err(failed(&path))?;
        let modified = moment(about.modified().unwrap_or(UNIX_EPOCH));
        if about.is_dir() {
            let slash = format!("{name}/");
            let inside = archive.new_dir(slash.as_str()).last_modified(modified);
            inside.unix_permissions(0o755).create().map_err(zip)?;
            left.extend(entries(&path, &name)?);
            continue;
        }
        if !about.is_file() || path.extension().is_some_and(|end| end == "part") {
            continue;
        }
        let mut from = File::open(&path).map_err(failed(&path))?;
        let entry = archive.new_file(name.as_str()).last_modified(modified);
        let (mut entry, config) = entry.unix_permissions(0o644).start().map_err(zip)?;
        let mut to = config.wrap(&mut entry);
        loop {
            between().map_err(NoArchive::Stopped)?;
            match from.read(&mut chunk).map_err(failed(&path))? {
                0 => break,
                count => to.write_all(&chunk[..count]).map_err(failed(part))?,
            }
        }
        let (_, descriptor) = to.finish().map_err(zip)?;
        entry.finish(descriptor).map_err(zip)?;
    }
    let file = archive.finish().map_err(zip)?;
    let file = file.into_inner().map_err(|error| failed(part)(error.into_error()))?;
    file.sync_all().map_err(failed(part))?;
    file.metadata().map(|about| about.len()).map_err(failed(part))
}

/// What is in a folder, the last name first.
fn entries<E>(path: &Path, name: &str) -> Result<Vec<(PathBuf, String)>, NoArchive<E>> {
    let inside = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut inside: Vec<_> = inside
        .map_err(failed(path))?
        .iter()
        .map(|entry| (entry.path(), format!("{name}/{}", entry.file_name().to_string_lossy())))
        .collect();
    inside.sort_by(|one, other| other.1.cmp(&one.1));
    Ok(inside)
}

fn moment(time: SystemTime) -> UtcDateTime {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    UtcDateTime::from_unix(i64::try_from(seconds).unwrap_or(0))
}

fn failed<E>(path: &Path) -> impl Fn(io::Error) -> NoArchive<E> {
    let name = path.display().to_string();
    move |error| NoArchive::Failed(format!("{name}: {error}"))
}
