//! A prompt is posted exactly once, and every answer of the server is met with patience.

use serde_json::Value;

use crate::scenes::{SOON, ended, files, prompts, run, start};
use crate::stand_in::{Config, Fault, StandIn, graphs};
use crate::support::Folder;

fn video() -> [(&'static str, Value); 1] {
    [("a", graphs::video("video/a", 0.3, 64, 1))]
}

#[test]
fn a_prompt_whose_answer_is_lost_is_found_and_not_posted_again() {
    for ignore_prompt_id in [false, true] {
        let server = StandIn::with(Config { ignore_prompt_id, ..Config::default() });
        server.fail_next("POST /prompt", 1, Fault::LoseAnswer);
        // Still in the queue at both looks for it.
        let (folder, ran) = run(&server, &[("a", graphs::video("video/a", 1.5, 64, 1))], &[]);
        ran.exits(0).says("looking whether the prompt arrived");
        ended(&folder, &[("succeeded", "")]);
        assert_eq!((server.posted(), server.executed()), (1, 1));
        assert_eq!(prompts(&server).len(), 1);
    }
}

#[test]
fn a_prompt_whose_answer_is_lost_is_found_in_the_history_too() {
    let server = StandIn::with(Config { ignore_prompt_id: true, ..Config::default() });
    server.fail_next("POST /prompt", 1, Fault::LoseAnswer);
    // Over before anybody looks.
    server.fail_next("GET /queue", 2, Fault::Delay(std::time::Duration::from_millis(500)));
    let (folder, ran) = run(&server, &[("a", graphs::images("img/a", 1, 1))], &[]);
    ran.exits(0);
    ended(&folder, &[("succeeded", "")]);
    assert_eq!(server.posted(), 1);
}

#[test]
fn a_prompt_that_did_not_arrive_is_posted_again() {
    let server = StandIn::start();
    server.fail_next("POST /prompt", 1, Fault::Reset);
    let (folder, ran) = run(&server, &video(), &[]);
    ran.exits(0).says("the connection broke off: looking whether the prompt arrived");
    ended(&folder, &[("succeeded", "")]);
    assert_eq!((prompts(&server).len(), server.posted()), (2, 1));
}

#[test]
fn a_prompt_that_hung_is_posted_again() {
    let server = StandIn::start();
    server.fail_next("POST /prompt", 1, Fault::Hang);
    let folder = Folder::new();
    let running = start(&folder, &server.url(), &video(), &[]);
    assert!(server.wait_until_request("POST /prompt", 1, SOON));
    server.clear_faults(); // lets go of it, unanswered
    running.wait().exits(0);
    assert_eq!((prompts(&server).len(), server.posted()), (2, 1));
}

#[test]
fn every_post_has_ids_of_its_own_in_canonical_form() {
    let server = StandIn::start();
    server.fail_next("POST /prompt", 1, Fault::Status(502, "Bad Gateway"));
    let (folder, ran) = run(&server, &[("a", graphs::failing("x"))], &[]);
    ran.exits(1);
    ended(&folder, &[("failed", "RuntimeError: x")]);
    let posts = prompts(&server);
    assert_eq!(posts.len(), 3, "one at the gateway, two attempts");
    let id = |post: &Value, key: &str| post[key].as_str().unwrap_or_default().to_owned();
    let ids: Vec<String> =
        posts.iter().flat_map(|post| [id(post, "prompt_id"), id(post, "client_id")]).collect();
    for id in &ids {
        let lengths = id.split('-').map(str::len);
        assert!(lengths.eq([8, 4, 4, 4, 12]), "{id}");
        assert!(id.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f' | '-')), "{id}");
        assert_eq!(ids.iter().filter(|other| *other == id).count(), 1, "{id} twice");
    }
}

#[test]
fn a_history_with_nan_is_read() {
    let server = StandIn::with(Config { nan_in_history: true, ..Config::default() });
    let options = ["-SceneRetryBudget", "0"];
    let (folder, ran) = run(&server, &[("a", graphs::failing("not a number"))], &options);
    ran.exits(1);
    ended(&folder, &[("failed", "RuntimeError: not a number")]);
}

#[test]
fn polls_that_fail_are_gaps() {
    let server = StandIn::start();
    for fault in [
        Fault::Status(500, "in trouble"),
        Fault::Body("<html>a proxy's page</html>".into()),
        Fault::CutBody,
        Fault::Reset,
    ] {
        server.fail_next("GET /history/", 1, fault);
    }
    server.fail_next("GET /queue", 1, Fault::Body("[]".into())); // the opening line's
    server.fail_next("GET /queue", 3, Fault::Body("{}".into()));
    let (folder, ran) = run(&server, &video(), &[]);
    ran.exits(0)
        .says("HTTP 500: in trouble: polling on")
        .says("an answer that is not JSON: polling on")
        .says("the connection broke off: polling on");
    ended(&folder, &[("succeeded", "")]);
    assert_eq!(server.posted(), 1);
}

#[test]
fn a_poll_that_hangs_is_a_gap() {
    let server = StandIn::start();
    server.fail_next("GET /history/", 1, Fault::Hang);
    let (folder, ran) = run(&server, &video(), &[]);
    ran.exits(0).says("no answer in time: polling on");
    ended(&folder, &[("succeeded", "")]);
    let took = folder.metadata()["Scenes"][0]["DurationSeconds"].as_f64().unwrap();
    assert!(took < 15.0, "{took} s");
}

#[test]
fn an_answer_without_end_is_a_gap() {
    let server = StandIn::start();
    server.fail_next("GET /history/", 1, Fault::Endless);
    let (folder, ran) = run(&server, &video(), &[]);
    ran.exits(0).says("an answer of more than 64 MiB: polling on");
    ended(&folder, &[("succeeded", "")]);
}

#[test]
fn the_whole_history_is_never_asked_for() {
    let server = StandIn::start();
    server.fail_next("POST /prompt", 1, Fault::Reset);
    let folder = Folder::new();
    let scenes = [("first", graphs::images("img/first", 1, 1)), ("a", video()[0].1.clone())];
    let running = start(&folder, &server.url(), &scenes, &[]);
    assert!(server.wait_until(SOON, |state| state.running.is_some() && state.history.len() == 1));
    server.drop_prompts();
    running.wait().exits(6);
    let requests = server.requests();
    let asked: Vec<&str> = requests
        .iter()
        .filter(|request| request.is("GET /history"))
        .map(|request| request.path.as_str())
        .collect();
    let bounded = |path: &&str| path.len() > "/history/".len();
    assert!(asked.iter().any(|path| path.contains("?max_items=")), "{asked:?}");
    assert!(asked.iter().all(bounded), "{asked:?}");
}

#[test]
fn a_redirect_is_not_followed() {
    let (server, other) = (StandIn::start(), StandIn::start());
    let elsewhere = Fault::Redirect(format!("{}/prompt", other.url()));
    server.fail_next("POST /prompt", 1, elsewhere.clone());
    let (folder, ran) = run(&server, &video(), &[]);
    let why = "HTTP 302 (a redirect, not followed: give the final URL)";
    ran.exits(1);
    ended(&folder, &[("rejected", why)]);
    server.fail_next("GET /system_stats", 1, elsewhere);
    run(&server, &video(), &[]).1.exits(3).says(why);
    assert!(other.requests().is_empty());
}

/// No file of a test's folder holds one of the secrets, what was printed included.
#[track_caller]
fn are_nowhere(folder: &Folder, secrets: &[&str]) {
    for path in files(folder.path()).iter().filter(|path| !path.ends_with("headers.txt")) {
        let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        for secret in secrets {
            assert!(!text.contains(secret), "{} holds {secret}", path.display());
        }
    }
}

fn behind_a_gate(authorization: &str) -> StandIn {
    let authorization = Some(authorization.to_owned());
    StandIn::with(Config { prefix: "/comfy".into(), authorization, ..Config::default() })
}

#[test]
fn a_password_in_the_url_opens_the_server_and_is_written_nowhere() {
    let server = behind_a_gate("Basic dXNlcjpzM2NyZXQ=");
    server.fail_next("GET /view", 1, Fault::Status(500, "in trouble"));
    let folder = Folder::new();
    let url = server.url().replace("http://", "http://user:s3cret@");
    let scenes = [video()[0].clone(), ("b", graphs::failing("x"))];
    let ran = start(&folder, &url, &scenes, &[]).wait();
    ran.exits(1)
        .says("HTTP 500: downloading again")
        .says(&format!("Using ComfyUI URL: {}", server.url()));
    ended(&folder, &[("succeeded", ""), ("failed", "x")]);
    are_nowhere(&folder, &["s3cret", "dXNlcjpzM2NyZXQ"]);
    assert!(server.requests().iter().all(|request| request.path.starts_with("/comfy/")));
}

#[test]
fn a_header_of_a_file_opens_the_server_and_is_written_nowhere() {
    let server = behind_a_gate("Bearer t0ken");
    let folder = Folder::new();
    folder.write("headers.txt", "# ours\nAuthorization: Bearer t0ken\n");
    let scenes = [video()[0].clone(), ("b", graphs::failing("x"))];
    let options = ["-HeaderFile", "headers.txt"];
    start(&folder, &server.url(), &scenes, &options).wait().exits(1);
    ended(&folder, &[("succeeded", ""), ("failed", "x")]);
    are_nowhere(&folder, &["t0ken"]);
}

#[test]
fn a_server_that_wants_credentials_is_told_of() {
    let server = behind_a_gate("Bearer t0ken");
    let (folder, ran) = run(&server, &video(), &[]);
    ran.exits(3).says("does not let us in: HTTP 401 (it wants other credentials");
    ended(&folder, &[("skipped", "no ComfyUI")]);
}
