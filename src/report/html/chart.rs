//! VRAM over time as a drawing.
//!
//! Everything stands at percentages of the plot, so that it is as wide as the page without its
//! letters growing; the curves alone are stretched, their strokes not.

use super::{Page, axes, bands, legend};
use crate::report::escape::Markup;
use crate::vram::log::time_text;
use crate::vram::stats::Metric;
use crate::vram::timeline::{Column, Peak};

/// The height in the curves' own units.
const HEIGHT: u64 = 1000;
/// Marks of nvidia-smi that leave the lines to be seen.
const MANY: usize = 60;

/// The section, or why there is no drawing.
pub(super) fn section(out: &mut Markup, page: &Page) {
    out.raw("<section aria-labelledby=\"vram\">\n<h2 id=\"vram\">");
    out.raw(if page.is_ram() { "System RAM over time" } else { "VRAM over time" }).raw("</h2>\n");
    let vram = page.told.vram;
    if page.is_cached() {
        out.raw("<p>Nothing was executed: everything came from ComfyUI's cache. ");
        out.raw("The memory in use meanwhile says nothing about it.</p>\n");
    } else if vram.samples == 0 {
        out.raw("<p>").text(&vram.no_sample()).raw("</p>\n");
    } else if vram.samples == 1 {
        out.raw("<p>One sample alone was taken: ").number(vram.peak.unwrap_or_default());
        out.raw(" MB at ").text(&vram.peak_at.map(time_text).unwrap_or_default()).raw("</p>\n");
    } else {
        out.raw("<figure class=\"chart\">\n");
        legend::list(out, page);
        drawing(out, page);
        legend::caption(out, page);
        out.raw("</figure>\n");
    }
    out.raw("</section>\n");
}

fn drawing(out: &mut Markup, page: &Page) {
    let curve = page.curve;
    let scale = Scale::of(page);
    out.raw("<svg class=\"plot\" role=\"img\" aria-labelledby=\"plot-title plot-text\">\n");
    out.raw("<title id=\"plot-title\">Memory in use over time</title>\n<desc id=\"plot-text\">");
    legend::words(out, page);
    out.raw("</desc>\n");
    bands::draw(out, page);
    axes_of(out, page, &scale);
    curves(out, page, &scale);
    if let Some(total) = page.told.vram.total {
        out.raw("<line class=\"total\" x2=\"100%\" y1=\"").thousandths(scale.y_of(total));
        out.raw("\" y2=\"").thousandths(scale.y_of(total)).raw("\"/>\n");
        // At the end where the peak is not.
        let right = scale.peak.is_none_or(|peak| peak.at_ms * 2 < curve.span_ms());
        out.raw(if right { "<text class=\"end\" x=\"100%\" " } else { "<text x=\"0%\" " });
        out.raw("dx=\"").raw(if right { "-4" } else { "4" }).raw("\" dy=\"-5\" y=\"");
        out.thousandths(scale.y_of(total)).raw("\">total ").number(total).raw(" MB</text>\n");
    }
    bands::names(out, page);
    if let Some(peak) = scale.peak {
        peak_mark(out, page, &scale, peak);
    }
    out.raw("</svg>\n");
}

/// From MB to a place.
struct Scale {
    top: u64,
    peak: Option<Peak>,
}

impl Scale {
    fn of(page: &Page) -> Scale {
        let highest = page.curve.highest().max(page.told.vram.total.unwrap_or_default()).max(1);
        // Room for what is written above the highest line.
        Scale { top: highest + highest.div_ceil(9), peak: page.curve.peak(page.told.vram.metric) }
    }

    /// In thousandths of the height.
    fn y_of(&self, mb: u64) -> u64 {
        HEIGHT - (mb.min(self.top) * HEIGHT + self.top / 2) / self.top
    }
}

fn axes_of(out: &mut Markup, page: &Page, scale: &Scale) {
    for mb in axes::of_memory(scale.top) {
        let y = scale.y_of(mb);
        out.raw("<line class=\"grid\" x2=\"100%\" y1=\"").thousandths(y);
        out.raw("\" y2=\"").thousandths(y).raw("\"/><text class=\"end\" x=\"-8\" dy=\"4\" y=\"");
        out.thousandths(y).raw("\">").number(mb).raw("</text>\n");
    }
    out.raw("<text class=\"end\" x=\"-8\" y=\"-8\">MB</text>\n");
    let Some(first) = page.curve.first_at() else { return };
    for (place, (at, text)) in axes::of_time(first, page.curve.span_ms()).iter().enumerate() {
        let x = at * 1000 / page.curve.span_ms().max(1);
        // Every second one has no room on a phone.
        out.raw(if place % 2 == 1 { "<g class=\"o\">" } else { "<g>" });
        out.raw("<line class=\"grid\" y2=\"100%\" x1=\"").thousandths(x);
        out.raw("\" x2=\"").thousandths(x).raw("\"/><text class=\"");
        out.raw(if x > 960 { "end" } else { "mid" }).raw("\" y=\"100%\" dy=\"26\" x=\"");
        out.thousandths(x).raw("\">").text(text).raw("</text></g>\n");
    }
}

