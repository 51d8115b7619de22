//! The value of an option, and what it is read as.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use super::flags::Flag;
use super::{Assignment, CardId, Seed, UsageError, VramSource};
use crate::http::ServerUrl;
use crate::sanitize::{shortened, url_without_credentials};

/// The value of an option, from the command line, the environment or the table.
#[derive(Clone, Debug)]
pub(super) struct FlagValue {
    pub(super) flag: &'static Flag,
    /// The name used on the command line, as PowerShell writes it: the option's or its alias.
    pub(super) name: &'static str,
    /// What error messages call it: the option as it was written, or the environment variable.
    pub(super) label: String,
    /// Not checked yet; of a switch `$true` or `$false`.
    pub(super) value: OsString,
}

impl FlagValue {
    pub(super) fn is_on(&self) -> bool {
        self.value == "$true"
    }

    /// The option and its value, as the beginning of an error message.
    pub(super) fn as_written(&self) -> String {
        format!("{} {}", self.label, shown(&self.value))
    }

    /// The error message: what the option takes, and what it was given.
    pub(super) fn invalid(&self) -> UsageError {
        let expected = self.flag.kind.expected();
        UsageError(format!("{} takes {expected}, not {}", self.label, quoted(&self.value)))
    }

    /// The error message for a value that may hold a secret: `why` stands in for it.
    fn invalid_because(&self, why: &str) -> UsageError {
        UsageError(format!("{} takes {}, but {why}", self.label, self.flag.kind.expected()))
    }

    pub(super) fn unicode(&self) -> Result<&str, UsageError> {
        self.value.to_str().ok_or_else(|| self.invalid_because("it is not Unicode"))
    }

    fn lowercase(&self) -> String {
        self.value.to_string_lossy().trim().to_lowercase()
    }

    pub(super) fn integer(&self) -> Result<u32, UsageError> {
        let number = self.number().filter(|number| number.fract() == 0.0);
        number.and_then(|number| format!("{number:.0}").parse().ok()).ok_or_else(|| self.invalid())
    }

    pub(super) fn decimal(&self) -> Result<f64, UsageError> {
        self.number().ok_or_else(|| self.invalid())
    }

    /// A number that the option may have, in the option's own unit: `10m` is 600 seconds.
    pub(super) fn number(&self) -> Option<f64> {
        let text = self.value.to_str()?.trim();
        let scaled = || {
            let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let unit = &text[number.len()..];
            let mut units = self.flag.kind.units().iter();
            let (_, factor) = units.find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
            // To the millionth: 1.1 m is 66 s.
            Some((parse_decimal(number.trim_end())? * factor * 1e6).round() / 1e6)
        };
        parse_decimal(text).or_else(scaled).filter(|number| self.flag.kind.in_range(*number))
    }

    pub(super) fn seconds(&self) -> Result<Duration, UsageError> {
        self.integer().map(|seconds| Duration::from_secs(seconds.into()))
    }

    pub(super) fn decimal_seconds(&self) -> Result<Duration, UsageError> {
        self.decimal().map(Duration::from_secs_f64)
    }

    pub(super) fn url(&self) -> Result<ServerUrl, UsageError> {
        ServerUrl::parse(self.unicode()?).map_err(|why| self.invalid_because(why))
    }

    pub(super) fn header(&self) -> Result<(String, String), UsageError> {
        parse_header(self.unicode()?).map_err(|why| self.invalid_because(why))
    }

    pub(super) fn seed(&self) -> Result<Seed, UsageError> {
        match self.lowercase().as_str() {
            "keep" => Ok(Seed::Keep),
            "random" => Ok(Seed::Random),
            text => parse_uint(text).map(Seed::Fixed).ok_or_else(|| self.invalid()),
        }
    }

    pub(super) fn vram_source(&self) -> Result<VramSource, UsageError> {
        match self.lowercase().as_str() {
            "auto" => Ok(VramSource::Auto),
            "comfyui" => Ok(VramSource::ComfyUi),
            "nvidia-smi" => Ok(VramSource::NvidiaSmi),
            _ => Err(self.invalid()),
        }
    }

    /// A card as nvidia-smi names it: by index, or by a UUID that begins with `GPU-`.
    pub(super) fn card(&self) -> Result<CardId, UsageError> {
        let text = self.value.to_string_lossy().trim().to_owned();
        if let Some(index) = parse_uint(&text).and_then(|index| u32::try_from(index).ok()) {
            return Ok(CardId::Index(index));
        }
        let is_uuid = text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("GPU-"))
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if is_uuid { Ok(CardId::Uuid(text)) } else { Err(self.invalid()) }
    }

    /// Scene ids with commas between them.
    pub(super) fn scene_ids(&self) -> Result<Vec<String>, UsageError> {
        let text = self.value.to_str().ok_or_else(|| self.invalid())?;
        let ids = text.split(',').map(str::trim).filter(|id| !id.is_empty());
        let ids: Vec<String> = ids.map(str::to_owned).collect();
        if ids.is_empty() { Err(self.invalid()) } else { Ok(ids) }
    }

    /// `NODE.INPUT=VALUE`: cut at the first `=`, and what stands before that at its last `.`, since
    /// a title may have dots.
    pub(super) fn assignment(&self) -> Result<Assignment, UsageError> {
        if let Some((target, value)) = self.value.to_str().and_then(|text| text.split_once('='))
            && let Some((node, input)) = target.rsplit_once('.')
            && let (node, input) = (node.trim(), input.trim())
            && !node.is_empty()
            && !input.is_empty()
        {
            return Ok(Assignment { node: node.into(), input: input.into(), value: value.into() });
        }
        // The value may be a secret: it is left out.
        let text = self.value.to_string_lossy();
        let target = text.split_once('=').map_or(&*text, |(target, _)| target);
        Err(FlagValue { value: target.into(), ..self.clone() }.invalid())
    }
}

