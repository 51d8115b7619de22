//! Bytes as what nvidia-smi prints.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| run_comfyui_e2e::properties::nvidia_smi(data));
