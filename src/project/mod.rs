//! The script's side of a project: its story, its template, and its own programs.

pub mod child;
pub mod generator;
pub mod steps;
pub mod story;
pub mod template;
pub mod tool;
