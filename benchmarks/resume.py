"""Kills runs at random moments, resumes them, and compares them with an unbroken run.

    python -m benchmarks.resume [--kills=20] [--runs=4] [--seed=0] [-- FLAGS OF MAIN]

Every killed run is started again by the same command until it has finished. Then its
parameters, its trees, and every figure that is not wall-clock must equal the unbroken
run's bit for bit. Prints a table and a line of JSON; exits 1 if anything differs.
"""

import argparse
import json
import os
import pathlib
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings

from c3jax.core import metrics

ROOT = pathlib.Path(__file__).parent.parent
STEPS, EVERY = 60, 20
SHORT = (
    *("--config.warm_start.steps=300", "--config.warm_start.checkpoint_every=50"),
    *(f"--config.train.steps={STEPS}", f"--config.evaluate.every={EVERY}"),
    *("--config.train.checkpoint_every=10", "--config.evaluate.questions=128"),
)
MOMENTS = ("warm start", "training", "checkpoint", "evaluation", "report")


def launch(workdir: pathlib.Path, flags: tuple[str, ...], log) -> subprocess.Popen:
    """Starts a run in a process of its own; warm starts are not shared."""
    command = [sys.executable, "-m", "c3jax.main", "--config=configs/math.py"]
    command += [f"--workdir={workdir}", "--cache_dir=", *flags]
    return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)


def differences(one: pathlib.Path, other: pathlib.Path) -> list[str]:
    """What differs between two finished runs, wall-clock apart."""
    found = []
    pairs = {"metrics.jsonl": _lines, "summary.json": _summary}
    for name, read in pairs.items():
        a, b = read(one / name), read(other / name)
        if a != b:
            found.append(name)
    names = [sorted(p.name for p in (d / "trees").iterdir()) for d in (one, other)]
    if names[0] != names[1]:
        found.append("names of trees")
    for name in names[0]:
        if (one / "trees" / name).read_bytes() != (other / "trees" / name).read_bytes():
            found.append(f"trees/{name}")
    arrays = [_arrays(d) for d in (one, other)]
    if arrays[0].keys() != arrays[1].keys():
        found.append("names of arrays")
    found += [n for n in arrays[0] if arrays[0][n] != arrays[1].get(n)]
    return found


def _lines(path: pathlib.Path) -> list[dict]:
    lines = metrics.read(path.parent)
    return [
        {k: v for k, v in line.items() if not metrics.is_wall_clock(k)}
        for line in lines
    ]


def _summary(path: pathlib.Path) -> dict:
    page = json.loads(path.read_text())
    return {k: v for k, v in page.items() if not metrics.is_wall_clock(k)}


def _arrays(workdir: pathlib.Path) -> dict[str, bytes]:
    """Every array of the last checkpoint: parameters and the optimiser's."""
    import jax
    import numpy as np
    import orbax.checkpoint as ocp

    steps = [int(p.name) for p in (workdir / "checkpoints").iterdir()]
    path = workdir / "checkpoints" / str(max(steps)) / "state"
    with ocp.PyTreeCheckpointer() as reader, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # There is one device, so nothing to place.
        tree = reader.restore(path.absolute())
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(p): np.asarray(leaf).tobytes() for p, leaf in leaves}


def is_now(moment: str, workdir: pathlib.Path, step: int, every: int) -> bool:
    """Whether a run is at a moment, as far as its files tell.

    Args:
        moment: one of `MOMENTS`.
        workdir: of the run.
        step: not before this one.
        every: how often the run is evaluated.
    """
    checkpoints = workdir / "checkpoints"
    if moment == "warm start":
        return (workdir / "config.json").exists() and not checkpoints.exists()
    if moment == "checkpoint":
        at = [p.name for p in checkpoints.glob("*.unfinished")]
        return any(int(name.split(".")[0]) >= step for name in at)
    if moment == "report":
        return (workdir / "summary.json").exists()
    lines = metrics.read(workdir)
    if not lines or lines[-1]["step"] < step:
        return False
    if moment == "evaluation":
        due = lines[-1]["step"] % every == 0
        return due and "validation/greedy" not in lines[-1]
    return "reward" in lines[-1]


def kill_at(moment, workdir, flags, rng, step, log) -> tuple[str, float]:
    """Starts a run and kills it at a moment, not before a step.

    Returns:
        Where it died, and the seconds it took to go on; see `took`.
    """
    since, again = time.time(), (workdir / "checkpoints").exists()
    run = launch(workdir, flags, log)
    while run.poll() is None and not is_now(moment, workdir, step, EVERY):
        time.sleep(0.002)
    # Some time into what goes on then.
    time.sleep(rng.random() * {"warm start": 20, "evaluation": 1}.get(moment, 0.3))
    if run.poll() is not None:
        return "nothing: it had finished", 0.0
    run.send_signal(signal.SIGKILL)
    run.wait()
    lines = metrics.read(workdir)
    where = f"{moment}, step {lines[-1]['step'] if lines else 0}"
    return where, took(lines, since) if again else 0.0


def took(lines: list[dict], since: float) -> float:
    """Seconds from a start to the first line that was written then; 0 without one."""
    return next((x["time"] - since for x in lines if x["time"] > since), 0.0)


def finish(workdir: pathlib.Path, flags: tuple[str, ...], log) -> None:
    """Runs to the end."""
    code = launch(workdir, flags, log).wait()
    if code:
        sys.exit(f"the run ended with {code}; see {log.name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, help="keep the runs here")
    parser.add_argument("flags", nargs="*", help="flags of c3jax.main, after --")
    args = parser.parse_args()
    flags = (*SHORT, *args.flags)
    out = args.out or pathlib.Path(tempfile.mkdtemp(prefix="c3jax-resume-"))
    out.mkdir(parents=True, exist_ok=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(out / "xla")
    rng = random.Random(args.seed)
    log = (out / "log.txt").open("a")
    print(f"unbroken run; output in {log.name}", flush=True)
    finish(out / "unbroken", flags, log)
    rows, starts, broken = [], [], []
    for index in range(args.runs):
        workdir = out / f"run{index}"
        share = args.kills // args.runs + (index < args.kills % args.runs)
        moments = [MOMENTS[(index + i) % len(MOMENTS)] for i in range(share)]
        moments.sort(key=lambda moment: (moment == "report", moment != "warm start"))
        for done, moment in enumerate(moments):
            # Later and later, so that every kill finds something to do.
            step = (STEPS - EVERY // 2) * done // share + rng.randrange(EVERY // 2)
            where, seconds = kill_at(moment, workdir, flags, rng, step, log)
            rows.append(where)
            starts.append(seconds)
            print(f"run {index}: killed at {where}", flush=True)
        finish(workdir, flags, log)
        found = differences(out / "unbroken", workdir)
        broken += [f"run {index}: {name}" for name in found]
        print(f"run {index}: {found or 'equal to the unbroken run'}", flush=True)
    kinds = {m: sum(w.startswith(m) for w in rows) for m in MOMENTS}
    print("\n| killed during | times |\n| --- | --- |")
    for moment, times in kinds.items():
        print(f"| {moment} | {times} |")
    result = {
        "kills": sum(kinds.values()),
        "differences": broken,
        "seconds_to_go_on": [round(s, 1) for s in sorted(starts) if s],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(result))
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
