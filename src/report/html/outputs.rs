//! The images, videos and sounds themselves.

use super::Page;
use super::link::to_file;
use crate::report::escape::Markup;
use crate::report::record::Output;
use crate::report::text::sized;

/// What browsers show.
const IMAGES: [&str; 8] = ["png", "jpg", "jpeg", "webp", "gif", "avif", "bmp", "svg"];
const VIDEOS: [&str; 4] = ["mp4", "webm", "m4v", "mov"];
const SOUNDS: [&str; 6] = ["mp3", "wav", "flac", "ogg", "opus", "m4a"];

pub(super) fn section(out: &mut Markup, page: &Page) {
    let scenes = page.told.record.map(|run| run.scenes.as_slice()).unwrap_or_default();
    if scenes.iter().all(|scene| scene.outputs.is_empty()) {
        return;
    }
    out.raw("<section aria-labelledby=\"outputs\">\n<h2 id=\"outputs\">Outputs</h2>\n");
    for scene in scenes.iter().filter(|scene| !scene.outputs.is_empty()) {
        out.raw("<h3>").text(&scene.id).raw("</h3>\n<div class=\"outputs\">\n");
        for output in &scene.outputs {
            figure(out, page, output);
        }
        out.raw("</div>\n");
    }
    out.raw("</section>\n");
}

fn figure(out: &mut Markup, page: &Page, output: &Output) {
    out.raw("<figure>");
    // Its name may come from anywhere: one that leads out of the run folder is told, not followed.
    if let Some(link) = to_file(page.folder, &output.path) {
        let name = output.path.rsplit('/').next().unwrap_or_default();
        let extension = name.rsplit_once('.').map_or("", |(_, end)| end).to_ascii_lowercase();
        let is = |known: &[&str]| known.contains(&&*extension);
        if is(&IMAGES) {
            out.raw("<a href=\"").text(&link).raw("\"><img loading=\"lazy\" alt=\"");
            out.text(name).raw("\" src=\"").text(&link).raw("\"></a>");
        } else if is(&VIDEOS) {
            out.raw("<video controls preload=\"metadata\" aria-label=\"");
            out.text(name).raw("\" src=\"").text(&link).raw("\"></video>");
        } else if is(&SOUNDS) {
            out.raw("<audio controls preload=\"metadata\" aria-label=\"");
            out.text(name).raw("\" src=\"").text(&link).raw("\"></audio>");
        }
        out.raw("<figcaption><a href=\"").text(&link).raw("\">");
        out.text(&sized(output)).raw("</a></figcaption>");
    } else {
        out.raw("<figcaption>").text(&sized(output)).raw("</figcaption>");
    }
    out.raw("</figure>\n");
}
