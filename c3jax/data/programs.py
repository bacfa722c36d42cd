"""Generated one-line programming questions, and careless demonstrations of them.

    keep the numbers over 4 . there are 7 boxes . take each 2 times . return the sum .

asks for a function `f` of a list of whole numbers,

    f = lambda xs : sum ( x * 2 for x in xs if x > 4 )

A question is a *recipe*: which numbers to keep, what to do to each, what to make of
them. It is told in words, sometimes with a sentence that does not matter. A checksum
assigns each recipe to one split, so train, validation and test share none.
The answer is the text of tests: what the recipe makes of a few lists.
"""

import dataclasses
import itertools
import random
import zlib
from collections.abc import Callable
from typing import ClassVar

from c3jax.core.types import EXACT, Rules
from c3jax.data.problems import Demonstration

NUMBERS = range(2, 10)
SPLITS = {"train": 65536, "validation": 256, "test": 256}
_SHARES = {"test": (0,), "validation": (1,), "train": (2, 3, 4, 5, 6, 7)}
_ASIDES = (
    "there are {} boxes",
    "kim has {} pens",
    "it takes {} days",
    "tom waits {} days",
)
_LISTS = 4  # that a function is tested on


@dataclasses.dataclass(frozen=True)
class Step:
    """A step of a recipe: what a question calls it, a plan, a program and Python.

    Attributes:
        told: words of the question; {} is its number.
        plan: words of the Reasoner.
        code: words of the Actor.
        run: the step as a function, (x, n) of one number, or (list) for the last step.
        opposite: the step that a careless reader mistakes it for; itself if none.
    """

    told: str
    plan: str
    code: str
    run: Callable
    opposite: str