/// The lines themselves, two units a column.
fn curves(out: &mut Markup, page: &Page, scale: &Scale) {
    let curve = page.curve;
    let columns = curve.columns();
    out.raw("<svg class=\"curves\" preserveAspectRatio=\"none\" viewBox=\"0 0 ");
    out.number(columns.len() as u64 * 2).raw(" 1000\">\n<path class=\"area\" d=\"");
    area(out, columns, scale);
    for (class, metric) in [("used", Metric::Used), ("driver", Metric::Driver)] {
        out.raw("\"/>\n<path class=\"").raw(class).raw("\" d=\"");
        line(out, columns, scale, metric);
    }
    if page.told.vram.sources.comfyui > 0 {
        // So many that they would hide the lines are drawn small.
        let many = columns.iter().filter(|column| column.fallback.is_some()).count() > MANY;
        out.raw("\"/>\n<path class=\"fallback").raw(if many { " many" } else { "" });
        out.raw("\" d=\"");
        for (x, column) in abscissas(columns) {
            if let Some(mb) = column.fallback {
                out.raw("M").number(x).raw(" ").number(scale.y_of(mb)).raw("h.1");
            }
        }
    }
    out.raw("\"/>\n</svg>\n<svg class=\"missed\" y=\"100%\" height=\"12\" ");
    out.raw("preserveAspectRatio=\"none\" viewBox=\"0 0 ").number(columns.len() as u64 * 2);
    out.raw(" 12\"><path d=\"");
    for (from, to) in curve.gaps() {
        // From reading to reading; what lies in one column is as wide as that.
        let (from, to) =
            if from == to { (from * 2, to * 2 + 2) } else { (from * 2 + 1, to * 2 + 1) };
        out.raw("M").number(from as u64).raw(" 7H").number(to as u64);
    }
    out.raw("\"/></svg>\n");
}

fn abscissas(columns: &[Column]) -> impl Iterator<Item = (u64, &Column)> {
    (0..).map(|place| place * 2 + 1).zip(columns)
}

/// One figure's line. It ends where there is no reading and where the figure is not known.
fn line(out: &mut Markup, columns: &[Column], scale: &Scale, metric: Metric) {
    let mut drawing = false;
    for (x, column) in abscissas(columns).filter(|(_, column)| !column.is_empty()) {
        let Some(mb) = column.readings(metric) else {
            drawing = false;
            continue;
        };
        let goes_on = drawing && !column.after_gap;
        drawing = true;
        let [first, low, high, last] =
            [mb.first, mb.low, mb.high, mb.last].map(|mb| scale.y_of(mb));
        out.raw(if goes_on { "L" } else { "M" }).number(x).raw(" ").number(first);
        if !goes_on {
            // A reading alone is a dot; one of no length would not be printed.
            out.raw("h.1");
        }
        let mut at = first;
        for y in [low, high, last] {
            if y != at {
                out.raw("V").number(y);
                at = y;
            }
        }
    }
}

/// What lies under the used figure's line.
fn area(out: &mut Markup, columns: &[Column], scale: &Scale) {
    let mut drawing = false;
    for (x, column) in abscissas(columns).filter(|(_, column)| !column.is_empty()) {
        let used = column.readings(Metric::Used);
        if drawing && (column.after_gap || used.is_none()) {
            out.raw("V1000Z");
            drawing = false;
        }
        let Some(mb) = used else { continue };
        if !drawing {
            out.raw("M").number(x).raw(" 1000");
        }
        drawing = true;
        out.raw("L").number(x).raw(" ").number(scale.y_of(mb.high));
    }
    if drawing {
        out.raw("V1000Z");
    }
}

fn peak_mark(out: &mut Markup, page: &Page, scale: &Scale, peak: Peak) {
    let x = (peak.at_ms * 1000).checked_div(page.curve.span_ms()).unwrap_or(0);
    let y = scale.y_of(peak.mb);
    out.raw("<circle class=\"peak\" r=\"4\" cx=\"").thousandths(x);
    out.raw("\" cy=\"").thousandths(y).raw("\"/><text class=\"peak ");
    out.raw(match x {
        0..=250 => "\" dx=\"-4",
        251..=750 => "mid",
        _ => "end\" dx=\"4",
    });
    out.raw("\" dy=\"-9\" x=\"").thousandths(x).raw("\" y=\"").thousandths(y);
    out.raw("\">peak ").number(peak.mb).raw(" MB</text>\n");
}
