import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3jax.collect import batching
from c3jax.core import keys
from c3jax.core.types import Turn
from c3jax.credit import losses
from c3jax.learn import policy_loss
from c3jax.rollout import draws, tree
from c3jax.setup.objectives import Objective
from tests import support

PLAIN = Objective(clip=0.2, kl=0.1, epochs=1, minibatches=1)


def turn(logp, length, ended):
    return Turn(np.zeros(logp.shape, int), length, ended, logp, logp)


def batch(**changes):
    """Four questions of one role with made-up credit; some messages were cut."""
    rng = np.random.default_rng(0)
    length = rng.integers(1, 6, (4, 1, 3))
    logp = np.where(np.arange(5) < length[..., None], -rng.random((4, 1, 3, 5)), 0)
    said = turn(logp, length, rng.random((4, 1, 3)) < 0.6)
    credit = (np.float32(rng.standard_normal((4, 1, 3))),)
    return made(said, credit, (0.5 * logp,), **changes)


def made(said, credit, reference, **changes):
    team = support.team(support.DUO[:1], support.DUO_SCRIPTS[:1], (3,))
    return support.batch(team, None, (said,), credit, reference, **changes)


MINE = batching.CreditedRole(0, 0, 0)


def test_a_message_pays_for_its_own_divergence_beside_its_siblings():
    given = batch()
    said = given.trees[0].turns[0]
    wanted = np.array(given.advantage[0][0])
    spent = [[row[:n].sum() / 2 for row, n in zip(*b, strict=True)]
             for b in zip(said.logp[:, 0], said.length[:, 0], strict=True)]  # fmt: skip
    for b, k in np.ndindex(4, 3):
        others = [spent[b][j] for j in range(3) if j != k]
        wanted[b, 0, k] -= 0.1 * (spent[b][k] - np.mean(others))
    paying = PLAIN.replace(kl_in="reward", kl_estimator="k1")
    found = policy_loss.credit(paying, given, MINE, 0.1)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert policy_loss.credit(PLAIN, given, MINE, 0.1) is given.advantage[0][0]


def test_in_the_reward_k1_has_the_gradient_of_the_divergence():
    """By enumeration of all pairs of siblings that say one of three tokens."""
    scores, q = jnp.array([0.5, 0.1, -0.3]), jnp.array([0.2, 0.2, 0.6])
    logp = jax.nn.log_softmax(scores)
    pairs = np.stack(np.meshgrid(range(3), range(3)), -1).reshape(9, 1, 2)
    said = turn(logp[pairs][..., None], np.ones(pairs.shape, int), pairs > -1)
    reference = (jnp.log(q)[pairs][..., None],)
    given = made(said, (np.zeros(pairs.shape),), reference)
    paying = PLAIN.replace(kl_in="reward", kl_estimator="k1")
    credit = policy_loss.credit(paying, given, MINE, 0.1)

    def value(scores):
        each = jax.nn.log_softmax(scores)[pairs]
        chance = jax.lax.stop_gradient(jnp.exp(each.sum(-1)))
        return (chance * (each * credit).mean(-1)).sum()

    def divergence(scores):
        logp = jax.nn.log_softmax(scores)
        return (jnp.exp(logp) * (logp - jnp.log(q))).sum()

    wanted = -0.1 * jax.grad(divergence)(scores)
    np.testing.assert_allclose(jax.grad(value)(scores), wanted, rtol=1e-4)


def test_messages_without_siblings_are_compared_with_those_of_their_role():
    one = batch()
    other = jax.tree.map(lambda x: np.swapaxes(x, 1, 2), one)
    paying = PLAIN.replace(kl_in="reward")
    found = policy_loss.credit(paying, other, MINE, 0.1)
    assert found.shape == (4, 3, 1)
    wanted = policy_loss.credit(paying, one, MINE, 0.1)
    np.testing.assert_allclose(found[..., 0], wanted[:, 0], rtol=1e-6)


