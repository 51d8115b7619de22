//! The servers of language models, and whether the story's provider answers before the generator is
//! started. Their JSON stays in this module and in [`super::lm_studio`].

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::cli::LlmOptions;
use crate::clock::iso;
use crate::http::{ErrorKind, Http, HttpError, OnWait, ServerUrl, Target, Timeout};
use crate::sanitize::{sanitize_line, shortened};

/// Why nothing was asked where there is no provider.
const NO_PROVIDER: &str = "no local provider configured";

/// What came of the health check. `Display` is its line: `models=` is how many there are,
/// `unknown` where the answer lists none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked, without credentials; `None` where no provider is configured.
    pub url: Option<String>,
    /// Whether that URL was given, in place of the provider's `/v1/models`.
    pub overridden: bool,
    /// What came of it.
    pub status: Status,
    /// When it began.
    pub at: OffsetDateTime,
}

/// How the provider answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It did, and has models with these ids; `None` where a URL was given whose answer does not
    /// list any.
    Success(Option<Vec<String>>),
    /// It did not: what was asked, where, and what came back.
    Failed(String),
    /// It was not asked, by an option.
    Skipped,
    /// There is none.
    NotConfigured,
}

/// Asks the provider of the story, if one is configured: its `/v1/models`, which has to be a list
/// of models, or the URL that was given for it, whose 200 is enough unless its body holds an error.
/// Takes 5 s at most.
pub fn check(llm: &LlmOptions, at: OffsetDateTime, on_wait: &OnWait) -> HealthCheck {
    let overridden = llm.health_url.is_some();
    let asked = llm.provider.as_ref().map(|provider| match &llm.health_url {
        Some(url) => {
            let (origin, path) = split(url.base());
            (server(url, origin, on_wait), if path.is_empty() { "/" } else { path })
        }
        None => (server(provider, before_v1(provider.base()), on_wait), "/v1/models"),
    });
    let status = match &asked {
        _ if llm.skip_health_check => Status::Skipped,
        None => Status::NotConfigured,
        Some((server, path)) => match get(server, path, |body| model_ids(body, overridden)) {
            Ok(ids) => Status::Success(ids),
            Err(error) => Status::Failed(error.to_string()),
        },
    };
    let url = asked.map(|(server, path)| format!("{}{path}", server.target.base));
    HealthCheck { url, overridden, status, at }
}

/// The ids of the models that an answer lists. Of a URL that was given nothing is known: it may
/// answer `ok`.
fn model_ids(body: &[u8], overridden: bool) -> Result<Option<Vec<String>>, String> {
    match models(body) {
        Ok(models) => {
            let id = |model: &Value| model["id"].as_str().map(sanitize_line);
            Ok(Some(models.iter().filter_map(id).collect()))
        }
        Err(_) if overridden => {
            let error = serde_json::from_slice(body).ok().and_then(|value| error_text(&value));
            error.map_or(Ok(None), |error| Err(format!("an error: {error}")))
        }
        Err(why) => Err(why),
    }
}

/// Scheme, host and port; and the path.
fn split(base: &str) -> (&str, &str) {
    let third_slash = base.match_indices('/').nth(2);
    base.split_at(third_slash.map_or(base.len(), |(at, _)| at))
}

/// What stands before `/v1/…`, the whole where nothing like it does.
fn before_v1(base: &str) -> &str {
    let (origin, path) = split(base);
    let end = format!("{path}/").find("/v1/").unwrap_or(path.len());
    &base[..origin.len() + end]
}

impl HealthCheck {
    /// Why the run ends, as one line with what to do.
    pub fn failure(&self) -> Option<String> {
        let Status::Failed(why) = &self.status else { return None };
        Some(format!(
            "no language model for the story: {why}: start it, or --local-llm-provider-url URL, \
             or --local-llm-healthcheck-url URL, or --skip-llm-health-check"
        ))
    }

