//! One line of nvidia-smi: `index, uuid, name, memory.total, memory.used, memory.free` in MiB.

/// More MiB than any card has (16 TiB), as in the log: such a line is broken.
const MOST: u64 = 1 << 24;

/// What a line says of a card. What the program does not know is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) index: u32,
    pub(super) uuid: Option<String>,
    pub(super) name: String,
    pub(super) total: Option<u64>,
    pub(super) used: Option<u64>,
    pub(super) free: Option<u64>,
}

impl Line {
    /// Reads a line with or without its end; `None` for a blank, torn or strange one. A name may
    /// have commas.
    pub(super) fn parse(text: &str) -> Option<Line> {
        let fields: Vec<&str> = text.split(',').map(str::trim).collect();
        let [index, uuid, name @ .., total, used, free] = fields.as_slice() else { return None };
        let line = Line {
            index: index.parse().ok()?,
            uuid: known(uuid).map(str::to_owned),
            name: name.join(", "),
            total: figure(total)?,
            used: figure(used)?,
            free: figure(free)?,
        };
        let fits =
            |part: Option<u64>| line.total.zip(part).is_none_or(|(total, part)| part <= total);
        (!line.name.is_empty() && fits(line.used) && fits(line.free)).then_some(line)
    }
}

/// A field that says something: not `[N/A]`, `[Not Supported]`, `[Unknown Error]` and the like.
fn known(field: &str) -> Option<&str> {
    let unknown = field.is_empty() || field.starts_with('[') || field.eq_ignore_ascii_case("n/a");
    (!unknown).then_some(field)
}

/// A figure or a known unknown; `None` for anything else.
#[expect(clippy::option_option, reason = "unknown is not malformed")]
fn figure(field: &str) -> Option<Option<u64>> {
    if field.is_empty() {
        return None;
    }
    let Some(field) = known(field) else { return Some(None) };
    field.parse().ok().filter(|mb| *mb <= MOST).map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(name: &str, figures: [Option<u64>; 3]) -> Line {
        let [total, used, free] = figures;
        Line { index: 0, uuid: Some("GPU-5a".into()), name: name.into(), total, used, free }
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let known = [Some(24564), Some(2240), Some(22324)];
        let cases = [
            (
                "0, GPU-5a, NVIDIA GeForce RTX 4090, 24564, 2240, 22324",
                line("NVIDIA GeForce RTX 4090", known),
            ),
            ("0,GPU-5a,NVIDIA X,24564,2240,22324\r\n", line("NVIDIA X", known)),
            ("0, GPU-5a, Quadro A, B, C, 24564, 2240, 22324\n", line("Quadro A, B, C", known)),
            ("0, GPU-5a, NVIDIA GB10, [N/A], [N/A], [N/A]", line("NVIDIA GB10", [None; 3])),
            ("0, GPU-5a, X, 4096, [Not Supported], N/A", line("X", [Some(4096), None, None])),
            ("0, GPU-5a, X, [Unknown Error], 0, 7", line("X", [None, Some(0), Some(7)])),
        ];
        for (text, wanted) in cases {
            assert_eq!(Line::parse(text), Some(wanted), "{text}");
        }
        let nameless = Line::parse("7, [N/A], X, 10, 1, 9").unwrap();
        assert_eq!((nameless.index, nameless.uuid), (7, None));
    }

    #[test]
    fn torn_and_strange_lines_are_passed_over() {
        for text in [
            "",
            "\r\n",
            "0, GPU-5a, NVIDIA X",
            "0, GPU-5a, NVIDIA X, 24564, 2240",
            "0, GPU-5a, NVIDIA X, 24564, 2240, ",
            "0, GPU-5a, A, B, 24564, 2240",
            "GPU-5a, NVIDIA X, 24564, 2240, 22324",
            "4564, 2240, 22324",
            "0, GPU-5a, NVIDIA X, 24564, 2240, 223240, GPU-5b, NVIDIA X, 24564, 9",
            "0, GPU-5a, NVIDIA X, 24564, 30000, 0",
            "0, GPU-5a, NVIDIA X, 16777217, 0, 0",
            "0, GPU-5a, NVIDIA X, 24564, -1, 0",
            "0, GPU-5a, , 24564, 2240, 22324",
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
            "No devices were found",
        ] {
            assert_eq!(Line::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_it_says_breaks_the_reader(text in "[0-9GPU\\[\\]A-z, \\r-]{0,60}|\\PC{0,40}") {
            let _ = Line::parse(&text);
        }
    }
}
