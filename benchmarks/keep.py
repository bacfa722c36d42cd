"""Freed memory kept or given back, `c3jax.core.memory.keep`: a step's seconds, peak.

    python -m benchmarks.keep [--widths=64,256,576] [--steps=6] [--repeats=2]

Training steps of the page `math` with a policy of each width, two layers deep, in fresh
processes, with and without in turn. Seconds are those of the processor, of all threads,
the steadier figure on a shared machine, and of them those of the system, which faults
of pages take; medians over all steps but each process's first two. The peak is the most
that was resident.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile

import numpy as np

from benchmarks import bench
from c3jax import modes
from c3jax.collect import rollouts, scorers
from c3jax.configs import math
from c3jax.core import host_memory, metrics
from c3jax.data import pipeline
from c3jax.learn import training, warm_start
from c3jax.setup import experiment

SIDES = ("given back", "kept")


def resolved(width: int) -> experiment.Setup:
    """The page with a wider policy."""
    c, head = math.get_config(), min(64, width // 4)
    with c.unlocked():
        c.policy.update(width=width, embed_std=width**-0.5, head_dim=head)
        c.policy.update(heads=width // head, kv_heads=1, hidden=3 * width)
    return experiment.resolve(c)


def measure(side: str, width: int, steps: int, cache: str) -> dict:
    """Seconds of steps, and the peak, of this process."""
    if side == "kept":
        host_memory.disable_malloc_trim()
    modes.cached(cache)
    run, watch, taken = resolved(width), metrics.Stopwatch(), []
    state = training.initial_state(run, warm_start.initial_params(run))
    learn, size = training.compiled_step(run), run.config.train.batch_size
    source = pipeline.order(run.task.split("train"), 0)
    batches = pipeline.Batches(source, size, rollouts.share(run))
    with scorers.started(run) as scorer:
        for step in range(steps):
            before = resource.getrusage(resource.RUSAGE_SELF)
            items = batches[step * size]
            rollout = rollouts.sample(run, state, step, items, scorer, watch)
            args = run.estimator, run.ancestors, rollout, state.memory
            advantages, kept = rollouts.credit(*args)
            args = rollout, advantages, state.params, None, watch
            batch = rollouts.batches(run.objective, run.mesh, *args)
            state, _ = learn(step, state, kept, rollout, batch)
            after = resource.getrusage(resource.RUSAGE_SELF)
            user, system, faults = (
                getattr(after, name) - getattr(before, name)
                for name in ("ru_utime", "ru_stime", "ru_minflt")
            )
            taken.append((user + system, system, faults))
    return {"steps": taken[2:], "peak": after.ru_maxrss << 10}


def rows(width: int, steps: int, repeats: int) -> list[dict]:
    """Both sides of one width."""
    found = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as cache:
        for turn in range(repeats + 1):  # The first time, programs are compiled.
            for side in SIDES if turn else SIDES[:1]:
                command = [sys.executable, "-m", "benchmarks.keep"]
                command += ["--measure", side, str(width), str(steps), cache]
                output = subprocess.check_output(command)
                if turn:
                    found[side].append(json.loads(output.splitlines()[-1]))
    lines = []
    for side, runs in found.items():
        each = np.concatenate([run["steps"] for run in runs])
        all_s, system_s, faults = np.median(each, 0)
        lines.append(
            {
                "side": f"{width}, {side}",
                "cpu s": float(all_s),
                "low s": float(each[:, 0].min()),
                "system s": float(system_s),
                "faults": int(faults),
                "peak MiB": max(run["peak"] for run in runs) / 2**20,
            }
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--widths", type=bench.numbers, default=(64, 256, 576))
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--json", type=pathlib.Path, help="append the result here")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        side, width, steps, cache = args.measure
        print(json.dumps(measure(side, int(width), int(steps), cache)))
        return
    del args.measure
    if args.steps < 3:
        parser.error("--steps must be 3 or more: the first two are not counted")
    for width in args.widths:
        found = rows(width, args.steps, args.repeats)
        bench.finish(args, f"keep, width {width}", found, machine=bench.machine())


if __name__ == "__main__":
    main()
