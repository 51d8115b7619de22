//! Bytes as the words of a command line.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| run_comfyui_e2e::properties::arguments(data));
