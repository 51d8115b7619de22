//! `vram-usage.log`: one line a tick, written as it happens and read back for the statistics.
//!
//! ```text
//! 12:01:00,Used=2140MB,Free=22436MB,Total=24576MB,Driver=2240MB,Ram=31020MB,Interval=5s
//! 12:01:10,Used=19310MB,Free=5266MB,Total=24576MB,Driver=19310MB,Scene=flow,Source=nvidia-smi
//! 12:01:15,Missed=timeout,Scene=flow
//! ```
//!
//! The first three fields are those of the `PowerShell` script, so that its readers go on
//! working; each field stands only where its value is known.

mod line;
pub mod names;
mod parse;
mod reader;
mod today;
mod writer;

#[cfg(test)]
pub(super) use line::tests::any_line;
pub use line::{Line, time_text};
pub use reader::Reader;
pub use writer::Writer;
pub(super) use writer::shows_millis;
