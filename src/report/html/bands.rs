//! The scenes behind the curve, each with its name where that has room.

use super::Page;
use crate::report::escape::Markup;

/// How wide the plot is taken to be where a screen is wide, and where it is a phone's, in pixels.
const WIDTHS: [(u64, &str); 2] = [(960, "w"), (290, "n")];
/// Of one letter of a name, in pixels.
const LETTER: u64 = 7;
/// A name that stands upright is cut behind so many letters.
const UPRIGHT: usize = 30;

/// How a band is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Along,
    Upright,
    /// Its number in the table.
    Number,
    Nothing,
}

/// The bands themselves, in thousandths of the plot's width.
pub(super) fn draw(out: &mut Markup, page: &Page) {
    for (place, band) in page.curve.bands().iter().enumerate() {
        let (from, width) = extent(page, band.from_ms, band.to_ms);
        out.raw("<rect class=\"").raw(if place % 2 == 0 { "b0" } else { "b1" });
        out.raw("\" x=\"").thousandths(from).raw("\" width=\"").thousandths(width);
        out.raw("\" height=\"100%\"><title>").text(&band.scene).raw("</title></rect>\n");
    }
}

/// Their names, in front of the curve.
pub(super) fn names(out: &mut Markup, page: &Page) {
    let bands = page.curve.bands();
    for (place, band) in bands.iter().enumerate() {
        let (from, width) = extent(page, band.from_ms, band.to_ms);
        let (number, failed) = standing(page, &band.scene).unwrap_or((place + 1, false));
        let text = if failed { format!("✗ {}", band.scene) } else { band.scene.clone() };
        let letters = text.chars().count() as u64;
        let [wide, narrow] = WIDTHS.map(|(pixels, _)| {
            let every = every(pixels, bands.len() as u64);
            name(width * pixels / 1000, letters, number as u64, every)
        });
        let middle = from + width / 2;
        if wide == narrow {
            draw_name(out, wide, "", middle, &text, number);
        } else {
            draw_name(out, wide, WIDTHS[0].1, middle, &text, number);
            draw_name(out, narrow, WIDTHS[1].1, middle, &text, number);
        }
    }
}

/// Where a band begins and how wide it is; the shortest one is still to be seen.
fn extent(page: &Page, from_ms: u64, to_ms: u64) -> (u64, u64) {
    let place = |ms: u64| (ms * 1000).checked_div(page.curve.span_ms()).unwrap_or(0);
    (place(from_ms), (place(to_ms) - place(from_ms)).max(2))
}

/// A scene's number in the table, and whether it failed.
fn standing(page: &Page, scene: &str) -> Option<(usize, bool)> {
    if let Some(run) = page.told.record {
        let place = run.scenes.iter().position(|known| known.id == scene)?;
        return Some((place + 1, !run.scenes[place].outcome.is_success()));
    }
    let place = page.told.vram.scenes.iter().position(|known| known.id == scene)?;
    Some((place + 1, false))
}

/// How many bands share one number where none has room for its name.
fn every(pixels: u64, bands: u64) -> u64 {
    [1, 2, 5, 10, 20, 50].into_iter().find(|every| pixels * every >= bands * 26).unwrap_or(100)
}

fn name(pixels: u64, letters: u64, number: u64, every: u64) -> Name {
    if letters * LETTER + 6 <= pixels {
        Name::Along
    } else if pixels >= 11 {
        Name::Upright
    } else if number.is_multiple_of(every) {
        Name::Number
    } else {
        Name::Nothing
    }
}

fn draw_name(
    out: &mut Markup,
    name: Name,
    class: &'static str,
    middle: u64,
    text: &str,
    number: usize,
) {
    if name == Name::Nothing {
        return;
    }
    // A place in hundredths of its own, within which the text is turned.
    out.raw("<svg class=\"name ").raw(class).raw("\" x=\"").thousandths(middle);
    out.raw("\" y=\"100%\"><text ");
    match name {
        Name::Upright => {
            out.raw("class=\"upright\" transform=\"rotate(-90)\" x=\"8\" y=\"4\">");
            if text.chars().count() > UPRIGHT {
                // Long names are told apart by their ends.
                let cut: String = text.chars().take(UPRIGHT).collect();
                out.number(number as u64).raw(" ").text(&cut).raw("…");
            } else {
                out.text(text);
            }
        }
        Name::Along => {
            out.raw("y=\"-8\" class=\"mid\">").text(text);
        }
        Name::Number | Name::Nothing => {
            out.raw("y=\"-8\" class=\"mid\">").number(number as u64);
        }
    }
    out.raw("</text></svg>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_where_it_has_room() {
        assert_eq!(name(100, 9, 1, 1), Name::Along);
        assert_eq!(name(40, 9, 1, 1), Name::Upright);
        assert_eq!(name(5, 9, 10, 10), Name::Number);
        assert_eq!(name(5, 9, 11, 10), Name::Nothing);
        assert_eq!((every(960, 12), every(290, 60), every(290, 400)), (1, 10, 50));
    }
}
