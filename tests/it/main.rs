//! The program as a user meets it, against a stand-in server.
//!
//! A text in `expect![[…]]` is written anew by `UPDATE_EXPECT=1 cargo test --test it`.
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes its texts with them")]

#[cfg(target_os = "linux")]
mod awake;
mod cancelling;
mod command_line;
mod devices;
mod drop_in;
mod dry_run;
mod faults;
mod gates;
mod growth;
mod hostile_files;
mod interrupts;
mod killed;
mod llm;
mod monitor;
mod next;
mod nvidia_smi;
mod outcomes;
mod page;
mod project;
mod real_server;
mod reports;
mod run_folder;
mod secrets;
mod server_life;
mod signals;
mod stand_in;
mod stand_in_checks;
mod stories;
mod submission;
mod summary_verb;
mod support;
#[cfg(unix)]
mod terminal;
mod voices;
mod vram;
mod workflow_files;
