import jax
import jax.numpy as jnp
import numpy as np
import pytest

import c3jax
from c3jax.core.types import Evidence
from c3jax.credit import api, baselines
from tests.credit import made_up

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
    grads = jax.jacobian(baselines.loo_advantage)(value[0, 0])
    np.testing.assert_allclose(grads, np.eye(5) * 1.25 - 0.25, atol=1e-6)


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
    evidence = Evidence(rewards(3, 8), ancestors=((),))
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


def test_without_replay_messages_of_other_contexts_are_siblings():
    reward = np.array([[[1.0, 0.0], [1.0, 1.0]]])
    reasoner, actor = baselines.c3_no_replay(Evidence(reward, DUO_SPANS))
    np.testing.assert_allclose(reasoner, [[[-0.5, 0.5]]])
    np.testing.assert_allclose(actor, [[[1 / 3, -1], [1 / 3, 1 / 3]]])


def test_without_replay_and_without_branching_c3_is_rloo():
    evidence = Evidence(rewards(3, 8, 1), DUO_SPANS)
    for one, other in zip(
        baselines.c3_no_replay(evidence), baselines.rloo(evidence), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_a_critic_takes_the_place_of_the_siblings_or_of_the_rewards():
    reward = np.array([[[1.0, 0.0], [1.0, 1.0]]])
    q = (np.array([[[0.6, 0.8]]]), np.array([[[0.9, 0.1], [0.7, 0.5]]]))
    evidence = Evidence(reward, DUO_SPANS, q=q)
    only = baselines.c3_value_only(evidence)
    np.testing.assert_allclose(only[0], [[[-0.2, 0.2]]])
    np.testing.assert_allclose(only[1], [[[0.8, -0.8], [0.2, -0.2]]])
    assisted = baselines.c3_value_assisted(evidence)
    np.testing.assert_allclose(assisted[0], [[[0.5 - 0.8, 1 - 0.6]]])
    np.testing.assert_allclose(assisted[1], [[[0.9, -0.9], [0.5, 0.3]]])
    half = baselines.c3_value_assisted(evidence, alpha=0.5)
    np.testing.assert_allclose(half[0], [[[0.5 - 0.9, 1 - 0.55]]])


def test_value_assisted_follows_its_formula():
    rng = np.random.default_rng(2)
    v, q, alpha = rng.random((2, 3, 4)), rng.random((2, 3, 4)), 0.3
    evidence = Evidence(v, DUO_SPANS, q=(rng.random((2, 1, 3)), q))
    _, found = baselines.c3_value_assisted(evidence, alpha=alpha)
    for at in np.ndindex(v.shape):
        others = [(*at[:2], j) for j in range(4) if j != at[2]]
        baseline = sum((1 - alpha) * v[o] + alpha * q[o] for o in others) / 3
        np.testing.assert_allclose(found[at], v[at] - baseline)


def test_value_assisted_without_the_critic_is_c3():
    evidence = made_up.evidence("c3_value_assisted")
    for one, other in zip(
        baselines.c3_value_assisted(evidence, alpha=0.0),
        baselines.c3(evidence),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_a_tree_of_a_comb_compares_alternatives_by_their_mean_continuation():
    first = np.array([[[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]])
    last = np.array([[[1.0, 0.0]]])
    found = [called("c3_vine", Evidence(x, ((), (0,))))[0] for x in (first, last)]
    np.testing.assert_allclose(found[0][0], [[[0.0, 0.75, -0.75]]])
    np.testing.assert_allclose(found[1][1], [[[1.0, -1.0]]])


def test_whitening_is_over_all_arrays_together():
    one, other = baselines.whiten(np.array([1.0, 1.0]), np.array([[3.0, 3.0]]))
    np.testing.assert_allclose(one, -1, rtol=1e-5)
    np.testing.assert_allclose(other, 1, rtol=1e-5)
    np.testing.assert_array_equal(baselines.whiten(np.ones(3))[0], 0)


def called(name, evidence, **options):
    estimator = api.configured(name, options)
    return estimator.fn(evidence, estimator.memory(evidence.ancestors))


@pytest.mark.parametrize("name", api.ESTIMATORS)
def test_every_estimator_gives_each_message_a_number(name):
    evidence = made_up.evidence(name)
    found, _ = called(name, evidence)
    sizes = evidence.reward.shape[1:]
    for level, (ancestors, each) in enumerate(
        zip(evidence.ancestors, found, strict=True)
    ):
        contexts = int(np.prod([sizes[axis] for axis in ancestors]))
        assert each.shape == (5, contexts, sizes[level])
        assert np.isfinite(each).all()
    assert any(np.any(each) for each in found)


@pytest.mark.parametrize("name", api.ESTIMATORS)
def test_every_estimator_is_the_same_under_jit(name):
    evidence = made_up.evidence(name)
    estimator = api.ESTIMATORS[name]
    memory = estimator.memory(evidence.ancestors)
    _, memory = estimator.fn(made_up.evidence(name, seed=1), memory)
    plain = estimator.fn(evidence, memory)
    found = jax.jit(estimator.fn)(jax.tree.map(jnp.asarray, evidence), memory)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5),
        found,
        plain,
    )


@pytest.mark.parametrize(
    "name", [n for n, each in api.ESTIMATORS.items() if each.team != "vote"]
)
def test_every_estimator_is_permutation_equivariant_in_its_siblings(name):
    evidence = made_up.evidence(name)
    first = evidence.reward.shape[1]
    order = np.random.default_rng(1).permutation(first)

    def mixed(x):
        """The alternatives of the first role, or what follows them, in that order."""
        if x.ndim > 1 and x.shape[1] == 1:
            return x[:, :, order] if x.ndim > 2 else x
        return x.reshape(len(x), first, -1)[:, order].reshape(x.shape)

    plain, memory = called(name, evidence)
    found, again = called(name, jax.tree.map(mixed, evidence))
    for level, each in enumerate(found):
        np.testing.assert_allclose(each, mixed(plain[level]), atol=1e-12)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), memory, again
    )


