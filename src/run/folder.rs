//! The run folder: `<LogsDir>/<yyyyMMdd-HHmmss>/`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use time::OffsetDateTime;

use crate::clock::run_id;

/// Makes a folder named after the moment; where another run has the name, after the next second.
///
/// # Errors
/// One line naming the folder and what the system said.
pub fn create(logs: &Path, now: OffsetDateTime) -> Result<(String, PathBuf), String> {
    let named = |path: &Path, error: std::io::Error| {
        format!("{}: {error}: no run folder could be made; --logs-dir FOLDER", path.display())
    };
    fs::create_dir_all(logs).map_err(|error| named(logs, error))?;
    let mut at = now;
    loop {
        let id = run_id(at);
        let folder = logs.join(&id);
        match fs::create_dir(&folder) {
            Ok(()) => return Ok((id, folder)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => at += Duration::from_secs(1),
            Err(error) => return Err(named(&folder, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_taken_name_means_the_next_second() {
        let logs = std::env::temp_dir().join(format!("folders-{}", std::process::id()));
        let now = datetime!(2026-11-24 23:59:59 UTC);
        assert_eq!(create(&logs, now).unwrap().0, "20261124-235959");
        assert_eq!(create(&logs, now).unwrap().0, "20261125-000000");
        fs::remove_dir_all(&logs).unwrap();
    }
}
