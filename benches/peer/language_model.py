"""The causal language model with long-short attention in plain PyTorch: its check and its speed.

    pip install torch numpy safetensors        # a CPU build will do; measured with 2.9
    python3 benches/peer/language_model.py --check
    python3 benches/peer/language_model.py --segment 2048 --memory 2048 --threads 4

Written from the paper's equations, independently of the Rust code. Modules carry the names of the
PyTorch release, so that its checkpoints load by `load_state_dict`.

`--check` compares log-probabilities, losses and gradients with golden files, and generation one
token at a time with whole segments. Without it, a line of JSON is printed: tokens a second of
training steps (forward, backward, Adam; memory carried along) and characters a second of
generation, early and late in a text. PyTorch runs eager and compiled (`torch.compile`, which needs
a C++ compiler), training also with its memory kept (glibc told not to give big blocks back); the
best way counts, all are printed. The defaults are the 12-layer model of enwik8.

Shapes: b batch, D width, h heads, d = D / h, M tokens of a segment, L tokens of memory, c tokens of
a chunk, ρ landmarks of a chunk, w window, T landmarks that a segment's last chunk sees.
"""

import argparse
import json
import math
import os
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parents[1] / "model/tests/fixtures/golden"
sys.path.insert(0, str(HERE))


@dataclass(frozen=True)
class Sizes:
    vocabulary: int = 205
    d_model: int = 512
    heads: int = 8
    layers: int = 12
    d_ff: int = 2048
    window: int = 512
    chunk: int = 16
    rank: int = 1
    segment: int = 2048
    memory: int = 2048
    # Distances beyond these count as these; zero or less: no limit.
    clamp: int = 0
    landmark_clamp: int = 0
    pre_norm: bool = True
    gelu: bool = True
    bias: bool = False
    dropout: float = 0.0

    def __post_init__(self):
        if self.d_model % self.heads or self.d_model % 2:
            raise ValueError("d_model must be even, and a multiple of heads")
        if self.segment % self.chunk or self.memory % self.chunk:
            raise ValueError("the chunk must divide the segment and the memory")
        if self.memory < self.window:
            raise ValueError("the memory must hold at least a window")

    @property
    def memory_landmarks(self):
        return self.memory // self.chunk * self.rank

    @property
    def landmarks(self):
        """T: nobody in a segment sees the landmarks of its last chunk."""
        return self.memory_landmarks + (self.segment // self.chunk - 1) * self.rank

    @property
    def block(self):
        """How many neighbouring queries share one matrix product with their window's keys.

        A block of B queries reads w + B keys of which w count for each: small blocks compute less
        in vain, large ones copy fewer keys.
        """
        largest = min(max(self.window // 2, 16), 128)
        return max(size for size in range(1, largest + 1) if self.segment % size == 0)


def split_heads(rows, heads):
    """[b, n, h·d] -> [b, h, n, d]"""
    return rows.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(rows):
    """[b, h, n, d] -> [b, n, h·d]"""
    return rows.transpose(1, 2).flatten(2)


def compress(share, rows):
    """Each chunk's landmarks: head by head, averages of its rows under the head's own weights.

    share [b, chunks, c, h, ρ], rows [b, chunks·c, h·d] -> [b, chunks·ρ, h·d]
    """
    b, chunks, c, heads, rank = share.shape
    by_head = rows.view(b, chunks, c, heads, rows.shape[-1] // heads)
    landmarks = torch.einsum("bgchr,bgchd->bgrhd", share, by_head)
    return landmarks.reshape(b, chunks * rank, rows.shape[-1])


def shear(rows, step, start=0):
    """Moves row i to the right by i·step − start columns, […, n, m] -> […, n, m − step].

    A view: reading n rows of m columns as rows of m − step columns does it. What leaves a row on
    one side comes in at the other side of a neighbour, so rows need padding to keep apart.
    (`split`, here and below, since its backward pass writes a gradient once, a slice's twice.)
    """
    n, m = rows.shape[-2:]
    parts = (start, n * (m - step), n * step - start)
    return rows.flatten(-2).split(parts, -1)[1].unflatten(-1, (n, m - step))


class Attention(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes
        width, heads = sizes.d_model, sizes.heads
        self.proj_query = nn.Linear(width, width, bias=sizes.bias)
        self.proj_key = nn.Linear(width, width, bias=sizes.bias)
        self.proj_val = nn.Linear(width, width, bias=sizes.bias)
        self.proj_out = nn.Linear(width, width, bias=sizes.bias)
        self.dconv_1 = nn.Linear(width, heads * sizes.rank)
        self.dual_ln_win = nn.LayerNorm(width)
        self.dual_ln_dproj = nn.LayerNorm(width)
        self.r_net = nn.Linear(width, width, bias=False)
        self.r_net_chunk = nn.Linear(width, width)
        self.r_w_bias = nn.Parameter(torch.zeros(1, heads, 1, 1, width // heads))
        self.r_r_bias = nn.Parameter(torch.zeros(1, heads, 1, width // heads))

    def queries(self, rows):
        """For landmarks, for the window's keys, for the window's distances; each [b, h, n, d]."""
        query = split_heads(self.proj_query(rows), self.sizes.heads)
        query = query / math.sqrt(query.shape[-1])
        return query, query + self.r_w_bias.squeeze(2), query + self.r_r_bias

    def window_rows(self, rows):
        """Projected keys or values [b, n, D] -> [b, h, n, d]"""
        return split_heads(self.dual_ln_win(rows), self.sizes.heads)

    def landmark_rows(self, rows):
        """Projected keys or values of landmarks [b, t, D] -> [b, h, t, d]"""
        return split_heads(self.dual_ln_dproj(rows), self.sizes.heads)

    def chunk_shares(self, rows):
        """How much each row counts in its chunk's landmarks, [b, n, D] -> [b, n / c, c, h, ρ]"""
        scores = self.dconv_1(rows).unflatten(1, (-1, self.sizes.chunk))
        return scores.softmax(2).unflatten(-1, (self.sizes.heads, -1))

    def distance_keys(self, distances, landmark_distances):
        """Sinusoids [w, D] and [T, D] -> [h, d, w] and [h, d, T]"""
        of = (self.r_net(distances), self.r_net_chunk(landmark_distances))
        return tuple(keys.unflatten(-1, (self.sizes.heads, -1)).permute(1, 2, 0) for keys in of)

    def blocks(self, rows):
        """The keys that each block of B queries may see,
        [b, h, w + M, d] -> [b, h, M / B, E + B, d]

        E is w rounded up to whole blocks: block i reads the stretches i … i + E / B. Slices joined
        together, because the backward pass of `unfold` is slow.
        """
        size, window = self.sizes.block, self.sizes.window
        before = -(-window // size)
        stretches = F.pad(rows, (0, 0, before * size - window, 0)).unflatten(2, (-1, size))
        count = stretches.shape[2] - before
        return torch.cat([stretches[:, :, at : at + count] for at in range(before + 1)], 3)

    def forward(self, rows, memory, sinusoids):
        """rows [b, M, D], memory [b, L, D], sinusoids [w, D] and [T, D], the furthest first
        -> [b, M, D]"""
        sizes = self.sizes
        window, chunk, rank, block = sizes.window, sizes.chunk, sizes.rank, sizes.block
        query, key_query, distance_query = self.queries(rows)
        distances, landmark_distances = self.distance_keys(*sinusoids)

        near = torch.cat([memory[:, -window:], rows], 1)
        key, value = self.proj_key(near), self.proj_val(near)

        # Rows of the memory are compressed first and projected then, those of the segment the
        # other way round: different results, since a projection mixes the heads.
        far = compress(self.chunk_shares(memory), memory)
        seen = rows.shape[1] - chunk
        shares = self.chunk_shares(rows[:, :seen])
        landmark_key, landmark_value = (
            self.landmark_rows(
                torch.cat([project(far), compress(shares, of[:, window : window + seen])], 1)
            )
            for project, of in ((self.proj_key, key), (self.proj_val, value))
        )

        # Scores of distances are computed by distance and sheared to where the keys lie; minus
        # infinity, which the padding brings there, hides all that is not to be seen.
        surplus = -window % block
        by_distance = (distance_query @ distances).unflatten(2, (-1, block))
        by_distance = F.pad(by_distance, (surplus + 1, block), value=-math.inf)
        by_key = key_query.unflatten(2, (-1, block)) @ self.blocks(self.window_rows(key)).mT
        window_scores = by_key + shear(by_distance, 1)

        # The rows of a chunk, which see the same landmarks, go c apart: shears act on neighbours.
        chunks = rows.shape[1] // chunk
        by_chunk = query.unflatten(2, (chunks, chunk)).transpose(2, 3)
        by_distance = by_chunk.flatten(2, 3) @ landmark_distances
        by_distance = F.pad(by_distance, (0, chunks * rank), value=-math.inf)
        by_distance = shear(by_distance.unflatten(2, (chunk, chunks)), rank, (chunks - 1) * rank)
        by_key = (query @ landmark_key.mT).unflatten(2, (chunks, chunk))
        count = landmark_key.shape[2]
        landmark_scores = by_key + by_distance[..., :count].transpose(2, 3)

        landmark_scores = landmark_scores.flatten(2, 3).unflatten(2, (-1, block))
        share = torch.cat([landmark_scores, window_scores], -1).softmax(-1)
        share = F.dropout(share, sizes.dropout, self.training)
        of_landmarks, of_window = share.split((count, share.shape[-1] - count), -1)
        context = of_landmarks.flatten(2, 3) @ landmark_value
        context = context + (of_window @ self.blocks(self.window_rows(value))).flatten(2, 3)
        return F.dropout(self.proj_out(merge_heads(context)), sizes.dropout, self.training)

    def start(self, memory, sinusoids):
        """What generation keeps of this layer, from a memory [b, L, D]."""
        sizes = self.sizes
        b, _, width = memory.shape
        near, far = memory[:, -sizes.window :], compress(self.chunk_shares(memory), memory)
        zeros = memory.new_zeros
        of_segment = (sizes.segment // sizes.chunk * sizes.rank, width // sizes.heads)
        landmarks = (0, 0, 0, sizes.landmarks - sizes.memory_landmarks)
        distances, landmark_distances = self.distance_keys(*sinusoids)
        return LayerState(
            window_keys=self.window_rows(self.proj_key(near)).contiguous(),
            window_values=self.window_rows(self.proj_val(near)).contiguous(),
            landmark_keys=F.pad(self.landmark_rows(self.proj_key(far)), landmarks),
            landmark_values=F.pad(self.landmark_rows(self.proj_val(far)), landmarks),
            next_keys=zeros(b, sizes.heads, *of_segment),
            next_values=zeros(b, sizes.heads, *of_segment),
            open_rows=zeros(b, sizes.chunk, width),
            open_keys=zeros(b, sizes.chunk, width),
            open_values=zeros(b, sizes.chunk, width),
            distances=distances.contiguous(),
            landmark_distances=landmark_distances.contiguous(),
        )

    def step(self, rows, state, places):
        """One token a text, [b, 1, D] -> [b, 1, D]"""
        query, key_query, distance_query = self.queries(rows)
        key, value = self.proj_key(rows), self.proj_val(rows)
        state.open_rows.index_copy_(1, places.in_chunk, rows)
        state.open_keys.index_copy_(1, places.in_chunk, key)
        state.open_values.index_copy_(1, places.in_chunk, value)
        state.window_keys.index_copy_(2, places.in_window, self.window_rows(key))
        state.window_values.index_copy_(2, places.in_window, self.window_rows(value))

        by_distance = (distance_query @ state.distances)[..., places.distances]
        window_scores = key_query @ state.window_keys.mT + by_distance
        by_distance = (query @ state.landmark_distances)[..., places.landmark_distances]
        landmark_scores = query @ state.landmark_keys.mT + by_distance + places.hidden
        share = torch.cat([landmark_scores, window_scores], -1).softmax(-1)
        count = landmark_scores.shape[-1]
        context = share[..., :count] @ state.landmark_values
        return self.proj_out(merge_heads(context + share[..., count:] @ state.window_values))

    def close_chunk(self, state, places):
        """Landmarks of the chunk now full: as this segment's later chunks see them, and, put by,
        as later segments do."""
        shares = self.chunk_shares(state.open_rows)
        far = compress(shares, state.open_rows)
        for project, opened, now, later in (
            (self.proj_key, state.open_keys, state.landmark_keys, state.next_keys),
            (self.proj_val, state.open_values, state.landmark_values, state.next_values),
        ):
            later.index_copy_(2, places.next_landmarks, self.landmark_rows(project(far)))
            if places.new_landmarks is not None:
                landmark = self.landmark_rows(compress(shares, opened))
                now.index_copy_(2, places.new_landmarks, landmark)

    def close_segment(self, state):
        """The segment's landmarks give way to the memory's."""
        count = self.sizes.memory_landmarks
        for landmarks, later in (
            (state.landmark_keys, state.next_keys),
            (state.landmark_values, state.next_values),
        ):
            landmarks[:, :, :count] = torch.cat([landmarks[:, :, :count], later], 2)[:, :, -count:]


@dataclass
class LayerState:
    """All that a layer remembers while it generates; sizes do not depend on the text's length."""

    # The window's keys lie in a ring: that of position p in row p mod w.
    window_keys: torch.Tensor  # [b, h, w, d]
    window_values: torch.Tensor
    landmark_keys: torch.Tensor  # [b, h, T, d]
    landmark_values: torch.Tensor
    # This segment's chunks as landmarks of the memory.
    next_keys: torch.Tensor  # [b, h, M / c · ρ, d]
    next_values: torch.Tensor
    open_rows: torch.Tensor  # [b, c, D]
    open_keys: torch.Tensor
    open_values: torch.Tensor
    distances: torch.Tensor  # [h, d, w]
    landmark_distances: torch.Tensor  # [h, d, T]


class FeedForward(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes
        self.fc1 = nn.Linear(sizes.d_model, sizes.d_ff)
        self.fc2 = nn.Linear(sizes.d_ff, sizes.d_model)

    def forward(self, rows):
        hidden = F.gelu(self.fc1(rows)) if self.sizes.gelu else F.relu(self.fc1(rows))
        hidden = F.dropout(hidden, self.sizes.dropout, self.training)
        return F.dropout(self.fc2(hidden), self.sizes.dropout, self.training)


class Layer(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.pre_norm = sizes.pre_norm
        self.attn = Attention(sizes)
        self.ff = FeedForward(sizes)
        self.norm1 = nn.LayerNorm(sizes.d_model)
        self.norm2 = nn.LayerNorm(sizes.d_model)

    def attention_input(self, rows):
        return self.norm1(rows) if self.pre_norm else rows

    def after_attention(self, rows, attended):
        """`rows` are those that attention saw: with pre-norm, the residual is normalised."""
        rows = rows + attended
        if self.pre_norm:
            rows = self.norm2(rows)
            return rows + self.ff(rows)
        rows = self.norm1(rows)
        return self.norm2(rows + self.ff(rows))

    def forward(self, rows, memory, sinusoids):
        rows, memory = self.attention_input(rows), self.attention_input(memory)
        return self.after_attention(rows, self.attn(rows, memory, sinusoids))

    def step(self, rows, state, places):
        rows = self.attention_input(rows)
        return self.after_attention(rows, self.attn.step(rows, state, places))


class Sinusoids(nn.Module):
    def __init__(self, width):
        super().__init__()
        frequencies = 10000 ** -(torch.arange(0, width, 2) / width)
        self.register_buffer("inv_freq", frequencies)

    def forward(self, count, clamp):
        """Of the distances count − 1 … 0, [count, D]"""
        distances = torch.arange(count - 1, -1, -1).to(self.inv_freq)
        angles = (distances.clamp(max=clamp) if clamp > 0 else distances)[:, None] * self.inv_freq
        return torch.cat([angles.sin(), angles.cos()], -1)


class LanguageModel(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes
        self.in_emb = nn.Embedding(sizes.vocabulary, sizes.d_model)
        self.pos_emb = Sinusoids(sizes.d_model)
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))
        self.out_emb = nn.Linear(sizes.d_model, sizes.vocabulary)
        self.out_emb.weight = self.in_emb.weight
        nn.init.normal_(self.in_emb.weight, std=sizes.d_model**-0.5)

    def no_memory(self, b):
        """What the first segment remembers, for each layer [b, L, D]: zeros, which it does see."""
        like = self.in_emb.weight
        shape = (b, self.sizes.memory, self.sizes.d_model)
        return [torch.zeros(shape, dtype=like.dtype, device=like.device) for _ in self.layers]

    def sinusoids(self):
        """Of the distances in the window [w, D], and among landmarks [T, D]"""
        sizes = self.sizes
        near = self.pos_emb(sizes.window, sizes.clamp)
        far = self.pos_emb(sizes.landmarks, sizes.landmark_clamp)
        return F.dropout(near, sizes.dropout, self.training), far

    def embed(self, tokens):
        rows = self.in_emb(tokens) * math.sqrt(self.sizes.d_model)
        return F.dropout(rows, self.sizes.dropout, self.training)

    def log_probabilities(self, rows):
        rows = F.dropout(rows, self.sizes.dropout, self.training)
        return self.out_emb(rows).log_softmax(-1)

    def forward(self, tokens, memory):
        """tokens [b, M], each layer's memory [b, L, D] -> log-probabilities of the next tokens
        [b, M, vocabulary], the next segment's memory"""
        kept, next_memory = self.sizes.memory, []
        sinusoids, rows = self.sinusoids(), self.embed(tokens)
        for layer, old in zip(self.layers, memory):
            new = rows.detach()
            new = torch.cat([old, new], 1) if new.shape[1] < kept else new
            next_memory.append(new[:, -kept:])
            rows = layer(rows, old, sinusoids)
        return self.log_probabilities(rows), next_memory

    def loss(self, tokens, memory):
        """tokens [b, M + 1] -> mean negative log-likelihood, the next segment's memory"""
        log_probabilities, memory = self(tokens[:, :-1], memory)
        return F.nll_loss(log_probabilities.flatten(0, 1), tokens[:, 1:].flatten()), memory


@dataclass
class Places:
    """Where a token lies in the rings, and which row of the tables belongs to which key."""

    in_chunk: torch.Tensor  # [1]
    in_window: torch.Tensor  # [1]
    distances: torch.Tensor  # [w]
    landmark_distances: torch.Tensor  # [T]
    hidden: torch.Tensor  # [T], minus infinity for landmarks that are yet to come


@dataclass
class LandmarkPlaces:
    new_landmarks: torch.Tensor | None  # [ρ]
    next_landmarks: torch.Tensor  # [ρ]


class Generator:
    """Generation one token a step, at the same cost wherever it is: no tensor grows.

    Gives what whole segments would, from the same memory on. Positions are tensors, so that a
    compiled step is compiled once.
    """

    def __init__(self, model, b=1, memory=None, compiled=False):
        self.model, self.sizes = model, model.sizes
        self.count, self.position = 0, torch.zeros(1, dtype=torch.long)
        memory = model.no_memory(b) if memory is None else memory
        with torch.no_grad():
            sinusoids = model.sinusoids()
            self.states = [
                layer.attn.start(layer.attention_input(old), sinusoids)
                for layer, old in zip(model.layers, memory)
            ]
        self.run = torch.compile(self.advance) if compiled else self.advance

    def places(self):
        sizes, at = self.sizes, self.position
        # Tables have the furthest first: distance 0 is in the last row.
        distances = (at - torch.arange(sizes.window)) % sizes.window
        chunks = at % sizes.segment // sizes.chunk
        seen = sizes.memory_landmarks + chunks * sizes.rank
        ago = seen - 1 - torch.arange(sizes.landmarks)
        return Places(
            in_chunk=at % sizes.chunk,
            in_window=at % sizes.window,
            distances=sizes.window - 1 - distances,
            landmark_distances=sizes.landmarks - 1 - ago.clamp(min=0),
            hidden=torch.zeros(sizes.landmarks, dtype=self.model.in_emb.weight.dtype).masked_fill(
                ago < 0, -math.inf
            ),
        )

    def advance(self, tokens):
        places, rows = self.places(), self.model.embed(tokens)
        for layer, state in zip(self.model.layers, self.states):
            rows = layer.step(rows, state, places)
        self.position.add_(1)
        return self.model.log_probabilities(rows)

    def close_chunk(self):
        sizes = self.sizes
        chunk = (self.count - 1) % sizes.segment // sizes.chunk
        rows = chunk * sizes.rank + torch.arange(sizes.rank)
        segment_ends = self.count % sizes.segment == 0
        places = LandmarkPlaces(None if segment_ends else sizes.memory_landmarks + rows, rows)
        for layer, state in zip(self.model.layers, self.states):
            layer.attn.close_chunk(state, places)
            if segment_ends:
                layer.attn.close_segment(state)

    @torch.no_grad()
    def step(self, tokens):
        """tokens [b, 1] -> log-probabilities of the next ones [b, vocabulary]"""
        log_probabilities = self.run(tokens)
        self.count += 1
        if self.count % self.sizes.chunk == 0:
            self.close_chunk()
        return log_probabilities[:, -1]


# Check


def error(found, expected):
    return ((found - expected).abs().max() / expected.abs().max()).item()


def golden_case(path, dtype):
    """The model with its weights, and the golden tensors."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        metadata = {name: json.loads(value) for name, value in file.metadata().items()}
        golden = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    sizes = Sizes(
        vocabulary=metadata["vocab_size"],
        d_model=metadata["d_model"],
        heads=metadata["n_head"],
        layers=metadata["n_layer"],
        d_ff=metadata["d_inner"],
        window=metadata["window_len"],
        chunk=metadata["chunk_size"],
        rank=metadata["chunk_rank"],
        segment=metadata["segment_length"],
        memory=metadata["mem_len"],
        clamp=metadata["clamp_len"],
        landmark_clamp=metadata["cpos_clamp_len"],
        pre_norm=metadata["pre_ln"],
        gelu=metadata["use_gelu"],
        bias=metadata["use_bias"],
    )
    model = LanguageModel(sizes)
    weights = torch.load(path.with_suffix(".pt"), weights_only=True)["model"]
    prefix = "decoder.model."
    model.load_state_dict({name.removeprefix(prefix): tensor for name, tensor in weights.items()})
    return model.to(dtype).eval(), golden, metadata["segments"]


def check_case(path, options):
    """Worst error of each kind, and what is too far away."""
    dtype = torch.float64 if options.float64 else torch.float32
    torch.set_default_dtype(dtype)
    model, golden, segments = golden_case(path, dtype)
    run = torch.compile(model) if options.compiled else model
    tokens, length = golden["tokens"].long(), model.sizes.segment
    memory, worst, problems = model.no_memory(len(tokens)), {}, []

    def compare(kind, name, value, expected, tolerance):
        value = error(value, expected)
        worst[kind] = max(worst.get(kind, 0.0), value)
        if not value <= tolerance:
            problems.append(f"{name}: {value:.1e}, not {tolerance:.0e}")

    generator = Generator(model, len(tokens), compiled=options.compiled)
    for segment in range(segments):
        now = tokens[:, segment * length : (segment + 1) * length + 1]
        log_probabilities, memory = run(now[:, :-1], memory)
        loss = F.nll_loss(log_probabilities.flatten(0, 1), now[:, 1:].flatten())
        name = f"log_probs.{segment}"
        compare("log_probs", name, log_probabilities, golden[name], 1e-5)
        compare("loss", f"loss.{segment}", loss, golden[f"loss.{segment}"], 1e-5)
        steps = torch.stack([generator.step(now[:, at : at + 1]) for at in range(length)], 1)
        compare("generation", f"generation.{segment}", steps, log_probabilities.detach(), 1e-5)

    loss.backward()
    for name, parameter in model.named_parameters():
        expected = golden[f"grad.param.{name}"]
        if name.endswith("dconv_1.bias"):
            # Softmax is blind to it: the gradient is zero, and the file holds rounding noise.
            noise = parameter.grad.abs().max().item()
            worst["zero gradient"] = max(worst.get("zero gradient", 0.0), noise)
            if not noise <= 5e-6:
                problems.append(f"{name}: gradient {noise:.1e}, not 0")
        else:
            compare("gradients", name, parameter.grad, expected, 1e-4)
    return worst, problems


def check(folder, options):
    paths, failed = sorted(folder.glob("lm_*.safetensors")), False
    if not paths:
        sys.exit(f"no lm_*.safetensors in {folder}")
    for path in paths:
        worst, problems = check_case(path, options)
        print(f"{path.stem}: " + ", ".join(f"{kind} {value:.1e}" for kind, value in worst.items()))
        for problem in problems:
            print(f"  {problem}")
        failed |= bool(problems)
    sys.exit(failed)


# Benchmark


WARM_UP = 2
TRAINING_WAYS = {
    "eager": (False, False),
    "eager, memory kept": (False, True),
    "compiled": (True, False),
    "compiled, memory kept": (True, True),
}
GENERATION_WAYS = {"eager": (False, False), "compiled": (True, False)}


def time_training(model, task):
    """Seconds of steps over one long text in each row of the batch."""
    import time

    sizes, b = model.sizes, task["batch"]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    loss_of = torch.compile(model.loss) if task["compiled"] else model.loss
    memory, seconds = model.no_memory(b), []
    for _ in range(WARM_UP + task["steps"]):
        tokens = torch.randint(0, sizes.vocabulary, (b, sizes.segment + 1))
        start = time.perf_counter()
        loss, memory = loss_of(tokens, memory)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        seconds.append(time.perf_counter() - start)
    return seconds[WARM_UP:]


def time_generation(model, task):
    """Seconds of each character, drawn from the model's own probabilities."""
    import time

    model.eval()
    generator = Generator(model, compiled=task["compiled"])
    token, seconds = torch.zeros(1, 1, dtype=torch.long), []
    for _ in range(task["characters"]):
        start = time.perf_counter()
        token = torch.multinomial(generator.step(token).exp(), 1)
        seconds.append(time.perf_counter() - start)
    return seconds


def run_child(task):
    """What the child process does: one JSON line."""
    import resource

    torch.manual_seed(1)
    torch.set_num_threads(task["threads"])
    model = LanguageModel(Sizes(**task["sizes"]))
    seconds = (time_training if task["what"] == "training" else time_generation)(model, task)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak_bytes": peak}))


def measure(task, ways, say):
    """Every way's answer, those that do not work here left out."""
    from compare import KEPT, child

    answers = {}
    for way, (compiled, kept) in ways.items():
        command = [sys.executable, __file__, "--child"]
        more = dict(input=json.dumps(task | {"compiled": compiled}))
        answer, problem = child(command, KEPT if kept else {}, **more)
        if problem:
            say(f"{task['what']} {way}: left out ({problem})")
        else:
            answers[way] = answer
    if not answers:
        sys.exit(f"no way of {task['what']} worked")
    return answers


def training(task, ways, say):
    answers = measure(task | {"what": "training"}, ways, say)
    tokens = task["batch"] * task["sizes"]["segment"]
    rates = {way: tokens / statistics.median(of["seconds"]) for way, of in answers.items()}
    best = max(rates, key=rates.get)
    return dict(
        tokens_per_second=rates[best],
        pytorch=best,
        peak_bytes=answers[best]["peak_bytes"],
        pytorch_all_tokens_per_second=rates,
    )


def generation(task, ways, say):
    answers = measure(task | {"what": "generation"}, ways, say)

    def rates(seconds):
        # Each of these includes ends of chunks; the first hundred characters, and with them the
        # time to compile, are nobody's.
        span = max(min(len(seconds) // 10, 500), 1)
        early, late = seconds[100 : 100 + span], seconds[-span:]
        return dict(
            characters_per_second=(len(seconds) - 100) / sum(seconds[100:]),
            early_characters_per_second=len(early) / sum(early),
            late_characters_per_second=len(late) / sum(late),
        )

    found = {way: rates(of["seconds"]) for way, of in answers.items()}
    best = max(found, key=lambda way: found[way]["characters_per_second"])
    return found[best] | dict(
        late_over_early=found[best]["late_characters_per_second"]
        / found[best]["early_characters_per_second"],
        characters=task["characters"],
        pytorch=best,
        peak_bytes=answers[best]["peak_bytes"],
        pytorch_all=found,
    )


def main():
    if sys.argv[1:] == ["--child"]:
        run_child(json.load(sys.stdin))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = "vocabulary d_model heads layers d_ff window chunk rank segment memory".split()
    for name in names:
        default = getattr(Sizes, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    parser.add_argument("--batch", type=int, default=1, help="texts a batch of training")
    parser.add_argument("--dropout", type=float, default=0.0, help="in training")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--steps", type=int, default=5, help="steps a run, after two that warm up")
    parser.add_argument("--characters", type=int, default=10000, help="how many to generate")
    parser.add_argument("--what", choices=["training", "generation"], help="one of them alone")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument(
        "--check",
        type=Path,
        nargs="?",
        const=GOLDEN,
        metavar="FOLDER",
        help="compare with the golden files lm_*.safetensors of a folder (that of the tests)",
    )
    parser.add_argument("--compiled", action="store_true", help="check what torch.compile makes")
    parser.add_argument("--float64", action="store_true", help="check in float64")
    options = parser.parse_args()
    if options.check:
        torch.set_num_threads(options.threads)
        check(options.check, options)
    if options.characters < 200:
        parser.error("--characters must be at least 200: the first hundred warm up")

    sizes = {name: getattr(options, name) for name in names} | {"dropout": options.dropout}
    try:
        Sizes(**sizes)
    except ValueError as problem:
        parser.error(str(problem))
    task = dict(sizes=sizes, batch=options.batch, threads=options.threads)
    task |= dict(steps=options.steps, characters=options.characters)
    line = sizes | dict(batch=options.batch, threads=options.threads, torch=torch.__version__)

    def say(text):
        print(text, file=sys.stderr, flush=True)

    for what, measured, ways in (
        ("training", training, TRAINING_WAYS),
        ("generation", generation, GENERATION_WAYS),
    ):
        if options.what in (None, what):
            ways = {way: of for way, of in ways.items() if not (of[0] and options.no_compile)}
            line[what] = measured(task, ways, say)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
