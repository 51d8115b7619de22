//! The program as a user meets it, against a stand-in server.

mod cancelling;
mod command_line;
mod devices;
mod downloads;
mod files;
mod gates;
mod growth;
mod interrupts;
mod losing;
mod metadata;
mod monitor;
mod monitor_command;
mod nvidia_smi;
mod outcomes;
mod real_server;
mod refused;
mod scenes;
mod seen;
mod stand_in;
mod stand_in_checks;
mod stories;
mod submission;
mod summary_verb;
mod support;
mod voices;
mod vram;