    /// The metadata's `HealthCheck`: an unknown is null, `Models` are their ids. `None` where
    /// nothing was asked, since no story was to be made.
    pub fn json(check: Option<&Self>) -> Value {
        let (status, models, error, reason) = match check.map(|check| &check.status) {
            Some(Status::Success(models)) => ("success", models.as_ref(), None, None),
            Some(Status::Failed(why)) => ("failed", None, Some(why), None),
            Some(Status::Skipped) => ("skipped", None, None, Some("operator request")),
            Some(Status::NotConfigured) => ("skipped", None, None, Some(NO_PROVIDER)),
            None => ("skipped", None, None, Some("no story was to be made")),
        };
        json!({
            "Url": check.and_then(|check| check.url.as_ref()),
            "Override": check.is_some_and(|check| check.overridden),
            "Status": status,
            "Models": models,
            "Error": error,
            "Timestamp": check.map(|check| iso(check.at)),
            "Skipped": reason.is_some(),
            "SkipReason": reason,
        })
    }
}

impl fmt::Display for HealthCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[LLM] Health check")?;
        match &self.status {
            Status::Success(models) => {
                let url = self.url.as_deref().unwrap_or_default();
                let count = models.as_ref().map_or("unknown".into(), |ids| ids.len().to_string());
                write!(f, ": success (url={url}, models={count}, override={})", self.overridden)
            }
            Status::Failed(why) => write!(f, " failed: {why}"),
            Status::Skipped => f.write_str(": skipped by operator request"),
            Status::NotConfigured => write!(f, ": skipped ({NO_PROVIDER})"),
        }
    }
}

/// The time-out of a call, end to end, and of its connection.
const CALL: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(2);
/// The longest answer, in bytes: what is read of one takes many times its length.
const LONGEST_LIST: usize = 1 << 20;
/// The longest error text of a server that is repeated, in characters.
const LONGEST_ERROR: usize = 200;

/// A server of language models.
pub(super) struct LlmServer {
    pub(super) target: Target,
    /// Called while an answer is waited for.
    on_wait: OnWait,
}

/// The server at a URL; `base` is the part of it that a path is appended to.
pub(super) fn server(url: &ServerUrl, base: &str, on_wait: &OnWait) -> LlmServer {
    let target = Target { base: base.to_owned(), ..Target::new(url, "user:password@ in the URL") };
    LlmServer { target, on_wait: on_wait.clone() }
}

/// What `read` finds in the body of a GET that answered 200, within 5 s; its error says what the
/// body is instead. `localhost` is tried on IPv4 first.
pub(super) fn get<T>(
    server: &LlmServer,
    path: &str,
    read: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<T, HttpError> {
    let begun = Instant::now();
    let ask = |ipv4_only| {
        let left = CALL.saturating_sub(begun.elapsed());
        let target = Target { ipv4_only, ..server.target.clone() };
        let http = Http::new(target, CONNECT, server.on_wait.clone());
        let shown =
            |body: Vec<u8>| http.secrets.redact_json(&String::from_utf8_lossy(&body)).into_bytes();
        http.get(path, Timeout::Whole(left)).map(shown)
    };
    let answer = match ask(server.target.ipv4_only) {
        Err(error) if error.kind == ErrorKind::Refused && server.target.ipv4_only => ask(false),
        answer => answer,
    };
    let answer = answer?;
    let read = if answer.len() <= LONGEST_LIST {
        read(&answer)
    } else {
        Err("an answer of more than 1 MiB".to_owned())
    };
    read.map_err(|why| {
        HttpError::new(&format!("GET {path}"), &server.target.base, ErrorKind::BadJson, &why)
    })
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
        _ => {
            let error = error_text(&value).map(|error| format!(": {error}"));
            Err(format!("an answer without models{}", error.unwrap_or_default()))
        }
    }
}

