//! What a finished run looks like: pure functions of one record and the statistics of its log.

pub mod closing;
pub mod devices;
mod fields;
pub mod gates;
pub mod html;
pub mod metadata;
mod outcome;
pub mod past;
pub mod record;
pub mod script;

#[cfg(test)]
mod tests;
