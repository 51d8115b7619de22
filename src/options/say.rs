//! The user's words inside an error line.

use std::ffi::OsStr;

/// More of a word than this does not help to recognise it.
const SHOWN: usize = 100;

/// A word as it may stand in one line of output: control characters escaped, at most 100
/// characters, and without the credentials of a URL.
pub(super) fn shown(word: impl AsRef<OsStr>) -> String {
    let text = word.as_ref().to_string_lossy();
    let text = without_credentials(&text);
    let mut line = String::new();
    for c in text.chars().take(SHOWN) {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    if text.chars().nth(SHOWN).is_some() {
        line.push('…');
    }
    line
}

/// The same in quotes.
pub(super) fn quoted(word: impl AsRef<OsStr>) -> String {
    format!("'{}'", shown(word))
}

/// Whether a word is a URL, or an address with credentials, rather than a path.
pub(super) fn is_url(word: &OsStr) -> bool {
    let text = word.to_string_lossy();
    text.contains("://") || without_credentials(&text) != text
}

fn without_credentials(text: &str) -> String {
    let Some((before, host)) = text.rsplit_once('@') else { return text.to_owned() };
    if let Some((scheme, _)) = before.split_once("://") {
        return format!("{scheme}://***@{host}");
    }
    // A colon with a separator behind it is a drive: `C:\@scope\flow.json`.
    match before.split_once(':') {
        Some((_, rest)) if !rest.starts_with(['\\', '/']) => format!("***@{host}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_one_harmless_line() {
        let cases = [
            ("flow.json", "flow.json"),
            ("a\nb\u{1b}[1m", "a\\nb\\u{1b}[1m"),
            ("http://u:p@w@host/x", "http://***@host/x"),
            ("u:p@host:8188", "***@host:8188"),
            ("C:\\@scope\\flow.json", "C:\\@scope\\flow.json"),
            ("me@home.json", "me@home.json"),
        ];
        for (word, line) in cases {
            assert_eq!(shown(word), line);
        }
        assert_eq!(shown("x".repeat(300)).chars().count(), SHOWN + 1);
    }
}
