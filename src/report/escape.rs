//! Text from elsewhere in HTML and XML.

use std::fmt::{self, Display, Formatter, Write};

use crate::sanitize::sanitize_line;

/// A text as one line, escaped for an element or an attribute's quotes. Everything that does not
/// stand in this program's own templates goes through it.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for c in sanitize_line(self.0).chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_becomes_markup(text in "\\PC*|[<>\"'&;a-z\\n\\x00-\\x1f]*") {
            let escaped = Escaped(&text).to_string();
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']), "{escaped}");
            prop_assert!(!escaped.contains(char::is_control), "{escaped:?}");
            let entities = ["&lt;", "&gt;", "&quot;", "&#39;", "&amp;"];
            let stray = entities.iter().fold(escaped.clone(), |rest, one| rest.replace(one, ""));
            prop_assert!(!stray.contains('&'), "{escaped}");
            // And it reads back as it was.
            let read = entities.iter().zip(["<", ">", "\"", "'", "&"]);
            let read = read.fold(escaped, |text, (entity, c)| text.replace(entity, c));
            prop_assert_eq!(read, sanitize_line(&text));
        }
    }
}
