//! The door: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    run_comfyui_e2e::start(std::env::args_os().skip(1))
}