/// The error in an answer, as one line.
fn error_text(value: &Value) -> Option<String> {
    let error = value.get("error").filter(|error| !error.is_null())?;
    let text = error.as_str().or(error["message"].as_str()).unwrap_or("an error without words");
    Some(shortened(&sanitize_line(text), LONGEST_ERROR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn the_models_of_a_provider_stand_where_its_v1_begins() {
        let cases = [
            ("http://h:1234/v1/chat/completions", "http://h:1234"),
            ("http://h:1234/v1", "http://h:1234"),
            ("http://h/lm/v1/x/v1/y", "http://h/lm"),
            ("http://h:1234", "http://h:1234"),
            ("http://h/lm", "http://h/lm"),
            ("http://h/v1beta/models", "http://h/v1beta/models"),
            ("http://v1/v10/v1/chat", "http://v1/v10"),
        ];
        for (provider, base) in cases {
            assert_eq!(before_v1(provider), base, "{provider}");
        }
        assert_eq!(split("http://h:1/a/b"), ("http://h:1", "/a/b"));
        assert_eq!(split("http://h:1"), ("http://h:1", ""));
    }

    #[test]
    fn a_list_is_asked_of_the_provider_and_200_of_a_given_url() {
        let ids = |ids: &[&str]| Ok(Some(ids.iter().map(|id| (*id).to_owned()).collect()));
        let list = br#"{"data": [{"id": "a\nb"}, {"id": 5}, {"id": "c"}]}"#;
        for overridden in [false, true] {
            assert_eq!(model_ids(list, overridden), ids(&["a b", "c"]));
        }
        assert_eq!(model_ids(b"ok", true), Ok(None));
        assert_eq!(model_ids(b"ok", false), Err("an answer that is not JSON".into()));
        assert_eq!(model_ids(b"{}", true), Ok(None));
        assert_eq!(model_ids(b"{}", false), Err("an answer without models".into()));
        assert_eq!(model_ids(br#"{"error": "gone"}"#, true), Err("an error: gone".into()));
    }

    #[test]
    fn every_status_has_its_line_and_its_keys() {
        let check = |url: Option<&str>, overridden, status| HealthCheck {
            url: url.map(str::to_owned),
            overridden,
            status,
            at: datetime!(2026-11-04 03:05:09 +2),
        };
        let url = Some("http://h/v1/models");
        let models = Some(vec!["a".to_owned(), "b".to_owned()]);
        let cases = [
            (
                check(url, false, Status::Success(models)),
                ": success (url=http://h/v1/models, models=2, override=false)",
                json!(["success", ["a", "b"], null, false, null]),
            ),
            (
                check(url, true, Status::Success(None)),
                ": success (url=http://h/v1/models, models=unknown, override=true)",
                json!(["success", null, null, false, null]),
            ),
            (
                check(url, false, Status::Failed("no".into())),
                " failed: no",
                json!(["failed", null, "no", false, null]),
            ),
            (
                check(url, false, Status::Skipped),
                ": skipped by operator request",
                json!(["skipped", null, null, true, "operator request"]),
            ),
            (
                check(None, false, Status::NotConfigured),
                ": skipped (no local provider configured)",
                json!(["skipped", null, null, true, "no local provider configured"]),
            ),
        ];
        for (check, line, keys) in cases {
            assert_eq!(check.to_string(), format!("[LLM] Health check{line}"));
            let json = HealthCheck::json(Some(&check));
            let names = ["Status", "Models", "Error", "Skipped", "SkipReason"];
            assert_eq!(json!(names.map(|name| json[name].clone())), keys);
            assert_eq!(
                (&json["Url"], &json["Override"]),
                (&json!(check.url), &json!(check.overridden))
            );
            assert_eq!(json["Timestamp"], "2026-11-04T03:05:09+02:00");
            assert_eq!(check.failure().is_some(), line.contains("failed"));
        }
        let none = HealthCheck::json(None);
        assert_eq!(none["SkipReason"], "no story was to be made");
        assert_eq!((&none["Skipped"], &none["Timestamp"]), (&json!(true), &Value::Null));
    }

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
