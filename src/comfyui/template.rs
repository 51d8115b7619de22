//! Patching a template with a story's prompts: at its placeholders, else where the graph takes them.

use serde_json::Value;

use super::workflow::{Workflow, is_link, link_source, reachable};
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
type Input = (String, &'static str);

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
        match negative.as_deref() {
            None => {}
            Some([input]) if Some(input) != positive.as_ref() => {
                self.set_value(&input.0, input.1, prompts.negative.into());
            }
            // One made of the positive text (ConditioningZeroOut) takes no prompt of its own.
            Some(_) => warnings.push(format!(
                "the negative prompt finds no place in the workflow: put {NEGATIVE} where it belongs"
            )),
        }
        if let Some((id, input)) = &positive {
            self.set_value(id, input, prompts.prompt.into());
        }
        if !has_prefix {
            let is_prefix = |name: &str| name == "filename_prefix";
            self.set_inputs(&prefix.into(), |name, value| is_prefix(name) && value.is_string());
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
            let why = "which only a story can fill: --story PATH";
            return Err(format!("it holds {placeholder}, {why}"));
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
        let is_seed = |value: &Value| value.as_str().is_some_and(|text| text.trim() == SEED);
        self.set_inputs(&seed.into(), |_, value| is_seed(value));
        self.replace(&[(SEED, &seed.to_string())]);
    }

    /// Whether a name of files holds `%date:…%`.
    pub fn has_date_in_name(&self) -> bool {
        let mut inputs = self.nodes.keys().flat_map(|id| self.inputs(id));
        inputs.any(|(name, value)| {
            name == "filename_prefix" && value.as_str().is_some_and(|text| text.contains("%date:"))
        })
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
        } else if let Some(id) = self.first_load_image() {
            self.set_value(&id, "image", image.into());
        }
    }

    /// The first `LoadImage` whose image is not a link.
    fn first_load_image(&self) -> Option<String> {
        let is_free = |id: &&str| self.input(id, "image").is_some_and(|value| !is_link(value));
        let mut nodes = self.ids().into_iter().filter(|id| self.class(id) == "LoadImage");
        nodes.find(is_free).map(str::to_owned)
    }

    fn contains(&self, placeholder: &str) -> bool {
        let mut inputs = self.nodes.keys().flat_map(|id| self.inputs(id));
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

    /// The string inputs upstream of the samplers' and guiders' inputs of this role: `positive` or
    /// `negative`.
    fn prompt_inputs(&self, role: &str) -> Vec<Input> {
        let is_sampler = |id: &&str| {
            let class = self.class(id).to_lowercase();
            class.contains("sampler") || class.contains("guider")
        };
        // A guider with one conditioning has only a positive side.
        let conditioning = |id| self.source(id, "conditioning").filter(|_| role == "positive");
        let start = |id| self.source(id, role).or_else(|| conditioning(id));
        let starts = self.ids().into_iter().filter(is_sampler).filter_map(start).collect();
        let next = |id| match (self.text_input(id), self.source(id, role)) {
            (Some(_), _) => Vec::new(),
            (None, Some(source)) => vec![source],
            (None, None) => {
                let inputs = self.inputs(id).filter(|(name, _)| name.starts_with("conditioning"));
                inputs.filter_map(|(_, value)| link_source(value)).collect()
            }
        };
        reachable(starts, next).into_iter().filter_map(|id| self.text_input(id)).collect()
    }

    fn positive_input(&self) -> Result<Input, String> {
        let name =
            |(id, input): &Input| format!("node {id} {} {input}", sanitize_line(self.class(id)));
        let listed = |inputs: &[Input]| inputs.iter().map(name).collect::<Vec<_>>().join(", ");
        let (places, candidates) = match self.prompt_inputs("positive").as_slice() {
            [input] => return Ok(input.clone()),
            [] => {
                let all = self.ids().into_iter().filter_map(|id| self.text_input(id));
                let candidates = match all.collect::<Vec<_>>().as_slice() {
                    [] => "no node has a string input 'text' or 'prompt'".to_owned(),
                    inputs => format!("candidates: {}", listed(inputs)),
                };
                ("no place".to_owned(), candidates)
            }
            inputs => (format!("{} places", inputs.len()), listed(inputs)),
        };
        Err(format!(
            "the scene's prompt finds {places} ({candidates}): put {PROMPT} where it belongs"
        ))
    }

    /// The node's input that holds a prompt.
    fn text_input(&self, id: &str) -> Option<Input> {
        let mut names = ["text", "prompt"].into_iter();
        names
            .find(|name| self.input(id, name).is_some_and(Value::is_string))
            .map(|name| (id.to_owned(), name))
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
