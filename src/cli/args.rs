//! A command line taken apart, and where the value of an option comes from.

use std::collections::HashSet;
use std::ffi::OsString;
use std::time::Duration;

use super::flags::{FlagId, INERT, Kind, Verb};
use super::names::{FlagName, Style};
use super::parser::{Arg, FlagValue};
use super::values::{parse_decimal, parse_uint};
use super::{Env, UsageError};

/// A command line without contradictions, and the environment it was given in.
pub(super) struct ParsedArgs<'a> {
    pub(super) verb: Verb,
    pub(super) args: Vec<Arg>,
    pub(super) env: &'a Env<'a>,
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
        let mut seen = HashSet::new();
        let is_twice =
            |given: &&FlagValue| !given.name.flag.repeatable && !seen.insert(given.name.text);
        let Some(FlagValue { label, name, .. }) = args.flags().find(is_twice) else {
            return Ok(args);
        };
        Err(UsageError(match name.flag.kind {
            Kind::Switch => format!("{label} is given twice"),
            kind => format!("{label} is given twice: it takes one value, {}", kind.expected()),
        }))
    }

    fn flags(&self) -> impl Iterator<Item = &FlagValue> {
        self.args
            .iter()
            .filter_map(|arg| if let Arg::Flag(given) = arg { Some(given) } else { None })
    }

    /// The bare words.
    pub(super) fn words(&self) -> impl Iterator<Item = &OsString> {
        self.args.iter().filter_map(|arg| if let Arg::Word(word) = arg { Some(word) } else { None })
    }

    /// Every time that the option was given.
    pub(super) fn all(&self, id: FlagId) -> impl Iterator<Item = &FlagValue> {
        self.flags().filter(move |given| given.name.flag.id == id)
    }

    /// The option as it was given; where it was given by both names, by the one that begins with
    /// `Scene`.
    pub(super) fn given(&self, id: FlagId) -> Option<&FlagValue> {
        self.all(id).max_by_key(|given| given.name.text.starts_with("Scene"))
    }

    /// What `read` makes of the option, if it was given.
    pub(super) fn optional<T>(
        &self,
        id: FlagId,
        read: impl FnOnce(&FlagValue) -> Result<T, UsageError>,
    ) -> Result<Option<T>, UsageError> {
        self.given(id).map(read).transpose()
    }

    /// Whether the switch is on.
    pub(super) fn on(&self, id: FlagId) -> bool {
        self.given(id).is_some_and(|given| given.on)
    }

    /// Whether colours are off: by the switch, else by any value of `NO_COLOR`.
    pub(super) fn no_color(&self) -> bool {
        let env = FlagId::NoColor.flag().env;
        let set = |name: &&str| (self.env.var)(name).is_some_and(|value| !value.is_empty());
        self.given(FlagId::NoColor).map_or_else(|| env.iter().any(set), |given| given.on)
    }

    /// The option's value: from the command line, `FastIteration`, the environment or the table.
    pub(super) fn value(&self, id: FlagId) -> FlagValue {
        if let Some(given) = self.given(id) {
            return given.clone();
        }
        let flag = id.flag();
        let fast = flag.fast.filter(|_| self.on(FlagId::FastIteration));
        let variable = || flag.env.iter().find_map(|name| Some((*name, self.variable(name)?)));
        let gates = [FlagId::MaxPeakMB, FlagId::Baseline, FlagId::MaxGrowthMB];
        let gated = flag.gated.filter(|_| gates.iter().any(|gate| self.given(*gate).is_some()));
        let monitor = flag.monitor.filter(|_| self.verb == Verb::Monitor);
        let (label, value) = fast
            .map(|fast| (flag.name, fast.into()))
            .or_else(variable)
            .unwrap_or_else(|| (flag.name, gated.or(monitor).unwrap_or(flag.default).into()));
        let name = FlagName { flag, text: flag.name };
        FlagValue { name, style: Style::Gnu, label: label.to_owned(), on: true, value }
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
            .filter(|number| value.name.flag.kind.in_range(f64::from(*number)))
            .ok_or_else(|| value.refused())
    }

    /// The option's whole seconds.
    pub(super) fn seconds(&self, id: FlagId) -> Result<Duration, UsageError> {
        self.uint(id).map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// The option's number, decimals allowed.
    pub(super) fn decimal(&self, id: FlagId) -> Result<f64, UsageError> {
        let value = self.value(id);
        parse_decimal(&value.value)
            .filter(|number| value.name.flag.kind.in_range(*number))
            .ok_or_else(|| value.refused())
    }

    /// The option's seconds, decimals allowed.
    pub(super) fn decimal_seconds(&self, id: FlagId) -> Result<Duration, UsageError> {
        let seconds = self.decimal(id)?;
        Duration::try_from_secs_f64(seconds).map_err(|_| self.value(id).refused())
    }

    /// What to warn the user of before anything is done.
    pub(super) fn warnings(&self) -> Vec<String> {
        let inert = self.flags().filter(|given| given.name.flag.group == INERT);
        let names: Vec<&str> = inert.map(|given| given.label.as_str()).collect();
        match names.as_slice() {
            [] => Vec::new(),
            [name] => vec![format!("{name} is accepted, but does nothing")],
            names => vec![format!("{} are accepted, but do nothing", names.join(", "))],
        }
    }
}
