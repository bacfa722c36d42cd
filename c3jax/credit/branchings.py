"""How many alternatives each role gets: those of the config, or a fair default."""

import math

from c3jax.core import checks
from c3jax.credit import api

# A value of `protocol.branching`: the run chooses the least noise for the cost.
AUTO = "auto"


def branching(
    name: str,
    levels: int,
    budget: int,
    given: tuple[int, ...] | str | None,
    counts: bool = False,
    continuations: int = 1,
) -> tuple[int, ...]:
    """Alternatives per role under an estimator; `given` None resolves to its default.

    So does `AUTO`, for the first steps: the default tree shows where rewards vary.

    A method that compares siblings spreads the budget over the levels, (4, 2) for two
    roles and eight answers. A method that compares episodes runs `budget` of them,
    (8, 1), all sharing the question. In a vine every decision has a share of it, (2, 4)
    with two continuations, since nothing follows the last one. If the last role only
    counts votes, the others share the budget, and it has one alternative.

    Args:
        name: see `api.find`.
        levels: number of roles.
        budget: answers scored per question.
        given: `protocol.branching` of the config.
        counts: whether the last role only counts votes.
        continuations: answers to each alternative in a vine; see `continuations`.

    Raises:
        ValueError: the branching does not fit the team, the budget or the estimator.
    """
    plan = api.find(name).plan
    if budget < 2:
        raise ValueError(
            f"protocol.budget={budget}: credit compares answers to one question, so at "
            "least 2 are needed."
        )

    # A run that chooses its branching starts with the default.
    if given == AUTO:
        _check_auto(name, counts)
        given = None
    if not isinstance(given, tuple | None):
        raise ValueError(
            f"protocol.branching={given!r}: it must be alternatives per role, say "
            f"{_default(plan, levels, budget, continuations)}, {AUTO!r}, or None."
        )

    # A role that counts votes has one alternative; the others share the budget.
    if counts and plan == "vine":
        raise ValueError(
            f"credit.name={name!r} goes on from each alternative, but where the last "
            "role counts, ballots are combined without another answer; take 'c3' or "
            "'ccpo_vote', or a team whose last role answers."
        )
    if counts and plan != "votes":
        if given is not None and given[-1:] != (1,):
            raise ValueError(
                f"protocol.branching={given}: the last entry, for the role that "
                "counts, must be 1."
            )
        writers = None if given is None else given[:-1]
        return (*branching(name, levels - 1, budget, writers), 1)

    if given is None:
        return _default(plan, levels, budget, continuations)
    _check(name, levels, budget, given, continuations)
    return tuple(given)


def continuations(name: str, given: int | None) -> int:
    """How often each alternative of a vine is continued; 0 for other estimators.

    Args:
        name: see `api.find`.
        given: `protocol.continuations` of the config; None for 2.

    Raises:
        ValueError: less than 1, or the estimator does not read it.
    """
    if api.find(name).plan == "vine":
        count = 2 if given is None else given
        checks.require(count >= 1, "protocol.continuations", count, "1 or more")
        return count
    if given is not None:
        vines = [n for n, e in api.ESTIMATORS.items() if e.plan == "vine"]
        raise ValueError(
            f"protocol.continuations={given} is read by nobody: credit.name={name!r} "
            f"samples no vine, as {vines} do; leave it at None."
        )
    return 0


