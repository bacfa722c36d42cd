"""A worker of the pool that is a Python process with one module's `answer` in it."""

import contextlib
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import threading
import time

from c3jax.reward import pool

_HOST = pathlib.Path(__file__).with_name("worker.py")


class Process:
    """A process that imports a module and answers requests with its `answer`.

    Requests and answers are JSON, a line each, so nothing is unpickled. The process
    leads its own group, so that all it starts is killed with it and Ctrl-C does not
    reach it, and it ends when its parent does.
    """

    def __init__(
        self, module: str, memory_bytes: int = 2 << 30, start_limit_s: float = 60.0
    ):
        """Starts the process and does not wait for it.

        Args:
            module: the module's name; it has `answer(request)` and is imported
                without the `__init__` of c3jax, hence without jax.
            memory_bytes: limit of the process's address space.
            start_limit_s: wall-clock seconds it may take to import the module.
        """
        self._module, self._start_limit_s = module, start_limit_s
        self._ready, self._unread = False, b""
        self._closing = threading.Lock()
        # Safe path: neither the current directory nor that of the script, whose
        # math.py would hide Python's.
        command = [sys.executable, "-P", str(_HOST), module]
        command += [str(memory_bytes), str(os.getpid())]
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=_environment(),
            start_new_session=True,
        )
        self._poll = select.poll()
        self._poll.register(self._popen.stdout, select.POLLIN)

    @property
    def pid(self) -> int:
        """The id of the process, and of the group that it leads."""
        return self._popen.pid

    def ask(self, request, limit_s: float):
        """See `pool.Worker.ask`; request and answer are what JSON can hold.

        Raises:
            pool.Overrun: the limit passed.
            pool.Died: the process is gone.
            pool.Faulty: `answer` raised an error.
            RuntimeError: the module could not be imported.
        """
        if not self._ready:
            self._begin()
        line = json.dumps(request).encode() + b"\n"
        try:
            while line:
                line = line[os.write(self._popen.stdin.fileno(), line) :]
        except BrokenPipeError as error:
            raise pool.Died(f"{self._module} is gone.") from error
        reply = self._read(limit_s)
        if "fault" in reply:
            raise pool.Faulty(f"{self._module}: {reply['fault']}")
        return reply["answer"]

    def close(self) -> None:
        """Kills the process and its group, and waits until it is gone."""
        with self._closing:
            # Once it was waited for, its id may be somebody else's.
            if self._popen.returncode is None:
                with contextlib.suppress(PermissionError):  # macOS: already a zombie
                    os.killpg(self._popen.pid, signal.SIGKILL)
                self._popen.wait()

    def _begin(self) -> None:
        reply = self._read(self._start_limit_s)
        if "failed" in reply:
            raise RuntimeError(
                f"A worker could not import {self._module}: {reply['failed']}. Install "
                "requirements.txt with the Python that runs this."
            )
        self._ready = True

    def _read(self, limit_s: float) -> dict:
        """The next line of the process."""
        end = time.monotonic() + limit_s
        while b"\n" not in self._unread:
            left = end - time.monotonic()
            if left <= 0 or not self._poll.poll(left * 1000):
                raise pool.Overrun(f"{self._module} took longer than {limit_s} s.")
            data = os.read(self._popen.stdout.fileno(), 1 << 16)
            if not data:
                raise pool.Died(f"{self._module} is gone.")
            self._unread += data
        line, self._unread = self._unread.split(b"\n", 1)
        return json.loads(line)


def _environment() -> dict[str, str]:
    """Finds the packages that this process finds, and is the same every time."""
    # The current directory is "" here, and another one there.
    paths = [str(pathlib.Path(path).absolute()) for path in sys.path]
    kept = ("PATH", "HOME", "LD_LIBRARY_PATH", "SYSTEMROOT")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "LC_ALL": "C.UTF-8",
        # The order of sets, and with it how long an algebra system takes.
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join(paths),
    }
