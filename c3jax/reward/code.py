"""Terminal reward of a program: the fraction of its tests that it passes.

The program runs confined, and never sees its tests; see `c3jax.reward.sandbox`.
"""

import atexit
import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import signal
import threading
from collections.abc import Sequence

from c3jax.reward import pool
from c3jax.reward.messages import extract
from c3jax.reward.sandbox import assertions, cases, client, grader, server

# What tests are: assertions, or inputs and outputs of a program that prints.
TESTS = ("asserts", "stdio")

_MOST_KNOWN = 20_000  # results kept
# The words by which a user accepts a system that cannot filter calls.
UNCONFINED = "run untrusted programs without seccomp"


@dataclasses.dataclass(frozen=True)
class Result:
    """The outcome of running a program.

    Attributes:
        verdicts: one a check that the tests made, in their order: "pass", "fail",
            "error", "timeout", "memory" or "forbidden".
        problem: the first thing that went wrong, for a person: an exception of the
            program, why there is no verdict, why the tests could not be run.
        failed: running it ended a server twice; it counts as an error.
    """

    verdicts: tuple[str, ...]
    problem: str | None = None
    failed: bool = False

    @property
    def passed_fraction(self) -> float:
        """In [0, 1]; 0 where nothing was checked."""
        return self.verdicts.count(grader.PASS) / max(1, len(self.verdicts))

    @property
    def all_passed(self) -> bool:
        """Whether there were checks and all of them passed."""
        return {*self.verdicts} == {grader.PASS}


class Scorer:
    """Servers that score programs, several at a time.

    Attributes:
        layers: names of the layers that confine programs, beside resource limits and
            the kill at the time limit: "user" or "capabilities" (as root), "landlock",
            "seccomp".
    """

    def __init__(
        self,
        settings: client.Settings | None = None,
        workers: int | None = None,
        accept: str = "",
        tests: str = "asserts",
        all_passed: bool = False,
    ):
        """Starts the servers in the background, after one has reported its layers.

        Args:
            workers: programs at a time; None for one a core.
            accept: `UNCONFINED`, to go on without seccomp.
            tests: what tests are, one of `TESTS`.
            all_passed: whether a case that fails decides, so that the others need not
                be run.

        Raises:
            ValueError: this system cannot confine programs, or lacks bubblewrap where
                it is asked for.
            OSError: the server does not start.
        """
        settings = settings or client.Settings()
        if tests not in TESTS:
            raise ValueError(f"tests={tests!r} is not known; pick one of {TESTS}.")
        self._settings, self._tests, self._all_passed = settings, tests, all_passed
        with contextlib.closing(client.Server(settings)) as first:
            self.layers = first.layers
        if "seccomp" not in self.layers and accept != UNCONFINED:
            raise ValueError(
                "this system cannot filter system calls (seccomp), so an untrusted "
                "program could use the network and start processes; found only "
                f"{list(self.layers)}. Use a Linux kernel with seccomp on x86-64 or "
                f"aarch64, or accept the risk in so many words: {UNCONFINED!r}."
            )
        self._lock = threading.Lock()
        self._known: collections.OrderedDict = collections.OrderedDict()
        self._pool = pool.Pool(
            functools.partial(client.Server, settings),
            workers or len(os.sched_getaffinity(0)),
            limit_s=settings.timeout_s + server.GRACE_S + 1,
        )

    def submit(
        self, text: str, tests: str, entry_point: str = ""
    ) -> concurrent.futures.Future:
        """The future of a `Result`; it never raises an exception of the program.

        A program that was scored on the same tests is not run again.

        Args:
            text: a message with a program in it.
            tests: executable text, see `c3jax.reward.sandbox.assertions`; or cases, see
                `c3jax.reward.sandbox.cases`.
            entry_point: the function that the program must define, needed only where
                tests call it by a builtin's name; "" for the names that tests leave
                open.
        """
        # One future for equal items, also while the first is on its way.
        program = extract(text, self._wanted(text, tests, entry_point))
        item = client.Item(program or "", tests, entry_point)
        with self._lock:
            if item in self._known:
                self._known.move_to_end(item)
                return self._known[item]
            scored = self._known[item] = concurrent.futures.Future()
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        if program is None:
            scored.set_result(Result((), "there is no program"))
            return scored

        # A server's failure is a result of the program's, too.
        def settle(reply):
            error = reply.exception()
            if error is None:
                scored.set_result(_result(reply.result()))
            elif isinstance(error, pool.Overrun):
                scored.set_result(Result((grader.TIMEOUT,), str(error)))
            elif isinstance(error, pool.Died):
                scored.set_result(Result((grader.ERROR,), str(error), failed=True))
            else:
                scored.set_exception(error)
            self._forget(item, scored)

        request, limit_s = item, None
        if self._tests == "stdio":
            try:
                read = cases.read(tests)
            except ValueError as error:
                scored.set_result(Result((), f"the text of the tests {error}"))
                return scored
            request = client.Printing(program, read, self._all_passed)
            limit_s = (read.time_s or self._settings.timeout_s) + server.GRACE_S + 1
        self._pool.submit(request, limit_s).add_done_callback(settle)
        return scored

    def _wanted(self, text: str, tests: str, entry_point: str) -> tuple[str, ...]:
        """The names that tests need, where the message may offer several programs."""
        if self._tests == "stdio" or text.count("```") < 4:
            return ()
        return _names(tests, entry_point)

    def _forget(self, item, scored: concurrent.futures.Future) -> None:
        """Lets what the machine's load, or a fault, may have made be tried again."""
        result = None if scored.exception() else scored.result()
        if result is None or grader.TIMEOUT in result.verdicts or result.failed:
            with self._lock:
                self._known.pop(item, None)

    def scores(self, texts: Sequence[str], tests: Sequence[str]) -> list[Result]:
        """The results of messages, each with its tests, in their order."""
        futures = [self.submit(*pair) for pair in zip(texts, tests, strict=True)]
        return [future.result() for future in futures]

    def close(self) -> None:
        """Ends the servers and all they started."""
        self._pool.close()

    def __enter__(self) -> "Scorer":
        return self

    def __exit__(self, *error) -> None:
        self.close()


