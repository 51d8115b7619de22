//! Answers cut from recordings of 0.3.64 and 0.33.0.

use serde_json::json;

use super::*;
use crate::vram::reading::{MB, to_mb};

fn entry(status: &str, messages: &Value, outputs: &Value, wanted: &Value) -> HistoryEntry {
    HistoryEntry::read(&json!({
        "prompt": [0, "id", {}, {"client_id": "e2e"}, wanted],
        "outputs": outputs,
        "status": {"status_str": status, "completed": status == "success", "messages": messages},
        "meta": {},
    }))
    .unwrap()
}

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
    let stats = SystemStats::read(&cuda(&json!({})));
    assert_eq!(stats.python.as_deref(), Some("3.11.7"));
    let memory = stats.devices[0].memory.unwrap();
    assert_eq!((memory.used, memory.driver), (4576, Some(5576)));
    assert_eq!((memory.free, memory.total, memory.ram), (Some(20000), Some(24576), Some(4000)));
}

#[test]
fn a_cpu_has_no_driver_figure_and_zero_is_a_value() {
    let cpu = SystemStats::read(&cuda(&json!({"type": "cpu", "index": null}))).devices.remove(0);
    assert_eq!((cpu.index, cpu.memory.unwrap().driver), (None, None));
    let full = SystemStats::read(&cuda(&json!({"vram_free": 0, "torch_vram_free": 0})));
    let memory = full.devices[0].memory.unwrap();
    assert_eq!((memory.used, memory.free, memory.driver), (24576, Some(0), Some(24576)));
}

#[test]
fn older_spellings_are_read_and_nothing_is_invented() {
    let memory = |device: Value| SystemStats::read(&json!({"devices": [device]})).devices[0].memory;
    let mb = memory(json!({"used_mem_mb": 7, "free_mem_mb": 30, "total_mem_mb": 40})).unwrap();
    assert_eq!((mb.used, mb.free, mb.total, mb.ram), (10, Some(30), Some(40), None));
    let used = memory(json!({"vram_used": 3 * MB + MB / 2})).unwrap();
    assert_eq!((used.used, used.free, used.total), (4, None, None));
    for nothing in [json!({}), json!({"vram_free": "many"}), json!({"vram_total": 5}), json!(7)] {
        assert_eq!(memory(nothing), None);
    }
    assert!(SystemStats::read(&json!({"devices": "none"})).devices.is_empty());
}

