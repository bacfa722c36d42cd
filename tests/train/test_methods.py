"""Every estimator on every team that it is defined on credits two steps' messages.

But for vines, whose trees are of another kind (`test_comb`). An update reads advantages
and nothing else of an estimator, so that each team learns from one kind of tree, and of
the other kind it is enough that the advantages are those of its messages.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3jax.credit import api
from c3jax.learn import training, warm_start
from c3jax.protocol import graph
from tests import support

# Answers a question: two alternatives for each role that writes.
BUDGETS = {"duo": 4, "trio": 8, "branch": 16, "vote": 8}
BATCH = 2


def setup(team, name):
    return support.math_setup(
        protocol__name=team,
        protocol__budget=BUDGETS[team],
        credit__name=name,
        train__batch_size=BATCH,
        policy__width=32,
        policy__hidden=48,
        policy__layers=1,
    )


def defined():
    """(team, estimator), for those that the table does not refuse."""
    teams = support.page_config("math").teams
    for team in BUDGETS:
        ancestors = graph.ancestors(graph.team(teams[team]))
        for name, estimator in api.ESTIMATORS.items():
            if estimator.plan == "vine":
                continue
            try:
                api.check(name, ancestors, estimator.needs)
            except ValueError:
                continue
            yield team, name


@functools.cache
def first_params(team):
    """Not to be given to an update, which would take them."""
    return warm_start.initial_params(setup(team, "c3"))


@functools.cache
def update_step(team):
    """One program for all estimators of nested trees."""
    return training.compiled_update(setup(team, "c3"))


def test_the_table_is_defined_on_what_its_methods_say():
    found = {team: {n for t, n in defined() if t == team} for team in BUDGETS}
    assert found["duo"] == {*api.ESTIMATORS} - {"ccpo_vote", "c3_vine"}
    assert (
        found["trio"]
        == found["branch"]
        == found["duo"] - {*("ccpo", "ccpo_v1", "sepo")}
    )
    assert "ccpo_vote" in found["vote"] and "magrpo" not in found["vote"]


@pytest.mark.slow
@pytest.mark.parametrize(("team", "name"), [*defined()])
def test_two_steps(team, name):
    its = setup(team, name)
    state = training.initial_state(its, jax.tree.map(jnp.copy, first_params(team)))
    is_nested = its.team.protocol.branching == setup(team, "c3").team.protocol.branching
    source = its.task.split("train")
    for step in range(2):
        items = [source[BATCH * step + i] for i in range(BATCH)]
        grown = support.Step(its, state, step, items)
        credited = [*grown.batches()]
        for turn, advantage in zip(grown.turns, credited[0].advantage[0], strict=True):
            assert advantage.shape == turn.length.shape
            assert advantage.dtype == np.float32 and np.isfinite(advantage).all()
        # A critic guesses 0 until it is taught, which is tested elsewhere.
        found = any(np.any(each) for each in grown.advantage)
        assert found == (name != "c3_value_only")
        if is_nested:
            bare = state.replace(memory=(), critic=())
            args = its.objective, bare, grown.rollout, credited
            bare, stats = update_step(team)(*args)
            assert np.isfinite([float(value) for value in stats.values()]).all()
            assert int(bare.step) == step + 1
            state = bare.replace(critic=state.critic)
        state = state.replace(memory=grown.memory)
