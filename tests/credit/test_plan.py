import itertools
import math

import numpy as np
import pytest

from c3jax.core.types import Evidence
from c3jax.credit import baselines, plan, shrunk

DUO, TRIO = ((), (0,)), ((), (0,), (0, 1))
DIAMOND = ((), (0,), (0,), (0, 1, 2))


def test_spread_of_a_tree_worked_by_hand():
    # Plans are worth 1/2 and 1: variance 1/8. Answers under the first differ by 1, of
    # variance 1/2, under the second not at all: mean 1/4, half of it in a plan's value.
    evidence = Evidence(np.array([[[1.0, 0.0], [1.0, 1.0]]]), DUO)
    np.testing.assert_allclose(
        plan.variance_components(evidence), [1 / 8 - 1 / 8, 1 / 4]
    )


def effects(ancestors, branching, spread, count, seed=0):
    """Rewards that are sums of normal effects, one a message."""
    rng = np.random.default_rng(seed)
    reward = np.zeros((count, *branching))
    for level, above in enumerate(ancestors):
        kept = (*above, level)
        sizes = [k if axis in kept else 1 for axis, k in enumerate(branching)]
        reward = reward + rng.normal(0, math.sqrt(spread[level]), (count, *sizes))
    return reward


@pytest.mark.parametrize(
    ("ancestors", "branching", "spread"),
    [
        (DUO, (4, 2), (1.0, 0.5)),
        (TRIO, (2, 3, 2), (0.5, 1.0, 0.25)),
        (DIAMOND, (2, 3, 2, 2), (1.0, 0.5, 0.25, 0.5)),
    ],
)
def test_spread_finds_the_effects_that_rewards_were_made_from(
    ancestors, branching, spread
):
    reward = effects(ancestors, branching, spread, 20_000)
    found = plan.variance_components(Evidence(reward, ancestors))
    np.testing.assert_allclose(found, spread, atol=0.03)


def test_a_role_without_siblings_has_no_spread_to_be_seen():
    with pytest.raises(ValueError, match=r"branching=\(8, 1\).* 2 or more"):
        plan.variance_components(Evidence(np.ones((3, 8, 1)), DUO))


def test_variance_of_two_roles_is_the_formula():
    between, within = 0.3, 0.7
    spread = np.array([between, within])
    for k, m in ((4, 2), (2, 4)):
        found = plan.variance((k, m), DUO, spread)
        first = (between + within / m) / (k - 1)
        np.testing.assert_allclose(found, [first, within * m / (m - 1) / (k * m)])
    episodes = plan.variance((8, 1), DUO, spread, blend=True)
    np.testing.assert_allclose(episodes, (between + within) / 7)
    assert plan.variance((8, 1), DUO, spread)[1] == math.inf


@pytest.mark.parametrize(
    ("ancestors", "branching"),
    [(DUO, (4, 2)), (TRIO, (2, 3, 2)), (DIAMOND, (2, 3, 2, 2))],
)
def test_variance_is_that_of_advantages_of_such_rewards(ancestors, branching):
    """With a score apart from the values, of mean square 1: E[A^2] / (N K)."""
    spread = np.array([1.0, 0.5, 0.25, 0.5])[: len(ancestors)]
    reward = effects(ancestors, branching, spread, 20_000)
    expected = plan.variance(branching, ancestors, spread)
    for level, each in enumerate(baselines.c3(Evidence(reward, ancestors))):
        found = (each**2).mean() / each[0].size
        np.testing.assert_allclose(found, expected[level], rtol=0.04)


