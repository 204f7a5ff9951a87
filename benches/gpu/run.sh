#!/usr/bin/env bash
# What a graphics card makes of this project, next to PyTorch: whether it is right, the time of every
# kernel, of attention, of training steps and of start-up. In under six minutes on a data centre's card.
#
#     cargo build --release --workspace --bins && cargo test --release --workspace --no-run
#     bash benches/gpu/run.sh [--out DIR] [--device NAME] [--small]
#
# On a machine without Rust: `bash benches/gpu/run.sh --pack DIR` here puts all that is needed into a
# folder, and `bash DIR/benches/gpu/run.sh` runs there. It takes Python 3 and a Vulkan driver with its
# loader (libvulkan1); PyTorch is measured where it is found. `report.md` and `raw.jsonl` are left in
# DIR (gpu-report).
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
release=${CARGO_TARGET_DIR:-$root/target}/release

pack() {
    local to=$1 golden='' found
    # The newest, but for builds with LibTorch, which other machines lack.
    while read -r _ found; do
        grep -q libtorch_cpu "$found" || golden=$found
    done < <(find "$release/deps" -maxdepth 1 -name 'golden-*' ! -name '*.d' -printf '%T@ %p\n' | sort -n)
    [[ -x "$release/ls-train" && -n "$golden" ]] || {
        echo "build first: cargo build --release --workspace --bins && cargo test --release --workspace --no-run" >&2
        exit 1
    }
    mkdir -p "$to/benches" "$to/bin"
    cp -r "$root/benches/peer" "$root/benches/gpu" "$to/benches/"
    cp -r "$root/model/tests/fixtures/golden" "$to/golden"
    cp -r "$root/model/tests/fixtures/"{attentions,recurrence} "$to/golden/"
    cp "$release/ls-train" "$to/bin/ls-train"
    cp "$golden" "$to/bin/golden"
    strip "$to/bin/ls-train" "$to/bin/golden"
    (cd "$root" && git rev-parse HEAD 2>/dev/null) >"$to/commit" || echo unknown >"$to/commit"
}

if [[ "${1:-}" == --pack ]]; then
    pack "${2:?name the folder: run.sh --pack DIR}"
    du -sh "$2"
    exit
fi
if [[ -x "$root/bin/ls-train" ]]; then
    packed=$root
else
    packed=$(mktemp -d)
    trap 'rm -rf "$packed"' EXIT
    pack "$packed"
fi
# Drivers in containers of NVIDIA's lie here.
icd=/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json
[[ ! -e $icd ]] || export VK_DRIVER_FILES=$icd
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp}
python3 "$root/benches/gpu/report.py" --packed "$packed" "$@"
