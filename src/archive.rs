//! A run's folder as one zip: stored, since videos and images do not shrink any further.
//!
//! The archive is written as `*.part` beside its own name, synced and renamed, so that a file
//! under its own name is whole. What is in it, and how:
//!
//! - Entries are `<top>/relative/path` with forward slashes, sorted folder by folder. A folder
//!   that nothing goes in of has an entry of its own.
//! - Names are UTF-8. What cannot be said in one (`\` and `:`, which mean something else inside a
//!   zip, and bytes that are no text) becomes `_` or U+FFFD; of two names that become the same
//!   one, the later gets a `_` more.
//! - A file is taken as long as it was when it was opened. If it has grown since, the rest is
//!   left; if it has shrunk, the entry has what was read. Both ways the entry's size and checksum
//!   are those of the bytes in it.
//! - Links are not followed: they, and what is neither file nor folder, are left out and named.
//!   So is what vanishes before it is opened: a helper's temporary file is not worth the archive.
//!   What is there and cannot be read is an error. `*.part` files are left out unnamed.
//! - Times are there twice, as zip has them: UTC, and for Windows and Python the local time.

use std::collections::HashSet;
use std::fmt::Display;
use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::path::Path;
use std::time::Duration;

use rawzip::extra_fields::ExtraFieldId;
use rawzip::time::UtcDateTime;
use rawzip::{Header, ZipArchiveWriter};
use time::UtcOffset;

use crate::fs::{names_in, rename, temp_path};
use crate::sanitize::sanitize_line;

#[cfg(test)]
mod tests;
mod times;

/// Copied between two looks at what has arrived.
const CHUNK: usize = 256 << 10;

/// Written between two syncs, so that the last one, which nothing can interrupt, is short: 2.5 s
/// on a disk that takes 100 MB/s. Four times as many made the whole slower.
const SYNC_EVERY: u64 = 256 << 20;

const GONE: &str = "gone before it was read";

/// What an archive holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Files in it.
    pub files: u64,
    /// The size of the archive.
    pub bytes: u64,
    /// A line for each thing that is not in it, or not whole, and why: `flow.log: a link`.
    pub left_out: Vec<String>,
}

/// Writes what is in `folder` to `target`, under the folder `top`; an archive of that name is
/// replaced, and the folder that it lies in is made. Local times are those of `offset`.
///
/// `wait` is how the caller waits: that long, or not at all if it is zero, as between two chunks.
/// It may stop the whole. Nothing is left behind then, nor after an error.
///
/// # Errors
/// What `wait` said; the inner one is a line that names the file and what the system said of it.
pub fn write<E>(
    folder: &Path,
    top: &str,
    target: &Path,
    offset: UtcOffset,
    wait: &mut impl FnMut(Duration) -> Result<(), E>,
) -> Result<Result<Written, String>, E> {
    let part = temp_path(target);
    let absent = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let made: Vec<&Path> = target.ancestors().skip(1).take_while(absent).collect();
    let result = fill(folder, top, target, offset, wait).and_then(|written| {
        rename(&part, target).map_err(|error| trouble(target.display(), error))?;
        Ok(written)
    });
    result.map(Ok).or_else(|stop| {
        // It may never have been made, and the folders may have other things in them by now.
        let _ = fs::remove_file(&part);
        for folder in made {
            let _ = fs::remove_dir(folder);
        }
        match stop {
            Stop::Asked(asked) => Err(asked),
            Stop::Trouble(line) => Ok(Err(sanitize_line(&line))),
        }
    })
}

/// Why an archive was not finished.
enum Stop<E> {
    Asked(E),
    Trouble(String),
}

fn trouble<E>(name: impl Display, what: impl Display) -> Stop<E> {
    Stop::Trouble(format!("{name}: {what}"))
}

/// Writes the temporary file.
fn fill<E>(
    folder: &Path,
    top: &str,
    target: &Path,
    offset: UtcOffset,
    wait: &mut impl FnMut(Duration) -> Result<(), E>,
) -> Result<Written, Stop<E>> {
    let part = temp_path(target);
    let broken = |error| trouble(target.display(), error);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(broken)?;
    }
    let out = File::create(&part).map_err(broken)?;
    let mut packer = Packer {
        archive: ZipArchiveWriter::new(BufWriter::new(&out)),
        out: &out,
        top,
        target,
        wait,
        chunk: vec![0; CHUNK],
        unsynced: 0,
        written: Written::default(),
    };
    packer.folder(folder, "", None)?;
    let Packer { archive, mut written, wait, .. } = packer;
    archive.finish().map_err(|error| trouble(target.display(), error))?;
    if !offset.is_utc() {
        times::make_local(&part, &out, offset, wait)
            .map_err(|error| trouble(target.display(), error))?
            .map_err(Stop::Asked)?;
    }
    out.sync_all().map_err(broken)?;
    written.bytes = out.metadata().map_err(broken)?.len();
    Ok(written)
}

