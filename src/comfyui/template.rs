//! Where a story's texts go in a template: its placeholders first, else by the graph.

use std::collections::BTreeSet;

use serde_json::Value;

use super::workflow::{Workflow, is_link};
use crate::sanitize::sanitize_line;

const PROMPT: &str = "__PROMPT__";
const NEGATIVE: &str = "__NEGATIVE_PROMPT__";
const KEYFRAME: &str = "__KEYFRAME_IMAGE__";
const SCENE_ID: &str = "__SCENE_ID__";
const PREFIX: &str = "__SCENE_PREFIX__";
const SEED: &str = "__SEED__";

/// Whether a text waits for what only a story, a seed or an upload can give.
pub(super) fn is_placeholder(text: &str) -> bool {
    [PROMPT, NEGATIVE, KEYFRAME, SCENE_ID, PREFIX, SEED].iter().any(|name| text.contains(name))
}

/// What a scene of a story puts into its template.
#[derive(Clone, Copy, Debug)]
pub struct ScenePrompts<'a> {
    /// The scene's id; its files are asked for under `video/<id>`.
    pub scene: &'a str,
    /// The positive prompt.
    pub prompt: &'a str,
    /// The negative one; empty is none.
    pub negative: &'a str,
}

impl Workflow {
    /// Puts a scene's prompts, id and file prefix where they belong. Returns what found no place
    /// and can be done without.
    ///
    /// # Errors
    /// A positive prompt without a place, or with two; one line naming the candidates.
    pub fn place(&mut self, texts: ScenePrompts) -> Result<Vec<String>, String> {
        let mut warnings = Vec::new();
        let positive = (!self.holds(PROMPT)).then(|| self.role("positive"));
        let negative = (!self.holds(NEGATIVE)).then(|| self.role("negative"));
        let place = positive.as_ref().map(|places| self.only(places)).transpose()?;
        let prefix = format!("video/{}", texts.scene);
        let by_graph = !self.holds(PREFIX);
        // Before anything is written, so that a prompt stays as it is, whatever it holds.
        self.fill(&[
            (PROMPT, texts.prompt),
            (NEGATIVE, texts.negative),
            (SCENE_ID, texts.scene),
            (PREFIX, &prefix),
        ]);
        if let Some(place) = &place {
            self.write(place, texts.prompt);
        }
        if let Some(places) = &negative
            && !texts.negative.is_empty()
        {
            // A negative side that hangs on the positive text (ConditioningZeroOut) has no place.
            match places.iter().collect::<Vec<_>>().as_slice() {
                [place] if positive.as_ref().is_none_or(|taken| !taken.contains(*place)) => {
                    self.write(place, texts.negative);
                }
                _ => warnings.push(format!(
                    "the negative prompt finds no place in the workflow: put {NEGATIVE} where it belongs"
                )),
            }
        }
        if by_graph {
            self.write_prefixes(&prefix);
        }
        Ok(warnings)
    }

    /// Fills the placeholders that need no story: `__SCENE_ID__`, `__SCENE_PREFIX__`.
    ///
    /// # Errors
    /// A placeholder that only a story can fill; one line.
    pub fn place_without_story(&mut self, scene: &str) -> Result<(), String> {
        for placeholder in [PROMPT, NEGATIVE, KEYFRAME] {
            if self.holds(placeholder) {
                return Err(format!(
                    "it holds {placeholder}, which only a story can fill: --story PATH"
                ));
            }
        }
        self.fill(&[(SCENE_ID, scene), (PREFIX, &format!("video/{scene}"))]);
        Ok(())
    }

    /// Whether there is a `__SEED__` to fill.
    pub fn wants_seed(&self) -> bool {
        self.holds(SEED)
    }

    /// Fills `__SEED__`: as a number where it is the whole input.
    pub fn fill_seed(&mut self, seed: u64) {
        for value in self.all_inputs_mut() {
            if value.as_str().is_some_and(|text| text.trim() == SEED) {
                *value = seed.into();
            }
        }
        self.fill(&[(SEED, &seed.to_string())]);
    }

    /// Whether nothing but a keyframe will do: `__KEYFRAME_IMAGE__` stands somewhere.
    pub fn demands_keyframe(&self) -> bool {
        self.holds(KEYFRAME)
    }

    /// Whether a keyframe has a place: `__KEYFRAME_IMAGE__`, or a `LoadImage`.
    pub fn takes_keyframe(&self) -> bool {
        self.holds(KEYFRAME) || self.first_load_image().is_some()
    }

    /// Puts an uploaded image's name into `__KEYFRAME_IMAGE__`, else into the first `LoadImage`.
    pub fn place_keyframe(&mut self, image: &str) {
        if self.holds(KEYFRAME) {
            self.fill(&[(KEYFRAME, image)]);
        } else if let Some(id) = self.first_load_image() {
            self.write(&(id, "image".to_owned()), image);
        }
    }

