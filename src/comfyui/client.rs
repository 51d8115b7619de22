//! The routes of a `ComfyUI` server as calls.

use std::io::Read;
use std::time::Duration;

use serde_json::{Value, json as json_value};

use super::answers::{
    self, HistoryEntry, OutputFile, Queue, QueuePosition, Queued, Submission, SystemStats,
};
use super::workflow::Workflow;
use super::{ids, json};
use crate::http::{self, ErrorKind, Http, HttpError, Payload, Target, Timeout};

/// Bound of making a connection.
pub(super) const CONNECT: Duration = Duration::from_secs(2);
/// Bound of reads and of control calls, end to end.
const CALL: Duration = Duration::from_secs(5);
/// Bound of `POST /prompt`: validating a large graph takes the server a while.
const SUBMIT: Duration = Duration::from_secs(60);
/// The folder of uploads under the server's input folder.
const UPLOADS: &str = "run-comfyui-e2e";

/// The two ids of one `POST /prompt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Our name for the prompt; old servers ignore it and give their own.
    pub prompt: String,
    /// New for each POST: without one, some servers leave cached outputs out of the history, and
    /// it is how a prompt is found whose answer was lost.
    pub client: String,
}

impl Ids {
    /// Two fresh UUIDs.
    pub fn new() -> Self {
        Ids { prompt: ids::uuid(), client: ids::uuid() }
    }
}

impl Default for Ids {
    fn default() -> Self {
        Ids::new()
    }
}

/// A `ComfyUI` server. Calls block: reads and control 5 s at most (2 s of it to connect),
/// [`submit`](Client::submit) and [`upload`](Client::upload) 60 s, [`view`](Client::view) as long
/// as bytes come.
pub struct Client {
    http: Http,
    call: Duration,
    transfer: Duration,
}

impl Client {
    /// A client whose transfers end after `transfer` without a byte.
    pub fn new(target: Target, transfer: Duration) -> Self {
        Client { http: Http::new(target, CONNECT), call: CALL, transfer }
    }

    /// A client with this bound on every call, for the sampler's own thread.
    pub fn with_timeout(target: Target, call: Duration) -> Self {
        // Less for the connection than for the whole, so that the two can be told apart.
        Client { http: Http::new(target, CONNECT.min(call * 3 / 4)), call, transfer: call }
    }

    /// The URL without credentials.
    pub fn base(&self) -> &str {
        self.http.base()
    }

    /// `GET /system_stats`: versions and the memory of every device.
    ///
    /// # Errors
    /// No answer, another status than 200, or no JSON object.
    pub fn system_stats(&self) -> Result<SystemStats, HttpError> {
        Ok(SystemStats::read(&self.get("/system_stats")?))
    }

    /// `POST /prompt`, at most `left` long, but 5 s in any case and never more than 60 s. There is
    /// no duplicate check: posting twice generates twice.
    ///
    /// # Errors
    /// No answer, or a status that says nothing about the prompt: 401, 403, 404, 429, 5xx.
    pub fn submit(
        &self,
        workflow: &Workflow,
        ids: &Ids,
        left: Duration,
    ) -> Result<Submission, HttpError> {
        const PATH: &str = "/prompt";
        let body = json_value!({
            "prompt": workflow.nodes(), "client_id": ids.client, "prompt_id": ids.prompt,
        });
        let (status, answer) = self.http.exchange(
            "POST",
            PATH,
            &Payload::Json(&body.to_string()),
            Timeout::Whole(left.clamp(self.call, SUBMIT)),
        )?;
        match Submission::read(status, &json::parse(&answer).unwrap_or(Value::Null)) {
            Some(submission) => Ok(submission),
            None if status == 200 => {
                Err(self.http.fail("POST", PATH, ErrorKind::BadJson, "an answer without prompt_id"))
            }
            None => Err(self.http.status("POST", PATH, status, &answer)),
        }
    }

    /// `GET /history/{id}`: the entry of a prompt that has ended. None while it is pending or
    /// running, and for an id that the server does not know.
    ///
    /// # Errors
    /// No answer, another status than 200, or an entry that is not one.
    pub fn history(&self, id: &str) -> Result<Option<HistoryEntry>, HttpError> {
        let path = format!("/history/{}", percent(id));
        let value = self.get(&path)?;
        match value.get(id) {
            None => Ok(None),
            Some(entry) => HistoryEntry::read(entry).map(Some).ok_or_else(|| {
                self.http.fail("GET", &path, ErrorKind::BadJson, "an entry without status")
            }),
        }
    }

    /// Whether the history holds no entry at all, as after a restart.
    ///
    /// # Errors
    /// No answer, another status than 200, or no JSON object.
    pub fn history_is_empty(&self) -> Result<bool, HttpError> {
        Ok(self.get("/history?max_items=1")?.as_object().is_some_and(serde_json::Map::is_empty))
    }

    /// `GET /queue`.
    ///
    /// # Errors
    /// No answer, another status than 200, or an answer without the two arrays.
    pub fn queue(&self) -> Result<Queue, HttpError> {
        let value = self.get("/queue")?;
        Queue::read(&value).ok_or_else(|| {
            self.http.fail("GET", "/queue", ErrorKind::BadJson, "an answer without its arrays")
        })
    }

