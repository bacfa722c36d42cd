"""Who scores the answers of a run: verifiers in processes of their own.

Answers are handed over as soon as they are written and the devices go on; the grades
are asked for when they are needed.
"""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import ml_collections

from c3jax.reward import ballots, code, math
from c3jax.reward.sandbox import grader, host


@dataclasses.dataclass(frozen=True)
class Grade:
    """What an answer is worth.

    Attributes:
        reward: in [0, 1].
        malformed: there was no answer to read.
        timed_out: the verifier gave up at its time limit.
        failed: the verifier itself broke down over it, twice.
    """

    reward: float
    malformed: bool = False
    timed_out: bool = False
    failed: bool = False


class Scorer(Protocol):
    """Scores answers in the background."""

    def submit(
        self, texts: Sequence[str], items: Sequence
    ) -> Callable[[], list[Grade]]:
        """Hands over messages, each with its question.

        Returns:
            What to call for their grades, in order; it waits for them.
        """

    def compare(self, texts: Sequence[str], items: Sequence) -> Callable[[], list[int]]:
        """Hands over messages to be compared with others on the same question.

        Returns:
            What to call for a number each, equal for equal answers to one question, -1
            where there is no answer; it waits for them.
        """

    def close(self) -> None:
        """Ends what was started."""


class Maths:
    """The answer of a text against the gold answer; see `reward.math`."""

    def __init__(self, config: ml_collections.ConfigDict):
        self._verifier = math.Verifier(config.workers or None, config.timeout_s)
        fallback = tuple(config.fallback)
        # A question's dataset says what may be right, the run where it is looked for.
        self._rules = functools.cache(
            lambda rules: dataclasses.replace(rules, fallback=fallback)
        )

    def submit(self, texts, items):
        waiting = [
            math.submit([text], [item.answer], self._rules(item.rules), self._verifier)
            for text, item in zip(texts, items, strict=True)
        ]

        def grades():
            verdicts = (pending.result()[0] for pending in waiting)
            return [Grade(v.reward, v.malformed, v.timeout, v.died) for v in verdicts]

        return grades

    def compare(self, texts, items):
        waiting = []
        for _, some in itertools.groupby(
            zip(texts, items, strict=True), key=lambda pair: pair[1].uid
        ):
            said, asked = zip(*some, strict=True)
            rules = self._rules(asked[0].rules)
            waiting.append(ballots.submit(said, rules, self._verifier))
        return lambda: [number for numbers in waiting for number in numbers()]

    def close(self):
        self._verifier.close()


class Programs:
    """The fraction of its tests that a program passes, in the sandbox."""

    def __init__(self, config: ml_collections.ConfigDict):
        settings = host.Settings(
            timeout_s=config.timeout_s,
            memory_mb=config.memory_mb,
            bubblewrap=config.bubblewrap,
        )
        self._scorer = code.Scorer(settings, config.workers or None, config.accept)
        layers = ", ".join(self._scorer.layers)
        print(f"programs run confined by {layers}, limits and a deadline", flush=True)

    def submit(self, texts, items):
        futures = [
            self._scorer.submit(text, item.answer, item.entry_point)
            for text, item in zip(texts, items, strict=True)
        ]
        return lambda: [_grade(future.result()) for future in futures]

    def compare(self, texts, items):
        raise ValueError(
            "programs are not compared with each other: two that pass the same tests "
            "may differ. Take a team whose last role answers."
        )

    def close(self):
        self._scorer.close()


def _grade(result: code.Result) -> Grade:
    return Grade(
        reward=result.passed_fraction,
        malformed=not result.verdicts,
        timed_out=grader.TIMEOUT in result.verdicts,
        failed=result.failed,
    )


# Task.reward to who computes it.
SCORERS: dict[str, Callable[[ml_collections.ConfigDict], Scorer]] = {
    "math": Maths,
    "code": Programs,
}


@contextlib.contextmanager
def started(setup) -> Iterator[Scorer]:
    """The scorer of a run, closed at the end of a `with`.

    Args:
        setup: of the run.

    Raises:
        ValueError: this system cannot run what the task needs.
    """
    with contextlib.closing(SCORERS[setup.task.reward](setup.config.reward)) as scorer:
        yield scorer
