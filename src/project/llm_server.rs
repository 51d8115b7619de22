//! The script's language models: whether the story's provider answers, and LM Studio's models,
//! which leave the card before the scenes. Nothing outside this module sees their JSON.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::ServerUrl;
use crate::http::{ErrorKind, Http, HttpError, Target, Timeout};
use crate::sanitize::{sanitize_line, shortened};

/// Bound of a call, end to end.
const CALL: Duration = Duration::from_secs(5);
/// Bound of making the connection.
const CONNECT: Duration = Duration::from_secs(2);
/// Of an error that a server tells of itself.
const LONGEST: usize = 200;

/// A server of language models.
pub(super) struct Server {
    pub(super) target: Target,
}

impl Server {
    /// The server of a URL; `base` is the part of it that a path is appended to.
    pub(super) fn new(url: &ServerUrl, base: &str) -> Self {
        let target = Target::new(url, "user:password@ in the URL");
        Server { target: Target { base: base.to_owned(), ..target } }
    }

    /// The body of a GET that answered 200, within 5 s. `localhost` is tried on IPv4 first.
    pub(super) fn get(&self, path: &str) -> Result<Vec<u8>, HttpError> {
        let begun = Instant::now();
        let ask = |target: Target| {
            let left = CALL.saturating_sub(begun.elapsed());
            Http::new(target, CONNECT).get(path, Timeout::Whole(left))
        };
        match ask(self.target.clone()) {
            Err(error) if error.fault == ErrorKind::Refused && self.target.ipv4_only => {
                ask(Target { ipv4_only: false, ..self.target.clone() })
            }
            answer => answer,
        }
    }

    /// The error of an answer that is not what it should be.
    pub(super) fn unusable(&self, path: &str, why: &str) -> HttpError {
        HttpError::new(&format!("GET {path}"), &self.target.base, ErrorKind::BadJson, why)
    }
}

/// The `data` of a list of models. The error is what the answer is instead: LM Studio answers 200
/// to a route that it does not have.
pub(super) fn models(body: &[u8]) -> Result<Vec<Value>, String> {
    let value: Value =
        serde_json::from_slice(body).map_err(|_| "an answer that is not JSON".to_owned())?;
    match value.get("data") {
        Some(Value::Array(models)) => Ok(models.clone()),
        // Ollama's empty list.
        Some(Value::Null) => Ok(Vec::new()),
        _ => Err(match said(&value) {
            Some(error) => format!("an answer without models: {error}"),
            None => "an answer without models".to_owned(),
        }),
    }
}

/// The error that an answer tells of, as one line.
pub(super) fn said(value: &Value) -> Option<String> {
    let error = value.get("error").filter(|error| !error.is_null())?;
    let text = error.as_str().or(error["message"].as_str()).unwrap_or("an error without words");
    Some(shortened(&sanitize_line(text), LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_models_is_told_from_anything_else() {
        let count = |body: &str| models(body.as_bytes()).map(|models| models.len());
        assert_eq!(count(r#"{"object": "list", "data": [{"id": "a"}, {}]}"#), Ok(2));
        assert_eq!(count(r#"{"object": "list", "data": null}"#), Ok(0));
        let cases = [
            ("ok", "an answer that is not JSON"),
            ("[]", "an answer without models"),
            (r#"{"data": {}}"#, "an answer without models"),
            (r#"{"error": null}"#, "an answer without models"),
            (r#"{"error": {}}"#, "an answer without models: an error without words"),
            (r#"{"error": "no such\nroute"}"#, "an answer without models: no such route"),
            (r#"{"error": {"message": "no key"}}"#, "an answer without models: no key"),
        ];
        for (body, why) in cases {
            assert_eq!(count(body), Err(why.to_owned()), "{body}");
        }
    }
}
