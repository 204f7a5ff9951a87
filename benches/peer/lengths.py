"""Lengths of documents for benchmarks, drawn anew from a seed."""

import math
import random

# Twentieths of the lengths of the 96 000 training expressions that `ls-train generate listops`
# makes (seed 0), in tokens of each tokenisation: on average 43 % and 51 % of 2048.
LISTOPS = {
    "legacy": [
        422, 461, 494, 528, 564, 600, 640, 681, 725, 770, 818,
        869, 925, 985, 1050, 1125, 1208, 1301, 1410, 1547, 1729,
    ],
    "brackets": [
        501, 539, 576, 616, 658, 700, 746, 794, 846, 898, 954,
        1014, 1078, 1148, 1224, 1312, 1407, 1516, 1644, 1802, 1999,
    ],
}  # fmt: skip


def listops(draw, tokenizer="legacy"):
    """A length between the twentieths of the generator's own."""
    table = LISTOPS[tokenizer]
    place = draw.random() * (len(table) - 1)
    below = min(int(place), len(table) - 2)
    return round(table[below] + (place - below) * (table[below + 1] - table[below]))


def lognormal(draw, median, spread, shortest, longest):
    length = round(median * math.exp(spread * draw.gauss(0.0, 1.0)))
    return min(max(length, shortest), longest)


def text(draw):
    """Stands in for film reviews in bytes: not data, but a distribution of their kind (log-normal,
    median 980, spread 0.65), cut at 4096."""
    return lognormal(draw, 980, 0.65, 50, 4096)


def retrieval(draw):
    """Stands in for the texts of scientific papers in bytes: not data, but a distribution of their
    kind (log-normal, median 9000, spread 0.8), nearly all of them cut at 4096."""
    return lognormal(draw, 9000, 0.8, 200, 4096)


def batches(preset, documents, count, per_batch, longest, seed=1):
    """`count` lists of `per_batch` lengths."""
    draw = random.Random(seed)
    of = {"listops": listops, "text": text, "retrieval": retrieval}[preset]
    one = (lambda: longest) if documents == "full" else (lambda: of(draw))
    return [[one() for _ in range(per_batch)] for _ in range(count)]