#[test]
fn every_spelling_gives_its_figure_and_presence_decides() {
    let read = |device: Value| {
        let memory = SystemStats::read(&json!({"devices": [device]})).devices[0].memory;
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
    let driver = |more: Value| SystemStats::read(&cuda(&more)).devices[0].memory.unwrap().driver;
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
fn half_a_megabyte_rounds_to_even() {
    for (bytes, mb) in [(MB / 2, 0), (MB / 2 + 1, 1), (MB + MB / 2, 2), (2 * MB + MB / 2, 2)] {
        assert_eq!(to_mb(bytes), mb, "{bytes}");
    }
}

#[test]
fn the_queue_is_ordered_by_number_not_as_the_heap_lies() {
    let item = |number: i64, id: &str| json!([number, id, {}, {"client_id": "c"}, ["3"]]);
    let queue = Queue::read(&json!({
        "queue_running": [item(0, "run")],
        "queue_pending": [item(-7, "front"), item(2, "b"), item(1, "a")],
    }))
    .unwrap();
    assert_eq!(queue.place("run"), QueuePosition::Running);
    assert_eq!(queue.place("front"), QueuePosition::Pending(1));
    assert_eq!(queue.place("b"), QueuePosition::Pending(3));
    assert_eq!(queue.place("x"), QueuePosition::Absent);
    assert!(Queue::read(&json!({"queue_running": []})).is_none());
}

#[test]
fn a_success_lists_its_files_in_node_order() {
    let file =
        |name: &str, kind: &str| json!({"filename": name, "subfolder": "video", "type": kind});
    let outputs = json!({
        "10": {"images": [file("late.png", "output")]},
        "9": {"images": [file("clip.mp4", "output")], "animated": [true]},
        "3": {"images": [file("preview.png", "temp")], "text": ["no file"]},
    });
    let messages = json!([
        ["execution_start", {"timestamp": 1_000}],
        ["execution_cached", {"nodes": ["10", "2"], "timestamp": 1_001}],
        ["execution_success", {"timestamp": 3_500}],
    ]);
    let entry = entry("success", &messages, &outputs, &json!(["9", "10"]));
    let names: Vec<_> = entry.files.iter().map(|file| file.filename.as_str()).collect();
    assert_eq!(names, ["clip.mp4", "late.png"]);
    assert_eq!(entry.end, PromptOutcome::Success);
    assert_eq!(entry.cached, ["2", "10"]);
    assert!(!entry.all_cached);
    assert_eq!(entry.server_ms, Some(2_500));
}

#[test]
fn all_cached_means_every_output_to_execute() {
    let messages = |nodes: Value| json!([["execution_cached", {"nodes": nodes}]]);
    let cached = |nodes, wanted| entry("success", &messages(nodes), &json!({}), &wanted).all_cached;
    assert!(cached(json!(["1", "2", "3"]), json!(["3"])));
    assert!(!cached(json!(["1", "2"]), json!(["3"])));
    assert!(!cached(json!([]), json!([])));
}

#[test]
fn previews_count_only_where_nothing_is_saved() {
    let outputs = json!({"3": {"images": [{"filename": "p.png", "type": "temp"}]}});
    let entry = entry("success", &json!([]), &outputs, &json!(["3"]));
    assert_eq!(entry.files[0].kind, "temp");
}

#[test]
fn a_reason_ends_with_its_last_word() {
    // As the metadata are read back.
    let why = |status: &str, messages: Value| match entry(status, &messages, &json!({}), &json!([]))
        .end
    {
        PromptOutcome::Failed { why, .. } => why,
        end => panic!("{end:?}"),
    };
    let raised = |kind: &str| json!([["execution_error", {"node_id": "4", "node_type": "X", "exception_type": kind}]]);
    assert_eq!(why("error", raised("AssertionError")), "node 4 X: AssertionError");
    assert_eq!(why("error", raised("")), "node 4 X:");
    assert_eq!(why("", json!([])), "the server says:");
}

#[test]
fn an_entry_does_not_grow_in_the_telling() {
    let deep = format!("{}{}1{}", "[".repeat(100), "1,".repeat(1 << 20), "]".repeat(100));
    let deep: Value = serde_json::from_str(&deep).unwrap();
    let entry = HistoryEntry::read(&json!({"status": {}, "outputs": {"1": deep}})).unwrap();
    assert!(entry.raw.len() < 3 << 20, "{}", entry.raw.len());
    let small = HistoryEntry::read(&json!({"status": {}})).unwrap();
    assert_eq!(small.raw, "{\n  \"status\": {}\n}");
}

#[test]
fn a_want_of_memory_is_known_by_type_or_message() {
    let end = |kind: &str, message: &str| {
        let error = json!([["execution_error", {"node_id": "4", "node_type": "KSampler",
            "exception_type": kind, "exception_message": message}]]);
        entry("error", &error, &json!({}), &json!(["3"])).end
    };
    for (kind, message, wanted) in [
        ("torch.OutOfMemoryError", "Allocation on device", true),
        ("torch.cuda.OutOfMemoryError", "", true),
        ("RuntimeError", "CUDA error: Out of memory", true),
        ("RuntimeError", "DefaultCPUAllocator: can't allocate memory: you tried", true),
        ("RuntimeError", "deliberate failure\n", false),
    ] {
        let PromptOutcome::Failed { why, out_of_memory } = end(kind, message) else {
            panic!("{kind}")
        };
        assert_eq!(out_of_memory, wanted, "{kind}");
        let told = if message.is_empty() { String::new() } else { format!(": {}", message.trim()) };
        assert_eq!(why, format!("node 4 KSampler: {kind}{told}"));
    }
}

#[test]
fn interrupted_is_not_failed_and_an_unknown_status_is_no_success() {
    let interrupted = json!([["execution_interrupted", {"node_id": "4"}]]);
    assert_eq!(
        entry("error", &interrupted, &json!({}), &json!(["3"])).end,
        PromptOutcome::Interrupted
    );
    let end = entry("odd", &json!([]), &json!({}), &json!(["3"])).end;
    assert!(matches!(end, PromptOutcome::Failed { .. }), "{end:?}");
    assert!(HistoryEntry::read(&json!({"outputs": {}})).is_none());
}

#[test]
fn what_no_machine_has_is_no_figure() {
    let memory = |device: Value| SystemStats::read(&json!({"devices": [device]})).devices[0].memory;
    for odd in [
        json!({"total_mem_mb": u64::MAX, "free_mem_mb": 1}),
        json!({"vram_total": u64::MAX, "vram_free": 0}),
        json!({"type": "privateuseone", "vram_total": 1 << 30, "vram_free": 1 << 30}),
    ] {
        assert_eq!(memory(odd.clone()), None, "{odd}");
    }
}

#[test]
fn an_id_that_controls_the_terminal_is_no_prompt() {
    let queue = json!({"queue_running": [[0, "\u{1b}[31m", {}, {}, []], [1, "", {}, {}, []]],
        "queue_pending": []});
    assert!(Queue::read(&queue).unwrap().is_empty());
}

#[test]
fn a_queue_with_a_prompt_that_has_no_id_says_nothing() {
    for item in [json!(null), json!([0]), json!([0, null, {}, {}, []]), json!({"1": "x"})] {
        for (running, pending) in [(json!([item]), json!([])), (json!([]), json!([item]))] {
            let queue = json!({"queue_running": running, "queue_pending": pending});
            assert!(Queue::read(&queue).is_none(), "{queue}");
        }
    }
}

#[test]
fn a_clock_that_was_set_back_tells_no_time() {
    let message = |name: &str, at: u64| json!([name, {"timestamp": at}]);
    let status = |end| {
        let messages = [message("execution_start", 5000), message("execution_success", end)];
        json!({"status": {"status_str": "success", "messages": messages}})
    };
    assert_eq!(HistoryEntry::read(&status(5100)).unwrap().server_ms, Some(100));
    assert_eq!(HistoryEntry::read(&status(4900)).unwrap().server_ms, None);
}
