//! Reading `ComfyUI`'s JSON, in which Python writes bare `NaN` and `Infinity`, and of which mostly a
//! part is wanted.

use std::fmt;
use std::io::{self, Read, Write};

use serde_core::de::{
    DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Value};

/// Most that is kept of a body, in bytes of memory and more than any answer has: a small object takes
/// a hundred times the memory of its text. What is kept grows by doubling, so that it may be twice as
/// much for a moment.
const MAX_KEPT: usize = 16 << 20;
/// The longest string, in bytes: the rest of a longer one is left out.
const LONGEST_STRING: usize = 4 << 20;
/// What stands in place of that rest.
const CUT: &str = "… (cut)";
/// What stands in place of half a pair of escapes: Python writes one for a byte of a file's name that
/// is no UTF-8 (`\udcff`).
const NO_CHARACTER: &[u8] = b"\\ufffd";
/// How long a `\u00e9` is.
const UNICODE_ESCAPE: usize = 6;
/// About what a field of an object takes beside its name and its value.
const FIELD: usize = 100;
/// Largest body: 256 MiB.
const MAX_BODY: u64 = 256 << 20;
/// The errors of a larger one, and of one of which too much is to be kept.
const TOO_LARGE: io::ErrorKind = io::ErrorKind::FileTooLarge;
const TOO_MUCH: &str = "too much to be kept";

/// Whether a body, or what is to be kept of it, was too large.
pub(super) fn is_too_large(error: &serde_json::Error) -> bool {
    error.io_error_kind() == Some(TOO_LARGE) || error.is_data()
}

/// A step into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Field(String),
    Place(usize),
}

/// The value of a body; none if it is not JSON or takes more than [`MAX_KEPT`]. `NaN`,
/// `Infinity` and `-Infinity` outside strings are read as null.
pub(super) fn parse(body: &[u8]) -> Option<Value> {
    parse_part(body, &|_| true, io::sink()).ok()
}

/// The part of a body that is kept, by the steps that lead to a value; null is in place of the rest,
/// which is read and not held. `copy` gets all of it, with null for `NaN`.
///
/// # Errors
/// Not JSON, those of the input, or [`TOO_LARGE`]: the body, or what is to be kept of it.
pub(super) fn parse_part(
    body: impl Read,
    keep: &dyn Fn(&[Step]) -> bool,
    copy: impl Write,
) -> serde_json::Result<Value> {
    let mut input = serde_json::Deserializer::from_reader(NullForNan::new(body, copy));
    let mut part = Part { keep, steps: Vec::new(), kept: 0 };
    let value = part.deserialize(&mut input)?;
    input.end()?;
    Ok(value)
}

/// Same as [`parse`] for a file of the user's, of any size.
///
/// # Errors
/// Not JSON, with line and column.
pub(super) fn parse_file(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(text).or_else(|error| {
        let input = NullForNan::new(text.as_bytes(), io::sink());
        let input = NullForNan { left: u64::MAX, longest_string: usize::MAX, ..input };
        serde_json::from_reader(input).map_err(|_| error)
    })
}

/// What is kept of a value, while it is read.
struct Part<'k> {
    keep: &'k dyn Fn(&[Step]) -> bool,
    steps: Vec<Step>,
    /// What it takes so far, in bytes.
    kept: usize,
}

impl Part<'_> {
    fn add<E: Error>(&mut self, more: usize) -> Result<(), E> {
        self.kept += more;
        if self.kept <= MAX_KEPT { Ok(()) } else { Err(E::custom(TOO_MUCH)) }
    }
}

impl<'de> DeserializeSeed<'de> for &mut Part<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Value, D::Error> {
        if (self.keep)(&self.steps) {
            input.deserialize_any(self)
        } else {
            input.deserialize_ignored_any(IgnoredAny).map(|_| Value::Null)
        }
    }
}

impl<'de> Visitor<'de> for &mut Part<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.add(value.len())?;
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        for place in 0.. {
            self.steps.push(Step::Place(place));
            let is_kept = (self.keep)(&self.steps);
            let item = items.next_element_seed(&mut *self)?;
            self.steps.pop();
            let Some(item) = item else { break };
            if is_kept {
                // Those before it that are not kept.
                self.add(size_of::<Value>() * (place + 1 - list.len()))?;
                list.resize(place, Value::Null);
                list.push(item);
            }
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            self.add(name.len() + FIELD)?;
            self.steps.push(Step::Field(name.clone()));
            let value = fields.next_value_seed(&mut *self)?;
            self.steps.pop();
            object.insert(name, value);
        }
        Ok(object.into())
    }
}

/// A stream of JSON with `null` for Python's `NaN`, `Infinity` and `-Infinity` outside strings.
struct NullForNan<R, W> {
    input: R,
    /// How much of it may still come.
    left: u64,
    copy: W,
    /// What is ready, and how much of it was taken.
    ready: Vec<u8>,
    taken: usize,
    longest_string: usize,
    /// The string that is being read, if one is.
    string: Option<Text>,
    /// A `-` waits for what follows.
    minus: bool,
    /// So many letters of the word are still to be left out.
    skip: usize,
}

