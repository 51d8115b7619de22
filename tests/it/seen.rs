//! What a test looks at afterwards: the graphs that the server received, the files that are there.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::stand_in::StandIn;

/// The graphs of all posted prompts, in order.
pub fn graphs(server: &StandIn) -> Vec<Value> {
    let requests = server.requests();
    let posts = requests.iter().filter(|request| request.is("POST /prompt"));
    posts.map(|post| serde_json::from_str::<Value>(&post.body).unwrap()["prompt"].clone()).collect()
}

/// Every file below a folder, sorted, with forward slashes.
pub fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.push(name.replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

/// The first line that begins so, behind its `[HH:mm:ss] ` where it has one.
#[track_caller]
pub fn line<'a>(text: &'a str, start: &str) -> &'a str {
    let bare = |line: &'a str| line.split_once("] ").map_or(line, |(_, rest)| rest);
    let found = text.lines().find_map(|line| {
        if line.starts_with(start) {
            Some(line)
        } else {
            Some(bare(line)).filter(|l| l.starts_with(start))
        }
    });
    found.unwrap_or_else(|| panic!("no line begins with {start:?}:\n{text}"))
}