@pytest.mark.parametrize(
    "name",
    [
        *("c3", "c3_full_mean", "c3_no_replay", "c3_value_only", "magrpo", "rloo"),
        *("c3_vine", "ccpo", "ccpo_v1", "sepo"),
    ],
)
def test_what_compares_within_a_group_centres_the_first_role(name):
    (first, *_), _ = called(name, made_up.evidence(name))
    np.testing.assert_allclose(first.sum(-1), 0, atol=1e-6)


@pytest.mark.parametrize(
    "name", [n for n, estimator in api.ESTIMATORS.items() if estimator.per_question]
)
def test_what_is_said_to_be_per_question_is(name):
    evidence = made_up.evidence(name)
    whole, _ = called(name, evidence)
    some, memory = called(name, jax.tree.map(lambda x: x[:2], evidence))
    assert memory == ()
    for one, other in zip(whole, some, strict=True):
        np.testing.assert_allclose(one[:2], other, atol=1e-12)


@pytest.mark.parametrize("name", api.ESTIMATORS)
def test_what_an_estimator_needs_is_what_it_reads(name):
    evidence = made_up.evidence(name)
    needs = api.ESTIMATORS[name].needs
    kept = {"reward", "ancestors", *needs}
    bare = evidence.replace(
        **{field: None for field in vars(evidence) if field not in kept}
    )
    called(name, bare)
    for field in needs:
        with pytest.raises(ValueError, match=f"evidence lacks .*{field}"):
            called(name, bare.replace(**{field: None}))


def test_a_role_without_an_axis_is_refused():
    for ancestors, level in (((), 2), ((0, 1), 1), ((1, 0), 2)):
        with pytest.raises(AssertionError):
            baselines.tree_value(rewards(3, 4, 2), ancestors, level)
