//! The user's words inside an error line.

use std::ffi::OsStr;

use crate::sanitize::url_without_credentials;

/// More of a word than this does not help to recognise it.
const SHOWN: usize = 100;

/// A word as it may stand in one line of output: control characters escaped, at most 100
/// characters, and without the credentials of a URL.
pub(super) fn shown(word: impl AsRef<OsStr>) -> String {
    let text = word.as_ref().to_string_lossy();
    let text = url_without_credentials(&text);
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
    text.contains("://") || url_without_credentials(&text) != text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_one_harmless_line() {
        let cases = [
            ("flow.json", "flow.json"),
            ("a\nb\u{1b}[1m", "a\\nb\\u{1b}[1m"),
            ("http://u:p w@host/x", "http://***@host/x"),
        ];
        for (word, line) in cases {
            assert_eq!(shown(word), line);
        }
        assert_eq!(shown("x".repeat(300)).chars().count(), SHOWN + 1);
    }
}
