//! A file of the editor and the classes that it needs.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| run_comfyui_e2e::properties::editor_format(data));
