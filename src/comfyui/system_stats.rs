//! `GET /system_stats`: the server's versions, and the memory of its devices.

use serde_json::Value;

use crate::sanitize::{map_texts, sanitize_line, without_credentials};
use crate::vram::reading::{DynamicVram, MB, Reading, is_system_ram, to_mb};

/// What the server says of itself.
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

/// So many devices of a server are looked at.
const MOST_DEVICES: usize = 64;

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
    /// Whether weights that can be given back are expected to fill it.
    pub dynamic_vram: DynamicVram,
}

impl SystemStats {
    pub(super) fn parse(answer: &Value) -> Self {
        let system = &answer["system"];
        let devices = answer["devices"].as_array().into_iter().flatten().take(MOST_DEVICES);
        let version = |key: &str| system[key].as_str();
        let first_word = |text| str::split_whitespace(text).next();
        SystemStats {
            comfyui: version("comfyui_version").map(sanitize_line),
            pytorch: version("pytorch_version").map(sanitize_line),
            python: version("python_version").and_then(first_word).map(sanitize_line),
            devices: devices.map(|device| Device::parse(device, system)).collect(),
        }
    }
}

impl Device {
    fn parse(value: &Value, system: &Value) -> Self {
        let kind = sanitize_line(value["type"].as_str().unwrap_or_default());
        Device {
            name: sanitize_line(value["name"].as_str().unwrap_or_default()),
            index: value["index"].as_u64(),
            // DirectML reports a constant.
            memory: memory(value, &kind, system).filter(|_| kind != "privateuseone"),
            dynamic_vram: dynamic_vram(system, &kind),
            kind,
        }
    }
}

/// Largest answer that is kept, as text.
const MAX_ANSWER: usize = 64 << 10;

/// The answer as others may see it. Secrets are `***`: what `redact` knows, credentials in URLs, and
/// the values of options such as `--api-key`. Above [`MAX_ANSWER`] its last devices are left out, and
/// an answer that is larger without any is null.
pub(super) fn public(answer: Value, redact: &dyn Fn(String) -> String) -> Value {
    let mut answer = map_texts(answer, &|text| redact(without_credentials(text)));
    if let Some(argv) = answer.pointer_mut("/system/argv").and_then(Value::as_array_mut) {
        hide_secret_options(argv);
    }
    // As it is written: indented, and a device by four more.
    let size = |value: &Value| {
        let text = format!("{value:#}");
        text.len() + 4 * text.lines().count() + 2
    };
    let devices = answer.get_mut("devices").map(Value::take);
    let Some(mut left) = MAX_ANSWER.checked_sub(size(&answer)) else { return Value::Null };
    let mut fits = |value: &Value| {
        let rest = left.checked_sub(size(value));
        left = rest.unwrap_or_default();
        rest.is_some()
    };
    match devices {
        Some(Value::Array(devices)) => {
            answer["devices"] = devices.into_iter().take_while(fits).collect();
        }
        Some(other) if fits(&other) => answer["devices"] = other,
        _ => {}
    }
    answer
}

/// Replaces `VALUE` of `--api-key VALUE` and `--api-key=VALUE` by `***`, and the like.
fn hide_secret_options(argv: &mut [Value]) {
    const SECRET: [&str; 5] = ["api-key", "apikey", "token", "secret", "password"];
    let mut hide_next = false;
    for word in argv {
        let text = word.as_str().unwrap_or_default().to_owned();
        let (name, value) = text.split_once('=').map_or((&*text, None), |(n, v)| (n, Some(v)));
        let plain = name.to_lowercase().replace('_', "-");
        let is_secret = name.starts_with('-') && SECRET.iter().any(|part| plain.contains(part));
        if hide_next {
            *word = "***".into();
        } else if is_secret && value.is_some() {
            *word = format!("{name}=***").into();
        }
        hide_next = !hide_next && is_secret && value.is_none();
    }
}

