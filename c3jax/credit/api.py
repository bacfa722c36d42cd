"""The table of estimators: one name, one pure function, what it needs.

An estimator maps `Evidence` to one advantage [B, N, K] a role. A config names it; what
it cannot be computed from is refused here, before any device is touched.
"""

import dataclasses
import functools
import inspect
import itertools
import math
import typing
from collections.abc import Callable, Collection, Mapping

from c3jax.core import config as checks
from c3jax.credit import baselines, critic, dyad, removal, shrunk

Spans = tuple[tuple[int, ...], ...]


def _nothing(spans: Spans) -> tuple:
    """What most estimators remember."""
    return ()


@dataclasses.dataclass(frozen=True)
class Estimator:
    """One way to assign credit.

    Attributes:
        fn: (evidence, memory, **options) -> (advantages, memory).
        plan: the trees it is defined on, a key of `PLANS`.
        needs: fields of `Evidence` that it reads beside the rewards.
        team: the teams it is defined on, a key of `TEAMS`.
        memory: makes what it remembers before the first step, given the team's spans.
        per_question: whether the credit of a question depends on no other, so that it
            can be had before the others are scored; then it remembers nothing.
    """

    fn: Callable
    plan: str
    needs: tuple[str, ...] = ()
    team: str = "any"
    memory: Callable[[Spans], object] = _nothing
    per_question: bool = True

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """What may be chosen, with defaults: the keyword-only parameters of `fn`."""
        found = inspect.signature(self.fn).parameters.values()
        return {p.name: p for p in found if p.kind is p.KEYWORD_ONLY}


def _memoryless(fn):
    @functools.wraps(fn)
    def call(evidence, memory, **options):
        return fn(evidence, **options), memory

    return call


ESTIMATORS = {
    "c3": Estimator(_memoryless(baselines.c3), "siblings"),
    "c3_comb": Estimator(_memoryless(baselines.c3_comb), "comb", needs=("teeth",)),
    "c3_full_mean": Estimator(_memoryless(baselines.c3_full_mean), "siblings"),
    "c3_no_replay": Estimator(_memoryless(baselines.c3_no_replay), "episodes"),
    "c3_shrunk": Estimator(
        shrunk.c3_shrunk, "tree", memory=shrunk.no_moments, per_question=False
    ),
    "c3_value_assisted": Estimator(
        _memoryless(baselines.c3_value_assisted), "siblings", needs=("q",)
    ),
    "c3_value_only": Estimator(
        _memoryless(baselines.c3_value_only), "siblings", needs=("q",)
    ),
    "magrpo": Estimator(_memoryless(baselines.magrpo), "episodes"),
    "rloo": Estimator(_memoryless(baselines.rloo), "episodes"),
    "mappo": Estimator(
        _memoryless(critic.mappo), "episodes", needs=("value",), per_question=False
    ),
    "agent_removal": Estimator(
        _memoryless(removal.agent_removal), "episodes", needs=("without",)
    ),
    "ccpo_v1": Estimator(
        dyad.ccpo_v1,
        "episodes",
        needs=("solo",),
        team="dyad",
        memory=lambda spans: dyad.no_history(),
        per_question=False,
    ),
    "ccpo": Estimator(
        _memoryless(dyad.ccpo),
        "episodes",
        needs=("solo",),
        team="dyad",
        per_question=False,
    ),
    "ccpo_vote": Estimator(
        _memoryless(removal.ccpo_vote),
        "votes",
        needs=("ballots", "correct"),
        team="vote",
    ),
    "sepo": Estimator(
        _memoryless(dyad.sepo), "episodes", needs=("ratings",), team="dyad"
    ),
}

# What each kind of estimator compares, for messages.
PLANS = {
    "siblings": "compares siblings",
    "comb": "compares alternatives along one episode",
    "tree": "compares messages of one question",
    "episodes": "compares independent episodes",
    "votes": "combines the alternatives of voters",
}

# In place of a branching: the one with the least noise for its cost.
AUTO = "auto"

TEAMS = {
    "any": "any team",
    "dyad": "one role that reads nothing and one that reads it",
    "vote": "two or more roles that read nothing and a last one that reads them all",
}


def options() -> dict[str, type]:
    """The options of all estimators, each with the type of its values.

    What two of them call by one name has one type.
    """
    every = (each.options.items() for each in ESTIMATORS.values())
    found = dict(itertools.chain.from_iterable(every))
    return {name: type(found[name].default) for name in sorted(found)}


