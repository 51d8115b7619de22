//! Bytes as a picture, a video or a sound of ComfyUI.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| run_comfyui_e2e::properties::output_file(data));
