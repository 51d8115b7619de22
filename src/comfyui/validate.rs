//! Checking a graph against the server's `/object_info`.
//!
//! The checks are those of `ComfyUI`'s own validation, as far as `/object_info` holds what they need.
//! It does not tell of a node that checks an input itself (`VALIDATE_INPUTS`): that one may take
//! more, or less. Whether the types of two linked nodes agree is left to the server.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Client;
use super::prompt::not_in_list;
use super::template::has_placeholder;
use super::workflow::{Workflow, parse_integer};
use crate::http::{ErrorKind, HttpError};
use crate::sanitize::sanitize_line;
use crate::suggest::nearest;

/// What the server says of its node classes in `/object_info`, as far as it was asked.
#[derive(Debug, Default)]
pub struct ObjectInfo {
    classes: BTreeMap<String, ClassInfo>,
    /// The names of all classes, if they were fetched.
    names: Vec<String>,
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
    /// Asks the server for one class: `GET /object_info/{class}`. An answer that does not describe
    /// it is kept as the reason why its nodes are not checked.
    ///
    /// # Errors
    /// No answer.
    pub fn fetch(&mut self, client: &Client, class: &str) -> Result<(), HttpError> {
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
    pub(super) fn insert(&mut self, class: &str, mut answer: Value) {
        let info = match answer.get_mut(class).map(Value::take) {
            None => ClassInfo::Missing,
            Some(info) if info["input"].is_object() => ClassInfo::Described(info),
            Some(_) => {
                ClassInfo::Unavailable("the server's answer does not tell its inputs".into())
            }
        };
        self.classes.insert(class.to_owned(), info);
    }

    /// Asks for the names of all classes, to suggest one for a missing class: `GET /object_info`,
    /// some megabytes on a server with many nodes.
    ///
    /// # Errors
    /// No answer in time, another status than 200, or no JSON object.
    pub fn fetch_names(&mut self, client: &Client) -> Result<(), HttpError> {
        let answer = client.all_object_info()?;
        self.names =
            answer.as_object().into_iter().flatten().map(|(n, _)| sanitize_line(n)).collect();
        Ok(())
    }

    /// Whether the server lacks a class that was asked for.
    pub fn has_missing(&self) -> bool {
        self.classes.values().any(|info| matches!(info, ClassInfo::Missing))
    }

    /// Whether the server did not describe a class that was asked for.
    pub fn has_unavailable(&self) -> bool {
        self.classes.values().any(|info| matches!(info, ClassInfo::Unavailable(_)))
    }

    fn is_output(&self, class: &str) -> bool {
        matches!(self.classes.get(class), Some(ClassInfo::Described(info)) if info["output_node"] == true)
    }
}

impl Workflow {
    /// The classes of its nodes, each once.
    pub fn classes(&self) -> BTreeSet<&str> {
        self.nodes().keys().map(|id| self.class(id)).collect()
    }

    /// What the server lacks for the graph, or would refuse in it: one line a node, in the order of
    /// their numbers. As on the server, the inputs of a node that no output needs are not checked.
    pub fn validate(&self, object_info: &ObjectInfo) -> Vec<String> {
        let mut outputs = self.ids();
        outputs.retain(|id| object_info.is_output(self.class(id)));
        let mut needed = BTreeSet::new();
        for output in &outputs {
            self.add_upstream(output, &mut needed);
        }
        let mut lines = Vec::new();
        for id in self.ids() {
            let class = self.class(id);
            let problem = match object_info.classes.get(class) {
                Some(ClassInfo::Described(info)) if needed.contains(id) => {
                    let mut errors = self.input_errors(id, info);
                    errors.sort_unstable();
                    Some(errors.join(", "))
                        .filter(|errors| !errors.is_empty())
                        .map(|e| format!(" {e}"))
                }
                Some(ClassInfo::Described(_)) | None => None,
                Some(ClassInfo::Unavailable(why)) => Some(format!(": not checked: {why}")),
                Some(ClassInfo::Missing) => {
                    let near = nearest(class, object_info.names.iter().map(String::as_str));
                    let near = near.map(|near| format!(" (nearest: '{near}')")).unwrap_or_default();
                    Some(format!(
                        ": the server has no node of this class{near}: is a custom node not installed?"
                    ))
                }
            };
            lines.extend(problem.map(|why| sanitize_line(&format!("node {id} {class}{why}"))));
        }
        // A class that is not known may have been the one that saves.
        if outputs.is_empty() && lines.is_empty() {
            lines.push("no output: it has no node that saves or shows something".to_owned());
        }
        lines
    }

    /// Adds the node and all nodes that it gets its inputs from.
    fn add_upstream<'a>(&'a self, id: &'a str, found: &mut BTreeSet<&'a str>) {
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            if found.insert(id) {
                let links = self.inputs(id).filter_map(|(_, value)| value.get(0)?.as_str());
                open.extend(links.filter(|id| self.nodes().contains_key(*id)));
            }
        }
    }

    fn input_errors(&self, id: &str, info: &Value) -> Vec<String> {
        let group = |name: &str| info["input"][name].as_object().into_iter().flatten();
        let required = group("required").map(|input| (input, true));
        let optional = group("optional").map(|input| (input, false));
        let error = |((name, config), required): ((&String, &Value), bool)| {
            let why = match self.input(id, name) {
                // Inputs of a `COMFY_…` type have names of their own: `images.image0`.
                None if config[0].as_str().is_some_and(|kind| kind.starts_with("COMFY_")) => None,
                None => required.then(|| "Required input is missing".to_owned()),
                Some(Value::Array(link)) => self.link_error(link),
                Some(value) => return value_error(name, value, config),
            };
            why.map(|why| format!("{name}: {why}"))
        };
        required.chain(optional).filter_map(error).collect()
    }

    fn link_error(&self, link: &[Value]) -> Option<String> {
        let [source, _] = link else {
            return Some(
                "Bad linked input, must be a length-2 list of [node_id, slot_index]".into(),
            );
        };
        let there = source.as_str().is_some_and(|source| self.nodes().contains_key(source));
        (!there).then(|| format!("it is linked to node {source}, which is not in the graph"))
    }
}

/// What the server would say of a value that is not a link.
fn value_error(name: &str, value: &Value, config: &Value) -> Option<String> {
    // The editor wraps a list so, which would be a link otherwise.
    let value = value.get("__value__").unwrap_or(value);
    if value.as_str().is_some_and(has_placeholder) {
        return None;
    }
    match (&config[0], &config[1]) {
        (Value::Array(options), details) => list_error(name, value, options, details),
        (Value::String(kind), details) => match kind.as_str() {
            "COMBO" => list_error(name, value, details["options"].as_array()?, details),
            "INT" => number_error(name, value, to_int(value), "an INT", details),
            "FLOAT" => number_error(name, value, to_float(value), "a FLOAT", details),
            _ => None,
        },
        _ => None,
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

fn number_error(
    name: &str,
    value: &Value,
    number: Option<Value>,
    kind: &str,
    details: &Value,
) -> Option<String> {
    let Some(number) = number else {
        return Some(format!("{name}: {value} is not {kind} value"));
    };
    let (min, max) = (&details["min"], &details["max"]);
    if is_less(&number, min) {
        Some(format!("{name}: Value {number} smaller than min of {min}"))
    } else if is_less(max, &number) {
        Some(format!("{name}: Value {number} bigger than max of {max}"))
    } else {
        None
    }
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
