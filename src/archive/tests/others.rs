//! What is written is read back by other programs, where they are there.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

/// A program's output, or none and a line that says that nothing was tested.
fn output(program: &str, arguments: &[&str], target: &Path) -> Option<String> {
    let mut there = Command::new(program);
    there.arg("-h").stdout(Stdio::null()).stderr(Stdio::null());
    // Windows has a python3 that only says where to get one.
    if !there.status().is_ok_and(|status| status.success()) {
        // Not eprintln!, which the test's harness would keep to itself.
        let line = format!("SKIPPED: no {program} here, the archive was not read with it\n");
        io::stderr().write_all(line.as_bytes()).unwrap();
        return None;
    }
    let arguments = arguments.iter().map(|argument| match *argument {
        "TARGET" => target.as_os_str(),
        argument => argument.as_ref(),
    });
    // A time zone that is neither the offset nor UTC would show what is taken for what.
    let utf8 = [("LC_ALL", "C.UTF-8"), ("PYTHONUTF8", "1"), ("TZ", "XXX-5")];
    let done = Command::new(program).args(arguments).envs(utf8).output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{text}{}", String::from_utf8_lossy(&done.stderr));
    Some(text)
}

const PYTHON: &str = "
import sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
assert z.testzip() is None
for i in z.infolist(): print(i.filename, i.file_size, *i.date_time, i.compress_type, sep='|')
";

fn for_others() -> Place {
    let place = Place::new();
    stamp(&place.file("video/Grüße 東京 ✓.mp4", vec![3; CHUNK + 1]));
    stamp(&place.file("plain.txt", "text"));
    fs::create_dir(place.run().join("steps")).unwrap();
    write_at(&place, offset!(+2));
    place
}

#[test]
fn unzip_reads_it() {
    let place = for_others();
    let Some(list) = output("unzip", &["-l", "TARGET"], &place.target()) else { return };
    assert!(list.contains("4  2026-07-15 15:20   top/plain.txt\n"), "{list}");
    assert!(list.contains("top/steps/\n"), "{list}");
    assert!(list.contains("262145  2026-07-15 15:20   top/video/Grüße 東京 ✓.mp4\n"), "{list}");
    output("unzip", &["-tq", "TARGET"], &place.target()).unwrap();
    let to = place.0.join("out");
    output("unzip", &["-q", "TARGET", "-d", to.to_str().unwrap()], &place.target()).unwrap();
    let file = to.join("top/video/Grüße 東京 ✓.mp4");
    assert_eq!(fs::read(&file).unwrap(), vec![3; CHUNK + 1]);
    let at = SystemTime::from(datetime!(2026-07-15 10:20:30 UTC));
    assert_eq!(fs::metadata(file).unwrap().modified().unwrap(), at);
    assert!(to.join("top/steps").is_dir());
}

#[test]
fn python_reads_it() {
    let place = for_others();
    let Some(list) = output("python3", &["-c", PYTHON, "TARGET"], &place.target()) else { return };
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines[0], "top/plain.txt|4|2026|7|15|12|20|30|0");
    assert!(lines[1].starts_with("top/steps/|0|"), "{list}");
    assert_eq!(lines[2], "top/video/Grüße 東京 ✓.mp4|262145|2026|7|15|12|20|30|0");
}

/// Needs 4.2 GB on the disk of the temporary folder, unzip and Python.
#[test]
#[ignore = "writes 4.2 GB"]
fn past_four_gigabytes() {
    let place = Place::new();
    let size = (41 << 30) / 10;
    File::create(place.run().join("a.mp4")).unwrap().set_len(size).unwrap();
    stamp(&place.file("b.txt", "after it"));
    let start = Instant::now();
    let longest = Cell::new(Duration::ZERO);
    let last = Cell::new(start);
    let mut check = || {
        longest.set(longest.get().max(last.replace(Instant::now()).elapsed()));
        never()
    };
    place.write_checking(offset!(+2), &mut check).unwrap();
    let bytes = fs::metadata(place.target()).unwrap().len();
    let longest = longest.get();
    println!("{bytes} bytes in {:?}, longest between two looks {longest:?}", start.elapsed());
    println!("the last sync {:?}", last.get().elapsed());
    assert!(bytes > size);
    output("unzip", &["-tq", "TARGET"], &place.target()).expect("unzip");
    let list = output("python3", &["-c", PYTHON, "TARGET"], &place.target()).expect("python3");
    assert!(list.starts_with(&format!("top/a.mp4|{size}|")), "{list}");
    assert!(list.contains("\ntop/b.txt|8|2026|7|15|12|20|30|0\n"), "{list}");
}
