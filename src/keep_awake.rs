//! Keeps the computer awake: a child holds the request, and ends with a pipe of ours, however we end.
//! The display may sleep.

use std::io::{self, BufRead, BufReader, PipeReader, Read};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::process;

/// More than this of what the child says is not read, in bytes.
const LONGEST: u64 = 1 << 16;
/// How the child's last line begins; then follows what is held off, if anything is.
const HELD: &str = "held";
const ALL: &str = "idle:sleep";
const PROGRAM: &str = if cfg!(windows) { "powershell.exe" } else { "sh" };

/// The shell tries what it can have. Who is not logged on at the machine may hold off idling alone.
/// Newer versions of the program would ask for a password on the terminal.
#[cfg(unix)]
const SCRIPT: &str = r#"
if ! command -v systemd-inhibit >/dev/null; then
    echo systemd-inhibit is not on the PATH
    exit
fi
case $(systemd-inhibit --help) in
    *--no-ask-password*) set -- --no-ask-password ;;
esac
for what in idle:sleep idle; do
    systemd-inhibit "$@" --what=$what --who=run-comfyui-e2e --why='ComfyUI is generating' \
        --mode=block sh -c "echo held $what; exec cat" && exit
done
"#;

/// The request is `PowerShell`'s thread's own: the system forgets it when that ends.
#[cfg(windows)]
const SCRIPT: &str = r#"
$ErrorActionPreference = 'Stop'
try {
    $kernel = Add-Type -Name Kernel -PassThru -MemberDefinition '
        [DllImport("kernel32.dll")] public static extern uint SetThreadExecutionState(uint flags);'
    # ES_CONTINUOUS and ES_SYSTEM_REQUIRED.
    if ($kernel::SetThreadExecutionState([uint32]2147483649) -eq 0) { throw 'the system refuses' }
    'held idle:sleep'
    [void][Console]::In.ReadToEnd()
} catch { "$_"; 'held' }
"#;

/// The child. Dropping this ends it.
pub struct KeepAwake(Child);

impl KeepAwake {
    /// Asks for it, without waiting for an answer. `tell` gets a line if not all of it is granted.
    pub fn start(tell: impl FnOnce(String) + Send + 'static) -> Option<KeepAwake> {
        let (child, output) = match spawn() {
            Ok(spawned) => spawned,
            Err(error) => {
                tell(problem("", &format!("{PROGRAM}: {error}")));
                return None;
            }
        };
        let read = move || {
            if let Some(problem) = read(output) {
                tell(problem);
            }
        };
        // Without a thread nobody is told, and it is held all the same.
        let _ = thread::Builder::new().name("keep awake".into()).spawn(read);
        Some(KeepAwake(child))
    }
}

impl Drop for KeepAwake {
    fn drop(&mut self) {
        // What the shell has started there.
        #[cfg(unix)]
        process::kill_group(self.0.id());
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn() -> io::Result<(Child, PipeReader)> {
    let mut command = Command::new(PROGRAM);
    #[cfg(windows)]
    command.args(["-NoProfile", "-NonInteractive", "-Command"]);
    #[cfg(unix)]
    command.arg("-c");
    command.arg(SCRIPT).stdin(Stdio::piped());
    process::own_group(&mut command);
    process::spawn_to_pipe(command)
}

/// Reads until it is known what is held off: the line for the user, if that is not all.
fn read(output: impl Read) -> Option<String> {
    let mut last: Option<String> = None;
    for line in BufReader::new(output.take(LONGEST)).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        match line.strip_prefix(HELD).map(str::trim) {
            Some(ALL) => return None,
            Some(held) => return Some(problem(held, &last.unwrap_or_default())),
            None if line.trim().is_empty() => {}
            None => last = Some(line.trim().to_owned()),
        }
    }
    Some(problem("", &last.unwrap_or_else(|| format!("{PROGRAM} says nothing"))))
}

/// The line for what is not held off.
fn problem(held: &str, why: &str) -> String {
    if held.is_empty() {
        format!("the computer may fall asleep meanwhile: {why}")
    } else {
        format!("the computer may be put to sleep meanwhile, but not for being idle: {why}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_held_off_is_told_with_the_reason() {
        let told = |output: &str| read(output.as_bytes());
        assert_eq!(told("held idle:sleep\n"), None);
        assert_eq!(
            told("Failed to inhibit: Access denied\nheld idle\n").unwrap(),
            "the computer may be put to sleep meanwhile, but not for being idle: \
             Failed to inhibit: Access denied"
        );
        let refused = "Failed to connect to bus: No such file\n";
        let wanted =
            "the computer may fall asleep meanwhile: Failed to connect to bus: No such file";
        assert_eq!(told(&format!("\n{refused}{refused}")).unwrap(), wanted);
        // PowerShell then goes on reading its input.
        assert_eq!(told(&format!("{refused}held\r\n")).unwrap(), wanted);
        let wanted = format!("the computer may fall asleep meanwhile: {PROGRAM} says nothing");
        assert_eq!(told("").unwrap(), wanted);
    }
}
