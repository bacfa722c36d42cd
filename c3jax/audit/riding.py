"""Who earns their place: how the team does without each of its roles.

A role that the others would do as well without is a free rider, whatever it is told.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from c3jax.core import config as checks
from c3jax.core import stats
from c3jax.core.stats import Interval
from c3jax.train import evaluate, scoring
from c3jax.train import setup as setups
from c3jax.train.ledger import Spent


class Riding(NamedTuple):
    """The team with a role and without it.

    Attributes:
        role: who.
        how: "empty", its message says nothing, or "removed", nobody knows of it.
        accuracy: of the team with the role.
        without: of the team without it.
        helps: how often the team solves a question that it would not without.
        hurts: how often it fails where it would not without.
        pivotal: how often the role makes a difference, one or the other.
    """

    role: str
    how: str
    accuracy: Interval
    without: Interval
    helps: Interval
    hurts: Interval
    pivotal: Interval


def riding(role: str, how: str, solved: np.ndarray, without: np.ndarray) -> Riding:
    """The figures of one role.

    With p_q how often a question is solved and s_q how often without the role, it helps
    in p_q (1 - s_q) of the pairs of an episode with it and one without, and hurts in
    (1 - p_q) s_q. Both hold luck as well: of a role that changes nothing either is
    p_q (1 - p_q), and they are equal. What it adds is the difference, helps - hurts =
    accuracy - without.

    Args:
        role, how: see `Riding`.
        solved: [questions, episodes] bool, with the role, 2 episodes or more.
        without: the same without it. Two episodes of one place may have been drawn
            alike, so they are no pair.

    Returns:
        Intervals over questions.
    """
    helps, hurts = _pairs(solved, ~without), _pairs(~solved, without)
    each = (solved.mean(1), without.mean(1), helps, hurts, helps + hurts)
    return Riding(role, how, *map(stats.bootstrap, each))


def _pairs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[questions], how many of the pairs of different episodes are true in both."""
    count = one.shape[1]
    both = one.sum(1) * other.sum(1) - (one & other).sum(1)
    return both / (count * (count - 1))


def measure(
    setup: setups.Setup,
    params: dict,
    scorer: scoring.Scorer,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[list[Riding], dict[str, str], Spent]:
    """The figures of every role that does not answer, on the test questions.

    Args:
        setup: of the run; `evaluate` says on how many questions and episodes.
        params: the policies.
        scorer: of the run.
        stop: as of `desks.grow`.

    Returns:
        The figures; by role, why there is no team without it; and what it took.

    Raises:
        ValueError: `evaluate.samples` is 1, so episodes cannot be paired.
    """
    samples = setup.config.evaluate.samples
    checks.require(samples > 1, "evaluate.samples", samples, "2 or more")
    found, refused = [], {}
    together = evaluate.sampled(params, setup, scorer, stop=stop)
    solved, spent = together.solved, together.spent
    for level, role in enumerate(setup.team.protocol.roles):
        if role.answers:
            continue
        empty = evaluate.sampled(params, setup, scorer, (level,), stop)
        spent += empty.spent
        found.append(riding(role.name, "empty", solved, empty.solved))
        try:
            others = without(setup, role.name)
        except ValueError as error:
            refused[role.name] = str(error)
            continue
        removed = evaluate.sampled(params, others, scorer, stop=stop)
        spent += removed.spent
        found.append(riding(role.name, "removed", solved, removed.solved))
    return found, refused, spent


def without(setup: setups.Setup, name: str) -> setups.Setup:
    """The run of a team that has never heard of one of its roles.

    Args:
        setup: of the run.
        name: of the role.

    Raises:
        ValueError: that is no team.
    """
    config = setup.config.copy_and_resolve_references()
    fields = config.teams[config.protocol.name].to_dict()
    del fields[name]
    for field in fields.values():
        field["depends_on"] = [n for n in field["depends_on"] if n != name]
    left = {field.get("agent") or other for other, field in fields.items()}
    with config.unlocked(), config.ignore_type():
        config.teams = {config.protocol.name: fields}
        # How it would train is of no concern here, only that it could.
        config.credit.update({**dict.fromkeys(config.credit), "name": "c3"})
        config.protocol.update(
            branching=None, continuations=None, budget=2 ** len(fields)
        )
        config.policies = {n: p for n, p in config.policies.items() if n in left}
        config.train.frozen = [n for n in config.train.frozen if n in left]
        config.train.flat, config.train.whiten = "keep", False
        config.warm_start.update(steps=0, demonstrations="")
    return setups.resolve(config, list(setup.mesh.devices.flat))
