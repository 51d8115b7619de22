use super::*;

const TEXTS: ScenePrompts = ScenePrompts { scene: "scene-001", prompt: "a fox", negative: "blur" };

fn graph(json: &str) -> Workflow {
    Workflow::parse(json).unwrap()
}

/// A Wan image-to-video template as the editor exports it: the sampler's conditionings pass
/// through a node with inputs of the same names.
const WAN: &str = r#"{
    "3": {"class_type": "KSampler", "inputs": {"positive": ["50", 0], "negative": ["50", 1], "seed": 1}},
    "50": {"class_type": "WanImageToVideo", "inputs": {"positive": ["6", 0], "negative": ["7", 0]}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "old", "clip": ["9", 0]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "old too", "clip": ["9", 0]}},
    "52": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
    "8": {"class_type": "SaveVideo", "inputs": {"filename_prefix": "old"}}}"#;

#[test]
fn prompts_go_upstream_of_the_sampler() {
    let mut wan = graph(WAN);
    assert_eq!(wan.place(TEXTS).unwrap(), [""; 0]);
    wan.place_keyframe("run/k.png");
    assert_eq!(wan.input("6", "text").unwrap(), "a fox");
    assert_eq!(wan.input("7", "text").unwrap(), "blur");
    assert_eq!(wan.input("8", "filename_prefix").unwrap(), "video/scene-001");
    assert_eq!(wan.input("52", "image").unwrap(), "run/k.png");
}

#[test]
fn a_guider_s_conditioning_is_the_positive_side() {
    let mut flux = graph(
        r#"{"1": {"class_type": "BasicGuider", "inputs": {"conditioning": ["2", 0]}},
            "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "old"}}}"#,
    );
    flux.place(TEXTS).unwrap();
    assert_eq!(flux.input("2", "text").unwrap(), "a fox");
}

#[test]
fn conditionings_are_followed_and_a_zeroed_negative_has_no_place() {
    let mut flux = graph(
        r#"{"1": {"class_type": "BasicGuider", "inputs": {"conditioning": ["2", 0]}},
            "2": {"class_type": "FluxGuidance", "inputs": {"conditioning": ["3", 0]}},
            "4": {"class_type": "KSampler", "inputs": {"positive": ["2", 0], "negative": ["5", 0]}},
            "5": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["3", 0]}},
            "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "old"}}}"#,
    );
    let warnings = flux.place(TEXTS).unwrap();
    assert_eq!(flux.input("3", "text").unwrap(), "a fox");
    assert!(warnings[0].contains("__NEGATIVE_PROMPT__"), "{warnings:?}");
}

#[test]
fn placeholders_win_over_the_graph() {
    let mut wan = graph(&WAN.replace("\"old\"", "\"__PROMPT__ in __SCENE_ID__\"").replace(
        "\"seed\": 1",
        "\"seed\": \"__SEED__\", \"note\": \"s__SEED__\", \"p\": \"__SCENE_PREFIX__/x\"",
    ));
    wan.place(TEXTS).unwrap();
    wan.fill_seed(7);
    assert_eq!(wan.input("6", "text").unwrap(), "a fox in scene-001");
    assert_eq!(wan.input("3", "seed").unwrap(), 7);
    assert_eq!(wan.input("3", "note").unwrap(), "s7");
    assert_eq!(wan.input("3", "p").unwrap(), "video/scene-001/x");
}

#[test]
fn no_place_and_two_places_name_the_candidates() {
    let mut none = graph(r#"{"1": {"class_type": "Odd", "inputs": {"prompt": "x"}}}"#);
    assert_eq!(
        none.place(TEXTS).unwrap_err(),
        "the scene's prompt finds no place (candidates: node 1 Odd prompt): put __PROMPT__ where it belongs"
    );
    let mut two = graph(
        r#"{"1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0]}},
            "2": {"class_type": "ConditioningCombine", "inputs": {"conditioning_1": ["3", 0], "conditioning_2": ["4", 0]}},
            "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "a"}},
            "4": {"class_type": "CLIPTextEncode", "inputs": {"text": "b"}}}"#,
    );
    let error = two.place(TEXTS).unwrap_err();
    assert!(error.contains("2 places (node 3 CLIPTextEncode text, node 4"), "{error}");
}

#[test]
fn linked_texts_are_never_overwritten() {
    let mut linked = graph(
        r#"{"1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0]}},
            "2": {"class_type": "CLIPTextEncode", "inputs": {"text": ["3", 0]}},
            "3": {"class_type": "Note", "inputs": {"value": "b"}}}"#,
    );
    assert!(linked.place(TEXTS).is_err());
    assert!(is_link(linked.input("2", "text").unwrap()));
}

#[test]
fn a_story_s_placeholders_without_a_story_are_named() {
    let mut flow = graph(r#"{"1": {"class_type": "X", "inputs": {"t": "__PROMPT__"}}}"#);
    assert!(flow.place_without_story("a").unwrap_err().contains("--story"));
}

#[test]
fn a_prompt_stays_as_it_is_whatever_it_holds() {
    let (prompt, negative) = ("_a __NEGATIVE_PROMPT__", "__SCENE_ID__ __PROMPT__");
    let texts = ScenePrompts { scene: "s", prompt, negative };
    let by_name = r#"{"1": {"class_type": "X", "inputs": {
        "a": "___PROMPT___", "b": "__NEGATIVE_PROMPT__", "c": "__SCENE_ID____SCENE_PREFIX__" }}}"#;
    let mut by_name = graph(by_name);
    by_name.place(texts).unwrap();
    assert_eq!(by_name.input("1", "a").unwrap(), &format!("_{prompt}_"));
    assert_eq!(by_name.input("1", "b").unwrap(), negative);
    assert_eq!(by_name.input("1", "c").unwrap(), "svideo/s");
    let mut by_graph = graph(WAN);
    by_graph.place(texts).unwrap();
    assert_eq!(by_graph.input("6", "text").unwrap(), prompt);
    assert_eq!(by_graph.input("7", "text").unwrap(), negative);
}

#[test]
fn a_chain_of_any_length_is_followed() {
    let last = 20_000;
    let node = |n: u32| {
        format!(
            r#""{n}": {{"class_type": "Pass", "inputs": {{"conditioning": ["{}", 0]}}}},"#,
            n + 1
        )
    };
    let nodes: String = (0..last).map(node).collect();
    let mut chain = graph(&format!(
        r#"{{{nodes} "{last}": {{"class_type": "CLIPTextEncode", "inputs": {{"text": "old"}}}},
            "s": {{"class_type": "KSampler", "inputs": {{"positive": ["0", 0]}}}}}}"#
    ));
    chain.place(TEXTS).unwrap();
    assert_eq!(chain.input(&last.to_string(), "text").unwrap(), "a fox");
}
