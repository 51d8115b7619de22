//! `/system_stats`.

use serde_json::{Value, json};

use super::config::{Config, Version};
use super::world::Memory;

const RAM_TOTAL: u64 = 64 << 30;
const RAM_FREE: u64 = 41_234 << 20;

/// The answer, as the memory is at this moment.
pub fn system_stats(config: &Config, memory: Memory) -> Value {
    let working = memory.base + memory.held + memory.models;
    let devices: Vec<Value> = config
        .devices
        .iter()
        .enumerate()
        .map(|(at, device)| {
            let used = if at == 0 { working } else { device.used };
            let free = device.total.saturating_sub(used);
            let idle = device.idle_cache.min(free);
            let torch = if device.kind == "cpu" {
                (device.total, free) // its figures are the system's once more
            } else if at == 0 {
                (memory.held + memory.models + idle, idle)
            } else {
                (idle, idle)
            };
            json!({
                "name": device.name,
                "type": device.kind,
                "index": device.index,
                "vram_total": device.total,
                "vram_free": free,
                "torch_vram_total": torch.0,
                "torch_vram_free": torch.1,
            })
        })
        .collect();
    let first = config.devices.first().filter(|device| device.kind == "cpu");
    let ram = first.map_or((RAM_TOTAL, RAM_FREE), |device| {
        (device.total, device.total.saturating_sub(working))
    });
    json!({ "system": system(config.version, ram), "devices": devices })
}

fn system(version: Version, (total, free): (u64, u64)) -> Value {
    let (os, comfyui, frontend, templates) = match version {
        Version::Ancient => ("posix", "0.3.40", "1.21.7", "0.1.25"),
        Version::Recorded => ("posix", "0.3.64", "1.27.10", "0.1.95"),
        Version::Newest => ("linux", "0.33.0", "1.49.6", "0.11.44"),
    };
    let mut system = json!({
        "os": os,
        "ram_total": total,
        "ram_free": free,
        "comfyui_version": comfyui,
        "required_frontend_version": frontend,
        "installed_templates_version": templates,
        "required_templates_version": templates,
        "python_version": "3.11.7 (main, May  9 2026, 07:35:25) [GCC 12.2.0]",
        "pytorch_version": "2.15.0+cu132",
        "embedded_python": false,
        "argv": ["main.py", "--cpu", "--listen", "127.0.0.1", "--port", "8188"],
    });
    if version == Version::Newest {
        system["deploy_environment"] = "local-git".into();
    }
    system
}