/// A string so far.
#[derive(Default)]
struct Text {
    length: usize,
    longest: usize,
    /// The rest of it is left out.
    is_cut: bool,
    /// The escape that is being read, from its backslash on.
    escape: Vec<u8>,
    /// The first half of a pair of escapes, until the second one comes.
    half: Vec<u8>,
}

impl Text {
    /// Takes a quote, or a byte of an escape. Returns whether it is the quote at the end.
    fn take(&mut self, byte: u8, ready: &mut Vec<u8>) -> bool {
        if self.escape.is_empty() && byte == b'"' {
            self.end_half(ready);
            ready.push(byte);
            return true;
        }
        self.escape.push(byte);
        let length = if self.escape.get(1) == Some(&b'u') { UNICODE_ESCAPE } else { 2 };
        if self.escape.len() < length {
            return false;
        }
        let escape = std::mem::take(&mut self.escape);
        let digits = std::str::from_utf8(&escape[2..]).unwrap_or_default();
        match u16::from_str_radix(digits, 16) {
            Ok(0xd800..=0xdbff) => {
                self.end_half(ready);
                self.half = escape;
            }
            Ok(0xdc00..=0xdfff) if self.half.is_empty() => self.push(NO_CHARACTER, ready),
            Ok(0xdc00..=0xdfff) => {
                let pair = [std::mem::take(&mut self.half), escape].concat();
                self.push(&pair, ready);
            }
            _ => {
                self.end_half(ready);
                self.push(&escape, ready);
            }
        }
        false
    }

    fn end_half(&mut self, ready: &mut Vec<u8>) {
        if !self.half.is_empty() {
            self.half.clear();
            self.push(NO_CHARACTER, ready);
        }
    }

    /// Adds whole escapes, or a part of a text; a long one is cut between two characters.
    fn push(&mut self, text: &[u8], ready: &mut Vec<u8>) {
        self.length += text.len();
        if self.is_cut {
            return;
        }
        let start = text.iter().position(|byte| byte & 0xc0 != 0x80);
        match start.filter(|_| self.length > self.longest) {
            Some(start) => {
                ready.extend_from_slice(&text[..start]);
                ready.extend_from_slice(CUT.as_bytes());
                self.is_cut = true;
            }
            None => ready.extend_from_slice(text),
        }
    }
}

impl<R, W> NullForNan<R, W> {
    fn new(input: R, copy: W) -> Self {
        NullForNan {
            input,
            left: MAX_BODY,
            longest_string: LONGEST_STRING,
            copy,
            ready: Vec::new(),
            taken: 0,
            string: None,
            minus: false,
            skip: 0,
        }
    }

    /// Most bytes lie in strings, which are taken at once up to a quote or a backslash.
    fn take_all(&mut self, mut bytes: &[u8]) {
        while let [byte, rest @ ..] = bytes {
            if let Some(string) = self.string.as_mut().filter(|it| it.escape.is_empty()) {
                let is_end = |byte: &u8| matches!(byte, b'"' | b'\\');
                let plain = bytes.iter().position(is_end).unwrap_or(bytes.len());
                if plain > 0 {
                    string.end_half(&mut self.ready);
                    string.push(&bytes[..plain], &mut self.ready);
                    bytes = &bytes[plain..];
                    continue;
                }
            }
            self.take(*byte);
            bytes = rest;
        }
    }

    fn take(&mut self, byte: u8) {
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        if let Some(string) = &mut self.string {
            let is_end = string.take(byte, &mut self.ready);
            self.string.take_if(|_| is_end);
            return;
        }
        let minus = std::mem::take(&mut self.minus);
        if minus && byte != b'I' {
            self.ready.push(b'-');
        }
        match byte {
            // No other word of JSON begins so.
            b'N' | b'I' => {
                self.skip = if byte == b'N' { 2 } else { 7 };
                self.ready.extend(b"null");
            }
            b'-' => self.minus = true,
            _ => {
                self.string = (byte == b'"')
                    .then(|| Text { longest: self.longest_string, ..Text::default() });
                self.ready.push(byte);
            }
        }
    }
}

impl<R: Read, W: Write> Read for NullForNan<R, W> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.ready.len() {
            self.ready.clear();
            self.taken = 0;
            let mut chunk = [0; 8 << 10];
            let count = self.input.read(&mut chunk)?;
            if count == 0 {
                return Ok(0);
            }
            self.left = self.left.checked_sub(count as u64).ok_or(TOO_LARGE)?;
            self.take_all(&chunk[..count]);
            self.copy.write_all(&self.ready)?;
        }
        let count = (&self.ready[self.taken..]).read(out)?;
        self.taken += count;
        Ok(count)
    }
}

