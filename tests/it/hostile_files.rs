//! Files that somebody else has put in our way, and files of the user's that stand in it.

use std::fs;
#[cfg(unix)]
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::killed::{long_and_short, state};
use crate::stand_in::{Config, StandIn};
use crate::support::{Folder, files};

#[test]
fn a_report_takes_the_place_of_nothing_that_is_read() {
    let (server, folder) = (StandIn::with(Config::cuda()), long_and_short());
    folder.write("headers.txt", "X-A: b\n");
    folder.write("key.txt", "k");
    folder.write("old.log", "12:00:00,Used=5MB,Total=24576MB,Interval=5s\n");
    folder.write("r.xml.part", "mine");
    let before = |name: &str| fs::read(folder.path().join(name)).unwrap();
    let inputs = ["short.json", "headers.txt", "key.txt", "old.log"];
    let given = inputs.map(before);
    let words =
        ["--header-file", "headers.txt", "--api-key-file", "key.txt", "--baseline", "old.log"];
    for input in inputs {
        let words = [&words[..], &["short.json", "--junit", input]].concat();
        folder.run_on(&server.url(), &words).refuses("that is read here, and would be replaced");
    }
    let words = ["monitor", "--duration", "0.1", "--baseline", "old.log", "--html", "old.log"];
    folder.run(&words).refuses("that is read here, and would be replaced");
    assert!(given == inputs.map(before) && server.posted() == 0);
    #[cfg(unix)]
    symlink("short.json", folder.path().join("r.html.part")).unwrap();
    folder.run_on(&server.url(), &["short.json", "--junit", "r.xml"]).exits(0);
    folder.run(&["summary", "--html", "r.html"]).exits(0);
    assert!(before("r.xml.part") == b"mine" && before("short.json") == given[0]);
    // What is not asked for by name does not follow a link either.
    #[cfg(unix)]
    {
        folder.write("public/x", "");
        symlink("../headers.txt", folder.path().join("public/artifact-metadata.json")).unwrap();
        folder.run_on(&server.url(), &["short.json", "--fresh"]).exits(0);
        assert!(before("headers.txt") == given[1]);
        assert!(before("public/artifact-metadata.json").starts_with(b"{"));
    }
}

#[test]
fn a_state_file_that_is_none_is_kept_and_finishes_nothing_else() {
    let (server, folder) = (StandIn::start(), long_and_short());
    let state = state(&folder, &server);
    fs::write(&state, "{\"Pid\": 7").unwrap();
    let short = || folder.run_on(&server.url(), &["short.json"]).exits(0);
    short().says("not JSON: ").says(": kept as ").says("may still be on the server\n");
    let name = state.file_name().unwrap().to_str().unwrap().to_owned();
    let kept = files(folder.path()).into_iter().find(|file| file.starts_with(&format!("{name}.2")));
    assert_eq!(fs::read(folder.path().join(kept.unwrap())).unwrap(), b"{\"Pid\": 7");

    // A planted one names a folder that no run has made.
    folder.write("notes/run-summary.txt", "mine\n");
    let planted = json!({"Pid": 7, "Started": "2026-11-24T23:00:04Z", "Url": server.url(),
        "RunDir": folder.path().join("notes"), "Ended": false, "Prompts": []});
    fs::write(&state, planted.to_string()).unwrap();
    short().says("was killed (process 7");
    assert_eq!(fs::read(folder.path().join("notes/run-summary.txt")).unwrap(), b"mine\n");

    #[cfg(unix)]
    {
        folder.write("mine", planted.to_string());
        symlink("mine", &state).unwrap();
        short().says("no file of its own: kept as ").never_says("was killed");
        let lock = state.with_extension("lock");
        fs::remove_file(&lock).unwrap();
        symlink("made", &lock).unwrap();
        short().says("no file of its own: another run on this server would not be noticed\n");
        assert!(!folder.path().join("made").exists());
    }
}

#[test]
fn each_of_two_killed_runs_gets_its_end() {
    let (server, folder) = (StandIn::start(), long_and_short());
    let running = folder.start_on(&server.url(), &["long.json"]);
    running.until_it_says("prompt queued");
    drop(running);
    // Killed before it could tell of the first.
    let first = folder.newest();
    server.stop_listening();
    let second = folder.start_on(&server.url(), &["--wait-for-comfyui", "60", "short.json"]);
    second.until_it_says("Waiting up to 60 s");
    drop(second);
    server.listen_again();
    folder.run_on(&server.url(), &["short.json"]).exits(0).says("long: cancelled on the server");
    let runs = folder.runs();
    assert_eq!((runs.len(), &runs[0]), (3, &first));
    for run in &runs[..2] {
        let text = fs::read_to_string(run.join("run-summary.txt")).unwrap();
        assert_eq!(text.matches("=== RUN INTERRUPTED ===").count(), 1, "{text}");
    }
    assert!(!state(&folder, &server).exists());
}

