//! What a server was sent and must not be repeated: credentials, in whatever form it gives them back.
//!
//! A text is read as it stands and with its escapes undone, each time without the characters
//! that nobody sees and without regard to capitals. Every [`PIECE`] characters in a row that stand in a
//! credential are hidden; fewer only where they are all of one, or where the text was cut.

use std::collections::{HashSet, VecDeque};
use std::fmt;

use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, Engine};
use serde_json::Value;

use crate::sanitize::{is_unsafe, map_texts};

/// What stands in place of a secret.
const HIDDEN: &str = "***";
/// So many characters of a secret are hidden wherever they stand: fewer may be a word of any text.
const PIECE: usize = 8;
/// A shorter secret is hidden as a whole word; so much of one at a cut was cut.
const SHORT: usize = 4;
/// So often may a text be escaped: `%2541` is twice.
const LAYERS: usize = 3;

/// The secrets of a target, made once. `Debug` shows none.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    /// Each [`PIECE`] characters of one.
    pieces: HashSet<u128>,
    /// Whether one may have such a [`Window::hash`].
    filter: Vec<bool>,
    /// Those that have fewer.
    wholes: HashSet<u128>,
    /// Those that are looked for as a word.
    words: HashSet<u128>,
    /// How one begins, and how it ends.
    begins: HashSet<u128>,
    ends: HashSet<u128>,
}

/// A character, and where it stands in the text, however it is written there.
#[derive(Clone, Copy)]
struct Unit {
    c: char,
    start: usize,
    end: usize,
}

impl Secrets {
    /// Those of headers, and a key.
    pub(crate) fn new(headers: &[(String, String)], key: Option<&str>) -> Self {
        const PUBLIC: [&str; 4] = ["accept", "host", "origin", "user-agent"];
        let mut secrets = Secrets::default();
        let is_public = |name: &str| PUBLIC.contains(&&*name.to_ascii_lowercase());
        for (_, value) in headers.iter().filter(|(name, _)| !is_public(name)) {
            secrets.add_header(value);
        }
        if let Some(key) = key {
            secrets.add(key);
        }
        secrets
    }

    /// The value, what follows its scheme (`Bearer`), what that is decoded, and its parts.
    fn add_header(&mut self, value: &str) {
        const SCHEMES: [&str; 6] = ["basic", "bearer", "token", "digest", "apikey", "negotiate"];
        let (scheme, rest) = value.split_once(' ').unwrap_or_default();
        let scheme = scheme.to_ascii_lowercase();
        let own = if SCHEMES.contains(&&*scheme) { rest.trim() } else { value };
        self.add(own);
        self.add_parts(own);
        let decoded = BASE64_STANDARD.decode(own).or_else(|_| BASE64_STANDARD_NO_PAD.decode(own));
        let decoded = decoded.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        // What a token of another kind decodes to says nothing.
        let is_noise = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
        let decoded = decoded.ok().filter(|text| scheme == "basic" || !text.contains(is_noise));
        match decoded.as_ref().and_then(|it| it.split_once(':')) {
            None => {}
            Some((user, "")) => self.add(user),
            Some((user, password)) => {
                self.add(password);
                self.add_parts(password);
                // No piece that is of the user's name alone.
                let skipped = user.chars().count().saturating_sub(PIECE - 2);
                let user: String = user.chars().skip(skipped).collect();
                self.add(&format!("{user}:{password}"));
            }
        }
    }

    fn add_parts(&mut self, value: &str) {
        for part in value.split([' ', ';', ',']) {
            let assigned = part.split_once('=').map(|(_, assigned)| assigned);
            for part in [Some(part), assigned].into_iter().flatten() {
                let part = part.trim_matches(['"', '=']);
                let length = part.chars().count();
                if length >= PIECE {
                    self.add(part);
                } else if length >= SHORT && !part.chars().all(char::is_alphabetic) {
                    self.words.insert(key(&spaced(units(part))));
                }
            }
        }
    }

    /// A secret, and what base64 makes of it, wherever it stands in what was encoded.
    fn add(&mut self, secret: &str) {
        self.add_form(secret);
        for before in 0..3 {
            let bytes = [vec![0; before], secret.as_bytes().to_vec()].concat();
            // A character holds six bits: those of the secret alone.
            let (from, to) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
            let coded = BASE64_STANDARD.encode(&bytes);
            if to > from + SHORT {
                self.add_form(&coded[from..to]);
            }
        }
    }

