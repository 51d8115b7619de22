//! Uploading a scene's image, and posting its prompt exactly once, whatever becomes of the answer.

use std::time::{Duration, Instant};

use super::cancel::LOOK_AGAIN;
use super::context::RunContext;
use super::following::Following;
use super::poll::{Outage, is_refused};
use crate::comfyui::{ErrorKind, HttpError, Ids, Listener, Submission, Workflow};
use crate::interrupt::Interrupted;
use crate::sleep;

/// How long a POST waits for the listener's connection.
pub const LISTENER_TIMEOUT: Duration = Duration::from_secs(1);

/// A prompt that the server has.
pub struct Posted {
    /// The ids of its POST.
    pub ids: Ids,
    /// The server's id for it.
    pub id: String,
    /// The outputs that the server dropped, one line a node.
    pub broken: Vec<String>,
}

/// Whether a POST that was answered so may be answered otherwise the next time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// To the deadline: no answer, or a gateway's word about a server behind it.
    ToTheDeadline,
    /// So often: it may have been a moment's.
    Few,
    No,
}

/// How long a POST is looked for before it is sent again: a server that stalls longer is why it is
/// looked for later too.
const LOOK_FOR: Duration = Duration::from_secs(10);
/// POSTs that are answered by a status which may be a moment's.
const FEW: usize = 3;

fn again_after(kind: &ErrorKind) -> Again {
    match kind {
        ErrorKind::Status(300..=403 | 405..=407 | 410..=424 | 501) => Again::No,
        ErrorKind::Status(408 | 429 | 502..=504 | 520..=530) => Again::ToTheDeadline,
        ErrorKind::Status(_) => Again::Few,
        _ => Again::ToTheDeadline,
    }
}

/// Why a scene is not on the server.
pub enum SubmitError {
    /// An interrupt arrived; what was posted stays in the state file.
    Interrupted,
    /// Its image could not be uploaded.
    Upload { why: String, retry: bool },
    /// The server refused the prompt.
    Rejected(String),
    /// The deadline passed first; the prompt may be there all the same.
    Deadline(HttpError),
    /// The server has refused connections for too long, or to the deadline. `sent`: a POST before that
    /// may have arrived.
    Unreachable { error: HttpError, sent: bool },
}

impl From<Interrupted> for SubmitError {
    fn from(_: Interrupted) -> Self {
        SubmitError::Interrupted
    }
}

