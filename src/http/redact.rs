//! What a server was sent and must not be repeated: credentials, in whatever form it gives them back.

use std::fmt;

use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, Engine};
use serde_json::Value;

use crate::sanitize::map_texts;

/// What stands in place of a secret.
const HIDDEN: &str = "***";
/// A shorter secret is looked for as a whole word: any text has its letters.
const ANYWHERE: usize = 4;
/// The same of a part of one: the words of a pass phrase are those of other texts too.
const PART_ANYWHERE: usize = 7;
/// So much of a secret at the end of a text is one that was cut.
const CUT: usize = 4;

/// The secrets of a target, made once. `Debug` shows none.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<Secret>);

#[derive(Clone, PartialEq)]
struct Secret {
    text: Vec<char>,
    whole_word: bool,
}

impl Secrets {
    /// Those of the values of headers, and a key.
    pub(crate) fn new<'a>(headers: impl Iterator<Item = &'a str>, key: Option<&str>) -> Self {
        let mut secrets = Secrets::default();
        for value in headers {
            secrets.add_header(value);
        }
        if let Some(key) = key {
            secrets.add(key);
        }
        // A part is not to be hidden before the whole.
        secrets.0.sort_by_key(|secret| std::cmp::Reverse(secret.text.len()));
        secrets.0.dedup();
        secrets
    }

    /// The value, what follows its scheme (`Bearer`), what that is decoded, and its parts.
    fn add_header(&mut self, value: &str) {
        const SCHEMES: [&str; 6] = ["basic", "bearer", "token", "digest", "apikey", "negotiate"];
        let own = match value.split_once(' ') {
            Some((scheme, rest)) if SCHEMES.contains(&&*scheme.to_ascii_lowercase()) => rest.trim(),
            _ => value,
        };
        self.add(own);
        let decoded = BASE64_STANDARD.decode(own).or_else(|_| BASE64_STANDARD_NO_PAD.decode(own));
        if let Some((user, password)) = decoded.ok().and_then(|bytes| {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
        }) {
            self.add(&format!("{user}:{password}"));
            self.add(&password);
            self.add_parts(&password);
        }
        self.add_parts(own);
    }

    fn add_parts(&mut self, value: &str) {
        for part in value.split([' ', ';', ',']) {
            let assigned = part.split_once('=').map(|(_, assigned)| assigned);
            for part in [Some(part), assigned].into_iter().flatten() {
                let text: Vec<char> = part.trim_matches(['"', '=']).chars().collect();
                if text.len() >= ANYWHERE {
                    let whole_word = text.len() < PART_ANYWHERE;
                    self.0.push(Secret { text, whole_word });
                }
            }
        }
    }

    /// A secret, and what base64 makes of it, wherever it stands in what was encoded.
    fn add(&mut self, secret: &str) {
        let words: Vec<&str> = secret.split_whitespace().collect();
        let text: Vec<char> = words.join(" ").chars().collect();
        if text.is_empty() {
            return;
        }
        self.0.push(Secret { whole_word: text.len() < ANYWHERE, text });
        for before in 0..3 {
            let bytes = [vec![0; before], secret.as_bytes().to_vec()].concat();
            // A character holds six bits: those of the secret alone.
            let (from, to) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
            for coded in [BASE64_STANDARD.encode(&bytes), BASE64_URL_SAFE.encode(&bytes)] {
                let text: Vec<char> = coded.chars().take(to).skip(from).collect();
                if text.len() > ANYWHERE {
                    self.0.push(Secret { text, whole_word: false });
                }
            }
        }
    }

    /// The text with `***` for every secret, as it is or in the escapes of URLs, JSON and HTML.
    pub(crate) fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            if let Some(redacted) = secret.redacted(&text) {
                text = redacted;
            }
        }
        text
    }

    /// Every text of an answer, but for the keys, by which it is read.
    pub(crate) fn redact_values(&self, value: Value) -> Value {
        match value {
            Value::Array(items) => items.into_iter().map(|it| self.redact_values(it)).collect(),
            Value::Object(fields) => {
                fields.into_iter().map(|(key, it)| (key, self.redact_values(it))).collect()
            }
            other => map_texts(other, &|text| self.redact(text)),
        }
    }

    /// The texts and numbers of a JSON document, which stays one.
    pub(crate) fn redact_json(&self, json: &str) -> String {
        if self.0.is_empty() {
            return json.to_owned();
        }
        let mut done = String::with_capacity(json.len());
        let mut rest = json;
        while let Some(first) = rest.chars().next() {
            let is_inside = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
            let length = match first {
                '"' => literal(rest),
                c if is_inside(c) => rest.find(|c| !is_inside(c)).unwrap_or(rest.len()),
                c => c.len_utf8(),
            };
            let (token, after) = rest.split_at(length);
            rest = after;
            if first == '"' {
                match serde_json::from_str::<String>(token) {
                    Ok(text) => match self.redact(&text) {
                        same if same == text => done += token,
                        redacted => done += &Value::from(redacted).to_string(),
                    },
                    // No string of JSON: as it stands.
                    Err(_) => done += &self.redact(token),
                }
            } else if self.0.iter().any(|secret| secret.text.iter().copied().eq(token.chars())) {
                done += &format!("\"{HIDDEN}\"");
            } else {
                done += token;
            }
        }
        done
    }
}

