"""Measures a graphics card, and writes it down: see `run.sh`, which calls this."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "peer"))
import lengths  # noqa: E402

# Presets and the samples of a batch; real lengths are known of the first three.
PRESETS = {"listops": 32, "text": 32, "retrieval": 32, "image": 32, "text-strong": 4}
REAL = ("listops", "text", "retrieval")
LONGEST = {"listops": 2048, "text": 4096, "retrieval": 4096}
# Batch, heads, width of a head, landmarks, window, tokens.
LRA = (32, 2, 32, 32, 8, 4096)
WIDE = (16, 8, 64, 32, 64, 4096)
SMALL = (1, 2, 32, 32, 8, 256)


class Report:
    """Lines of JSON as they come, and the tables made of them."""

    def __init__(self, folder, packed, device, small):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.packed, self.device, self.small = folder, packed, device, small
        self.raw = open(folder / "raw.jsonl", "w")
        self.markdown = open(folder / "report.md", "w")
        self.started = time.monotonic()
        self.environment = dict(os.environ)
        if small:
            # Mesa's compiler, without optimisation.
            self.environment["GALLIVM_PERF"] = "nopt"
        # Tuning results of its own: every run measures a first start.
        self.cache = tempfile.TemporaryDirectory()
        self.environment["XDG_CACHE_HOME"] = self.cache.name

    def write(self, text=""):
        print(text, flush=True)
        self.markdown.write(text + "\n")
        self.markdown.flush()

    def section(self, title):
        print(f"[{time.monotonic() - self.started:.0f} s]", file=sys.stderr)
        self.write(f"\n## {title}\n")

    def table(self, headings, rows):
        self.write("| " + " | ".join(headings) + " |")
        self.write("|" + "---|" * len(headings))
        for row in rows:
            self.write("| " + " | ".join(map(str, row)) + " |")

    def keep(self, line):
        self.raw.write(json.dumps(line) + "\n")
        self.raw.flush()

    def run(self, command, seconds, **environment):
        """Standard output, and what went wrong, if anything."""
        try:
            done = subprocess.run(
                command, env=self.environment | environment, capture_output=True, text=True, timeout=seconds
            )
        except subprocess.TimeoutExpired as late:
            said = late.stdout or b""
            return said.decode() if isinstance(said, bytes) else said, f"not done in {seconds} s"
        words = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return done.stdout, words if done.returncode else None

    def bench(self, arguments, seconds=60, **environment):
        """The lines of `ls-train bench`."""
        repeats = ["--repeats", "2", "--seconds", "2"] if self.small else ["--seconds", "0.6"]
        program = str(self.packed / "bin/ls-train")
        command = [program, "bench", *arguments, "--device", self.device, "--json", *repeats]
        # A processor that plays a GPU takes minutes to compile what a graphics card's driver has in seconds.
        out, problem = self.run(command, 3 * seconds if self.small else seconds, **environment)
        lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        for line in lines:
            self.keep(line | environment)
        if problem or not lines:
            self.write(f"`{' '.join(map(str, arguments))}` failed: {problem or 'nothing was measured'}")
        return lines


def figure(number, digits=3):
    return "-" if number is None else f"{number:.{digits}g}" if number < 1000 else f"{number:.0f}"


def of_attention(shape):
    b, h, d, r, w, n = shape
    sizes = dict(b=b, heads=h, head_width=d, rank=r, window=w, n=n)
    return [word for name, size in sizes.items() for word in (f"--{name.replace('_', '-')}", str(size))]


def right(report):
    report.section("Right: the release's numbers (golden files)")
    command = [str(report.packed / "bin/golden")]
    settings = dict(LS_BACKENDS="wgpu", LS_REQUIRE_WGPU="1", LS_GOLDEN=str(report.packed / "golden"))
    out, problem = report.run(command, 240 if report.small else 90, **settings)
    result = [line for line in out.splitlines() if line.startswith("test result")]
    failed = [line for line in out.splitlines() if "FAILED" in line][:20]
    passed = sum(line.rstrip().endswith("ok") for line in out.splitlines() if line.startswith("test golden"))
    report.keep(dict(golden=result, failed=failed, passed=passed, problem=problem))
    for line in [*failed, *result]:
        report.write(line)
    if problem:
        report.write(f"{passed} passed; {problem}")


def start(report):
    report.section("Start-up: a process from its start to the end of its first three steps of ListOps")
    b = "1" if report.small else "32"
    rows = []
    for which in ("first start", "second start"):
        arguments = ["step", "--preset", "listops", "--b", b, "--path", "fused", "--pass", "train_step"]
        began = time.monotonic()
        command = [str(report.packed / "bin/ls-train"), "bench", *arguments, "--device", report.device]
        _, problem = report.run([*command, "--repeats", "1", "--seconds", "0.001"], 120)
        seconds = time.monotonic() - began
        report.keep(dict(start=which, seconds=seconds, problem=problem))
        rows.append((which, problem or f"{seconds:.1f} s"))
    report.table(["", "time"], rows)


# How the shaders compute, and what asks for it.
WAYS = [
    ("float32", "f32", {}),
    ("float16", "f16", {}),
    ("float16, cooperative matrices", "f16", {"LS_ATTENTION": "cooperative"}),
]


def attention(report):
    report.section("Attention, forward and backward")
    shapes = [SMALL] if report.small else [LRA, WIDE, (*WIDE[:5], 1024), (*WIDE[:5], 16384)]
    rows = []
    for shape in shapes:
        for way, precision, environment in WAYS:
            arguments = ["attention", "--path", "fused", "--precision", precision, *of_attention(shape)]
            for line in report.bench(arguments, **environment):
                ratio = line["milliseconds"] / line["floor_milliseconds"]
                times = (line["milliseconds"], line["floor_milliseconds"], ratio)
                rows.append([*shape, line["pass"], way, *map(figure, times)])
    report.table(["b", "h", "d", "r", "w", "n", "pass", "way", "ms", "floor ms", "ms / floor"], rows)


def kernels(report, title, arguments):
    report.section(f"Kernels of {title}")
    for line in report.bench([*arguments, "--profile"]):
        rate = line["bytes_per_second"]
        times = line["kernels"]
        total = sum(kernel["seconds"] for kernel in times)
        launches = sum(kernel["launches"] for kernel in times)
        report.write(
            f"{line['pass']}: {line['milliseconds']:.3g} ms, of which {total * 1e3:.3g} in {launches} launches; "
            f"a copy moves {rate / 1e9:.0f} GB/s.\n"
        )
        rows = []
        for kernel in times:
            moved, seconds = kernel.get("bytes"), kernel["seconds"]
            share = moved and 100 * moved / rate / seconds if seconds else None
            rows.append(
                [
                    f"`{' '.join(kernel['name'].split(' | ')[:2])}`", kernel["launches"], figure(seconds * 1e3),
                    figure(100 * seconds / total if total else None), figure(moved and moved / 1e6), figure(share),
                ]
            )  # fmt: skip
        report.table(["kernel", "launches", "ms", "% of all", "MB to move", "% of copy"], rows)
        report.write()


def steps(report):
    report.section("Training steps and forward passes")
    rows = []
    for preset, b in PRESETS.items():
        if report.small and preset.endswith("-strong"):
            continue
        b = 1 if report.small else b
        for documents in ("full", "real") if preset in REAL else ("full",):
            for packing in ("padded", "packed"):
                common = ["step", "--preset", preset, "--path", "fused", "--packing", packing]
                with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
                    if documents == "real":
                        per_batch = b * (2 if preset == "retrieval" else 1)
                        batches = lengths.batches(preset, "real", 8, per_batch, LONGEST[preset])
                        file.write("".join(" ".join(map(str, batch)) + "\n" for batch in batches))
                        file.flush()
                        common += ["--lengths", file.name]
                    else:
                        common += ["--b", str(b)] + (["--n", "256"] if report.small else [])
                    for line in report.bench(common):
                        tokens = line["tokens_per_second"]
                        peak = line["peak_bytes"] / 2**20 if line["peak_bytes"] else None
                        rows.append(
                            [
                                preset, b, documents, packing, line["pass"], figure(line["milliseconds"]),
                                f"{tokens:.3g}", figure(peak, 4),
                            ]
                        )  # fmt: skip
    report.table(["preset", "b", "documents", "batches", "pass", "ms", "tokens/s", "MiB"], rows)


# Sizes of language models, by the names of `ls-train bench lm`; characters are written one at a time.
LANGUAGE = {
    "laptop": {},
    "12 layers of 512, as published": dict(
        vocabulary=205, d_model=512, heads=8, layers=12, d_ff=2048, window=512, segment=2048, memory=2048, batch=4
    ),
}


def language(report):
    report.section("Language models")
    rows = []
    for name, sizes in LANGUAGE.items():
        if report.small and sizes:
            continue
        sizes = dict(steps=3, characters=1000) | sizes
        if report.small:
            sizes |= dict(layers=1, d_model=32, d_ff=32, window=16, segment=32, memory=32, batch=1, characters=0)
        options = [word for key, size in sizes.items() for word in (f"--{key.replace('_', '-')}", str(size))]
        command = [str(report.packed / "bin/ls-train"), "bench", "lm", "--device", report.device, *options]
        out, problem = report.run(command, 120)
        lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        for line in lines:
            report.keep(line)
            figures = line["figures"]
            writing = figures.get("generation") or {}
            rates = [figures.get("training"), writing.get("characters_per_second")]
            peak = figures["peak_bytes"] and figures["peak_bytes"] / 2**20
            rows.append([name, *map(figure, rates), figure(peak, 4)])
        if problem:
            report.write(f"{name}: {problem}")
    report.table(["model", "training, characters/s", "writing, characters/s", "MiB"], rows)


def peers(report):
    report.section("PyTorch on the same card")
    command = [sys.executable, str(HERE / "pytorch.py")]
    shapes = [SMALL] if report.small else [LRA, WIDE]
    command += [json.dumps(dict(shapes=shapes, presets={} if report.small else {"text": 32, "listops": 32}))]
    out, problem = report.run(command, 240)
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    for line in lines:
        report.keep(line)
    rows = [
        [line["what"], line["way"], figure(line.get("forward")), figure(line.get("forward_backward")), line.get("error", "")]
        for line in lines
    ]
    if rows:
        report.table(["what (attention: b, h, d, r, w, n)", "way", "forward, ms", "in all, ms", ""], rows)
    if problem:
        report.write(f"left out: {problem}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packed", type=Path, required=True, help="the folder that run.sh --pack made")
    parser.add_argument("--out", type=Path, default=Path("gpu-report"), help="where tables and raw lines go")
    parser.add_argument("--device", default="wgpu", help="a name from `ls-train devices`")
    parser.add_argument("--small", action="store_true", help="small sizes, for a processor that plays a GPU")
    options = parser.parse_args()
    report = Report(options.out, options.packed, options.device, options.small)
    commit = (options.packed / "commit").read_text().strip()
    report.write(f"# A graphics card, commit {commit[:12]}, {time.strftime('%d %B %Y')}\n")
    devices, problem = report.run([str(options.packed / "bin/ls-train"), "devices"], 60)
    report.write("```text\n" + (devices.rstrip() or str(problem)) + "\n```")
    start(report)
    right(report)
    attention(report)
    for shape in [SMALL] if report.small else [LRA, WIDE]:
        b, h, d, r, w, n = shape
        arguments = ["attention", "--path", "fused", "--pass", "forward_backward", *of_attention(shape)]
        kernels(report, f"attention, b {b} h {h} d {d} r {r} w {w} n {n}", arguments)
    arguments = ["--b", "1", "--n", "256"] if report.small else ["--b", "32"]
    preset = ["step", "--preset", "text", "--path", "fused", "--pass", "train_step"]
    kernels(report, "a training step of Text", [*preset, *arguments])
    steps(report)
    language(report)
    peers(report)
    print(f"[{time.monotonic() - report.started:.0f} s] wrote {report.folder}", file=sys.stderr)


if __name__ == "__main__":
    main()
