"""Generated grade-school word problems, and careless demonstrations of solving them.

    leo has 35 pens . lends 7 . sees 4 in a shop . sells 6 . how many now ?

A problem is a *program*, a start and two or three signed amounts whose running total
stays within 0..99, told in words, sometimes with a number that does not matter. A
checksum of its digits assigns each program to one split, so train, validation and test
never share one, and neither do the demonstrations.
"""

import dataclasses
import itertools
import random
import zlib
from typing import ClassVar

import numpy as np

from c3jax.core.types import EXACT, Rules

LARGEST = 99
NAMES = ("ana", "ben", "eva", "ian", "kim", "leo", "mia", "sam", "tom", "zoe")
ITEMS = ("apples", "books", "cards", "coins", "eggs", "pens", "shells", "stamps")
GAINS = ("buys", "finds", "wins", "borrows")
LOSSES = ("sells", "drops", "eats", "lends")
# The two that a careless reader takes for their opposite.
CONFUSED = ("borrows", "lends")
DISTRACTORS = (
    ("sees", "in a shop"),
    ("walks", "miles"),
    ("meets", "friends"),
    ("waits", "days"),
)
SPLITS = {"train": 65536, "validation": 512, "test": 512}
_SHARES = {"test": (0,), "validation": (1,), "train": (2, 3, 4, 5, 6, 7)}
_AMOUNTS = range(2, 10)
NUMBERS = range(LARGEST + 1)
CHANGES = (*_AMOUNTS, *(-amount for amount in _AMOUNTS))


@dataclasses.dataclass(frozen=True)
class Event:
    """One sentence of a problem: a verb, its amount, and its sign (0: irrelevant)."""

    verb: str
    amount: int
    sign: int


@dataclasses.dataclass(frozen=True)
class Problem:
    """A question with its gold answer.

    Attributes:
        uid: index in its split.
        text: what the team reads.
        answer: the gold answer, in digits.
        start: the first number.
        events: its sentences in order, but for the first.
    """

    uid: int
    text: str
    answer: str
    start: int
    events: tuple[Event, ...]
    entry_point: ClassVar[str] = ""
    rules: ClassVar[Rules] = EXACT

    @property
    def id(self) -> str:
        """A name that no question of another task has."""
        return f"problems/{self.uid}"


@dataclasses.dataclass(frozen=True)
class Demonstration:
    """The messages of a careless team: a sum to do, and the sum worked out."""

    plan: str
    answer: str


@dataclasses.dataclass(frozen=True)
class Carelessness:
    """How often a demonstration goes wrong, each a probability.

    Attributes:
        misread: take "lends" or "borrows" for its opposite.
        distracted: add the number that does not matter.
        early: stop before the last operation.
        slip: get one operation wrong.
        unboxed: leave the answer without its box.
    """

    misread: float = 0.55
    distracted: float = 0.5
    early: float = 0.1
    slip: float = 0.04
    unboxed: float = 0.04


class Problems:
    """One split as a random-access sequence; item i is a function of (split, i)."""

    def __init__(self, split: str):
        if split not in SPLITS:
            raise ValueError(f"split={split!r} is not one of {sorted(SPLITS)}.")
        self.split = split

    def __len__(self) -> int:
        return SPLITS[self.split]

    def __getitem__(self, index: int) -> Problem:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.split} has {len(self)} problems, not {index}.")
        rng = random.Random(f"{self.split}/{index}")
        while True:
            start, events = _story(rng)
            amounts = [e.sign * e.amount for e in events if e.sign]
            if split_of(start, amounts) == self.split:
                return _told(index, start, events, rng)


def split_of(start: int, amounts: list[int]) -> str | None:
    """The split a program belongs to; None if its total leaves 0..99 on the way."""
    totals = list(itertools.accumulate(amounts, initial=start))
    if min(totals) < 0 or max(totals) > LARGEST:
        return None
    share = zlib.crc32(written(start, amounts).encode()) % 8
    return next(name for name, shares in _SHARES.items() if share in shares)


