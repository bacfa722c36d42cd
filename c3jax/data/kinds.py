"""The table of tasks: where their questions come from, and who grades the answers."""

import dataclasses
from collections.abc import Callable, Sequence

from c3jax.core.types import EXACT, Rules
from c3jax.data import arithmetic, problems, programs
from c3jax.data.builders import origins


@dataclasses.dataclass(frozen=True)
class Generator:
    """Generated questions, and demonstrations of answering them.

    Attributes:
        split: name -> a random-access sequence of items; where there are levels,
            (name, some of the levels, uid of the first item) -> the same.
        demonstrate: (item, rng, carelessness) -> a `problems.Demonstration`.
        careless: how often demonstrations go wrong.
        levels: names of how hard questions may be, for `data.train` and the like to
            choose from; () for one kind of question, in words that all fit.
    """

    split: Callable[..., Sequence]
    demonstrate: Callable
    careless: type
    levels: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Kind:
    """An entry of the table.

    Attributes:
        train: "dataset/split" to train on.
        test: "dataset/split" to be measured on.
        validation: "dataset/split" to be looked at meanwhile; "" for a part of train.
        reward: the grader of answers, "math" or "code".
        rules: what is allowed in an answer to a question of the user's own.
        generator: makes the questions; None for questions read from files.
        reading: a second reading of answers in evaluation, a key of
            `reward.math.READINGS`, that separates content from form; "" for none.
    """

    train: str
    test: str
    validation: str = ""
    reward: str = "math"
    rules: Rules = EXACT
    generator: Generator | None = None
    reading: str = ""


def _kind(train: str, test: str, validation: str = "") -> Kind:
    """A task whose own questions are graded like those of its test split."""
    dataset = origins.DATASETS[test.partition("/")[0]]
    return Kind(train, test, validation, dataset.reward, dataset.rules)


TASKS = {
    "problems": Kind(
        "problems/train",
        "problems/test",
        "problems/validation",
        generator=Generator(
            problems.Problems, problems.demonstrate, problems.Carelessness
        ),
    ),
    "programs": Kind(
        "programs/train",
        "programs/test",
        "programs/validation",
        reward="code",
        generator=Generator(
            programs.Programs, programs.demonstrate, programs.Carelessness
        ),
    ),
    "arithmetic": Kind(
        "arithmetic.one_step/train",
        "arithmetic.one_step/test",
        "arithmetic.one_step/validation",
        generator=Generator(
            arithmetic.Arithmetic,
            arithmetic.demonstrate,
            problems.Carelessness,
            tuple(arithmetic.LEVELS),
        ),
        reading="any_number",
    ),
    "math": _kind("math/train", "math500/test"),
    "gsm8k": _kind("gsm8k/train", "gsm8k/test"),
    "cmath": _kind("cmath/validation", "cmath/test"),
    "logiqa": _kind("logiqa/train", "logiqa/test", "logiqa/validation"),
    "mbpp": _kind("mbpp/train", "mbpp/test", "mbpp/validation"),
}
# The splits of generated questions.
SPLITS = ("train", "validation", "test")
