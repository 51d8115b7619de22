//! The routes of a `ComfyUI` server as calls.

use std::io::{self, Read, Write};
use std::time::Duration;

use serde_json::{Map, Value, json as json_value};

use super::history::{self, HistoryEntry, OutputFile, PromptOutcome};
use super::json::{self, Step};
use super::prompt::{Ids, Submission, posted_with, uuid};
use super::queue::{self, Queue, QueuePosition};
use super::system_stats::{self, SystemStats};
use super::workflow::Workflow;
use crate::http::{Answer, ErrorKind, Http, HttpError, OnWait, Target, Timeout, never_cut_off};
use crate::sanitize::{percent_encoded, sanitize_line};

/// Time limit of making a connection.
pub(super) const CONNECT: Duration = Duration::from_secs(2);
/// Time limit of reads and of control calls, end to end.
const CALL: Duration = Duration::from_secs(5);
/// The same after an interrupt.
const HURRIED_CALL: Duration = Duration::from_millis(1500);
/// Time limit of a queue or a history, which can be large, as long as bytes come.
const LARGE: Duration = Duration::from_secs(15);
/// Time limit of `POST /prompt`: validating a large graph takes the server a while.
const SUBMIT: Duration = Duration::from_secs(60);
/// The folder of uploads under the server's input folder.
const UPLOADS: &str = "run-comfyui-e2e";

/// Where partner nodes look for their key in what is posted beside a graph.
const API_KEY: &str = "api_key_comfy_org";

/// A `ComfyUI` server. Calls block: reads and control 5 s at most (2 s of it to connect), a queue or
/// a history up to 15 s while bytes come, [`submit`](Client::submit) and [`upload`](Client::upload) 60 s, [`view`](Client::view) as long
/// as bytes come.
pub struct Client {
    http: Http,
    call: Duration,
    transfer: Duration,
}

impl Client {
    /// A client whose transfers end after `transfer` without a byte. `on_wait` is called twice a
    /// second while a call waits; `false` cuts the call off.
    pub fn new(target: Target, transfer: Duration, on_wait: OnWait) -> Self {
        Client { http: Http::new(target, CONNECT, on_wait), call: CALL, transfer }
    }

    /// A client with one time limit for all its calls, for the sampler's own thread.
    pub fn with_timeout(target: Target, call: Duration) -> Self {
        // Less for the connection than for the whole, so that the two can be told apart.
        let http = Http::new(target, CONNECT.min(call * 3 / 4), never_cut_off());
        Client { http, call, transfer: call }
    }

    /// How the server is spoken to, for another client or a listener.
    pub fn target(&self) -> Target {
        self.http.target.clone()
    }

    /// From now on reads and control calls get 1.5 s, since somebody waits for the end.
    pub fn hurry(&mut self) {
        self.call = HURRIED_CALL;
    }

    /// `GET /system_stats`: versions and the memory of every device.
    ///
    /// # Errors
    /// No answer, another status than 200, or no JSON object.
    pub fn system_stats(&self) -> Result<SystemStats, HttpError> {
        Ok(self.stats(&self.get("/system_stats")?))
    }

    /// The same, and the whole answer as others may see it: without secrets, at most 64 KiB.
    ///
    /// # Errors
    /// Same as [`system_stats`](Client::system_stats).
    pub fn system_stats_and_answer(&self) -> Result<(SystemStats, Value), HttpError> {
        let answer = self.get("/system_stats")?;
        let stats = self.stats(&answer);
        Ok((stats, system_stats::public(answer, &|text| self.redact(&text))))
    }

    fn stats(&self, answer: &Value) -> SystemStats {
        let mut stats = SystemStats::parse(answer);
        let versions = [&mut stats.comfyui, &mut stats.pytorch, &mut stats.python];
        let names = stats.devices.iter_mut().map(|device| &mut device.name);
        self.redact_all(versions.into_iter().flatten().chain(names));
        stats
    }

    /// The text with `***` for what the server was sent and must not be repeated.
    pub fn redact(&self, text: &str) -> String {
        self.http.secrets.redact(text)
    }

