//! Bytes as a body of the server's.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| run_comfyui_e2e::properties::answers(data));