struct Packer<'a, W> {
    archive: ZipArchiveWriter<BufWriter<&'a File>>,
    out: &'a File,
    top: &'a str,
    target: &'a Path,
    wait: &'a mut W,
    chunk: Vec<u8>,
    unsynced: u64,
    written: Written,
}

impl<E, W: FnMut(Duration) -> Result<(), E>> Packer<'_, W> {
    /// Puts in what the folder holds. `name` is its place in the archive, below `top`.
    fn folder(&mut self, path: &Path, name: &str, about: Option<&Metadata>) -> Result<(), Stop<E>> {
        let names = match names_in(path) {
            Err(error) if is_gone(&error) && about.is_some() => {
                self.leave_out(name, GONE);
                return Ok(());
            }
            Err(error) if name.is_empty() => return Err(trouble(path.display(), error)),
            names => names.map_err(|error| trouble(name, error))?,
        };
        let before = self.archive.stream_offset();
        let mut taken = HashSet::new();
        for own in names {
            (self.wait)(Duration::ZERO).map_err(Stop::Asked)?;
            let path = path.join(&own);
            let name = format!("{name}{}", spelt(&own.to_string_lossy(), &mut taken));
            match fs::symlink_metadata(&path) {
                Err(error) if is_gone(&error) => self.leave_out(&name, GONE),
                Err(error) => return Err(trouble(name, error)),
                Ok(about) if about.is_dir() => {
                    self.folder(&path, &format!("{name}/"), Some(&about))?;
                }
                Ok(about) if about.is_symlink() => self.leave_out(&name, "a link"),
                Ok(about) if !about.is_file() => self.leave_out(&name, "neither file nor folder"),
                Ok(_) if path.extension().is_some_and(|end| end == "part") => {}
                Ok(_) => self.file(&path, &name)?,
            }
        }
        if self.archive.stream_offset() == before {
            let mut entry = self.archive.new_dir(format!("{}/{name}", self.top));
            if let Some(seconds) = about.and_then(times::modified) {
                entry = entry.last_modified(UtcDateTime::from_unix(seconds.into()));
            }
            entry.create().map_err(|error| refused(name, self.target, error))?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, name: &str) -> Result<(), Stop<E>> {
        let file = match File::open(path) {
            Err(error) if is_gone(&error) => {
                self.leave_out(name, GONE);
                return Ok(());
            }
            file => file.map_err(|error| trouble(name, error))?,
        };
        let about = file.metadata().map_err(|error| trouble(name, error))?;
        let target = self.target;
        let broken = |error: io::Error| trouble(target.display(), error);
        let refused = |error: rawzip::Error| refused(name, target, error);

        let mut entry = self.archive.new_file(format!("{}/{name}", self.top));
        if let Some(seconds) = times::modified(&about) {
            // The one that unzip looks at when it writes a file; rawzip writes the list's alone.
            let [a, b, c, d] = seconds.to_le_bytes();
            let id = ExtraFieldId::EXTENDED_TIMESTAMP;
            entry = entry
                .last_modified(UtcDateTime::from_unix(seconds.into()))
                .extra_field(id, &[1, a, b, c, d], Header::LOCAL)
                .map_err(refused)?;
        }
        let (mut entry, config) = entry.start().map_err(refused)?;
        let mut to = config.wrap(&mut entry);
        let mut from = file.take(about.len());
        loop {
            let count = match from.read(&mut self.chunk) {
                Ok(0) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                count => count.map_err(|error| trouble(name, error))?,
            };
            to.write_all(&self.chunk[..count]).map_err(broken)?;
            self.unsynced += count as u64;
            if self.unsynced >= SYNC_EVERY {
                self.unsynced = 0;
                self.out.sync_data().map_err(broken)?;
            }
            (self.wait)(Duration::ZERO).map_err(Stop::Asked)?;
        }
        let (_, sums) = to.finish().map_err(refused)?;
        entry.finish(sums).map_err(refused)?;
        self.written.files += 1;
        if from.limit() > 0 {
            let (whole, read) = (about.len(), about.len() - from.limit());
            self.leave_out(name, &format!("{read} of {whole} bytes, it shrank meanwhile"));
        }
        Ok(())
    }

    fn leave_out(&mut self, name: &str, why: &str) {
        self.written.left_out.push(sanitize_line(&format!("{name}: {why}")));
    }
}

/// An error of the zip's writer: what the system said of the archive, or what is wrong with a name.
fn refused<E>(name: &str, target: &Path, error: rawzip::Error) -> Stop<E> {
    match error.into_kind() {
        rawzip::ErrorKind::IO(error) => trouble(target.display(), error),
        other => trouble(name, other),
    }
}

/// A name as it can be said in a zip, unlike its neighbours'.
fn spelt(name: &str, taken: &mut HashSet<String>) -> String {
    let mut name = name.replace(['\\', ':'], "_");
    while !taken.insert(name.clone()) {
        name.push('_');
    }
    name
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
}
