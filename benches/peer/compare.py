"""Times this project's training step and forward pass on the CPU against plain PyTorch's.

    pip install torch numpy            # a CPU build will do; measured with 2.9
    cargo build --release --workspace --bins
    python3 benches/peer/compare.py --preset listops

Both compute the same model on batches with the same lengths: ours packed, as `ls-train` does on a
CPU; PyTorch (`model.py` beside this file, AdamW in its default form) padded to the preset's length,
as the release does. `full` documents fill the preset's length, `real` ones have the lengths that
`lengths.py` says. PyTorch runs in four ways: eager and compiled (`torch.compile`, which needs a C++
compiler), each as it comes and with its memory kept (glibc told not to give big blocks back). The
best one counts; all are printed. Ours and PyTorch's runs alternate, `--rounds` times; a figure is the
median of all steps.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
import lengths  # noqa: E402

PRESETS = {
    "listops": dict(vocabulary=16, classes=10, n=2048, pair=False, dropout=0.0),
    "text": dict(vocabulary=257, classes=2, n=4096, pair=False, dropout=0.0),
    "retrieval": dict(vocabulary=257, classes=2, n=4096, pair=True, dropout=0.1),
}
WIDTH, FEED_FORWARD, HEADS, RANK, WINDOW, LAYERS = 64, 128, 2, 32, 8, 2
KEPT = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
WARM_UP = 2


def random_weights(preset):
    """Weights of the preset's shapes, under the release's names."""
    import torch

    weights = {}

    def linear(name, inputs, outputs):
        weights[f"{name}.weight"] = torch.randn(outputs, inputs) / inputs**0.5
        weights[f"{name}.bias"] = torch.zeros(outputs)

    def norm(name):
        weights[f"{name}.weight"], weights[f"{name}.bias"] = torch.ones(WIDTH), torch.zeros(WIDTH)

    embeddings = "model.embeddings"
    weights[f"{embeddings}.word_embeddings.weight"] = (
        torch.randn(preset["vocabulary"], WIDTH) * 0.02
    )
    weights[f"{embeddings}.position_embeddings.weight"] = torch.randn(preset["n"], WIDTH) * 0.02
    weights["model.cls_embed"] = torch.zeros(1, 1, WIDTH)
    for layer in range(LAYERS):
        block = f"model.transformer_{layer}"
        for name in ("norm1", "norm2", "mha.dual_ln_l", "mha.dual_ln_s"):
            norm(f"{block}.{name}")
        for name in ("W_q", "W_k", "W_v", "W_o"):
            linear(f"{block}.mha.{name}", WIDTH, WIDTH)
        linear(f"{block}.mha.dconv_fc", WIDTH, HEADS * RANK)
        linear(f"{block}.mlpblock.0", WIDTH, FEED_FORWARD)
        linear(f"{block}.mlpblock.3", FEED_FORWARD, WIDTH)
    norm("model.norm")
    linear("seq_classifer.mlpblock.0", WIDTH * (4 if preset["pair"] else 1), 128)
    linear("seq_classifer.mlpblock.2", 128, preset["classes"])
    return weights


def pytorch(task):
    """What the child process with PyTorch does: one JSON line."""
    import resource
    import time

    import torch
    from model import logits, pair_logits

    torch.manual_seed(1)
    torch.set_num_threads(task["threads"])
    preset, training = PRESETS[task["preset"]], task["what"] == "train_step"
    weights = {name: tensor.requires_grad_(training) for name, tensor in random_weights(preset).items()}
    optimizer = torch.optim.AdamW(weights.values(), lr=1e-4, eps=1e-6, weight_decay=0.0)
    classify = pair_logits if preset["pair"] else logits
    dropout = preset["dropout"] if training else 0.0

    def run(ids, labels):
        answer = classify(weights, ids, ids > 0, HEADS, WINDOW, LAYERS, dropout)
        return torch.nn.functional.cross_entropy(answer, labels) if training else answer

    if task["compiled"]:
        run = torch.compile(run)

    def batch(documents):
        n = preset["n"]
        ids = torch.zeros(len(documents), n, dtype=torch.long)
        for row, length in zip(ids, documents):
            row[:length] = torch.randint(1, preset["vocabulary"], (length,))
        if preset["pair"]:
            ids = torch.stack([ids[0::2], ids[1::2]])
        return ids, torch.randint(0, preset["classes"], (ids.shape[-2],))

    seconds = []
    for step in range(WARM_UP + task["steps"]):
        ids, labels = batch(task["batches"][step % len(task["batches"])])
        start = time.perf_counter()
        if training:
            loss = run(ids, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
        else:
            with torch.no_grad():
                run(ids, labels).sum().item()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds[WARM_UP:], "peak_bytes": peak}))


def child(command, environment, **more):
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, **more)
    if done.returncode != 0:
        return None, (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    return json.loads(done.stdout.strip().splitlines()[-1]), None


def run_ours(binary, task):
    command = [binary, "bench", "step", "--device", "flex", "--path", "fused", "--packing", "packed"]
    command += ["--preset", task["preset"], "--pass", task["what"], "--repeats", str(task["steps"])]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(" ".join(map(str, batch)) + "\n" for batch in task["batches"]))
        file.flush()
        command += ["--seconds", "600", "--json", "--lengths", file.name]
        answer, problem = child(command, {"RAYON_NUM_THREADS": str(task["threads"])})
    if problem:
        sys.exit(f"{binary} failed: {problem}")
    return {"seconds": [answer["milliseconds"] / 1e3], "peak_bytes": answer["peak_bytes"]}


def run_pytorch(task, compiled, kept):
    command = [sys.executable, __file__, "--child"]
    task = json.dumps(task | {"compiled": compiled})
    return child(command, KEPT if kept else {}, input=task)


def measure(binary, task, ways, rounds, say):
    """Ours and every way of PyTorch in turn."""
    runs = {way: [] for way in ["ours", *ways]}
    for _ in range(rounds):
        runs["ours"].append(run_ours(binary, task))
        for way in list(ways):
            answer, problem = run_pytorch(task, *ways[way])
            if problem:
                say(f"  PyTorch {way}: left out ({problem})")
                del ways[way], runs[way]
            else:
                runs[way].append(answer)
    return {
        way: (
            statistics.median(second for run in of for second in run["seconds"]),
            max(run["peak_bytes"] for run in of),
        )
        for way, of in runs.items()
    }


def main():
    if sys.argv[1:] == ["--child"]:
        pytorch(json.load(sys.stdin))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=PRESETS, default="listops")
    parser.add_argument("--steps", type=int, default=5, help="steps a run, after two that warm up")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each, in turn")
    parser.add_argument("--batch", type=int, default=32, help="samples a batch")
    parser.add_argument("--what", choices=["train_step", "forward"], help="one of them alone")
    parser.add_argument("--documents", choices=["full", "real"], help="one of them alone")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--json", action="store_true", help="a JSON line for each row, nothing else")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--binary", default=str(target / "release/ls-train"))
    options = parser.parse_args()
    if shutil.which(options.binary) is None:
        sys.exit(
            f"{options.binary} is missing: cargo build --release --workspace --bins, "
            "or name it with --binary"
        )
    try:
        import torch  # noqa: F401
    except ImportError:
        sys.exit("PyTorch is missing: pip install torch numpy")

    def say(text):
        if not options.json:
            print(text, flush=True)

    preset = PRESETS[options.preset]
    for what in [options.what] if options.what else ["train_step", "forward"]:
        for documents in [options.documents] if options.documents else ["full", "real"]:
            per_batch = options.batch * (2 if preset["pair"] else 1)
            batches = lengths.batches(
                options.preset, documents, options.steps + WARM_UP, per_batch, preset["n"]
            )
            task = dict(preset=options.preset, what=what, steps=options.steps, batches=batches)
            task["threads"] = options.threads
            ways = {"eager": (False, False), "eager, memory kept": (False, True)}
            if not options.no_compile:
                ways |= {"compiled": (True, False), "compiled, memory kept": (True, True)}
            filled = sum(map(sum, batches)) / (len(batches) * per_batch * preset["n"])
            say(f"{options.preset} {what}, {documents} documents ({filled:.0%} of the padded length)")
            figures = measure(options.binary, task, ways, options.rounds, say)
            ours, ours_peak = figures.pop("ours")
            if not figures:
                sys.exit("no way of running PyTorch worked")
            best = min(figures, key=figures.get)
            for way, (seconds, peak) in figures.items():
                mark = " <- counts" if way == best else ""
                say(f"  PyTorch {way}: {seconds:.3f} s, {peak / 2**20:.0f} MiB{mark}")
            seconds, peak = figures[best]
            say(
                f"  ours: {ours:.3f} s, {ours_peak / 2**20:.0f} MiB; {seconds / ours:.2f} times as "
                f"fast, {ours_peak / peak:.2f} of the memory"
            )
            if options.json:
                row = dict(preset=options.preset, what=what, documents=documents)
                row |= dict(ours_s=ours, pytorch_s=seconds, ratio=seconds / ours)
                row |= dict(ours_peak_bytes=ours_peak, pytorch_peak_bytes=peak)
                row |= dict(threads=options.threads, pytorch=best)
                row["pytorch_all_s"] = {way: of[0] for way, of in figures.items()}
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
