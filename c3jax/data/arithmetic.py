"""Generated word problems in plain English, for any published tokenizer.

    Mia has 5 coins. She finds 4 more. How many coins does Mia have now?

Each belongs to a level and asks for one operation or two. Splits are apart by *facts*,
an operation with its numbers: 3 + 5 and 5 + 3 are one fact, and all facts of a question
belong to its split, by a checksum. So a test question asks for no sum that was ever
trained on, at no level, and neither does a demonstration.
"""

import dataclasses
import random
import zlib
from collections.abc import Callable, Sequence
from typing import ClassVar

from c3jax.core.types import EXACT, Rules
from c3jax.data import stories
from c3jax.data.problems import Carelessness, Demonstration
from c3jax.data.stories import Step

SPLITS = {"train": 16384, "validation": 512, "test": 512}
_SHARES = {"test": (0, 1), "validation": (2,), "train": (3, 4, 5, 6, 7)}
_OPPOSITE = {"+": "-", "-": "+", "*": "+"}


def small(op: str, rng: random.Random) -> Step:
    """Up to 12 more, up to 20 less, or up to 6 times 9."""
    if op == "+":
        return Step(op, rng.randint(1, 12), rng.randint(1, 12))
    if op == "-":
        left = rng.randint(2, 20)
        return Step(op, left, rng.randint(1, min(12, left - 1)))
    return Step(op, rng.randint(2, 6), rng.randint(2, 9))


