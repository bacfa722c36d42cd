"""Small runs of the program in processes of their own, shared by several tests."""

import os
import subprocess
import sys

from tests import support
from tests.conftest import QUICK

MATH = "--config=configs/math.py"
SMALL = [
    f"--config.{change}"
    for change in (
        *("train.steps=4", "train.batch_size=4", "train.checkpoint_every=1"),
        *("warm_start.steps=40", "warm_start.batch_size=8"),
        "warm_start.checkpoint_every=10",
        *("evaluate.every=2", "evaluate.questions=6", "evaluate.batch_size=4"),
        *("evaluate.samples=2", "evaluate.k=(1,2)", "evaluate.trees=2"),
        *("policy.width=32", "policy.hidden=48", "policy.unroll=1"),
    )
]


def start(*flags):
    """Starts the program in a fresh process, on one device and compiled quickly."""
    return subprocess.Popen(
        [sys.executable, "-m", "c3jax.main", *flags],
        cwd=support.ROOT,
        env=os.environ | {"XLA_FLAGS": QUICK},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def c3jax(*flags, code=0):
    """Runs the program to its end; its output."""
    with start(*flags) as run:
        output, _ = run.communicate(timeout=300)
    assert run.returncode == code, output
    return output


def small(workdir, *flags, **options):
    """Runs the small experiment; a warm start of its own unless told otherwise."""
    own = (MATH, f"--workdir={workdir}", "--cache_dir=", "--nocertify")
    flags = (*own, *SMALL, *flags)
    return c3jax(*flags, **options)
