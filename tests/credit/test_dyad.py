import math

import numpy as np
import pytest

from c3jax.core.types import Evidence
from c3jax.credit import baselines, dyad

DUO = ((), (0,))


def dyads(joint, solo=None, **fields):
    """[B, n] rewards of episodes of two roles."""
    reward = np.asarray(joint, float)[..., None]
    return Evidence(
        reward, DUO, solo=None if solo is None else np.asarray(solo, float), **fields
    )


def random(questions=6, n=5, seed=0):
    rng = np.random.default_rng(seed)
    share = rng.random((2, questions, 1))
    return (rng.random((2, questions, n)) < share).astype(float)


def test_the_first_batch_of_ccpo_v1_is_raw():
    evidence = dyads([[1, 1, 0, 0]], [[1, 0, 0, 0]])
    (thinker, solver), memory = dyad.ccpo_v1(evidence, dyad.no_history(), period=0)
    # J - S is (0, 1, 0, 0), mean 1/4, deviation sqrt(3) / 4.
    third = 1 / math.sqrt(3)
    np.testing.assert_allclose(
        thinker, [[[-third, 3 * third, -third, -third]]], rtol=1e-5
    )
    np.testing.assert_allclose(solver[0, :, 0], [1, 1, -1, -1], rtol=1e-5)
    np.testing.assert_allclose(memory.mean, [0.25, 0.5, 0.25])
    np.testing.assert_allclose(memory.variance, [3 / 16, 1 / 4, 3 / 16])
    assert memory.steps == 1


def test_ccpo_v1_follows_its_formula_with_the_statistics_before():
    memory = dyad.no_history()
    mean, variance, decay = None, None, 0.99
    for step in range(4):
        joint, solo = random(seed=step)
        streams = [joint - solo, joint, solo]
        (thinker, solver), memory = dyad.ccpo_v1(
            dyads(joint, solo), memory, alpha=0.7, eta=1.3, decay=decay, period=0
        )
        expected = [np.zeros(joint.shape), np.zeros(joint.shape)]
        for at in np.ndindex(joint.shape):
            if step == 0:
                expected[0][at], expected[1][at] = joint[at] - solo[at], joint[at]
                continue
            sigma = [math.sqrt(v) if v > 1e-6 else 1 for v in variance]
            z = [(s[at] - m) / d for s, m, d in zip(streams, mean, sigma, strict=True)]
            gate = 1 / (1 + math.exp(-1.3 * mean[0] / sigma[0]))
            expected[0][at] = math.tanh(0.7 * z[0])
            expected[1][at] = gate * z[1] + (1 - gate) * z[2]
        for found, raw in ((thinker[:, 0], expected[0]), (solver[..., 0], expected[1])):
            for row, r in zip(found, raw, strict=True):
                deviation = r.std() or 1
                np.testing.assert_allclose(
                    row, (r - r.mean()) / deviation, rtol=1e-3, atol=1e-4
                )
        if step == 0:
            mean = [s.mean() for s in streams]
            variance = [s.var() for s in streams]
        else:
            for i, s in enumerate(streams):
                mean[i] = decay * mean[i] + (1 - decay) * s.mean()
                variance[i] = decay * variance[i] + (1 - decay) * s.var()
        np.testing.assert_allclose(memory.mean, mean, rtol=1e-5)
        np.testing.assert_allclose(memory.variance, variance, rtol=1e-5)


def test_a_stream_that_never_varied_is_not_divided():
    history = dyad.History(np.zeros(3), np.full(3, 1e-6), np.int32(3))
    joint, solo = random()
    (thinker, _), _ = dyad.ccpo_v1(dyads(joint, solo), history, period=0)
    shaped = np.tanh(joint - solo)
    expected = baselines.standardise(baselines.mean_advantage(shaped))
    np.testing.assert_allclose(thinker[:, 0], expected, atol=1e-4)


def test_the_roles_of_ccpo_v1_take_turns_and_the_thinker_begins():
    memory, trained = dyad.no_history(), []
    for step in range(7):
        joint, solo = random(seed=step)
        found, memory = dyad.ccpo_v1(dyads(joint, solo), memory, period=2)
        trained.append([bool(np.any(each)) for each in found])
    thinker, solver = [True, False], [False, True]
    assert trained == [thinker, thinker, solver, solver, thinker, thinker, solver]


def test_an_episode_that_broke_off_earns_nothing_when_shaped():
    history = dyad.History(np.full(3, 0.5), np.ones(3), np.int32(1))
    evidence = dyads([[1, 0]], [[0, 0]], finished=np.array([[[True], [False]]]))
    (thinker, solver), _ = dyad.ccpo_v1(evidence, history, period=0)
    # tanh(0.5) and the solver's g z_J + (1 - g) z_S against 0, z_J = .5, z_S = -.5.
    np.testing.assert_allclose(thinker, [[[1, -1]]], rtol=1e-4)
    assert solver[0, 0, 0] > 0 > solver[0, 1, 0]