/// How long a string of JSON is, with its quotes.
fn literal(json: &str) -> usize {
    let mut is_escaped = false;
    let end = json.bytes().skip(1).position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(json.len(), |end| end + 2)
}

impl Secret {
    /// The text without it; none where it is not in there.
    fn redacted(&self, text: &str) -> Option<String> {
        let (mut done, mut from, mut at) = (String::new(), 0, 0);
        let mut before = None;
        while let Some(c) = text[at..].chars().next() {
            // Most of a text is told from a secret by its first character.
            let may_begin = c == self.text[0] || matches!(c, '%' | '\\' | '&');
            let end = may_begin.then(|| self.end_at(text, at)).flatten();
            let end = end.filter(|end| self.may_stand(before, text, *end));
            if let Some(end) = end {
                done += &text[from..at];
                done += HIDDEN;
                (from, at, before) = (end, end, Some('*'));
            } else {
                (at, before) = (at + c.len_utf8(), Some(c));
            }
        }
        (from > 0).then(|| done + &text[from..])
    }

    fn may_stand(&self, before: Option<char>, text: &str, end: usize) -> bool {
        let is_free = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
        !self.whole_word || (is_free(before) && is_free(text[end..].chars().next()))
    }

    /// Where the secret ends that begins there. One that goes on behind the end of the text was cut.
    fn end_at(&self, text: &str, start: usize) -> Option<usize> {
        let mut ends = vec![start];
        for (matched, c) in self.text.iter().enumerate() {
            if matched >= CUT
                && let Some(end) = ends.iter().find(|end| ["", "…"].contains(&&text[**end..]))
            {
                return Some(*end);
            }
            let mut next = Vec::new();
            for end in ends {
                next_ends(&text[end..], *c, &mut |length| next.push(end + length));
            }
            // White space stands for any white space.
            let mut at = 0;
            while *c == ' ' && at < next.len() {
                let end = next[at];
                next_ends(&text[end..], ' ', &mut |length| next.push(end + length));
                at += 1;
            }
            next.dedup();
            if next.is_empty() {
                return None;
            }
            ends = next;
        }
        ends.into_iter().max()
    }
}

