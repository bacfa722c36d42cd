import jax
import numpy as np
import pytest

from c3jax.core.types import Evidence
from c3jax.credit import api, baselines, shrunk
from tests import tabular

DUO, TRIO = ((), (0,)), ((), (0,), (0, 1))


def credited(reward, ancestors=DUO, memory=None, **options):
    memory = shrunk.no_moments(ancestors) if memory is None else memory
    return shrunk.c3_shrunk(Evidence(reward, ancestors), memory, **options)


def test_relatives_are_the_messages_that_share_less_and_less():
    value = np.random.default_rng(0).random((3, 2, 4, 5))
    found = shrunk.relatives(value)
    for at in np.ndindex(value.shape):
        for d, means in enumerate(found):
            others = [
                value[other]
                for other in np.ndindex(value.shape)
                if other[:d] == at[:d] and other[d] != at[d]
            ]
            mean = np.broadcast_to(means, value.shape)[at]
            np.testing.assert_allclose(mean, np.mean(others))


def test_an_axis_on_which_nobody_differs_has_no_relatives():
    assert [x is None for x in shrunk.relatives(np.ones((1, 4, 1)))] == [
        True,
        False,
        True,
    ]


def test_the_weight_is_that_of_the_variance_components():
    # Bv between contexts, W within, N contexts of K messages: the nearer mean has
    # W / (K - 1) about its context, the farther lies Bv + (Bv + W / K) / (N - 1) away.
    between, within, n, k, square = 0.3, 0.7, 4, 3, 2.0
    lone = (between + within / k) / (n - 1)
    far = shrunk.Moments(square, square + lone, 1.0)
    near = shrunk.Moments(square + between, square + between + within / (k - 1), 1.0)
    gap = between + lone
    np.testing.assert_allclose(shrunk.shrink(near, far), gap / (gap + within / (k - 1)))


def test_no_other_weight_has_a_smaller_mean_square():
    rng = np.random.default_rng(1)
    value = rng.normal(0, 1, (4000, 3, 1)) + rng.normal(0, 1.5, (4000, 3, 2))
    _, far, near = shrunk.relatives(value)
    far, near = np.broadcast_to(far, value.shape), np.broadcast_to(near, value.shape)
    moments = [
        shrunk.Moments((value * x).mean(), (x**2).mean(), 1.0) for x in (near, far)
    ]
    weights = np.linspace(0, 1, 201)
    square = [((value - (1 - w) * far - w * near) ** 2).mean() for w in weights]
    best = weights[np.argmin(square)]
    np.testing.assert_allclose(shrunk.shrink(*moments), best, atol=0.02)


def test_one_question_without_memory_is_c3_and_without_siblings_rloo():
    rng = np.random.default_rng(2)
    tree, episodes = rng.random((1, 4, 2)), rng.random((1, 8, 1))
    for reward, fn in ((tree, baselines.c3), (episodes, baselines.rloo)):
        found, _ = credited(reward)
        for one, other in zip(found, fn(Evidence(reward, DUO)), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-12)


def test_a_prior_without_end_is_c3():
    reward = np.random.default_rng(3).random((6, 4, 2))
    found, _ = credited(reward, prior=1e12)
    for one, other in zip(found, baselines.c3(Evidence(reward, DUO)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_contexts_that_do_not_matter_are_pooled():
    # The first message means nothing: all answers of a question are siblings.
    rng = np.random.default_rng(4)
    reward = 100 * rng.random((500, 1, 1)) + rng.normal(0, 1, (500, 4, 2))
    (_, found), _ = credited(reward, prior=0.0)
    pooled = baselines.c3_no_replay(Evidence(reward, DUO))[1]
    assert np.abs(found - pooled).mean() < 0.1 * np.abs(pooled).mean()


def test_contexts_that_are_all_are_left_apart():
    reward = np.random.default_rng(5).random((50, 4, 1)) + np.zeros((50, 4, 2))
    (_, found), _ = credited(reward, prior=0.0)
    np.testing.assert_allclose(found, 0, atol=1e-12)


@pytest.mark.parametrize("ancestors", [DUO, TRIO])
def test_the_weights_of_a_question_do_not_depend_on_its_own_rewards(ancestors):
    rng = np.random.default_rng(6)
    reward = rng.random((5, *(2,) * len(ancestors)))
    _, memory = credited(rng.random(reward.shape), ancestors)
    value = baselines.tree_value(reward, ancestors[-1], len(ancestors) - 1)
    value = value.reshape(reward.shape)

    def weights(reward):
        others = shrunk.others_of(reward, shrunk.relatives(reward))
        return jax.tree.map(lambda x: x[2], shrunk.pooled(memory[-1], others))

    other = reward.copy()
    other[2] = rng.random(reward.shape[1:])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9),
        weights(reward),
        weights(other),
    )


def test_left_out_moments_are_those_of_the_other_questions():
    value = np.random.default_rng(7).random((6, 3, 2))
    found = shrunk.others_of(value, shrunk.relatives(value))
    rest = np.delete(value, 4, 0)
    _, contexts, siblings = (
        np.broadcast_to(x, rest.shape) for x in shrunk.relatives(rest)
    )
    means = rest.mean((1, 2))
    pairs = [a * b for i, a in enumerate(means) for j, b in enumerate(means) if i != j]
    np.testing.assert_allclose(
        found.cross[4],
        [np.mean(pairs), (rest * contexts).mean(), (rest * siblings).mean()],
    )
    # A mean over the five others of any question: E m^2 / 5 + E m m' 4 / 5.
    lone = (means**2).mean() / 5 + np.mean(pairs) * 4 / 5
    np.testing.assert_allclose(
        found.square[4], [lone, (contexts**2).mean(), (siblings**2).mean()]
    )
    np.testing.assert_array_equal(found.weight[4], 5)


def test_memory_is_a_decayed_mean_over_batches():
    rng = np.random.default_rng(8)
    memory, sums = None, 0.0
    for _ in range(3):
        reward = rng.random((5, 4, 2))
        _, memory = credited(reward, memory=memory, decay=0.5)
        siblings = shrunk.relatives(reward)[-1]
        sums = 0.5 * sums + 4 * (reward * siblings).mean()
    weight = 4 * (1 + 0.5 + 0.25)
    np.testing.assert_allclose(memory[1].weight, weight)
    np.testing.assert_allclose(memory[1].cross[-1], sums / weight, rtol=1e-5)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(memory)} == {"float32"}


def test_a_role_with_one_message_a_question_is_refused():
    with pytest.raises(ValueError, match="role 0 has one message a question"):
        credited(np.ones((3, 1, 4)))


def squared(name, branching, team):
    """Mean square of the advantages, over 400 batches of a run's memory."""
    estimator = api.ESTIMATORS[name]
    memory = estimator.memory(team.ancestors)
    _, reward = tabular.sample(team, branching, 400, np.random.default_rng(9))
    total = []
    for some in reward:
        found, memory = estimator.fn(Evidence(some, team.ancestors), memory)
        total.append(np.mean([(each**2).mean() for each in found]))
    return np.mean(total)


@pytest.mark.parametrize("weight", [(1, 1), (2, 0.5), (0.5, 2)])
def test_a_blend_leaves_smaller_advantages_than_its_parts(weight):
    team = tabular.team(questions=16, weight=weight)
    for branching, name in (((4, 2), "c3"), ((2, 4), "c3"), ((8, 1), "rloo")):
        assert squared("c3_shrunk", branching, team) < squared(name, branching, team)