def configured(name: str, given: Mapping[str, object]) -> Estimator:
    """An estimator with its options bound.

    Args:
        name: a key of `ESTIMATORS`.
        given: options by name; None leaves one at its default.

    Raises:
        ValueError: no such estimator, an option it does not have, or a value that the
            option cannot have.
    """
    estimator = checks.pick(ESTIMATORS, name, "credit.name")
    options = estimator.options
    chosen = {key: value for key, value in given.items() if value is not None}
    for key, value in chosen.items():
        if key not in options:
            raise ValueError(
                f"credit.{key}={value!r} is read by nobody: the options of "
                f"credit.name={name!r} are {sorted(options)}; leave it out, or None."
            )
        _check_option(options[key], value)
    return dataclasses.replace(estimator, fn=functools.partial(estimator.fn, **chosen))


def _check_option(option: inspect.Parameter, value) -> None:
    """Refuses what is not of the kind of an option's default."""
    field = f"credit.{option.name}"
    if choices := typing.get_args(option.annotation):
        wanted = f"one of {list(choices)}"
        checks.require(value in choices, field, value, wanted)
    elif isinstance(option.default, bool):
        checks.require(isinstance(value, bool), field, value, "True or False")
    else:
        whole = isinstance(option.default, int)
        kinds = (int,) if whole else (int, float)
        fits = isinstance(value, kinds) and not isinstance(value, bool)
        wanted = "a whole number, 0 or more" if whole else "a number, 0 or more"
        checks.require(fits and 0 <= value < math.inf, field, value, wanted)


def check(name: str, spans: Spans, gathered: Collection[str] = ()) -> None:
    """Refuses a team that an estimator is not defined on.

    Args:
        name: a key of `ESTIMATORS`.
        spans: per role, the indices of its ancestors.
        gathered: fields of `Evidence` that the caller supplies beside the rewards.

    Raises:
        ValueError: the team has another shape, its episodes are not independent, or
            the estimator needs evidence that nobody gathers.
    """
    estimator = ESTIMATORS[name]
    fits = {
        "any": True,
        "dyad": spans == ((), (0,)),
        "vote": len(spans) > 2
        and not any(spans[:-1])
        and spans[-1] == tuple(range(len(spans) - 1)),
    }[estimator.team]
    if not fits:
        raise ValueError(
            f"credit.name={name!r} is defined for {TEAMS[estimator.team]}; here each "
            f"of {len(spans)} roles depends on {[list(span) for span in spans]}."
        )
    apart = [level for level, span in enumerate(spans) if level and 0 not in span]
    if estimator.plan == "episodes" and apart:
        raise ValueError(
            f"credit.name={name!r} compares independent episodes, which branch at the "
            f"first role; roles {apart} do not read it, so all episodes of a question "
            "would share one message of theirs. Take an estimator of trees, say 'c3'."
        )
    if missing := sorted(set(estimator.needs) - set(gathered)):
        raise ValueError(
            f"credit.name={name!r} is computed from {missing}, which a run does not "
            f"gather; {checks.suggest(name, _computable(gathered))}"
        )