    fn add_form(&mut self, secret: &str) {
        let decoded = [true, false].map(|breaks| spaced(decoded(secret, breaks)));
        for form in [spaced(units(secret))].into_iter().chain(decoded) {
            let dense: Vec<char> = form.iter().copied().filter(|c| *c != ' ').collect();
            for piece in dense.windows(PIECE) {
                self.pieces.insert(key(piece));
                let hash = piece.iter().fold(0_u16, |hash, c| hash << 4 ^ bits(*c));
                self.filter.resize(1 << 16, false);
                self.filter[usize::from(hash)] = true;
            }
            if dense.len() < SHORT {
                self.words.extend((!form.is_empty()).then(|| key(&form)));
            } else if dense.len() < PIECE {
                self.wholes.extend(form.windows(form.len().min(PIECE)).map(key));
            }
            for cut in SHORT..PIECE.min(form.len()) {
                let (first, last) = (&form[..cut], &form[form.len() - cut..]);
                if !is_word(first, [form[cut - 1], form[cut]]) {
                    self.begins.insert(key(first));
                }
                let from = form.len() - cut;
                if !is_word(last, [form[from - 1], form[from]]) {
                    self.ends.insert(key(last));
                }
            }
        }
    }

    /// The text with `***` for every secret and every piece of one.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.hide(text, true).unwrap_or_else(|| text.to_owned())
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
            let redacted = if first == '"' {
                match serde_json::from_str::<String>(token) {
                    Ok(text) => self.hide(&text, true).map(|text| Value::from(text).to_string()),
                    // No string of JSON: as it stands.
                    Err(_) => self.hide(token, true),
                }
            } else if is_inside(first) {
                self.hide(token, false).filter(|it| it == HIDDEN).map(|it| format!("\"{it}\""))
            } else {
                None
            };
            done += redacted.as_deref().unwrap_or(token);
        }
        done
    }

    /// The text without its secrets; none where there are none. Without `may_be_cut` the text is whole.
    fn hide(&self, text: &str, may_be_cut: bool) -> Option<String> {
        if self.pieces.is_empty() && self.wholes.is_empty() && self.words.is_empty() {
            return None;
        }
        let mut places = Vec::new();
        self.find(units(text), text.len(), may_be_cut, &mut places);
        if text.contains(['%', '\\', '&']) {
            for breaks in [true, false] {
                self.find(decoded(text, breaks), text.len(), may_be_cut, &mut places);
            }
        }
        places.sort_unstable();
        let (mut done, mut from) = (String::new(), 0);
        for (start, end) in places {
            if start > from || done.is_empty() {
                done += &text[from..start];
                done += HIDDEN;
            }
            from = from.max(end);
        }
        (!done.is_empty()).then(|| done + &text[from..])
    }

    /// Finds the places of secrets.
    fn find(
        &self,
        units: impl Iterator<Item = Unit>,
        length: usize,
        may_be_cut: bool,
        places: &mut Vec<(usize, usize)>,
    ) {
        let mut add = |start: usize, end: usize| match places.last_mut() {
            Some(last) if (last.0..=last.1).contains(&start) => last.1 = last.1.max(end),
            _ => places.push((start, end)),
        };
        // White space left out, and a space for it.
        let (mut dense, mut spaced) = (Window::default(), Window::default());
        let (mut since_cut, mut end, mut is_blank) = (0, 0, false);
        for unit in units.chain([Unit { c: CUT, start: length, end: length }]) {
            let Some(c) = folded(unit.c) else { continue };
            if !self.words.is_empty() && !is_blank && !c.is_alphanumeric() {
                let mut words = (1..PIECE).filter(|count| spaced.is_free_before(*count));
                if let Some(start) = words.find_map(|count| spaced.start_of(count, &self.words)) {
                    add(start, end);
                }
            }
            if c == CUT && may_be_cut {
                let mut cuts = (SHORT..PIECE).rev();
                if let Some(start) = cuts.find_map(|count| spaced.start_of(count, &self.begins)) {
                    add(start, end);
                }
            }
            if c == ' ' {
                is_blank = true;
                continue;
            }
            if std::mem::take(&mut is_blank) && since_cut > 0 {
                spaced.push(' ', unit.start);
                since_cut += 1;
            }
            dense.push(c, unit.start);
            spaced.push(c, unit.start);
            since_cut = if c == CUT { 0 } else { since_cut + 1 };
            end = unit.end;
            let may_be_one = self.filter.get(usize::from(dense.hash)) == Some(&true);
            if may_be_one && let Some(start) = dense.start_of(PIECE, &self.pieces) {
                add(start, end);
            }
            if !self.wholes.is_empty() {
                let mut wholes = (SHORT..=PIECE).rev();
                if let Some(start) = wholes.find_map(|count| spaced.start_of(count, &self.wholes)) {
                    add(start, end);
                }
            }
            if may_be_cut
                && (SHORT..PIECE).contains(&since_cut)
                && let Some(start) = spaced.start_of(since_cut, &self.ends)
            {
                add(start, end);
            }
        }
    }
}

