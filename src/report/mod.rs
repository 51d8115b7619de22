//! What a finished run looks like: pure functions of one record and the statistics of its log.

pub mod devices;
mod escape;
pub mod export;
mod fields;
pub mod gates;
pub mod html;
pub mod input;
pub mod legacy;
pub mod metadata;
mod outcome;
pub mod record;
pub mod saved_run;
pub mod sparkline;
pub mod text;

#[cfg(test)]
mod tests;
