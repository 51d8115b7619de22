//! What the drawing shows, in words: the legend, the caption, the text for those who hear it.

use super::Page;
use crate::report::escape::Markup;
use crate::vram::log::time_text;
use crate::vram::stats::{Metric, Sources};

/// The keys to what is in the drawing, each drawn as it is there.
pub(super) fn list(out: &mut Markup, page: &Page) {
    let (vram, curve) = (page.told.vram, page.curve);
    let has = |metric| curve.columns().iter().any(|column| column.readings(metric).is_some());
    out.raw("<ul class=\"legend\">\n");
    if has(Metric::Used) {
        let swatch =
            "<path class=\"area\" d=\"M0 5H28V14H0Z\"/><path class=\"used\" d=\"M0 5H28\"/>";
        key(
            out,
            swatch,
            if page.is_ram() {
                "used: system RAM, the machine's own memory"
            } else {
                "used: what live tensors hold"
            },
        );
    }
    if has(Metric::Driver) {
        let words = "driver: handed out, torch's idle cache included";
        key(out, "<path class=\"driver\" d=\"M0 7H28\"/>", words);
    }
    if vram.total.is_some() {
        let words = if page.is_ram() { "total: the machine" } else { "total: the card" };
        key(out, "<path class=\"total\" d=\"M0 7H28\"/>", words);
    }
    if is_mixed(page) {
        key(
            out,
            "<path class=\"fallback\" d=\"M14 7h.1\"/>",
            "nvidia-smi, where ComfyUI missed it",
        );
    }
    if !curve.gaps().is_empty() {
        key(out, "<path class=\"missed\" d=\"M0 7H28\"/>", "no reading");
    }
    if !curve.bands().is_empty() {
        key(
            out,
            "<path class=\"b0\" d=\"M0 0H28V14H0Z\"/>",
            "a scene, while its prompt was running",
        );
    }
    out.raw("</ul>\n");
}

fn key(out: &mut Markup, swatch: &'static str, words: &'static str) {
    out.raw("<li><svg aria-hidden=\"true\" width=\"28\" height=\"14\">").raw(swatch);
    out.raw("</svg> ").raw(words).raw("</li>\n");
}

/// What is to be known of the axes.
pub(super) fn caption(out: &mut Markup, page: &Page) {
    out.raw("<figcaption>Local time");
    if let Some(run) = page.told.record {
        let (h, m, _) = run.started.offset().as_hms();
        let sign = if run.started.offset().is_negative() { '−' } else { '+' };
        out.text(&format!(", UTC{sign}{:02}:{:02}", h.unsigned_abs(), m.unsigned_abs()));
    }
    out.raw(". 1 MB is 1048576 bytes. All figures are the whole device's.");
    if page.told.vram.sources.comfyui == 0 {
        out.raw(" All readings are nvidia-smi's.");
    }
    if page.curve.set_back() {
        out.raw(" The clock was set back meanwhile: what comes after stands too far right.");
    }
    if page.curve.unbanded() {
        out.raw(" There were more scenes than are shown.");
    }
    out.raw("</figcaption>\n");
}

/// The drawing for who hears it.
pub(super) fn words(out: &mut Markup, page: &Page) {
    let vram = page.told.vram;
    let missed: u64 = vram.missed.values().sum();
    out.number(vram.samples).raw(" samples");
    if let (Some(first), Some(last)) = (vram.first_at, vram.last_at) {
        out.raw(" from ").text(&time_text(first)).raw(" to ").text(&time_text(last));
    }
    for (name, mb) in [
        (". Lowest ", vram.minimum),
        (" MB. Highest used ", vram.comfyui_peak),
        (" MB. Highest of the driver ", vram.driver_peak),
        (" MB. Total ", vram.total),
    ] {
        if let Some(mb) = mb {
            out.raw(name).number(mb);
        }
    }
    out.raw(" MB. ").number(missed).raw(" ticks missed, ");
    out.number(page.curve.gaps().len() as u64).raw(" gaps shown, ");
    out.number(page.curve.bands().len() as u64).raw(" scenes, whose figures are in the table.");
}

/// Whether readings of nvidia-smi stand among `ComfyUI`'s.
fn is_mixed(page: &Page) -> bool {
    let Sources { comfyui, nvidia_smi } = page.told.vram.sources;
    comfyui > 0 && nvidia_smi > 0
}
