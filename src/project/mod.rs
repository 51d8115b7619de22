//! The script's side of a project: its story, its template, and its own programs.

pub mod generator;
pub mod helpers;
pub mod llm;
mod llm_server;
pub mod lm_studio;
pub mod story;
pub mod tool;
pub mod workflow_source;
