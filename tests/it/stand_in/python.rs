//! JSON as Python's `json.dumps` writes it, so that lengths agree too.

use serde_json::Value;

/// A string that is written as a bare `NaN`, which `serde_json` cannot hold.
pub const NAN: &str = "\0NaN";

/// The text of a value: a space after commas and colons, ASCII only.
pub fn dumps(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value);
    text
}

/// An object from members whose order is to be kept.
pub fn object<'a>(members: impl IntoIterator<Item = (&'a str, &'a Value)>) -> String {
    let mut text = String::new();
    braced(&mut text, members);
    text
}

fn write(text: &mut String, value: &Value) {
    match value {
        Value::String(string) if string == NAN => text.push_str("NaN"),
        Value::String(string) => quoted(text, string),
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                write(text, item);
            }
            text.push(']');
        }
        Value::Object(members) => {
            braced(text, members.iter().map(|(key, member)| (key.as_str(), member)));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => text.push_str(&value.to_string()),
    }
}

fn braced<'a>(text: &mut String, members: impl IntoIterator<Item = (&'a str, &'a Value)>) {
    text.push('{');
    for (at, (key, member)) in members.into_iter().enumerate() {
        text.push_str(if at == 0 { "" } else { ", " });
        quoted(text, key);
        text.push_str(": ");
        write(text, member);
    }
    text.push('}');
}

fn quoted(text: &mut String, string: &str) {
    use std::fmt::Write;
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            ' '..='~' => text.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
    }
    text.push('"');
}