impl RunContext<'_> {
    /// Uploads an image under that name, and returns the one it has on the server. A server that
    /// refuses connections is waited for by the deadline.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn upload(
        &mut self,
        scene: &str,
        name: &str,
        image: &[u8],
        deadline: Instant,
    ) -> Result<String, SubmitError> {
        let mut patience = Patience::new(self.gone_after());
        loop {
            let error = match self.client.upload(name, image) {
                Ok(uploaded) => return Ok(uploaded),
                Err(error) => error,
            };
            self.events.check()?;
            if error.kind != ErrorKind::Refused {
                // The same image is refused again.
                let retry = !matches!(error.kind, ErrorKind::Status(400..=499));
                return Err(SubmitError::Upload { why: error.to_string(), retry });
            }
            if !patience.wait(self, scene, &error, deadline)? {
                return Err(SubmitError::Unreachable { error, sent: false });
            }
        }
    }

    /// Posts a prompt until the server has it, by the deadline. A POST whose answer was lost is
    /// looked for before it is posted again.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn submit(
        &mut self,
        scene: &str,
        workflow: &Workflow,
        deadline: Instant,
    ) -> Result<Posted, SubmitError> {
        let mut patience = Patience::new(self.gone_after());
        let mut unsent = None;
        let (mut sent, mut few) = (Vec::new(), 0);
        loop {
            self.events.check()?;
            let ids = match unsent.take() {
                Some(ids) => ids,
                None => self.listen(scene, workflow)?,
            };
            // Nothing else is there: what the server does from now on is this prompt.
            let is_alone =
                !self.is_listening() && self.client.queue().is_ok_and(|q| q.count() == 0);
            let posted = Instant::now();
            self.state.add(scene, &ids, self.clock.now());
            let (again, error) = match self.client.submit(workflow, &ids, sleep::left(deadline)) {
                Ok(Submission::Accepted { id, node_errors }) => {
                    self.set_server_id(&ids, &id);
                    if is_alone {
                        self.events.intake().recorder.set_running(posted, Some(scene), None);
                    }
                    return Ok(Posted { ids, id, broken: node_errors });
                }
                Ok(Submission::Rejected(why)) => {
                    self.state.remove(&ids);
                    return Err(SubmitError::Rejected(why));
                }
                Ok(Submission::NoId(why)) => {
                    let why = format!("an answer without prompt_id: {why}");
                    (Again::No, self.client.error("POST /prompt", ErrorKind::BadJson, &why))
                }
                Err(error) => (again_after(&error.kind), error),
            };
            // Never sent.
            if error.kind == ErrorKind::Refused {
                self.state.remove(&ids);
                if patience.wait(self, scene, &error, deadline)? {
                    unsent = Some(ids);
                    continue;
                }
                return Err(SubmitError::Unreachable { error, sent: !sent.is_empty() });
            }
            self.events.check()?;
            self.warn(scene, &format!("{error}: looking whether the prompt arrived"));
            sent.push(ids);
            let look_for = if again == Again::No { LOOK_AGAIN } else { LOOK_FOR };
            if let Some((ids, id)) = self.find_posted(&sent, look_for, deadline, &error)? {
                self.set_server_id(&ids, &id);
                return Ok(Posted { ids, id, broken: Vec::new() });
            }
            few += usize::from(again == Again::Few);
            if again == Again::No || few == FEW {
                return Err(SubmitError::Rejected(error.to_string()));
            }
            let left = sleep::left(deadline);
            if left.is_zero() {
                return Err(SubmitError::Deadline(error));
            }
            self.events.wait(LOOK_AGAIN.min(left))?;
        }
    }

    /// New ids for a POST, and a listener for what the server tells of it, which is connected if it
    /// answers soon. One that did not is not waited for again.
    fn listen(&mut self, scene: &str, workflow: &Workflow) -> Result<Ids, Interrupted> {
        let ids = Ids::random();
        let following = Following::new(scene, &ids.client, &ids.prompt, workflow.clone());
        self.events.intake().following = Some(following);
        let send = self.events.listener_events(&ids.client);
        self.listener = Some(Listener::start(self.client.target(), &ids.client, send));
        self.events.wait_for_listener(self.listener_timeout)?;
        if self.events.intake().following.as_ref().is_some_and(|it| it.connected.is_none()) {
            self.listener_timeout = Duration::ZERO;
        }
        Ok(ids)
    }

    /// The server's id for the prompt of a POST: kept in the state file, and listened for.
    pub fn set_server_id(&mut self, ids: &Ids, id: &str) {
        self.state.set_server_id(ids, id);
        if let Some(following) = &mut self.events.intake().following {
            following.add_id(id);
        }
    }

    fn is_listening(&self) -> bool {
        let following = &self.events.intake().following;
        following.as_ref().is_some_and(|following| following.connected == Some(true))
    }

    /// Looks for prompts that were sent, so long from the server's first answer on: a stalled
    /// server may read a POST only then. What is not found stays in the state file, and is looked for
    /// to the end of the run.
    fn find_posted(
        &mut self,
        sent: &[Ids],
        look_for: Duration,
        deadline: Instant,
        posted: &HttpError,
    ) -> Result<Option<(Ids, String)>, SubmitError> {
        let (mut first, mut refused) = (None, None);
        let mut outage = Outage::new(self.gone_after());
        loop {
            self.events.check()?;
            match self.client.find_sent(sent) {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => {
                    let since = *first.get_or_insert_with(sleep::now);
                    if sleep::now() >= since + look_for {
                        return Ok(None);
                    }
                }
                Err(error) if outage.lasts(sleep::now(), &error) => {
                    return Err(SubmitError::Unreachable { error, sent: true });
                }
                Err(error) => refused = Some(error).filter(is_refused),
            }
            let left = sleep::left(deadline);
            if left.is_zero() {
                return Err(match refused {
                    Some(error) => SubmitError::Unreachable { error, sent: true },
                    None => SubmitError::Deadline(posted.clone()),
                });
            }
            self.events.wait(LOOK_AGAIN.min(left))?;
        }
    }

    /// A scene's warning.
    pub fn warn(&mut self, scene: &str, text: &str) {
        self.log(scene, &format!("WARNING: {text}"));
    }

    /// A scene's line.
    pub fn log(&mut self, scene: &str, text: &str) {
        self.events.console.log(&format!("[Scene {scene}] {text}"));
    }
}

/// Patience with a server that refuses connections: logged once, and waited for by the deadline,
/// but no longer than a limit.
struct Patience {
    outage: Outage,
    logged: bool,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Patience { outage: Outage::new(limit), logged: false }
    }

    /// Waits a moment; `false` where it has been long enough.
    fn wait(
        &mut self,
        run: &mut RunContext,
        scene: &str,
        error: &HttpError,
        deadline: Instant,
    ) -> Result<bool, Interrupted> {
        if !std::mem::replace(&mut self.logged, true) {
            run.warn(scene, &format!("{error}: trying again"));
        }
        let left = sleep::left(deadline);
        if left.is_zero() || self.outage.lasts(sleep::now(), error) {
            return Ok(false);
        }
        run.events.wait(LOOK_AGAIN.min(left))?;
        Ok(true)
    }
}
