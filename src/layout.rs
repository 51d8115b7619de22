//! Text in the columns of a terminal, counted as a terminal counts them. Pure functions.

use unicode_width::UnicodeWidthChar;

/// The least room beside a head that lines are continued in; with less, they begin near the margin.
const LEAST_ROOM: usize = 20;
const SMALL_INDENT: usize = 2;

/// The columns that a text takes: two of a wide character, none of a combining one. A variation
/// selector may widen what stands before it.
pub fn width(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

fn columns_of(c: char) -> usize {
    if c == '\u{fe0f}' { 1 } else { c.width().unwrap_or_default() }
}

/// As much of a text as fits, and where the rest of it begins.
fn fitting(text: &str, columns: usize) -> usize {
    let mut taken = 0;
    let mut ends = text.char_indices().map(|(at, c)| {
        taken += columns_of(c);
        (at, taken)
    });
    ends.find(|(_, taken)| *taken > columns).map_or(text.len(), |(at, _)| at)
}

/// A name in at most so many columns, with an ellipsis for what is left out.
pub fn ellipsized(name: &str, columns: usize) -> String {
    if width(name) <= columns {
        return name.to_owned();
    }
    let kept = fitting(name, columns.saturating_sub(1));
    format!("{}…", &name[..kept]).chars().take(columns.max(1)).collect()
}

/// A name in a column that is so wide.
pub fn padded(name: &str, columns: usize) -> String {
    let name = ellipsized(name, columns);
    let rest = columns.saturating_sub(width(&name));
    name + &" ".repeat(rest)
}

/// A line in rows of at most so many columns. What stands before `head`'s end stays as it is, and
/// further rows begin below that end, where there is room for it.
pub fn wrapped(line: &str, head: usize, columns: usize) -> Vec<String> {
    wrap(line, head, columns, "", &|text| text.split_whitespace().collect())
}

/// The same of a command line, which can be copied as it stands: rows end at a word with the shell's
/// sign for a continued line.
pub fn wrapped_command(line: &str, head: usize, columns: usize) -> Vec<String> {
    wrap(line, head, columns, if cfg!(windows) { " `" } else { " \\" }, &shell_words)
}

/// The words of a command line; what stands in quotes is one.
fn shell_words(text: &str) -> Vec<&str> {
    let mut quote = None;
    text.split(|c: char| {
        match quote {
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if open == c => quote = None,
            _ => {}
        }
        c == ' ' && quote.is_none()
    })
    .collect()
}

fn wrap(
    line: &str,
    head: usize,
    columns: usize,
    continued: &str,
    words: &dyn Fn(&str) -> Vec<&str>,
) -> Vec<String> {
    let columns = columns.max(1);
    if width(line) <= columns {
        return vec![line.to_owned()];
    }
    let (first, text) = line.split_at(head.min(line.len()));
    let indent = width(first);
    let small = if columns < LEAST_ROOM / 2 { 0 } else { SMALL_INDENT };
    // A path is not broken that fits a row of its own.
    let fits_alone = |word: &str| columns - indent < width(word) && width(word) <= columns - small;
    let has_room = columns >= indent + LEAST_ROOM && !words(text).into_iter().any(fits_alone);
    let indent = if has_room { indent } else { small };
    // Of a command, each row but the last has its sign.
    let room = |row: &str| columns.saturating_sub(width(continued) + width(row));
    let (mut rows, mut row, mut is_empty) = (Vec::new(), first.to_owned(), true);
    if !has_room {
        // The head is text like the rest of it.
        row = String::new();
    }
    let all = if has_room { words(text) } else { words(line) };
    let mut end = None;
    for mut word in all.into_iter().filter(|word| !word.is_empty()) {
        // Columns stay as far apart as they are, where there is room.
        let start = word.as_ptr() as usize;
        let gap = start - end.replace(start + word.len()).unwrap_or(start);
        if !is_empty && room(&row) < width(word) + 1 {
            rows.push(row + continued);
            (row, is_empty) = (" ".repeat(indent), true);
        }
        while width(word) > room(&row) {
            // At least one character, or it would never end.
            let first = word.chars().next().map_or(0, char::len_utf8);
            let (part, rest) = word.split_at(fitting(word, room(&row)).max(first));
            rows.push(row + part);
            (row, word) = (" ".repeat(indent), rest);
        }
        if !is_empty {
            row += &" ".repeat(gap.min(room(&row).saturating_sub(width(word))));
        }
        row.push_str(word);
        is_empty = false;
    }
    rows.push(row);
    rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_are_counted_as_a_terminal_counts_them() {
        for (text, columns) in
            [("castle", 6), ("城のシーン", 10), ("🦊fox", 5), ("e\u{301}", 1), ("한글", 4), ("", 0)]
        {
            assert_eq!(width(text), columns, "{text}");
        }
        assert_eq!(ellipsized("城のシーン", 6), "城の…");
        assert_eq!(ellipsized("castle", 6), "castle");
        assert_eq!(ellipsized("castle", 4), "cas…");
        assert_eq!(ellipsized("castle", 1), "…");
        assert_eq!(padded("城", 4), "城  ");
    }

    #[test]
    fn further_rows_begin_below_the_head() {
        let line = "VRAM peak  19310 of 24576 MB (79 %), 5266 to spare, in castle, node 3 KSampler";
        assert_eq!(wrapped(line, 11, 80), [line]);
        assert_eq!(
            wrapped(line, 11, 40),
            [
                "VRAM peak  19310 of 24576 MB (79 %),",
                "           5266 to spare, in castle,",
                "           node 3 KSampler"
            ]
        );
        assert_eq!(
            wrapped("Report     logs/20261128-150110/report.html", 11, 39),
            ["Report logs/20261128-150110/report.html"]
        );
        assert_eq!(
            wrapped("Report     logs/20261128-150110/report.html", 11, 20),
            ["Report", "  logs/20261128-1501", "  10/report.html"]
        );
    }

    #[test]
    fn a_command_is_continued_at_its_words() {
        let sign = if cfg!(windows) { '`' } else { '\\' };
        let line = "Next       run-comfyui-e2e --set \"3.text=a b c\" flow.json";
        let rows = wrapped_command(line, 11, 42);
        assert_eq!(rows[0], format!("Next       run-comfyui-e2e --set {sign}"));
        assert_eq!(rows[1], "           \"3.text=a b c\" flow.json");
    }

    proptest! {
        #[test]
        fn no_row_is_wider_and_nothing_is_lost(
            line in "([a-z]{1,9}|城{1,9}|🦊|[0-9 ]{1,5}){1,20}", head in 0_usize..12, columns in 2_usize..90,
        ) {
            let head = (0..=head.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap();
            let plain = |text: &str| text.split_whitespace().collect::<String>();
            let rows = wrapped(&line, head, columns);
            prop_assert!(rows.iter().all(|row| width(row) <= columns), "{:?}", rows);
            prop_assert_eq!(plain(&rows.concat()), plain(&line));
        }
    }
}