/// The figures of a device, derived from total and free where both are there; 0 is a value. The
/// driver's figure adds torch's idle cache, which `vram_free` counts as free. Where torch has spilled
/// into system RAM, `vram_free` may exceed `vram_total`: then used is the driver's figure.
fn memory(device: &Value, kind: &str, system: &Value) -> Option<Reading> {
    let ram = bytes(system, "ram_total")
        .zip(bytes(system, "ram_free"))
        .map(|(total, free)| total.saturating_sub(free));
    let either = |key, in_mb| bytes(device, key).or_else(|| bytes(device, in_mb)?.checked_mul(MB));
    let total = either("vram_total", "total_mem_mb");
    let free = either("vram_free", "free_mem_mb");
    let both = total.zip(free);
    let reserved = bytes(device, "torch_vram_total").filter(|_| !is_system_ram(kind));
    let idle = bytes(device, "torch_vram_free").filter(|_| !is_system_ram(kind));
    let driver = both
        .zip(idle.filter(|_| kind == "cuda"))
        .map(|((total, free), idle)| total.saturating_sub(free.saturating_sub(idle)));
    let used = both.map(|(total, free)| total.checked_sub(free).or(driver).unwrap_or_default());
    let used = used.or_else(|| either("vram_used", "used_mem_mb"))?;
    let torch = reserved.zip(idle).and_then(|(reserved, idle)| reserved.checked_sub(idle));
    let spilled = reserved.zip(total).and_then(|(reserved, total)| reserved.checked_sub(total));
    let reading = Reading {
        used: to_mb(used),
        free: free.map(to_mb),
        total: total.map(to_mb),
        driver: driver.map(to_mb),
        torch: torch.map(to_mb),
        spilled: spilled.map(to_mb).filter(|mb| *mb > 0),
        ram: ram.map(to_mb),
    };
    let Reading { used, free, total, driver, torch, spilled, ram } = reading;
    let figures = [Some(used), free, total, driver, torch, spilled, ram];
    figures.into_iter().flatten().all(|mb| mb <= HIGHEST_ANSWER).then_some(reading)
}

/// 4 TiB in MB: a higher figure is a mistake. The statistics of a log take 8 bytes for each MB of the
/// highest.
const HIGHEST_ANSWER: u64 = 1 << 22;

/// Options that keep dynamic VRAM off: `enables_dynamic_vram` in `comfy/cli_args.py` of 0.33.0.
const NO_DYNAMIC_VRAM: [&str; 5] =
    ["--disable-dynamic-vram", "--highvram", "--gpu-only", "--novram", "--cpu"];

/// Whether dynamic VRAM is expected on. It needs comfy-aimdo, which `comfy_package_versions` lists
/// (seen in 0.33.0; 0.3.64 has neither the key nor the package, versions between may have the
/// package alone), a CUDA device, torch 2.8 or newer, on AMD `ROCm` 7.14 or newer, and none of
/// [`NO_DYNAMIC_VRAM`] in `argv` (seen in both); `--enable-dynamic-vram` overrules options and
/// versions (`main.py` of 0.33.0).
fn dynamic_vram(system: &Value, kind: &str) -> DynamicVram {
    if kind != "cuda" {
        return DynamicVram::Off;
    }
    let text = |key: &str| system[key].as_str().unwrap_or_default();
    let Some(packages) = system["comfy_package_versions"].as_array() else {
        let is_2025 = version(text("comfyui_version")).is_some_and(|version| version <= (0, 3));
        return if is_2025 { DynamicVram::Off } else { DynamicVram::Unknown };
    };
    let is_aimdo = |package: &Value| package["name"] == "comfy-aimdo";
    if !packages.iter().any(|package| is_aimdo(package) && package["installed"].is_string()) {
        return DynamicVram::Off;
    }
    let Some(argv) = system["argv"].as_array() else { return DynamicVram::Unknown };
    let given = |option: &str| argv.iter().any(|word| word == option);
    if given("--enable-dynamic-vram") {
        return DynamicVram::On;
    }
    let torch = text("pytorch_version");
    let rocm = torch.split_once("+rocm").map(|(_, rocm)| version(rocm).unwrap_or_default());
    match version(torch) {
        _ if NO_DYNAMIC_VRAM.iter().any(|option| given(option)) => DynamicVram::Off,
        _ if rocm.is_some_and(|rocm| rocm < (7, 14)) => DynamicVram::Off,
        None => DynamicVram::Unknown,
        Some(torch) if torch < (2, 8) => DynamicVram::Off,
        Some(_) => DynamicVram::On,
    }
}