def written(start: int, amounts: list[int]) -> str:
    """A program as a sum: "35 -7 -6"."""
    return " ".join([str(start), *(f"{amount:+d}" for amount in amounts)])


def demonstrate(
    problem: Problem, rng: random.Random, careless: Carelessness
) -> Demonstration:
    """How a careless team answers a training problem.

    Every program it writes belongs to the training split as well; where carelessness
    would lead out of it, the problem is read again.
    """
    # Read until the program is one of the training split.
    for _ in range(20):
        amounts = _read(problem, rng, careless)
        if split_of(problem.start, amounts) == "train":
            break
    else:
        amounts = _read(problem, rng, Carelessness(0, 0, 0, 0, 0))

    # Worked out, one operation after the other.
    worked = amounts[:-1] if rng.random() < careless.early else amounts
    slip = rng.randrange(len(worked)) if rng.random() < careless.slip else None
    total, words = problem.start, [str(problem.start)]
    for place, amount in enumerate(worked):
        total += amount
        if place == slip:
            total += rng.choice((-10, -2, -1, 1, 2, 10))
        total = min(max(total, 0), LARGEST)
        words += [f"{amount:+d}", str(total)]
    if rng.random() >= careless.unboxed:
        words.append(rf"\boxed{{ {total} }}")
    return Demonstration(plan=written(problem.start, amounts), answer=" ".join(words))


def vocabulary() -> list[str]:
    """Every word that a problem or its demonstration may hold, numbers first."""
    phrases = [*NAMES, *ITEMS, *GAINS, *LOSSES, "has how many now ? . } \\boxed{"]
    phrases += [word for pair in DISTRACTORS for word in pair]
    words = sorted({word for phrase in phrases for word in phrase.split()})
    return [str(n) for n in NUMBERS] + [f"{n:+d}" for n in CHANGES] + words


def number_features(width: int) -> np.ndarray:
    """[100, width] float32 waves of n, to *initialise* embeddings of the numbers 0..99.

    Cosines and sines of unit variance, with periods evenly spread from 2 to 100 on a
    log scale and ten among them: sums become rotations, and addition is learnt sooner.
    The table is trained like any other afterwards.
    """
    periods = np.geomspace(2, 100, width // 2)
    periods[np.argmin(np.abs(periods - 10))] = 10
    angle = 2 * np.pi * np.array(NUMBERS)[:, None] / periods
    waves = np.concatenate([np.cos(angle), np.sin(angle)], 1)
    return np.sqrt(2) * waves.astype(np.float32)


def _story(rng):
    """A random start and its events; the program may yet leave the range."""
    events = []
    for _ in range(rng.randint(2, 3)):
        gain = rng.random() < 0.5
        verb = rng.choice(GAINS if gain else LOSSES)
        amount = rng.choice(_AMOUNTS)
        events.append(Event(verb, amount, 1 if gain else -1))
    if rng.random() < 0.5:
        verb, _ = rng.choice(DISTRACTORS)
        aside = Event(verb, rng.choice(_AMOUNTS), 0)
        events.insert(rng.randrange(len(events)), aside)
    return rng.randint(2, LARGEST), tuple(events)


def _told(uid, start, events, rng) -> Problem:
    """A program as a question: one sentence an event."""
    endings = dict(DISTRACTORS)
    sentences = [f"{rng.choice(NAMES)} has {start} {rng.choice(ITEMS)}"]
    for event in events:
        tail = f" {endings[event.verb]}" if event.sign == 0 else ""
        sentences.append(f"{event.verb} {event.amount}{tail}")
    return Problem(
        uid=uid,
        text=" . ".join([*sentences, "how many now ?"]),
        answer=str(start + sum(e.sign * e.amount for e in events)),
        start=start,
        events=events,
    )


def _read(problem, rng, careless):
    """The signed amounts that a careless reader takes from a problem."""
    amounts = []
    for event in problem.events:
        sign = event.sign
        if event.verb in CONFUSED and rng.random() < careless.misread:
            sign = -sign
        if sign == 0 and rng.random() < careless.distracted:
            sign = 1
        if sign:
            amounts.append(sign * event.amount)
    return amounts
