//! A page and a `JUnit` report taken apart: whatever stands in them that came from outside is text and
//! nothing else.

use super::are_lines;

/// The elements of a page.
const TAGS: [&str; 46] = [
    "a",
    "audio",
    "b",
    "body",
    "caption",
    "circle",
    "code",
    "dd",
    "desc",
    "details",
    "div",
    "dl",
    "dt",
    "figcaption",
    "figure",
    "footer",
    "g",
    "h1",
    "h2",
    "h3",
    "head",
    "header",
    "html",
    "img",
    "li",
    "line",
    "main",
    "meta",
    "p",
    "path",
    "rect",
    "section",
    "span",
    "style",
    "summary",
    "svg",
    "table",
    "tbody",
    "td",
    "text",
    "th",
    "thead",
    "title",
    "tr",
    "ul",
    "video",
];
/// The elements of a `JUnit` report.
const JUNIT: [&str; 9] = [
    "error",
    "failure",
    "properties",
    "property",
    "skipped",
    "system-out",
    "testcase",
    "testsuite",
    "testsuites",
];
/// Those that have no end.
const VOID: [&str; 2] = ["img", "meta"];
const ENTITIES: [&str; 5] = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];

/// Fails unless every element is one of ours and closed in its place, its attributes are quoted
/// and none of them a script's, and its links lead to files beside it.
#[track_caller]
pub(crate) fn is_well_formed(page: &str) {
    are_lines(page.split('\n'));
    let rest = page.strip_prefix("<!doctype html>\n").expect("a page");
    let (before, rest) = rest.split_once("<style>").expect("a style");
    let (_, rest) = rest.split_once("</style>").expect("the end of the style");
    are_elements(&[before, rest], &TAGS);
}

/// The same of a `JUnit` report.
#[track_caller]
pub(crate) fn is_junit(report: &str) {
    are_lines(report.split('\n'));
    let rest = report.strip_prefix(r#"<?xml version="1.0" encoding="UTF-8"?>"#).expect("XML");
    are_elements(&[rest], &JUNIT);
}

fn are_elements(parts: &[&str], tags: &[&str]) {
    let mut open = Vec::new();
    for part in parts {
        let mut rest = *part;
        while let Some((text, tag)) = rest.split_once('<') {
            is_text(text);
            let (tag, after) = tag.split_once('>').unwrap_or_else(|| panic!("{tag:?} has no end"));
            element(tag, tags, &mut open);
            rest = after;
        }
        is_text(rest);
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

fn is_text(text: &str) {
    assert!(!text.contains(['>', '"']), "markup in {text:?}");
    for (at, _) in text.match_indices('&') {
        assert!(ENTITIES.iter().any(|entity| text[at..].starts_with(entity)), "{text:?}");
    }
}

fn element<'a>(tag: &'a str, tags: &[&str], open: &mut Vec<&'a str>) {
    if let Some(name) = tag.strip_prefix('/') {
        assert_eq!(open.pop(), Some(name), "closed in the wrong place");
        return;
    }
    let (tag, closed) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
    let (name, mut rest) = tag.split_at(tag.find(' ').unwrap_or(tag.len()));
    assert!(tags.contains(&name), "<{name}>");
    if !closed && !VOID.contains(&name) {
        open.push(name);
    }
    while let Some(more) = rest.trim_start().split_once("=\"") {
        // Before it there may be those without a value.
        let key = more.0.split_whitespace().last().unwrap_or_default();
        assert!(more.0.bytes().all(|b| b" -".contains(&b) || b.is_ascii_alphanumeric()), "{tag:?}");
        assert!(!key.starts_with("on") && key != "style", "{tag:?}");
        let (value, after) = more.1.split_once('"').unwrap_or_else(|| panic!("{tag:?}"));
        is_text(value);
        if ["href", "src"].contains(&key) {
            is_beside(value);
        }
        rest = after;
    }
    assert!(!rest.contains(['"', '\'', '=', '&']), "{tag:?}");
}

/// A link to a file of the page's own folder.
pub(crate) fn is_beside(link: &str) {
    assert!(link.split('/').all(|name| !matches!(name, "" | "." | "..")), "{link:?}");
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~%/".contains(c);
    assert!(link.chars().all(plain), "{link:?}");
}
