//! VRAM over time as an SVG, with its legend.
//!
//! Everything is placed in percent of the plot, so that it is as wide as the page without its
//! letters growing; only the curves are stretched, their strokes are not.

use super::{Escaped, Page, axes};
use crate::vram::log::time_text;
use crate::vram::stats::{Metric, Sources};
use crate::vram::timeline::{Band, Column, Extremes, Peak};

/// The height in the units of the curves.
const HEIGHT: u64 = 1000;
/// More readings of nvidia-smi than this are drawn small, or they would hide the lines.
const MANY_MARKS: usize = 60;
/// The plot's assumed width in pixels on a wide screen and on a phone; the classes `w` and `n` of
/// the style sheet show an element on one of them alone.
const WIDTHS: [u64; 2] = [960, 290];
/// The width of one letter of a scene's name in pixels.
const LETTER: u64 = 7;
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
        let (legend, caption) = (legend(page), caption(page));
        format!("<figure class=\"chart\">\n{legend}{}{caption}</figure>\n", plot(page))
    };
    super::section("vram", &format!("{} over time", page.memory()), &content)
}

/// The key to the drawing.
fn legend(page: &Page) -> String {
    let timeline = page.timeline;
    let has = |metric| timeline.columns.iter().any(|column| column.readings(metric).is_some());
    let Sources { comfyui, nvidia_smi } = page.input.vram.sources;
    let mixed = comfyui > 0 && nvidia_smi > 0;
    let driver = "driver: handed out, torch's idle cache included";
    let (used, total) = if page.input.is_system_ram() {
        ("used: system RAM, the machine's own memory", "total: the machine")
    } else {
        ("used: what live tensors hold", "total: the card")
    };
    let mut items = String::new();
    for (is_shown, class, d, text) in [
        (has(Metric::Used), "used", "M0 5H28", used),
        (has(Metric::Driver), "driver", "M0 7H28", driver),
        (page.input.vram.total.is_some(), "total", "M0 7H28", total),
        (mixed, "fallback", "M14 7h.1", "nvidia-smi, where ComfyUI missed it"),
        (!timeline.gaps().is_empty(), "missed", "M0 7H28", "no reading"),
        (
            !timeline.bands.is_empty(),
            "b0",
            "M0 0H28V14H0Z",
            "a scene, while its prompt was running",
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
    text += ". 1 MB is 1048576 bytes. All figures are the whole device's.";
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
fn description(page: &Page) -> String {
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
    let (gaps, bands) = (page.timeline.gaps().len(), page.timeline.bands.len());
    text + &format!(
        " MB. {missed} ticks missed, {gaps} gaps shown, {bands} scenes, whose figures are in the table."
    )
}

fn plot(page: &Page) -> String {
    let scale = Scale::of(page);
    format!(
        "<svg class=\"plot\" role=\"img\" aria-labelledby=\"plot-title plot-text\">\n\
         <title id=\"plot-title\">Memory in use over time</title>\n\
         <desc id=\"plot-text\">{}</desc>\n{}{}{}{}{}{}</svg>\n",
        description(page),
        bands(page),
        grid(page, &scale),
        curves(page, &scale),
        total(page, &scale).unwrap_or_default(),
        names(page),
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

impl Scale {
    fn of(page: &Page) -> Scale {
        let highest = page.timeline.highest().max(page.input.vram.total.unwrap_or_default()).max(1);
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
fn bands(page: &Page) -> String {
    let mut rects = String::new();
    for (class, band) in ["b0", "b1"].into_iter().cycle().zip(&page.timeline.bands) {
        let ((x, width), title) = (extent(page, band), Escaped(&band.scene));
        let (x, width) = (percent(x), percent(width));
        rects += &format!(
            "<rect class=\"{class}\" x=\"{x}\" width=\"{width}\" height=\"100%\"><title>{title}</title></rect>\n"
        );
    }
    rects
}

/// The names of the scenes, in front of the timeline.
fn names(page: &Page) -> String {
    let bands = &page.timeline.bands;
    let mut out = String::new();
    for (index, band) in bands.iter().enumerate() {
        let (from, width) = extent(page, band);
        let (number, failed) = table_row(page, &band.scene).unwrap_or((index + 1, false));
        let name = if failed { format!("✗ {}", band.scene) } else { band.scene.clone() };
        let [wide, narrow] = WIDTHS.map(|plot| {
            label(&name, number, width * plot / 1000, numbers_every(plot, bands.len() as u64))
        });
        // The same label on both needs no class.
        let labels =
            if wide == narrow { vec![("", wide)] } else { vec![("w", wide), ("n", narrow)] };
        for (class, label) in labels {
            let Some((attributes, text)) = label else { continue };
            let (x, text) = (percent(from + width / 2), Escaped(&text));
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

/// The attributes and the text of a scene's label that fits a band of so many pixels: its name in a
/// line, else upright, else every so many scenes its number in the table.
fn label(name: &str, number: usize, pixels: u64, every: usize) -> Option<(&'static str, String)> {
    const IN_LINE: &str = r#"y="-8" class="mid""#;
    const UPRIGHT: &str = r#"class="upright" transform="rotate(-90)" x="8" y="4""#;
    let letters = name.chars().count();
    if letters as u64 * LETTER + 6 <= pixels {
        Some((IN_LINE, name.to_owned()))
    } else if pixels < 11 {
        number.is_multiple_of(every).then(|| (IN_LINE, number.to_string()))
    } else if letters > MOST_LETTERS {
        // Long names differ at their ends: the number tells them apart.
        Some((UPRIGHT, format!("{number} {}", crate::sanitize::shortened(name, MOST_LETTERS))))
    } else {
        Some((UPRIGHT, name.to_owned()))
    }
}

/// Of how many narrow bands one shows its number, in a plot of so many pixels.
fn numbers_every(pixels: u64, bands: u64) -> usize {
    let has_room = |every: &usize| pixels * *every as u64 >= bands * 26;
    [1, 2, 5, 10, 20, 50].into_iter().find(has_room).unwrap_or(100)
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
    let mb = page.input.vram.total?;
    let y = percent(scale.y_of(mb));
    // At the end where the peak is not.
    let is_right = scale.peak.is_none_or(|peak| peak.at_ms * 2 < page.timeline.span_ms());
    let place = if is_right { r#"class="end" x="100%" dx="-4""# } else { r#"x="0%" dx="4""# };
    Some(format!(
        "<line class=\"total\" x2=\"100%\" y1=\"{y}\" y2=\"{y}\"/>\n\
         <text {place} dy=\"-5\" y=\"{y}\">total {mb} MB</text>\n"
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
    Some(format!(
        "<circle class=\"peak\" r=\"4\" cx=\"{x}\" cy=\"{y}\"/>\
         <text {place} dy=\"-9\" x=\"{x}\" y=\"{y}\">peak {mb} MB</text>\n"
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
        let label = |pixels, number| label("scene-001", number, pixels, 10);
        let upright = |(attributes, text): (&str, String)| (attributes.contains("rotate"), text);
        assert_eq!(label(100, 1).map(upright), Some((false, "scene-001".into())));
        assert_eq!(label(40, 1).map(upright), Some((true, "scene-001".into())));
        assert_eq!(label(5, 10).map(upright), Some((false, "10".into())));
        assert_eq!(label(5, 11), None);
        let every = [(960, 12), (290, 60), (290, 400)].map(|(w, bands)| numbers_every(w, bands));
        assert_eq!(every, [1, 10, 50]);
    }

    #[test]
    fn thousandths_are_a_percentage() {
        assert_eq!([1000, 7].map(percent), ["100.0%", "0.7%"]);
    }
}
