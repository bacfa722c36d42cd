"""Compares ways to assign credit from one starting policy, at equal cost.

    python -m benchmarks.methods [--methods c3 magrpo] [--seeds 0 1 2] [--out=DIR]

Every method trains the same policy on the same questions, with the same evaluator
calls and optimiser steps. A method that samples more tokens than the first one is run
once more with fewer steps, so that its generated tokens are the first one's. Prints a
table (mean over seeds, 95% interval of Student's t) and a line of JSON. A run that is
there already is not run again.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys

import numpy as np
from scipy import stats

ROOT = pathlib.Path(__file__).parent.parent


def run(workdir: pathlib.Path, method: str, seed: int, flags: list[str]) -> dict:
    """Trains one team; its summary."""
    command = [sys.executable, "-m", "c3jax.main", "--config=configs/math.py"]
    command += [f"--config.credit.name={method}", f"--config.seed={seed}"]
    command += [f"--workdir={workdir}", *flags]
    subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)
    return json.loads((workdir / "summary.json").read_text())


def interval(values: list[float]) -> tuple[float, float]:
    """Mean over seeds and half the width of its 95% interval."""
    half = 0.0
    if len(values) > 1:
        half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return float(np.mean(values)), float(half)


def row(name: str, pages: list[dict]) -> dict:
    found = {"what": name, "steps": pages[0]["steps"], "seeds": len(pages)}
    for field in ("accuracy_after", "greedy_after"):
        found[field], found[f"{field}_half_width"] = interval([p[field] for p in pages])
        found[f"{field}_each"] = [p[field] for p in pages]
    for field in ("evaluator_calls", "generated_tokens", "seconds"):
        found[field] = float(np.mean([p[field] for p in pages]))
    return found


def shown(found: dict) -> str:
    cells = [found["what"], str(found["steps"])]
    for field in ("accuracy_after", "greedy_after"):
        half = found[f"{field}_half_width"]
        cells.append(f"{found[field]:.1%} ± {100 * half:.1f}")
    cells.append(", ".join(f"{x:.1%}" for x in found["accuracy_after_each"]))
    cells += [f"{found[x]:,.0f}" for x in ("evaluator_calls", "generated_tokens")]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--methods", nargs="+", default=["c3", "magrpo"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "runs" / "methods")
    parser.add_argument("flags", nargs="*", help="flags of c3jax.main, after --")
    args = parser.parse_args()
    out = args.out.absolute()
    pages = {
        method: [
            run(out / f"{method}-{seed}", method, seed, args.flags)
            for seed in args.seeds
        ]
        for method in args.methods
    }
    first, *others = args.methods
    rows = [row(method, pages[method]) for method in args.methods]
    for method in others:
        tokens = [sum(p["generated_tokens"] for p in pages[m]) for m in (first, method)]
        steps = round(pages[method][0]["steps"] * tokens[0] / tokens[1])
        if steps < pages[method][0]["steps"]:
            flags = [*args.flags, f"--config.train.steps={steps}"]
            fewer = [
                run(out / f"{method}-tokens-{seed}", method, seed, flags)
                for seed in args.seeds
            ]
            rows.append(row(f"{method}, at the tokens of {first}", fewer))
    print("| method | steps | sampled | greedy | sampled, each seed | calls | tokens |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(shown(found) for found in rows))
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    print(json.dumps({"rows": rows, "machine": machine}))


if __name__ == "__main__":
    main()