    fn redact_all<'t>(&self, texts: impl IntoIterator<Item = &'t mut String>) {
        for text in texts {
            *text = self.redact(text);
        }
    }

    /// `POST /prompt`, at most `left` long, but 5 s in any case and never more than 60 s. There is
    /// no duplicate check: posting twice generates twice.
    ///
    /// # Errors
    /// No answer, or one that says nothing about the prompt: any status but 200 and 400, and those
    /// without a `prompt_id` or an error.
    pub fn submit(
        &self,
        workflow: &Workflow,
        ids: &Ids,
        left: Duration,
    ) -> Result<Submission, HttpError> {
        let mut body = json_value!({
            "prompt": workflow.nodes, "client_id": ids.client, "prompt_id": ids.prompt,
        });
        let mut extra_data = Map::clone(&workflow.extra_data);
        if let Some(key) = self.http.api_key() {
            extra_data.insert(API_KEY.to_owned(), key.into());
        }
        if !extra_data.is_empty() {
            body["extra_data"] = extra_data.into();
        }
        let (status, answer) = self.post("/prompt", &body, left.clamp(self.call, SUBMIT))?;
        // Before its texts are cut: an error may repeat what was sent.
        let mut parsed = json::parse(&answer).unwrap_or_default();
        let id = parsed.get_mut("prompt_id").map(Value::take);
        let mut shown = self.http.secrets.redact_values(parsed);
        // An id that repeats a secret is none; ours may look like a piece of one.
        let is_fine = |id: &str| id == ids.prompt || self.redact(id) == id;
        if let Some(id) = id.filter(|id| id.as_str().is_none_or(is_fine)) {
            shown["prompt_id"] = id;
        }
        let mut submission = Submission::parse(status, &shown);
        // Keys have become texts.
        let texts = match &mut submission {
            Some(Submission::Accepted { node_errors, .. }) => node_errors.as_mut_slice(),
            Some(Submission::Rejected(why) | Submission::NoId(why)) => std::slice::from_mut(why),
            None => &mut [],
        };
        self.redact_all(texts);
        submission.ok_or_else(|| match status {
            200 => self.bad_answer("POST /prompt", "an answer without prompt_id"),
            _ => self.http.status_error("POST /prompt", status, &answer),
        })
    }

    /// `GET /history/{id}`: the entry of a prompt that has ended. None while it is pending or
    /// running, and for an id that the server does not know.
    ///
    /// # Errors
    /// No answer, another status than 200, or an entry that is not one.
    pub fn history(&self, id: &str) -> Result<Option<HistoryEntry>, HttpError> {
        let path = format!("/history/{}", percent_encoded(id));
        let mut copy = history::Copy::default();
        let mut answer = self.get_part(&path, LARGE, &history::is_wanted, &mut copy)?;
        let Some(entry) = answer.get_mut(id) else { return Ok(None) };
        // Before its texts are put together and cut.
        if let Some(status) = entry.get_mut("status") {
            *status = self.http.secrets.redact_values(status.take());
        }
        let parsed = HistoryEntry::parse(entry);
        let mut entry = parsed.map_err(|why| self.bad_answer(&format!("GET {path}"), why))?;
        entry.raw = self.http.secrets.redact_json(&copy.entry(id).unwrap_or(entry.raw));
        let texts = entry.texts.iter_mut().map(|(_, text)| text);
        let why = match &mut entry.outcome {
            PromptOutcome::Failed { why, .. } => Some(why),
            _ => None,
        };
        self.redact_all(texts.chain(why));
        Ok(Some(entry))
    }

    /// Whether the history holds no entry at all, as after a restart.
    ///
    /// # Errors
    /// No answer, another status than 200, or no JSON object.
    pub fn history_is_empty(&self) -> Result<bool, HttpError> {
        Ok(self.get("/history?max_items=1")? == json_value!({}))
    }

    /// `GET /queue`.
    ///
    /// # Errors
    /// No answer, another status than 200, or an answer without the two arrays.
    pub fn queue(&self) -> Result<Queue, HttpError> {
        let answer = self.get_part("/queue", LARGE, &queue::is_wanted, io::sink())?;
        Queue::parse(&answer).map_err(|why| self.bad_answer("GET /queue", why))
    }

    /// The first prompt that a POST with one of these ids has made, as far as the server knows one,
    /// with the server's id for it: looked for by either id, in the queue and among the last 64 of
    /// the history.
    ///
    /// # Errors
    /// No answer, another status than 200, or no JSON object.
    pub fn find_sent(&self, sent: &[Ids]) -> Result<Option<(Ids, String)>, HttpError> {
        match self.queue()?.find_sent(sent) {
            None => Ok(history::find(&self.last_of_history()?, posted_with(sent))),
            queued => Ok(queued),
        }
    }

    /// The id of a prompt of that client that is none of the `known` ones: the first of those among
    /// the last 64 of the history, if it is looked for there, else one in the queue.
    ///
    /// # Errors
    /// Same as [`Client::find_sent`].
    pub fn find_other(
        &self,
        client: &str,
        known: &[String],
        in_history: bool,
    ) -> Result<Option<String>, HttpError> {
        let is_known = |id: &str| known.iter().any(|known| known == id);
        let other = |id: &str, of: Option<&str>| {
            (of == Some(client) && !is_known(id)).then(|| id.to_owned())
        };
        let ended = if in_history { history::find(&self.last_of_history()?, other) } else { None };
        if ended.is_some() { Ok(ended) } else { Ok(self.queue()?.find(other)) }
    }

    /// Whose the last 64 prompts of the history are.
    fn last_of_history(&self) -> Result<Value, HttpError> {
        self.get_part("/history?max_items=64", LARGE, &history::is_client, io::sink())
    }

    /// Asks the server to end one prompt, and no other: new servers have a route for it
    /// (`POST /api/jobs/{id}/cancel`, since 0.26); on others it is taken out of the queue, and
    /// interrupted only if it is the one that runs. To be repeated until the prompt is gone.
    ///
    /// # Errors
    /// No answer, or a refusal of the last step.
    pub fn cancel(&self, id: &str) -> Result<(), HttpError> {
        let path = format!("/api/jobs/{}/cancel", percent_encoded(id));
        let is_known =
            |answer: &[u8]| json::parse(answer).is_some_and(|it| it.get("cancelled").is_some());
        match self.post(&path, &json_value!({}), self.call) {
            Ok((200, answer)) if is_known(&answer) => return Ok(()),
            Err(error) if error.kind == ErrorKind::Refused => return Err(error),
            // Somebody waits: two more silences take too long.
            Err(error) if error.kind == ErrorKind::Timeout && self.call == HURRIED_CALL => {
                return Err(error);
            }
            // No such route, or one that is out of order.
            Ok(_) | Err(_) => {}
        }
        self.command("/queue", &json_value!({ "delete": [id] }))?;
        match self.queue()?.position(id) {
            QueuePosition::Running => self.command("/interrupt", &json_value!({ "prompt_id": id })),
            QueuePosition::Pending(_) | QueuePosition::Absent => Ok(()),
        }
    }

    /// `POST /free`: asks the server to unload its models and to empty its cache. It only sets a
    /// flag, and a waiting prompt is taken first.
    ///
    /// # Errors
    /// No answer, or another status than 200.
    pub fn free(&self) -> Result<(), HttpError> {
        self.command("/free", &json_value!({ "unload_models": true, "free_memory": true }))
    }

    /// `POST /upload/image`: uploads an image for a `LoadImage` node and returns the name that the
    /// node knows it by.
    ///
    /// # Errors
    /// No answer, another status than 200, or an answer without the name.
    pub fn upload(&self, name: &str, image: &[u8]) -> Result<String, HttpError> {
        const CALL: &str = "POST /upload/image";
        let boundary = format!("----{}", uuid());
        let body = multipart(&boundary, name, image);
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let timeout = Timeout::WholeAndIdle(SUBMIT.max(self.transfer), self.transfer);
        let answer = self.http.post("/upload/image", &content_type, &body, timeout)?;
        json::parse(&self.http.require_200(CALL, answer)?)
            .and_then(|answer| uploaded_name(&answer))
            .ok_or_else(|| self.bad_answer(CALL, "an answer without the image's name"))
    }

    /// `GET /view`: an output file as a stream, and its length where the server gives it. A read
    /// fails after the transfer timeout without a byte.
    ///
    /// # Errors
    /// No answer, or another status than 200; 404 if the file is gone.
    pub fn view(&self, file: &OutputFile) -> Result<(Option<u64>, impl Read + use<>), HttpError> {
        self.http.get_stream(&view_path(file), Timeout::Transfer(self.transfer))
    }

    /// Whether more came than was announced for the file whose stream has been read to its end.
    pub fn had_surplus(&self) -> bool {
        self.http.had_surplus()
    }

    /// `HEAD /view`: whether the server has an output file.
    ///
    /// # Errors
    /// No answer.
    pub fn has_file(&self, file: &OutputFile) -> Result<bool, HttpError> {
        Ok(self.http.head(&view_path(file), Timeout::Whole(self.call))? == 200)
    }

    /// The error of a failed read from the stream of [`view`](Client::view).
    pub fn view_error(&self, error: io::Error) -> HttpError {
        self.http.transport_error("GET /view", error)
    }

    /// `GET /object_info/{class}`, the inputs of a node class; an empty object if there is none of
    /// this name.
    pub(super) fn object_info(&self, class: &str) -> Result<Value, HttpError> {
        self.get(&format!("/object_info/{}", percent_encoded(class)))
    }

    /// `GET /object_info`: the names of all node classes, some megabytes on a server with many nodes.
    ///
    /// # Errors
    /// No answer in time, another status than 200, or no JSON object.
    pub fn class_names(&self) -> Result<Vec<String>, HttpError> {
        let answer = self.get_part("/object_info", LARGE, &<[Step]>::is_empty, io::sink())?;
        let classes = answer.as_object().into_iter().flatten();
        Ok(classes.map(|(name, _)| self.redact(&sanitize_line(name))).collect())
    }

    /// The JSON object that a GET answered.
    fn get(&self, path: &str) -> Result<Value, HttpError> {
        self.get_part(path, self.call, &|_| true, io::sink())
    }

    /// The part of the JSON object that a GET answered that is kept. `copy` gets all of it, with
    /// null for `NaN`.
    fn get_part(
        &self,
        path: &str,
        limit: Duration,
        keep: &dyn Fn(&[Step]) -> bool,
        copy: impl Write,
    ) -> Result<Value, HttpError> {
        let timeout = Timeout::WholeAndIdle(limit, self.call);
        let (_, body) = self.http.get_stream(path, timeout)?;
        let call = format!("GET {path}");
        match json::parse_part(body, keep, copy) {
            Ok(answer) if answer.is_object() => Ok(answer),
            Ok(_) => Err(self.bad_answer(&call, "an answer that is no JSON object")),
            Err(error) if json::is_too_large(&error) => Err(self.bad_answer(
                &call,
                "too large: more than 256 MiB, or than 16 MiB of what is needed of it",
            )),
            Err(error) if error.is_io() => {
                Err(self.http.transport_error(&call, io::Error::from(error)))
            }
            Err(_) => Err(self.bad_answer(&call, "an answer that is not JSON")),
        }
    }

    fn post(&self, path: &str, body: &Value, timeout: Duration) -> Result<Answer, HttpError> {
        let body = body.to_string();
        self.http.post(path, "application/json", body.as_bytes(), Timeout::Whole(timeout))
    }

    /// A POST whose answer is its status alone.
    fn command(&self, path: &str, body: &Value) -> Result<(), HttpError> {
        let answer = self.post(path, body, self.call)?;
        self.http.require_200(&format!("POST {path}"), answer).map(drop)
    }

    fn bad_answer(&self, call: &str, why: &str) -> HttpError {
        self.error(call, ErrorKind::BadJson, why)
    }

    /// The error of a call with one redacted line about what came back.
    pub fn error(&self, call: &str, kind: ErrorKind, why: &str) -> HttpError {
        self.http.error(call, kind, why)
    }
}

