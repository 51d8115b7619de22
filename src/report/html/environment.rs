//! With what the run was made, and where the rest of it lies.

use super::Page;
use super::link::to_file;
use super::markup::Markup;
use crate::vram::log::names;

pub(super) fn section(out: &mut Markup, page: &Page) {
    let Some(run) = page.record else { return };
    out.raw("<section aria-labelledby=\"environment\">\n");
    out.raw("<h2 id=\"environment\">Environment</h2>\n<dl>\n");
    let server = &run.server;
    let kind = server.device_kind.as_deref().unwrap_or_default();
    let device = server.device.as_ref().map(|name| format!("{name} ({kind})"));
    for (name, text) in [
        ("ComfyUI", server.comfyui.as_ref()),
        ("PyTorch", server.pytorch.as_ref()),
        ("Python", server.python.as_ref()),
        ("Device", device.as_ref()),
        ("Server", Some(&server.url)),
    ] {
        term(out, name, text.map(String::as_str));
    }
    let memory = page.vram.total.map(|total| format!("{total} MB"));
    term(out, if page.is_ram() { "System RAM" } else { "Memory" }, memory.as_deref());
    let set = &run.settings;
    let history = match set.history_max_attempts {
        0 => "unbounded".to_owned(),
        most => most.to_string(),
    };
    for (name, text) in [
        ("MaxWaitSeconds", set.max_wait_seconds.to_string()),
        ("PollIntervalSeconds", set.poll_interval_seconds.to_string()),
        ("HistoryMaxAttempts", history),
        ("PostExecutionTimeoutSeconds", set.post_execution_timeout_seconds.to_string()),
        ("SceneRetryBudget", set.scene_retry_budget.to_string()),
        ("SampleIntervalSeconds", set.sample_interval_seconds.to_string()),
    ] {
        term(out, name, Some(&text));
    }
    out.raw("<dt>Files</dt><dd>");
    let log = (page.vram.ticks > 0).then_some(names::MAIN);
    let files = [Some("run-summary.txt"), Some("artifact-metadata.json"), log];
    for (place, file) in files.into_iter().flatten().enumerate() {
        let link = to_file(page.folder, file).unwrap_or_default();
        out.raw(if place > 0 { ", " } else { "" });
        out.raw("<a href=\"").text(&link).raw("\">").text(file).raw("</a>");
    }
    out.raw("</dd>\n</dl>\n</section>\n");
}

fn term(out: &mut Markup, name: &'static str, text: Option<&str>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        out.raw("<dt>").raw(name).raw("</dt><dd>").text(text).raw("</dd>\n");
    }
}
