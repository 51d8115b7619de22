//! The workflow inside a picture, a video or a sound: `ComfyUI` writes the graph that it was posted
//! (`prompt`) and the editor's file (`workflow`) into what it saves.
//!
//! Both are found by the structure of the file, not by a search in it: what a format allows between
//! is passed over by its length, so that of a file of any size only the parts with texts are read.
//!
//! | file | place |
//! |---|---|
//! | PNG, also animated | chunks `tEXt`, `iTXt`, `comf`; not compressed (`zTXt`) |
//! | WebP | chunk `EXIF`: a text that begins with `prompt:` or `workflow:` |
//! | MP4, MOV | `moov/udta/meta` or `moov/meta`, the items of `ilst` by their `keys`; `©cmt` |
//! | MKV, `WebM` | `Segment/Tags/Tag/SimpleTag` |
//! | FLAC, Ogg (Opus, Vorbis) | the comments, in Ogg over any number of pages |
//! | MP3 | `TXXX` frames of ID3 2.3 and 2.4 at the beginning |
//! | latent, safetensors | `__metadata__` in the header |
//! | EXR | string attributes of the header |
//!
//! Old versions of `VideoHelperSuite` have both in one JSON text called `comment`.
//!
//! Limits: 64 MiB for the part that has the texts, 65,536 parts in a file.

use std::io::{self, Read, Seek, SeekFrom};

use serde_json::json;

use super::json;
use super::workflow::is_link;
use crate::sanitize::{sanitize_line, shortened};

/// Most bytes of a part that is read.
const MAX_PART: u64 = 64 << 20;
/// Most parts that are looked at, so that a file made of empty ones has an end.
const MAX_PARTS: usize = 1 << 16;

/// The texts inside a file.
#[derive(Debug, Default, PartialEq)]
pub struct Embedded {
    /// The API graph, as JSON.
    pub prompt: Option<String>,
    /// The editor's file, as JSON.
    pub workflow: Option<String>,
    other: Option<String>,
    is_compressed: bool,
}

/// Keys under which other programs keep their settings.
const OTHERS: [(&str, &str); 6] = [
    ("dream", "InvokeAI"),
    ("fooocus_scheme", "Fooocus"),
    ("invokeai_graph", "InvokeAI"),
    ("invokeai_metadata", "InvokeAI"),
    ("parameters", "AUTOMATIC1111's web UI or one like it"),
    ("sd-metadata", "InvokeAI"),
];

impl Embedded {
    fn take(&mut self, key: &[u8], text: &[u8]) {
        let key = String::from_utf8_lossy(key);
        let text = String::from_utf8_lossy(text);
        let text = text.trim_matches('\0');
        let is = |name: &str| key.eq_ignore_ascii_case(name);
        // What other programs call a prompt is no JSON.
        let is_json = text.trim_start().starts_with('{');
        if is("prompt") && is_json {
            self.prompt.get_or_insert_with(|| text.to_owned());
        } else if is("workflow") && is_json {
            self.workflow.get_or_insert_with(|| text.to_owned());
        } else if is("comment") && is_json {
            self.comment(text);
        } else if is("software") {
            self.other = Some(shortened(&sanitize_line(text), 60)).filter(|name| !name.is_empty());
        } else if let Some((_, program)) = OTHERS.iter().find(|(name, _)| is(name)) {
            self.other = Some((*program).to_owned());
        }
    }

    /// One JSON text with both.
    fn comment(&mut self, text: &str) {
        let Some(both) = json::parse(text.as_bytes()) else { return };
        for key in ["prompt", "workflow"] {
            let value = &both[key];
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            self.take(key.as_bytes(), text.as_bytes());
        }
    }

    /// One JSON text: the graph with the editor's file beside it, or that file.
    pub fn into_text(self) -> String {
        match (self.prompt.map(with_wrapped_lists), self.workflow) {
            (Some(prompt), Some(workflow)) if json::parse(workflow.as_bytes()).is_some() => {
                format!("{{\"prompt\":{prompt},\"workflow\":{workflow}}}")
            }
            (prompt, workflow) => prompt.or(workflow).unwrap_or_default(),
        }
    }

    fn is_complete(&self) -> bool {
        self.prompt.is_some() && self.workflow.is_some()
    }
}

/// The graph as it was posted: the server takes a list out of its `__value__` before it saves the
/// graph, and would take it for a link then.
fn with_wrapped_lists(prompt: String) -> String {
    let Some(mut graph) = json::parse(prompt.as_bytes()) else { return prompt };
    let nodes = graph.as_object_mut().into_iter().flat_map(|nodes| nodes.values_mut());
    let inputs = nodes.filter_map(|node| node.get_mut("inputs")?.as_object_mut());
    for value in inputs.flat_map(|inputs| inputs.values_mut()) {
        if value.is_array() && !is_link(value) {
            *value = json!({ "__value__": value.take() });
        }
    }
    graph.to_string()
}

