//! What holds whatever comes in from outside. Each subject has a function that fails where one of
//! its promises is broken: the fuzz targets in `fuzz/` throw bytes at it, and the test here what
//! they have kept in `tests/corpus`. No ordinary build has this module.

mod answers;
mod log;
mod page;
mod record;
mod stories;
#[cfg(test)]
mod tests;

pub use answers::answers;
pub use log::log;
pub(crate) use log::read as read_log;
pub use stories::stories;

pub use crate::cli::properties::arguments;
pub use crate::vram::nvidia_smi::properties::nvidia_smi;

/// Fails if the text is no line that may be shown: it has a control character, or one that
/// reorders what stands around it.
#[track_caller]
pub(crate) fn is_line(text: &str) {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.contains(hidden), "{text:?} is no harmless line");
}

/// The same of several.
#[track_caller]
pub(crate) fn are_lines<Line: AsRef<str>>(lines: impl IntoIterator<Item = Line>) {
    for line in lines {
        is_line(line.as_ref());
    }
}

/// Fails if a path with forward slashes leaves its folder, or means something else, on any system.
#[track_caller]
pub(crate) fn is_inside(path: &str) {
    is_line(path);
    for name in path.split('/') {
        let odd = |c: char| r#"<>:"|?*\"#.contains(c);
        assert!(!name.is_empty() && name.len() <= 240 && !name.contains(odd), "{path:?}");
        assert!(!name.ends_with(['.', ' ']) && !name.starts_with(' '), "{path:?}");
        let stem = name.split('.').next().unwrap_or_default().trim_end().to_uppercase();
        let port = ["COM", "LPT"].iter().find_map(|port| stem.strip_prefix(port));
        let device = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&&*stem);
        let numbered = port.is_some_and(|n| n.chars().count() == 1 && "0123456789¹²³".contains(n));
        assert!(!device && !numbered, "{path:?} is a device");
    }
}
