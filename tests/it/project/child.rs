//! A program of the project's and what it starts, ended on every system.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use run_comfyui_e2e::process::{self, Ended, Interrupted};

use super::bench::Project;
use crate::scenes::SOON;

/// The stand-in for `npx`, which behaves that way.
fn npx(project: &Project, way: &str) -> Command {
    let end = if cfg!(windows) { ".cmd" } else { "" };
    let mut command = Command::new(project.programs_folder().join(format!("npx{end}")));
    command
        .args(["tsx", "a.ts"])
        .env("STAND_IN_NOTES", project.folder.path().join("notes.txt"))
        .env("STAND_IN_WAY", format!("a.ts:{way}"));
    command
}

fn log(project: &Project) -> PathBuf {
    project.folder.path().join("steps").join("a.log")
}

#[test]
fn past_its_limit_it_is_ended_with_what_it_started() {
    let project = Project::new();
    // The limit is far enough off for a first pause, which waits for it.
    let mut wait = |time| {
        project.wait_for_what_it_started();
        std::thread::sleep(time);
        Ok(())
    };
    let limit = Duration::from_secs(1);
    let ended = process::run(npx(&project, "started"), &log(&project), limit, &mut wait);
    assert_eq!(ended, Ok(Ended::TimedOut(limit)));
    project.nothing_is_left();
}

#[test]
fn an_end_that_is_asked_for_ends_what_it_started_too() {
    let project = Project::new();
    let mut wait = |time| {
        project.wait_for_what_it_started();
        std::thread::sleep(time);
        Err(Interrupted)
    };
    let ended = process::run(npx(&project, "started"), &log(&project), SOON, &mut wait);
    assert_eq!(ended, Err(Interrupted));
    project.nothing_is_left();
}

#[test]
fn whatever_it_prints_reaches_its_log() {
    let project = Project::new();
    let begun = Instant::now();
    let mut wait = |time| {
        std::thread::sleep(time);
        Ok(())
    };
    let ended = process::run(npx(&project, "flood"), &log(&project), SOON, &mut wait);
    assert_eq!(ended, Ok(Ended::Code(0)), "{:?}", begun.elapsed());
    assert!(fs::metadata(log(&project)).unwrap().len() > 2 * 1024 * 1024);
}

#[test]
#[cfg(windows)] // Only a .cmd refuses words that a command line can hold.
fn an_argument_that_a_program_cannot_be_given_is_named() {
    let project = Project::new();
    let mut command = npx(&project, "");
    command.arg("a \"fox\" & 100%").arg("two\nlines");
    let ended = process::run(command, &log(&project), SOON, &mut |_| Ok(()));
    let Ok(Ended::NotStarted(why)) = ended else { panic!("{ended:?}") };
    assert!(why.starts_with("npx.cmd cannot be given the argument 'two lines': "), "{why}");
    assert!(project.notes().is_empty());
}

#[test]
fn a_log_that_cannot_be_made_is_named() {
    let project = Project::new();
    let blocked = project.folder.write("steps", "in the way");
    let ended = process::run(npx(&project, ""), &log(&project), SOON, &mut |_| Ok(()));
    let Ok(Ended::NotStarted(why)) = ended else { panic!("{ended:?}") };
    assert!(why.starts_with(&blocked.join("a.log").display().to_string()), "{why}");
    assert!(project.notes().is_empty());
}

#[test]
#[cfg_attr(windows, ignore = "needs CONSOLE_EVENT")]
fn an_interrupt_ends_the_generator() {
    let project = Project::new();
    let running = project.start("generate-story-scenes.ts:started", &[]);
    project.wait_for_what_it_started();
    crate::signals::ctrl_c(&running);
    let ran =
        running.wait().exits(130).says("INTERRUPTED: no scene was run, exit 130 (interrupted)");
    project.nothing_is_left();
    assert!(!ran.stdout.contains("=== STEP 4"), "{ran}");
    assert!(!project.root().join("artifacts").exists());
}
