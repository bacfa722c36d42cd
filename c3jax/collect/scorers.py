"""Scorers of answers: verifiers in processes of their own.

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
from c3jax.reward.sandbox import client, grader


@dataclasses.dataclass(frozen=True)
class Grade:
    """The verdict on an answer.

    Attributes:
        reward: in [0, 1].
        malformed: no answer could be read.
        timed_out: the verifier gave up at its time limit.
        failed: the verifier itself crashed on it, twice.
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
            A function that waits for their grades and returns them in order.
        """

    def compare(self, texts: Sequence[str], items: Sequence) -> Callable[[], list[int]]:
        """Hands over messages to be compared with others on the same question.

        Returns:
            A function that waits for a number each, equal for equal answers to one
            question, -1 for a message without an answer.
        """

    def close(self) -> None:
        """Ends the verifier's processes."""


class Maths:
    """The answer of a text against the gold answer; see `reward.math`."""

    def __init__(self, config: ml_collections.ConfigDict):
        self._verifier = math.Verifier(config.workers or None, config.timeout_s)
        fallback = tuple(config.fallback)
        # The dataset says which answers are equal, the run where an answer may stand.
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
            return [
                Grade(v.reward, v.malformed, v.timeout, v.died or v.failed)
                for v in verdicts
            ]

        return grades

    def compare(self, texts, items):
        waiting = []
        pairs = zip(texts, items, strict=True)
        for _, group in itertools.groupby(pairs, key=lambda pair: pair[1].uid):
            messages, asked = zip(*group, strict=True)
            rules = self._rules(asked[0].rules)
            waiting.append(ballots.submit(messages, rules, self._verifier))
        return lambda: [number for numbers in waiting for number in numbers()]

    def close(self):
        self._verifier.close()


class Programs:
    """The fraction of its tests that a program passes in the sandbox, or all."""

    def __init__(self, config: ml_collections.ConfigDict):
        settings = client.Settings(
            timeout_s=config.timeout_s,
            memory_mb=config.memory_mb,
            bubblewrap=config.bubblewrap,
            prelude=config.prelude,
        )
        self._all_passed = config.all_passed
        self._scorer = code.Scorer(
            settings,
            config.workers or None,
            config.accept,
            config.tests,
            config.all_passed,
        )
        layers = ", ".join(self._scorer.layers)
        print(f"programs run confined by {layers}, limits and a deadline", flush=True)

    def submit(self, texts, items):
        futures = [
            self._scorer.submit(text, item.answer, item.entry_point)
            for text, item in zip(texts, items, strict=True)
        ]
        return lambda: [_grade(f.result(), self._all_passed) for f in futures]

    def compare(self, texts, items):
        raise ValueError(
            "programs are not compared with each other: two that pass the same tests "
            "may differ. Take a team whose last role answers."
        )

    def close(self):
        self._scorer.close()


def _grade(result: code.Result, all_passed: bool) -> Grade:
    passed = float(result.all_passed) if all_passed else result.passed_fraction
    return Grade(
        reward=passed,
        malformed=not result.verdicts,
        timed_out=grader.TIMEOUT in result.verdicts,
        failed=result.failed,
    )


# Task.reward to its scorer.
SCORERS: dict[str, Callable[[ml_collections.ConfigDict], Scorer]] = {
    "math": Maths,
    "code": Programs,
}


@contextlib.contextmanager
def started(setup) -> Iterator[Scorer]:
    """The scorer of a run, closed at the end of a `with`.

    Raises:
        ValueError: this system cannot run the verifier that the task needs.
    """
    with contextlib.closing(SCORERS[setup.task.reward](setup.config.reward)) as scorer:
        yield scorer
