//! VRAM over time as an SVG, with its legend.
//!
//! Everything is placed in percent of the plot, so that it is as wide as the page without its
//! letters growing; only the curves are stretched, their strokes are not.

use time::{Duration, OffsetDateTime};

use super::{Escaped, Page, axes};
use crate::report::record::RunRecord;
use crate::sanitize::shortened;
use crate::vram::gates::{Gate, Verdict};
use crate::vram::log::time_text;
use crate::vram::stats::{Metric, Sources};
use crate::vram::timeline::{Band, Column, Extremes, MAX_BANDS, Peak};

/// The height in the units of the curves.
const HEIGHT: u64 = 1000;
/// Readings so many times closer than the plot is wide are a line without dots.
const SPARSE: u64 = 60;
/// More readings of nvidia-smi than this are drawn small, or they would hide the lines.
const MANY_MARKS: usize = 60;
/// The plot's assumed width in pixels on a wide screen and on a phone; the classes `w` and `n` of
/// the style sheet show an element on one of them alone.
const WIDTHS: [u64; 2] = [960, 290];
/// The width of one letter of a scene's name in pixels.
const LETTER: u64 = 7;
/// The height of a line in pixels: what an upright name takes.
const LINE: u64 = 12;
/// A vertical name is cut behind so many letters.
const MOST_LETTERS: usize = 30;

/// The section; without readings the reason why there is no drawing.
pub(super) fn section(page: &Page) -> String {
    let vram = page.input.vram;
    let content = if page.is_cached() {
        "<p>Nothing was executed: everything came from ComfyUI's cache. \
         The memory in use meanwhile says nothing about it.</p>\n"
            .to_owned()
    } else if vram.samples == 0 {
        format!("<p>{}</p>\n", Escaped(&vram.no_sample()))
    } else if vram.samples == 1 {
        let (mb, at) = (vram.peak.unwrap_or_default(), vram.peak_at.map(time_text));
        format!("<p>One sample alone was taken: {mb} MB at {}</p>\n", at.unwrap_or_default())
    } else {
        let bands = bands_of(page);
        let (legend, plot, caption) = (legend(page, &bands), plot(page, &bands), caption(page));
        format!("<figure class=\"chart\">\n{legend}{plot}{caption}</figure>\n")
    };
    super::section("vram", &format!("{} over time", page.memory()), &content)
}

/// The scenes from their start to their end, without the time in the queue; of a log alone, from
/// their first line to their last.
fn bands_of(page: &Page) -> Vec<Band> {
    let timeline = page.timeline;
    let timed = page
        .input
        .record
        .zip(timeline.first_at)
        .filter(|(run, _)| !timeline.set_back && run.scenes.len() <= MAX_BANDS);
    let Some((run, first_at)) = timed else { return timeline.bands.clone() };
    let first = run.started.replace_time(first_at);
    // The log has no day: its first line is near the start.
    let days = [-1, 0, 1].map(|days| first + Duration::days(days));
    let first = days.into_iter().min_by_key(|first| (*first - run.started).abs()).unwrap_or(first);
    let since_first = |at: OffsetDateTime| {
        let ms = u64::try_from((at - first).whole_milliseconds()).unwrap_or(0);
        ms.min(timeline.span_ms())
    };
    let bands = run.scenes.iter().filter_map(|scene| {
        let (start, end) = scene.legacy.span?;
        let queued = Duration::seconds_f64(scene.attempts.first()?.queued_seconds);
        let (from_ms, to_ms) = (since_first(start + queued), since_first(end));
        Some(Band { scene: scene.id.clone(), from_ms, to_ms: to_ms.max(from_ms) })
    });
    let bands: Vec<Band> = bands.collect();
    if bands.is_empty() { timeline.bands.clone() } else { bands }
}

/// The baseline of a scene, as a level in the chart: its peak less what the figure that the gate
/// compares has risen since.
fn baseline<'a>(page: &Page<'a>, scene: &str) -> Option<(u64, &'a Verdict)> {
    let is_it =
        |gate: &&Verdict| gate.gate == Gate::Baseline && gate.scene.as_deref() == Some(scene);
    let gate = page.input.gates.iter().find(is_it)?;
    let change = gate.measured?.mb() - i64::try_from(gate.before?).ok()?;
    let figures = page.input.vram.scenes.iter().find(|figures| figures.id == scene)?;
    let peak = page.input.vram.metric.first_of(figures.peak, figures.driver_peak)?;
    Some((peak.checked_add_signed(-change)?, gate))
}

