//! What kind of `ComfyUI` the stand-in is.

use std::time::Duration;

/// The ways in which servers of different ages differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Before August 2025: `/interrupt` ignores its body, and cached outputs are missing from the
    /// history of a prompt without a `client_id`.
    Ancient,
    /// 0.3.64, the recorded one: interrupts by id, has no cancel route.
    Recorded,
    /// 0.33: a cancel route, insists on canonical prompt ids, notes when a prompt was made.
    Newest,
}

/// A device of `/system_stats`. The first one carries the memory of prompts and models.
#[derive(Clone, Debug)]
pub struct Device {
    /// As `ComfyUI` spells it, e.g. `cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync`.
    pub name: String,
    /// `cpu` or `cuda`.
    pub kind: &'static str,
    /// Its number; a CPU has none.
    pub index: Option<u32>,
    /// Bytes in all.
    pub total: u64,
    /// Bytes in use while nothing runs.
    pub used: u64,
    /// Bytes that torch holds idle: free in `ComfyUI`'s figures, taken in the driver's.
    pub idle_cache: u64,
}

impl Device {
    /// The recorded machine: its RAM.
    pub fn cpu() -> Self {
        Self {
            name: "cpu".to_owned(),
            kind: "cpu",
            index: None,
            total: 25_276_502_016,
            used: 1_288_548_352,
            idle_cache: 0,
        }
    }

    /// An NVIDIA card.
    pub fn cuda(index: u32, card: &str, total_mb: u64, used_mb: u64, idle_cache_mb: u64) -> Self {
        Self {
            name: format!("cuda:{index} {card} : cudaMallocAsync"),
            kind: "cuda",
            index: Some(index),
            total: total_mb << 20,
            used: used_mb << 20,
            idle_cache: idle_cache_mb << 20,
        }
    }
}

/// What the stand-in is like; the default is a `ComfyUI` 0.3.64 on the CPU.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its age.
    pub version: Version,
    /// What `/system_stats` lists.
    pub devices: Vec<Device>,
    /// A path before every route, e.g. `/comfy`.
    pub prefix: String,
    /// The `Authorization` header that every request must carry; else 401.
    pub authorization: Option<String>,
    /// Whether prompts get ids of the server's own, as on servers that know no `prompt_id`.
    pub ignore_prompt_id: bool,
    /// Whether an execution error's inputs hold a bare `NaN`.
    pub nan_in_history: bool,
    /// How long an idle server takes to act on `/free`; a prompt posted meanwhile comes first.
    pub free_delay: Duration,
    /// Bytes by which saved videos are longer than the clip (a `free` box: they still play).
    pub video_padding: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: Version::Recorded,
            devices: vec![Device::cpu()],
            prefix: String::new(),
            authorization: None,
            ignore_prompt_id: false,
            nan_in_history: false,
            free_delay: Duration::from_millis(50),
            video_padding: 0,
        }
    }
}

impl Config {
    /// A desktop with one 24 GB card: 2140 MB in use, 100 MB idle in torch's cache.
    pub fn cuda() -> Self {
        let card = Device::cuda(0, "NVIDIA GeForce RTX 4090", 24_576, 2_140, 100);
        Self { devices: vec![card], ..Self::default() }
    }
}
