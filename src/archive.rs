//! A run's folder as one zip: stored, since videos and images do not shrink any further.
//!
//! The archive is written as `*.part` beside its own name, synced and renamed, so that a file
//! under its own name is whole. What is in it, and how:
//!
//! - Entries are `<top>/relative/path` with forward slashes, sorted folder by folder. A folder
//!   that nothing goes in of has an entry of its own.
//! - Names are UTF-8. What a name cannot hold (`\` and `:`, which mean something else inside a zip,
//!   and bytes that are no text) becomes `_` or U+FFFD; of two names that become the same
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
use std::io::{self, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::UNIX_EPOCH;

use rawzip::extra_fields::ExtraFieldId;
use rawzip::time::{DosDateTime, UtcDateTime, ZipDateTimeKind};
use rawzip::{Header, RECOMMENDED_BUFFER_SIZE, ZipArchive, ZipArchiveWriter};
use time::UtcOffset;

use crate::fs::{TempFile, create_temp, names_in, open_file};
use crate::interrupt::Interrupted;
use crate::sanitize::sanitize_line;

#[cfg(test)]
mod tests;

/// Bytes copied between two checks for an interrupt.
const CHUNK: usize = 256 << 10;

/// Bytes written between two syncs, so that the last one, which nothing can interrupt, is short: 2.5 s
/// on a disk that takes 100 MB/s. Four times as many made the whole slower.
const SYNC_EVERY: u64 = 256 << 20;

/// Why there is no archive.
#[derive(Debug, PartialEq, Eq)]
pub enum ArchiveError {
    /// Somebody wants the end of the program.
    Interrupted,
    /// One line: the file, and what the system said of it.
    Failed(String),
}

impl From<Interrupted> for ArchiveError {
    fn from(_: Interrupted) -> Self {
        ArchiveError::Interrupted
    }
}

/// Makes the error of a file from what the system said.
fn failed<E: Display>(name: impl Display) -> impl FnOnce(E) -> ArchiveError {
    move |error| ArchiveError::Failed(sanitize_line(&format!("{name}: {error}")))
}

/// The same of the zip's writer: what the system said of the archive, or what is wrong with a name.
fn zip_failed(name: &str, target: &Path) -> impl FnOnce(rawzip::Error) -> ArchiveError {
    move |error| match error.into_kind() {
        rawzip::ErrorKind::IO(error) => failed(target.display())(error),
        other => failed(name)(other),
    }
}

/// Writes what is in `folder` to `target`, under the folder `top`; an archive of that name is
/// replaced, and the folder that it lies in is made. Local times are those of `offset`. Returns a
/// line for each thing that is not in the archive, or not whole, and why: `flow.log: a link`.
///
/// `check` is called between files and between chunks of them. Nothing is left behind after an error.
///
/// # Errors
/// `check` found an interrupt, or something cannot be read or written.
pub fn write(
    folder: &Path,
    top: &str,
    target: &Path,
    offset: UtcOffset,
    check: &mut dyn FnMut() -> Result<(), Interrupted>,
) -> Result<Vec<String>, ArchiveError> {
    let is_absent = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let made: Vec<&Path> = target.ancestors().skip(1).take_while(is_absent).collect();
    let written = write_part(folder, top, target, offset, check).and_then(|(left_out, part)| {
        part.rename_to(target).map_err(failed(target.display()))?;
        Ok(left_out)
    });
    written.inspect_err(|_| {
        // They may have other things in them by now.
        for folder in made {
            let _ = fs::remove_dir(folder);
        }
    })
}

/// Writes the temporary file.
fn write_part(
    folder: &Path,
    top: &str,
    target: &Path,
    offset: UtcOffset,
    check: &mut dyn FnMut() -> Result<(), Interrupted>,
) -> Result<(Vec<String>, TempFile), ArchiveError> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(failed(target.display()))?;
    }
    let (out, part) = create_temp(target).map_err(failed(target.display()))?;
    let mut packer = Packer {
        archive: ZipArchiveWriter::new(BufWriter::new(&out)),
        out: &out,
        top,
        target,
        check,
        chunk: vec![0; CHUNK],
        unsynced: 0,
        left_out: Vec::new(),
    };
    // The run itself has to be there; of what is in it, a part may go meanwhile.
    fs::read_dir(folder).map_err(failed(folder.display()))?;
    packer.add_folder(folder, "")?;
    let Packer { archive, left_out, check, .. } = packer;
    archive.finish().map_err(zip_failed("", target))?;
    if !offset.is_utc() {
        write_local_times(target, &part.path, &out, offset, check)?;
    }
    out.sync_all().map_err(failed(target.display()))?;
    Ok((left_out, part))
}

struct Packer<'a> {
    archive: ZipArchiveWriter<BufWriter<&'a File>>,
    out: &'a File,
    top: &'a str,
    target: &'a Path,
    check: &'a mut dyn FnMut() -> Result<(), Interrupted>,
    chunk: Vec<u8>,
    unsynced: u64,
    left_out: Vec<String>,
}

