"""The other end of `process`: the script that a worker's process runs."""

import ctypes
import importlib
import json
import os
import pathlib
import resource
import signal
import sys
import types
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def main(module: str, memory_bytes: int, parent: int) -> None:
    """Answers requests from standard input until it ends.

    Args:
        module: name of the module whose `answer` answers them.
        memory_bytes: limit of the address space.
        parent: id of the process that started this one.
    """
    _die_with(parent)
    # SLURM tells every process of a step to stop, and a run that is told so saves, with
    # its answers scored.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Answers get a descriptor of their own; what a library prints goes nowhere.
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    # The module without the packages around it.
    root = pathlib.Path(__file__).parents[1]
    _bare("c3jax", root)
    for package in ("core", "reward"):
        _bare(f"c3jax.{package}", root / package)
    try:
        answer = importlib.import_module(module).answer
    except Exception as error:  # whatever it is, the parent shall say it
        _write(replies, {"failed": f"{type(error).__name__}: {error}"})
        return
    _write(replies, {})
    for line in requests:
        _write(replies, _reply(answer, json.loads(line)))


def _reply(answer: Callable, request) -> dict:
    """The answer, or what went wrong while it was looked for.

    Raises:
        MemoryError: a process that had too little may be in any state, so it ends.
    """
    try:
        return {"answer": answer(request)}
    except MemoryError:
        raise
    except Exception as error:  # whatever it is, the parent shall count it
        return {"fault": f"{type(error).__name__}: {error}"}


def _die_with(parent: int) -> None:
    """Ends this process with its parent's, also where that is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before we asked
            sys.exit()


def _bare(name: str, path: pathlib.Path) -> None:
    """A package without its `__init__`, which would import jax."""
    package = types.ModuleType(name)
    package.__path__ = [str(path)]
    sys.modules[name] = package


def _write(replies, record: dict) -> None:
    replies.write(json.dumps(record).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