/// Node ids in the order of the numbers that they mostly are; those of subgraphs (`12:3`) are ordered
/// part by part.
pub(super) fn in_node_order(mut ids: Vec<&str>) -> Vec<&str> {
    ids.sort_by_cached_key(|id| {
        let parts = id.split(':').map(|part| part.parse().unwrap_or(u64::MAX));
        (parts.collect::<Vec<_>>(), (*id).to_owned())
    });
    ids
}

/// The fields of an object that has node ids as keys, in their order; none of another value.
pub(super) fn nodes_in_order(value: &Value) -> Vec<(&str, &Value)> {
    let Some(nodes) = value.as_object() else { return Vec::new() };
    let ids = in_node_order(nodes.keys().map(String::as_str).collect());
    ids.into_iter().map(|id| (id, &nodes[id])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_outside_strings_is_null() {
        let body = br#"{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \" Infinity", "d": -1}"#;
        let value = parse(body).unwrap();
        assert_eq!(value["a"], Value::Null);
        assert_eq!(value["b"], serde_json::json!([null, null]));
        assert_eq!(value["c"], "NaN \" Infinity");
        assert_eq!(value["d"], -1);
    }

    #[test]
    fn broken_json_stays_broken() {
        for body in [&b"{"[..], b"", b"<html>NaN</html>", b"{\"a\": \"x\\"] {
            assert!(parse(body).is_none(), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn a_part_is_kept_and_the_rest_is_read_past() {
        let body = br#"{"a": [1, {"x": NaN, "y": [2, "\"-"]}], "b": {"x": -3.5, "z": -Infinity}}"#;
        let keep = |steps: &[Step]| steps.last() != Some(&Step::Field("x".into()));
        let mut copy = Vec::new();
        let value = parse_part(&body[..], &keep, &mut copy).unwrap();
        assert!(copy.starts_with(br#"{"a": [1, {"x": null, "y""#));
        let wanted = serde_json::json!({"a": [1, {"x": null, "y": [2, "\"-"]}],
            "b": {"x": null, "z": null}});
        assert_eq!(value, wanted);
        let many = format!("{{\"x\": [{}0]}}", "[],".repeat(2 << 20));
        assert!(parse_part(many.as_bytes(), &keep, io::sink()).is_ok());
        assert!(parse_part(&b"{} x"[..], &keep, io::sink()).is_err());
    }

    #[test]
    fn a_body_has_an_end() {
        let mut input = NullForNan { left: 10, ..NullForNan::new(io::repeat(b' '), io::sink()) };
        assert_eq!(input.read(&mut [0; 64]).unwrap_err().kind(), TOO_LARGE);
    }

    #[test]
    fn what_is_made_to_fill_the_memory_is_not_read() {
        let body = |parts: usize| format!("[{}0]", "[],".repeat(parts - 1));
        let most = MAX_KEPT / size_of::<Value>();
        assert!(parse(body(most).as_bytes()).is_some());
        for many in [
            body(most + 1),
            format!("[{}0]", "1,".repeat(most)),
            format!("{{{}\"b\": 1}}", "\"a\": 1,".repeat(MAX_KEPT / FIELD)),
            format!("[{}0]", format!("\"{}\",", "x".repeat(LONGEST_STRING)).repeat(5)),
        ] {
            let error = parse_part(many.as_bytes(), &|_| true, io::sink()).unwrap_err();
            assert!(is_too_large(&error), "{error}");
            // What is read past may be of any size.
            assert!(parse_part(many.as_bytes(), &|_| false, io::sink()).is_ok());
        }
    }

    #[test]
    fn a_long_string_is_cut_between_its_characters() {
        let long = LONGEST_STRING;
        for part in ["x", "é", "\\n", "\\ud83d\\ude00x", "abc\\\"defghijklmn"] {
            let text = part.repeat(long / part.len() + 40_000);
            let value = parse(format!("{{\"a\": \"{text}\", \"b\": 1}}").as_bytes()).unwrap();
            assert_eq!(value["b"], 1, "{part}");
            let text = value["a"].as_str().unwrap();
            assert!(text.ends_with(CUT) && text.len() <= long + (16 << 10), "{part}");
        }
    }

    #[test]
    fn half_a_pair_is_a_character_that_is_none() {
        let body = br#"["a\udcff", "\ud83d", "\ud83d\n", "\ud83d\ud83d\ude00", "\u00e9\\"]"#;
        let wanted = ["a\u{fffd}", "\u{fffd}", "\u{fffd}\n", "\u{fffd}\u{1f600}", "é\\"];
        assert_eq!(parse(body).unwrap(), serde_json::json!(wanted));
        // A file of the user's is never cut.
        let long = format!("[NaN, \"{}\"]", "x".repeat(LONGEST_STRING + (64 << 10)));
        let value = parse_file(&long).unwrap();
        assert_eq!(value[1].as_str().map(str::len), Some(LONGEST_STRING + (64 << 10)));
    }

    #[test]
    fn ids_are_ordered_as_numbers() {
        let ids = in_node_order(vec!["10", "9", "12:3", "12:10", "x", "2"]);
        assert_eq!(ids, ["2", "9", "10", "12:3", "12:10", "x"]);
    }
}
