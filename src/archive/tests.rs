//! What is written is read back by rawzip itself.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use rawzip::ZipArchive;
use rawzip::time::{DosDateTime, ZipDateTimeKind};
use time::macros::{datetime, offset};

use super::*;

mod names;
mod others;

/// A folder that goes with its test.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let place = std::env::temp_dir().join(format!("archive-{}-{number}", std::process::id()));
        fs::create_dir_all(place.join("run")).unwrap();
        Place(place)
    }

    fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    fn target(&self) -> PathBuf {
        self.0.join("artifacts/run.zip")
    }

    /// A file of the run.
    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.run().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// What is left out, or the line of the error.
    fn write(&self) -> Result<Vec<String>, String> {
        self.write_checking(UtcOffset::UTC, &mut never).map_err(|error| match error {
            ArchiveError::Failed(why) => why,
            ArchiveError::Interrupted => unreachable!("nothing interrupts it"),
        })
    }

    fn write_checking(
        &self,
        offset: UtcOffset,
        check: &mut dyn FnMut() -> Result<(), Interrupted>,
    ) -> Result<Vec<String>, ArchiveError> {
        write(&self.run(), "top", &self.target(), offset, check)
    }

    /// Only the run is there, not even the folder that was to be made.
    fn is_as_before(&self) -> bool {
        fs::read_dir(&self.0).unwrap().count() == 1
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what is handed in may stop the archive")]
fn never() -> Result<(), Interrupted> {
    Ok(())
}

/// Names and bytes in their order, sizes and checksums verified.
fn read(target: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = fs::read(target).unwrap();
    let archive = ZipArchive::from_slice(&bytes).unwrap();
    let mut entries = archive.entries();
    let mut found = Vec::new();
    while let Some(entry) = entries.next_entry().unwrap() {
        let name = String::from_utf8(entry.file_path().as_ref().to_vec()).unwrap();
        let inside = archive.get_entry(entry.wayfinder()).unwrap();
        let mut content = Vec::new();
        inside.verifying_reader(inside.data()).read_to_end(&mut content).unwrap();
        found.push((name, content));
    }
    found
}

fn names(target: &Path) -> Vec<String> {
    read(target).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn everything_is_in_it_in_order_and_part_files_are_not() {
    let place = Place::new();
    place.file("run-summary.txt", "one\n");
    place.file("video/a/a.mp4", vec![7; CHUNK * 2 + 5]);
    place.file("video/a/b.mp4.part", "half");
    place.file("video/ü ✓.webm", "");
    place.file("B", "b");
    fs::create_dir_all(place.run().join("steps/none")).unwrap();
    assert_eq!(place.write().unwrap(), [""; 0]);
    assert_eq!(
        read(&place.target()),
        [
            ("top/B".into(), b"b".to_vec()),
            ("top/run-summary.txt".into(), b"one\n".to_vec()),
            ("top/steps/none/".into(), vec![]),
            ("top/video/a/a.mp4".into(), vec![7; CHUNK * 2 + 5]),
            ("top/video/ü ✓.webm".into(), vec![]),
        ]
    );
    assert_eq!(fs::read_dir(place.target().parent().unwrap()).unwrap().count(), 1);
    // Once more: the same bytes, in place of the old ones.
    let before = fs::read(place.target()).unwrap();
    place.write().unwrap();
    assert_eq!(fs::read(place.target()).unwrap(), before);
}

#[test]
fn a_run_without_files_is_an_archive_with_its_folder() {
    let place = Place::new();
    place.write().unwrap();
    assert_eq!(names(&place.target()), ["top/"]);
}

/// 15 July, 10:20:30 UTC.
fn stamp(path: &Path) {
    let at = SystemTime::from(datetime!(2026-07-15 10:20:30 UTC));
    File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
}

fn write_at(place: &Place, offset: UtcOffset) {
    place.write_checking(offset, &mut never).unwrap();
}

#[test]
fn times_are_utc_and_for_windows_local() {
    let place = Place::new();
    stamp(&place.file("a.txt", "a"));
    stamp(&place.file("b.txt", "bc"));
    write_at(&place, offset!(-4:30));
    assert_eq!(names(&place.target()), ["top/a.txt", "top/b.txt"]);
    let bytes = fs::read(place.target()).unwrap();
    let archive = ZipArchive::from_slice(&bytes).unwrap();
    let mut entries = archive.entries();
    while let Some(entry) = entries.next_entry().unwrap() {
        let utc = UtcDateTime::from_components(2026, 7, 15, 10, 20, 30, 0).unwrap();
        assert_eq!(entry.last_modified(), ZipDateTimeKind::Utc(utc));
        let local = UtcDateTime::from_components(2026, 7, 15, 5, 50, 30, 0).unwrap();
        assert_eq!(entry.last_modified_dos(), DosDateTime::from(&local));
        let inside = archive.get_entry(entry.wayfinder()).unwrap();
        assert_eq!(inside.local_header().last_modified_dos(), DosDateTime::from(&local));
        assert_eq!(inside.local_header().last_modified(), ZipDateTimeKind::Utc(utc));
    }
}

#[test]
fn a_file_that_grows_is_as_long_as_it_was_and_one_that_shrinks_as_long_as_it_is() {
    let place = Place::new();
    let grows = place.file("a-grows", vec![1; CHUNK + 10]);
    let shrinks = place.file("b-shrinks", vec![2; CHUNK * 3]);
    let size = |path: &Path, bytes: usize| {
        File::options().write(true).open(path).unwrap().set_len(bytes as u64).unwrap();
    };
    let mut looks = 0;
    let mut check = || {
        looks += 1;
        match looks {
            2 => size(&grows, CHUNK * 2),
            5 => size(&shrinks, CHUNK + 1),
            _ => {}
        }
        never()
    };
    let left_out = place.write_checking(UtcOffset::UTC, &mut check).unwrap();
    let note = format!("b-shrinks: {} of {} bytes, it shrank meanwhile", CHUNK + 1, CHUNK * 3);
    assert_eq!(left_out, [note]);
    let found = read(&place.target());
    assert_eq!(found[0].1, vec![1; CHUNK + 10]);
    assert_eq!(found[1].1, vec![2; CHUNK + 1]);
}

#[test]
fn what_vanishes_is_left_out_and_named() {
    let place = Place::new();
    place.file("a", "a");
    let file = place.file("b", "b");
    let folder = place.file("c/d", "d").parent().unwrap().to_owned();
    let mut looks = 0;
    let mut check = || {
        looks += 1;
        if looks == 2 {
            fs::remove_file(&file).unwrap();
            fs::remove_dir_all(&folder).unwrap();
        }
        never()
    };
    let left_out = place.write_checking(UtcOffset::UTC, &mut check).unwrap();
    let wanted = ["b: gone before it was read", "c: gone before it was read"];
    assert_eq!(left_out, wanted);
    assert_eq!(names(&place.target()), ["top/a"]);
}

#[test]
fn an_interrupt_at_any_moment_leaves_nothing() {
    let place = Place::new();
    place.file("a", vec![1; CHUNK * 2]);
    place.file("b/c", "c");
    let looks = Cell::new(0);
    let mut stopped = 0;
    for last in 1.. {
        looks.set(0);
        let mut check = || {
            looks.set(looks.get() + 1);
            if looks.get() == last { Err(Interrupted) } else { Ok(()) }
        };
        match place.write_checking(offset!(+2), &mut check) {
            Err(ArchiveError::Interrupted) => assert!(place.is_as_before(), "after look {last}"),
            result => {
                result.unwrap();
                break;
            }
        }
        stopped = last;
    }
    // A look for each of a, b and c, one for each of 3 chunks, one for the time of each entry.
    assert_eq!(stopped, 8);
    assert_eq!(names(&place.target()), ["top/a", "top/b/c"]);
}

#[test]
fn an_error_names_the_file_and_leaves_nothing() {
    let place = Place::new();
    place.file("a", "a");
    // A folder of the archive's name is in its way, at the very end.
    fs::create_dir_all(place.target().join("x")).unwrap();
    let error = place.write().unwrap_err();
    assert!(error.starts_with(&format!("{}: ", place.target().display())), "{error}");
    assert_eq!(fs::read_dir(place.target().parent().unwrap()).unwrap().count(), 1);
    fs::remove_dir_all(place.target().parent().unwrap()).unwrap();
    // A file where the archive's folder should be.
    fs::write(place.0.join("artifacts"), "").unwrap();
    assert!(place.write().is_err());
    assert_eq!(fs::read_dir(&place.0).unwrap().count(), 2);
    fs::remove_file(place.0.join("artifacts")).unwrap();
    // No run.
    fs::remove_dir_all(place.run()).unwrap();
    let error = place.write().unwrap_err();
    assert!(error.starts_with(&format!("{}: ", place.run().display())), "{error}");
    assert_eq!(fs::read_dir(&place.0).unwrap().count(), 0);
}
