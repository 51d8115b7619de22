//! Prints the manual page: `cargo run --example man_page | man -l -`.

fn main() {
    print!("{}", run_comfyui_e2e::man_page());
}
