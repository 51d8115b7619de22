//! Text from elsewhere as Markdown that shows it and does nothing else.

use crate::sanitize::sanitize_line;

/// One line of text, in a paragraph, a heading, an item or a cell. No markup, no link, no mention
/// and no reference comes of it.
pub(super) fn text(text: &str) -> String {
    let text = sanitize_line(text);
    let text = text.trim_start();
    let mut out = String::with_capacity(text.len());
    // What would begin a list, a heading or a line below it.
    let digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = text.len() - digits.len();
    for (at, c) in text.char_indices() {
        let after = &text[at + c.len_utf8()..];
        let is_behind = |word: &str| {
            let start = at.checked_sub(word.len()).and_then(|start| text.get(start..at));
            start.is_some_and(|start| start.eq_ignore_ascii_case(word))
        };
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' => escaped(&mut out, c),
            // Between two words that such a character joins, GitHub sees nobody and no issue.
            '@' => out.push_str("@\u{200b}"),
            '#' => out.push_str("\\#\u{200b}"),
            // And GitLab no merge request.
            '!' if begins_number(after) => out.push_str("!\u{200b}"),
            '-' if begins_number(after) && is_behind("gh") => out.push_str("-\u{200b}"),
            ':' if after.starts_with("//") => escaped(&mut out, c),
            // These are looked for in what is left when the escapes are gone.
            ':' if after.starts_with(is_of_emoji) => out.push_str(":\u{200b}"),
            '.' if is_behind("www") => escaped(&mut out, c),
            '-' | '+' | '=' if at == 0 => escaped(&mut out, c),
            '.' | ')' if begins_item(after) && at > 0 && at == number => escaped(&mut out, c),
            c => out.push(c),
        }
    }
    out
}

fn begins_number(after: &str) -> bool {
    after.starts_with(|c: char| c.is_ascii_digit())
}

/// What a name between colons begins with, which would become a picture; not a time.
fn is_of_emoji(c: char) -> bool {
    c.is_ascii_lowercase() || "+-".contains(c)
}

fn begins_item(after: &str) -> bool {
    after.is_empty() || after.starts_with(' ')
}

fn escaped(out: &mut String, c: char) {
    out.push('\\');
    out.push(c);
}

/// One line as code, to be copied. Not for a cell: there it would end at a `|`.
pub(super) fn code(text: &str) -> String {
    let text = sanitize_line(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    // A space on each side is taken off again; without one a fence would grow by the text's own.
    let space = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        for (given, wanted) in [
            ("scene-001", "scene-001"),
            ("flow_r1", "flow\\_r1"),
            ("a|b", "a\\|b"),
            ("<img src=x>&amp;", "&lt;img src=x&gt;&amp;amp;"),
            ("`rm -rf`", "\\`rm -rf\\`"),
            ("[x](http://y)", "\\[x\\](http\\://y)"),
            ("see WWW.x.y", "see WWW\\.x.y"),
            ("- 5 MB", "\\- 5 MB"),
            ("+5", "\\+5"),
            ("1. one", "1\\. one"),
            ("12) two", "12\\) two"),
            ("0.3.64", "0.3.64"),
            ("7.", "7\\."),
            ("# x", "\\#\u{200b} x"),
            ("node #4 of @me", "node \\#\u{200b}4 of @\u{200b}me"),
            (
                "GH-4, gh-4, xgh-, !7 of GitLab!",
                "GH-\u{200b}4, gh-\u{200b}4, xgh-, !\u{200b}7 of GitLab!",
            ),
            (":tada: at 23:00:04, cuda:0: x", ":\u{200b}tada: at 23:00:04, cuda:0: x"),
            ("   four\nlines\u{7}", "four lines"),
            ("", ""),
        ] {
            assert_eq!(text(given), wanted);
        }
    }

    #[test]
    fn code_is_fenced_by_more_than_it_has() {
        for (given, wanted) in [
            ("a b", "`a b`"),
            ("a`b", "``a`b``"),
            ("`a``b", "``` `a``b ```"),
            ("x|y<b>", "`x|y<b>`"),
        ] {
            assert_eq!(code(given), wanted);
        }
    }
}
