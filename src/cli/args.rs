//! A command line taken apart, and where the value of an option comes from.

use std::ffi::OsString;
use std::time::Duration;

use super::parser::{Item, RawFlag};
use super::quote::quoted;
use super::row::{Flag, Group, Id, Kind, Verb};
use super::{Env, UsageError, values};

/// A command line without contradictions, and the env it was given in.
pub(super) struct ParsedArgs<'a> {
    pub(super) verb: Verb,
    pub(super) items: Vec<Item>,
    pub(super) env: &'a Env<'a>,
}

/// The value that an option has, and the option or variable to name if it is bad.
pub(super) struct Setting {
    pub(super) label: String,
    pub(super) value: OsString,
}

impl Setting {
    /// The error line: what the option takes, and what it was given.
    pub(super) fn refused(&self, row: &Flag) -> UsageError {
        UsageError(format!(
            "{} takes {}, not {}",
            self.label,
            row.kind.takes(),
            quoted(&self.value)
        ))
    }
}

impl From<&RawFlag> for Setting {
    fn from(given: &RawFlag) -> Setting {
        Setting { label: given.label(), value: given.value.clone() }
    }
}

impl<'a> ParsedArgs<'a> {
    /// # Errors
    /// An option that was given twice.
    pub(super) fn new(
        verb: Verb,
        items: Vec<Item>,
        env: &'a Env<'a>,
    ) -> Result<ParsedArgs<'a>, UsageError> {
        let line = ParsedArgs { verb, items, env };
        for (place, given) in line.options().enumerate() {
            let row = given.name.row;
            let before = line.options().take(place);
            if row.repeatable || !before.into_iter().any(|b| b.name.text == given.name.text) {
                continue;
            }
            let label = given.label();
            return Err(UsageError(match row.kind {
                Kind::Switch => format!("{label} is given twice"),
                kind => format!("{label} is given twice: it takes one value, {}", kind.takes()),
            }));
        }
        Ok(line)
    }

    fn options(&self) -> impl Iterator<Item = &RawFlag> {
        self.items.iter().filter_map(|item| match item {
            Item::Option(given) => Some(given),
            Item::Word(_) | Item::Command(_) | Item::ShortHelp => None,
        })
    }

    /// Every time that the option was given.
    pub(super) fn all(&self, id: Id) -> impl Iterator<Item = &RawFlag> {
        self.options().filter(move |given| given.name.row.id == id)
    }

    /// The option as it was given; where it was given by both names, by the one that begins with
    /// `Scene`.
    pub(super) fn given(&self, id: Id) -> Option<&RawFlag> {
        self.all(id).max_by_key(|given| given.name.text.starts_with("Scene"))
    }

    /// Whether the switch is on.
    pub(super) fn on(&self, id: Id) -> bool {
        self.given(id).is_some_and(|given| given.on)
    }

    /// Whether nobody wants colours: by the switch, else by any value of `NO_COLOR`.
    pub(super) fn no_color(&self) -> bool {
        let row = Id::NoColor.row();
        let set = |name: &&str| (self.env.var)(name).is_some_and(|value| !value.is_empty());
        self.given(row.id).map_or_else(|| row.env.iter().any(set), |given| given.on)
    }

    /// The option's value: from the command line, `FastIteration`, the environment or the table.
    pub(super) fn setting(&self, id: Id) -> Setting {
        let row = id.row();
        if let Some(given) = self.given(id) {
            return given.into();
        }
        let fast = row.fast.filter(|_| self.on(Id::FastIteration));
        let variable = row.env.iter().find_map(|name| Some((*name, self.variable(name)?)));
        let gates = [Id::MaxPeakMB, Id::Baseline, Id::MaxGrowthMB];
        let gated = row.gated.filter(|_| gates.iter().any(|gate| self.given(*gate).is_some()));
        let (label, value) = match (fast, variable) {
            (Some(fast), _) => (row.name, fast.into()),
            (None, Some((name, value))) => (name, value),
            (None, None) => (row.name, gated.unwrap_or(self.default(row)).into()),
        };
        Setting { label: label.to_owned(), value }
    }

    fn default(&self, row: &Flag) -> &'static str {
        row.monitor.filter(|_| self.verb == Verb::Monitor).unwrap_or(row.default)
    }

    /// A variable of the environment; one without a visible character is unset.
    fn variable(&self, name: &str) -> Option<OsString> {
        (self.env.var)(name).filter(|value| !value.to_string_lossy().trim().is_empty())
    }

    /// The option's whole number.
    pub(super) fn whole(&self, id: Id) -> Result<u32, UsageError> {
        let setting = self.setting(id);
        let number = values::whole(&setting.value).and_then(|number| u32::try_from(number).ok());
        number
            .filter(|number| id.row().kind.holds(f64::from(*number)))
            .ok_or_else(|| setting.refused(id.row()))
    }

    /// The same of an option that has no default.
    pub(super) fn whole_if_given(&self, id: Id) -> Result<Option<u64>, UsageError> {
        self.given(id).map(|_| self.whole(id).map(u64::from)).transpose()
    }

    /// The option's whole seconds.
    pub(super) fn seconds(&self, id: Id) -> Result<Duration, UsageError> {
        self.whole(id).map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// The option's number, decimals allowed.
    pub(super) fn decimal(&self, id: Id) -> Result<f64, UsageError> {
        let setting = self.setting(id);
        values::decimal(&setting.value)
            .filter(|number| id.row().kind.holds(*number))
            .ok_or_else(|| setting.refused(id.row()))
    }

    /// The option's seconds, decimals allowed.
    pub(super) fn decimal_seconds(&self, id: Id) -> Result<Duration, UsageError> {
        let seconds = self.decimal(id)?;
        Duration::try_from_secs_f64(seconds).map_err(|_| self.setting(id).refused(id.row()))
    }

    /// What to tell the user before anything is done.
    pub(super) fn warnings(&self) -> Vec<String> {
        let inert = self.options().filter(|given| given.name.row.group == Group::Inert);
        let names: Vec<String> = inert.map(RawFlag::label).collect();
        match names.as_slice() {
            [] => Vec::new(),
            [name] => vec![format!("{name} is accepted, but does nothing")],
            names => vec![format!("{} are accepted, but do nothing", names.join(", "))],
        }
    }
}
