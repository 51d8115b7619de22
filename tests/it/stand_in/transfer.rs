//! `/view` and `/upload/image`.

use serde_json::json;

use super::files::{self, Place};
use super::http::{Request, Response};
use super::world::World;

/// A file's bytes.
pub fn view(world: &World, query: &[(String, String)]) -> Response {
    let value = |name: &str| query.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    let folder = value("type").map_or("output", String::as_str);
    let subfolder = value("subfolder").map_or("", String::as_str);
    let Some(name) = value("filename").filter(|name| !name.is_empty()) else {
        return Response::empty(400);
    };
    if name.starts_with('/') || name.contains("..") || !is_folder(folder) {
        return Response::empty(400);
    }
    if subfolder.starts_with('/') || subfolder.split(['/', '\\']).any(|part| part == "..") {
        return Response::empty(403);
    }
    let place = (folder.to_owned(), subfolder.to_owned(), name.clone());
    let Some(bytes) = world.look(|state| state.files.read(&place)) else {
        return Response::empty(404);
    };
    Response::typed(200, files::content_type(name), bytes)
        .with("Content-Disposition", &format!("filename=\"{name}\""))
}

fn is_folder(name: &str) -> bool {
    ["output", "temp", "input"].contains(&name)
}

/// Stores an image in the input folder, under another name if a different one has its own.
pub fn upload(world: &World, request: &Request) -> Response {
    let boundary = request
        .header("content-type")
        .filter(|value| value.starts_with("multipart/form-data"))
        .and_then(|value| value.split_once("boundary="))
        .map(|(_, rest)| rest.split(';').next().unwrap_or(rest).trim_matches('"'));
    let Some(boundary) = boundary else {
        return Response::text(500, super::routes::TROUBLE);
    };
    let parts = parts(&request.bytes, boundary);
    let field = |name: &str| {
        let part = parts.iter().find(|part| part.name == name)?;
        Some(String::from_utf8_lossy(part.data).into_owned())
    };
    let image = parts.iter().find(|part| part.name == "image");
    let Some((image, name)) = image.and_then(|part| Some((part, part.filename.clone()?))) else {
        return Response::empty(400);
    };
    let folder = field("type").filter(|folder| is_folder(folder)).unwrap_or("input".to_owned());
    let subfolder = field("subfolder").unwrap_or_default();
    if [&subfolder, &name].iter().any(|path| path.starts_with('/') || path.contains("..")) {
        return Response::empty(400);
    }
    let overwrite = field("overwrite").is_some_and(|value| value == "true" || value == "1");
    let place = world.change(|state| {
        let asked = (folder, subfolder, name);
        let free = |place: &Place| {
            state.files.read(place).is_none_or(|known| overwrite || *known == *image.data)
        };
        let place = numbered(&asked).find(free).expect("numbers do not end");
        state.uploads.push((place.2.clone(), place.1.clone(), image.data.len()));
        state.files.write(place.clone(), image.data.to_vec());
        place
    });
    let (folder, subfolder, name) = place;
    Response::json(200, &json!({ "name": name, "subfolder": subfolder, "type": folder }))
}

/// `key.png`, `key (1).png`, `key (2).png` and so on.
fn numbered((folder, subfolder, name): &Place) -> impl Iterator<Item = Place> {
    let dot = name.rfind('.').unwrap_or(name.len());
    let (stem, extension) = name.split_at(dot);
    (0_usize..).map(move |number| {
        let number = if number == 0 { String::new() } else { format!(" ({number})") };
        (folder.clone(), subfolder.clone(), format!("{stem}{number}{extension}"))
    })
}

/// A part of a form.
struct Part<'a> {
    name: String,
    filename: Option<String>,
    data: &'a [u8],
}

fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<Part<'a>> {
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    let first = &delimiter[2..];
    let mut rest = body.strip_prefix(first).unwrap_or_default();
    let mut parts = Vec::new();
    while let Some(end) = find(rest, &delimiter) {
        let (part, after) = (&rest[..end], &rest[end + delimiter.len()..]);
        if let Some(blank) = find(part, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&part[..blank]);
            parts.push(Part {
                name: parameter(&head, "name").unwrap_or_default(),
                filename: parameter(&head, "filename").filter(|name| !name.is_empty()),
                data: &part[blank + 4..],
            });
        }
        rest = after;
    }
    parts
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// A quoted parameter of a part's `Content-Disposition`.
fn parameter(head: &str, name: &str) -> Option<String> {
    let start = format!("; {name}=\"");
    let at = head.find(&start)? + start.len();
    let (value, _) = head[at..].split_once('"')?;
    Some(value.replace("%22", "\""))
}