    /// Puts `__KEYFRAME_IMAGE__` itself where the uploaded image's name will stand, for a graph that
    /// is only shown.
    pub fn mark_keyframe(&mut self) {
        self.place_keyframe(KEYFRAME);
    }

    fn first_load_image(&self) -> Option<String> {
        let ids = self.ids();
        ids.into_iter()
            .find(|id| {
                self.class(id) == "LoadImage"
                    && self.input(id, "image").is_some_and(|value| !is_link(value))
            })
            .map(str::to_owned)
    }

    fn write(&mut self, (id, input): &(String, String), text: &str) {
        if let Some(value) = self.input_mut(id, input) {
            *value = text.into();
        }
    }

    fn write_prefixes(&mut self, prefix: &str) {
        let ids: Vec<String> = self.ids().into_iter().map(str::to_owned).collect();
        for id in ids {
            if let Some(value) = self.input_mut(&id, "filename_prefix")
                && value.is_string()
            {
                *value = prefix.into();
            }
        }
    }

    fn holds(&self, placeholder: &str) -> bool {
        self.ids().into_iter().any(|id| {
            self.inputs(id)
                .any(|(_, value)| value.as_str().is_some_and(|text| text.contains(placeholder)))
        })
    }

    /// Puts texts in the place of their placeholders.
    fn fill(&mut self, texts: &[(&str, &str)]) {
        for value in self.all_inputs_mut() {
            if let Value::String(text) = value
                && texts.iter().any(|(placeholder, _)| text.contains(placeholder))
            {
                *text = filled(text, texts);
            }
        }
    }

    /// The texts that reach a sampler or a guider by the input of this name.
    fn role(&self, role: &str) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for id in self.ids() {
            let class = self.class(id).to_lowercase();
            if !class.contains("sampler") && !class.contains("guider") {
                continue;
            }
            let single = (role == "positive").then_some("conditioning");
            let start = [Some(role), single]
                .into_iter()
                .flatten()
                .find_map(|name| self.input(id, name).and_then(source));
            if let Some(start) = start {
                self.upstream(start, role, &mut found);
            }
        }
        found
    }

    /// A chain may be longer than a stack is deep.
    fn upstream<'a>(&'a self, start: &'a str, role: &str, found: &mut BTreeSet<(String, String)>) {
        let (mut seen, mut next) = (BTreeSet::new(), vec![start]);
        while let Some(id) = next.pop() {
            if !seen.insert(id) {
                continue;
            }
            if let Some(name) = text_input(self, id) {
                found.insert((id.to_owned(), name.to_owned()));
            } else if let Some(of_role) = self.input(id, role).and_then(source) {
                next.push(of_role);
            } else {
                let inputs = self.inputs(id);
                let conditionings = inputs.filter(|(name, _)| name.starts_with("conditioning"));
                next.extend(conditionings.filter_map(|(_, value)| source(value)));
            }
        }
    }

    fn only(&self, places: &BTreeSet<(String, String)>) -> Result<(String, String), String> {
        let named = |(id, input): (&str, &str)| {
            format!("node {id} {} {input}", sanitize_line(self.class(id)))
        };
        let mut places_in_order = places.iter();
        match (places_in_order.next(), places_in_order.next()) {
            (Some(place), None) => Ok(place.clone()),
            (None, _) => {
                let ids = self.ids();
                let texts: Vec<String> = ids
                    .into_iter()
                    .filter_map(|id| Some(named((id, text_input(self, id)?))))
                    .collect();
                let candidates = if texts.is_empty() {
                    "no node has a string input 'text' or 'prompt'".to_owned()
                } else {
                    format!("candidates: {}", texts.join(", "))
                };
                Err(format!(
                    "the scene's prompt finds no place ({candidates}): put {PROMPT} where it belongs"
                ))
            }
            _ => {
                let candidates: Vec<_> =
                    places.iter().map(|(id, input)| named((id, input))).collect();
                Err(format!(
                    "the scene's prompt finds {} places ({}): put {PROMPT} where it belongs",
                    candidates.len(),
                    candidates.join(", ")
                ))
            }
        }
    }
}

/// The text with others in the place of their placeholders; those are not looked through again,
/// else two texts that hold each other's would make a third of any size.
fn filled(text: &str, texts: &[(&str, &str)]) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("__") {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let here = texts.iter().find(|(placeholder, _)| rest.starts_with(placeholder));
        let (placeholder, text) = here.copied().unwrap_or(("_", "_"));
        out.push_str(text);
        rest = &rest[placeholder.len()..];
    }
    out + rest
}

/// The node at the other end of a link.
fn source(value: &Value) -> Option<&str> {
    if is_link(value) { value[0].as_str() } else { None }
}

fn text_input(graph: &Workflow, id: &str) -> Option<&'static str> {
    ["text", "prompt"].into_iter().find(|name| graph.input(id, name).is_some_and(Value::is_string))
}

#[cfg(test)]
mod tests;
