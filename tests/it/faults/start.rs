//! What keeps a run from beginning.

use super::bench::{ALWAYS, Row, STATS, What, one, row, video, with};
use crate::stand_in::{Fault, StandIn};

/// A dry run whose server goes away, or falls silent, once it has said who it is.
fn dry() -> Vec<Row> {
    let faults = [
        ("refused", "connection refused", STATS, Fault::Leave),
        ("reset", "the connection broke off", "GET /object_info", Fault::Reset),
        ("silence", "no answer in time", "GET /object_info", Fault::Hang),
    ];
    let row = |(name, told, route, fault): (&str, &str, &'static str, Fault)| {
        let request = "`GET /object_info/{class}` of a dry run";
        let sees = "FAILED: 1 scene not checked, exit 3 (unreachable)".to_owned();
        let play = move || with(route, ALWAYS, fault.clone(), &["-DryRun"]);
        let what = What::OneOf { request, sees };
        Row::new(format!("{request}: {name}"), what, format!(": {told}\n"), ("-", 3), play)
    };
    faults.into_iter().map(row).collect()
}

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
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
    ];
    rows.extend(dry());
    rows
}
