//! What kind of `ComfyUI` the stand-in is.

use std::time::Duration;

use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Before August 2025: `/interrupt` ignores its body and stops whatever runs.
    Ancient,
    /// 0.3.64, the recorded one: interrupts by id, has no cancel route.
    Recorded,
    /// 0.33: has a cancel route and notes when a prompt was made.
    Newest,
}

/// A device of `/system_stats`. Prompts and models take memory of the first one only.
#[derive(Clone, Debug)]
pub struct Device {
    /// As `ComfyUI` spells it, e.g. `cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync`.
    pub name: String,
    /// A CPU has none.
    pub index: Option<u32>,
    /// Bytes in all, and in use while nothing runs.
    pub total: u64,
    pub used: u64,
    /// Bytes cached by torch: free in `ComfyUI`'s figures, in use in the driver's.
    pub idle_cache: u64,
}

impl Device {
    /// The RAM of the recorded machine.
    pub fn cpu() -> Self {
        let (total, used) = (25_276_502_016, 1_288_548_352);
        Self { name: "cpu".to_owned(), index: None, total, used, idle_cache: 0 }
    }

    pub fn cuda(index: u32, card: &str, total_mb: u64, used_mb: u64, idle_cache_mb: u64) -> Self {
        Self {
            name: format!("cuda:{index} {card} : cudaMallocAsync"),
            index: Some(index),
            total: total_mb << 20,
            used: used_mb << 20,
            idle_cache: idle_cache_mb << 20,
        }
    }
}

/// The default is a `ComfyUI` 0.3.64 on the CPU.
#[derive(Clone, Debug)]
pub struct Config {
    pub version: Version,
    pub devices: Vec<Device>,
    /// Members of `/system_stats`' `system` that differ from the recorded ones, e.g. `argv`.
    pub system: Value,
    /// A path before every route, e.g. `/comfy`.
    pub prefix: String,
    /// The `Authorization` header that every request must carry to be answered other than 401.
    pub authorization: Option<String>,
    /// Gives prompts ids of the server's own, as servers do that know no `prompt_id`.
    pub ignore_prompt_id: bool,
    /// Writes a bare `NaN` among the inputs of a failed node, as Python does.
    pub nan_in_history: bool,
    /// Time until an idle server acts on `/free`; a prompt posted meanwhile runs first.
    pub free_delay: Duration,
    /// Bytes added to saved videos, in a `free` box that players skip.
    pub video_padding: usize,
    /// Where files lie that outlive the process.
    pub files: Option<std::path::PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: Version::Recorded,
            devices: vec![Device::cpu()],
            system: Value::Null,
            prefix: String::new(),
            authorization: None,
            ignore_prompt_id: false,
            nan_in_history: false,
            free_delay: Duration::from_millis(50),
            video_padding: 0,
            files: None,
        }
    }
}

impl Config {
    /// A desktop with one 24 GB card: 2140 MB in use, 100 MB in torch's cache.
    pub fn cuda() -> Self {
        let card = Device::cuda(0, "NVIDIA GeForce RTX 4090", 24_576, 2_140, 100);
        Self { devices: vec![card], ..Self::default() }
    }
}
