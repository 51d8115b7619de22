//! The programs that a project's scripts are run by, as each system finds them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What runs a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// `npx tsx SCRIPT`, of Node.js.
    Tsx,
    /// `pwsh -NoLogo -ExecutionPolicy Bypass -File SCRIPT`; on Windows `powershell.exe` where
    /// there is no `pwsh`.
    PowerShell,
}

impl Runner {
    /// The command that runs the script, in the project's folder.
    ///
    /// # Errors
    /// The program is not on the PATH: one line that names it.
    pub fn command(self, root: &Path, script: &Path) -> Result<Command, String> {
        let mut command = match self {
            Runner::Tsx => {
                let npx = on_path(&["npx"]).ok_or("npx is not on the PATH: it is Node.js's")?;
                let mut command = Command::new(npx);
                command.arg("tsx").arg(script);
                command
            }
            Runner::PowerShell => {
                let names: &[&str] =
                    if cfg!(windows) { &["pwsh", "powershell"] } else { &["pwsh"] };
                let shell = on_path(names).ok_or("pwsh is not on the PATH: it is PowerShell's")?;
                let mut command = Command::new(shell);
                command.args(["-NoLogo", "-ExecutionPolicy", "Bypass", "-File"]).arg(script);
                command
            }
        };
        command.current_dir(root);
        Ok(command)
    }
}

/// The first of these programs that a folder of the PATH holds. On Windows it may be a `.cmd`,
/// which the standard library runs through cmd.exe, its arguments quoted or refused.
pub fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    names.iter().find_map(|name| find(name, &path))
}

fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    let ends: &[&str] = if cfg!(windows) { &[".exe", ".cmd", ".bat"] } else { &[""] };
    std::env::split_paths(path)
        .filter(|folder| !folder.as_os_str().is_empty())
        .flat_map(|folder| ends.iter().map(move |end| folder.join(format!("{name}{end}"))))
        .find(|file| is_program(file))
}

#[cfg(unix)]
fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// Of what the Store installed, PowerShell among it, the PATH has aliases: they can be started, but
/// not be followed.
#[cfg(not(unix))]
fn is_program(file: &Path) -> bool {
    std::fs::symlink_metadata(file).is_ok_and(|it| !it.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_folder_of_the_path_that_has_it_counts() {
        let root = std::env::temp_dir().join(format!("tool-{}", std::process::id()));
        let end = if cfg!(windows) { ".cmd" } else { "" };
        let mut folders = Vec::new();
        for (folder, program) in [("empty", false), ("one two", true), ("three", true)] {
            let folder = root.join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            if program {
                let file = folder.join(format!("tsx-runner{end}"));
                std::fs::write(&file, "").unwrap();
                #[cfg(unix)]
                {
                    use std::os::unix::fs::PermissionsExt;
                    let all = std::fs::Permissions::from_mode(0o755);
                    std::fs::set_permissions(&file, all).unwrap();
                }
            }
            folders.push(folder);
        }
        let path = std::env::join_paths(&folders).unwrap();
        let wanted = folders[1].join(format!("tsx-runner{end}"));
        assert_eq!(find("tsx-runner", &path), Some(wanted));
        assert_eq!(find("no-runner", &path), None);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