def large(op: str, rng: random.Random) -> Step:
    """A step with a number of two digits or two; all numbers are below 100."""
    if op == "+":
        left = rng.randint(10, 89)
        return Step(op, left, rng.randint(10, 99 - left))
    if op == "-":
        left = rng.randint(20, 99)
        return Step(op, left, rng.randint(10, left - 1))
    left = rng.randint(2, 9)
    return Step(op, left, rng.randint(10, 99 // left))


@dataclasses.dataclass(frozen=True)
class Level:
    """How hard a question is.

    Attributes:
        ops: the operations of all steps in order; one entry is drawn.
        first: draws the first step; a second one is up to 12 more or less.
        aside: whether the story holds a number that does not matter.
    """

    ops: tuple[str, ...] = ("+", "-", "*")
    first: Callable[[str, random.Random], Step] = small
    aside: bool = False


LEVELS = {
    "one_step": Level(),
    "two_steps": Level(ops=("++", "+-", "-+", "--", "*+", "*-")),
    "two_digits": Level(first=large),
    "distractors": Level(aside=True),
}


@dataclasses.dataclass(frozen=True)
class Problem:
    """A question with its gold answer.

    Attributes:
        uid: its address among the questions it is drawn with; random keys use it.
        id: "arithmetic.<level>/<split>/<number>".
        text: what the team reads.
        answer: the gold answer, in digits.
        level: one of `LEVELS`.
        steps: the operations that lead to the answer.
        aside: the number in it that does not matter, or None.
        ending: how a sentence with the answer begins.
        thing: the counted thing, in the singular.
    """

    uid: int
    id: str
    text: str
    answer: str
    level: str
    steps: tuple[Step, ...]
    aside: int | None
    ending: str
    thing: str
    entry_point: ClassVar[str] = ""
    rules: ClassVar[Rules] = EXACT


class Arithmetic:
    """One split as a random-access sequence; item i is a function of (split, i).

    With several levels, they take turns: question i of n levels is question i // n of
    its own.
    """

    def __init__(self, split: str, levels: Sequence[str] = (), first: int = 0):
        """Questions are made when they are asked for.

        Args:
            split: a key of `SPLITS`.
            levels: keys of `LEVELS`; () for all.
            first: uid of the first question.

        Raises:
            ValueError: no such split or level.
        """
        for name, known in ((split, SPLITS), *((level, LEVELS) for level in levels)):
            if name not in known:
                raise ValueError(f"{name!r} is not one of {sorted(known)}.")
        self.split, self.levels = split, tuple(levels) or tuple(LEVELS)
        self._first = first

    def __len__(self) -> int:
        return SPLITS[self.split]

    def __getitem__(self, index: int) -> Problem:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.split} has {len(self)} problems, not {index}.")
        place, turn = divmod(index, len(self.levels))
        level = self.levels[turn]

        # The name is the seed, so an item is a function of its address.
        name = f"arithmetic.{level}/{self.split}/{place}"
        rng = random.Random(name)
        steps = _drawn(LEVELS[level], self.split, rng)
        aside = rng.randint(2, 12) if LEVELS[level].aside else None
        story = stories.told(steps, aside, place, rng)
        return Problem(
            uid=self._first + index,
            id=name,
            answer=str(steps[-1].result),
            level=level,
            steps=steps,
            aside=aside,
            **story._asdict(),
        )


def fact(step: Step) -> str:
    """A step in canonical order: "3 + 5" of 5 + 3, too."""
    numbers = (step.left, step.right)
    left, right = numbers if step.op == "-" else sorted(numbers)
    return f"{left} {step.op} {right}"


def split_of(steps: Sequence[Step]) -> str | None:
    """The split that the facts of all steps belong to; None if they differ."""
    splits = {_split(fact(step)) for step in steps}
    return splits.pop() if len(splits) == 1 else None


def _split(text: str) -> str:
    share = zlib.crc32(text.encode()) % 8
    return next(name for name, shares in _SHARES.items() if share in shares)


def demonstrate(
    problem: Problem, rng: random.Random, careless: Carelessness
) -> Demonstration:
    """How a careless team answers a training problem.

    The plan is the calculation, "3 + 4 = 7; 7 - 2 = 5", the answer a sentence that ends
    on its result. `misread` takes an operation for another, `distracted` adds the
    number that does not matter, `early` leaves out the last of two steps, `slip` gets
    one result wrong, `unboxed` goes on to another number after the answer. Every fact
    it writes belongs to the training split as well; where carelessness would lead out
    of it or below zero, the problem is read again.
    """
    # Read and worked until every fact is one of the training split.
    for _ in range(20):
        read = _read(problem, rng, careless)
        slip = (
            rng.choice((-10, -2, -1, 1, 2, 10)) if rng.random() < careless.slip else 0
        )
        worked = _worked(problem, read, slip, rng.randrange(len(read)))
        least = min(result for _, result in worked)
        if least >= 0 and split_of([step for step, _ in worked]) == "train":
            break
    else:
        worked = [(step, step.result) for step in problem.steps]

    # The messages of the two roles.
    total = worked[-1][1]
    answer = f"{problem.ending} {stories.counted(total, problem.thing)}"
    if rng.random() < careless.unboxed:
        answer += f", not {total + 1}"
    plan = (f"{s.left} {s.op} {s.right} = {result}" for s, result in worked)
    return Demonstration(plan="; ".join(plan), answer=f"{answer}.")


def _drawn(level: Level, split: str, rng: random.Random) -> tuple[Step, ...]:
    """Steps of one split; every result is above zero."""
    ops = rng.choice(level.ops)
    while True:
        steps = [level.first(ops[0], rng)]
        steps += [Step(op, steps[0].result, rng.randint(1, 12)) for op in ops[1:]]
        if steps[-1].result > 0 and split_of(steps) == split:
            return tuple(steps)


def _read(problem, rng, careless) -> list[tuple[str, int]]:
    """The operations that a careless reader sees in a problem, with their numbers."""
    read = [
        (_OPPOSITE[op] if rng.random() < careless.misread else op, right)
        for op, _, right in problem.steps
    ]
    if problem.aside is not None and rng.random() < careless.distracted:
        read.append(("+", problem.aside))
    elif len(read) > 1 and rng.random() < careless.early:
        read.pop()
    return read


def _worked(problem, read, slip, place) -> list[tuple[Step, int]]:
    """The steps as they were read, each with its stated result; one may be off."""
    total, worked = problem.steps[0].left, []
    for number, (op, right) in enumerate(read):
        step = Step(op, total, right)
        total = step.result + (slip if number == place else 0)
        worked.append((step, total))
    return worked
