"""The table of tasks: where questions come from, and who shows how to answer them."""

import dataclasses
from collections.abc import Callable, Sequence

import grain

from c3jax.data import problems, programs


@dataclasses.dataclass(frozen=True)
class Task:
    """A source of questions.

    Attributes:
        split: name -> a random-access sequence of items with `uid`, `text`, `answer`.
        demonstrate: (item, seed) -> a `problems.Demonstration`; None where nobody can.
        careless: how often demonstrations go wrong, the third argument.
        reward: who scores an answer, "math" or "code".
    """

    split: Callable[[str], Sequence]
    demonstrate: Callable | None = None
    careless: type | None = None
    reward: str = "math"


TASKS = {
    "problems": Task(problems.Problems, problems.demonstrate, problems.Carelessness),
    "programs": Task(
        programs.Programs, programs.demonstrate, programs.Carelessness, reward="code"
    ),
}


def order(source: Sequence, seed: int) -> Sequence:
    """An endless sequence over a source, shuffled anew each time it is through.

    Item i is a function of (source, seed, i) alone, so a run's place in the data is one
    number.
    """
    return grain.MapDataset.source(source).shuffle(seed=seed).repeat()


def batch(ordered: Sequence, begin: int, size: int) -> list:
    """`size` questions from a place in the data on."""
    return [ordered[index] for index in range(begin, begin + size)]
