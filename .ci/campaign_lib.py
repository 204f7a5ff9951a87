"""What the campaigns share: the programs, what a whole file is, litter, tables."""

import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# A model of one narrow block on the first 128 tokens, as the tests have it.
SMALL = [
    "d_model=16", "d_ff=16", "d_head=16", "layers=1", "rank=4", "window=8", "max_length=128",
    "batch_size=4", "learning_rate=1e-3",
]  # fmt: skip


def settings(*values):
    return [word for value in values for word in ("--set", value)]


class Programs:
    """`ls-train` and `ls-infer` of a build."""

    def __init__(self, folder=None):
        target = os.environ.get("CARGO_TARGET_DIR")
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        places = [Path(folder)] if folder else []
        if not folder:
            places += [Path(target) / "release"] if target else []
            places += [ROOT / "target" / "release", cache / "transformer-ls" / "target" / "release"]
        for place in places:
            if all((place / name).is_file() for name in ("ls-train", "ls-infer")):
                self.folder = place.resolve()
                break
        else:
            looked = ", ".join(str(place) for place in places)
            sys.exit(f"no ls-train and ls-infer in {looked}: cargo build --release --workspace, or --programs FOLDER")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("LS_", "RUST"))}
        # A panic is a finding, and its place is wanted.
        self.env["RUST_BACKTRACE"] = "1"

    def command(self, words):
        return [str(self.folder / words[0]), *words[1:]]

    def start(self, words, cwd, **more):
        return subprocess.Popen(
            self.command(words), cwd=cwd, env=self.env, stdin=subprocess.DEVNULL,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more},
        )  # fmt: skip

    def run(self, words, cwd, timeout=600, **more):
        """Status, standard output and standard error; a process that hangs is ended."""
        process = self.start(words, cwd, **more)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err += b"\n(it hung, and was ended)"
        return process.returncode, decoded(out), decoded(err)

    def must(self, words, cwd):
        status, out, err = self.run(words, cwd)
        if status:
            sys.exit(f"{' '.join(words)}: status {status}\n{err}")
        return out


def decoded(data):
    return (data or b"").decode("utf-8", "replace")


def commit():
    try:
        words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


# --- whole files -----------------------------------------------------------------------------


def samples_problem(data):
    if data[:8] != b"LSPACK\0\x02":
        return "it is no packed file of version 2"
    if len(data) < 56:
        return "its header is cut off"
    key, samples, documents, _first, tokens, _left_out = struct.unpack("<6Q", data[8:56])
    wanted = 56 + key + tokens + samples + 8 * samples * documents
    if wanted != len(data):
        return f"its header says {wanted} bytes, it has {len(data)}"
    if samples and struct.unpack("<Q", data[-8:])[0] != tokens:
        return "its last document ends elsewhere than its tokens"
    return None


def safetensors_problem(data):
    if len(data) < 8:
        return "its header is cut off"
    header = struct.unpack("<Q", data[:8])[0]
    if 8 + header > len(data):
        return "its header is cut off"
    try:
        tensors = json.loads(data[8 : 8 + header])
    except ValueError as error:
        return f"its header is no JSON: {error}"
    ends = [tensor["data_offsets"][1] for name, tensor in tensors.items() if name != "__metadata__"]
    if 8 + header + max(ends, default=0) != len(data):
        return f"its tensors end at {8 + header + max(ends, default=0)}, the file at {len(data)}"
    return None


def json_problem(data):
    try:
        json.loads(data)
    except ValueError as error:
        return f"it is no JSON: {error}"
    return None


def png_problem(data):
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return "it is no PNG"
    at, name = 8, b""
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        check = data[at + 8 + length : at + 12 + length]
        if len(check) < 4 or struct.unpack(">I", check)[0] != zlib.crc32(name + body):
            return "a chunk is damaged or cut off"
        at += 12 + length
    return None if name == b"IEND" and at == len(data) else "it ends too early"


def svg_problem(data):
    return None if data.rstrip().endswith(b"</svg>") else "it ends too early"


def gzip_problem(data):
    """Of a whole gzip stream, or several."""
    while data:
        stream = zlib.decompressobj(31)
        try:
            stream.decompress(data)
        except zlib.error as error:
            return f"it is no whole gzip file: {error}"
        if not stream.eof:
            return "it is cut off"
        data = stream.unused_data
    return None


def lines_problem(data):
    if not data.endswith(b"\n"):
        return "its last line is cut off"
    return None


def events_problem(data):
    """TensorBoard's records: length, checksum, body, checksum."""
    at = 0
    while at < len(data):
        if at + 12 > len(data):
            return "its last record is cut off"
        at += 16 + struct.unpack("<Q", data[at : at + 8])[0]
    return None if at == len(data) else "its last record is cut off"


def metrics_problem(data, torn):
    lines = data.split(b"\n")
    if lines.pop() and not torn:
        return "its last line is cut off"
    for number, line in enumerate(lines, 1):
        if problem := json_problem(line):
            return f"line {number}: {problem}"
    return None


LITTER = re.compile(r"unfinished|generating|\.part$|^\.tmp|^\.\d+$")


def is_litter(name):
    """Whether a name is one of those that unfinished things have."""
    return bool(LITTER.search(name))


def litter(root):
    return sorted(str(path.relative_to(root)) for path in Path(root).rglob("*") if is_litter(path.name))


def is_beside(name):
    """Whether it is what a process that was killed may leave for good beside its results.

    docs/reliability.md says so. In a run's folder, and with data, the next start clears up.
    """
    return name.split("/")[0].startswith(".unfinished-")