def _check(
    name: str, levels: int, budget: int, given: tuple[int, ...], continuations: int
) -> None:
    """Refuses a branching that does not fit the team, the estimator or the budget."""
    plan = api.find(name).plan
    if len(given) != levels:
        raise ValueError(
            f"protocol.branching={given} has {len(given)} entries for {levels} roles."
        )
    if any(not isinstance(k, int) or k < 1 for k in given):
        raise ValueError(
            f"protocol.branching={given}: every entry must be a positive integer."
        )

    # The entries that the estimator can compare.
    wrong = {
        "siblings": min(given) < 2 and "every entry must be 2 or more",
        "vine": min(given) < 2 and "every entry must be 2 or more",
        "tree": given[0] < 2 and "the first entry must be 2 or more",
        "episodes": any(k > 1 for k in given[1:])
        and "every entry but the first must be 1",
        "votes": given[-1] != 1
        and "the last entry, for the role that counts, must be 1",
    }[plan]
    if wrong:
        raise ValueError(
            f"protocol.branching={given}: credit.name={name!r} {api.PLANS[plan]}, so "
            f"{wrong}. Try {_default(plan, levels, budget, continuations)} for "
            f"protocol.budget={budget}."
        )

    # The answers that are scored.
    if plan == "vine":
        scored = sum(given[:-1]) * continuations + given[-1]
        so = f" with protocol.continuations={continuations}"
    else:
        scored, so = math.prod(given), ""
    if scored != budget:
        raise ValueError(
            f"protocol.branching={given}{so} scores {scored} answers a question, but "
            f"protocol.budget={budget}; make the two agree."
        )


def _check_auto(name: str, counts: bool) -> None:
    """Refuses `AUTO` for estimators of one tree shape, and for teams that vote."""
    plan = api.find(name).plan
    if counts:
        raise ValueError(
            f"protocol.branching={AUTO!r} weighs alternatives by the answers that are "
            "scored, but a team that votes has each ballot scored once and counted in "
            "every combination; say how many alternatives each voter has, or None."
        )
    if plan not in ("siblings", "tree"):
        raise ValueError(
            f"protocol.branching={AUTO!r}: credit.name={name!r} {api.PLANS[plan]}, so "
            "there is nothing to choose; leave it at None, or take an estimator of "
            "trees, say 'c3_shrunk'."
        )


def _default(plan, levels, budget, continuations) -> tuple[int, ...]:
    """The alternatives per role that a config gets that names none."""
    if plan == "vine":
        return default_vine(levels, budget, continuations)
    if plan == "episodes":
        return (budget,) + (1,) * (levels - 1)
    if plan == "votes":
        return (*default_branching(levels - 1, budget), 1)
    return default_branching(levels, budget)


def default_vine(levels: int, budget: int, continuations: int) -> tuple[int, ...]:
    """The alternatives of a vine's decisions, with the most even shares of the budget.

    (2, 4) for two roles, eight answers and two continuations.

    Raises:
        ValueError: the budget does not reach for two alternatives each.
    """
    # Answers that one more alternative costs at each decision.
    price = [continuations] * (levels - 1) + [1]
    sizes, left = [2] * levels, budget - 2 * sum(price)
    if left < 0:
        least = 2 * levels
        fewer = f", or protocol.continuations=1 with {least} or more"
        raise ValueError(
            f"protocol.budget={budget} cannot give {levels} roles two or more "
            f"alternatives each, with protocol.continuations={continuations} but for "
            f"the last role's; try {budget - left}{fewer if continuations > 1 else ''}."
        )

    # What is left goes to the decision with the smallest share.
    while left:
        fits = [level for level in range(levels) if price[level] <= left]
        least = min(fits, key=lambda level: sizes[level] * price[level])
        sizes[least] += 1
        left -= price[least]
    return tuple(sizes)


def default_branching(levels: int, budget: int) -> tuple[int, ...]:
    """The most even branching of a tree, larger factors nearer the root.

    (4, 2) for two roles and eight leaves; (2, 2, 2) for three.

    Raises:
        ValueError: the budget has too few prime factors to give every level two.
    """
    # The prime factors of the budget, smallest first.
    factors, rest, prime = [], budget, 2
    while rest > 1:
        while rest % prime == 0:
            factors.append(prime)
            rest //= prime
        prime += 1

    # Largest factors first, each to the level with the fewest alternatives.
    sizes = [1] * levels
    for factor in sorted(factors, reverse=True):
        sizes[sizes.index(min(sizes))] *= factor
    if min(sizes) < 2:
        raise ValueError(
            f"protocol.budget={budget} cannot give {levels} roles two or more "
            f"alternatives each; try {2**levels}."
        )
    return tuple(sorted(sizes, reverse=True))
