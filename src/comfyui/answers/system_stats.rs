//! `GET /system_stats`: the server, and the memory of its devices.

use serde_json::Value;

use super::super::json::text;
use crate::sanitize::sanitize_line;
use crate::vram::reading::{HIGHEST_MB, MB, Reading, is_system_ram, to_mb};

/// `GET /system_stats`.
#[derive(Clone, Debug, Default)]
pub struct SystemStats {
    /// `system.comfyui_version`.
    pub comfyui: Option<String>,
    /// `system.pytorch_version`.
    pub pytorch: Option<String>,
    /// `system.python_version`, its first word.
    pub python: Option<String>,
    /// `devices[]`, the primary first.
    pub devices: Vec<Device>,
}

/// One of the server's devices.
#[derive(Clone, Debug)]
pub struct Device {
    /// As the server calls it: `cuda:0 NVIDIA GeForce RTX 3090 : cudaMallocAsync`.
    pub name: String,
    /// `cuda`, `cpu`, `mps`, … Of `cpu` and `mps` the figures are system memory.
    pub kind: String,
    /// The server's own number for it.
    pub index: Option<u64>,
    /// Its memory, where the answer holds figures for it.
    pub memory: Option<Reading>,
}

impl SystemStats {
    pub(in crate::comfyui) fn read(value: &Value) -> Self {
        let system = &value["system"];
        let ram = bytes(system, "ram_total")
            .zip(bytes(system, "ram_free"))
            .map(|(total, free)| total.saturating_sub(free));
        let devices = value["devices"].as_array().map(Vec::as_slice).unwrap_or_default();
        SystemStats {
            comfyui: text(system, "comfyui_version").map(|s| sanitize_line(&s)),
            pytorch: text(system, "pytorch_version").map(|s| sanitize_line(&s)),
            python: text(system, "python_version")
                .and_then(|version| version.split_whitespace().next().map(sanitize_line)),
            devices: devices.iter().map(|device| Device::read(device, ram)).collect(),
        }
    }
}

impl Device {
    /// Whether its figures are the machine's own memory.
    pub fn is_ram(&self) -> bool {
        is_system_ram(&self.kind)
    }

    fn read(value: &Value, ram: Option<u64>) -> Self {
        let kind = sanitize_line(&text(value, "type").unwrap_or_default());
        Device {
            name: sanitize_line(&text(value, "name").unwrap_or_default()),
            index: value["index"].as_u64(),
            // DirectML tells a constant.
            memory: memory(value, kind == "cuda", ram).filter(|_| kind != "privateuseone"),
            kind,
        }
    }
}

/// Used is what live tensors hold. The driver's figure adds torch's idle cache, which
/// `vram_free` counts as free. Presence decides, not truth: 0 is a value.
fn memory(device: &Value, cuda: bool, ram: Option<u64>) -> Option<Reading> {
    let either = |key, in_mb| bytes(device, key).or_else(|| bytes(device, in_mb)?.checked_mul(MB));
    let total = either("vram_total", "total_mem_mb");
    let free = either("vram_free", "free_mem_mb");
    let used = total
        .zip(free)
        .map(|(total, free)| total.saturating_sub(free))
        .or_else(|| either("vram_used", "used_mem_mb"))?;
    let idle = bytes(device, "torch_vram_free");
    let driver = total
        .zip(free)
        .zip(idle)
        .filter(|_| cuda)
        .map(|((total, free), idle)| total.saturating_sub(free.saturating_sub(idle)));
    let reading = Reading {
        used: to_mb(used),
        free: free.map(to_mb),
        total: total.map(to_mb),
        driver: driver.map(to_mb),
        ram: ram.map(to_mb),
    };
    let figures = [Some(reading.used), reading.free, reading.total, reading.driver, reading.ram];
    figures.into_iter().flatten().all(|mb| mb <= HIGHEST_MB).then_some(reading)
}

/// A size that may come as an integer or as a float; anything else is absent.
fn bytes(value: &Value, key: &str) -> Option<u64> {
    let number = value.get(key)?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked to be in range
    number
        .as_u64()
        .or_else(|| number.as_f64().filter(|f| (0.0..1e18).contains(f)).map(|f| f as u64))
}
