#!/usr/bin/env bash
# What a graphics card makes of this project, next to PyTorch: whether it is right, the time of every
# kernel, of attention, of training steps and of start-up. In six minutes; what they were too short for
# is named in the report.
#
#     cargo build --release --workspace --bins && cargo test --release --workspace --no-run
#     bash benches/gpu/run.sh [--out DIR] [--device NAME] [--minutes M] [--small]
#
# On a machine without Rust: `bash benches/gpu/run.sh --pack DIR` here puts all that is needed into a
# folder, and `bash DIR/benches/gpu/run.sh` runs there. It takes Python 3 and a Vulkan driver with its
# loader (libvulkan1); PyTorch is measured where it is found. `report.md` and `raw.jsonl` are written to
# DIR (gpu-report) as the figures come. The exit status is 0 if everything that ran was right.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
release=${CARGO_TARGET_DIR:-$root/target}/release

pack() {
    local to=$1 golden='' found
    # The newest, but for builds with LibTorch, which other machines lack, and for those without WGPU.
    while read -r _ found; do
        grep -q libtorch_cpu "$found" || ! grep -q wgpu_hal "$found" || golden=$found
    done < <(find "$release/deps" -maxdepth 1 -name 'golden-*' ! -name '*.d' -printf '%T@ %p\n' 2>/dev/null | sort -n)
    [[ -x "$release/ls-train" && -n "$golden" ]] || {
        echo "build first: cargo build --release --workspace --bins && cargo test --release --workspace --no-run" >&2
        exit 1
    }
    mkdir -p "$to/benches" "$to/bin" "$to/golden"
    cp -r "$root/benches/peer" "$root/benches/gpu" "$to/benches/"
    cp -r "$root/model/tests/fixtures/"{golden/.,attentions,recurrence} "$to/golden/"
    cp "$release/ls-train" "$to/bin/ls-train"
    cp "$golden" "$to/bin/golden"
    strip "$to/bin/ls-train" "$to/bin/golden"
    (cd "$root" && git rev-parse HEAD 2>/dev/null) >"$to/commit" || echo unknown >"$to/commit"
}

if [[ "${1:-}" == --pack ]]; then
    pack "${2:?name the folder: run.sh --pack DIR}"
    exit
fi
# Drivers in containers of NVIDIA's lie here.
icd=/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json
[[ ! -e $icd ]] || export VK_DRIVER_FILES=$icd
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp} PYTHONDONTWRITEBYTECODE=1
# In this process's place, so that a signal reaches it.
exec python3 "$root/benches/gpu/report.py" "$@"