/// The first two numbers of a version: `2.8` of `2.8.0+cu129`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// A size that comes as an integer or as a float; anything else is read as absent.
fn bytes(value: &Value, key: &str) -> Option<u64> {
    let number = value.get(key)?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked to be in range
    number
        .as_u64()
        .or_else(|| number.as_f64().filter(|f| (0.0..1e18).contains(f)).map(|f| f as u64))
}

#[cfg(test)]
mod tests {
    //! Answers cut from recordings of 0.3.64 and 0.33.0.

    use serde_json::json;

    use super::*;

    fn cuda(more: &Value) -> Value {
        let mut device = json!({
            "name": "cuda:0 NVIDIA GeForce RTX 3090 : cudaMallocAsync", "type": "cuda", "index": 0,
            "vram_total": 24576 * MB, "vram_free": 20000 * MB,
            "torch_vram_total": 6000 * MB, "torch_vram_free": 1000 * MB,
        });
        for (key, value) in more.as_object().unwrap() {
            device[key] = value.clone();
        }
        json!({
            "system": {"ram_total": 64000 * MB, "ram_free": 60000 * MB, "comfyui_version": "0.33.0",
                "python_version": "3.11.7 (main, May  9 2026) [GCC 12.2.0]", "pytorch_version": "2.11.0"},
            "devices": [device],
        })
    }

    #[test]
    fn used_is_what_tensors_hold_and_driver_adds_the_idle_cache() {
        let stats = SystemStats::parse(&cuda(&json!({})));
        assert_eq!(stats.python.as_deref(), Some("3.11.7"));
        let memory = stats.devices[0].memory.unwrap();
        assert_eq!((memory.used, memory.driver), (4576, Some(5576)));
        assert_eq!((memory.free, memory.total, memory.ram), (Some(20000), Some(24576), Some(4000)));
    }

    #[test]
    fn a_cpu_has_no_driver_figure_and_zero_is_a_value() {
        let cpu =
            SystemStats::parse(&cuda(&json!({"type": "cpu", "index": null}))).devices.remove(0);
        assert_eq!((cpu.index, cpu.memory.unwrap().driver), (None, None));
        let full = SystemStats::parse(&cuda(&json!({"vram_free": 0, "torch_vram_free": 0})));
        let memory = full.devices[0].memory.unwrap();
        assert_eq!((memory.used, memory.free, memory.driver), (24576, Some(0), Some(24576)));
    }

    #[test]
    fn older_spellings_are_read_and_nothing_is_invented() {
        let memory =
            |device: Value| SystemStats::parse(&json!({"devices": [device]})).devices[0].memory;
        let mb = memory(json!({"used_mem_mb": 7, "free_mem_mb": 30, "total_mem_mb": 40})).unwrap();
        assert_eq!((mb.used, mb.free, mb.total, mb.ram), (10, Some(30), Some(40), None));
        let used = memory(json!({"vram_used": 3 * MB + MB / 2})).unwrap();
        assert_eq!((used.used, used.free, used.total), (4, None, None));
        for nothing in [json!({}), json!({"vram_free": "many"}), json!({"vram_total": 5}), json!(7)]
        {
            assert_eq!(memory(nothing), None);
        }
        assert!(SystemStats::parse(&json!({"devices": "none"})).devices.is_empty());
    }

