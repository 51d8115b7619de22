//! What keeps a run from beginning.

use super::bench::{ALWAYS, Row, STATS, one, row, video, with};
use crate::stand_in::{Fault, StandIn};

pub fn rows() -> Vec<Row> {
    vec![
        row("nobody listens at the start", "connection refused): start it", "skipped", 3, || {
            let server = StandIn::start();
            server.stop_listening();
            one(server, &video(), &[])
        }),
        row("silence at the start", "no answer in time): start it", "skipped", 3, || {
            with(STATS, ALWAYS, Fault::Hang, &[])
        }),
        row(
            "another server at that address",
            "is it the right --comfyui-url?",
            "skipped",
            3,
            || with(STATS, ALWAYS, Fault::Status(404, "not here"), &[]),
        ),
        row("401 at the start", "does not let us in: HTTP 401", "skipped", 3, || {
            with(STATS, ALWAYS, Fault::Status(401, "who?"), &["-WaitForComfyUI", "3600"])
        }),
        row("403 at the start", "does not let us in: HTTP 403", "skipped", 3, || {
            with(STATS, ALWAYS, Fault::Status(403, "not you"), &["-WaitForComfyUI", "3600"])
        }),
    ]
}
