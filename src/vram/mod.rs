//! Memory of the device: its readings and the thread that takes them, the log that holds them, the
//! statistics that are a function of the log, and the gates that judge them. Of a run it knows the
//! ids of its scenes alone.

pub mod freed_memory;
pub mod gates;
pub mod log;
pub mod nvidia_smi;
pub mod reading;
pub mod recording;
pub mod sampler;
pub mod source;
pub mod stats;
pub mod timeline;
