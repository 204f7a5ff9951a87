"""Measures a graphics card, and writes it down: see `run.sh`, which calls this."""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "peer"))
import lengths  # noqa: E402

# Presets and the samples of a batch. Real lengths are known of the first three; images have one length.
PRESETS = {
    "text": 32, "listops": 32, "retrieval": 32, "text-strong": 4, "image": 32, "pathfinder32": 32, "path-x": 32,
}  # fmt: skip
LONGEST = {"text": 4096, "listops": 2048, "retrieval": 4096}
# Presets in float16 as well.
HALF = ("text", "text-strong")
# Batch, heads, width of a head, landmarks, window, tokens.
LRA = (32, 2, 32, 32, 8, 4096)
WIDE = (16, 8, 64, 32, 64, 4096)
SMALL = (1, 2, 32, 32, 8, 256)
# Less time than this is not worth a start.
SHORTEST = 5


def end(process):
    """Ends a process and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Report:
    """Lines of JSON and tables, on disk as they come: killed at any time, it leaves both readable."""

    def __init__(self, options, packed, cache):
        options.out.mkdir(parents=True, exist_ok=True)
        self.folder, self.device, self.small = options.out, options.device, options.small
        self.packed = packed
        self.raw = open(self.folder / "raw.jsonl", "w")
        self.started = time.monotonic()
        self.minutes = options.minutes
        self.until = self.deadline = self.started + 60 * options.minutes
        # Tuning results of its own, so that all runs start alike.
        self.environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
        if self.small:
            # Mesa's compiler, without optimisation.
            self.environment["GALLIVM_PERF"] = "nopt"
        self.lines = []
        # Sections still to come, and what is said of the others at the end.
        self.to_come = []
        self.notes = {kind: [] for kind in ("FAILED", "left out for time", "cut", "not possible here", "not measured")}
        # What this project took, to stand next to PyTorch's.
        self.ours = {}

    def write(self, text=""):
        print(text, flush=True)
        self.lines.append(text)
        self.save()

    def save(self):
        """The report so far. Whoever reads it sees a whole one."""
        page = self.folder / "report.md.part"
        page.write_text("\n".join([*self.lines, *self.closing()]) + "\n")
        page.replace(self.folder / "report.md")

    def closing(self):
        notes = [f"{kind}: {name}" for kind, names in self.notes.items() for name in names]
        notes += [f"not finished: {title}" for title in self.to_come]
        spent = f"{time.monotonic() - self.started:.0f} s of {60 * self.minutes:.0f} s"
        return ["", "## What this report lacks", "", *(f"- {note}" for note in notes), "", f"It took {spent}."]

    def note(self, kind, name):
        self.notes[kind].append(name)
        self.save()

    def table(self, *headings):
        """Writes a table's head, and returns what writes a row."""

        def row(*cells):
            cells = [str(cell).replace("|", "/") for cell in cells]
            self.write("| " + " | ".join(cells + [""] * (len(headings) - len(cells))) + " |")

        row(*headings)
        self.write("|" + "---|" * len(headings))
        return row

    def keep(self, line):
        self.raw.write(json.dumps(line) + "\n")
        self.raw.flush()

    def of_json(self, each):
        """Keeps lines of JSON and hands them on; a library may print others."""

        def line(text):
            if text.startswith("{"):
                found = json.loads(text)
                self.keep(found)
                each(found)

        return line

    def left(self):
        return self.until - time.monotonic()

    def sections(self, sections):
        """Runs functions by title, each with its seconds at most; those are meant for six minutes."""
        self.to_come = list(sections)
        self.write(f"Sections by importance: {'; '.join(sections)}.")
        for title, (seconds, section) in sections.items():
            self.until = min(self.deadline, time.monotonic() + seconds * self.minutes / 6)
            if self.left() < SHORTEST:
                self.note("left out for time", title)
            else:
                print(f"[{time.monotonic() - self.started:.0f} s]", file=sys.stderr, flush=True)
                self.write(f"\n## {title}\n")
                try:
                    section(self)
                except Exception as error:  # noqa: BLE001 - the other sections are worth having
                    self.note("FAILED", f"{title}: {type(error).__name__}: {error}")
            self.to_come.remove(title)
            self.save()

    def run(self, name, command, seconds, each, optional=False, **environment):
        """Runs a command, and hands on its lines as they come. Returns what went wrong, if anything.

        That is noted as well. What is optional may say that it can't be done here.
        """
        seconds = min(seconds, self.left())
        if seconds < SHORTEST:
            self.note("left out for time", name)
            return "no time was left"
        late = threading.Event()
        with tempfile.TemporaryFile("w+", errors="replace") as errors:
            process = subprocess.Popen(
                list(map(str, command)), env=self.environment | environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace", start_new_session=True,
            )  # fmt: skip
            timer = threading.Timer(seconds, lambda: (late.set(), end(process)))
            timer.start()
            try:
                for line in process.stdout:
                    # The last one may have been cut.
                    if line.endswith("\n"):
                        each(line.rstrip())
                status = process.wait()
            finally:
                timer.cancel()
                end(process)
            errors.seek(0)
            said = [line.strip() for line in errors if line.strip() and not line.startswith("note:")]
        # How `ls-train bench` tells of a measurement that died, among others that did not.
        lost = [line for line in said if ": left out from n " in line]
        if late.is_set():
            kind, problem = "cut", f"not done in {seconds:.0f} s"
        elif status == 0 and not lost:
            return None
        elif status == -signal.SIGALRM:
            kind, problem = "cut", "not done in its time"
        else:
            refused = optional and status == 1 and not lost
            kind = "not possible here" if refused else "FAILED"
            problem = (lost or said[-1:] or [f"exit status {status}"])[0]
            if status < 0:
                problem = f"{problem} ({signal.Signals(-status).name})"
        self.note(kind, f"{name}: {problem}")
        return problem

    def bench(self, name, arguments, each, optional=False, **environment):
        """Hands on the lines of `ls-train bench`, and returns what went wrong, if anything."""
        repeats = ["--repeats", "2", "--seconds", "1"] if self.small else ["--seconds", "0.6"]
        command = [self.packed / "bin/ls-train", "bench", *arguments, "--device", self.device, "--json", *repeats]

        # A processor that plays a GPU takes minutes to compile what a graphics card's driver has in seconds.
        seconds = 180 if self.small else 60
        return self.run(name, command, seconds, self.of_json(each), optional, **environment)


