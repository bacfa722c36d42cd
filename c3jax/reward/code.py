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
import re
import signal
import threading
from collections.abc import Sequence

from c3jax.reward import pool
from c3jax.reward.sandbox import client, grader, server

# A block between fences; the last may have no end.
_FENCED = re.compile(r"```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
# The marks of tokenizers where a message begins or ends: <|im_end|>, </s>, <end>.
_SPECIAL = re.compile(r"<\|[^<>|\n]{1,40}\|>|</?s>|<end>|<eos>|<pad>")
_LANGUAGES = ("", "python", "py", "python3")
_DEFINES = re.compile(r"^\s*(?:def|class|async def)\b|\blambda\b", re.MULTILINE)
_BEGINS = re.compile(
    r"^(?:(?:async )?def \w+\s*\(|class \w+\s*[:(]|import [\w.]+|from [\w.]+ import"
    r"|@\w|[A-Za-z_]\w*\s*=[^=])",
    re.MULTILINE,
)
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


def extract(text: str) -> str | None:
    """The program in a message: its last fenced block that defines something.

    Without one it is the text from its first definition, assignment or import on.
    Special tokens are dropped.

    Returns:
        None where there is nothing.
    """
    # Fenced blocks first, those that define something before others.
    text = _SPECIAL.sub("", text)
    blocks = [
        body
        for language, body in _FENCED.findall(text)
        if language.lower() in _LANGUAGES and body.strip()
    ]
    if blocks:
        defining = [body for body in blocks if _DEFINES.search(body)]
        return (defining or blocks)[-1]

    text = _FENCED.sub("", text)
    first = _BEGINS.search(text)
    program = text[first.start() :] if first else text
    return program if program.strip() else None


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
    ):
        """Starts the servers in the background, after one has reported its layers.

        Args:
            workers: programs at a time; None for one a core.
            accept: `UNCONFINED`, to go on without seccomp.

        Raises:
            ValueError: this system cannot confine programs, or lacks bubblewrap where
                it is asked for.
            OSError: the server does not start.
        """
        settings = settings or client.Settings()
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
            tests: executable text; see `c3jax.reward.sandbox.assertions`.
            entry_point: the function that the program must define, needed only where
                tests call it by a builtin's name; "" for the names that tests leave
                open.
        """
        # One future for equal items, also while the first is on its way.
        program = extract(text)
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

        self._pool.submit(item).add_done_callback(settle)
        return scored

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


def score(
    text: str, tests: str, *, timeout_s: float = 5.0, memory_mb: int = 512
) -> Result:
    """Scores one program.

    Args:
        text: a message with a program in it, fenced or not.
        tests: executable text: assertions, or functions of them.
        timeout_s: wall-clock seconds for the program and all its tests.
        memory_mb: MiB the program may use beside the interpreter.

    Returns:
        A `Result`, with `passed_fraction` and a verdict per assertion.

    Raises:
        ValueError: this system cannot confine programs; see `Scorer`.
    """
    return scores([text], [tests], timeout_s=timeout_s, memory_mb=memory_mb)[0]


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
def _shared(settings: client.Settings) -> Scorer:
    """Servers that stay for the next call."""
    scorer = Scorer(settings)
    atexit.register(scorer.close)
    return scorer


def _result(report: dict) -> Result:
    """The result in a server's report on an item."""
    lost = _LOST.get(report["status"], grader.ERROR)
    verdicts = (lost if v == grader.LOST else v for v in report["verdicts"])
    return Result(tuple(verdicts), report["problem"])


# The verdict on checks that found the program gone, by the status of its process.
_LOST = {-signal.SIGSYS: "forbidden", -signal.SIGXCPU: grader.TIMEOUT}
