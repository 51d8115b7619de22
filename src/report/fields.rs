//! A JSON document read key by key, every miss named.

use serde_json::Value;
use time::OffsetDateTime;

use super::record::Outcome;
use crate::clock::from_iso;

/// The fields of one object of the document, by names that an error can tell.
pub(super) struct Fields<'a> {
    path: String,
    pub(super) value: &'a Value,
}

impl<'a> Fields<'a> {
    /// The fields of the document itself.
    pub(super) fn of(value: &'a Value) -> Self {
        Fields { path: String::new(), value }
    }

    pub(super) fn at(&self, key: &str) -> Fields<'a> {
        Fields { path: format!("{}{key}.", self.path), value: &self.value[key] }
    }

    pub(super) fn wrong(&self, key: &str) -> String {
        format!("{}{key} is missing or not what it should be", self.path)
    }

    pub(super) fn maybe_text(&self, key: &str) -> Option<String> {
        self.value[key].as_str().map(crate::sanitize::sanitize_line)
    }

    pub(super) fn text(&self, key: &str) -> Result<String, String> {
        self.maybe_text(key).ok_or_else(|| self.wrong(key))
    }

    pub(super) fn number(&self, key: &str) -> Result<u64, String> {
        self.value[key].as_u64().ok_or_else(|| self.wrong(key))
    }

    pub(super) fn small(&self, key: &str) -> Result<u32, String> {
        self.number(key)?.try_into().map_err(|_| self.wrong(key))
    }

    pub(super) fn decimal(&self, key: &str) -> Result<f64, String> {
        self.value[key].as_f64().ok_or_else(|| self.wrong(key))
    }

    pub(super) fn time(&self, key: &str) -> Result<OffsetDateTime, String> {
        from_iso(&self.text(key)?).ok_or_else(|| self.wrong(key))
    }

    pub(super) fn outcome(&self) -> Result<Outcome, String> {
        Outcome::from_name(&self.text("Outcome")?).ok_or_else(|| self.wrong("Outcome"))
    }

    pub(super) fn each<T>(
        &self,
        key: &str,
        read: impl Fn(Fields<'a>) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let items = self.value[key].as_array().ok_or_else(|| self.wrong(key))?;
        let fields =
            |(index, value)| Fields { path: format!("{}{key}[{index}].", self.path), value };
        items.iter().enumerate().map(fields).map(read).collect()
    }

    pub(super) fn texts(&self, key: &str) -> Result<Vec<String>, String> {
        self.each(key, |item| {
            item.value.as_str().map(crate::sanitize::sanitize_line).ok_or_else(|| self.wrong(key))
        })
    }
}