fn view_path(file: &OutputFile) -> String {
    let [name, folder, kind] = [&file.filename, &file.subfolder, &file.kind].map(percent_encoded);
    format!("/view?filename={name}&subfolder={folder}&type={kind}")
}

/// The form of an upload: the image, our folder, and leave to replace what an earlier run sent.
fn multipart(boundary: &str, name: &str, image: &[u8]) -> Vec<u8> {
    let head = |field: &str, more: &str| {
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"{more}\r\n\r\n")
    };
    let name = name.replace(['"', '\r', '\n'], "_");
    let file = format!("; filename=\"{name}\"\r\nContent-Type: application/octet-stream");
    let fields = [("subfolder", UPLOADS), ("overwrite", "true"), ("type", "input")]
        .map(|(field, value)| format!("\r\n{}{value}", head(field, "")));
    let end = format!("{}\r\n--{boundary}--\r\n", fields.concat());
    [head("image", &file).as_bytes(), image, end.as_bytes()].concat()
}

/// The name that an uploaded image has for a `LoadImage` node.
pub(super) fn uploaded_name(answer: &Value) -> Option<String> {
    let name = answer["name"].as_str()?;
    let folder = answer["subfolder"].as_str().filter(|folder| !folder.is_empty());
    Some(folder.map_or_else(|| name.to_owned(), |folder| format!("{folder}/{name}")))
}
