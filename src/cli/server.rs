//! The server's side of a run's options: the URL, and the HTTP headers of every request.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::args::ParsedArgs;
use super::flags::FlagId;
use super::values::shown;
use super::{UsageError, paths};
use crate::http::ServerUrl;

/// A file of headers is a few lines; anything larger is another file.
const LARGEST_FILE: u64 = 1 << 20;

/// How the server is reached. `Debug` shows neither credentials nor the values of headers.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerOptions {
    /// Its address.
    pub url: ServerUrl,
    /// Name and value of additional headers: those of the file, then those of the command line,
    /// each in order. The values are secrets.
    pub headers: Vec<(String, String)>,
    /// The file that some of them came from. It was there.
    pub header_file: Option<PathBuf>,
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ServerOptions")
            .field("url", &self.url)
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}

pub(super) fn server(args: &ParsedArgs) -> Result<ServerOptions, UsageError> {
    let url = args.value(FlagId::ComfyUIUrl).parse(ServerUrl::parse)?;
    let (mut headers, mut header_file) = (Vec::new(), None);
    if let Some(given) = args.given(FlagId::HeaderFile) {
        let path = paths::absolute(given, args)?;
        headers = read_file(&path, &format!("{} {}", given.label, shown(&given.value)))?;
        header_file = Some(path);
    }
    for given in args.all(FlagId::Header) {
        headers.push(given.parse(header)?);
    }
    Ok(ServerOptions { url, headers, header_file })
}

fn read_file(path: &Path, subject: &str) -> Result<Vec<(String, String)>, UsageError> {
    let mut text = String::new();
    let size = File::open(path)
        .and_then(|file| file.take(LARGEST_FILE + 1).read_to_string(&mut text))
        .map_err(|error| UsageError(format!("{subject}: {error}")))?;
    if size as u64 > LARGEST_FILE {
        return Err(UsageError(format!("{subject}: larger than 1 MiB, so no file of headers")));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = text.lines().map(str::trim).zip(1..);
    lines
        .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
        .map(|(line, number)| {
            header(line).map_err(|why| {
                UsageError(format!("{subject}, line {number}: takes 'Name: value', but {why}"))
            })
        })
        .collect()
}

/// One header. The error is the end of a sentence and never has a part of the text.
fn header(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once(':').ok_or("it has no colon")?;
    let (name, value) = (name.trim(), value.trim());
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_token) {
        return Err("its name is not a header's");
    }
    if value.is_empty() {
        return Err("its value is empty");
    }
    if !value.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return Err("its value has a character that is not printable ASCII");
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers() {
        let cases = [
            ("Authorization: Bearer a:b=", Ok(("Authorization", "Bearer a:b="))),
            (" X-Key :v ", Ok(("X-Key", "v"))),
            ("Content-Length: 5", Ok(("Content-Length", "5"))),
            ("s3cret", Err("it has no colon")),
            (": s3cret", Err("its name is not a header's")),
            ("X Y: s3cret", Err("its name is not a header's")),
            ("X\r\nY: s3cret", Err("its name is not a header's")),
            ("Authorization:", Err("its value is empty")),
            ("X: s3cret\nY: 1", Err("its value has a character that is not printable ASCII")),
            ("X: s3crét", Err("its value has a character that is not printable ASCII")),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(header(text), expected, "{text}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let url = ServerUrl::parse("http://user:s3cret@host").expect("a good URL");
        let headers = vec![("X-Key".into(), "s3cret".into())];
        let options = ServerOptions { url, headers, header_file: None };
        let shown = format!("{options:?}");
        assert!(shown.contains("X-Key") && !shown.contains("s3cret"), "{shown}");
    }

    proptest! {
        #[test]
        fn a_written_header_reads_the_same(name in "[A-Za-z0-9-]{1,8}", value in "[!-~]([ -~]{0,8}[!-~])?") {
            prop_assert_eq!(header(&format!("{name}: {value}")), Ok((name, value)));
        }
    }
}