/// What stands where a text was cut.
const CUT: char = '…';

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

/// The last characters of a text, 16 bits of each, and where they begin.
#[derive(Default)]
struct Window {
    chars: u128,
    /// Of the last four.
    hash: u16,
    pushed: usize,
    starts: [usize; PIECE],
}

impl Window {
    fn push(&mut self, c: char, start: usize) {
        self.chars = self.chars << 16 | u128::from(bits(c));
        self.hash = self.hash << 4 ^ bits(c);
        self.starts[self.pushed % PIECE] = start;
        self.pushed += 1;
    }

    /// Where the last so many characters begin, if they are one of these.
    fn start_of(&self, count: usize, keys: &HashSet<u128>) -> Option<usize> {
        let key = self.chars & u128::MAX >> (16 * (PIECE - count));
        let is_one = count <= self.pushed && keys.contains(&key);
        is_one.then(|| self.starts[(self.pushed - count) % PIECE])
    }

    fn is_free_before(&self, count: usize) -> bool {
        let before = (self.chars >> (16 * count) & 0xffff) as u32;
        !char::from_u32(before).is_some_and(char::is_alphanumeric)
    }
}

fn bits(c: char) -> u16 {
    u16::try_from(u32::from(c) & 0xffff).unwrap_or_default().max(1)
}

/// A number for at most [`PIECE`] characters, as in a [`Window`].
fn key(chars: &[char]) -> u128 {
    chars.iter().fold(0, |key, c| key << 16 | u128::from(bits(*c)))
}

/// A word of a pass phrase, or a user's name: any text may have it. `edge` is where it was cut.
fn is_word(piece: &[char], edge: [char; 2]) -> bool {
    let letters = piece.iter().filter(|c| c.is_alphanumeric()).all(|c| c.is_alphabetic());
    letters && edge.iter().any(|c| !c.is_alphanumeric())
}

/// The character as it is compared: none for one that nobody sees, a space for what is white in a text
/// or in a URL, and nothing between base64's two alphabets.
fn folded(c: char) -> Option<char> {
    match c {
        '+' | '-' => Some(' '),
        '_' => Some('/'),
        c if c.is_ascii_graphic() => Some(c.to_ascii_lowercase()),
        c if c.is_whitespace() => Some(' '),
        '\u{34f}' | '\u{fe00}'..='\u{fe0f}' | '\u{fffd}' => None,
        c => Some(c).filter(|c| !is_unsafe(*c)),
    }
}

/// The characters as they are compared, with one space for several and none around them.
fn spaced(units: impl Iterator<Item = Unit>) -> Vec<char> {
    let text: String = units.filter_map(|unit| folded(unit.c)).collect();
    text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ").chars().collect()
}

fn units(text: &str) -> impl Iterator<Item = Unit> {
    text.char_indices().map(|(start, c)| Unit { c, start, end: start + c.len_utf8() })
}

/// The characters with every escape undone, and without what is left of those of quotes and slashes.
/// With `breaks` a `\n` is a line break, and else an `n`.
fn decoded(text: &str, breaks: bool) -> impl Iterator<Item = Unit> {
    let plain: Box<dyn Iterator<Item = Unit>> = Box::new(units(text));
    let decoded = (0..LAYERS).fold(plain, |inner, _| {
        Box::new(Decoded { inner, breaks, ahead: VecDeque::new(), half: None })
    });
    decoded.filter(|unit| unit.c != '\\')
}

/// Undoes one layer of escapes.
struct Decoded<'t> {
    inner: Box<dyn Iterator<Item = Unit> + 't>,
    breaks: bool,
    ahead: VecDeque<Unit>,
    /// The first half of a pair of `\u` escapes, and where it begins.
    half: Option<(u32, usize)>,
}

