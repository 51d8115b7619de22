//! Processes on Windows: ended with `taskkill`, since safe Rust has no job objects.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use super::Signal;

const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;
const CREATE_NO_WINDOW: u32 = 0x0800_0000;

/// How the file names of programs end.
pub const EXTENSIONS: &[&str] = &[".exe", ".cmd", ".bat"];

/// Not followed: of what the Store installed, PowerShell among it, the PATH has aliases that can be
/// started but not read.
pub fn is_program(file: &Path) -> bool {
    std::fs::symlink_metadata(file).is_ok_and(|it| !it.is_dir())
}

/// Gives the command neither a console window nor the console's Ctrl-C.
pub fn own_group(command: &mut Command) {
    command.creation_flags(CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP);
}

/// Ends the child and its descendants, by force: nobody can ask a program without a window.
/// `wait_until` waits for a condition with a time limit, and returns whether it holds.
pub fn end_group(child: &mut Child, wait_until: &mut dyn FnMut(&mut dyn FnMut() -> bool) -> bool) {
    // Before the child: with it gone, its descendants are not found any more.
    if let Ok(mut taskkill) = taskkill(child, Signal::Kill) {
        wait_until(&mut || !matches!(taskkill.try_wait(), Ok(None)));
    }
    // It may have ended meanwhile.
    let _ = child.kill();
    wait_until(&mut || !matches!(child.try_wait(), Ok(None)));
}

/// Kills the child alone.
pub fn kill_group(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Asks the child and its descendants to end, or ends them. Returns without waiting for that.
pub fn signal_tree(child: &mut Child, signal: Signal) {
    if taskkill(child, signal).is_err() && signal == Signal::Kill {
        let _ = child.kill();
    }
}

fn taskkill(child: &Child, signal: Signal) -> io::Result<Child> {
    Command::new("taskkill")
        .arg("/T")
        .args((signal == Signal::Kill).then_some("/F"))
        .args(["/PID", &child.id().to_string()])
        .creation_flags(CREATE_NO_WINDOW)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// Safe Rust has no job objects: the child lives on when we are killed.
pub fn end_group_with_us(_: &Child) -> Option<Child> {
    None
}

/// Safe Rust is not told.
pub fn process_start(_: u32) -> Option<u64> {
    None
}

/// Windows has no signals.
pub fn block_signals() {}

/// Starts a command with our console and our streams.
pub fn spawn_as_found(program: &OsStr, arguments: &[OsString]) -> io::Result<Child> {
    Command::new(program).args(arguments).spawn()
}

/// Windows keeps every exit code.
pub fn is_child_lost(_: &io::Error) -> bool {
    false
}

/// Windows has no signals.
pub fn signal_number(_: ExitStatus) -> Option<i32> {
    None
}