/// Reads the next part of a format, or all there are; whether nothing behind is wanted.
type NextPart<R> = fn(&mut R, &mut Embedded) -> io::Result<bool>;

/// Finds the texts in a file; none if it is not of a format that has them, so that it may be a
/// workflow itself. A file that ends early gives what stands before its end.
///
/// # Errors
/// It cannot be read, or it is a picture, video or sound without a workflow; one line without the
/// file's name.
pub fn embedded<R: Read + Seek>(file: &mut R) -> Result<Option<Embedded>, String> {
    let (mut begin, mut found) = (Vec::new(), Embedded::default());
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    file.by_ref().take(16).read_to_end(&mut begin).map_err(unreadable)?;
    let (kind, start, next): (&str, u64, NextPart<R>) = match begin.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => ("a PNG picture", 8, png),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
            ("a WebP picture", 12, webp)
        }
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => ("an MP4 file", 0, mp4),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => ("a Matroska or WebM video", 0, matroska),
        [b'f', b'L', b'a', b'C', ..] => ("a FLAC file", 4, flac),
        [b'O', b'g', b'g', b'S', ..] => ("an Ogg file", 0, ogg),
        [b'I', b'D', b'3', ..] => ("an MP3 file", 3, id3),
        [0x76, 0x2f, 0x31, 0x01, ..] => ("an EXR picture", 8, exr),
        [_, _, _, _, _, 0, 0, 0, b'{', b'"', ..] => {
            ("a latent or safetensors file", 0, safetensors)
        }
        [0xff, 0xd8, 0xff, ..] => ("a JPEG picture", 0, |_, _| Ok(true)),
        [b'G', b'I', b'F', b'8', ..] => ("a GIF picture", 0, |_, _| Ok(true)),
        [0xff, 0xfa | 0xfb | 0xf2 | 0xf3, ..] => ("an MP3 file", 0, |_, _| Ok(true)),
        [b'R', b'I', b'F', b'F', ..] => ("a RIFF file", 0, |_, _| Ok(true)),
        _ => return Ok(None),
    };
    match parts(file, start, next, &mut found) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(unreadable(error)),
        _ if found.prompt.is_some() || found.workflow.is_some() => Ok(Some(found)),
        _ => Err(match (found.other, found.is_compressed) {
            (Some(program), _) => format!("{kind} of {program}: it has no workflow of ComfyUI"),
            (None, true) => format!("{kind} with compressed texts, which are not read"),
            (None, false) => {
                format!("{kind} without a workflow: was it edited or sent by a messenger?")
            }
        }),
    }
}

/// Reads the parts of a file from `start` on.
fn parts<R: Read + Seek>(
    file: &mut R,
    start: u64,
    next: NextPart<R>,
    found: &mut Embedded,
) -> io::Result<()> {
    file.seek(SeekFrom::Start(start))?;
    for _ in 0..MAX_PARTS {
        if next(file, found)? {
            break;
        }
    }
    Ok(())
}