@functools.lru_cache(maxsize=1024)
def _names(tests: str, entry_point: str) -> tuple[str, ...]:
    """The program's names in some tests; () where they cannot be read."""
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        return tuple(assertions.read(tests, entry_point).names)
    return ()


def problem(answer: str, entry_point: str = "", tests: str = "asserts") -> str | None:
    """Why tests can tell no right program from a wrong one; None if they can.

    Args:
        answer: the text of the tests.
        entry_point: the function that they call; "" for the names they leave open.
        tests: what tests are, one of `TESTS`.

    Returns:
        The rest of a sentence about the text: "makes no check ..".
    """
    if tests == "stdio":
        return cases.problem(answer)
    return assertions.problem(answer, entry_point)


def score(
    text: str,
    tests: str,
    entry_point: str = "",
    *,
    timeout_s: float = 5.0,
    memory_mb: int = 512,
    kind: str = "asserts",
) -> Result:
    """Scores one program.

    Args:
        text: a message with a program in it, fenced or not.
        tests: executable text: assertions, or functions of them; or cases.
        entry_point: as in `Scorer.submit`.
        kind: what tests are, one of `TESTS`.
        timeout_s: wall-clock seconds for the program and all its tests.
        memory_mb: MiB the program may use beside the interpreter.

    Returns:
        A `Result`, with `passed_fraction` and a verdict per assertion.

    Raises:
        ValueError: this system cannot confine programs; see `Scorer`.
    """
    settings = client.Settings(timeout_s=timeout_s, memory_mb=memory_mb)
    return _shared(settings, kind).submit(text, tests, entry_point).result()


def scores(
    texts: Sequence[str],
    tests: Sequence[str],
    *,
    timeout_s: float = 5.0,
    memory_mb: int = 512,
) -> list[Result]:
    """Scores programs, as `score` does, several at a time; results in order."""
    shared = _shared(client.Settings(timeout_s=timeout_s, memory_mb=memory_mb))
    return shared.scores(texts, tests)


@functools.lru_cache(maxsize=4)
def _shared(settings: client.Settings, tests: str = "asserts") -> Scorer:
    """Servers that stay for the next call."""
    scorer = Scorer(settings, tests=tests)
    atexit.register(scorer.close)
    return scorer


def _result(report: dict) -> Result:
    """The result in a server's report on an item."""
    lost = _LOST.get(report["status"], grader.ERROR)
    verdicts = (lost if v == grader.LOST else v for v in report["verdicts"])
    return Result(tuple(verdicts), report["problem"])


# The verdict on checks that found the program gone, by the status of its process.
_LOST = {-signal.SIGSYS: "forbidden", -signal.SIGXCPU: grader.TIMEOUT}