def _computable(gathered) -> list[str]:
    return [n for n, e in ESTIMATORS.items() if set(e.needs) <= set(gathered)]


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
    (8, 1), all sharing the question. In a comb every decision has a share of it, (2, 4)
    with two continuations, since nothing follows the last one. Where the last role only
    counts votes, the others share the budget, and it has one alternative.

    Args:
        name: a key of `ESTIMATORS`.
        levels: number of roles.
        budget: answers scored per question.
        given: what the config asks for.
        counts: whether the last role only counts votes.
        continuations: of each alternative in a comb; see `continuations`.

    Raises:
        ValueError: the branching does not fit the team, the budget or the estimator.
    """
    plan = ESTIMATORS[name].plan
    if budget < 2:
        raise ValueError(
            f"protocol.budget={budget}: credit compares answers to one question, so at "
            "least 2 are needed."
        )
    if given == AUTO:
        _check_auto(name, counts)
        given = None
    if not isinstance(given, tuple | None):
        raise ValueError(
            f"protocol.branching={given!r}: it must be alternatives per role, say "
            f"{_default(plan, levels, budget, continuations)}, {AUTO!r}, or None."
        )
    if counts and plan == "comb":
        raise ValueError(
            f"credit.name={name!r} goes on from each alternative, but where the last "
            "role counts, ballots are combined without another answer; take 'c3' or "
            "'ccpo_vote', or a team whose last role answers."
        )
    if counts and plan != "votes":
        if given is not None and given[-1:] != (1,):
            raise ValueError(
                f"protocol.branching={given}: the last entry, of who counts, must be 1."
            )
        writers = None if given is None else given[:-1]
        return (*branching(name, levels - 1, budget, writers), 1)
    if given is None:
        return _default(plan, levels, budget, continuations)
    if len(given) != levels:
        raise ValueError(
            f"protocol.branching={given} has {len(given)} entries for {levels} roles."
        )
    if any(not isinstance(k, int) or k < 1 for k in given):
        raise ValueError(
            f"protocol.branching={given}: every entry must be a positive integer."
        )
    wrong = {
        "siblings": min(given) < 2 and "every entry must be 2 or more",
        "comb": min(given) < 2 and "every entry must be 2 or more",
        "tree": given[0] < 2 and "the first entry must be 2 or more",
        "episodes": any(k > 1 for k in given[1:])
        and "every entry but the first must be 1",
        "votes": given[-1] != 1 and "the last entry, of who counts, must be 1",
    }[plan]
    if wrong:
        raise ValueError(
            f"protocol.branching={given}: credit.name={name!r} {PLANS[plan]}, so "
            f"{wrong}. Try {_default(plan, levels, budget, continuations)} for "
            f"protocol.budget={budget}."
        )
    if plan == "comb":
        scored = sum(given[:-1]) * continuations + given[-1]
        so = f" with protocol.continuations={continuations}"
    else:
        scored, so = math.prod(given), ""
    if scored != budget:
        raise ValueError(
            f"protocol.branching={given}{so} scores {scored} answers a question, but "
            f"protocol.budget={budget}; make the two agree."
        )
    return tuple(given)


def continuations(name: str, given: int | None) -> int:
    """How often each alternative is continued under an estimator; 0 if not in a comb.

    Args:
        name: a key of `ESTIMATORS`.
        given: what the config asks for; None for 2.

    Raises:
        ValueError: less than 1, or nobody reads it.
    """
    if ESTIMATORS[name].plan == "comb":
        found = 2 if given is None else given
        checks.require(found >= 1, "protocol.continuations", found, "1 or more")
        return found
    if given is not None:
        combs = [n for n, e in ESTIMATORS.items() if e.plan == "comb"]
        raise ValueError(
            f"protocol.continuations={given} is read by nobody: credit.name={name!r} "
            f"is not of a comb, as {combs} are; leave it at None."
        )
    return 0


def _check_auto(name: str, counts: bool) -> None:
    """Refuses to choose trees where one shape alone will do, or answers are votes."""
    plan = ESTIMATORS[name].plan
    if counts:
        raise ValueError(
            f"protocol.branching={AUTO!r} weighs alternatives by the answers that are "
            "scored, but a team that votes has each ballot scored once and counted in "
            "every combination; say how many alternatives each voter has, or None."
        )
    if plan not in ("siblings", "tree"):
        raise ValueError(
            f"protocol.branching={AUTO!r}: credit.name={name!r} {PLANS[plan]}, so "
            "there is nothing to choose; leave it at None, or take an estimator of "
            "trees, say 'c3_shrunk'."
        )


def _default(plan, levels, budget, continuations) -> tuple[int, ...]:
    if plan == "comb":
        return default_comb(levels, budget, continuations)
    if plan == "episodes":
        return (budget,) + (1,) * (levels - 1)
    if plan == "votes":
        return (*default_branching(levels - 1, budget), 1)
    return default_branching(levels, budget)


def default_comb(levels: int, budget: int, continuations: int) -> tuple[int, ...]:
    """The alternatives of a comb's decisions, with the most even shares of the budget.

    (2, 4) for two roles, eight answers and two continuations.

    Raises:
        ValueError: the budget does not reach for two alternatives each.
    """
    each = [continuations] * (levels - 1) + [1]
    sizes, left = [2] * levels, budget - 2 * sum(each)
    if left < 0:
        least = 2 * levels
        fewer = f", or protocol.continuations=1 with {least} or more"
        raise ValueError(
            f"protocol.budget={budget} cannot give {levels} roles two or more "
            f"alternatives each, with protocol.continuations={continuations} but for "
            f"the last role's; try {budget - left}{fewer if continuations > 1 else ''}."
        )
    while left:
        fits = [level for level in range(levels) if each[level] <= left]
        least = min(fits, key=lambda level: sizes[level] * each[level])
        sizes[least] += 1
        left -= each[least]
    return tuple(sizes)


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