KEEP = {
    "all": Step("take all the numbers", "all", "", lambda x, n: True, "all"),
    "even": Step(
        "keep the even numbers", "even", "if x % 2 == 0", lambda x, n: x % 2 == 0, "odd"
    ),
    "odd": Step(
        "keep the odd numbers", "odd", "if x % 2 == 1", lambda x, n: x % 2 == 1, "even"
    ),
    "over": Step(
        "keep the numbers over {}", "over {}", "if x > {}", lambda x, n: x > n, "under"
    ),
    "under": Step(
        "keep the numbers under {}", "under {}", "if x < {}", lambda x, n: x < n, "over"
    ),
}
CHANGE = {
    "same": Step("leave each as it is", "same", "x", lambda x, n: x, "same"),
    "raise": Step("raise each by {}", "+ {}", "x + {}", lambda x, n: x + n, "lower"),
    "lower": Step("lower each by {}", "- {}", "x - {}", lambda x, n: x - n, "raise"),
    "times": Step("take each {} times", "* {}", "x * {}", lambda x, n: x * n, "times"),
    "square": Step("square each", "square", "x * x", lambda x, n: x * x, "square"),
}
MAKE = {
    "list": Step("return them", "list", "list", list, "list"),
    "sum": Step("return the sum", "sum", "sum", sum, "sum"),
    "max": Step("return the largest", "max", "max", max, "max"),
    "min": Step("return the smallest", "min", "min", min, "min"),
    "sorted": Step("return them in order", "sorted", "sorted", sorted, "sorted"),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A function in three steps, the first two with a number each.

    Attributes:
        keep: a key of `KEEP`, and its number.
        change: a key of `CHANGE`, and its number.
        make: a key of `MAKE`, the last step.
    """

    keep: tuple[str, int]
    change: tuple[str, int]
    make: str

    def __call__(self, numbers: list[int]):
        (keep, least), (change, by) = self.keep, self.change
        kept = (x for x in numbers if KEEP[keep].run(x, least))
        return MAKE[self.make].run([CHANGE[change].run(x, by) for x in kept])

    def plan(self) -> str:
        """In few words: "over 4 * 2 max"."""
        return " ".join(self.words("plan"))

    def program(self) -> str:
        """As Python, with a space between words."""
        kept, changed, make = self.words("code")
        return " ".join(
            f"f = lambda xs : {make} ( {changed} for x in xs {kept} )".split()
        )

    def words(self, field: str) -> list[str]:
        """A text of `Step` of each of the three, with its number."""
        steps = (KEEP[self.keep[0]], CHANGE[self.change[0]], MAKE[self.make])
        numbers = (self.keep[1], self.change[1], None)
        texts = (getattr(step, field) for step in steps)
        return [text.format(n) for text, n in zip(texts, numbers, strict=True)]

    def split(self) -> str:
        """The split that the recipe belongs to."""
        share = zlib.crc32(self.plan().encode()) % 8
        return next(name for name, shares in _SHARES.items() if share in shares)


@dataclasses.dataclass(frozen=True)
class Question:
    """A programming question with its tests.

    Attributes:
        uid: index in its split.
        text: what the team reads.
        answer: executable tests.
        recipe: the function that is asked for.
    """

    uid: int
    text: str
    answer: str
    recipe: Recipe
    entry_point: ClassVar[str] = "f"
    rules: ClassVar[Rules] = EXACT

    @property
    def id(self) -> str:
        """A name that no question of another task has."""
        return f"programs/{self.uid}"


@dataclasses.dataclass(frozen=True)
class Carelessness:
    """How often a demonstration goes wrong, each a probability.

    Attributes:
        misread: take a step for its opposite, each step by itself.
        early: forget to keep only some.
        slip: take a number for its neighbour.
        unclosed: leave the program without its last bracket.
    """

    misread: float = 0.3
    early: float = 0.1
    slip: float = 0.05
    unclosed: float = 0.04


class Programs:
    """One split as a random-access sequence; item i is a function of (split, i)."""

    def __init__(self, split: str):
        if split not in SPLITS:
            raise ValueError(f"split={split!r} is not one of {sorted(SPLITS)}.")
        self.split = split

    def __len__(self) -> int:
        return SPLITS[self.split]

    def __getitem__(self, index: int) -> Question:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.split} has {len(self)} questions, not {index}.")
        rng = random.Random(f"programs/{self.split}/{index}")
        recipe = _recipe(rng)
        while recipe.split() != self.split:
            recipe = _recipe(rng)
        return Question(index, _told(recipe, rng), _tests(recipe, rng), recipe)


def demonstrate(
    question: Question, rng: random.Random, careless: Carelessness
) -> Demonstration:
    """How a careless team answers a training question: a plan, and a program of it.

    Every recipe it writes belongs to the training split as well; where carelessness
    would lead out of it, the question is read again.
    """
    # Read until the recipe is one of the training split.
    for _ in range(20):
        read = as_number(question.recipe, rng, careless)
        if read.split() == "train":
            break
    else:
        read = question.recipe

    # Programmed, with slips that stay in the split.
    recipe = read
    if rng.random() < careless.early:
        recipe = dataclasses.replace(read, keep=("all", 0))
    if rng.random() < careless.slip:
        name, number = recipe.change
        step = 1 if number < NUMBERS[-1] else -1
        recipe = dataclasses.replace(recipe, change=(name, number + step))
    words = (recipe if recipe.split() == "train" else read).program()
    if rng.random() < careless.unclosed:
        words = words.removesuffix(" )")
    return Demonstration(plan=read.plan(), answer=words)


def vocabulary() -> list[str]:
    """Every word that a question or its demonstration may hold, numbers first."""
    steps = [*KEEP.values(), *CHANGE.values(), *MAKE.values()]
    phrases = [text for step in steps for text in (step.told, step.plan, step.code)]
    phrases += [*_ASIDES, "f = lambda xs : ( x for x in xs ) ."]
    words = {word for phrase in phrases for word in phrase.split()} - {"{}"}
    digits = [str(n) for n in range(10)]
    return digits + sorted(words - {*digits})


def _recipe(rng: random.Random) -> Recipe:
    return Recipe(
        keep=(rng.choice([*KEEP]), rng.choice(NUMBERS)),
        change=(rng.choice([*CHANGE]), rng.choice(NUMBERS)),
        make=rng.choice([*MAKE]),
    )


def _told(recipe: Recipe, rng: random.Random) -> str:
    """A recipe as a question: one sentence a step."""
    sentences = recipe.words("told")
    if rng.random() < 0.5:
        aside = rng.choice(_ASIDES).format(rng.choice(NUMBERS))
        sentences.insert(rng.randrange(3), aside)
    return " . ".join([*sentences, ""]).strip()


def _tests(recipe: Recipe, rng: random.Random) -> str:
    """Assertions on lists of which the recipe keeps something."""
    lists = (rng.sample(range(20), 6) for _ in itertools.count())
    kept = dataclasses.replace(recipe, make="list")
    chosen = itertools.islice((numbers for numbers in lists if kept(numbers)), _LISTS)
    return "\n".join(f"assert f({numbers}) == {recipe(numbers)}" for numbers in chosen)


def as_number(recipe: Recipe, rng: random.Random, careless: Carelessness) -> Recipe:
    """The recipe that a careless reader takes from a question."""

    def maybe(steps, name):
        return steps[name].opposite if rng.random() < careless.misread else name

    return Recipe(
        keep=(maybe(KEEP, recipe.keep[0]), recipe.keep[1]),
        change=(maybe(CHANGE, recipe.change[0]), recipe.change[1]),
        make=recipe.make,
    )
