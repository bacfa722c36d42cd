"""How long an audit of somebody's logs takes, and how much memory.

    python -m benchmarks.audit [--contexts 10000] [--json=FILE]

Made-up logs of two roles, half of the contexts each, and two methods; 8 candidates a
context, 8 returns of each with replies and answers, 8 extra samples. The command
`python -m c3jax.main --mode=audit` reads them in a process of its own and writes
figures, pictures and page. CPU seconds are those of all threads, the steadier figure on
a shared machine; memory is the most that was resident.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import bench

ROLES, METHODS = ("planner", "writer"), {"ours": 0.1, "theirs": 0.3}


def lines(contexts: int, candidates: int = 8, returns: int = 8):
    """Contexts in which better messages are credited more, and answered differently."""
    rng = np.random.default_rng(0)
    for number in range(contexts):
        worth = np.clip(rng.random() + rng.normal(0, 0.2, candidates), 0, 1)
        said = []
        for j, chance in enumerate(worth):
            earned = (rng.random(returns) < chance).astype(int)
            credit = {
                name: float(chance - worth.mean() + rng.normal(0, noise))
                for name, noise in METHODS.items()
            }
            reply = (j + rng.integers(0, 5, returns)).tolist()
            said.append(
                {
                    "text": f"message {j} of {number}: " + "word " * 20,
                    "returns": earned.tolist(),
                    "credit": credit,
                    "replies": [f"reply {n}: " + "word " * 20 for n in reply],
                    "answers": [str(n % 4) for n in reply],
                }
            )
        yield {
            "id": f"q{number}",
            "role": ROLES[number % len(ROLES)],
            "context": "what is " + "word " * 40,
            "candidates": said,
            "extra": (rng.random(8) < worth.mean()).astype(int).tolist(),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--contexts", type=int, default=10_000)
    parser.add_argument("--json", type=pathlib.Path, help="append the result here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        logs = pathlib.Path(place) / "logs.jsonl"
        with logs.open("w") as file:
            for line in lines(args.contexts):
                file.write(json.dumps(line) + "\n")
        command = [sys.executable, "-m", "c3jax.main", "--mode=audit"]
        command += [f"--config.audit.buckets={logs}", f"--workdir={place}/audit"]
        begin = time.perf_counter()
        subprocess.run(command, check=True)
        wall = time.perf_counter() - begin
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        row = {
            "side": "audit",
            "contexts": args.contexts,
            "logs MiB": logs.stat().st_size / 2**20,
            "cpu s": used.ru_utime + used.ru_stime,
            "wall s": wall,
            "resident MiB": used.ru_maxrss / 2**10,
        }
    bench.finish(args, f"audit, {args.contexts} contexts", [row])


if __name__ == "__main__":
    main()
