//! Stories that were written to do harm, and programs that do not end.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::row::{Played, Row, row};
use crate::project::bench::Project;
use crate::stand_in::{Fault, StandIn, graphs};
use crate::support::{Folder, files, keyframe_story};

const IDS: [&str; 7] = [
    "../../../escaped",
    "C:\\escaped",
    "CON",
    "a\u{0}\u{1b}[2J\u{202e}",
    "<script>alert(1)</script>",
    "..",
    "-Quiet",
];

fn story(ids: &[&str]) -> Played {
    let (server, folder) = (StandIn::start(), Folder::new());
    let words = keyframe_story(&folder);
    let scene = |id: &&str| json!({"id": id, "prompt": id, "title": id, "summary": id});
    let scenes: Vec<Value> = ids.iter().map(scene).collect();
    let story = json!({"storyId": ids[0], "logline": ids[3], "scenes": scenes});
    folder.write("story.json", story.to_string());
    let mut graph = graphs::images("a", 1, 1);
    graph["90"] = json!({"class_type": "Note", "inputs": {"text": "__PROMPT__ __SCENE_ID__"}});
    folder.workflow("template.json", &graph);
    let ran = folder.run_on(&server.url(), &words);
    Played { server, folder, ran }
}

fn hostile() -> Played {
    let played = story(&IDS);
    let Played { folder, ran, .. } = &played;
    let all = files(folder.path());
    let escaped = |file: &&String| file.contains("escaped") && !file.starts_with("logs/");
    assert!(!all.iter().any(|file| escaped(&file)), "{all:?}");
    assert_eq!(fs::read_dir(folder.newest().join("outputs")).unwrap().count(), IDS.len(), "{ran}");
    let page = folder.read("report.html");
    assert!(!page.contains("<script"), "{page}");
    assert!(!page.contains(['\u{0}', '\u{1b}', '\u{202e}']), "{page}");
    played
}

/// A story generator that hangs, with a child that hears no signal; somebody wants an end.
fn deaf() -> Played {
    let project = Project::new();
    let running = project.start("generate-story-scenes.ts:started", &[]);
    project.wait_for_what_it_started();
    let begun = Instant::now();
    crate::signals::ctrl_c(&running);
    let ran = running.wait();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}\n{ran}", begun.elapsed());
    project.nothing_is_left();
    let Project { server, folder } = project;
    Played { server, folder, ran }
}

/// A story whose language model, or an LM Studio, is met by what a connection can do. `fault`: none
/// is that nobody listens.
fn llm(option: &str, fault: Option<Fault>) -> Played {
    let (server, other, folder) = (StandIn::start(), StandIn::start(), Folder::new());
    fs::create_dir(folder.path().join("scripts")).unwrap();
    let url = other.url();
    match fault {
        Some(fault) => other.fail_next("GET /", usize::MAX, fault),
        None => drop(other),
    }
    let words = [&keyframe_story(&folder)[..], &[option, &url, "-NoArchive"]].concat();
    let mut ran = folder.run_on(&server.url(), &words);
    ran.stdout = ran.stdout.replace(&url, "<url>");
    Played { server, folder, ran }
}

fn of_llm() -> Vec<Row> {
    let faults = [
        ("refused", "connection refused", None),
        ("reset", "the connection broke off", Some(Fault::Reset)),
        ("silence", "no answer in time", Some(Fault::Hang)),
    ];
    let mut rows = Vec::new();
    for (line, option) in
        [("the story's language model", "-LocalLLMProviderUrl"), ("LM Studio", "-LMStudioEndpoint")]
    {
        for (name, told, fault) in faults.clone() {
            let also = match line {
                "LM Studio" => format!(" ({told})\n"),
                _ => format!(": {told}: start it, or --local-llm-provider-url"),
            };
            let play = move || llm(option, fault.clone());
            rows.push(Row::one_of(line, name, (told, ""), play).also(also));
        }
    }
    rows
}

pub fn rows() -> Vec<Row> {
    let mut rows = of_llm();
    rows.extend([
        row("a story with hostile ids", hostile).posts(IDS.len()),
        row("a story whose ids become the same", || story(&["a/b", "a:b", "c", "d"])),
    ]);
    // Windows sends Ctrl-C only by a program of its own.
    if cfg!(unix) || std::env::var_os("CONSOLE_EVENT").is_some() {
        rows.push(row("a program that ignores its end and leaves a child", deaf));
    }
    rows
}
