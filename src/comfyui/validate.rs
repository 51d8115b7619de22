//! What the server says of its node classes, and what a graph asks for that it lacks.
//!
//! The checks are those of `ComfyUI`'s own validation, as far as `/object_info` tells what they go
//! by. It does not tell of a node that checks an input itself (`VALIDATE_INPUTS`): that one may take
//! more, or less. Whether the types of two linked nodes agree is left to the server.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Client;
use super::answers::not_in_list;
use super::client::percent;
use super::template::is_placeholder;
use super::workflow::Workflow;
use crate::http::{ErrorKind, HttpError};
use crate::sanitize::sanitize_line;
use crate::suggest::nearest;

/// What is known of the server's node classes.
#[derive(Debug, Default)]
pub struct Classes {
    known: BTreeMap<String, Known>,
    names: Vec<String>,
}

#[derive(Debug)]
enum Known {
    /// As the server describes it.
    Class(Value),
    /// There is none of this name.
    Missing,
    /// The server did not say: why.
    Untold(String),
}

impl Classes {
    /// Asks the server for one class: `GET /object_info/{class}`. A status or an answer that tells
    /// nothing of it is kept as the reason why its nodes are not checked.
    ///
    /// # Errors
    /// No answer.
    pub fn ask(&mut self, client: &Client, class: &str) -> Result<(), HttpError> {
        let path = format!("/object_info/{}", percent(class));
        match client.get(&path) {
            Ok(answer) => self.take(class, answer),
            Err(error) if matches!(error.fault, ErrorKind::Status(_) | ErrorKind::BadJson) => {
                self.known.insert(class.to_owned(), Known::Untold(error.to_string()));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// What was answered of a class.
    pub(super) fn take(&mut self, class: &str, mut answer: Value) {
        let known = match answer.get_mut(class).map(Value::take) {
            None => Known::Missing,
            Some(told) if told["input"].is_object() => Known::Class(told),
            Some(_) => Known::Untold("the server's answer does not tell its inputs".into()),
        };
        self.known.insert(class.to_owned(), known);
    }

    /// Whether a class was asked for that the server does not have.
    pub fn are_missing(&self) -> bool {
        self.known.values().any(|known| matches!(known, Known::Missing))
    }

    /// Whether the server did not describe a class that was asked for.
    pub fn are_untold(&self) -> bool {
        self.known.values().any(|known| matches!(known, Known::Untold(_)))
    }

    /// Asks for the names of all classes, to name the nearest of one that is missing:
    /// `GET /object_info`, some megabytes on a server with many nodes.
    ///
    /// # Errors
    /// No answer in time, another status than 200, or no JSON object.
    pub fn ask_names(&mut self, client: &Client) -> Result<(), HttpError> {
        let answer = client.get("/object_info")?;
        self.names =
            answer.as_object().into_iter().flatten().map(|(name, _)| sanitize_line(name)).collect();
        Ok(())
    }

    fn class(&self, name: &str) -> Option<&Value> {
        match self.known.get(name) {
            Some(Known::Class(told)) => Some(told),
            _ => None,
        }
    }

    /// Why nothing more can be said of a node of this class.
    fn trouble(&self, class: &str) -> Option<String> {
        match self.known.get(class)? {
            Known::Class(_) => None,
            Known::Untold(why) => Some(format!("not checked: {why}")),
            Known::Missing => {
                let near = nearest(class, self.names.iter().map(String::as_str));
                let near = near.map(|near| format!(" (nearest: '{near}')")).unwrap_or_default();
                Some(format!(
                    "the server has no node of this class{near}: is a custom node not installed?"
                ))
            }
        }
    }
}

impl Workflow {
    /// The classes of its nodes, each once.
    pub fn classes(&self) -> BTreeSet<&str> {
        let mut classes = BTreeSet::new();
        classes.extend(self.nodes().keys().map(|id| self.class(id)));
        classes
    }

    /// What the graph asks for and the server lacks, or would refuse: one line a node, in the order
    /// of their numbers. As on the server, a node that no output needs has only to be known.
    pub fn validate(&self, classes: &Classes) -> Vec<String> {
        let mut lines = Vec::new();
        let outputs: Vec<&str> = self
            .ids()
            .into_iter()
            .filter(|id| classes.class(self.class(id)).is_some_and(|c| c["output_node"] == true))
            .collect();
        let mut needed = BTreeSet::new();
        for output in &outputs {
            self.gather(output, &mut needed);
        }
        for id in self.ids() {
            let class = self.class(id);
            if let Some(trouble) = classes.trouble(class) {
                lines.push(sanitize_line(&format!("node {id} {class}: {trouble}")));
            } else if let Some(told) = classes.class(class).filter(|_| needed.contains(id)) {
                let mut wrong = self.wrong_inputs(id, told);
                wrong.sort_unstable();
                if !wrong.is_empty() {
                    lines.push(sanitize_line(&format!("node {id} {class} {}", wrong.join(", "))));
                }
            }
        }
        // A class that is not known may have been the one that saves.
        if outputs.is_empty() && lines.is_empty() {
            lines.push("no output: it has no node that saves or shows something".to_owned());
        }
        lines
    }

    /// The node and all above it.
    fn gather<'a>(&'a self, id: &'a str, found: &mut BTreeSet<&'a str>) {
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            if found.insert(id) {
                let links = self.inputs(id).filter_map(|(_, value)| value.get(0)?.as_str());
                open.extend(links.filter(|id| self.nodes().contains_key(*id)));
            }
        }
    }

    fn wrong_inputs(&self, id: &str, told: &Value) -> Vec<String> {
        let group = |name: &str| told["input"][name].as_object().into_iter().flatten();
        let required = group("required").map(|input| (input, true));
        let optional = group("optional").map(|input| (input, false));
        let wrong = |((name, config), required): ((&String, &Value), bool)| {
            let why = match self.input(id, name) {
                // Inputs of such a type have names of their own: `images.image0`.
                None if required && !is_dynamic(config) => Some("Required input is missing".into()),
                None => None,
                Some(Value::Array(link)) => self.broken_link(link),
                Some(value) => return refused(name, value, config),
            };
            why.map(|why| format!("{name}: {why}"))
        };
        required.chain(optional).filter_map(wrong).collect()
    }

    fn broken_link(&self, link: &[Value]) -> Option<String> {
        let [source, _] = link else {
            return Some(
                "Bad linked input, must be a length-2 list of [node_id, slot_index]".into(),
            );
        };
        let there = source.as_str().is_some_and(|source| self.nodes().contains_key(source));
        (!there).then(|| format!("it is linked to node {source}, which is not in the graph"))
    }
}

fn is_dynamic(config: &Value) -> bool {
    config[0].as_str().is_some_and(|kind| kind.starts_with("COMFY_"))
}

/// What is wrong with a value that is no link.
fn refused(name: &str, value: &Value, config: &Value) -> Option<String> {
    // The editor wraps a list so, which would be a link otherwise.
    let value = value.get("__value__").unwrap_or(value);
    if value.as_str().is_some_and(is_placeholder) {
        return None;
    }
    let none = Map::new();
    let facts = config[1].as_object().unwrap_or(&none);
    let list = match &config[0] {
        Value::Array(list) => Some(list),
        Value::String(kind) if kind == "COMBO" => facts.get("options").and_then(Value::as_array),
        _ => None,
    };
    if let Some(list) = list {
        let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        // Of a file in a folder below, or of another folder, the server looks whether it is there.
        let is_file = facts.iter().any(|(key, on)| key.ends_with("_upload") && *on == true);
        let elsewhere = is_file && (plain.contains(['/', '\\']) || plain.ends_with(']'));
        let several = value.is_array() || value.is_object();
        let taken = several || elsewhere || list.iter().any(|option| same(option, value));
        return (!taken).then(|| not_in_list(name, &plain, list));
    }
    let number = match config[0].as_str() {
        Some("INT") => whole(value),
        Some("FLOAT") => decimal(value),
        _ => return None,
    };
    let Some(number) = number else {
        let kind = if config[0] == "INT" { "an INT" } else { "a FLOAT" };
        return Some(format!("{name}: {value} is not {kind} value"));
    };
    let bound = |key: &str| facts.get(key).filter(|bound| bound.is_number());
    if let Some(min) = bound("min").filter(|min| is_less(&number, min)) {
        return Some(format!("{name}: Value {number} smaller than min of {min}"));
    }
    let max = bound("max").filter(|max| is_less(max, &number))?;
    Some(format!("{name}: Value {number} bigger than max of {max}"))
}

/// Equality as Python has it: `1`, `1.0` and `True` are one.
fn same(a: &Value, b: &Value) -> bool {
    let number = |value: &Value| value.as_f64().or(value.as_bool().map(f64::from));
    a == b || number(a).is_some_and(|a| number(b) == Some(a))
}

/// Python's `int()`.
fn whole(value: &Value) -> Option<Value> {
    match value {
        Value::Number(number) if number.is_f64() => {
            #[allow(clippy::cast_possible_truncation)] // an extreme float stays extreme
            number.as_f64().map(|float| Value::from(float.trunc() as i64))
        }
        Value::Number(_) => Some(value.clone()),
        Value::Bool(on) => Some(u8::from(*on).into()),
        Value::String(text) => {
            let text = text.trim();
            let unsigned = || text.parse::<u64>().map(Value::from);
            text.parse::<i64>().map(Value::from).or_else(|_| unsigned()).ok()
        }
        _ => None,
    }
}

/// Python's `float()`.
fn decimal(value: &Value) -> Option<Value> {
    match value {
        Value::Number(_) => Some(value.clone()),
        Value::Bool(on) => Some(f64::from(*on).into()),
        Value::String(text) => text.trim().parse::<f64>().ok().map(Value::from),
        _ => None,
    }
}

/// Whole numbers exactly, whatever their size.
fn is_less(a: &Value, b: &Value) -> bool {
    let whole = |value: &Value| value.as_i64().map(i128::from).or(value.as_u64().map(i128::from));
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => a < b,
        _ => a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a < b),
    }
}

#[cfg(test)]
mod tests;
