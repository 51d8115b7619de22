//! A command line taken apart, and where the value of an option comes from.

use std::ffi::OsString;
use std::time::Duration;

use super::flags::{Flag, FlagId, INERT, Kind, Verb};
use super::parser::{Arg, RawFlag};
use super::values::{parse_decimal, parse_uint, quoted};
use super::{Env, UsageError};

/// A command line without contradictions, and the environment it was given in.
pub(super) struct ParsedArgs<'a> {
    pub(super) verb: Verb,
    pub(super) args: Vec<Arg>,
    pub(super) env: &'a Env<'a>,
}

/// The value of an option.
pub(super) struct FlagValue {
    pub(super) flag: &'static Flag,
    /// The option or variable that gave it, for errors.
    pub(super) label: String,
    pub(super) value: OsString,
}

impl FlagValue {
    /// The error line: what the option takes, and what it was given.
    pub(super) fn refused(&self) -> UsageError {
        let (takes, value) = (self.flag.kind.expected(), quoted(&self.value));
        UsageError(format!("{} takes {takes}, not {value}", self.label))
    }

    /// The value as `parse` reads it.
    ///
    /// # Errors
    /// What the option takes, and why this is none; never a part of the value.
    pub(super) fn parse<T>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Result<T, UsageError> {
        let parsed = self.value.to_str().ok_or("it is not Unicode").and_then(parse);
        let takes = self.flag.kind.expected();
        parsed.map_err(|why| UsageError(format!("{} takes {takes}, but {why}", self.label)))
    }
}

impl From<&RawFlag> for FlagValue {
    fn from(raw: &RawFlag) -> FlagValue {
        FlagValue { flag: raw.name.flag, label: raw.label(), value: raw.value.clone() }
    }
}

impl<'a> ParsedArgs<'a> {
    /// # Errors
    /// An option that was given twice.
    pub(super) fn new(
        verb: Verb,
        args: Vec<Arg>,
        env: &'a Env<'a>,
    ) -> Result<ParsedArgs<'a>, UsageError> {
        let args = ParsedArgs { verb, args, env };
        for (place, raw) in args.flags().enumerate() {
            let flag = raw.name.flag;
            let mut before = args.flags().take(place);
            if flag.repeatable || !before.any(|other| other.name.text == raw.name.text) {
                continue;
            }
            let label = raw.label();
            return Err(UsageError(match flag.kind {
                Kind::Switch => format!("{label} is given twice"),
                kind => format!("{label} is given twice: it takes one value, {}", kind.expected()),
            }));
        }
        Ok(args)
    }

    fn flags(&self) -> impl Iterator<Item = &RawFlag> {
        self.args.iter().filter_map(|arg| match arg {
            Arg::Flag(raw) => Some(raw),
            Arg::Word(_) | Arg::Command(_) | Arg::ShortHelp => None,
        })
    }

    /// Every time that the option was given.
    pub(super) fn all(&self, id: FlagId) -> impl Iterator<Item = &RawFlag> {
        self.flags().filter(move |raw| raw.name.flag.id == id)
    }

    /// The option as it was given; where it was given by both names, by the one that begins with
    /// `Scene`.
    pub(super) fn given(&self, id: FlagId) -> Option<&RawFlag> {
        self.all(id).max_by_key(|raw| raw.name.text.starts_with("Scene"))
    }

    /// Whether the switch is on.
    pub(super) fn on(&self, id: FlagId) -> bool {
        self.given(id).is_some_and(|raw| raw.on)
    }

    /// Whether colours are off: by the switch, else by any value of `NO_COLOR`.
    pub(super) fn no_color(&self) -> bool {
        let env = FlagId::NoColor.flag().env;
        let set = |name: &&str| (self.env.var)(name).is_some_and(|value| !value.is_empty());
        self.given(FlagId::NoColor).map_or_else(|| env.iter().any(set), |raw| raw.on)
    }

    /// The option's value: from the command line, `FastIteration`, the environment or the table.
    pub(super) fn value(&self, id: FlagId) -> FlagValue {
        let flag = id.flag();
        if let Some(raw) = self.given(id) {
            return raw.into();
        }
        let fast = flag.fast.filter(|_| self.on(FlagId::FastIteration));
        let variable = flag.env.iter().find_map(|name| Some((*name, self.variable(name)?)));
        let gates = [FlagId::MaxPeakMB, FlagId::Baseline, FlagId::MaxGrowthMB];
        let gated = flag.gated.filter(|_| gates.iter().any(|gate| self.given(*gate).is_some()));
        let monitor = flag.monitor.filter(|_| self.verb == Verb::Monitor);
        let (label, value) = match (fast, variable) {
            (Some(fast), _) => (flag.name, fast.into()),
            (None, Some((name, value))) => (name, value),
            (None, None) => (flag.name, gated.or(monitor).unwrap_or(flag.default).into()),
        };
        FlagValue { flag, label: label.to_owned(), value }
    }

    /// A variable of the environment; one without a visible character is unset.
    fn variable(&self, name: &str) -> Option<OsString> {
        (self.env.var)(name).filter(|value| !value.to_string_lossy().trim().is_empty())
    }

    /// The option's whole number.
    pub(super) fn uint(&self, id: FlagId) -> Result<u32, UsageError> {
        let value = self.value(id);
        let number = parse_uint(&value.value).and_then(|number| u32::try_from(number).ok());
        number
            .filter(|number| value.flag.kind.in_range(f64::from(*number)))
            .ok_or_else(|| value.refused())
    }

    /// The whole number of an option that has no default.
    pub(super) fn uint_if_given(&self, id: FlagId) -> Result<Option<u64>, UsageError> {
        self.given(id).map(|_| self.uint(id).map(u64::from)).transpose()
    }

    /// The option's whole seconds.
    pub(super) fn seconds(&self, id: FlagId) -> Result<Duration, UsageError> {
        self.uint(id).map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// The option's number, decimals allowed.
    pub(super) fn decimal(&self, id: FlagId) -> Result<f64, UsageError> {
        let value = self.value(id);
        parse_decimal(&value.value)
            .filter(|number| value.flag.kind.in_range(*number))
            .ok_or_else(|| value.refused())
    }

    /// The option's seconds, decimals allowed.
    pub(super) fn decimal_seconds(&self, id: FlagId) -> Result<Duration, UsageError> {
        let seconds = self.decimal(id)?;
        Duration::try_from_secs_f64(seconds).map_err(|_| self.value(id).refused())
    }

    /// What to warn the user of before anything is done.
    pub(super) fn warnings(&self) -> Vec<String> {
        let inert = self.flags().filter(|raw| raw.name.flag.group == INERT);
        let names: Vec<String> = inert.map(RawFlag::label).collect();
        match names.as_slice() {
            [] => Vec::new(),
            [name] => vec![format!("{name} is accepted, but does nothing")],
            names => vec![format!("{} are accepted, but do nothing", names.join(", "))],
        }
    }
}
