import numpy as np
import pytest

from c3jax.core.types import Evidence
from c3jax.credit import actor_critic

DUO = ((), (0,))


def episodes(reward, *value):
    """One question, one value a context: of the first role, then of each episode."""
    reward = np.array([reward])[..., None]
    return Evidence(reward, DUO, value=tuple(np.array([v]) for v in value))


def test_mappo_is_the_reward_minus_the_guess():
    evidence = episodes([1.0, 0.0], [0.4], [0.7, 0.2])
    thinker, solver = actor_critic.mappo(evidence, normalise=False)
    np.testing.assert_allclose(thinker, [[[0.6, -0.4]]])
    np.testing.assert_allclose(solver, [[[0.3], [-0.2]]])


def test_gae_discounts_what_comes_later():
    # d_2 = 1 - 0.5, d_1 = 0.9 * 0.5 - 0.2, A_1 = d_1 + 0.9 * 0.8 * d_2.
    first, last = actor_critic.gae(np.array([1.0]), (0.2, np.array([0.5])), 0.9, 0.8)
    np.testing.assert_allclose(last, [0.5])
    np.testing.assert_allclose(first, [0.25 + 0.36])


def test_gae_follows_its_sum_over_later_steps():
    rng, gamma, lam = np.random.default_rng(0), 0.9, 0.7
    reward, value = rng.random(6), rng.random((4, 6))
    found = actor_critic.gae(reward, tuple(value), gamma, lam)
    for t in range(4):
        expected = np.zeros(6)
        for later in range(t, 4):
            after = gamma * value[later + 1] if later < 3 else reward
            expected += (gamma * lam) ** (later - t) * (after - value[later])
        np.testing.assert_allclose(found[t], expected)


def test_mappo_normalises_over_all_messages_of_the_batch():
    rng = np.random.default_rng(1)
    evidence = Evidence(
        rng.random((3, 4, 1)), DUO, value=(rng.random((3, 1)), rng.random((3, 4)))
    )
    plain = np.concatenate(
        [each.ravel() for each in actor_critic.mappo(evidence, normalise=False)]
    )
    found = np.concatenate([each.ravel() for each in actor_critic.mappo(evidence)])
    np.testing.assert_allclose(found, (plain - plain.mean()) / plain.std(), rtol=1e-4)


def test_an_exact_critic_of_a_tree_gives_a_message_the_mean_of_its_episodes():
    reward = np.array([[[1.0, 0.0], [1.0, 1.0]]])
    evidence = Evidence(reward, DUO, value=(np.array([[0.75]]), np.array([[0.5, 1.0]])))
    first, last = actor_critic.mappo(evidence, normalise=False)
    np.testing.assert_allclose(first, [[[-0.25, 0.25]]])
    np.testing.assert_allclose(last, [[[0.5, -0.5], [0.0, 0.0]]])


def test_a_critic_of_contexts_learns_the_reward_whatever_it_guessed():
    rng = np.random.default_rng(2)
    reward = rng.random((3, 4, 2))
    guesses = rng.random((3, 1)), rng.random((3, 4))
    first, last = actor_critic.returns(Evidence(reward, DUO, value=guesses))
    np.testing.assert_allclose(first, reward.mean((1, 2))[:, None])
    np.testing.assert_allclose(last, reward.mean(2))


def test_what_a_critic_learns_looks_no_further_than_lambda():
    # A_2 + V_2 = 1; A_1 + V_1 = 0.9 * (0.5 + 0.8 * (1 - 0.5)).
    evidence = episodes([1.0], [0.2], [0.5])
    first, last = actor_critic.returns(evidence, gamma=0.9, lam=0.8)
    np.testing.assert_allclose(last, [[1.0]])
    np.testing.assert_allclose(first, [[0.81]])


def test_a_critic_of_messages_learns_the_mean_reward_below_each():
    reward = np.array([[[1.0, 0.0], [1.0, 1.0]]])
    first, last = actor_critic.outcomes(Evidence(reward, DUO))
    np.testing.assert_allclose(first, [[[0.5, 1.0]]])
    np.testing.assert_allclose(last, reward)


def test_explained_variance_is_one_for_the_truth_and_zero_for_a_constant():
    target = np.array([[0.0, 1.0]]), np.array([[1.0, 1.0]])
    assert actor_critic.explained(target, target) == 1
    assert actor_critic.explained(tuple(0 * x + 0.3 for x in target), target) == 0
    half = tuple(0.5 * x for x in target)
    np.testing.assert_allclose(actor_critic.explained(half, target), 0.75)
    assert actor_critic.explained(target[1:], target[1:]) == 0


def test_values_that_do_not_broadcast_to_the_rewards_are_refused():
    with pytest.raises(AssertionError, match="not broadcastable"):
        actor_critic.gae(np.ones((2, 3)), (np.ones((3, 2)),), 1.0, 1.0)
