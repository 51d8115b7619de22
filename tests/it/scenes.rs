//! What the tests about scenes share: a run of one or some graphs, what is written of it, and
//! another client of the same server.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::stand_in::StandIn;
use crate::support::{Folder, Ran, Running};

/// Longer than anything here takes that is waited for.
pub const SOON: Duration = Duration::from_secs(20);

/// Starts a run of graphs, each under the name of its scene.
pub fn start(folder: &Folder, url: &str, graphs: &[(&str, Value)], options: &[&str]) -> Running {
    let files: Vec<String> = graphs.iter().map(|(name, _)| format!("{name}.json")).collect();
    for (file, (_, graph)) in files.iter().zip(graphs) {
        folder.workflow(file, graph);
    }
    let mut arguments: Vec<&str> = files.iter().map(String::as_str).collect();
    arguments.extend(["-PollIntervalSeconds", "0.2", "-SampleIntervalSeconds", "0.5"]);
    arguments.extend(options);
    folder.start_on(url, &arguments)
}

/// Runs graphs, in a new folder.
pub fn run(server: &StandIn, graphs: &[(&str, Value)], options: &[&str]) -> (Folder, Ran) {
    let folder = Folder::new();
    let ran = start(&folder, &server.url(), graphs, options).wait();
    (folder, ran)
}

/// Fails the test unless the newest run's scenes ended so, each for a reason that holds the text.
#[track_caller]
pub fn ended(folder: &Folder, expected: &[(&str, &str)]) {
    let outcomes = folder.outcomes();
    let fits = outcomes.len() == expected.len()
        && outcomes.iter().zip(expected).all(|((outcome, why), (wanted, part))| {
            outcome == wanted && why.contains(part) && part.is_empty() == why.is_empty()
        });
    assert!(fits, "{outcomes:#?}\ninstead of {expected:#?}");
}

/// The warnings of the newest run's only scene, one a line.
pub fn warnings(folder: &Folder) -> String {
    let metadata = folder.metadata();
    let warnings = metadata["Scenes"][0]["Warnings"].as_array().unwrap();
    warnings.iter().map(|warning| warning.as_str().unwrap().to_owned() + "\n").collect()
}

/// A file of the newest run.
pub fn home(folder: &Folder, path: &str) -> Vec<u8> {
    let path = folder.newest().join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file at or below a folder.
pub fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Another client posts a graph: its id.
pub fn somebody_posts(server: &StandIn, graph: &Value) -> String {
    let body = json!({"prompt": graph, "client_id": "somebody"}).to_string();
    let answer = agent().post(format!("{}/prompt", server.url())).send(body).unwrap();
    let answer = answer.into_body().read_to_vec().unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    answer["prompt_id"].as_str().unwrap().to_owned()
}

/// A file as the server has it.
pub fn there(server: &StandIn, folder: &str, subfolder: &str, name: &str) -> Vec<u8> {
    let url = format!("{}/view?filename={name}&subfolder={subfolder}&type={folder}", server.url());
    agent().get(url).call().unwrap().into_body().read_to_vec().unwrap()
}

/// The bodies of all `POST /prompt`, as they arrived.
pub fn prompts(server: &StandIn) -> Vec<Value> {
    let requests = server.requests();
    let posts = requests.iter().filter(|request| request.is("POST /prompt"));
    posts.map(|request| serde_json::from_str(&request.body).unwrap_or_default()).collect()
}

/// Asks a stand-in directly, whatever proxy the environment names.
pub fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().proxy(None).build().new_agent()
}