impl Iterator for Decoded<'_> {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        /// Four bytes as `\xf0` are 16 characters; a number may begin with zeros.
        const LONGEST: usize = 24;
        loop {
            let first = self.ahead.pop_front().or_else(|| self.inner.next())?;
            if !matches!(first.c, '%' | '\\' | '&') {
                return Some(first);
            }
            let more = LONGEST.saturating_sub(self.ahead.len() + 1);
            self.ahead.extend(self.inner.by_ref().take(more));
            // Several of them are one that was escaped.
            if first.c == '\\' && self.ahead.front().is_some_and(|next| next.c == '\\') {
                continue;
            }
            let text: String = [first].iter().chain(&self.ahead).map(|unit| unit.c).collect();
            let Some((code, length)) = escape(&text, self.breaks) else { return Some(first) };
            let end = self.ahead.drain(..length - 1).next_back().map_or(first.end, |it| it.end);
            let (code, start) = match self.half.take() {
                Some((half, start)) if (0xdc00..0xe000).contains(&code) => {
                    (0x1_0000 + ((half & 0x3ff) << 10 | code & 0x3ff), start)
                }
                _ => (code, first.start),
            };
            if (0xd800..0xdc00).contains(&code) {
                self.half = Some((code, start));
            } else {
                let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                return Some(Unit { c, start, end });
            }
        }
    }
}

