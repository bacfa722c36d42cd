"""Estimated gradients against the exact ones of a team that can be enumerated.

The mean of 20,000 estimates agrees with the exact gradient: a z-test of each
coordinate, at a level of 0.001 for all of them together (Bonferroni).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from c3jax.core.types import Evidence
from c3jax.credit import api, plan
from tests import tabular

COUNT = 20_000


@functools.cache
def team(ancestors=tabular.CHAIN2):
    return tabular.team(ancestors, actions=3 if len(ancestors) < 4 else 2)


@functools.cache
def trees(ancestors, branching):
    return tabular.sample(team(ancestors), branching, COUNT, np.random.default_rng(0))


def advantages(name, ancestors, branching, **options):
    """Per role, [n, Q, N, K], of trees of which each is a batch of Q questions."""
    said, reward = trees(ancestors, branching)
    known = tabular.evidence(team(ancestors), said, reward)
    estimator = api.configured(name, options)
    memory = estimator.memory(ancestors)

    def split(x):
        return x.reshape(*reward.shape[:2], *x.shape[1:])

    def fn(known):
        return estimator.fn(known, memory)[0]

    found = jax.jit(jax.vmap(fn))(jax.tree.map(lambda x: jnp.asarray(split(x)), known))
    return jax.tree.map(lambda x: np.asarray(x, np.float64), found)


def slopes(name, ancestors, branching, **options):
    said, _ = trees(ancestors, branching)
    found = advantages(name, ancestors, branching, **options)
    return tabular.slopes(team(ancestors), said, found)


def farthest(estimates, exact, factor=1.0):
    """The largest z of all coordinates, and where it is significant."""
    z = []
    for each, grads in zip(estimates, exact, strict=True):
        error = each.std(0) / np.sqrt(len(each))
        gap = each.mean(0) - factor * grads
        z.append((gap / np.where(error > 0, error, 1)).ravel())
    z = np.abs(np.concatenate(z))
    return z.max(), stats.norm.isf(0.001 / 2 / z.size)


def assert_unbiased(estimates, exact, factor=1.0):
    z, limit = farthest(estimates, exact, factor)
    assert z < limit


UNBIASED = [
    ("c3", tabular.CHAIN2, (4, 2)),
    ("c3", tabular.CHAIN2, (2, 4)),
    ("c3", tabular.CHAIN3, (2, 2, 2)),
    ("c3", tabular.DIAMOND, (2, 2, 2, 2)),
    ("c3_no_replay", tabular.CHAIN2, (8, 1)),
    ("c3_shrunk", tabular.CHAIN2, (4, 2)),
    ("c3_shrunk", tabular.CHAIN2, (2, 4)),
    ("c3_shrunk", tabular.CHAIN2, (8, 1)),
    ("c3_shrunk", tabular.CHAIN3, (2, 2, 2)),
    ("c3_shrunk", tabular.DIAMOND, (2, 2, 2, 2)),
    ("c3_value_assisted", tabular.CHAIN2, (4, 2)),
    ("c3_value_only", tabular.CHAIN2, (4, 2)),
    ("rloo", tabular.CHAIN2, (8, 1)),
    ("rloo", tabular.CHAIN3, (8, 1, 1)),
]


@pytest.mark.parametrize(("name", "ancestors", "branching"), UNBIASED)
def test_an_estimator_is_unbiased(name, ancestors, branching):
    found = slopes(name, ancestors, branching)
    assert_unbiased(found, team(ancestors).gradient())


@pytest.mark.parametrize(
    ("name", "ancestors", "actions", "branching"),
    [
        ("c3", tabular.CHAIN2, 3, (2, 2)),
        ("c3", tabular.CHAIN3, 2, (2, 2, 2)),
        ("c3_shrunk", tabular.CHAIN2, 3, (2, 2)),
        ("c3_shrunk", tabular.CHAIN2, 3, (3, 1)),
        ("c3_shrunk", tabular.CHAIN3, 2, (2, 2, 2)),
        ("c3_shrunk", tabular.DIAMOND, 2, (2, 1, 2, 1)),
        ("rloo", tabular.CHAIN2, 3, (3, 1)),
    ],
)
def test_the_mean_over_all_trees_is_the_gradient(name, ancestors, actions, branching):
    small = tabular.team(ancestors, actions)
    said, reward, chance = tabular.every(small, branching)
    assert np.allclose(chance.sum(0), 1)
    # All trees of the first question, beside some of the other three.
    _, other = tabular.sample(small, branching, 1, np.random.default_rng(5))
    reward = np.concatenate(
        [reward[:, :1], np.repeat(other[:, 1:], len(said[0]), 0)], 1
    )
    estimator = api.ESTIMATORS[name]
    memory = estimator.memory(ancestors)
    if memory:
        _, memory = estimator.fn(Evidence(other[0], ancestors), memory)

    def fn(reward):
        return estimator.fn(Evidence(reward, ancestors), memory)[0]

    found = tabular.slopes(small, said, jax.jit(jax.vmap(fn))(jnp.asarray(reward)))
    for grads, exact in zip(found, small.gradient(), strict=True):
        mean = np.tensordot(chance[:, 0], grads[:, 0], 1)
        np.testing.assert_allclose(mean, exact[0], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "branching", "factor"),
    [("magrpo", (8, 1), 7 / 8), ("c3_full_mean", (2, 4), None)],
)
def test_a_mean_that_includes_the_message_shortens_the_gradient(
    name, branching, factor
):
    exact = team().gradient()
    if factor is None:
        exact = tuple(g * (k - 1) / k for g, k in zip(exact, branching, strict=True))
    assert_unbiased(slopes(name, tabular.CHAIN2, branching), exact, factor or 1)


def test_a_critic_that_is_wrong_leaves_mappo_unbiased_at_lambda_one_only():
    said, reward = trees(tabular.CHAIN2, (8, 1))
    known = tabular.evidence(team(), said, reward)
    wrong = known.replace(value=tuple(v**2 for v in known.value))

    def grads(lam):
        found, _ = api.ESTIMATORS["mappo"].fn(wrong, (), normalise=False, lam=lam)
        shape = reward.shape[:2]
        split = tuple(x.reshape(*shape, *x.shape[1:]) for x in found)
        return tabular.slopes(team(), said, split)

    assert_unbiased(grads(1.0), team().gradient())
    z, limit = farthest(grads(0.0), team().gradient())
    assert z > limit


def variance(name, branching, crowd):
    """Per batch, the squared error of the gradient of questions after some batches."""
    estimator = api.ESTIMATORS[name]
    memory = estimator.memory(crowd.ancestors)
    _, earlier = tabular.sample(crowd, branching, 20, np.random.default_rng(6))
    for some in earlier:
        _, memory = estimator.fn(Evidence(some, crowd.ancestors), memory)
    said, reward = tabular.sample(crowd, branching, 400, np.random.default_rng(7))

    def fn(reward):
        return estimator.fn(Evidence(reward, crowd.ancestors), memory)[0]

    found = tabular.slopes(crowd, said, jax.jit(jax.vmap(fn))(jnp.asarray(reward)))
    return sum(
        ((each - exact) ** 2).reshape(len(each), -1).sum(1)
        for each, exact in zip(found, crowd.gradient(), strict=True)
    )


@pytest.mark.parametrize("weight", [(1, 1), (2, 0.5), (0.5, 2)])
def test_a_blend_has_the_least_variance_at_equal_answers(weight):
    crowd = tabular.team(questions=16, weight=weight)
    for branching, others in (
        ((4, 2), ("c3",)),
        ((2, 4), ("c3",)),
        ((8, 1), ("rloo", "c3_no_replay")),
    ):
        ours = variance("c3_shrunk", branching, crowd)
        for name in others:
            worse = variance(name, branching, crowd) - ours
            assert worse.mean() > 3 * worse.std() / np.sqrt(len(worse))


def loo(reward):
    """[n, K, M] rewards of alternatives to [n, 1, K]."""
    evidence = Evidence(reward, ((), (0,)))
    return api.ESTIMATORS["c3_vine"].fn(evidence, ())[0][0]


@pytest.mark.parametrize("ancestors", [tabular.CHAIN2, tabular.CHAIN3, tabular.DIAMOND])
def test_a_comb_is_unbiased(ancestors):
    small = team(ancestors)
    sizes = (3,) * len(ancestors), (2,) * len(ancestors)
    said, reward = tabular.comb(small, *sizes, COUNT, np.random.default_rng(2))
    found = [loo(each.reshape(-1, 3, 2)) for each in reward]
    estimates = tuple(
        tabular.grads(small, level, said[level], each)
        for level, each in enumerate(found)
    )
    assert_unbiased(estimates, small.gradient())


def removed(team, again: bool):
    """Estimates by agent removal: a silent role says message 0.

    Args:
        team: who.
        again: whether later roles speak again, or what they said is kept.
    """
    ancestors, rng = team.ancestors, np.random.default_rng(3)
    said, reward = trees(ancestors, (8,) + (1,) * (len(ancestors) - 1))
    without = []
    for level in range(len(ancestors)):
        other = list(said)
        other[level] = np.zeros_like(said[level])
        for later in range(level + 1, len(ancestors)) if again else ():
            read = tuple(other[a] for a in ancestors[later])
            size = said[later].shape
            other[later] = tabular.draw(team, later, read, size, rng)
        alone = tabular.rewards(team, other)
        without.append(alone.reshape(-1, *alone.shape[2:]))
    flat = reward.reshape(-1, *reward.shape[2:])
    known = Evidence(flat, ancestors, without=tuple(without))
    found, _ = api.ESTIMATORS["agent_removal"].fn(known, ())
    split = tuple(x.reshape(*reward.shape[:2], *x.shape[1:]) for x in found)
    return split, tabular.slopes(team, said, split)


@pytest.mark.parametrize("ancestors", [tabular.CHAIN2, tabular.CHAIN3])
def test_agent_removal_is_biased_where_later_messages_are_kept(ancestors):
    _, found = removed(team(ancestors), again=False)
    z, limit = farthest(found, team(ancestors).gradient())
    assert z > 3 * limit
    # Nothing follows the last role: what remains does not depend on it.
    assert_unbiased(found[-1:], team(ancestors).gradient()[-1:])


@pytest.mark.parametrize("ancestors", [tabular.CHAIN2, tabular.CHAIN3])
def test_agent_removal_is_off_by_a_constant_where_later_roles_speak_again(ancestors):
    known, (first, *rest) = removed(team(ancestors), again=True)
    assert_unbiased((first, *rest), team(ancestors).gradient())
    # As the score of a message it is not Q - V, whose mean is 0.
    mean = known[0].mean((0, 2, 3))
    error = known[0].mean((2, 3)).std(0) / np.sqrt(COUNT)
    assert (np.abs(mean) > 5 * error).all()


def test_votes_without_a_ballot_are_an_unbiased_baseline():
    rng = np.random.default_rng(4)
    ancestors, answers, right = ((), (), (), (0, 1, 2)), 3, 1
    voters = tabular.team(ancestors, actions=(answers,) * 3 + (1,), questions=2)
    table = np.zeros(voters.reward.shape)
    for ballots in np.ndindex(answers, answers, answers):
        count = np.bincount(ballots, minlength=answers)
        table[:, *ballots, 0] = (count[right] == count.max()) / (
            count == count.max()
        ).sum()
    voters = tabular.Team(table, voters.logits, ancestors)
    said, reward = tabular.sample(voters, (2, 1, 2, 1), COUNT, rng)
    ballots = tuple(m.reshape(2 * COUNT, -1) for m in said[:3])
    known = Evidence(
        reward.reshape(2 * COUNT, 2, 1, 2, 1),
        ancestors,
        ballots=ballots,
        correct=tuple(1.0 * (ballot == right) for ballot in ballots),
    )
    found, _ = api.ESTIMATORS["ccpo_vote"].fn(known, ())
    split = tuple(x.reshape(COUNT, 2, *x.shape[1:]) for x in found)
    assert_unbiased(tabular.slopes(voters, said, split), voters.gradient())


def test_the_exact_gradient_is_the_derivative_of_the_mean_reward():
    for ancestors in (tabular.CHAIN2, tabular.CHAIN3, tabular.DIAMOND):
        small = team(ancestors)

        def mean(logits, small=small):
            policy = (
                jax.nn.softmax(each, 1 + level) for level, each in enumerate(logits)
            )
            return (functools.reduce(jnp.multiply, policy) * small.reward).sum()

        found = jax.jit(jax.grad(mean))(jax.tree.map(jnp.asarray, small.logits))
        for grads, exact in zip(found, small.gradient(), strict=True):
            np.testing.assert_allclose(grads, exact, atol=1e-6)


def test_what_the_roles_add_sums_to_the_variance_of_the_reward():
    for ancestors in (tabular.CHAIN2, tabular.CHAIN3, tabular.DIAMOND):
        small = team(ancestors)
        axes = tuple(range(1, 1 + len(ancestors)))
        mean = (small.outcomes * small.reward).sum(axes, keepdims=True)
        total = (small.outcomes * (small.reward - mean) ** 2).sum(axes)
        np.testing.assert_allclose(small.spread().sum(-1), total)


@pytest.mark.parametrize(
    ("ancestors", "branching"), [(tabular.CHAIN2, (4, 2)), (tabular.CHAIN3, (2, 2, 2))]
)
def test_the_spread_of_trees_is_that_of_the_team(ancestors, branching):
    _, reward = trees(ancestors, branching)
    each = np.stack(
        [
            plan.variance_components(Evidence(some.reshape(-1, *branching), ancestors))
            for some in np.array_split(reward, 20)
        ]
    )
    error = each.std(0) / np.sqrt(len(each) - 1)
    exact = team(ancestors).spread().mean(0)
    assert (np.abs(each.mean(0) - exact) < 4.5 * error).all()


def test_influence_is_what_one_message_tells_of_the_next():
    small = team()
    told = small.influence(0, 1)
    assert told.shape == (4, 1, 1)
    assert (told > 0).all()
    deaf = tabular.Team(
        small.reward,
        (small.logits[0], np.broadcast_to(small.logits[1][:, :1], (4, 3, 3))),
        small.ancestors,
    )
    np.testing.assert_allclose(deaf.influence(0, 1), 0, atol=1e-12)
