"""Small runs of the program in processes of their own, shared by several tests.

A run is forked from a process that has imported what the program imports and computed
nothing yet, which saves each run seconds.
"""

import fcntl
import functools
import multiprocessing
import os
import pathlib
import runpy
import signal
import sys
from multiprocessing import connection

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
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.preloaded"])


class Run:
    """`python -m c3jax.main`, used like a `subprocess.Popen`.

    Attributes:
        stdout: text that the process prints, errors included.
    """

    def __init__(self, *flags: str, devices: int = 1):
        """Starts the program with some flags, and so many devices."""
        ours, theirs = connection.Pipe(duplex=False)
        with theirs:
            self._process = _FORKS.Process(target=_main, args=(flags, devices, theirs))
            self._process.start()
        with ours:
            self.stdout = os.fdopen(os.dup(ours.fileno()))

    @property
    def returncode(self) -> int | None:
        """None while the process runs; -9 if it was killed."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *error) -> None:
        if error[0]:
            self.kill()
        self.stdout.close()
        self._process.join()


def _main(flags, devices, output):
    """What a forked process does: compiled quickly."""
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    output.close()
    sys.stdout, sys.stderr = (
        os.fdopen(fd, "w", buffering=1, closefd=False) for fd in (1, 2)
    )
    signal.signal(signal.SIGINT, signal.default_int_handler)
    own = f"--xla_force_host_platform_device_count={devices}"
    os.environ["XLA_FLAGS"] = f"{QUICK} {own}"
    os.chdir(support.ROOT)
    sys.argv = ["c3jax/main.py", *flags]
    runpy.run_module("c3jax.main", run_name="__main__", alter_sys=True)


def start(*flags) -> Run:
    """Starts the program in a fresh process."""
    return Run(*flags)


def c3jax(*flags, code=0, **options):
    """Runs the program to its end; its output."""
    with Run(*flags, **options) as run:
        output = run.stdout.read()
    assert run.returncode == code, output
    return output


@functools.cache
def finished() -> tuple[pathlib.Path, str]:
    """A small run that is finished and certified, and its output; not to be changed.

    Whichever of pytest's workers asks first makes it.
    """
    kept = pathlib.Path(os.environ["XDG_CACHE_HOME"]) / "finished"
    kept.mkdir(exist_ok=True)
    output = kept / "output.txt"
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not output.exists():
            output.write_text(small(kept / "run", "--certify"))
    return kept / "run", output.read_text()


def small(workdir, *flags, **options):
    """Runs the small experiment; a warm start of its own unless told otherwise."""
    own = (MATH, f"--workdir={workdir}", "--cache_dir=", "--nocertify")
    flags = (*own, *SMALL, *flags)
    return c3jax(*flags, **options)
