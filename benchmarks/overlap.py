"""Which training questions are in a test split, on published questions.

    python -m benchmarks.overlap --data=DIR

DIR holds `math_train.jsonl.gz`, `math_test.jsonl.gz` and the others of `PAIRS`, with
the field "question", or "prompt" for programs. For each pair the table has the training
questions that are test questions once normalised, and those that are near one; see
`c3jax.data.overlap`. `--show=5` prints so many of the near ones.
"""

import argparse
import gzip
import json
import pathlib
import time

from benchmarks import bench
from c3jax.data import overlap

PAIRS = (
    ("math_train", "math_test"),
    ("math_train", "math500_test"),
    ("gsm8k_train", "gsm8k_test"),
    ("cmath_validation", "cmath_test"),
    ("mbpp_train", "mbpp_test"),
    ("mbpp_train", "mbppplus_test"),
)


def texts(path: pathlib.Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    return [row.get("question") or row["prompt"] for row in found]


def measured(args, train: str, test: str) -> dict:
    """One line of the table."""
    here, there = (texts(args.data / f"{name}.jsonl.gz") for name in (train, test))
    begin = time.perf_counter()
    found = overlap.find(here, there, args.ngram, args.share)
    seconds = time.perf_counter() - begin
    for mine, other, share in found.near[: args.show]:
        print(f"{share:.2f}\n  {train} {here[mine]!r}\n  {test} {there[other]!r}")
    return {
        "side": f"{train} -> {test}",
        "train": len(here),
        "test": len(there),
        "same": len(found.exact),
        "near": len(found.near),
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--ngram", type=int, default=13)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--show", type=int, default=0)
    parser.add_argument("--json", type=pathlib.Path, help="append the result here")
    args = parser.parse_args()
    rows = [measured(args, *pair) for pair in PAIRS]
    args.data = str(args.data)
    bench.finish(args, f"overlap, n={args.ngram} share={args.share}", rows)


if __name__ == "__main__":
    main()