/// The key to the drawing.
fn legend(page: &Page, bands: &[Band]) -> String {
    let timeline = page.timeline;
    let has = |metric| timeline.columns.iter().any(|column| column.readings(metric).is_some());
    let Sources { comfyui, nvidia_smi } = page.input.vram.sources;
    let mixed = comfyui > 0 && nvidia_smi > 0;
    let driver = "driver: handed out, torch's idle cache included";
    let (used, total) = if page.input.is_system_ram() {
        ("used: the machine's own memory", "total: the machine")
    } else {
        ("used: what live tensors hold", "total: the card")
    };
    let mut items = String::new();
    for (is_shown, class, d, text) in [
        (has(Metric::Used), "used", "M0 5H28", used),
        (has(Metric::Driver), "driver", "M0 7H28", driver),
        (shown_total(page).is_some(), "total", "M0 7H28", total),
        (mixed, "fallback", "M14 7h.1", "nvidia-smi, where ComfyUI missed it"),
        (!timeline.gaps().is_empty(), "missed", "M0 7H28", "no reading"),
        (!bands.is_empty(), "b0", "M0 0H28V14H0Z", "a scene"),
        (
            bands.iter().any(|band| baseline(page, &band.scene).is_some()),
            "baseline",
            "M0 7H28",
            "the baseline: where a scene's peak would be without the change",
        ),
    ] {
        let area = if class == "used" { r#"<path class="area" d="M0 5H28V14H0Z"/>"# } else { "" };
        let swatch = format!("{area}<path class=\"{class}\" d=\"{d}\"/>");
        if is_shown {
            items += &format!(
                "<li><svg aria-hidden=\"true\" width=\"28\" height=\"14\">{swatch}</svg> {text}</li>\n"
            );
        }
    }
    format!("<ul class=\"legend\">\n{items}</ul>\n")
}

fn caption(page: &Page) -> String {
    let mut text = "Local time".to_owned();
    if let Some(offset) = page.input.record.map(|run| run.started.offset()) {
        let sign = if offset.is_negative() { '−' } else { '+' };
        let (h, m, _) = offset.as_hms();
        text += &format!(", UTC{sign}{:02}:{:02}", h.unsigned_abs(), m.unsigned_abs());
    }
    text += ". 1 MB is 1048576 bytes. All figures are the whole ";
    text += if page.input.is_system_ram() { "machine's." } else { "device's." };
    if page.input.vram.sources.comfyui == 0 {
        text += " All readings are nvidia-smi's.";
    }
    if page.timeline.set_back {
        text += " The clock was set back meanwhile: what comes after stands too far right.";
    }
    if page.timeline.unbanded {
        text += " There were more scenes than are shown.";
    }
    format!("<figcaption>{text}</figcaption>\n")
}

/// The drawing in words, for screen readers.
fn description(page: &Page, bands: usize) -> String {
    let vram = page.input.vram;
    let mut text = format!("{} samples", vram.samples);
    if let (Some(first), Some(last)) = (vram.first_at, vram.last_at) {
        text += &format!(" from {} to {}", time_text(first), time_text(last));
    }
    for (name, mb) in [
        (". Lowest ", vram.minimum),
        (" MB. Highest used ", vram.comfyui_peak),
        (" MB. Highest of the driver ", vram.driver_peak),
        (" MB. Total ", vram.total),
    ] {
        text += &mb.map(|mb| format!("{name}{mb}")).unwrap_or_default();
    }
    let missed: u64 = vram.missed.values().sum();
    let gaps = page.timeline.gaps().len();
    text + &format!(
        " MB. {missed} ticks missed, {gaps} gaps shown, {bands} scenes, whose figures are in the table."
    )
}

fn plot(page: &Page, bands: &[Band]) -> String {
    let scale = Scale::of(page);
    format!(
        "<svg class=\"plot\" role=\"img\" aria-labelledby=\"plot-title plot-text\">\n\
         <title id=\"plot-title\">Memory in use over time</title>\n\
         <desc id=\"plot-text\">{}</desc>\n{}{}{}{}{}{}{}</svg>\n",
        description(page, bands.len()),
        rects(page, bands),
        grid(page, &scale),
        curves(page, &scale),
        total(page, &scale).unwrap_or_default(),
        baselines(page, bands, &scale),
        names(page, bands),
        peak_mark(page, &scale).unwrap_or_default(),
    )
}

/// `12.3%` of 123 thousandths.
fn percent(thousandths: u64) -> String {
    format!("{}.{}%", thousandths / 10, thousandths % 10)
}

/// A time in thousandths of the plot's width.
fn x_of(page: &Page, ms: u64) -> u64 {
    (ms * 1000).checked_div(page.timeline.span_ms()).unwrap_or(0)
}

/// From MB to a height.
struct Scale {
    top: u64,
    peak: Option<Peak>,
}

/// The device's total, unless the curves would lie flat far below it.
fn shown_total(page: &Page) -> Option<u64> {
    page.input.vram.total.filter(|total| page.timeline.highest() >= total / 5)
}

impl Scale {
    fn of(page: &Page) -> Scale {
        let highest = page.timeline.highest().max(shown_total(page).unwrap_or_default()).max(1);
        // Room for what is written above the highest line.
        Scale {
            top: highest + highest.div_ceil(9),
            peak: page.timeline.peak(page.input.vram.metric),
        }
    }

    /// In thousandths of the height, from the top.
    fn y_of(&self, mb: u64) -> u64 {
        HEIGHT - (mb.min(self.top) * HEIGHT + self.top / 2) / self.top
    }
}

/// Where a scene begins and how wide it is, in thousandths; the shortest one is still visible.
fn extent(page: &Page, band: &Band) -> (u64, u64) {
    let from = x_of(page, band.from_ms);
    (from, (x_of(page, band.to_ms) - from).max(2))
}

/// The scenes behind the timeline.
fn rects(page: &Page, bands: &[Band]) -> String {
    let mut rects = String::new();
    for (class, band) in ["b0", "b1"].into_iter().cycle().zip(bands) {
        let ((x, width), title) = (extent(page, band), Escaped(&band.scene));
        let (x, width) = (percent(x), percent(width));
        rects += &format!(
            "<rect class=\"{class}\" x=\"{x}\" width=\"{width}\" height=\"100%\"><title>{title}</title></rect>\n"
        );
    }
    rects
}

/// The baselines, each across its scene.
fn baselines(page: &Page, bands: &[Band], scale: &Scale) -> String {
    let mut lines = String::new();
    for band in bands {
        let Some((mb, gate)) = baseline(page, &band.scene) else { continue };
        let ((from, width), y) = (extent(page, band), percent(scale.y_of(mb)));
        let (from, to) = (percent(from), percent(from + width));
        let (scene, before) = (Escaped(&band.scene), &gate.row(true).0[1]);
        lines += &format!(
            "<line class=\"baseline\" x1=\"{from}\" x2=\"{to}\" y1=\"{y}\" y2=\"{y}\">\
             <title>{scene}, before: {before}</title></line>\n"
        );
    }
    lines
}

/// The names of the scenes, in front of the timeline.
fn names(page: &Page, bands: &[Band]) -> String {
    let mut out = String::new();
    // Where the latest label ends in each of the two widths, in pixels.
    let mut taken = [0; 2];
    for (index, band) in bands.iter().enumerate() {
        let (from, width) = extent(page, band);
        let (number, failed) = table_row(page, &band.scene).unwrap_or((index + 1, false));
        let name = if failed { format!("✗ {}", band.scene) } else { band.scene.clone() };
        let middle = from + width / 2;
        let mut labels = [0, 1].map(|is_narrow| {
            let plot = WIDTHS[is_narrow];
            let (attributes, text, pixels) = label(&name, number, width * plot / 1000);
            let start = (middle * plot / 1000).saturating_sub(pixels / 2);
            let is_free = start >= taken[is_narrow];
            taken[is_narrow] = if is_free { start + pixels } else { taken[is_narrow] };
            is_free.then_some((attributes, text))
        });
        // The same label on both needs no class.
        let classes = if labels[0] == labels[1] {
            labels[1] = None;
            ["", ""]
        } else {
            ["w", "n"]
        };
        for (class, label) in classes.into_iter().zip(labels) {
            let Some((attributes, text)) = label else { continue };
            let (x, text) = (percent(middle), Escaped(&text));
            // A nested SVG is a place in percent, within which the text is turned.
            out += &format!(
                "<svg class=\"name {class}\" x=\"{x}\" y=\"100%\"><text {attributes}>{text}</text></svg>\n"
            );
        }
    }
    out
}

/// A scene's number in the table, and whether it failed.
fn table_row(page: &Page, scene: &str) -> Option<(usize, bool)> {
    let (index, failed) = if let Some(run) = page.input.record {
        let index = run.scenes.iter().position(|known| known.id == scene)?;
        (index, !run.scenes[index].outcome.is_success())
    } else {
        (page.input.vram.scenes.iter().position(|known| known.id == scene)?, false)
    };
    Some((index + 1, failed))
}

/// The attributes of a scene's label that fits a band of so many pixels, its text, and its width: the
/// name in a line, else upright, else the scene's number in the table.
fn label(name: &str, number: usize, pixels: u64) -> (&'static str, String, u64) {
    const IN_LINE: &str = r#"y="-8" class="mid""#;
    const UPRIGHT: &str = r#"class="upright" transform="rotate(-90)" x="8" y="4""#;
    let letters = name.chars().count();
    let width = letters as u64 * LETTER + 6;
    if width <= pixels {
        (IN_LINE, name.to_owned(), width)
    } else if pixels < 11 {
        let number = number.to_string();
        let width = number.len() as u64 * LETTER + 6;
        (IN_LINE, number, width)
    } else if letters > MOST_LETTERS {
        // Long names differ at their ends: the number tells them apart.
        (UPRIGHT, format!("{number} {}", shortened(name, MOST_LETTERS)), LINE)
    } else {
        (UPRIGHT, name.to_owned(), LINE)
    }
}

fn grid(page: &Page, scale: &Scale) -> String {
    let mut out = String::new();
    for mb in axes::of_memory(scale.top) {
        let y = percent(scale.y_of(mb));
        out += &format!(
            r#"<line class="grid" x2="100%" y1="{y}" y2="{y}"/><text class="end" x="-8" dy="4" y="{y}">{mb}</text>"#
        );
        out.push('\n');
    }
    out += "<text class=\"end\" x=\"-8\" y=\"-8\">MB</text>\n";
    let marks = page.timeline.first_at.map(|first| axes::of_time(first, page.timeline.span_ms()));
    for (index, (at, text)) in marks.unwrap_or_default().into_iter().enumerate() {
        // Every second one has no room on a phone.
        let group = if index % 2 == 1 { r#"<g class="o">"# } else { "<g>" };
        let x = x_of(page, at);
        let (x, anchor) = (percent(x), if x > 960 { "end" } else { "mid" });
        out += &format!(
            r#"{group}<line class="grid" y2="100%" x1="{x}" x2="{x}"/><text class="{anchor}" y="100%" dy="26" x="{x}">{text}</text></g>"#
        );
        out.push('\n');
    }
    out
}

fn total(page: &Page, scale: &Scale) -> Option<String> {
    let mb = shown_total(page)?;
    let y = percent(scale.y_of(mb));
    // At the end where the peak is not.
    let is_right = scale.peak.is_none_or(|peak| peak.at_ms * 2 < page.timeline.span_ms());
    let place = if is_right { r#"class="end" x="100%" dx="-4""# } else { r#"x="0%" dx="4""# };
    // Below the line where the peak's text is above it.
    let dy = if scale.peak.is_some_and(|peak| peak.mb * 10 > mb * 9) { 14 } else { -5 };
    Some(format!(
        "<line class=\"total\" x2=\"100%\" y1=\"{y}\" y2=\"{y}\"/>\n\
         <text {place} dy=\"{dy}\" y=\"{y}\">total {mb} MB</text>\n"
    ))
}

fn peak_mark(page: &Page, scale: &Scale) -> Option<String> {
    let Peak { mb, at_ms, .. } = scale.peak?;
    let x = x_of(page, at_ms);
    let place = match x {
        0..=250 => r#"class="peak " dx="-4""#,
        251..=750 => r#"class="peak mid""#,
        _ => r#"class="peak end" dx="4""#,
    };
    let (x, y) = (percent(x), percent(scale.y_of(mb)));
    // `scene-001, node 3 KSampler`: the scene has its name below.
    let facts = page.input.record.map(RunRecord::facts).unwrap_or_default();
    let place_of_peak = page.input.vram.peak_generating.as_ref().map(|peak| &peak.place);
    let node = place_of_peak.filter(|place| place.node.is_some()).map(|place| {
        let text = place.text(&facts);
        shortened(&text[place.scene.len()..], MOST_LETTERS)
    });
    let node = node.unwrap_or_default();
    Some(format!(
        "<circle class=\"peak\" r=\"4\" cx=\"{x}\" cy=\"{y}\"/>\
         <text {place} dy=\"-9\" x=\"{x}\" y=\"{y}\">peak {mb} MB{}</text>\n",
        Escaped(&node)
    ))
}

/// The lines themselves, two units a column, and the gaps below them.
fn curves(page: &Page, scale: &Scale) -> String {
    let columns = &page.timeline.columns;
    let width = columns.len() * 2;
    let mut paths = vec![
        ("area", area(columns, scale)),
        ("used", line(columns, scale, Metric::Used)),
        ("driver", line(columns, scale, Metric::Driver)),
        ("used dots", dots(columns, scale, Metric::Used)),
        ("driver dots", dots(columns, scale, Metric::Driver)),
    ];
    if page.input.vram.sources.comfyui > 0 {
        let mark =
            |(x, column): (u64, &Column)| Some(format!("M{x} {}h.1", scale.y_of(column.fallback?)));
        let marks: Vec<String> = with_x(columns).filter_map(mark).collect();
        let class = if marks.len() > MANY_MARKS { "fallback many" } else { "fallback" };
        paths.push((class, marks.concat()));
    }
    let path = |(class, d)| format!("<path class=\"{class}\" d=\"{d}\"/>\n");
    let paths: String = paths.into_iter().map(path).collect();
    // From reading to reading; what lies in one column is as wide as that.
    let gaps = page.timeline.gaps().into_iter().map(|(from, to)| {
        let half = usize::from(from != to);
        format!("M{} 7H{}", from * 2 + half, to * 2 + 2 - half)
    });
    let gaps: String = gaps.collect();
    format!(
        "<svg class=\"curves\" preserveAspectRatio=\"none\" viewBox=\"0 0 {width} 1000\">\n{paths}</svg>\n\
         <svg class=\"missed\" y=\"100%\" height=\"12\" preserveAspectRatio=\"none\" \
         viewBox=\"0 0 {width} 12\"><path d=\"{gaps}\"/></svg>\n"
    )
}

fn with_x(columns: &[Column]) -> impl Iterator<Item = (u64, &Column)> {
    (0..).map(|index| index * 2 + 1).zip(columns)
}

/// The readings of one figure that are drawn in one go: they are parted by gaps, and by columns
/// where something was read and the figure is unknown.
fn strokes(columns: &[Column], metric: Metric) -> Vec<Vec<(u64, Extremes)>> {
    let (mut strokes, mut stroke) = (Vec::new(), Vec::new());
    for (x, column) in with_x(columns).filter(|(_, column)| !column.is_empty()) {
        let readings = column.readings(metric);
        if column.after_gap || readings.is_none() {
            strokes.push(std::mem::take(&mut stroke));
        }
        stroke.extend(readings.map(|readings| (x, readings)));
    }
    strokes.push(stroke);
    strokes.retain(|stroke| !stroke.is_empty());
    strokes
}

/// One figure's line.
fn line(columns: &[Column], scale: &Scale, metric: Metric) -> String {
    let mut d = String::new();
    for stroke in strokes(columns, metric) {
        for (index, (x, mb)) in stroke.iter().enumerate() {
            let mut ys = [mb.first, mb.low, mb.high, mb.last].map(|mb| scale.y_of(mb)).to_vec();
            ys.dedup();
            // A single reading is a dot; one of no length would not be printed.
            d += &match index {
                0 => format!("M{x} {}h.1", ys[0]),
                _ => format!("L{x} {}", ys[0]),
            };
            d.extend(ys[1..].iter().map(|y| format!("V{y}")));
        }
    }
    d
}

/// A dot for each reading that is far from the one before it and the one after it.
fn dots(columns: &[Column], scale: &Scale, metric: Metric) -> String {
    let readings: Vec<_> = with_x(columns)
        .filter_map(|(x, column)| Some((x, column.readings(metric)?.high)))
        .collect();
    let far = columns.len() as u64 * 2 / SPARSE;
    let is_far = |one: usize, next: usize| match (readings.get(one), readings.get(next)) {
        (Some((x, _)), Some((next, _))) => next - x > far,
        _ => true,
    };
    let dots = readings
        .iter()
        .enumerate()
        .filter(|(i, _)| (*i == 0 || is_far(*i - 1, *i)) && is_far(*i, *i + 1));
    let dots: Vec<String> =
        dots.map(|(_, (x, mb))| format!("M{x} {}h.1", scale.y_of(*mb))).collect();
    dots.concat()
}

/// What lies under the used figure's line.
fn area(columns: &[Column], scale: &Scale) -> String {
    let mut d = String::new();
    for stroke in strokes(columns, Metric::Used) {
        d += &format!("M{} 1000", stroke[0].0);
        d.extend(stroke.iter().map(|(x, mb)| format!("L{x} {}", scale.y_of(mb.high))));
        d += "V1000Z";
    }
    d
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_where_it_has_room() {
        let label = |pixels| {
            let (attributes, text, width) = label("scene-001", 10, pixels);
            (attributes.contains("rotate"), text, width)
        };
        assert_eq!(label(100), (false, "scene-001".into(), 69));
        assert_eq!(label(40), (true, "scene-001".into(), 12));
        assert_eq!(label(5), (false, "10".into(), 20));
    }

    #[test]
    fn thousandths_are_a_percentage() {
        assert_eq!([1000, 7].map(percent), ["100.0%", "0.7%"]);
    }
}
