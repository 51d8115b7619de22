//! The program as a user meets it, against a stand-in server.

mod command_line;
mod files;
mod interrupts;
mod outcomes;
mod stand_in;
mod stories;
mod submission;
mod support;
