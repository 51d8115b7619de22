//! Text from elsewhere made safe: for a line on a terminal, and for a name in a folder.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde_json::Value;

/// What a URL writes with `%`: all but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One line without control characters: what a server, a story or a workflow says, before it
/// reaches a terminal, a log or a page. Line breaks and tabs become one space each.
pub fn sanitize_line(text: &str) -> String {
    let text = text.replace("\r\n", " ").replace(['\n', '\t', '\r', '\u{2028}', '\u{2029}'], " ");
    text.chars().filter(|c| !is_unsafe(*c)).collect::<String>().trim_end().to_owned()
}

/// Lines of ours without the control characters of what stands in them.
pub fn sanitize_lines(text: &str) -> String {
    text.replace(|c| c != '\n' && is_unsafe(c), "")
}

/// A text, or a file's name, as one part of a URL's path or query.
pub fn percent_encoded(part: impl AsRef<[u8]>) -> String {
    percent_encode(part.as_ref(), RESERVED).to_string()
}

/// A text of at most so many characters, and `…` for what is left out behind them.
pub fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `1 scene`, `3 scenes`.
pub fn counted(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// The first lines of many in one, and what `rest` says of how many more there are.
pub fn first_of(mut lines: Vec<String>, most: usize, rest: impl Fn(usize) -> String) -> String {
    if let Some(more) = lines.len().checked_sub(most).filter(|more| *more > 0) {
        lines.truncate(most);
        lines.push(rest(more));
    }
    lines.join("; ")
}

/// A word that may be a URL, or an address with credentials before it, with `***` in their place. In
/// doubt more is hidden than had to be.
pub fn url_without_credentials(word: &str) -> String {
    let Some((before, host)) = word.rsplit_once('@') else { return word.to_owned() };
    if let Some((scheme, _)) = before.split_once("://") {
        // What stands before it may hold credentials of its own.
        let scheme = if scheme.contains(['@', ':']) { "" } else { &before[..scheme.len() + 3] };
        return format!("{scheme}***@{host}");
    }
    // A path that was meant as a URL: two slashes have become one, of the system's kind.
    for separator in [":/", ":\\"] {
        if let Some((scheme, rest)) = before.split_once(separator)
            && rest.contains(':')
        {
            return format!("{scheme}{separator}***@{host}");
        }
    }
    // A colon with a separator behind it is a drive: `C:\@scope\flow.json`.
    match before.split_once(':') {
        Some((_, rest)) if !rest.starts_with(['\\', '/']) => format!("***@{host}"),
        _ => word.to_owned(),
    }
}

/// The same for every word of a text.
pub fn without_credentials(text: &str) -> String {
    text.split_inclusive(char::is_whitespace).map(url_without_credentials).collect()
}

/// The value with every text in it changed, keys too.
pub fn map_texts(value: Value, change: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => change(&text).into(),
        Value::Array(items) => items.into_iter().map(|item| map_texts(item, change)).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter();
            fields.map(|(key, value)| (change(&key), map_texts(value, change))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// A document as it is written and printed: indented, with a last line break, and [`escape_json`]'s
/// escapes.
pub fn json_text(value: &Value) -> String {
    escape_json(&format!("{value:#}\n"))
}

/// JSON with `\u` escapes in place of the characters that [`sanitize_line`] removes: the same value,
/// and nothing for a terminal to act on. Line breaks stay.
pub fn escape_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || !is_unsafe(c) {
            text.push(c);
        } else {
            // Beyond U+FFFF two of them are one.
            text.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    text
}

/// Whether a terminal or a page would act on a character: control characters, those that reorder or
/// hide what stands around them, and the two noncharacters that XML refuses.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e007f}')
}

/// A scene's id: everything but letters and digits of any script and `._-` becomes `_`; at most 100
/// bytes. Never empty, never a name that means something else to a file system, and without `..`: `ComfyUI` refuses to hand out a file
/// whose name has that, and files are named after their scenes.
pub fn scene_id(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "._-".contains(c);
    let mut id = text.replace(|c| !is_plain(c), "_");
    id.truncate((0..=100).rev().find(|end| id.is_char_boundary(*end)).unwrap_or(0));
    avoid_reserved_name(&id).replace("..", "__")
}

/// A file's name from elsewhere as one that stays in its folder on every system: without
/// separators, drive letters and control characters, not `..`, no reserved Windows name.
pub fn file_name(text: &str) -> String {
    let last = text.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = sanitize_line(last).replace(['<', '>', ':', '"', '|', '?', '*'], "_");
    avoid_reserved_name(&shorten_file_name(&name))
}

/// At most 180 bytes, the extension kept: file systems end at 255, and a suffix may follow.
fn shorten_file_name(name: &str) -> String {
    const MOST: usize = 180;
    if name.len() <= MOST {
        return name.to_owned();
    }
    let extension = name.rfind('.').map_or("", |dot| &name[dot..]);
    let extension = if extension.len() > 16 { "" } else { extension };
    let mut end = MOST - extension.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{extension}", &name[..end])
}

/// The name with `_` before it where Windows reserves it for a device, and `_` where it is empty.
fn avoid_reserved_name(name: &str) -> String {
    const RESERVED: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
    let name = name.trim_end_matches(['.', ' ']).trim_start_matches(' ');
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let number = stem.strip_prefix("COM").or(stem.strip_prefix("LPT"));
    let is_port = number.is_some_and(|n| n.chars().count() == 1 && "0123456789¹²³".contains(n));
    let needs_prefix = name.is_empty() || is_port || RESERVED.contains(&stem.as_str());
    format!("{}{name}", if needs_prefix { "_" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sanitized_line_is_one_line_without_control_characters() {
        assert_eq!(sanitize_line("a\r\nb\tc\x1b[31md\u{202e}e\u{ffff}\n"), "a b c[31mde");
        assert_eq!(sanitize_line("Grüße ✓"), "Grüße ✓");
    }

    #[test]
    fn credentials_are_hidden_wherever_a_url_may_stand() {
        let cases = [
            ("http://u:p@w@host/x", "http://***@host/x"),
            ("http://host:1/x", "http://host:1/x"),
            ("u:p@host:8188", "***@host:8188"),
            ("C:\\@scope\\flow.json", "C:\\@scope\\flow.json"),
            ("me@home.json", "me@home.json"),
            ("/x/http:/u:p@h/x", "/x/http:/***@h/x"),
            ("no (url=http://u:p@h/): ask  me@home", "no (url=http://***@h/): ask  me@home"),
            ("http://a:b@c http://d:e@f", "http://***@c http://***@f"),
            ("//a:b@c,http://d:e@f", "***@f"),
            ("a:b://c@d", "***@d"),
        ];
        for (text, wanted) in cases {
            assert_eq!(without_credentials(text), wanted);
        }
        assert_eq!(url_without_credentials("http://u:p w@host"), "http://***@host");
        assert_eq!(url_without_credentials("C:\\x\\http:\\u:p@host\\x"), "C:\\***@host\\x");
    }

    #[test]
    fn a_text_is_cut_between_characters_and_says_so() {
        for (text, wanted) in [("", ""), ("été", "été"), ("étés", "été…")] {
            assert_eq!(shortened(text, 3), wanted);
        }
    }

    #[test]
    fn a_sanitized_line_has_nothing_that_reorders_or_hides() {
        for c in ['\u{ad}', '\u{61c}', '\u{180e}', '\u{200e}', '\u{2067}', '\u{206a}', '\u{e0061}']
        {
            assert_eq!(sanitize_line(&format!("a{c}b")), "ab", "{c:?}");
        }
    }

    #[test]
    fn escaped_json_is_the_same_value() {
        let value = serde_json::json!("a\u{9b}\u{61c}\u{e0061}\u{2028}\n✓");
        let text = escape_json(&value.to_string());
        assert_eq!(text, r#""a\u009b\u061c\udb40\udc61\u2028\n✓""#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn ids_are_plain() {
        assert_eq!(scene_id("flow r1/é 映画"), "flow_r1_é_映画");
        assert_eq!(scene_id(&"é".repeat(60)), "é".repeat(50));
        assert_eq!(scene_id(".."), "_");
        assert_eq!(scene_id("../a...b"), "___a__.b");
        assert_eq!(scene_id("con"), "_con");
        assert_eq!(scene_id(""), "_");
    }

    #[test]
    fn names_stay_in_their_folder() {
        for (given, wanted) in [
            ("../../etc/passwd", "passwd"),
            (r"C:\Windows\evil.exe", "evil.exe"),
            ("C:evil.mp4", "C_evil.mp4"),
            ("..", "_"),
            ("a/..", "_"),
            ("NUL.mp4", "_NUL.mp4"),
            ("com1", "_com1"),
            ("COM¹.png", "_COM¹.png"),
            ("communion.png", "communion.png"),
            ("nul\0l.png", "_null.png".trim_start_matches('_')),
            ("dot. ", "dot"),
            ("clip é.mp4", "clip é.mp4"),
        ] {
            assert_eq!(file_name(given), wanted, "{given:?}");
        }
        let long = file_name(&format!("{}.mp4", "é".repeat(200)));
        assert!(long.len() <= 180, "{long}");
        assert_eq!(long.rsplit_once('.').unwrap().1, "mp4");
    }
}