def problems(root, running=False):
    """What is half-written under a final name below `root`.

    What is below a name of unfinished things does not count. While a run is going on (or was
    killed), the files that are only ever appended to may end in the middle of a line.
    """
    found = []
    root = Path(root)
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not is_litter(name)]
        for name in sorted(files):
            path = Path(folder) / name
            if is_litter(name) or path.is_symlink():
                continue
            try:
                if problem := problem_of(path, running):
                    found.append(f"{path.relative_to(root)}: {problem}")
            except OSError as error:
                found.append(f"{path.relative_to(root)}: {error}")
        if "checkpoint" in folders:
            for checkpoint in (Path(folder) / "checkpoint").iterdir():
                if checkpoint.name.isdigit() and (problem := checkpoint_problem(checkpoint)):
                    found.append(f"{checkpoint.relative_to(root)}: {problem}")
        if "metadata" in folders and "imgs" in folders:
            found += [f"{folder}: {problem}" for problem in pathfinder_problems(Path(folder))]
    return found


def problem_of(path, running):
    name, data = path.name, path.read_bytes()
    if name.endswith(".samples"):
        return samples_problem(data)
    if name.endswith(".safetensors"):
        return safetensors_problem(data)
    if name.endswith(".json"):
        return json_problem(data)
    if name == "metrics.jsonl":
        return metrics_problem(data, running)
    if name.endswith(".png"):
        return png_problem(data)
    if name.endswith(".svg"):
        return svg_problem(data)
    if name.endswith(".gz"):
        return gzip_problem(data)
    if name.endswith((".tsv", ".npy")):
        return lines_problem(data)
    if "tfevents" in name and not running:
        return events_problem(data)
    return None


def checkpoint_problem(folder):
    state = folder / "state.json"
    if not state.is_file():
        return "state.json is missing"
    try:
        files = json.loads(state.read_bytes())["files"]
    except (ValueError, KeyError) as error:
        return f"state.json is damaged: {error}"
    for name, wanted in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            return f"{name} is not what state.json says"
    return None


def pathfinder_problems(folder):
    for metadata in sorted((folder / "metadata").glob("*.npy")):
        if is_litter(metadata.name):
            continue
        for line in metadata.read_text().splitlines():
            image = "/".join(line.split()[:2])
            if not (folder / image).is_file():
                yield f"{metadata.name} names {image}, which is not there"


# --- the bits of results ---------------------------------------------------------------------

# What is another each time: times, memory, the command line.
VARYING = {"seconds", "wall_seconds", "tokens_per_second", "samples_per_second", "peak_bytes", "device_bytes", "command"}


def without_times(value):
    return {key: item for key, item in value.items() if key not in VARYING}


def bits(path):
    """What has to be the same of a file, as one value."""
    data = path.read_bytes()
    if path.name == "metrics.jsonl":
        data = "\n".join(json.dumps(without_times(json.loads(line))) for line in data.splitlines()).encode()
    elif path.name == "summary.json":
        data = json.dumps(without_times(json.loads(data))).encode()
    elif "tfevents" in path.name:
        # They hold the time of day.
        data = str(len(data)).encode()
    return hashlib.sha256(data).hexdigest()


def all_bits(root):
    """Path and bits of every result below a folder: all but records with random names in them, locks and logs.

    Of a run's two checkpoints the older is left out: after a signal that saves, it is of the step of that signal.
    """
    result = {}
    for path in sorted(Path(root).rglob("*")):
        name = path.relative_to(root).as_posix()
        if is_older_checkpoint(path, root):
            continue
        if path.is_dir():
            result[name + "/"] = ""
        elif path.name.endswith((".bpk", ".lock")) or path.name == "state.json":
            result[name] = "there"
        else:
            result[name] = bits(path)
    return result


def is_older_checkpoint(path, root):
    for folder in [path, *path.parents]:
        if folder == Path(root):
            return False
        if folder.parent.name == "checkpoint" and folder.name.isdigit():
            return any(other.name.isdigit() and int(other.name) > int(folder.name) for other in folder.parent.iterdir())
    return False


def differences(wanted, found):
    lines = [f"{name} is missing" for name in wanted if name not in found]
    lines += [f"{name} is there, too" for name in found if name not in wanted]
    lines += [f"{name} has other bits" for name in wanted if name in found and wanted[name] != found[name]]
    return lines


# --- words -----------------------------------------------------------------------------------


def duration(seconds):
    seconds = int(seconds)
    return f"{seconds // 60} min {seconds % 60:02} s" if seconds >= 60 else f"{seconds} s"


def table(head, rows):
    rows = [head, *[[str(item) for item in row] for row in rows]]
    widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
    for row in rows:
        cells = [item.ljust(width) if at == 0 or not item[:1].isdigit() else item.rjust(width) for at, (item, width) in enumerate(zip(row, widths, strict=True))]
        print("  ".join(cells).rstrip())


def sentence_problem(status, err, wanted=1, chatty=False):
    """What is wrong with a refusal: one sentence on one line (the last, of chatty ones), and the status 1."""
    lines = [line for line in err.splitlines() if line.strip()]
    found = []
    if status != wanted:
        found.append(f"the status is {status}, not {wanted}")
    if "panicked" in err:
        found.append("it panicked")
    if chatty and sum(line.startswith("error: ") for line in lines) == 1:
        lines = lines[-1:]
    if len(lines) != 1:
        found.append(f"{len(lines)} lines on the standard error")
    elif not lines[0].startswith("error: "):
        found.append("no `error: ` on the standard error")
    return found