/// The bytes of a part; fewer where the file ends, none of one that is too large, which is passed
/// over.
fn part<R: Read + Seek>(file: &mut R, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if length > MAX_PART {
        skip(file, length)?;
    } else {
        file.take(length).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn array<const N: usize, R: Read>(file: &mut R) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn skip<R: Seek>(file: &mut R, length: u64) -> io::Result<()> {
    let length = i64::try_from(length).map_err(|_| io::ErrorKind::UnexpectedEof)?;
    file.seek(SeekFrom::Current(length)).map_err(|_| io::ErrorKind::UnexpectedEof)?;
    Ok(())
}

fn png<R: Read + Seek>(file: &mut R, found: &mut Embedded) -> io::Result<bool> {
    let length = u64::from(u32::from_be_bytes(array(file)?));
    let kind: [u8; 4] = array(file)?;
    match &kind {
        b"tEXt" | b"comf" | b"iTXt" => {
            let chunk = part(file, length)?;
            skip(file, 4)?;
            match (&kind, split_once(&chunk, 0)) {
                (_, None) => {}
                // Whether it is compressed and how, then two texts about the language.
                (b"iTXt", Some((key, [0, _, rest @ ..]))) => {
                    let text = split_once(rest, 0).and_then(|(_, rest)| split_once(rest, 0));
                    found.take(key, text.map_or(b"", |(_, text)| text));
                }
                (b"iTXt", Some(_)) => found.is_compressed = true,
                (_, Some((key, text))) => found.take(key, text),
            }
        }
        b"IEND" => return Ok(true),
        _ => {
            found.is_compressed |= kind == *b"zTXt";
            skip(file, length + 4)?;
        }
    }
    Ok(found.is_complete())
}

/// What stands before and after the first such byte.
fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == separator)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn webp<R: Read + Seek>(file: &mut R, found: &mut Embedded) -> io::Result<bool> {
    let kind: [u8; 4] = array(file)?;
    let length = u64::from(u32::from_le_bytes(array(file)?));
    let is_exif = kind == *b"EXIF";
    if is_exif {
        // The texts of its tags end with NUL, and so does what stands before each.
        for text in part(file, length)?.split(|byte| *byte == 0) {
            if let Some((key, text)) = split_once(text, b':')
                && text.starts_with(b"{")
            {
                found.take(key, text);
            }
        }
    } else {
        skip(file, length + length % 2)?;
    }
    Ok(is_exif)
}

fn mp4<R: Read + Seek>(file: &mut R, found: &mut Embedded) -> io::Result<bool> {
    let length = u64::from(u32::from_be_bytes(array(file)?));
    let kind: [u8; 4] = array(file)?;
    let length = match length {
        // A length of 64 bits.
        1 => u64::from_be_bytes(array(file)?).saturating_sub(16),
        // Up to the end of the file.
        0 => u64::MAX,
        _ => length.saturating_sub(8),
    };
    match &kind {
        // Its parts come next.
        b"moov" | b"udta" => {}
        b"meta" => mp4_meta(&part(file, length)?, found),
        _ => skip(file, length)?,
    }
    Ok(found.prompt.is_some())
}

/// The boxes within a box, with what they hold.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?;
        let (kind, inner) = (bytes.get(4..8)?, bytes.get(8..length)?);
        bytes = &bytes[length..];
        Some((kind, inner))
    })
}

fn mp4_meta(meta: &[u8], found: &mut Embedded) {
    // QuickTime has no version before the first box.
    let meta =
        if meta.get(4..8) == Some(b"hdlr") { meta } else { meta.get(4..).unwrap_or_default() };
    let named = |name: &[u8]| boxes(meta).find(|(kind, _)| *kind == name).map(|(_, inner)| inner);
    let keys = named(b"keys").and_then(|keys| keys.get(8..)).unwrap_or_default();
    let keys: Vec<&[u8]> = boxes(keys).map(|(_, name)| name).collect();
    for (kind, item) in boxes(named(b"ilst").unwrap_or_default()) {
        let number = kind.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
        let data =
            boxes(item).find(|(kind, _)| *kind == b"data").and_then(|(_, data)| data.get(8..));
        let key = keys.get(number.wrapping_sub(1)).copied();
        let comment = || (kind == b"\xa9cmt").then_some(&b"comment"[..]);
        if let (Some(key), Some(data)) = (key.or_else(comment), data) {
            found.take(key, data);
        }
    }
}

/// The parts of Matroska that hold others on the way to the texts.
const SEGMENT: u64 = 0x1853_8067;
const CLUSTER: u64 = 0x1f43_b675;
const TAGS: u64 = 0x1254_c367;
const TAG: u64 = 0x7373;
const SIMPLE_TAG: u64 = 0x67c8;
const TAG_NAME: u64 = 0x45a3;
const TAG_STRING: u64 = 0x4487;

fn matroska<R: Read + Seek>(file: &mut R, found: &mut Embedded) -> io::Result<bool> {
    let id = vint(file, true)?;
    let length = vint(file, false)?;
    match id {
        SEGMENT => {}
        // A live stream does not know the length: its parts come next.
        CLUSTER if length == UNKNOWN => {}
        TAGS => simple_tags(&part(file, length)?, found),
        _ => skip(file, length)?,
    }
    Ok(found.is_complete())
}

/// A length of one or more bytes with all bits set.
const UNKNOWN: u64 = u64::MAX;

/// A number of variable width; an id keeps the bits that tell the width.
fn vint<R: Read>(file: &mut R, is_id: bool) -> io::Result<u64> {
    let [first] = array(file)?;
    let width = first.leading_zeros();
    if width > 7 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut value = u64::from(first);
    for _ in 0..width {
        let [next] = array(file)?;
        value = value << 8 | u64::from(next);
    }
    let bits = 7 * (width + 1);
    let mask = (1 << bits) - 1;
    Ok(match value & mask {
        _ if is_id => value,
        all if all == mask => UNKNOWN,
        value => value,
    })
}

fn simple_tags(mut tags: &[u8], found: &mut Embedded) {
    let mut name: &[u8] = &[];
    loop {
        let (Ok(id), Ok(length)) = (vint(&mut tags, true), vint(&mut tags, false)) else { return };
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(tags.len());
        match id {
            TAG | SIMPLE_TAG => continue,
            TAG_NAME => name = &tags[..length],
            TAG_STRING => found.take(name, &tags[..length]),
            _ => {}
        }
        tags = &tags[length..];
    }
}