/// The lengths that a character has at the start of a text: as it is, `%41`, `\u0041`, `\/`, `&#65;`,
/// `&amp;`; each escaped once more or not.
fn next_ends(text: &str, c: char, found: &mut dyn FnMut(usize)) {
    let Some(first) = text.chars().next() else { return };
    if first == c || (c == ' ' && (first.is_whitespace() || first == '+')) {
        found(first.len_utf8());
    }
    match first {
        '%' => {
            // `%2541` is a `%41` that was escaped.
            let mut wanted = [0; 4];
            let mut rest = text;
            let is_coded = c.encode_utf8(&mut wanted).bytes().all(|byte| {
                let Some(mut digits) = rest.strip_prefix('%') else { return false };
                while let Some(more) = digits.strip_prefix("25").filter(|_| byte != b'%') {
                    digits = more;
                }
                let code = digits.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
                rest = digits.get(2..).unwrap_or_default();
                code == Some(byte) || (byte == b' ' && matches!(code, Some(b'\t' | b'\n' | b'\r')))
            });
            if is_coded {
                found(text.len() - rest.len());
            }
        }
        '\\' => {
            let behind = text.trim_start_matches('\\');
            let escape = match c {
                ' ' => behind.starts_with(['n', 't', 'r']),
                _ => !c.is_ascii_alphanumeric() && behind.starts_with(c),
            };
            if escape {
                found(text.len() - behind.len() + c.len_utf8());
            }
            if c == '\\' && text.starts_with("\\\\") {
                found(2);
            }
            let mut rest = text;
            let is_coded = c.encode_utf16(&mut [0; 2]).iter().all(|unit| {
                let digits = rest.trim_start_matches('\\').strip_prefix('u');
                let code = digits.and_then(|it| u16::from_str_radix(it.get(..4)?, 16).ok());
                rest = digits.and_then(|it| it.get(4..)).unwrap_or_default();
                code == Some(*unit)
            });
            if is_coded {
                found(text.len() - rest.len());
            }
        }
        '&' => {
            let entity = text.split(';').next().unwrap_or_default();
            let code = match &entity[1..] {
                "amp" => Some('&'),
                "lt" => Some('<'),
                "gt" => Some('>'),
                "quot" => Some('"'),
                "apos" => Some('\''),
                number => number.strip_prefix('#').and_then(|digits| {
                    let hex = digits.strip_prefix(['x', 'X']);
                    let code = hex.map_or_else(
                        || digits.parse().ok(),
                        |digits| u32::from_str_radix(digits, 16).ok(),
                    );
                    char::from_u32(code?)
                }),
            };
            if code == Some(c) && entity.len() < text.len() {
                found(entity.len() + 1);
            }
        }
        _ => {}
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redacted(header: &str, text: &str) -> String {
        Secrets::new([header].into_iter(), Some("k/Ey \"9")).redact(text)
    }

    #[test]
    fn a_secret_is_hidden_however_it_is_repeated() {
        // user:p/w ä
        let basic = "Basic dXNlcjpwL3cgw6Q=";
        for (header, text, wanted) in [
            (basic, "bad dXNlcjpwL3cgw6Q= or user:p/w ä", "bad *** or ***"),
            (basic, "'p/w ä', p%2Fw+%C3%a4, p%252fw%20%c3%a4", "'***', ***, ***"),
            (basic, r"p\/w \u00e4 p\\u002Fw\n\\u00E4 p&#47;w &#xe4;", "*** *** ***"),
            (basic, "an up/when", "an up/when"),
            ("Bearer ab", "ab, cab, x=ab&y, a%62", "***, cab, x=***&y, ***"),
            ("Token s3crettoken", "x-s3crettoken-y s3cret…", "x-***-y ***…"),
            ("X", "X 1X k\\/Ey \\\"9", "*** 1X ***"),
            (
                "correct horse battery",
                "the correct  horse\nbattery; battery, horses",
                "the ***; ***, horses",
            ),
            ("session=abc123xyz; theme=dark", "abc123xyz", "***"),
            ("Bearer tokentoken", "QXV0aDogdG9rZW50b2tlbg==", "QXV0aDog***g=="),
        ] {
            assert_eq!(redacted(header, text), wanted, "{header}");
        }
    }

    #[test]
    fn a_document_stays_one() {
        let secrets = Secrets::new(["12", "Bearer a\\\"bcd"].into_iter(), None);
        let json =
            r#"{"12":[12,123,0.12,"x 12\n12","a\\\"bcd","a\u005c\"bcd", "\ud800 12"],"é":null}"#;
        let redacted =
            r#"{"***":["***",123,0.12,"x ***\n***","***","***", "\ud800 ***"],"é":null}"#;
        assert_eq!(secrets.redact_json(json), redacted);
        assert_eq!(Secrets::default().redact_json(json), json);
    }

    proptest! {
        #[test]
        fn any_text_is_read(header in "\\PC{0,12}", text in "\\PC{0,40}") {
            let secrets = Secrets::new([header.as_str()].into_iter(), None);
            secrets.redact(&text);
            secrets.redact_json(&text);
        }
    }
}