def test_ccpo_gives_a_bonus_to_what_turns_out_otherwise_than_alone():
    # b = -1/2, J = (1, -1): rewards 1.2 and -1 for the thinker.
    evidence = dyads([[1, 0]], [[0, 0, 0, 1]])
    thinker, solver = dyad.ccpo(evidence)
    np.testing.assert_allclose(thinker, [[[1.1, -1.1]]])
    np.testing.assert_allclose(solver, [[[1], [-1]]])
    thinker, solver = dyad.ccpo(evidence, baseline="solo")
    np.testing.assert_allclose(thinker, [[[1.7, -0.5]]])
    np.testing.assert_allclose(solver, [[[1.5], [-0.5]]])


def test_ccpo_follows_its_formula():
    joint, solo = random(seed=3)
    thinker, solver = dyad.ccpo(dyads(joint, solo), lam=0.5)
    for q in range(len(joint)):
        b = float(np.mean([2 * s - 1 for s in solo[q]]))
        rewards = []
        for j in joint[q]:
            outcome = 1 if j else -1
            bonus = (outcome > 0 and b < 0) - (outcome < 0 and b > 0)
            rewards.append(outcome + 0.5 * bonus)
        np.testing.assert_allclose(thinker[q, 0], rewards - np.mean(rewards))
        shared = 2 * joint[q] - 1
        np.testing.assert_allclose(solver[q, :, 0], shared - shared.mean())


@pytest.mark.parametrize(
    ("solo", "factor"), [([1, 0, 0, 0], 1.1), ([1, 1, 1, 0], 1.1), ([1, 1, 0, 0], 1.0)]
)
def test_centred_by_group_ccpo_is_the_shared_reward_scaled(solo, factor):
    joint = [[1, 0, 0, 1], [1, 1, 1, 0]]
    thinker, solver = dyad.ccpo(dyads(joint, [solo, solo]))
    np.testing.assert_allclose(thinker[:, 0], factor * solver[..., 0], atol=1e-12)


def test_the_other_baselines_of_ccpo_tell_questions_apart():
    joint, solo = [[1, 1], [1, 1]], [[1, 1], [0, 0]]
    evidence = dyads(joint, solo)
    assert not np.any(dyad.ccpo(evidence)[0])
    np.testing.assert_allclose(
        dyad.ccpo(evidence, baseline="solo")[0][:, 0], [[0, 0], [2.2, 2.2]]
    )
    np.testing.assert_allclose(
        dyad.ccpo(evidence, baseline="batch")[0][:, 0], [[-1, -1], [1, 1]], rtol=1e-4
    )
    with pytest.raises(ValueError, match="'group', 'solo' or 'batch'"):
        dyad.ccpo(evidence, baseline="mean")


def test_sepo_splits_the_reward_by_what_the_roles_say():
    ratings = np.array([[[[0.9, 0.1], [0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]]]])
    thinker, solver = dyad.sepo(dyads([[1, 1]], ratings=ratings))
    # s_1 = .3 * .9 + .7 * .5 = .62, s_2 = .3 * .5 + .7 * .1 = .22: w = .62 / .84.
    c = (0.62 / 0.84 - 0.5) / 2
    np.testing.assert_allclose(thinker, [[[0.2 * c, -0.2 * c]]])
    np.testing.assert_allclose(solver, [[[-0.2 * c], [0.2 * c]]])


def test_sepo_follows_its_formula():
    rng = np.random.default_rng(4)
    joint, _ = random(seed=5)
    ratings = rng.integers(1, 10, (*joint.shape, 2, 2)) / 10
    eta, lam, blame = 0.4, 0.3, 0.1
    thinker, solver = dyad.sepo(
        dyads(joint, ratings=ratings), eta=eta, lam=lam, blame=blame
    )
    for q in range(len(joint)):
        share = []
        for t, s in ratings[q]:
            one, other = eta * t[0] + (1 - eta) * s[0], eta * s[1] + (1 - eta) * t[1]
            share.append(one / (one + other))
        rewards = {0: [], 1: []}
        for i, j in enumerate(joint[q]):
            mean = np.mean([w for w, k in zip(share, joint[q], strict=True) if k == j])
            for role, c in ((0, share[i] - mean), (1, mean - share[i])):
                rewards[role].append(1 + lam * c if j else -1 - blame * c)
        for role, found in ((0, thinker[q, 0]), (1, solver[q, :, 0])):
            np.testing.assert_allclose(found, rewards[role] - np.mean(rewards[role]))


def test_ratings_that_say_nothing_leave_the_shared_reward():
    joint, _ = random(seed=6)
    found = dyad.sepo(dyads(joint, ratings=np.full((*joint.shape, 2, 2), 0.5)))
    shared = baselines.mean_advantage(2 * joint - 1)
    np.testing.assert_allclose(found[0][:, 0], shared, atol=1e-12)
    np.testing.assert_allclose(found[1][..., 0], shared, atol=1e-12)
