//! A table that becomes cards on a phone. The roles stay when the rows stop looking like rows.

use crate::report::escape::Markup;

/// The one column of words, but for the scenes' names.
pub(super) const OUTCOME: &str = "Outcome";

/// Opens a table and writes its head: the scenes, which head the rows, and these columns.
pub(super) fn open(out: &mut Markup, caption: &'static str, columns: &[&'static str]) {
    out.raw("<table role=\"table\">\n<caption>").raw(caption).raw("</caption>\n");
    out.raw("<thead role=\"rowgroup\"><tr role=\"row\">");
    out.raw("<th role=\"columnheader\" scope=\"col\">Scene</th>");
    for column in columns {
        out.raw("<th role=\"columnheader\" scope=\"col\"");
        out.raw(if *column == OUTCOME { ">" } else { " class=\"figure\">" });
        out.raw(column).raw("</th>");
    }
    out.raw("</tr></thead>\n<tbody role=\"rowgroup\">\n");
}

pub(super) fn close(out: &mut Markup) {
    out.raw("</tbody>\n</table>\n");
}

/// Opens a row with its number and its head.
pub(super) fn row(out: &mut Markup, number: usize, head: &str) {
    out.raw("<tr role=\"row\"><th role=\"rowheader\" scope=\"row\"><span class=\"quiet\">");
    out.number(number as u64).raw("</span> ").text(head).raw("</th>");
}

pub(super) fn end_row(out: &mut Markup) {
    out.raw("</tr>\n");
}

/// Opens a cell; on a phone the column's name stands in it.
pub(super) fn cell<'a>(out: &'a mut Markup, column: &'static str) -> &'a mut Markup {
    out.raw("<td role=\"cell\" data-is=\"").raw(column).raw("\">")
}

/// A whole cell of one figure.
pub(super) fn figure(out: &mut Markup, column: &'static str, text: Option<&str>) {
    out.raw("<td role=\"cell\" class=\"figure\" data-is=\"").raw(column).raw("\">");
    out.text(text.unwrap_or("–")).raw("</td>");
}
