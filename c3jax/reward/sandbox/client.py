"""The trainer's end: starts a server, hands it items, ends it when it overruns."""

import contextlib
import dataclasses
import importlib.util
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

from c3jax.reward import pool
from c3jax.reward.sandbox import cases, printing

# Loads this directory as the package `sandbox`, without c3jax and what it imports.
# No site packages, no path of this directory, no bytecode written, no columns in code
# objects, which nobody reads and every compilation pays for.
_PLAIN = ("-s", "-S", "-P", "-B", "-X", "no_debug_ranges")
_BOOT = """
import importlib.util, sys
home = sys.argv[1] + "/__init__.py"
spec = importlib.util.spec_from_file_location("sandbox", home)
sys.modules["sandbox"] = importlib.util.module_from_spec(spec)
from sandbox import server
server.main()
"""
_BUBBLEWRAP = (
    "bwrap --unshare-all --die-with-parent --new-session "
    "--ro-bind / / --dev /dev --proc /proc"
)
_START_S = 30.0
# Every program starts with the same hashes of strings, so that a reward repeats.
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}


@dataclasses.dataclass(frozen=True)
class Settings:
    """How programs are run.

    Attributes:
        timeout_s: wall-clock seconds an item may take.
        memory_mb: MiB a program may use beside the interpreter.
        bubblewrap: whether the server runs in namespaces of its own, too.
        preload: packages beside the standard library that programs may import.
        user: number of the user the server becomes, where it starts as root; it must
            be able to read the standard library, or programs have only what is loaded.
        prelude: source that runs in a program's module before it: imports, mostly.
    """

    timeout_s: float = 5.0
    memory_mb: int = 512
    bubblewrap: bool = False
    preload: tuple[str, ...] = ("numpy",)
    user: int | None = None
    prelude: str = ""


@dataclasses.dataclass(frozen=True)
class Item:
    """A program and the tests it must not see, both as source text.

    Attributes:
        program: defines the functions that tests call.
        tests: assertions, run in another process.
        entry_point: a name tests mean the program by; "" for those they leave open.
    """

    program: str
    tests: str
    entry_point: str = ""


@dataclasses.dataclass(frozen=True)
class Printing:
    """A program that reads standard input and prints.

    Attributes:
        program: its source text.
        cases: what it is given, and what it shall print.
        all_passed: whether a case that fails decides.
    """

    program: str
    cases: cases.Cases
    all_passed: bool = False


# Cases that overrun, until the rest counts as overrun, too.
MOST_OVERRUN = 3
# The verdict on a case before its output is compared, by the status of the process.
_ENDS = {
    0: "pass",
    printing.MEMORY: "memory",
    printing.FORBIDDEN: "forbidden",
    -signal.SIGKILL: "timeout",
    -signal.SIGXCPU: "timeout",
    -signal.SIGSYS: "forbidden",
}