impl Packer<'_> {
    /// Adds what the folder holds. `name` is its place in the archive, below `top`.
    fn add_folder(&mut self, path: &Path, name: &str) -> Result<(), ArchiveError> {
        let Some(names) = self.found(name, names_in(path))? else { return Ok(()) };
        let before = self.archive.stream_offset();
        let mut taken = HashSet::new();
        for own in names {
            (self.check)()?;
            let path = path.join(&own);
            let name = format!("{name}{}", zip_name(&own.to_string_lossy(), &mut taken));
            let Some(about) = self.found(&name, fs::symlink_metadata(&path))? else { continue };
            if about.is_dir() {
                self.add_folder(&path, &format!("{name}/"))?;
            } else if about.is_symlink() {
                self.leave_out(&name, "a link");
            } else if !about.is_file() {
                self.leave_out(&name, "neither file nor folder");
            } else if path.extension().is_none_or(|end| end != "part") {
                self.add_file(&path, &name)?;
            }
        }
        if self.archive.stream_offset() == before {
            let mut entry = self.archive.new_dir(format!("{}/{name}", self.top));
            // The top's own time is not kept.
            let about = fs::symlink_metadata(path).ok().filter(|_| !name.is_empty());
            if let Some(seconds) = about.and_then(|about| modified(&about)) {
                entry = entry.last_modified(UtcDateTime::from_unix(seconds.into()));
            }
            entry.create().map_err(zip_failed(name, self.target))?;
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path, name: &str) -> Result<(), ArchiveError> {
        let Some(file) = self.found(name, open_file(path))? else { return Ok(()) };
        let about = file.metadata().map_err(failed(name))?;
        let target = self.target;
        let mut entry = self.archive.new_file(format!("{}/{name}", self.top));
        if let Some(seconds) = modified(&about) {
            // The one that unzip looks at when it writes a file; rawzip writes the list's alone.
            let [a, b, c, d] = seconds.to_le_bytes();
            let id = ExtraFieldId::EXTENDED_TIMESTAMP;
            entry = entry
                .last_modified(UtcDateTime::from_unix(seconds.into()))
                .extra_field(id, &[1, a, b, c, d], Header::LOCAL)
                .map_err(zip_failed(name, target))?;
        }
        let (mut entry, config) = entry.start().map_err(zip_failed(name, target))?;
        let mut to = config.wrap(&mut entry);
        let mut from = file.take(about.len());
        loop {
            let count = match from.read(&mut self.chunk) {
                Ok(0) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                count => count.map_err(failed(name))?,
            };
            to.write_all(&self.chunk[..count]).map_err(failed(target.display()))?;
            self.unsynced += count as u64;
            if self.unsynced >= SYNC_EVERY {
                self.unsynced = 0;
                self.out.sync_data().map_err(failed(target.display()))?;
            }
            (self.check)()?;
        }
        let (_, sums) = to.finish().map_err(zip_failed(name, target))?;
        entry.finish(sums).map_err(zip_failed(name, target))?;
        if from.limit() > 0 {
            let (whole, read) = (about.len(), about.len() - from.limit());
            self.leave_out(name, &format!("{read} of {whole} bytes, it shrank meanwhile"));
        }
        Ok(())
    }

    /// What the system gave of a file or folder; `None` if it is gone, which leaves it out.
    fn found<T>(&mut self, name: &str, given: io::Result<T>) -> Result<Option<T>, ArchiveError> {
        match given {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.leave_out(name, "gone before it was read");
                Ok(None)
            }
            given => given.map(Some).map_err(failed(name)),
        }
    }

    fn leave_out(&mut self, name: &str, why: &str) {
        self.left_out.push(sanitize_line(&format!("{name}: {why}")));
    }
}

/// Writes local times over the entries' MS-DOS times, which rawzip writes in UTC: Windows and
/// Python show no others. They are at 10 in an entry's own header, at 12 in the list of them.
fn write_local_times(
    target: &Path,
    part: &Path,
    mut out: &File,
    offset: UtcOffset,
    check: &mut dyn FnMut() -> Result<(), Interrupted>,
) -> Result<(), ArchiveError> {
    let zip_failed = || zip_failed("", target);
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    // Opened a second time: reading here must not move where the other one writes.
    let part = File::open(part).map_err(failed(target.display()))?;
    let archive = ZipArchive::from_file(part, &mut buffer).map_err(zip_failed())?;
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry().map_err(zip_failed())? {
        check()?;
        let ZipDateTimeKind::Utc(utc) = entry.last_modified() else { continue };
        let local = UtcDateTime::from_unix(utc.to_unix() + i64::from(offset.whole_seconds()));
        let local = DosDateTime::from(&local);
        let [a, b] = local.packed_time().to_le_bytes();
        let [c, d] = local.packed_date().to_le_bytes();
        for at in [entry.local_header_offset() + 10, entry.central_directory_offset() + 12] {
            out.seek(SeekFrom::Start(at))
                .and_then(|_| out.write_all(&[a, b, c, d]))
                .map_err(failed(target.display()))?;
        }
    }
    Ok(())
}

/// Seconds since 1970, as far as a zip can hold them.
fn modified(about: &Metadata) -> Option<u32> {
    let since = about.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(u32::try_from(since.as_secs()).unwrap_or(u32::MAX))
}

/// A name as a zip can hold it, unlike its neighbours'.
fn zip_name(name: &str, taken: &mut HashSet<String>) -> String {
    let mut name = name.replace(['\\', ':'], "_");
    while !taken.insert(name.clone()) {
        name.push('_');
    }
    name
}
