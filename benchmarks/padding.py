"""How much of an update is padding, on the lengths of real questions and solutions.

    python -m benchmarks.padding --data=DIR

DIR holds `math_train.jsonl.gz` and `gsm8k_train.jsonl.gz` with the fields "question"
and "solution". Lengths are tokens of a byte-level BPE of 8,192 words that is trained on
them. The sizes are chosen on half of the rows and measured on the other half, each
question as a piece of its own: "one" pads to the limits, "buckets" as `train.buckets`
does.
"""

import argparse
import gzip
import json
import pathlib

import numpy as np
import tokenizers

from benchmarks import bench
from c3jax.data import padding

FILES = {"MATH": "math_train.jsonl.gz", "GSM8K": "gsm8k_train.jsonl.gz"}


def rows(path: pathlib.Path) -> list[dict]:
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


def tokenizer(texts: list[str]) -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=8192, show_progress=False)
    made.train_from_iterator(texts, trainer)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--buckets", type=int, default=8)
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--max-tokens", type=int, default=1024)
    parser.add_argument("--siblings", "-K", type=int, default=8)
    parser.add_argument("--json", type=pathlib.Path, help="append the result here")
    args = parser.parse_args()
    if missing := [n for n in FILES.values() if not (args.data / n).exists()]:
        parser.error(f"--data={args.data} has no {missing}.")
    data = {name: rows(args.data / file) for name, file in FILES.items()}
    every = [row for some in data.values() for row in some]
    words = tokenizer([row[f] for row in every for f in ("question", "solution")])

    def lengths(some, field, limit):
        encoded = words.encode_batch([row[field] for row in some])
        return np.minimum([max(1, len(e.ids)) for e in encoded], limit)

    found = []
    for name, some in data.items():
        prompt = lengths(some, "question", args.prompt_tokens)
        message = lengths(some, "solution", args.max_tokens)
        seen = [*prompt[::2], args.prompt_tokens]
        sizes = {
            "one": ((args.prompt_tokens,), (args.max_tokens,)),
            "buckets": (
                padding.choose(seen, args.buckets),
                padding.ladder(args.max_tokens, args.buckets),
            ),
        }
        for side, (prompts, messages) in sizes.items():
            found.append(
                _row(name, side, prompt[1::2], message[1::2], prompts, messages, args)
            )
    args.data = args.data.name
    bench.finish(args, "padding", found)


def _row(name, side, prompt, message, prompts, messages, args) -> dict:
    """Padding of prompts, of messages, and of both with K messages a prompt."""
    padded = [
        sum(padding.fit(length, sizes) for length in lengths)
        for lengths, sizes in ((prompt, prompts), (message, messages))
    ]
    pairs = {
        (padding.fit(p, prompts), padding.fit(m, messages))
        for p, m in zip(prompt, message, strict=True)
    }
    used = prompt.sum() + args.siblings * message.sum()
    return {
        "side": f"{name}, {side}",
        "prompt padding": 1 - prompt.sum() / padded[0],
        "message padding": 1 - message.sum() / padded[1],
        f"P + {args.siblings} C padding": 1
        - used / (padded[0] + args.siblings * padded[1]),
        "programs": len(pairs),
        "at most": len(prompts) * len(messages),
        "prompt sizes": " ".join(map(str, prompts)),
        "message sizes": " ".join(map(str, messages)),
    }


if __name__ == "__main__":
    main()
