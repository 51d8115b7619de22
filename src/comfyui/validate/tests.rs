use super::*;
use serde_json::json;

/// A server with a loader, a sampler, a node that loads images and one that saves.
fn classes() -> Classes {
    let told = [
        (
            "Loader",
            json!({"input": {"required": {"ckpt": [["xl.safetensors", "sd15.safetensors"], {}]}}}),
        ),
        (
            "Sampler",
            json!({"input": {
                "required": {
                    "steps": ["INT", {"min": 1, "max": 10000}],
                    "cfg": ["FLOAT", {"min": 0.0, "max": 100.0}],
                    "seed": ["INT", {"min": 0, "max": u64::MAX}],
                    "mode": ["COMBO", {"options": ["euler", 2, true]}],
                    "model": ["MODEL"],
                },
                "optional": {"note": ["STRING", {}], "on": ["BOOLEAN"], "kept": ["COMBO", {}]},
                "hidden": {"prompt": ["PROMPT"]},
            }}),
        ),
        ("Load", json!({"input": {"required": {"image": [["a.png"], {"image_upload": true}]}}})),
        ("Batch", json!({"input": {"required": {"images": ["COMFY_AUTOGROW_V3", {}]}}})),
        (
            "Save",
            json!({"output_node": true, "input": {"required": {"images": ["IMAGE"]}, "optional": {
                "more": ["IMAGE"]}}}),
        ),
    ];
    let known = told.map(|(name, told)| (name.to_owned(), Known::Class(told)));
    let untold = ("Broken".to_owned(), Known::Untold("HTTP 500".to_owned()));
    let missing = ("Samplr".to_owned(), Known::Missing);
    Classes {
        known: known.into_iter().chain([untold, missing]).collect(),
        names: vec!["Sampler".to_owned()],
    }
}

fn lacking(graph: &Value) -> Vec<String> {
    Workflow::parse(&graph.to_string()).unwrap().validate(&classes())
}

/// A sampler with this input besides good ones, saved.
fn sampler(name: &str, value: &Value) -> Vec<String> {
    let mut graph = json!({
        "2": {"class_type": "Sampler", "inputs": {
            "steps": 20, "cfg": 7.5, "seed": 1, "mode": "euler", "model": ["1", 0]}},
        "10": {"class_type": "Save", "inputs": {"images": ["2", 0]}},
        "1": {"class_type": "Loader", "inputs": {"ckpt": "xl.safetensors"}},
    });
    graph["2"]["inputs"][name] = value.clone();
    lacking(&graph)
}

#[test]
fn what_the_server_takes_is_not_lacking() {
    for (name, value) in [
        ("steps", json!(1)),
        ("steps", json!(10000)),
        ("steps", json!("20")),
        ("steps", json!(20.9)),
        ("steps", json!(true)),
        ("steps", json!("__SEED__")),
        ("cfg", json!(0)),
        ("cfg", json!(" 1e1 ")),
        ("seed", json!(u64::MAX)),
        ("seed", json!("18446744073709551615")),
        ("mode", json!(2.0)),
        ("mode", json!(1)),
        ("mode", json!({"__value__": ["euler", "x"]})),
        ("note", json!(5)),
        ("on", json!("yes")),
        ("kept", json!("whatever")),
        ("unknown", json!("an input that the class does not have")),
    ] {
        assert_eq!(sampler(name, &value), [""; 0], "{name} {value}");
    }
}

#[test]
fn what_it_would_refuse_is_named_as_it_names_it() {
    for (name, value, wanted) in [
        ("steps", json!(0), "steps: Value 0 smaller than min of 1"),
        ("steps", json!(10001), "steps: Value 10001 bigger than max of 10000"),
        ("steps", json!(-0.5e20), "steps: Value -9223372036854775808 smaller than min of 1"),
        ("steps", json!("many"), "steps: \"many\" is not an INT value"),
        ("steps", json!("5.0"), "steps: \"5.0\" is not an INT value"),
        ("steps", Value::Null, "steps: null is not an INT value"),
        ("cfg", json!(100.5), "cfg: Value 100.5 bigger than max of 100.0"),
        ("cfg", json!("x"), "cfg: \"x\" is not a FLOAT value"),
        ("seed", json!(-1), "seed: Value -1 smaller than min of 0"),
        ("mode", json!("eulr"), "mode: 'eulr' is not in the server's list (nearest: 'euler')"),
        ("mode", json!(3), "mode: '3' is not in the server's list"),
        ("model", json!(["9", 0]), "model: it is linked to node \"9\", which is not in the graph"),
        (
            "model",
            json!(["1"]),
            "model: Bad linked input, must be a length-2 list of [node_id, slot_index]",
        ),
    ] {
        assert_eq!(sampler(name, &value), [format!("node 2 Sampler {wanted}")], "{name} {value}");
    }
}

#[test]
fn a_class_that_is_not_there_or_not_told_is_named_with_its_nodes() {
    let save = json!({"class_type": "Save", "inputs": {"images": ["2", 0]}});
    let graph = json!({
        "2": {"class_type": "Samplr", "inputs": {"model": ["3", 0]}},
        "3": {"class_type": "Broken", "inputs": {}},
        "10": save,
    });
    let missing = "node 2 Samplr: the server has no node of this class (nearest: 'Sampler'): is a \
                   custom node not installed?";
    assert_eq!(lacking(&graph), [missing, "node 3 Broken: not checked: HTTP 500"]);
}

#[test]
fn only_what_an_output_needs_is_checked() {
    let unused = json!({"class_type": "Sampler", "inputs": {"steps": 0}});
    let load = json!({"class_type": "Load", "inputs": {"image": "a.png"}});
    let save = |from: &str| json!({"class_type": "Save", "inputs": {"images": [from, 0]}});
    let graph = json!({"1": load, "2": save("1"), "3": unused});
    assert_eq!(lacking(&graph), [""; 0]);
    // A graph that bites its own tail ends all the same.
    let tail = json!({"2": {"class_type": "Save", "inputs": {"images": ["2", 0]}}});
    assert_eq!(lacking(&tail), [""; 0]);
    let line = "no output: it has no node that saves or shows something";
    assert_eq!(lacking(&json!({"1": load, "3": unused})), [line]);
    let missing = json!({"2": {"class_type": "Save", "inputs": {"more": ["99", 0]}}});
    assert_eq!(
        lacking(&missing),
        [
            "node 2 Save images: Required input is missing, more: it is linked to node \"99\", which is not in the graph"
        ]
    );
}

#[test]
fn files_of_other_folders_and_inputs_with_names_of_their_own_are_left_to_the_server() {
    let load = |image: &str| {
        lacking(&json!({
            "1": {"class_type": "Load", "inputs": {"image": image}},
            "2": {"class_type": "Batch", "inputs": {"images.image0": ["1", 0]}},
            "3": {"class_type": "Save", "inputs": {"images": ["2", 0]}},
        }))
    };
    for image in ["a.png", "below/b.png", "b.png [output]", "__KEYFRAME_IMAGE__"] {
        assert_eq!(load(image), [""; 0], "{image}");
    }
    let line = "node 1 Load image: 'b.png' is not in the server's list (nearest: 'a.png')";
    assert_eq!(load("b.png"), [line]);
}
