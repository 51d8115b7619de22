//! Bytes as what comes over the server's websocket.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| run_comfyui_e2e::properties::websocket(data));
