"""PyTorch's best ways of the same work on a CUDA card, a line of JSON each: see `report.py`.

Attention in PyTorch's operations (eager and compiled, float32 with and without TF32, bfloat16), by
FlexAttention, and dense by scaled_dot_product_attention; training steps of `benches/peer/model.py`.
"""

import json
import statistics
import sys
import time
from pathlib import Path

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    sys.exit("PyTorch is missing: pip install torch")
if not torch.cuda.is_available():
    sys.exit("this PyTorch sees no CUDA card")

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peer"))
import compare  # noqa: E402
from model import logits  # noqa: E402

SECONDS = 0.6
DEVICE = "cuda"


def milliseconds(work):
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    times, began = [], time.monotonic()
    while len(times) < 3 or time.monotonic() - began < SECONDS:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
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


def flex(shape):
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    _, _, _, rank, window, n = shape
    halo = max(window // 2, 1)

    def sees(_b, _h, query, key):
        token, segment = key - rank, query // window
        near = (token >= segment * window - halo) & (token < (segment + 1) * window + halo)
        return (key < rank) | near

    blocks = create_block_mask(sees, None, None, n, n + rank, device=DEVICE, _compile=True)
    attend = torch.compile(flex_attention)

    def run(query, key, value, scores):
        key_landmarks, value_landmarks = landmarks(key, value, scores)
        keys, values = torch.cat([key_landmarks, key], 2), torch.cat([value_landmarks, value], 2)
        return attend(query, keys, values, block_mask=blocks)

    return run


def ways(shape):
    window = shape[4]
    plain = lambda *inputs: long_short(*inputs, window)  # noqa: E731
    compiled = lambda: torch.compile(plain, dynamic=False)  # noqa: E731
    dense = lambda query, key, value, _: F.scaled_dot_product_attention(query, key, value)  # noqa: E731
    return {
        "eager, float32": (torch.float32, False, lambda: plain),
        "compiled, float32": (torch.float32, False, compiled),
        "compiled, TF32": (torch.float32, True, compiled),
        "compiled, bfloat16": (torch.bfloat16, True, compiled),
        "FlexAttention, bfloat16": (torch.bfloat16, True, lambda: flex(shape)),
        "dense flash, bfloat16": (torch.bfloat16, True, lambda: dense),
    }


def attention(shape):
    b, h, d, rank, _, n = shape
    for way, (dtype, tf32, make) in ways(shape).items():
        torch.backends.cuda.matmul.allow_tf32 = tf32
        line = dict(what=f"attention {b}, {h}, {d}, {rank}, {shape[4]}, {n}", way=way)
        try:
            rows = lambda width: torch.randn(b, n, h, width, device=DEVICE, dtype=dtype)  # noqa: E731
            inputs = [rows(d).transpose(1, 2) for _ in range(3)] + [rows(rank).permute(0, 2, 3, 1)]
            inputs = [tensor.detach().requires_grad_() for tensor in inputs]
            gradient, run = torch.randn(b, h, n, d, device=DEVICE, dtype=dtype), make()

            def forward():
                with torch.no_grad():
                    run(*inputs)

            def backward():
                for tensor in inputs:
                    tensor.grad = None
                run(*inputs).backward(gradient)

            line |= dict(forward=milliseconds(forward), forward_backward=milliseconds(backward))
        except Exception as error:  # noqa: BLE001 - a way that does not work here is left out
            line["error"] = str(error).splitlines()[0][:120]
        print(json.dumps(line), flush=True)
        torch.cuda.empty_cache()


def step(preset, b):
    sizes = compare.PRESETS[preset]
    weights = compare.random_weights(sizes)
    weights = {name: tensor.to(DEVICE).requires_grad_() for name, tensor in weights.items()}
    optimizer = torch.optim.AdamW(weights.values(), lr=1e-4, eps=1e-6, weight_decay=0.0, fused=True)
    ids = torch.randint(1, sizes["vocabulary"], (b, sizes["n"]), device=DEVICE)
    labels = torch.randint(0, sizes["classes"], (b,), device=DEVICE)
    mask = ids > 0

    def loss():
        answer = logits(weights, ids, mask, compare.HEADS, compare.WINDOW, compare.LAYERS)
        return F.cross_entropy(answer.float(), labels)

    for way, tf32, half, compiled in [
        ("eager, float32", False, False, False),
        ("compiled, TF32", True, False, True),
        ("compiled, bfloat16 (autocast)", True, True, True),
    ]:
        torch.backends.cuda.matmul.allow_tf32 = tf32
        line = dict(what=f"step of {preset}, b {b}", way=way)
        try:
            run = torch.compile(loss, dynamic=False) if compiled else loss

            def train():
                with torch.autocast(DEVICE, torch.bfloat16, enabled=half):
                    found = run()
                optimizer.zero_grad()
                found.backward()
                optimizer.step()

            line["forward_backward"] = milliseconds(train)
        except Exception as error:  # noqa: BLE001 - a way that does not work here is left out
            line["error"] = str(error).splitlines()[0][:120]
        print(json.dumps(line), flush=True)
        torch.cuda.empty_cache()


def main():
    wanted = json.loads(sys.argv[1])
    torch.manual_seed(1)
    for shape in wanted["shapes"]:
        attention(tuple(shape))
    for preset, b in wanted["presets"].items():
        step(preset, b)


if __name__ == "__main__":
    main()