    /// The prompt that a POST with these ids made, if the server knows one: by either id, in the
    /// queue or among the last 64 of the history.
    ///
    /// # Errors
    /// No answer, another status than 200, or no JSON object.
    pub fn find(&self, ids: &Ids) -> Result<Option<String>, HttpError> {
        let queue = self.queue()?;
        let ours =
            |item: &&Queued| item.id == ids.prompt || item.client.as_ref() == Some(&ids.client);
        if let Some(item) = queue.running.iter().chain(&queue.pending).find(ours) {
            return Ok(Some(item.id.clone()));
        }
        Ok(answers::posted_with(&self.get("/history?max_items=64")?, ids))
    }

    /// Asks for the end of one prompt, and of no other: new servers have a route for it
    /// (`POST /api/jobs/{id}/cancel`, since 0.26); on others it is taken out of the queue, and
    /// interrupted only if it is the one that runs. To be called again until it is seen gone.
    ///
    /// # Errors
    /// No answer, or a refusal of the last step.
    pub fn cancel(&self, id: &str) -> Result<(), HttpError> {
        let path = format!("/api/jobs/{}/cancel", percent(id));
        let (status, answer) = self.post(&path, &json_value!({}))?;
        let known = json::parse(&answer).is_some_and(|value| value.get("cancelled").is_some());
        if status == 200 && known {
            return Ok(());
        }
        self.command("/queue", &json_value!({ "delete": [id] }))?;
        if self.queue()?.place(id) == QueuePosition::Running {
            self.command("/interrupt", &json_value!({ "prompt_id": id }))?;
        }
        Ok(())
    }

    /// `POST /free`: asks the server to unload its models and to empty its cache. It only sets a
    /// flag, and a waiting prompt is taken first.
    ///
    /// # Errors
    /// No answer, or another status than 200.
    pub fn free(&self) -> Result<(), HttpError> {
        self.command("/free", &json_value!({ "unload_models": true, "free_memory": true }))
    }

    /// `POST /upload/image`: an image for a `LoadImage` node, and the name it has there.
    ///
    /// # Errors
    /// No answer, another status than 200, or an answer without the name.
    pub fn upload(&self, name: &str, image: &[u8]) -> Result<String, HttpError> {
        const PATH: &str = "/upload/image";
        let boundary = format!("----{}", ids::uuid());
        let body = multipart(&boundary, name, image);
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let payload = Payload::Bytes { content_type: &content_type, bytes: &body };
        let bound = Timeout::Both(SUBMIT.max(self.transfer), self.transfer);
        let (status, answer) = self.http.exchange("POST", PATH, &payload, bound)?;
        if status != 200 {
            return Err(self.http.status("POST", PATH, status, &answer));
        }
        let value = json::parse(&answer).unwrap_or(Value::Null);
        answers::uploaded(&value).ok_or_else(|| {
            self.http.fail("POST", PATH, ErrorKind::BadJson, "an answer without the image's name")
        })
    }

    /// `GET /view`: a file of a prompt, to be read as it comes, and its length where it is said.
    /// A read fails after the transfer timeout without a byte.
    ///
    /// # Errors
    /// No answer, or another status than 200; 404 if the file is gone.
    pub fn view(&self, file: &OutputFile) -> Result<(Option<u64>, impl Read + use<>), HttpError> {
        let path = format!(
            "/view?filename={}&subfolder={}&type={}",
            percent(&file.filename),
            percent(&file.subfolder),
            percent(&file.kind)
        );
        self.http.open(&path, Timeout::Idle(self.transfer))
    }

    /// The error of a transfer that broke off after it had begun.
    pub fn broken_view(&self, error: &std::io::Error) -> HttpError {
        let (fault, detail) = http::fault_of_io(error);
        self.http.fail("GET", "/view", fault, detail)
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, HttpError> {
        let body = self.http.get(path, Timeout::Whole(self.call))?;
        match json::parse(&body) {
            Some(value) if value.is_object() => Ok(value),
            Some(_) => Err(self.http.fail(
                "GET",
                path,
                ErrorKind::BadJson,
                "an answer that is no JSON object",
            )),
            None => {
                Err(self.http.fail("GET", path, ErrorKind::BadJson, "an answer that is not JSON"))
            }
        }
    }

    fn post(&self, path: &str, body: &Value) -> Result<(u16, Vec<u8>), HttpError> {
        self.http.exchange(
            "POST",
            path,
            &Payload::Json(&body.to_string()),
            Timeout::Whole(self.call),
        )
    }

    fn command(&self, path: &str, body: &Value) -> Result<(), HttpError> {
        let (status, answer) = self.post(path, body)?;
        if status == 200 { Ok(()) } else { Err(self.http.status("POST", path, status, &answer)) }
    }
}

/// The form of an upload: the image, our folder, and leave to replace what an earlier run sent.
fn multipart(boundary: &str, name: &str, image: &[u8]) -> Vec<u8> {
    let name = name.replace(['"', '\r', '\n'], "_");
    let mut body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"image\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    body.extend(image);
    for (field, value) in [("subfolder", UPLOADS), ("overwrite", "true"), ("type", "input")] {
        body.extend(
            format!(
                "\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}"
            )
            .bytes(),
        );
    }
    body.extend(format!("\r\n--{boundary}--\r\n").bytes());
    body
}

pub(super) fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
