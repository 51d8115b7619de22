//! Bytes as a log.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| run_comfyui_e2e::properties::log(data));