def test_messages_that_were_cut_are_kept_masked_or_get_no_credit():
    given = batch()
    said = given.trees[0].turns[0]
    [kept] = batching.counted(PLAIN, given)
    np.testing.assert_array_equal(kept, said.mask)
    [masked] = batching.counted(PLAIN.replace(truncated="mask"), given)
    np.testing.assert_array_equal(masked, said.mask & said.ended[..., None])
    zero = PLAIN.replace(truncated="zero")
    np.testing.assert_array_equal(batching.counted(zero, given)[0], said.mask)
    found = policy_loss.credit(zero, given, MINE, 0.1)
    np.testing.assert_array_equal(found, np.where(said.ended, given.advantage[0][0], 0))


@pytest.mark.parametrize("mean", losses.MEANS)
@pytest.mark.parametrize("truncated", ["keep", "mask", "zero"])
def test_what_a_loss_is_over_is_known_from_lengths(mean, truncated):
    objective = PLAIN.replace(mean=mean, truncated=truncated)
    given = batch(counted=np.array([True, False, True, True]))
    said = given.trees[0].turns[0]
    masks = batching.counted(objective, given)
    spoken = batching.spoken(objective, said.length, np.asarray(said.ended))
    assert losses.units(masks, mean) == (spoken[given.counted].sum(),)


def test_flat_questions_are_those_without_credit_and_whitening_is_over_all():
    rng = np.random.default_rng(1)
    groups = [
        (tuple(rng.standard_normal((2, 1, k)).astype(np.float32) for k in (2, 3)),)
        for _ in range(2)
    ]
    groups[0][0][0][1] = groups[0][0][1][1] = 0
    groups[1][0][0][0] = 0
    both = [MINE, batching.CreditedRole(0, 1, 1)]
    same, counted = batching.shaped(PLAIN, groups, both)
    assert same is groups and counted == [None, None]
    _, counted = batching.shaped(PLAIN.replace(zero_advantage="drop"), groups, both)
    assert [each.tolist() for each in counted] == [[True, False], [True, True]]
    # Who does not learn has no part in it.
    _, counted = batching.shaped(PLAIN.replace(zero_advantage="drop"), groups, [MINE])
    assert [each.tolist() for each in counted] == [[True, False], [False, True]]
    white, _ = batching.shaped(PLAIN.replace(whiten=True), groups, [MINE])
    everything = np.concatenate([group[0][0].ravel() for group in white])
    np.testing.assert_allclose(everything.mean(), 0, atol=1e-6)
    np.testing.assert_allclose(everything.std(), 1, rtol=1e-4)
    assert white[1][0][1] is groups[1][0][1]


def test_entropy_is_over_what_can_be_drawn():
    p = np.array([0.5, 0.25, 0.25, 0.0])
    scores = jnp.array([*np.log(p[:3]), -jnp.inf])

    def value(scores):
        return draws.entropy(jax.nn.log_softmax(scores))

    np.testing.assert_allclose(value(scores), 1.5 * np.log(2), rtol=1e-6)
    grads = jax.grad(value)(scores)
    wanted = -p[:3] * (np.log(p[:3]) + 1.5 * np.log(2))
    np.testing.assert_allclose(grads, [*wanted, 0], atol=1e-6)


def test_the_entropy_of_a_truncated_draw_is_that_of_its_support():
    role = support.DUO[0].__class__("one", "", (), True, 4)
    team = support.team(
        (role,), support.DUO_SCRIPTS[:1], (2,), top_k=3, top_p=0.9, temperature=0.7
    )
    questions = support.questions(2, roles=1)
    params = support.params()
    turns = tree.sample(params, team, questions, keys.stream(0, "rollout"))
    given, both = (
        jax.jit(functools.partial(fn, params, team, 0, questions))
        for fn in (tree.logp, tree.logp_and_entropy)
    )
    logp, entropy = both(turns)
    np.testing.assert_array_equal(logp, given(turns))
    # Every token that could have come first, in place of the one that did.
    support_ids = turns[0].support[..., 0, :]
    total = 0
    for place in range(support_ids.shape[-1]):
        ids = support_ids[..., place]
        tokens = turns[0].tokens.at[..., 0].set(jnp.maximum(ids, 0))
        other = given((turns[0].replace(tokens=tokens),))[..., 0]
        total += jnp.where(ids >= 0, -jnp.exp(other) * other, 0)
    np.testing.assert_allclose(entropy[..., 0], total, atol=1e-5)
    assert (entropy <= np.log(3) + 1e-6).all()