def figure(number, digits=3):
    return "-" if number is None else f"{number:.{digits}g}" if number < 1000 else f"{number:.0f}"


def mebibytes(count):
    return figure(count and count / 2**20, 4)


def of_attention(shape):
    """Of a shape: what tables call it, and the options of `ls-train bench attention`."""
    names = ("--b", "--heads", "--head-width", "--rank", "--window", "--n")
    return f"attention {', '.join(map(str, shape))}", [word for pair in zip(names, map(str, shape)) for word in pair]


def of_step(preset, b):
    return f"step of {preset}, b {b}"


def pytorch(report):
    """The command that measures PyTorch."""
    return [sys.executable, HERE / "pytorch.py", "--limit", "60", *(["--small"] if report.small else [])]


def right(report):
    # All files take a processor too long.
    command = [report.packed / "bin/golden", *(["lra_attn_w8_r4_cls"] if report.small else [])]
    settings = dict(LS_BACKENDS="wgpu", LS_REQUIRE_WGPU="1", LS_GOLDEN=str(report.packed / "golden"))
    counts, output = {"ok": 0, "FAILED": 0}, []
    report.write("no file is done")
    place = len(report.lines) - 1

    def each(line):
        report.keep(dict(golden=line))
        output.append(line)
        result = line.rsplit(" ", 1)[-1]
        if line.startswith("test golden") and result in counts:
            counts[result] += 1
            if result == "FAILED":
                report.note("FAILED", line)
            of = output[1].split()[1] if output[1:] else "?"
            report.lines[place] = f"{counts['ok']} of {of} files are right, {counts['FAILED']} wrong"
            report.save()

    # Meanwhile PyTorch compiles, which takes minutes; it keeps what it has compiled. Nothing is timed here.
    ahead = subprocess.Popen(
        list(map(str, pytorch(report))), env=report.environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        problem = report.run("golden files", command, 150, each, **settings)
    finally:
        end(ahead)
    print(report.lines[place], flush=True)
    report.write("\n".join(["", *(line for line in output if line.startswith("test result")), problem or ""]))
    if "failures:" in output:
        report.write("\n".join(["```text", *output[output.index("failures:") :][:60], "```"]))


# How the shaders compute, and what asks for it.
WAYS = [
    ("float32", "f32", {}),
    ("float16", "f16", {}),
    ("float16, cooperative matrices", "f16", {"LS_ATTENTION": "cooperative"}),
]


def attention(report):
    shapes = [SMALL] if report.small else [LRA, WIDE, (*WIDE[:5], 16384), (*WIDE[:5], 1024)]
    row = report.table("b", "h", "d", "r", "w", "n", "way", "pass", "ms", "floor ms", "ms / floor")
    for shape in shapes:
        what, sizes = of_attention(shape)
        for way, precision, environment in WAYS:

            def each(line):
                ms, floor = line["milliseconds"], line["floor_milliseconds"]
                report.ours.setdefault((what, way), {})[line["pass"]] = ms
                row(*shape, way, line["pass"], *map(figure, (ms, floor, ms / floor)))

            arguments = ["attention", "--path", "fused", "--precision", precision, *sizes]
            problem = report.bench(f"{what}, {way}", arguments, each, precision != "f32", **environment)
            if problem:
                row(*shape, way, problem)


def by_kernel(report, what, line):
    """A table of a profile's kernels."""
    rate, times = line["bytes_per_second"], line.get("kernels", [])
    total = sum(kernel["seconds"] for kernel in times)
    launches = sum(kernel["launches"] for kernel in times)
    report.write(f"\n{what}: {total * 1e3:.3g} ms in {launches} launches; a copy moves {rate / 1e9:.0f} GB/s.\n")
    row = report.table("kernel", "launches", "ms", "% of all", "MB to move", "% of copy")
    for kernel in times:
        moved, seconds = kernel.get("bytes"), kernel["seconds"]
        share = 100 * moved / rate / seconds if moved and seconds else None
        row(
            f"`{' '.join(kernel['name'].split(' | ')[:2])}`", kernel["launches"], figure(seconds * 1e3),
            figure(100 * seconds / total if total else None), figure(moved and moved / 1e6), figure(share),
        )  # fmt: skip


def kernels(report):
    of = [SMALL] if report.small else [LRA, WIDE]
    of = {what: ["attention", *sizes, "--pass", "forward_backward"] for what, sizes in map(of_attention, of)}
    b = ["1", "--n", "256"] if report.small else ["32"]
    of["a training step of Text"] = ["step", "--preset", "text", "--pass", "train_step", "--b", *b]
    for what, arguments in of.items():

        def each(line):
            by_kernel(report, f"{what}, {line['milliseconds']:.3g} ms, of which its kernels", line)

        problem = report.bench(f"kernels of {what}", [*arguments, "--path", "fused", "--profile"], each)
        if problem:
            report.write(f"\n{what}: {problem}")


def steps(report):
    presets = {preset: 1 if report.small else b for preset, b in PRESETS.items()}
    if report.small:
        # Too wide for a processor.
        del presets["text-strong"]
    command = [report.packed / "bin/ls-train", "presets", "--json"]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
    known = [preset["name"] for preset in json.loads(listed)]
    missing = [name for name in known if name not in presets and name not in LANGUAGE]
    report.note("not measured", f"presets {', '.join(missing)}")
    # A row of each preset comes first.
    cases = [(preset, "full", "packed", "f32") for preset in presets]
    cases += [(preset, "real", "packed", "f32") for preset in LONGEST]
    cases += [(preset, "full", "packed", "f16") for preset in HALF if preset in presets]
    cases += [(preset, documents, "padded", "f32") for documents in ("real", "full") for preset in LONGEST]
    row = report.table("preset", "b", "documents", "batches", "in", "pass", "ms", "tokens/s", "MiB")
    for preset, documents, packing, precision in cases:
        b = presets[preset]
        common = ["step", "--preset", preset, "--path", "fused", "--packing", packing, "--precision", precision]
        case = (preset, b, documents, packing, precision)

        def each(line):
            if (documents, packing) == ("full", "packed"):
                way = {"f32": "float32", "f16": "float16"}[precision]
                report.ours.setdefault((of_step(preset, b), way), {})[line["pass"]] = line["milliseconds"]
            rate = f"{line['tokens_per_second']:.3g}"
            row(*case, line["pass"], figure(line["milliseconds"]), rate, mebibytes(line["peak_bytes"]))

        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            if documents == "real":
                per_batch = b * (2 if preset == "retrieval" else 1)
                batches = lengths.batches(preset, "real", 8, per_batch, LONGEST[preset])
                file.write("".join(" ".join(map(str, batch)) + "\n" for batch in batches))
                file.flush()
                common += ["--lengths", file.name]
            else:
                common += ["--b", str(b)] + (["--n", "256"] if report.small else [])
            problem = report.bench(f"step {' '.join(map(str, case))}", common, each, precision != "f32")
        if problem:
            row(*case, problem)


# Presets of language models, by the options of `ls-train bench lm`; characters are written one at a time.
LANGUAGE = {
    "laptop": {},
    "base": dict(d_model=512, heads=8, layers=12, d_ff=2048, window=512, segment=2048, memory=2048, batch=4),
}


def language(report):
    row = report.table("model", "training, characters/s", "writing, characters/s", "MiB")
    profiles = []
    for name, sizes in LANGUAGE.items():
        if report.small and name != "laptop":
            report.note("not measured", f"language model {name}")
            continue
        sizes = dict(vocabulary=256, steps=3, characters=1000) | sizes
        if report.small:
            sizes |= dict(layers=1, d_model=32, d_ff=32, window=16, segment=32, memory=32, batch=1, characters=0)
        options = [word for key, size in sizes.items() for word in (f"--{key.replace('_', '-')}", str(size))]

        def each(line):
            figures = line["figures"]
            writing = figures.get("generation") or {}
            rates = [figures.get("training"), writing.get("characters_per_second")]
            row(name, *map(figure, rates), mebibytes(figures["peak_bytes"]))
            profiles.append((name, figures))

        command = [report.packed / "bin/ls-train", "bench", "lm", "--profile", "--device", report.device, *options]
        if problem := report.run(f"language model {name}", command, 120, report.of_json(each)):
            row(name, problem)
    # Causal attention, kernel by kernel.
    for name, figures in profiles:
        by_kernel(report, f"a training step of language model {name}", figures)


def peers(report):
    report.write("PyTorch pads: a step on real documents takes it as long as one on full ones.\n")
    row = report.table("what (attention: b, h, d, r, w, n)", "way", "forward, ms", "in all, ms", "MiB")
    ways, done = [], 0
    ours = dict(report.ours)

    def each(line):
        nonlocal ways, done
        if "ways" in line:
            ways = line["ways"]
            return
        done += 1
        # This project's next to them.
        for what, way in [key for key in ours if key[0] == line["what"]]:
            passes = ours.pop((what, way))
            whole = passes.get("forward_backward", passes.get("train_step"))
            row(what, f"this project, {way}", figure(passes.get("forward")), figure(whole))
        times = [line.get("forward"), line.get("forward_backward")]
        failed = f"failed: {line['error']}" if "error" in line else ""
        row(line["what"], line["way"], *map(figure, times), failed or mebibytes(line.get("peak_bytes")))

    each = report.of_json(each)
    while problem := report.run("PyTorch", [*pytorch(report), "--skip", done], 600, each, optional=True):
        if report.left() < SHORTEST or done == len(ways):
            break
        # A way ended the whole process. Those after it go on in another.
        row(*ways[done], "-", "-", f"failed: {problem}")
        done += 1
    for what, way in ways[done:]:
        report.note("left out for time", f"PyTorch's {what}, {way}")
    if problem and not ways:
        report.write(f"\n{problem}")


def start(report):
    row = report.table("", "time")
    arguments = ["step", "--preset", "listops", "--b", "1" if report.small else "32", "--path", "fused"]
    command = [report.packed / "bin/ls-train", "bench", *arguments, "--pass", "train_step", "--device", report.device]
    # Nothing is compiled and tried out yet.
    with tempfile.TemporaryDirectory() as cache:
        for which in ("first start", "second start"):
            began = time.monotonic()
            once = [*command, "--repeats", "1", "--seconds", "0.001"]
            problem = report.run(which, once, 120, lambda _: None, XDG_CACHE_HOME=cache)
            seconds = time.monotonic() - began
            report.keep(dict(start=which, seconds=seconds, problem=problem))
            row(which, problem or f"{seconds:.1f} s")


# With the seconds that each may take of six minutes.
SECTIONS = {
    "Right: the release's numbers (golden files)": (150, right),
    "Kernels": (60, kernels),
    "Attention, forward and backward": (75, attention),
    "Training steps and forward passes": (120, steps),
    "PyTorch next to it": (120, peers),
    "Language models": (40, language),
    "Start-up: a process from its start to the end of its first three steps of ListOps": (40, start),
}


def minutes(text):
    found = float(text)
    if not 0 < found <= 600:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 600")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu-report"), help="where tables and raw lines go")
    parser.add_argument("--device", default="wgpu", help="a name from `ls-train devices`")
    parser.add_argument("--minutes", type=minutes, default=6.0, help="what takes longer is left out, and named")
    parser.add_argument("--small", action="store_true", help="small sizes, for a processor that plays a GPU")
    options = parser.parse_args()
    # Ends what is running, as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        packed = HERE.parents[1]
        if not (packed / "bin/ls-train").exists():
            packed = folder / "packed"
            if subprocess.run(["bash", str(HERE / "run.sh"), "--pack", str(packed)]).returncode:
                sys.exit(1)
        report = Report(options, packed, folder / "cache")
        commit = (packed / "commit").read_text().strip()
        report.write(f"# A graphics card, commit {commit[:12]}, {time.strftime('%d %B %Y')}\n")
        report.write("```text")
        report.run("devices", [packed / "bin/ls-train", "devices"], 30, report.write)
        if shutil.which("nvidia-smi"):
            query = "--query-gpu=name,driver_version,clocks.max.sm,clocks.max.mem,power.limit"
            report.run("nvidia-smi", ["nvidia-smi", query, "--format=csv"], 20, report.write, optional=True)
        report.write("```\n")
        try:
            report.sections(SECTIONS)
        finally:
            report.save()
            print("\n".join(report.closing()), flush=True)
    print(f"wrote {options.out}/report.md", file=sys.stderr)
    sys.exit(1 if report.notes["FAILED"] else 0)


if __name__ == "__main__":
    main()
