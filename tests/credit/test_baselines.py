import jax
import jax.numpy as jnp
import numpy as np
import pytest

import c3jax
from c3jax.core.types import Evidence
from c3jax.credit import api, baselines

DUO_SPANS = ((), (0,))


def rewards(*shape):
    return np.random.default_rng(0).random(shape)


def test_loo_advantage_gives_the_published_golden_values():
    value = np.array([0.63, 0.80, 0.73])
    np.testing.assert_allclose(
        c3jax.credit.loo_advantage(value), [-0.135, 0.12, 0.015], atol=1e-12
    )


def test_loo_advantage_sums_to_zero_over_siblings():
    advantage = baselines.loo_advantage(rewards(5, 3, 8))
    np.testing.assert_allclose(advantage.sum(-1), 0, atol=1e-12)


def test_full_mean_is_loo_times_k_minus_one_over_k():
    value = rewards(5, 3, 4)
    np.testing.assert_allclose(
        baselines.mean_advantage(value), baselines.loo_advantage(value) * 3 / 4
    )


def test_loo_advantage_is_permutation_equivariant():
    value, order = rewards(6, 5), [3, 1, 4, 0, 2]
    np.testing.assert_allclose(
        baselines.loo_advantage(value[:, order]),
        baselines.loo_advantage(value)[:, order],
    )


def test_an_only_child_has_no_baseline():
    with pytest.raises(ValueError, match=r"K >= 2 .* got \(3, 1\)"):
        baselines.loo_advantage(np.ones((3, 1)))
    with pytest.raises(ValueError, match="K >= 2"):
        baselines.loo_advantage(np.float32(1))


def test_weights_follow_the_weighted_formula():
    value, weight = np.array([0.2, 0.9, 0.4]), np.array([3.0, 1.0, 2.0])
    expected = [
        0.2 - (0.9 * 1 + 0.4 * 2) / 3,
        0.9 - (0.2 * 3 + 0.4 * 2) / 5,
        0.4 - (0.2 * 3 + 0.9 * 1) / 4,
    ]
    np.testing.assert_allclose(baselines.loo_advantage(value, weight), expected)


def test_equal_weights_change_nothing():
    value = rewards(4, 5)
    np.testing.assert_allclose(
        baselines.loo_advantage(value, np.full((4, 5), 2.0)),
        baselines.loo_advantage(value),
    )


def test_an_alternative_whose_siblings_weigh_nothing_gets_zero():
    value, weight = np.array([0.1, 0.7, 0.3]), np.array([0.0, 5.0, 0.0])
    np.testing.assert_allclose(
        baselines.loo_advantage(value, weight), [0.1 - 0.7, 0.0, 0.3 - 0.7]
    )


def test_a_weight_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="weight needs the shape"):
        baselines.loo_advantage(np.ones(3), np.ones(4))


def test_loo_advantage_works_under_jit_vmap_and_grad():
    value = jnp.array(rewards(4, 3, 5), jnp.float32)
    weight = jnp.ones_like(value)
    expected = baselines.loo_advantage(np.asarray(value))
    for result in (
        jax.jit(baselines.loo_advantage)(value),
        jax.vmap(baselines.loo_advantage)(value),
        jax.jit(baselines.loo_advantage)(value, weight),
    ):
        np.testing.assert_allclose(result, expected, atol=1e-6)
    slope = jax.jacobian(baselines.loo_advantage)(value[0, 0])
    np.testing.assert_allclose(slope, np.eye(5) * 1.25 - 0.25, atol=1e-6)


def test_integers_and_booleans_are_rewards_too():
    np.testing.assert_allclose(baselines.loo_advantage(np.array([1, 0])), [1, -1])
    np.testing.assert_allclose(
        baselines.loo_advantage(jnp.array([True, False])), [1, -1]
    )


def test_tree_value_is_the_mean_of_the_leaves_below():
    reward = np.array([[0.70, 0.62, 0.87]])
    np.testing.assert_allclose(
        baselines.tree_value(reward[:, None], (), 0), [[[0.73]]], atol=1e-12
    )
    reward = rewards(2, 4, 3)
    np.testing.assert_allclose(
        baselines.tree_value(reward, (), 0)[:, 0], reward.mean(-1)
    )
    np.testing.assert_allclose(baselines.tree_value(reward, (0,), 1), reward)


def test_a_role_that_another_does_not_read_is_averaged_out_of_its_value():
    # Axes: planner, solver a, solver b, integrator; b does not depend on a.
    reward = rewards(2, 2, 3, 4, 5)
    value = baselines.tree_value(reward, (0,), 2)
    assert value.shape == (2, 2, 4)
    np.testing.assert_allclose(value, reward.mean((2, 4)))


def test_c3_equals_rloo_when_there_is_one_decision():
    evidence = Evidence(rewards(3, 8), spans=((),))
    np.testing.assert_allclose(baselines.c3(evidence), baselines.rloo(evidence))


def test_c3_credits_each_level_against_true_siblings_only():
    reward = np.array([[[1.0, 0.0], [1.0, 1.0]]])
    reasoner, actor = baselines.c3(Evidence(reward, DUO_SPANS))
    np.testing.assert_allclose(reasoner, [[[-0.5, 0.5]]])
    np.testing.assert_allclose(actor, [[[1.0, -1.0], [0.0, 0.0]]])


def test_episode_methods_give_all_messages_of_an_episode_one_scalar():
    reward = rewards(3, 8, 1)
    for method in (baselines.magrpo, baselines.rloo):
        reasoner, actor = method(Evidence(reward, DUO_SPANS))
        assert reasoner.shape == (3, 1, 8)
        assert actor.shape == (3, 8, 1)
        np.testing.assert_allclose(reasoner[:, 0], actor[..., 0])
    np.testing.assert_allclose(
        baselines.magrpo(Evidence(reward, DUO_SPANS))[0][:, 0],
        reward[..., 0] - reward.mean((1, 2), keepdims=True)[..., 0],
    )


def test_standardising_gives_unit_deviation_and_leaves_ties_at_zero():
    reward = np.array([[[1.0], [0.0], [0.0], [1.0]], [[1.0]] * 4])
    advantage, _ = baselines.magrpo(Evidence(reward, DUO_SPANS), std=True)
    np.testing.assert_allclose(advantage[0, 0], [1, -1, -1, 1], rtol=1e-5)
    np.testing.assert_array_equal(advantage[1], 0)


@pytest.mark.parametrize("name", api.ESTIMATORS)
def test_every_estimator_is_permutation_equivariant_in_its_siblings(name):
    estimator = api.ESTIMATORS[name]
    shape = (3, 4, 2) if estimator.siblings else (3, 8, 1)
    reward, order = rewards(*shape), np.random.default_rng(1).permutation(shape[1])
    plain, memory = estimator.fn(Evidence(reward, DUO_SPANS), ())
    mixed, _ = estimator.fn(Evidence(reward[:, order], DUO_SPANS), ())
    np.testing.assert_allclose(mixed[0], plain[0][..., order], atol=1e-12)
    np.testing.assert_allclose(mixed[1], plain[1][:, order], atol=1e-12)
    assert memory == ()


@pytest.mark.parametrize("name", api.ESTIMATORS)
def test_every_estimator_centres_the_first_role(name):
    estimator = api.ESTIMATORS[name]
    shape = (3, 4, 2) if estimator.siblings else (3, 8, 1)
    (first, _), _ = estimator.fn(Evidence(rewards(*shape), DUO_SPANS), ())
    np.testing.assert_allclose(first.sum(-1), 0, atol=1e-12)
