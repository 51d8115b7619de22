//! What a finished run looks like: pure functions of one record and the statistics of its log.

pub mod closing;
pub mod metadata;
pub mod record;

#[cfg(test)]
mod tests;
