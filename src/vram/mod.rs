//! Memory of the device: readings, the thread that takes them, the log that holds them, and the
//! statistics that are a function of the log, and the gates that they are held against. Knows no scene but its name.

pub mod gates;
pub mod log;
pub mod nvidia_smi;
pub mod reading;
pub mod sampler;
pub mod settle;
pub mod source;
pub mod stats;
pub mod timeline;
