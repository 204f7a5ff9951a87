#!/usr/bin/env bash
# Prepares LibTorch 2.9.0 (CPU) for the cargo feature `tch`, from PyTorch's Python wheel.
#
#   .ci/libtorch.sh [FOLDER]           # prepares FOLDER, prints the exports on stdout
#   eval "$(.ci/libtorch.sh)"          # … and sets them
#
# FOLDER is ${XDG_CACHE_HOME:-$HOME/.cache}/transformer-ls/libtorch-2.9.0 unless given; one that
# is ready is left as it is. Linux on x86-64 only: elsewhere leave LIBTORCH unset, and the build
# of `tch` downloads the official archive.
#
# Why from the wheel: package indexes can be reached, or are mirrored, where the archive's own
# address cannot. The wheel is built for CUDA; its CPU part is enough, with two small CUDA
# libraries (profiling and run time, no driver) that it asks for, and a `libtorch.so` that only
# names the CPU libraries in place of the wheel's, which names the CUDA ones.
set -euo pipefail

version=2.9.0
folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/transformer-ls/libtorch-$version}

say() { printf 'libtorch: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}

prepare() {
    [[ "$(uname -s) $(uname -m)" == "Linux x86_64" ]] ||
        fail "only Linux on x86-64 is prepared here, this is $(uname -sm): unset LIBTORCH and let cargo download it"
    local tool
    for tool in python3 gcc; do
        command -v "$tool" >/dev/null || fail "$tool is missing: install it and try again"
    done
    python3 -m pip --version >/dev/null || fail "Python's pip is missing: install it and try again"

    # Never replaces what somebody else put there.
    if [[ -e "$folder" ]]; then
        rmdir "$folder" 2>/dev/null ||
            fail "$folder exists and holds no LibTorch $version: name another folder, or remove it"
    fi
    mkdir -p "$(dirname "$folder")"
    # Beside the target, so that the last rename is atomic: a folder is ready or absent.
    # Global, for the trap that outlives this function.
    work=$(mktemp -d "$folder.XXXXXX")
    trap 'rm -rf "$work"' EXIT

    say "fetching the wheels (0.9 GB)"
    cat >"$work/wheels.txt" <<'EOF'
torch==2.9.0 --hash=sha256:51de31219c97c51cf4bf2be94d622e3deb5dcc526c6dc00e97c17eaec0fc1d67
nvidia-cuda-cupti-cu12==12.8.90 --hash=sha256:ea0cb07ebda26bb9b29ba82cda34849e73c166c18162d3913575b0c9db9a6182
nvidia-cuda-runtime-cu12==12.8.90 --hash=sha256:adade8dcbd0edf427b7204d480d6066d33902cab2a4707dcfc48a2d0fd44ab90
EOF
    # One wheel whatever Python is installed: only the C++ part is used. No cache: they are big
    # and needed once.
    python3 -m pip download --quiet --no-deps --no-cache-dir --require-hashes --only-binary=:all: \
        --python-version 3.11 --implementation cp --abi cp311 --abi none \
        --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 \
        --requirement "$work/wheels.txt" --dest "$work/wheels" >&2

    say "unpacking"
    python3 - "$work/wheels" "$work/libtorch" <<'EOF'
import pathlib, shutil, sys, zipfile

wheels, out = map(pathlib.Path, sys.argv[1:])
libraries = {
    "torch": ["torch/lib/libtorch_cpu.so", "torch/lib/libc10.so", "torch/lib/libgomp.so.1"],
    "nvidia_cuda_cupti_cu12": ["nvidia/cuda_cupti/lib/libcupti.so.12"],
    "nvidia_cuda_runtime_cu12": ["nvidia/cuda_runtime/lib/libcudart.so.12"],
}

def copy(wheel, name, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    with wheel.open(name) as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink, 1 << 20)

for path in wheels.glob("*.whl"):
    with zipfile.ZipFile(path) as wheel:
        for name in libraries.pop(path.name.split("-")[0]):
            copy(wheel, name, out / "lib" / pathlib.Path(name).name)
        for name in wheel.namelist():
            if name.startswith("torch/include/") and not name.endswith("/"):
                copy(wheel, name, out / name.removeprefix("torch/"))
if libraries:
    sys.exit(f"libtorch: no wheel of {', '.join(libraries)} was fetched")
EOF
    gcc -shared -o "$work/libtorch/lib/libtorch.so" -Wl,-soname,libtorch.so -Wl,--no-as-needed \
        -L"$work/libtorch/lib" -Wl,-rpath-link,"$work/libtorch/lib" -ltorch_cpu -lc10
    # Read by the build script of `torch-sys`, which refuses other versions.
    echo "$version+cpu" >"$work/libtorch/build-version"

    say "checking that the libraries load"
    local missing
    missing=$(LD_LIBRARY_PATH="$work/libtorch/lib" ldd "$work/libtorch/lib/libtorch.so" | grep 'not found' || true)
    [[ -z "$missing" ]] || fail "libtorch.so lacks libraries:"$'\n'"$missing"
    LD_LIBRARY_PATH="$work/libtorch/lib" python3 -c '
import ctypes, os, sys
ctypes.CDLL(sys.argv[1], mode=os.RTLD_NOW | os.RTLD_GLOBAL)
' "$work/libtorch/lib/libtorch.so" || fail "libtorch.so does not load, see above"

    mv "$work/libtorch" "$folder"
    say "ready in $folder"
}

if [[ "$(cat "$folder/build-version" 2>/dev/null)" == "$version+cpu" ]]; then
    say "already in $folder"
else
    prepare
fi

folder=$(cd "$folder" && pwd)
printf 'export LIBTORCH=%q\n' "$folder"
printf 'export LIBTORCH_LIB=%q\n' "$folder"
printf 'export LIBTORCH_INCLUDE=%q\n' "$folder"
printf 'export LD_LIBRARY_PATH=%q${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\n' "$folder/lib"
