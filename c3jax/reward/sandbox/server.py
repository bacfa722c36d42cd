"""The warm server: forks a confined candidate and grader an item, and ends them.

It is started by `client` in a Python of its own with an empty environment. It never
reads a program or a test, so nothing of one item is in the memory of the next.
"""

import contextlib
import ctypes
import dataclasses
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time

from . import candidate, confine, grader, printing

# Modules that programs commonly use: a fork has them at no cost.
_COMMON = (
    "abc array ast base64 bisect calendar cmath collections copy dataclasses "
    "datetime decimal difflib enum fractions functools hashlib heapq io itertools json "
    "math numbers operator queue random re statistics string struct textwrap time "
    "types typing unicodedata uuid"
)
_PR_SET_CHILD_SUBREAPER = 36
# Seconds after its limit until everything of an item is killed.
GRACE_S = 1.0


@dataclasses.dataclass(frozen=True)
class Offer:
    """The layers by which this system can confine a process.

    Attributes:
        layers: of "user", "capabilities", "landlock", "seccomp"; resource limits and
            the kill at the deadline are there always.
        readable: directories that programs may read.
    """

    layers: tuple[str, ...]
    readable: tuple[str, ...]


def main(control: int = 0) -> None:
    """Serves the host at the other end of a socket until it is gone."""
    # As in `reward.worker`: a run that is asked to stop still has its answers scored.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)

    # Packages are imported once, before any right is given up.
    options = json.loads(os.environ["OPTIONS"])
    sys.path += {os.path.dirname(path) for path in options["paths"]}  # noqa: PTH120
    for name in [*_COMMON.split(), *options["preload"]]:
        importlib.import_module(name)
    if "numpy" in options["preload"]:
        importlib.import_module(f"{__package__}.ndarrays")
    sys.set_int_max_str_digits(0)
    try:
        exec(options["prelude"], {"__name__": "program"})
    except Exception as error:
        problem = f"the prelude raises {type(error).__name__}: {error}"
        socket.socket(fileno=control).send(json.dumps({"problem": problem}).encode())
        return
    os.environ.clear()
    if options["user"] is not None:
        confine.become(options["user"])
    channel = socket.socket(fileno=os.dup(control))
    _silence()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    # The layers that this system has.
    try:
        offered = offer(options["paths"])
    except OSError as error:
        channel.send(json.dumps({"problem": str(error)}).encode())
        return
    channel.send(json.dumps({"layers": offered.layers}).encode())

    # Objects alive now stay: the collector need not touch them in every child.
    gc.collect()
    gc.freeze()
    while True:
        head, descriptors, _, _ = socket.recv_fds(channel, 4096, 3)
        if not head:
            return
        item = {**options, **json.loads(head)}
        serve = _print if item.get("prints") else _serve
        statuses = serve(item, descriptors, channel, offered)
        if statuses is None:
            return
        channel.send(json.dumps(statuses).encode())


def offer(packages: list[str]) -> Offer:
    """Tries each layer in a process of its own.

    Args:
        packages: directories that programs may read beside the standard library.

    Raises:
        PermissionError: a confined process cannot read them, or not be confined.
    """
    paths = [*_standard_library(), *packages]
    readable = [path for path in paths if os.path.isdir(path)]  # noqa: PTH112

    # Each layer alone, as far as the kernel has it.
    layers = []
    if os.geteuid() == 0:
        # A user of its own is of use only if it can still read the standard library.
        own = _works(confine.drop_user, lambda: [os.scandir(path) for path in readable])
        layers.append("user" if own else "capabilities")
    if confine.landlock_version():
        layers.append("landlock")
    if confine.has_seccomp():
        layers.append("seccomp")
    works = [
        layer
        for layer in layers
        if _works(lambda: confine.shut_in((layer,), readable, 1 << 40, 60))  # noqa: B023
    ]

    # One layer can take from root what another needs: the right to others' directories.
    if not _works(
        lambda: confine.shut_in(tuple(works), readable, 1 << 40, 60),
        lambda: [os.scandir(path) for path in readable],
    ):
        raise PermissionError(
            f"a process confined by {works} cannot read all of {readable}. Run as the "
            "user whose directories they are, or let others read them and enter every "
            "directory above them."
        )
    if "landlock" in works:
        confine.file_rules(tuple(readable))
    return Offer(tuple(works), tuple(readable))


