"""The Long Range Arena classifier with long-short attention in plain PyTorch.

Written from the paper's equations, independently of the Rust code, over the weights that this
project writes (safetensors with the release's names). The tests' answers of the shipped model come
from it (`infer/tests/data/make_shipped_answers.py`).
"""

import math

import torch
import torch.nn.functional as F

HIDDEN = -1e30


def split(x, heads):
    """[b, n, h·d] -> [b, h, n, d]"""
    b, n, width = x.shape
    return x.view(b, n, heads, width // heads).transpose(1, 2)


def merge(x):
    """[b, h, n, d] -> [b, n, h·d]"""
    b, h, n, d = x.shape
    return x.transpose(1, 2).reshape(b, n, h * d)


def linear(weights, name, x):
    return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def layer_norm(weights, name, x):
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def turned(x):
    """Rotary positions (Su et al. 2021): feature i of [b, h, n, d] is paired with feature i + d/2."""
    n, half = x.shape[2], x.shape[3] // 2
    turns = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.arange(n, dtype=torch.float64)[:, None] * turns
    cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cosine - b * sine, b * cosine + a * sine], -1)


def attention(
    weights, name, x, mask, heads, window, class_row=None, dropout=0.0, rotary=False
):
    """Outputs of all tokens [b, n, D] and of the class row [b, 1, D], if there is one."""
    b, n, width = x.shape
    d = width // heads
    query = split(linear(weights, f"{name}.W_q", x), heads) / math.sqrt(d)
    key = split(layer_norm(weights, f"{name}.dual_ln_l", linear(weights, f"{name}.W_k", x)), heads)
    value = split(layer_norm(weights, f"{name}.dual_ln_l", linear(weights, f"{name}.W_v", x)), heads)
    if rotary:
        query, key = turned(query), turned(key)

    scores = split(linear(weights, f"{name}.dconv_fc", x), heads).transpose(2, 3)
    share = scores.masked_fill(~mask[:, None, None], HIDDEN).softmax(-1)
    landmark_key, landmark_value = share @ key, share @ value
    if class_row is not None:
        class_query = split(linear(weights, f"{name}.W_q", class_row), heads) / math.sqrt(d)
        class_key = split(linear(weights, f"{name}.W_k", class_row), heads)
        class_value = split(linear(weights, f"{name}.W_v", class_row), heads)
        landmark_key = torch.cat([class_key, landmark_key], 2)
        landmark_value = torch.cat([class_value, landmark_value], 2)
    landmark_key = split(layer_norm(weights, f"{name}.dual_ln_s", merge(landmark_key)), heads)
    landmark_value = split(layer_norm(weights, f"{name}.dual_ln_s", merge(landmark_value)), heads)

    halo = max(window // 2, 1)
    segments = -(-n // window)
    after = segments * window - n

    def windows(rows):
        """[b, h, n, d] -> [b, h, segments, w + 2e, d]"""
        padded = F.pad(rows, (0, 0, halo, after + halo))
        return padded.unfold(2, window + 2 * halo, window).transpose(3, 4)

    visible = F.pad(mask, (halo, after + halo)).unfold(1, window + 2 * halo, window)
    query = F.pad(query, (0, 0, 0, after)).view(b, heads, segments, window, d)
    in_window = query @ windows(key).transpose(3, 4)
    in_window = in_window.masked_fill(~visible[:, None, :, None], HIDDEN)
    to_landmarks = query @ landmark_key[:, :, None].transpose(3, 4)
    joined = F.dropout(torch.cat([to_landmarks, in_window], -1).softmax(-1), dropout)
    rank = landmark_key.shape[2]
    context = joined[..., :rank] @ landmark_value[:, :, None] + joined[..., rank:] @ windows(value)
    context = context.reshape(b, heads, segments * window, d)[:, :, :n] * mask[:, None, :, None]

    output = linear(weights, f"{name}.W_o", merge(context))
    if class_row is None:
        return output, None
    own = (class_query * class_key).sum(-1, keepdim=True)
    reads = (class_query @ context.transpose(2, 3)).masked_fill(~mask[:, None, None], HIDDEN)
    share = torch.cat([own, reads], -1).softmax(-1)
    class_context = share @ torch.cat([class_value, context], 2)
    return output, linear(weights, f"{name}.W_o", merge(class_context))


def feed_forward(weights, name, x, dropout):
    hidden = F.dropout(F.gelu(linear(weights, f"{name}.mlpblock.0", x)), dropout)
    return F.dropout(linear(weights, f"{name}.mlpblock.3", hidden), dropout)


def encode(weights, ids, mask, heads, window, layers, dropout=0.0, rotary=False):
    """A vector for each document, [b, D]: the class row of the last block, or the last real row of
    weights without one.

    mask [b, n], true = a real token. `dropout` is that of training, of attention too.
    """
    n = ids.shape[1]
    x = weights["model.embeddings.word_embeddings.weight"][ids]
    if (positions := weights.get("model.embeddings.position_embeddings.weight")) is not None:
        x = x + positions[:n]
    x = F.dropout(x, dropout)
    class_row = None
    for layer in range(layers):
        name = f"model.transformer_{layer}"
        if layer == layers - 1 and "model.cls_embed" in weights:
            class_row = weights["model.cls_embed"].expand(len(ids), 1, -1)
        normed = layer_norm(weights, f"{name}.norm1", x)
        attended, class_attended = attention(
            weights, f"{name}.mha", normed, mask, heads, window, class_row, dropout, rotary
        )
        x = x + F.dropout(attended, dropout)
        x = x + feed_forward(weights, name, layer_norm(weights, f"{name}.norm2", x), dropout)
        if class_row is not None:
            class_row = class_row + F.dropout(class_attended, dropout)
            normed = layer_norm(weights, f"{name}.norm2", class_row)
            class_row = class_row + feed_forward(weights, name, normed, dropout)
    if class_row is not None:
        return layer_norm(weights, "model.norm", class_row)[:, 0]
    last = mask.sum(1) - 1
    return layer_norm(weights, "model.norm", x[torch.arange(len(ids)), last])


def classify(weights, pooled):
    hidden = F.relu(linear(weights, "seq_classifer.mlpblock.0", pooled))
    return linear(weights, "seq_classifer.mlpblock.2", hidden)


def logits(weights, ids, mask, heads, window, layers, dropout=0.0, rotary=False):
    """Logits [b, classes] of single documents."""
    return classify(weights, encode(weights, ids, mask, heads, window, layers, dropout, rotary))


def pair_logits(weights, ids, mask, heads, window, layers, dropout=0.0):
    """Logits [b, classes] of pairs; ids and mask [2, b, n]."""
    a, b = (
        encode(weights, ids[side], mask[side], heads, window, layers, dropout) for side in (0, 1)
    )
    return classify(weights, torch.cat([a, b, a * b, a - b], 1))
