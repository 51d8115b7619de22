//! Memory of the device: readings, the thread that takes them, the log that holds them, and the
//! statistics that are a function of the log. Knows no scene but its name.

pub mod log;
pub mod nvidia_smi;
pub mod reading;
pub mod sampler;
pub mod statistics;
