//! Patching a template with a story's prompts: at its placeholders, else where the graph takes them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::workflow::{Workflow, is_link, link_source};
use crate::sanitize::sanitize_line;

const PROMPT: &str = "__PROMPT__";
const NEGATIVE: &str = "__NEGATIVE_PROMPT__";
const SCENE_ID: &str = "__SCENE_ID__";
const PREFIX: &str = "__SCENE_PREFIX__";
const SEED: &str = "__SEED__";
/// Stands for the name that an uploaded keyframe has on the server.
pub const KEYFRAME_PLACEHOLDER: &str = "__KEYFRAME_IMAGE__";

/// Whether a text holds a placeholder that is not replaced yet.
pub(super) fn has_placeholder(text: &str) -> bool {
    let all = [PROMPT, NEGATIVE, KEYFRAME_PLACEHOLDER, SCENE_ID, PREFIX, SEED];
    all.iter().any(|placeholder| text.contains(placeholder))
}

/// What a scene of a story puts into its template.
#[derive(Clone, Copy, Debug)]
pub struct ScenePrompts<'a> {
    /// The scene's id; its files get the prefix `video/<id>`.
    pub scene: &'a str,
    /// The positive prompt.
    pub prompt: &'a str,
    /// The negative prompt; empty is none.
    pub negative: &'a str,
}

/// A node's id and the name of one of its inputs.
type Input = (String, String);

impl Workflow {
    /// Inserts a scene's prompts, id and filename prefix. Returns a warning for a negative prompt
    /// that no input takes.
    ///
    /// # Errors
    /// No input takes the positive prompt, or more than one does; one line naming the candidates.
    pub fn insert_prompts(&mut self, prompts: ScenePrompts) -> Result<Vec<String>, String> {
        let positive = if self.contains(PROMPT) { None } else { Some(self.positive_input()?) };
        let has_place = prompts.negative.is_empty() || self.contains(NEGATIVE);
        let negative = if has_place { None } else { Some(self.prompt_inputs("negative")) };
        let prefix = format!("video/{}", prompts.scene);
        let has_prefix = self.contains(PREFIX);
        // Before the prompts are set, so that placeholders in them stay as they are.
        self.replace(&[
            (PROMPT, prompts.prompt),
            (NEGATIVE, prompts.negative),
            (SCENE_ID, prompts.scene),
            (PREFIX, &prefix),
        ]);
        let mut warnings = Vec::new();
        if let Some(inputs) = negative {
            // A negative side made of the positive text (ConditioningZeroOut) takes no prompt.
            match inputs.first() {
                Some(input) if inputs.len() == 1 && Some(input) != positive.as_ref() => {
                    self.set_text(input, prompts.negative);
                }
                _ => warnings.push(format!(
                    "the negative prompt finds no place in the workflow: put {NEGATIVE} where it belongs"
                )),
            }
        }
        if let Some(input) = &positive {
            self.set_text(input, prompts.prompt);
        }
        if !has_prefix {
            self.set_filename_prefixes(&prefix);
        }
        Ok(warnings)
    }

    /// Replaces the placeholders that need no story: `__SCENE_ID__`, `__SCENE_PREFIX__`.
    ///
    /// # Errors
    /// A placeholder that only a story can fill; one line.
    pub fn insert_scene_id(&mut self, scene: &str) -> Result<(), String> {
        let of_story = [PROMPT, NEGATIVE, KEYFRAME_PLACEHOLDER];
        if let Some(placeholder) = of_story.iter().find(|placeholder| self.contains(placeholder)) {
            return Err(format!(
                "it holds {placeholder}, which only a story can fill: --story PATH"
            ));
        }
        self.replace(&[(SCENE_ID, scene), (PREFIX, &format!("video/{scene}"))]);
        Ok(())
    }

    /// Whether `__SEED__` stands in an input.
    pub fn has_seed_placeholder(&self) -> bool {
        self.contains(SEED)
    }

    /// Replaces `__SEED__`: by a number where it is the whole input.
    pub fn replace_seed_placeholder(&mut self, seed: u64) {
        for (_, value) in self.inputs_mut() {
            if value.as_str().is_some_and(|text| text.trim() == SEED) {
                *value = seed.into();
            }
        }
        self.replace(&[(SEED, &seed.to_string())]);
    }

    /// Whether the workflow cannot run without a keyframe: `__KEYFRAME_IMAGE__` stands in an input.
    pub fn needs_keyframe(&self) -> bool {
        self.contains(KEYFRAME_PLACEHOLDER)
    }

    /// Whether a keyframe can be set: at `__KEYFRAME_IMAGE__`, or in a `LoadImage`.
    pub fn has_keyframe_input(&self) -> bool {
        self.needs_keyframe() || self.first_load_image().is_some()
    }

