//! What was probably meant: an option, a verb, a node, an input, a scene, a file.

use serde_json::json;

use crate::stand_in::graphs;
use crate::support::Folder;

/// Every mistake ends with 2 and one line, before anything is made or asked.
#[track_caller]
fn answers(folder: &Folder, words: &[&str], line: &str) {
    let words = [words, &["--comfyui-url", "http://127.0.0.1:9"]].concat();
    let ran = folder.run(&words).exits(2).complains(line);
    assert_eq!((ran.stderr.lines().count(), ran.stdout.as_str()), (1, ""), "{ran}");
    assert!(folder.runs().is_empty());
}

#[test]
fn a_mistyped_option_or_verb() {
    let folder = Folder::new();
    for (words, line) in [
        (&["--max-wiat-seconds", "5"][..], "did you mean --max-wait-seconds?"),
        (&["-MaxWiatSeconds", "5"], "did you mean -MaxWaitSeconds?"),
        (&["--dryrun"], "did you mean --dry-run?"),
        (&["--dry"], "did you mean --dry-run?"),
        (&["-Completion", "bash", "-Workflwo", "x"], "did you mean -Workflow?"),
        (&["sumary"], "'sumary': no such file or folder: did you mean the verb summary?"),
        (&["--vram-source", "nvidia"], "takes auto, comfyui or nvidia-smi, not 'nvidia'"),
        (&["--completions", "bsh"], "takes bash or powershell, not 'bsh'"),
    ] {
        answers(&folder, words, line);
    }
}

#[test]
fn a_mistyped_node_input_scene_or_file() {
    let folder = Folder::new();
    let mut graph = graphs::images("img/flow", 1, 1);
    graph["1"]["_meta"] = json!({"title": "The picture"});
    folder.workflow("flow.json", &graph);
    let scene = |id: &str| json!({"id": id, "prompt": "p"});
    let scenes = json!({"scenes": [scene("scene-001"), scene("scene-002"), scene("ending")]});
    folder.write("story.json", scenes.to_string());
    let mut template = graph.clone();
    template["90"] = json!({"class_type": "Note", "inputs": {"text": "__PROMPT__"}});
    folder.workflow("template.json", &template);
    let story = |filter| ["--story", "story.json", "template.json", "--scene-filter", filter];
    for (words, line) in [
        (
            &["flow.json", "--set", "EmptyImge.width=8"][..],
            "--set EmptyImge.width: no node 'EmptyImge': did you mean 'EmptyImage'?",
        ),
        (&["flow.json", "--set", "The pictrue.width=8"], "did you mean 'The picture'?"),
        (
            &["flow.json", "--set", "7.width=8"],
            "no node '7': there are 1 EmptyImage 'The picture', 2 SaveImage",
        ),
        (
            &["flow.json", "--set", "1.wdith=8"],
            "node 1 EmptyImage has no input 'wdith': did you mean 'width'?",
        ),
        (
            &["flow.json", "--set", "2.quality=8"],
            "node 2 SaveImage has no input 'quality': it has filename_prefix, images",
        ),
        (
            &story("scene-01"),
            "no scene 'scene-01' (did you mean 'scene-001'?); there are scene-001, scene-002, ending",
        ),
        (&story("endnig"), "no scene 'endnig' (did you mean 'ending'?)"),
        (&story("scene-001,other"), "no scene 'other'; there are scene-001, scene-002, ending"),
        (&["flwo.json"], "'flwo.json': no such file or folder (nearest: 'flow.json')"),
    ] {
        answers(&folder, words, line);
    }
}
