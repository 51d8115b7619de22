//! The script's side of a project.

pub mod story;
