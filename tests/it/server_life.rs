//! `ComfyUI` started by a run: what starts it, what it dies of, what that costs, and its end.

use std::fs;

use serde_json::{Value, json};

use crate::stand_in::{Config, Fault, StandIn, free_port, graphs};
use crate::support::{Folder, Ran, SOON, example, start, wait_until};

/// A folder, a port, and the command that starts a stand-in there.
struct Place {
    folder: Folder,
    port: u16,
}

impl Place {
    fn new() -> Self {
        Place { folder: Folder::new(), port: free_port() }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn command(&self, way: &str) -> String {
        format!("\"{}\" {} {way}", example("comfyui_stand_in").display(), self.port)
    }

    /// A node's marker: it ends its server once.
    fn marker(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn run(&self, scenes: &[(&str, Value)], options: &[&str]) -> Ran {
        let command = self.command("");
        let options = [&["--start-comfyui", &command], options].concat();
        start(&self.folder, &self.url(), scenes, &options).wait()
    }

    fn answers(&self) -> bool {
        std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    fn starts(&self) -> Vec<Value> {
        self.folder.metadata()["Server"]["Starts"].as_array().unwrap().clone()
    }

    /// The state file.
    fn state(&self) -> std::path::PathBuf {
        self.folder.path().join(format!(".run-comfyui-e2e.127.0.0.1-{}.json", self.port))
    }
}

fn video(name: &str, color: u64) -> Value {
    graphs::video(&format!("video/{name}"), 0.3, 500, color)
}

/// A run of one scene on a server that it starts.
pub fn run_that_starts_it(options: &[&str]) -> Ran {
    let place = Place::new();
    place.run(&[("a", video("a", 1))], options)
}

#[test]
fn a_night_with_three_deaths_brings_every_scene_home() {
    let place = Place::new();
    let ending = |name, class| graphs::ending(&format!("video/{name}"), class, &place.marker(name));
    let scenes = [
        ("a", video("a", 1)),
        ("process", ending("process", "EndProcess")),
        ("b", video("b", 2)),
        ("worker", ending("worker", "EndWorker")),
        ("later", ending("later", "EndWorkerLater")),
        ("c", video("c", 3)),
        ("context", ending("context", "BreakContext")),
        ("manager", ending("manager", "AskForRestart")),
        ("d", video("d", 4)),
    ];
    let ran = place.run(&scenes, &[]).exits(0);
    ran.says("Starting ComfyUI (it did not answer): ")
        .says("steps/comfyui.log")
        .says("Starting ComfyUI (in process it went away (Fatal Python error: Segmentation fault))")
        .says("ComfyUI ended")
        .says("Server     ComfyUI started again 5 times: in process it went away (Fatal Python error: Segmentation fault); ready after ");
    assert!(!place.answers(), "it is ended with the run");
    assert!(!place.state().exists());
    let metadata = place.folder.metadata();
    let whys: Vec<_> =
        place.starts().iter().map(|it| it["Why"].as_str().unwrap().to_owned()).collect();
    let wanted = [
        "it did not answer",
        "in process it went away (Fatal Python error: Segmentation fault)",
        "in worker its worker died (RuntimeError: failed to extract audio)",
        // It was executed: what comes next finds the dead worker.
        "its worker died (RuntimeError: failed to extract audio)",
        "in context it cannot use its GPU any more",
        "in manager ComfyUI-Manager restarted it",
    ];
    assert_eq!(whys.len(), wanted.len(), "{whys:#?}");
    assert!(whys.iter().zip(wanted).all(|(why, wanted)| why.contains(wanted)), "{whys:#?}");
    assert_eq!(metadata["Server"]["Ended"], json!(true));
    let of = |scene: &str, key: &str| {
        let scenes = metadata["Scenes"].as_array().unwrap();
        scenes.iter().find(|it| it["SceneId"] == scene).unwrap()[key].clone()
    };
    let attempts = |scene: &str| -> Vec<Value> {
        let attempts = of(scene, "Attempts");
        attempts.as_array().unwrap().iter().map(|it| it["Outcome"].clone()).collect()
    };
    for (scene, outcomes) in [
        ("a", vec!["succeeded"]),
        ("process", vec!["lost", "succeeded"]),
        ("b", vec!["succeeded"]),
        ("worker", vec!["lost", "succeeded"]),
        ("context", vec!["failed", "succeeded"]),
        ("manager", vec!["lost", "succeeded"]),
    ] {
        assert_eq!(attempts(scene), outcomes, "{scene}");
    }
    let start = |scene| of(scene, "ServerStart");
    assert_eq!([start("a"), start("process"), start("d")], [json!(0), json!(1), json!(5)]);
    // What was there before is another process's.
    assert_eq!(of("process", "Vram")["AddedMB"], Value::Null);
    assert_eq!(of("b", "Vram")["AddedMB"], json!(500));
    let log = place.folder.read("vram-usage.log");
    assert!(log.contains("Missed=refused") || log.contains("Missed=reset"), "{log}");
    let again = place.folder.run(&["summary"]).exits(0);
    again.says("Server     ComfyUI started again 5 times: in process");
}

#[test]
fn two_scenes_that_take_it_down_cost_themselves_alone() {
    let place = Place::new();
    let killer = |name: &str| graphs::ending(&format!("video/{name}"), "EndWorker", "");
    let scenes = [("one", killer("one")), ("two", killer("two")), ("good", video("good", 1))];
    place.run(&scenes, &["--scene-retry-budget", "5"]).exits(6);
    let died = "its worker died (RuntimeError: failed to extract audio)";
    place.folder.ended(&[("lost", died), ("lost", died), ("succeeded", "")]);
    assert_eq!(place.starts().len(), 5);
    let three = [
        ("one", killer("one")),
        ("two", killer("two")),
        ("three", killer("three")),
        ("four", video("four", 2)),
    ];
    let ran = place.run(&three, &["--scene-retry-budget", "0"]).exits(3);
    ran.says("ComfyUI died under 3 scenes in a row");
    let skipped = ("skipped", "ComfyUI died under 3 scenes in a row");
    place.folder.ended(&[("lost", died), ("lost", died), ("lost", died), skipped]);
    assert!(!place.answers());
}

#[test]
fn a_command_that_gives_no_comfyui_is_named_with_what_it_said_last() {
    let other = free_port();
    for (way, options, wanted) in [
        (
            "ends-with 3",
            vec![],
            "it has ended with exit code 3; it said last: ModuleNotFoundError: No module named 'torch'",
        ),
        (
            "silent",
            vec!["--wait-for-comfyui", "2"],
            "without a line); it said last: Loading a model",
        ),
        ("page", vec![], "what answers is no ComfyUI"),
        (
            "stays",
            vec![],
            "it has ended with exit code 0, and ComfyUI answers all the same: give the command that stays",
        ),
        (
            &format!("elsewhere {other}"),
            vec![],
            &format!("it listens on another port: --comfyui-url http://127.0.0.1:{other}"),
        ),
    ] {
        let place = Place::new();
        let command = place.command(way);
        let options = [vec!["--start-comfyui", &command], options].concat();
        let ran = start(&place.folder, &place.url(), &[("a", video("a", 1))], &options).wait();
        // The same again would not help.
        ran.exits(3)
            .says(&format!("ComfyUI does not start by {command}: "))
            .says(wanted)
            .never_says("Next  ");
        assert!(
            !place.answers() && std::net::TcpStream::connect(("127.0.0.1", other)).is_err(),
            "{way}"
        );
        assert!(!place.state().exists());
    }
    let place = Place::new();
    let words = ["--start-comfyui", "no-such-program --port 1"];
    let ran = start(&place.folder, &place.url(), &[("a", video("a", 1))], &words).wait();
    ran.exits(3).says("ComfyUI does not start by no-such-program --port 1: ").never_says("it said");
    // Nothing was started: the next run has nothing to be afraid of.
    assert!(!place.state().exists());
}

#[test]
fn a_start_command_is_checked_before_anything_is_made() {
    let folder = Folder::new();
    folder.workflow("a.json", &video("a", 1));
    for (words, wanted) in [
        (
            vec!["--start-comfyui", "x", "--comfyui-url", "http://gpu.example:8188"],
            "--start-comfyui starts ComfyUI on this machine, and http://gpu.example:8188 is another one: leave it out",
        ),
        (vec!["-StartComfyUI", "\"x"], "-StartComfyUI: a double quote has no end"),
        (vec!["--start-comfyui", " "], "--start-comfyui: it is empty"),
    ] {
        folder.run(&[vec!["a.json"], words].concat()).exits(2).refuses(wanted);
    }
    // A dry run starts nothing.
    let command = Place::new().command("");
    let port = free_port().to_string();
    let url = format!("http://127.0.0.1:{port}");
    let words = ["a.json", "--dry-run", "--start-comfyui", &command, "--comfyui-url", &url];
    folder.run(&words).exits(3);
    assert!(!folder.logs.exists());
}

#[test]
fn one_that_answered_at_the_start_is_used_and_never_ended() {
    let (place, server) = (Place::new(), StandIn::with(Config::cuda()));
    let command = place.command("");
    let options = ["--start-comfyui", &command];
    start(&place.folder, &server.url(), &[("a", video("a", 1))], &options).wait().exits(0);
    assert_eq!(place.starts(), [] as [Value; 0]);
    assert_eq!(place.folder.metadata()["Server"]["Ended"], Value::Null);
    // Where it breaks it is left to whoever started it.
    let broken = |name: &str| graphs::ending(&format!("video/{name}"), "BreakContext", "");
    let scenes = [("a", broken("a")), ("b", broken("b")), ("c", video("c", 2))];
    let ran = start(&place.folder, &server.url(), &scenes, &options).wait().exits(1);
    ran.says(
        "ComfyUI has to be started anew (it cannot use its GPU any more): end it and run again",
    );
    let why = "illegal memory access";
    let skipped = ("skipped", "ComfyUI has to be started anew (it cannot use its GPU any more)");
    place.folder.ended(&[("failed", why), ("failed", why), skipped]);
    assert!(server.queue_is_empty());
}

#[test]
fn one_that_goes_away_in_the_night_is_replaced() {
    let (folder, server) = (Folder::new(), StandIn::with(Config::cuda()));
    let (port, url) = (server.port(), server.url());
    let place = Place { folder, port };
    let command = place.command("");
    let options = ["--start-comfyui", &command, "--wait-for-comfyui", "2"];
    let scenes = [("a", graphs::video("video/a", 5.0, 0, 1)), ("b", video("b", 2))];
    let running = start(&place.folder, &url, &scenes, &options);
    assert!(server.wait_until_running(SOON));
    running.until_it_says("prompt queued");
    drop(server);
    running.wait().exits(0).says("Server     ComfyUI started again once: in a it went away; ready");
    assert_eq!(place.starts().len(), 1);
    assert_eq!(place.folder.metadata()["Scenes"][0]["Attempts"][0]["Outcome"], "lost");
    assert!(!place.answers());
}

#[test]
fn dead_servers_are_known_without_the_option() {
    let (server, folder) = (StandIn::with(Config::cuda()), Folder::new());
    let mut silent = graphs::ending("video/silent", "EndWorkerLater", "");
    silent["2"]["inputs"]["silent"] = true.into();
    let scenes = [("silent", silent), ("b", video("b", 2)), ("c", video("c", 3))];
    let ran = start(&folder, &server.url(), &scenes, &["--max-wait-seconds", "20"]).wait().exits(1);
    let idle = "ComfyUI answers but executes nothing: its worker has died, or its queue is paused";
    let anew = format!("ComfyUI has to be started anew ({idle}); --start-comfyui COMMAND does it");
    ran.says(&anew);
    // 20 s of the first attempt, 10 s of the second: counted over both.
    folder.ended(&[("succeeded", ""), ("lost", idle), ("skipped", &anew)]);
    assert!(server.queue_is_empty(), "nothing is left behind");
    server.restart();

    let broken = |name: &str| graphs::ending(&format!("video/{name}"), "BreakContext", "");
    let scenes = [("a", broken("a")), ("b", broken("b")), ("c", video("c", 4))];
    start(&folder, &server.url(), &scenes, &[]).wait().exits(1);
    let anew = "ComfyUI has to be started anew (it cannot use its GPU any more); --start-comfyui";
    folder.ended(&[("failed", "illegal"), ("failed", "illegal"), ("skipped", anew)]);
    assert_eq!(server.posted(), 3 + 3, "the second scene's first attempt is the last");
    server.restart();

    // A proxy answers for a server that is gone.
    let running = start(
        &folder,
        &server.url(),
        &[("d", graphs::video("video/d", 600.0, 0, 5)), ("e", video("e", 6))],
        &["--wait-for-comfyui", "2"],
    );
    assert!(server.wait_until_running(SOON));
    running.until_it_says("prompt queued");
    for method in ["GET /", "POST /"] {
        server.fail_next(method, usize::MAX, Fault::Status(502, "<html>Bad Gateway</html>"));
    }
    running.wait().exits(3);
    folder.ended(&[("unreachable", "refused for 2 s on end"), ("skipped", "server gone")]);
}

#[test]
fn somebody_else_s_prompt_keeps_it_running_and_the_next_run_ends_it() {
    let place = Place::new();
    let command = place.command("");
    let scenes = [("a", graphs::video("video/a", 3.0, 0, 1))];
    let running = start(&place.folder, &place.url(), &scenes, &["--start-comfyui", &command]);
    running.until_it_says("prompt queued");
    let theirs = post(place.port, &graphs::video("video/theirs", 600.0, 0, 2));
    running.wait().exits(0).says("ComfyUI is left running: somebody else's prompt is there");
    assert!(place.answers());
    assert_eq!(place.folder.metadata()["Server"]["Ended"], json!(false));
    assert!(place.state().exists());
    if cfg!(windows) {
        // Which process a number is cannot be told there: it is the test's to end.
        post(place.port, &graphs::ending("video/end", "EndProcess", ""));
    }
    cancel(place.port, &theirs);
    if cfg!(unix) {
        let ran = start(&place.folder, &place.url(), &[("b", video("b", 3))], &[]).wait().exits(0);
        ran.says("is taken over").says("ComfyUI ended");
        wait_until("its end", || !place.answers());
    }
    let left = fs::read_to_string(place.state()).unwrap_or_default();
    assert!(cfg!(windows) || left.is_empty(), "{left}");
}

#[test]
fn files_come_from_the_server_that_is_started_in_place_of_theirs() {
    let place = Place::new();
    let files = place.folder.path().join("files");
    fs::create_dir(&files).unwrap();
    let command = place.command(&format!("files {}", files.display()));
    // Its process ends on the first request for a file.
    let options = ["--start-comfyui", &command, "--scene-retry-budget", "0"];
    start(&place.folder, &place.url(), &[("a", video("a", 1))], &options).wait().exits(0);
    assert_eq!(place.starts().len(), 2);
    assert!(place.folder.newest().join("video/a/a.mp4").is_file());
}

#[test]
fn another_device_is_not_the_same_server() {
    let place = Place::new();
    let marker = place.folder.path().join("lost");
    let command = place.command(&format!("cpu {}", marker.display()));
    let scenes = [
        ("a", graphs::ending("video/a", "EndWorker", marker.to_str().unwrap())),
        ("b", video("b", 2)),
    ];
    let ran = start(&place.folder, &place.url(), &scenes, &["--start-comfyui", &command]).wait();
    ran.exits(3)
        .says("it came back with another device: cpu, before cuda:0 NVIDIA GeForce RTX 4090");
    assert!(!place.answers());
}

#[test]
fn a_start_that_fails_since_something_is_in_use_is_repeated_once() {
    let place = Place::new();
    let command = place.command(&format!("occupied {}", place.marker("tried")));
    let words = ["--start-comfyui", &command];
    start(&place.folder, &place.url(), &[("a", video("a", 1))], &words).wait().exits(0);
    assert_eq!(place.starts().len(), 1);
}

#[test]
fn what_prints_without_end_fills_no_disk() {
    let place = Place::new();
    let command = place.command("flood");
    let scenes = [("a", graphs::video("video/a", 8.0, 0, 1))];
    let ran = start(&place.folder, &place.url(), &scenes, &["--start-comfyui", &command]).wait();
    ran.exits(0).says("steps/comfyui.log was cut at 100 MB");
    let size = fs::metadata(place.folder.newest().join("steps/comfyui.log")).unwrap().len();
    assert!(size < 1 << 30, "{size}");
}

#[test]
fn a_prompt_that_no_cancel_reaches_ends_a_server_of_ours_after_a_minute() {
    let place = Place::new();
    let mut graph = graphs::ending("video/a", "EndWorker", &place.marker("a"));
    graph["2"]["inputs"]["silent"] = true.into();
    let options = ["--max-wait-seconds", "2", "--scene-retry-budget", "1"];
    let ran = place.run(&[("a", graph), ("b", video("b", 2))], &options).exits(0);
    ran.says("in a no cancel reaches a prompt past its deadline");
    let attempts = place.folder.metadata()["Scenes"][0]["Attempts"].clone();
    assert_eq!([&attempts[0]["Outcome"], &attempts[1]["Outcome"]], ["deadline", "succeeded"]);
}

/// A file that starts the stand-in from a shell, which goes on when it has ended.
#[cfg(unix)]
fn script(place: &Place, before: &str) -> String {
    let file =
        place.folder.write("run.sh", format!("#!/bin/sh\n{before}\n{}\n", place.command("")));
    crate::support::executable(&file);
    file.to_str().unwrap().to_owned()
}

/// It ignores the request to end, has started something else, and the run is interrupted.
#[cfg(unix)]
#[test]
fn all_that_the_command_has_started_is_ended_with_the_run() {
    let place = Place::new();
    let file = script(&place, "trap '' TERM; sleep 600 & echo $! >child; pwd >where");
    let words = ["--start-comfyui", &file];
    let scenes = [("a", graphs::video("video/a", 600.0, 0, 1))];
    let running = start(&place.folder, &place.url(), &scenes, &words);
    running.until_it_says("prompt queued");
    let child = fs::read_to_string(place.folder.path().join("child")).unwrap();
    assert!(crate::support::is_alive(child.trim()));
    // The file's own folder.
    let here = fs::read_to_string(place.folder.path().join("where")).unwrap();
    assert_eq!(fs::canonicalize(here.trim()).unwrap(), place.folder.path().canonicalize().unwrap());
    crate::signals::signal(&running, "-INT");
    running.wait().exits(130).says("ComfyUI ended");
    assert!(!place.answers());
    wait_until("its end", || !crate::support::is_alive(child.trim()));
    assert!(!place.state().exists());
}

/// As the portable `ComfyUI`'s `run_nvidia_gpu.bat`, which ends with a `pause`.
#[cfg(windows)]
#[test]
fn a_bat_is_started_in_its_own_folder_and_ended_with_all_it_started() {
    let place = Place::new();
    let text = format!("cd > where\r\n{}\r\npause\r\n", place.command(""));
    let file = place.folder.write("my comfy\\run_nvidia_gpu.bat", text);
    let words = ["--start-comfyui", file.to_str().unwrap()];
    let ran = start(&place.folder, &place.url(), &[("a", video("a", 1))], &words).wait().exits(0);
    ran.says("ComfyUI ended");
    let here = fs::read_to_string(place.folder.path().join("my comfy\\where")).unwrap();
    assert!(here.trim().ends_with("my comfy"), "{here}");
    wait_until("its end", || !place.answers());
}

#[test]
fn somebody_else_s_prompt_is_not_taken_down() {
    let place = Place::new();
    let mut graph = graphs::ending("video/a", "BreakContext", &place.marker("a"));
    graph["2"]["inputs"]["seconds"] = 1.5.into();
    let command = place.command("");
    let running =
        start(&place.folder, &place.url(), &[("a", graph)], &["--start-comfyui", &command]);
    running.until_it_says("prompt queued");
    post(place.port, &graphs::video("video/theirs", 2.0, 0, 2));
    let ran = running.wait().exits(0);
    let (_, after) = ran.stdout.split_once("trying again (1 of 1)").unwrap();
    let (waited, _) = after.split_once("Starting ComfyUI").unwrap();
    assert!(
        waited.contains("ComfyUI is started anew when somebody else's prompt has ended"),
        "{ran}"
    );
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_one_that_starts() {
    let place = Place::new();
    let file = script(&place, "sleep 600 & echo $! >child; wait");
    let words = ["--start-comfyui", &file];
    let running = start(&place.folder, &place.url(), &[("a", video("a", 1))], &words);
    let child = place.folder.path().join("child");
    wait_until("its start", || fs::read_to_string(&child).is_ok_and(|id| id.ends_with('\n')));
    crate::signals::signal(&running, "-TERM");
    running.wait().exits(130);
    let child = fs::read_to_string(child).unwrap();
    wait_until("its end", || !crate::support::is_alive(child.trim()));
    assert!(!place.state().exists());
}

#[cfg(unix)]
#[test]
fn a_second_interrupt_ends_it_by_force() {
    let place = Place::new();
    let file = script(&place, "trap '' TERM");
    let scenes = [("a", graphs::deaf("video/a", 600.0, 600.0))];
    let running = start(&place.folder, &place.url(), &scenes, &["--start-comfyui", &file]);
    running.until_it_says("prompt queued");
    crate::signals::signal(&running, "-INT");
    running.until_it_says("stopping");
    // What comes within 2 s of the first is the same interrupt.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    crate::signals::signal(&running, "-INT");
    running.wait().exits(130);
    wait_until("its end", || !place.answers());
}

#[cfg(unix)]
#[test]
fn a_killed_run_s_server_is_taken_over_also_while_it_starts() {
    for before in ["", "sleep 2"] {
        let place = Place::new();
        let file = script(&place, before);
        let scenes = [("a", graphs::video("video/a", 600.0, 0, 1))];
        let running = start(&place.folder, &place.url(), &scenes, &["--start-comfyui", &file]);
        running.until_it_says(if before.is_empty() { "prompt queued" } else { "Starting ComfyUI" });
        wait_until("its process is known", || {
            fs::read_to_string(place.state())
                .is_ok_and(|text| text.contains("comfyui.log") && !text.contains("\"Pid\": null"))
        });
        drop(running);
        let ran = start(&place.folder, &place.url(), &[("b", video("b", 2))], &[]).wait().exits(0);
        let ran = ran.says("is taken over").says("ComfyUI ended");
        if before.is_empty() {
            ran.says("a: cancelled on the server");
        }
        assert!(!place.answers() && !place.state().exists());
    }
}

#[cfg(unix)]
#[test]
fn a_process_that_says_nothing_of_its_end_is_told_by_its_signal() {
    let place = Place::new();
    let scenes = [("a", graphs::video("video/a", 2.0, 0, 1))];
    let command = place.command("");
    let running = start(&place.folder, &place.url(), &scenes, &["--start-comfyui", &command]);
    running.until_it_says("prompt queued");
    let state: Value = serde_json::from_str(&fs::read_to_string(place.state()).unwrap()).unwrap();
    let id = state["Server"]["Pid"].to_string();
    std::process::Command::new("kill").args(["-9", &id]).status().unwrap();
    running
        .wait()
        .exits(0)
        .says("Server     ComfyUI started again once: in a it went away (signal 9); ready after ");
}

/// Posts a prompt of somebody else's. Returns its id.
fn post(port: u16, graph: &Value) -> String {
    let body = json!({"prompt": graph, "client_id": "somebody"}).to_string();
    let answer = request(port, "POST /prompt", &body);
    let (_, id) = answer.split_once("\"prompt_id\"").unwrap();
    id.split('"').nth(1).unwrap().to_owned()
}

fn cancel(port: u16, id: &str) {
    request(port, "POST /queue", &json!({"delete": [id]}).to_string());
    request(port, "POST /interrupt", &json!({"prompt_id": id}).to_string());
}

fn request(port: u16, line: &str, body: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
