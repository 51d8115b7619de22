//! With what the run was made, and where the rest of it lies.

use super::Page;
use super::link::to_file;
use crate::report::escape::Markup;
use crate::vram::log::names;

pub(super) fn section(out: &mut Markup, page: &Page) {
    let Some(run) = page.told.record else { return };
    out.raw("<section aria-labelledby=\"environment\">\n");
    out.raw("<h2 id=\"environment\">Environment</h2>\n<dl>\n");
    let server = &run.server;
    term(out, "ComfyUI", server.comfyui.as_deref());
    term(out, "PyTorch", server.pytorch.as_deref());
    term(out, "Python", server.python.as_deref());
    term(out, "Device", server.device.as_deref());
    term(out, "Type", server.device_kind.as_deref());
    number(
        out,
        if page.is_ram() { "System RAM (MB)" } else { "Memory (MB)" },
        page.told.vram.total,
    );
    term(out, "Server", Some(&server.url));
    let set = &run.settings;
    number(out, "MaxWaitSeconds", Some(set.max_wait_seconds));
    term(out, "PollIntervalSeconds", Some(&set.poll_interval_seconds.to_string()));
    match set.history_max_attempts {
        0 => term(out, "HistoryMaxAttempts", Some("unbounded")),
        most => number(out, "HistoryMaxAttempts", Some(most.into())),
    }
    number(out, "PostExecutionTimeoutSeconds", Some(set.post_execution_timeout_seconds));
    number(out, "SceneRetryBudget", Some(set.scene_retry_budget.into()));
    term(out, "SampleIntervalSeconds", Some(&set.sample_interval_seconds.to_string()));
    out.raw("<dt>Files</dt><dd>");
    file(out, page, "run-summary.txt");
    out.raw(", ");
    file(out, page, "artifact-metadata.json");
    if page.told.vram.ticks > 0 {
        out.raw(", ");
        file(out, page, names::MAIN);
    }
    out.raw("</dd>\n</dl>\n</section>\n");
}

fn term(out: &mut Markup, name: &'static str, text: Option<&str>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        out.raw("<dt>").raw(name).raw("</dt><dd>").text(text).raw("</dd>\n");
    }
}

fn number(out: &mut Markup, name: &'static str, number: Option<u64>) {
    term(out, name, number.map(|number| number.to_string()).as_deref());
}

fn file(out: &mut Markup, page: &Page, name: &'static str) {
    let link = to_file(page.folder, name).unwrap_or_default();
    out.raw("<a href=\"").text(&link).raw("\">").raw(name).raw("</a>");
}
