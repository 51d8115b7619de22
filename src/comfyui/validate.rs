//! Checking a graph against the server's `/object_info`.
//!
//! The checks are those of `ComfyUI`'s own validation, as far as `/object_info` holds what they need.
//! It does not tell of a node that checks an input itself (`VALIDATE_INPUTS`): that one may take
//! more, or less. Whether the types of two linked nodes agree is left to the server.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Client;
use super::prompt::not_in_list;
use super::template::has_placeholder;
use super::workflow::{Workflow, parse_integer, reachable};
use crate::http::{ErrorKind, HttpError};
use crate::sanitize::sanitize_line;
use crate::suggest::nearest;

/// Why a node is not known.
pub(super) const MISSING_CLASS: &str = "the server has no node of this class";

/// What the server says of its node classes in `/object_info`, as far as it was asked.
#[derive(Debug, Default)]
pub struct ObjectInfo {
    classes: BTreeMap<String, ClassInfo>,
    /// The names of all classes, to suggest one for a missing class.
    pub names: Vec<String>,
}

#[derive(Debug)]
enum ClassInfo {
    /// The class as the server describes it.
    Described(Value),
    /// The server has no class of this name.
    Missing,
    /// The server did not describe it: why.
    Unavailable(String),
}

impl ObjectInfo {
    /// Asks the server for one class, once: `GET /object_info/{class}`. An answer that does not
    /// describe it is kept as the reason why its nodes are not checked.
    ///
    /// # Errors
    /// No answer.
    pub fn fetch(&mut self, client: &Client, class: &str) -> Result<(), HttpError> {
        if self.classes.contains_key(class) {
            return Ok(());
        }
        match client.object_info(class) {
            Ok(answer) => self.insert(class, answer),
            Err(error) if matches!(error.kind, ErrorKind::Status(_) | ErrorKind::BadJson) => {
                self.classes.insert(class.to_owned(), ClassInfo::Unavailable(error.to_string()));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Adds what the server answered to a request for a class.
    pub fn insert(&mut self, class: &str, mut answer: Value) {
        let info = match answer.get_mut(class).map(Value::take) {
            None => ClassInfo::Missing,
            Some(info) if info["input"].is_object() => ClassInfo::Described(info),
            Some(_) => {
                ClassInfo::Unavailable("the server's answer does not tell its inputs".into())
            }
        };
        self.classes.insert(class.to_owned(), info);
    }

    /// How the server describes a class.
    ///
    /// # Errors
    /// It does not: why, [`MISSING_CLASS`] where it has no such class.
    pub(super) fn described(&self, class: &str) -> Result<&Value, &str> {
        match self.classes.get(class) {
            Some(ClassInfo::Described(info)) => Ok(info),
            Some(ClassInfo::Unavailable(why)) => Err(why),
            Some(ClassInfo::Missing) | None => Err(MISSING_CLASS),
        }
    }

    /// Whether the server lacks a class that was asked for.
    pub fn has_missing(&self) -> bool {
        self.classes.values().any(|info| matches!(info, ClassInfo::Missing))
    }

    /// Whether the server did not describe a class that was asked for.
    pub fn has_unavailable(&self) -> bool {
        self.classes.values().any(|info| matches!(info, ClassInfo::Unavailable(_)))
    }
}

/// The required inputs of a class, then the optional ones, as they stand in the JSON.
pub(super) fn declared_inputs(input: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let group = |name: &str| input[name].as_object().into_iter().flatten();
    group("required").chain(group("optional")).map(|(name, config)| (name.as_str(), config))
}

impl Workflow {
    /// What the server lacks for the graph, or would refuse in it: one line a node, in the order of
    /// their numbers. As on the server, the inputs of a node that no output needs are not checked.
    pub fn validate(&self, object_info: &ObjectInfo) -> Vec<String> {
        let is_output = |id: &&str| {
            object_info.described(self.class(id)).is_ok_and(|info| info["output_node"] == true)
        };
        let outputs = self.ids().into_iter().filter(is_output).collect();
        let links = |id| self.inputs(id).filter_map(|(_, value)| value.get(0)?.as_str()).collect();
        let needed = reachable(outputs, links);
        let line = |id: &str| {
            let error = self.node_error(id, object_info, needed.contains(id))?;
            Some(sanitize_line(&format!("node {id} {}{error}", self.class(id))))
        };
        let mut lines: Vec<String> = self.ids().into_iter().filter_map(line).collect();
        // A class that is not known may have been the one that saves.
        if needed.is_empty() && lines.is_empty() {
            lines.push("no output: it has no node that saves or shows something".to_owned());
        }
        lines
    }

    /// What follows the class of a node in the line about it.
    fn node_error(&self, id: &str, object_info: &ObjectInfo, needed: bool) -> Option<String> {
        let class = self.class(id);
        match object_info.classes.get(class)? {
            ClassInfo::Described(_) if !needed => None,
            ClassInfo::Described(info) => Some(format!(" {}", self.input_errors(id, info)?)),
            ClassInfo::Unavailable(why) => Some(format!(": not checked: {why}")),
            ClassInfo::Missing => {
                let near = nearest(class, object_info.names.iter().map(String::as_str));
                let near = near.map(|near| format!(" (nearest: '{near}')")).unwrap_or_default();
                Some(format!(": {MISSING_CLASS}{near}: is a custom node not installed?"))
            }
        }
    }

    /// The errors that the server would give for the inputs of a node.
    fn input_errors(&self, id: &str, info: &Value) -> Option<String> {
        // Its choices are inputs of its own: it accepts what it gets.
        if self.class(id) == "CustomCombo" {
            return None;
        }
        let group = |name: &str| info["input"][name].as_object().into_iter().flatten();
        let required = group("required").map(|input| (input, true));
        let optional = group("optional").map(|input| (input, false));
        let error = |((name, config), required): ((&String, &Value), bool)| {
            match self.input(id, name) {
                // Inputs of a `COMFY_…` type have names of their own: `images.image0`.
                None if config[0].as_str().is_some_and(|kind| kind.starts_with("COMFY_")) => None,
                None => required.then(|| format!("{name}: Required input is missing")),
                Some(Value::Array(link)) => self.link_error(name, link),
                Some(value) => value_error(name, value, config),
            }
        };
        let mut errors: Vec<String> = required.chain(optional).filter_map(error).collect();
        errors.sort_unstable();
        (!errors.is_empty()).then(|| errors.join(", "))
    }

    fn link_error(&self, name: &str, link: &[Value]) -> Option<String> {
        let exists = |source: &Value| source.as_str().is_some_and(|id| self.nodes.contains_key(id));
        let why = match link {
            [source, _] if exists(source) => return None,
            [source, _] => format!("it is linked to node {source}, which is not in the graph"),
            _ => "Bad linked input, must be a length-2 list of [node_id, slot_index]".to_owned(),
        };
        Some(format!("{name}: {why}"))
    }
}

/// The error that the server would give for a value that is not a link.
fn value_error(name: &str, value: &Value, config: &Value) -> Option<String> {
    // The editor wraps a list so, which would be a link otherwise.
    let value = value.get("__value__").unwrap_or(value);
    if value.as_str().is_some_and(has_placeholder) {
        return None;
    }
    let details = &config[1];
    if let Some(options) = config[0].as_array() {
        return list_error(name, value, options, details);
    }
    let (number, kind) = match config[0].as_str()? {
        "COMBO" => return list_error(name, value, details["options"].as_array()?, details),
        "INT" => (to_int(value), "an INT"),
        "FLOAT" => (to_float(value), "a FLOAT"),
        _ => return None,
    };
    let Some(number) = number else {
        return Some(format!("{name}: {value} is not {kind} value"));
    };
    let (min, max) = (&details["min"], &details["max"]);
    if is_less(&number, min) {
        Some(format!("{name}: Value {number} smaller than min of {min}"))
    } else {
        is_less(max, &number).then(|| format!("{name}: Value {number} bigger than max of {max}"))
    }
}

fn list_error(name: &str, value: &Value, options: &[Value], details: &Value) -> Option<String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    // Of a file in a subfolder, or of another folder, the server looks whether it is there.
    let mut details = details.as_object().into_iter().flatten();
    let is_file = details.any(|(key, on)| key.ends_with("_upload") && *on == true);
    let elsewhere = is_file && (text.contains(['/', '\\']) || text.ends_with(']'));
    let several = value.is_array() || value.is_object();
    let accepted = several || elsewhere || options.iter().any(|option| is_equal(option, value));
    (!accepted).then(|| not_in_list(name, &text, options))
}

/// Python's `==`: `1`, `1.0` and `True` are equal.
fn is_equal(a: &Value, b: &Value) -> bool {
    let number = |value: &Value| value.as_f64().or(value.as_bool().map(f64::from));
    a == b || number(a).is_some_and(|a| number(b) == Some(a))
}

/// Python's `int()`.
fn to_int(value: &Value) -> Option<Value> {
    match value {
        Value::Number(number) if number.is_f64() => {
            #[allow(clippy::cast_possible_truncation)] // an extreme float stays extreme
            number.as_f64().map(|float| Value::from(float.trunc() as i64))
        }
        Value::Number(_) => Some(value.clone()),
        Value::Bool(on) => Some(u8::from(*on).into()),
        Value::String(text) => parse_integer(text),
        _ => None,
    }
}

/// Python's `float()`.
fn to_float(value: &Value) -> Option<Value> {
    match value {
        Value::Number(_) => Some(value.clone()),
        Value::Bool(on) => Some(f64::from(*on).into()),
        Value::String(text) => text.trim().parse::<f64>().ok().map(Value::from),
        _ => None,
    }
}

/// Whether both are numbers and `a` is less; integers are compared exactly, whatever their size.
fn is_less(a: &Value, b: &Value) -> bool {
    let integer = |value: &Value| value.as_i64().map(i128::from).or(value.as_u64().map(i128::from));
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a < b,
        _ => a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a < b),
    }
}

#[cfg(test)]
mod tests;