@pytest.mark.parametrize(
    ("ancestors", "branching"),
    [
        (DUO, (8, 1)),
        (DUO, (4, 2)),
        (TRIO, (2, 3, 2)),
        (TRIO, (4, 2, 1)),
        (TRIO, (3, 1, 2)),
        (DIAMOND, (2, 3, 2, 2)),
    ],
)
def test_variance_of_a_blend_is_that_of_its_advantages(ancestors, branching):
    spread = np.array([1.0, 0.5, 0.25, 0.5])[: len(ancestors)]
    reward = effects(ancestors, branching, spread, 20_000)
    # Questions far apart: their mean is left out of the blend.
    reward += np.random.default_rng(1).normal(0, 30, (20_000, *(1,) * len(ancestors)))
    expected = plan.variance(branching, ancestors, spread, blend=True)
    memory = shrunk.no_moments(ancestors)
    found, _ = shrunk.c3_shrunk(Evidence(reward, ancestors), memory)
    for level, each in enumerate(found):
        square = (each**2).mean() / each[0].size
        np.testing.assert_allclose(square, expected[level], rtol=0.05)


def test_cost_counts_messages_by_their_tokens_and_answers():
    assert plan.cost((4, 2), DUO) == 8
    assert plan.cost((4, 2), DUO, tokens=(10, 20), answer=0) == 4 * 10 + 8 * 20
    assert plan.cost((8, 1), DUO, tokens=(10, 20), answer=5) == 8 * 10 + 8 * 20 + 40
    assert plan.cost((2, 3, 2, 1), DIAMOND, (1, 1, 1, 1), 0) == 2 + 6 + 4 + 12


def test_the_best_tree_puts_alternatives_where_the_reward_varies():
    assert plan.best(np.array([1.0, 0.01]), DUO, 8) == (4, 2)
    assert plan.best(np.array([0.01, 1.0]), DUO, 8, weight=(1, 5)) == (2, 4)
    # A blend needs no siblings: where plans differ, it asks for as many as it can.
    assert plan.best(np.array([1.0, 0.01]), DUO, 8, blend=True) == (8, 1)
    with pytest.raises(ValueError, match="budget=3.* try 4"):
        plan.best(np.array([1.0, 1.0]), DUO, 3)


def test_a_branching_that_is_kept_gives_way_to_a_clearly_better_one():
    spread, kept = np.array([0.01, 1.0]), (4, 2)
    prices = [
        sum(plan.variance(tree, DUO, spread, blend=True)) for tree in (kept, (8, 1))
    ]
    saved = 1 - prices[1] / prices[0]
    for gain, found in ((saved - 0.01, (8, 1)), (saved + 0.01, kept)):
        given = dict(blend=True, kept=kept, gain=gain)
        assert plan.best(spread, DUO, 8, **given) == found
    # Where nothing varies, nothing is better.
    nothing = np.zeros(2)
    assert plan.best(nothing, DUO, 8, blend=True, kept=(2, 3), gain=0.1) == (2, 3)


def test_trees_in_which_every_role_has_a_baseline():
    assert plan.branchings(DUO, 6) == [(2, 2), (2, 3), (3, 2)]
    assert plan.branchings(DUO, 4, blend=True) == [(2, 1), (2, 2), (3, 1), (4, 1)]
    # Two who read nothing share no context, so each needs siblings.
    assert plan.branchings(((), (), (0, 1)), 5, blend=True) == [(2, 2, 1)]


def test_the_best_tree_is_the_best_of_all():
    rng = np.random.default_rng(1)
    for _ in range(5):
        spread, tokens = rng.random(3), tuple(rng.integers(1, 50, 3))
        for blend in (False, True):
            found = plan.best(spread, TRIO, 12, tokens=tokens, answer=5.0, blend=blend)
            price = {}
            for tree in itertools.product(range(1, 13), repeat=3):
                if math.prod(tree) > 12:
                    continue
                left = plan.variance(tree, TRIO, spread, blend=blend).sum()
                price[tree] = left * plan.cost(tree, TRIO, tokens, 5.0)
            np.testing.assert_allclose(price[found], min(price.values()))


def test_dear_messages_near_the_root_are_asked_for_less():
    spread = np.array([0.5, 0.5])
    cheap = plan.best(spread, DUO, 16, tokens=(1, 100), answer=0.0)
    dear = plan.best(spread, DUO, 16, tokens=(100, 1), answer=0.0)
    assert dear[0] < cheap[0]
