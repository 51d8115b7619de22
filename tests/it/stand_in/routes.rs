//! The routes, with and without `/api`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::config::{Config, Version};
use super::http::{Request, Response};
use super::prompts;
use super::recorded::{self, OBJECT_INFO};
use super::state::{Memory, Prompt, Shared, State};

/// Acts on a request and answers it.
pub fn answer(shared: &Shared, request: &Request) -> Response {
    let config = &shared.config;
    let wanted = config.authorization.as_deref();
    if wanted.is_some() && wanted != request.header("authorization") {
        return Response::text(401, "401: Unauthorized");
    }
    let Some(path) = request.path.strip_prefix(&config.prefix) else {
        return Response::text(404, "404: Not Found");
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let query: HashMap<String, String> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect();
    let api = path.strip_prefix("/api");
    let segments: Vec<&str> = api.unwrap_or(path).split('/').skip(1).collect();
    let json = |value: &Value| Response::json(200, &value.to_string());
    let read = |read: fn(&State) -> Value| json(&shared.read(read));

    match (request.method.as_str(), segments.as_slice()) {
        ("GET", ["system_stats"]) => json(&system_stats(config, shared.read(|state| state.memory))),
        ("GET", ["queue"]) => read(|state| {
            let running: Vec<Value> = state.running.iter().map(Prompt::item).collect();
            let pending: Vec<Value> = state.pending.iter().map(Prompt::item).collect();
            json!({"queue_running": running, "queue_pending": pending})
        }),
        ("GET", ["prompt"]) => read(|state| {
            let remaining = state.pending.len() + usize::from(state.running.is_some());
            json!({"exec_info": {"queue_remaining": remaining}})
        }),
        ("GET", ["history"]) => {
            let most = query.get("max_items").and_then(|most| most.parse().ok());
            let skip =
                |state: &State| state.history.len().saturating_sub(most.unwrap_or(usize::MAX));
            history(config, shared.read(|state| state.history[skip(state)..].to_vec()))
        }
        ("GET", ["history", id]) => {
            let entries = |state: &State| {
                state.history.iter().filter(|(known, _)| known == id).cloned().collect()
            };
            history(config, shared.read(entries))
        }
        ("GET", ["object_info"]) => json(&OBJECT_INFO),
        ("GET", ["object_info", class]) => {
            let class = decode(class);
            let info = OBJECT_INFO.get(&class).map(|info| (class, info.clone()));
            json(&info.into_iter().collect::<Map<_, _>>().into())
        }
        ("GET", ["view"]) => view(shared, &query),
        ("POST", ["upload", "image"]) => upload(shared, request),
        ("POST", ["jobs", id, "cancel"]) if api.is_some() && config.version == Version::Newest => {
            let cancelled = shared.update(|state| state.interrupt(id) || state.delete_pending(id));
            json(&json!({"cancelled": cancelled}))
        }
        ("POST", [route @ ("prompt" | "queue" | "free" | "interrupt")]) => {
            // Only /interrupt takes a body that is no object.
            match serde_json::from_str::<Map<_, _>>(&request.body) {
                Err(_) if *route != "interrupt" => trouble(),
                body => shared.update(|state| post(config, state, route, body.unwrap_or_default())),
            }
        }
        ("GET", _) => Response::text(404, "404: Not Found"),
        _ => Response::text(405, "405: Method Not Allowed"),
    }
}

/// The answer where a handler of the real server raises an exception.
fn trouble() -> Response {
    Response::text(500, recorded::body("prompt-not-json").as_str().unwrap_or_default())
}

/// Undoes percent-encoding.
fn decode(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2).unwrap_or(("", part));
        bytes.extend(u8::from_str_radix(code, 16));
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn history(config: &Config, entries: Vec<(String, Value)>) -> Response {
    let text = Value::from_iter(entries).to_string();
    // A Value holds no NaN.
    Response::json(200, &if config.nan_in_history { text.replace("\"NaN\"", "NaN") } else { text })
}

fn post(config: &Config, state: &mut State, route: &str, body: Map<String, Value>) -> Response {
    let is_set = |name: &str| body.get(name).is_some_and(|value| value == true);
    match route {
        "prompt" => return prompts::post(config, state, body),
        "queue" => {
            let ids = body.get("delete").and_then(Value::as_array).into_iter().flatten();
            for id in ids.filter_map(Value::as_str) {
                state.delete_pending(id);
            }
        }
        "free" => state.free |= is_set("unload_models") && is_set("free_memory"),
        _ => match body.get("prompt_id").and_then(Value::as_str) {
            Some(id) if config.version != Version::Ancient => _ = state.interrupt(id),
            _ => state.interrupted = true,
        },
    }
    Response::text(200, "")
}

/// `/system_stats` with the memory of this moment.
fn system_stats(config: &Config, memory: Memory) -> Value {
    let working = memory.base + memory.held + memory.models;
    let device = |(place, device): (usize, &super::Device)| {
        let used = if place == 0 { working } else { device.used };
        let free = device.total.saturating_sub(used);
        let idle = device.idle_cache.min(free);
        let torch = match (device.kind, place) {
            ("cpu", _) => (device.total, free), // the system's figures once more
            (_, 0) => (memory.held + memory.models + idle, idle),
            _ => (idle, idle),
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
    };
    let mut stats = recorded::body("system_stats-idle");
    stats["devices"] = config.devices.iter().enumerate().map(device).collect();
    let first = &stats["devices"][0];
    let (total, free) = if first["type"] == "cpu" {
        (first["vram_total"].clone(), first["vram_free"].clone())
    } else {
        ((64_u64 << 30).into(), (41_234_u64 << 20).into())
    };
    let system = &mut stats["system"];
    (system["ram_total"], system["ram_free"]) = (total, free);
    match config.version {
        Version::Ancient => system["comfyui_version"] = "0.3.40".into(),
        Version::Recorded => {}
        Version::Newest => system["comfyui_version"] = "0.33.0".into(),
    }
    stats
}

/// The bytes of a file.
fn view(shared: &Shared, query: &HashMap<String, String>) -> Response {
    let value = |name: &str| query.get(name).cloned().unwrap_or_default();
    let path = (value("type"), value("subfolder"), value("filename"));
    if path.2.is_empty() || path.2.starts_with('/') || path.2.contains("..") {
        return Response::text(400, "");
    }
    if path.1.split(['/', '\\']).any(|part| part == "..") {
        return Response::text(403, "");
    }
    let file = shared.read(|state| state.files.get(&path).cloned());
    let found = |bytes| Response::typed(200, "application/octet-stream", bytes);
    file.map_or_else(|| Response::text(404, ""), found)
}

/// Stores an image in the input folder, in place of one of the same name.
fn upload(shared: &Shared, request: &Request) -> Response {
    let content_type = request.header("content-type").unwrap_or_default();
    let Some((_, boundary)) = content_type.split_once("multipart/form-data; boundary=") else {
        return trouble();
    };
    // One character a byte, so that the form can be split as text.
    let form: String = request.bytes.iter().map(|byte| char::from(*byte)).collect();
    let bytes = |text: &str| text.chars().filter_map(|c| u8::try_from(c).ok()).collect::<Vec<_>>();
    let (mut subfolder, mut image) = (String::new(), None);
    for part in form.split(&format!("--{boundary}")) {
        let Some((head, data)) = part.split_once("\r\n\r\n") else { continue };
        let data = bytes(data.strip_suffix("\r\n").unwrap_or(data));
        if head.contains("; name=\"subfolder\"") {
            subfolder = String::from_utf8_lossy(&data).into_owned();
        } else if let Some((_, name)) = head.split_once("; name=\"image\"; filename=\"") {
            let name = name.split('"').next().unwrap_or_default();
            image = Some((String::from_utf8_lossy(&bytes(name)).into_owned(), data));
        }
    }
    let Some((name, data)) = image else { return Response::text(400, "") };
    let answer = json!({"name": name, "subfolder": subfolder, "type": "input"});
    shared.update(|state| {
        state.uploads.push((name.clone(), subfolder.clone(), data.len()));
        state.files.insert(("input".to_owned(), subfolder, name), data.into());
    });
    Response::json(200, &answer.to_string())
}
