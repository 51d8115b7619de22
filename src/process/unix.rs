//! Processes on Unix: groups and signals.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal as UnixSignal, kill, killpg};
use nix::unistd::Pid;

use super::Signal;

/// How the file names of programs end.
pub const EXTENSIONS: &[&str] = &[""];

/// The signals that were ignored when we were started, as far as the system tells: bit n - 1 is
/// signal n.
static IGNORED: OnceLock<u64> = OnceLock::new();

/// Blocks signals in this thread, and so in all that are started later. SIGXFSZ: a file that reaches
/// its limit (`ulimit -f`) is then an error of writing, like a full disk. SIGHUP where it was ignored
/// when we were started (`nohup`): it is no interrupt then. To be called first, on the main thread.
pub fn block_signals() {
    let ignored = fs::read_to_string("/proc/self/status").ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    });
    let _ = IGNORED.set(ignored.unwrap_or_default());
    let mut blocked = SigSet::from(UnixSignal::SIGXFSZ);
    if is_ignored(UnixSignal::SIGHUP) {
        blocked.add(UnixSignal::SIGHUP);
    }
    // Without that a limit ends us, as it did before.
    let _ = blocked.thread_block();
}

fn is_ignored(signal: UnixSignal) -> bool {
    IGNORED.get().is_some_and(|ignored| (ignored >> (signal as i32 - 1)) & 1 == 1)
}

/// Starts a command that is to meet the signals as we did. Those that we hear and were to ignore are
/// ignored by a shell that becomes the command: safe Rust cannot. SIGXFSZ is not blocked; a thread of
/// its own sees to that, since it may be waiting for ours. Whether SIGPIPE was ignored is not known:
/// the standard library ignores it before anybody can look.
pub fn spawn_as_found(program: &OsStr, arguments: &[OsString]) -> io::Result<Child> {
    let mut script = String::new();
    for signal in [UnixSignal::SIGHUP, UnixSignal::SIGINT, UnixSignal::SIGTERM] {
        if is_ignored(signal) {
            script += &format!("trap '' {}; ", signal as i32);
        }
    }
    let mut command = Command::new(if script.is_empty() { program } else { OsStr::new("sh") });
    if !script.is_empty() {
        command.args(["-c", &format!("{script}exec \"$@\""), "sh"]).arg(program);
    }
    command.args(arguments);
    let spawned = thread::scope(|scope| {
        let spawn = || {
            SigSet::from(UnixSignal::SIGXFSZ).thread_unblock()?;
            command.spawn()
        };
        thread::Builder::new().spawn_scoped(scope, spawn).ok()?.join().ok()
    });
    // Without a thread the command has SIGXFSZ blocked, too.
    spawned.unwrap_or_else(|| command.spawn())
}

/// Whether the system has thrown a child's exit code away.
pub fn is_child_lost(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ECHILD as i32)
}

pub fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// Puts the command into a process group of its own: the terminal's Ctrl-C does not reach it.
pub fn own_group(command: &mut Command) {
    command.process_group(0);
}

/// Ends the group that the child leads. `wait_until` waits for a condition with a time limit, and
/// returns whether it holds.
pub fn end_group(child: &mut Child, wait_until: &mut dyn FnMut(&mut dyn FnMut() -> bool) -> bool) {
    let group = Pid::from_raw(child.id().cast_signed());
    for signal in [UnixSignal::SIGTERM, UnixSignal::SIGKILL] {
        let _ = killpg(group, signal);
        // The child is gone once it is waited for; what it started may live on.
        let mut is_gone =
            || !matches!(child.try_wait(), Ok(None)) && killpg(group, None) == Err(Errno::ESRCH);
        if wait_until(&mut is_gone) {
            return;
        }
    }
}

/// Kills the group that the child leads, and what it has started there.
pub fn kill_group(child: &mut Child) {
    let _ = killpg(Pid::from_raw(child.id().cast_signed()), UnixSignal::SIGKILL);
    let _ = child.wait();
}

/// Ends the group that the child leads when we end without having done so, however we end: a shell
/// waits for the end of a pipe of ours. Nothing is watched once this is dropped, or without a shell.
pub fn end_group_with_us(child: &Child) -> Watcher {
    const SCRIPT: &str = "read -r _; kill -s TERM -- -$1 && sleep 2 && kill -s KILL -- -$1";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SCRIPT, "sh", &child.id().to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    own_group(&mut command);
    Watcher(command.spawn().ok())
}

/// The shell of [`end_group_with_us`].
pub struct Watcher(Option<Child>);

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(shell) = &mut self.0 {
            let _ = shell.kill();
            let _ = shell.wait();
        }
    }
}

/// Signals a child of our own group and its descendants, one by one: the group may also be that of
/// the rest of a pipeline. Parents come first, so that a shell does not go on to its next command.
pub fn signal_tree(child: &mut Child, signal: Signal) {
    let signal = match signal {
        Signal::Terminate => UnixSignal::SIGTERM,
        Signal::Kill => UnixSignal::SIGKILL,
    };
    for id in descendants(child.id().cast_signed(), &parents()) {
        // It may have ended meanwhile.
        let _ = kill(Pid::from_raw(id), signal);
    }
}

/// When a living process started, in the system's own ticks; none where there is no `/proc`.
pub fn process_start(id: u32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{id}/stat")).ok()?;
    started(&String::from_utf8_lossy(&stat))
}

/// The start in a `/proc/<id>/stat`: the 22nd field. None of a process that nobody has waited for.
fn started(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

/// The signal that ended a process.
pub fn signal_number(status: ExitStatus) -> Option<i32> {
    status.signal()
}

/// All processes that `/proc` lists, each with its parent. Empty where there is no `/proc`.
fn parents() -> Vec<(i32, i32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    let pair = |entry: std::io::Result<fs::DirEntry>| {
        let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read(format!("/proc/{id}/stat")).ok()?;
        Some((id, parent(&String::from_utf8_lossy(&stat))?))
    };
    entries.filter_map(pair).collect()
}

/// A process and its descendants, parents before their children.
fn descendants(root: i32, parents: &[(i32, i32)]) -> Vec<i32> {
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&id) = tree.get(next) {
        next += 1;
        let children = parents.iter().filter(|(child, parent)| *parent == id && *child != root);
        tree.extend(children.map(|(child, _)| child));
    }
    tree
}

/// The parent in a `/proc/<id>/stat`: the fourth field. The second is a name in parentheses, which
/// may hold anything.
fn parent(stat: &str) -> Option<i32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_the_root_and_what_it_started() {
        let parents = [(5, 1), (6, 5), (7, 6), (8, 5), (9, 1), (1, 0)];
        assert_eq!(descendants(5, &parents), [5, 6, 8, 7]);
        assert_eq!(descendants(9, &parents), [9]);
        assert_eq!(descendants(4, &parents), [4]);
    }

    #[test]
    fn a_name_may_look_like_fields() {
        assert_eq!(parent("12 (a) S 99 (b) S 34 12 12 0 -1"), Some(34));
        assert_eq!(parent("12 (sh) S 34 12 12 0 -1"), Some(34));
        assert_eq!(parent("12 (sh"), None);
        let fields = (4..40).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(started(&format!("12 (s)h) S {fields}")), Some(22));
        assert_eq!(started(&format!("12 (sh) Z {fields}")), None);
    }
}
