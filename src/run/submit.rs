//! Sending a scene's image, and posting its prompt exactly once, whatever becomes of the answer.

use std::time::Instant;

use super::cancel::LOOK_AGAIN;
use super::context::RunContext;
use super::plan::Scene;
use super::poll::Outage;
use crate::comfyui::{ErrorKind, HttpError, Ids, Submission, Workflow};
use crate::interrupt::Interrupted;

/// What came of it.
pub enum Submitted {
    /// The server has it under this id. `broken`: the outputs that it dropped.
    Accepted {
        /// The id.
        id: String,
        /// One line a broken node.
        broken: Vec<String>,
    },
    /// The server refused it.
    Rejected(String),
    /// The deadline passed first.
    Deadline(HttpError),
    /// The server is gone.
    Unreachable(HttpError),
}

/// Posts until the server has it, by the deadline.
///
/// # Errors
/// [`Interrupted`]; what was posted stays in the ledger.
pub fn submit(
    stage: &mut RunContext,
    scene: &Scene,
    workflow: &Workflow,
    deadline: Instant,
) -> Result<Submitted, Interrupted> {
    let mut patience = Patience::default();
    loop {
        stage.events.check()?;
        let left = deadline.saturating_duration_since(Instant::now());
        let ids = Ids::random();
        stage.ledger.post(&scene.id, &ids);
        let error = match stage.client.submit(workflow, &ids, left) {
            Ok(Submission::Accepted { id, node_errors: broken }) => {
                stage.ledger.accepted(&ids, &id);
                return Ok(Submitted::Accepted { id, broken });
            }
            Ok(Submission::Rejected(why)) => {
                stage.ledger.forget(&ids);
                return Ok(Submitted::Rejected(why));
            }
            Err(error) => error,
        };
        match error.kind {
            // Never sent.
            ErrorKind::Refused => {
                stage.ledger.forget(&ids);
                if patience.again(stage, scene, &error, deadline)? {
                    continue;
                }
                return Ok(Submitted::Unreachable(error));
            }
            // A gateway's word about a server behind it: as good as no answer.
            ErrorKind::Timeout
            | ErrorKind::Reset
            | ErrorKind::BadJson
            | ErrorKind::Status(408 | 502..=599) => {
                stage.warn(&scene.id, &format!("{error}: looking whether the prompt arrived"));
                match look(stage, &ids, deadline)? {
                    Look::Found(id) => {
                        stage.ledger.accepted(&ids, &id);
                        return Ok(Submitted::Accepted { id, broken: Vec::new() });
                    }
                    Look::NotThere => stage.ledger.forget(&ids),
                    Look::NoAnswer(last) => return Ok(gone(last.unwrap_or(error))),
                }
            }
            ErrorKind::Status(_) => {
                stage.ledger.forget(&ids);
                return Ok(Submitted::Rejected(error.to_string()));
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(gone(error));
        }
        stage.events.wait(LOOK_AGAIN.min(left))?;
    }
}

/// Sends the scene's keyframe: the name it has there. A server that refuses connections is waited
/// for by the deadline.
///
/// # Errors
/// [`Interrupted`]; the inner one is why it is not there.
pub fn upload(
    stage: &mut RunContext,
    scene: &Scene,
    name: &str,
    image: &[u8],
    deadline: Instant,
) -> Result<Result<String, HttpError>, Interrupted> {
    let mut patience = Patience::default();
    loop {
        let error = match stage.client.upload(name, image) {
            Err(error) if error.kind == ErrorKind::Refused => error,
            answer => return Ok(answer),
        };
        if !patience.again(stage, scene, &error, deadline)? {
            return Ok(Err(error));
        }
    }
}

/// With a server that refuses connections: said once, and waited for by the deadline, but no longer
/// than a server that is gone is.
#[derive(Default)]
struct Patience {
    outage: Outage,
    told: bool,
}

impl Patience {
    /// Waits a moment; `false` where it has been long enough.
    fn again(
        &mut self,
        stage: &mut RunContext,
        scene: &Scene,
        error: &HttpError,
        deadline: Instant,
    ) -> Result<bool, Interrupted> {
        if !std::mem::replace(&mut self.told, true) {
            stage.warn(&scene.id, &format!("{error}: trying again"));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || self.outage.lasts(Instant::now(), error) {
            return Ok(false);
        }
        stage.events.wait(LOOK_AGAIN.min(left))?;
        Ok(true)
    }
}

fn gone(error: HttpError) -> Submitted {
    if error.kind == ErrorKind::Refused {
        Submitted::Unreachable(error)
    } else {
        Submitted::Deadline(error)
    }
}

enum Look {
    Found(String),
    NotThere,
    /// The server did not say by the deadline; whether it refused at the end.
    NoAnswer(Option<HttpError>),
}

/// Looks for both ids as soon as the server answers, and once more a second later: a stalled
/// server may read the POST only then.
fn look(stage: &mut RunContext, ids: &Ids, deadline: Instant) -> Result<Look, Interrupted> {
    let (mut looks, mut refused) = (0, None);
    loop {
        stage.events.check()?;
        match stage.client.find_prompt(ids) {
            Ok(Some(id)) => return Ok(Look::Found(id)),
            Ok(None) if looks == 1 => return Ok(Look::NotThere),
            Ok(None) => looks += 1,
            Err(error) => refused = Some(error).filter(|error| error.kind == ErrorKind::Refused),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Look::NoAnswer(refused));
        }
        stage.events.wait(LOOK_AGAIN.min(left))?;
    }
}
