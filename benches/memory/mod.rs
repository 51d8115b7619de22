//! The memory of a whole process, as GNU time tells it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The most KiB that the program had in memory at once, its output thrown away; `folder` is for a
/// file that is removed. None where there is no GNU time, or the program did not end well.
pub fn peak_kib(folder: &Path, program: &str, arguments: &[&str]) -> Option<u64> {
    let told = folder.join("memory.txt");
    let status = Command::new("/usr/bin/time")
        .args(["-q", "-f", "%M", "-o"])
        .arg(&told)
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let kib = fs::read_to_string(&told).ok().and_then(|text| text.trim().parse().ok());
    let _ = fs::remove_file(&told);
    kib.filter(|_| status.is_ok_and(|status| status.success()))
}
