#!/usr/bin/env bash
# Builds the zip of a release for one target: the program with TLS, the wrapper that takes the script's
# place, README, licence, docs, the manual page and the completions. It lies in target/package.
#
#   bash dist/package.sh x86_64-unknown-linux-musl
set -euo pipefail
cd "$(dirname "$0")/.."
target=$1
name=run-comfyui-e2e
# The static binaries for other processors are linked by the system's cross compiler.
export CC_aarch64_unknown_linux_musl=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=aarch64-linux-gnu-gcc
build=${CARGO_TARGET_DIR:-target}
program=$name
case $target in *windows*) program=$name.exe ;; esac

cargo build --release --locked --features tls --target "$target"
to=target/package/$name-$target
rm -rf "$to" "$to.zip"
mkdir -p "$to/completions" "$to/dist"
cp "$build/$target/release/$program" README.md CHANGELOG.md LICENSE "$to"
cp dist/run-comfyui-e2e.ps1 "$to/dist"
cp -r docs "$to"
cargo run --quiet --locked --example man_page >"$to/$name.1"
complete() { cargo run --quiet --locked -- --completions "$1" >"$to/completions/$2"; }
complete bash $name.bash
complete zsh _$name
complete fish $name.fish
complete powershell _$name.ps1
(cd "$to" && zip -qr "../$name-$target.zip" .)