    #[test]
    fn every_spelling_gives_its_figure_and_presence_decides() {
        let read = |device: Value| {
            let memory = SystemStats::parse(&json!({"devices": [device]})).devices[0].memory;
            memory.map(|memory| (memory.used, memory.free, memory.total))
        };
        let cases = [
            (json!({"vram_total": 9 * MB, "vram_free": 2 * MB}), Some((7, Some(2), Some(9)))),
            (json!({"total_mem_mb": 9, "free_mem_mb": 2}), Some((7, Some(2), Some(9)))),
            (json!({"vram_total": 9 * MB, "free_mem_mb": 2}), Some((7, Some(2), Some(9)))),
            (json!({"total_mem_mb": 9, "vram_free": 2 * MB}), Some((7, Some(2), Some(9)))),
            (json!({"vram_used": 3 * MB}), Some((3, None, None))),
            (json!({"used_mem_mb": 3}), Some((3, None, None))),
            (json!({"used_mem_mb": 3, "total_mem_mb": 9}), Some((3, None, Some(9)))),
            (json!({"vram_used": 3 * MB, "vram_free": 2 * MB}), Some((3, Some(2), None))),
            // Used is derived where it can be, whatever is said of it.
            (
                json!({"vram_used": 3 * MB, "vram_total": 9 * MB, "vram_free": 9 * MB}),
                Some((0, Some(9), Some(9))),
            ),
            // The one in bytes comes first, and 0 is a value.
            (json!({"vram_used": 0, "used_mem_mb": 5}), Some((0, None, None))),
            (json!({"used_mem_mb": 0}), Some((0, None, None))),
            (
                json!({"vram_total": 0, "total_mem_mb": 9, "vram_free": 0, "free_mem_mb": 2}),
                Some((0, Some(0), Some(0))),
            ),
            // Null is no value; figures may be floats.
            (json!({"vram_used": null, "used_mem_mb": 5.0}), Some((5, None, None))),
            (json!({"vram_used": 3e6}), Some((3, None, None))),
            (json!({"vram_used": "3"}), None),
            (json!({"vram_used": -3}), None),
            (json!({"used_mem_mb": u64::MAX}), None),
        ];
        for (device, wanted) in cases {
            let text = device.to_string();
            assert_eq!(read(device), wanted, "{text}");
        }
    }

    #[test]
    fn a_driver_s_figure_needs_cuda_and_all_that_it_is_made_of() {
        let driver =
            |more: Value| SystemStats::parse(&cuda(&more)).devices[0].memory.unwrap().driver;
        assert_eq!(driver(json!({})), Some(5576));
        for kind in ["cpu", "mps", "xpu", "CUDA", ""] {
            assert_eq!(driver(json!({"type": kind})), None, "{kind}");
        }
        assert_eq!(driver(json!({"torch_vram_free": null})), None);
        // More idle than free cannot be: never more than the card has.
        assert_eq!(driver(json!({"torch_vram_free": 30_000 * MB})), Some(24576));
        let used = json!({"vram_free": null, "vram_used": 7 * MB});
        assert_eq!(driver(used), None);
    }

    #[test]
    fn what_others_see_of_an_answer_has_no_secret_and_a_limit() {
        let redact = |text: String| text.replace("t0k3n", "***");
        let argv = json!([
            "main.py",
            "--listen",
            "--comfy-api-base=http://u:pw@host/x",
            "--API-key",
            "-k3y",
            "--hub_token=k3y",
            "t0k3n",
            5
        ]);
        let mut answer = json!({"devices": [{"t0k3n": "a t0k3n", "vram_total": 1.5}],
            "system": {"argv": argv, "os": "linux"}, "more": [null, true]});
        let hidden = json!([
            "main.py",
            "--listen",
            "--comfy-api-base=http://***@host/x",
            "--API-key",
            "***",
            "--hub_token=***",
            "***",
            5
        ]);
        let wanted = json!({"devices": [{"***": "a ***", "vram_total": 1.5}],
            "system": {"argv": hidden, "os": "linux"}, "more": [null, true]});
        assert_eq!(public(answer.clone(), &redact), wanted);
        answer["devices"] = (0..10_000).map(|n| json!({"index": n, "name": "x"})).collect();
        let bounded = public(answer.clone(), &redact);
        let count = bounded["devices"].as_array().unwrap().len();
        let size = format!("{bounded:#}").len();
        assert!((60 << 10..=64 << 10).contains(&size), "{size}");
        assert_eq!(bounded["devices"][count - 1]["index"], count - 1);
        assert_eq!(bounded["system"], wanted["system"]);
        answer["more"] = "x".repeat(64 << 10).into();
        assert_eq!(public(answer, &redact), Value::Null);
        for odd in [json!({}), json!({"devices": "none", "system": 7})] {
            assert_eq!(public(odd.clone(), &redact), odd);
        }
    }

    #[test]
    fn half_a_megabyte_rounds_to_even() {
        for (bytes, mb) in [(MB / 2, 0), (MB / 2 + 1, 1), (MB + MB / 2, 2), (2 * MB + MB / 2, 2)] {
            assert_eq!(to_mb(bytes), mb, "{bytes}");
        }
    }