fn flac<R: Read + Seek>(file: &mut R, found: &mut Embedded) -> io::Result<bool> {
    let [kind, a, b, c] = array(file)?;
    let length = u32::from_be_bytes([0, a, b, c]).into();
    let (is_last, is_comments) = (kind & 0x80 != 0, kind & 0x7f == 4);
    if is_comments {
        comments(&part(file, length)?, found);
    } else {
        skip(file, length)?;
    }
    Ok(is_last || is_comments)
}

/// Vorbis comments: the name of the program, how many there are, then `key=text` each.
fn comments(mut bytes: &[u8], found: &mut Embedded) {
    let _program = sized(&mut bytes);
    let _count = bytes.split_off(..4);
    while let Some(comment) = sized(&mut bytes) {
        if let Some((key, text)) = split_once(comment, b'=') {
            found.take(key, text);
        }
    }
}

/// Takes a text with its length before it off the bytes; a shorter one where they end.
fn sized<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (text, rest) = rest.split_at(length.min(rest.len()));
    *bytes = rest;
    Some(text)
}

fn ogg<R: Read + Seek>(file: &mut R, found: &mut Embedded) -> io::Result<bool> {
    // The second packet of the first stream has the comments.
    let (mut packet, mut packets, mut stream) = (Vec::new(), 0, None);
    for _ in 0..MAX_PARTS {
        let header: [u8; 27] = array(file)?;
        let widths = part(file, header[26].into())?;
        let page = part(file, widths.iter().copied().map(u64::from).sum())?;
        if !header.starts_with(b"OggS") || packet.len() as u64 > MAX_PART {
            break;
        }
        if *stream.get_or_insert_with(|| header[14..18].to_vec()) != header[14..18] {
            continue;
        }
        let mut rest = page.as_slice();
        for width in widths {
            let (piece, after) = rest.split_at(usize::from(width).min(rest.len()));
            rest = after;
            if packets == 1 {
                packet.extend(piece);
            }
            packets += usize::from(width < 255);
        }
        if packets > 1 {
            break;
        }
    }
    let kinds = [&b"OpusTags"[..], b"\x03vorbis"];
    for rest in kinds.iter().filter_map(|kind| packet.strip_prefix(*kind)) {
        comments(rest, found);
    }
    Ok(true)
}

fn id3<R: Read + Seek>(file: &mut R, found: &mut Embedded) -> io::Result<bool> {
    let [version, _, _, length @ ..]: [u8; 7] = array(file)?;
    let tag = part(file, synchsafe(length).into())?;
    let mut rest = tag.as_slice();
    while let Some((&[.., a, b, c, d, _, _], after)) = rest.split_first_chunk::<10>() {
        let length = [a, b, c, d];
        let length = if version == 4 { synchsafe(length) } else { u32::from_be_bytes(length) };
        let (frame, next) = after.split_at((length as usize).min(after.len()));
        // One byte for the encoding; FFmpeg writes UTF-8.
        if rest.starts_with(b"TXXX")
            && let Some((key, text)) = frame.get(1..).and_then(|frame| split_once(frame, 0))
        {
            found.take(key, text);
        }
        rest = next;
    }
    Ok(true)
}

/// Four times seven bits.
fn synchsafe(bytes: [u8; 4]) -> u32 {
    bytes.iter().fold(0, |value, byte| value << 7 | u32::from(byte & 0x7f))
}

fn safetensors<R: Read + Seek>(file: &mut R, found: &mut Embedded) -> io::Result<bool> {
    let length = u64::from_le_bytes(array(file)?);
    if let Some(header) = json::parse(&part(file, length)?) {
        for (key, text) in header["__metadata__"].as_object().into_iter().flatten() {
            found.take(key.as_bytes(), text.as_str().unwrap_or_default().as_bytes());
        }
    }
    Ok(true)
}

fn exr<R: Read + Seek>(file: &mut R, found: &mut Embedded) -> io::Result<bool> {
    let (name, kind) = (word(file)?, word(file)?);
    // An empty name ends the header.
    if name.is_empty() {
        return Ok(true);
    }
    let length = u32::from_le_bytes(array(file)?).into();
    if kind == b"string" {
        found.take(&name, &part(file, length)?);
    } else {
        skip(file, length)?;
    }
    Ok(false)
}

/// Up to the next NUL, at most 255 bytes.
fn word<R: Read>(file: &mut R) -> io::Result<Vec<u8>> {
    let mut word = Vec::new();
    while word.len() < 256 {
        match array(file)? {
            [0] => return Ok(word),
            [byte] => word.push(byte),
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests;
