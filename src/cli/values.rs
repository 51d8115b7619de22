//! Numbers, seeds, scene ids and assignments.

use std::ffi::OsStr;

use super::args::Setting;
use super::quote::quoted;
use super::row::Id;
use super::{Assignment, CardId, Seed, UsageError, VramSource};

/// A whole number as PowerShell reads one: `600`, ` 600 `, `0x258`, `6e2`.
pub(super) fn whole(text: &OsStr) -> Option<u64> {
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
    let number = floating(text).filter(|number| number.fract() == 0.0)?;
    format!("{number:.0}").parse().ok()
}

/// A number with or without decimals, in any spelling of [`whole`] too.
pub(super) fn decimal(text: &OsStr) -> Option<f64> {
    let number = text.to_str().map(str::trim).and_then(floating);
    number.or_else(|| whole(text).and_then(|number| u32::try_from(number).ok()).map(f64::from))
}

/// Rust's own reading, less its words for infinity and no number.
fn floating(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// What goes into a scene's seeds.
pub(super) fn seed(setting: &Setting) -> Result<Seed, UsageError> {
    match setting.value.to_string_lossy().trim().to_lowercase().as_str() {
        "keep" => Ok(Seed::Keep),
        "random" => Ok(Seed::Random),
        _ => whole(&setting.value).map(Seed::Fixed).ok_or_else(|| setting.refused(Id::Seed.row())),
    }
}

/// Who gives the readings.
pub(super) fn vram_source(setting: &Setting) -> Result<VramSource, UsageError> {
    match setting.value.to_string_lossy().trim().to_lowercase().as_str() {
        "auto" => Ok(VramSource::Auto),
        "comfyui" => Ok(VramSource::ComfyUi),
        "nvidia-smi" => Ok(VramSource::NvidiaSmi),
        _ => Err(setting.refused(Id::VramSource.row())),
    }
}

/// A card as nvidia-smi names it.
pub(super) fn card(setting: &Setting) -> Result<CardId, UsageError> {
    if let Some(index) = whole(&setting.value).and_then(|index| u32::try_from(index).ok()) {
        return Ok(CardId::Index(index));
    }
    let text = setting.value.to_string_lossy().trim().to_owned();
    let is_uuid = text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("GPU-"))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if is_uuid { Ok(CardId::Uuid(text)) } else { Err(setting.refused(Id::NvidiaSmiGpu.row())) }
}

/// Scene ids with commas between them.
pub(super) fn scene_filter(setting: &Setting) -> Result<Vec<String>, UsageError> {
    let refused = || setting.refused(Id::SceneFilter.row());
    let text = setting.value.to_str().ok_or_else(refused)?;
    let ids = text.split(',').map(str::trim).filter(|id| !id.is_empty());
    let ids: Vec<String> = ids.map(str::to_owned).collect();
    if ids.is_empty() { Err(refused()) } else { Ok(ids) }
}

/// `NODE.INPUT=VALUE`: cut at the first `=`, and what stands before that at its last `.`, since a
/// title may have dots.
pub(super) fn assignment(setting: &Setting) -> Result<Assignment, UsageError> {
    let text = setting.value.to_str();
    let cut = text.and_then(|text| text.split_once('=')).and_then(|(place, value)| {
        let (node, input) = place.rsplit_once('.')?;
        Some((node.trim(), input.trim(), value))
    });
    match cut {
        Some((node, input, value)) if !node.is_empty() && !input.is_empty() => {
            Ok(Assignment { node: node.into(), input: input.into(), value: value.into() })
        }
        _ => {
            // The value may be a key: it is nobody's business.
            let text = setting.value.to_string_lossy();
            let place = text.split_once('=').map_or(&*text, |(place, _)| place);
            let label = &setting.label;
            Err(UsageError(format!("{label} takes NODE.INPUT=VALUE, not {}", quoted(place))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            assert_eq!(whole(OsStr::new(text)), number, "{text}");
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
            assert_eq!(decimal(OsStr::new(text)), number, "{text}");
        }
    }

    fn set(text: &str) -> Result<Assignment, UsageError> {
        assignment(&Setting { label: "--set".into(), value: text.into() })
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
                prop_assert_eq!(whole(OsStr::new(&text)), Some(number), "{}", text);
            }
        }
    }
}
