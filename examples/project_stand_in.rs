//! Stands in for `npx` and `pwsh` in the tests: it notes what it was asked to run, and does what
//! the project's scripts would.
//!
//! Its first word says which of the two it is. `STAND_IN_NOTES` names the file for its notes, and
//! `STAND_IN_WAY` what it does differently: `SCRIPT:fail`, `SCRIPT:hang`, `SCRIPT:nothing`,
//! `SCRIPT:few`, `SCRIPT:flood` (it prints much), or `SCRIPT:started` (it hangs, and so does what it
//! started, which is deaf to signals, holds the output open and, while it lives, the lock of the
//! file beside the notes).

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Whoever left it behind: it does not stay for ever.
const LONGEST: Duration = Duration::from_secs(120);
/// The word of what was started by one that hangs.
const STARTED: &str = "started";

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let script = words.iter().find_map(|word| script(word)).unwrap_or_default();
    note(&words);
    if words == [STARTED] {
        return hold();
    }
    println!("stand-in of {script}");
    match way(&script).as_str() {
        "fail" => std::process::exit(3),
        "hang" => std::thread::sleep(LONGEST),
        "started" => {
            let mut started = Command::new(env::current_exe().expect("its own path"));
            started.arg(STARTED).status().expect("a start");
        }
        "flood" => {
            let line = format!("{}\n", "x".repeat(1023));
            for _ in 0..1024 {
                print!("{line}");
                eprint!("{line}");
            }
        }
        "nothing" => return,
        _ => {}
    }
    match script.as_str() {
        "generate-story-scenes.ts" => story(&words),
        "preflight-mappings.ts" => {
            fs::create_dir_all(value(&words, "--summary-dir")).expect("its folder");
            fs::write(value(&words, "--log-path"), "").expect("its log");
        }
        "run-vitests.ps1" => vitests(&words),
        "update-scene-video-metadata.ps1" => {
            let file = PathBuf::from(value(&words, "-RunDir")).join("artifact-metadata.json");
            let text = fs::read_to_string(&file).expect("the metadata");
            let text = text.replacen('{', "{\"UpdatedByHelper\": true,", 1);
            fs::write(file, text).expect("the metadata");
        }
        _ => {}
    }
}

fn vitests(words: &[String]) {
    let run = PathBuf::from(value(words, "-RunDir"));
    let mut summary =
        OpenOptions::new().append(true).open(run.join("run-summary.txt")).expect("the summary");
    for suite in ["comfyUI", "e2e", "scripts"] {
        writeln!(summary, "[12:00:00] Vitest {suite} exitCode=0").expect("a line");
    }
    let all = ["vitest-comfyui.log", "vitest-e2e.log", "vitest-scripts.log"];
    let quick = words.iter().any(|word| word == "-Quick");
    let logs = if quick { ["", "", "vitest-telemetry-shape.log"] } else { all };
    let logs = logs.map(|name| (!name.is_empty()).then(|| run.join(name)));
    for log in logs.iter().flatten() {
        fs::write(log, "").expect("a log");
    }
    let [comfy, e2e, scripts] = logs;
    let results =
        serde_json::json!({"comfyLog": comfy, "e2eLog": e2e, "scriptsLog": scripts}).to_string();
    fs::write(run.join("vitest-results.json"), results).expect("the results");
}

fn hold() {
    ctrlc::set_handler(|| {}).expect("a handler");
    let path =
        Path::new(&env::var("STAND_IN_NOTES").expect("STAND_IN_NOTES")).with_extension("lock");
    let lock = fs::File::create(path).expect("the lock's file");
    lock.lock().expect("the lock");
    note(&["locked".to_owned()]);
    std::thread::sleep(LONGEST);
}

/// The name of the script that a word is the path of.
fn script(word: &str) -> Option<String> {
    let path = Path::new(word);
    let is_script = path.extension().is_some_and(|end| end == "ts" || end == "ps1");
    is_script.then(|| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

/// One line a call: its words, and the variables that matter.
fn note(words: &[String]) {
    let variable = |name: &str| format!("{name}={}", env::var(name).unwrap_or_default());
    let variables = ["LOCAL_COMFY_URL", "LOCAL_LLM_SEED", "LOCAL_STORY_PROVIDER_URL"].map(variable);
    let line = format!("{}\t{}\n", words.join("\t"), variables.join("\t"));
    let path = env::var("STAND_IN_NOTES").expect("STAND_IN_NOTES");
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("the notes");
    file.write_all(line.as_bytes()).expect("a note");
}

fn way(script: &str) -> String {
    let ways = env::var("STAND_IN_WAY").unwrap_or_default();
    let of = |way: &str| Some(way.strip_prefix(script)?.strip_prefix(':')?.to_owned());
    ways.split(' ').find_map(of).unwrap_or_default()
}

fn value(words: &[String], name: &str) -> String {
    let at = words.iter().position(|word| word == name).expect(name);
    words[at + 1].clone()
}

fn story(words: &[String]) {
    let output = PathBuf::from(value(words, "--output"));
    fs::create_dir_all(output.join("keyframes")).expect("the story's folder");
    let asked: u32 = value(words, "--scenes").parse().expect("a number");
    let count = if way("generate-story-scenes.ts") == "few" { asked - 1 } else { asked };
    let scenes: Vec<String> = (1..=count).map(|n| scene(&output, n)).collect();
    let text = format!(
        "\u{feff}{{\"storyId\": \"story-42\",\r\n\"logline\": \"A fox crosses the Straße.\",\r\n\
         \"directorsVision\": \"Quiet.\", \"generator\": \"stand-in\",\r\n\
         \"llm\": {{\"status\": \"success\", \"providerUrl\": \"http://user:s3cret@127.0.0.1:1234/v1\", \
         \"seed\": 42, \"durationMs\": 8011}},\r\n\"warnings\": [],\r\n\"scenes\": [{}]}}\r\n",
        scenes.join(",\r\n")
    );
    fs::write(output.join("story.json"), text).expect("the story");
}

fn scene(output: &Path, n: u32) -> String {
    fs::write(output.join(format!("keyframes/{n}.png")), b"\x89PNG\r\n\x1a\n").expect("a keyframe");
    format!(
        "{{\"id\": \"scene-00{n}\", \"title\": \"Scene {n}\", \"summary\": \"What happens\", \
         \"prompt\": \"a fox, take {n}\", \"negativePrompt\": \"blur\", \"mood\": \"calm\", \
         \"keyframePath\": \"keyframes/{n}.png\", \"expectedFrames\": 49, \
         \"cameraMovement\": \"pan\"}}"
    )
}