    /// Sets an uploaded image's name at `__KEYFRAME_IMAGE__`, else in the first `LoadImage`.
    pub fn set_keyframe(&mut self, image: &str) {
        if self.needs_keyframe() {
            self.replace(&[(KEYFRAME_PLACEHOLDER, image)]);
        } else if let Some(input) = self.first_load_image() {
            self.set_text(&input, image);
        }
    }

    fn first_load_image(&self) -> Option<Input> {
        let is_free = |id: &&str| self.input(id, "image").is_some_and(|value| !is_link(value));
        let mut nodes = self.ids().into_iter().filter(|id| self.class(id) == "LoadImage");
        nodes.find(is_free).map(|id| (id.to_owned(), "image".to_owned()))
    }

    fn set_text(&mut self, (id, input): &Input, text: &str) {
        if let Some(value) = self.input_mut(id, input) {
            *value = text.into();
        }
    }

    fn set_filename_prefixes(&mut self, prefix: &str) {
        for (name, value) in self.inputs_mut() {
            if name == "filename_prefix" && value.is_string() {
                *value = prefix.into();
            }
        }
    }

    fn contains(&self, placeholder: &str) -> bool {
        let mut inputs = self.nodes().keys().flat_map(|id| self.inputs(id));
        inputs.any(|(_, value)| value.as_str().is_some_and(|text| text.contains(placeholder)))
    }

    /// Replaces placeholders by texts.
    fn replace(&mut self, texts: &[(&str, &str)]) {
        for (_, value) in self.inputs_mut() {
            if let Value::String(text) = value
                && texts.iter().any(|(placeholder, _)| text.contains(placeholder))
            {
                *text = replaced(text, texts);
            }
        }
    }

    /// The string inputs upstream of a sampler's or guider's input of this role: `positive` or
    /// `negative`.
    fn prompt_inputs(&self, role: &str) -> BTreeSet<Input> {
        // A guider with one conditioning has only a positive side.
        let names = [Some(role), (role == "positive").then_some("conditioning")];
        let linked = |id: &str| {
            let mut names = names.into_iter().flatten();
            names.find_map(|name| self.input(id, name).and_then(link_source))
        };
        let is_sampler = |id: &&str| {
            let class = self.class(id).to_lowercase();
            class.contains("sampler") || class.contains("guider")
        };
        let mut open: Vec<&str> =
            self.ids().into_iter().filter(is_sampler).filter_map(linked).collect();
        let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
        // Not recursive: a chain may be longer than a stack is deep.
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            if let Some(name) = self.text_input(id) {
                found.insert((id.to_owned(), name.to_owned()));
            } else if let Some(source) = self.input(id, role).and_then(link_source) {
                open.push(source);
            } else {
                let inputs = self.inputs(id).filter(|(name, _)| name.starts_with("conditioning"));
                open.extend(inputs.filter_map(|(_, value)| link_source(value)));
            }
        }
        found
    }

    fn positive_input(&self) -> Result<Input, String> {
        let name =
            |id: &str, input: &str| format!("node {id} {} {input}", sanitize_line(self.class(id)));
        let inputs = self.prompt_inputs("positive");
        let mut candidates: Vec<String> =
            inputs.iter().map(|(id, input)| name(id, input)).collect();
        let (places, candidates) = match inputs.len() {
            1 => return Ok(inputs.into_iter().next().unwrap_or_default()),
            0 => {
                let ids = self.ids().into_iter();
                candidates.extend(ids.filter_map(|id| Some(name(id, self.text_input(id)?))));
                let none = "no node has a string input 'text' or 'prompt'".to_owned();
                let listed = format!("candidates: {}", candidates.join(", "));
                ("no place".to_owned(), if candidates.is_empty() { none } else { listed })
            }
            many => (format!("{many} places"), candidates.join(", ")),
        };
        Err(format!(
            "the scene's prompt finds {places} ({candidates}): put {PROMPT} where it belongs"
        ))
    }

    /// The name of the node's input that holds a prompt.
    fn text_input(&self, id: &str) -> Option<&'static str> {
        ["text", "prompt"]
            .into_iter()
            .find(|name| self.input(id, name).is_some_and(Value::is_string))
    }
}

/// The text with its placeholders replaced. What is put in is not searched again: two texts that
/// hold each other's placeholders would grow to any size.
fn replaced(text: &str, texts: &[(&str, &str)]) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("__") {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let found = texts.iter().find(|(placeholder, _)| rest.starts_with(placeholder));
        let (placeholder, text) = found.copied().unwrap_or(("_", "_"));
        out.push_str(text);
        rest = &rest[placeholder.len()..];
    }
    out + rest
}

#[cfg(test)]
mod tests;
