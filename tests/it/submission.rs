//! A prompt is posted exactly once, and an answer that fails is asked for again.

use serde_json::Value;

use crate::outcomes::video;
use crate::stand_in::{Config, Fault, StandIn, graphs};
use crate::support::{Folder, SOON, prompts, run, start};

#[test]
fn a_prompt_whose_answer_is_lost_is_found_in_the_history_too() {
    let server = StandIn::with(Config { ignore_prompt_id: true, ..Config::default() });
    server.fail_next("POST /prompt", 1, Fault::LoseAnswer);
    // The first look gets no answer until the prompt is over.
    server.fail_after("POST /prompt", "GET /queue", 1, Fault::Hang);
    let folder = Folder::new();
    let scene = [("a", graphs::images("img/a", 1, 1))];
    let running = start(&folder, &server.url(), &scene, &[]);
    assert!(server.wait_until_faults_are_met(SOON));
    assert!(server.wait_until(SOON, crate::stand_in::State::is_idle));
    server.clear_faults();
    running.wait().exits(0);
    folder.ended(&[("succeeded", "")]);
    assert_eq!(server.posted(), 1);
}

#[test]
fn a_prompt_that_did_not_arrive_is_posted_again() {
    for fault in [Fault::Reset, Fault::Hang] {
        let (server, folder) = (StandIn::start(), Folder::new());
        server.fail_next("POST /prompt", 1, fault);
        let running = start(&folder, &server.url(), &video(), &[]);
        assert!(server.wait_until_faults_are_met(SOON));
        server.clear_faults(); // a request that hangs is let go of, unanswered
        running
            .wait()
            .exits(0)
            .says("the connection broke off: looking whether the prompt arrived");
        folder.ended(&[("succeeded", "")]);
        assert_eq!((prompts(&server).len(), server.posted()), (2, 1));
    }
}

#[test]
fn a_prompt_that_was_carried_out_is_ours_whatever_the_status() {
    for status in [201, 202, 404, 409, 429, 499, 500, 501] {
        let server = StandIn::start();
        server.fail_next("POST /prompt", 1, Fault::ActAnd(status));
        let (folder, ran) = run(&server, &video(), &[]);
        ran.exits(0).says(&format!("HTTP {status}"));
        folder.ended(&[("succeeded", "")]);
        assert_eq!(server.posted(), 1, "{status}");
    }
}

#[test]
fn every_post_has_ids_of_its_own_in_canonical_form() {
    let server = StandIn::start();
    server.fail_next("POST /prompt", 1, Fault::Status(502, "Bad Gateway"));
    let (folder, ran) = run(&server, &[("a", graphs::failing("x"))], &[]);
    ran.exits(1);
    folder.ended(&[("failed", "RuntimeError: x")]);
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
    folder.ended(&[("failed", "RuntimeError: not a number")]);
}

/// What else a poll may meet is played in `faults`.
#[test]
fn a_poll_answered_without_end_is_a_gap() {
    let server = StandIn::start();
    server.fail_next("GET /history/", 1, Fault::Endless);
    let (folder, ran) = run(&server, &video(), &[]);
    ran.exits(0).says("an answer that is not JSON: polling on");
    folder.ended(&[("succeeded", "")]);
}

#[test]
fn the_whole_history_is_never_asked_for() {
    let server = StandIn::start();
    server.fail_next("POST /prompt", 1, Fault::Reset);
    let folder = Folder::new();
    let endless = graphs::video("video/a", 600.0, 64, 1);
    let scenes = [("first", graphs::images("img/first", 1, 1)), ("a", endless)];
    let running = start(&folder, &server.url(), &scenes, &[]);
    assert!(server.wait_until(SOON, |state| state.running.is_some() && state.history.len() == 1));
    server.drop_prompts();
    running.wait().exits(6);
    let requests = server.requests();
    let asked = requests.iter().filter(|request| request.is("GET /history"));
    let asked: Vec<&str> = asked.map(|request| request.path.as_str()).collect();
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
    let why = "HTTP 302 (a redirect, not followed: give the final URL, or what a login wants: ";
    ran.exits(1);
    folder.ended(&[("rejected", why)]);
    server.fail_next("GET /system_stats", 1, elsewhere);
    run(&server, &video(), &[]).1.exits(3).says(why);
    assert!(other.requests().is_empty());
}
