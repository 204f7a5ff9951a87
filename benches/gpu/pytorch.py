"""PyTorch's best ways of the same work on a CUDA card, a line of JSON each: see `report.py`.

Attention in PyTorch's operations (eager and compiled, float32 with and without TF32, bfloat16), by
FlexAttention, and dense by scaled_dot_product_attention; training steps of `benches/peer/model.py`.
The first line names all ways. `--small` takes small sizes, and a CPU where there is no card.
"""

import argparse
import gc
import json
import math
import signal
import statistics
import sys
import time
from pathlib import Path

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    sys.exit("PyTorch is missing: pip install torch numpy")

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "peer")]
import compare  # noqa: E402
from model import logits  # noqa: E402
from report import LRA, PRESETS, SMALL, WIDE, of_attention, of_step  # noqa: E402

SECONDS = 0.6
# As `ls-train bench` times: runs shorter than this are repeated without waiting for the card in between.
LONG_ENOUGH = 20
MOST_IN_A_ROW = 64


def once(work, device, count):
    """Milliseconds of one of `count` runs in a row."""
    if device == "cpu":
        start = time.perf_counter()
        for _ in range(count):
            work()
        return 1e3 * (time.perf_counter() - start) / count
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(count):
        work()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / count


def milliseconds(work, device):
    for _ in range(3):
        trial = once(work, device, 1)
    count = min(max(math.ceil(LONG_ENOUGH / trial), 1), MOST_IN_A_ROW)
    times, began = [], time.monotonic()
    while len(times) < 3 or time.monotonic() - began < SECONDS:
        times.append(once(work, device, count))
    return statistics.median(times)


def landmarks(key, value, scores):
    share = scores.float().softmax(-1).to(key)
    return share @ key, share @ value


