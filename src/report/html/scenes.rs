//! The table of scenes.

use super::table::OUTCOME;
use super::{Page, table};
use crate::report::escape::Markup;
use crate::report::record::{Outcome, RunRecord, SceneRecord};
use crate::report::text::whole;
use crate::vram::stats::SceneStatistics;

const ATTEMPTS: &str = "Attempts";
const QUEUED: &str = "Queued\u{a0}(s)";
const EXECUTING: &str = "Executing\u{a0}(s)";
const SAMPLES: &str = "Samples";
const DRIVER: &str = "Peak, driver\u{a0}(MB)";
const USED: &str = "Peak, used\u{a0}(MB)";
const AVERAGE: &str = "Average, used\u{a0}(MB)";
const FLOOR: &str = "Floor, used\u{a0}(MB)";

pub(super) fn section(out: &mut Markup, page: &Page) {
    let none = match page.told.record {
        Some(run) => run.scenes.is_empty(),
        None => page.told.vram.scenes.is_empty(),
    };
    if none {
        return;
    }
    out.raw("<section aria-labelledby=\"scenes\">\n<h2 id=\"scenes\">Scenes</h2>\n");
    match page.told.record {
        Some(run) => of_run(out, page, run),
        None => of_log(out, page),
    }
    out.raw("</section>\n");
}

fn of_run(out: &mut Markup, page: &Page, run: &RunRecord) {
    let driver = has_driver(page);
    let mut columns = vec![OUTCOME, ATTEMPTS, QUEUED, EXECUTING];
    columns.extend(driver.then_some(DRIVER));
    columns.extend([USED, FLOOR]);
    table::open(out, "Seconds are those of all attempts; a dash is unknown.", &columns);
    for (place, scene) in run.scenes.iter().enumerate() {
        table::row(out, place + 1, &scene.id);
        outcome(out, scene);
        table::figure(out, ATTEMPTS, Some(&scene.attempts.len().to_string()));
        let attempts = || scene.attempts.iter();
        let queued = attempts().map(|attempt| Some(attempt.queued_seconds));
        let executing = attempts().map(|attempt| attempt.server_seconds);
        table::figure(out, QUEUED, sum(queued).as_deref());
        table::figure(out, EXECUTING, sum(executing).as_deref());
        let executed = scene.outcome != Outcome::Cached;
        let figures =
            page.told.vram.scenes.iter().find(|figures| figures.id == scene.id && executed);
        of_memory(out, figures, driver, &[(USED, |f| f.peak), (FLOOR, |f| f.floor)]);
        table::end_row(out);
    }
    table::close(out);
}

/// Of what is known; none of nothing.
fn sum(seconds: impl Iterator<Item = Option<f64>>) -> Option<String> {
    let known: Vec<f64> = seconds.flatten().collect();
    (!known.is_empty()).then(|| whole(known.iter().sum()))
}

fn of_log(out: &mut Markup, page: &Page) {
    let driver = has_driver(page);
    let mut columns = vec![SAMPLES];
    columns.extend(driver.then_some(DRIVER));
    columns.extend([USED, AVERAGE, FLOOR]);
    table::open(out, "The samples taken while a scene's prompt was running.", &columns);
    for (place, scene) in page.told.vram.scenes.iter().enumerate() {
        table::row(out, place + 1, &scene.id);
        table::figure(out, SAMPLES, Some(&scene.samples.to_string()));
        let used: [Figure; 3] =
            [(USED, |f| f.peak), (AVERAGE, |f| f.average), (FLOOR, |f| f.floor)];
        of_memory(out, Some(scene), driver, &used);
        table::end_row(out);
    }
    table::close(out);
}

/// A column, and its figure of a scene.
type Figure = (&'static str, fn(&SceneStatistics) -> Option<u64>);

fn of_memory(out: &mut Markup, of: Option<&SceneStatistics>, driver: bool, figures: &[Figure]) {
    let by_driver: Figure = (DRIVER, |figures| figures.driver_peak);
    let all = driver.then_some(&by_driver).into_iter().chain(figures);
    for (column, figure) in all {
        let mb = of.and_then(figure).map(|mb| mb.to_string());
        table::figure(out, column, mb.as_deref());
    }
}

fn has_driver(page: &Page) -> bool {
    page.told.vram.scenes.iter().any(|scene| scene.driver_peak.is_some())
}

/// The outcome, why, and what else was noticed.
fn outcome(out: &mut Markup, scene: &SceneRecord) {
    let good = scene.outcome.is_success();
    let out = table::cell(out, OUTCOME);
    out.raw(if good { "<b class=\"ok\">✓ " } else { "<b class=\"bad\">✗ " });
    out.text(scene.outcome.name()).raw("</b>");
    if !scene.why.is_empty() {
        out.raw("<p>").text(&scene.why).raw("</p>");
    }
    let (_, earlier) = scene.attempts.split_last().unzip();
    for (place, attempt) in earlier.unwrap_or_default().iter().enumerate() {
        out.raw("<p>Attempt ").number(place as u64 + 1).raw(": ").text(attempt.outcome.name());
        if !attempt.why.is_empty() {
            out.raw(", ").text(&attempt.why);
        }
        out.raw("</p>");
    }
    for warning in &scene.warnings {
        out.raw("<p>Noticed: ").text(warning).raw("</p>");
    }
    out.raw("</td>");
}