/// A whole number as PowerShell reads one: `600`, ` 600 `, `0x258`, `6e2`.
fn parse_uint(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.strip_prefix('+').unwrap_or(text);
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        // from_str_radix would take a second sign.
        let is_hex = hex.chars().all(|c| c.is_ascii_hexdigit());
        return u64::from_str_radix(hex, 16).ok().filter(|_| is_hex);
    }
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let number = parse_float(text).filter(|number| number.fract() == 0.0)?;
    format!("{number:.0}").parse().ok()
}

/// A number with or without decimals, also as [`parse_uint`] reads it.
fn parse_decimal(text: &str) -> Option<f64> {
    parse_float(text.trim()).or_else(|| u32::try_from(parse_uint(text)?).ok().map(f64::from))
}

/// Same as `f64::from_str`, without infinity and NaN.
fn parse_float(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// An HTTP header, `Name: value`. The error is the end of a sentence and never has a part of the
/// text, which may be a secret.
pub(super) fn parse_header(text: &str) -> Result<(String, String), &'static str> {
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

/// A word as it may stand in an error message: control characters escaped, at most 100 characters,
/// and without the credentials of a URL.
pub(super) fn shown(word: impl AsRef<OsStr>) -> String {
    let text = url_without_credentials(&word.as_ref().to_string_lossy());
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    shortened(&text, 100).chars().map(escape).collect()
}

/// Same as [`shown`], in quotes.
pub(super) fn quoted(word: impl AsRef<OsStr>) -> String {
    format!("'{}'", shown(word))
}

#[cfg(test)]
mod tests {
    use super::super::flags::FlagId;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers() {
        let integers = [
            ("600", Some(600)),
            (" 600 ", Some(600)),
            ("+600", Some(600)),
            ("0x258", Some(600)),
            ("0X258", Some(600)),
            ("6e2", Some(600)),
            ("6.0E+2", Some(600)),
            ("18446744073709551615", Some(u64::MAX)),
            ("0xffffffffffffffff", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("0x", None),
            ("0x+5", None),
            ("1e400", None),
            ("1.5", None),
            ("-1", None),
            ("inf", None),
            ("NaN", None),
            ("6 00", None),
            ("", None),
            ("abc", None),
        ];
        for (text, number) in integers {
            assert_eq!(parse_uint(text), number, "{text}");
        }
        let decimals = [
            ("0.5", Some(0.5)),
            (".5", Some(0.5)),
            ("5e-1", Some(0.5)),
            (" 0x10 ", Some(16.0)),
            ("2", Some(2.0)),
            ("0,5", None),
            ("infinity", None),
            ("nan", None),
        ];
        for (text, number) in decimals {
            assert_eq!(parse_decimal(text), number, "{text}");
        }
    }

    fn set(text: &str) -> Result<Assignment, UsageError> {
        let (flag, label) = (FlagId::Set.flag(), "--set".to_owned());
        FlagValue { flag, name: "Set", label, value: text.into() }.assignment()
    }

    #[test]
    fn assignments() {
        let cases = [
            ("4.seed=5", ("4", "seed", "5")),
            ("My node v1.2.text=a=b.c", ("My node v1.2", "text", "a=b.c")),
            ("4.text=", ("4", "text", "")),
            ("4.text= two words ", ("4", "text", " two words ")),
        ];
        for (text, (node, input, value)) in cases {
            let expected =
                Assignment { node: node.into(), input: input.into(), value: value.into() };
            assert_eq!(set(text), Ok(expected));
        }
        for (text, place) in
            [("seed=k3y", "seed"), (".seed=5", ".seed"), ("4.=5", "4."), ("4", "4")]
        {
            let line = format!("--set takes NODE.INPUT=VALUE, not '{place}'");
            assert_eq!(set(text).map_err(|error| error.to_string()), Err(line));
        }
    }

    #[test]
    fn a_word_is_one_harmless_line() {
        let cases = [
            ("flow.json", "flow.json"),
            ("a\nb\u{1b}[1m", "a\\nb\\u{1b}[1m"),
            ("http://u:p w@host/x", "http://***@host/x"),
        ];
        for (word, line) in cases {
            assert_eq!(shown(word), line);
        }
        assert_eq!(shown("x".repeat(300)).chars().count(), 101);
    }

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
            assert_eq!(parse_header(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_written_header_reads_the_same(name in "[A-Za-z0-9-]{1,8}", value in "[!-~]([ -~]{0,8}[!-~])?") {
            prop_assert_eq!(parse_header(&format!("{name}: {value}")), Ok((name, value)));
        }

        #[test]
        fn a_written_assignment_reads_the_same(
            node in "[a-z0-9][a-z0-9. ]{0,8}[a-z0-9]", input in "[a-z_]{1,8}", value in "\\PC{0,12}"
        ) {
            let read = set(&format!("{node}.{input}={value}"));
            prop_assert_eq!(read, Ok(Assignment { node, input, value }));
        }

        #[test]
        fn every_spelling_of_a_number_reads_the_same(number in 0..=u64::from(u32::MAX)) {
            for text in [number.to_string(), format!(" {number} "), format!("{number:#x}"), format!("{number}e0")] {
                prop_assert_eq!(parse_uint(&text), Some(number), "{}", text);
            }
        }
    }
}
