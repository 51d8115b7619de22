//! The sections around the chart: the gates, the table of scenes, their outputs, the environment.

use std::time::Duration;

use super::link::to_file;
use super::{Escaped, Page, section};
use crate::fs::extension;
use crate::report::legacy::limit;
use crate::report::record::{Outcome, Output, SceneRecord};
use crate::report::text::{seconds, with_size};
use crate::vram::gates::cells;
use crate::vram::log::names;
use crate::vram::stats::SceneStatistics;

/// What browsers show.
const IMAGES: [&str; 8] = ["png", "jpg", "jpeg", "webp", "gif", "avif", "bmp", "svg"];
const VIDEOS: [&str; 4] = ["mp4", "webm", "m4v", "mov"];
const SOUNDS: [&str; 6] = ["mp3", "wav", "flac", "ogg", "opus", "m4a"];

/// A column's name, and its figure of a scene, if the record or the log knows it.
type Column = (&'static str, fn(Option<&SceneRecord>, Option<&SceneStatistics>) -> Option<String>);

const ATTEMPTS: Column = ("Attempts", |scene, _| Some(scene?.attempts.len().to_string()));
const QUEUED: Column = ("Queued\u{a0}(s)", |scene, _| scene?.queued_seconds().map(seconds));
const EXECUTING: Column = ("Executing\u{a0}(s)", |scene, _| scene?.server_seconds().map(seconds));
const SAMPLES: Column = ("Samples", |_, vram| Some(vram?.samples.to_string()));
const DRIVER: Column = ("Peak, driver\u{a0}(MB)", |_, vram| Some(vram?.driver_peak?.to_string()));
const USED: Column = ("Peak, used\u{a0}(MB)", |_, vram| Some(vram?.peak?.to_string()));
const TORCH: Column = ("Peak, torch\u{a0}(MB)", |_, vram| Some(vram?.torch_peak?.to_string()));
const ADDED: Column = ("Added\u{a0}(MB)", |_, vram| Some(vram?.added?.mb().to_string()));
const AVERAGE: Column = ("Average, used\u{a0}(MB)", |_, vram| Some(vram?.average?.to_string()));
const FLOOR: Column = ("Floor, used\u{a0}(MB)", |_, vram| Some(vram?.floor?.to_string()));

/// The table of scenes, which becomes cards on a phone: its roles stay when the rows stop looking
/// like rows.
pub(super) fn scenes(page: &Page) -> String {
    let vram = page.input.vram;
    let (caption, mut heads, mut columns, scenes): (_, _, _, Vec<_>) = match page.input.record {
        Some(run) => (
            "Seconds are those of all attempts; a dash is unknown.",
            r#"<th role="columnheader" scope="col">Outcome</th>"#.to_owned(),
            vec![ATTEMPTS, QUEUED, EXECUTING, DRIVER, USED, TORCH, ADDED],
            run.scenes.iter().map(|scene| (&scene.id, Some(scene), scene.figures(vram))).collect(),
        ),
        None => (
            "The samples taken while a scene's prompt was running.",
            String::new(),
            vec![SAMPLES, DRIVER, USED, TORCH, ADDED, AVERAGE, FLOOR],
            vram.scenes.iter().map(|scene| (&scene.id, None, Some(scene))).collect(),
        ),
    };
    if scenes.is_empty() {
        return String::new();
    }
    // What is the same of every scene is no column.
    let all = |wanted: fn(&SceneRecord) -> bool| {
        page.input.record.is_some_and(|run| run.scenes.iter().all(wanted))
    };
    for (column, is_idle) in [
        (ATTEMPTS, all(|scene| scene.attempts.len() <= 1)),
        (QUEUED, all(|scene| scene.queued_seconds().is_none_or(|seconds| seconds < 1.0))),
    ] {
        columns.retain(|(name, _)| *name != column.0 || !is_idle);
    }
    for (column, figure) in [
        (DRIVER, (|scene| scene.driver_peak) as fn(&SceneStatistics) -> Option<u64>),
        (TORCH, |scene| scene.torch_peak),
    ] {
        if vram.scenes.iter().all(|scene| figure(scene).is_none()) {
            columns.retain(|(name, _)| *name != column.0);
        }
    }
    for (name, _) in &columns {
        heads += &format!(r#"<th role="columnheader" scope="col" class="figure">{name}</th>"#);
    }
    let mut rows = String::new();
    for (number, (id, scene, figures)) in (1..).zip(scenes) {
        let mut cells = scene.map(outcome_cell).unwrap_or_default();
        for (name, figure) in &columns {
            let figure = figure(scene, figures).unwrap_or_else(|| "–".to_owned());
            cells += &format!(r#"<td role="cell" class="figure" data-is="{name}">{figure}</td>"#);
        }
        rows += &format!(
            "<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">\
             <span class=\"quiet\">{number}</span> {}</th>{cells}</tr>\n",
            Escaped(id)
        );
    }
    let table = format!(
        "<table class=\"cards\" role=\"table\">\n<caption>{caption}</caption>\n\
         <thead role=\"rowgroup\"><tr role=\"row\">\
         <th role=\"columnheader\" scope=\"col\">Scene</th>{heads}</tr></thead>\n\
         <tbody role=\"rowgroup\">\n{rows}</tbody>\n</table>\n"
    );
    section("scenes", "Scenes", &table)
}

/// The cell of a scene's outcome: why, its earlier attempts, and its warnings.
fn outcome_cell(scene: &SceneRecord) -> String {
    let (class, mark) = if scene.outcome.is_success() { ("ok", '✓') } else { ("bad", '✗') };
    let name = scene.outcome.name();
    let mut cell =
        format!(r#"<td role="cell" data-is="Outcome"><b class="{class}">{mark} {name}</b>"#);
    if !scene.why.is_empty() {
        cell += &format!("<p>{}</p>", Escaped(&scene.why));
    }
    for (number, attempt) in (1..scene.attempts.len()).zip(&scene.attempts) {
        let separator = if attempt.why.is_empty() { "" } else { ", " };
        let (outcome, why) = (attempt.outcome.name(), Escaped(&attempt.why));
        cell += &format!("<p>Attempt {number}: {outcome}{separator}{why}</p>");
    }
    let warnings = scene.warnings.iter();
    cell.extend(warnings.map(|warning| format!("<p>Noticed: {}</p>", Escaped(warning))));
    cell + "</td>"
}

/// The images, videos and sounds themselves, each with the figures of its scene.
pub(super) fn outputs(page: &Page) -> String {
    let scenes = page.input.record.map(|run| run.scenes.as_slice()).unwrap_or_default();
    let mut figures = String::new();
    for scene in scenes {
        for output in &scene.outputs {
            figures += &figure(page, scene, output);
        }
    }
    if figures.is_empty() {
        return figures;
    }
    section("outputs", "Outputs", &format!("<div class=\"outputs\">\n{figures}</div>\n"))
}

fn figure(page: &Page, scene: &SceneRecord, output: &Output) -> String {
    let caption = format!("<p><b>{}</b> {}</p>", Escaped(&scene.id), brief(page, scene));
    // The path comes from the server: one that leads out of the run folder is no link.
    let Some(link) = to_file(page.folder, &output.path) else {
        let path = with_size(&output.path, output);
        let path = Escaped(&path);
        return format!("<figure><figcaption>{caption}<p>{path}</p></figcaption></figure>\n");
    };
    let (link, name) = (Escaped(&link), Escaped(output.file_name()));
    let extension = extension(output.file_name());
    let is = |known: &[&str]| known.contains(&&*extension);
    let controls = r#"controls preload="metadata""#;
    let media = if is(&IMAGES) {
        format!(r#"<a href="{link}"><img loading="lazy" alt="{name}" src="{link}"></a>"#)
    } else if is(&VIDEOS) {
        format!(r#"<video {controls} aria-label="{name}" src="{link}"></video>"#)
    } else if is(&SOUNDS) {
        format!(r#"<audio {controls} aria-label="{name}" src="{link}"></audio>"#)
    } else {
        String::new()
    };
    let text = with_size(output.file_name(), output);
    let text = Escaped(&text);
    format!(
        "<figure>{media}<figcaption>{caption}<p><a href=\"{link}\">{text}</a></p></figcaption></figure>\n"
    )
}

/// `3:08 · 19310 MB · +17070`: the time of a scene, its peak, and what it added.
fn brief(page: &Page, scene: &SceneRecord) -> String {
    let vram = page.input.vram;
    let time = Duration::from_secs_f64(scene.seconds).as_secs();
    let (minutes, hours) = (time / 60 % 60, time / 3600);
    let hours = if hours > 0 { format!("{hours}:{minutes:02}") } else { minutes.to_string() };
    let mut text = format!("{hours}:{:02}", time % 60);
    if scene.outcome == Outcome::Cached {
        return text + " · from the cache";
    }
    let Some(figures) = scene.figures(vram) else { return text };
    let executed = scene.server_seconds().unwrap_or(scene.seconds);
    let at_least = if vram.is_lower_bound(figures, executed) { "at least " } else { "" };
    let peak = figures.driver_peak.or(figures.peak);
    text += &peak.map(|mb| format!(" · {at_least}{mb}\u{a0}MB")).unwrap_or_default();
    let added = figures.added.filter(|_| at_least.is_empty());
    text + &added.map(|added| format!(" · +{}", added.mb())).unwrap_or_default()
}

/// The gates: what was before, what is now, the change, the limit and the verdict.
pub(super) fn gates(page: &Page) -> String {
    let rows = cells(page.input.gates, true);
    if rows.is_empty() {
        return String::new();
    }
    let heads = ["before", "now", "change", "", "limit"];
    let shown = |column: usize| rows.iter().any(|(row, _)| !row[column].is_empty());
    let columns: Vec<usize> = [1, 2, 3, 5].into_iter().filter(|column| shown(*column)).collect();
    let head = |name: &str, class: &str| {
        format!("<th role=\"columnheader\" scope=\"col\"{class}>{name}</th>")
    };
    let figures = columns.iter().map(|column| head(heads[column - 1], " class=\"figure\""));
    let heads_row = head("MB", "") + &figures.collect::<String>() + &head("", "");
    let mut table = format!(
        "<table class=\"cards gates\" role=\"table\">\n\
         <thead role=\"rowgroup\"><tr role=\"row\">{heads_row}</tr></thead>\n\
         <tbody role=\"rowgroup\">\n"
    );
    for (row, verdict) in &rows {
        table += "<tr role=\"row\">";
        table += &format!("<th role=\"rowheader\" scope=\"row\">{}</th>", Escaped(&row[0]));
        for column in &columns {
            let percent = if *column == 3 { format!(" {}", row[4]) } else { String::new() };
            let (is, figure) = (heads[column - 1], format!("{}{percent}", row[*column]));
            let figure = Escaped(figure.trim());
            table += &format!(r#"<td role="cell" class="figure" data-is="{is}">{figure}</td>"#);
        }
        let class = if verdict.starts_with('✓') { "ok" } else { "bad" };
        let (mark, why) = verdict.split_at(verdict.find(' ').unwrap_or(verdict.len()));
        let why = Escaped(why);
        table += &format!("<td role=\"cell\"><b class=\"{class}\">{mark}</b>{why}</td></tr>\n");
    }
    section("gates", "Gates", &(table + "</tbody>\n</table>\n"))
}

/// What the run was made with, and its other files.
pub(super) fn environment(page: &Page) -> String {
    let Some(run) = page.input.record else { return String::new() };
    let (server, settings, vram) = (&run.server, &run.settings, page.input.vram);
    let history_limit = limit(settings.history_max_attempts);
    let memory = format!("{} (MB)", page.memory());
    let text = |number: &dyn ToString| Some(number.to_string());
    let mut terms = String::new();
    for (name, value) in [
        ("ComfyUI", server.comfyui.clone()),
        ("PyTorch", server.pytorch.clone()),
        ("Python", server.python.clone()),
        ("Device", server.device.clone()),
        ("Type", server.device_kind.clone()),
        ("Dynamic VRAM", vram.dynamic_vram.map(|dynamic| dynamic.name().to_owned())),
        (&memory, vram.total.map(|mb| mb.to_string())),
        ("Server", text(&server.url)),
        ("MaxWaitSeconds", text(&settings.max_wait_seconds)),
        ("PollIntervalSeconds", text(&settings.poll_interval_seconds)),
        ("HistoryMaxAttempts", text(&history_limit)),
        ("PostExecutionTimeoutSeconds", text(&settings.post_execution_timeout_seconds)),
        ("SceneRetryBudget", text(&settings.scene_retry_budget)),
        ("SampleIntervalSeconds", text(&settings.sample_interval_seconds)),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            terms += &format!("<dt>{name}</dt><dd>{}</dd>\n", Escaped(&value));
        }
    }
    let mut files = vec!["run-summary.txt", "artifact-metadata.json"];
    files.extend((vram.ticks > 0).then_some(names::MAIN));
    let files = files.iter().map(|name| {
        let link = to_file(page.folder, name).unwrap_or_default();
        format!("<a href=\"{}\">{name}</a>", Escaped(&link))
    });
    let files = files.collect::<Vec<_>>().join(", ");
    let terms = format!("<dl>\n{terms}<dt>Files</dt><dd>{files}</dd>\n</dl>\n");
    section("environment", "Environment", &terms)
}
