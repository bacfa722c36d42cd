"""The table of estimators: one name, one pure function, what it needs.

An estimator maps `Evidence` to one advantage [B, N, K] a role. A config names it; what
it cannot be computed from is refused here, before any device is touched.
"""

import dataclasses
import math
from collections.abc import Callable

from c3jax.credit import baselines


@dataclasses.dataclass(frozen=True)
class Estimator:
    """One way to assign credit.

    Attributes:
        fn: (evidence, memory, *, std) -> (advantages, memory).
        siblings: whether it compares siblings of one context at every level, so that
            every role needs two alternatives; otherwise it compares whole episodes.
        memory: makes what it remembers between steps; () for most.
        per_question: whether the credit of a question depends on no other, so that it
            can be had before the others are scored; then it remembers nothing.
    """

    fn: Callable
    siblings: bool
    memory: Callable[[], object] = tuple
    per_question: bool = True


def _memoryless(fn):
    def call(evidence, memory, *, std=False):
        return fn(evidence, std=std), memory

    call.__doc__ = fn.__doc__
    return call


ESTIMATORS = {
    "c3": Estimator(_memoryless(baselines.c3), siblings=True),
    "c3_full_mean": Estimator(_memoryless(baselines.c3_full_mean), siblings=True),
    "magrpo": Estimator(_memoryless(baselines.magrpo), siblings=False),
    "rloo": Estimator(_memoryless(baselines.rloo), siblings=False),
}


def branching(
    name: str, levels: int, budget: int, given: tuple[int, ...] | None
) -> tuple[int, ...]:
    """Alternatives per role under an estimator; `given` None resolves to its default.

    A method that compares siblings spreads the budget over the levels, (4, 2) for two
    roles and eight answers. A method that compares episodes runs `budget` of them,
    (8, 1), all sharing the question.

    Args:
        name: a key of `ESTIMATORS`.
        levels: number of roles.
        budget: answers scored per question.
        given: what the config asks for.

    Raises:
        ValueError: the branching does not fit the team, the budget or the estimator.
    """
    estimator = ESTIMATORS[name]
    if budget < 2:
        raise ValueError(
            f"protocol.budget={budget}: credit compares answers to one question, so at "
            "least 2 are needed."
        )
    episodes = (budget,) + (1,) * (levels - 1)
    if given is None:
        if not estimator.siblings:
            return episodes
        return default_branching(levels, budget)
    if len(given) != levels:
        raise ValueError(
            f"protocol.branching={given} has {len(given)} entries for {levels} roles."
        )
    if any(not isinstance(k, int) or k < 1 for k in given):
        raise ValueError(
            f"protocol.branching={given}: every entry must be a positive integer."
        )
    if estimator.siblings and min(given) < 2:
        raise ValueError(
            f"protocol.branching={given}: credit.name={name!r} compares siblings, so "
            "every entry must be 2 or more. "
            f"Try {default_branching(levels, budget)}."
        )
    if not estimator.siblings and given != episodes:
        raise ValueError(
            f"protocol.branching={given}: credit.name={name!r} compares independent "
            f"episodes, which is {episodes} for protocol.budget={budget}."
        )
    if math.prod(given) != budget:
        raise ValueError(
            f"protocol.branching={given} scores {math.prod(given)} answers a question, "
            f"but protocol.budget={budget}; make the two agree."
        )
    return tuple(given)


def default_branching(levels: int, budget: int) -> tuple[int, ...]:
    """The most even branching of a tree, larger factors nearer the root.

    (4, 2) for two roles and eight leaves; (2, 2, 2) for three.

    Raises:
        ValueError: the budget has too few prime factors to give every level two.
    """
    factors, rest, prime = [], budget, 2
    while rest > 1:
        while rest % prime == 0:
            factors.append(prime)
            rest //= prime
        prime += 1
    sizes = [1] * levels
    for factor in sorted(factors, reverse=True):
        sizes[sizes.index(min(sizes))] *= factor
    if min(sizes) < 2:
        raise ValueError(
            f"protocol.budget={budget} cannot give {levels} roles two or more "
            f"alternatives each; try {2**levels}."
        )
    return tuple(sorted(sizes, reverse=True))
