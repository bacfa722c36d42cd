"""Role ablation: the team's accuracy without each of its roles.

A role without which the others do as well is a free rider.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from c3jax.collect import evaluate, scorers
from c3jax.core import checks, stats
from c3jax.core.ledger import Spent
from c3jax.core.stats import Interval
from c3jax.setup import experiment


class RoleAblation(NamedTuple):
    """The team with a role and without it.

    Attributes:
        role: the role that is left out.
        how: "empty", its message is empty, or "removed", no prompt mentions it.
        accuracy: the team's accuracy with the role.
        without: the team's accuracy without it.
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


def ablation(
    role: str, how: str, solved: np.ndarray, without: np.ndarray
) -> RoleAblation:
    """The figures of one role.

    With p_q how often a question is solved and s_q how often without the role, it helps
    in p_q (1 - s_q) of the pairs of an episode with it and one without, and hurts in
    (1 - p_q) s_q. Both include luck: for a role that changes nothing each is
    p_q (1 - p_q). The role's contribution is the difference, helps - hurts =
    accuracy - without.

    Args:
        role, how: see `RoleAblation`.
        solved: [questions, episodes] bool, with the role, 2 episodes or more.
        without: the same without it. Two episodes of one place may have been drawn
            alike, so they are no pair.

    Returns:
        Intervals over questions.
    """
    helps, hurts = _pairs(solved, ~without), _pairs(~solved, without)
    figures = (solved.mean(1), without.mean(1), helps, hurts, helps + hurts)
    intervals = (stats.accuracy(rates, solved.shape[1]) for rates in figures)
    return RoleAblation(role, how, *intervals)


def _pairs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[questions], how many of the pairs of different episodes are true in both."""
    count = one.shape[1]
    both = one.sum(1) * other.sum(1) - (one & other).sum(1)
    return both / (count * (count - 1))


def measure(
    setup: experiment.Setup,
    params: dict,
    scorer: scorers.Scorer,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[list[RoleAblation], dict[str, str], Spent]:
    """The figures of every role that does not answer, on the test questions.

    Args:
        setup: the run; section `evaluate` has the numbers of questions and episodes.
        params: parameters of each policy, by name.
        stop: as for `continuous.sample`.

    Returns:
        The figures; by role, why there is no team without it; and the cost.

    Raises:
        ValueError: `evaluate.samples` is 1, so episodes cannot be paired.
    """
    samples = setup.config.evaluate.samples
    checks.require(samples > 1, "evaluate.samples", samples, "2 or more")
    ablations, refused = [], {}
    together = evaluate.sampled(params, setup, scorer, stop=stop)
    solved, spent = together.solved, together.spent
    for level, role in enumerate(setup.team.protocol.roles):
        if role.answers:
            continue
        # Its message is empty, and the others read that.
        empty = evaluate.sampled(params, setup, scorer, (level,), stop)
        spent += empty.spent
        ablations.append(ablation(role.name, "empty", solved, empty.solved))
        # No prompt mentions it, if the others are a team.
        try:
            others = without(setup, role.name)
        except ValueError as error:
            refused[role.name] = str(error)
            continue
        removed = evaluate.sampled(params, others, scorer, stop=stop)
        spent += removed.spent
        ablations.append(ablation(role.name, "removed", solved, removed.solved))
    return ablations, refused, spent


def without(setup: experiment.Setup, name: str) -> experiment.Setup:
    """The run with one role removed from the team and from every prompt.

    Args:
        setup: the run with all roles.
        name: the role to remove.

    Raises:
        ValueError: the other roles are no team.
    """
    # The team without it; roles that read it read nothing in its place.
    config = setup.config.copy_and_resolve_references()
    fields = config.teams[config.protocol.name].to_dict()
    del fields[name]
    for field in fields.values():
        field["depends_on"] = [n for n in field["depends_on"] if n != name]
    left = {field.get("agent") or other for other, field in fields.items()}

    # The smaller team is only sampled; its training settings must merely be valid.
    with config.unlocked(), config.ignore_type():
        config.teams = {config.protocol.name: fields}
        config.credit.update({**dict.fromkeys(config.credit), "name": "c3"})
        config.protocol.update(
            branching=None, continuations=None, budget=2 ** len(fields)
        )
        config.policies = {n: p for n, p in config.policies.items() if n in left}
        config.train.frozen = [n for n in config.train.frozen if n in left]
        config.train.zero_advantage, config.train.whiten = "keep", False
        config.warm_start.update(steps=0, demonstrations="")
    return experiment.resolve(config, list(setup.mesh.devices.flat))
