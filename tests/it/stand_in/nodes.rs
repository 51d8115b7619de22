//! The node classes that the server knows.

use serde_json::{Map, Value, json};

/// A node class.
pub struct Class {
    /// Its name.
    pub name: &'static str,
    /// Whether it is a reason to execute a prompt.
    pub output: bool,
    /// Inputs that must be there, with their types. Other inputs are taken as they are.
    pub required: &'static [(&'static str, &'static str)],
    /// An input that must be one of a list.
    pub choice: Option<(&'static str, &'static [&'static str])>,
    /// Types of what it returns.
    returns: &'static [&'static str],
}

impl Class {
    const fn plain(name: &'static str, returns: &'static [&'static str]) -> Self {
        Self { name, output: false, required: &[], choice: None, returns }
    }

    const fn output(name: &'static str, required: &'static [(&'static str, &'static str)]) -> Self {
        Self { name, output: true, required, choice: None, returns: &[] }
    }
}

/// What `CheckpointLoaderSimple` can load.
pub const CHECKPOINTS: &[&str] = &["xl.safetensors", "sd15.safetensors"];

const CLASSES: &[Class] = &[
    Class::plain("EmptyImage", &["IMAGE"]),
    Class::plain("ImageScale", &["IMAGE"]),
    Class::plain("LoadImage", &["IMAGE", "MASK"]),
    Class::plain("CreateVideo", &["VIDEO"]),
    Class::output("SaveVideo", &[("video", "VIDEO")]),
    Class::output("SaveImage", &[("images", "IMAGE")]),
    Class::output("PreviewImage", &[("images", "IMAGE")]),
    Class::plain("HoldMemory", &["IMAGE"]),
    Class::plain("LoadModel", &["IMAGE"]),
    Class::plain("FailAlways", &["IMAGE"]),
    Class::plain("FailOnce", &["IMAGE"]),
    Class::plain("FailOn", &["IMAGE"]),
    Class::plain("Polled", &["IMAGE"]),
    Class::plain("OutOfMemory", &["IMAGE"]),
    Class::plain("Note", &[]),
    Class::plain("CLIPTextEncode", &["CONDITIONING"]),
    Class::plain("EmptyLatentImage", &["LATENT"]),
    Class::plain("KSampler", &["LATENT"]),
    Class::plain("VAEDecode", &["IMAGE"]),
    Class {
        choice: Some(("ckpt_name", CHECKPOINTS)),
        ..Class::plain("CheckpointLoaderSimple", &["MODEL", "CLIP", "VAE"])
    },
];

/// The class of that name.
pub fn class(name: &str) -> Option<&'static Class> {
    CLASSES.iter().find(|class| class.name == name)
}

/// How a list input is described.
pub fn choice_config(options: &[&str]) -> Value {
    json!([options, {"tooltip": "The name of the checkpoint (model) to load."}])
}

/// The answer of `/object_info/{class}`: an empty object if there is no such class.
pub fn object_info(name: &str) -> Value {
    if name == "SaveVideo" {
        let recorded = include_str!("save_video_info.json");
        return serde_json::from_str(recorded).expect("the recorded answer is JSON");
    }
    let mut answer = Map::new();
    if let Some(class) = class(name) {
        answer.insert(name.to_owned(), describe(class));
    }
    answer.into()
}

/// The answer of `/object_info`: every class.
pub fn all_object_info() -> Value {
    CLASSES
        .iter()
        .map(|class| (class.name.to_owned(), describe(class)))
        .collect::<Map<_, _>>()
        .into()
}

fn describe(class: &Class) -> Value {
    let mut required: Map<String, Value> =
        class.required.iter().map(|(input, kind)| ((*input).to_owned(), json!([kind]))).collect();
    if let Some((input, options)) = class.choice {
        required.insert(input.to_owned(), choice_config(options));
    }
    json!({
        "input_order": {"required": required.keys().collect::<Vec<_>>()},
        "input": {"required": required},
        "output": class.returns,
        "output_is_list": vec![false; class.returns.len()],
        "output_name": class.returns,
        "name": class.name,
        "display_name": class.name,
        "description": "",
        "python_module": "nodes",
        "category": "stand-in",
        "output_node": class.output,
    })
}