class Server:
    """A warm server, one item at a time; a `pool.Worker`.

    Attributes:
        layers: names of the layers that confine its programs.

    Raises:
        ValueError: bubblewrap is asked for and missing, or a package to preload is, or
            a confined program could not read what it imports.
        OSError: the server does not start.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        command = [sys.executable, *_PLAIN, "-c", _BOOT]
        if settings.bubblewrap:
            if not shutil.which("bwrap"):
                raise ValueError(
                    "bubblewrap is asked for and there is no `bwrap` here; install it "
                    "(Debian's package bubblewrap), or do without."
                )
            command = [*_BUBBLEWRAP.split(), *command]

        # It gets one end of a socket, and no descriptor besides.
        preload = settings.preload
        options = {
            "preload": preload,
            "paths": _paths(preload),
            "user": settings.user,
            "prelude": settings.prelude,
        }
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(pathlib.Path(__file__).parent)],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                env={**_ENVIRONMENT, "OPTIONS": json.dumps(options)},
                cwd="/",
                start_new_session=True,
            )

        # It reports the layers that it can offer, or why there are none.
        self._control.settimeout(_START_S)
        try:
            data = self._control.recv(4096)
        except TimeoutError:
            data = b""
        if not data:
            self.close()
            raise OSError("the sandbox's server did not start; its error is above")
        report = json.loads(data)
        if "problem" in report:
            self.close()
            raise ValueError(f"programs cannot be confined here: {report['problem']}")
        self.layers = tuple(report["layers"])

    def ask(self, item: Item | Printing, limit_s: float) -> dict:
        """Runs one item; a program that prints, on one case after another.

        Args:
            limit_s: seconds until the server itself is given up.

        Returns:
            "verdicts" and "problem" of the grader, "status" of the program's process.

        Raises:
            pool.Overrun: nothing came in time.
            pool.Died: the server is gone.
        """
        if isinstance(item, Printing):
            return self._printed(item, limit_s)
        end = time.monotonic() + limit_s
        head = {
            "timeout_s": self._settings.timeout_s,
            "memory_mb": self._settings.memory_mb,
            "entry_point": item.entry_point,
        }
        reading = self._sent(head, item.program, item.tests)

        # The grader's report, and how both processes ended.
        with open(reading, "rb", buffering=0) as file:  # noqa: PTH123
            data = _read(file, end)
        statuses = json.loads(self._ended(end))
        stopped = statuses["grader"] == -signal.SIGKILL
        how = "were stopped at the time limit" if stopped else "broke"
        report = {"verdicts": [], "problem": f"the tests {how}"}
        with contextlib.suppress(ValueError):
            report = json.loads(data)
        return {**report, "status": statuses["candidate"]}

    def _printed(self, item, limit_s: float) -> dict:
        """The verdicts on the cases of a program that prints."""
        verdicts, problem, overrun = [], None, 0
        for given, expected in zip(item.cases.inputs, item.cases.outputs, strict=True):
            # A program that is too slow for some is not waited for on all.
            if overrun == MOST_OVERRUN or (item.all_passed and problem):
                verdicts.append(verdicts[-1])
                continue
            text, status = self._case(item, given, len(expected), limit_s)
            verdict = _ENDS.get(status, "error")
            if verdict == "pass" and not cases.is_right(text, expected):
                verdict = "fail"
            if verdict != "pass" and problem is None:
                problem = f"case {len(verdicts) + 1}: {verdict}"
            overrun += verdict == "timeout"
            verdicts.append(verdict)
        return {"verdicts": verdicts, "problem": problem, "status": 0}

    def _case(self, item, given: str, size: int, limit_s: float):
        """What a program prints in one case, and how it ended."""
        timeout_s = item.cases.time_s or self._settings.timeout_s
        end = time.monotonic() + max(limit_s, timeout_s + 2)
        head = {
            "timeout_s": timeout_s,
            "memory_mb": item.cases.memory_mb or self._settings.memory_mb,
            "prints": True,
        }
        reading = self._sent(head, item.program, given)
        # More than this is wrong; the program then finds its output closed.
        with open(reading, "rb", buffering=0) as file:  # noqa: PTH123
            data = _read(file, end, 4 * size + (1 << 16))
        status = json.loads(self._ended(end))["candidate"]
        return data.decode("utf-8", "replace").replace("\r\n", "\n"), status

    def _sent(self, head: dict, *texts: str) -> int:
        """Sends an item, its texts by descriptors; that of what it will write."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        descriptors = [*map(_in_memory, texts), writing]
        try:
            socket.send_fds(self._control, [json.dumps(head).encode()], descriptors)
        except OSError as error:
            os.close(reading)
            raise pool.Died("the sandbox's server is gone") from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return reading

    def _ended(self, end):
        """The server's report on the end of an item's processes."""
        self._control.settimeout(max(0.001, end - time.monotonic()))
        try:
            data = self._control.recv(4096)
        except TimeoutError as error:
            raise pool.Overrun("the sandbox's server does not answer") from error
        except OSError as error:
            raise pool.Died("the sandbox's server is gone") from error
        if not data:
            raise pool.Died("the sandbox's server is gone")
        return data

    def close(self) -> None:
        """Ends the server and everything it started."""
        self._control.close()
        # At the end of its socket it kills what it started; then it is killed itself.
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _read(file, end: float, most: int = 1 << 30) -> bytes:
    """The bytes of a pipe until it ends, the time is over or there are too many."""
    waiting, data = select.poll(), bytearray()
    waiting.register(file, select.POLLIN)
    while waiting.poll(max(0.0, end - time.monotonic()) * 1000):
        part = file.read(1 << 16)
        if not part:
            break
        data += part
        if len(data) > most:
            break
    return bytes(data)


def _in_memory(text: str) -> int:
    """A descriptor of a file that is in memory only, at its beginning."""
    descriptor = os.memfd_create("item", os.MFD_CLOEXEC)
    data = text.encode("utf-8", "replace")
    while data:
        data = data[os.write(descriptor, data) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _paths(preload: tuple[str, ...]) -> list[str]:
    """Where packages are installed.

    Raises:
        ValueError: one of them is not.
    """
    paths = []
    for name in preload:
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.origin:
            raise ValueError(f"there is no package {name!r} to preload; install it.")
        paths.append(str(pathlib.Path(spec.origin).parent))
    return paths