def long_short(query, key, value, scores, window):
    """The two parts under one softmax, as the release computes them."""
    b, h, n, d = query.shape
    halo = max(window // 2, 1)
    key_landmarks, value_landmarks = landmarks(key, value, scores)

    def windows(rows):
        return F.pad(rows, (0, 0, halo, halo)).unfold(2, window + 2 * halo, window)

    real = torch.ones(n, dtype=torch.bool, device=query.device)
    real = F.pad(real, (halo, halo)).unfold(0, window + 2 * halo, window)[:, None]
    tiles = query.view(b, h, n // window, window, d)
    near = (tiles @ windows(key)).masked_fill(~real, float("-inf"))
    far = tiles @ key_landmarks.transpose(-1, -2)[:, :, None]
    share = torch.cat([far, near], -1).float().softmax(-1).to(query)
    rank = key_landmarks.shape[2]
    values = windows(value).transpose(3, 4)
    read = share[..., :rank] @ value_landmarks[:, :, None] + share[..., rank:] @ values
    return read.reshape(b, h, n, d)


def flex(shape, device):
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    _, _, _, rank, window, n = shape
    halo = max(window // 2, 1)

    def sees(_b, _h, query, key):
        token, segment = key - rank, query // window
        near = (token >= segment * window - halo) & (token < (segment + 1) * window + halo)
        return (key < rank) | near

    blocks = create_block_mask(sees, None, None, n, n + rank, device=device)
    attend = torch.compile(flex_attention, dynamic=False)

    def run(query, key, value, scores):
        if device == "cpu" and torch.is_grad_enabled():
            raise NotImplementedError("FlexAttention has no backward pass on a CPU")
        key_landmarks, value_landmarks = landmarks(key, value, scores)
        keys, values = torch.cat([key_landmarks, key], 2), torch.cat([value_landmarks, value], 2)
        return attend(query, keys, values, block_mask=blocks)

    return run


def attention(shape, device):
    """Ways of attention by name: how each is made, and whether it takes TF32.

    What is made is a pair: the forward pass, and with it the backward pass.
    """
    b, h, d, rank, window, n = shape
    plain = lambda *inputs: long_short(*inputs, window)  # noqa: E731
    compiled = lambda: torch.compile(plain, dynamic=False)  # noqa: E731
    dense = lambda query, key, value, _: F.scaled_dot_product_attention(query, key, value)  # noqa: E731

    def made(dtype, make):
        rows = lambda width: torch.randn(b, n, h, width, device=device, dtype=dtype)  # noqa: E731
        inputs = [rows(d).transpose(1, 2) for _ in range(3)] + [rows(rank).permute(0, 2, 3, 1)]
        inputs = [tensor.detach().requires_grad_() for tensor in inputs]
        gradient, run = torch.randn(b, h, n, d, device=device, dtype=dtype), make()

        def forward():
            with torch.no_grad():
                run(*inputs)

        def backward():
            for tensor in inputs:
                tensor.grad = None
            run(*inputs).backward(gradient)

        return forward, backward

    full, half = torch.float32, torch.bfloat16
    return {
        "eager, float32": (lambda: made(full, lambda: plain), False),
        "compiled, float32": (lambda: made(full, compiled), False),
        "compiled, TF32": (lambda: made(full, compiled), True),
        "compiled, bfloat16": (lambda: made(half, compiled), False),
        "FlexAttention, bfloat16": (lambda: made(half, lambda: flex(shape, device)), False),
        "dense, bfloat16": (lambda: made(half, lambda: dense), False),
    }


def step(preset, b, device, small):
    """Ways of a training step, as those of attention; the forward pass is not timed alone."""
    sizes = compare.PRESETS[preset] | (dict(n=256) if small else {})

    def made(half, compiled):
        weights = compare.random_weights(sizes)
        weights = {name: tensor.to(device).requires_grad_() for name, tensor in weights.items()}
        optimizer = torch.optim.AdamW(weights.values(), lr=1e-4, eps=1e-6, weight_decay=0.0, fused=True)
        ids = torch.randint(1, sizes["vocabulary"], (b, sizes["n"]), device=device)
        labels = torch.randint(0, sizes["classes"], (b,), device=device)
        mask = ids > 0

        def loss():
            answer = logits(weights, ids, mask, compare.HEADS, compare.WINDOW, compare.LAYERS)
            return F.cross_entropy(answer.float(), labels)

        run = torch.compile(loss, dynamic=False) if compiled else loss

        def train():
            with torch.autocast(device, torch.bfloat16, enabled=half):
                found = run()
            optimizer.zero_grad()
            found.backward()
            optimizer.step()

        return None, train

    return {
        "eager, float32": (lambda: made(False, False), False),
        "compiled, float32": (lambda: made(False, True), False),
        "compiled, TF32": (lambda: made(False, True), True),
        "compiled, bfloat16 (autocast)": (lambda: made(True, True), False),
    }


def reason(error):
    """The first line that says something, without the compiler's heading."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.endswith("raised:")]
    return (lines or [type(error).__name__])[0][:160]


def measure(make, tf32, device):
    """What was measured, and why the rest was not."""
    line = {}
    try:
        if tf32 and device == "cpu":
            raise ValueError("a CPU has no TF32")
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        forward, whole = make()
        if forward:
            line["forward"] = milliseconds(forward, device)
        line["forward_backward"] = milliseconds(whole, device)
        if device == "cuda":
            line["peak_bytes"] = torch.cuda.max_memory_reserved()
    except Exception as error:  # noqa: BLE001 - a way that does not work here is left out
        line["error"] = reason(error)
    return line


def forget(device):
    """Gives back what a way held: memory, and compiled code, of which PyTorch keeps few versions."""
    torch.compiler.reset()
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="small sizes; on the CPU where there is no card")
    parser.add_argument("--skip", type=int, default=0, metavar="N", help="leave the first N ways out")
    parser.add_argument("--limit", type=int, default=0, metavar="S", help="die in a way that takes longer than S seconds")
    options = parser.parse_args()
    device = options.device
    if device == "cuda" and not torch.cuda.is_available():
        if not options.small:
            sys.exit("this PyTorch sees no CUDA card: --device cpu measures the CPU")
        device = "cpu"
    shapes = [SMALL] if options.small else [LRA, WIDE]
    presets = {"text": 1} if options.small else {preset: PRESETS[preset] for preset in ("text", "listops")}
    work = [(of_attention(shape)[0], attention(shape, device)) for shape in shapes]
    work += [(of_step(preset, b), step(preset, b, device, options.small)) for preset, b in presets.items()]
    work = [(what, way, *how) for what, ways in work for way, how in ways.items()]
    print(json.dumps(dict(ways=[(what, way) for what, way, *_ in work])), flush=True)
    torch.manual_seed(1)
    for what, way, make, tf32 in work[options.skip :]:
        # Not caught, so that it ends compilers and cards that hang, too.
        signal.alarm(options.limit)
        line = dict(what=what, way=way) | measure(make, tf32, device)
        signal.alarm(0)
        try:
            forget(device)
        except RuntimeError:
            # The card will say so of all that follows: another process has to go on.
            sys.exit(line.get("error", "the card failed"))
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
