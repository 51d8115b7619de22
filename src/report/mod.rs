//! What a finished run looks like: pure functions of one record and the statistics of its log.

pub mod closing;
pub mod devices;
mod fields;
pub mod gates;
pub mod html;
pub mod junit;
pub mod machines;
pub mod markdown;
mod markup;
pub mod metadata;
mod outcome;
pub mod past;
pub mod prometheus;
pub mod record;
pub mod script;
pub mod sparkline;
pub mod told;

#[cfg(test)]
mod tests;