def _standard_library() -> list[str]:
    home = os.path.dirname(os.__file__)  # noqa: PTH120
    return [home, *(path for path in sys.path if path.endswith("lib-dynload"))]


def _works(*steps) -> bool:
    """Whether a child can do something."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            for step in steps:
                step()
            os._exit(0)
        os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def _silence() -> None:
    """Standard streams to nowhere, in this process and what it forks."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


def _serve(head: dict, descriptors: list[int], control, offered: Offer) -> dict | None:
    """Runs one item to its end; None if the host is gone."""
    program, tests, verdicts = descriptors
    end = time.monotonic() + head["timeout_s"]
    theirs, ours = socket.socketpair()
    confined = _confinement(head, offered)

    # Neither child keeps what is the other's.
    def grade():
        for descriptor in (program, theirs.fileno()):
            os.close(descriptor)
        grader.main(tests, verdicts, ours, end, confined, head["entry_point"])

    def answer():
        for descriptor in (tests, verdicts, ours.fileno()):
            os.close(descriptor)
        candidate.main(program, theirs, confined, head["prelude"])

    # The grader first: the text of the tests is in no other process.
    pids = {"grader": _forked(grade, control), "candidate": _forked(answer, control)}
    for descriptor in descriptors:
        os.close(descriptor)
    theirs.close()
    ours.close()
    try:
        is_wanted = _until_ended(pids["grader"], control, end + GRACE_S)
    finally:
        statuses = {name: _killed(pid) for name, pid in pids.items()}
        _kill_strays()
    return statuses if is_wanted else None


def _print(head: dict, descriptors: list[int], control, offered: Offer) -> dict | None:
    """Runs a case of a program that prints; None if the host is gone."""
    end = time.monotonic() + head["timeout_s"]
    confined = _confinement(head, offered)
    pid = _forked(
        lambda: printing.main(*descriptors, confined, head["prelude"]), control
    )
    for descriptor in descriptors:
        os.close(descriptor)
    try:
        is_wanted = _until_ended(pid, control, end)
    finally:
        status = _killed(pid)
        _kill_strays()
    return {"candidate": status} if is_wanted else None


def _confinement(head, offered):
    """The function that confines a child; its memory is besides what it has now."""
    with open("/proc/self/statm") as file:  # noqa: PTH123
        present = int(file.read().split()[0]) * os.sysconf("SC_PAGESIZE")
    memory = present + head["memory_mb"] * 2**20
    return lambda: confine.shut_in(
        offered.layers, list(offered.readable), memory, head["timeout_s"]
    )


def _forked(work, control) -> int:
    """A child, leader of its own session, that does some work and ends."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        control.close()
        confine.die_with_parent()
        if os.getppid() == parent:
            work()
            status = 0
    finally:
        os._exit(status)


def _until_ended(pid: int, control, end: float) -> bool:
    """Waits for a child until a time; False if the host went away meanwhile."""
    watched = select.poll()
    handle = os.pidfd_open(pid)
    watched.register(handle, select.POLLIN)
    watched.register(control, select.POLLIN)
    try:
        ready = watched.poll(max(0.0, end - time.monotonic()) * 1000)
    finally:
        os.close(handle)
    # The host sends nothing while an item runs: a readable socket is at its end.
    return control.fileno() not in [descriptor for descriptor, _ in ready]


def _killed(pid: int) -> int:
    """Ends a child and its group; its exit code, negative for a signal."""
    with contextlib.suppress(ProcessLookupError):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def _kill_strays() -> None:
    """Ends processes that a candidate left behind, where no filter forbids forks.

    This process is the reaper of orphans, so they are its children now.
    """
    while True:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123
            strays = [int(pid) for pid in file.read().split()]
        if not strays:
            return
        for pid in strays:
            _killed(pid)
