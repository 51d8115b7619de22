//! The routes, with and without `/api`.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::config::{Config, Device, Version};
use super::http::{Request, Response};
use super::recorded::{self, NEWEST_STATS, OBJECT_INFO};
use super::state::{Prompt, Shared, State};
use super::{prompts, websocket};

pub fn answer(shared: &Shared, request: &Request) -> Response {
    let config = &shared.config;
    let wanted = config.authorization.as_deref();
    if wanted.is_some() && wanted != request.header("authorization") {
        return Response::text(401, "401: Unauthorized");
    }
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let Some(path) = path.strip_prefix(&config.prefix) else {
        return Response::text(404, "404: Not Found");
    };
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let query: HashMap<&str, String> = pairs.map(|(name, value)| (name, decode(value))).collect();
    let api = path.strip_prefix("/api");
    let segments: Vec<&str> = api.unwrap_or(path).split('/').skip(1).collect();
    shared.update(|state| match (request.method.as_str(), segments.as_slice()) {
        ("GET", ["system_stats"]) => Response::json(200, &system_stats(config, state)),
        ("GET", ["queue"]) => {
            let items = |prompts: &[Prompt]| prompts.iter().map(|p| p.item.clone()).collect();
            let (running, pending): (Value, Value) =
                (items(state.running.as_slice()), items(&state.pending));
            Response::json(200, &json!({"queue_running": running, "queue_pending": pending}))
        }
        ("GET", ["history"]) => {
            let most = query.get("max_items").and_then(|most| most.parse().ok());
            let skip = state.history.len().saturating_sub(most.unwrap_or(usize::MAX));
            history(config, &state.history[skip..])
        }
        ("GET", ["history", id]) => {
            let found = state.history.iter().position(|(known, _)| known == id);
            history(config, found.map_or(&[], |at| &state.history[at..=at]))
        }
        ("GET", ["object_info"]) => Response::json(200, &OBJECT_INFO),
        ("GET", ["object_info", class]) => {
            let info = OBJECT_INFO.get(class).map(|info| (*class, info.clone()));
            Response::json(200, &Value::from_iter(info))
        }
        ("GET", ["ws"]) => websocket::accept(request),
        ("GET", ["view"]) => {
            config.files.iter().for_each(|folder| end_once(folder));
            view(state, &query)
        }
        ("HEAD", ["view"]) => Response::text(view(state, &query).status, ""),
        ("POST", ["upload", "image"]) => upload(state, request),
        ("POST", ["jobs", id, "cancel"]) if api.is_some() && config.version == Version::Newest => {
            let cancelled = state.interrupt(id) || state.delete_pending(id);
            Response::json(200, &json!({"cancelled": cancelled}))
        }
        ("POST", [route @ ("prompt" | "queue" | "free" | "interrupt")]) => {
            match serde_json::from_str(&request.body) {
                Ok(body) => post(config, state, route, body),
                Err(_) => Response::text(500, "500 Internal Server Error"),
            }
        }
        ("GET", _) => Response::text(404, "404: Not Found"),
        _ => Response::text(405, "405: Method Not Allowed"),
    })
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn history(config: &Config, entries: &[(String, Value)]) -> Response {
    let text = Value::from_iter(entries.to_vec()).to_string();
    // A `Value` cannot hold a NaN.
    let text = if config.nan_in_history { text.replace("\"NaN\"", "NaN") } else { text };
    Response::json_text(&text)
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

fn system_stats(config: &Config, state: &State) -> Value {
    let device = |(place, device): (usize, &Device)| {
        let torch = if place == 0 { state.held_memory + state.model_memory } else { 0 };
        let used = if place == 0 { state.base_memory + torch } else { device.used };
        let free = device.total.saturating_sub(used);
        let idle = device.idle_cache.min(free);
        let is_cpu = device.index.is_none(); // has the system's figures for torch's
        json!({
            "name": device.name,
            "type": if is_cpu { "cpu" } else { "cuda" },
            "index": device.index,
            "vram_total": device.total,
            "vram_free": free,
            "torch_vram_total": if is_cpu { device.total } else { torch + idle },
            "torch_vram_free": if is_cpu { free } else { idle },
        })
    };
    let mut stats = match config.version {
        Version::Newest => NEWEST_STATS.clone(),
        _ => recorded::body("system_stats-idle"),
    };
    stats["devices"] = config.devices.iter().enumerate().map(device).collect();
    let first = stats["devices"][0].clone();
    let is_cpu = first["type"] == "cpu";
    let system = &mut stats["system"];
    system["ram_total"] = if is_cpu { first["vram_total"].clone() } else { (64_u64 << 30).into() };
    system["ram_free"] =
        if is_cpu { first["vram_free"].clone() } else { (41_234_u64 << 20).into() };
    for (name, value) in config.system.as_object().into_iter().flatten() {
        system[name] = value.clone();
    }
    stats
}

/// Files that outlive their process are asked for a second time.
fn end_once(folder: &std::path::Path) {
    if !folder.join("asked").exists() {
        std::fs::write(folder.join("asked"), "").expect("the folder is there");
        std::process::exit(1);
    }
}

fn view(state: &State, query: &HashMap<&str, String>) -> Response {
    let value = |name| query.get(name).cloned().unwrap_or_default();
    let path = (value("type"), value("subfolder"), value("filename"));
    let status = if path.2.contains("..") { 400 } else { 404 };
    let file = state.files.get(&path).filter(|_| status != 400).cloned();
    let found = |bytes| Response::typed(200, "application/octet-stream", bytes);
    file.map_or_else(|| Response::text(status, ""), found)
}

/// Stores an image in the input folder, in place of one of the same name.
fn upload(state: &mut State, request: &Request) -> Response {
    let content_type = request.header("content-type").unwrap_or_default();
    let (_, boundary) = content_type.split_once("boundary=").unwrap_or_default();
    // One character a byte, so that the form can be split as text.
    let form: String = request.bytes.iter().map(|byte| char::from(*byte)).collect();
    let bytes = |text: &str| text.chars().filter_map(|c| u8::try_from(c).ok()).collect::<Vec<_>>();
    let text = |text: &str| String::from_utf8_lossy(&bytes(text)).into_owned();
    let (mut subfolder, mut image) = (String::new(), None);
    for part in form.split(&format!("--{boundary}")) {
        let Some((head, data)) = part.split_once("\r\n\r\n") else { continue };
        let data = data.strip_suffix("\r\n").unwrap_or(data);
        if head.contains("; name=\"subfolder\"") {
            subfolder = text(data);
        } else if let Some((_, name)) = head.split_once("; name=\"image\"; filename=\"") {
            image = name.split_once('"').map(|(name, _)| (text(name), bytes(data)));
        }
    }
    let Some((name, data)) = image else { return Response::text(400, "") };
    let answer = json!({"name": name, "subfolder": subfolder, "type": "input"});
    state.uploads.push((name.clone(), subfolder.clone(), data.len()));
    state.files.insert(("input".to_owned(), subfolder, name), data.into());
    Response::json(200, &answer)
}
