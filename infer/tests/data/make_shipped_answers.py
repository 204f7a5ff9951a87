"""Writes `shipped_answers.jsonl`: what an independent PyTorch model answers with the shipped weights.

    pip install torch safetensors numpy
    python3 infer/tests/data/make_shipped_answers.py < expressions.txt > infer/tests/data/shipped_answers.jsonl
"""

import json
import re
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benches/peer"))
from model import logits  # noqa: E402

WORDS = ["MIN", "MAX", "MED", "SM", *(str(digit) for digit in range(10))]
IDS = {word: number for number, word in enumerate(WORDS, 1)} | {"]": 15}


def encode(expression, tokenizer):
    """Ids of an expression: words alone (`legacy`), with the closing brackets, or with their depths."""
    pattern = r"\w+" if tokenizer == "legacy" else r"\w+|\]"
    ids = []
    depth = 0
    for word in re.findall(pattern, expression):
        depth -= word == "]"
        ids.append(IDS[word] + (15 * min(depth, 10) if tokenizer == "depths" else 0))
        depth += word.isalpha()
    return ids[:2000]


def main():
    shipped = ROOT / "infer/weights"
    config = json.loads((shipped / "listops.json").read_text())
    model = config["model"]
    assert model["pooling"] in ("class_last", "last") and not model["tied"]
    weights = load_file(shipped / "listops.safetensors")
    for line in sys.stdin:
        expression = line.rstrip("\n")
        ids = torch.tensor([encode(expression, config["data"]["tokenizer"])])
        with torch.no_grad():
            answer = logits(
                weights,
                ids,
                ids > 0,
                model["heads"],
                model["window"],
                model["layers"],
                rotary=model["rotary"],
            ).softmax(-1)[0]
        answer = [round(p, 6) for p in answer.tolist()]
        label = answer.index(max(answer))
        print(json.dumps({"input": expression, "label": label, "probabilities": answer}))


if __name__ == "__main__":
    main()