/// Without `/proc` the lock is all there is.
#[test]
#[cfg(target_os = "linux")]
fn a_living_run_without_its_lock_file_is_not_dead() {
    use std::os::unix::ffi::OsStrExt;

    let (server, folder) = (StandIn::start(), long_and_short());
    let first = folder.start_on(&server.url(), &["long.json"]);
    first.until_it_says("prompt queued");
    fs::remove_file(state(&folder, &server).with_extension("lock")).unwrap();
    let second = folder.start_on(&server.url(), &["short.json"]);
    second.until_it_says("waiting up to 60 s for the run of ");
    assert!(!server.queue_is_empty());
    server.finish_running();
    first.wait().exits(0);
    second.wait().exits(0).never_says("was killed");

    // A folder whose name is no text.
    let root = folder.path().join(std::ffi::OsStr::from_bytes(b"r\xff"));
    fs::create_dir(&root).unwrap();
    let start = |file: &str| {
        folder.start_with(&["--comfyui-url", &server.url(), file], |command| {
            command.current_dir(&root);
        })
    };
    let killed = start("../long.json");
    killed.until_it_says("prompt queued");
    drop(killed);
    start("../short.json").wait().exits(0).says("long: cancelled on the server");
    let run =
        fs::read_dir(root.join("logs")).unwrap().map(|run| run.unwrap().path()).min().unwrap();
    let text = fs::read_to_string(run.join("run-summary.txt")).unwrap();
    assert!(text.contains("=== RUN INTERRUPTED ==="), "{text}");
}

#[test]
fn a_baseline_that_is_given_twice_counts_once() {
    let folder = Folder::new();
    for (name, used) in [("a.log", 11_000), ("b.log", 11_300)] {
        folder.write(name, format!("12:00:00,Used=1000MB,Interval=5s\n12:00:05,Used={used}MB\n"));
    }
    // One allows 5 %, several that agree allow less.
    let twenty = ["--baseline", "a.log", "--baseline", "./a.log"].repeat(10);
    folder.run(&[&["summary", "b.log"][..], &twenty].concat()).exits(0);
}

#[test]
#[cfg(unix)]
fn what_is_no_file_is_refused_at_once() {
    let (server, folder) = (StandIn::with(Config::cuda()), long_and_short());
    let mkfifo = |name: &str| {
        fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        let _ = fs::remove_file(folder.path().join(name));
        let made = std::process::Command::new("mkfifo").arg(folder.path().join(name)).status();
        assert!(made.unwrap().success());
    };
    mkfifo("f.json");
    mkfifo("p/localGenSettings.json");
    mkfifo("run/vram-usage.log");
    mkfifo("run.log");
    folder.write("story.json", json!({"scenes": [{"id": "a", "prompt": "x"}]}).to_string());
    let zero = folder.path().join("zero.json");
    symlink("/dev/zero", &zero).unwrap();
    let url = server.url();
    let run = |words: &[&str]| folder.run_on(&url, words);
    for word in ["f.json", "zero.json"] {
        run(&["--workflow", word]).exits(2).complains("");
        run(&["--story", word, "short.json"]).refuses("a pipe or a device: name a file");
        run(&["short.json", "--baseline", word]).refuses("a pipe or a device: name a file");
        folder.run(&["summary", word]).refuses("a pipe or a device: name a file");
    }
    run(&["short.json", "--header-file", "zero.json"]).refuses("a pipe or a device: name a file");
    run(&["short.json", "--header-file", "f.json"]).refuses("a pipe that does not end within 5 s");
    let words = ["--project-root", "p", "--story", "story.json"];
    run(&words).exits(2);
    folder.run(&["summary", "run"]).exits(2);
    let monitor = ["monitor", "--duration", "0.1", "--append", "--log", "run.log"];
    folder.run(&monitor).refuses("a pipe or a device: name a file");
    // As the time zone.
    for zone in
        ["", ":"].map(|before| format!("{before}{}", folder.path().join("f.json").display()))
    {
        let words = ["--comfyui-url", &url, "short.json"];
        let running = folder.start_with(&words, |command| {
            command.env("TZ", &zone);
        });
        let ran = running.wait();
        ran.exits(0).says("the system does not tell its time zone: times are UTC");
    }
    // In place of a state file, and of a shell's `<(…)`.
    let state = state(&folder, &server);
    mkfifo(state.file_name().unwrap().to_str().unwrap());
    run(&["short.json"]).exits(0).says("no file of its own: kept as ");
    let program = env!("CARGO_BIN_EXE_run-comfyui-e2e");
    let script = format!(
        "'{program}' --comfyui-url {url} --fresh --header-file <(sleep 0.2; echo 'X-Token: t') short.json"
    );
    folder.run_program("bash", &["-c", &script]).exits(0);
    assert!(server.requests().iter().any(|request| request.header("x-token") == Some("t")));
}
