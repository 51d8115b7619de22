//! The values of options: numbers, seeds, scene ids, assignments; and words in error lines.

use std::ffi::OsStr;

use super::parser::FlagValue;
use super::{Assignment, CardId, Seed, UsageError, VramSource};
use crate::sanitize::{shortened, url_without_credentials};

/// More of a word than this does not help to recognise it.
const SHOWN: usize = 100;

/// A word as it may stand in one line of output: control characters escaped, at most 100
/// characters, and without the credentials of a URL.
pub(super) fn shown(word: impl AsRef<OsStr>) -> String {
    let text = url_without_credentials(&word.as_ref().to_string_lossy());
    let visible =
        |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    shortened(&text, SHOWN).chars().map(visible).collect()
}

/// The same in quotes.
pub(super) fn quoted(word: impl AsRef<OsStr>) -> String {
    format!("'{}'", shown(word))
}

/// Whether a word is a URL, or an address with credentials, rather than a path.
pub(super) fn is_url(word: &OsStr) -> bool {
    let text = word.to_string_lossy();
    text.contains("://") || url_without_credentials(&text) != text
}

/// A whole number as PowerShell reads one: `600`, ` 600 `, `0x258`, `6e2`.
pub(super) fn parse_uint(text: &OsStr) -> Option<u64> {
    let text = text.to_str()?.trim();
    let digits = text.strip_prefix('+').unwrap_or(text);
    let radix = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    if let Some(digits) = radix {
        // from_str_radix would take a second sign.
        let hex = digits.chars().all(|c| c.is_ascii_hexdigit());
        return u64::from_str_radix(digits, 16).ok().filter(|_| hex);
    }
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let number = parse_finite(text).filter(|number| number.fract() == 0.0)?;
    format!("{number:.0}").parse().ok()
}

/// A number with or without decimals, in any spelling of [`parse_uint`] too.
pub(super) fn parse_decimal(text: &OsStr) -> Option<f64> {
    let number = text.to_str().map(str::trim).and_then(parse_finite);
    number.or_else(|| parse_uint(text).and_then(|number| u32::try_from(number).ok()).map(f64::from))
}

fn parse_finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// The value without space around it and in small letters, for fixed words.
fn word(value: &FlagValue) -> String {
    value.value.to_string_lossy().trim().to_lowercase()
}

pub(super) fn seed(value: &FlagValue) -> Result<Seed, UsageError> {
    match word(value).as_str() {
        "keep" => Ok(Seed::Keep),
        "random" => Ok(Seed::Random),
        _ => parse_uint(&value.value).map(Seed::Fixed).ok_or_else(|| value.refused()),
    }
}

pub(super) fn vram_source(value: &FlagValue) -> Result<VramSource, UsageError> {
    match word(value).as_str() {
        "auto" => Ok(VramSource::Auto),
        "comfyui" => Ok(VramSource::ComfyUi),
        "nvidia-smi" => Ok(VramSource::NvidiaSmi),
        _ => Err(value.refused()),
    }
}

/// A card as nvidia-smi names it.
pub(super) fn card(value: &FlagValue) -> Result<CardId, UsageError> {
    if let Some(index) = parse_uint(&value.value).and_then(|index| u32::try_from(index).ok()) {
        return Ok(CardId::Index(index));
    }
    let text = value.value.to_string_lossy().trim().to_owned();
    let is_uuid = text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("GPU-"))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if is_uuid { Ok(CardId::Uuid(text)) } else { Err(value.refused()) }
}

/// Scene ids with commas between them.
pub(super) fn scene_filter(value: &FlagValue) -> Result<Vec<String>, UsageError> {
    let text = value.value.to_str().ok_or_else(|| value.refused())?;
    let ids = text.split(',').map(str::trim).filter(|id| !id.is_empty());
    let ids: Vec<String> = ids.map(str::to_owned).collect();
    if ids.is_empty() { Err(value.refused()) } else { Ok(ids) }
}

/// `NODE.INPUT=VALUE`: split at the first `=`, and what stands before that at its last `.`, since a
/// title may have dots.
pub(super) fn assignment(value: &FlagValue) -> Result<Assignment, UsageError> {
    let parse = |text: &str| {
        let (name, value) = text.split_once('=')?;
        let (node, input) = name.rsplit_once('.')?;
        let (node, input) = (node.trim().to_owned(), input.trim().to_owned());
        let is_complete = !node.is_empty() && !input.is_empty();
        is_complete.then(|| Assignment { node, input, value: value.to_owned() })
    };
    value.value.to_str().and_then(parse).ok_or_else(|| {
        // What follows the `=` may be a key: it is not shown.
        let text = value.value.to_string_lossy();
        let name = text.split('=').next().unwrap_or_default();
        UsageError(format!("{} takes NODE.INPUT=VALUE, not {}", value.label, quoted(name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags::Verb;
    use crate::cli::names::{self, Style};
    use proptest::prelude::*;

    #[test]
    fn numbers() {
        let whole_numbers = [
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
        for (text, number) in whole_numbers {
            assert_eq!(parse_uint(OsStr::new(text)), number, "{text}");
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
            assert_eq!(parse_decimal(OsStr::new(text)), number, "{text}");
        }
    }

    fn set(text: &str) -> Result<Assignment, UsageError> {
        let name = names::gnu("set", Verb::Run)?;
        assignment(&FlagValue::new(name, Style::Gnu, Some(text.into()))?)
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

    proptest! {
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
                prop_assert_eq!(parse_uint(OsStr::new(&text)), Some(number), "{}", text);
            }
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
        assert_eq!(shown("x".repeat(300)).chars().count(), SHOWN + 1);
    }
}