    #[test]
    fn what_no_machine_has_is_no_figure() {
        let memory =
            |device: Value| SystemStats::parse(&json!({"devices": [device]})).devices[0].memory;
        for odd in [
            json!({"total_mem_mb": u64::MAX, "free_mem_mb": 1}),
            json!({"vram_total": u64::MAX, "vram_free": 0}),
            json!({"type": "privateuseone", "vram_total": 1 << 30, "vram_free": 1 << 30}),
        ] {
            assert_eq!(memory(odd.clone()), None, "{odd}");
        }
    }

    #[test]
    fn torch_is_what_its_tensors_hold_and_spilled_what_the_card_does_not_have() {
        let read = |more: Value| SystemStats::parse(&cuda(&more)).devices[0].memory.unwrap();
        let memory = read(json!({}));
        assert_eq!((memory.torch, memory.spilled), (Some(5000), None));
        let spilled = read(json!({"torch_vram_total": 27_576 * MB, "vram_free": 1000 * MB}));
        assert_eq!((spilled.torch, spilled.spilled), (Some(26_576), Some(3000)));
        // Torch's idle cache in system RAM counts as free: more free than there is.
        let idle = json!({"torch_vram_total": 30_000 * MB, "torch_vram_free": 26_000 * MB,
            "vram_free": 26_500 * MB});
        let memory = read(idle);
        assert_eq!((memory.used, memory.driver), (24_076, Some(24_076)));
        for kind in ["cpu", "mps"] {
            let memory = read(json!({"type": kind, "torch_vram_total": 30_000 * MB}));
            assert_eq!((memory.torch, memory.spilled), (None, None), "{kind}");
        }
        assert_eq!(read(json!({"type": "xpu"})).torch, Some(5000));
        assert_eq!(read(json!({"torch_vram_free": 7000 * MB})).torch, None);
        assert_eq!(read(json!({"torch_vram_total": null})).torch, None);
    }

    #[test]
    fn dynamic_vram_is_known_from_packages_versions_and_options() {
        let aimdo = json!([{"name": "comfy-aimdo", "installed": "0.4.13", "required": "0.4.13"}]);
        let told = |kind: &str, more: Value| {
            let mut system = json!({"comfyui_version": "0.33.0", "pytorch_version": "2.9.1+cu128",
                "argv": ["main.py", "--listen"], "comfy_package_versions": aimdo});
            for (key, value) in more.as_object().unwrap() {
                system[key] = value.clone();
            }
            dynamic_vram(&system, kind).name()
        };
        assert_eq!(told("cuda", json!({})), "on");
        assert_eq!(told("cpu", json!({})), "off");
        let argv = |option: &str| json!({"argv": ["main.py", option]});
        for option in NO_DYNAMIC_VRAM {
            assert_eq!(told("cuda", argv(option)), "off", "{option}");
        }
        assert_eq!(told("cuda", argv("--lowvram")), "on");
        let older = json!({"pytorch_version": "2.7.1+cu128"});
        assert_eq!(told("cuda", older.clone()), "off");
        let forced = json!({"pytorch_version": "2.7.1", "argv": ["--enable-dynamic-vram"]});
        assert_eq!(told("cuda", forced), "on");
        for (torch, wanted) in
            [("2.10.0+rocm7.2", "off"), ("2.10.0+rocm7.14", "on"), ("nightly", "unknown")]
        {
            assert_eq!(told("cuda", json!({"pytorch_version": torch})), wanted, "{torch}");
        }
        assert_eq!(told("cuda", json!({"argv": null})), "unknown");
        assert_eq!(told("cuda", json!({"comfy_package_versions": []})), "off");
        let missing = json!([{"name": "comfy-aimdo", "installed": null}]);
        assert_eq!(told("cuda", json!({"comfy_package_versions": missing})), "off");
        for (version, wanted) in [("0.3.64", "off"), ("0.14.1", "unknown"), ("", "unknown")] {
            let more = json!({"comfy_package_versions": null, "comfyui_version": version});
            assert_eq!(told("cuda", more), wanted, "{version}");
        }
    }
}
