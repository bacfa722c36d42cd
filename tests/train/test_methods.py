"""Every estimator on every team that it is defined on trains two steps.

But for combs, whose trees are of another kind (`test_comb`).
"""

import functools

import numpy as np
import pytest

from c3jax.core import metrics
from c3jax.credit import api
from c3jax.protocol import graph
from c3jax.train import growth, loop, warm_start
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
        spans = graph.ancestors(graph.team(teams[team]))
        for name, estimator in api.ESTIMATORS.items():
            if estimator.plan == "comb":
                continue
            try:
                api.check(name, spans, estimator.needs)
            except ValueError:
                continue
            yield team, name


@functools.cache
def update_step(team, branching):
    """One program for all estimators: advantages are what it is given."""
    name = "magrpo" if max(branching[1:]) == 1 else "c3"
    return loop.compiled_update(setup(team, name))


def test_the_table_is_defined_on_what_its_methods_say():
    found = {team: {n for t, n in defined() if t == team} for team in BUDGETS}
    assert found["duo"] == {*api.ESTIMATORS} - {"ccpo_vote", "c3_comb"}
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
    state = loop.initial_state(its, warm_start.initial_params(its))
    step_fn = update_step(team, its.team.protocol.branching)
    source, watch = its.task.split("train"), metrics.Stopwatch()
    for step in range(2):
        items = [source[BATCH * step + i] for i in range(BATCH)]
        grown = growth.grow(its, state, step, items, support.MadeUp(), watch)
        scored = growth.credited(its, grown, state.params, None, watch)
        bare = state.replace(memory=(), critic=())
        bare, stats = step_fn(its.objective, bare, grown.groups, scored)
        state = bare.replace(memory=grown.memory, critic=state.critic)
        assert np.isfinite([float(value) for value in stats.values()]).all()
        # A critic guesses 0 until it is taught, which is tested elsewhere.
        found = any(np.any(each) for each in grown.advantage)
        assert found == (name != "c3_value_only")
    assert int(state.step) == 2
