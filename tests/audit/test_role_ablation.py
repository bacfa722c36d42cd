"""Free riding: figures worked by hand, and teams that have never heard of a role."""

import numpy as np
import pytest

from c3jax.audit import role_ablation
from tests import support


def test_figures_worked_by_hand():
    solved = np.array([[1, 1, 0, 0], [1, 1, 1, 1]], bool)
    without = np.array([[1, 0, 0, 0], [0, 0, 0, 0]], bool)
    found = role_ablation.ablation("reasoner", "empty", solved, without)
    assert (found.accuracy.mean, found.without.mean) == (0.75, 0.125)
    # Of the 12 pairs of different episodes on the first question, the team solves it
    # alone in 1 x 3 + 1 x 2, and fails alone in 2.
    assert np.isclose(found.helps.mean, (5 / 12 + 1) / 2)
    assert np.isclose(found.hurts.mean, (2 / 12 + 0) / 2)
    assert np.isclose(found.pivotal.mean, found.helps.mean + found.hurts.mean)


def test_they_are_unbiased_though_episodes_of_one_place_are_drawn_alike():
    rng = np.random.default_rng(0)
    draws = rng.random((20_000, 3))
    found = role_ablation.ablation("a", "removed", draws < 0.7, draws < 0.4)
    assert abs(found.helps.mean - 0.7 * 0.6) < 0.01
    assert abs(found.hurts.mean - 0.3 * 0.4) < 0.01


def test_a_team_without_a_role_has_never_heard_of_it():
    trio = support.math_setup(protocol__name="trio")
    assert [r.name for r in trio.team.protocol.roles] == [
        "reasoner",
        "actor",
        "verifier",
    ]
    left = role_ablation.without(trio, "reasoner").team
    assert [role.depends_on for role in left.protocol.roles] == [(), ("actor",)]
    assert trio.config.teams.trio.reasoner  # That of the run is what it was.
    alone = role_ablation.without(support.math_setup(), "reasoner").team
    assert [role.name for role in alone.protocol.roles] == ["actor"]


def test_a_role_without_whom_others_are_not_heard_cannot_be_left_out():
    work = dict(instruction="work it out .", max_tokens=4)
    line = dict(
        thinker=dict(work, depends_on=(), answers=False, title="kim"),
        teller=dict(work, depends_on=("thinker",), answers=False, title="reasoner"),
        actor=dict(work, depends_on=("teller",), answers=True),
    )
    setup = support.math_setup(teams=dict(line=line), protocol__name="line")
    with pytest.raises(ValueError, match="'thinker'.* never reach 'actor'"):
        role_ablation.without(setup, "teller")
    left = role_ablation.without(setup, "thinker").team
    assert [role.name for role in left.protocol.roles] == ["teller", "actor"]
