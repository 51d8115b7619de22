//! What the editor replaces in texts before it sends them.

use serde_json::Value;
use time::PrimitiveDateTime;

/// Deeper choices within choices stay as they are.
const MAX_DEPTH: usize = 64;

/// A text with dynamic prompts as it is sent: without comments, one of `{a|b}` taken at random. `random`
/// returns any number.
pub(super) fn dynamic_prompt(text: &str, random: &dyn Fn() -> u64, depth: usize) -> String {
    let text = without_comments(text);
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(['\\', '{']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('{') && depth < MAX_DEPTH {
            let (choices, end) = choices(&rest[1..]);
            let count = u64::try_from(choices.len()).unwrap_or(1);
            let chosen = usize::try_from(random() % count).unwrap_or_default();
            out.push_str(&dynamic_prompt(choices[chosen], random, depth + 1));
            rest = &rest[1 + end..];
        } else {
            // A backslash and what it escapes.
            let width = rest.chars().take(2).map(char::len_utf8).sum();
            out.push_str(&rest[..width]);
            rest = &rest[width..];
        }
    }
    out.push_str(rest);
    ["{", "}", "|"].iter().fold(out, |out, c| out.replace(&format!("\\{c}"), c))
}

/// The choices up to the closing brace, and where what follows it begins.
fn choices(text: &str) -> (Vec<&str>, usize) {
    let (mut choices, mut begin, mut depth, mut is_escaped) = (Vec::new(), 0, 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '{' => depth += 1,
            '}' if depth == 0 => {
                choices.push(&text[begin..at]);
                return (choices, at + 1);
            }
            '}' => depth -= 1,
            '|' if depth == 0 => {
                choices.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    choices.push(&text[begin..]);
    (choices, text.len())
}

/// Without `/* … */` and without what follows `//` in a line: the rest of a URL too.
fn without_comments(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('/') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let block = rest.strip_prefix("/*").and_then(|inner| Some(inner.find("*/")? + 4));
        let line = || {
            rest.starts_with("//")
                .then(|| rest.find(['\n', '\r', '\u{2028}', '\u{2029}']).unwrap_or(rest.len()))
        };
        let width = block.or_else(line).unwrap_or_else(|| {
            out.push('/');
            1
        });
        rest = &rest[width..];
    }
    out + rest
}

/// A text with `%date:…%` and `%Node.widget%` replaced; `value` returns that of a node's
/// widget. What is not known stays.
pub(super) fn replaced<'v>(
    text: &str,
    now: PrimitiveDateTime,
    value: impl Fn(&str, &str) -> Option<&'v Value>,
) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let Some((name, after)) = after.split_once('%').filter(|(name, _)| !name.is_empty()) else {
            out.push('%');
            rest = after;
            continue;
        };
        let parts: Vec<&str> = name.split('.').collect();
        let new = match parts.as_slice() {
            [node, widget] => value(node, widget).map(|value| file_name(&js_text(value))),
            _ => parts[0].strip_prefix("date:").map(|format| date(format, now)),
        };
        out.push_str(&new.unwrap_or_else(|| format!("%{name}%")));
        rest = after;
    }
    out + rest
}

fn file_name(text: &str) -> String {
    text.replace(|c: char| c.is_ascii_control() || "/?<>\\:*|\"".contains(c), "_")
}

/// A value as the browser writes it in a text.
fn js_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.abs() < 1e21 => float.to_string(),
            _ => number.to_string(),
        },
        _ => value.to_string(),
    }
}

/// The time by the letters `d M h m s y`; doubled they have two digits.
fn date(format: &str, now: PrimitiveDateTime) -> String {
    let (mut out, mut rest) = (String::new(), format);
    while let Some(letter) = rest.chars().next() {
        let most = if letter == 'y' { 4 } else { 2 };
        let same = rest.chars().take(most).take_while(|c| *c == letter);
        let (letters, after) = rest.split_at(same.map(char::len_utf8).sum());
        let number = |number: u8| format!("{number:0width$}", width = letters.len());
        out.push_str(&match (letter, letters) {
            ('d', _) => number(now.day()),
            ('M', _) => number(now.month().into()),
            ('h', _) => number(now.hour()),
            ('m', _) => number(now.minute()),
            ('s', _) => number(now.second()),
            (_, "yy") => format!("{:02}", now.year() % 100),
            (_, "yyyy") => now.year().to_string(),
            _ => letters.to_owned(),
        });
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_choice_is_one_of_its_parts() {
        for (text, first, second) in [
            ("a {b|c} d", "a b d", "a c d"),
            ("{a|{b|c}}", "a", "c"),
            ("{a", "a", "a"),
            ("a|b}", "a|b}", "a|b}"),
            ("{|x}", "", "x"),
            ("\\{a\\|b\\} {c\\}|d}", "{a|b} c}", "{a|b} d"),
            ("\\", "\\", "\\"),
            ("a /* b\n */c // d\r\ne /*/", "a c \r\ne /*/", "a c \r\ne /*/"),
            ("https://x {a|b}", "https:", "https:"),
        ] {
            assert_eq!(dynamic_prompt(text, &|| 0, 0), first, "{text}");
            assert_eq!(dynamic_prompt(text, &|| 1, 0), second, "{text}");
        }
        let deep = "{".repeat(100_000);
        assert!(dynamic_prompt(&deep, &|| 0, 0).len() < deep.len());
    }

    #[test]
    fn dates_have_the_editor_s_letters() {
        let now = datetime!(2026-03-04 15:06:07);
        for (format, wanted) in [
            ("yyyy-MM-dd", "2026-03-04"),
            ("yy.M.d hh:m:s", "26.3.4 15:6:7"),
            ("y yyy yyyyyy MMM ss", "y yyy 202626 033 07"),
            ("Grüße", "Grüße"),
        ] {
            assert_eq!(date(format, now), wanted);
        }
    }

    #[test]
    fn values_of_other_nodes_are_safe_in_a_name() {
        let values = Value::from(vec![
            Value::from("a/b:c\u{1}"),
            8.0.into(),
            0.25.into(),
            true.into(),
            Value::Null,
            u64::MAX.into(),
        ]);
        let value = |node: &str, at: &str| {
            if node == "N" { values.get(at.parse::<usize>().ok()?) } else { None }
        };
        let text = "%%N.0%_%N.1%_%N.2%_%N.3%_%N.4%_%N.5%_%N.9%_%O.0%_%N.0.0%_%date:yy%_50%";
        let wanted = "%a_b_c__8_0.25_true__18446744073709551615_%N.9%_%O.0%_%N.0.0%_26_50%";
        assert_eq!(replaced(text, datetime!(2026-03-04 15:06:07), value), wanted);
    }
}
