//! Ctrl-C as a terminal sends it, and the signals of one process to another.
//!
//! Windows sends Ctrl-C only to whole consoles and only from a program that is on the console,
//! through a call that safe Rust does not have. So the tests that need it are ignored there unless
//! the variable `CONSOLE_EVENT` names a program that does it: its first word is the event (0 is
//! Ctrl-C, 1 Ctrl-Break), its second the id of a process on that console. `.ci/wine` has one.

use std::process::Command;

use crate::support::Running;

/// Gives the program a terminal of its own: a process group on Unix, a console on Windows.
pub fn alone(command: &mut Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(windows)]
    {
        const CREATE_NO_WINDOW: u32 = 0x0800_0000;
        std::os::windows::process::CommandExt::creation_flags(command, CREATE_NO_WINDOW);
    }
}

/// Ctrl-C, to everything that runs on the terminal of a program started [`alone`].
#[cfg(unix)]
pub fn ctrl_c(running: &Running) {
    kill("-INT", &format!("-{}", running.id()));
}

/// A signal to the program and nothing else.
#[cfg(unix)]
pub fn signal(running: &Running, name: &str) {
    kill(name, &running.id().to_string());
}

#[cfg(unix)]
fn kill(name: &str, to: &str) {
    // The shell's own kill: not every machine has one as a program.
    let kill = format!("kill {name} {to}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
}

/// Ctrl-C, to everything that runs on the terminal of a program started [`alone`].
#[cfg(windows)]
pub fn ctrl_c(running: &Running) {
    console_event(running, "0");
}

/// Ctrl-Break, to the same.
#[cfg(windows)]
pub fn ctrl_break(running: &Running) {
    console_event(running, "1");
}

#[cfg(windows)]
fn console_event(running: &Running, event: &str) {
    let program = std::env::var_os("CONSOLE_EVENT").expect("CONSOLE_EVENT names a program");
    let sent = Command::new(program).args([event, &running.id().to_string()]).output().unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
}
