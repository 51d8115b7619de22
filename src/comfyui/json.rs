//! Reading `ComfyUI`'s JSON, in which Python writes bare `NaN` and `Infinity`.

use serde_json::Value;

/// Most objects and arrays in a body, more than any answer has: a small object takes a hundred times
/// the memory of its text.
const MAX_CONTAINERS: usize = 1 << 20;

/// The value of a body; none if it is not JSON or has more than [`MAX_CONTAINERS`]. `NaN`,
/// `Infinity` and `-Infinity` outside strings are read as null.
pub(super) fn parse(body: &[u8]) -> Option<Value> {
    // Brackets in strings are counted too: real answers stay far below.
    if body.iter().filter(|byte| b"[{".contains(byte)).count() > MAX_CONTAINERS {
        return None;
    }
    serde_json::from_slice(body).ok().or_else(|| {
        let strict = null_for_nan(body);
        if strict.len() == body.len() { None } else { serde_json::from_slice(&strict).ok() }
    })
}

fn null_for_nan(body: &[u8]) -> Vec<u8> {
    const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let mut out = Vec::with_capacity(body.len() + 16);
    let mut in_string = false;
    let mut at = 0;
    while at < body.len() {
        let byte = body[at];
        if in_string {
            let width = if byte == b'\\' { 2 } else { 1 };
            in_string = byte != b'"';
            out.extend(body.iter().skip(at).take(width));
            at += width;
        } else if let Some(word) = WORDS.into_iter().find(|word| body[at..].starts_with(word)) {
            out.extend(b"null");
            at += word.len();
        } else {
            in_string = byte == b'"';
            out.push(byte);
            at += 1;
        }
    }
    out
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
    fn what_is_made_to_fill_the_memory_is_not_read() {
        let body = |parts: usize| format!("[{}0]", "[],".repeat(parts - 1));
        assert!(parse(body(MAX_CONTAINERS).as_bytes()).is_some());
        assert!(parse(body(MAX_CONTAINERS + 1).as_bytes()).is_none());
        // Much else is no reason.
        assert!(parse(format!("[{}0]", "1,".repeat(MAX_CONTAINERS)).as_bytes()).is_some());
    }

    #[test]
    fn ids_are_ordered_as_numbers() {
        let ids = in_node_order(vec!["10", "9", "12:3", "12:10", "x", "2"]);
        assert_eq!(ids, ["2", "9", "10", "12:3", "12:10", "x"]);
    }
}
