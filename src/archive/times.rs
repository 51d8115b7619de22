//! The times of an archive's entries.

use std::fs::{File, Metadata};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rawzip::time::{DosDateTime, UtcDateTime, ZipDateTimeKind};
use rawzip::{RECOMMENDED_BUFFER_SIZE, ZipArchive};
use time::UtcOffset;

/// Seconds since 1970, as far as a zip can say them.
pub fn modified(about: &Metadata) -> Option<u32> {
    let since = about.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(u32::try_from(since.as_secs()).unwrap_or(u32::MAX))
}

/// Makes local times of the entries' MS-DOS times, which rawzip writes in UTC: Windows and Python
/// show no others. They are at 10 in an entry's own header, at 12 in the list of them.
pub fn make_local<E>(
    part: &Path,
    mut out: &File,
    offset: UtcOffset,
    wait: &mut impl FnMut(Duration) -> Result<(), E>,
) -> Result<Result<(), E>, rawzip::Error> {
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    // A file of its own: where one is read must not move where the other is written.
    let archive = ZipArchive::from_file(File::open(part)?, &mut buffer)?;
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry()? {
        if let Err(stopped) = wait(Duration::ZERO) {
            return Ok(Err(stopped));
        }
        let ZipDateTimeKind::Utc(utc) = entry.last_modified() else { continue };
        let local = utc.to_unix() + i64::from(offset.whole_seconds());
        let local = DosDateTime::from(&UtcDateTime::from_unix(local));
        let [a, b] = local.packed_time().to_le_bytes();
        let [c, d] = local.packed_date().to_le_bytes();
        for at in [entry.local_header_offset() + 10, entry.central_directory_offset() + 12] {
            out.seek(SeekFrom::Start(at))?;
            out.write_all(&[a, b, c, d])?;
        }
    }
    Ok(Ok(()))
}
