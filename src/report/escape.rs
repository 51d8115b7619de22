//! Markup and text kept apart, of HTML and of XML: what is ours stands in the program, everything
//! else is escaped.

use crate::sanitize::sanitize_line;

/// A document as it grows. Markup can only be `'static`, so nothing from outside can become any.
#[derive(Default)]
pub(super) struct Markup(String);

impl Markup {
    /// Markup of ours. Not inlined: it is called some hundred times, and the program is to be small.
    #[inline(never)]
    pub(super) fn raw(&mut self, ours: &'static str) -> &mut Self {
        self.0.push_str(ours);
        self
    }

    /// Anything else, in an element or between an attribute's quotes.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for c in sanitize_line(text).chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
        self
    }

    /// A number.
    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        self.0.push_str(&number.to_string());
        self
    }

    /// A length or a place, `12.3%` of 123 thousandths.
    pub(super) fn thousandths(&mut self, of: u64) -> &mut Self {
        self.number(of / 10).raw(".").number(of % 10).raw("%")
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_becomes_markup(text in "\\PC*|[<>\"'&;a-z\\n\\x00-\\x1f]*") {
            let mut page = Markup::default();
            page.text(&text);
            let escaped = page.finish();
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

    #[test]
    fn numbers_are_plain() {
        let mut page = Markup::default();
        page.number(19_310).raw(" ").thousandths(1000).raw(" ").thousandths(7);
        assert_eq!(page.finish(), "19310 100.0% 0.7%");
    }
}
