//! The routes, with and without `/api`.

use std::hash::{BuildHasher, Hasher, RandomState};

use serde_json::{Map, Value, json};

use super::config::Version;
use super::http::{Request, Response};
use super::world::{Prompt, State, World};
use super::{messages, nodes, python, stats, transfer, validate};

/// What aiohttp says when a handler raised.
pub const TROUBLE: &str = "500 Internal Server Error\n\nServer got itself in trouble";

/// Acts on a request and answers it.
pub fn answer(world: &World, request: &Request) -> Response {
    let wanted = world.config.authorization.as_deref();
    if wanted.is_some() && wanted != request.header("authorization") {
        return Response::text(401, "401: Unauthorized");
    }
    let Some(path) = request.path.strip_prefix(&world.config.prefix) else {
        return not_found();
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let query: Vec<(String, String)> = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect();
    let api = path.strip_prefix("/api/");
    let segments: Vec<String> =
        api.unwrap_or(path.trim_start_matches('/')).split('/').map(decode).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();

    match (request.method.as_str(), segments.as_slice()) {
        ("GET", ["system_stats"]) => {
            let memory = world.look(|state| state.memory);
            Response::json(200, &stats::system_stats(&world.config, memory))
        }
        ("GET", ["queue"]) => Response::json(200, &world.look(queue)),
        ("GET", ["prompt"]) => Response::json(200, &world.look(exec_info)),
        ("GET", ["history"]) => history(world, &query),
        ("GET", ["history", id]) => history_of(world, id),
        ("GET", ["object_info"]) => Response::json(200, &nodes::all_object_info()),
        ("GET", ["object_info", class]) => Response::json(200, &nodes::object_info(class)),
        ("GET", ["view"]) => transfer::view(world, &query),
        ("POST", ["upload", "image"]) => transfer::upload(world, request),
        ("POST", ["prompt"]) => with_json(request, |body| post_prompt(world, body)),
        ("POST", ["queue"]) => with_json(request, |body| post_queue(world, &body)),
        ("POST", ["history"]) => with_json(request, |body| post_history(world, &body)),
        ("POST", ["free"]) => with_json(request, |body| free(world, &body)),
        ("POST", ["interrupt"]) => interrupt(world, request),
        ("POST", ["jobs", id, "cancel"])
            if api.is_some() && world.config.version == Version::Newest =>
        {
            let cancel =
                |state: &mut State| state.interrupt_if_running(id) || state.delete_pending(id);
            Response::json(200, &json!({ "cancelled": world.change(cancel) }))
        }
        ("GET", _) => not_found(),
        _ => Response::text(405, "405: Method Not Allowed").with("Allow", "GET,HEAD"),
    }
}

/// The answer of the route for static files, which every unknown path falls to.
fn not_found() -> Response {
    Response::typed(404, "application/octet-stream", b"0\r\n\r\n".as_slice().into())
        .with("Transfer-Encoding", "chunked")
}

/// Percent-encoding and `+` undone.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| str::from_utf8(hex).ok());
        let coded = hex.filter(|_| *byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(coded.unwrap_or(if *byte == b'+' { b' ' } else { *byte }));
        rest = if coded.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Hands the body on as an object; any other body makes the handler raise.
fn with_json(request: &Request, act: impl FnOnce(Map<String, Value>) -> Response) -> Response {
    serde_json::from_slice(&request.bytes).map_or_else(|_| Response::text(500, TROUBLE), act)
}

fn is_set(body: &Map<String, Value>, name: &str) -> bool {
    body.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn ids<'a>(body: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a str> {
    body.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn queue(state: &State) -> Value {
    let running: Vec<Value> = state.running.iter().map(Prompt::item).collect();
    let pending: Vec<Value> = state.pending.iter().map(Prompt::item).collect();
    json!({ "queue_running": running, "queue_pending": pending })
}

fn exec_info(state: &State) -> Value {
    let remaining = state.pending.len() + usize::from(state.running.is_some());
    json!({ "exec_info": { "queue_remaining": remaining } })
}

/// The last entries, oldest first.
fn history(world: &World, query: &[(String, String)]) -> Response {
    let asked = query.iter().find(|(name, _)| name == "max_items");
    let Ok(most) = asked.map_or(Ok(usize::MAX), |(_, value)| value.parse()) else {
        return Response::text(500, TROUBLE);
    };
    world.look(|state| {
        let entries = &state.history[state.history.len().saturating_sub(most)..];
        let members = entries.iter().map(|(id, entry)| (id.as_str(), entry));
        Response::json_text(200, &python::object(members))
    })
}

fn history_of(world: &World, id: &str) -> Response {
    world.look(|state| {
        let entry = state.history.iter().find(|(known, _)| known == id);
        Response::json_text(200, &python::object(entry.map(|(_, entry)| (id, entry))))
    })
}

fn post_prompt(world: &World, mut body: Map<String, Value>) -> Response {
    let version = world.config.version;
    world.change(|state| {
        let front = is_set(&body, "front");
        let number = if front { -state.number } else { state.number };
        state.number += 1;
        let refused = |kind, message, details| {
            Response::json(400, &validate::refusal(kind, message, details))
        };
        let Some(Value::Object(graph)) = body.remove("prompt") else {
            return refused("no_prompt", "No prompt provided", "No prompt provided");
        };
        let id = match body.get("prompt_id").filter(|_| !world.config.ignore_prompt_id) {
            None | Some(Value::Null) => mint_id(),
            Some(Value::String(id)) if version != Version::Newest || is_canonical(id) => id.clone(),
            Some(other) if version != Version::Newest => other.to_string(),
            Some(_) => {
                return refused(
                    "invalid_prompt_id",
                    "prompt_id must be a valid UUID",
                    "prompt_id must be a UUID string in canonical lowercase hyphenated form; omit it to let the server generate one",
                );
            }
        };
        let accepted = match validate::validate(&graph, &state.files, version) {
            Ok(accepted) => accepted,
            Err(refusal) => return Response::json(400, &refusal),
        };
        let answer =
            json!({ "prompt_id": id, "number": number, "node_errors": accepted.node_errors });
        let extra = extra_data(&mut body, version);
        let prompt = Prompt { number, id, graph, extra, outputs: accepted.outputs };
        let place = state.pending.partition_point(|waiting| waiting.number <= number);
        state.pending.insert(place, prompt);
        state.posted += 1;
        Response::json(200, &answer)
    })
}

fn extra_data(body: &mut Map<String, Value>, version: Version) -> Map<String, Value> {
    let mut extra = match body.remove("extra_data") {
        Some(Value::Object(extra)) => extra,
        _ => Map::new(),
    };
    extra.extend(body.remove_entry("client_id"));
    if version == Version::Newest {
        extra.insert("create_time".to_owned(), messages::now().into());
    }
    extra
}

/// A random UUID of version 4.
fn mint_id() -> String {
    let random = || RandomState::new().build_hasher().finish();
    let (high, low) = (random() & !0xF000 | 0x4000, random() >> 2 | 1 << 63);
    let [high, low] = [high, low].map(|half| format!("{half:016x}"));
    format!("{}-{}-{}-{}-{}", &high[..8], &high[8..12], &high[12..], &low[..4], &low[4..])
}

fn is_canonical(id: &str) -> bool {
    let lengths = id.split('-').map(str::len);
    let digit = |digit: char| matches!(digit, '0'..='9' | 'a'..='f' | '-');
    lengths.eq([8, 4, 4, 4, 12]) && id.chars().all(digit)
}

fn post_queue(world: &World, body: &Map<String, Value>) -> Response {
    world.change(|state| {
        if is_set(body, "clear") {
            state.pending.clear();
        }
        for id in ids(body, "delete") {
            state.delete_pending(id);
        }
    });
    Response::empty(200)
}

fn post_history(world: &World, body: &Map<String, Value>) -> Response {
    world.change(|state| {
        let clear = is_set(body, "clear");
        state.history.retain(|(id, _)| !clear && !ids(body, "delete").any(|gone| gone == id));
    });
    Response::empty(200)
}

fn free(world: &World, body: &Map<String, Value>) -> Response {
    world.change(|state| {
        state.free.unload_models |= is_set(body, "unload_models");
        state.free.free_memory |= is_set(body, "free_memory");
    });
    Response::empty(200)
}

fn interrupt(world: &World, request: &Request) -> Response {
    let body: Map<String, Value> = serde_json::from_slice(&request.bytes).unwrap_or_default();
    let id = body.get("prompt_id").and_then(Value::as_str);
    world.change(|state| match id.filter(|_| world.config.version != Version::Ancient) {
        Some(id) => {
            state.interrupt_if_running(id);
        }
        None => state.interrupt_running(),
    });
    Response::empty(200)
}