/// The character of the escape that a text begins with, and how many characters that takes: `%41`,
/// `%u0041`, `\u0041`, `\u{41}`, `\U00000041`, `\x41`, `\n`, `&#65;`, `&#x41;`, `&amp;`.
fn escape(text: &str, breaks: bool) -> Option<(u32, usize)> {
    const NAMED: [(&str, char); 5] =
        [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&apos;", '\'')];
    let number = |digits: &str, radix| {
        let is_number = digits.chars().all(|c| c.is_digit(radix));
        u32::from_str_radix(digits, radix).ok().filter(|_| is_number)
    };
    let hex = |from: usize, to: usize| Some((number(text.get(from..to)?, 16)?, to));
    // Those of UTF-8, one behind the other; else the first one's.
    let bytes = |intro: &str| {
        let (mut bytes, mut rest) = (Vec::new(), text);
        while let Some(digits) = rest.strip_prefix(intro).and_then(|it| it.get(..2)) {
            bytes.push(u8::try_from(number(digits, 16)?).ok()?);
            rest = &rest[intro.len() + 2..];
            if let Ok(decoded) = str::from_utf8(&bytes) {
                return Some((decoded.chars().next()?.into(), text.len() - rest.len()));
            }
        }
        Some((u32::from(*bytes.first()?), intro.len() + 2))
    };
    match text.as_bytes() {
        [b'\\', b'u', b'{', ..] => {
            let end = text.find('}')?;
            Some((hex(3, end)?.0, end + 1))
        }
        [b'%' | b'\\', b'u', ..] => hex(2, 6),
        [b'%', ..] => bytes("%"),
        [b'\\', b'U', ..] => hex(2, 10),
        [b'\\', b'x', ..] => bytes("\\x"),
        [b'\\', b'n' | b'r' | b't', ..] if breaks => Some((' '.into(), 2)),
        [b'&', b'#', rest @ ..] => {
            let (from, radix) = if let [b'x' | b'X', ..] = rest { (3, 16) } else { (2, 10) };
            let digits = text[from..].split(|c: char| !c.is_digit(radix)).next()?;
            let end = from + digits.len();
            Some((number(digits, radix)?, end + usize::from(text[end..].starts_with(';'))))
        }
        [b'&', ..] => {
            let (name, c) = NAMED.iter().find(|(name, _)| text.starts_with(name))?;
            Some((u32::from(*c), name.len()))
        }
        _ => None,
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secrets(header: &str, key: Option<&str>) -> Secrets {
        Secrets::new(&[("X-Key".to_owned(), header.to_owned())], key)
    }

    #[test]
    fn a_secret_is_hidden_however_it_is_repeated() {
        // user:p/w ä
        let basic = "Basic dXNlcjpwL3cgw6Q=";
        for (header, text, wanted) in [
            (basic, "bad dXNlcjpwL3cgw6Q= or user:p/w ä", "bad *** or ***"),
            (basic, "'p/w ä', p%2Fw+%C3%a4, p%252fw%20%c3%a4", "'***', ***, ***"),
            (basic, r"p\/w \u00e4 p\\u002Fw\n\\u00E4 p&#47;w &#xe4;", "*** *** ***"),
            (basic, "an up/when, no such user", "an up/when, no such user"),
            ("Bearer ab", "ab, cab, x=ab&y, a%62, \\nab", "***, cab, x=***&y, ***, \\n***"),
            ("Bearer nab", "C:\\nab", "C:\\***"),
            ("Bearer AAAAAAAAADph", "a sea", "a sea"),
            ("Token s3crettoken", "x-s3crettoken-y s3cret…", "x-***-y ***…"),
            ("Token s3crettoken", "begins…oken, s3cr", "begins…***, ***"),
            ("X", "X 1X k\\/Ey \\\"9", "*** 1X ***"),
            (
                "correct horse battery",
                "battery: the correct  horse\nbat; battery, horse, correct",
                "battery: the ***; battery, horse, correct",
            ),
            ("session=abc123xyz; id=dark7; x=dark", "abc123xyz dark7 dark", "*** *** dark"),
            ("Bearer tokentoken", "QXV0aDogdG9rZW50b2tlbg==", "QXV0aDog***g=="),
            ("pass😀w0rd", r"\ud83d\ude00w0rd, pass\U0001f600w", "***, ***"),
        ] {
            assert_eq!(secrets(header, Some("k/Ey \"9")).redact(text), wanted, "{header}");
        }
    }

    #[test]
    fn a_document_stays_one() {
        let secrets = secrets("12", Some("a\\\"bcd"));
        let json =
            r#"{"12":[12,123,0.12,"x 12\n12","a\\\"bcd","a\u005c\"bcd", "\ud800 12"],"é":null}"#;
        let redacted =
            r#"{"***":["***",123,0.12,"x ***\n***","***","***", "\ud800 ***"],"é":null}"#;
        assert_eq!(secrets.redact_json(json), redacted);
        assert_eq!(Secrets::default().redact_json(json), json);
    }

    /// A character as somebody may write it.
    fn written(c: char, how: u8) -> String {
        let code = u32::from(c);
        match how {
            0 => format!("%{code:02X}"),
            1 => format!("%25{code:02x}"),
            2 => format!("%u{code:04x}"),
            3 => format!("\\u{code:04X}"),
            4 => format!("\\\\u{{{code:x}}}"),
            5 => format!("\\x{code:02x}"),
            6 => format!("&#{code};"),
            7 => format!("&amp;#x{code:x};"),
            8 => format!("\u{200b}{c}\u{1b}"),
            9 => format!("{c}\u{fe0f} "),
            _ => c.to_string(),
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(header in "\\PC{0,12}", text in "(\\PC|[%\\\\&#u;x0-9]){0,40}") {
            let secrets = secrets(&header, None);
            secrets.redact(&text);
            secrets.redact_json(&text);
        }

        #[test]
        fn no_piece_survives(
            secret in "[A-Za-z0-9/_.!&%\\\\]{8,40}",
            (before, after) in ("([g-z%\\\\ ]{0,6} )?", "( [g-z ]{0,6})?"),
            cut in (0..33usize, 8..41usize),
            how in prop::collection::vec(0..14u8, 40),
        ) {
            let chars: Vec<char> = secret.chars().collect();
            let from = cut.0.min(chars.len() - PIECE);
            let piece = &chars[from..(from + cut.1).min(chars.len())];
            let plain: String = piece.iter().collect();
            let coded: String = piece.iter().zip(how).map(|(c, how)| written(*c, how)).collect();
            let secrets = secrets(&secret, None);
            let escapes = secret.contains(['%', '&', '\\']);
            for text in [Some(plain), Some(coded).filter(|_| !escapes)].into_iter().flatten() {
                let redacted = secrets.redact(&format!("{before}{text}{after}"));
                let visible: String = redacted.chars().filter(|c| c.is_alphanumeric()).collect();
                let around: String =
                    format!("{before}{after}").chars().filter(|c| c.is_alphanumeric()).collect();
                prop_assert!(visible.len() <= around.len(), "{text} became {redacted}");
            }
        }

        #[test]
        fn a_text_without_a_piece_is_unchanged(
            secret in "[A-Z0-9]{8,40}",
            text in "[G-Z0-9 %&#;\\\\.-]{0,80}",
        ) {
            let secrets = secrets(&secret, None);
            let plain: String =
                format!("{text}|").to_uppercase().chars().filter(|c| c.is_alphanumeric()).collect();
            let pieces = secret.as_bytes().windows(SHORT).map(|it| str::from_utf8(it).unwrap());
            if pieces.into_iter().all(|piece| !plain.contains(piece)) && !text.contains('&') {
                prop_assert_eq!(secrets.redact(&text), text);
            }
        }
    }
}
